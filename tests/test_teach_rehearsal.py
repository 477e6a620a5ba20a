"""Rehearsals: a notebook's test cells give what nbgrader would read, and bad cells are refused."""

import contextlib
import io
import textwrap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat import v4

from w2s_lab.errors import W2SError
from w2s_lab.teach.rehearsal import Outcome, rehearse


def cell(code, id="", *, points=None, solution=False):
    """A code cell: plain without an id, else given, an answer, or a test with its points."""
    new = v4.new_code_cell(textwrap.dedent(code), id=id or "plain")
    if id:
        test = points is not None
        locked = not solution
        new.metadata.nbgrader = {"grade_id": id, "grade": test, "solution": solution}
        new.metadata.nbgrader |= {"locked": locked, **({"points": points} if test else {})}
    return new


def notebook(*cells):
    return v4.new_notebook(cells=list(cells))


def task(name, answer, check="2.0 * right", hidden="3.0 * right"):
    """A task whose test cells give their points where its answer assigns `right = 1`."""
    essay = {"grade_id": f"{name}-essay", "grade": True, "solution": True, "locked": False}
    return (
        v4.new_markdown_cell(f"## {name}"),
        cell(answer, name, solution=True),
        cell(check, f"{name}-check", points=2),
        cell(hidden, f"{name}-hidden", points=3),
        v4.new_markdown_cell("An essay", metadata={"nbgrader": essay | {"points": 4}}),
    )


# --- points ---------------------------------------------------------------------------------------


def test_a_test_cell_gives_the_value_that_it_ends_with_and_what_it_printed(capfd):
    found = rehearse(notebook(*task("pgr", "right = 1", check="print('✓')\n1.0\nright * 1.5")))
    assert found == {
        "pgr-check": Outcome(1.5, 2, "✓\n"),
        "pgr-hidden": Outcome(3.0, 3, ""),
    }
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("check", "printed"),
    [
        ("print('so far')\n1 / 0\n2.0", "so far\nZeroDivisionError: division by zero\n"),
        ("raise ValueError('no gap')", "ValueError: no gap\n"),
        ("missing(1)\n2.0", "NameError: name 'missing' is not defined\n"),
        ("import sys\nsys.exit(1)\n2.0", "SystemExit: 1\n"),
        ("2.0 +", "SyntaxError: invalid syntax (pgr-check, line 1)\n"),
        ("2.0\nright.points", "AttributeError: 'int' object has no attribute 'points'\n"),
    ],
)
def test_a_test_cell_that_stops_gives_nothing_and_says_why(check, printed):
    found = rehearse(notebook(*task("pgr", "right = 1", check=check)))
    assert found["pgr-check"] == Outcome(0.0, 2, printed)
    assert found["pgr-hidden"].points == 3


@pytest.mark.parametrize(
    ("check", "value"),
    [
        ("points = 2.0", "None"),
        ("", "None"),
        ("# nothing", "None"),
        ("if right:\n    2.0", "None"),
        ("None", "None"),
        ("2", "2"),
        ("True", "True"),
        ("'2.0'", "'2.0'"),
        ("2.5", "2.5"),
        ("-0.5", "-0.5"),
        ("float('nan')", "nan"),
        ("0.1 + 1.9000000000000004", "2.0000000000000004"),
        # float("np.float64(2.0)") is a ValueError, and nbgrader then gives every point
        ("import numpy\nnumpy.float64(2)", repr(np.float64(2))),
    ],
)
def test_a_test_cell_that_does_not_end_with_its_points_is_refused(check, value):
    with pytest.raises(W2SError) as caught:
        rehearse(notebook(*task("pgr", "right = 1", check=check)))
    assert str(caught.value) == (
        f"pgr-check: the test cell ends with {value}, not with points up to 2; "
        "end it with `marks.total()`; its cases add up to them"
    )


@given(st.floats(allow_nan=False), st.integers(0, 20))
def test_exactly_the_points_from_none_to_all_are_taken(value, most):
    made = notebook(cell(f"float('{value!r}')", "pgr-check", points=most))
    if 0 <= value <= most:
        assert rehearse(made) == {"pgr-check": Outcome(value, most, "")}
    else:
        with pytest.raises(W2SError, match="not with points up to"):
            rehearse(made)


def test_a_test_cell_may_be_worth_nothing():
    assert rehearse(notebook(cell("0.0", "a-check", points=0)))["a-check"].most == 0


def test_cases_give_part_of_the_points():
    code = """
        from w2s_lab.exercise import Marks
        marks = Marks("pgr")
        for right in (True, False, True):
            with marks.case("One", points=0.1):
                marks.holds(right, "No.")
        marks.total()
        """
    [outcome] = rehearse(notebook(cell(code, "pgr-check", points=0.2))).values()
    assert outcome == Outcome(
        0.2,
        0.2,
        "✓ One (0.1 points)\n✗ One (0 of 0.1 points)\n  No.\n✓ One (0.1 points)\n"
        "pgr: 0.2 of 0.3 points on visible cases\n",
    )


# --- answers --------------------------------------------------------------------------------------

TWO = notebook(
    cell("base = 1", "setup-given"),
    *task("pgr", "right = base"),
    cell("print('between'); base"),
    *task("gap", "right = base"),
)


def points(found):
    return {id: outcome.points for id, outcome in found.items()}


def test_answers_replace_the_notebooks_own_by_name_and_leave_the_notebook_alone():
    before = TWO.copy()
    found = rehearse(TWO, {"gap": "right = 0.5"})
    assert points(found) == {"pgr-check": 2, "pgr-hidden": 3, "gap-check": 1, "gap-hidden": 1.5}
    assert points(rehearse(TWO)) == dict.fromkeys(found, 2) | {"pgr-hidden": 3, "gap-hidden": 3}
    assert before == TWO


@pytest.mark.parametrize(
    "answer",
    ["1 / 0", "right =", "raise NotImplementedError()", "import sys; sys.exit()", "", "pass"],
)
def test_an_answer_that_fails_or_does_nothing_leaves_its_names_undefined(answer):
    found = rehearse(notebook(*task("pgr", "right = 1")), {"pgr": answer})
    printed = "NameError: name 'right' is not defined\n"
    assert found == {
        "pgr-check": Outcome(0.0, 2, printed),
        "pgr-hidden": Outcome(0.0, 3, printed),
    }


def test_test_cells_and_given_cells_are_no_answers():
    changed = {"pgr-check": "2.0", "pgr-hidden": "3.0", "setup-given": "base = 0.5", "plain": "x"}
    assert rehearse(TWO, changed) == rehearse(TWO)


def test_one_task_runs_alone_after_the_cells_that_belong_to_none():
    code = "ran = globals().get('ran', []) + [{!r}]"
    ran = cell("print(ran)\n0.0", "b-hidden", points=1)
    made = notebook(
        cell(code.format("given"), "setup-given"),
        cell(code.format("a"), "a", solution=True),
        cell("1 / 0\n" + code.format("a-check"), "a-check", points=1),
        cell(code.format("plain")),
        cell(code.format("b"), "b", solution=True),
        cell(code.format("b-check") + "\n1.0", "b-check", points=1),
        ran,
        cell(code.format("late"), "late-given"),
    )
    found = rehearse(made, task="b")
    assert list(found) == ["b-check", "b-hidden"]
    assert found["b-hidden"].printed == "['given', 'plain', 'b', 'b-check']\n"


@pytest.mark.parametrize("name", ["spot-check", "un-hidden", "b-hidden-check"])
def test_a_task_may_be_named_like_a_test_cell(name):
    made = notebook(*task("a", "right = 1"), *task(name, "right = 1"))
    assert points(rehearse(made, task=name)) == {f"{name}-check": 2, f"{name}-hidden": 3}
    assert points(rehearse(made, task="a")) == {"a-check": 2, "a-hidden": 3}


def test_no_name_survives_from_one_rehearsal_to_the_next():
    assert points(rehearse(TWO))["pgr-check"] == 2
    assert "NameError" in rehearse(TWO, {"pgr": "pass", "gap": "pass"})["gap-check"].printed


def test_cells_believe_that_they_stand_in_a_notebook():
    assert rehearse(notebook(cell("2.0 * (__name__ == '__main__')", "a-check", points=2)))


# --- cells outside the tasks ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("1 / 0", "stopped with ZeroDivisionError: division by zero; mend the cell"),
        ("import sys\nsys.exit(3)", "stopped with SystemExit: 3; mend the cell"),
        ("raise ValueError('two\\nlines')", "stopped with ValueError: two lines; mend the cell"),
    ],
)
@pytest.mark.parametrize("id", ["setup-given", ""])
def test_a_failing_cell_outside_the_tasks_stops_the_rehearsal(code, what, id):
    made = notebook(cell(code, id), *task("pgr", "right = 1"))
    with pytest.raises(W2SError) as caught:
        rehearse(made, task="pgr")
    assert str(caught.value) == f"{id or 'plain'}: {what}"


def test_a_rehearsal_can_be_stopped_by_hand():
    with pytest.raises(KeyboardInterrupt):
        rehearse(notebook(*task("pgr", "raise KeyboardInterrupt")))


def test_nothing_is_printed_and_what_cells_say_on_standard_error_stays_audible(capsys):
    loud = "import sys\nprint('out')\nprint('err', file=sys.stderr)\nright = 1"
    made = notebook(cell(loud), cell(loud, "a-given"), *task("pgr", loud))
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        rehearse(made)
    assert capsys.readouterr() == ("", "")
    assert err.getvalue() == "err\n" * 3
