"""Our own exercises on the grader's path: through the box, with the judge outside.

The same solutions, stubs and wrong answers as in test_exercises.py, which has one process for all.
"""

import itertools
import json
from pathlib import Path

import pytest
import yaml
from grading import needs_box

from w2s_lab.teach.grading.grader import open_grader

pytestmark = [pytest.mark.slow, needs_box]
SOLUTIONS = sorted(Path("solutions").glob("*.ipynb"))


@pytest.fixture(scope="module", params=SOLUTIONS, ids=lambda path: path.stem)
def graded(request):
    """A grader of the assignment, and what its gate found."""
    with open_grader(request.param) as grader:
        yield grader, grader.gate()


def test_the_solution_gets_every_point_and_the_release_none(graded):
    assert graded[1] == []


def batches(name):
    """Wrong answers of an assignment in groups in which each task occurs once at most."""
    wrong = yaml.safe_load(Path(f"tests/wrong_answers/{name}.yaml").read_text("utf-8"))
    by_task = itertools.groupby(sorted(wrong, key=lambda one: one["task"]), lambda one: one["task"])
    for group in itertools.zip_longest(*(list(group) for _, group in by_task)):
        yield [one for one in group if one]


def test_each_wrong_answer_gets_the_points_and_the_words_that_its_author_meant(graded):
    grader, _ = graded
    wrongs = []
    for batch in batches(grader.name):
        notebook = json.loads(grader.text)
        answers = {one["task"]: one["answer"] for one in batch}
        for cell in notebook["cells"]:
            id = cell["metadata"].get("nbgrader", {}).get("grade_id")
            if id in answers:
                cell["source"] = answers[id]
        verdict = grader.grade(json.dumps(notebook).encode())
        items = {item.grade_id: item for item in verdict.items}
        for one in batch:
            check, hidden = (items[f"{one['task']}-{part}"] for part in ("check", "hidden"))
            cases = [*check.cases, *hidden.cases]
            said = " ".join(f"{case.title} {case.said}" for case in cases)
            got, due = (check.score, hidden.score), (one["visible"], one["hidden"])
            # of a hidden case the grader does not say which exception it was
            stopped = "stopped with" in one["says"] and "stopped with an error" in said
            if got != due or not (one["says"] in said or stopped):
                wrongs.append(f"{one['task']}, {one['name']}: {got} of {due}: {said}")
    assert not wrongs, "\n".join(wrongs)
