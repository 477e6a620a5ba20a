"""The teacher's copy of an assignment, read for grading: what runs where, and what may be told.

Any notebook in nbgrader's format (its metadata, schema versions 1 to 3, its marks for solutions and
hidden tests). It runs nothing.
"""

import ast
import builtins
import copy
import hashlib
import json
import re
import symtable
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import inf

from w2s_lab.errors import W2SError
from w2s_lab.teach.grading.verdict import Column, Sheet

VERSION = "1"  # of the way of grading; a change that changes grades changes this
GIVEN, PLAIN, ANSWER, TEST, MANUAL, TEXT = "given", "plain", "answer", "test", "manual", "text"
SOLUTION, HIDDEN = "SOLUTION", "HIDDEN TESTS"  # what stands between BEGIN and END
SOLUTION_TEXT = "YOUR ANSWER HERE"
SOLUTION_CODE = "# YOUR CODE HERE\nraise NotImplementedError()"
SEED = re.compile(r"^SEED = 0$", re.M)
TASK_TITLE = re.compile(r"^## (?:Task \d+ · )?(.+)$", re.M)
PARTS = ("-check", "-hidden", "-essay")


@dataclass(frozen=True)
class Step:
    """One cell of the teacher's copy that matters to grading.

    Attributes:
        role: `GIVEN` (locked, runs everywhere as the teacher wrote it), `PLAIN` (not graded, the
            student's own copy runs), `ANSWER`, `TEST`, `MANUAL` (a person grades it).
        grade_id: "" for a plain cell without one.
        code: whether it is a code cell.
        source: the teacher's text, IPython's own syntax translated.
        visible: for a test, the part that students have; "" if there is none.
        loads: names that the code reads.
        binds: names that it binds.
    """

    role: str
    grade_id: str
    code: bool
    source: str
    points: float = 0.0
    visible: str = ""
    loads: frozenset[str] = frozenset()
    binds: frozenset[str] = frozenset()

    @property
    def hidden(self) -> bool:
        """Whether students must not see some of it."""
        return self.role == TEST and self.visible != self.source


@dataclass(frozen=True)
class Plan:
    """The teacher's copy as steps in order, and the sheet for the gradebook.

    Attributes:
        theirs: names that the student defines, as far as the teacher's solution or a test tells.
        answered: those of them that an answer binds; the others come from `import *` or a magic.
        imported: those of them that the solution imports → the statement. Whether the student has
            such a name is asked; what it stands for is imported here.
        imports: modules that its cells import, for warming up.
        idle: grade ids of cells that grading does not need, as a locked text.
    """

    name: str
    steps: tuple[Step, ...]
    sheet: Sheet
    theirs: frozenset[str]
    answered: frozenset[str]
    imported: Mapping[str, str]
    imports: tuple[str, ...]
    idle: frozenset[str]

    @property
    def known(self) -> frozenset[str]:
        """The grade ids that a submission's cells may have."""
        return frozenset(step.grade_id for step in self.steps if step.grade_id)


def make_plan(text: str, name: str, *, seed: int = 0, where: str = "") -> Plan:
    """The plan in the text of a teacher's notebook.

    Args:
        seed: a student's own numbers: it replaces the 0 in a given `SEED = 0`.
        where: what an error names.
    """

    def stop(what: str, mend: str) -> W2SError:
        return W2SError(what, where=where or name, mend=mend)

    try:
        cells = json.loads(text)["cells"]
        steps = [step for cell in cells if (step := _step(cell, seed, stop)) is not None]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise stop("is no notebook of format 4", "open and save it in JupyterLab") from None
    graded = [step for step in steps if step.role in (TEST, MANUAL)]
    if not graded:
        mend = "name the teacher's notebook, whose cells carry nbgrader's metadata"
        raise stop("has no graded cell", mend)
    ids = [step.grade_id for step in steps if step.grade_id]
    for id in ids:
        if ids.count(id) > 1:
            raise stop(f"two cells have the grade id {id!r}", "give each cell its own")
    steps = _needed(steps)
    sheet = Sheet(name, _digest(steps), tuple(_columns(cells, graded)), _starters(steps))
    theirs, imported = _theirs(steps), _imported(steps)
    imported = {one: imported[one] for one in theirs & imported.keys()}
    idle = {str(_about(cell).get("grade_id")) for cell in cells} - {one.grade_id for one in steps}
    answered = theirs & _answered(steps)
    return Plan(
        name, tuple(steps), sheet, theirs, answered, imported, _imports(cells), frozenset(idle)
    )


def _digest(steps: list[Step]) -> str:
    told = [(step.role, step.grade_id, step.code, step.source, step.points) for step in steps]
    return hashlib.sha256(json.dumps([VERSION, told]).encode()).hexdigest()


def release(text: str) -> str:
    """What a student has before the first line is written: no answers, no hidden tests.

    As nbgrader's own preprocessors ClearSolutions and ClearHiddenTests make it.
    """
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        about = _about(cell)
        source = _source(cell)
        if about.get("solution"):
            source = starter(source, code=cell["cell_type"] == "code")
        elif about.get("grade"):
            source = _without(HIDDEN, source)
        cell["source"] = source
    return json.dumps(notebook)


def starter(source: str, *, code: bool) -> str:
    """What students receive in the place of an answer."""
    stub = SOLUTION_CODE if code else SOLUTION_TEXT
    return _without(SOLUTION, source, stub) if f"BEGIN {SOLUTION}" in source else stub


def _without(region: str, source: str, instead: str = "") -> str:
    """The source with other lines, as far to the right, in the place of each region.

    A line that has the words in it is a mark, as for nbgrader; without an end all to the last line
    belongs to the region.
    """
    kept, inside = [], False
    for line in source.split("\n"):
        if f"BEGIN {region}" in line:
            inside = True
            margin = line[: len(line) - len(line.lstrip())]
            kept += [margin + one for one in instead.split("\n") if instead]
        elif f"END {region}" in line:
            inside = False
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def _about(cell: dict) -> dict:
    """nbgrader's metadata, empty where there are none."""
    return cell.get("metadata", {}).get("nbgrader") or {}


def _source(cell: dict) -> str:
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def _step(cell: dict, seed: int, stop) -> Step | None:
    """The step that a cell is, None for a text that nobody grades."""
    about = _about(cell)
    code, source = cell["cell_type"] == "code", _source(cell)
    grade_id = str(about.get("grade_id") or "")
    points = about.get("points", 0) or 0
    if isinstance(points, bool) or not isinstance(points, (int, float)) or not 0 <= points < inf:
        raise stop(f"cell {grade_id!r}: points are {points!r}", "give a number from 0 on")
    if about.get("task") or (about.get("grade") and about.get("solution")):
        role = MANUAL
    elif about.get("grade"):
        role = TEST
    elif about.get("solution"):
        role = ANSWER
    elif not code:
        return None
    else:
        role = GIVEN if about.get("locked") and grade_id else PLAIN
    if not grade_id and role in (TEST, MANUAL, ANSWER):
        raise stop("a cell that is graded or answered has no grade id", "give it one")
    if role == TEST and not code:
        mend = "make it a code cell, or an answer that a person grades"
        raise stop(f"cell {grade_id!r} is a test and no code", mend)
    if not code:
        return Step(role, grade_id, False, source, float(points))
    if role == GIVEN:
        source = SEED.sub(f"SEED = {seed}", source)
    step = Step(role, grade_id, True, source, float(points))
    try:
        return _parsed(step)
    except (SyntaxError, ValueError) as error:
        if role != TEST:
            return step  # it may be meant not to run
        raise stop(f"cell {grade_id!r} does not parse: {error}", "mend the test") from None


def _parsed(step: Step) -> Step:
    source = translated(step.source)
    visible = translated(_without(HIDDEN, step.source)) if step.role == TEST else ""
    if visible != source and not ast.parse(visible).body:
        visible = ""
    loads, binds = _names(source)
    return replace(
        step,
        source=source if step.role in (TEST, GIVEN, PLAIN) else step.source,
        visible=visible,
        loads=loads,
        binds=binds,
    )


def translated(source: str) -> str:
    """Python for a cell in which magics and shell lines may stand."""
    if not re.search(r"^\s*[%!?]|\?\s*$", source, re.M):
        return source
    from IPython.core.inputtransformer2 import TransformerManager

    return TransformerManager().transform_cell(source)


def _names(source: str) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the notebook that code reads, and those that it binds; not what functions have of
    their own. What is imported counts as bound, what is deleted or added to as read.
    """
    loads, binds = set(), set()
    scopes = [symtable.symtable(source, "cell", "exec")]
    while scopes:
        scope = scopes.pop()
        scopes += scope.get_children()
        for one in scope.get_symbols():
            if scope.get_type() == "module" or one.is_global():
                name, bound = one.get_name(), one.is_assigned() or one.is_imported()
                loads |= {name} if one.is_referenced() else set()
                binds |= {name} if bound else set()
    for node in ast.walk(ast.parse(source)):
        changed = node.target if isinstance(node, ast.AugAssign) else node
        deleted = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Del)
        if isinstance(changed, ast.Name) and (deleted or changed is not node):
            loads |= {changed.id} & binds
    return frozenset(loads), frozenset(binds)


def _imported(steps: list[Step]) -> dict[str, str]:
    """Name → import statement, of what only imports in answers bind."""
    found: dict[str, str] = {}
    assigned: set[str] = set()
    for step in steps:
        if step.role not in (ANSWER, MANUAL) or not step.binds:
            continue
        source = translated(step.source)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                for alias in node.names:
                    name = alias.asname or alias.name.partition(".")[0]
                    alone = copy.copy(node)
                    alone.names = [alias]
                    found |= {name: ast.unparse(alone)} if name in step.binds else {}
        symbols = symtable.symtable(source, "cell", "exec").get_symbols()
        assigned |= {one.get_name() for one in symbols if one.is_assigned()}
    return {name: statement for name, statement in found.items() if name not in assigned}


def _needed(steps: list[Step]) -> list[Step]:
    """The steps; plain ones without a name that tests need are left out.

    The judge runs the teacher's ungraded cells for what the tests need of them (imports, mostly).
    A cell that plots or trains something would only cost time there.
    """
    needed: set[str] = set()
    kept = []
    for step in reversed(steps):
        if step.role == PLAIN and not step.binds & needed:
            continue
        if step.role in (TEST, GIVEN, PLAIN):
            needed |= step.loads
        kept.append(step)
    return kept[::-1]


def _theirs(steps: list[Step]) -> frozenset[str]:
    """Names to be asked of the student: bound by an answer, or by no cell of the teacher's."""
    answers = _answered(steps)
    ours = {name for step in steps if step.role in (GIVEN, PLAIN, TEST) for name in step.binds}
    read = {name for step in steps if step.role in (GIVEN, PLAIN, TEST) for name in step.loads}
    known = {*dir(builtins), "get_ipython", "display"}
    return frozenset(read & answers | (read - ours - known))


def _answered(steps: list[Step]) -> frozenset[str]:
    return frozenset(n for step in steps if step.role in (ANSWER, MANUAL) for n in step.binds)


def _starters(steps: list[Step]) -> dict[str, str]:
    return {
        step.grade_id: starter(step.source, code=step.code)
        for step in steps
        if step.role in (ANSWER, MANUAL)
    }


def _columns(cells: list[dict], graded: list[Step]) -> Iterator[Column]:
    """A column for each graded step; titles are the last heading above it."""
    titles: dict[str, str] = {}
    title = ""
    for cell in cells:
        if cell["cell_type"] == "markdown" and (found := TASK_TITLE.findall(_source(cell))):
            title = found[-1].strip()
        about = _about(cell)
        titles[str(about.get("grade_id"))] = title
    for step in graded:
        part = next((part for part in PARTS if step.grade_id.endswith(part)), "")
        yield Column(
            step.grade_id,
            step.points,
            manual=step.role == MANUAL,
            task=step.grade_id.removesuffix(part),
            title=titles[step.grade_id],
            hidden=step.hidden and not step.visible,
            rubric=step.source if step.role == MANUAL else "",
        )


def _imports(cells: list[dict]) -> tuple[str, ...]:
    """Modules that the notebook's cells import, solutions included."""
    found: dict[str, None] = {}
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        try:
            tree = ast.parse(translated(_source(cell)))
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= dict.fromkeys(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found[node.module] = None
    return tuple(found)
