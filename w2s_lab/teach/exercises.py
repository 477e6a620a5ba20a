"""Exercises as their source describes them: tasks with all their parts, or what is wrong and where.

It makes no notebook: `assignments` does. docs/write-an-exercise.md explains the format to authors;
its marks for solutions are nbgrader's (nbgrader docs, "Creating and grading assignments").
"""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from w2s_lab.teach.source import Cell, Stop, read_cells, stopper

SOLUTIONS, EXERCISES = "solutions", "exercises"
KINDS = ("recall", "implement", "diagnose", "decide", "explain")
ROLES = ("given", "task", "answer", "check", "hidden", "hints", "essay")
PARTS = ("answer", "check", "hidden", "hints")  # what each task has one of; some have an essay
DETAILS = ("kind", "minutes", "difficulty", "objective")
HARDEST = 5
SLUG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
LIKE_A_MARK = re.compile(
    r"(BEGIN|END)[ _-]*(SOLUTION|HIDDEN[ _-]*TEST|MARK[ _-]*SCHEME)", re.IGNORECASE
)
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
        kind: one of `KINDS`, from recall to judgement.
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
        id = grade_id(cell)
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
    role = role_of(cell)
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
    begun = [step[:3] for step in steps(hints.text)]
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


def steps(hints: str) -> list[str]:
    """The hints, each with its number; what stands before the first is a step as well."""
    return re.split(r"\n\n(?=\d\. )", hints.strip())


def role_of(cell: Cell) -> str:
    """The one of `ROLES` that a marker names, "" for a plain cell."""
    return next((role for role in ROLES if role in cell.options), "")


def grade_id(cell: Cell) -> str:
    """The name of a marked cell in a gradebook; that of an answer is the task's own."""
    role = role_of(cell)
    name = str(cell.options[role])
    return name if role == "answer" else f"{name}-{role}"
