"""The map of the course: objective ↔ lesson cell ↔ exercise ↔ test ↔ gradebook column.

It is made from the sources alone; what is missing on it is told line by line.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from w2s_lab.errors import W2SError
from w2s_lab.quiz import KINDS as ASKED
from w2s_lab.quiz import Question
from w2s_lab.teach.exercises import KINDS, Assignment, Exercise
from w2s_lab.teach.source import Cell, read_cells

PAGE = "docs/exercises.md"
LEAST = 5  # tasks an assignment
OPENING = re.compile(r"After this lesson you can\n\n((?:\d+\. .+\n?(?: {3}.+\n?)*)+)")


@dataclass(frozen=True)
class Objective:
    """One line of the map.

    Attributes:
        lesson: NN_name.
        number: its place in the list that opens the lesson.
        text: what the learner can do.
        sections: those of the lesson's headings under which cells are tagged `objective-N`.
        exercises: the tasks that name it.
    """

    lesson: str
    number: int
    text: str
    sections: tuple[str, ...]
    exercises: tuple[Exercise, ...]


def objectives(lesson: str | Path, tags: Sequence[str], tasks: Assignment) -> list[Objective]:
    """The objectives of a lesson's source, with the cells and tasks that serve them.

    Raises:
        W2SError: a lesson that does not open with a numbered list of objectives.
    """
    cells = read_cells(lesson, tags=tags)
    listed = OPENING.search(f"{cells[0].text}\n")
    if not listed:
        mend = "write `After this lesson you can`, a blank line, and a numbered list"
        raise W2SError(
            "the lesson names no objectives", where=f"{lesson}:{cells[0].line}", mend=mend
        )
    found = re.findall(r"(\d+)\. ((?:.+\n?)(?: {3}.+\n?)*)", listed[1])
    return [
        Objective(
            lesson=tasks.name,
            number=int(number),
            text=" ".join(text.split()).rstrip(".,;"),
            sections=_sections(cells, f"objective-{number}"),
            exercises=tuple(task for task in tasks.exercises if int(number) in task.objectives),
        )
        for number, text in found
    ]


def _sections(cells: Sequence[Cell], tag: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    heading = ""
    for cell in cells:
        if cell.kind == "markdown":
            heading = (re.findall(r"^#+ (.+)$", cell.text, re.MULTILINE) or [heading])[-1]
        if tag in cell.tags:
            found[heading] = None
    return tuple(found)


def gaps(found: Sequence[Objective], tasks: Assignment) -> Iterator[str]:
    """What is missing on the map of one lesson, in plain lines."""
    for one in found:
        what = f"{one.lesson}, objective {one.number}"
        if not one.sections:
            yield f"{what}: no cell of the lesson is tagged objective-{one.number}"
        if not one.exercises:
            yield f"{what}: no exercise"
    numbers = {one.number for one in found}
    for task in tasks.exercises:
        for number in sorted(set(task.objectives) - numbers):
            yield f"{tasks.path}:{task.cells['task'].line}: there is no objective {number}"
    if len(tasks.exercises) < LEAST:
        yield f"{tasks.path}: {len(tasks.exercises)} tasks, fewer than {LEAST}"
    missing = set(KINDS) - {task.kind for task in tasks.exercises}
    for kind in sorted(missing, key=KINDS.index):
        yield f"{tasks.path}: no task to {kind}"


def page(course: Sequence[tuple[Assignment, Sequence[Objective]]]) -> str:
    """The map as a Markdown page."""
    lines = [
        "# Exercises",
        "",
        "Made by `w2s-lab build` from the sources of lessons and exercises; edit those.",
        "[How an exercise is written](write-an-exercise.md).",
        "",
        "| assignment | tasks | minutes | points | for visible cases | hidden cases | essays |",
        "|---|---|---|---|---|---|---|",
    ]
    totals = [0.0] * 6
    for tasks, _ in course:
        row = [len(tasks.exercises), *_sums(tasks.exercises)]
        totals = [a + b for a, b in zip(totals, row, strict=True)]
        lines.append(f"| `{tasks.name}` | " + " | ".join(f"{n:g}" for n in row) + " |")
    lines += ["| together | " + " | ".join(f"{n:g}" for n in totals) + " |", ""]
    for tasks, found in course:
        lines += [f"## {tasks.title}", "", "| task | kind | minutes | difficulty | points |"]
        lines += ["|---|---|---|---|---|"]
        for number, task in enumerate(tasks.exercises, start=1):
            facts = f"{task.kind} | {task.minutes} | {task.difficulty} of 5 | {task.points:g}"
            lines.append(f"| {number} · {_cell(task.title)} | {facts} |")
        lines += ["", "| objective | taught under | exercises | gradebook columns |"]
        lines += ["|---|---|---|---|"]
        lines += [_row(one) for one in found]
        lines.append("")
    return "\n".join(lines)


def questions(bank: Iterable[Question]) -> str:
    """How many ungraded questions there are, by lesson and kind, as the end of the page."""
    counted = Counter((question.id[:2], question.kind) for question in bank)
    lessons = sorted({lesson for lesson, _ in counted})
    rows = [(lesson, [counted[lesson, kind] for kind in ASKED]) for lesson in lessons]
    rows.append(("together", [sum(column) for column in zip(*(n for _, n in rows), strict=True)]))
    lines = [
        "## Questions",
        "",
        "Ungraded, with an explanation for each answer. No lesson asks those of 06 yet.",
        "",
    ]
    lines += [f"| lesson | {' | '.join(ASKED)} | together |", "|---" * (len(ASKED) + 2) + "|"]
    lines += [f"| {name} | {' | '.join(map(str, ns))} | {sum(ns)} |" for name, ns in rows]
    return "\n".join([*lines, ""])


def _sums(exercises: Sequence[Exercise]) -> list[float]:
    essays = sum(task.essay.points for task in exercises if task.essay)
    visible, hidden = (sum(getattr(t, name) for t in exercises) for name in ("visible", "hidden"))
    minutes = sum(task.minutes for task in exercises)
    return [minutes, visible + hidden + essays, visible, hidden, essays]


def _row(one: Objective) -> str:
    sections = _cell("; ".join(one.sections))
    columns = ", ".join(f"`{id}`" for task in one.exercises for id in task.columns)
    names = ", ".join(task.name for task in one.exercises)
    return f"| {one.number}. {_cell(one.text)} | {sections} | {names} | {columns} |"


def _cell(text: str) -> str:
    """A text that ends no cell of a table."""
    return text.replace("|", "\\|")
