"""What people grade, as a table for a spreadsheet: answers out, scores and comments back in.

It grades nothing and overwrites no table that somebody has filled in. Names and answers come back
as they went out, or the line is refused: `plain.named` tells names apart, `exports.cells` guards
formulas and takes the guard off.
"""

import csv
import io
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from w2s_lab.errors import W2SError
from w2s_lab.teach.grading.essays import LONGEST, as_read
from w2s_lab.teach.grading.exports.cells import guarded, unguarded
from w2s_lab.teach.grading.files import write
from w2s_lab.teach.grading.gradebook import Gradebook
from w2s_lab.teach.grading.marks import answer
from w2s_lab.teach.grading.plain import named, number, plain, quoted
from w2s_lab.teach.grading.verdict import REJECTED, Column, Sheet

FIELDS = ("student", "grade_id", "max_score", "answer", "score", "comment")


def scores_to_csv(book: Gradebook, assignment: str | None, path: str | Path) -> int:
    """Writes each manual column of each student with answer, score and comment; how many lines.

    What a spreadsheet would take for a formula stands behind an apostrophe. A score whose answer
    has changed since is left empty.

    Raises:
        W2SError: an unknown assignment; a file that cannot be written, or is there and differs.
    """
    table = io.StringIO(newline="")
    rows = _rows(book, book.sheet(assignment))
    writer = csv.writer(table)
    writer.writerow(FIELDS)
    for row in rows:
        cells = row.name, row.column.grade_id, number(row.column.points), row.answer, row.score
        writer.writerow(map(guarded, (*cells, row.words)))
    path, text = Path(path), table.getvalue()
    try:
        differs = path.is_file() and path.read_bytes() != text.encode("utf-8-sig")
    except OSError:
        differs = True  # who may not read it should not replace it
    if differs:
        mend = "take its scores over first, or name another file"
        raise W2SError("is there already and differs", where=str(path), mend=mend)
    write(path, text, encoding="utf-8-sig")
    return len(rows)


def scores_from_csv(book: Gradebook, assignment: str | None, path: str | Path, by: str = "") -> int:
    """Keeps the scores and comments of a table as `scores_to_csv` writes it; how many are new.

    A line with neither is left alone, one with a comment only keeps its score. Lines may be missing
    or in another order, and further columns are left alone. Where the answer is there, it must be
    what the student has there now. All lines are kept or none; mistakes go to standard error, a
    line each.

    Raises:
        W2SError: no such file, no table, or mistakes in it; says how many.
    """
    sheet, path = book.sheet(assignment), Path(path)
    there = {(row.name, row.column.grade_id): row for row in _rows(book, sheet)}
    fresh: dict[tuple[str, str], tuple[str, str, float | None, str]] = {}
    seen: dict[tuple[str, str], int] = {}
    mistakes = []
    for line, cells in _read(path):
        key = cells["student"], cells["grade_id"]
        if not (cells["score"].strip() or cells["comment"].strip()):
            continue
        try:
            if key in seen:
                raise ValueError(f"the same student and column as in line {seen[key]}")
            seen[key] = line
            score, comment = _given(cells, there.get(key))
        except ValueError as error:
            mistakes.append(f"{path}:{line}: {error}")
            continue
        row = there[key]
        if (score, comment) != (row.points, row.comment):
            fresh[key] = row.student, row.column.grade_id, score, comment
    if mistakes:
        print(*mistakes, sep="\n", file=sys.stderr)
        what = f"{len(mistakes)} lines will not do, and none was taken over"
        raise W2SError(what, where=str(path), mend="mend them and take it over again")
    return book.mark_all(sheet.name, fresh.values(), by)


@dataclass(frozen=True)
class _Row:
    """A line of the table: `name`, `answer`, `score` and `words` as they stand there."""

    student: str
    name: str
    column: Column
    answer: str
    points: float | None
    comment: str

    @property
    def score(self) -> str:
        return "" if self.points is None else number(self.points)

    @property
    def words(self) -> str:
        return plain(self.comment, LONGEST, lines=True)


def _rows(book: Gradebook, sheet: Sheet) -> list[_Row]:
    marks, verdicts = book.every_mark(sheet.name), book.verdicts(sheet.name)
    found = []
    for column in sheet.columns:
        for student, verdict in verdicts.items():
            if not column.manual or verdict.status == REJECTED:
                continue
            mark = marks.get(student, {}).get(column.grade_id)
            score, comment = (mark.score, mark.comment) if mark and mark.stands else (None, "")
            text = as_read(answer(verdict, column))
            found.append(_Row(student, named(student), column, text, score, comment))
    return found


def _read(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(number of its first line, cells by name) of each line below the first."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        raise W2SError(what, where=str(path), mend="name the table's file") from None
    except UnicodeDecodeError:
        raise W2SError("is not UTF-8", where=str(path), mend="save it as CSV UTF-8") from None
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    table = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = [name.strip().lower() for name in next(table, [])]
        for name in FIELDS:
            if name not in names and name not in ("max_score", "answer"):
                mend = f"its first line is `{','.join(FIELDS)}`"
                raise W2SError(f"has no column `{name}`", where=f"{path}:1", mend=mend)
        line = table.line_num + 1
        for cells in table:
            told = dict(zip(names, map(unguarded, cells), strict=False))
            yield line, dict.fromkeys(FIELDS[:2] + FIELDS[4:], "") | told
            line = table.line_num + 1
    except csv.Error as error:
        where = f"{path}:{table.line_num}"
        raise W2SError(f"is not sound csv ({error})", where=where, mend="mend it") from None


def _given(cells: Mapping[str, str], row: _Row | None) -> tuple[float | None, str]:
    """Score and comment of a line; ValueError says what is wrong with it."""
    if row is None:
        named = f"{quoted(cells['grade_id'])} of {quoted(cells['student'])}"
        raise ValueError(f"nobody has to grade {named}; mend the names")
    if "answer" in cells and cells["answer"].split() != row.answer.split():
        raise ValueError("the answer is another one now; write the table anew, or delete `answer`")
    comment, typed = cells["comment"], cells["score"].strip()
    comment = row.comment if comment == row.words else comment.strip()
    if typed in ("", row.score):
        return row.points, comment
    try:
        score = float(typed.replace(",", "."))
    except ValueError:
        score = -1.0
    if not 0 <= score <= row.column.points:
        raise ValueError(f"{quoted(typed)} is no score from 0 to {number(row.column.points)}")
    return score, comment
