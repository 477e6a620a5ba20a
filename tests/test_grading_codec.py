"""Plain data goes over the line and comes back as it was; nothing else comes out of a frame."""

import contextlib
import json
import math
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from w2s_lab.teach.grading.codec import COLLISIONS, DEPTH, TENSOR_KINDS, BadFrame, decode, encode
from w2s_lab.teach.grading.line import ELEMENTS, FROM_BOX, Ended, Line, pack, unpack

SECONDS = 15  # that the worst allowed frame may take; about 3 here
MEGABYTES = 300


def over(value, **options):
    """A value after the whole way: encoded, packed, unpacked, decoded."""
    return decode(unpack(pack(encode(value, **options))[4:]))


def alike(a, b):
    """Whether two values have the same kinds, shapes and contents, nan and −0.0 included."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray | np.generic):
        kinds = a.dtype == b.dtype or a.dtype.kind == "U"  # its width is that of the longest text
        return kinds and a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
    if isinstance(a, torch.Tensor):
        same = a.dtype == b.dtype and a.shape == b.shape and a.requires_grad == b.requires_grad
        return same and torch.equal(a.isnan(), b.isnan()) and torch.equal(_whole(a), _whole(b))
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, dict):
        return alike(list(a.items()), list(b.items()))  # in the same order
    if isinstance(a, set | frozenset):
        return len(a) == len(b) and all(any(alike(one, two) for two in b) for one in a)
    if isinstance(a, float):
        return struct.pack("d", a) == struct.pack("d", b) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, complex):
        return alike((a.real, a.imag), (b.real, b.imag))
    return a == b


def _whole(tensor):
    return tensor.detach().masked_fill(tensor.detach().isnan(), 0)


# --- round trips ----------------------------------------------------------------------------------

NUMBERS = st.one_of(st.integers(), st.floats(), st.complex_numbers(), st.booleans())
TEXTS = st.one_of(st.text(), st.text("a\ud800\udfff\0\u202e'\""))  # lone halves as well
SCALARS = st.one_of(st.none(), NUMBERS, TEXTS, st.binary())
KEYS = st.recursive(
    st.one_of(st.none(), st.integers(), st.booleans(), TEXTS, st.binary()),
    lambda inner: st.one_of(st.tuples(inner, inner), st.frozensets(inner, max_size=3)),
    max_leaves=4,
)
RANGES = st.builds(range, st.integers(), st.integers(), st.integers(min_value=1))
PLAIN = st.recursive(
    st.one_of(SCALARS, RANGES, st.binary().map(bytearray)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.sets(KEYS, max_size=4),
        st.frozensets(KEYS, max_size=4),
    ),
    max_leaves=12,
)


@given(PLAIN)
def test_plain_data_come_back_as_they_were(value):
    assert alike(over(value), value)


@pytest.mark.parametrize(
    "value",
    [
        2**63,
        -(2**63) - 1,
        3**5000,  # 7925 bits
        math.nan,
        math.inf,
        -0.0,
        complex(-0.0, math.nan),
        range(10**30, 0, -7),
        {1: "a", "1": "b", (1, (2,)): {frozenset({3})}},
        bytearray(b"\xff\0"),
        [[[]], (), {}, set(), frozenset()],
        "\ud800\u202e\0",
        "\ud83d\ude00",  # two halves, which are not the whole character
    ],
    ids=repr,
)
def test_a_corner_of_plain_data_comes_back_as_it_was(value):
    assert alike(over(value), value)


def test_no_difference_between_two_values_escapes_the_comparison_of_these_tests():
    apart = [0, 0.0, -0.0, False, None, "", (), [], set(), frozenset(), {}, b"", bytearray(), 0j]
    apart += [np.int64(0), np.int32(0), np.float32(0), np.zeros(0), np.zeros((0, 1)), np.array(0)]
    apart += [torch.zeros(0), torch.zeros(0, 1), torch.zeros(0, requires_grad=True), range(0)]
    assert [(a, b) for a in apart for b in apart if alike(a, b) and a is not b] == []
    assert all(alike(one, over(one)) for one in apart)


DTYPES = ["?", "i1", "u1", "i2", "u2", "<i4", ">i4", "u4", "i8", "u8", "f2", "f4", ">f8", "c8"]
DTYPES += ["c16", "g"]


@given(
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 4), max_size=4),
    st.integers(0, 2**32),
    st.booleans(),
)
def test_an_array_comes_back_with_its_dtype_shape_and_entries(kind, shape, seed, turned):
    raw = np.random.default_rng(seed).integers(-3, 100, shape).astype(kind)
    value = raw.T if turned else raw  # not contiguous
    back = over(value)
    assert alike(back, value)
    assert back.flags.writeable


@pytest.mark.parametrize("kind", DTYPES)
def test_a_numpy_scalar_stays_one(kind):
    assert alike(over(np.dtype(kind).type(1)), np.dtype(kind).type(1))


@given(st.lists(TEXTS.map(lambda text: text.replace("\0", "")), max_size=4))
def test_an_array_of_texts_comes_back_as_one(texts):
    for value in (np.array(texts, dtype=str), np.array([texts, texts], dtype=str)):
        assert alike(over(value), value)


def test_a_text_without_dimensions_and_numpys_own_text_come_back():
    assert alike(over(np.array("abc")), np.array("abc"))
    assert over(np.str_("abc")) == "abc"  # a plain text: nothing can be told of the difference


def test_nan_and_infinity_survive_in_arrays_and_scalars():
    for kind in ("f2", "f4", "f8"):
        value = np.array([math.nan, math.inf, -0.0], kind)
        assert over(value).tobytes() == value.tobytes()
    assert math.isnan(over(np.float64(math.nan)))


@given(st.sampled_from(TENSOR_KINDS), st.lists(st.integers(0, 3), max_size=3), st.booleans())
def test_a_tensor_comes_back_with_its_dtype_shape_and_gradient_mark(kind, shape, learns):
    dtype = getattr(torch, kind)
    value = torch.arange(math.prod(shape)).reshape(shape).to(dtype)
    value.requires_grad_(learns and dtype.is_floating_point)
    assert alike(over(value), value)


@pytest.mark.parametrize(
    "view",
    [
        lambda: torch.arange(6).reshape(2, 3).T,
        lambda: torch.arange(2.0)[::2],  # one entry, contiguous, and its stride is 2
        lambda: torch.ones(1, 3).expand(4, 3),
        lambda: torch.tensor([1 + 2j]).conj(),
        lambda: torch.tensor([1 + 2j]).conj().imag,
        lambda: torch.arange(12.0, requires_grad=True).reshape(3, 4)[1:, 2],
        lambda: torch.tensor(2.5, dtype=torch.bfloat16),
    ],
)
def test_a_view_of_a_tensor_comes_back_as_its_entries(view):
    assert alike(over(view()), view())


def test_a_parameter_comes_back_as_a_tensor_that_learns():
    weight = torch.nn.Parameter(torch.tensor([1.0, math.nan]))
    back = over(weight)
    assert type(back) is torch.Tensor and back.requires_grad and back.is_leaf


def test_a_subclass_of_a_plain_kind_comes_back_as_that_kind():
    class Grade(int):
        def __repr__(self):
            return "6/5"

    class Name(str):
        def __eq__(self, other):
            return True

        __hash__ = str.__hash__

    assert alike(over([Grade(3), Name("ada")]), [3, "ada"])


# --- objects that are one -------------------------------------------------------------------------


def test_a_list_that_stands_in_two_places_is_one_on_the_other_side_as_well():
    one, numbers = [1], np.zeros(2)
    given = [one, {"a": one, "b": numbers}, numbers]
    sent, there = [], []
    told = unpack(pack(encode(given, known=sent, grow=True))[4:])
    back = decode(told, known=there, grow=True)
    assert back[0] is back[1]["a"] and back[1]["b"] is back[2]
    assert len(sent) == len(there)
    assert all(map(alike, there, sent))  # in the same order, so that a number means the same


@given(st.lists(st.one_of(PLAIN, st.just(np.float32(1)), st.just(np.ones(1))), max_size=4))
def test_both_sides_number_shared_objects_alike(parts):
    sent, there = [], []
    decode(encode([parts, parts, *parts], known=sent, grow=True), known=there, grow=True)
    assert alike(there, sent)


def test_a_reply_can_name_an_argument_and_means_the_very_object():
    here, there = [], []
    given = [[3, 1, 2]]
    told = decode(encode(given, known=here, grow=True), known=there, grow=True)
    reply = encode([told[0], [9]], known=there)
    assert decode(reply, known=here)[0] is given[0]
    assert len(there) == len(here) == 2  # a reply adds nothing


@pytest.mark.parametrize("number", [-1, 1, 10**30, True, 0.0, "0", None, [0]])
def test_a_reply_cannot_name_what_was_not_handed_over(number):
    with pytest.raises(BadFrame):
        decode({"!": "same", "v": number}, known=[[]])


def test_without_known_objects_none_can_be_named():
    with pytest.raises(BadFrame):
        decode({"!": "same", "v": 0})


def test_what_is_no_plain_data_needs_somebody_who_keeps_it():
    for value in (
        object(),
        print,
        np.array([{}]),
        np.datetime64("2020"),
        torch.ones(2).to_sparse(),
    ):
        with pytest.raises(TypeError, match="is no plain data"):
            encode(value)
        told = encode([value], lambda thing: {"!": "remote", "n": 7})
        assert decode(told, lambda told: ("stands for", told["n"])) == [("stands for", 7)]
        with pytest.raises(BadFrame):
            decode(told)


def test_a_list_in_itself_is_refused_and_60_lists_in_each_other_are_not():
    endless: list = []
    endless.append(endless)
    for known in (None, []):  # grown or not
        with pytest.raises(ValueError, match="60 deep"):
            encode(endless, known=known, grow=known is not None)
    value: list = []
    for _ in range(DEPTH - 1):
        value = [value]
    assert over([value]) == [value]
    with pytest.raises(ValueError, match="60 deep"):
        encode([[value]])


# --- what a stranger may send ---------------------------------------------------------------------

TAGS = ["int", "float", "complex", "bytes", "bytearray", "range", "tuple", "set", "frozenset"]
TAGS += ["dict", "scalar", "array", "texts", "tensor", "remote", "function", "import", "same", "x"]
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=6),
        st.sampled_from(["0x1f", "nan", "AAAA", "<f8", "float32", "i4", "-inf", *TAGS]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
        st.fixed_dictionaries(
            {"!": st.one_of(st.sampled_from(TAGS), inner)},
            optional={key: inner for key in "vtsgnm"}
            | {"t": st.sampled_from(["<f8", "int8", "?1"])},
        ),
    ),
    max_leaves=15,
)


@given(JSON)
def test_whatever_json_holds_it_is_plain_data_or_a_bad_frame(told):
    for options in ({}, {"known": [[1]]}, {"remote": lambda told: told["n"]}):
        try:
            decode(told, **options)
        except BadFrame as error:
            assert len(str(error)) < 100  # and tells nothing of what was sent


@given(st.binary(max_size=200))
def test_whatever_bytes_a_frame_holds_they_are_json_or_a_bad_frame(raw):
    with contextlib.suppress(BadFrame):
        decode(unpack(raw), known=[[]])


SAMPLE = [2**70, math.nan, (1, {2: b"3"}), {4, 5}, range(6), np.ones((2, 3)), np.array(["a", "bc"])]
SAMPLE += [np.float32(7), torch.ones(2, 2), bytearray(b"8"), 9j, "\ud800", frozenset({(1, 2)})]


@given(st.lists(st.tuples(st.integers(0, 10**4), st.binary(min_size=1, max_size=3)), max_size=4))
def test_a_frame_with_changed_bytes_is_plain_data_or_a_bad_frame(changes):
    frame = bytearray(pack(encode(SAMPLE))[4:])
    for place, new in changes:
        frame[place % len(frame) : place % len(frame) + len(new)] = new
    with contextlib.suppress(BadFrame):
        decode(unpack(bytes(frame)))


@pytest.mark.parametrize("place", range(1, 1500, 37))
def test_a_frame_that_lost_its_end_is_a_bad_frame(place):
    frame = pack(encode(SAMPLE))[4:]
    with pytest.raises(BadFrame):
        unpack(frame[: min(place, len(frame) - 1)])


LIES = {
    "shape of more": {"!": "array", "t": "<f8", "s": [10**9], "v": "AAAAAAAAAAA="},
    "shape of fewer": {"!": "array", "t": "<f8", "s": [], "v": "A" * 22 + "=="},
    "negative shape": {"!": "array", "t": "<f8", "s": [-1], "v": ""},
    "negative twice": {"!": "array", "t": "|i1", "s": [-1, -1], "v": "AA=="},
    "17 dimensions": {"!": "array", "t": "|i1", "s": [1] * 17, "v": "AA=="},
    "true as a size": {"!": "array", "t": "|i1", "s": [True], "v": "AA=="},
    "size as a text": {"!": "array", "t": "|i1", "s": ["1"], "v": "AA=="},
    "enormous and empty": {"!": "array", "t": "|i1", "s": [0, 10**30], "v": ""},
    "objects": {"!": "array", "t": "|O", "s": [1], "v": "AAAAAAAAAAA="},
    "objects in a record": {"!": "array", "t": "O,O", "s": [1], "v": "AA=="},
    "dates": {"!": "array", "t": "<M8[s]", "s": [1], "v": "AAAAAAAAAAA="},
    "no such float": {"!": "scalar", "t": "<f3", "v": "AAAA"},
    "dtype as a list": {"!": "array", "t": [["a", "O"]], "s": [1], "v": ""},
    "no base64": {"!": "bytes", "v": "***"},
    "base64 of a letter more": {"!": "bytes", "v": "AAAAA"},
    "texts too few": {"!": "texts", "s": [2], "v": ["a"]},
    "texts of numbers": {"!": "texts", "s": [1], "v": [1]},
    # 3,000 × 1 MB as one block of numpy's
    "one long text": {"!": "texts", "s": [3000], "v": ["x" * 10**6] + ["y"] * 2999},
    "tensor of a method": {"!": "tensor", "t": "load", "s": [1], "v": ""},
    "tensor of more": {"!": "tensor", "t": "float32", "s": [10**9], "v": "AAAA"},
    "endless number": {"!": "int", "v": "f" * 16_385},
    "number as bytes": {"!": "int", "v": 3},
    "float by name": {"!": "float", "v": "1e5"},
    "range of four": {"!": "range", "v": [1, 2, 3, 4]},
    "range of nothing": {"!": "range", "v": [1, 2, 0]},
    "a set of lists": {"!": "set", "v": [[]]},
    "a text as a tuple": {"!": "tuple", "v": "abc"},
    "triples in a dict": {"!": "dict", "v": [[1, 2, 3]]},
    "no tag": {"v": 1},
    "tag as a list": {"!": ["dict"], "v": []},
    "no kind": {"!": "pickle", "v": "gASVAA=="},
    "no value": {"!": "tuple"},
}


@pytest.mark.parametrize("told", LIES.values(), ids=LIES)
def test_a_value_that_lies_about_itself_is_refused(told):
    for value in (told, [told], {"!": "tuple", "v": [told]}):
        with pytest.raises(BadFrame):
            decode(value)


MERSENNE = 2**61 - 1  # sys.hash_info.modulus: its multiples have the hash 0
CROWDED = {
    "lists": b"[" + b"[]," * (ELEMENTS // 2 - 2) + b"[]]",
    "dicts": b"[" + b'{"":0},' * (ELEMENTS // 3 - 2) + b"0]",
    "numbers": b"[" + b"1," * (ELEMENTS - 2) + b"1]",
    "floats": b"[" + b"1e9," * (ELEMENTS - 2) + b"1]",
    "a long text": b'"' + b"\\ud800" * (FROM_BOX // 6 - 9) + b'"',
    "long numbers": b"[" + (b"9" * 4000 + b",") * 1000 + b"1]",
    "longer numbers": b"[" + b"9" * 10**6 + b"]",
    "depth": b"[" * 200_000 + b"]" * 200_000,
    "tagged depth": b'{"!":"tuple","v":[' * 60_000 + b"]}" * 60_000,
}


@pytest.mark.parametrize("frame", CROWDED.values(), ids=CROWDED)
def test_the_fullest_frame_costs_no_more_than_seconds_and_little_memory(frame):
    assert len(frame) <= FROM_BOX
    tracemalloc.start()
    began = time.monotonic()
    with contextlib.suppress(BadFrame):
        decode(unpack(frame))
    took, most = time.monotonic() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert took < SECONDS
    assert most < MEGABYTES << 20


@pytest.mark.parametrize("tag", ["set", "frozenset", "dict"])
@pytest.mark.parametrize("others", [0, 30_000], ids=["alone", "among others"])
def test_keys_of_one_hash_are_refused_before_they_are_compared(tag, others):
    # 20,000 keys with one hash are 200 million comparisons; those beside them hide them in no way
    keys = [*range(1, others + 1), *(MERSENNE * n for n in range(20_000))]
    told = {"!": tag, "v": [[key, 0] for key in keys] if tag == "dict" else keys}
    began = time.monotonic()
    with pytest.raises(BadFrame, match="equal hashes"):
        decode(told)
    assert time.monotonic() - began < 2


def test_many_sets_just_below_the_bound_cost_seconds_at_most():
    one = {"!": "set", "v": [MERSENNE * n for n in range(COLLISIONS)]}
    frame = pack([one] * 180, FROM_BOX)  # 22 bytes a key: no more of them fit in
    began = time.monotonic()
    assert len(decode(unpack(frame[4:]))) == 180
    assert time.monotonic() - began < SECONDS


def test_a_large_honest_set_is_no_attack():
    value = {"numbers": set(range(100_000)), "pairs": {(n, -n): n for n in range(20_000)}}
    assert decode(encode(value)) == value


def test_one_value_too_many_is_refused_before_it_is_parsed():
    # a list of n numbers has n − 1 commas and one bracket before them
    assert len(unpack(b"[" + b"1," * 9 + b"1]", elements=10)) == 10
    with pytest.raises(BadFrame, match="too many values"):
        unpack(b"[" + b"1," * 10 + b"1]", elements=10)
    assert len(unpack(b"[" + b"1," * 10 + b"1]", elements=None)) == 11


@pytest.mark.parametrize("name", [b"NaN", b"Infinity", b"-Infinity"])
def test_what_only_python_calls_json_is_refused(name):
    with pytest.raises(BadFrame):
        unpack(b"[" + name + b"]")


def test_a_message_too_long_is_refused_where_it_is_made():
    with pytest.raises(ValueError, match="4 KB are too much"):
        pack("x" * 5000, 4096)
    assert pack("x" * 4094, 4096)[:4] == (4096).to_bytes(4, "little")  # and two quotes


def test_reading_a_frame_needs_neither_numpy_nor_torch():
    code = "import sys; from w2s_lab.teach.grading.codec import *; decode(encode([1, {2: 3j}]))"
    code += "; print(sorted({'numpy', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


# --- the line -------------------------------------------------------------------------------------


@pytest.fixture
def ends():
    """Two raw ends of a connection."""
    pair = socket.socketpair()
    yield pair
    for one in pair:
        one.close()


@settings(max_examples=30)
@given(st.lists(PLAIN, max_size=4))
def test_messages_arrive_in_their_order(values):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender, receiver = Line(ours), Line(theirs)
        for value in values:
            sender.send(encode(value))
        assert alike([decode(receiver.receive(seconds=5)) for _ in values], values)


def test_a_frame_may_come_byte_by_byte(ends):
    def drip():
        for byte in pack({"ok": [1, 2]}):
            ends[0].send(bytes([byte]))
            time.sleep(0.002)

    thread = threading.Thread(target=drip)
    thread.start()
    assert Line(ends[1]).receive(seconds=5) == {"ok": [1, 2]}
    thread.join()


@pytest.mark.parametrize("length", range(9))
def test_an_end_in_the_middle_of_a_frame_is_an_end(ends, length):
    ends[0].sendall(pack([1, 2])[:length])
    ends[0].close()
    with pytest.raises(Ended):
        Line(ends[1]).receive(seconds=5)


@pytest.mark.parametrize("length", range(9))
def test_half_a_frame_is_waited_for_no_longer_than_allowed(ends, length):
    ends[0].sendall(pack([1, 2])[:length])
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        Line(ends[1]).receive(seconds=0.05)
    assert time.monotonic() - began < 1


def test_bytes_that_keep_coming_do_not_put_off_the_end_of_the_time(ends):
    stop = threading.Event()

    def drip():
        ends[0].sendall(struct.pack("<I", 1000))
        while not stop.wait(0.02):
            ends[0].send(b" ")

    thread = threading.Thread(target=drip)
    thread.start()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        Line(ends[1]).receive(seconds=0.3)
    assert time.monotonic() - began < 2
    stop.set()
    thread.join()


def test_a_frame_longer_than_allowed_is_refused_by_its_length_alone(ends):
    ends[0].sendall(struct.pack("<I", 101))
    with pytest.raises(BadFrame, match="too long"):
        Line(ends[1], most=100).receive(seconds=5)


def test_too_many_values_are_refused_on_the_line_as_well(ends):
    ends[0].sendall(pack([0] * 20))
    with pytest.raises(BadFrame, match="too many"):
        Line(ends[1], elements=10).receive(seconds=5)


def test_who_does_not_read_is_not_waited_for(ends):
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        Line(ends[0]).send("x" * (4 << 20), seconds=0.1)
    assert time.monotonic() - began < 2


def test_sending_to_nobody_is_an_end(ends):
    ends[1].close()
    with pytest.raises(Ended):
        for _ in range(3):
            Line(ends[0]).send("x", seconds=1)


def test_a_closed_line_is_an_end_to_its_owner_too(ends):
    line = Line(ends[0])
    line.close()
    with pytest.raises(Ended):
        line.receive(seconds=1)


def test_a_descriptor_arrives_with_its_message(ends):
    read, write = os.pipe()
    Line(ends[0]).send({"here": True}, fds=(write,))
    told, fds = Line(ends[1]).receive_fds(1, seconds=5)
    os.write(fds[0], b"over")
    assert (told, os.read(read, 9)) == ({"here": True}, b"over")
    for fd in (read, write, *fds):
        os.close(fd)


def test_descriptors_that_nobody_asked_for_are_not_taken(ends):
    before = set(os.listdir("/proc/self/fd")) if sys.platform == "linux" else set()
    read, write = os.pipe()
    Line(ends[0]).send({"here": True}, fds=(read, write))
    assert Line(ends[1]).receive(seconds=5) == {"here": True}
    os.close(read)
    os.close(write)
    if before:
        assert set(os.listdir("/proc/self/fd")) == before


def test_a_frame_is_json_that_any_program_can_read():
    frame = pack(encode({"a": (1, 2)}))
    assert struct.unpack("<I", frame[:4])[0] == len(frame) - 4
    assert json.loads(frame[4:]) == {"!": "dict", "v": [["a", {"!": "tuple", "v": [1, 2]}]]}
