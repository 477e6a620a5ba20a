"""What was handed in, what grading it came to and what a person gave: kept in one SQLite file.

It grades nothing and knows no rules: `judge` makes verdicts, `policy` makes standings of them.
How SQLite survives a kill at any moment: sqlite.org, "Atomic Commit" and "Write-Ahead Logging".
"""

import hashlib
import math
import os
import sqlite3
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from w2s_lab.errors import W2SError
from w2s_lab.teach.grading.verdict import NEEDS_A_PERSON, REJECTED, Column, Item, Sheet, Verdict

APPLICATION, VERSION = 0x77327367, 1  # "w2sg", what `file` and SQLite call application_id
PATIENCE = 30.0  # seconds to wait for another process; a transaction here takes milliseconds
MAGIC = b"SQLite format 3\0"
LONGEST_NAME = 80  # characters of a student's name in a message
# All text is kept as bytes: a name that came from a folder may hold lone surrogates. `turn` orders
# rows; `at` is for information only, since clocks go backwards. `seal` is a row's own checksum.
SCHEMA = """
CREATE TABLE sheets (turn INTEGER PRIMARY KEY AUTOINCREMENT, name BLOB NOT NULL,
    grader BLOB NOT NULL, body BLOB NOT NULL, seal BLOB NOT NULL, UNIQUE (name, grader));
CREATE TABLE contents (sha BLOB PRIMARY KEY, packed BLOB NOT NULL);
CREATE TABLE hand_ins (turn INTEGER PRIMARY KEY AUTOINCREMENT, student BLOB NOT NULL,
    assignment BLOB NOT NULL, sha BLOB REFERENCES contents, reason BLOB NOT NULL,
    received BLOB NOT NULL, seal BLOB NOT NULL, at BLOB NOT NULL);
CREATE INDEX hand_ins_of ON hand_ins (assignment, student);
CREATE TABLE attempts (sha BLOB NOT NULL REFERENCES contents, grader BLOB NOT NULL,
    times INTEGER NOT NULL, PRIMARY KEY (sha, grader));
CREATE TABLE results (sha BLOB NOT NULL REFERENCES contents, grader BLOB NOT NULL,
    body BLOB NOT NULL, seal BLOB NOT NULL, at BLOB NOT NULL, PRIMARY KEY (sha, grader));
CREATE TABLE marks (turn INTEGER PRIMARY KEY AUTOINCREMENT, student BLOB NOT NULL,
    assignment BLOB NOT NULL, grade_id BLOB NOT NULL, score REAL, comment BLOB NOT NULL,
    given_by BLOB NOT NULL, sha BLOB NOT NULL, answer BLOB NOT NULL, seal BLOB NOT NULL,
    at BLOB NOT NULL);
CREATE INDEX marks_of ON marks (assignment, student)
"""
MARK = "student, assignment, grade_id, score, comment, given_by, sha, answer"
TROUBLES = {
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space and go on; nothing was lost"),
    sqlite3.SQLITE_BUSY: ("another program holds it", "close that one, or wait, and go on"),
    sqlite3.SQLITE_LOCKED: ("another program holds it", "close that one, or wait, and go on"),
    sqlite3.SQLITE_READONLY: ("cannot be written", "mend the rights of it and its folder"),
    sqlite3.SQLITE_PERM: ("cannot be opened", "mend the rights of it and its folder"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "mend the path or the rights of its folder"),
    sqlite3.SQLITE_IOERR: ("the disk reports an error", "see to the disk and go on"),
    sqlite3.SQLITE_NOTADB: ("is no gradebook", "name another file"),
    sqlite3.SQLITE_TOOBIG: ("what should be kept is too large", "hand in less than 1 GB"),
}
DAMAGED = "is damaged", "restore a copy, or save what is left: `sqlite3 FILE .recover`"


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


@dataclass(frozen=True)
class HandIn:
    """One hand-in; `sha` is "" where nothing could be read, and `reason` says why."""

    sha: str
    reason: str
    received: str


def same_text(text: str) -> str:
    """A text without what nobody sees: blanks at its ends and at the ends of its lines."""
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def answer(verdict: Verdict, column: Column) -> str | None:
    """What the student wrote for a column, an essay or a task's code; None if that is not known."""
    own = verdict.answers.get(column.grade_id)
    return own if own is not None or column.manual else verdict.answers.get(column.task)


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
        made = not os.path.lexists(self.path)
        if made and not create:
            raise W2SError("no such gradebook", where=str(path), mend="grade something first")
        try:
            if not made and not self.path.is_file():  # a FIFO would never answer
                raise W2SError("is no file", where=str(path), mend="name another file")
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            with self.path.open("rb") as file:
                start = file.read(len(MAGIC))
        except OSError as error:
            what = f"cannot be opened ({error.strerror})"
            raise W2SError(what, where=str(path), mend="mend the path or its rights") from None
        if start not in (b"", MAGIC):
            raise W2SError("is no gradebook", where=str(path), mend="name another file")
        with self._told():
            self._db = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)
        self._db.text_factory = bytes  # what is damaged need not be UTF-8
        try:
            self._open(create)
        except BaseException:
            self._db.close()
            raise

    def _open(self, create: bool) -> None:
        with self._told():
            kind, version, tables = self._kind()
            if (kind, version, tables) == (0, 0, 0) and create:
                self._db.execute("PRAGMA journal_mode = WAL")
                with self._change() as db:
                    if self._kind() == (0, 0, 0):  # no other process was quicker
                        for statement in SCHEMA.split(";"):
                            db.execute(statement)
                        db.execute(f"PRAGMA application_id = {APPLICATION}")
                        db.execute(f"PRAGMA user_version = {VERSION}")
                kind, version, tables = self._kind()
            if kind != APPLICATION:
                raise W2SError("is no gradebook", where=str(self.path), mend="name another file")
            if version != VERSION:
                what = f"is a gradebook of version {version}, and this program knows {VERSION}"
                raise W2SError(what, where=str(self.path), mend="use the w2s_lab that made it")
            if self._db.execute("PRAGMA quick_check(1)").fetchone()[0] != b"ok":
                raise W2SError(DAMAGED[0], where=str(self.path), mend=DAMAGED[1])
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")

    def _kind(self) -> tuple[int, ...]:
        asked = "PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master"
        return tuple(self._db.execute(one).fetchone()[0] for one in asked)

    def close(self) -> None:
        """Lets go of the file; a second time does nothing."""
        self._db.close()

    def __enter__(self) -> "Gradebook":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- transactions -----------------------------------------------------------------------------

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tells what SQLite objects to in one line; a misuse of sqlite3 is a bug and stays one."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", None)
            if code is None:
                raise
            what, mend = TROUBLES.get(code & 0xFF, (f"{DAMAGED[0]} ({error})", DAMAGED[1]))
            raise W2SError(what, where=str(self.path), mend=mend) from error

    @contextmanager
    def _within(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._told():
            try:
                self._db.execute(begin)
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk has rolled back already
                    self._db.execute("ROLLBACK")
                raise

    def _change(self) -> AbstractContextManager[sqlite3.Connection]:
        return self._within("BEGIN IMMEDIATE")

    def _look(self) -> AbstractContextManager[sqlite3.Connection]:
        return self._within("BEGIN")  # all that is read in it is from one moment

    # --- assignments ------------------------------------------------------------------------------

    def add_sheet(self, sheet: Sheet) -> None:
        """Keeps a sheet; the one added last for a name is its current one."""
        body = sheet.to_json().encode()
        with self._change() as db:
            known = self._sheets(db, sheet.name)
            if known and known[-1] == sheet:
                return
            name, grader = _bytes(sheet.name), _bytes(sheet.grader)
            db.execute("DELETE FROM sheets WHERE name = ? AND grader = ?", (name, grader))
            row = name, grader, body
            _insert(db, "sheets", "name, grader, body", row)

    def assignments(self) -> list[str]:
        """The names of all assignments, sorted."""
        with self._look() as db:
            return sorted({sheet.name for sheet in self._sheets(db)})

    def graders(self, assignment: str) -> list[str]:
        """The graders of an assignment, in the order in which they became current."""
        with self._look() as db:
            return [sheet.grader for sheet in self._sheets(db, assignment)]

    def sheet(self, name: str | None = None, grader: str | None = None) -> Sheet:
        """The current sheet of an assignment, or the one with a given grader.

        Raises:
            W2SError: no such sheet, or no name where there are several; names those there are.
        """
        with self._look() as db:
            return self._sheet(db, name, grader)

    def _sheet(self, db: sqlite3.Connection, name: str | None, grader: str | None = None) -> Sheet:
        known = self._sheets(db)
        names = sorted({sheet.name for sheet in known})
        listed = ", ".join(map(shown, names)) or "none"
        if name is None and len(names) != 1:
            what = f"has {len(names)} assignments"
            raise W2SError(what, where=str(self.path), mend=f"name one of: {listed}")
        named = [sheet for sheet in known if name in (None, sheet.name)]
        if not named:
            what = f"has no assignment {shown(name or '')}"
            raise W2SError(what, where=str(self.path), mend=f"name one of: {listed}")
        found = [sheet for sheet in named if grader in (None, sheet.grader)]
        if not found:
            graders = ", ".join(shown(sheet.grader) for sheet in named)
            what = f"{shown(named[0].name)} was never graded by {shown(grader or '')}"
            raise W2SError(what, where=str(self.path), mend=f"name one of: {graders}")
        return found[-1]

    def _sheets(self, db: sqlite3.Connection, name: str | None = None) -> list[Sheet]:
        asked, values = ("", ()) if name is None else ("WHERE name = ?", (_bytes(name),))
        rows = db.execute(
            f"SELECT name, grader, body, seal FROM sheets {asked} ORDER BY turn", values
        )
        return [Sheet.from_json(row[2].decode()) for row in rows if _sound(row)]

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
            kept = db.execute(
                "SELECT packed FROM contents WHERE sha = ?", (_bytes(sha),)
            ).fetchone()
            if not kept:
                row = _bytes(sha), zlib.compress(raw)
                db.execute("INSERT INTO contents (sha, packed) VALUES (?, ?)", row)
            elif _unpacked(sha, kept[0]) is None:
                row = zlib.compress(raw), _bytes(sha)
                db.execute("UPDATE contents SET packed = ? WHERE sha = ?", row)
            self._add(db, student, assignment, HandIn(sha, "", received))
        return sha

    def refuse(self, student: str, assignment: str, reason: str, received: str = "") -> None:
        """Keeps that what a student handed in is no readable file; its verdict is `REJECTED`."""
        with self._change() as db:
            self._add(db, student, assignment, HandIn("", reason, received))

    def _add(self, db: sqlite3.Connection, student: str, assignment: str, one: HandIn) -> None:
        known = self._hand_ins(db, assignment, student).get(student, [])
        if known and (known[-1].sha, known[-1].reason) == (one.sha, one.reason):
            return
        if one.received and one in known:
            return
        sha = _bytes(one.sha) if one.sha else None
        row = _bytes(student), _bytes(assignment), sha, _bytes(one.reason), _bytes(one.received)
        _insert(db, "hand_ins", "student, assignment, sha, reason, received", row, at=True)

    def _hand_ins(
        self, db: sqlite3.Connection, assignment: str, student: str | None = None
    ) -> dict[str, list[HandIn]]:
        """Students, sorted, and what they handed in, the latest last."""
        asked = "SELECT student, assignment, sha, reason, received, seal FROM hand_ins"
        where, values = _where(assignment, student)
        found: dict[str, list[HandIn]] = {}
        for row in db.execute(f"{asked} {where} ORDER BY turn", values):
            if _sound(row):
                one = HandIn(_text(row[2] or b""), _text(row[3]), _text(row[4]))
                found.setdefault(_text(row[0]), []).append(one)
        return dict(sorted(found.items()))

    def handed_in(self, assignment: str) -> dict[str, tuple[str, str]]:
        """Student → (sha256 or "", when it was received) of the latest hand-in; sorted."""
        with self._look() as db:
            found = self._hand_ins(db, assignment)
        return {student: (theirs[-1].sha, theirs[-1].received) for student, theirs in found.items()}

    def submission(self, sha: str) -> bytes:
        """The bytes that were handed in, checked against their hash.

        Raises:
            W2SError: there are none, or they are damaged; says whose they are.
        """
        with self._look() as db:
            row = db.execute("SELECT packed FROM contents WHERE sha = ?", (_bytes(sha),)).fetchone()
            raw = _unpacked(sha, row[0]) if row else None
            if raw is None:
                state = "damaged" if row else "not there"
                what = f"the submission of {self._whose(db, sha)} is {state}"
                raise W2SError(what, where=str(self.path), mend="hand it in again")
        return raw

    def _whose(self, db: sqlite3.Connection, sha: str) -> str:
        rows = db.execute("SELECT DISTINCT student FROM hand_ins WHERE sha = ?", (_bytes(sha),))
        return ", ".join(shown(_text(row[0])) for row in rows.fetchmany(5)) or shown(sha)

    # --- grading ----------------------------------------------------------------------------------

    def pending(self, sheet: Sheet) -> list[tuple[str, str, int]]:
        """(student, sha256, attempts so far) of what has no sound result by this grader yet.

        Each content once, under the first of the students who handed it in. Fewest attempts first,
        so that what fails cannot hold up the rest; then by student. A damaged content is left out,
        since nothing can grade it: `damaged` tells of it.
        """
        with self._look() as db:
            done = self._results(db, sheet.grader)
            tried = dict(
                db.execute(
                    "SELECT sha, times FROM attempts WHERE grader = ?", (_bytes(sheet.grader),)
                )
            )
            waiting: dict[str, str] = {}
            for student, theirs in self._hand_ins(db, sheet.name).items():
                if theirs[-1].sha and theirs[-1].sha not in done:
                    waiting.setdefault(theirs[-1].sha, student)
            packed = "SELECT packed FROM contents WHERE sha = ?"
            found = []
            for sha, student in waiting.items():
                row = db.execute(packed, (_bytes(sha),)).fetchone()
                if row and _unpacked(sha, row[0]) is not None:
                    found.append((student, sha, tried.get(_bytes(sha), 0)))
        return sorted(found, key=lambda one: (one[2], one[0]))

    def begin(self, sha: str, grader: str) -> int:
        """Counts an attempt, before it starts; returns how many there are with this one."""
        key = _bytes(sha), _bytes(grader)
        with self._change() as db:
            self._must_hold(db, sha)
            again = "ON CONFLICT (sha, grader) DO UPDATE SET times = times + 1"
            db.execute(f"INSERT INTO attempts VALUES (?, ?, 1) {again}", key)
            asked = "SELECT times FROM attempts WHERE sha = ? AND grader = ?"
            return db.execute(asked, key).fetchone()[0]

    def save(self, sha: str, grader: str, verdict: Verdict) -> None:
        """Keeps what grading a content came to; where a sound result is kept, that one stays."""
        row = _bytes(sha), _bytes(grader), verdict.to_json().encode()
        asked = "FROM results WHERE sha = ? AND grader = ?"
        with self._change() as db:
            self._must_hold(db, sha)
            kept = db.execute(f"SELECT sha, grader, body, seal {asked}", row[:2]).fetchone()
            if kept and _verdict(kept):
                return
            db.execute(f"DELETE {asked}", row[:2])
            _insert(db, "results", "sha, grader, body", row, at=True)

    def reopen(self, sheet: Sheet) -> int:
        """Lets the contents that `NEEDS_A_PERSON` be graded again, as at first; how many."""
        with self._change() as db:
            failed = [
                (_bytes(sha), _bytes(sheet.grader))
                for sha, verdict in self._results(db, sheet.grader).items()
                if verdict.status == NEEDS_A_PERSON
            ]
            for table in ("results", "attempts"):
                db.executemany(f"DELETE FROM {table} WHERE sha = ? AND grader = ?", failed)
        return len(failed)

    def _must_hold(self, db: sqlite3.Connection, sha: str) -> None:
        if not db.execute("SELECT 1 FROM contents WHERE sha = ?", (_bytes(sha),)).fetchone():
            what = f"there is no submission {shown(sha)}"
            raise W2SError(what, where=str(self.path), mend="hand it in first")

    def _results(
        self, db: sqlite3.Connection, grader: str, sha: str | None = None
    ) -> dict[str, Verdict]:
        """sha256 → sound result of a grader."""
        asked = "SELECT sha, grader, body, seal FROM results WHERE grader = ?"
        values = (_bytes(grader),) if sha is None else (_bytes(grader), _bytes(sha))
        rows = db.execute(asked + " AND sha = ?" * (sha is not None), values)
        return {_text(row[0]): found for row in rows if (found := _verdict(row))}

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
            return self._graded(db, self._sheet(db, assignment, grader), student)

    def _graded(
        self, db: sqlite3.Connection, sheet: Sheet, student: str | None = None
    ) -> dict[str, Verdict]:
        latest = {
            who: theirs[-1] for who, theirs in self._hand_ins(db, sheet.name, student).items()
        }
        one = latest[student].sha if student in latest else None
        results = self._results(db, sheet.grader, one)
        told = {who: results.get(one.sha) or _rejected(sheet, one) for who, one in latest.items()}
        return {who: verdict for who, verdict in told.items() if verdict}

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

    def mark_all(
        self,
        assignment: str,
        given: Iterable[tuple[str, str, float | None, str]],
        by: str = "",
    ) -> int:
        """Keeps (student, grade id, score, comment) of many as `mark` does, all of them or none.

        Returns:
            How many differ from what was kept already.
        """
        fresh = 0
        with self._change() as db:
            sheet = self._sheet(db, assignment)
            columns = {column.grade_id: column for column in sheet.columns}
            latest = self._hand_ins(db, assignment)
            told = self._graded(db, sheet)
            kept = {(one.student, one.grade_id): row for row, one in self._marks(db, sheet)}
            for student, grade_id, score, comment in given:
                score = _checked(score, grade_id, columns, str(self.path))
                if student not in latest:
                    what = f"{shown(student)} has handed nothing in for {shown(assignment)}"
                    raise W2SError(what, where=str(self.path), mend="mend the name")
                names = _bytes(student), _bytes(assignment), _bytes(grade_id)
                words = _bytes(comment), _bytes(by)
                text = _print(told.get(student), columns[grade_id])
                row = *names, score, *words, _bytes(latest[student][-1].sha), text
                if kept.get((student, grade_id)) != row:
                    _insert(db, "marks", MARK, row, at=True)
                    kept[student, grade_id] = row
                    fresh += 1
        return fresh

    def marks(self, student: str, assignment: str) -> dict[str, Mark]:
        """Grade id → the latest mark of a student; also those that stand no longer."""
        return self.every_mark(assignment, student).get(student, {})

    def every_mark(self, assignment: str, student: str | None = None) -> dict[str, dict[str, Mark]]:
        """Student → `marks`, in one go; warns of each that is damaged and was not given again."""
        found: dict[str, dict[str, Mark]] = {}
        with self._look() as db:
            for _, one in self._marks(db, self._sheet(db, assignment), student):
                found.setdefault(one.student, {})[one.grade_id] = one
            lost = self._lost_marks(db, *_where(assignment, student))
        for line in lost:
            warnings.warn(f"{self.path}: {line}", stacklevel=2)
        return found

    def mark_history(
        self, student: str, assignment: str, grade_id: str | None = None
    ) -> list[Mark]:
        """All marks of a student, of one column or of all, oldest first."""
        with self._look() as db:
            rows = self._marks(db, self._sheet(db, assignment), student)
            return [one for _, one in rows if grade_id in (None, one.grade_id)]

    def _marks(
        self, db: sqlite3.Connection, sheet: Sheet, student: str | None = None
    ) -> Iterator[tuple[tuple, Mark]]:
        """Each sound row of marks and what it says, oldest first."""
        columns = {column.grade_id: column for column in sheet.columns}
        latest = self._hand_ins(db, sheet.name, student)
        told = self._graded(db, sheet, student)
        where, values = _where(sheet.name, student)
        for row in db.execute(f"SELECT {MARK}, seal, at FROM marks {where} ORDER BY turn", values):
            if not _sound(row[:-1]):
                continue
            who, grade_id, sha, text = _text(row[0]), _text(row[2]), _text(row[6]), row[7]
            now = _print(told.get(who), columns[grade_id]) if grade_id in columns else b""
            same = who in latest and (latest[who][-1].sha == sha or bool(text) and text == now)
            comment, by, at = _text(row[4]), _text(row[5]), _text(row[9])
            yield row[:8], Mark(who, grade_id, row[3], comment, by, same, at)

    # --- damage -----------------------------------------------------------------------------------

    def damaged(self) -> list[str]:
        """One line for each row whose checksum does not fit: what is lost, and what to do."""
        with self._look() as db:
            lines = self._lost_marks(db)
            for sha, packed in db.execute("SELECT sha, packed FROM contents"):
                name = _text(sha)
                if _unpacked(name, packed) is None:
                    lines.append(f"the submission of {self._whose(db, name)}: hand it in again")
            for row in db.execute("SELECT sha, grader, body, seal FROM results"):
                if _verdict(row) is None:
                    lines.append(f"the result of {self._whose(db, _text(row[0]))}: grade it again")
            asked = "SELECT student, assignment, sha, reason, received, seal FROM hand_ins"
            for (student, assignment), _ in _lost(db.execute(f"{asked} ORDER BY turn"), 2):
                lines.append(f"a hand-in of {student} for {assignment}: hand it in again")
            rows = db.execute("SELECT name, grader, body, seal FROM sheets")
            for (name, _), _ in _lost(rows, 2):
                lines.append(f"a sheet of {name}: grade once more")
        return lines

    def _lost_marks(self, db: sqlite3.Connection, where: str = "", values=()) -> list[str]:
        rows = db.execute(f"SELECT {MARK}, seal FROM marks {where} ORDER BY turn", values)
        return [
            f"the mark of {student} for {grade_id} in {assignment} is damaged"
            f" (it reads {row[3]!r:.20}): give it again"
            for (student, assignment, grade_id), row in _lost(rows, 3)
        ]


def shown(text: str) -> str:
    """A name for a message: quoted, in printable characters, not too long."""
    return repr(text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}…")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(value: object) -> str:
    """The inverse of `_bytes`; what is damaged gives something to show."""
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return value.decode("utf-8", "replace")


def _seal(values: Iterable[object]) -> bytes:
    return hashlib.sha256(repr(tuple(values)).encode()).digest()


def _sound(row: tuple) -> bool:
    return row[-1] == _seal(row[:-1])


def _insert(db: sqlite3.Connection, table: str, names: str, row: tuple, at: bool = False) -> None:
    """Adds a row with its seal, and with the clock's time where asked for."""
    values = [*row, _seal(row)] + [_bytes(datetime.now(UTC).isoformat(timespec="seconds"))] * at
    names += ", seal" + ", at" * at
    places = ", ".join("?" * len(values))
    db.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", values)


def _where(assignment: str, student: str | None) -> tuple[str, tuple[bytes, ...]]:
    if student is None:
        return "WHERE assignment = ?", (_bytes(assignment),)
    return "WHERE assignment = ? AND student = ?", (_bytes(assignment), _bytes(student))


def _lost(rows: Iterable[tuple], names: int) -> Iterator[tuple[list[str], tuple]]:
    """Damaged rows that no later sound row of the same names replaces; names fit for a message."""
    found: dict[tuple, tuple] = {}
    for row in rows:
        if _sound(row):
            found.pop(row[:names], None)
        else:
            found[row[:names]] = row
    return (([shown(_text(name)) for name in key], row) for key, row in found.items())


def _unpacked(sha: str, packed: object) -> bytes | None:
    """The bytes of a content; None where they do not match their hash."""
    try:
        raw = zlib.decompress(packed)  # type: ignore[arg-type]
    except (zlib.error, TypeError):
        return None
    return raw if hashlib.sha256(raw).hexdigest() == sha else None


def _verdict(row: tuple) -> Verdict | None:
    """The verdict in (sha, grader, body, seal); None where it is damaged."""
    try:
        return Verdict.from_json(row[2].decode()) if _sound(row) else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _rejected(sheet: Sheet, one: HandIn) -> Verdict | None:
    """The verdict on what could not be read; None where there is something to grade."""
    if one.sha:
        return None
    items = (Item(each.grade_id, 0, each.points, manual=each.manual) for each in sheet.columns)
    return Verdict(REJECTED, tuple(items), notes=(one.reason,), isolation="")


def _print(verdict: Verdict | None, column: Column) -> bytes:
    """What tells two texts of an answer apart; empty where the text is not known."""
    text = answer(verdict, column) if verdict else None
    return b"" if text is None else hashlib.sha256(_bytes(same_text(text))).digest()


def _checked(
    score: float | None, grade_id: str, columns: Mapping[str, Column], where: str
) -> float | None:
    """A score that the column can have, as a float; W2SError if it cannot."""
    if grade_id not in columns:
        mend = f"name one of: {', '.join(columns) or 'none'}"
        raise W2SError(f"there is no column {shown(grade_id)}", where=where, mend=mend)
    if score is None:
        return None
    most = columns[grade_id].points
    if isinstance(score, bool) or not math.isfinite(score) or not 0 <= score <= most:
        what = f"{score!r} is no score for {shown(grade_id)}"
        raise W2SError(what, where=where, mend=f"give 0 to {most:g}")
    return float(score) + 0.0  # −0.0 would come back as 0.0, and its seal would not fit
