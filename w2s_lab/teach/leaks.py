"""What students must not see, looked for in what students receive.

It knows nothing of how a release is made: it reads the sources, and then every byte of the result.
It knows lines: an answer in other words or names, or as a picture, or half a line, it cannot see.
"""

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from w2s_lab.teach.exercises import BEGIN, END, LIKE_A_MARK, Assignment

# Characters, spaces aside. Half of Python has lines like `return x`: they are no secret. A longer
# line is looked for as a whole line, and only a long one inside a text as well.
LEAST, LONG = 10, 24
ESCAPED, TAG = re.compile(r"\\(.)"), re.compile(r"<[^<>]*>")


def secrets(assignments: Iterable[Assignment]) -> set[str]:
    """The lines of answers, hidden cases, keys, model answers and rubrics, packed (see `packed`).

    No secret is a line that the rest of its source shows, one of fewer than `LEAST` characters, and
    one below `LONG` that any of the sources shows: `marks.same(` alone gives nothing away.
    """
    sources = [_shown_and_hidden(one) for one in assignments]
    idioms = {line for shown, _ in sources for line in shown if len(line) < LONG}
    found = set().union(*(hidden - shown for shown, hidden in sources)) - idioms
    return {line for line in found if len(line) >= LEAST}


def packed(text: str) -> str:
    """A text without spaces and with one kind of quotes, as formatters leave it alone."""
    return "".join(text.split()).replace("'", '"')


def _shown_and_hidden(assignment: Assignment) -> tuple[set[str], set[str]]:
    shown: set[str] = set()
    hidden: set[str] = set()
    for cell in assignment.cells:
        inside = "hidden" in cell.options or "essay" in cell.options
        for line in cell.text.split("\n"):
            if line.strip() in (BEGIN, END):
                inside = line.strip() == BEGIN
            else:
                (hidden if inside else shown).add(packed(line))
    return shown, hidden


def leaks(assignments: Iterable[Assignment], folder: str | Path) -> list[str]:
    """Where a file below `folder` holds a secret of any assignment: plain lines, or none.

    Notebooks are searched as a whole: sources, outputs, metadata, and attachments after decoding.
    Every other file is searched as text; one that is none is told as well.
    """
    known = secrets(assignments)
    findings = []
    for path in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
        try:
            text = path.read_text("utf-8-sig")
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            findings.append(f"{path}: is no text and cannot be searched; remove it")
        else:
            findings += [f"{path}: {what}" for what in _found(texts(text), known)]
    return findings


def _found(found: Iterable[str], known: set[str]) -> Iterator[str]:
    told: set[str] = set()
    long: dict[str, list[str]] = {}
    for secret in known:
        if len(secret) >= LONG:
            long.setdefault(secret[:LONG], []).append(secret)
    for text in {form for one in found for form in _forms(one)}:
        if mark := LIKE_A_MARK.search(text):
            told.add(f"has the mark {mark[0]!r}")
        whole, lines = packed(text), {packed(line) for line in text.split("\n")}
        # many secrets, few of them begun: much quicker than to look for each one
        begun = {whole[i : i + LONG] for i in range(len(whole) - LONG + 1)} & long.keys()
        inside = {secret for start in begun for secret in long[start] if secret in whole}
        told.update(f"gives away {secret[:60]!r}" for secret in inside | (lines & known))
    yield from sorted(told)


def _forms(text: str) -> set[str]:
    """A text as it stands, as a string's source (`\\n` for a new line), and as HTML shows it."""
    unescaped = ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], text)
    return {text, unescaped, html.unescape(TAG.sub("", text))}


def texts(text: str) -> Iterator[str]:
    """A text and those inside it, however deep: keys and strings of JSON, what base64 encodes."""
    yield text
    for inner in _inside(text):
        yield from texts(inner)


def _inside(text: str) -> list[str]:
    found: list[str] = []
    with suppress(ValueError, RecursionError):  # it is no JSON
        found += _strings(json.loads(text))
    bare = "".join(text.split())
    if len(bare) >= LEAST and len(bare) % 4 == 0:
        with suppress(ValueError):  # nor base64
            found.append(base64.b64decode(bare, validate=True).decode("utf-8", "replace"))
    return found


def _strings(value) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        if all(isinstance(item, str) for item in value):  # a notebook's way to store many lines
            yield "".join(value)
        yield from (text for item in value for text in _strings(item))
    elif isinstance(value, dict):
        yield from (text for pair in value.items() for item in pair for text in _strings(item))
