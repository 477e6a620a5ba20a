"""Own data: every format gives the same task, and bad data a clear line or a counted warning."""

import csv
import json
import random
import re
import warnings

import numpy as np
import pytest

from w2s_lab.data import custom
from w2s_lab.data.splits import check_no_leak
from w2s_lab.errors import W2SError


def passage(seed: int, words: int = 30) -> str:
    """A text of made-up words, unlike that of any other seed."""
    draw = random.Random(seed)
    return " ".join("".join(draw.choices("abcdefghij", k=6)) for _ in range(words))


def rows(n: int = 40, classes=("no", "yes")) -> list[dict]:
    return [{"text": passage(i), "label": classes[i % len(classes)]} for i in range(n)]


def write(path, items) -> str:
    """`items` as a csv, jsonl or parquet file, by the ending of `path`."""
    if path.suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(items), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            lines = csv.DictWriter(file, items[0])
            lines.writeheader()
            lines.writerows(items)
    return str(path)


def load(source, **options):
    """The task, where nothing is to be warned about."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return custom.load(source, size="lab", **options)


def dropped(source, match, **options):
    """The task and its counts, where a warning is due."""
    with pytest.warns(UserWarning) as all_told:
        task = custom.load(source, size="lab", **options)
    told = [
        one for one in all_told if one.category is UserWarning
    ]  # not what an import complains of
    assert len(told) == len(task.provenance["rows_dropped"])
    assert re.search(match, str(told[0].message))
    return task, task.provenance["rows_dropped"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """What `datasets` keeps of a file is kept for one test only."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


# --- sources -----------------------------------------------------------------------------------


def folder_saved(path, items):
    from datasets import Dataset

    Dataset.from_list(items).save_to_disk(path / "saved")
    return str(path / "saved")


def folder_saved_in_splits(path, items):
    from datasets import Dataset, DatasetDict

    parts = {"train": Dataset.from_list(items[:30]), "test": Dataset.from_list(items[30:])}
    DatasetDict(parts).save_to_disk(path / "parts")
    return str(path / "parts")


def folder_of_csv_as_on_the_hub(path, items):
    (path / "hub").mkdir()
    write(path / "hub/train.csv", items[:30])
    write(path / "hub/test.csv", items[30:])
    return str(path / "hub")


def folder_of_parquet_as_on_the_hub(path, items):
    (path / "hub/data").mkdir(parents=True)
    write(path / "hub/data/train-00000-of-00002.parquet", items[:20])
    write(path / "hub/data/train-00001-of-00002.parquet", items[20:])
    return str(path / "hub")


SOURCES = {
    "csv": lambda path, items: write(path / "own.csv", items),
    "jsonl": lambda path, items: write(path / "own.jsonl", items),
    "parquet": lambda path, items: write(path / "own.parquet", items),
    "upper-case ending": lambda path, items: (
        write(path / "own.csv", items) and str((path / "own.csv").rename(path / "OWN.CSV"))
    ),
    "saved": folder_saved,
    "saved in splits": folder_saved_in_splits,
    "hub csv": folder_of_csv_as_on_the_hub,
    "hub parquet": folder_of_parquet_as_on_the_hub,
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_gives_the_same_task(tmp_path, kind):
    task = load(SOURCES[kind](tmp_path, rows()))
    assert sorted(task.inputs) == sorted(row["text"] for row in rows())
    gold = {row["text"]: row["label"] for row in rows()}
    assert all(gold[t] == task.classes[g] for t, g in zip(task.inputs, task.gold, strict=True))
    assert task.classes == ("no", "yes")
    assert sorted(np.concatenate(list(task.splits.values()))) == list(range(40))
    # 20, 40, 10 and 30 per cent of 20 items of each class
    assert [list(c.values()) for c in task.counts().values()] == [[4, 4], [8, 8], [2, 2], [6, 6]]
    assert task.provenance["rows_read"] == 40
    assert task.provenance["rows_dropped"] == {}


def test_the_sha256_is_that_of_the_file(tmp_path):
    import hashlib

    source = write(tmp_path / "own.csv", rows())
    digest = hashlib.sha256((tmp_path / "own.csv").read_bytes()).hexdigest()
    assert load(source).provenance["sha256"] == digest


def test_a_folders_sha256_changes_with_one_label(tmp_path):
    items = rows()
    first = load(folder_saved(tmp_path / "a", items)).provenance["sha256"]
    items[0]["label"] = "yes"
    assert load(folder_saved(tmp_path / "b", items)).provenance["sha256"] != first


def test_a_file_that_changed_is_read_again(tmp_path):
    path = tmp_path / "own.parquet"
    assert len(load(write(path, rows(40))).inputs) == 40
    assert len(load(write(path, rows(44))).inputs) == 44


def test_one_of_the_datas_own_splits_can_be_taken_alone(tmp_path):
    source = folder_saved_in_splits(tmp_path, rows())
    assert len(load(source, split="train").inputs) == 30
    with pytest.raises(W2SError, match="no split 'dev', only train, test"):
        load(source, split="dev")


def test_columns_groups_and_ids_are_taken_by_name(tmp_path):
    items = [
        {"clause": r["text"], "kind": r["label"], "deal": i // 4, "key": f"k{i}"}
        for i, r in enumerate(rows(80))
    ]
    source = write(tmp_path / "own.jsonl", items)
    task = load(source, text="clause", label="kind", group="deal", id="key")
    assert list(task.ids[:2]) == ["k0", "k1"]
    assert len(set(task.groups)) == 20
    check_no_leak(task.inputs, task.groups, task.splits)
    with pytest.raises(W2SError, match="two rows share one 'deal'"):
        load(source, text="clause", label="kind", id="deal")


def test_another_seed_deals_other_splits_and_one_seed_the_same(tmp_path):
    source = write(tmp_path / "own.csv", rows())
    tests = [load(source, seed=seed).splits["test"].tolist() for seed in (0, 0, 1)]
    assert tests[0] == tests[1] != tests[2]


def test_shares_can_be_chosen(tmp_path):
    task = load(write(tmp_path / "own.csv", rows()), split_shares={"transfer": 0.5, "test": 0.5})
    assert {name: len(index) for name, index in task.splits.items()} == {"transfer": 20, "test": 20}


def test_smoke_is_a_sample_that_keeps_shares_and_spares_rare_classes(tmp_path):
    items = rows(980) + [{"text": passage(i), "label": "rare"} for i in range(980, 1000)]
    source = write(tmp_path / "own.csv", items)
    with pytest.warns(UserWarning, match="698 of 1,000 rows left out: not in the sample"):
        task = custom.load(source, size="smoke")
    # 300 · 490 / 1000 = 147 of the two common ones; 300 · 20 / 1000 = 6 of the rare one, so 8
    assert task.classes == ("no", "rare", "yes")
    assert np.bincount(task.gold).tolist() == [147, 8, 147]
    with pytest.warns(UserWarning):
        other = custom.load(source, size="smoke", seed=1)
    assert set(task.ids) != set(other.ids)
    assert (np.diff(task.ids.astype(int)) > 0).all()  # in the order of the file
    assert len(custom.load(source, size="full").inputs) == 1000


# --- classes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    "labels, classes",
    [
        ((10, 9), ("9", "10")),
        ((True, False), ("False", "True")),
        (("b", "a"), ("a", "b")),
        (("2", "x", "10"), ("10", "2", "x")),
    ],
)
def test_classes_are_sorted_as_numbers_or_as_words(tmp_path, ending, labels, classes):
    task = load(write(tmp_path / f"own.{ending}", rows(60, labels)))
    assert task.classes == classes
    assert task.classes[task.gold[list(task.ids).index("0")]] == str(labels[0])


def test_integers_with_gaps_are_still_integers(tmp_path):
    items = [*rows(40, (1.0, 0.0)), {"text": passage(99), "label": float("nan")}]
    task, counts = dropped(write(tmp_path / "own.parquet", items), "1 of 41 rows .* readable label")
    assert task.classes == ("0", "1")
    assert counts == {"no readable label": 1}


def declared(path, labels):
    from datasets import ClassLabel, Dataset, Features, Value

    names = ClassLabel(names=["zebra", "ant", "unused"])
    columns = {"text": [passage(i) for i in range(len(labels))], "label": labels}
    return Dataset.from_dict(columns, Features({"text": Value("string"), "label": names}))


@pytest.mark.parametrize("form", ["parquet", "saved"])
def test_declared_class_names_keep_their_order_and_hidden_labels_are_left_out(tmp_path, form):
    data = declared(tmp_path, [0, 1] * 20 + [-1, -1, None])
    source = str(tmp_path / "own.parquet" if form == "parquet" else tmp_path / "saved")
    data.to_parquet(source) if form == "parquet" else data.save_to_disk(source)
    task, counts = dropped(source, "3 of 43 rows left out: no readable label")
    assert task.classes == ("zebra", "ant")
    assert task.gold[0] == 0
    assert counts == {"no readable label": 3}


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_measurements_are_not_classes(tmp_path, ending):
    source = write(tmp_path / f"own.{ending}", rows(40, (0.25, 1.0)))
    with pytest.raises(W2SError, match=r"'label' holds numbers such as 0.25; .* needs classes"):
        load(source)


def test_a_list_is_not_a_class(tmp_path):
    source = write(tmp_path / "own.jsonl", [{"text": "a", "label": ["x", "y"]}])
    with pytest.raises(W2SError, match="row 0 of column 'label' is of type list"):
        load(source)


def test_one_class_only_is_told_with_what_was_left_out(tmp_path):
    items = [*rows(20, ("no",)), {"text": "", "label": "yes"}]
    with (
        pytest.warns(UserWarning),
        pytest.raises(W2SError, match="only the class 'no'; 21 rows read; 1 of 21 rows left out"),
    ):
        custom.load(write(tmp_path / "own.csv", items), size="lab")


def test_a_class_too_rare_for_every_split_is_named(tmp_path):
    items = rows(40) + [{"text": passage(i), "label": "rare"} for i in range(40, 43)]
    with pytest.raises(W2SError, match=r"1 of 3 classes .* rare \(3\); merge or leave out"):
        load(write(tmp_path / "own.csv", items))


# --- rows --------------------------------------------------------------------------------------


def test_rows_with_nothing_in_a_column_are_left_out_and_counted_by_column(tmp_path):
    bad = [
        {"text": None, "label": "no", "deal": "a"},
        {"text": " \n", "label": "no", "deal": "a"},
        {"text": "half a \ud83d pair", "label": "no", "deal": "a"},
        {"text": passage(90), "label": "", "deal": "a"},
        {"text": passage(91), "deal": "a"},
        {"text": passage(92), "label": "no", "deal": None},
    ]
    good = [row | {"deal": str(i)} for i, row in enumerate(rows())]
    source = write(tmp_path / "own.jsonl", bad + good)
    task, counts = dropped(source, "3 of 46 rows left out: no readable text", group="deal")
    assert counts == {"no readable text": 3, "no readable label": 2, "no readable group": 1}
    assert task.ids[0] == "6"  # names stay those of the rows in the file
    assert len(task.inputs) == 40


def test_a_line_that_ends_early_has_no_label(tmp_path):
    path = tmp_path / "own.csv"
    write(path, rows())
    path.write_text(path.read_text() + "no comma here\n")
    _, counts = dropped(str(path), "1 of 41 rows left out")
    assert counts == {"no readable label": 1}


def test_copies_are_left_out_whatever_their_case_and_spacing(tmp_path):
    again = {"text": "  " + passage(3).upper().replace(" ", "\n "), "label": "yes"}
    task, counts = dropped(
        write(tmp_path / "own.csv", [*rows(), again, again]), "2 of 42 rows left out: copy of"
    )
    assert counts == {"copy of another row": 2}
    assert passage(3) in task.inputs


def test_a_text_with_two_labels_is_left_out_with_all_its_copies(tmp_path):
    other = [{"text": passage(3), "label": "no"}, {"text": passage(3), "label": "yes"}]
    task, counts = dropped(
        write(tmp_path / "own.csv", rows() + other), "3 of 42 rows left out: one text with two"
    )
    assert counts == {"one text with two labels": 3}
    assert passage(3) not in task.inputs


def test_near_duplicates_are_left_out(tmp_path):
    near = {"text": passage(3, 80) + " and so on", "label": "yes"}
    items = [*rows(), {"text": passage(3, 80), "label": "yes"}, near]
    # the first 30 words are row 3's, which stays: 26 of its runs among 76 → 0.34, below 0.5
    _, counts = dropped(write(tmp_path / "own.csv", items), "1 of 42 rows left out: near-dup")
    assert counts == {"near-duplicate": 1}


def test_the_splits_are_checked_for_leaks(tmp_path, monkeypatch):
    monkeypatch.setattr(custom, "first_of_near_duplicates", lambda texts: np.arange(len(texts)))
    items = [{"text": f"{passage(0)} {i}", "label": i % 2} for i in range(40)]
    with pytest.raises(W2SError, match="are near-duplicates"):
        load(write(tmp_path / "own.csv", items))


def test_absurdly_long_texts_are_cut(tmp_path):
    items = [*rows(), {"text": passage(77, 60_000), "label": "no"}]  # 7 characters a word
    with pytest.warns(UserWarning, match="1 texts cut to 20,000 characters"):
        task = custom.load(write(tmp_path / "own.csv", items), size="lab")
    assert max(map(len, task.inputs)) == 20_000
    assert task.provenance["texts_cut"] == 1


@pytest.mark.parametrize(
    "column, mend",
    [("Text", "did you mean text='text'"), ("txet", "did you mean text='text'"), ("q", "text=")],
)
def test_a_missing_column_is_told_with_those_there_are(tmp_path, column, mend):
    source = write(tmp_path / "own.csv", rows())
    with pytest.raises(
        W2SError, match=rf"no column '{column}'; there are 'text', 'label'; .*{mend}"
    ):
        load(source, text=column)


def test_a_column_of_numbers_is_not_text(tmp_path):
    items = [{"text": i, "label": "no"} for i in range(3)]
    with pytest.raises(W2SError, match="row 0 of column 'text' is of type int; each text must be"):
        load(write(tmp_path / "own.parquet", items))


def test_bytes_that_are_no_text_are_told_in_parquet_too(tmp_path):
    import pyarrow
    from pyarrow import parquet

    raw = pyarrow.array([b"fine", "café".encode("cp1252")]).view(pyarrow.string())
    table = pyarrow.table({"text": raw, "label": [0, 1]})
    parquet.write_table(table, tmp_path / "own.parquet")
    with pytest.raises(W2SError, match=r"'text' holds text that is not UTF-8, such as b'\\xe9'"):
        load(str(tmp_path / "own.parquet"))


# --- files -------------------------------------------------------------------------------------


def test_marks_line_ends_quotes_and_empty_lines_of_csv_do_not_matter(tmp_path):
    lines = [f'"{r["text"]}, ""said""\r\nand more",{r["label"]}\r\n' for r in rows()]
    (tmp_path / "own.csv").write_bytes(
        b"\xef\xbb\xbf\r\n text ,label\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n"
    )
    task = load(str(tmp_path / "own.csv"))
    assert task.inputs[0] == passage(0) + ', "said"\r\nand more'
    assert len(task.inputs) == 40


def test_words_that_other_readers_take_for_missing_are_texts_and_classes(tmp_path):
    items = [*rows(40, ("NA", "null")), {"text": "nan", "label": "NA"}]
    task = load(write(tmp_path / "own.csv", items))
    assert task.classes == ("NA", "null")
    assert "nan" in task.inputs


def test_a_line_separator_inside_json_does_not_end_the_line(tmp_path):
    items = [{"text": f"one\u2028{passage(i)}\x85", "label": i % 2} for i in range(40)]
    path = tmp_path / "own.jsonl"
    path.write_bytes("\r\n".join(json.dumps(i, ensure_ascii=False) for i in items).encode())
    assert len(load(str(path)).inputs) == 40


BROKEN = {
    "empty.csv": (b"", "the file is empty; give a row"),
    "blank.jsonl": (b"\n \n", "the file is empty"),
    "empty.parquet": (b"", "the file is empty"),
    "mark.csv": (b"\xef\xbb\xbf", "no column 'text'; there are none"),
    "header.csv": (b"text,label\n", "no row to use; 0 rows read"),
    "latin.csv": (
        "text,label\nfine,a\ncafé,b\n".encode("cp1252"),
        r"byte 0xe9 at position 21 \(line 3\) is not utf-8; .* encoding='cp1252'",
    ),
    "wide.csv": (
        "text,label\na,b\n".encode("utf-16"),
        r"0xff at position 0 \(line 1\) .* encoding='utf-16'",
    ),
    "comma.csv": (b"text,label\na,x\none, two,x\n", "line 3: 3 fields, but 2 column names"),
    "quote.csv": (b'text,label\n"never closed,x\nb,y\n', "line 3: unexpected end of data"),
    "word.jsonl": (b'{"text": "a", "label": 1}\nhello\n', "line 2 is not a JSON object"),
    "list.jsonl": (b"[1, 2]\n", "line 1 is not a JSON object"),
    "half.jsonl": (b'{"text": "a", "lab', "line 1 is not a JSON object"),
    "csv.parquet": (b"text,label\na,x\n", "cannot be loaded .*[Pp]arquet"),
    "notes.xlsx": (b"PK", "cannot read files that end in '.xlsx'; save it as one of .csv"),
    "notes": (b"text", "cannot read files that end in ''"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_one_line_with_place_and_remedy(tmp_path, name):
    content, message = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(W2SError, match=message) as raised:
        load(str(tmp_path / name))
    assert str(raised.value).startswith(str(tmp_path / name))
    assert "\n" not in str(raised.value)


def test_another_encoding_can_be_named(tmp_path):
    text = "".join(f"{passage(i)} café,{i % 2}\n" for i in range(40))
    (tmp_path / "own.csv").write_bytes(("text,label\n" + text).encode("cp1252"))
    assert load(str(tmp_path / "own.csv"), encoding="cp1252").inputs[0].endswith("café")
    with pytest.raises(W2SError, match="unknown encoding 'klingon'"):
        load(str(tmp_path / "own.csv"), encoding="klingon")


@pytest.mark.parametrize("source", ["nobody/nothing", "nothing/here.txt"])
def test_a_hub_name_that_cannot_be_reached_is_told_in_one_line(source):
    with pytest.raises(W2SError, match=f"{source}: cannot be loaded .* check the name"):
        load(source)


def test_a_missing_file_is_not_looked_for_on_the_hub():
    with pytest.raises(W2SError, match=r"nothing/here\.csv: no such file"):
        load("nothing/here.csv")
