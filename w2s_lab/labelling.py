"""Files of any size labelled by a `Labeller`, in constant memory; stopped, it goes on where it was.

Parts are written as they are done and joined in order at the end. Nothing is trained here but the
weak model that `labeller` fits.
"""

import errno
import hashlib
import itertools
import json
import os
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.csv import CSVWriter

from w2s_lab import sources
from w2s_lab.data import Task
from w2s_lab.data.custom import ENDINGS
from w2s_lab.errors import W2SError
from w2s_lab.labeller import Labeller, weak_labeller
from w2s_lab.progress import bar
from w2s_lab.sources import Part, parts_of, rows_of

PART = 8192  # texts; a kill costs at most the few parts in work, seconds with word vectors
AHEAD = 3  # parts in work: one is read, one computed, and one is ready when either ends
ALIVE_SECONDS = 60  # without an answer; then it is asked whether there is still somebody to answer
JOINED = 8_000_000  # bytes of labels in one row group of the final file
SETTINGS = "settings.json"  # in the folder of the parts, written before the first of them


@dataclass(frozen=True)
class Labelled:
    """What `label_file` has written.

    Attributes:
        path: the file with one row for each row of the source, in order.
        rows: how many.
        empty: how many of them have no text.
        counts: rows by class.
        new: rows that this call labelled; the others it found labelled.
    """

    path: Path
    rows: int
    empty: int
    counts: Mapping[str, int]
    new: int

    def __str__(self) -> str:
        counts = ", ".join(f"{n:,} {name}" for name, n in self.counts.items())
        return f"{self.path}: {self.rows:,} rows: {counts}"


def label_file(
    source: str | Path,
    to: str | Path,
    *,
    task: str | Task | None = None,
    weak: str = "static",
    labels: int | None = None,
    seed: int = 0,
    size: str | None = None,
    labeller: Labeller | str | Path | None = None,
    text: str = "text",
    id: str | None = None,
    with_text: bool = False,
    encoding: str = "utf-8",
    split: str = "train",
    device: str = "auto",
    part: int = PART,
    executor: Executor | None = None,
    ahead: int = AHEAD,
    alive: Callable[[], bool] | None = None,
) -> Labelled:
    """One row of labels for each row of a source of any size, in its order, in constant memory.

    Each part is on disk as soon as it is labelled, in the folder `TO.part`; killed at any moment,
    the same call goes on there. The file `to` appears whole, with its card `TO.json` that says what
    was labelled by what; called once more, nothing is left to do. Columns: row (from 0), id (as
    text, if asked for), label, and `p_CLASS` for each class (float32). A row without text is
    labelled like an empty text and counted in a warning.

    Args:
        source: a csv, jsonl or parquet file, a folder of them, or `owner/name` on the Hub.
        to: a file that ends in .parquet, .jsonl or .csv.
        task, weak, labels, seed, size: for `weak_labeller`, where no `labeller` is given; `task` is
            a name, a file or a `Task`.
        labeller: one that is trained already, or the file it was saved in.
        text: the column of the texts, which are read like a task's: stripped, and up to 20,000
            characters.
        id: a column to be copied next to the row's number.
        with_text: copy the texts too.
        encoding: of csv and jsonl files.
        split: of a data set on the Hub.
        part: texts in one part, fewer where they are long.
        executor: where parts are labelled, by default two threads here. Its workers need this
            package and the same model.
        ahead: parts in work at the same time.
        alive: whether the executor still has workers; asked once a minute when nothing came back.
            Some executors let a part without a worker wait for ever; False ends that.

    Raises:
        W2SError: a source that cannot be read, labels there that came from another source, other
            settings or another precision, a full disk, no workers any more. What is labelled so far
            is kept.
    """
    to, source = Path(to), str(source)
    if to.suffix.lower() not in ENDINGS:
        raise W2SError("no such format", where=str(to), mend=f"end it in {', '.join(ENDINGS)}")
    if not to.parent.is_dir():
        raise W2SError("no such folder", where=str(to.parent), mend="make it first")
    if Path(source).is_dir() and to.resolve().is_relative_to(Path(source).resolve()):
        mend = "write it elsewhere, so that it is not taken for a source"
        raise W2SError("this is in the folder to be labelled", where=str(to), mend=mend)
    if part < 1 or ahead < 1:
        raise W2SError(f"part is {part}, ahead is {ahead}", mend="give 1 or more")
    rows, total, unit = rows_of(source, [text, *filter(None, [id])], encoding, split)
    if isinstance(labeller, str | Path):
        labeller = Labeller.load(labeller)
    if labeller is None:
        if task is None:
            raise W2SError("neither a task nor a labeller", where="label", mend="give one")
        labeller = weak_labeller(task, weak, labels=labels, seed=seed, size=size, device=device)
    settings = {
        "labeller": f"{labeller.fitted} ({labeller.digest})",
        "text": text,
        "id": id,
        "with_text": with_text,
        "part": part,
        "part_characters": sources.PART_CHARACTERS,
    }
    parts = parts_of(rows, source, text, id, part, json.dumps(settings))
    if to.exists():
        return _told(to, _finished(to, settings, parts))
    work = to.with_name(f"{to.name}.part")
    with _alone(work, settings) as kept, ExitStack() as stack:
        if to.exists():  # another process has ended since, and given back what it had locked
            return _told(to, _finished(to, settings, parts))
        executor = executor or stack.enter_context(ThreadPoolExecutor(2))
        seen = stack.enter_context(bar(None, "labels", total, unit=unit))
        card, new = _label(labeller, parts, work, kept, executor, ahead, alive, device, seen)
        card |= {"source": source, "settings": kept}
        _join(work, to, card)
        # while it is locked: afterwards it may be another's
        shutil.rmtree(work, ignore_errors=True)
    return _told(to, card, new)


def _label(
    labeller, parts, work, settings, executor, ahead, alive, device, seen
) -> tuple[dict, int]:
    """Labels the parts that are not on disk yet: what there is now, and how many rows are new.

    The first answer says what is computed in, and `settings` keep it: it is for the workers to say.
    """
    card: dict = {"parts": 0, "rows": 0, "empty": 0}
    content, way, new = hashlib.sha256(), 0.0, 0
    waiting: dict[Future, Part] = {}

    def write_some(most: int) -> int:
        written = 0
        while len(waiting) > most:
            written += write_one()
        return written

    def write_one() -> int:
        # One at a time, and let go of with this call: what is held when its worker dies, Dask
        # computes again, though it is on disk
        if not wait(waiting, ALIVE_SECONDS, FIRST_COMPLETED).done and alive and not alive():
            mend = "start some and give the same command: finished parts are kept"
            raise W2SError("all workers are gone", where=str(work), mend=mend)
        future = next((one for one in waiting if one.done()), None)  # the earliest of them
        if future is None:
            return 0
        one, (probs, dtype) = waiting.pop(future), future.result()
        _settle(settings, dtype, work)
        table = _table(one, probs, labeller.classes, settings["with_text"])
        _write_whole(_file(work, one.number), partial(pq.write_table, table))
        return len(probs)

    try:
        for one in parts:
            content.update(one.key.encode())
            card["parts"] += 1
            card["rows"] += len(one.texts)
            card["empty"] += sum(not text for text in one.texts)
            there = _key_of(_file(work, one.number))
            if there not in (None, one.key):
                raise _changed(work, f"row {one.start:,} or one of the {len(one.texts):,} from it")
            if there is None:
                new += write_some(ahead - 1)
                asked = labeller, one.texts, device, settings["dtype"]
                waiting[executor.submit(_answer, *asked)] = one
            way += one.step
            seen.update(int(way) - seen.n)
        new += write_some(0)
    except BrokenExecutor:
        mend = "give the same again; what is labelled is kept"
        raise W2SError(
            "a worker died, and the others with it", where=str(work), mend=mend
        ) from None
    finally:
        for future in waiting:
            future.cancel()
    if _file(work, card["parts"]).exists():
        raise _changed(work, f"what came after row {card['rows'] - 1:,}")
    return card | {"sha256": content.hexdigest()}, new


def _answer(
    labeller: Labeller, texts: Sequence[str], device: str, dtype: str | None
) -> tuple[np.ndarray, str]:
    """Probabilities, and what they are computed in; none where that is not the `dtype` asked for.

    A worker is asked and not the client: one may have a GPU that the other has not.
    """
    here = labeller.dtype(device)
    if dtype not in (None, here):
        return np.empty((0, len(labeller.classes)), np.float32), here
    return labeller(texts, device=device), here


def _settle(settings: dict, dtype: str, work: Path) -> None:
    """Notes what the first part is computed in, and refuses another one in another precision."""
    if settings["dtype"] is None:
        settings["dtype"] = dtype
        told = json.dumps(settings).encode()
        _write_whole(work / SETTINGS, lambda out: out.write(told))
    if dtype != settings["dtype"]:
        what = f"computed in {dtype} now, the labels there in {settings['dtype']}"
        mend = f"use devices of one kind, or delete {work.name} to begin anew"
        raise W2SError(what, where=str(work), mend=mend)


def _changed(work: Path, what: str) -> W2SError:
    mend = f"put the old source back, or delete {work.name} to begin anew"
    return W2SError(f"{what} has changed since it was labelled", where=str(work), mend=mend)


@contextmanager
def _alone(work: Path, settings: dict) -> Iterator[dict]:
    """The folder for this process alone; the settings, with the dtype of parts there or None."""
    from filelock import FileLock, Timeout

    work.mkdir(exist_ok=True)
    try:
        lock = FileLock(work / ".lock").acquire(timeout=0)
    except (Timeout, FileNotFoundError):  # or its owner is just deleting it
        mend = "wait for it, or give another file to write to"
        raise W2SError("another process is labelling there", where=str(work), mend=mend) from None
    with lock:
        before: dict = {"dtype": None}
        if any(work.glob("[0-9]*.parquet")):
            before = json.loads((work / SETTINGS).read_text())
            mend = f"give the same, or delete {work.name} to begin anew"
            _refuse_other(before, settings, work, mend)
        try:
            yield settings | {"dtype": before["dtype"]}
        finally:
            if not any(work.glob("[0-9]*.parquet")):  # a mistake that the first rows have shown
                shutil.rmtree(work, ignore_errors=True)


def _refuse_other(before: dict, settings: dict, where: Path, mend: str) -> None:
    other = [f"{k} {before.get(k)!r}" for k in settings if before.get(k) != settings[k]]
    if other:
        raise W2SError(f"made with {', '.join(other)}", where=str(where), mend=mend)


def _finished(to: Path, settings: dict, parts: Iterator[Part]) -> dict:
    """The card of what was written there before, if it is what would be written now."""
    mend = "move it away, or give another file to write to"
    try:
        card = json.loads(_card(to).read_text())
        _refuse_other(card["settings"], settings, to, mend)
    except (OSError, ValueError, KeyError):
        raise W2SError("this file is there already", where=str(to), mend=mend) from None
    content = hashlib.sha256()
    for part in parts:
        content.update(part.key.encode())
    if content.hexdigest() != card["sha256"]:
        raise W2SError("the source has changed since", where=str(to), mend=mend)
    shutil.rmtree(to.with_name(f"{to.name}.part"), ignore_errors=True)  # of a kill at the very end
    return card


def _told(to: Path, card: dict, new: int = 0) -> Labelled:
    if card["empty"]:
        what = f"{card['empty']:,} of {card['rows']:,} rows have no text; they are labelled as such"
        warnings.warn(f"{card['source']}: {what}", stacklevel=3)  # points at label_file's caller
    return Labelled(to, card["rows"], card["empty"], card["counts"], new)


def _card(to: Path) -> Path:
    return to.with_name(f"{to.name}.json")


def _file(work: Path, number: int) -> Path:
    return work / f"{number:08d}.parquet"


def _key_of(file: Path) -> str | None:
    """The key of a part on disk; None where there is none, or one that was cut short."""
    try:
        return pq.read_schema(file).metadata[b"key"].decode()
    except (OSError, pa.ArrowInvalid, KeyError, TypeError):
        return None


def _table(part: Part, probs: np.ndarray, classes: Sequence[str], with_text: bool) -> pa.Table:
    columns = {"row": pa.array(np.arange(part.start, part.start + len(probs)))}
    if part.ids:
        columns["id"] = pa.array(part.ids, pa.string())
    columns["label"] = pa.array(classes, pa.string()).take(pa.array(probs.argmax(1)))
    columns |= {f"p_{name}": pa.array(probs[:, c]) for c, name in enumerate(classes)}
    if with_text:
        columns["text"] = pa.array(part.texts, pa.string())
    return pa.table(columns).replace_schema_metadata({"key": part.key})


def _join(work: Path, to: Path, card: dict) -> None:
    """Makes the final file out of the parts, and its card; adds the counts by class to it."""
    writer = {".parquet": _to_parquet, ".jsonl": _to_jsonl, ".csv": _to_csv}[to.suffix.lower()]
    counts: Counter = Counter()

    def tables() -> Iterator[pa.Table]:
        held: list[pa.Table] = []
        for number in range(card["parts"]):
            held.append(pq.read_table(_file(work, number)).replace_schema_metadata(None))
            if sum(table.nbytes for table in held) >= JOINED or number == card["parts"] - 1:
                table = pa.concat_tables(held)
                for one in table["label"].value_counts().to_pylist():
                    counts[one["values"]] += one["counts"]
                yield table
                held = []

    whole = work / to.name
    _write_whole(whole, lambda out: writer(tables(), out))
    card["counts"] = dict(counts.most_common())
    told = json.dumps(card, indent=1, ensure_ascii=False)
    # the card first: a file that is there is finished
    _write_whole(_card(to), lambda out: out.write(told.encode()))
    os.replace(whole, to)


def _to_parquet(tables: Iterator[pa.Table], out: BinaryIO) -> None:
    first = next(tables)
    with pq.ParquetWriter(out, first.schema) as writer:
        for table in itertools.chain([first], tables):
            writer.write_table(table)


def _to_csv(tables: Iterator[pa.Table], out: BinaryIO) -> None:
    first = next(tables)
    with CSVWriter(out, first.schema) as writer:
        for table in itertools.chain([first], tables):
            writer.write_table(table)


def _to_jsonl(tables: Iterator[pa.Table], out: BinaryIO) -> None:
    # a row as a dict takes many times what it takes in a table
    few = itertools.chain.from_iterable(table.to_batches(1024) for table in tables)
    for batch in few:
        for row in batch.to_pylist():
            # float32 has seven digits; the others would be noise
            row = {k: round(v, 7) if isinstance(v, float) else v for k, v in row.items()}
            out.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def _write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """A file that appears by one rename, after `write(stream)` and the disk have taken it all."""
    part = path.with_name(f".{path.name}.tmp")
    try:
        with part.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        free = shutil.disk_usage(path.parent).free // 10**6
        mend = "free some space and give the same command again; what is labelled is kept"
        where = str(path.parent)
        raise W2SError(f"the disk is full ({free} MB free)", where=where, mend=mend) from error
