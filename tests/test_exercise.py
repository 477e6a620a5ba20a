"""Cases: what they accept, what learners read, and what hidden ones keep to themselves."""

import contextlib
import io
import linecache
import math
import re
import sys
import textwrap
import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tqdm import tqdm

from w2s_lab import exercise
from w2s_lab.exercise import Marks, score

GIVEN, WANTED = 0.123456, 0.654321  # what a hidden case hands over, and what it wants back
finite = st.floats(allow_nan=False, allow_infinity=False)


def named(value):
    """A test's id: with an address in it two workers would collect different tests."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))[:60]


@pytest.fixture(autouse=True)
def no_scores(monkeypatch):
    monkeypatch.setattr(exercise, "SCORES", {})


def tried(block, *, hidden=False):
    """What one case prints below its title; "" where it holds."""
    marks, out = Marks("t", hidden=hidden), io.StringIO()
    with contextlib.redirect_stdout(out), marks.case("A case"):
        block(marks)
    first, *rest = out.getvalue().splitlines()
    assert first == ("✗ A case (0 of 1 point)" if rest else "✓ A case (1 point)")
    assert marks.points == (0 if rest else 1)
    assert all(line.startswith("  ") and len(line) <= exercise.WIDTH for line in rest)
    return " ".join(line.strip() for line in rest)


def learners(code, **names):
    """The names that a learner's cell defines, as a notebook would run it."""
    names = {"__name__": "__main__", **names}
    code = textwrap.dedent(code)
    linecache.cache["<answer>"] = (len(code), None, code.splitlines(keepends=True), "<answer>")
    exec(compile(code, "<answer>", "exec"), names)
    return names


def stub():
    raise NotImplementedError()


# --- points ---------------------------------------------------------------------------------------


def test_a_failing_case_costs_its_own_points_only(capsys):
    marks = Marks("pgr")
    with marks.case("First", points=2):
        marks.near(0.25, 0.25)
    with marks.case("Second"):
        marks.near(0.5, 0.25)
        raise AssertionError("a case ends where it fails")
    with marks.case("Third", points=0.5):
        marks.same("b", "b")
    # 2 + 0 + 0.5 of 2 + 1 + 0.5
    assert marks.total() == 2.5
    assert capsys.readouterr().out == (
        "✓ First (2 points)\n"
        "✗ Second (0 of 1 point)\n"
        "  It is 0.5; 0.25 was expected, give or take 1e-06.\n"
        "✓ Third (0.5 points)\n"
        "pgr: 2.5 of 3.5 points on visible cases\n"
    )


@pytest.mark.parametrize(
    ("points", "text"),
    [([], "0.0"), ([0], "0.0"), ([1], "1.0"), ([1, 2], "3.0"), ([0.1, 0.2], "0.3")],
)
@pytest.mark.parametrize("number", [float, np.float64])
def test_the_total_is_a_float_that_prints_plainly_and_never_exceeds_its_cell(points, text, number):
    marks = Marks("t")
    for worth in points:
        with marks.case("Holds", points=number(worth)):
            pass
    assert (type(marks.total()), repr(marks.total())) == (float, text)


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=12))
def test_the_total_is_the_sum_of_the_cases_that_hold(cases):
    marks = Marks("t", hidden=True)  # points in tenths, as an author writes them
    with contextlib.redirect_stdout(io.StringIO()):
        for tenths, right in cases:
            with marks.case("One", points=tenths / 10):
                marks.holds(right, "No.")
        assert marks.total() == sum(tenths for tenths, right in cases if right) / 10


def test_the_score_lists_visible_points_task_by_task_and_the_last_run_counts(capsys):
    score()
    assert capsys.readouterr().out == "No check has been run yet.\n"
    for task, hidden, right in [
        ("pgr", False, False),
        ("interval", False, True),
        ("pgr", True, True),
        ("essay", True, True),
        ("pgr", False, True),
    ]:
        marks = Marks(task, hidden=hidden)
        with marks.case("One", points=1.5):
            marks.holds(right, "No.")
        with marks.case("Two"):
            marks.holds(False, "No.")
        marks.total()
    assert capsys.readouterr().out.endswith("pgr: 1.5 of 2.5 points on visible cases\n")
    score()
    assert capsys.readouterr().out == (
        "pgr       1.5 of 2.5\ninterval  1.5 of 2.5\ntogether  3 of 5 on visible cases\n"
    )


def test_hidden_points_are_told_as_hidden_and_stay_out_of_the_score(capsys):
    marks = Marks("pgr", hidden=True)
    with marks.case("One"):
        pass
    assert marks.total() == 1
    assert capsys.readouterr().out.endswith("pgr: 1 of 1 point on hidden cases\n")
    assert exercise.SCORES == {}


def test_a_check_without_points_says_where_they_are_and_stays_out_of_the_score(capsys):
    marks = Marks("letters")
    with marks.case("Each has a letter", points=0):
        pass
    with marks.case("Each is small", points=0):
        marks.holds(False, "Write small letters.")
    assert marks.total() == 0.0
    assert capsys.readouterr().out == (
        "✓ Each has a letter\n✗ Each is small\n  Write small letters.\n"
        "letters: its points are on hidden cases\n"
    )
    assert exercise.SCORES == {}


# --- numbers --------------------------------------------------------------------------------------

EMPTY = "Nothing is written here yet."
NO_RETURN = "It is None: is there a `return`?"
NOT_CALLED = "It is a function: is it called, with brackets?"
NAN = "It contains nan: a division by 0, perhaps, or the logarithm of 0."


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (1, 1.0),
        (True, 1),
        (Fraction(1, 4), 0.25),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.array(0.5), 0.5),
        (torch.tensor(0.5), 0.5),
        (torch.tensor(0.5, dtype=torch.bfloat16), 0.5),
        (torch.tensor([0.5, 2.0], requires_grad=True), [0.5, 2]),
        (torch.tensor([1, 2]), [1, 2]),
        (torch.tensor([True, False]), [1, 0]),
        ((1, 2), np.array([1.0, 2.0])),
        ([[1, 2], [3, 4]], torch.tensor([[1.0, 2.0], [3.0, 4.0]])),
        ([torch.tensor(1.0, requires_grad=True), np.float64(2)], [1, 2]),
        ([torch.tensor([1.0], dtype=torch.bfloat16), [2]], [[1], [2]]),
        ([], []),
        (math.nan, math.nan),
        ([1, math.nan], [1, math.nan]),
        ([math.inf, -math.inf], [math.inf, -math.inf]),
    ],
    ids=named,
)
@pytest.mark.parametrize("hidden", [False, True])
def test_numbers_agree_whatever_holds_them(got, expected, hidden):
    assert tried(lambda marks: marks.near(got, expected), hidden=hidden) == ""


@pytest.mark.parametrize(
    ("got", "expected", "told"),
    [
        (0.5, 0.25, "It is 0.5; 0.25 was expected, give or take 1e-06."),
        (1 / 3, 2, "It is 0.333333; 2 was expected, give or take 1e-06."),
        (np.float64(0.5), 1, "It is 0.5; 1 was expected, give or take 1e-06."),
        (-math.inf, 1, "It is -inf; 1 was expected, give or take 1e-06."),
        (1, math.nan, "It is 1; nan was expected, give or take 1e-06."),
        (
            torch.tensor([0.5, 1 / 3], requires_grad=True),
            [1, 2],
            "It is [0.5 , 0.3333]; [1., 2.] was expected, give or take 1e-06.",
        ),
        (
            [[1, 2], [3, 4]],
            [[1, 2], [3, 5]],
            "It is [[1., 2.], [3., 4.]]; [[1., 2.], [3., 5.]] was expected, give or take 1e-06.",
        ),
        (
            range(9),
            [0] * 9,
            "It is [0., 1., 2., ..., 6., 7., 8.]; [0., 0., 0., ..., 0., 0., 0.] was expected, "
            "give or take 1e-06.",
        ),
        (
            # 0.25 + 0.000004 shows as 0.25 in six digits of a list's four
            [0.250004, 1],
            [0.25, 1],
            "It is [0.25, 1. ]; [0.25, 1. ] was expected, give or take 1e-06. "
            "The largest difference is 4e-06.",
        ),
        (
            [0] * 9,
            [0] * 4 + [3] + [0] * 4,
            "It is [0., 0., 0., ..., 0., 0., 0.]; [0., 0., 0., ..., 0., 0., 0.] was expected, "
            "give or take 1e-06. The largest difference is 3.",
        ),
        ([0.5], 0.5, "Its shape is (1,); () was expected."),
        (0.5, [0.5], "Its shape is (); (1,) was expected."),
        ([[1, 2, 3]], [1, 2, 3], "Its shape is (1, 3); (3,) was expected."),
        ([], [1], "Its shape is (0,); (1,) was expected."),
        (math.nan, 1, NAN),
        ([1, math.nan], [1, 2], NAN),
        (None, 1, NO_RETURN),
        (..., 1, EMPTY),
        ("", 1, EMPTY),
        (len, 1, NOT_CALLED),
        (lambda: 1, 1, NOT_CALLED),
        (torch.mean, 1, NOT_CALLED),
        ("0.5", 0.5, "It is a str where numbers were expected."),
        ("half", 0.5, "It is a str where numbers were expected."),
        (["0.5", "1"], [0.5, 1], "It is a list where numbers were expected."),
        ([0.5, None], [0.5, math.nan], "It is a list where numbers were expected."),
        ([0.5, ...], [0.5, 1], "It is a list where numbers were expected."),
        ([[1, 2], [3]], [[1, 2], [3, 4]], "It is a list where numbers were expected."),
        ({"pgr": 1}, 1, "It is a dict where numbers were expected."),
        ({1}, 1, "It is a set where numbers were expected."),
        (1j, 1, "It is a complex where numbers were expected."),
        (np.array(["a"]), [1], "It is a ndarray where numbers were expected."),
        ((x for x in "ab"), [1, 2], "It is a generator where numbers were expected."),
    ],
    ids=named,
)
def test_a_wrong_number_is_told_so_that_it_can_be_mended(got, expected, told):
    assert tried(lambda marks: marks.near(got, expected)) == told
    hidden = tried(lambda marks: marks.near(got, expected), hidden=True)
    fixed = (EMPTY, NO_RETURN, NOT_CALLED)
    assert hidden == (told if told in fixed else "The result is not the expected one.")


@given(finite, finite, st.floats(0, 1e9))
def test_near_accepts_exactly_what_is_no_further_away_than_the_tolerance(got, expected, tolerance):
    told = tried(lambda marks: marks.near(got, expected, tolerance=tolerance))
    assert (told == "") == (abs(got - expected) <= tolerance)


@given(st.integers(-1000, 1000), st.integers(0, 1000))
def test_the_edge_of_the_tolerance_is_still_right(expected, tolerance):
    # Whole numbers, so that expected ± tolerance is exact; half a unit further is wrong
    for side in (-1, 1):
        for beyond in (0, 0.5):
            got = expected + side * (tolerance + beyond)
            told = tried(
                lambda marks, got=got: marks.near(got, expected, tolerance=tolerance),
            )
            assert (told == "") == (beyond == 0)


@given(st.lists(finite, max_size=6), st.data())
def test_one_entry_that_is_off_makes_the_whole_list_wrong(expected, data):
    assert tried(lambda marks: marks.near(np.array(expected), expected)) == ""
    if expected:
        place = data.draw(st.integers(0, len(expected) - 1))
        got = [*expected]
        got[place] = -1 if expected[place] > 0 else 1
        assert tried(lambda marks: marks.near(got, expected)) != ""


# --- names, lists, dicts --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        ("Bob", "Bob"),
        (np.str_("Bob"), "Bob"),
        (np.int64(3), 3),
        (torch.tensor(3), 3),
        (np.array([1, 2]), [1, 2]),
        (torch.tensor([1, 2]), (1, 2)),
        (torch.tensor([1.0, 2.0], dtype=torch.bfloat16, requires_grad=True), [1, 2]),
        (("words", np.int64(8)), ["words", 8]),
        ([np.array([1]), (2,)], [[1], [2]]),
        ({"a": np.array([1])}, {"a": [1]}),
        ({np.int64(1): "a"}, {1: "a"}),
        ({("a", "b"): 1}, {("a", "b"): 1}),
        ({1, 2}, {2, 1}),
        (True, np.True_),
        (None, None),
        ([], ()),
    ],
    ids=named,
)
@pytest.mark.parametrize("hidden", [False, True])
def test_plain_values_are_the_same_whatever_holds_them(got, expected, hidden):
    assert tried(lambda marks: marks.same(got, expected), hidden=hidden) == ""


@pytest.mark.parametrize(
    ("got", "expected", "told"),
    [
        ("Ann", "Bob", "It is Ann; Bob was expected."),
        ([1, 2], [2, 1], "It is [1, 2]; [2, 1] was expected."),
        (np.array([1, 2]), [1], "It is [1, 2]; [1] was expected."),
        ({"a": torch.tensor(1)}, {"a": 2}, "It is {'a': 1}; {'a': 2} was expected."),
        ({np.int64(1): 2}, {1: 3}, "It is {1: 2}; {1: 3} was expected."),
        ("3", 3, "It is '3'; 3 was expected."),
        ("Bob ", "Bob", "It is 'Bob '; 'Bob' was expected."),
        ("x" * 200, "b", f"It is {'x' * 80} {'x' * 37}...; b was expected."),
        (None, "Bob", NO_RETURN),
        ("", "Bob", EMPTY),
        (..., "Bob", EMPTY),
        (len, "Bob", NOT_CALLED),
    ],
    ids=named,
)
def test_another_value_is_told_beside_the_expected_one(got, expected, told):
    assert tried(lambda marks: marks.same(got, expected)) == told
    hidden = tried(lambda marks: marks.same(got, expected), hidden=True)
    fixed = (EMPTY, NO_RETURN, NOT_CALLED)
    assert hidden == (told if told in fixed else "The result is not the expected one.")


plain = st.recursive(
    st.integers() | st.booleans() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)


@given(plain, plain)
def test_same_agrees_with_python_on_plain_values(got, expected):
    assert (tried(lambda marks: marks.same(got, expected)) == "") == (got == expected)


# --- known mistakes -------------------------------------------------------------------------------

SWAPPED = "Your denominator is ceiling − student; PGR divides by ceiling − weak."


@pytest.mark.parametrize(
    ("how", "got", "expected", "wrong"),
    [
        ("near", 1 / 3, 0.25, 1 / 3),
        ("near", torch.tensor([1.0, 2.0]), [2, 1], np.array([1, 2])),
        ("near", [1, 2, 3], [1, 2], [1, 2, 3]),
        ("near", math.nan, 0.25, math.nan),
        ("same", "b", "a", "b"),
        ("same", "", "a", ""),
        ("same", None, "a", None),
        ("same", np.array([1, 2]), [2, 1], (1, 2)),
    ],
)
@pytest.mark.parametrize("hidden", [False, True])
def test_a_known_mistake_is_told_in_the_authors_words(how, got, expected, wrong, hidden):
    def block(marks):
        getattr(marks, how)(got, expected, mistakes={"Another one.": -7, SWAPPED: wrong})

    assert tried(block, hidden=hidden) == SWAPPED


def test_what_is_near_enough_is_right_though_a_mistake_lies_as_near():
    # |1.08 - 1| = 0.08 and |1.08 - 1.15| = 0.07 are both within 0.1, and 1.15 is not right itself
    def block(marks):
        marks.near(1.08, 1, tolerance=0.1, mistakes={SWAPPED: 1.15})

    assert tried(block) == ""


@pytest.mark.parametrize(
    ("how", "got", "expected", "wrong"),
    [
        ("near", 0.25, 0.25, 0.25),
        ("near", 0.5, 0.25, 0.25 + 1e-7),
        ("near", None, [1, 2], (1, 2)),
        ("same", "a", "a", "a"),
        ("same", "b", (1,), [1]),
    ],
)
@pytest.mark.parametrize("hidden", [False, True])
def test_a_mistake_that_gives_the_expected_result_is_the_authors_fault(
    how, got, expected, wrong, hidden
):
    def block(marks):
        getattr(marks, how)(got, expected, mistakes={"You turned it round.": wrong})

    assert tried(block, hidden=hidden) == (
        "This case is at fault, not your answer: the mistake 'You turned it round.' gives the "
        "expected result. Tell your teacher."
    )


# --- properties and refusals ----------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [False, True])
def test_a_property_holds_or_objects_with_the_authors_words(hidden):
    for right in (True, np.True_, torch.tensor(True), [0]):
        assert tried(lambda marks, right=right: marks.holds(right, "No."), hidden=hidden) == ""
    for wrong in (False, np.False_, torch.tensor(False), 0, None):
        words = tried(lambda marks, wrong=wrong: marks.holds(wrong, "It fell."), hidden=hidden)
        assert words == "It fell."


NO_NAME = "There is no name 'choose' yet: run the cell that defines it."


def fails(error):
    raise error


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: fails(ValueError("no gap")), ""),
        (lambda: fails(KeyError("weak")), ""),
        (lambda: 1 / 0, ""),
        (lambda: fails(AssertionError()), ""),
        (lambda: fails(NotImplementedError("not for halves")), ""),
        (lambda: 0.5, "Refuse a negative budget."),
        (lambda: None, "Refuse a negative budget."),
        (stub, EMPTY),
        (lambda: fails(AssertionError("raise NotImplementedError()")), EMPTY),
    ],
)
@pytest.mark.parametrize("hidden", [False, True])
def test_an_error_refuses_a_result_does_not_and_neither_does_the_stub(call, told, hidden):
    block = lambda marks: marks.refuses(call, "Refuse a negative budget.")  # noqa: E731
    assert tried(block, hidden=hidden) == told


@pytest.mark.parametrize("hidden", [False, True])
def test_an_answer_that_is_not_there_refuses_nothing(hidden, capsys):
    names = learners(f"""
        marks = Marks("t", hidden={hidden})
        with marks.case("A case"):
            marks.refuses(lambda: choose(-1), "Refuse a negative budget.")
        """, Marks=Marks)  # fmt: skip
    assert names["marks"].points == 0
    assert capsys.readouterr().out == f"✗ A case (0 of 1 point)\n  {NO_NAME}\n"


# --- code that stops ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        NotImplementedError(),
        AssertionError("raise NotImplementedError()"),
        AssertionError("NotImplementedError: "),
        RuntimeError("stopped with NotImplementedError"),
    ],
    ids=named,
)
@pytest.mark.parametrize("hidden", [False, True])
def test_a_stub_is_told_as_not_written_wherever_it_ran(error, hidden):
    assert tried(lambda marks: fails(error), hidden=hidden) == EMPTY


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero (at `1 / 0`)"),
        ("raise ValueError", "ValueError (at `raise ValueError`)"),
        ("assert x < 0", "AssertionError (at `assert x < 0`)"),
        ("{}['weak']", "KeyError: 'weak' (at `{}['weak']`)"),
        (
            "x += low; low = 1",
            "UnboundLocalError: cannot access local variable 'low' where it is not associated "
            "with a value (at `x += low; low = 1`)",
        ),
        (
            "np.linalg.inv(np.zeros((2, 2)))",
            "LinAlgError: Singular matrix (at `np.linalg.inv(np.zeros((2, 2)))`)",
        ),
        ("raise SystemExit('no gap')", "SystemExit: no gap (at `raise SystemExit('no gap')`)"),
        ("sys.exit(1)", "SystemExit: 1 (at `sys.exit(1)`)"),
        # torch says so of its own gaps: the learner has written something
        (
            "raise NotImplementedError('not for halves')",
            "NotImplementedError: not for halves (at `raise NotImplementedError('not for "
            "halves')`)",
        ),
    ],
)
def test_an_error_is_told_with_the_learners_own_line(code, told):
    f = learners(f"def f(x):\n    {code}\n", np=np, sys=sys)["f"]
    assert tried(lambda marks: f(1)) == f"Your code stopped with {told}"


def test_a_name_that_is_missing_asks_for_its_cell():
    names = learners("def f(x):\n    return helper(x)\n")
    told = tried(lambda marks: names["f"](1))
    assert told == "There is no name 'helper' yet: run the cell that defines it."


def test_an_exception_that_cannot_say_what_it_is_costs_its_own_case_only():
    names = learners("""
        class NoGap(Exception):
            def __str__(self):
                return self.words
        def f(x):
            raise NoGap
        """)
    told = tried(lambda marks: names["f"](1))
    assert told == "Your code stopped with NoGap (at `raise NoGap`)"


def test_a_deep_recursion_costs_its_own_case_only():
    f = learners("def f(x):\n    return f(x)\n")["f"]
    assert "RecursionError" in tried(lambda marks: f(1))


@pytest.mark.parametrize("hidden", [False, True])
def test_leaving_the_interpreter_costs_its_own_case_only(hidden, capsys):
    marks = Marks("t", hidden=hidden)
    with marks.case("Leaves"):
        sys.exit("saw 0.123456")
    with marks.case("Stays"):
        pass
    assert marks.total() == 1
    assert ("0.123456" in capsys.readouterr().out) == (not hidden)


@pytest.mark.parametrize("hidden", [False, True])
def test_an_endless_loop_that_is_stopped_ends_the_cell(hidden, capsys):
    out, err, marks = sys.stdout, sys.stderr, Marks("t", hidden=hidden)
    with pytest.raises(KeyboardInterrupt), marks.case("Loops"):
        raise KeyboardInterrupt
    assert (sys.stdout, sys.stderr) == (out, err)
    assert marks.points == 0
    assert capsys.readouterr().out == ""


# --- noise ----------------------------------------------------------------------------------------

NOISE = """
import sys, warnings
def f(x):
    warnings.warn(f"saw {x}")
    warnings.warn(f"saw {x}", DeprecationWarning)
    np.log(np.array([0.0]))
    for _ in tqdm(range(2), desc=f"saw {x}"):
        print("saw", x, file=sys.stderr)
    print("saw", x)
    return x
"""


def test_prints_warnings_and_progress_cost_nothing_and_stay_off_standard_error(capfd):
    f = learners(NOISE, np=np, tqdm=tqdm)["f"]
    marks = Marks("t")
    with marks.case("Loud"):
        marks.near(f(0.5), 0.5)
    assert marks.total() == 1
    out, err = capfd.readouterr()
    assert err == ""
    assert "saw 0.5" in out and "Warning" not in out
    assert out.endswith("✓ Loud (1 point)\nt: 1 of 1 point on visible cases\n")


def test_a_hidden_case_prints_its_title_alone_however_loud_the_code_is(capfd):
    f = learners(NOISE, np=np, tqdm=tqdm)["f"]
    marks = Marks("t", hidden=True)
    with marks.case("Loud"):
        marks.near(f(GIVEN), GIVEN)
    assert capfd.readouterr() == ("✓ Loud (1 point)\n", "")


def test_warnings_are_back_after_a_case(capsys):
    with Marks("t").case("Quiet"):
        warnings.warn("unheard", stacklevel=1)
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)


# --- hidden cases ---------------------------------------------------------------------------------

NOT_IT = "The result is not the expected one."


def stops(name):
    return f"Your code stopped with {name}."


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("return x", NOT_IT),
        ("return [x, x]", NOT_IT),
        ("return str(x)", NOT_IT),
        ("return type(f'saw {x}', (), {})()", NOT_IT),
        ("raise ValueError(x)", stops("ValueError")),
        ("raise AssertionError(f'saw {x}')", stops("AssertionError")),
        ("raise type(f'saw {x}', (Exception,), {})", stops("an exception")),
        ("raise type(f'saw {x}', (BaseException,), {})(x)", stops("an exception")),
        ("raise type('ValueError', (Exception,), {})(x)", stops("an exception")),
        ("raise type('E', (Exception,), {'__str__': lambda e: print(x) or 'E'})",
         stops("an exception")),
        ("raise type('E', (ValueError,), {'__repr__': lambda e: f'saw {x}'})",
         stops("an exception")),
        ("raise NameError(f'saw {x}', name=f'saw {x}')", stops("NameError")),
        ("return eval(f'saw_{x}'.replace('.', '_'))", stops("NameError")),
        ("return {}[x]", stops("KeyError")),
        ("return x[f'saw {x}']", stops("TypeError")),
        ("return getattr(x, f'saw {x}')", stops("AttributeError")),
        ("return __import__(f'saw {x}')", stops("ModuleNotFoundError")),
        ("return float(f'saw {x}')", stops("ValueError")),
        ("raise ExceptionGroup(f'saw {x}', [ValueError(x)])", stops("ExceptionGroup")),
        ("raise SystemExit(f'saw {x}')", stops("SystemExit")),
        ("e = ValueError(); e.add_note(f'saw {x}'); raise e", stops("ValueError")),
        ("raise ValueError from RuntimeError(x)", stops("ValueError")),
        ("import warnings; warnings.simplefilter('error'); warnings.warn(f'saw {x}')",
         stops("UserWarning")),
        ("raise type('E', (Exception,), {'__str__': lambda e: 1 / x / 0})", stops("an exception")),
        ("import logging; logging.getLogger('w').warning(f'saw {x}'); return x", NOT_IT),
        ("import traceback\n    try: 1 / 0\n    except Exception: traceback.print_exc()\n"
         "    print(x); return x", NOT_IT),
        ("import threading; t = threading.Thread(target=print, args=(x,)); t.start(); t.join()\n"
         "    return x", NOT_IT),
        ("class D:\n        def __del__(self): print('saw', x)\n    D(); return x", NOT_IT),
        ("class D:\n        def __del__(self): raise ValueError(x)\n    D(); return x", NOT_IT),
        ("class A:\n        def __array__(self, *a, **k): print(x); raise TypeError(x)\n"
         "    return A()", stops("TypeError")),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")  # pytest hears of an error in __del__ before the case does
def test_a_hidden_case_shows_neither_what_it_gives_nor_what_it_wants(code, told, capfd):
    f = learners(f"def f(x):\n    {code}\n")["f"]
    marks = Marks("t", hidden=True)
    with marks.case("Numbers of your own"):
        marks.near(f(GIVEN), WANTED)
    assert marks.total() == 0
    assert capfd.readouterr() == (
        f"✗ Numbers of your own (0 of 1 point)\n  {told}\nt: 0 of 1 point on hidden cases\n",
        "",
    )


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("return type('E', (), {'__repr__': lambda e: f'saw {x}'})()", NOT_IT),
        ("return type('E', (), {'__eq__': lambda e, other: print(x, other)})()", NOT_IT),
        ("return [x]", NOT_IT),
        ("return f'saw {x}'", NOT_IT),
    ],
)
def test_a_hidden_comparison_shows_neither_side(code, told, capfd):
    f = learners(f"def f(x):\n    {code}\n")["f"]
    with Marks("t", hidden=True).case("Names"):
        Marks("t", hidden=True).same(f(GIVEN), WANTED, mistakes={SWAPPED: "a"})
    assert capfd.readouterr() == (f"✗ Names (0 of 1 point)\n  {told}\n", "")


def test_a_hidden_case_names_what_it_calls_itself_where_that_is_missing(capsys):
    learners("""
        with Marks("t", hidden=True).case("A case"):
            marks.near([choose(x) for x in (1, 2)], [1, 2])
        """, Marks=Marks, marks=Marks("t", hidden=True))  # fmt: skip
    assert capsys.readouterr().out == f"✗ A case (0 of 1 point)\n  {NO_NAME}\n"


@given(st.floats(1e-9, 1e9), st.floats(1e-9, 1e9))
def test_what_a_hidden_case_says_of_a_wrong_number_does_not_depend_on_it(got, expected):
    told = tried(lambda marks: marks.near(got, expected), hidden=True)
    assert told in ("", NOT_IT)


def test_marks_keep_each_case_with_what_was_said(capsys):
    marks = Marks("t")
    with marks.case("holds", points=2):
        pass
    with marks.case("does not", points=0.5):
        marks.holds(False, "Because.")
    assert marks.cases == [("holds", 2, 2, ""), ("does not", 0, 0.5, "Because.")]


def test_the_line_that_another_process_told_is_shown(capsys):
    marks = Marks("t")
    with marks.case("one"):
        error = ValueError("no")
        error.line = "return 1 / 0"
        raise error
    assert "ValueError: no (at `return 1 / 0`)" in capsys.readouterr().out


def test_by_reference_holds_within_its_block_alone_and_may_be_nested():
    assert not exercise.BY_REFERENCE
    with contextlib.suppress(ValueError), exercise.by_reference():
        with exercise.by_reference():
            assert exercise.BY_REFERENCE
        assert exercise.BY_REFERENCE
        raise ValueError
    assert not exercise.BY_REFERENCE


@pytest.mark.slow  # starts a kernel
def test_in_a_notebook_a_hidden_cell_shows_nothing_and_the_points_can_be_read():
    import nbformat
    from nbclient import NotebookClient

    def cells(answer, hidden):
        return [
            f"import sys\nfrom w2s_lab.exercise import Marks\ndef f(x):\n    {answer}",
            f"marks = Marks('t', hidden={hidden})\nwith marks.case('One'):\n"
            f"    marks.near(f({GIVEN}), {WANTED})\nwith marks.case('Two'):\n    pass\n"
            "marks.total()",
        ]

    tries = [("display(x); return x", True), ("sys.exit(x)", True), ("1 / 0", False)]
    code = [cell for one in tries for cell in cells(*one)]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in code])
    NotebookClient(notebook, timeout=120).execute()
    shown, left, failed = (
        [(out.output_type, out.get("text") or out.data["text/plain"]) for out in cell.outputs]
        for cell in notebook.cells[1::2]
    )
    last = "✓ Two (1 point)\nt: 1 of 2 points on hidden cases\n"
    first = "✗ One (0 of 1 point)\n"
    assert shown == [("stream", f"{first}  {NOT_IT}\n{last}"), ("execute_result", "1.0")]
    assert left == [
        ("stream", f"{first}  {stops('SystemExit')}\n{last}"),
        ("execute_result", "1.0"),
    ]
    assert "stopped with ZeroDivisionError: division by zero (at `1 / 0`)" in failed[0][1]
