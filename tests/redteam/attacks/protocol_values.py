"""Attacks by values that lie in their frame: tags, handles, shapes, types, errors."""

from functools import partial
from textwrap import dedent

from redteam.attack import FRAMES, attack

protocol = partial(attack, "protocol", aims_at_protocol=True)


def values(name: str, about: str, source: str):
    """An honest `double`, then `mean`, which forges a reply from each of VALUES in turn.

    Args:
        source: defines VALUES, a list of what stands at `value`.
    """
    after = """
    turns = iter(VALUES * 3)


    def mean(values):
        say(next(turns, 0))
        return 0.0


    for value in VALUES:
        say(value)
    """
    text = dedent(source).lstrip("\n") + dedent(after)
    return protocol(name, about, honest="double", needs=[FRAMES], mean=text)


def errors(name: str, about: str, source: str):
    """The same by REPLIES, a list of whole replies."""
    after = """
    turns = iter(REPLIES * 3)


    def mean(values):
        send(frame(next(turns, {})))
        return 0.0


    for reply in REPLIES[:3]:
        send(frame(reply))
    """
    text = dedent(source).lstrip("\n") + dedent(after)
    return protocol(name, about, honest="double", needs=[FRAMES], mean=text)


ATTACKS = (
    values(
        "value-unknown-tags",
        "Uses tags that do not exist, are no text, or name methods and modules.",
        """
        tags = ["unknown", "", None, 7, ["tuple"], {"!": "int"}, "__class__", "os.system", "eval"]
        VALUES = [{"!": tag, "v": "7", "v": "7", "items": []} for tag in tags]
        """,
    ),
    values(
        "value-half-tags",
        "Leaves out, doubles and swaps what belongs to a tag.",
        """
        tags = "array tuple set dict int float complex bytes tensor remote".split()
        VALUES = [{"!": tag} for tag in tags]
        VALUES += [{"!": tag, "v": 7, "items": "ab", "v": None, "t": 3} for tag in tags]
        VALUES += [{"!": tag, "v": {"!": tag, "v": {"!": tag, "v": None}}} for tag in tags]
        """,
    ),
    values(
        "value-array-shapes",
        "Gives arrays shapes that overflow, are negative, endless or do not fit their bytes.",
        """
        shapes = [[1 << 62], [1 << 32, 1 << 32], [-1], [-1, -1], [3, -3], [0, 1 << 62], [1] * 65]
        shapes += [[1 << 63, 2], [2.0], ["2"], [True], [[2]], None, "22", {}, [10**400], [2, None]]
        shapes += [[1] * 100_000, [3], [2, 2]]
        array = {"!": "array", "t": "<f8", "v": "AAAAAAAA8D8="}
        VALUES = [array | {"s": one} for one in shapes]
        """,
    ),
    values(
        "value-array-types",
        "Gives arrays types that hold objects, text, records, dates or other byte orders.",
        """
        kinds = ["O", "|O8", "V", "V8", "S8", "U2", "M8[s]", "m8", ">f8", "=f8", "f2", "g", "c16"]
        kinds += ["i4,O", "(2,2)f4", "f8" * 1000, "object", "numpy.float64", "", None, 8]
        kinds += ["<f8,", "b1", "e", "p", "q\\u0000", "T", "<U4", [["a", "O"]]]
        kinds += [{"names": ["a"], "formats": ["O"]}]
        VALUES = [{"!": "array", "t": k, "s": [1], "v": "AAAAAAAA8D8="} for k in kinds]
        """,
    ),
    values(
        "value-array-bytes",
        "Gives arrays bytes that are no base64, too few, too many, or no text.",
        """
        data = ["", "=", "A", "A===", "AA==\\n" * 1000, "\\u00e9" * 4, "!!!!", None, 7]
        data += [["AAAA"], "AAAAAAAA8D8=AAAA", "A" * 3_000_000, "-_-_", " AAAA", "AAAAAAAA8D8"]
        VALUES = [{"!": "array", "t": "<f8", "s": [1], "v": one} for one in data]
        """,
    ),
    values(
        "value-array-of-truth",
        "Sends truth values that are no 0 or 1, and floats that signal.",
        """
        VALUES = [
            {"!": "array", "t": "|b1", "s": [4], "v": "Av//AA=="},
            {"!": "array", "t": "<f8", "s": [1], "v": "AQAAAAAA8H8="},
            {"!": "array", "t": "<f8", "s": [], "v": "AAAAAAAA+H8="},
            {"!": "array", "t": "<f8", "s": [0], "v": ""},
            {"!": "array", "t": "<f8", "s": [0, 1], "v": ""},
        ]
        """,
    ),
    values(
        "value-amplifiers",
        "Sends little that becomes much: shapes of zeros, ranges, repeated arrays.",
        """
        one = {"!": "array", "t": "|i1", "s": [1, 1, 1], "v": "AA=="}
        VALUES = [
            [one] * 40_000,
            {"!": "array", "t": "|i1", "s": [1 << 40, 0], "v": ""},
            {"!": "tuple", "v": [{"!": "set", "v": []}] * 100_000},
            {"!": "dict", "v": [[str(n), {}] for n in range(100_000)]},
            {"!": "bytes", "v": "A" * 3_900_000},
            {"!": "int", "v": "0x" + "f" * 3_900_000},
            {"!": "int", "v": "9" * 1_000_000},
        ]
        """,
    ),
    values(
        "value-unhashable-keys",
        "Puts lists, arrays, proxies and nan where keys and members must be hashable.",
        """
        odd = [[], {}, {"!": "array", "t": "<f8", "s": [0], "v": ""}]
        odd += [{"!": "remote", "n": 1}, {"!": "float", "v": "nan"}, {"!": "set", "v": []}]
        VALUES = [{"!": "set", "v": [one, one]} for one in odd]
        VALUES += [{"!": "dict", "v": [[one, 1], [one, 2]]} for one in odd]
        VALUES += [{"!": "dict", "v": [[1]]}, {"!": "dict", "v": [1]}, {"!": "dict", "v": {"a": 1}}]
        """,
    ),
    values(
        "value-numbers-as-text",
        "Writes tagged numbers in every spelling that a parser of Python's may take.",
        """
        texts = ["1_000", " 7 ", "0b1", "0o7", "\\u0667", "1e400", "nan", "infinity", "1j", "", "-"]
        texts += ["0x", "7" * 5000, "__import__('os')", None, 7.5, True, [7], "1/3", "NaN(123)"]
        VALUES = [{"!": kind, "v": text} for kind in ("int", "float", "complex") for text in texts]
        """,
    ),
    values(
        "value-tensors",
        "Sends tensors with lies: devices, layouts, types, gradients, functions to call.",
        """
        array = {"!": "array", "t": "<f4", "s": [1], "v": "AACAPw=="}
        VALUES = [{"!": "tensor", "v": one} for one in (array, None, 7, [array], {"!": "tensor"})]
        VALUES += [{"!": "tensor", "t": k, "s": [1], "v": "AACAPw=="}
                   for k in ("torch.qint8", "float64", "object", "bfloat16", "__class__", None)]
        VALUES += [{"!": "tensor", "t": "<f4", "s": [1 << 62], "device": "cuda:0",
                    "requires_grad": True, "layout": "sparse", "v": "AACAPw=="}]
        """,
    ),
    values(
        "value-other-handles",
        "Hands out handles that do not exist, are negative, giant, text, or another's.",
        """
        handles = [0, 1, 2, -1, 10**6, 1 << 63, 1.5, "0", "../0", None, [0], {"!": "int"}, True]
        VALUES = [
            {"!": "remote", "n": one, "handle": one, "v": one, "t": "int", "call": True}
            for one in handles
        ]
        """,
    ),
    values(
        "value-remote-names",
        "Hands out remote objects with the names and classes of the judge's own things.",
        r"""
        names = ["__class__", "__globals__", "__init__", "__reduce__", "_box", "ask", "np", "KEY",
                 "AssertionError", "os.system", "<script>", "a\x1b[2J", "x" * 100_000, "", None, 7]
        VALUES = [
            {"!": "remote", "n": 1, "call": True, "t": one, "name": one, "class": [one],
             "v": one, "attributes": names, "length": 1 << 62, "len": -1, "mro": [one]}
            for one in names
        ]
        """,
    ),
    values(
        "value-becomes-remote",
        "Replies to a call by a remote object, so that a comparison might be asked of the box.",
        """
        whole = {"!": "remote", "n": 1, "t": "float", "call": False}
        VALUES = [whole, [whole], {"!": "tuple", "v": [whole]}, True, whole, True, 1, True]
        """,
    ),
    values(
        "value-same-object",
        "Refers to objects that both sides know, by numbers that nobody gave out, and to itself.",
        """
        numbers = [0, 1, -1, 2, 10**6, 1 << 63, "0", None, True, 0.0, [0], {"!": "same", "v": 0}]
        VALUES = [{"!": "same", "v": one} for one in numbers]
        VALUES += [[{"!": "same", "v": 0}] * 300_000]
        doubled = {"!": "tuple", "v": [{"!": "same", "v": 0}] * 2}
        for _ in range(25):
            doubled = {"!": "tuple", "v": [doubled, {"!": "same", "v": 1}]}
        VALUES += [doubled]
        """,
    ),
    errors(
        "reply-with-arguments",
        "Tells, unasked, what became of the arguments, to change the judge's own.",
        """
        array = {"!": "array", "t": "<f8", "s": [7], "v": "AAAAAAAAAAA=" * 7}
        same = {"!": "same", "v": 0}
        others = [[[array], {}], [[[0.0, 0.0]], {}], [[], {}], array, None, [[same], {}]]
        others += [{"!": "tuple", "v": [{"!": "tuple", "v": [array]}, {"!": "dict", "v": []}]}]
        REPLIES = [{"ok": True, "value": 0.0, "args": one, "printed": ""} for one in others]
        """,
    ),
    errors(
        "error-of-control",
        "Names errors that end loops, programs and tests rather than fail them.",
        """
        kinds = ["SystemExit", "KeyboardInterrupt", "StopIteration", "GeneratorExit", "SkipTest"]
        kinds += ["StopAsyncIteration", "BaseException", "MemoryError", "RecursionError", "Exit"]
        REPLIES = [
            {"ok": False, "error": [kind, "BaseException", "object"], "text": "0", "printed": ""}
            for kind in kinds
        ]
        """,
    ),
    errors(
        "error-of-the-judge",
        "Names the errors that a judge raises and catches itself.",
        """
        kinds = ["AssertionError", "NotImplementedError", "Unmet", "BoxDied", "TimeoutError"]
        kinds += ["W2SError", "NameError", "OSError", "Rejected", "judge.Passed", "Warning"]
        REPLIES = [
            {"ok": False, "error": [kind, "Exception", "object"], "text": "passed", "printed": "8"}
            for kind in kinds
        ]
        """,
    ),
    errors(
        "error-names-with-markup",
        "Names errors in markup, escapes, formulas and megabytes.",
        r"""
        kinds = ["<script>alert('w2s-redteam')</script>", "\x1b[2J", "=1+1", "\u202eError"]
        kinds += ["E" * 10**6, "\ud800", "a\nb", "", " ", "os.system", "__class__", "x\x00y"]
        REPLIES = [
            {"ok": False, "error": [kind] * 3, "text": kind, "printed": kind} for kind in kinds
        ]
        """,
    ),
    errors(
        "error-lists-that-are-none",
        "Gives an error's list of classes by other kinds, empty, endless or nested.",
        """
        lists = [None, "AssertionError", [], {}, 7, [None], [[]], [7, True]]
        lists += [{"!": "tuple", "v": ["ValueError"]}, ["object"], ["type", "object"]]
        lists += [["ValueError"] * 200_000]
        REPLIES = [{"ok": False, "error": one, "text": one, "printed": None} for one in lists]
        REPLIES += [{"ok": False}, {"ok": False, "text": "x"}, {"error": ["ValueError"]}]
        """,
    ),
)
