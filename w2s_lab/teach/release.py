"""A course folder for a class, in nbgrader's layout; on request each student gets other numbers.

It changes no source and grades nothing. What goes out has passed the gates: the solution gets all
points, the stub none, and nothing that students must not see is in it.
Layout: nbgrader docs, "Philosophy" (source/, release/, submitted/ below one course folder).
"""

import csv
import hashlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from w2s_lab.errors import W2SError
from w2s_lab.progress import bar
from w2s_lab.teach.assignments import release_notebook, solution_notebook
from w2s_lab.teach.build import canonical, sources, write
from w2s_lab.teach.course import try_solution, try_stub
from w2s_lab.teach.exercises import SOLUTIONS, Assignment, read_assignment
from w2s_lab.teach.leaks import leaks

RELEASE, PERSONAL, SOURCE = "release", "personal", "source"
# becomes the name of a folder, on Windows too: no device, no dot at the end
DEVICE = r"(?!(?i:con|prn|aux|nul|com\d|lpt\d)(?:\.|$))"
STUDENT = re.compile(DEVICE + r"[A-Za-z0-9](?:[A-Za-z0-9._@-]{0,62}[A-Za-z0-9_@-])?")
ID_COLUMNS = ("id", "student", "student_id")
ROSTER = "roster.csv"
SEEDS = 999_999
README = """\
# A course folder, made by `w2s-lab release`

| | for whom |
|---|---|
{rows}
Students need the package `w2s_lab` to run their notebooks.

To grade untrusted work, put what comes back at `submitted/STUDENT/ASSIGNMENT/NOTEBOOK.ipynb`, run
`w2s-lab grade submitted --assignment source/ASSIGNMENT/NOTEBOOK.ipynb --gradebook class.db`.

The folder has nbgrader's layout. To grade with nbgrader, once for each assignment run
`nbgrader generate_assignment --force ASSIGNMENT`, and then
`nbgrader autograde --create ASSIGNMENT`. It runs tests and students' code in one process.

- nbgrader restores the locked cells, and with them `SEED = 0`. No right answer depends on the
  numbers drawn; a wrong one that passed a check by luck may fail when it is graded.
- `nbgrader generate_feedback` shows hidden cases and their answers. Hand its pages out only when
  the assignment is closed.
"""
CONFIG = """\
# For nbgrader.
c = get_config()
c.CourseDirectory.course_id = {course!r}
"""


def read_roster(path: str | Path) -> list[str]:
    """The students' ids in a csv file, in its order.

    The file has a line of column names; one of them is `id`, `student` or `student_id`. Columns
    may be set apart by commas or semicolons; further columns are left alone.

    Raises:
        W2SError: no such file, no such column, no student, an id that is empty, occurs twice or
            cannot name a folder; with the line.
    """
    try:
        text = Path(path).read_text("utf-8-sig")
    except FileNotFoundError:
        raise W2SError("no such file", where=str(path), mend="name the roster's csv file") from None
    except UnicodeDecodeError:
        raise W2SError("is not UTF-8", where=str(path), mend="save it as UTF-8") from None
    first = text.partition("\n")[0]
    rows = csv.DictReader(io.StringIO(text), delimiter=max(",;", key=first.count), strict=True)
    try:
        return _ids(rows, str(path))
    except csv.Error as error:
        where = f"{path}:{rows.line_num}"
        raise W2SError(
            f"is not sound csv ({error})", where=where, mend="close its quotes"
        ) from None


def _ids(rows: csv.DictReader, path: str) -> list[str]:
    columns = [name.strip().lower().replace(" ", "_") for name in rows.fieldnames or ()]
    column = next((name for name in ID_COLUMNS if name in columns), None)
    if column is None:
        what = f"has no column `id` (it has: {', '.join(columns) or 'nothing'})"
        raise W2SError(what, where=f"{path}:1", mend="name the column of the students' ids `id`")
    rows.fieldnames = columns
    found: dict[str, int] = {}
    for row in rows:
        student, line = (row[column] or "").strip(), rows.line_num
        where = f"{path}:{line}"
        if not STUDENT.fullmatch(student):
            mend = "use up to 64 letters, digits and . _ @ -, as in the name of a folder"
            raise W2SError(f"{student!r} cannot be a student's id", where=where, mend=mend)
        same = next((known for known in found if known.lower() == student.lower()), None)
        if same:  # some file systems take Ada and ada for one folder
            what = f"{student!r} is there already, in line {found[same]}"
            raise W2SError(what, where=where, mend="remove or rename one")
        found[student] = line
    if not found:
        raise W2SError("has no students", where=str(path), mend="give each a line")
    return list(found)


def student_seed(student: str, assignment: str) -> int:
    """A student's seed for an assignment, 1 to 999,999: it follows from the two names alone."""
    digest = hashlib.sha256(f"{assignment}/{student}".encode()).hexdigest()
    return 1 + int(digest[:12], 16) % SEEDS


def release(
    folder: str | Path,
    names: Sequence[str] = (),
    *,
    roster: str | Path | None = None,
    seed_by_student: bool = False,
) -> list[Path]:
    """The files of a course folder, written; those that are there already and alike are kept.

    Args:
        folder: gets `release/` for students (or `personal/STUDENT/` with each student's own
            numbers), `source/` and `nbgrader_config.py` for the teacher, and the roster.
        names: assignments, as `00_orientation`; default all.
        roster: csv of the students, see `read_roster`.
        seed_by_student: gives each student of the roster other numbers, see `student_seed`. The
            solution is tried with each of them first.

    Raises:
        W2SError: what `read_roster` and `read_assignment` refuse, a solution that loses a point, a
            stub that gets one, a leak, or a file there that differs. Nothing is written then.
    """
    folder = Path(folder)
    if seed_by_student and not roster:
        mend = "name the class list with --roster"
        raise W2SError("--seed-by-student needs a roster", mend=mend)
    students = read_roster(roster) if roster else []
    known = [read_assignment(path) for path in sources(SOLUTIONS)]
    chosen = [path.stem for path in sources(SOLUTIONS, names or None)]
    assignments = [one for one in known if one.name in chosen]
    for one in assignments:
        try_solution(one)
        try_stub(one)
    files = _teachers(folder, assignments, seed_by_student)
    if roster and Path(roster).resolve() != (folder / ROSTER).resolve():
        files[Path(ROSTER)] = Path(roster).read_text("utf-8-sig")
    given = _students(assignments, students if seed_by_student else [])
    shown = folder / (PERSONAL if seed_by_student else RELEASE)
    _check_leaks(known, given, shown)
    files |= given
    other = [path for path, text in files.items() if _is_other(folder / path, text)]
    if other:
        mend = "release into another folder, or remove the old file"
        raise W2SError("is there already and differs", where=str(folder / other[0]), mend=mend)
    fresh = {folder / path: text for path, text in files.items() if not (folder / path).exists()}
    for path, text in bar(fresh.items(), "write"):
        write(path, text, told=False)
    what = "Give each student their own folder in" if seed_by_student else "Hand out"
    print(f"{len(fresh)} files written, {len(files) - len(fresh)} were there", file=sys.stderr)
    print(f"{what} {shown}, and keep {folder / SOURCE} to yourself", file=sys.stderr)
    return list(fresh)


def _teachers(folder: Path, assignments: list[Assignment], personal: bool) -> dict[Path, str]:
    rows = [f"| `{RELEASE}/` | students |"]
    if personal:
        rows = [f"| `{PERSONAL}/STUDENT/` | this student alone: the numbers differ |"]
    rows.append(f"| `{SOURCE}/` | teachers only: solutions, hidden cases, rubrics |")
    rows.append(f"| `{ROSTER}`, `nbgrader_config.py` | teachers only |")
    files = {
        Path("README.md"): README.format(rows="\n".join(rows) + "\n"),
        Path("nbgrader_config.py"): CONFIG.format(course=folder.resolve().name),
    }
    for assignment in assignments:
        notebook = solution_notebook(assignment)
        for cell in notebook.cells:
            cell.metadata.pop("tags", None)  # nbval's; nbgrader would pass them on to students
        files[_place(SOURCE, assignment)] = canonical(notebook)
    return files


def _students(assignments: list[Assignment], students: list[str]) -> dict[Path, str]:
    """What students get: one notebook an assignment, or one for each of them."""
    if not students:
        return {_place(RELEASE, one): canonical(release_notebook(one)) for one in assignments}
    files = {}
    pairs = [(one, student) for one in assignments for student in students]
    for assignment, student in bar(pairs, "try the solution with each student's numbers"):
        seed = student_seed(student, assignment.name)
        try_solution(assignment, seed=seed)
        path = _place(f"{PERSONAL}/{student}", assignment)
        files[path] = canonical(release_notebook(assignment, seed=seed))
    return files


def _place(folder: str, assignment: Assignment) -> Path:
    return Path(folder) / assignment.name / f"{assignment.name}.ipynb"


def _check_leaks(known: list[Assignment], files: Mapping[Path, str], shown: Path) -> None:
    """Stops if the files, or what lies already where students get theirs, give anything away."""
    with tempfile.TemporaryDirectory() as folder:
        for path, text in files.items():
            write(Path(folder) / path, text, told=False)
        found = [line.removeprefix(f"{folder}{os.sep}") for line in leaks(known, folder)]
    if found:
        raise W2SError(found[0], mend="move it behind a mark in the source")
    if there := leaks(known, shown):
        raise W2SError(there[0], mend="take it out of what students get")


def _is_other(path: Path, text: str) -> bool:
    return path.exists() and path.read_bytes() != text.encode()
