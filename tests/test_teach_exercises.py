"""A source of exercises gives just these two notebooks, or is refused with its line.

The repository's own exercises are the business of test_exercises.py, the format of cells in general
that of test_build.py.
"""

import hashlib
import re

import nbformat
import pytest

from w2s_lab.errors import W2SError
from w2s_lab.teach.assignments import ladder, release_notebook, solution_notebook, stubs
from w2s_lab.teach.exercises import Essay, Exemplar, read_assignment

# Two tasks, as small as the format allows. The tests of leaks, map, course and release use it too.
SOURCE = '''\
# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Exercises 07 · Tiny
#
# Your numbers begin at
# SEED = 0

# %% given="seed"
SEED = 0
# SEED = 0 is everybody's

# %% given="setup"
from w2s_lab.exercise import Marks, score

# %% [markdown] task="double" kind="implement" minutes=5 difficulty=1 objective=1
# ## Twice
#
# Write `double(x)`, which gives twice x.

# %% answer="double"
def double(x):
    """Twice x."""
    ### BEGIN SOLUTION
    doubled_in_the_solution = x + x
    return doubled_in_the_solution
    ### END SOLUTION

# %% check="double" points=1
marks = Marks("double")
with marks.case("Twice 2 is 4"):
    marks.near(double(2), 4, mistakes={"That is the square.": 16 / 3})
marks.total()

# %% hidden="double" points=1.5
marks = Marks("double", hidden=True)
with marks.case("Your own number", points=1.5):
    own_number_of_the_student = 1000 + SEED
    marks.near(double(own_number_of_the_student), 2 * own_number_of_the_student)
marks.total()

# %% [markdown] hints="double"
# 1. What is added to what?
#
# 2. One number to itself,
#    and no other.
#
# 3. Return `x + x`.

# %% [markdown] task="why" kind="explain" minutes=10 difficulty=5 objective="1, 2"
# ## Why twice?
#
# Take a position, then explain it.

# %% answer="why"
position = ""
### BEGIN SOLUTION
position = "because"
### END SOLUTION
reason = ""
### BEGIN SOLUTION
reason = "twofold, naturally"
### END SOLUTION

# %% [markdown] essay="why" points=4
# Twice is once and once again, and whoever doubles adds.
#
# ### Rubric
# - **1.5** says that once and once
#   again is twice
# - **2.5** says that to double is to add
#
# ### Exemplar, 2.5 of 4
# To double is to add.
#
# Why: It says what doubling is, and not
# what twice is.
#
# ### Exemplar, 0 of 4
# Because it is so.
#
# Why: It says nothing.

# %% check="why" points=0
marks = Marks("why")
with marks.case("A position is taken", points=0):
    marks.holds(position, "Take a position.")
marks.total()

# %% hidden="why" points=1
marks = Marks("why", hidden=True)
with marks.case("The position"):
    marks.same(position, "because")
marks.total()

# %% [markdown] hints="why"
# 1. Once.
#
# 2. Twice.
#
# 3. Both.

# %%
score()
'''


def write(folder, text=SOURCE, name="07_tiny"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.py"
    path.write_text(text, "utf-8")
    return path


def read(folder, text=SOURCE, name="07_tiny"):
    return read_assignment(write(folder, text, name))


def changed(text, *pairs):
    """The text with (old, new) exchanged; each old one stands in it just once."""
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


# --- the two notebooks ----------------------------------------------------------------------------

TITLE = """\
# Exercises 07 · Tiny

*2 tasks · about 15 minutes · 7.5 points · objectives as numbered at the top of lesson 07*

Your numbers begin at
SEED = 0"""
GIVEN = "SEED = 0\n# SEED = 0 is everybody's"
SETUP = "from w2s_lab.exercise import Marks, score"
DOUBLE = """\
## Task 1 · Twice

*Implement · about 5 minutes · difficulty 1 of 5 · 2.5 points: 1 on visible cases and \
1.5 on hidden cases · objective 1*

Write `double(x)`, which gives twice x."""
DOUBLE_SOLVED = '''\
def double(x):
    """Twice x."""
    ### BEGIN SOLUTION
    doubled_in_the_solution = x + x
    return doubled_in_the_solution
    ### END SOLUTION'''
DOUBLE_STUB = '''\
def double(x):
    """Twice x."""
    # YOUR CODE HERE
    raise NotImplementedError()'''
DOUBLE_CHECK = """\
# Instant check: run this cell
marks = Marks("double")
with marks.case("Twice 2 is 4"):
    marks.near(double(2), 4, mistakes={"That is the square.": 16 / 3})
marks.total()"""
HIDDEN = "# Hidden cases run here when the notebook is graded"
DOUBLE_HIDDEN = """\
# Hidden cases run here when the notebook is graded
### BEGIN HIDDEN TESTS
marks = Marks("double", hidden=True)
with marks.case("Your own number", points=1.5):
    own_number_of_the_student = 1000 + SEED
    marks.near(double(own_number_of_the_student), 2 * own_number_of_the_student)
marks.total()
### END HIDDEN TESTS"""
DOUBLE_HINTS = """\
<details><summary>Hint 1 of 3</summary>

What is added to what?

<details><summary>Hint 2 of 3</summary>

One number to itself,
   and no other.

<details><summary>Hint 3 of 3</summary>

Return `x + x`.

</details>
</details>
</details>"""
WHY = """\
## Task 2 · Why twice?

*Explain · about 10 minutes · difficulty 5 of 5 · 5 points: 1 on hidden cases and 4 on the essay · \
objectives 1 and 2*

Take a position, then explain it."""
WHY_SOLVED = """\
position = ""
### BEGIN SOLUTION
position = "because"
### END SOLUTION
reason = ""
### BEGIN SOLUTION
reason = "twofold, naturally"
### END SOLUTION"""
WHY_STUB = """\
position = ""
# YOUR CODE HERE
raise NotImplementedError()
reason = ""
# YOUR CODE HERE
raise NotImplementedError()"""
ESSAY = """\
Twice is once and once again, and whoever doubles adds.

### Rubric
- **1.5** says that once and once
  again is twice
- **2.5** says that to double is to add

### Exemplar, 2.5 of 4
To double is to add.

Why: It says what doubling is, and not
what twice is.

### Exemplar, 0 of 4
Because it is so.

Why: It says nothing."""
WHY_CHECK = """\
# Instant check: run this cell
marks = Marks("why")
with marks.case("A position is taken", points=0):
    marks.holds(position, "Take a position.")
marks.total()"""
WHY_HIDDEN = """\
# Hidden cases run here when the notebook is graded
### BEGIN HIDDEN TESTS
marks = Marks("why", hidden=True)
with marks.case("The position"):
    marks.same(position, "because")
marks.total()
### END HIDDEN TESTS"""
WHY_HINTS = """\
<details><summary>Hint 1 of 3</summary>

Once.

<details><summary>Hint 2 of 3</summary>

Twice.

<details><summary>Hint 3 of 3</summary>

Both.

</details>
</details>
</details>"""


def by_hash(kind, text):
    """The id of a cell that no grade hangs on."""
    digest = hashlib.sha256(f"{kind}\n{text}".encode()).hexdigest()
    return f"07_tiny-{digest[:8]}"


TITLE_IN_SOURCE = changed(TITLE, f"{TITLE.splitlines()[2]}\n\n", "")
DOUBLE_IN_SOURCE = "## Twice\n\nWrite `double(x)`, which gives twice x."
DOUBLE_HINTS_IN_SOURCE = """\
1. What is added to what?

2. One number to itself,
   and no other.

3. Return `x + x`."""
WHY_IN_SOURCE = "## Why twice?\n\nTake a position, then explain it."
WHY_HINTS_IN_SOURCE = "1. Once.\n\n2. Twice.\n\n3. Both."
# id, kind, source with the solution, source in the release
CELLS = [
    (by_hash("markdown", TITLE_IN_SOURCE), "markdown", TITLE, TITLE),
    ("07_tiny-seed-given", "code", GIVEN, GIVEN),
    ("07_tiny-setup-given", "code", SETUP, SETUP),
    (by_hash("markdown", DOUBLE_IN_SOURCE), "markdown", DOUBLE, DOUBLE),
    ("07_tiny-double", "code", DOUBLE_SOLVED, DOUBLE_STUB),
    ("07_tiny-double-check", "code", DOUBLE_CHECK, DOUBLE_CHECK),
    ("07_tiny-double-hidden", "code", DOUBLE_HIDDEN, HIDDEN),
    (by_hash("markdown", DOUBLE_HINTS_IN_SOURCE), "markdown", DOUBLE_HINTS, DOUBLE_HINTS),
    (by_hash("markdown", WHY_IN_SOURCE), "markdown", WHY, WHY),
    ("07_tiny-why", "code", WHY_SOLVED, WHY_STUB),
    ("07_tiny-why-essay", "markdown", ESSAY, "YOUR ANSWER HERE"),
    ("07_tiny-why-check", "code", WHY_CHECK, WHY_CHECK),
    ("07_tiny-why-hidden", "code", WHY_HIDDEN, HIDDEN),
    (by_hash("markdown", WHY_HINTS_IN_SOURCE), "markdown", WHY_HINTS, WHY_HINTS),
    (by_hash("code", "score()"), "code", "score()", "score()"),
]


def about(id, grade, locked, solution, **points):
    flags = {"grade": grade, "locked": locked, "solution": solution, "task": False}
    return flags | {"grade_id": id, "schema_version": 3} | points


NBGRADER = {
    "07_tiny-seed-given": about("seed-given", False, True, False),
    "07_tiny-setup-given": about("setup-given", False, True, False),
    "07_tiny-double": about("double", False, False, True),
    "07_tiny-double-check": about("double-check", True, True, False, points=1),
    "07_tiny-double-hidden": about("double-hidden", True, True, False, points=1.5),
    "07_tiny-why": about("why", False, False, True),
    "07_tiny-why-essay": about("why-essay", True, False, True, points=4),
    "07_tiny-why-check": about("why-check", True, True, False, points=0),
    "07_tiny-why-hidden": about("why-hidden", True, True, False, points=1),
}
# What nbgrader hashes: source, kind, is it graded, a solution, locked, id, points where graded
CHECKSUMS = {
    "07_tiny-seed-given": f"{GIVEN}codeFalseFalseTrueseed-given",
    "07_tiny-setup-given": f"{SETUP}codeFalseFalseTruesetup-given",
    "07_tiny-double": f"{DOUBLE_STUB}codeFalseTrueFalsedouble",
    "07_tiny-double-check": f"{DOUBLE_CHECK}codeTrueFalseTruedouble-check1.0",
    "07_tiny-double-hidden": f"{HIDDEN}codeTrueFalseTruedouble-hidden1.5",
    "07_tiny-why": f"{WHY_STUB}codeFalseTrueFalsewhy",
    "07_tiny-why-essay": "YOUR ANSWER HEREmarkdownTrueTrueFalsewhy-essay4.0",
    "07_tiny-why-check": f"{WHY_CHECK}codeTrueFalseTruewhy-check0.0",
    "07_tiny-why-hidden": f"{HIDDEN}codeTrueFalseTruewhy-hidden1.0",
}
FOLDED = {"jupyter": {"source_hidden": True}}
CLAIMED = {"tags": ["nbval-check-output"]}
TESTS = [id for id in NBGRADER if id.endswith(("check", "hidden"))]


def code_or_text(id, kind, source, metadata):
    code = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"id": id, "cell_type": kind, "metadata": metadata, "source": source} | code


def test_the_notebook_with_the_solutions_is_this_one(tmp_path):
    found = solution_notebook(read(tmp_path))
    expected = []
    for id, kind, source, _ in CELLS:
        metadata = {"nbgrader": NBGRADER[id]} if id in NBGRADER else {}
        metadata |= FOLDED if id.endswith("-check") else {}
        metadata |= CLAIMED if id in TESTS else {}
        expected.append(code_or_text(id, kind, source, metadata))
    assert found.cells == expected
    nbformat.validate(found)


def test_what_a_student_receives_is_this(tmp_path):
    found = release_notebook(read(tmp_path))
    expected = []
    for id, kind, _, source in CELLS:
        metadata = {}
        if id in NBGRADER:
            fingerprint = hashlib.md5(CHECKSUMS[id].encode()).hexdigest()
            own = NBGRADER[id] | {"cell_type": kind, "checksum": fingerprint}
            metadata = {"nbgrader": own, "deletable": False}
            metadata |= {"editable": False} if own["locked"] else {}
        metadata |= FOLDED if id.endswith("-check") else {}
        expected.append(code_or_text(id, kind, source, metadata))
    assert found.cells == expected
    nbformat.validate(found)


def test_tasks_know_their_points_and_columns(tmp_path):
    assignment = read(tmp_path)
    double, why = assignment.exercises
    assert (assignment.name, assignment.title) == ("07_tiny", "Exercises 07 · Tiny")
    assert (double.visible, double.hidden, double.points, double.essay) == (1, 1.5, 2.5, None)
    assert double.columns == {"double-check": 1, "double-hidden": 1.5}
    assert why.columns == {"why-check": 0, "why-hidden": 1, "why-essay": 4}
    assert why.points == 5
    assert (double.objectives, why.objectives) == ((1,), (1, 2))


def test_an_essay_has_its_model_answer_for_first_exemplar_and_whole_criteria(tmp_path):
    assert read(tmp_path).exercises[1].essay == Essay(
        points=4,
        criteria=(
            (1.5, "says that once and once again is twice"),  # on two lines of the source
            (2.5, "says that to double is to add"),
        ),
        exemplars=(
            Exemplar(
                4,
                "Twice is once and once again, and whoever doubles adds.",
                "It meets each criterion.",
            ),
            Exemplar(
                2.5, "To double is to add.", "It says what doubling is, and not\nwhat twice is."
            ),
            Exemplar(0, "Because it is so.", "It says nothing."),
        ),
    )


def test_criteria_in_tenths_of_a_point_add_up(tmp_path):
    # 0.7 + 0.2 + 0.1 is 0.9999999999999999 in floats
    tenths = "# - **0.7** adds\n# - **0.2** again\n# - **0.1** says so\n# - **3** doubles\n"
    rubric = re.search(r"# - \*\*1\.5(.*\n)+?#\n", SOURCE)[0]
    essay = read(tmp_path, changed(SOURCE, rubric, tenths + "#\n")).exercises[1].essay
    assert [worth for worth, _ in essay.criteria] == [0.7, 0.2, 0.1, 3]


def test_stubs_are_the_answers_of_the_release(tmp_path):
    assert stubs(read(tmp_path)) == {"double": DOUBLE_STUB, "why": WHY_STUB}


def test_a_stub_is_indented_like_its_mark_and_what_surrounds_it_stays(tmp_path):
    nested = changed(
        SOURCE,
        "    ### BEGIN SOLUTION\n    doubled",
        "    if x:\n        ### BEGIN SOLUTION\n    doubled",
        "    ### END SOLUTION\n\n# %% check",
        "    ### END SOLUTION\n    return 0\n\n# %% check",
    )
    assert stubs(read(tmp_path, nested))["double"].split("\n")[2:] == [
        "    if x:",
        "        # YOUR CODE HERE",
        "        raise NotImplementedError()",
        "    return 0",
    ]


def test_a_ladder_of_one_hint_and_of_two():
    first = "<details><summary>Hint 1 of {}</summary>\n\na\n\n"
    assert ladder(["a"]) == first.format(1) + "</details>"
    second = "<details><summary>Hint 2 of 2</summary>\n\nb\n\n</details>\n"
    assert ladder(["a", "b"]) == first.format(2) + second + "</details>"


def test_one_point_is_no_points(tmp_path):
    single = changed(SOURCE, "points=1.5\n", "points=1\n", 'check="double" points=1\n', "POINTS")
    cells = release_notebook(read(tmp_path, single.replace("POINTS", 'check="double" points=0\n')))
    assert "· 1 point: 1 on hidden cases ·" in cells.cells[3].source


# --- ids and seeds --------------------------------------------------------------------------------


def test_a_source_gives_the_same_bytes_each_time_wherever_it_lies(tmp_path):
    for make in (solution_notebook, release_notebook):
        twice = [nbformat.writes(make(read(tmp_path / folder))) for folder in ("here", "there")]
        assert twice[0] == twice[1]


def test_a_cell_put_in_renames_no_other_and_an_edited_answer_keeps_its_id(tmp_path):
    before = [cell.id for cell in release_notebook(read(tmp_path)).cells]
    more = changed(
        SOURCE,
        '# %% answer="double"',
        '# %% [markdown]\n# Mind the unit.\n\n# %% answer="double"',
        "doubled_in_the_solution = x + x",
        "doubled_in_the_solution = 2 * x",
    )
    after = [cell.id for cell in release_notebook(read(tmp_path, more)).cells]
    assert len(after) == len(before) + 1
    assert [id for id in after if id in before] == before


@pytest.mark.parametrize("make", [solution_notebook, release_notebook])
def test_a_seed_changes_the_line_of_the_given_cell_and_its_checksum_alone(tmp_path, make):
    assignment = read(tmp_path)
    everybodys, own = make(assignment), make(assignment, seed=4711)
    differing = [
        pair for pair in zip(everybodys.cells, own.cells, strict=True) if pair[0] != pair[1]
    ]
    [(old, new)] = differing
    assert new.source == "SEED = 4711\n# SEED = 0 is everybody's"
    if make is release_notebook:
        fingerprint = hashlib.md5(f"{new.source}codeFalseFalseTrueseed-given".encode()).hexdigest()
        assert new.metadata.nbgrader.checksum == fingerprint
        old.metadata.nbgrader.checksum = fingerprint
    old.source = new.source
    assert everybodys == own


# --- refusals -------------------------------------------------------------------------------------

DOUBLE_TASK = '# %% [markdown] task="double" kind="implement" minutes=5 difficulty=1 objective=1'
WHY_TASK = '# %% [markdown] task="why" kind="explain" minutes=10 difficulty=5 objective="1, 2"'
BEGUN, ENDED = "    ### BEGIN SOLUTION\n    doubled", "\n    ### END SOLUTION\n"
MARK, NOTE = "### BEGIN SOLUTION", "# note: ### BEGIN SOLUTION"


def cell(marker):
    """A cell of `SOURCE`, its marker included."""
    return re.search(rf"^# %%[^\n]* {re.escape(marker)}[ \n].*?(?=^# %%|\Z)", SOURCE, re.M | re.S)[
        0
    ]


def without(marker):
    return (cell(marker), "")


def details(**other):
    """Exchanges a detail of the first task: minutes='x', or leaves it out where it is None."""
    [(name, value)] = other.items()
    marker = re.sub(rf" {name}=\S+", f" {name}={value}" if value is not None else "", DOUBLE_TASK)
    return (DOUBLE_TASK, marker)


def essay(old, new):
    return (cell('essay="why"'), changed(cell('essay="why"'), old, new))


# name → what is exchanged in SOURCE, what the line that is told holds (the last such), what is said
MALFORMED = {
    "task twice": (
        (cell('hints="why"'), cell('hints="why"') + cell('task="double"')),
        DOUBLE_TASK,
        "double-task is there already, in line 22; rename one",
    ),
    "check twice": (
        (cell('check="double"'), cell('check="double"') * 2),
        '# %% check="double" points=1',
        "double-check is there already, in line 35; rename one",
    ),
    "given twice": (
        ('given="setup"', 'given="seed"'),
        '# %% given="seed"',
        "seed-given is there already, in line 15",
    ),
    "check without points": (
        ('check="double" points=1', 'check="double"'),
        '# %% check="double"',
        "the check cell has no points; add `points=...`",
    ),
    "hidden without points": (
        ('hidden="double" points=1.5', 'hidden="double"'),
        '# %% hidden="double"',
        "the hidden cell has no points",
    ),
    "essay without points": (
        ('essay="why" points=4', 'essay="why"'),
        '# %% [markdown] essay="why"',
        "the essay cell has no points",
    ),
    "hidden for nothing": (
        ("points=1.5\n", "points=0\n"),
        '# %% hidden="double" points=0',
        "points are 0.0; give a number above 0",
    ),
    "essay for nothing": (
        ('essay="why" points=4', 'essay="why" points=0'),
        'essay="why" points=0',
        "points are 0.0",
    ),
    "text as points": (
        ("points=1.5\n", 'points="1.5"\n'),
        '# %% hidden="double" points="1.5"',
        "points are '1.5'; give a number above 0",
    ),
    "negative points": (
        ("points=1.5\n", "points=-1\n"),
        "points=-1",
        "not a cell marker",
    ),
    "points of an answer": (
        ('answer="double"', 'answer="double" points=1'),
        'answer="double" points=1',
        "a answer cell has no use for points; remove it",
    ),
    "points of a text": (
        ("# %%\nscore()", "# %% points=1\nscore()"),
        "# %% points=1",
        "a plain cell has no use for points",
    ),
    "solution never closed": (
        ("    return doubled_in_the_solution\n    ### END SOLUTION\n", "    return 1\n"),
        "    ### BEGIN SOLUTION",
        "the solution mark is never closed; add `### END SOLUTION`",
    ),
    "solution never opened": (
        (BEGUN, "    doubled"),
        "    ### END SOLUTION",
        "a solution ends unopened; write them in pairs",
    ),
    "solution in a solution": (
        (BEGUN, f"    {MARK}\n    # \n{BEGUN}"),
        "    ### BEGIN SOLUTION",
        "a solution mark inside a solution; write them in pairs",
    ),
    "no solution": (
        (f"{MARK}\n    doubled", "\n    doubled", ENDED, "\n"),
        '# %% answer="double"',
        "the answer has no solution marks",
    ),
    **{
        f"solution marked {wrong!r}": (
            (f"{MARK}\n    doubled", f"{wrong}\n    doubled"),
            f"    {wrong}",
            f"not a solution mark: {wrong!r}; write `{MARK}` or `### END SOLUTION`",
        )
        for wrong in (
            "## BEGIN SOLUTION",
            "###BEGIN SOLUTION",
            "### begin solution",
            "### BEGIN  SOLUTION",
            "### BEGIN_SOLUTION",
            "### BEGIN SOLUTION:",
            "### BEGIN SOLUTON",
            "### BEGINN SOLUTION",
        )
    },
    **{
        f"mark in a {place}": (
            (old, f"{old}{NOTE}\n"),
            NOTE,
            "'BEGIN SOLUTION' does not belong in this cell; remove it",
        )
        for place, old in {
            "plain cell": "# %%\nscore()\n",
            "given cell": f"{SETUP}\n",
            "text": "# Take a position, then explain it.\n",
            "check": 'marks = Marks("why")\n',
            "hidden cell": 'marks = Marks("why", hidden=True)\n',
            "hint": "# 1. Once.\n",
            "essay": "# ### Rubric\n",
        }.items()
    },
    "mark of hidden tests": (
        ("    own_number_of_the_student = 1", "    ### END HIDDEN TESTS\n    own = 1"),
        "    ### END HIDDEN TESTS",
        "'END HIDDEN TEST' does not belong in this cell",
    ),
    "mark of hidden tests in an answer": (
        (BEGUN, f"    ### BEGIN HIDDEN TESTS\n{BEGUN}"),
        "    ### BEGIN HIDDEN TESTS",
        "'BEGIN HIDDEN TEST' does not belong in this cell",
    ),
    "mark of a mark scheme": (
        ("# Because it is so.", "# === BEGIN MARK SCHEME ==="),
        "# === BEGIN MARK SCHEME ===",
        "'BEGIN MARK SCHEME' does not belong in this cell",
    ),
    "check before its answer": (
        (cell('check="double"'), "", cell('answer="double"'), cell('check="double"') + "OWN")
        + ("OWN", cell('answer="double"')),
        '# %% check="double" points=1',
        "the test double-check comes before its solution; put the answer first",
    ),
    "hidden cell before its answer": (
        (cell('hidden="double"'), "", cell('answer="double"'), cell('hidden="double"') + "OWN")
        + ("OWN", cell('answer="double"')),
        '# %% hidden="double" points=1.5',
        "the test double-hidden comes before its solution",
    ),
    "part in the next task": (
        (cell('hints="double"'), "", "# %%\nscore()", cell('hints="double"')),
        '# %% [markdown] hints="double"',
        "hints=\"double\" stands outside its task (the last task is 'why'); move it there",
    ),
    "part before all tasks": (
        (cell('given="setup"'), cell('given="setup"') + "HINTS", *without('hints="double"'))
        + ("HINTS", cell('hints="double"')),
        '# %% [markdown] hints="double"',
        'hints="double" stands outside its task (there is no task yet)',
    ),
    "part of no task": (
        ('check="why"', 'check="wy"'),
        '# %% check="wy" points=0',
        "check=\"wy\" stands outside its task (the last task is 'why')",
    ),
    "no task": (
        (SOURCE[SOURCE.index(DOUBLE_TASK) : SOURCE.index("# %%\nscore()")], ""),
        "# %% [markdown]",
        'there is no task; mark its text `# %% [markdown] task="name"`',
    ),
    **{
        f"task without {role}": (
            gone,
            DOUBLE_TASK,
            f"the task 'double' has no {role} cell; add `# %% {role}=\"double\"`",
        )
        for role, gone in {
            "check": without('check="double"'),
            "hidden": without('hidden="double"'),
            "hints": without('hints="double"'),
            "answer": (
                *without('answer="double"'),
                *without('check="double"'),
                *without('hidden="double"'),
            ),
        }.items()
    },
    "explained without an essay": (
        without('essay="why"'),
        WHY_TASK,
        "a task to explain, and its essay; explain with an essay, else without",
    ),
    "essay elsewhere": (
        ('kind="explain"', 'kind="decide"'),
        WHY_TASK.replace("explain", "decide"),
        "a task to decide, and its essay; explain with an essay, else without",
    ),
    "unknown option": (
        ('answer="double"', 'answr="double"'),
        '# %% answr="double"',
        "unknown option 'answr'; choose from: given, task, answer, check,",
    ),
    "option twice": (
        ("points=1.5\n", "points=1.5 points=2\n"),
        "points=1.5 points=2",
        "an option is given twice; keep one",
    ),
    "a tag": (
        ("# %%\nscore()", '# %% tags=["claim"]\nscore()'),
        '# %% tags=["claim"]',
        "unknown tag 'claim'; remove it: there are none here",
    ),
    "unknown kind": (
        details(kind='"draw"'),
        'kind="draw"',
        "unknown kind 'draw'; choose from: recall, implement, diagnose, decide, explain",
    ),
    **{
        f"difficulty {wrong}": (
            details(difficulty=wrong),
            f" difficulty={wrong} ",
            "; give a whole number from 1 to 5, without quotes",
        )
        for wrong in ("0", "9", "2.5", '"3"')
    },
    **{
        f"minutes {wrong}": (
            details(minutes=wrong),
            f" minutes={wrong} ",
            "; give a whole number, without quotes",
        )
        for wrong in ("0", "0.5", "7.5", '"5"')
    },
    **{
        f"no {name}": (
            details(**{name: None}),
            '# %% [markdown] task="double"',
            f"the task cell has no {name}; add `{name}=...`",
        )
        for name in ("kind", "minutes", "difficulty", "objective")
    },
    **{
        f"objective {wrong}": (
            details(objective=wrong),
            f" objective={wrong}",
            f'no objective in {said}; write `objective=1` or `objective="1, 2"`',
        )
        for wrong, said in {
            '""': "''",
            '"first"': "'first'",
            "0": "'0'",
            "1.5": "'1.5'",
            '"1;2"': "'1;2'",
            '"1,2"': "'1,2'",
        }.items()
    },
    "no title": (
        ("# ## Twice\n", "# Twice\n"),
        DOUBLE_TASK,
        "the task has no title; begin its text with `## Title` and a blank line",
    ),
    "title without a blank line": (
        ("# ## Twice\n#\n", "# ## Twice\n"),
        DOUBLE_TASK,
        "the task has no title",
    ),
    "no title of the assignment": (
        ("# # Exercises 07", "# Exercises 07"),
        "# %% [markdown]",
        "there is no title; begin with `# %% [markdown]` and `# # Title`",
    ),
    "two hints": (
        ("#\n# 3. Return `x + x`.\n", ""),
        '# %% [markdown] hints="double"',
        "2 hints, which begin `1. `, `2. `; write three paragraphs that begin",
    ),
    "four hints": (
        ("# 3. Return `x + x`.\n", "# 3. Return.\n#\n# 4. `x + x`.\n"),
        '# %% [markdown] hints="double"',
        "4 hints",
    ),
    "hints misnumbered": (
        ("# 3. Return", "# 4. Return"),
        '# %% [markdown] hints="double"',
        "3 hints, which begin `1. `, `2. `, `4. `",
    ),
    "hints after something else": (
        ("# 1. What is", "# In case of need:\n#\n# 1. What is"),
        '# %% [markdown] hints="double"',
        "4 hints, which begin `In `, `1. `",
    ),
    "rubric that does not add up": (
        essay("**2.5** says", "**3** says"),
        '# %% [markdown] essay="why" points=4',
        "the criteria add up to 4.5, not 4; write them as `- **2** says that ...`",
    ),
    "no rubric": (
        essay("# ### Rubric\n", ""),
        '# %% [markdown] essay="why" points=4',
        "the essay has no rubric; add `### Rubric` below the model answer",
    ),
    "two rubrics": (
        essay("# ### Exemplar, 2.5", "# ### Rubric\n# - **4** adds\n#\n# ### Exemplar, 2.5"),
        '# %% [markdown] essay="why" points=4',
        "unknown heading 'Rubric'; write `### Exemplar, 1 of 4`",
    ),
    "exemplar before the rubric": (
        essay("# ### Rubric", "# ### Exemplar, 1 of 4\n# It is.\n#\n# Why: no\n#\n# ### Rubric"),
        '# %% [markdown] essay="why" points=4',
        "the essay has no rubric",
    ),
    "no model answer": (
        essay("# Twice is once and once again, and whoever doubles adds.\n#\n", ""),
        '# %% [markdown] essay="why" points=4',
        "the essay has no model answer; begin with it",
    ),
    "exemplar with full points": (
        essay("Exemplar, 2.5 of 4", "Exemplar, 4 of 4"),
        '# %% [markdown] essay="why" points=4',
        "the exemplar of 4 of 4; give a text, fewer points than 4, and `Why: ...`",
    ),
    "exemplar with too many points": (
        essay("Exemplar, 2.5 of 4", "Exemplar, 5 of 4"),
        '# %% [markdown] essay="why" points=4',
        "the exemplar of 5 of 4",
    ),
    "exemplar of another essay": (
        essay("Exemplar, 2.5 of 4", "Exemplar, 2.5 of 5"),
        '# %% [markdown] essay="why" points=4',
        "the exemplar of 2.5 of 5",
    ),
    "exemplar without why": (
        essay("# Why: It says nothing.", "# It says nothing."),
        '# %% [markdown] essay="why" points=4',
        "the exemplar of 0 of 4",
    ),
    "exemplar without text": (
        essay("# Because it is so.\n", ""),
        '# %% [markdown] essay="why" points=4',
        "the exemplar of 0 of 4",
    ),
    "exemplar misspelt": (
        essay("Exemplar, 2.5 of 4", "Exemplar 2.5 of 4"),
        '# %% [markdown] essay="why" points=4',
        "unknown heading 'Exemplar 2.5 of 4'",
    ),
    "one weaker exemplar": (
        essay("# ### Exemplar, 0 of 4\n# Because it is so.\n#\n# Why: It says nothing.\n", ""),
        '# %% [markdown] essay="why" points=4',
        "fewer than two weaker exemplars; add two",
    ),
    "two weaker exemplars of one worth": (
        essay("Exemplar, 0 of 4", "Exemplar, 2.5 of 4"),
        '# %% [markdown] essay="why" points=4',
        "fewer than two weaker exemplars; add two, as `### Exemplar, 1 of 4`, with different",
    ),
    "no seed": (
        ("SEED = 0\n# SEED = 0 is everybody's", "OTHER = 0"),
        "# %% [markdown]",
        '0 lines `SEED = 0` in given cells; write one, in a cell marked `given="seed"`',
    ),
    "seed in a plain cell": (
        ('# %% given="seed"', "# %%"),
        "# %% [markdown]",
        "0 lines `SEED = 0` in given cells",
    ),
    "another seed": (
        ('given="seed"\nSEED = 0', 'given="seed"\nSEED = 1'),
        "# %% [markdown]",
        "0 lines `SEED = 0` in given cells",
    ),
    "two seeds": (
        (SETUP, f"{SETUP}\nSEED = 0"),
        '# %% given="setup"',
        "2 lines `SEED = 0` in given cells",
    ),
    "two seeds in one cell": (
        ("# SEED = 0 is everybody's", "SEED = 0"),
        '# %% given="seed"',
        "2 lines `SEED = 0` in given cells",
    ),
    "two roles": (
        ('check="double" points=1\n', 'check="double" hidden="double" points=1\n'),
        '# %% check="double" hidden="double" points=1',
        "the cell is check and hidden; make two cells",
    ),
    "task as code": (
        (DOUBLE_TASK, DOUBLE_TASK.replace(" [markdown]", "")),
        '# %% task="double"',
        "a task cell is a markdown cell; mend its marker",
    ),
    "check as text": (
        ('# %% check="why"', '# %% [markdown] check="why"'),
        '# %% [markdown] check="why"',
        "a check cell is a code cell",
    ),
    "given text": (
        ('# %% given="setup"', '# %% [markdown] given="setup"'),
        '# %% [markdown] given="setup"',
        "a given cell is a code cell",
    ),
    **{
        f"name {wrong}": (
            ('given="setup"', f'given="{wrong}"'),
            f'# %% given="{wrong}"',
            f"{wrong!r} is no name; use small letters, digits and single hyphens",
        )
        for wrong in ("Setup", "set_up", "set--up", "1st", "set up", "")
    },
    "number for a name": (('given="setup"', "given=1"), "# %% given=1", "'1.0' is no name"),
    "long name": (  # 07_tiny- and -given leave 64 - 14 = 50
        ('given="setup"', f'given="{"s" * 51}"'),
        '# %% given="sss',
        "-given is too long for the id of a cell; choose a shorter name",
    ),
}


@pytest.mark.parametrize(("pairs", "at", "what"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_source_stops_with_its_file_and_line(tmp_path, pairs, at, what):
    text = changed(SOURCE, *pairs)
    source = write(tmp_path, text)
    lines = list(enumerate(text.split("\n"), start=1))
    told = [n for n, line in lines if line == at] or [n for n, line in lines if at in line]
    with pytest.raises(W2SError) as caught:
        read_assignment(source)
    said = str(caught.value)
    assert said.startswith(f"{source}:{told[-1]}: ")
    assert " ".join(what.split()) in said
    assert "\n" not in said


def test_the_longest_name_still_makes_a_valid_notebook(tmp_path):
    longest = changed(SOURCE, 'given="setup"', f'given="{"s" * 50}"')
    nbformat.validate(release_notebook(read(tmp_path, longest)))


def test_the_smallest_source_is_read_whatever_stands_between_its_parts(tmp_path):
    between = changed(SOURCE, '# %% check="why"', '# %%\nx = 1\n\n# %% check="why"')
    assert len(read(tmp_path, between).cells) == len(CELLS) + 1
