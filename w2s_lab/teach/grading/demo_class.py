"""A class made up and graded before the teacher's eyes: right, wrong, late, broken, hostile work.

It shows what grading does and is no test of how safe the box is; hostile work is small, harmless,
and runs in a box or not at all. Who hands in what stands in `demo/class.yaml`.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from w2s_lab.errors import W2SError
from w2s_lab.teach.assignments import release_notebook, solution_notebook
from w2s_lab.teach.build import canonical, write
from w2s_lab.teach.exercises import Assignment, read_assignment
from w2s_lab.teach.grading.box import open_room
from w2s_lab.teach.grading.process import Limits
from w2s_lab.teach.grading.session import Options, grade_class
from w2s_lab.teach.grading.standing import MISSING, Standing
from w2s_lab.teach.grading.verdict import GRADED

DEMO = Path(__file__).with_name("demo")
ASSIGNMENT = "00_demo"
NOTEBOOK = f"{ASSIGNMENT}/{ASSIGNMENT}.ipynb"
LEAST = 8  # students of whom there is one of each group, and two who copied
# An endless loop and a flood of memory are to end soon; honest work takes a tenth of this.
LIMITS = Limits(cell_seconds=10, call_seconds=2, notebook_seconds=40, memory_mb=512)
DUE = datetime(2025, 11, 21, 22, 59, tzinfo=UTC)
ESSAY = "claim-essay"
WAYS = 7  # to meet a criterion; a prime number
UNMARKED = 3  # each third essay is left for the teacher
WHOLE = "All four points are there."

POLICY = """\
# The rules of this assignment; see `w2s-lab gradebook --help`.
due: 2025-11-21T23:59+01:00
late:
  grace_minutes: 15
  per_day: 0.1   # of the points asked for, each started day
  most_days: 7
extensions:{extensions}
"""
README = """\
# A class, made up and graded by `w2s-lab demo-class`

Begin with `report.html` (the class, for you) and `feedback/` (a page for each student).

| | what it is |
|---|---|
| `source/`, `release/` | the assignment: yours, and what students received |
| `submitted/` | what came back, in nbgrader's layout |
| `roster.csv`, `policy.yaml` | who belongs to the class; due date, lateness, an extension |
| `gradebook.db` | each hand-in, verdict, score and comment |
| `report.html`, `feedback/` | pages for the teacher, and for each student |
| `exports/` | for spreadsheets, Canvas, Moodle, Gradescope |

Go on by yourself, from this folder:

    w2s-lab gradebook gradebook.db show --policy policy.yaml --roster roster.csv
    w2s-lab gradebook gradebook.db essays --by YOU

To grade once more after a change of a hand-in or of a test:

    w2s-lab grade . --assignment source/{name} --gradebook gradebook.db \\
        --cell-seconds {limits.cell_seconds} --call-seconds {limits.call_seconds} \\
        --notebook-seconds {limits.notebook_seconds} --memory-mb {limits.memory_mb}

## Who did what

{table}
"""


@dataclass(frozen=True)
class Seat:
    """What somebody in the class hands in, and what it should come to; see `demo/class.yaml`."""

    group: str
    about: str
    once: bool = False
    answers: Mapping[str, str] = field(default_factory=dict)
    below: Mapping[str, str] = field(default_factory=dict)
    remove: Collection[str] = ()
    backwards: bool = False
    file: str | None = None
    essay: Sequence[int] = ()
    hours_late: float | None = None
    hours_longer: float = 0
    status: str = GRADED
    gets: Mapping[str, float] = field(default_factory=dict)
    says: str = ""


@dataclass(frozen=True)
class Student:
    """Somebody in the class: `place` is 0 for the first, and chooses among right answers."""

    name: str
    place: int
    seat: Seat

    @property
    def received(self) -> datetime:
        """When the notebook came in; without lateness up to five days before the due date."""
        late = self.seat.hours_late
        hours = late if late is not None else -1 - (self.place * 37) % 120
        return DUE + timedelta(hours=hours)

    @property
    def essay(self) -> str:
        """The essay, "" without one.

        Two of 49 essays share at most one sentence, as two points of a plane of 7 × 7 points share
        at most one line; so nobody looks as if they had copied. Who comes later writes none.
        """
        y, x = divmod(self.place, WAYS)
        if y >= WAYS:
            return ""
        ways = [criterion["met"] for criterion in told()["essay"]]
        return " ".join(ways[one][(x + one * y) % WAYS] for one in self.seat.essay)

    @property
    def mark(self) -> tuple[float, str] | None:
        """Score and comment of the essay, None where the teacher has yet to read it."""
        if not self.essay or self.place % UNMARKED == UNMARKED - 1:
            return None
        criteria = enumerate(told()["essay"])
        missing = [one["missing"] for number, one in criteria if number not in self.seat.essay]
        return float(len(self.seat.essay)), " ".join(missing) or WHOLE


def demo_class(to: str | Path, students: int = 30, *, seed: int = 0) -> Path:
    """Makes a course folder with a class in it, and grades it; returns the folder.

    30 students take less than a minute on two cores.

    Args:
        to: the folder; made where there is none.
        students: how many, from 8 on.
        seed: who does what.

    Raises:
        W2SError: a folder that is not empty, too few students, or no box on this machine; nothing
            is written then.
    """
    to = Path(to)
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        mend = "name a new one with --to, or remove it"
        raise W2SError("is there already and not empty", where=str(to), mend=mend)
    class_ = enrolled(students, seed)
    open_room(LIMITS).close()  # tells what is missing before anything is written
    print(f"{students} students hand in", flush=True)
    hand_in(to, class_)
    # In a box, whatever else there may be: some of it is hostile
    grade_class(to, to / "source" / NOTEBOOK, to / "gradebook.db", Options(limits=LIMITS))
    standings = _written(to, class_)
    print("\n".join(_table(class_, standings)))
    print(f"\nLook at {to / 'report.html'}: the class in one page, for you")
    print(f"        {to / 'feedback'}: a page for each student")
    print(f"        {to / 'exports'}: for spreadsheets, Canvas, Moodle, Gradescope")
    print(f"        {to / 'README.md'}: who did what, and how to go on")
    return to


@cache
def told() -> dict[str, Any]:
    """What `demo/class.yaml` says."""
    import yaml

    return yaml.safe_load((DEMO / "class.yaml").read_text("utf-8"))


def enrolled(students: int, seed: int = 0) -> list[Student]:
    """The class; the same for the same number and seed.

    Raises:
        W2SError: too few for one of each group.
    """
    if students < LEAST:
        mend = f"ask for {LEAST} or more"
        raise W2SError(f"{students} are too few for a class", where="--students", mend=mend)
    seats = [Seat(**one) for one in told()["seats"]]
    further = cycle([seat for seat in seats if not seat.once])
    seats += islice(further, max(0, students - len(seats)))
    names = list(told()["names"])
    random.Random(seed).shuffle(names)
    rounds = ["", *range(2, 2 + students // len(names))]  # aiko, aiko2, aiko3
    named = [f"{name}{number}" for number in rounds for name in names]
    return [Student(named[place], place, seats[place]) for place in range(students)]


def hand_in(to: Path, class_: Sequence[Student]) -> None:
    """Writes the course folder: the assignment, the rules, and what came back."""
    assignment = read_assignment(DEMO / f"{ASSIGNMENT}.py")
    solved = solution_notebook(assignment)
    for cell in solved.cells:
        cell.metadata.pop("tags", None)  # nbval's, as in a release
    put(to / "source" / NOTEBOOK, canonical(solved))
    put(to / "release" / NOTEBOOK, canonical(release_notebook(assignment)))
    put(to / "roster.csv", "\n".join(["id", *(one.name for one in class_)]) + "\n")
    longer = "".join(
        f"\n  {one.name}: {(DUE + timedelta(hours=one.seat.hours_longer)).isoformat()}"
        for one in class_
        if one.seat.hours_longer
    )
    put(to / "policy.yaml", POLICY.format(extensions=longer or " {}"))
    for one in class_:
        if one.seat.status != MISSING:
            notebook = to / "submitted" / one.name / NOTEBOOK
            put(notebook, handed_in(one, assignment))
            # as nbgrader writes it
            put(notebook.with_name("timestamp.txt"), f"{one.received:%Y-%m-%d %H:%M:%S.%f} UTC\n")


def handed_in(student: Student, assignment: Assignment) -> str:
    """The file that a student hands in; most often a notebook."""
    from nbformat import v4

    seat = student.seat
    if seat.file is not None:
        return seat.file
    styles = told()["styles"]
    texts = {
        # other steps for other tasks, so that two students seldom agree in all of them
        task: ways[student.place // (turn + 1) % len(ways)]
        for turn, (task, ways) in enumerate(styles.items())
    }
    texts |= {ESSAY: student.essay} if student.essay else {}
    texts |= seat.answers
    notebook = release_notebook(assignment)
    cells = []
    for cell in notebook.cells:
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        cell.source = texts.get(grade_id, cell.source).rstrip("\n")
        if grade_id not in seat.remove:
            cells.append(cell)
        if grade_id in seat.below:
            text = seat.below[grade_id].rstrip("\n")
            cells.append(v4.new_code_cell(text, id=f"{ASSIGNMENT}-below-{grade_id}"))
    notebook.cells = cells[::-1] if seat.backwards else cells
    return canonical(notebook)


def put(path: Path, text: str) -> None:
    """Writes a file, whole or not at all."""
    write(path, text, told=False)


def _written(to: Path, class_: Sequence[Student]) -> list[Standing]:
    """Where everybody stands after some essays were marked; and all that is made of it, written."""
    from w2s_lab.teach.grading.class_report import class_report
    from w2s_lab.teach.grading.exports import FORMATS
    from w2s_lab.teach.grading.feedback import write_feedback
    from w2s_lab.teach.grading.gradebook import Gradebook
    from w2s_lab.teach.grading.policy import standings
    from w2s_lab.teach.grading.policy_file import read_policy
    from w2s_lab.teach.grading.similarity import similar
    from w2s_lab.teach.release import read_roster

    policy, roster = read_policy(to / "policy.yaml"), read_roster(to / "roster.csv")
    with Gradebook(to / "gradebook.db", create=False) as book:
        marks = [(one.name, ESSAY, *one.mark) for one in class_ if one.mark]
        book.mark_all(ASSIGNMENT, marks, by="demo-class")
        sheet = book.sheet(ASSIGNMENT)
        found = standings(book, ASSIGNMENT, policy, roster)
    pairs = similar({one.student: one.answers for one in found}, sheet.starters)
    put(to / "report.html", class_report(found, sheet, pairs))
    write_feedback(found, to / "feedback")
    for format in ("csv", "canvas", "moodle", "gradescope"):
        FORMATS[format](found, to / "exports")
    put(to / "README.md", _readme(class_, found))
    return found


def _readme(class_: Sequence[Student], standings: Sequence[Standing]) -> str:
    by_name = {one.student: one for one in standings}
    rows = ["| student | group | what they did | status | points |", "|---|---|---|---|---|"]
    for one in class_:
        got = by_name[one.name]
        points = f"{got.score:g} of {got.max_score:g}" + ", essay not read" * got.waits
        cells = (one.name, one.seat.group, one.seat.about, got.status, points)
        rows.append(f"| {' | '.join(cells)} |")
    return README.format(name=NOTEBOOK, limits=LIMITS, table="\n".join(rows))


def _table(class_: Sequence[Student], standings: Sequence[Standing]) -> list[str]:
    """Groups with their number of students and their points, as lines of equal columns."""
    by_name = {one.student: one for one in standings}
    groups: dict[str, list[Standing]] = {}
    for one in class_:
        groups.setdefault(one.seat.group, []).append(by_name[one.name])
    most = max(one.max_score for one in standings)
    rows = [("group", "students", f"points of {most:g}", "essays to read")]
    for group, found in groups.items():
        points = sorted(one.score for one in found)
        span = f"{points[0]:g}" + f" to {points[-1]:g}" * (points[0] != points[-1])
        rows.append((group, str(len(found)), span, str(sum(one.waits for one in found))))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
