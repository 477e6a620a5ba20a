"""What the rows of the gradebook's file say: sheets, hand-ins, and what grading those came to.

It works within the gradebook's transactions, and begins and changes none. Rows whose checksum does
not fit count as not there.
"""

import sqlite3
from dataclasses import dataclass

from w2s_lab.teach.grading.database import is_sound, lost, to_bytes, to_text, unpacked, where
from w2s_lab.teach.grading.plain import quoted
from w2s_lab.teach.grading.verdict import REJECTED, Item, Sheet, Verdict

RESULT = "sha, grader, body, seal"
HAND_IN = "student, assignment, sha, reason, received"


@dataclass(frozen=True)
class HandIn:
    """One hand-in; `sha` is "" where nothing could be read, and `reason` says why."""

    sha: str
    reason: str
    received: str


def sheets(db: sqlite3.Connection, name: str | None = None) -> list[Sheet]:
    """All sheets, or those of one assignment, in the order in which they became current."""
    asked, values = ("", ()) if name is None else ("WHERE name = ?", (to_bytes(name),))
    rows = db.execute(f"SELECT name, grader, body, seal FROM sheets {asked} ORDER BY turn", values)
    return [Sheet.from_json(row[2].decode()) for row in rows if is_sound(row)]


def hand_ins(
    db: sqlite3.Connection, assignment: str, student: str | None = None
) -> dict[str, list[HandIn]]:
    """Students, sorted, and what they handed in, the latest last."""
    asked, values = where(assignment, student)
    found: dict[str, list[HandIn]] = {}
    for row in db.execute(f"SELECT {HAND_IN}, seal FROM hand_ins {asked} ORDER BY turn", values):
        if is_sound(row):
            one = HandIn(to_text(row[2] or b""), to_text(row[3]), to_text(row[4]))
            found.setdefault(to_text(row[0]), []).append(one)
    return dict(sorted(found.items()))


def content(db: sqlite3.Connection, sha: str) -> tuple[bool, bytes | None]:
    """(whether it is kept, its bytes); None where there are none, or they are damaged."""
    row = db.execute("SELECT packed FROM contents WHERE sha = ?", (to_bytes(sha),)).fetchone()
    return row is not None, unpacked(sha, row[0]) if row else None


def results(db: sqlite3.Connection, grader: str, sha: str | None = None) -> dict[str, Verdict]:
    """sha256 → result by a grader, of all contents or of one."""
    asked = f"SELECT {RESULT} FROM results WHERE grader = ?" + " AND sha = ?" * (sha is not None)
    values = (to_bytes(grader),) if sha is None else (to_bytes(grader), to_bytes(sha))
    rows = db.execute(asked, values)
    return {to_text(row[0]): found for row in rows if (found := verdict(row))}


def verdict(row: tuple) -> Verdict | None:
    """The verdict in a row of `RESULT`; None where it is damaged."""
    try:
        return Verdict.from_json(row[2].decode()) if is_sound(row) else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def verdicts(
    db: sqlite3.Connection, sheet: Sheet, student: str | None = None
) -> dict[str, Verdict]:
    """Student → what the latest hand-in came to, where that is known; sorted."""
    latest = {who: theirs[-1] for who, theirs in hand_ins(db, sheet.name, student).items()}
    one = latest[student].sha if student in latest else None
    known = results(db, sheet.grader, one)
    told = {who: known.get(one.sha) or _rejected(sheet, one) for who, one in latest.items()}
    return {who: verdict for who, verdict in told.items() if verdict}


def _rejected(sheet: Sheet, one: HandIn) -> Verdict | None:
    """The verdict on what could not be read; None where there is something to grade."""
    if one.sha:
        return None
    items = (Item(each.grade_id, 0, each.points, manual=each.manual) for each in sheet.columns)
    return Verdict(REJECTED, tuple(items), notes=(one.reason,), isolation="")


def whose(db: sqlite3.Connection, sha: str) -> str:
    """Who handed a content in, for a message."""
    rows = db.execute("SELECT DISTINCT student FROM hand_ins WHERE sha = ?", (to_bytes(sha),))
    return ", ".join(quoted(to_text(row[0])) for row in rows.fetchmany(5)) or quoted(sha)


def damaged(db: sqlite3.Connection) -> list[str]:
    """A line for each damaged row: what is lost, and what to do."""
    lines = []
    for sha, packed in db.execute("SELECT sha, packed FROM contents"):
        name = to_text(sha)
        if unpacked(name, packed) is None:
            lines.append(f"the submission of {whose(db, name)}: hand it in again")
    for row in db.execute(f"SELECT {RESULT} FROM results"):
        if verdict(row) is None:
            lines.append(f"the result of {whose(db, to_text(row[0]))}: grade it again")
    rows = db.execute(f"SELECT {HAND_IN}, seal FROM hand_ins ORDER BY turn")
    for (student, assignment), _ in lost(rows, 2):
        lines.append(f"a hand-in of {student} for {assignment}: hand it in again")
    for (name, _), _ in lost(db.execute("SELECT name, grader, body, seal FROM sheets"), 2):
        lines.append(f"a sheet of {name}: grade once more")
    return lines
