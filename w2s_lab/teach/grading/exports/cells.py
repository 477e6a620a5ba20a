"""Cells of a csv file that no spreadsheet takes for formulas, and the file itself.

It knows nothing of grades. What begins a formula: OWASP, "CSV Injection".
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from w2s_lab.errors import W2SError
from w2s_lab.teach.grading.files import write
from w2s_lab.teach.grading.plain import number, plain

MOST = 2000  # characters of one text in a cell; Excel takes 32,767
# A ' in front makes a spreadsheet show the text. It is wanted at the start, and where a program
# that parts cells at ; or tabs, or knows no lines within a cell, would start another one.
SIGN = "[=+\\-@|%＝＋－＠﹦﹢﹣﹫⁼⁺⁻]"
QUIET = (
    r"\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff'\"`´‘’“”„«»‹›"
)


def _starts(guard: str) -> re.Pattern:
    """Where a formula could begin: behind blanks, quotes and what nobody sees."""
    first = rf"\A{guard}(?=[\s{QUIET}]*(?:{SIGN}|[\t\r\n]))"
    return re.compile(rf"{first}|(?<=[;\t\r\n]){guard}(?=(?:[^\S\t\r\n]|[{QUIET}])*{SIGN})")


UNGUARDED, GUARDED = _starts(""), _starts("'")


def guarded(text: str) -> str:
    """The text with a ' wherever a spreadsheet could begin to read a formula in it."""
    return UNGUARDED.sub("'", text)


def unguarded(text: str) -> str:
    """The inverse of `guarded`, for every text."""
    return GUARDED.sub("", text)


def table(rows: Iterable[Sequence]) -> str:
    """Rows of texts, numbers and None as csv; one line a row, whatever a text holds."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([_cell(value) for value in row] for row in rows)
    return stream.getvalue()


def _cell(value: str | float | None) -> str:
    if value is None:
        return ""
    return guarded(plain(value, MOST)) if isinstance(value, str) else number(value)


def read(path: str | Path) -> list[list[str]]:
    """A csv file's rows without guards, each as long as the first; commas or semicolons.

    Raises:
        W2SError: no such file, no csv, nothing in it.
    """
    mend = "export it again from the course's gradebook"
    try:
        text = Path(path).read_text("utf-8-sig")
        first = text.partition("\n")[0]
        delimiter = max(",;", key=first.count)
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True))
    except FileNotFoundError:
        raise W2SError("no such file", where=str(path), mend=mend) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise W2SError(f"is no sound csv ({error})", where=str(path), mend=mend) from None
    if not rows:
        raise W2SError("is empty", where=str(path), mend=mend)
    rows[0] = [title.strip() for title in rows[0]]
    width = len(rows[0])
    return [[unguarded(cell) for cell in [*row, *[""] * width][:width]] for row in rows]


def save(to: str | Path, name: str, text: str, *, encoding: str = "utf-8") -> Path:
    """Puts a text into the file `name` below the folder `to`, see `files.write`.

    Raises:
        W2SError: it cannot be written; it, or a folder on the way from `to`, is a symbolic link.
    """
    path = Path(to) / name
    places = [path, *path.parents][: len(Path(name).parts) + 1]
    if link := next((place for place in places if place.is_symlink()), None):
        mend = "remove it, or name another folder"
        raise W2SError("is a symbolic link", where=str(link), mend=mend)
    return write(path, text, encoding=encoding)
