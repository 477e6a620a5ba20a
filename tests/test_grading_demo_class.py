"""The demonstration class is what its table says, and grading it comes to what stands there."""

import json
import re
import shlex

import pytest
from grading import needs_box

from w2s_lab import cli
from w2s_lab.errors import W2SError
from w2s_lab.teach.assignments import release_notebook, solution_notebook
from w2s_lab.teach.build import canonical
from w2s_lab.teach.course import try_solution, try_stub
from w2s_lab.teach.exercises import read_assignment
from w2s_lab.teach.grading import demo_class as module
from w2s_lab.teach.grading.class_report import misconceptions
from w2s_lab.teach.grading.demo_class import (
    ASSIGNMENT,
    DEMO,
    ESSAY,
    demo_class,
    enrolled,
    hand_in,
    handed_in,
    told,
)
from w2s_lab.teach.grading.gradebook import Gradebook
from w2s_lab.teach.grading.hand_ins import found
from w2s_lab.teach.grading.plan import make_plan
from w2s_lab.teach.grading.policy import standings
from w2s_lab.teach.grading.policy_file import read_policy
from w2s_lab.teach.grading.similarity import similar
from w2s_lab.teach.leaks import leaks
from w2s_lab.teach.release import read_roster

GROUPS = ["right", "partly right", "copied", "late", "broken", "hostile", "missing"]
# points that tests give, the essay's four aside
POINTS = {"numbers": 3, "recovered": 4, "repeated": 4, "defer": 4, "claim": 1}


@pytest.fixture(scope="module")
def assignment():
    return read_assignment(DEMO / f"{ASSIGNMENT}.py")


def counts(students):
    groups = [one.seat.group for one in enrolled(students)]
    return [groups.count(group) for group in GROUPS]


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


# --- the assignment -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_the_solution_gets_every_point_whatever_the_seed(assignment, seed):
    try_solution(assignment, seed=seed)


def test_the_stub_gets_none_and_nothing_leaks_into_the_release(assignment, tmp_path):
    try_stub(assignment)
    (tmp_path / "released.ipynb").write_text(canonical(release_notebook(assignment)), "utf-8")
    assert leaks([assignment], tmp_path) == []


def test_its_points_are_those_of_the_table(assignment):
    assert {one.name: one.visible + one.hidden for one in assignment.exercises} == POINTS
    essays = [one.essay for one in assignment.exercises if one.essay]
    assert [essay.points for essay in essays] == [len(told()["essay"])] == [4]


# --- the class ------------------------------------------------------------------------------------


def test_the_smallest_class_has_one_of_each_group_and_two_who_copied():
    assert counts(8) == [1, 1, 2, 1, 1, 1, 1]


def test_thirty_students_have_the_intended_shares():
    assert counts(30) == [5, 7, 2, 3, 7, 5, 1]


def test_a_large_class_has_no_more_copies_and_nobody_else_missing():
    right, partly, copied, late, broken, hostile, missing = counts(300)
    assert (copied, missing) == (2, 1)
    assert right + late > 70 and partly > 70 and broken > 60 and hostile > 25


@pytest.mark.parametrize("students", [8, 30, 60, 61, 600])
def test_no_two_students_have_the_same_name_even_where_case_counts_for_nothing(students):
    names = [one.name.lower() for one in enrolled(students)]
    assert len(set(names)) == len(names) == students


def test_each_cell_that_the_table_names_is_in_the_assignment(assignment):
    cells = solution_notebook(assignment).cells
    known = {cell.metadata.get("nbgrader", {}).get("grade_id") for cell in cells}
    for seat in told()["seats"]:
        assert {*seat.get("answers", ()), *seat.get("below", ()), *seat.get("remove", ())} <= known
        assert seat.get("gets", {}).keys() <= POINTS.keys()
    assert told()["styles"].keys() == POINTS.keys()


def test_two_essays_share_at_most_one_sentence():
    class_ = enrolled(600)
    ends = re.compile(r"(?<=[.?!]) (?=[A-Z])")
    texts = [set(ends.split(one.essay)) for one in class_ if one.essay]
    assert 40 < len(texts) <= 49
    assert max(len(a & b) for n, a in enumerate(texts) for b in texts[:n]) == 1


def test_essays_are_marked_by_the_criteria_that_they_meet_and_some_are_left():
    class_ = enrolled(30)
    first, second, third = class_[:3]
    assert first.mark == (4.0, "All four points are there.")
    assert second.mark == (2.0, " ".join(one["missing"] for one in told()["essay"][2:]))
    assert third.essay and third.mark is None
    assert all(one.mark is None for one in class_ if not one.essay)


def answers(students, assignment):
    """What graded students wrote, by grade id."""
    written = {}
    for one in enrolled(students):
        if one.seat.status == "graded":
            cells = json.loads(handed_in(one, assignment))["cells"]
            about = [(cell["metadata"].get("nbgrader", {}), cell["source"]) for cell in cells]
            written[one.name] = {a["grade_id"]: "".join(t) for a, t in about if a.get("solution")}
    return written


@pytest.mark.parametrize("students", [8, 15, 30, 60, pytest.param(300, marks=pytest.mark.slow)])
def test_the_two_who_copied_are_found_alike_and_nobody_else(assignment, students):
    starters = make_plan(canonical(solution_notebook(assignment)), ASSIGNMENT).sheet.starters
    [pair] = similar(answers(students, assignment), starters)
    assert set(pair.students) == {o.name for o in enrolled(students) if o.seat.group == "copied"}
    assert {task.task for task in pair.tasks} == {"repeated", "defer"}
    assert pair.share == 1


# --- what is handed in ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def handed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("handed") / "course"
    hand_in(folder, enrolled(30))
    return folder


def test_the_same_seed_gives_the_same_files_and_another_one_other_names(handed, tmp_path):
    hand_in(tmp_path / "again", enrolled(30))
    assert files(tmp_path / "again") == files(handed)
    assert [one.name for one in enrolled(30, 1)] != [one.name for one in enrolled(30)]


def test_everybody_is_on_the_roster_and_all_but_one_handed_in(handed):
    roster = read_roster(handed / "roster.csv")
    assert roster == [one.name for one in enrolled(30)]
    hand_ins = {one.student: one for one in found(handed, ASSIGNMENT)}
    [missing] = [one.name for one in enrolled(30) if one.seat.group == "missing"]
    assert {*roster} - hand_ins.keys() == {missing}
    for one in enrolled(30):
        if one.name != missing:
            assert hand_ins[one.name].received == one.received.isoformat(timespec="seconds")


def test_who_is_late_is_late_by_the_policy(handed):
    policy = read_policy(handed / "policy.yaml")
    late = {
        one.seat.hours_late: policy.days_late(one.name, one.received.isoformat())
        for one in enrolled(30)
    }
    # started days of 24 h after the due date, 15 minutes of grace and an extension of 72 h:
    # 20 h − 0.25 h is in day 1, 66 h − 0.25 h in day 3, 0.16 h is within the grace
    assert late == {None: 0, 20: 1, 66: 3, 44: 0, 0.16: 0}


# --- what is refused ------------------------------------------------------------------------------


def refused(*arguments, **options):
    with pytest.raises(W2SError) as caught:
        demo_class(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    said = refused(tmp_path)
    assert said.startswith(f"{tmp_path}: is there already and not empty; ")
    assert files(tmp_path) == {"mine.txt": b"mine"}
    assert refused(tmp_path / "mine.txt").startswith(f"{tmp_path / 'mine.txt'}: is there already")


def test_too_few_students_are_refused(tmp_path):
    said = refused(tmp_path / "course", 7)
    assert said == "--students: 7 are too few for a class; ask for 8 or more"
    assert not (tmp_path / "course").exists()


def test_without_a_box_nothing_is_written_and_nothing_runs(tmp_path, monkeypatch):
    def no_box(*_, **__):
        raise W2SError("no box here", where="grade", mend="install bubblewrap")

    monkeypatch.setattr(module, "open_room", no_box)
    monkeypatch.setattr(module, "grade_class", lambda *_: pytest.fail("it was graded"))
    assert refused(tmp_path / "course").startswith("grade: no box here")
    assert not (tmp_path / "course").exists()


# --- what it comes to -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """The whole class, and where everybody stands."""
    folder = tmp_path_factory.mktemp("demo") / "course"
    assert demo_class(folder) == folder
    policy, roster = read_policy(folder / "policy.yaml"), read_roster(folder / "roster.csv")
    with Gradebook(folder / "gradebook.db", create=False) as book:
        return folder, {one.student: one for one in standings(book, ASSIGNMENT, policy, roster)}


CLASS = enrolled(30)


@needs_box
@pytest.mark.slow
@pytest.mark.parametrize("student", CLASS, ids=[one.seat.about for one in CLASS])
def test_each_student_gets_the_status_the_points_and_the_words_intended(graded, student):
    folder, everybody = graded
    got, seat = everybody[student.name], student.seat
    tasks = dict.fromkeys(POINTS, 0.0)
    for entry in got.entries:
        if entry.column.grade_id != ESSAY:
            tasks[entry.column.task] += entry.score
    assert got.status == seat.status
    assert tasks == POINTS | dict(seat.gets), [entry.message for entry in got.entries]
    assert got.isolation in ("box", "")
    page = (folder / "feedback" / f"{student.name}.html").read_text("utf-8")
    seen = page.replace("&#39;", "'")
    assert seat.says in seen


@needs_box
@pytest.mark.slow
def test_essays_and_lateness_are_in_the_scores(graded):
    _, everybody = graded
    for one in CLASS:
        got = everybody[one.name]
        points = sum((POINTS | dict(one.seat.gets)).values()) + (one.mark[0] if one.mark else 0)
        # 10 % of 20 points each day
        penalty = {20: 2, 66: 6}.get(one.seat.hours_late, 0)
        assert (got.raw, got.penalty, got.score) == (points, penalty, points - penalty)
        written = bool(one.essay) or ESSAY in one.seat.answers
        assert got.waits == (written and one.mark is None and got.status == "graded")


@needs_box
@pytest.mark.slow
def test_typical_mistakes_meet_the_authors_sentences(graded):
    said = {one.said for one in misconceptions(list(graded[1].values()))}
    for seat in told()["seats"]:
        if seat["group"] == "partly right":
            assert any(seat["says"] in words for words in said), seat["about"]


@needs_box
@pytest.mark.slow
def test_no_page_and_no_table_holds_anything_live(graded):
    folder, _ = graded
    pages = [folder / "report.html", *(folder / "feedback").iterdir()]
    assert len(pages) == 31
    for page in pages:
        text = page.read_text("utf-8")
        assert "<script" not in text and "<img src=x" not in text
        assert "\x1b" not in text and "\u202e" not in text
    for table in (folder / "exports").glob("*.csv"):
        assert not re.search(r'(?:^|,)"?=', table.read_text("utf-8"), re.MULTILINE)


@needs_box
@pytest.mark.slow
def test_everything_that_was_promised_is_there(graded):
    folder, _ = graded
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    tables = {"summary", "questions", "canvas", "moodle"}
    assert {f"exports/{name}.csv" for name in tables} <= names
    for one in CLASS:
        assert {f"feedback/{one.name}.html", f"exports/results/{one.name}/results.json"} <= names
    readme = (folder / "README.md").read_text("utf-8")
    for name in re.findall(r"`([\w./]+)`", readme.partition("Go on")[0]):
        assert (folder / name).exists(), name
    for one in CLASS:
        assert f"| {one.name} | {one.seat.group} | {one.seat.about} |" in readme
    first, second = (one.name for one in CLASS if one.seat.group == "copied")
    report = (folder / "report.html").read_text("utf-8")
    alike = report.partition("Similar answers")[2]
    assert first in alike and second in alike


@needs_box
@pytest.mark.slow
def test_grading_again_as_the_readme_says_grades_nothing_twice(graded, monkeypatch, capsys):
    folder, _ = graded
    monkeypatch.chdir(folder)
    readme = (folder / "README.md").read_text("utf-8").replace("\\\n", "")
    [command] = re.findall(r"^ +w2s-lab (grade .*)$", readme, re.MULTILINE)
    assert cli.main(shlex.split(command)) == 0
    assert "29 hand-ins: 27 graded, 2 rejected" in capsys.readouterr().out
    with Gradebook("gradebook.db", create=False) as book:
        assert len(book.graders(ASSIGNMENT)) == 1  # the same tests and limits: one set of results


@needs_box
@pytest.mark.slow
def test_the_table_names_each_group_and_where_to_look(tmp_path, capsys):
    demo_class(tmp_path / "small", 8)
    out = capsys.readouterr().out
    rows = [re.split("  +", line) for line in out.splitlines()]
    assert [row[0] for row in rows if len(row) > 3][1:] == GROUPS
    assert str(tmp_path / "small" / "report.html") in out
