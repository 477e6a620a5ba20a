"""What is read of a hand-in: which files there are, their bytes, and of these the cells' sources.

It runs and grades nothing. All of it is hostile: no link is followed, nothing can block, and what
cannot be read is refused in a sentence that the student can act on.
Source: nbformat docs, "The Notebook file format"; nbgrader docs, "Philosophy" (the folders).
"""

import json
import math
import os
import re
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from w2s_lab.errors import W2SError

ENDING, TREE, STAMP = ".ipynb", "submitted", "timestamp.txt"  # nbgrader's names
MOST_BYTES = 20_000_000  # of a file; without outputs a notebook has some 100 kB
MOST_CELLS, MOST_CHARACTERS = 2_000, 1_000_000  # characters of one cell
MOST_PARTS = 1_000_000  # brackets in a file: 20 MB of `[],` would become 500 MB of lists
MOST_NOTES, NOTE_LENGTH, NAME_LENGTH = 20, 200, 60
PYTHON = ("python", "python3", "ipython")
NOFOLLOW, NONBLOCK, CLOEXEC, DIRECTORY, BINARY = (
    getattr(os, f"O_{name}", 0)  # Windows has the last alone, others all but the last
    for name in ("NOFOLLOW", "NONBLOCK", "CLOEXEC", "DIRECTORY", "BINARY")
)
LINK = "is a symbolic link: hand in the notebook itself"
SAVE_AGAIN = "open it in Jupyter, save it and hand it in again"
CLEAR = "clear its outputs (Kernel, Restart and clear output) and hand it in again"
# notes, each after the numbers of cells
LEFT_OUT = f"left out, no code or Markdown of at most {MOST_CHARACTERS:,} characters."
REPLACED = "characters that are none were replaced by \ufffd."
LOST = "the grade id was lost, and taken from the cell's own id."
IGNORED = "a grade id that this assignment does not know was ignored."


class Refused(Exception):
    """A hand-in that is not graded.

    Attributes:
        reason: goes on from "Your notebook ..."; says what to do. Plain text, ≤ 200 characters.
    """

    def __init__(self, reason: str):
        self.reason = plain(reason)
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


@dataclass(frozen=True)
class Cell:
    """What counts of one cell.

    Attributes:
        grade_id: None where it has none that the assignment knows; no two cells have the same.
        source: valid Unicode without NUL, at most 1,000,000 characters.
    """

    grade_id: str | None
    kind: Literal["code", "markdown"]
    source: str


@dataclass(frozen=True)
class Submission:
    """The cells of a notebook in their order, and what the student should know about the reading.

    Attributes:
        notes: at most 20 lines of plain text, each ≤ 200 characters.
    """

    cells: tuple[Cell, ...]
    notes: tuple[str, ...] = ()


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


# --- the cells ------------------------------------------------------------------------------------


def read_cells(raw: bytes, known: Collection[str] = (), assignment: str = "") -> Submission:
    """The cells of a notebook, format 3 or 4; of each only its type, id, source and grade id.

    A cell that cannot be read is left out with a note. Where cells share a grade id, the last one
    that is not blank has it, as the last definition holds in a kernel; the others stay as ordinary
    cells, so that code which was split or tried above still runs.

    Args:
        raw: the file. Reading it takes at most about 20 times its size in memory.
        known: the assignment's grade ids; others are taken away. Default: any is kept.
        assignment: a cell whose own id is `ASSIGNMENT-GRADE_ID` has this grade id, where an editor
            has lost nbgrader's metadata.

    Raises:
        Refused: no notebook, another format or language, too large.
    """
    try:
        notebook = _parsed(raw)
        cells = _listed(notebook)
        _check_language(notebook.get("metadata"))
        about = defaultdict(list)  # a note → the numbers of the cells that it is about
        read = []
        for number, cell in enumerate(cells, start=1):
            told = _source(cell)
            if told is None:
                about[LEFT_OUT].append(number)
                continue
            source = _repaired(told)
            if source != told:
                about[REPLACED].append(number)
            grade_id, odd = _grade_id(cell, known, assignment)
            if odd:
                about[odd].append(number)
            read.append(Cell(grade_id, cell["cell_type"], source))
        kept, notes = _each_once(read)
    except MemoryError:
        raise Refused(f"needs too much memory: {CLEAR}") from None
    notes = [f"{_numbered(numbers)}: {words}" for words, numbers in about.items()] + notes
    if len(notes) > MOST_NOTES:
        more = len(notes) - MOST_NOTES + 1
        notes[MOST_NOTES - 1 :] = [f"There are {more} more notes like these."]
    return Submission(kept, tuple(map(plain, notes)))


def _parsed(raw: bytes) -> dict:
    if not raw.strip():
        raise Refused(f"is empty: {SAVE_AGAIN}")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in raw[:4]:
        raise Refused(f"is UTF-16 or UTF-32, not UTF-8: {SAVE_AGAIN}")
    if raw.startswith(b"\xef\xbb\xbf"):  # Jupyter does not open it either
        raise Refused("starts with a byte order mark: save it as UTF-8 without one")
    if raw.count(b"[") + raw.count(b"{") > MOST_PARTS:
        raise Refused(f"has too many parts: {CLEAR}")
    try:
        notebook = json.loads(raw.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise Refused(f"is not UTF-8: {SAVE_AGAIN}") from None
    except RecursionError:
        raise Refused(f"is nested too deeply: {CLEAR}") from None
    except json.JSONDecodeError as error:
        why = f"{error.msg}, line {error.lineno}"
        raise Refused(f"is not a sound notebook file ({why}): {SAVE_AGAIN}") from None
    except ValueError:  # a number of thousands of digits
        raise Refused(f"holds a number that is too long: {CLEAR}") from None
    if not isinstance(notebook, dict):
        raise Refused("is not a notebook: hand in the .ipynb file")
    return notebook


def _unique(pairs: list[tuple[str, Any]]) -> dict:
    made = dict(pairs)
    if len(made) < len(pairs):  # what a person sees of it may not be what is graded
        raise Refused(f"says something twice in one place: {SAVE_AGAIN}")
    return made


def _no_constant(name: str) -> None:
    raise Refused(f"holds {name}, which JSON does not have: {CLEAR}")


def _listed(notebook: dict) -> list:
    """The cells, as they stand in the file; in format 3 all worksheets'."""
    version = notebook.get("nbformat")
    if type(version) is not int:  # True is an int
        raise Refused("is not a notebook (it names no nbformat): hand in the .ipynb file")
    if version not in (3, 4):
        told = f"is in notebook format {str(version)[:NAME_LENGTH]}, not 4"
        raise Refused(f"{told}: save it in a current Jupyter and hand it in again")
    cells = notebook.get("cells")
    if version == 3:
        sheets = notebook.get("worksheets")
        lists = [_of(sheet, "cells") for sheet in sheets] if isinstance(sheets, list) else [None]
        sound = all(isinstance(cells, list) for cells in lists)
        cells = [cell for cells in lists for cell in cells or ()] if sound else None
    if not isinstance(cells, list):
        raise Refused(f"has no list of cells: {SAVE_AGAIN}")
    if len(cells) > MOST_CELLS:
        told = f"has {len(cells):,} cells; the limit is {MOST_CELLS:,}"
        raise Refused(f"{told}: delete those that belong to no task")
    return cells


def _of(value: Any, *names: str) -> Any:
    """What stands below these names, None where it is not there."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _check_language(metadata: Any) -> None:
    for names in (("kernelspec", "language"), ("language_info", "name")):
        language = _of(metadata, *names)
        if isinstance(language, str) and language and language.lower() not in PYTHON:
            told = plain(language, NAME_LENGTH) or "another language"
            raise Refused(f"is written in {told}: choose the Python kernel and hand it in again")


def _source(cell: Any) -> str | None:
    """A cell's text, None where it is none."""
    if _of(cell, "cell_type") not in ("code", "markdown"):
        return None
    source = cell.get("source", cell.get("input"))  # format 3 calls code so
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    return source if isinstance(source, str) and len(source) <= MOST_CHARACTERS else None


def _repaired(text: str) -> str:
    """The text without NUL and halves of characters, neither of which can be compiled or saved."""
    halves = text.replace("\0", "\ufffd").encode("utf-16-le", "surrogatepass")
    return halves.decode("utf-16-le", "replace")


def _grade_id(cell: dict, known: Collection[str], assignment: str) -> tuple[str | None, str]:
    """A cell's grade id, and what there is to say about it."""
    told, own = _of(cell, "metadata", "nbgrader", "grade_id"), cell.get("id")
    if isinstance(told, str) and (told in known if known else _is_name(told)):
        return told, ""
    if assignment and isinstance(own, str) and own.startswith(f"{assignment}-"):
        named = own.removeprefix(f"{assignment}-")
        if named in known:
            return named, LOST
    return None, "" if told is None else IGNORED


def _is_name(text: str) -> bool:
    return bool(text) and plain(text, NAME_LENGTH) == text


def _each_once(cells: list[Cell]) -> tuple[tuple[Cell, ...], list[str]]:
    """The cells, each grade id left to one of them; and a note on each that several had."""
    places: dict[str, list[int]] = {}
    for place, cell in enumerate(cells):
        if cell.grade_id is not None:
            places.setdefault(cell.grade_id, []).append(place)
    kept, notes = list(cells), []
    for grade_id, same in places.items():
        counts = max(same, key=lambda place: (bool(cells[place].source.strip()), place))
        for place in same:
            if place != counts:
                kept[place] = replace(cells[place], grade_id=None)
        if len(same) > 1:
            told = f"{len(same)} cells have the grade id {grade_id}; the last one that is not blank"
            notes.append(f"{told} counts. Delete the others.")
    return tuple(kept), notes


def _numbered(numbers: list[int]) -> str:
    first, more = numbers[:10], len(numbers) - 10
    told = ", ".join(map(str, first)) + (f" and {more} more" if more > 0 else "")
    return f"Cell{'s' * (len(numbers) > 1)} {told}"


def plain(text: str, most: int = NOTE_LENGTH) -> str:
    """One line of visible characters: no control, bidirectional or private ones, no surrogates."""
    text = re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", text[: 4 * most])  # colours of a terminal
    spaced = (" " if char.isspace() else char for char in text)
    line = "".join(char for char in spaced if not unicodedata.category(char).startswith("C"))
    line = " ".join(line.split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"
