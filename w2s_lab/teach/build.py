"""Lessons: reviewable sources in, executed notebooks out, and a proof that the two agree.

It does not compare outputs from run to run: nbval does, on the cells that carry a claim.
Sources are in jupytext's percent format (jupytext.readthedocs.io); nbclient executes them.
"""

import copy
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from w2s_lab.errors import W2SError
from w2s_lab.progress import bar
from w2s_lab.teach.source import METADATA, hashed_ids, read_cells, stopper

PROJECT = Path(__file__).parents[2]
LESSONS = "notebooks"
OBJECTIVES = tuple(f"objective-{n}" for n in range(1, 10))  # what a cell serves, for the map
TAGS = ("claim", "predict", "slow", "hide-input", "raises-exception", *OBJECTIVES)
CELL_SECONDS = 900  # a cell may train on a slow laptop; nbval gets the same in the Makefile
LARGEST_OUTPUT = 200_000  # characters in the file, so that a page loads on a slow line

# what the next run would print differently: addresses of objects, the kernel's process id
VOLATILE = re.compile(r"\bat 0x[0-9a-fA-F]{6,}|ipykernel_\d+")
DECIMAL = re.compile(r"\d[.,]\d")
WIDGET = "application/vnd.jupyter.widget-view+json"


def sources(folder: str | Path = LESSONS, only: Iterable[str] | None = None) -> list[Path]:
    """The sources in a folder, sorted; `only` keeps those named, with or without a suffix.

    Raises:
        W2SError: no such folder, no source in it, or a name that it does not have.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise W2SError("no such folder", where=str(folder), mend="run from the project's root")
    found = {path.stem: path for path in sorted(folder.glob("*.py"))}
    if not found:
        raise W2SError("no sources (NN_name.py)", where=str(folder), mend="write one")
    names = [Path(name).stem for name in only or found]
    for name in set(names) - set(found):
        known = ", ".join(found)
        raise W2SError(f"no source {name!r}", where=str(folder), mend=f"choose from: {known}")
    return [found[name] for name in names]


def read_source(path: str | Path):
    """The notebook that a lesson's source describes, not executed: the same bytes each time.

    Of the metadata only tags are kept; `claim` adds the tag by which nbval compares the output
    strictly.

    Raises:
        W2SError: a source that does not keep to the format, with the line where it was seen.
    """
    from nbformat import v4

    path = Path(path)
    read = read_cells(path, tags=TAGS)
    cells = []
    for cell, name in zip(read, hashed_ids(path.stem, read), strict=True):
        claims = "claim" in cell.tags
        if claims and cell.kind == "markdown":
            mend = "tag the code cell that prints it"
            stopper(path)(cell.line, "a text cell cannot be a claim", mend)
        new_cell = v4.new_code_cell if cell.kind == "code" else v4.new_markdown_cell
        tags = [*cell.tags, *["nbval-check-output"] * claims]
        cells.append(new_cell(cell.text, id=name, metadata={"tags": tags} if tags else {}))
    return v4.new_notebook(cells=cells, metadata=copy.deepcopy(METADATA))


def faults(notebook) -> Iterator[tuple[int, str]]:
    """What should not be committed in an executed notebook: (cell number from 1, what is wrong)."""
    for number, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type != "code":
            continue
        tags = cell.metadata.get("tags", [])
        errors = [output for output in cell.outputs if output.output_type == "error"]
        if cell.execution_count is None:
            yield number, "was not executed"
        if errors and "raises-exception" not in tags:
            yield number, f"ended in {errors[0].ename}: {errors[0].evalue}"
        if not errors and "raises-exception" in tags:
            yield number, "is tagged raises-exception and raised nothing"
        if "claim" in tags:
            printed = [output.text for output in cell.outputs if output.get("name") == "stdout"]
            if not "".join(printed).strip():
                yield number, "is a claim and prints nothing"
            elif len(printed) < len(cell.outputs):
                yield number, "is a claim and shows more than printed text"
            elif decimal := DECIMAL.search("".join(printed)):
                yield number, f"is a claim with a decimal ({decimal[0]}): say it in words"
        for output in cell.outputs:
            yield from ((number, what) for what in _output_faults(output))


def _output_faults(output) -> Iterator[str]:
    text = json.dumps(output, ensure_ascii=False)
    if volatile := VOLATILE.search(text):
        yield f"has output that changes from run to run ({volatile[0]})"
    if any(f"{place}{os.sep}" in text for place in (PROJECT, sys.prefix)):
        yield "shows a path of this machine"
    for kind, content in output.get("data", {}).items():
        if len(content) > LARGEST_OUTPUT:
            yield f"has {len(content):,} characters of {kind}, more than {LARGEST_OUTPUT:,}"
        images = re.findall(r"<img\b[^>]*>", content) if kind == "text/html" else []
        silent = [image for image in images if not re.search(r"""\balt=["']\s*[^"'\s]""", image)]
        alt = output.metadata.get(kind, {}).get("alt", "")
        if silent or (kind.startswith("image/") and not alt.strip()):
            yield "has a figure without alt text"


def build(
    folder: str | Path = LESSONS, only: Iterable[str] | None = None, size: str = "lab"
) -> list[Path]:
    """The notebooks written beside their sources, each executed by the running interpreter.

    A notebook is replaced only when all its cells ran and nothing in it is at fault. What cells
    write to standard error is shown here and not kept.

    Args:
        folder: where the sources are; the kernel works there too.
        only: names of the lessons to build; default all.
        size: W2S_SIZE for the lessons.

    Raises:
        W2SError: a malformed source, a failed cell, or output that should not be committed.
    """
    written = []
    for source, notebook in [(path, read_source(path)) for path in sources(folder, only)]:
        execute(notebook, source, size)
        written.append(write(source.with_suffix(".ipynb"), canonical(notebook)))
    return written


def write(target: Path, text: str, *, told: bool = True) -> Path:
    """Puts a text into a file, whole or not at all; gives the file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        part.write_text(text, "utf-8", newline="\n")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    if told:
        print(f"built {target}", file=sys.stderr)
    return target


def execute(notebook, source: Path, size: str = "lab") -> None:
    """Fills in outputs and execution counts; everything else stays as the source has it.

    Raises:
        W2SError: a failed cell, or output that should not be committed.
    """
    _run(notebook, source, size)
    for number, what in faults(notebook):
        raise W2SError(f"cell {number} {what}", where=str(source), mend="mend the cell")


def _run(notebook, source: Path, size: str) -> None:
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    progress = bar(None, source.stem, total=len(notebook.cells))
    reached = 0

    def on_cell_start(cell, cell_index):
        nonlocal reached
        reached = cell_index
        progress.update()

    executed = copy.deepcopy(notebook)
    # with no folder to look in, `python3` is this interpreter, whatever the user has installed
    here = KernelSpecManager(kernel_dirs=[])
    client = NotebookClient(
        executed,
        km=AsyncKernelManager(kernel_name="python3", kernel_spec_manager=here),
        resources={"metadata": {"path": str(source.parent)}},
        timeout=CELL_SECONDS,
        on_cell_start=on_cell_start,
        extra_arguments=["--log-level=ERROR"],  # the kernel's own advice is not for the author
        coalesce_streams=True,  # how a stream is cut into messages differs from run to run
    )
    # What a slider draws is then plain output of its cell, as nbval sees it. Played by nbclient,
    # an Output widget answers on a socket that is being waited on, and a build can stall.
    client.widget_registry = {}
    inline = "module://matplotlib_inline.backend_inline"  # also where the user has set another
    try:
        client.execute(env=os.environ | {"W2S_SIZE": size, "W2S_QUIET": "1", "MPLBACKEND": inline})
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        told = str(error)
        if isinstance(error, CellExecutionError):  # its str() repeats the cell and the traceback
            told = f"{error.ename}: {error.evalue}"
        where = f"{source}: cell {reached + 1} ({notebook.cells[reached].id})"
        raise W2SError("\n".join(told.split("\n")[:3]), where=where, mend="mend the cell") from None
    finally:
        progress.close()
    for number, (cell, ran) in enumerate(zip(notebook.cells, executed.cells, strict=True), 1):
        if cell.cell_type == "code":
            cell.execution_count = ran.execution_count
            claim = "claim" in cell.metadata.get("tags", [])  # nbval compares its stderr as well
            for output in ran.outputs:
                noise = output.get("name") == "stderr"
                if noise:
                    print(f"{source}: cell {number}: {output.text.rstrip()}", file=sys.stderr)
                # a live widget is nothing without its kernel
                if WIDGET not in output.get("data", {}) and (claim or not noise):
                    cell.outputs.append(output)


def canonical(notebook) -> str:
    """The one form in which a notebook is committed."""
    import nbformat

    return nbformat.writes(notebook, version=4) + "\n"


def check(folder: str | Path = LESSONS, only: Iterable[str] | None = None) -> list[str]:
    """How the committed notebooks differ from what their sources build: plain lines, or none.

    Outputs and execution counts aside, a file must be what `build` writes, byte for byte.

    Raises:
        W2SError: no such folder, no source in it, or a name that it does not have.
    """
    paths = sources(folder, only)
    findings = [line for path in paths for line in drift(path, read_source)]
    if not only:
        built = {path.with_suffix(".ipynb") for path in paths}
        orphans = sorted(set(Path(folder).glob("*.ipynb")) - built)
        findings += [f"{path}: has no source; write it or delete this" for path in orphans]
    return findings


def drift(source: Path, read: Callable) -> Iterator[str]:
    """How the notebook beside a source differs from `read(source)`, with the way to mend it."""
    yield from (f"{line}; run `make build`" for line in _drift(source, read))


def _drift(source: Path, read: Callable) -> Iterator[str]:
    from nbformat import v4
    from nbformat.validator import iter_validate

    target = source.with_suffix(".ipynb")
    try:
        expected = read(source)
        text = target.read_text("utf-8")
        invalid = next(iter_validate(json.loads(text), version=4, version_minor=5), None)
    except W2SError as error:
        yield str(error)
        return
    except FileNotFoundError:
        yield f"{target}: is missing"
        return
    except ValueError as error:
        invalid = error
    if invalid:
        yield f"{target}: is not a valid notebook ({str(invalid).splitlines()[0]})"
        return
    committed = v4.reads(text)  # nbformat.read would mend it first
    if len(committed.cells) != len(expected.cells):
        cells = f"{len(committed.cells)} cells, its source {len(expected.cells)}"
        yield f"{target}: has {cells}"
        return
    for cell, own in zip(expected.cells, committed.cells, strict=True):
        if cell.cell_type == own.cell_type == "code":
            cell.outputs, cell.execution_count = own.outputs, own.execution_count
    pairs = enumerate(zip(expected.cells, committed.cells, strict=True), start=1)
    differing = [f"cell {n} ({own.id}) differs" for n, (cell, own) in pairs if cell != own]
    if not differing and committed.metadata != expected.metadata:
        differing = ["the notebook's metadata differ"]
    if not differing and text != canonical(expected):
        differing = ["the JSON differs in form"]
    yield from (f"{target}: {what} from its source" for what in differing)
    if not differing:
        for number, what in faults(committed):
            yield f"{target}: cell {number} ({committed.cells[number - 1].id}) {what}"
