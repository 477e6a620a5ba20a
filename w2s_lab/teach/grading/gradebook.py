"""What was handed in, what grading it came to and what a person gave: kept in one SQLite file.

It grades nothing and knows no rules: `judge` makes verdicts, `policy` makes standings of them. The
file itself is `database`'s business, what its rows say that of `records` and `marks`.
"""

import hashlib
import sqlite3
import warnings
import zlib
from contextlib import AbstractContextManager
from pathlib import Path

from w2s_lab.errors import W2SError
from w2s_lab.teach.grading import database, records
from w2s_lab.teach.grading.database import insert, to_bytes
from w2s_lab.teach.grading.marks import Given, Mark, keep_marks, lost_marks, read_marks
from w2s_lab.teach.grading.plain import quoted
from w2s_lab.teach.grading.verdict import NEEDS_A_PERSON, Sheet, Verdict


class Gradebook:
    """A gradebook, for one thread; other processes may read and write the same file meanwhile.

    Each method is one transaction: after a kill, a full disk or a lock it has happened or it has
    not. A row whose checksum does not fit counts as not there, and `damaged` tells of it.

    Args:
        path: the file; made, readable by its owner alone, where there is none and `create` is set.

    Raises:
        W2SError: a file that is no gradebook, is damaged, of another version, or in the way; every
            method raises it for a full disk and a lock.
    """

    def __init__(self, path: str | Path, *, create: bool = True):
        self.path = Path(path)
        self._db = database.open_file(self.path, create=create)

    def close(self) -> None:
        """Lets go of the file; a second time does nothing."""
        self._db.close()

    def __enter__(self) -> "Gradebook":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _change(self) -> AbstractContextManager[sqlite3.Connection]:
        return database.transaction(self._db, self.path, database.CHANGE)

    def _look(self) -> AbstractContextManager[sqlite3.Connection]:
        return database.transaction(self._db, self.path, database.LOOK)

    # --- assignments ------------------------------------------------------------------------------

    def add_sheet(self, sheet: Sheet) -> None:
        """Keeps a sheet; the one added last for a name is its current one."""
        body = sheet.to_json().encode()
        with self._change() as db:
            known = records.sheets(db, sheet.name)
            if known and known[-1] == sheet:
                return
            name, grader = to_bytes(sheet.name), to_bytes(sheet.grader)
            db.execute("DELETE FROM sheets WHERE name = ? AND grader = ?", (name, grader))
            row = name, grader, body
            insert(db, "sheets", "name, grader, body", row)

    def assignments(self) -> list[str]:
        """The names of all assignments, sorted."""
        with self._look() as db:
            return sorted({sheet.name for sheet in records.sheets(db)})

    def graders(self, assignment: str) -> list[str]:
        """The graders of an assignment, in the order in which they became current."""
        with self._look() as db:
            return [sheet.grader for sheet in records.sheets(db, assignment)]

    def sheet(self, name: str | None = None, grader: str | None = None) -> Sheet:
        """The current sheet of an assignment, or the one with a given grader.

        Raises:
            W2SError: no such sheet, or no name where there are several; names those there are.
        """
        with self._look() as db:
            return self._sheet(db, name, grader)

    def _sheet(self, db: sqlite3.Connection, name: str | None, grader: str | None = None) -> Sheet:
        known = records.sheets(db)
        names = sorted({sheet.name for sheet in known})
        listed = ", ".join(map(quoted, names)) or "none"
        if name is None and len(names) != 1:
            what = f"has {len(names)} assignments"
            raise W2SError(what, where=str(self.path), mend=f"name one of: {listed}")
        named = [sheet for sheet in known if name in (None, sheet.name)]
        if not named:
            what = f"has no assignment {quoted(name or '')}"
            raise W2SError(what, where=str(self.path), mend=f"name one of: {listed}")
        found = [sheet for sheet in named if grader in (None, sheet.grader)]
        if not found:
            graders = ", ".join(quoted(sheet.grader) for sheet in named)
            what = f"{quoted(named[0].name)} was never graded by {quoted(grader or '')}"
            raise W2SError(what, where=str(self.path), mend=f"name one of: {graders}")
        return found[-1]

    # --- hand-ins ---------------------------------------------------------------------------------

    def hand_in(self, student: str, assignment: str, raw: bytes, received: str = "") -> str:
        """Keeps what a student handed in, and returns its sha256; the latest one counts.

        The same bytes again change nothing, nor does an earlier hand-in read a second time (the
        same bytes with the same time). So a batch that was cut short can be read again.

        Args:
            received: ISO 8601, "" if unknown; from outside, and never used for an order.
        """
        sha = hashlib.sha256(raw).hexdigest()
        with self._change() as db:
            if records.content(db, sha)[1] is None:
                row = to_bytes(sha), zlib.compress(raw)
                mended = "ON CONFLICT (sha) DO UPDATE SET packed = excluded.packed"
                db.execute(f"INSERT INTO contents (sha, packed) VALUES (?, ?) {mended}", row)
            self._add(db, student, assignment, records.HandIn(sha, "", received))
        return sha

    def refuse(self, student: str, assignment: str, reason: str, received: str = "") -> None:
        """Keeps that what a student handed in is no readable file; its verdict is `REJECTED`."""
        with self._change() as db:
            self._add(db, student, assignment, records.HandIn("", reason, received))

    def _add(
        self, db: sqlite3.Connection, student: str, assignment: str, one: records.HandIn
    ) -> None:
        known = records.hand_ins(db, assignment, student).get(student, [])
        if known and (known[-1].sha, known[-1].reason) == (one.sha, one.reason):
            return
        if one.received and one in known:
            return
        sha = to_bytes(one.sha) if one.sha else None
        about = to_bytes(one.reason), to_bytes(one.received)
        row = to_bytes(student), to_bytes(assignment), sha, *about
        insert(db, "hand_ins", records.HAND_IN, row, at=True)

    def handed_in(self, assignment: str) -> dict[str, tuple[str, str]]:
        """Student → (sha256 or "", when it was received) of the latest hand-in; sorted."""
        with self._look() as db:
            found = records.hand_ins(db, assignment)
        return {student: (theirs[-1].sha, theirs[-1].received) for student, theirs in found.items()}

    def submission(self, sha: str) -> bytes:
        """The bytes that were handed in, checked against their hash.

        Raises:
            W2SError: there are none, or they are damaged; says whose they are.
        """
        with self._look() as db:
            kept, raw = records.content(db, sha)
            if raw is None:
                state = "damaged" if kept else "not there"
                what = f"the submission of {records.whose(db, sha)} is {state}"
                raise W2SError(what, where=str(self.path), mend="hand it in again")
        return raw

    # --- grading ----------------------------------------------------------------------------------

    def pending(self, sheet: Sheet) -> list[tuple[str, str, int]]:
        """(student, sha256, attempts so far) of what has no sound result by this grader yet.

        Each content once, under the first of the students who handed it in. Fewest attempts first,
        so that what fails cannot hold up the rest; then by student. A damaged content is left out,
        since nothing can grade it: `damaged` tells of it.
        """
        with self._look() as db:
            done = records.results(db, sheet.grader)
            asked = "SELECT sha, times FROM attempts WHERE grader = ?"
            tried = dict(db.execute(asked, (to_bytes(sheet.grader),)))
            waiting: dict[str, str] = {}
            for student, theirs in records.hand_ins(db, sheet.name).items():
                if theirs[-1].sha and theirs[-1].sha not in done:
                    waiting.setdefault(theirs[-1].sha, student)
            found = [
                (student, sha, tried.get(to_bytes(sha), 0))
                for sha, student in waiting.items()
                if records.content(db, sha)[1] is not None
            ]
        return sorted(found, key=lambda one: (one[2], one[0]))

    def begin(self, sha: str, grader: str) -> int:
        """Counts an attempt, before it starts; returns how many there are with this one."""
        key = to_bytes(sha), to_bytes(grader)
        with self._change() as db:
            self._must_hold(db, sha)
            again = "ON CONFLICT (sha, grader) DO UPDATE SET times = times + 1"
            db.execute(f"INSERT INTO attempts VALUES (?, ?, 1) {again}", key)
            asked = "SELECT times FROM attempts WHERE sha = ? AND grader = ?"
            return db.execute(asked, key).fetchone()[0]

    def save(self, sha: str, grader: str, verdict: Verdict) -> None:
        """Keeps what grading a content came to; where a sound result is kept, that one stays."""
        row = to_bytes(sha), to_bytes(grader), verdict.to_json().encode()
        asked = "FROM results WHERE sha = ? AND grader = ?"
        with self._change() as db:
            self._must_hold(db, sha)
            kept = db.execute(f"SELECT sha, grader, body, seal {asked}", row[:2]).fetchone()
            if kept and records.verdict(kept):
                return
            db.execute(f"DELETE {asked}", row[:2])
            insert(db, "results", "sha, grader, body", row, at=True)

    def reopen(self, sheet: Sheet) -> int:
        """Lets the contents that `NEEDS_A_PERSON` be graded again, as at first; how many."""
        with self._change() as db:
            failed = [
                (to_bytes(sha), to_bytes(sheet.grader))
                for sha, verdict in records.results(db, sheet.grader).items()
                if verdict.status == NEEDS_A_PERSON
            ]
            for table in ("results", "attempts"):
                db.executemany(f"DELETE FROM {table} WHERE sha = ? AND grader = ?", failed)
        return len(failed)

    def _must_hold(self, db: sqlite3.Connection, sha: str) -> None:
        if not db.execute("SELECT 1 FROM contents WHERE sha = ?", (to_bytes(sha),)).fetchone():
            what = f"there is no submission {quoted(sha)}"
            raise W2SError(what, where=str(self.path), mend="hand it in first")

    def verdict(self, student: str, assignment: str, grader: str | None = None) -> Verdict | None:
        """What a student's latest hand-in came to; None without one, or before it was graded."""
        return self._verdicts(assignment, grader, student).get(student)

    def verdicts(self, assignment: str, grader: str | None = None) -> dict[str, Verdict]:
        """Student → what the latest hand-in came to, sorted; by the current grader by default."""
        return self._verdicts(assignment, grader)

    def _verdicts(
        self, assignment: str, grader: str | None = None, student: str | None = None
    ) -> dict[str, Verdict]:
        with self._look() as db:
            return records.verdicts(db, self._sheet(db, assignment, grader), student)

    # --- what a person gives ----------------------------------------------------------------------

    def mark(
        self,
        student: str,
        assignment: str,
        grade_id: str,
        score: float | None,
        comment: str = "",
        by: str = "",
    ) -> None:
        """Keeps a person's score and comment for a column: an essay's, or in place of the tests'.

        It belongs to the text that the student has there now: if that changes, the mark stands no
        longer. The latest mark of a column counts as a whole, earlier ones stay; one without a
        score takes an earlier score back.

        Raises:
            W2SError: no such column or hand-in, or not 0 ≤ score ≤ points; nothing is kept then.
        """
        self.mark_all(assignment, [(student, grade_id, score, comment)], by)

    def mark_all(self, assignment: str, given: Given, by: str = "") -> int:
        """Keeps (student, grade id, score, comment) of many as `mark` does, all of them or none.

        Returns:
            How many differ from what was kept already.
        """
        with self._change() as db:
            sheet = self._sheet(db, assignment)
            return keep_marks(db, sheet, given, by, str(self.path))

    def marks(self, student: str, assignment: str) -> dict[str, Mark]:
        """Grade id → the latest mark of a student; also those that stand no longer."""
        return self.every_mark(assignment, student).get(student, {})

    def every_mark(self, assignment: str, student: str | None = None) -> dict[str, dict[str, Mark]]:
        """Student → `marks`, in one go; warns of each that is damaged and was not given again."""
        found: dict[str, dict[str, Mark]] = {}
        with self._look() as db:
            for _, one in read_marks(db, self._sheet(db, assignment), student):
                found.setdefault(one.student, {})[one.grade_id] = one
            lost = lost_marks(db, *database.where(assignment, student))
        for line in lost:
            warnings.warn(f"{self.path}: {line}", stacklevel=2)
        return found

    def mark_history(
        self, student: str, assignment: str, grade_id: str | None = None
    ) -> list[Mark]:
        """All marks of a student, of one column or of all, oldest first."""
        with self._look() as db:
            found = read_marks(db, self._sheet(db, assignment), student)
            return [one for _, one in found if grade_id in (None, one.grade_id)]

    # --- damage -----------------------------------------------------------------------------------

    def damaged(self) -> list[str]:
        """One line for each row whose checksum does not fit: what is lost, and what to do."""
        with self._look() as db:
            return lost_marks(db) + records.damaged(db)
