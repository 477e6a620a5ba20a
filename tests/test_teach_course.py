"""A small course builds, agrees with itself, and is found out wherever it was tampered with.

Kernels are played here; test_build.py runs them.
"""

import shutil
from pathlib import Path

import pytest
from test_teach_exercises import changed
from test_teach_outline import LESSON, more

from w2s_lab import cli
from w2s_lab.errors import W2SError
from w2s_lab.teach import build as lessons
from w2s_lab.teach import course

SOURCE = more("recall", "diagnose", "decide")
SOLVED, RELEASED = "solutions/07_tiny.ipynb", "exercises/07_tiny.ipynb"
BUILT = ["notebooks/07_tiny.ipynb", SOLVED, RELEASED, "docs/exercises.md"]


def played(notebook, source, size):
    """Counts the cells as if a kernel had run them and they had shown nothing."""
    for number, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type == "code":
            cell.execution_count = number


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("course")
    for name, text in (("notebooks", LESSON), ("solutions", SOURCE)):
        (folder / name).mkdir()
        (folder / name / "07_tiny.py").write_text(text, "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(lessons, "_run", played)
        assert [path.as_posix() for path in course.build()] == BUILT
    return folder


@pytest.fixture
def project(built, tmp_path, monkeypatch):
    """The working folder, a copy of the built course."""
    folder = Path(shutil.copytree(built, tmp_path / "course"))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(lessons, "_run", played)
    return folder


def state(folder):
    """Every file with what it holds and when it was written."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def exchange(name, old, new):
    path = Path(name)
    path.write_text(changed(path.read_text("utf-8"), old, new), "utf-8")


# --- agreement ------------------------------------------------------------------------------------


def test_a_fresh_build_has_no_findings(project):
    assert course.check() == []
    assert course.check(["07_tiny"]) == []
    assert course.check(["solutions/07_tiny.py", "notebooks/07_tiny.ipynb"]) == []


def test_a_second_build_gives_the_same_bytes(project):
    before = {path: content for path, (content, _) in state(project).items()}
    course.build()
    assert {path: content for path, (content, _) in state(project).items()} == before


TAMPERED = {
    "exercise, one letter": (
        lambda: exchange(RELEASED, "Take a position, then", "Take b position, then"),
        f"{RELEASED}: differs from its source; run `make build`",
    ),
    "exercise, its last byte": (
        lambda: Path(RELEASED).write_bytes(Path(RELEASED).read_bytes()[:-1]),
        f"{RELEASED}: differs from its source; run `make build`",
    ),
    "exercise, ends of lines": (
        lambda: Path(RELEASED).write_bytes(Path(RELEASED).read_bytes().replace(b"\n", b"\r\n")),
        f"{RELEASED}: differs from its source; run `make build`",
    ),
    "exercise gone": (
        lambda: Path(RELEASED).unlink(),
        f"{RELEASED}: is missing; run `make build`",
    ),
    "stray exercise": (
        lambda: Path("exercises/08_more.ipynb").write_text("{}"),
        "exercises/08_more.ipynb: has no source; delete it",
    ),
    "stray solution": (
        lambda: Path("solutions/08_more.ipynb").write_text("{}"),
        "solutions/08_more.ipynb: has no source; delete it",
    ),
    "solutions edited": (
        lambda: exchange(SOLVED, "Take a position, then", "Take none, then"),
        f"{SOLVED}: cell 9 (07_tiny-",
    ),
    "solutions gone": (lambda: Path(SOLVED).unlink(), f"{SOLVED}: is missing; run `make build`"),
    "solutions not executed": (
        lambda: exchange(SOLVED, '"execution_count": 2,', '"execution_count": null,'),
        f"{SOLVED}: cell 2 (07_tiny-seed-given) was not executed; run `make build`",
    ),
    "source edited": (
        lambda: exchange("solutions/07_tiny.py", 'position = "because"', 'position = "so"'),
        f"{SOLVED}: cell 10 (07_tiny-why) differs from its source; run `make build`",
    ),
    "source broken": (
        lambda: exchange("solutions/07_tiny.py", "# 3. Both.", "# 4. Both."),
        "3 hints, which begin `1. `, `2. `, `4. `",
    ),
    "map edited": (
        lambda: exchange("docs/exercises.md", "double a number", "double a letter"),
        "docs/exercises.md: differs from its source; run `make build`",
    ),
    "map gone": (
        lambda: Path("docs/exercises.md").unlink(),
        "docs/exercises.md: is missing; run `make build`",
    ),
    "leak beside the exercise": (
        lambda: Path("exercises/notes.txt").write_text('position = "because"'),
        "exercises/notes.txt: gives away 'position=\"because\"'",
    ),
    "lesson edited": (
        lambda: exchange("notebooks/07_tiny.ipynb", "2 * 2", "2 * 3"),
        "notebooks/07_tiny.ipynb: cell 5 (07_tiny-",
    ),
}


@pytest.mark.parametrize(("tamper", "told"), TAMPERED.values(), ids=TAMPERED)
def test_what_was_tampered_with_is_told_in_one_line(project, capsys, tamper, told):
    tamper()
    before = state(project)
    findings = course.check()
    assert [told in line for line in findings] == [True], findings
    assert state(project) == before
    assert cli.main(["build", "--check"]) == 1
    assert capsys.readouterr().err.splitlines() == findings


def test_an_exercise_that_is_no_text_is_told_twice_and_stops_nothing(project):
    Path(RELEASED).write_bytes(b"\xff" + Path(RELEASED).read_bytes())
    assert course.check() == [
        f"{RELEASED}: differs from its source; run `make build`",
        f"{RELEASED}: is no text and cannot be searched; remove it",
    ]


def test_a_copy_of_the_solutions_below_the_exercises_is_told_line_by_line(project):
    shutil.copytree("solutions", "exercises/old")
    findings = course.check()
    for name in ("07_tiny.ipynb", "07_tiny.py"):
        own = [line for line in findings if line.startswith(f"exercises/old/{name}: ")]
        assert f"exercises/old/{name}: has the mark 'BEGIN SOLUTION'" in own
        assert len([line for line in own if " gives away " in line]) > 10
    assert all("\n" not in line for line in findings)


def test_a_gap_in_the_map_is_found_though_everything_is_built(project):
    exchange("solutions/07_tiny.py", 'objective="1, 2"', "objective=3")
    course.build(["solutions/07_tiny"])
    line = Path("solutions/07_tiny.py").read_text("utf-8").split('task="why"')[0].count("\n") + 1
    assert course.check() == [
        "07_tiny, objective 2: no exercise",
        f"solutions/07_tiny.py:{line}: there is no objective 3",
    ]


# --- what a build refuses -------------------------------------------------------------------------


def failing(notebook, source, size):
    raise W2SError("NameError: x", where=f"{source}: cell 2")


UNFIT = {
    "solution that loses a point": (
        ('marks.holds(position, "Take', 'marks.holds(not position, "Take')
        + ('check="why" points=0', 'check="why" points=1', "taken\", points=0", 'taken", points=1'),
        "solutions/07_tiny.py, SEED = 0: why-check: the solution gets 0 of 1; mend the solution, "
        "a case or the points",
    ),
    "stub that gets a point": (
        ('marks.holds(position, "Take', 'marks.holds(True, "Take')
        + ('check="why" points=0', 'check="why" points=1', "taken\", points=0", 'taken", points=1'),
        "solutions/07_tiny.py: why-check: the stub gets 1 points; ask for more than an empty "
        "answer gives",
    ),
    "points that the cases do not add up to": (
        ('hidden="why" points=1', 'hidden="why" points=2'),
        "why-hidden: the solution gets 1 of 2",
    ),
    "malformed source": (('check="why"', 'chek="why"'), "unknown option 'chek'"),
}  # fmt: skip


@pytest.mark.parametrize(("pairs", "told"), UNFIT.values(), ids=UNFIT)
def test_an_unfit_source_stops_the_build_and_nothing_is_overwritten(project, pairs, told):
    source = Path("solutions/07_tiny.py")
    source.write_text(changed(source.read_text("utf-8"), *pairs), "utf-8")
    before = state(project)
    with pytest.raises(W2SError) as caught:
        course.build(["solutions/07_tiny"])
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert state(project) == before


def test_a_failed_cell_stops_the_build_and_nothing_is_overwritten(project, monkeypatch):
    monkeypatch.setattr(lessons, "_run", failing)
    exchange("solutions/07_tiny.py", "Take a position, then", "Take one, then")
    before = state(project)
    with pytest.raises(W2SError, match="NameError: x"):
        course.build(["solutions/07_tiny"])
    assert state(project) == before


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["07_tiny"], BUILT),
        (["notebooks/07_tiny.py"], BUILT[:1]),
        (["solutions/07_tiny.ipynb"], BUILT[1:]),
    ],
)
def test_a_name_builds_the_lesson_and_its_exercises_or_one_of_them(project, names, expected):
    assert [path.as_posix() for path in course.build(names)] == expected


@pytest.mark.parametrize("name", ["exercises/07_tiny.ipynb", "notebook/07_tiny", "docs/07_tiny"])
def test_a_name_in_a_folder_without_sources_is_a_mistake_and_not_agreement(project, name):
    for work in (course.build, course.check):
        with pytest.raises(W2SError) as caught:
            work([name])
        assert str(caught.value) == (
            f"{name}: has no source there; name it in notebooks/ or solutions/, or without a folder"
        )
    assert cli.main(["build", "--check", name]) == 2


def test_a_lesson_without_exercises_is_found_by_its_name(project):
    Path("solutions/07_tiny.py").rename("solutions/06_other.py")
    assert [path.as_posix() for path in course.build(["07_tiny"])] == BUILT[:1]


def test_an_unknown_name_is_a_mistake(project):
    with pytest.raises(W2SError, match="notebooks: no source '09_x'"):
        course.check(["09_x"])
    with pytest.raises(W2SError, match="no source '08_more'; choose from: 07_tiny"):
        course.check(["solutions/08_more"])


def test_a_course_without_exercises_builds_its_lessons(project):
    for folder in ("solutions", "exercises", "docs"):
        shutil.rmtree(folder)
    assert [path.as_posix() for path in course.build()] == BUILT[:1]
    assert course.check() == []
