"""Exercises: one source gives the notebook with the solutions and the one that a student receives.

It neither runs nor grades anything. Cells carry nbgrader's metadata, schema version 3, and its
marks for solutions and hidden tests (nbgrader docs, "Creating and grading assignments").
docs/write-an-exercise.md explains the format to authors.
"""

import copy
import hashlib
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from w2s_lab.teach.source import METADATA, Cell, Stop, hashed_ids, read_cells, stopper

FOLDER, RELEASED = "solutions", "exercises"
KINDS = ("recall", "implement", "diagnose", "decide", "explain")
ROLES = ("given", "task", "answer", "check", "hidden", "hints", "essay")
PARTS = ("answer", "check", "hidden", "hints")  # what each task has one of; some have an essay
DETAILS = ("kind", "minutes", "difficulty", "objective")
HARDEST = 5
SLUG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
HIDE, UNHIDE = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"
LIKE_A_MARK = re.compile(
    r"(BEGIN|END)[ _-]*(SOLUTION|HIDDEN[ _-]*TEST|MARK[ _-]*SCHEME)", re.IGNORECASE
)
# what nbgrader puts in the place of a solution
CODE_STUB, TEXT_STUB = "# YOUR CODE HERE\nraise NotImplementedError()", "YOUR ANSWER HERE"
# what is seen of a check while it is folded
CHECK_TITLE = "# Instant check: run this cell"
HIDDEN_TITLE = "# Hidden cases run here when the notebook is graded"
TITLE = re.compile(r"## (\S.*)\n\n")
SEED = re.compile(r"^SEED = 0$", re.MULTILINE)

OBJECTIVES = re.compile(r"[1-9]\d*(, [1-9]\d*)*")

NUMBER = r"(\d+(?:\.\d+)?)"
CRITERION = re.compile(rf"^- \*\*{NUMBER}\*\* (.+(?:\n  .+)*)", re.MULTILINE)
HEADING = re.compile(r"^#+ (.+)\n", re.MULTILINE)
EXEMPLAR = re.compile(rf"Exemplar, {NUMBER} of {NUMBER}")
LONGEST_ID = 64  # of a notebook's cell (nbformat 4.5)


@dataclass(frozen=True)
class Exemplar:
    """An essay that was graded: its text, the points it gets, and why."""

    points: float
    text: str
    why: str


@dataclass(frozen=True)
class Essay:
    """How an essay is marked: criteria as (points, what it says), and graded exemplars."""

    points: float
    criteria: tuple[tuple[float, str], ...]
    exemplars: tuple[Exemplar, ...]


@dataclass(frozen=True)
class Exercise:
    """One task of an assignment; `cells` maps a role in `PARTS` to the source's cell.

    Attributes:
        kind: one of `KINDS`, from recall to design.
        minutes: expected time.
        difficulty: 1 to 5.
        objectives: numbers in the list that opens the lesson.
        visible, hidden: points on cases that the learner can see, and on the others.
    """

    name: str
    title: str
    kind: str
    minutes: int
    difficulty: int
    objectives: tuple[int, ...]
    visible: float
    hidden: float
    essay: Essay | None
    cells: dict[str, Cell] = field(repr=False)

    @property
    def points(self) -> float:
        """All points of the task, those of its essay included."""
        return self.visible + self.hidden + (self.essay.points if self.essay else 0)

    @property
    def columns(self) -> dict[str, float]:
        """Points by grade id: the task's columns in a gradebook."""
        essay = {f"{self.name}-essay": self.essay.points} if self.essay else {}
        return {f"{self.name}-check": self.visible, f"{self.name}-hidden": self.hidden} | essay


@dataclass(frozen=True)
class Assignment:
    """A source of exercises, read and found sound."""

    path: Path
    cells: tuple[Cell, ...] = field(repr=False)
    exercises: tuple[Exercise, ...]

    @property
    def name(self) -> str:
        """NN_name, the lesson's own name."""
        return self.path.stem

    @property
    def title(self) -> str:
        """The first line, without its hash."""
        return self.cells[0].text.split("\n")[0].removeprefix("# ")


def read_assignment(path: str | Path) -> Assignment:
    """The exercises in a source, each with all its parts in order.

    Raises:
        W2SError: a source that does not keep to the format, with the line where it was seen.
    """
    path = Path(path)
    stop = stopper(path)
    cells = read_cells(path, tags=(), options=(*ROLES, *DETAILS, "points"))
    given = [cell for cell in cells if "given" in cell.options]
    seeds = [cell.line for cell in given for _ in SEED.findall(cell.text)]
    if len(seeds) != 1:
        what = f"{len(seeds)} lines `SEED = 0` in given cells"
        stop((seeds or [cells[0].line])[-1], what, 'write one, in a cell marked `given="seed"`')

    parts: dict[str, dict[str, Cell]] = {}  # task → role → cell, in the source's order
    lines: dict[str, int] = {}  # grade id → line
    current = ""
    for cell in cells:
        role = _role(cell, stop)
        _check_marks(cell, role, stop)
        if not role:
            continue
        name = str(cell.options[role])
        if not SLUG.fullmatch(name):
            stop(cell.line, f"{name!r} is no name", "use small letters, digits and single hyphens")
        id = _grade_id(cell)
        if id in lines:
            stop(cell.line, f"{id} is there already, in line {lines[id]}", "rename one")
        if len(f"{path.stem}-{id}") > LONGEST_ID:
            stop(cell.line, f"{id} is too long for the id of a cell", "choose a shorter name")
        lines[id] = cell.line
        if role == "given":
            continue
        if role == "task":
            current, parts[name] = name, {}
        elif name != current:
            known = f"the last task is {current!r}" if current else "there is no task yet"
            stop(cell.line, f'{role}="{name}" stands outside its task ({known})', "move it there")
        if role in ("check", "hidden") and "answer" not in parts[name]:
            stop(cell.line, f"the test {id} comes before its solution", "put the answer first")
        parts[name][role] = cell
    if not parts:
        stop(cells[0].line, "there is no task", 'mark its text `# %% [markdown] task="name"`')
    return Assignment(path, tuple(cells), tuple(_exercise(n, p, stop) for n, p in parts.items()))


def _role(cell: Cell, stop: Stop) -> str:
    """The role that a marker names, "" for a plain cell; checks what must stand beside it."""
    named = [role for role in ROLES if role in cell.options]
    if len(named) > 1:
        stop(cell.line, f"the cell is {' and '.join(named)}", "make two cells")
    role = named[0] if named else ""
    kind = "markdown" if role in ("task", "hints", "essay") else "code"
    if role and cell.kind != kind:
        stop(cell.line, f"a {role} cell is a {kind} cell", "mend its marker")
    wanted = {"task": DETAILS, "check": ("points",), "hidden": ("points",), "essay": ("points",)}
    for option in wanted.get(role, ()):
        if option not in cell.options:
            stop(cell.line, f"the {role or 'plain'} cell has no {option}", f"add `{option}=...`")
    for option in cell.options.keys() - {role, *wanted.get(role, ())}:
        stop(cell.line, f"a {role or 'plain'} cell has no use for {option}", "remove it")
    points = cell.options.get("points", 1)
    if isinstance(points, str) or (not points and role != "check"):
        stop(cell.line, f"points are {points!r}", "give a number above 0")
    return role


def _check_marks(cell: Cell, role: str, stop: Stop) -> None:
    """Stops unless solution marks come in pairs, and in answer cells only."""
    opened = 0
    for number, text in enumerate(cell.text.split("\n"), start=cell.line + 1):
        mark = LIKE_A_MARK.search(text)
        if mark and (role != "answer" or mark[2].upper() != "SOLUTION"):
            stop(number, f"{mark[0]!r} does not belong in this cell", "remove it")
        if not mark and not (role == "answer" and text.strip().startswith("###")):
            continue  # in an answer, ### is for marks: one that is misspelt must not pass
        if text.strip() not in (BEGIN, END):
            stop(number, f"not a solution mark: {text.strip()!r}", f"write `{BEGIN}` or `{END}`")
        if (text.strip() == BEGIN) == bool(opened):
            what = "a solution mark inside a solution" if opened else "a solution ends unopened"
            stop(number, what, "write them in pairs")
        opened = 0 if opened else number
    if opened:
        stop(opened, "the solution mark is never closed", f"add `{END}`")
    if role == "answer" and BEGIN not in cell.text:
        stop(cell.line, "the answer has no solution marks", f"add `{BEGIN}` and `{END}`")


def _exercise(name: str, parts: dict[str, Cell], stop: Stop) -> Exercise:
    spec = parts["task"]
    for role in PARTS:
        if role not in parts:
            stop(spec.line, f"the task {name!r} has no {role} cell", f'add `# %% {role}="{name}"`')
    kind, minutes, difficulty, objective = (spec.options[option] for option in DETAILS)
    if kind not in KINDS:
        stop(spec.line, f"unknown kind {kind!r}", f"choose from: {', '.join(KINDS)}")
    if (kind == "explain") != ("essay" in parts):
        stop(spec.line, f"a task to {kind}, and its essay", "explain with an essay, else without")
    if isinstance(minutes, str) or minutes < 1 or minutes % 1:
        stop(spec.line, f"minutes are {minutes!r}", "give a whole number, without quotes")
    if isinstance(difficulty, str) or difficulty not in range(1, HARDEST + 1):
        mend = f"give a whole number from 1 to {HARDEST}, without quotes"
        stop(spec.line, f"difficulty is {difficulty!r}", mend)
    objectives = objective if isinstance(objective, str) else f"{objective:g}"
    title = TITLE.match(spec.text)
    if title is None:
        stop(spec.line, "the task has no title", "begin its text with `## Title` and a blank line")
    if not OBJECTIVES.fullmatch(objectives):
        mend = 'write `objective=1` or `objective="1, 2"`'
        stop(spec.line, f"no objective in {objectives!r}", mend)
    hints = parts["hints"]
    begun = [step[:3] for step in _steps(hints.text)]
    if begun != ["1. ", "2. ", "3. "]:
        what = f"{len(begun)} hints, which begin {', '.join(f'`{one}`' for one in begun)}"
        stop(hints.line, what, "write three paragraphs that begin `1. `, `2. `, `3. `")
    return Exercise(
        name=name,
        title=title[1],
        kind=str(kind),
        minutes=int(minutes),
        difficulty=int(difficulty),
        objectives=tuple(map(int, objectives.split(", "))),
        visible=float(parts["check"].options["points"]),
        hidden=float(parts["hidden"].options["points"]),
        essay=_essay(parts["essay"], stop) if "essay" in parts else None,
        cells=parts,
    )


def _essay(cell: Cell, stop: Stop) -> Essay:
    """The rubric and exemplars below a model answer; the model answer is the first exemplar."""
    points = float(cell.options["points"])
    model, *rest = HEADING.split(f"{cell.text}\n")
    if not model.strip():
        stop(cell.line, "the essay has no model answer", "begin with it")
    if rest[:1] != ["Rubric"]:
        stop(cell.line, "the essay has no rubric", "add `### Rubric` below the model answer")
    found = [(float(worth), " ".join(said.split())) for worth, said in CRITERION.findall(rest[1])]
    if not math.isclose(total := sum(worth for worth, _ in found), points):
        what = f"the criteria add up to {total:g}, not {points:g}"
        stop(cell.line, what, "write them as `- **2** says that ...`")
    exemplars = [Exemplar(points, model.strip(), "It meets each criterion.")]
    for heading, text in zip(rest[2::2], rest[3::2], strict=True):
        graded = EXEMPLAR.fullmatch(heading)
        if not graded:
            stop(cell.line, f"unknown heading {heading!r}", "write `### Exemplar, 1 of 4`")
        got, most = map(float, graded.groups())
        said, _, why = (part.strip() for part in text.partition("\nWhy: "))
        if most != points or got >= points or not said or not why:
            what = f"the exemplar of {got:g} of {most:g}"
            stop(cell.line, what, f"give a text, fewer points than {points:g}, and `Why: ...`")
        exemplars.append(Exemplar(got, said, why))
    if len({one.points for one in exemplars}) < 3:
        what = "fewer than two weaker exemplars"
        stop(cell.line, what, "add two, as `### Exemplar, 1 of 4`, with different points")
    return Essay(points, tuple(found), tuple(exemplars))


def _steps(hints: str) -> list[str]:
    """The hints, each with its number; what stands before the first is a step as well."""
    return re.split(r"\n\n(?=\d\. )", hints.strip())


def solution_notebook(assignment: Assignment, *, seed: int = 0):
    """The notebook with answers and hidden cases, not executed: a source that nbgrader can read."""
    notebook = _notebook(assignment, seed, lambda cell, role: _filled(cell, role, assignment))
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("grade"):
            cell.metadata.tags = ["nbval-check-output"]  # the points of the solution are a claim
    return notebook


def release_notebook(assignment: Assignment, *, seed: int = 0):
    """The notebook that a student receives: stubs for answers, a comment for hidden cases.

    It is what nbgrader itself would generate from `solution_notebook`.

    Args:
        seed: the student's own; 0 is everybody's.
    """
    notebook = _notebook(assignment, seed, lambda cell, role: _cleared(cell, role, assignment))
    for cell in notebook.cells:
        if own := cell.metadata.get("nbgrader"):
            own.update(cell_type=cell.cell_type, checksum=checksum(cell))
            cell.metadata.deletable = False
            if own.locked:
                cell.metadata.editable = False
    return notebook


def stubs(assignment: Assignment) -> dict[str, str]:
    """What stands in the place of each answer in a release: task → code."""
    parts = {task.name: task.cells["answer"].text for task in assignment.exercises}
    return {name: "\n".join(_stubbed(text.split("\n"))) for name, text in parts.items()}


def _notebook(assignment: Assignment, seed: int, text: Callable[[Cell, str], str]):
    from nbformat import v4

    cells = []
    ids = hashed_ids(assignment.name, assignment.cells)
    for cell, own in zip(assignment.cells, ids, strict=True):
        role = next((role for role in ROLES if role in cell.options), "")
        graded = _metadata(cell, role)
        metadata: dict = {"nbgrader": graded} if graded else {}
        if role == "check":  # a learner runs it, and need not read it
            metadata["jupyter"] = {"source_hidden": True}
        new_cell = v4.new_code_cell if cell.kind == "code" else v4.new_markdown_cell
        source = text(cell, role)
        if role == "given":
            source = SEED.sub(f"SEED = {seed}", source)
        id = f"{assignment.name}-{graded['grade_id']}" if graded else own
        cells.append(new_cell(source, id=id, metadata=metadata))
    return v4.new_notebook(cells=cells, metadata=copy.deepcopy(METADATA))


def _metadata(cell: Cell, role: str) -> dict | None:
    """nbgrader's entry for a cell, schema version 3; None for a cell that it leaves alone."""
    if role in ("", "task", "hints"):
        return None
    tests = role in ("check", "hidden")
    points = {"points": cell.options["points"]} if "points" in cell.options else {}
    return points | {
        "grade": tests or role == "essay",
        "grade_id": _grade_id(cell),
        "locked": tests or role == "given",
        "schema_version": 3,
        "solution": role in ("answer", "essay"),
        "task": False,
    }


def _grade_id(cell: Cell) -> str:
    role = next(role for role in ROLES if role in cell.options)
    name = str(cell.options[role])
    return name if role == "answer" else f"{name}-{role}"


def _filled(cell: Cell, role: str, assignment: Assignment) -> str:
    if role == "task":
        return _headed(cell, assignment)
    if role == "hints":
        return ladder([step[3:] for step in _steps(cell.text)])
    if role == "check":
        return f"{CHECK_TITLE}\n{cell.text}"
    if role == "hidden":
        return "\n".join([HIDDEN_TITLE, HIDE, cell.text, UNHIDE])
    if cell is assignment.cells[0]:
        return _opened(cell, assignment)
    return cell.text


def _cleared(cell: Cell, role: str, assignment: Assignment) -> str:
    if role == "essay":
        return TEXT_STUB
    if role == "hidden":
        return HIDDEN_TITLE
    if role == "answer":
        return "\n".join(_stubbed(cell.text.split("\n")))
    return _filled(cell, role, assignment)


def _stubbed(lines: list[str]) -> Iterator[str]:
    """The lines outside solution marks, each solution replaced by a stub that is indented alike."""
    inside = False
    for line in lines:
        if line.strip() == BEGIN:
            indent = line[: len(line) - len(line.lstrip())]
            yield from (indent + stub for stub in CODE_STUB.split("\n"))
        inside = line.strip() == BEGIN or (inside and line.strip() != END)
        if not inside and line.strip() != END:
            yield line


def _opened(cell: Cell, assignment: Assignment) -> str:
    """The first text, with what awaits the learner below the title."""
    title, _, rest = cell.text.partition("\n")
    tasks = assignment.exercises
    minutes, points = (sum(getattr(task, name) for task in tasks) for name in ("minutes", "points"))
    facts = f"{len(tasks)} tasks · about {minutes} minutes · {points:g} points"
    return f"{title}\n\n*{facts}*\n{rest}"


def _headed(cell: Cell, assignment: Assignment) -> str:
    """A task's text with its number, and below the title what it asks and what it is worth."""
    place = [task.name for task in assignment.exercises].index(str(cell.options["task"]))
    task = assignment.exercises[place]
    shares = [(task.visible, "visible cases"), (task.hidden, "hidden cases")]
    shares.append((task.essay.points if task.essay else 0, "the essay"))
    worth = " and ".join(f"{points:g} on {where}" for points, where in shares if points)
    many = len(task.objectives) > 1
    facts = [
        task.kind.capitalize(),
        f"about {task.minutes} minutes",
        f"difficulty {task.difficulty} of {HARDEST}",
        f"{task.points:g} point{'s' * (task.points != 1)}: {worth}",
        f"objective{'s' * many} {' and '.join(map(str, task.objectives))}",
    ]
    rest = cell.text.partition("\n")[2]
    return f"## Task {place + 1} · {task.title}\n\n*{' · '.join(facts)}*\n{rest}"


def ladder(steps: list[str]) -> str:
    """Hints that unfold one after another, each inside the one before."""
    text = ""
    for number, step in reversed(list(enumerate(steps, start=1))):
        summary = f"<summary>Hint {number} of {len(steps)}</summary>"
        text = f"<details>{summary}\n\n{step.strip()}\n\n{text}</details>\n"
    return text.rstrip("\n")


def checksum(cell) -> str:
    """nbgrader's fingerprint of a cell, by which it sees that an essay was never written.

    Source: nbgrader 0.9, `nbgrader.utils.compute_checksum`.
    """
    about = cell.metadata["nbgrader"]
    locked = not about["solution"] and (about["grade"] or about["locked"])
    parts = [cell.source, cell.cell_type, about["grade"], about["solution"], locked]
    parts.append(about["grade_id"])
    if about["grade"]:
        parts.append(float(about["points"]))
    return hashlib.md5("".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()
