"""A class is graded once, whatever form it came in; a mended test grades it once more."""

import json
import os

import pytest
from grading import needs_box
from redteam.arena import FULL
from redteam.target import honest_cells, submission, target_notebook

from w2s_lab.errors import W2SError
from w2s_lab.teach.grading.gradebook import Gradebook
from w2s_lab.teach.grading.grader import Grader, JudgeFailed
from w2s_lab.teach.grading.session import TRIES, Options, grade_class
from w2s_lab.teach.grading.verdict import GRADED, NEEDS_A_PERSON, REJECTED
from w2s_lab.teach.release import student_seed

pytestmark = [pytest.mark.slow, needs_box]
WRONG = {"double": "def double(x):\n    return 3 * x\n"}
CLASS = {
    "ada": submission(honest_cells()),
    "ben": submission(honest_cells() | WRONG),
    "cy": b"{",
    "dan": submission({}),
}
SCORES = {"ada": FULL, "ben": FULL - 3, "cy": 0, "dan": 0}
OPTIONS = Options(workers=2)


@pytest.fixture
def course(tmp_path):
    """A folder with the teacher's notebook, and hand-ins as STUDENT.ipynb."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "target.ipynb").write_text(json.dumps(target_notebook()))
    (tmp_path / "flat").mkdir()
    for student, raw in CLASS.items():
        (tmp_path / "flat" / f"{student}.ipynb").write_bytes(raw)
    return tmp_path


@pytest.fixture
def graded(monkeypatch):
    """The hand-ins that were graded, by their seed and bytes; those of the gate are none."""
    seen = []
    real = Grader.grade

    def grade(self, raw, *, seed=0):
        seen.append((raw, seed))
        return real(self, raw, seed=seed)

    monkeypatch.setattr(Grader, "grade", grade)
    return seen


def run(course, folder="flat", options=OPTIONS):
    return grade_class(
        course / folder, course / "source" / "target.ipynb", course / "grades.db", options
    )


def scores(verdicts):
    return {student: verdict.score for student, verdict in verdicts.items()}


def test_a_class_gets_its_points_and_the_gradebook_keeps_them(course):
    verdicts = run(course)
    assert scores(verdicts) == SCORES
    kinds = {student: verdict.status for student, verdict in verdicts.items()}
    assert kinds == {"ada": GRADED, "ben": GRADED, "cy": REJECTED, "dan": GRADED}
    with Gradebook(course / "grades.db", create=False) as book:
        assert book.verdicts("target", book.sheet().grader) == verdicts


def test_nbgraders_folders_come_to_the_same(course):
    for student, raw in CLASS.items():
        folder = course / "course" / "submitted" / student / "target"
        folder.mkdir(parents=True)
        (folder / "target.ipynb").write_bytes(raw)
        (folder / "timestamp.txt").write_text("2026-02-03 10:00:00 UTC")
    assert run(course, "course") == run(course)


def test_what_is_graded_is_not_graded_again(course, graded):
    first = run(course)
    assert len(graded) == 4
    graded.clear()
    assert run(course) == first
    assert graded == []


def test_only_who_hands_in_anew_is_graded_again(course, graded):
    run(course)
    graded.clear()
    (course / "flat" / "ben.ipynb").write_bytes(submission(honest_cells() | {"essay": "New."}))
    assert scores(run(course)) == SCORES | {"ben": FULL}
    assert len(graded) == 1


def test_two_who_hand_in_the_same_file_have_the_same_verdict_of_one_grading(course, graded):
    (course / "flat" / "eve.ipynb").write_bytes(CLASS["ada"])
    verdicts = run(course)
    assert verdicts["eve"] == verdicts["ada"]
    assert [raw for raw, _ in graded].count(CLASS["ada"]) == 1


def test_a_mended_test_grades_everybody_again_and_an_edited_text_nobody(course, graded):
    run(course)
    graded.clear()
    notebook = target_notebook()
    notebook["cells"].insert(0, {"cell_type": "markdown", "metadata": {}, "source": "# Read me"})
    (course / "source" / "target.ipynb").write_text(json.dumps(notebook))
    run(course)
    assert graded == []
    for cell in notebook["cells"]:
        if cell.get("id") == "double-check":
            cell["source"] = "assert double(3) in (6, 9)"
    (course / "source" / "target.ipynb").write_text(json.dumps(notebook))
    assert scores(run(course)) == SCORES | {"ben": FULL - 2}  # 3 × 3 is 9 now: one point more
    assert len(graded) == 4


def test_each_student_is_graded_with_the_numbers_that_were_given_to_them(course, graded):
    run(course, options=Options(workers=1, seed_by_student=True))
    seeds = {student_seed(student, "target") for student in CLASS}
    assert {seed for _, seed in graded} == seeds
    assert len(seeds) == 4


@pytest.mark.filterwarnings("ignore:a submission needs a person")
def test_a_submission_on_which_the_judge_dies_is_tried_again_and_then_left_to_a_person(
    course, monkeypatch
):
    real, tries = Grader.grade, []

    def grade(self, raw, *, seed=0):
        if raw == CLASS["ben"]:
            tries.append(raw)
            raise JudgeFailed("it ended without a verdict")
        return real(self, raw, seed=seed)

    monkeypatch.setattr(Grader, "grade", grade)
    verdicts = run(course)
    assert len(tries) == TRIES
    assert verdicts["ben"].status == NEEDS_A_PERSON
    assert "a person has to look" in verdicts["ben"].notes[0]
    assert scores(verdicts) == SCORES | {"ben": 0}


def test_a_test_that_the_solution_does_not_pass_is_told_to_the_teacher(course):
    notebook = target_notebook()
    for cell in notebook["cells"]:
        if cell["id"] == "double-check":
            cell["source"] = "assert double(3) == 7"
    (course / "source" / "target.ipynb").write_text(json.dumps(notebook))
    with pytest.warns(UserWarning, match="double-check: the solution gets 0 of 1"):
        assert scores(run(course))["ada"] == FULL - 1


def test_what_will_not_do_is_told_in_one_line_before_anything_is_made(course):
    (course / "empty").mkdir()
    plain = target_notebook()
    for cell in plain["cells"]:
        cell["metadata"] = {}
    (course / "source" / "plain.ipynb").write_text(json.dumps(plain))
    (course / "source" / "broken.ipynb").write_text("{")
    target = course / "source" / "target.ipynb"
    for folder, assignment, told in (
        ("nowhere", target, "No such file"),
        ("empty", target, "holds no hand-ins"),
        ("flat", course / "source" / "nothing.ipynb", "no such file"),
        ("flat", course / "source", "no such file"),
        ("flat", course / "source" / "plain.ipynb", "has no graded cell"),
        ("flat", course / "source" / "broken.ipynb", "is no notebook"),
    ):
        with pytest.raises(W2SError) as caught:
            grade_class(course / folder, assignment, course / "grades.db", OPTIONS)
        assert told in str(caught.value) and "\n" not in str(caught.value)
        assert not os.path.exists(course / "grades.db")


def test_a_gradebook_that_is_none_is_left_alone(course):
    (course / "grades.db").write_text("my notes")
    with pytest.raises(W2SError, match="is no gradebook"):
        run(course)
    assert (course / "grades.db").read_text() == "my notes"
