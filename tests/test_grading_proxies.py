"""A student's names are data or stand-ins that can be used and not believed.

The box is the worker's own desk, called without a process between; what a hostile one replies is
written out.
"""

import builtins
import contextlib
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from w2s_lab.teach.grading.codec import BadFrame, encode
from w2s_lab.teach.grading.line import pack, unpack
from w2s_lab.teach.grading.proxies import (
    STOPPING,
    TEXT,
    Ask,
    CallableStand,
    Gone,
    Stand,
    failure,
    importable,
    put_back,
)
from w2s_lab.teach.grading.worker import _Desk


class Box:
    """A desk with these names, and the judge's side of it."""

    def __init__(self, by_reference=False, **names):
        self.names = names
        self.desk = _Desk(SimpleNamespace(user_ns=names), line=None)
        self.requests: list[dict] = []
        self.heard = ""
        self.ask = Ask(self.exchange, lambda: by_reference, self.hear)

    def exchange(self, request):
        self.requests.append(request)
        return unpack(pack(self.desk.answer(unpack(pack(request)[4:])))[4:])

    def hear(self, text):
        self.heard += text

    def __getitem__(self, name):
        return self.ask.names([name])[name]


def liar(*replies):
    """An ask to a box that gives these replies, whatever it is asked."""
    left = list(replies)
    return Ask(lambda request: left.pop(0), lambda: False, lambda text: None)


def stand(ask=None, kind=CallableStand):
    return kind(ask or liar(), {"n": 1, "t": "Student"})


# --- what a stand-in is not -----------------------------------------------------------------------


class Agreeing:
    """Equal to everything, true, and of any length: a student's best answer."""

    def __eq__(self, other):
        return True

    __hash__ = None

    def __bool__(self):
        return True

    def __len__(self):
        return 3


@pytest.mark.parametrize(
    "use",
    [
        bool,
        lambda one: not one,
        lambda one: one == 6,
        lambda one: one != 6,
        lambda one: one == 6,
        lambda one: one in [1, 2],
        lambda one: one or 6,
        lambda one: {one: 1},
        lambda one: one < 6,
        lambda one: one + 1,
        lambda one: 1 + one,
        lambda one: abs(one),
        lambda one: float(one),
        lambda one: int(one),
        lambda one: math.isclose(one, 6),
        lambda one: one(),
        lambda one: 6 in {one},
        lambda one: max(one, 6),
        lambda one: isinstance(6, one),
    ],
)
def test_no_question_that_decides_a_test_is_answered_by_the_student(use):
    one = Box(one=Agreeing())["one"]
    with pytest.raises(TypeError):
        use(one)


@pytest.mark.parametrize("use", [np.allclose, np.array_equal, np.testing.assert_allclose])
def test_numpy_does_not_ask_a_stand_in_either(use):
    class Array(Agreeing):
        def __array__(self, dtype=None, copy=None):
            return np.array([6.0])

    try:
        agreed = use(Box(one=Array())["one"], np.array([6.0]))
    except (TypeError, ValueError, AttributeError, AssertionError):
        return
    assert agreed is False


def test_a_stand_in_is_no_instance_of_what_it_says():
    class Claims:
        @property
        def __class__(self):
            return bytes

    one = Box(one=Claims())["one"]
    assert not isinstance(one, bytes)
    assert type(one) is Stand


def test_a_stand_in_is_itself_and_can_be_told_from_none():
    one = Box(one=Agreeing())["one"]
    assert one is one and one is not None


def test_a_stand_in_has_none_of_the_names_that_python_looks_for():
    one = Box(one=SimpleNamespace(__array__=1, __index__=2))["one"]
    for name in ("__array__", "__index__", "__float__", "__array_ufunc__", "__torch_function__"):
        assert not hasattr(one, name)


def test_what_is_printed_of_a_stand_in_is_one_short_line():
    told = {"n": 1, "t": "<b>\x1b[31m" * 1000}
    assert len(repr(Stand(liar(), told))) < 120
    assert repr(Stand(liar(), {"n": 1})) == "<a None in the box>"


# --- what it is for -------------------------------------------------------------------------------


class Stack:
    def __init__(self, *items):
        self.items = list(items)

    def push(self, item):
        self.items.append(item)

    def __getitem__(self, place):
        return self.items[place]

    def __len__(self):
        return len(self.items)

    def __iter__(self):
        return iter(self.items)

    def __str__(self):
        return f"a stack of {self.items}"


def test_a_class_of_the_students_is_used_as_it_would_be_here():
    box = Box(Stack=Stack)
    stack = box["Stack"](1, "a")
    stack.push((2.5,))
    assert (len(stack), stack[0], stack[-1], list(stack)) == (3, 1, (2.5,), [1, "a", (2.5,)])
    assert stack.items == [1, "a", (2.5,)]
    assert str(stack) == "a stack of [1, 'a', (2.5,)]"
    stack.items = [7]
    assert list(stack) == [7]
    assert box["Stack"].__name__ == "Stack"


def test_a_stand_in_that_is_handed_back_is_the_students_own_object():
    def is_same(a, b):
        return a is b

    stack = Stack()
    box = Box(stack=stack, is_same=is_same, Stack=Stack)
    assert box["is_same"](box["stack"], box["stack"]) is True
    assert box["is_same"](box["Stack"], Stack) is False or importable(Stack)


def test_an_endless_iterator_ends_after_ten_thousand_items():
    box = Box(endless=iter(int, 1))
    assert list(box["endless"]) == [0] * 10_000


def test_arguments_are_copies_unless_the_author_asks_for_more():
    def sort(values):
        values.sort()

    for by_reference, after in ((False, [3, 1, 2]), (True, [1, 2, 3])):
        values = [3, 1, 2]
        Box(by_reference, sort=sort)["sort"](values)
        assert values == after


def test_by_reference_brings_back_what_became_of_each_kind_of_argument():
    def change(numbers, table, names, array, tensor, pair, *, key):
        numbers[0] = 9
        table["b"] = 2
        names.add("z")
        array += 1
        tensor *= 2
        pair[0].append(5)
        key.clear()
        return numbers

    box = Box(True, change=change)
    numbers, table, names, key = [1, 2], {"a": 1}, {"y"}, {"k": 1}
    array, tensor, pair = np.zeros(2), torch.ones(2), ([4], 0)
    back = box["change"](numbers, table, names, array, tensor, pair, key=key)
    assert (numbers, table, names, key) == ([9, 2], {"a": 1, "b": 2}, {"y", "z"}, {})
    assert (array.tolist(), tensor.tolist(), pair) == ([1, 1], [2, 2], ([4, 5], 0))
    assert back is numbers  # the very list that was handed over


def test_without_by_reference_a_result_is_never_the_argument_itself():
    values = [1]
    assert Box(f=lambda x: x)["f"](values) is not values


VALUES = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(VALUES, VALUES)
def test_put_back_makes_of_a_value_what_another_one_is(before, after):
    outer = [before]
    put_back(outer, [after])
    assert outer == [after]


def test_put_back_leaves_alone_what_has_another_shape_or_kind():
    array = np.zeros(2)
    for after in (np.ones(3), np.ones(2, int), torch.ones(2), [1, 1], None, "ab"):
        put_back(array, after)
        assert array.tolist() == [0, 0]
    values = [1, 2]
    put_back(values, "no list")
    assert values == [1, 2]


@pytest.mark.parametrize("args", [None, 7, [], [[1, 2, 3, 4]], {"!": "dict", "v": []}, [[[]], []]])
def test_whatever_the_box_says_it_did_to_arguments_the_test_goes_on(args):
    ask = Ask(lambda r: {"ok": True, "value": 1, "args": args}, lambda: True, lambda text: None)
    assert stand(ask)([1, 2]) == 1


def test_what_is_printed_in_the_box_is_heard():
    box = Box(greet=lambda name: print("hi", name))
    box["greet"]("you")
    assert box.heard == "hi you\n"


def test_names_that_do_not_exist_are_left_out():
    assert Box(a=1).ask.names(["a", "b"]) == {"a": 1}


def test_a_value_is_bound_and_unbound_in_the_box():
    box = Box(f=1)
    box.ask.bind("f", len)
    assert box.names["f"] is len
    box.ask.bind("f", [1, (2,)])  # a test may keep there what it expects: that is not told
    assert box.names["f"] is len
    box.ask.by_reference = lambda: True
    box.ask.bind("f", [1, (2,)])
    assert box.names["f"] == [1, (2,)]
    box.ask.bind("f", object())  # cannot be sent: it stays as it is
    assert box.names["f"] == [1, (2,)]
    box.ask.unbind("f")
    box.ask.unbind("f")
    assert box.names == {}


# --- functions that are handed over ---------------------------------------------------------------


def test_a_library_function_goes_by_its_name():
    def name_of(function):
        return f"{function.__module__}.{function.__qualname__}"

    box = Box(name_of=name_of)
    assert box["name_of"](math.cos) == "math.cos"
    assert not box.ask.functions
    assert not importable(lambda: 1)
    assert not importable(3)


def test_a_function_of_the_test_stays_here_and_is_called_here():
    ask = Box().ask
    seen = []
    told = ask.sent([lambda *args, **kwargs: seen.append((args, kwargs)) or {1, 2}])
    assert told == [{"!": "function", "n": 0}]
    arguments = encode([[1, (2,)], {"k": np.float32(1)}])
    assert ask.called({"callback": 0, "args": arguments}) == {"value": ask.sent({1, 2})}
    assert seen == [((1, (2,)), {"k": np.float32(1)})]


@pytest.mark.parametrize("number", [1, -1, True, "0", None, 0.0, [0]])
def test_the_box_cannot_call_what_was_not_handed_over(number):
    ask = Box().ask
    ask.sent([lambda: 1])
    with pytest.raises(BadFrame):
        ask.called({"callback": number, "args": [[], {"!": "dict", "v": []}]})


def test_what_a_function_of_the_test_raises_is_told_to_the_box_by_name():
    ask = Box().ask

    class Own(Exception):
        pass

    def raises(kind):
        raise kind("why")

    ask.sent([lambda: raises(KeyError), lambda: raises(Own)])
    nothing = [[], {"!": "dict", "v": []}]
    assert ask.called({"callback": 0, "args": nothing})["error"] == "KeyError"
    assert ask.called({"callback": 1, "args": nothing}) == {"error": "RuntimeError", "text": "why"}


def test_what_is_no_plain_data_cannot_be_handed_over():
    with pytest.raises(TypeError, match="use plain data"):
        Box(f=len)["f"](object())


# --- exceptions -----------------------------------------------------------------------------------


def raised(error):
    def fail():
        raise error

    with pytest.raises(Exception) as caught:
        Box(fail=fail)["fail"]()
    return caught.value


def test_an_exception_of_python_arrives_as_its_own_kind():
    for error in (ValueError("n < 1"), KeyError("k"), ZeroDivisionError("0"), IndexError()):
        got = raised(error)
        assert type(got) is type(error)
        assert got.boxed


def test_an_exception_of_the_students_arrives_as_the_nearest_kind_of_python():
    class Empty(LookupError):
        pass

    class Nothing(BaseException):
        pass

    assert type(raised(Empty("it is empty"))) is LookupError
    assert type(raised(Nothing())) is RuntimeError
    assert type(raised(SystemExit(0))) is RuntimeError
    assert type(raised(KeyboardInterrupt())) is RuntimeError
    assert type(raised(UnicodeDecodeError("utf-8", b"x", 0, 1, "why"))) is RuntimeError


@pytest.mark.parametrize("kind", STOPPING, ids=lambda kind: kind.__name__)
def test_an_exception_that_would_end_a_loop_of_the_test_is_a_runtime_error(kind):
    # all(f(x) == 2 * x for x in xs) would be true of nothing at all
    assert type(raised(kind("x"))) is RuntimeError
    assert not isinstance(failure({"error": [kind.__name__, "Exception"]}), STOPPING)


KINDS = [*dir(builtins), "Gone", "__import__", "", 7, None, ["x"]]
SAID = st.text(max_size=9) | st.integers() | st.none()


@given(st.lists(st.sampled_from(KINDS), max_size=4), SAID)
def test_whatever_a_failure_says_it_is_an_exception_of_python_that_stops_nothing(names, text):
    error = failure({"ok": False, "error": names, "text": text, "line": names})
    assert isinstance(error, Exception) and not isinstance(error, STOPPING)
    assert type(error).__module__ == "builtins"
    assert isinstance(error.line, str)


def test_what_an_exception_says_is_cut():
    error = failure({"error": ["ValueError"], "text": "x" * 10**6, "line": "y" * 10**6})
    assert (len(str(error)), len(error.line)) == (TEXT, 200)


# --- a box that lies ------------------------------------------------------------------------------


@pytest.mark.parametrize("reply", [None, 7, "x", [], [[]]])
def test_a_reply_that_is_none_is_a_bad_frame(reply):
    with pytest.raises(BadFrame):
        stand(liar(reply)).x  # noqa: B018


@pytest.mark.parametrize("ok", [1, "true", [True], None, {"ok": True}])
def test_only_true_is_true(ok):
    with pytest.raises(RuntimeError):
        stand(liar({"ok": ok, "value": 1})).x  # noqa: B018


@pytest.mark.parametrize(
    "value",
    [
        {"!": "remote"},
        {"!": "remote", "n": "1"},
        {"!": "remote", "n": True},
        {"!": "function", "n": 0},
        {"!": "import", "m": "os", "v": "system"},
    ],
)
def test_only_an_object_with_a_number_gets_a_stand_in(value):
    with pytest.raises(BadFrame):
        stand(liar({"ok": True, "value": value})).x  # noqa: B018


@pytest.mark.parametrize("value", [{"n": 1}, [["f"]], [["f", 1, 2]], [["g", 1]], [7], [[["f"], 1]]])
def test_names_that_nobody_asked_for_do_not_come(value):
    with contextlib.suppress(BadFrame):
        assert liar({"ok": True, "value": value}).names(["f"]) == {}


@pytest.mark.parametrize("length", [-1, True, 2**31, 3.0, "3", None])
def test_a_length_is_a_number_of_a_sensible_size(length):
    with pytest.raises(TypeError):
        len(stand(liar({"ok": True, "value": length})))


@pytest.mark.parametrize("items", ["abc", {"!": "dict", "v": [[1, 2]]}, 3, {"!": "tuple", "v": []}])
def test_what_is_iterated_is_a_list(items):
    with pytest.raises(TypeError):
        list(stand(liar({"ok": True, "value": items})))


@pytest.mark.parametrize("text", [1, None, ["a"], {"!": "bytes", "v": ""}])
def test_the_text_of_an_object_is_a_text(text):
    with pytest.raises(TypeError):
        str(stand(liar({"ok": True, "value": text})))


def test_an_object_without_a_name_is_lost_with_its_process_and_one_with_a_name_is_found():
    box = Box(Stack=Stack)
    named, made = box["Stack"], box["Stack"](1)
    box.desk = _Desk(box.desk.shell, line=None)  # another process, which ran the same cells
    box.ask.generation += 1
    assert list(named(2)) == [2]
    with pytest.raises(Gone, match="started again"):
        len(made)
    del box.names["Stack"]
    box.ask.generation += 1
    with pytest.raises(NameError, match="'Stack' is not defined"):
        named()


def test_a_name_that_became_data_meanwhile_is_not_called():
    box = Box(f=lambda: 1)
    function = box["f"]
    box.names["f"] = 7
    box.ask.generation += 1
    with pytest.raises((NameError, KeyError, TypeError)):
        function()
