"""A trained head as a `Labeller`, and files of any size labelled by it in constant memory.

It keeps no token states and holds a few parts of the source at a time, never all its rows. The
weak model is fitted as `run` fits it (protocol.Bench, after Burns et al. 2023, section 3).
"""

import csv
import difflib
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
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.csv import CSVWriter

from w2s_lab.cache import atomic_folder, cache_dir
from w2s_lab.data import Task, load_task
from w2s_lab.data.custom import ENDINGS, LONGEST
from w2s_lab.errors import W2SError
from w2s_lab.progress import bar

PART = 8192  # texts; a kill costs at most the few parts in work, seconds with word vectors
PART_CHARACTERS = 4_000_000  # or fewer texts, so that long ones need no more memory
AHEAD = 3  # parts in work: one is read, one computed, and one is ready when either ends
JOINED = 8_000_000  # bytes of labels in one row group of the final file
LONGEST_FIELD = 2**24  # characters; so a quote that is never closed does not fill the memory
# Threads of one process take turns, so that one tokenizes while another one computes: neither
# a tokenizer nor a model that is left at its first hook can serve two at once.
TOKENIZING, COMPUTING = Lock(), Lock()


@dataclass(frozen=True, eq=False)
class Labeller:
    """A head with the frozen trunk that it reads: texts go in, probabilities come out.

    Attributes:
        trunk: the model's name, as it was asked for.
        key: of the trunk's weights and tokenizer; another content is refused.
        layer: the block after which states are read.
        classes: the names of the columns of the probabilities.
        arrays: float32: "mean" and "deviation" (dim,) that scale the states, "axes" (dim, width)
            that rotate them (left out: none), and of the head "query" (width, queries), "weight"
            (max(1, queries) * width, classes) and "bias" (classes,); no query is the plain mean.
        fitted: in words, what it has learned.
    """

    trunk: str
    key: str
    layer: int
    classes: tuple[str, ...]
    arrays: Mapping[str, np.ndarray]
    fitted: str

    def __call__(self, texts: Sequence[str], *, device: str = "auto") -> np.ndarray:
        """Class probabilities, float32 array (items, classes). Nothing is cached.

        Raises:
            W2SError: the trunk has other weights here, or there is no such device.
        """
        from w2s_lab.models import trunk

        with (
            TOKENIZING
        ):  # all that is imported or loaded too: transformers cannot be by two threads
            found = trunk(self.trunk, device=device)
            if (found.key, found.layer) != (self.key, self.layer):
                what = f"{self.trunk!r} has other weights than the labeller was fitted on"
                raise W2SError(what, where=self.fitted, mend="use the same files, or fit it anew")
            found.blocks()
            ids = token_ids(found, texts)
        with COMPUTING:
            return self._probs(found, ids)

    def _probs(self, trunk, ids: list[list[int]]) -> np.ndarray:
        import torch

        from w2s_lab.features import read
        from w2s_lab.heads import Heads

        of = {name: torch.from_numpy(a).to(trunk.device) for name, a in self.arrays.items()}
        width, queries = of["query"].shape
        heads = Heads(np.zeros(1, int), width, len(self.classes), queries).to(trunk.device)
        mine = {"query": of["query"][:, None], "weight": of["weight"][None]}
        heads.load_state_dict(mine | {"bias": of["bias"][None, None]})
        rows = np.array([len(row) if queries else 1 for row in ids])
        probs = np.empty((len(ids), len(self.classes)), np.float32)
        for batch, read_states in read(trunk, ids, pool=not queries):
            with torch.inference_mode():
                states = torch.from_numpy(read_states).to(of["mean"])
                mask = torch.from_numpy(np.arange(states.shape[1]) < rows[batch, None])
                states = (states - of["mean"]) / of["deviation"]
                states = states @ of["axes"] if "axes" in of else states
                found = heads(states, mask.to(trunk.device)).softmax(-1)[0]
            probs[batch] = found.cpu().numpy()
        return probs

    @cached_property
    def digest(self) -> str:
        """A hash of everything that its answers depend on."""
        digest = hashlib.sha256(repr((self.key, self.layer, self.classes)).encode())
        for name in sorted(self.arrays):
            digest.update(name.encode() + self.arrays[name].tobytes())
        return digest.hexdigest()[:20]

    def save(self, path: str | Path) -> None:
        """One safetensors file with the arrays, and the rest as JSON in its header."""
        from safetensors.numpy import save

        about = {k: v for k, v in vars(self).items() if k in self.__match_args__ and k != "arrays"}
        packed = save(dict(self.arrays), {"labeller": json.dumps(about)})
        _write_whole(Path(path), lambda stream: stream.write(packed))

    @staticmethod
    def load(path: str | Path) -> "Labeller":
        """The labeller that `save` wrote.

        Raises:
            W2SError: no such file, or not one of these.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "numpy") as file:
                about = json.loads((file.metadata() or {})["labeller"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            about["classes"] = tuple(about["classes"])
            return Labeller(**about, arrays=arrays)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            what = "no such file" if isinstance(error, FileNotFoundError) else "this is no labeller"
            mend = "give a file that Labeller.save or `w2s-lab label --save-labeller` wrote"
            raise W2SError(what, where=str(path), mend=mend) from None


def weak_labeller(
    task: str | Task,
    weak: str = "static",
    *,
    labels: int | None = None,
    seed: int = 0,
    size: str | None = None,
    device: str = "auto",
) -> Labeller:
    """The weak model of one seed of a run: a linear head on mean states, fitted to few gold labels.

    Kept in the cache under all that it depends on, so that the same call gives the same weights to
    the bit.

    Args:
        task: one with classes; a name or a file is loaded at `size`.
        weak: the trunk's name.
        labels: gold labels of `supervise` that it gets; the task's own number by default.
        seed: which gold labels, and which first weights.

    Raises:
        W2SError: a task without classes, an unknown model, or more labels than there are.
    """
    from w2s_lab import protocol
    from w2s_lab.heads import train
    from w2s_lab.methods import balanced, one_hot

    task = task if isinstance(task, Task) else load_task(task, size=size)
    bench = _bench(task, weak, device, labels, seed)
    given, transfer = np.sort(bench.given[0]), task.splits["transfer"]
    fitted = f"{weak} on {task.name} ({task.size}), {bench.labels} gold labels, seed {seed}"

    def fill(folder: Path) -> None:
        # Transfer twice, as in a run, which labels it and scales by it: a deviation divides by one
        # less than the number of rows
        rows = np.concatenate([given, transfer, transfer])
        inputs = bench.inputs(bench.trunk, rows, pool=True)
        gold = task.gold[given][None]
        target, weight = one_hot(gold, bench.classes), balanced(gold, bench.classes)
        heads = train(
            inputs,
            np.arange(len(given)),
            bench.lessons(target, weight, seed=bench.numbers),
            epochs=protocol.GOLD_STEPS,
            batch=len(given),
            queries=0,
            desc=f"{weak} on gold",
        )
        labeller_of(bench.trunk, inputs, heads, task.classes, fitted).save(folder / "labeller")

    digest = hashlib.sha256(Path(__file__).read_bytes())
    for room in protocol.ROOMS:
        digest.update(Path(__file__).with_name(f"{room}.py").read_bytes())
    facts = (fitted, bench.trunk.key, bench.trunk.layer, bench.device, task.classes)
    digest.update(repr((facts, protocol.GOLD_STEPS, task.gold[given].tolist())).encode())
    for item in itertools.chain(given, transfer):
        digest.update(_bytes(task.inputs[item]))
    home = cache_dir() / "results" / digest.hexdigest()[:24]
    return Labeller.load(atomic_folder(home, fill) / "labeller")


def student_labeller(
    task: Task, supervisor: Labeller, *, strong: str = "minilm", device: str = "auto"
) -> Labeller:
    """A strong student that has learned (method naive) from the supervisor's labels of `transfer`.

    Raises:
        W2SError: a task without classes, other classes than the supervisor's, or an unknown model.
    """
    from w2s_lab import protocol
    from w2s_lab.heads import train
    from w2s_lab.methods import METHODS

    bench = _bench(task, strong, device)
    if supervisor.classes != task.classes:
        what = f"it tells apart {supervisor.classes}, the task {task.classes}"
        raise W2SError(what, where=supervisor.fitted, mend="fit it on this task")
    transfer = task.splits["transfer"]
    probs = supervisor([task.inputs[i] for i in transfer], device=device)[None]
    lessons = bench.lessons(*METHODS["naive"].teach(probs, bench.prior, 0))
    inputs = bench.inputs(bench.trunk, transfer, dim=protocol.DIM)
    heads = train(inputs, np.arange(len(transfer)), lessons, epochs=protocol.EPOCHS)
    fitted = f"{strong} taught by {supervisor.fitted}"
    return labeller_of(bench.trunk, inputs, heads, task.classes, fitted)


def labeller_of(trunk, inputs, heads, classes, fitted: str, *, head: int = 0) -> Labeller:
    """One of many trained heads, with the scale of its inputs, as a labeller."""
    scale = {"mean": inputs.mean, "deviation": inputs.deviation, "axes": inputs.axes}
    of = {"query": heads.query[:, head], "weight": heads.weight[head], "bias": heads.bias[head, 0]}
    arrays = {
        name: value.detach().cpu().contiguous().numpy()
        for name, value in (scale | of).items()
        if value is not None
    }
    return Labeller(trunk.name, trunk.key, trunk.layer, tuple(classes), arrays, fitted)


def _bench(task: Task, model: str, device: str, labels: int | None = None, seed: int = 0):
    from w2s_lab.protocol import Bench

    if task.in_text or task.protocol != "label":
        mend = "give indemnity, or a file of yours with texts and labels"
        raise W2SError("its answers are no classes", where=task.name, mend=mend)
    return Bench(task, model, model, device, [seed], labels)


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

    Raises:
        W2SError: a source that cannot be read, labels there that came from another source or other
            settings, a full disk. What is labelled so far is kept.
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
    rows, total, unit = _source(source, [text, *filter(None, [id])], encoding, split)
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
        "part_characters": PART_CHARACTERS,
    }
    parts = _parts(rows, source, text, id, part, json.dumps(settings))
    if to.exists():
        return _told(to, _finished(to, settings, parts))
    work = to.with_name(f"{to.name}.part")
    with _alone(work, settings), ExitStack() as stack:
        executor = executor or stack.enter_context(ThreadPoolExecutor(2))
        seen = stack.enter_context(bar(None, "labels", total, unit=unit))
        card, new = _label(labeller, parts, work, executor, ahead, device, with_text, seen)
        card |= {"source": source, "settings": settings}
        _join(work, to, card)
    shutil.rmtree(work, ignore_errors=True)
    return _told(to, card, new)


def _label(labeller, parts, work, executor, ahead, device, with_text, seen) -> tuple[dict, int]:
    """Labels the parts that are not on disk yet: what there is now, and how many rows are new."""
    card: dict = {"parts": 0, "rows": 0, "empty": 0}
    content, way, new = hashlib.sha256(), 0.0, 0
    waiting: dict[Future, _Part] = {}

    def write_some(most: int) -> int:
        written = 0
        while len(waiting) > most:
            done = wait(waiting, return_when=FIRST_COMPLETED).done
            for future in [one for one in waiting if one in done]:  # `done` has no order
                one, probs = waiting.pop(future), future.result()
                table = _table(one, probs, labeller.classes, with_text)
                _write_whole(_file(work, one.number), partial(pq.write_table, table))
                written += len(probs)
        return written

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
                waiting[executor.submit(_answer, labeller, one.texts, device)] = one
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


def _answer(labeller: Labeller, texts: Sequence[str], device: str) -> np.ndarray:
    return labeller(texts, device=device)  # a function, because executors tell its name


def _changed(work: Path, what: str) -> W2SError:
    mend = f"put the old source back, or delete {work.name} to begin anew"
    return W2SError(f"{what} has changed since it was labelled", where=str(work), mend=mend)


@dataclass(frozen=True)
class _Part:
    number: int
    start: int  # the number of its first row
    texts: list[str]
    ids: list[str | None]  # empty where no column was named
    key: str  # of the content, the settings and the place
    step: float  # how much of the source it is, in the unit of the bar


def _parts(rows, source, text, id, size, settings) -> Iterator[_Part]:
    """The source in parts of `size` texts, or fewer long ones."""
    number = start = length = 0
    texts: list[str] = []
    ids: list[str | None] = []
    step, characters = 0.0, 0

    def made() -> _Part:
        digest = hashlib.sha256(repr((settings, start, len(ids))).encode())
        for one in itertools.chain(texts, (repr(i) for i in ids)):
            digest.update(_bytes(one))
        return _Part(number, start, texts, ids, digest.hexdigest(), step)

    for row, grown, first in rows:
        if first:
            _has(row, text, "text", source)
            if id:
                _has(row, id, "id", source)
        texts.append(_text(row.get(text), start + length, text, source))
        if id:
            value = row.get(id)
            ids.append(None if value is None else _readable(str(value)))
        length, step, characters = length + 1, step + grown, characters + len(texts[-1])
        if length == size or characters >= PART_CHARACTERS:
            yield made()
            number, start, length, step, characters = number + 1, start + length, 0, 0.0, 0
            texts, ids = [], []
    if length:
        yield made()
    elif not start:
        raise W2SError("no row to label", where=source, mend="give a row for each text")


def _has(row: Mapping, name: str, role: str, source: str) -> None:
    if name not in row:
        there = ", ".join(repr(str(c)[:40]) for c in itertools.islice(row, 20)) or "none"
        lower = {str(c).lower(): c for c in row}
        close = difflib.get_close_matches(name.lower(), lower, n=1)
        mend = f"did you mean {lower[close[0]]!r}?" if close else f"name the column of the {role}"
        raise W2SError(f"no column {name!r}; there are {there}", where=source, mend=mend)


def _text(value: object, row: int, name: str, source: str) -> str:
    """A row's text as a task has it (data.custom): stripped and cut; "" where there is none."""
    if value is None or value != value:  # NaN
        return ""
    if not isinstance(value, str):
        what = f"row {row:,} of column {name!r} is of type {type(value).__name__}"
        raise W2SError(what, where=source, mend="each text must be a string")
    return _readable(value.strip()[:LONGEST])


def _readable(text: str) -> str:
    """Without halves of surrogate pairs, which JSON may hold and which stop every tokenizer."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _bytes(text: str) -> bytes:
    """Bytes that no other texts in a row give together."""
    raw = text.encode("utf-8", "surrogatepass")
    return b"%d:" % len(raw) + raw


# Rows come as (values by column, how far it has moved the bar, whether it is its file's first).
_Rows = Iterator[tuple[Mapping, float, bool]]


def _source(
    source: str, wanted: list[str], encoding: str, split: str
) -> tuple[_Rows, int | None, str]:
    """The rows of a source, and the length of its bar in rows or, where nobody knows, megabytes."""
    path = Path(source)
    if not path.exists():
        if path.suffix.lower() in ENDINGS or source.count("/") != 1:
            raise W2SError("no such file", where=source, mend="check the path")
        return _hub(source, split), None, "row"
    if path.is_file() and path.suffix.lower() not in ENDINGS:
        mend = f"save it as one of {', '.join(ENDINGS)}"
        raise W2SError(f"cannot read files that end in {path.suffix!r}", where=source, mend=mend)
    inside = [path] if path.is_file() else sorted(path.rglob("*"))
    files = [file for file in inside if file.is_file() and file.suffix.lower() in ENDINGS]
    if not files:
        raise W2SError(f"no {', '.join(ENDINGS)} in it", where=source, mend="give another folder")
    if len({file.suffix.lower() for file in files}) > 1:
        raise W2SError("files of several formats", where=source, mend="give a folder of one format")
    if files[0].suffix.lower() == ".parquet":
        rows = (_parquet_rows(file, wanted) for file in files)
        total = sum(_parquet(file).metadata.num_rows for file in files)
        return itertools.chain.from_iterable(rows), total, "row"
    read = _csv_rows if files[0].suffix.lower() == ".csv" else _jsonl_rows
    total = sum(file.stat().st_size for file in files) // 10**6
    return itertools.chain.from_iterable(read(file, encoding) for file in files), total, "MB"


def _lines(file: Path, encoding: str, seen: list[int]) -> Iterator[str]:
    """The lines of a file, which end at "\\n" alone; `seen` counts lines and bytes."""
    with file.open("rb") as stream:
        for raw in stream:
            seen[0] += 1
            seen[1] += len(raw)
            try:
                line = raw.decode(encoding)
            except LookupError:
                raise W2SError(f"unknown encoding {encoding!r}", where=str(file)) from None
            except UnicodeDecodeError as e:
                mend = "save the file as UTF-8"
                if raw[:2] not in (b"\xff\xfe", b"\xfe\xff"):  # UTF-16, which has other line ends
                    mend += ", or give its encoding, perhaps cp1252"
                what = f"line {seen[0]:,}: byte 0x{raw[e.start]:02x} is not {encoding}"
                raise W2SError(what, where=str(file), mend=mend) from None
            # the mark that Excel writes
            yield line.removeprefix("\ufeff") if seen[0] == 1 else line


def _csv_rows(file: Path, encoding: str) -> _Rows:
    csv.field_size_limit(LONGEST_FIELD)
    seen, before, header = [0, 0], 0, None
    try:
        for row in csv.reader(_lines(file, encoding, seen), strict=True):
            if not row:
                continue
            if header is None:
                header, first = [name.strip() for name in row], True
                continue
            if len(row) > len(header):
                raise csv.Error(f"{len(row)} fields, but {len(header)} column names")
            row += [""] * (len(header) - len(row))
            yield dict(zip(header, row, strict=True)), (seen[1] - before) / 1e6, first
            before, first = seen[1], False
    except csv.Error as e:
        mend = 'put texts that hold commas in "double quotes", and double the quotes inside'
        raise W2SError(f"line {seen[0]:,}: {e}", where=str(file), mend=mend) from None


def _jsonl_rows(file: Path, encoding: str) -> _Rows:
    seen, before, first = [0, 0], 0, True
    for line in _lines(file, encoding, seen):
        if not line.strip():
            continue
        try:
            row = dict(json.loads(line))
        except (ValueError, TypeError, RecursionError) as e:
            what = f"line {seen[0]:,} is not a JSON object ({getattr(e, 'msg', e)})"
            mend = 'give one object a line, like {"text": "…"}'
            raise W2SError(what, where=str(file), mend=mend) from None
        yield row, (seen[1] - before) / 1e6, first
        before, first = seen[1], False


def _parquet(file: Path) -> pq.ParquetFile:
    try:
        # without a buffer it takes whole columns into memory
        return pq.ParquetFile(file, buffer_size=2**20)
    except (pa.ArrowInvalid, OSError) as e:
        raise W2SError(f"cannot be read ({e})", where=str(file), mend="write it again") from None


def _parquet_rows(file: Path, wanted: list[str]) -> _Rows:
    first, opened = True, _parquet(file)
    # of a column that is not there `_has` tells, and which there are
    columns = wanted if {*wanted} <= {*opened.schema_arrow.names} else None
    try:
        for batch in opened.iter_batches(1024, columns=columns):
            for row in batch.to_pylist():
                yield row, 1.0, first
                first = False
    except UnicodeDecodeError as e:  # parquet takes any bytes for text until they are read
        what = f"it holds text that is not UTF-8, such as {e.object[e.start :][:1]!r}"
        mend = "decode the texts before saving them"
        raise W2SError(what, where=str(file), mend=mend) from None
    except (pa.ArrowInvalid, OSError) as e:
        raise W2SError(f"cannot be read ({e})", where=str(file), mend="write it again") from None


def _hub(name: str, split: str) -> _Rows:
    import datasets

    try:
        for number, row in enumerate(datasets.load_dataset(name, split=split, streaming=True)):
            yield row, 1.0, not number
    except Exception as e:  # as wide as the network: all of it is told in one line
        mend = "check the path, or the name, the split and the connection to the Hub"
        what = f"no such file, and the Hub does not deliver ({type(e).__name__}: {str(e)[:200]})"
        raise W2SError(what, where=name, mend=mend) from None


@contextmanager
def _alone(work: Path, settings: dict) -> Iterator[None]:
    """The folder of the parts, for this process alone and for these settings."""
    from filelock import FileLock, Timeout

    work.mkdir(exist_ok=True)
    try:
        lock = FileLock(work / ".lock").acquire(timeout=0)
    except Timeout:
        mend = "wait for it, or give another file to write to"
        raise W2SError("another process is labelling there", where=str(work), mend=mend) from None
    with lock:
        file, mend = work / "settings.json", f"give the same, or delete {work.name} to begin anew"
        if any(work.glob("[0-9]*.parquet")):
            _refuse_other(json.loads(file.read_text()), settings, work, mend)
        else:
            _write_whole(file, lambda out: out.write(json.dumps(settings).encode()))
        try:
            yield
        finally:
            if not any(work.glob("[0-9]*.parquet")):  # a mistake that the first rows have shown
                shutil.rmtree(work, ignore_errors=True)


def _refuse_other(before: dict, settings: dict, where: Path, mend: str) -> None:
    other = [f"{k} {before.get(k)!r}" for k in settings if before.get(k) != settings[k]]
    if other:
        raise W2SError(f"made with {', '.join(other)}", where=str(where), mend=mend)


def _finished(to: Path, settings: dict, parts: Iterator[_Part]) -> dict:
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


def _table(part: _Part, probs: np.ndarray, classes: Sequence[str], with_text: bool) -> pa.Table:
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
