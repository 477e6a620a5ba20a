"""The screen keeps each score at once, asks once for equal answers, and shows no names."""

from dataclasses import replace

import pytest
from test_grading_gradebook import ODD, SHEET, graded

from w2s_lab.teach.grading import essays
from w2s_lab.teach.grading.essays import criteria, grade_essays, waiting
from w2s_lab.teach.grading.gradebook import Gradebook
from w2s_lab.teach.grading.verdict import NEEDS_A_PERSON, Column

RUBRIC = """\
The model answer.

### Rubric
- **1** says a
- **2.5** says b,
  over two lines
- **0.5** says c

### Exemplar, 2 of 4
Some text with - **9** inside.

Why: so.
"""
ESSAY = Column("why-essay", 4, manual=True, task="why", title="Why?", rubric=RUBRIC)
SECOND = Column("how-essay", 2, manual=True, task="how", rubric="Another rubric.")
ONE = replace(SHEET, columns=(SHEET.columns[0], ESSAY))


@pytest.fixture
def book(tmp_path):
    with Gradebook(tmp_path / "book.db") as made:
        made.add_sheet(ONE)
        yield made


class Person:
    """Types the lines given, then Ctrl-D; an exception among them is raised. `told` is seen."""

    def __init__(self, *lines):
        self.lines, self.seen = list(lines), []

    def ask(self, prompt):
        self.seen.append(prompt)
        line = self.lines.pop(0) if self.lines else EOFError
        if isinstance(line, str):
            return line
        raise line

    @property
    def told(self):
        return "\n".join(self.seen)

    def grades(self, book, **options):
        return grade_essays(book, "07_tiny", ask=self.ask, tell=self.seen.append, **options)


def scores(book, grade_id="why-essay"):
    marks = book.every_mark("07_tiny")
    return {who: (m[grade_id].score, m[grade_id].comment) for who, m in marks.items()}


def by_text(book, **scores_of):
    """Lines to type, in the order in which the texts are shown."""
    return [line for one in waiting(book, None) for line in scores_of[one.text]]


def test_each_answer_is_asked_for_once_and_kept_with_its_comment(book):
    graded(book, "ada", b"1", essay="A")
    graded(book, "ben", b"2", essay="B")
    person = Person(*by_text(book, A=["3", "good"], B=["1,5", ""]))
    assert person.grades(book, by="tutor") == 2
    assert scores(book) == {"ada": (3, "good"), "ben": (1.5, "")}
    assert book.marks("ada", "07_tiny")["why-essay"].by == "tutor"
    assert "answer 1 of 2" in person.told and "answer 2 of 2" in person.told
    assert "ada" not in person.told and "ben" not in person.told
    again = Person()
    assert again.grades(book) == 0
    assert again.seen == ["Nothing waits."]


def test_the_rubric_is_read_once_a_column_and_the_columns_come_one_after_the_other(book):
    book.add_sheet(replace(ONE, columns=(ESSAY, SECOND)))
    for n in range(3):
        sha = graded(book, f"s{n}", b"%d" % n, essay=f"text {n}")
        told = book.verdict(f"s{n}", "07_tiny")
        book.add_sheet(replace(ONE, columns=(ESSAY, SECOND), grader="g2"))
        book.save(sha, "g2", replace(told, answers={**told.answers, "how-essay": f"how {n}"}))
        book.add_sheet(replace(ONE, columns=(ESSAY, SECOND)))
    book.add_sheet(replace(ONE, columns=(ESSAY, SECOND), grader="g2"))
    person = Person(*["1", ""] * 6)
    assert person.grades(book) == 6
    assert person.told.count("The model answer.") == person.told.count("Another rubric.") == 1
    assert person.told.index("text 2") < person.told.index("Another rubric.")
    assert "Why? (why-essay), 4 points" in person.told


def test_equal_answers_are_offered_once_and_all_who_wrote_them_get_the_score(book):
    for who, text in (("ada", "Same. "), ("ben", "\nSame."), ("cem", "Other.")):
        graded(book, who, who.encode(), essay=text)
    first = waiting(book, None)[0]
    person = Person(*["4", ""] if len(first.students) == 2 else ["1", "", "4", ""])
    person.grades(book)
    found = scores(book)
    assert found["ada"] == found["ben"] == (4, "")
    assert "answer 2 of 2" in person.told and "the same from 2" in person.told


def test_what_students_receive_counts_as_nothing_and_what_is_not_known_stays_apart(book):
    book.add_sheet(replace(ONE, starters={"why-essay": "Your answer here."}))
    for who, text in (("ada", "Your answer here.\n"), ("ben", " "), ("cem", "Mine.")):
        graded(book, who, who.encode(), essay=text)
    for who in ("dan", "eve"):
        sha = book.hand_in(who, "07_tiny", who.encode())
        told = replace(book.verdict("ada", "07_tiny"), answers={}, status=NEEDS_A_PERSON)
        book.save(sha, "g1", told)
    groups = sorted(one.students for one in waiting(book, None))
    assert groups == [("ada", "ben"), ("cem",), ("dan",), ("eve",)]


def test_points_may_be_given_by_criterion_and_are_added_up(book):
    graded(book, "ada", b"1")
    person = Person("1 2 0", "thin on c")
    assert person.grades(book) == 1
    assert scores(book) == {"ada": (3, "By criterion: 1 + 2 + 0. thin on c")}


def test_criteria_are_those_below_the_rubric_only():
    assert criteria(RUBRIC) == ((1, "says a"), (2.5, "says b, over two lines"), (0.5, "says c"))
    assert criteria("- **1** no heading") == criteria("") == ()


WRONG = {
    "words": ("much", "'much' is no score; ? for help"),
    "too many points": ("5", "5 is not from 0 to 4"),
    "below 0": ("-1", "-1 is not from 0 to 4"),
    "nan": ("nan", "nan is not from 0 to 4"),
    "infinite": ("inf", "inf is not from 0 to 4"),
    "two numbers": ("1 1", "2 numbers; give one, or 3"),
    "a criterion's limit": ("1 1 1", "1 is not from 0 to 0.5"),
    "escapes": ("\x1b[A", r"'\x1b[A' is no score"),
    "back at the start": ("b", "This is the first one."),
}


@pytest.mark.parametrize(("typed", "told"), WRONG.values(), ids=WRONG)
def test_wrong_input_is_told_and_asked_again(book, typed, told):
    graded(book, "ada", b"1")
    person = Person(typed, "2", "")
    assert person.grades(book) == 1
    assert told in person.told
    assert scores(book) == {"ada": (2, "")}


@pytest.mark.parametrize("leave", ["q", EOFError, KeyboardInterrupt])
def test_leaving_keeps_what_was_given_and_the_rest_waits(book, leave):
    for who in ("ada", "ben", "cem"):
        graded(book, who, who.encode(), essay=who)
    person = Person("2", "fine", leave)
    assert person.grades(book) == 1
    assert "All scores are kept. 1 answers graded, 2 left." in person.told
    assert list(scores(book).values()) == [(2, "fine")]
    assert Person("s", "", "1", "x").grades(book) == 0  # two were skipped, and no more are asked
    assert len(waiting(book, None)) == 2


@pytest.mark.parametrize("leave", [EOFError, KeyboardInterrupt])
def test_leaving_at_the_comment_keeps_the_score(book, leave):
    graded(book, "ada", b"1")
    assert Person("2", leave).grades(book) == 1
    assert scores(book) == {"ada": (2, "")}


def test_back_gives_an_answer_another_score_and_counts_it_once(book):
    for who in ("ada", "ben"):
        graded(book, who, who.encode(), essay=who)
    person = Person("1", "", "b", "4", "better", "2", "")
    assert person.grades(book) == 2
    assert "You gave it 1." in person.told
    assert sorted(scores(book).values()) == [(2, ""), (4, "better")]


def test_help_rubric_and_names_are_shown_on_request(book):
    graded(book, ODD, b"1")
    person = Person("?", "r", "n", "3", "")
    assert person.grades(book) == 1
    assert "or 3 numbers, one for each criterion" in person.told
    assert person.told.count("The model answer.") == 2
    assert r"'zo\udceb \x1b[31m'" in person.told


def test_an_answer_that_changed_is_shown_again_with_its_earlier_score(book):
    graded(book, "ada", b"1", essay="Old.", code="x")
    book.mark("ada", "07_tiny", "why-essay", 3, "fine")
    book.mark("ada", "07_tiny", "double-check", 2, "a way of its own")
    assert waiting(book, None) == []
    graded(book, "ada", b"2", essay="New.", code="y")
    person = Person("1", "", "4", "")
    assert person.grades(book) == 1 + 1
    assert "An earlier text got 2: a way of its own" in person.told
    assert "An earlier text got 3: fine" in person.told
    assert waiting(book, None) == []


def test_nothing_that_a_student_wrote_reaches_the_terminal_as_a_command(book):
    hostile = "\x1b[2J\x9b31m\u202eevil\u2066\ud800\x00\rA\u2028\U000e0041" + "B" * 3_000_000
    graded(book, "ada", b"1", essay=hostile)
    person = Person("n", "0", "")
    person.grades(book)
    assert "⟨U+202E⟩evil⟨U+2066⟩⟨U+D800⟩⟨U+0000⟩\nA⟨U+2028⟩⟨U+E0041⟩BBB" in person.told
    assert " … (2,980,0" in person.told  # 3,000,021 characters less some 20,000
    assert person.told.replace("\n", "").isprintable()
    assert len(person.told) < 2 * essays.LONGEST
