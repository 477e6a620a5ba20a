"""What is read of a notebook that was handed in: the cells' sources and grade ids.

It runs and grades nothing. All of it is hostile, and what cannot be read is refused in a sentence
that the student can act on.
Source: nbformat docs, "The Notebook file format".
"""

import json
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Literal

from w2s_lab.teach.grading.hand_ins import CLEAR, Refused
from w2s_lab.teach.grading.plain import plain

MOST_CELLS, MOST_CHARACTERS = 2_000, 1_000_000  # characters of one cell
MOST_PARTS = 1_000_000  # brackets in a file: 20 MB of `[],` would become 500 MB of lists
MOST_NOTES, NOTE_LENGTH, NAME_LENGTH = 20, 200, 60
PYTHON = ("python", "python3", "ipython")
SAVE_AGAIN = "open it in Jupyter, save it and hand it in again"
# notes, each after the numbers of cells
LEFT_OUT = f"left out, no code or Markdown of at most {MOST_CHARACTERS:,} characters."
REPLACED = "characters that are none were replaced by \ufffd."
LOST = "the grade id was lost, and taken from the cell's own id."
IGNORED = "a grade id that this assignment does not know was ignored."


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
    return Submission(kept, tuple(plain(note, NOTE_LENGTH) for note in notes))


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
        notebook = json.loads(raw.decode(), object_pairs_hook=_unique, parse_constant=_nothing)
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


def _nothing(name: str) -> None:
    """NaN and its like: no JSON, but some outputs have them, and they are not read."""


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
