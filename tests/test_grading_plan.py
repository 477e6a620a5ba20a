"""A teacher's notebook becomes the plan that its metadata describes, the same one everywhere."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redteam.target import code_cell, target_notebook

from w2s_lab.errors import W2SError
from w2s_lab.teach.grading.plan import (
    ANSWER,
    GIVEN,
    MANUAL,
    PLAIN,
    TEST,
    make_plan,
    release,
    starter,
    translated,
)
from w2s_lab.teach.grading.verdict import Column

ROOT = Path(__file__).parent.parent


def cell(kind, grade_id, source, points=0, *, markdown=False):
    """A cell with nbgrader's metadata of schema 3; "plain" has none."""
    about = {
        "grade": kind in ("test", "manual"),
        "grade_id": grade_id,
        "locked": kind in ("given", "test"),
        "schema_version": 3,
        "solution": kind in ("answer", "manual"),
        "task": kind == "task",
    }
    if about["grade"] or about["task"]:
        about["points"] = points
    made = code_cell(grade_id or "plain", source, {} if kind == "plain" else {"nbgrader": about})
    return made | ({"cell_type": "markdown"} if markdown else {})


def text(*cells, **rest):
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5} | rest)


def plan(*cells, **options):
    return make_plan(text(*cells), "tiny", **options)


def refused(notebook, **options):
    with pytest.raises(W2SError) as caught:
        make_plan(notebook, "tiny", **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


T = cell("test", "t", "assert f(1)", 1)

# --- what each cell is ----------------------------------------------------------------------------


def test_each_cell_of_the_target_has_its_role():
    steps = make_plan(json.dumps(target_notebook()), "target").steps
    assert {step.grade_id: step.role for step in steps} == {
        "setup": GIVEN,
        **dict.fromkeys(("double", "mean", "answers", "counter"), ANSWER),
        **dict.fromkeys(("double-check", "double-hidden", "mean-hidden", "answers-look"), TEST),
        **dict.fromkeys(("answers-hidden", "counter-hidden"), TEST),
        "essay": MANUAL,
    }


def test_the_columns_are_the_graded_cells_in_order_with_task_points_and_rubric():
    heading = {
        "cell_type": "markdown",
        "metadata": {},
        "source": "# All\n\n## Task 2 · Double it\n",
    }
    cells = [heading, T, cell("test", "t-hidden", "### BEGIN HIDDEN TESTS\nassert 1\n", 2.5)]
    cells += [heading | {"source": ["## Say ", "why\n"]}]
    cells += [cell("manual", "why-essay", "Because.", 3, markdown=True)]
    cells += [cell("task", "job", "Draw it.", 1, markdown=True)]
    assert plan(*cells).sheet.columns == (
        Column("t", 1.0, task="t", title="Double it"),
        Column("t-hidden", 2.5, task="t", title="Double it", hidden=True),
        Column("why-essay", 3.0, manual=True, task="why", title="Say why", rubric="Because."),
        Column("job", 1.0, manual=True, task="job", title="Say why", rubric="Draw it."),
    )
    assert plan(*cells).sheet.max_score == 7.5  # 1 + 2.5 + 3 + 1


@pytest.mark.parametrize(
    ("metadata", "role"),
    [
        ({"grade": False, "locked": True, "solution": False}, GIVEN),
        ({"grade": False, "locked": False, "solution": False}, PLAIN),
        ({"grade": False, "locked": False, "solution": True}, ANSWER),
        ({"grade": True, "locked": True, "solution": False, "points": 1}, TEST),
        ({"grade": True, "locked": False, "solution": True, "points": 1}, MANUAL),
        # version 1 has no `task`; 2 has `cell_type` and `checksum` besides
        ({"grade": True, "locked": False, "points": 1, "schema_version": 1}, TEST),
    ],
)
def test_nbgraders_flags_make_the_role(metadata, role):
    one = code_cell("x", "x = f", {"nbgrader": {"grade_id": "x"} | metadata})
    steps = plan(one, T, cell("test", "reads", "assert x", 1)).steps
    assert {step.grade_id: step.role for step in steps}["x"] == role


def test_the_hidden_part_of_a_test_is_not_in_its_visible_part():
    source = "assert f(1)\n### BEGIN HIDDEN TESTS\nassert f(2)\n### END HIDDEN TESTS\nassert f(3)"
    step = plan(cell("test", "t", source, 1)).steps[0]
    assert (step.visible, step.hidden) == ("assert f(1)\nassert f(3)", True)
    assert "f(2)" in step.source


@pytest.mark.parametrize("mark", ["### ", "# ", "#", "  ## the teacher's: "])
def test_a_hidden_part_begins_wherever_nbgrader_sees_its_mark(mark):
    source = f"{mark}BEGIN HIDDEN TESTS\nassert f(2)\n{mark}END HIDDEN TESTS now"
    step = plan(cell("test", "t", source, 1)).steps[0]
    assert (step.visible, step.hidden) == ("", True)
    assert "f(2)" not in release(text(cell("test", "t", source, 1)))


def test_a_hidden_part_without_an_end_hides_all_that_follows():
    step = plan(cell("test", "t", "assert f(1)\n### BEGIN HIDDEN TESTS\nassert f(2)", 1)).steps[0]
    assert step.visible == "assert f(1)"


def test_a_test_of_comments_alone_is_visible_and_one_without_a_visible_line_is_not():
    told = "# The rest is hidden\n### BEGIN HIDDEN TESTS\nassert f(2)\n### END HIDDEN TESTS"
    assert plan(cell("test", "t", told, 1)).steps[0].visible == ""
    assert not plan(cell("test", "t", "# nothing yet", 1)).steps[0].hidden


def test_magics_of_the_teacher_are_translated():
    cells = [cell("given", "g", "%matplotlib inline\nimport math"), cell("test", "t", "math.pi", 1)]
    step = plan(*cells).steps[0]
    assert "run_line_magic('matplotlib', 'inline')" in step.source
    assert translated("x = 5 % 3") == "x = 5 % 3"


def test_a_students_numbers_replace_the_zero_of_a_given_seed_alone():
    cells = [cell("given", "g", "SEED = 0\nOTHER_SEED = 0"), cell("test", "t", "SEED = 0\nSEED", 1)]
    steps = plan(*cells, seed=77).steps
    assert steps[0].source == "SEED = 77\nOTHER_SEED = 0"
    assert steps[1].source == "SEED = 0\nSEED"


# --- whose a name is ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "loads", "binds"),
    [
        ("x = y", {"y"}, {"x"}),
        ("x += y", {"x", "y"}, {"x"}),
        ("del x", {"x"}, {"x"}),
        ("import a.b, c as d\nfrom e import f as g", set(), {"a", "d", "g"}),
        ("def f(a, b=c):\n    d = a\n    return d, e", {"c", "e"}, {"f"}),
        ("def f():\n    global n\n    n = 1\n    import os", set(), {"f", "n"}),
        ("class C(B):\n    x = y\n    def m(self): return z", {"B", "y", "z"}, {"C"}),
        ("[i * k for i in j if (m := i)]", {"j", "k"}, {"m"}),
        ("for i, (a, *b) in z: pass", {"z"}, {"i", "a", "b"}),
        ("with o as p, q: pass", {"o", "q"}, {"p"}),
        ("try:\n    u\nexcept V as w: pass", {"u", "V"}, {"w"}),
        ("lambda a: a + b", {"b"}, set()),
        ("f'{x!r:>{y}}'", {"x", "y"}, set()),
        ("x.y[z] = 1", {"x", "z"}, set()),
        ("match x:\n    case [a, *b]: pass", {"x"}, {"a", "b"}),
        ("@d\nasync def f(): await g()", {"d", "g"}, {"f"}),
        ("x: T = 1", {"T"}, {"x"}),
    ],
)
def test_a_cell_reads_and_binds_the_names_of_the_notebook_alone(source, loads, binds):
    step = plan(cell("test", "t", source, 1)).steps[0]
    assert (step.loads, step.binds) == (loads, binds)


def theirs(*cells):
    return plan(*cells).theirs


def test_what_an_answer_binds_and_a_test_reads_is_the_students():
    cells = [
        cell("given", "g", "import numpy as np\nk = 3"),
        cell("answer", "a", "def f(x): return x"),
    ]
    assert theirs(*cells, cell("test", "t", "assert f(k) == np.abs(k)", 1)) == {"f"}


def test_what_an_answer_has_inside_of_a_function_is_not_asked_of_the_student():
    # else a submission could bind `data` and `np` itself, and be compared with its own
    given = cell("given", "g", "import numpy as np\ndata = [1, 2]")
    answer = cell("answer", "a", "def f(x):\n    import numpy as np\n    data = x\n    return data")
    assert theirs(given, answer, cell("test", "t", "assert np.all(f(data) == data)", 1)) == {"f"}


def test_a_name_that_both_bind_is_the_students():
    cells = [cell("given", "g", "data = [2, 1]"), cell("answer", "a", "data = sorted(data)")]
    assert theirs(*cells, cell("test", "t", "assert data == [1, 2]", 1)) == {"data"}


def test_a_builtin_that_the_answer_defines_is_the_students_and_no_other_one():
    answer = cell("answer", "a", "def max(values): ...")
    assert theirs(answer, cell("test", "t", "assert max([1]) == len([1])", 1)) == {"max"}


def test_what_the_solution_only_imports_is_imported_and_not_asked():
    answer = cell(
        "answer", "a", "import numpy as np, os.path\nfrom math import pi as tau, e\ndef e(): ..."
    )
    found = plan(answer, cell("test", "t", "assert np.pi == tau and os and e()", 1))
    assert found.theirs == found.answered == {"np", "tau", "os", "e"}
    assert found.imported == {
        "np": "import numpy as np",
        "os": "import os.path",
        "tau": "from math import pi as tau",
    }


def test_a_name_that_nobody_binds_may_be_anybodys():
    given = cell("given", "g", "from numpy import *")
    found = plan(given, cell("answer", "a", "f = 1"), cell("test", "t", "assert array(f)", 1))
    assert (found.theirs, found.answered) == ({"array", "f"}, {"f"})


def test_a_plain_cell_is_kept_only_where_a_test_needs_what_it_binds():
    cells = [cell("plain", "", "import numpy as np"), cell("plain", "", "size = np.size(1)")]
    cells += [cell("plain", "", "train_for_hours()"), cell("plain", "", "size2 = size")]
    steps = plan(*cells, cell("test", "t", "assert f(size)", 1)).steps
    assert [step.source for step in steps[:-1]] == ["import numpy as np", "size = np.size(1)"]


def test_the_modules_for_warming_up_are_those_that_any_cell_imports():
    cells = [cell("plain", "", "%matplotlib inline\nimport os.path"), cell("answer", "a", "(")]
    cells += [cell("answer", "b", "def f():\n    from json import load\n    from . import x"), T]
    assert plan(*cells).imports == ("os.path", "json")


# --- what students receive ------------------------------------------------------------------------


def nbgraders_release(notebook):
    """What nbgrader's own preprocessors leave of a notebook: the cells' sources."""
    nbformat = pytest.importorskip("nbformat")
    preprocessors = pytest.importorskip("nbgrader.preprocessors")
    made = nbformat.reads(notebook, 4)
    for clear in (preprocessors.ClearSolutions, preprocessors.ClearHiddenTests):
        made, _ = clear().preprocess(made, {})
    return [one.source for one in made.cells]


def ours(notebook):
    return [one["source"] for one in json.loads(release(notebook))["cells"]]


def _docs():
    nbgrader = pytest.importorskip("nbgrader")
    return Path(nbgrader.__file__).parent / "docs/source/user_guide/source"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", sorted(ROOT.glob("solutions/*.ipynb")), ids=lambda path: path.stem)
def test_our_own_solutions_are_released_as_nbgrader_releases_them(path):
    notebook = path.read_text("utf-8")
    assert ours(notebook) == nbgraders_release(notebook)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["ps1/problem1", "ps1/problem2", "ps1_autotest/problem1"])
def test_nbgraders_own_notebooks_are_released_as_nbgrader_releases_them(name):
    notebook = (_docs() / f"{name}.ipynb").read_text("utf-8")
    assert ours(notebook) == nbgraders_release(notebook)


LINES = ["### BEGIN SOLUTION", "    # BEGIN SOLUTION here", "pass", "    return 1", "", "\t"]


@pytest.mark.filterwarnings("ignore")
@given(st.lists(st.sampled_from(LINES[2:]), max_size=3), st.sampled_from(LINES), st.data())
def test_any_answer_is_released_as_nbgrader_releases_it(before, begin, data):
    lines = [*before, begin]
    lines += data.draw(st.lists(st.sampled_from(LINES[2:]), max_size=3))
    lines += ["  ### END SOLUTION"] if "BEGIN" in begin else []
    lines += data.draw(st.lists(st.sampled_from(LINES[2:]), max_size=3))
    for markdown in (False, True):
        notebook = text(cell("answer", "a", "\n".join(lines), markdown=markdown))
        assert ours(notebook) == nbgraders_release(notebook)


def test_a_stub_stands_as_far_to_the_right_as_its_mark():
    source = "def f(x):\n    ### BEGIN SOLUTION\n    return x\n    ### END SOLUTION\nf"
    stub = "def f(x):\n    # YOUR CODE HERE\n    raise NotImplementedError()\nf"
    assert starter(source, code=True) == stub
    assert starter("return x", code=True) == "# YOUR CODE HERE\nraise NotImplementedError()"
    assert starter("Because.", code=False) == "YOUR ANSWER HERE"


def test_the_starters_of_a_sheet_are_those_of_all_answers():
    cells = [cell("answer", "a", "f = 1"), cell("manual", "m", "Because.", 1, markdown=True), T]
    stub = "# YOUR CODE HERE\nraise NotImplementedError()"
    assert plan(*cells).sheet.starters == {"a": stub, "m": "YOUR ANSWER HERE"}


# --- the digest -----------------------------------------------------------------------------------

CELLS = [
    cell("given", "g", "k = 3"),
    cell("plain", "", "print(k)"),
    cell("answer", "a", "def f(x):\n    ### BEGIN SOLUTION\n    return k\n    ### END SOLUTION"),
    cell("test", "t", "assert f(1) == k", 1),
    cell("manual", "m", "Because.", 2, markdown=True),
]


def with_one(place, **changes):
    cells = json.loads(json.dumps(CELLS))
    about = cells[place]["metadata"].get("nbgrader", {})
    about |= {key: value for key, value in changes.items() if key in about}
    cells[place] |= {key: value for key, value in changes.items() if key in cells[place]}
    return plan(*cells).sheet.grader


def test_the_digest_is_the_same_in_every_process():
    code = "import sys; from w2s_lab.teach.grading.plan import *"
    code += "; plan = make_plan(sys.stdin.read(), 'tiny')"
    code += "; print(plan.sheet.grader, plan.sheet.to_json())"
    told = []
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, input=text(*CELLS), env=environment, capture_output=True, text=True
        )
        assert not done.stderr
        told.append(done.stdout)
    assert told[0] == told[1]
    assert told[0].split()[0] == plan(*CELLS).sheet.grader


@pytest.mark.parametrize(
    ("place", "changes"),
    [
        (0, {"source": "k = 4"}),
        (2, {"source": "def f(x):\n    ### BEGIN SOLUTION\n    return 3\n    ### END SOLUTION"}),
        (3, {"source": "assert f(2) == k"}),
        (3, {"points": 2}),
        (3, {"grade_id": "t2"}),
        (4, {"source": "For a reason."}),
        (4, {"points": 1}),
    ],
    ids=str,
)
def test_whatever_a_grade_depends_on_changes_the_digest(place, changes):
    assert with_one(place, **changes) != with_one(0)


@pytest.mark.parametrize(
    ("place", "changes"),
    [(1, {"source": "print(k, k)"}), (3, {"outputs": [{"x": 1}]}), (3, {"execution_count": 7})],
    ids=str,
)
def test_what_no_grade_depends_on_does_not_change_the_digest(place, changes):
    assert with_one(place, **changes) == with_one(0)


def test_the_order_of_tests_changes_the_digest():
    other = [*CELLS[:3], CELLS[4], CELLS[3]]
    assert plan(*other).sheet.grader != plan(*CELLS).sheet.grader


# --- what will not do -----------------------------------------------------------------------------

NOT_THIS = {
    "no JSON": ("{", "tiny: is no notebook of format 4"),
    "a list": ("[]", "is no notebook"),
    "no cells": ("{}", "is no notebook"),
    "format 3": (json.dumps({"worksheets": [{"cells": []}], "nbformat": 3}), "is no notebook"),
    "cells of another kind": (text(1), "is no notebook"),
    "nested": ("[" * 10**5, "is no notebook"),
    "nothing graded": (text(cell("answer", "a", "x")), "has no graded cell; name the teacher's"),
    "two of one id": (text(T, T), "two cells have the grade id 't'"),
    "no id": (text(T, cell("test", "", "assert 1", 1)), "has no grade id"),
    "text as points": (text(cell("test", "t", "", "2")), "cell 't': points are '2'"),
    "true as points": (text(cell("test", "t", "", True)), "cell 't': points are True"),
    "fewer than no points": (text(cell("test", "t", "", -1)), "cell 't': points are -1"),
    "nan as points": (text(cell("test", "t", "", float("nan"))), "cell 't': points are nan"),
    "endless points": (text(cell("test", "t", "", float("inf"))), "cell 't': points are inf"),
    "a test that is no Python": (text(cell("test", "t", "assert (", 1)), "cell 't' does not parse"),
    "a null byte": (text(cell("test", "t", "assert '\0'", 1)), "cell 't' does not parse"),
    "a test in prose": (
        text(cell("test", "t", "Hello", 1, markdown=True)),
        "cell 't' is a test and",
    ),
}


@pytest.mark.parametrize(("notebook", "told"), NOT_THIS.values(), ids=NOT_THIS)
def test_what_cannot_be_graded_is_refused_in_one_line_that_names_the_cell(notebook, told):
    assert told in refused(notebook)


def test_an_error_names_the_file_if_it_is_known():
    assert refused("{", where="a/b.ipynb").startswith("a/b.ipynb")


def test_an_answer_may_be_no_python():
    found = plan(cell("answer", "a", "def f(:"), T)
    assert found.steps[0].source == "def f(:"


NAMES = ["cells", "cell_type", "source", "metadata", "nbgrader", "grade", "solution", "grade_id"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6)
    ),
)


@given(JSON)
def test_whatever_json_holds_it_is_a_plan_or_one_line(told):
    for notebook in (told, {"cells": told}, {"cells": [told]}):
        assert "no" in refused(json.dumps(notebook))  # not one of them has a graded cell
