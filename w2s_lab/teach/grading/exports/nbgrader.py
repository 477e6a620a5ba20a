"""Grades written into a gradebook of nbgrader, where its formgrader and its export find them.

It brings no submission and no notebook into the course folder. Everything goes through nbgrader's
own interface (nbgrader docs, "API: Gradebook"), so that its tables are its own business.
"""

import contextlib
import logging
import os
import re
import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any

from w2s_lab.errors import W2SError
from w2s_lab.teach.grading.exports.cells import MOST, guarded
from w2s_lab.teach.grading.exports.tables import assignment_of, warn
from w2s_lab.teach.grading.plain import named, number, plain
from w2s_lab.teach.grading.policy import instant
from w2s_lab.teach.grading.standing import MISSING, Entry, Standing
from w2s_lab.teach.grading.verdict import Sheet

COURSE = "default_course"  # nbgrader's own name for it
LONGEST = 128  # characters of an id, nbgrader's column for it
NEAR = 1e-6  # points


def export(
    standings: Sequence[Standing], to: str | Path, *, sheet: Sheet | None = None
) -> list[Path]:
    """`gradebook.db`, made or brought up to date by `import_into`.

    Args:
        sheet: default: the columns that the standings have.

    Raises:
        W2SError: what `assignment_of` and `import_into` refuse.
    """
    name = assignment_of(standings)
    if sheet is None:
        columns = {
            entry.column.grade_id: entry.column for one in standings for entry in one.entries
        }
        sheet = Sheet(name, "", tuple(columns.values()))
    db = Path(to) / "gradebook.db"
    try:
        db.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"cannot be written ({error.strerror or error})"
        raise W2SError(what, where=str(to), mend="name another folder") from None
    import_into(standings, sheet, db)
    return [db]


def import_into(
    standings: Sequence[Standing], sheet: Sheet, db: str | Path, *, course: str = COURSE
) -> None:
    """The standings in an nbgrader gradebook; what it has of these students there gives way.

    An empty gradebook gets the assignment with one notebook of its name, and in it the cells that
    carry marks and comments, but no sources: nbgrader would write them over students' cells. Let
    `nbgrader generate_assignment` come first if nbgrader is to grade as well.

    A bonus column asks for 0 points there and its points are extra credit; a dropped column asks
    for 0 and has none. So nbgrader's totals are ours. A person's comment goes to the answer, made
    safe, since nbgrader's feedback shows it as HTML. Doing it again changes nothing; an import that
    was broken off is mended by doing it again.

    Args:
        sheet: the assignment; cells that it lacks or has besides are not imported over.
        db: the file, or SQLAlchemy's address of the database.
        course: nbgrader's name for the course; it matters for an assignment that is new there.

    Raises:
        W2SError: no nbgrader; a gradebook that cannot be read or written or is a symbolic link; an
            assignment there with other cells; standings that do not fit the sheet.
    """
    name = assignment_of(standings)
    if name != sheet.name:
        raise W2SError(f"the grades are of {name}, not of {sheet.name}", mend="export each alone")
    for one in standings:
        _check(one, sheet)
    with _gradebook(db, course) as book:
        asked = _asked(standings, sheet)
        _prepare(book, sheet, asked)
        unfit, homeless = [], []
        for one in standings:
            if not _fits(one.student):
                unfit.append(one.student)
            elif not _enter(book, one, asked.keys()):
                homeless.append(one.student)
        book.db.commit()
    warn("nbgrader", "cannot be ids there and have no grade in it", unfit)
    warn("nbgrader", "have comments to cells where it keeps none", homeless)


def _check(one: Standing, sheet: Sheet) -> None:
    """Stops a standing that nbgrader would add up to another total."""
    who = named(one.student, LONGEST)
    ids, ours = ({e.column.grade_id for e in one.entries}, {c.grade_id for c in sheet.columns})
    if one.entries and ids != ours:
        what = f"the grades of {who} have other columns ({_listed(ids ^ ours)})"
        raise W2SError(what, where=sheet.name, mend="grade it again")
    total = sum(entry.score or 0 for entry in one.entries if not entry.dropped)
    if abs(total - one.raw) > NEAR:
        what = f"{who} has {number(one.raw)} points, but the columns add up to {number(total)}"
        raise W2SError(what, where=sheet.name, mend="grade it again")


def _asked(standings: Sequence[Standing], sheet: Sheet) -> dict[str, float]:
    """Grade id → the points that are asked for: none for what is bonus or dropped."""
    entries = [entry for one in standings for entry in one.entries]
    free = {entry.column.grade_id for entry in entries if entry.bonus or entry.dropped}
    return {c.grade_id: 0.0 if c.grade_id in free else float(c.points) for c in sheet.columns}


def _fits(student: str) -> bool:
    """Whether an id can stand in nbgrader's csv export, which quotes and guards nothing."""
    plainly = named(student) == student == guarded(student) and len(student) <= LONGEST
    return plainly and not set(student) & set(',;"/')


@contextlib.contextmanager
def _gradebook(db: str | Path, course: str) -> Iterator[Any]:
    """nbgrader's gradebook, quiet; whatever goes wrong in it is one W2SError."""
    try:
        from nbgrader.api import Gradebook, InvalidEntry
        from sqlalchemy.engine import URL, make_url
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError:
        mend = "install it: pip install 'w2s-lab[grade]'"
        raise W2SError("needs nbgrader", where="nbgrader", mend=mend) from None
    if "://" in str(db):
        url = make_url(str(db))
        where = url.render_as_string(hide_password=True)
    else:
        url, where = URL.create("sqlite", database=str(Path(db).absolute())), str(db)
        if Path(db).is_symlink():
            raise W2SError("is a symbolic link", where=where, mend="name the file itself")
    log = logging.getLogger("tornado.application")  # told with a traceback what we tell in a line
    silent = log.disabled
    try:
        log.disabled = True
        with _alembic(), warnings.catch_warnings():
            # SQLAlchemy's remarks on how nbgrader puts its objects together
            warnings.filterwarnings("ignore", "Object of type <Submitted")
            with Gradebook(url, course) as book:
                # nobody else writes meanwhile: cells need not be read again for each student
                book.db().expire_on_commit = False
                yield book
    except (SQLAlchemyError, InvalidEntry) as error:
        said = plain(str(getattr(error, "orig", None) or error), 200)
        mend = "close other programs that use it; `nbgrader db upgrade` mends an old one"
        what = f"nbgrader cannot use this gradebook ({said})"
        raise W2SError(what, where=where, mend=mend) from None
    finally:
        log.disabled = silent


@contextlib.contextmanager
def _alembic() -> Iterator[None]:
    """Lets nbgrader find alembic, which it calls for a new gradebook, beside this Python."""
    path = os.environ.get("PATH", "")
    try:
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{path}"
        if shutil.which("alembic") is None:
            mend = "install nbgrader again: it brings alembic"
            raise W2SError("nbgrader needs the program alembic", mend=mend)
        yield
    finally:
        os.environ["PATH"] = path


def _prepare(book, sheet: Sheet, asked: dict[str, float]) -> None:
    """The assignment with its notebook and cells; those that are there have to agree."""
    from nbgrader.api import MissingEntry

    try:
        assignment = book.find_assignment(sheet.name)
    except MissingEntry:
        assignment = book.add_assignment(sheet.name)
    others = {notebook.name for notebook in assignment.notebooks} - {sheet.name}
    where, mend = str(book.engine.url), "import into another gradebook, or grade what this one has"
    if others:
        what = f"{sheet.name} has other notebooks there ({_listed(others)})"
        raise W2SError(what, where=where, mend=mend)
    if not assignment.notebooks:
        _create(book, sheet, assignment)
    [notebook] = assignment.notebooks
    there = {cell.name: cell for cell in [*notebook.grade_cells, *notebook.task_cells]}
    points = {column.grade_id: float(column.points) for column in sheet.columns}
    differs = {
        "lacks": points.keys() - there,
        "has besides": there.keys() - points,
        "has other points for": {
            id
            for id in points.keys() & there
            # 0: an earlier import, when it was a bonus
            if min(abs(there[id].max_score - most) for most in (points[id], 0.0)) > NEAR
        },
    }
    told = [f"{words} {_listed(ids)}" for words, ids in differs.items() if ids]
    if told:
        what = f"the cells of {sheet.name} differ there: it {'; '.join(told)}"
        raise W2SError(what, where=where, mend=mend)
    for id, cell in there.items():
        cell.max_score = asked[id]
    book.db.commit()


def _create(book, sheet: Sheet, assignment) -> None:
    """The notebook and all its cells at once: half of them would be refused for ever."""
    from nbgrader.api import GradeCell, Notebook, SolutionCell

    # "{}": nbgrader takes no other word for a notebook that names no kernel
    notebook = Notebook(name=sheet.name, assignment=assignment, kernelspec="{}")
    book.db.add(notebook)
    for column in sheet.columns:
        kind = "markdown" if column.manual else "code"
        cell = GradeCell(name=column.grade_id, notebook=notebook, cell_type=kind)
        cell.max_score = float(column.points)
        book.db.add(cell)
    # an answer bears its task's name
    answers = {column.grade_id if column.manual else column.task for column in sheet.columns}
    for name in sorted((answers | set(sheet.starters)) - {""}):
        book.db.add(SolutionCell(name=name, notebook=notebook))
    book.db.commit()


def _enter(book, one: Standing, ids: Set[str]) -> bool:
    """One student's grades of the cells `ids`, and comments; False if a comment found no cell.

    Who handed nothing in is a student without a submission, as nbgrader itself has it.
    """
    from nbgrader.api import MissingEntry

    book.update_or_create_student(one.student)
    if one.status == MISSING and not any(entry.score for entry in one.entries):
        try:
            book.find_submission(one.assignment, one.student)
        except MissingEntry:
            return True
    when = instant(one.received)  # nbgrader itself takes the zone off
    submission = book.update_or_create_submission(one.assignment, one.student, timestamp=when)
    if {grade.name for notebook in submission.notebooks for grade in notebook.grades} != ids:
        book.remove_submission(one.assignment, one.student)  # made for cells of another day
        submission = book.add_submission(one.assignment, one.student, timestamp=when)
    [notebook] = submission.notebooks
    entries = {entry.column.grade_id: entry for entry in one.entries}
    for grade in notebook.grades:
        _grade(grade, entries.get(grade.name))
    notebook.late_submission_penalty = one.penalty or None
    return _comment(notebook.comments, one.entries)


def _grade(grade, entry: Entry | None) -> None:
    """Our score in nbgrader's terms: a manual one goes before an automatic one."""
    grade.auto_score = grade.manual_score = grade.extra_credit = None
    grade.needs_manual_grade = False
    if entry is None or entry.dropped:
        return
    grade.needs_manual_grade = entry.score is None
    score = entry.score
    if entry.bonus and score is not None:
        grade.extra_credit, score = score, 0.0
    if entry.column.manual:
        grade.manual_score = score
    else:
        grade.auto_score = score


def _comment(places, entries: Sequence[Entry]) -> bool:
    """Each comment at its own cell or at its task's answer; nbgrader has none at a test."""
    texts: dict[str, list[str]] = {comment.name: [] for comment in places}
    at_home = True
    for entry in entries:
        if not entry.comment.strip():
            continue
        own = (entry.column.grade_id, entry.column.task)
        home = next((name for name in own if name in texts), None)
        if home is None:
            at_home = False
        else:
            texts[home].append(_safe(plain(entry.comment, MOST, lines=True)))
    for comment in places:
        comment.manual_comment = "\n\n".join(texts[comment.name]) or None
    return at_home


def _safe(text: str) -> str:
    """Markdown without HTML and named links: a script could hide in either."""
    return re.sub(r"\](?=\s*[\[(:])", "&#93;", text.replace("<", "&lt;"))


def _listed(names) -> str:
    told = sorted(plain(str(name), 80) for name in names)
    return ", ".join(told[:8]) + (f" and {len(told) - 8} more" if len(told) > 8 else "")
