"""Any notebook in nbgrader's format is graded: nbgrader's own, with its scores, and an odd one."""

import json
from pathlib import Path

import pytest
from grading import needs_box
from redteam.target import code_cell

from w2s_lab.teach.grading.grader import Grader, open_grader
from w2s_lab.teach.grading.plan import release

pytestmark = [pytest.mark.slow, needs_box]


# --- nbgrader's quickstart ------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["problem1", "problem2"])
def quickstart(request):
    """nbgrader's user guide, the name of a notebook in it, and its grader."""
    nbgrader = pytest.importorskip("nbgrader")
    guide = Path(nbgrader.__file__).parent / "docs/source/user_guide"
    with open_grader(guide / f"source/ps1/{request.param}.ipynb") as grader:
        yield guide, request.param, grader


def test_nbgraders_own_solutions_get_full_marks_and_its_release_none(quickstart):
    _, _, grader = quickstart
    assert grader.gate() == []


@pytest.mark.parametrize("student", ["bitdiddle", "hacker"])
@pytest.mark.filterwarnings("ignore")  # nbformat's, about missing ids
def test_nbgraders_students_get_the_scores_that_nbgrader_gives_them(quickstart, student):
    import nbformat
    from nbgrader.utils import determine_grade, is_grade

    guide, name, grader = quickstart
    graded = nbformat.read(guide / f"autograded/{student}/ps1/{name}.ipynb", 4)
    theirs = {
        cell.metadata.nbgrader.grade_id: determine_grade(cell)
        for cell in graded.cells
        if is_grade(cell)
    }
    verdict = grader.grade((guide / f"submitted/{student}/ps1/{name}.ipynb").read_bytes())
    ours = {
        item.grade_id: (None if item.manual else item.score, item.max_score)
        for item in verdict.items
        if item.grade_id in theirs  # nbgrader counts a task cell elsewhere
    }
    assert ours == theirs


def test_a_locked_text_of_the_teachers_is_no_reason_for_a_note(quickstart):
    guide, name, grader = quickstart
    verdict = grader.grade((guide / f"submitted/hacker/ps1/{name}.ipynb").read_bytes())
    assert verdict.notes == ()


# --- one with everything that a test can ask for --------------------------------------------------


def tagged(source, grade_id, points=None):
    about = {"grade_id": grade_id, "schema_version": 3, "task": False}
    about |= {"grade": points is not None, "solution": points is None}
    about |= {"locked": points is not None} | ({} if points is None else {"points": points})
    return code_cell(grade_id, source, {"nbgrader": about})


def answer(grade_id, source):
    inner = "\n".join(["### BEGIN SOLUTION", source.strip(), "### END SOLUTION"])
    return tagged(inner, grade_id)


ODD = [
    code_cell("top", "%matplotlib inline\nimport numpy as np\nimport matplotlib.pyplot as plt"),
    code_cell("more", "from numpy.testing import *"),
    answer(
        "squares",
        """
def squares(n):
    if n < 1:
        raise ValueError('n must be at least 1')
    return [i**2 for i in range(1, n + 1)]
""",
    ),
    tagged("assert squares(1) == [1]\nassert squares(3) == [1, 4, 9]", "visible", 1),
    tagged(
        """
try:
    squares(0)
except ValueError as error:
    assert "at least 1" in str(error)
else:
    raise AssertionError('did not raise')
""",
        "raises",
        1,
    ),
    answer("sum", "def sum_of_squares(n):\n    return sum(squares(n))"),
    tagged(
        """
orig = squares
del squares
try:
    sum_of_squares(1)
except NameError:
    pass
else:
    raise AssertionError('does not use squares')
finally:
    squares = orig
""",
        "deleted",
        1,
    ),
    tagged(
        """
### BEGIN HIDDEN TESTS
assert sum_of_squares(10) == 385
assert [sum_of_squares(k) for k in (1, 2)] == [1, 5]
### END HIDDEN TESTS
""",
        "hidden",
        2,
    ),
    answer(
        "newton",
        """
def newton(f, x):
    for _ in range(30):
        d = (f(x + 1e-6) - f(x - 1e-6)) / 2e-6
        x = x - f(x) / d
    return x
""",
    ),
    tagged(
        """
import math
assert abs(newton(lambda x: x**2 - 2, 1.0) - 2**.5) < 1e-6
assert abs(newton(np.sin, 3.0) - np.pi) < 1e-6
assert abs(newton(math.cos, 1.0) - math.pi / 2) < 1e-6
""",
        "functions",
        1,
    ),
    answer(
        "stack",
        """
class Stack:
    def __init__(self): self.s = []
    def push(self, x): self.s.append(x)
    def pop(self): return self.s.pop()
    def __len__(self): return len(self.s)
    def __str__(self): return str(self.s)
""",
    ),
    tagged(
        """
s = Stack()
s.push(1); s.push('a')
assert len(s) == 2
assert str(s) == "[1, 'a']"
assert s.pop() == 'a'
try:
    s.pop(); s.pop()
    assert False
except IndexError:
    pass
""",
        "class",
        1,
    ),
    answer(
        "values",
        """
from math import tau
x = np.linspace(0, 1, 5)
total = x.sum()
w = {'a': (1, 2), 3: {4}}
def gen(n):
    for i in range(n):
        yield i
def greet(n): print('hi', n)
def sort_in_place(l): l.sort()
""",
    ),
    tagged(
        """
assert_allclose(x, [0, .25, .5, .75, 1])
assert isinstance(x, np.ndarray) and isinstance(total, float)
assert w == {'a': (1, 2), 3: {4}}
assert list(gen(3)) == [0, 1, 2]
assert tau > 6
import io, contextlib
b = io.StringIO()
with contextlib.redirect_stdout(b):
    greet('you')
assert b.getvalue() == 'hi you\\n'
""",
        "data",
        1,
    ),
    tagged("l = [3, 1, 2]\nsort_in_place(l)\nassert l == [1, 2, 3]", "in-place", 1),
    answer("plot", "fig, ax = plt.subplots()\nax.plot([1, 2], [3, 4])\nax.set_xlabel('time')"),
    tagged(
        "assert ax.get_xlabel() == 'time'\nassert_allclose(ax.lines[0].get_ydata(), [3, 4])",
        "figure",
        1,
    ),
    answer("hash", "def hash(text):\n    return len(text)"),
    tagged("assert hash('abc') == 3 and hash('') == 0", "builtin", 1),
]
NOTEBOOK = {"cells": ODD, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
FULL = 11.0  # 1 + 1 + 1 + 2 + 1 + 1 + 1 + 1 + 1 + 1


@pytest.fixture(scope="module")
def odd():
    with Grader(json.dumps(NOTEBOOK), "odd") as grader:
        assert grader.gate() == []  # settles that calls change their arguments
        yield grader


def handed_in(**answers):
    made = json.loads(release(json.dumps(NOTEBOOK)))
    for cell, own in zip(made["cells"], ODD, strict=True):
        cell["source"] = answers.get(
            cell["id"], own["source"] if "SOLUTION" in own["source"] else cell["source"]
        )
    return json.dumps(made).encode()


def lost(verdict):
    return {item.grade_id for item in verdict.items if item.score < item.max_score}


def test_a_right_answer_to_each_task_gets_full_marks(odd):
    verdict = odd.grade(handed_in())
    assert (verdict.score, verdict.max_score, lost(verdict)) == (FULL, FULL, set())


@pytest.mark.parametrize(
    ("answers", "costs"),
    [
        ({"squares": "def squares(n): return [k**2 for k in range(1, n + 1)]"}, {"raises"}),
        ({"sum": "def sum_of_squares(n): return n * (n + 1) * (2 * n + 1) // 6"}, {"deleted"}),
        ({"newton": "def newton(f, x): return 2**.5"}, {"functions"}),
        ({"hash": "hash = id"}, {"builtin"}),
        ({"hash": "pass"}, {"builtin"}),
        ({"plot": "fig, ax = plt.subplots()\nax.plot([1, 2], [3, 4])"}, {"figure"}),
        ({"stack": "from collections import deque as Stack"}, {"class"}),  # it has no push
        ({"values": "l = x = w = total = 0"}, {"data", "in-place"}),
    ],
    ids=lambda value: " ".join(sorted(value)),  # a set's own order differs between processes
)
def test_a_wrong_answer_costs_its_own_points(odd, answers, costs):
    assert lost(odd.grade(handed_in(**answers))) == costs


def test_what_a_test_compares_with_is_never_the_students(odd):
    # their own numpy, their own assertion, their own math
    forged = """
class np:
    ndarray = object
    linspace = lambda *a: None
def assert_allclose(*args): pass
class math: pi = 0
x, total, w, tau = [9], 1, {}, 7
def gen(n): return [n]
def greet(n): pass
def sort_in_place(l): pass
"""
    assert lost(odd.grade(handed_in(values=forged))) >= {"data", "in-place"}
