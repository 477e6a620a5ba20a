"""Who passes, what it is worth and what is told of it; with a process, without a box."""

import json
import math

import numpy as np
import pytest
from redteam.target import as_bytes, code_cell

from w2s_lab.teach.grading import judge
from w2s_lab.teach.grading.box import TrustedRoom
from w2s_lab.teach.grading.execution import points_of
from w2s_lab.teach.grading.judge import WAITS, Supply
from w2s_lab.teach.grading.plan import make_plan
from w2s_lab.teach.grading.process import Limits
from w2s_lab.teach.grading.verdict import GRADED, REJECTED
from w2s_lab.teach.grading.words import GENERIC, HIDDEN_FAILED, UNWRITTEN

LIMITS = Limits(cell_seconds=5, call_seconds=1, notebook_seconds=30)


@pytest.fixture(scope="module")
def room():
    one = TrustedRoom(LIMITS)
    yield one
    one.close()


class Court:
    """Grades notebooks of this class's own making."""

    def __init__(self, room, limits=LIMITS):
        self.room, self.limits, self.workers, self.told = room, limits, [], []
        self.opened = 0

    def new(self):
        self.opened += 1
        self.workers.append(self.room.open(0))
        return self.workers[-1].end

    def lost(self):
        return ""

    def grade(self, cells, *, handed=None, by_reference=False):
        """The verdict on a notebook whose answers stand in the cells themselves."""
        plan = make_plan(json.dumps(notebook(cells)), "tiny")
        raw = as_bytes(notebook(handed if handed is not None else cells))
        supply = Supply(self.new, self.lost, self.limits, by_reference)
        try:
            return judge.grade(plan, raw, supply, tell=self.told.append)
        finally:
            while self.workers:
                self.workers.pop().close()


@pytest.fixture
def court(room):
    return Court(room)


def notebook(cells):
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def cell(kind, grade_id, source, points=1.0):
    about = {
        "grade": kind in ("test", "essay"),
        "grade_id": grade_id,
        "locked": kind in ("given", "test"),
        "schema_version": 3,
        "solution": kind in ("answer", "essay"),
        "task": False,
    }
    about |= {"points": points} if about["grade"] else {}
    return code_cell(grade_id, source, {"nbgrader": about} if kind != "plain" else {})


def hidden(source):
    return f"### BEGIN HIDDEN TESTS\n{source}\n### END HIDDEN TESTS"


def one(court, answer, test, **options):
    """The item of a test after an answer."""
    cells = [cell("answer", "a", answer), cell("test", "t", test, 2)]
    (item,) = court.grade(cells, **options).items
    return item


# --- partial credit -------------------------------------------------------------------------------

SCORES = [0, 1, 2, 0.5, 1.25, True, False, None, "text", "1", [1], (0.5,), 1 + 0j, {}, 0.1 + 0.2]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("value", SCORES, ids=repr)
def test_the_last_line_is_worth_what_nbgrader_gives_for_it(value):
    v4 = pytest.importorskip("nbformat.v4")
    utils = pytest.importorskip("nbgrader.utils")
    shown = [v4.new_output("execute_result", data={"text/plain": repr(value)})]
    about = {"grade": True, "solution": False, "points": 2, "grade_id": "x"}
    graded = v4.new_code_cell(
        "x", metadata={"nbgrader": about}, outputs=shown if value is not None else []
    )
    theirs, most = utils.determine_grade(graded)
    assert points_of(value, most) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize(
    ("value", "points"),
    [
        (-1, 0),  # nbgrader gives everything
        (-math.inf, 0),
        (math.nan, 0),  # nbgrader gives everything
        (math.inf, 0),
        (2.5, 2),  # nbgrader stops with an error
        (10**400, 2),
        (-(10**400), 0),
        (np.float64(0.5), 0.5),  # which numpy 2 writes as np.float64(0.5), and nbgrader cannot read
        (np.int64(1), 1),
        (np.array(0.5), 0.5),
        (np.array([0.5, 1]), 2),
        (np.bool_(False), 2),
        (np.float64("nan"), 0),
        (np.array([]), 2),
    ],
    ids=repr,
)
def test_a_last_line_that_nbgrader_cannot_read_is_worth_no_more_than_it_says(value, points):
    assert points_of(value, 2.0) == points


def test_what_the_student_returns_in_the_last_line_cannot_break_the_judge(court):
    for answer in ("10**400", "np.ones(3)", "float('nan')", "[]", "print", "'\\ud800'"):
        item = one(court, f"import numpy as np\ndef f(): return {answer}", "f()")
        assert 0 <= item.score <= 2


def test_points_come_from_the_teachers_copy(court):
    cells = [cell("answer", "a", "f = 1"), cell("test", "t", "assert f == 1", 2)]
    handed = [cell("answer", "a", "f = 2"), cell("test", "t", "assert True", 1000)]
    verdict = court.grade(cells, handed=handed)
    assert (verdict.score, verdict.max_score) == (0, 2)


# --- what is told ---------------------------------------------------------------------------------


def test_a_visible_test_without_words_shows_its_line(court):
    item = one(court, "def f(x): return 0", "assert f(1) == 0\nassert f(2) == 4\nassert f(3)")
    assert item.message == "This does not hold: assert f(2) == 4"


def test_a_visible_test_shows_its_words_values_and_the_line_of_an_exception(court):
    item = one(court, "def f(x): return 0", 'assert f(2) == 4, f"f(2) is {f(2)}, not 4"')
    assert item.message == "AssertionError: f(2) is 0, not 4"
    item = one(court, "def f(x):\n    return 1 / x", "assert f(0) == 4")
    assert item.message == "ZeroDivisionError: division by zero (at `return 1 / x`)"


@pytest.mark.parametrize(
    "test",
    [
        "assert f(48151623) == 96303246",
        'assert f(48151623) == 96303246, f"f(48151623) is not {2 * 48151623}"',
        'assert f(48151623) == 96303246, "f(48151623) is %s" % f(1)',
        "raise ValueError(str(48151623))",
        "raise ValueError(f'{f(48151623)}')",
        "import numpy as np\nnp.testing.assert_allclose(f(48151623), 96303246)",
        "{}[48151623]",
        "assert f(48151623).real == 96303246",
    ],
)
@pytest.mark.parametrize(
    "answer", ["def f(x): raise ValueError(f'it was {x}')", "def f(x): return x", "f = 3"]
)
def test_a_hidden_test_tells_no_value_and_no_exception(court, answer, test):
    item = one(court, answer, hidden(test))
    assert item.score == 0
    assert item.message == HIDDEN_FAILED


@pytest.mark.parametrize(
    "test",
    [
        'assert f(48151623) == 1, "f is wrong for large numbers"',
        'if f(48151623) != 1:\n    raise ValueError("f is wrong for large numbers")',
    ],
)
def test_a_hidden_test_tells_what_its_author_wrote(court, test):
    assert one(court, "def f(x): return 0", hidden(test)).message == "f is wrong for large numbers"


def test_a_student_cannot_put_words_into_a_hidden_tests_mouth(court):
    test = hidden('assert f(48151623) == 1, "f is wrong"')
    for text in ("f is wrong!", "f is wrong 48151623", "assert f(48151623) == 1"):
        item = one(court, f"def f(x): raise AssertionError({text!r})", test)
        assert item.message == HIDDEN_FAILED


def test_a_missing_name_and_an_unwritten_answer_are_told_even_of_a_hidden_test(court):
    cells = [cell("answer", "a", "def f(x): return 1"), cell("test", "t", hidden("assert f(1)"))]
    verdict = court.grade(cells, handed=cells[1:])
    assert "no name 'f'" in verdict.items[0].message
    assert verdict.notes[0].startswith("The cell `a` is missing: put it back")
    stub = cell("answer", "a", "def f(x):\n    raise NotImplementedError()")
    assert court.grade(cells, handed=[stub]).items[0].message == UNWRITTEN


def test_a_visible_test_after_a_hidden_one_has_its_words_from_a_second_pass(court):
    cells = [
        cell("answer", "a", "def f(x): return 0"),
        cell("test", "first", hidden("assert f(48151623) == 1")),
        cell("test", "second", 'assert f(2) == 4, f"f(2) is {f(2)!r}"'),
    ]
    first, second = court.grade(cells).items
    assert first.message == HIDDEN_FAILED
    assert second.message == "AssertionError: f(2) is 0"


def test_what_a_hidden_test_handed_over_is_told_by_no_later_visible_one(court):
    answer = "seen = []\ndef f(x):\n    seen.append(x)\n    raise ValueError(str(seen))"
    cells = [
        cell("answer", "a", answer),
        cell("test", "first", hidden("assert f(48151623) == 1")),
        cell("test", "second", "assert f(2) == 4"),
    ]
    first, second = court.grade(cells).items
    assert second.message.startswith("ValueError: [2] (at")  # of a process that saw no hidden test
    assert "48151623" not in first.message + second.message


def test_an_answer_below_a_hidden_test_is_no_way_to_tell_what_that_handed_over(court):
    cells = [
        cell("answer", "a", "seen = []\ndef f(x): seen.append(x)"),
        cell("test", "first", hidden("assert f(48151623) == 1")),
        cell("answer", "b", "raise ValueError(str(seen))"),
        cell("test", "second", "assert True"),
    ]
    verdict = court.grade(cells)
    assert verdict.notes == (
        "The cell `b` stopped with ValueError: [] (at `raise ValueError(str(seen))`)",
    )


def test_a_cell_with_a_hidden_and_a_visible_part_tells_of_the_visible_one(court):
    both = "assert f(1) == 2\n" + hidden("assert f(48151623) == 1")
    assert one(court, "def f(x): return 0", both).message == "This does not hold: assert f(1) == 2"
    item = one(court, "def f(x): return 2", both)
    assert item.message == HIDDEN_FAILED


MARKS = """
from w2s_lab.exercise import Marks
marks = Marks("f", hidden={hidden})
with marks.case("small", 1):
    marks.near(f(1), 2)
with marks.case("large", 0.5):
    marks.near(f(48151623), 96303246)
with marks.case("zero", 0.5):
    marks.near(f(0), 0)
marks.total()
"""


def test_cases_count_one_by_one_and_are_told_one_by_one(court):
    item = one(court, "def f(x): return 2 * x if x < 10 else 7", MARKS.format(hidden=False))
    assert item.score == 1.5  # 1 + 0.5
    assert [(case.title, case.points, case.most) for case in item.cases] == [
        ("small", 1, 1),
        ("large", 0, 0.5),
        ("zero", 0.5, 0.5),
    ]
    assert "It is 7; 9.63032e+07 was expected" in item.cases[1].said


def test_hidden_cases_tell_their_titles_and_no_value(court):
    item = one(court, "def f(x): return x", hidden(MARKS.format(hidden=True)))
    assert item.score == 0.5
    assert {case.said for case in item.cases} == {"", GENERIC}
    # said of a teacher's mistake: cases that forgot to be hidden in a hidden part
    item = one(court, "def f(x): return x", hidden(MARKS.format(hidden=False)))
    assert {case.said for case in item.cases} == {"", GENERIC}


def test_what_is_told_is_one_line_of_visible_characters(court):
    text = "'<b>\\x1b[31m\\u202e\\ud800' + 'x' * 10**6"
    item = one(court, f"def f(x): raise ValueError({text})", "f(1)")
    assert item.message.startswith("ValueError: <b>x")
    assert len(item.message) < 2000 and item.message.isprintable()


# --- how cells run --------------------------------------------------------------------------------


def test_the_teachers_copy_has_the_order_and_the_given_cells(court):
    cells = [
        cell("given", "g", "k = 3"),
        cell("answer", "a", "def f(x): return k * x"),
        cell("test", "t", "assert f(2) == 6 == 2 * k"),
    ]
    handed = [cells[2], cells[1] | {}, cell("given", "g", "k = 0")]
    assert court.grade(cells, handed=handed).score == 1


def test_further_cells_run_below_the_cell_that_they_follow(court):
    cells = [cell("answer", "a", "x = 1"), cell("test", "t", "assert x == 2")]
    further = cell("plain", "p", "x += 1")
    assert court.grade(cells, handed=[cells[0], further, cells[1]]).score == 1
    assert court.grade(cells, handed=[*cells, further]).score == 0


def test_a_test_can_take_a_name_away_and_give_it_back(court):
    cells = [
        cell("answer", "a", "def f(x): return x\ndef g(x): return f(x)"),
        cell(
            "test",
            "t",
            "kept = f\ndel f\ntry:\n    g(1)\nexcept NameError:\n    pass\nelse:\n    assert False"
            "\nfinally:\n    f = kept",
        ),
        cell("test", "u", "assert g(1) == f(1) == 1"),
    ]
    assert court.grade(cells).score == 2


def test_a_test_can_hand_over_functions_of_its_own(court):
    test = (
        "seen = []\nassert f(lambda x: seen.append(x) or 2 * x, abs) == [2, 1]\nassert seen == [1]"
    )
    assert one(court, "def f(g, h): return [g(1), h(-1)]", test).score == 2
    fails = "def g(x): raise KeyError('mine')\ntry:\n    f(g)\nexcept KeyError:\n    pass"
    assert one(court, "def f(g): return g(1)", fails).score == 2


def test_calls_change_their_arguments_only_where_that_is_asked_for(court):
    test = "l = [2, 1]\nf(l)\nassert l == [1, 2]"
    asked = (
        "from w2s_lab.exercise import by_reference\nl = [2, 1]\nwith by_reference():\n    f(l)\n"
    )
    answer = "def f(l): l.sort()"
    assert one(court, answer, test).score == 0
    assert one(court, answer, test, by_reference=True).score == 2
    assert one(court, answer, asked + "assert l == [1, 2]").score == 2


def test_what_the_students_code_prints_can_be_captured(court):
    test = "import io, contextlib\nout = io.StringIO()\nwith contextlib.redirect_stdout(out):\n"
    assert (
        one(court, "def f(): print('hi')", test + "    f()\nassert out.getvalue() == 'hi\\n'").score
        == 2
    )


def test_what_tests_and_answers_print_is_nobodys(court, capfd):
    one(court, "print('mine')\ndef f(): print('hers')", "print('ours')\nf()")
    assert capfd.readouterr() == ("", "")


def test_an_endless_loop_costs_its_own_test_only(court):
    cells = [
        cell("answer", "a", "def f(x):\n    while True: pass\ndef g(x): return x"),
        cell("test", "t", "assert f(1) == 1"),
        cell("test", "u", "assert g(1) == 1"),
    ]
    verdict = court.grade(cells)
    assert [item.score for item in verdict.items] == [0, 1]
    assert "did not answer within 1 seconds" in verdict.items[0].message


def test_a_process_that_ends_itself_costs_the_tests_that_call_for_it_only(court):
    cells = [cell("answer", "a", "import os\ndef f(x): os._exit(0)\ndef g(x): return x")]
    cells += [cell("test", f"t{n}", "assert f(1)") for n in range(5)]
    cells += [cell("test", "u", "assert g(1) == 1")]
    verdict = court.grade(cells)
    assert [item.score for item in verdict.items] == [0, 0, 0, 0, 0, 1]
    assert verdict.items[0].message == "Your code could not be tested: its process ended."


def test_a_test_starts_a_process_again_only_a_few_times(court):
    calls = "for _ in range(50):\n    try:\n        f(1)\n    except Exception:\n        pass\n"
    item = one(court, "import os\ndef f(x): os._exit(0)", calls + "assert f(1)")
    assert item.score == 0
    assert court.opened <= judge.RESTARTS + 2


def test_a_student_never_answers_the_question_whether_it_holds(court):
    answer = """
class Yes:
    def __eq__(self, other): return True
    def __bool__(self): return True
    def __getattr__(self, name): return Yes()
    def __call__(self, *args): return Yes()
f = Yes()
"""
    for test in ("assert f(1) == 2", "assert f(1)", "assert f(1).real == 2", "assert f == 3"):
        assert one(court, answer, test).score == 0


@pytest.mark.parametrize("given", ["import numpy as np", "from numpy import *", "pass"])
@pytest.mark.parametrize("imports", ["", "import numpy as np\nfrom numpy import allclose\n"])
def test_the_tests_use_the_real_library_whatever_the_student_calls_so(court, given, imports):
    if given == "pass" and not imports:
        pytest.skip("then there is none")
    call = "np.allclose" if "np" in given or imports else "allclose"
    cells = [
        cell("given", "g", given),
        cell("answer", "a", f"{imports}def f(x): return x"),
        cell("test", "t", f"assert {call}(f(1), 1)"),
        cell("test", "u", f"assert {call}(f(2), 2)"),
    ]
    forged = "class np:\n    allclose = lambda *a: True\nallclose = np.allclose\ndef f(x): return 9"
    assert court.grade(cells).score == 2
    assert court.grade(cells, handed=[cells[0], cell("answer", "a", forged), *cells[2:]]).score == 0


def test_an_import_that_the_task_asks_for_has_to_be_there(court):
    cells = [cell("answer", "a", "import math"), cell("test", "t", "assert math.pi > 3")]
    assert court.grade(cells).score == 1
    missing = court.grade(cells, handed=[cell("answer", "a", "pass"), cells[1]])
    assert missing.score == 0
    assert "no name 'math'" in missing.items[0].message


# --- a verdict as a whole -------------------------------------------------------------------------


def test_each_item_is_told_as_soon_as_it_is_known_and_in_its_order(court):
    cells = [cell("answer", "a", "f = 1")]
    cells += [cell("test", f"t{n}", f"assert f == {n}") for n in range(3)]
    verdict = court.grade(cells)
    assert tuple(court.told) == verdict.items
    assert (verdict.status, [item.score for item in verdict.items]) == (GRADED, [0, 1, 0])


def test_what_cannot_be_read_is_rejected_with_the_reason_and_without_a_process(room):
    plan = make_plan(json.dumps(notebook([cell("test", "t", "assert 1", 2)])), "tiny")
    supply = Supply(lambda: pytest.fail("a process was opened"), lambda: "", LIMITS)
    verdict = judge.grade(plan, b"no notebook", supply)
    assert (verdict.status, verdict.score, verdict.max_score) == (REJECTED, 0, 2)
    assert verdict.notes[0].startswith("Your notebook ")


def test_an_essay_waits_for_a_person_unless_it_is_blank_unchanged_or_missing(court):
    cells = [cell("essay", "e", "The model answer.", 3)]
    for source, message, waits in (
        ("My own words.", WAITS, True),
        (" \n", UNWRITTEN, False),
        ("# YOUR CODE HERE\nraise NotImplementedError()", UNWRITTEN, False),
    ):
        (item,) = court.grade(cells, handed=[cell("essay", "e", source)]).items
        assert (item.message, item.manual, item.score) == (message, waits, 0)
    assert court.grade(cells, handed=[]).items[0].message == "The cell is missing."


def test_answers_are_kept_and_cut(court):
    long = "# " + "x" * 200_000
    cells = [cell("answer", "a", "f = 1"), cell("test", "t", "assert f == 1")]
    verdict = court.grade(cells, handed=[cell("answer", "a", f"f = 1\n{long}"), cells[1]])
    assert verdict.answers["a"].startswith("f = 1\n# xxx")
    assert len(verdict.answers["a"]) == judge.ANSWER_LENGTH


def test_the_time_of_a_whole_notebook_ends(room):
    limits = Limits(cell_seconds=1, call_seconds=1, notebook_seconds=2)
    cells = [cell("answer", f"a{n}", "while True: pass") for n in range(9)]
    verdict = Court(room, limits).grade([*cells, cell("test", "t", "assert 1")])
    assert verdict.seconds < 8
    assert "longer than 2 seconds" in " ".join(verdict.notes)
