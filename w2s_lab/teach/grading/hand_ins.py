"""Which hand-ins there are, and their bytes.

It looks into none of them. All of it is hostile: no link is followed, nothing can block, and what
cannot be read is refused in a sentence that the student can act on.
Source: nbgrader docs, "Philosophy" (the folders); open(2), path_resolution(7).
"""

import math
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from w2s_lab.errors import W2SError
from w2s_lab.teach.grading.plain import plain

ENDING, TREE, STAMP = ".ipynb", "submitted", "timestamp.txt"  # nbgrader's names
MOST_BYTES = 20_000_000  # of a file; without outputs a notebook has some 100 kB
REASON = 200  # characters
NOFOLLOW, NONBLOCK, CLOEXEC, DIRECTORY, BINARY = (
    getattr(os, f"O_{name}", 0)  # Windows has the last alone, others all but the last
    for name in ("NOFOLLOW", "NONBLOCK", "CLOEXEC", "DIRECTORY", "BINARY")
)
LINK = "is a symbolic link: hand in the notebook itself"
CLEAR = "clear its outputs (Kernel, Restart and clear output) and hand it in again"


class Refused(Exception):
    """A hand-in that is not graded.

    Attributes:
        reason: goes on from "Your notebook ..."; says what to do. Plain text, ≤ 200 characters.
    """

    def __init__(self, reason: str):
        self.reason = plain(reason, REASON)
        super().__init__(self.reason)


@dataclass(frozen=True)
class HandIn:
    """One student's hand-in, not opened yet.

    Attributes:
        student: the file's stem or the folder's name; may hold anything that a file name can.
        path: the notebook; or what stands in its way, which `read_bytes` refuses.
        received: ISO 8601 in UTC, "" if unknown.
    """

    student: str
    path: Path
    received: str


# --- which files there are ------------------------------------------------------------------------


def found(folder: str | Path, assignment: str) -> list[HandIn]:
    """The hand-ins of an assignment, sorted by student; nothing is opened and no link followed.

    Args:
        folder: holds `STUDENT.ipynb`, `STUDENT/NOTEBOOK.ipynb` or nbgrader's
            `STUDENT/ASSIGNMENT/NOTEBOOK.ipynb`; or is a course folder, which holds these in
            `submitted/`. Other files are left alone.
        assignment: as `07_tiny`. NOTEBOOK has this name, or is the only notebook there. Where there
            are several and none has the name, the one that is missing is listed, so that the
            student is told.

    Raises:
        W2SError: no such folder, no hand-in in it, two of one student.
    """
    root = Path(folder)
    if (root / TREE).is_symlink():
        mend = "name the folder that it leads to"
        raise W2SError("is a symbolic link", where=str(root / TREE), mend=mend)
    if (root / TREE).is_dir():
        root = root / TREE
    elif (root / "nbgrader_config.py").is_file():  # source/ and release/ are no students
        what = f"is a course folder without `{TREE}`"
        raise W2SError(what, where=str(root), mend=f"put the hand-ins into its `{TREE}`")
    try:
        entries = _entries(root)
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        raise W2SError(what, where=str(root), mend="name the folder of the hand-ins") from None
    hand_ins: dict[str, HandIn] = {}
    for entry in entries:
        for one in _hand_in(entry, assignment):
            if one.student in hand_ins:
                what = f"{one.student!r} has two hand-ins, the other is {entry.name!r}"
                where = str(hand_ins[one.student].path)
                raise W2SError(what, where=where, mend="move one of them away")
            hand_ins[one.student] = one
    if not hand_ins:
        mend = f"put STUDENT{ENDING} or STUDENT/{assignment}/{assignment}{ENDING} there"
        raise W2SError("holds no hand-ins", where=str(root), mend=mend)
    return [hand_ins[student] for student in sorted(hand_ins)]


def _entries(folder: Path) -> list[os.DirEntry]:
    with os.scandir(folder) as entries:
        shown = [entry for entry in entries if not entry.name.startswith(".")]
    return sorted(shown, key=lambda entry: entry.name)


def _hand_in(entry: os.DirEntry, assignment: str) -> Iterator[HandIn]:
    path = Path(entry.path)
    if _is_notebook(entry.name):
        yield HandIn(entry.name[: -len(ENDING)], path, _modified(path))
    elif entry.is_symlink():
        yield HandIn(entry.name, path, _modified(path))
    elif entry.is_dir(follow_symlinks=False):
        notebook = _notebook(path, assignment)
        if notebook:
            received = _stamped(notebook.parent, path) or _modified(notebook)
            yield HandIn(entry.name, notebook, received)


def _notebook(folder: Path, assignment: str) -> Path | None:
    """A student's notebook, or what should be one; None if nothing was handed in."""
    own = folder / assignment
    if own.is_symlink() or own.is_file():
        return own
    inside = own if own.is_dir() else folder
    expected = inside / f"{assignment}{ENDING}"
    try:
        names = [entry.name for entry in _entries(inside) if _is_notebook(entry.name)]
    except OSError:
        return expected  # reading it says why
    if expected.name not in names and len(names) == 1:
        return inside / names[0]
    return expected if names or inside == own else None


def _is_notebook(name: str) -> bool:
    return name.lower().endswith(ENDING)


def _modified(path: Path) -> str:
    try:
        return datetime.fromtimestamp(path.lstat().st_mtime, UTC).isoformat(timespec="seconds")
    except (OSError, OverflowError, ValueError):
        return ""


def _stamped(folder: Path, below: Path) -> str:
    """nbgrader's time of a hand-in, "" where there is none that can be true."""
    try:
        told = read_bytes(folder / STAMP, below=below, most=100).decode().strip()
        time = datetime.fromisoformat(re.sub(r" UTC$", "+00:00", told))
        time = (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (Refused, ValueError, OverflowError):
        return ""
    if time.year < 2000 or time > datetime.now(UTC) + timedelta(days=1):
        return ""
    return time.isoformat(timespec="seconds")


# --- the bytes ------------------------------------------------------------------------------------


def read_bytes(
    path: str | Path, *, below: str | Path | None = None, most: int = MOST_BYTES
) -> bytes:
    """What a regular file holds; nothing else is ever opened for long or waited for.

    Args:
        below: a folder that is trusted, as that of all hand-ins; nothing between it and the file
            may be a link. Default: the file's own folder.
        most: bytes.

    Raises:
        Refused: no such file, a link, no regular file, more than one name, more than `most` bytes.
        ValueError: `path` is not below `below`.
    """
    path = Path(path)
    below = path.parent if below is None else Path(below)
    parts = path.relative_to(below).parts
    if not parts or ".." in parts:
        raise ValueError(f"{path} is not below {below}")
    try:
        file = _open(below, parts)
        with open(file, "rb", buffering=0) as stream:
            return _content(stream, most)
    except FileNotFoundError:
        raise Refused(f"is not there: hand it in under the name {parts[-1][:99]}") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "its name"
        raise Refused(f"cannot be read where it is graded ({why}): tell your teacher") from None


def _open(below: Path, parts: tuple[str, ...]) -> int:
    """A file descriptor of the last part, reached step by step.

    Each step starts from a folder that is open already, so nobody can put a link into a path that
    has been looked at. Windows cannot do so; there the parts are only looked at.
    """
    flags = os.O_RDONLY | NOFOLLOW | CLOEXEC | BINARY
    if os.open not in os.supports_dir_fd:
        for end in range(1, len(parts) + 1):
            _look(below.joinpath(*parts[:end]).lstat(), last=end == len(parts))
        return os.open(below.joinpath(*parts), flags)
    here = os.open(below, os.O_RDONLY | DIRECTORY | CLOEXEC)
    for place, part in enumerate(parts, start=1):
        last = place == len(parts)
        try:
            _look(os.stat(part, dir_fd=here, follow_symlinks=False), last=last)
            there = os.open(part, flags | (NONBLOCK if last else DIRECTORY), dir_fd=here)
        finally:
            os.close(here)
        here = there
    return here


def _look(about: os.stat_result, *, last: bool) -> None:
    """Refuses what is not a file, or on the way to it not a folder."""
    mode = about.st_mode
    junction = getattr(about, "st_reparse_tag", 0) == 0xA0000003  # a link of Windows, to a folder
    if stat.S_ISLNK(mode) or junction:
        raise Refused(LINK)
    if not last and not stat.S_ISDIR(mode):
        raise Refused("lies in something that is not a folder: hand in the notebook itself")
    if last and stat.S_ISDIR(mode):
        raise Refused("is a folder: hand in the notebook itself")
    if last and not stat.S_ISREG(mode):
        raise Refused("is not a file but a device or a pipe: hand in the notebook itself")
    if last and about.st_nlink > 1:  # perhaps somebody else's file under another name
        raise Refused("has more than one name on disk (a hard link): hand in a copy of it")


def _content(stream: Any, most: int) -> bytes:
    about = os.fstat(stream.fileno())
    _look(about, last=True)
    content = bytearray()
    while len(content) <= most and (chunk := stream.read(min(1 << 20, most + 1 - len(content)))):
        content += chunk
    size = max(about.st_size, len(content))
    if size > most:
        told = f"{math.ceil(size / 1e5) / 10:,.10g} MB; the limit is {most / 1e6:g} MB"
        raise Refused(f"is {told}: {CLEAR}")
    return bytes(content)
