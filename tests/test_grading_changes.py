"""After tests were mended, whose points changed is told, where and why; and nobody else."""

from dataclasses import replace

import pytest
from test_grading_gradebook import ODD, SHEET, refused

from w2s_lab.teach.grading.changes import Change, changes, render
from w2s_lab.teach.grading.gradebook import Gradebook
from w2s_lab.teach.grading.verdict import GRADED, NEEDS_A_PERSON, Case, Item, Verdict


@pytest.fixture
def book(tmp_path):
    """Graded by g1, then by g2."""
    with Gradebook(tmp_path / "book.db") as made:
        made.add_sheet(SHEET)
        made.add_sheet(replace(SHEET, grader="g2"))
        yield made


def told(cases, status=GRADED, message=""):
    """A verdict of cases (title, points, said), each worth 1."""
    found = tuple(Case(title, points, 1, said) for title, points, said in cases)
    score = sum(case.points for case in found)
    items = (Item("double-check", score, 2, message, found), Item("why-essay", 0, 4, manual=True))
    return Verdict(status, items)


def both(book, student, old, new):
    sha = book.hand_in(student, "07_tiny", student.encode("utf-8", "surrogatepass"))
    for grader, verdict in (("g1", old), ("g2", new)):
        if verdict:
            book.save(sha, grader, verdict)


HALF = told([("ints", 1, ""), ("floats", 0, "It is 1.")], message="1 of 2")
FULL = told([("ints", 1, ""), ("floats", 1, "")], message="2 of 2")


def test_a_change_is_told_by_column_and_case_with_both_messages(book):
    both(book, "ada", HALF, FULL)
    assert changes(book, "07_tiny", "g1", "g2") == [
        Change("ada", "double-check", "", 1, 2, "1 of 2", "2 of 2"),
        Change("ada", "double-check", "floats", 0, 1, "It is 1.", ""),
    ]
    assert book.verdict("ada", "07_tiny", "g1") == HALF  # the old grade is there still


def test_the_same_points_are_no_change_whatever_the_message_says(book):
    both(book, "ada", HALF, told([("ints", 1, ""), ("floats", 0, "It is 7.")], message="other"))
    assert changes(book, "07_tiny", "g1", "g2") == []
    assert render([]) == "No grade changes.\n"


def test_two_cases_that_cancel_out_are_told_all_the_same(book):
    both(book, "ada", HALF, told([("ints", 0, "No."), ("floats", 1, "")]))
    found = changes(book, "07_tiny", "g1", "g2")
    assert [(one.case, one.before, one.after) for one in found] == [
        ("", 1, 1), ("ints", 1, 0), ("floats", 0, 1)]  # fmt: skip


def test_cases_are_matched_by_title_also_where_titles_are_not_unique(book):
    old = told([("a", 0, "x"), ("a", 1, ""), ("gone", 1, "")])
    new = told([("new", 0, "n"), ("a", 1, ""), ("a", 1, "")])
    both(book, "ada", old, new)
    found = changes(book, "07_tiny", "g1", "g2")[1:]
    assert [(one.case, one.before, one.after) for one in found] == [
        ("new", None, 0), ("a", 0, 1), ("gone", 1, None)]  # fmt: skip


def test_a_column_that_comes_or_goes_is_a_change_and_an_essay_is_none(book):
    old, new = Item("double-check", 1, 2), Item("triple-check", 2, 2)
    essays = Item("why-essay", 0, 4, manual=True), Item("why-essay", 0, 5, manual=True)
    both(book, "ada", Verdict(GRADED, (old, essays[0])), Verdict(GRADED, (new, essays[1])))
    columns = (replace(SHEET.columns[0], grade_id="triple-check"), SHEET.columns[1])
    book.add_sheet(replace(SHEET, grader="g2", columns=columns))
    found = changes(book, "07_tiny", "g1", "g2")
    assert [(one.grade_id, one.before, one.after, one.points) for one in found] == [
        ("triple-check", None, 2, 2), ("double-check", 1, None, -1)]  # fmt: skip


def test_who_was_graded_once_or_got_another_status_is_told(book):
    both(book, "ada", HALF, None)
    both(book, "ben", None, FULL)
    both(book, "cem", HALF, replace(HALF, status=NEEDS_A_PERSON))
    assert changes(book, "07_tiny", "g1", "g2") == [
        Change("ada", "", "", 1, None, "graded", "not graded"),
        Change("ben", "", "", None, 2, "not graded", "graded"),
        Change("cem", "", "", 1, 1, "graded", "needs a person"),
    ]


def test_only_what_was_handed_in_last_is_compared(book):
    both(book, "ada", HALF, FULL)
    sha = book.hand_in("ada", "07_tiny", b"again")
    for grader in ("g1", "g2"):
        book.save(sha, grader, FULL)
    assert changes(book, "07_tiny", "g1", "g2") == []


def test_an_unknown_grader_is_refused(book):
    assert "was never graded by 'g3'" in refused(changes, book, "07_tiny", "g1", "g3")


def test_the_table_has_a_line_each_and_totals_worked_out_by_hand(book):
    both(book, "ada", HALF, FULL)
    both(book, "ben", FULL, told([("ints", 0, "No."), ("floats", 0, "No.")], message="0 of 2"))
    both(book, "cem", HALF, None)
    assert render(changes(book, "07_tiny", "g1", "g2")).splitlines() == [
        "student  column, case  before  after  why",
        "ada      double-check       1      2  1 of 2 → 2 of 2",
        "ada        floats           0      1  It is 1. → –",
        "ben      double-check       2      0  2 of 2 → 0 of 2",
        "ben        ints             1      0  – → No.",
        "ben        floats           1      0  – → No.",
        "cem      (all)              1      –  graded → not graded",
        "",
        "1 up, 1 down, 0 with the same total; -1 points",  # +1 − 2
        "double-check: 2 changed, -1 points",
        "1 not graded with both versions: no comparison",
    ]


def test_what_students_wrote_cannot_reach_the_terminal(book):
    hostile = "\x1b]0;x\x07\u202e" + "A" * 1_000_000
    both(book, ODD, HALF, told([("ints", 1, ""), ("floats", 1, "")], message=hostile))
    text = render(changes(book, "07_tiny", "g1", "g2"))
    assert text.replace("\n", "").isprintable()
    assert "2 of 2" not in text and "AAA" in text and "zo\\udceb \\x1b[31m" in text
    assert max(map(len, text.splitlines())) < 300
