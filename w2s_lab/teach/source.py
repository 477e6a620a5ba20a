"""A notebook's reviewable source: cells with their line, kind, tags and options, or what is wrong.

It gives the cells no meaning: lessons and exercises do that, each for its own.
The format is jupytext's percent format (jupytext.readthedocs.io, "The percent format").
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from w2s_lab.errors import W2SError

METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
NAME = re.compile(r"\d\d_[A-Za-z0-9_-]{1,40}")  # with hash and counter an id stays under 64
# jupytext fills in an extension that the header lacks, and may then misread the rest
HEADER = re.compile(r"# ---\n(?=(?:#.*\n)*?#\s+extension: \.py\n)(?:#.*\n)*?# ---\n")
LIKE_A_MARKER = re.compile(r"\s*#\s*%%")
OPTION = r'(\w+)=("[^"]*"|\d+(?:\.\d+)?)'
MARKER = re.compile(
    rf'# %%( \[markdown\])?((?: {OPTION})*)(?: tags=\[("[\w-]+"(?:, "[\w-]+")*)\])?'
)
OVERRULES_TAGS = re.compile(r"^\s*#\s*(NBVAL_|PYTEST_VALIDATE_)", re.MULTILINE)

Stop = Callable[[int, str, str], NoReturn]  # line, what is wrong, how to mend it


@dataclass(frozen=True)
class Cell:
    """One cell of a source: `kind` is "code" or "markdown", `line` is where its marker stands."""

    line: int
    kind: str
    text: str
    tags: tuple[str, ...] = ()
    options: dict[str, str | float] = field(default_factory=dict)


def stopper(path: str | Path) -> Stop:
    """`stop(line, what, mend)`, which raises a W2SError with the file and that line."""

    def stop(line: int, what: str, mend: str) -> NoReturn:
        raise W2SError(what, where=f"{path}:{line}", mend=mend)

    return stop


def read_cells(
    path: str | Path, *, tags: Collection[str], options: Collection[str] = ()
) -> list[Cell]:
    """The cells of a source; the first is a text that begins with a title.

    Args:
        path: NN_name.py.
        tags: those that a marker may name, as in `# %% tags=["claim"]`.
        options: those that it may set, as in `# %% check="pgr" points=2`.

    Raises:
        W2SError: a source that does not keep to the format, with the line where it was seen.
    """
    import jupytext

    path = Path(path)
    stop = stopper(path)
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        stop(line, "is not UTF-8", "save it as UTF-8")
    if not NAME.fullmatch(path.stem):
        stop(1, "the file is not named NN_name.py", "use two digits, _ and at most 40 letters")
    header = HEADER.match(text)
    if not header or "format_name: percent" not in header[0]:
        stop(1, "no jupytext header with `extension: .py` and `format_name: percent`", "add it")

    lines = text.split("\n")
    markers: list[tuple[int, str, tuple[str, ...], dict]] = []
    for number, content in enumerate(lines, start=1):
        if LIKE_A_MARKER.match(content):
            marker = MARKER.fullmatch(content)
            if not marker:
                form = 'write `# %%` or `# %% [markdown]`, then at most ` tags=["a", "b"]`'
                stop(number, f"not a cell marker: {content.strip()!r}", form)
            named = re.findall(r"[\w-]+", marker[5] or "")
            for tag in (tag for tag in named if tag not in tags):
                stop(number, f"unknown tag {tag!r}", _choose(tags))
            pairs = re.findall(OPTION, marker[2])
            given = dict(pairs)
            for name in (name for name in given if name not in options):
                stop(number, f"unknown option {name!r}", _choose(options))
            if len(given) < len(pairs):
                stop(number, "an option is given twice", "keep one")
            read = {k: v[1:-1] if v[0] == '"' else float(v) for k, v in given.items()}
            markers.append((number, "markdown" if marker[1] else "code", tuple(named), read))
    first = markers[0][0] if markers else len(lines)
    if not markers:
        stop(first, "there are no cells", "begin with `# %% [markdown]` and `# # Title`")
    if "".join(lines[header[0].count("\n") : first - 1]).strip():
        stop(first, "there is text before the first cell", "put it under a cell marker")

    found = jupytext.reads(text, fmt="py:percent").cells
    if len(found) != len(markers):  # jupytext sees no marker inside quotes
        over = (n for n, cell in enumerate(found) if re.search(r"^(# )?%%", cell.source, re.M))
        stop(markers[next(over, 0)][0], "the cell runs over the next marker", "close its quotes")
    if found[0].cell_type != "markdown" or not re.match(r"# \S", found[0].source):
        stop(first, "there is no title", "begin with `# %% [markdown]` and `# # Title`")
    cells = []
    for cell, (number, kind, own, read) in zip(found, markers, strict=True):
        if not cell.source.strip():
            stop(number, "the cell is empty", "fill it or delete its marker")
        if kind == "code" and OVERRULES_TAGS.search(cell.source):
            stop(number, "a comment for nbval overrules the cell's tags", "use a tag instead")
        cells.append(Cell(number, kind, cell.source, own, read))
    return cells


def _choose(names: Collection[str]) -> str:
    return f"choose from: {', '.join(names)}" if names else "remove it: there are none here"


def hashed_ids(stem: str, cells: Sequence[Cell]) -> list[str]:
    """An id for each cell: the source's name and a hash of the cell's text.

    A counter sets repeats apart, so a cell put in or taken out renames no other.
    """
    seen: Counter[str] = Counter()
    ids = []
    for cell in cells:
        digest = hashlib.sha256(f"{cell.kind}\n{cell.text}".encode()).hexdigest()[:8]
        seen[digest] += 1
        ids.append(f"{stem}-{digest}" + (f"-{seen[digest]}" if seen[digest] > 1 else ""))
    return ids
