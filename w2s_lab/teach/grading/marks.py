"""What people give: a score and a comment for a column of a student's, and for which answer.

It works within the gradebook's transactions, and begins none. Of each column the latest mark
counts; the earlier ones stay.
"""

import hashlib
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from w2s_lab.errors import W2SError
from w2s_lab.teach.grading import records
from w2s_lab.teach.grading.database import insert, is_sound, lost, to_bytes, to_text, where
from w2s_lab.teach.grading.plain import quoted
from w2s_lab.teach.grading.verdict import Column, Sheet, Verdict

NAMES = "student, assignment, grade_id, score, comment, given_by, sha, answer"
Given = Iterable[tuple[str, str, float | None, str]]  # student, grade id, score, comment


@dataclass(frozen=True)
class Mark:
    """What a person gave for one column of one student.

    Attributes:
        score: None where only a comment was given: the tests' score counts, an essay waits.
        by: who gave it, may be "".
        stands: it was given to the text that counts now. Where not, its answer has changed since:
            it counts no longer and is shown to a person again.
        at: when, by this machine's clock; nothing depends on it.
    """

    student: str
    grade_id: str
    score: float | None
    comment: str = ""
    by: str = ""
    stands: bool = True
    at: str = field(default="", compare=False)


def same_text(text: str) -> str:
    """A text without what nobody sees: blanks at its ends and at the ends of its lines."""
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def answer(verdict: Verdict, column: Column) -> str | None:
    """What the student wrote for a column, an essay or a task's code; None if that is not known."""
    own = verdict.answers.get(column.grade_id)
    return own if own is not None or column.manual else verdict.answers.get(column.task)


def keep_marks(db: sqlite3.Connection, sheet: Sheet, given: Given, by: str, path: str) -> int:
    """Keeps marks for the answers that are there now; how many differ from what was kept.

    Raises:
        W2SError: no such column or hand-in, or not 0 ≤ score ≤ points; names the file `path`.
    """
    columns = {column.grade_id: column for column in sheet.columns}
    latest, verdicts = records.hand_ins(db, sheet.name), records.verdicts(db, sheet)
    kept = {(one.student, one.grade_id): row for row, one in read_marks(db, sheet)}
    fresh = 0
    for student, grade_id, score, comment in given:
        score = _checked(score, grade_id, columns, path)
        if student not in latest:
            what = f"{quoted(student)} has handed nothing in for {quoted(sheet.name)}"
            raise W2SError(what, where=path, mend="mend the name")
        names = to_bytes(student), to_bytes(sheet.name), to_bytes(grade_id)
        text = _print(verdicts.get(student), columns[grade_id])
        words = to_bytes(comment), to_bytes(by)
        row = *names, score, *words, to_bytes(latest[student][-1].sha), text
        if kept.get((student, grade_id)) != row:
            insert(db, "marks", NAMES, row, at=True)
            kept[student, grade_id] = row
            fresh += 1
    return fresh


def read_marks(
    db: sqlite3.Connection, sheet: Sheet, student: str | None = None
) -> Iterator[tuple[tuple, Mark]]:
    """Each sound row of marks and what it says, oldest first."""
    columns = {column.grade_id: column for column in sheet.columns}
    latest = records.hand_ins(db, sheet.name, student)
    verdicts = records.verdicts(db, sheet, student)
    asked, values = where(sheet.name, student)
    for row in db.execute(f"SELECT {NAMES}, seal, at FROM marks {asked} ORDER BY turn", values):
        if not is_sound(row[:-1]):
            continue
        who, grade_id, sha, text = to_text(row[0]), to_text(row[2]), to_text(row[6]), row[7]
        now = _print(verdicts.get(who), columns[grade_id]) if grade_id in columns else b""
        same = who in latest and (latest[who][-1].sha == sha or bool(text) and text == now)
        comment, by, at = to_text(row[4]), to_text(row[5]), to_text(row[9])
        yield row[:8], Mark(who, grade_id, row[3], comment, by, same, at)


def lost_marks(db: sqlite3.Connection, asked: str = "", values: tuple = ()) -> list[str]:
    """A line for each mark that is damaged and was not given again; see `database.where`."""
    rows = db.execute(f"SELECT {NAMES}, seal FROM marks {asked} ORDER BY turn", values)
    return [
        f"the mark of {student} for {grade_id} in {assignment} is damaged"
        f" (it reads {row[3]!r:.20}): give it again"
        for (student, assignment, grade_id), row in lost(rows, 3)
    ]


def _print(verdict: Verdict | None, column: Column) -> bytes:
    """What tells two texts of an answer apart; empty where the text is not known."""
    text = answer(verdict, column) if verdict else None
    return b"" if text is None else hashlib.sha256(to_bytes(same_text(text))).digest()


def _checked(
    score: float | None, grade_id: str, columns: Mapping[str, Column], where: str
) -> float | None:
    """A score that the column can have, as a float; W2SError if it cannot."""
    if grade_id not in columns:
        mend = f"name one of: {', '.join(columns) or 'none'}"
        raise W2SError(f"there is no column {quoted(grade_id)}", where=where, mend=mend)
    if score is None:
        return None
    most = columns[grade_id].points
    if isinstance(score, bool) or not math.isfinite(score) or not 0 <= score <= most:
        what = f"{score!r} is no score for {quoted(grade_id)}"
        raise W2SError(what, where=where, mend=f"give 0 to {most:g}")
    return float(score) + 0.0  # −0.0 would come back as 0.0, and its seal would not fit
