"""The notebooks of an assignment: the one with the solutions, and the one that a student receives.

It neither runs nor grades anything. Cells carry nbgrader's metadata, schema version 3, and its
marks for hidden tests (nbgrader docs, "Creating and grading assignments").
"""

import copy
import hashlib
from collections.abc import Callable, Iterator

from w2s_lab.teach.exercises import BEGIN, END, HARDEST, SEED, Assignment, grade_id, role_of, steps
from w2s_lab.teach.source import METADATA, Cell, hashed_ids

HIDE, UNHIDE = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"
# what nbgrader puts in the place of a solution
CODE_STUB, TEXT_STUB = "# YOUR CODE HERE\nraise NotImplementedError()", "YOUR ANSWER HERE"
# what is seen of a check while it is folded
CHECK_TITLE = "# Instant check: run this cell"
HIDDEN_TITLE = "# Hidden cases run here when the notebook is graded"


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
        role = role_of(cell)
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
        "grade_id": grade_id(cell),
        "locked": tests or role == "given",
        "schema_version": 3,
        "solution": role in ("answer", "essay"),
        "task": False,
    }


def _filled(cell: Cell, role: str, assignment: Assignment) -> str:
    if role == "task":
        return _headed(cell, assignment)
    if role == "hints":
        return ladder([step[3:] for step in steps(cell.text)])
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
    lesson = f"objectives as numbered at the top of lesson {assignment.name[:2]}"
    return f"{title}\n\n*{facts} · {lesson}*\n{rest}"


def _headed(cell: Cell, assignment: Assignment) -> str:
    """A task's text with its number, and below the title what it asks and what it is worth."""
    place = [task.name for task in assignment.exercises].index(str(cell.options["task"]))
    task = assignment.exercises[place]
    shares = [(task.visible, "visible cases"), (task.hidden, "hidden cases")]
    shares.append((task.essay.points if task.essay else 0, "the essay"))
    worth = " and ".join(f"{points:g} on {where}" for points, where in shares if points)
    *more, last = map(str, task.objectives)
    objectives = f"objectives {', '.join(more)} and {last}" if more else f"objective {last}"
    facts = [
        task.kind.capitalize(),
        f"about {task.minutes} minutes",
        f"difficulty {task.difficulty} of {HARDEST}",
        f"{task.points:g} point{'s' * (task.points != 1)}: {worth}",
        objectives,
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
