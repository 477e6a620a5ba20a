"""What students must not see, looked for in what students receive.

It knows nothing of how a release is made: it reads the sources, and then every byte of the result.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from w2s_lab.teach.exercises import LIKE_A_MARK, Assignment, release_notebook, solution_notebook

# Characters, spaces aside. Half of Python has lines like `return x`: they are no secret. A longer
# line is looked for as a whole line, and only a long one inside a text as well.
LEAST, LONG = 10, 24
# what a release may name although a source's hidden part names it too
ALLOWED = ("marks.total()",)


def secrets(assignment: Assignment) -> set[str]:
    """The lines of answers, hidden cases, keys, model answers and rubrics, each without spaces.

    A line that the released cells have as well is no secret, nor is one of fewer than `LEAST`
    characters.
    """
    released = release_notebook(assignment).cells
    public = {line for cell in released for line in _lines(cell.source)}
    own = solution_notebook(assignment).cells
    pairs = zip(own, released, strict=True)
    hidden = {line for one, other in pairs if one.source != other.source for line in _lines(one)}
    return {line for line in hidden - public - set(ALLOWED) if len(line) >= LEAST}


def _lines(cell) -> Iterator[str]:
    text = cell if isinstance(cell, str) else cell.source
    return ("".join(line.split()) for line in text.split("\n"))


def leaks(assignments: Iterable[Assignment], folder: str | Path) -> list[str]:
    """Where a file below `folder` holds a secret of any assignment: plain lines, or none.

    Notebooks are searched as a whole: sources, outputs, metadata, and attachments after decoding.
    Every other file is searched as text.
    """
    known = set().union(*map(secrets, assignments))
    findings = []
    for path in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
        findings += [f"{path}: {what}" for what in _found(texts(path.read_bytes()), known)]
    return findings


def _found(found: Iterable[str], known: set[str]) -> Iterator[str]:
    told = set()
    for text in found:
        packed, lines = "".join(text.split()), set(_lines(text))
        if mark := LIKE_A_MARK.search(text):
            told.add(f"has the mark {mark[0]!r}")
        inside = {secret for secret in known if len(secret) >= LONG and secret in packed}
        told.update(f"gives away {secret[:60]!r}" for secret in inside | (lines & known))
    yield from sorted(told)


def texts(content: bytes) -> Iterator[str]:
    """Every text in a file: of a JSON file each key and string, base64 among them decoded."""
    raw = content.decode("utf-8", "replace")
    try:
        yield from _strings(json.loads(raw))
    except ValueError:
        yield raw


def _strings(value) -> Iterator[str]:
    if isinstance(value, str):
        yield value
        yield from _decoded(value)
    elif isinstance(value, list):
        if all(isinstance(item, str) for item in value):  # a notebook's way to store many lines
            yield from _strings("".join(value))
        else:
            yield from (text for item in value for text in _strings(item))
    elif isinstance(value, dict):
        yield from (text for pair in value.items() for item in pair for text in _strings(item))


def _decoded(text: str) -> Iterator[str]:
    packed = "".join(text.split())
    if len(packed) >= LEAST and len(packed) % 4 == 0:
        try:
            yield base64.b64decode(packed, validate=True).decode("utf-8", "replace")
        except binascii.Error:
            return
