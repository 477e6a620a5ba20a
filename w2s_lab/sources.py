"""The rows of a csv, jsonl or parquet file of any size, of a folder or a Hub data set, in parts.

A few rows are held at a time; what each part holds is told by a hash. Texts are read as a task's
are, see `data.custom`.
"""

import csv
import difflib
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from w2s_lab.data.custom import ENDINGS, LONGEST
from w2s_lab.errors import W2SError

PART_CHARACTERS = 4_000_000  # a part ends here at the latest, so that long texts need no more room
LONGEST_FIELD = 2**24  # characters; so a quote that is never closed does not fill the memory


@dataclass(frozen=True)
class Part:
    number: int
    start: int  # the number of its first row
    texts: list[str]
    ids: list[str | None]  # empty where no column was named
    key: str  # of the content, the settings and the place
    step: float  # how much of the source it is, in the unit of the bar


def parts_of(rows, source, text, id, size, settings) -> Iterator[Part]:
    """The source in parts of `size` texts, or fewer long ones."""
    number = start = length = 0
    texts: list[str] = []
    ids: list[str | None] = []
    step, characters = 0.0, 0

    def made() -> Part:
        digest = hashlib.sha256(repr((settings, start, len(ids))).encode())
        for one in itertools.chain(texts, (repr(i) for i in ids)):
            digest.update(delimited(one))
        return Part(number, start, texts, ids, digest.hexdigest(), step)

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


def delimited(text: str) -> bytes:
    """Bytes that no other texts in a row give together."""
    raw = text.encode("utf-8", "surrogatepass")
    return b"%d:" % len(raw) + raw


# Rows come as (values by column, how far it has moved the bar, whether it is its file's first).
Rows = Iterator[tuple[Mapping, float, bool]]


def rows_of(
    source: str, wanted: list[str], encoding: str, split: str
) -> tuple[Rows, int | None, str]:
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


def _csv_rows(file: Path, encoding: str) -> Rows:
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


def _jsonl_rows(file: Path, encoding: str) -> Rows:
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


def _parquet_rows(file: Path, wanted: list[str]) -> Rows:
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


def _hub(name: str, split: str) -> Rows:
    import datasets

    try:
        for number, row in enumerate(datasets.load_dataset(name, split=split, streaming=True)):
            yield row, 1.0, not number
    except Exception as e:  # as wide as the network: all of it is told in one line
        mend = "check the path, or the name, the split and the connection to the Hub"
        what = f"no such file, and the Hub does not deliver ({type(e).__name__}: {str(e)[:200]})"
        raise W2SError(what, where=name, mend=mend) from None
