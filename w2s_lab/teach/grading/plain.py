"""Texts and numbers as they are shown: on a terminal, in a page, in a table.

All text from a student is hostile: it goes through `plain` or `named`. Neither escapes markup nor
guards formulas; `feedback` and `exports.cells` do.
Sources: ECMA-48, sections 5.4 and 8.3.89 (what a terminal acts upon); Unicode, general categories.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterator

# colours and the like, and what is meant for the terminal itself
SEQUENCE = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
# Cc: control characters; Cf: what turns the direction of writing round or is invisible; Cs: halves
# of characters; Co, Cn: no characters; Zl, Zp: odd ends of lines
UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
JOINERS = "\u200c\u200d"  # without them Persian, Hindi and many an emoji are spelt wrong
MARKS, STACKED = {"Mn", "Me"}, 4  # over one letter; more would cover the lines around it
LINE_ENDS_AND_TABS = {"\n": "\n", "\r": "\n", "\t": "    "}
NAME, QUOTED = 200, 80  # characters of a name, and of one in a message


def plain(text: str, most: int, *, lines: bool = False) -> str:
    """What can be seen of a text: one line with single blanks, cut at `most` characters.

    Terminals' sequences are dropped whole, as are characters that nobody sees, and marks beyond
    `STACKED` over one letter. Joiners stay where they join. Plain text stays as it is.

    Args:
        lines: keeps lines and blanks, for what a person reads. What nobody sees is written out
            there, as ⟨U+202E⟩, and a remark beyond the `most` characters says how many are missing.
    """
    if not lines:
        start = text[: 4 * most]  # a message can be megabytes
        seen = start if _is_simple(start) else "".join(seen for _, seen in _pieces(start, lines))
        line = " ".join(seen.split())
        return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"
    text = text.replace("\r\n", "\n")
    if len(text) <= most and _is_simple(text.replace("\n", "")):
        return text
    kept, room, at = [], most, 0
    for end, seen in _pieces(text[: 4 * most], lines):
        if len(seen) > room:
            break
        kept.append(seen)
        room, at = room - len(seen), end
    more = len(text) - at
    return "".join(kept) + f" … ({more:,} more characters are not shown)" * (more > 0)


def _is_simple(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _pieces(text: str, lines: bool) -> Iterator[tuple[int, str]]:
    """(where it ends, what is seen of it) of each character, and of each terminal's sequence."""
    at, marks, before = 0, 0, ""
    while at < len(text):
        char = text[at]
        if char in "\x1b\x9b" and (found := SEQUENCE.match(text, at)):
            at = found.end()
            yield at, ""
            continue
        at += 1
        kind = unicodedata.category(char)
        if kind in UNSEEN and not (char in JOINERS and _can_be_joined(before)):
            seen = _written_out(char) if lines else " " * char.isspace()
        else:
            seen = "" if kind in MARKS and marks >= STACKED else char
        if seen:  # what is dropped parts nothing
            marks = marks + 1 if kind in MARKS else 0
            before = seen[-1]
        yield at, seen


def _can_be_joined(letter: str) -> bool:
    """Whether a joiner may follow: in English, where it never does, it can only hide."""
    return letter > "\x7f" and unicodedata.category(letter)[0] in "LMS"


def _written_out(char: str) -> str:
    return LINE_ENDS_AND_TABS.get(char) or f"⟨U+{ord(char):04X}⟩"


def named(name: str, most: int = NAME) -> str:
    """A name on one line; names that differ never look alike but for letters of one shape.

    What nobody sees is spelt as in Python, `\\u202e`, and so are blanks at the ends or side by side
    and marks beyond `STACKED`. A longer name is cut and ends with 16 digits of its SHA-256.
    """
    if len(name) > most:
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        name = f"{name[:most]}…{digest[:16]}"
    spelt, marks = [], 0
    for char in repr(name)[1:-1]:
        marks = marks + 1 if unicodedata.category(char) in MARKS else 0
        spelt.append(char if marks <= STACKED else char.encode("unicode_escape").decode())
    return re.sub(r"\A | (?= )| \Z", r"\\x20", "".join(spelt))


def quoted(name: str) -> str:
    """A name in a message: as `named`, at most `QUOTED` characters of it, and in quotes."""
    return f"'{named(name, QUOTED)}'"


def number(value: float, decimals: int = 6) -> str:
    """A number as people and programs read it: 7, 7.5, 0.33; never 7.0, 7.50000001 or -0."""
    text = f"{value:z.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
