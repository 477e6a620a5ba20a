"""The real nbgrader on our exercises: it generates what we release, and grades as we do.

Our own cases are the business of test_exercises.py.
"""

import os
import shutil
import sys
from pathlib import Path

import pytest

from w2s_lab.teach.exercises import read_assignment
from w2s_lab.teach.release import release

pytest.importorskip("nbgrader", reason="needs the extra `grade`")
# it warns of its own bookkeeping
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Object of type <Submitted")]

ROOT = Path(__file__).parent.parent
NAMES = sorted(path.stem for path in (ROOT / "solutions").glob("*.py"))
names = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course folder with two submissions to each assignment, graded by nbgrader."""
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import Config

    here = os.getcwd()
    path = os.environ["PATH"]
    folder = tmp_path_factory.mktemp("nbgrader") / "course"
    try:
        os.chdir(ROOT)
        release(folder)
        shutil.copytree(folder / "release", folder / "ours")
        os.chdir(folder)
        # nbgrader calls alembic, which is installed beside this Python
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{path}"
        config = Config()
        config.CourseDirectory.root = str(folder)
        config.CourseDirectory.course_id = "w2s"
        api = NbGraderAPI(config=config)
        for name in NAMES:
            told = api.generate_assignment(name, force=True)
            assert told["success"], told["log"]
            for student, made in (("solver", "source"), ("nobody", "release")):
                target = folder / "submitted" / student / name
                shutil.copytree(folder / made / name, target)
                notebook = target / f"{name}.ipynb"  # as one with numbers of its own
                text = notebook.read_text("utf-8").replace("SEED = 0", "SEED = 77")
                notebook.write_text(text, "utf-8")
                told = api.autograde(name, student, force=True, create=True)
                assert told["success"], told["log"]
        yield folder
    finally:
        os.chdir(here)
        os.environ["PATH"] = path


def graded(course, name, student):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course}/gradebook.db") as book:
        notebook = book.find_submission_notebook(name, name, student)
        return {grade.name: (grade.auto_score, grade.max_score) for grade in notebook.grades}


@names
def test_nbgrader_generates_the_very_notebook_that_we_release(course, name):
    theirs, ours = (
        (course / folder / name / f"{name}.ipynb").read_bytes() for folder in ("release", "ours")
    )
    assert theirs == ours


@names
def test_nbgrader_restores_the_numbers_that_everybody_has(course, name):
    graded = course / "autograded" / "solver" / name / f"{name}.ipynb"
    assert "SEED = 0" in graded.read_text("utf-8")


@names
def test_nbgrader_gives_the_solution_every_point_and_leaves_essays_to_a_person(course, name):
    tasks = read_assignment(ROOT / "solutions" / f"{name}.py").exercises
    columns = {id: points for task in tasks for id, points in task.columns.items()}
    found = graded(course, name, "solver")
    assert {id: most for id, (_, most) in found.items()} == columns
    essays = {f"{task.name}-essay" for task in tasks if task.essay}
    assert {id for id, (score, _) in found.items() if score is None} == essays
    lost = {id: score for id, (score, most) in found.items() if score not in (most, None)}
    assert not lost


@names
def test_nbgrader_gives_the_stub_nothing_not_even_for_the_unwritten_essay(course, name):
    found = graded(course, name, "nobody")
    assert found
    assert {score for score, _ in found.values()} == {0}


@names
def test_nbgrader_validates_the_solution_and_not_the_stub(course, name):
    from nbgrader.validator import Validator

    def failed(folder):
        results = Validator().validate(str(course / folder / name / f"{name}.ipynb"))
        assert not results.get("changed"), results
        return {cell["source"] for cell in results.get("failed", [])}

    assert not failed("source")
    assert failed("ours")
