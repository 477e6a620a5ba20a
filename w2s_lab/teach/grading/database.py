"""The gradebook's file: its tables, how it is opened, transactions, and checksums of rows.

It knows no rules and no grades. How SQLite survives a kill at any moment: sqlite.org, "Atomic
Commit" and "Write-Ahead Logging".
"""

import hashlib
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from w2s_lab.errors import W2SError
from w2s_lab.teach.grading.plain import quoted

APPLICATION, VERSION = 0x77327367, 1  # "w2sg", what `file` and SQLite call application_id
PATIENCE = 30.0  # seconds to wait for another process; a transaction here takes milliseconds
MAGIC = b"SQLite format 3\0"
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

CHANGE, LOOK = "BEGIN IMMEDIATE", "BEGIN"


def open_file(path: Path, *, create: bool) -> sqlite3.Connection:
    """A connection to a gradebook, made where there is none and `create` is set.

    Its own transactions are off: what is done with it goes through `transaction`.

    Raises:
        W2SError: no file, or one that is no gradebook, is damaged, of another version, in the way.
    """
    made = not os.path.lexists(path)
    if made and not create:
        raise W2SError("no such gradebook", where=str(path), mend="grade something first")
    try:
        if not made and not path.is_file():  # a FIFO would never answer
            raise W2SError("is no file", where=str(path), mend="name another file")
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        with path.open("rb") as file:
            start = file.read(len(MAGIC))
    except OSError as error:
        what = f"cannot be opened ({error.strerror})"
        raise W2SError(what, where=str(path), mend="mend the path or its rights") from None
    if start not in (b"", MAGIC):
        raise W2SError("is no gradebook", where=str(path), mend="name another file")
    with _told(path):
        db = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
    db.text_factory = bytes  # what is damaged need not be UTF-8
    try:
        with _told(path):
            _prepare(db, path, create)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path, create: bool) -> None:
    kind, version, tables = _kind(db)
    if (kind, version, tables) == (0, 0, 0) and create:
        db.execute("PRAGMA journal_mode = WAL")
        with transaction(db, path, CHANGE):
            if _kind(db) == (0, 0, 0):  # no other process was quicker
                for statement in SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {APPLICATION}")
                db.execute(f"PRAGMA user_version = {VERSION}")
        kind, version, tables = _kind(db)
    if kind != APPLICATION:
        raise W2SError("is no gradebook", where=str(path), mend="name another file")
    if version != VERSION:
        what = f"is a gradebook of version {version}, and this program knows {VERSION}"
        raise W2SError(what, where=str(path), mend="use the w2s_lab that made it")
    if db.execute("PRAGMA quick_check(1)").fetchone()[0] != b"ok":
        raise W2SError(DAMAGED[0], where=str(path), mend=DAMAGED[1])
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA foreign_keys = ON")


def _kind(db: sqlite3.Connection) -> tuple[int, ...]:
    asked = "PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master"
    return tuple(db.execute(one).fetchone()[0] for one in asked)


@contextmanager
def transaction(db: sqlite3.Connection, path: Path, begin: str) -> Iterator[sqlite3.Connection]:
    """All that is done within happens, or none of it; all that is read is from one moment.

    Args:
        begin: `CHANGE` or `LOOK`.

    Raises:
        W2SError: a full disk, a lock, damage.
    """
    with _told(path):
        try:
            db.execute(begin)
            yield db
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:  # a full disk has rolled back already
                db.execute("ROLLBACK")
            raise


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tells what SQLite objects to in one line; a misuse of sqlite3 is a bug and stays one."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is None:
            raise
        what, mend = TROUBLES.get(code & 0xFF, (f"{DAMAGED[0]} ({error})", DAMAGED[1]))
        raise W2SError(what, where=str(path), mend=mend) from error


# --- rows -----------------------------------------------------------------------------------------


def to_bytes(text: str) -> bytes:
    """A text as it is kept."""
    return text.encode("utf-8", "surrogatepass")


def to_text(value: object) -> str:
    """The inverse of `to_bytes`; what is damaged gives something to show."""
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return value.decode("utf-8", "replace")


def insert(db: sqlite3.Connection, table: str, names: str, row: tuple, at: bool = False) -> None:
    """Adds a row with its seal, and with the clock's time where asked for."""
    values = [*row, _seal(row)] + [to_bytes(datetime.now(UTC).isoformat(timespec="seconds"))] * at
    names += ", seal" + ", at" * at
    places = ", ".join("?" * len(values))
    db.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", values)


def is_sound(row: tuple) -> bool:
    """Whether a row is what was kept; its seal comes last."""
    return row[-1] == _seal(row[:-1])


def _seal(values: Iterable[object]) -> bytes:
    return hashlib.sha256(repr(tuple(values)).encode()).digest()


def lost(rows: Iterable[tuple], names: int) -> Iterator[tuple[list[str], tuple]]:
    """Damaged rows that no later sound row of the same names replaces; names fit for a message."""
    found: dict[tuple, tuple] = {}
    for row in rows:
        if is_sound(row):
            found.pop(row[:names], None)
        else:
            found[row[:names]] = row
    return (([quoted(to_text(name)) for name in key], row) for key, row in found.items())


def where(assignment: str, student: str | None) -> tuple[str, tuple[bytes, ...]]:
    """(SQL, its values) for the rows of an assignment, or of one student in it."""
    if student is None:
        return "WHERE assignment = ?", (to_bytes(assignment),)
    return "WHERE assignment = ? AND student = ?", (to_bytes(assignment), to_bytes(student))


def unpacked(sha: str, packed: object) -> bytes | None:
    """The bytes of a content; None where they do not match their hash."""
    try:
        raw = zlib.decompress(packed)  # type: ignore[arg-type]
    except (zlib.error, TypeError):
        return None
    return raw if hashlib.sha256(raw).hexdigest() == sha else None
