"""The repository's exercises: solutions get all points, stubs none, wrong answers what they should.

How sources are read and released is the business of test_teach_exercises.py.
"""

import ast
import contextlib
import io
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import yaml

from w2s_lab.teach.assignments import solution_notebook, stubs
from w2s_lab.teach.exercises import EXERCISES, read_assignment
from w2s_lab.teach.rehearsal import rehearse

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "solutions").glob("*.py"))
# everybody's, and three students' own
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 77, 4242))]
WRONG = [
    (path.stem, wrong)
    for path in sorted((Path(__file__).parent / "wrong_answers").glob("*.yaml"))
    for wrong in yaml.safe_load(path.read_text("utf-8"))
]


@cache
def assignment(name):
    return read_assignment(ROOT / "solutions" / f"{name}.py")


@cache
def notebook(name, seed):
    return solution_notebook(assignment(name), seed=seed)


def assigned(code):
    """The names that a cell assigns, defines or imports at its top or inside a `with` or `for`."""
    tree = ast.parse(code)
    inner = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.Lambda)]
    inner += [node for node in ast.walk(tree) if isinstance(node, ast.GeneratorExp | ast.DictComp)]
    inner += [node for node in ast.walk(tree) if isinstance(node, ast.ListComp | ast.SetComp)]
    local = {id(name) for node in inner for name in ast.walk(node) if name is not node}
    names = set()
    for node in ast.walk(tree):
        if id(node) in local:
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).split(".")[0])
    return names


names = pytest.mark.parametrize("name", [path.stem for path in SOURCES])


@names
@pytest.mark.parametrize("seed", SEEDS)
def test_the_solution_gets_every_point_and_says_nothing_on_standard_error(name, seed):
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        found = rehearse(notebook(name, seed))
    lost = {id: outcome for id, outcome in found.items() if outcome.points != outcome.most}
    assert not lost
    assert err.getvalue() == ""


@names
def test_the_stub_gets_no_point(name):
    found = rehearse(notebook(name, 0), stubs(assignment(name)))
    assert {id: outcome.points for id, outcome in found.items()} == dict.fromkeys(found, 0.0)


@names
def test_each_task_stands_alone(name):
    for task in assignment(name).exercises:
        found = rehearse(notebook(name, 0), task=task.name)
        assert list(found) == [f"{task.name}-check", f"{task.name}-hidden"]
        assert all(outcome.points == outcome.most for outcome in found.values()), found


@names
def test_a_check_run_twice_changes_nothing(name):
    cells = solution_notebook(assignment(name)).cells
    graded = [cell for cell in cells if cell.metadata.get("nbgrader", {}).get("grade")]
    other = [cell for cell in cells if cell.cell_type == "code" and cell not in graded]
    taken = set().union(*(assigned(cell.source) for cell in other)) - {"marks"}
    for cell in graded:
        if cell.cell_type == "code":
            assert not assigned(cell.source) & taken, cell.metadata.nbgrader.grade_id


@names
def test_the_committed_exercise_has_no_output_and_is_not_executed(name):
    import nbformat

    released = nbformat.read(ROOT / EXERCISES / f"{name}.ipynb", 4)
    code = [cell for cell in released.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS[:3])
@pytest.mark.parametrize(
    ("name", "wrong"), WRONG, ids=[f"{name[:2]}-{w['task']}-{w['name']}" for name, w in WRONG]
)
def test_a_wrong_answer_gets_its_score_and_its_message(name, wrong, seed):
    task = wrong["task"]
    found = rehearse(notebook(name, seed), {task: wrong["answer"]}, task=task)
    check, hidden = found[f"{task}-check"], found[f"{task}-hidden"]
    printed = " ".join((check.printed + hidden.printed).split())
    assert wrong["says"] in printed
    assert (check.points, hidden.points) == (wrong["visible"], wrong["hidden"]), printed


@names
def test_each_task_has_three_wrong_answers_that_lose_points(name):
    wrong = [one for stem, one in WRONG if stem == name]
    counted = Counter(one["task"] for one in wrong)
    tasks = {task.name: task for task in assignment(name).exercises}
    assert set(counted) == set(tasks)
    assert min(counted.values()) >= 3, counted
    assert len({(one["task"], one["name"]) for one in wrong}) == len(wrong)
    for one in wrong:
        task = tasks[one["task"]]
        assert one["visible"] + one["hidden"] < task.visible + task.hidden, one["name"]
