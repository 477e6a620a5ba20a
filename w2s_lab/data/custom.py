"""Your own data → `Task`: a csv, jsonl or parquet file, a folder, or a data set on the Hub.

It does not guess which columns to use, nor make classes out of measurements. Whatever it leaves
out is counted, warned about and kept in the task's provenance.
"""

import csv
import difflib
import hashlib
import io
import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from w2s_lab.data import Task
from w2s_lab.data.splits import check_no_leak, deal_groups, first_of_near_duplicates
from w2s_lab.errors import W2SError

ENDINGS = (".csv", ".jsonl", ".parquet")
MAX_ITEMS = {"smoke": 300, "lab": 20_000, "full": None}
RARE = 8  # items of a class that sampling spares: two for each of four splits
LONGEST = 20_000  # characters, about eight pages; no model here reads further
SHARES = {"supervise": 0.2, "transfer": 0.4, "validation": 0.1, "test": 0.3}


def load(
    source: str,
    *,
    size: str,
    text: str = "text",
    label: str = "label",
    group: str | None = None,
    id: str | None = None,
    config: str | None = None,
    split: str | None = None,
    encoding: str = "utf-8",
    seed: int = 0,
    split_shares: Mapping[str, float] = SHARES,
) -> Task:
    """A classification task made of two columns of a file, a folder or a Hub data set.

    Rows without a text or label, copies and near-duplicates are left out with a counted warning;
    of a text that comes with two different labels no copy is kept. Splits that the data come
    with are put together first, because here whole groups are dealt to splits.

    Args:
        source: a .csv, .jsonl or .parquet file, a folder that `datasets` saved or that is laid
            out as on the Hub, or `owner/name` on the Hub.
        size: "smoke" keeps about 300 items, "lab" 20,000, "full" all; classes keep their shares.
        text: the column of the texts.
        label: the column of the classes: strings, integers or booleans.
        group: the column of what must not cross a split; by default each row is on its own.
        id: the column of unique names; by default the row's number, from 0.
        config: which configuration of a folder or Hub data set.
        split: take only this one of the splits that a folder or Hub data set comes with.
        encoding: of a csv or jsonl file.
        seed: of the sample and of the splits.
        split_shares: wanted share of the items per split.

    Raises:
        W2SError: data that cannot be read, or that make no task; says how to mend it.
    """
    source, path = str(source), Path(source)
    table, names = _read(path, source, config, split, encoding)
    roles = {"text": text, "label": label} | {
        k: v for k, v in dict(group=group, id=id).items() if v
    }
    columns = {
        role: _column(table, name, role, names.get(name), source) for role, name in roles.items()
    }
    texts, labels = columns["text"], columns["label"]
    cut = sum(len(t) > LONGEST for t in texts if t)
    columns["text"] = texts = [t and t[:LONGEST] for t in texts]
    rows, dropped = _usable(columns, MAX_ITEMS[size], seed)
    notes = [f"{n:,} of {len(texts):,} rows left out: {why}" for why, n in dropped.items()]
    notes += [f"{cut:,} texts cut to {LONGEST:,} characters"] if cut else []
    for note in notes:
        warnings.warn(f"{source}: {note}", stacklevel=3)  # points at the caller of load_task

    kinds = np.array([labels[i] for i in rows], str)
    used = set(kinds.tolist())
    classes = tuple(c for c in names.get(label) or _in_order(used) if c in used)
    if len(classes) < 2:
        left = f"only the class {classes[0]!r}" if classes else "no row to use"
        raise W2SError(
            "; ".join([left, f"{len(texts):,} rows read", *notes]),
            where=source,
            mend=f"column {label!r} must hold two classes or more",
        )
    ids = np.array([columns["id"][i] if id else str(i) for i in rows])
    if len(set(ids.tolist())) < len(ids):
        raise W2SError(f"two rows share one {id!r}", where=source, mend="leave out id=")
    groups = np.array([columns["group"][i] for i in rows]) if group else ids
    splits = deal_groups(groups, kinds, split_shares, seed=seed)
    inputs = [texts[i] for i in rows]
    check_no_leak(inputs, groups, splits)
    return Task(
        name=path.name if path.exists() else source,
        size=size,
        inputs=inputs,
        gold=np.array([classes.index(k) for k in kinds]),
        groups=groups,
        ids=ids,
        splits=splits,
        classes=classes,
        provenance={
            "source": source,
            # of the file; for folders and the Hub, of the texts and labels
            "sha256": hashlib.sha256(
                path.read_bytes() if path.is_file() else json.dumps([texts, labels]).encode()
            ).hexdigest(),
            "rows_read": len(texts),
            "rows_dropped": dropped,
            "texts_cut": cut,
            "seed": seed,
        },
    )


def _usable(columns, limit, seed):
    """Numbers of the rows to keep, and how many were left out for each reason."""
    texts, labels = columns["text"], columns["label"]
    rows = np.arange(len(texts))
    dropped = {}

    def keep(kept, otherwise):
        nonlocal rows
        if len(kept) < len(rows):
            dropped[otherwise] = len(rows) - len(kept)
        rows = np.array(kept, int)

    for role, values in columns.items():
        keep([i for i in rows if values[i] is not None], f"no readable {role}")
    same = [" ".join(t.lower().split()) if t else t for t in texts]
    seen: dict = {}  # text → label → first row with both
    for i in rows:
        seen.setdefault(same[i], {}).setdefault(labels[i], i)
    # nobody can tell which of two labels is right, so neither is believed
    keep([i for i in rows if len(seen[same[i]]) == 1], "one text with two labels")
    keep([i for i in rows if seen[same[i]][labels[i]] == i], "copy of another row")
    if limit and len(rows) > limit:
        kinds = np.array([labels[i] for i in rows])
        keep(rows[_sample(kinds, limit, seed)], "not in the sample of this size")
    keep(rows[first_of_near_duplicates([texts[i] for i in rows])], "near-duplicate")
    return rows, dropped


def _sample(kinds, limit, seed):
    """Sorted positions of about `limit` items, in which each class keeps its share."""
    rng = np.random.default_rng(seed)
    chosen = []
    for kind in np.unique(kinds):
        members = rng.permutation(np.flatnonzero(kinds == kind))
        chosen.append(members[: max(RARE, round(limit * len(members) / len(kinds)))])
    return np.sort(np.concatenate(chosen))


def _in_order(names):
    """Class names sorted as numbers if all are, else as words."""
    try:
        return sorted(names, key=lambda name: (float(name), name))
    except ValueError:
        return sorted(names)


def _column(table, name, role, class_names, source):
    """One column as a list of strings, None where a row has nothing readable there."""
    if name not in table:
        lower = {c.lower(): c for c in table}
        close = difflib.get_close_matches(name.lower(), lower, n=1)
        raise W2SError(
            f"no column {name!r}; there are {', '.join(repr(c[:40]) for c in table) or 'none'}",
            where=source,
            mend=f"did you mean {role}={lower[close[0]]!r}?" if close else f"name one by {role}=",
        )
    try:
        found = table[name][:]
    except UnicodeDecodeError as e:  # parquet takes any bytes for text until they are read
        raise W2SError(
            f"column {name!r} holds text that is not UTF-8, such as {e.object[e.start :][:1]!r}",
            where=source,
            mend="decode the texts before saving them",
        ) from None
    allowed = str if role == "text" else str | int | float
    values = []
    for row, value in enumerate(found):
        if class_names and value is not None:  # the Hub's test splits hide labels as -1
            value = class_names[value] if 0 <= value < len(class_names) else None
        if value is None or value != value:  # NaN
            value = ""
        if not isinstance(value, allowed):
            raise W2SError(
                f"row {row} of column {name!r} is of type {type(value).__name__}",
                where=source,
                mend=f"each {role} must be a string" + ", integer or boolean" * (role != "text"),
            )
        if role == "label" and isinstance(value, float) and value.is_integer():
            value = int(value)  # integers with gaps come as 1.0
        value = str(value).strip()
        # half a surrogate pair, which JSON may hold, stops every tokenizer
        values.append(None if not value or re.search("[\ud800-\udfff]", value) else value)
    if role == "label":
        _refuse_measurements(values, name, source)
    return values


def _refuse_measurements(labels, name, source):
    try:
        broken = [v for v in labels if v and not float(v).is_integer()]
    except ValueError:
        return  # words, so classes
    if broken:
        raise W2SError(
            f"column {name!r} holds numbers such as {broken[0]}; classification needs classes",
            where=source,
            mend="cut the numbers into classes first, for example low and high",
        )


def _read(path, source, config, split, encoding):
    """Columns by name, and the class names of those columns that declare them."""
    ending = path.suffix.lower()
    if not path.is_file() and (path.is_dir() or ending not in ENDINGS):
        return _read_dataset(source, config, split)
    if not path.exists():
        raise W2SError("no such file", where=source, mend="check the path")
    if ending not in ENDINGS:
        raise W2SError(
            f"cannot read files that end in {ending!r}",
            where=source,
            mend=f"save it as one of {', '.join(ENDINGS)}",
        )
    data = path.read_bytes()
    if not data.strip():
        raise W2SError("the file is empty", where=source, mend="give a row for each item")
    if ending == ".parquet":
        return _read_dataset("parquet", None, None, data_files=source)
    try:
        content = data.decode(encoding).removeprefix("\ufeff")  # the mark that Excel writes
    except LookupError:
        raise W2SError(f"unknown encoding {encoding!r}", where=source) from None
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        likely = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "cp1252"
        raise W2SError(
            f"byte 0x{data[e.start]:02x} at position {e.start} (line {line}) is not {encoding}",
            where=source,
            mend=f"save the file as UTF-8, or say what it is, perhaps encoding={likely!r}",
        ) from None
    return (_read_csv if ending == ".csv" else _read_jsonl)(content, source), {}


def _read_csv(content, source):
    csv.field_size_limit(2**31 - 1)  # the default refuses texts over 131,072 characters
    lines = csv.reader(io.StringIO(content, newline=""), strict=True)
    filled = filter(None, lines)
    try:
        header = [name.strip() for name in next(filled, [])]
        rows = []
        for row in filled:
            if len(row) > len(header):
                raise csv.Error(f"{len(row)} fields, but {len(header)} column names")
            rows.append(row + [None] * (len(header) - len(row)))
    except csv.Error as e:
        raise W2SError(
            f"line {lines.line_num}: {e}",
            where=source,
            mend='put texts that hold commas in "double quotes", and double the quotes inside',
        ) from None
    return {name: [row[c] for row in rows] for c, name in enumerate(header)}


def _read_jsonl(content, source):
    rows = []
    for number, line in enumerate(content.split("\n"), 1):  # not splitlines: texts hold U+2028
        try:
            rows += [dict(json.loads(line))] if line.strip() else []
        except (ValueError, TypeError, RecursionError) as e:
            raise W2SError(
                f"line {number} is not a JSON object ({getattr(e, 'msg', e)})",
                where=source,
                mend='give one object a line, like {"text": "…", "label": "…"}',
            ) from None
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _read_dataset(name, config, split, data_files=None):
    """All splits together, or one, of whatever the `datasets` library can load."""
    import datasets

    try:
        if any(Path(name, f).exists() for f in ("dataset_dict.json", "state.json")):
            data = datasets.load_from_disk(name)
        else:
            data = datasets.load_dataset(name, config, data_files=data_files)
        parts = data if isinstance(data, dict) else {"train": data}
        if split and split not in parts:
            raise ValueError(f"there is no split {split!r}, only {', '.join(parts)}")
        data = datasets.concatenate_datasets([parts[s] for s in parts if split in (None, s)])
    except Exception as e:  # as wide as the network and the disk: all of it is told in one line
        root: BaseException = e
        while root.__cause__:
            root = root.__cause__
        raise W2SError(
            f"cannot be loaded ({type(root).__name__}: {str(root)[:300]})",
            where=data_files or name,
            mend="write the file again"
            if data_files
            else "check the name, config= and split=, and for the Hub the connection",
        ) from None
    declared = {name: tuple(f.names) for name, f in data.features.items() if hasattr(f, "names")}
    return {name: data[name] for name in data.column_names}, declared
