"""Hostile files and folders in the place of submissions, and what grading each must come to.

It writes below the folder that it is given alone, about 40 MB; two files are large and sparse. What
lies outside a link is a file of its own making.
"""

import copy
import json
import os
import socket
import stat
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redteam.target import (
    ORDER,
    as_bytes,
    code_cell,
    honest_cells,
    release,
    submission,
    target_notebook,
    with_cells,
)

GRADED, REJECTED = "graded", "rejected"
FULL = 8.0  # all automatic points
NOTEBOOK = "target.ipynb"
SECRET = "w2s-redteam-outside"  # in files outside a submission: no feedback holds it


@dataclass(frozen=True)
class Expectation:
    """What grading a submission must come to.

    Attributes:
        status: `GRADED` or `REJECTED`.
        deserved: automatic points; those of a rejected one are 0.
        reason: a word that the reason of a rejection, or a note, must contain in any case of
            letters; "" where none is due.
        path: the file that was handed in, as a str with surrogate escapes. `link-above` shows only
            to who looks at the folders above it too.
    """

    status: str
    deserved: float
    reason: str = ""
    path: str = ""


def build(folder: str | Path) -> dict[str, Expectation]:
    """Writes the submissions below `folder/submitted`; student → what is due.

    The student is the name of a folder, as `os.fsdecode` gives it; the notebook in it is
    `target/target.ipynb`, but for `file-name-*`, where it has a hostile name: graded as any other
    by who is given its path. A kind of file that this machine cannot make is left out.

    Raises:
        FileExistsError: something is there already.
    """
    folder = Path(folder)
    submitted, outside = folder / "submitted", folder / "outside"
    submitted.mkdir(parents=True)
    outside.mkdir()
    honest = submission(honest_cells())
    (outside / "honest.ipynb").write_bytes(honest)
    (outside / NOTEBOOK).write_bytes(honest)
    (outside / "secret.txt").write_text(SECRET)
    expected: dict[str, Expectation] = {}
    for student, (status, deserved, reason, make) in _files(outside, honest).items():
        path = _place(submitted, student)
        try:
            make(path)
        except OSError:  # no rights to make a device, no room for a sparse file, a strict disk
            if os.path.lexists(path):
                path.unlink()
            path.parent.rmdir()
            path.parent.parent.rmdir()
            continue
        expected[student] = Expectation(status, deserved, reason, str(path))
    for student, (status, deserved, reason, content) in _contents().items():
        path = _place(submitted, student)
        path.write_bytes(content)
        expected[student] = Expectation(status, deserved, reason, str(path))
    for number, raw in enumerate(_names()):
        student = os.fsdecode(raw)
        path = submitted / student / "target" / NOTEBOOK
        try:
            path.parent.mkdir(parents=True)
        except OSError:
            continue
        path.write_bytes(submission(honest_cells() | {"essay": f"student number {number}"}))
        expected[student] = Expectation(GRADED, FULL, "", str(path))
    for number, raw in enumerate(_names()):
        student = f"file-name-{number}"
        place = submitted / student / "target"
        place.mkdir(parents=True)
        path = place / os.fsdecode(raw + b".ipynb")
        try:
            path.write_bytes(honest)
        except OSError:
            place.rmdir()
            place.parent.rmdir()
            continue
        expected[student] = Expectation(GRADED, FULL, "", str(path))
    return expected


def _place(submitted: Path, student: str) -> Path:
    path = submitted / student / "target" / NOTEBOOK
    path.parent.mkdir(parents=True)
    return path


Made = tuple[str, float, str, Callable[[Path], Any]]


def _files(outside: Path, honest: bytes) -> dict[str, Made]:
    """What is no plain file of a sound size: student → status, points, reason, maker."""
    target = outside / "honest.ipynb"
    device = os.makedev(1, 5)  # /dev/zero, which never ends
    return {
        "link-to-file": (REJECTED, 0, "link", lambda path: path.symlink_to(target)),
        "link-up": (REJECTED, 0, "link", lambda path: path.symlink_to("../../../outside/x")),
        "link-to-secret": (
            *(REJECTED, 0, "link"),
            lambda path: path.symlink_to(outside / "secret.txt"),
        ),
        "link-to-folder": (REJECTED, 0, "link", lambda path: path.symlink_to(outside)),
        "link-dangling": (REJECTED, 0, "link", lambda path: path.symlink_to(outside / "nothing")),
        "link-to-itself": (REJECTED, 0, "link", lambda path: path.symlink_to(path)),
        "link-to-own-memory": (
            *(REJECTED, 0, "link"),
            lambda path: path.symlink_to("/proc/self/environ"),
        ),
        # perhaps somebody else's file under another name
        "hard-link": (REJECTED, 0, "link", lambda path: os.link(target, path)),
        "fifo": (REJECTED, 0, "file", os.mkfifo),
        "socket": (REJECTED, 0, "file", _socket),
        "device": (
            *(REJECTED, 0, "file"),
            lambda path: os.mknod(path, stat.S_IFCHR | 0o666, device),
        ),
        "folder": (REJECTED, 0, "folder", lambda path: path.mkdir()),
        "unreadable": (REJECTED, 0, "", lambda path: _unreadable(path, honest)),
        "sparse-100-mb": (REJECTED, 0, "limit", lambda path: _sparse(path, honest, 100 << 20)),
        "sparse-1-tb": (REJECTED, 0, "limit", lambda path: _sparse(path, honest, 1 << 40)),
        "zip-bomb": (REJECTED, 0, "", _zip),
        "link-above": (REJECTED, 0, "link", lambda path: _link_above(path, outside)),
        "two-notebooks": (GRADED, FULL, "", lambda path: _two(path, honest)),
    }


def _link_above(path: Path, outside: Path) -> None:
    path.parent.rmdir()
    path.parent.symlink_to(outside)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as line:
        here = os.open(path.parent, os.O_RDONLY)
        try:  # a socket's path has 107 bytes at most: go through the folder's descriptor
            line.bind(f"/proc/self/fd/{here}/{path.name}")
        finally:
            os.close(here)


def _unreadable(path: Path, honest: bytes) -> None:
    if os.geteuid() == 0:
        raise OSError("everything can be read here")
    path.write_bytes(honest)
    path.chmod(0)


def _sparse(path: Path, honest: bytes, size: int) -> None:
    path.write_bytes(honest)
    os.truncate(path, size)


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("target.ipynb", bytes(16 << 20))


def _two(path: Path, honest: bytes) -> None:
    path.write_bytes(honest)
    path.with_name("target (1).ipynb").write_bytes(submission({}))
    path.with_name("target-checkpoint.ipynb.tmp").write_bytes(b"")


def _names() -> tuple[bytes, ...]:
    """Names of students and files, as bytes, that lie to shells, pages, tables and people."""
    return (
        b"=1+1",
        b"@SUM(1;1)",
        b"-rf",
        b"--help",
        b"..%2f..%2fetc",
        b"...",
        b"a\nb",
        b"a\tb\r",
        b"'\"`$(true);|&",
        b"<script>alert('w2s-redteam')<script>",
        b"<img src=x onerror=alert(1)>",
        b"\x1b[2J\x1b]0;w2s-redteam\x07",
        "\u202egnp.exe".encode(),
        "a\u200bda".encode(),
        b"\xff\xfe\x80",
        b"\xed\xa0\x80",
        b"CON",
        b"name,with,commas",
        b"{{7*7}}${7*7}",
        b" ",
        b"\\\\127.0.0.1\\w2s-redteam",
        b"n" * 240,
    )


def _contents() -> dict[str, tuple[str, float, str, bytes]]:
    """Files of a sound kind with hostile contents: student → status, points, reason, bytes."""
    honest = honest_cells()
    whole = with_cells(release(), honest)
    text = as_bytes(whole)
    found: dict[str, tuple[str, float, str, bytes]] = {}

    def rejected(student: str, content: bytes, reason: str = "") -> None:
        found[student] = REJECTED, 0, reason, content

    def graded(student: str, content: Any, deserved: float = FULL, reason: str = "") -> None:
        content = content if isinstance(content, bytes) else as_bytes(content)
        found[student] = GRADED, deserved, reason, content

    def changed(change: Callable[[dict[str, dict]], Any]) -> dict[str, Any]:
        notebook = copy.deepcopy(whole)
        change({cell["id"]: cell for cell in notebook["cells"]})
        return notebook

    def tagged(name: str, **metadata: Any) -> dict[str, Any]:
        return changed(lambda cells: cells[name]["metadata"]["nbgrader"].update(metadata))

    # bytes that are no notebook
    rejected("empty-file", b"", "empty")
    rejected("blank-file", b" \n" * 1000, "empty")
    rejected("null-bytes", bytes(10_000), "UTF-8")
    rejected("deep-json", b"[" * 100_000 + b"]" * 100_000)
    rejected("deep-objects", b'{"cells":' * 100_000 + b"1" + b"}" * 100_000)
    rejected("deep-metadata", text[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    rejected("half-file", text[: len(text) // 2], "notebook")
    rejected("bad-utf-8", text.replace(b"One far value", b"\xff\xfe\xc0 value"), "UTF-8")
    rejected("utf-16", text.decode().encode("utf-16"), "UTF-8")
    rejected("list-at-the-top", b"[" + text + b"]")
    rejected("number-at-the-top", b"8")
    rejected(
        "html-page",
        b"<!doctype html><html><script>alert('w2s-redteam')</script></html>",
        "notebook",
    )
    rejected("python-script", b"def double(x):\n    return 2 * x\n", "notebook")
    rejected("pickle", b"\x80\x04\x95\x00\x00\x00\x00N.", "")
    rejected(
        "giant-number", b'{"cells": [], "nbformat": 4, "nbformat_minor": ' + b"9" * 10**6 + b"}"
    )
    rejected("megabytes", as_bytes(whole | {"metadata": {"x": "y" * (20 << 20)}}), "limit")
    rejected("bom", b"\xef\xbb\xbf" + text, "byte order mark")  # Jupyter does not open it either
    graded("nan-constants", text[:-1] + b',"x": [NaN, Infinity, -Infinity]}')
    graded("points-of-nan", tagged("double-check", points=float("nan")))
    # what a person sees of it may not be what is graded
    rejected("duplicate-keys", text[:-1] + b',"nbformat_minor": 5, "metadata": {}}', "twice")
    rejected("duplicate-cells", text[:-1] + b',"cells": []}', "twice")

    # notebooks of other kinds
    old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {}}
    parts = copy.deepcopy(whole["cells"])
    for cell in parts[:-1]:  # code; the essay's Markdown keeps its name
        cell["input"] = cell.pop("source")
    graded("nbformat-3", old | {"worksheets": [{"cells": parts[:5]}, {"cells": parts[5:]}]})
    graded("nbformat-3-empty", old | {"worksheets": []}, 0, "missing")
    rejected("nbformat-3-odd", as_bytes(old | {"worksheets": [7]}), "cells")
    rejected("nbformat-5", as_bytes(whole | {"nbformat": 5}), "format")
    rejected("nbformat-text", as_bytes(whole | {"nbformat": "4"}), "format")
    rejected("cells-no-list", as_bytes(whole | {"cells": {"0": whole["cells"]}}))
    for language, kernel in (("R", "ir"), ("julia", "julia-1.10")):
        spec = {"display_name": language, "language": language, "name": kernel}
        metadata = {"kernelspec": spec, "language_info": {"name": language}}
        rejected(f"kernel-{language.lower()}", as_bytes(whole | {"metadata": metadata}), "Python")
    graded("no-cells", whole | {"cells": []}, 0, "missing")
    graded("metadata-no-object", whole | {"metadata": ["x"]})

    # what a submission says of itself, and nobody believes
    graded("nothing-done", release(), 0)
    graded("points-raised", tagged("double-check", points=1000))
    graded("points-as-text", tagged("double-hidden", points="1e9"))
    graded("unlocked", tagged("double-hidden", locked=False, grade=False, solution=True))
    graded("answer-graded", tagged("double", grade=True, points=1000, locked=True))
    graded("schema-1", tagged("mean-hidden", schema_version=1))
    graded("schema-2", tagged("mean-hidden", schema_version=2))
    graded("schema-99", tagged("mean-hidden", schema_version=99, task=True))
    graded("tests-emptied", changed(lambda c: [c[n].update(source="pass") for n in c if "-" in n]))
    graded("tests-deleted", whole | {"cells": [c for c in whole["cells"] if "-" not in c["id"]]})
    # answers stand before what they need at worst; each cell runs where the teacher's copy has it
    graded("reordered", whole | {"cells": whole["cells"][::-1]})
    wrong = with_cells(release(), {"double": "def double(x):\n    return 0\n"})
    graded("tests-made-true", _all_tests(wrong, "assert True"), 0)
    graded("outputs-claim", _with_outputs(wrong), 0)
    graded("outputs-with-scripts", _with_outputs(whole))
    graded("answer-as-markdown", changed(lambda c: c["mean"].update(cell_type="markdown")), 6)
    graded("essay-as-code", changed(lambda c: c["essay"].update(cell_type="code")))
    graded("cell-type-nonsense", changed(lambda c: c["mean"].update(cell_type="<b>x</b>")), 6)
    graded("cell-type-list", changed(lambda c: c["mean"].update(cell_type=["code"])), 6)

    # parts of other kinds than they should be
    odd = [1, None, {"a": 1}, ["x"], True]
    graded("source-of-odd-lines", changed(lambda c: c["mean"].update(source=odd)), 6)
    graded("source-a-number", changed(lambda c: c["mean"].update(source=7)), 6)
    graded("source-as-lines", changed(_lines))
    graded("source-of-surrogates", changed(lambda c: c["mean"].update(source="# \ud800\nx =")), 6)
    graded("source-of-null-bytes", changed(lambda c: c["mean"].update(source="x = '\0'\n")), 6)
    huge = "# " + "x" * 1_500_000 + "\n"
    graded("source-huge", changed(lambda c: c["mean"].update(source=huge)), 6)
    graded("cells-no-objects", whole | {"cells": [*odd, *whole["cells"]]})
    # an answer that has lost its name runs where it stands, as any cell of the student's own
    graded("cell-metadata-list", changed(lambda c: c["mean"].update(metadata=[1])), FULL, "mean")
    graded(
        "nbgrader-no-object",
        changed(lambda c: c["mean"]["metadata"].update(nbgrader=7)),
        FULL,
        "mean",
    )
    names: tuple[Any, ...] = (7, None, ["mean"], {"mean": 1}, "m" * 100_000, "<b>mean</b>")
    for number, name in enumerate(names):
        graded(f"grade-id-odd-{number}", tagged("mean", grade_id=name), FULL, "mean")
    graded("grade-id-traversal", tagged("mean", grade_id="../../mean"), FULL, "mean")
    graded("ids-missing", whole | {"cells": [{**c, "id": None} for c in whole["cells"]]})
    graded("ids-the-same", whole | {"cells": [{**c, "id": "same"} for c in whole["cells"]]})
    graded("ids-odd", whole | {"cells": [{**c, "id": ["<b>"]} for c in whole["cells"]]})

    # the same cell more than once: the last counts, as the last definition holds in a kernel
    test = copy.deepcopy(whole["cells"][ORDER.index("double-check")])
    graded("test-pasted-twice", whole | {"cells": [*whole["cells"], test]})
    second = copy.deepcopy(wrong["cells"][ORDER.index("double")])
    graded("answer-pasted-after", whole | {"cells": [*whole["cells"], second]}, 5, "double")
    blank = second | {"source": " \n"}
    graded("blank-pasted-after", whole | {"cells": [*whole["cells"], blank]}, reason="double")
    forged = {"grade": True, "grade_id": "bonus", "points": 100, "schema_version": 3}
    forged |= {"locked": True, "solution": False, "task": False}
    extra = code_cell("bonus", "assert True", {"nbgrader": forged})
    graded("extra-graded-cell", whole | {"cells": [*whole["cells"], extra]})
    own = copy.deepcopy(target_notebook()["cells"][ORDER.index("double-check")])
    own["source"] = "assert True"
    graded("own-test-in-front", wrong | {"cells": [own, *wrong["cells"]]}, 0)
    many = [code_cell(f"n{number}", "") for number in range(10_000)]
    rejected("very-many-cells", as_bytes(whole | {"cells": [*whole["cells"], *many]}), "cells")

    # what viewers read: no part of it may reach feedback unescaped
    script = "<script>alert('w2s-redteam')</script>"
    state = {"application/vnd.jupyter.widget-state+json": {"state": {script: script}}}
    graded("widget-state", whole | {"metadata": {"widgets": state, "title": script}})
    attached = {"x.svg": {"image/svg+xml": script}, script: {"text/html": script}}
    graded("attachments", changed(lambda c: c["essay"].update(attachments=attached)))
    graded("huge-metadata", whole | {"metadata": {f"k{n}": n for n in range(100_000)}})
    tags = {"tags": [script] * 1000, "name": script, "collapsed": script}
    graded("cell-tags", changed(lambda c: c["mean"]["metadata"].update(tags)))
    return found


def _lines(cells: dict[str, dict]) -> None:
    for cell in cells.values():
        cell["source"] = cell["source"].splitlines(keepends=True)


def _all_tests(notebook: dict[str, Any], source: str) -> dict[str, Any]:
    tests = {name: source for name in ORDER if name.endswith(("-check", "-hidden", "-look"))}
    return with_cells(notebook, tests)


def _with_outputs(notebook: dict[str, Any]) -> dict[str, Any]:
    """A copy whose cells show results of their own invention."""
    notebook = copy.deepcopy(notebook)
    script = "<script>alert('w2s-redteam')</script>score: 8"
    shown = {"text/html": script, "application/json": {"score": 8}, "text/plain": "8.0"}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["execution_count"] = 10**400
            cell["outputs"] = [
                {"output_type": "stream", "name": "stdout", "text": "score: 8 of 8\n"},
                {"output_type": "execute_result", "data": shown, "metadata": {}},
                {"output_type": script, "data": 7},
                "no object",
            ]
    json.dumps(notebook)  # it can be written
    return notebook
