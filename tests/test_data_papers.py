"""Do the papers keep AclSum's splits, share one input, and stay apart at every size?"""

import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest

from w2s_lab.assets import fetch
from w2s_lab.data import load_task, papers, splits
from w2s_lab.data.papers import ASPECTS, deal_own_splits, opening, tidy
from w2s_lab.errors import W2SError


@pytest.fixture(scope="module")
def lab():
    return load_task("papers", size="lab")


@pytest.fixture(scope="module")
def raw() -> dict[str, dict]:
    """AclSum's rows by id, with the split of the file they came in."""
    found = {}
    for home in ("train", "val", "test"):
        with (fetch("aclsum") / f"{home}.jsonl").open(encoding="utf-8") as file:
            found |= {row["id"]: {"home": home, **row} for row in map(json.loads, file)}
    return found


def passage(seed: int, words: int = 30) -> str:
    """A sentence of made-up words, unlike that of any other seed."""
    draw = random.Random(seed)
    return " ".join("".join(draw.choices("abcdefghij", k=6)) for _ in range(words)) + "."


# --- texts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "tidied"),
    [
        ("We test it , and it works .", "We test it, and it works."),
        ("Named entities ( NER ) help .", "Named entities (NER) help."),
        ("( Zhang et al . , 2018 )", "(Zhang et al., 2018)"),
        ("up to 20 % in MRR", "up to 20% in MRR"),
        ("it gains .5 points", "it gains .5 points"),  # a number, not the end of a sentence
        ("What is it ? [ 3 ]", "What is it? [3]"),
        ('the term " open " stays', 'the term " open " stays'),  # nobody can tell which side
        ("tidy (as it is), and\nshort.", "tidy (as it is), and short."),
    ],
)
def test_spaces_that_a_tokenizer_put_are_taken_out(told, tidied):
    assert tidy(told) == tidied


def test_an_input_ends_with_the_last_sentence_that_fits():
    sentences = ["One two three .", "Four five .", "Six seven ."]  # 3, 2 and 2 words
    assert opening("A title", sentences, 9) == "A title\nOne two three. Four five. Six seven."
    assert opening("A title", sentences, 8) == "A title\nOne two three. Four five."
    assert opening("A title", sentences, 7) == "A title\nOne two three. Four five."
    assert opening("A title", sentences, 6) == "A title\nOne two three."
    # a shorter sentence behind one that does not fit is not pulled up
    assert opening("", ["One .", "Two three four .", "Five ."], 3) == "One."


def test_a_first_sentence_that_is_too_long_is_cut_instead_of_lost():
    assert opening("A title", ["One two three four ."], 5) == "A title\nOne two three"
    assert opening("A title", [], 5) == "A title"
    assert opening("A much longer title", ["One two three ."], 2) == "A much longer title"


def test_inputs_are_title_abstract_and_introduction_in_whole_sentences(lab, raw):
    for name, text in zip(lab.groups, lab.inputs, strict=True):
        heading, body = text.split("\n")
        told = raw[name]["sentences"]
        sentences = [tidy(s) for s in told["abstract"] + told["introduction"]]
        assert heading == tidy(raw[name]["title"])
        bodies = [" ".join(sentences[:n]) for n in range(1, len(sentences) + 1)]
        one_more = [*bodies, "word " * papers.WORDS][bodies.index(body) + 1]
        assert len(text.split()) <= papers.WORDS < len(f"{heading} {one_more}".split())


# --- the task ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "wanted"), [("lab", papers.PAPERS), ("smoke", papers.SMOKE)])
def test_every_split_has_its_papers_with_all_three_aspects_of_each(size, wanted):
    task = load_task("papers", size=size)
    assert task.in_text and task.classes == ()
    assert task.counts() == {s: dict.fromkeys(sorted(ASPECTS), n) for s, n in wanted.items()}
    assert len(task.inputs) == len(task.gold) == len(task.questions) == 3 * sum(wanted.values())
    assert sorted(np.concatenate(list(task.splits.values()))) == list(range(len(task.inputs)))
    assert task.labels <= len(task.splits["supervise"]) or size == "smoke"


def test_gold_is_the_experts_sentence_on_what_the_question_asks(lab, raw):
    rows = zip(lab.ids, lab.groups, lab.kinds, lab.gold, lab.questions, strict=True)
    for name, paper, aspect, gold, question in rows:
        assert name == f"{paper}:{aspect}"
        assert gold == raw[paper]["summary"][aspect].strip() != ""
        assert aspect in question and "one sentence" in question
    assert len(set(lab.ids)) == len(lab.ids) and len(set(lab.questions)) == 3


def test_the_three_items_of_a_paper_share_one_input(lab):
    for first in range(0, len(lab.inputs), 3):
        assert lab.inputs[first] is lab.inputs[first + 1] is lab.inputs[first + 2]
    assert len(set(map(id, lab.inputs))) == len(set(lab.inputs)) == len(lab.inputs) / 3


def test_aclsums_own_splits_are_kept(lab, raw):
    homes = {"supervise": "train", "transfer": "train", "validation": "val", "test": "test"}
    for split, index in lab.splits.items():
        assert {raw[paper]["home"] for paper in lab.groups[index]} == {homes[split]}
        first = [name for name, row in raw.items() if row["home"] == homes[split]]
        assert set(lab.groups[index]) - set(first[: len(index) // 3])  # drawn, not the first ones


def test_no_paper_and_no_near_duplicate_crosses_and_a_new_deal_is_checked_too(lab):
    splits.check_no_leak(lab.inputs, lab.groups, lab.splits)
    dealt = lab.resplit(3)
    assert sorted(np.concatenate(list(dealt.splits.values()))) == list(range(len(lab.inputs)))
    assert set(dealt.splits["test"]) != set(lab.splits["test"])
    assert dealt.counts()["test"] == dict.fromkeys(sorted(ASPECTS), papers.PAPERS["test"])


def test_smoke_is_a_part_of_the_lab_in_the_same_splits(lab):
    smoke = load_task("papers", size="smoke")
    for split, index in smoke.splits.items():
        assert set(smoke.ids[index]) <= set(lab.ids[lab.splits[split]])


@pytest.mark.slow
def test_the_same_task_comes_from_every_process():
    told = (
        "import hashlib; from w2s_lab.data import load_task; t = load_task('papers', size='lab');"
        "print(hashlib.sha256(repr((t.inputs, t.questions, t.gold.tolist(), t.ids.tolist(),"
        "{s: i.tolist() for s, i in t.splits.items()})).encode()).hexdigest())"
    )
    seeds = [os.environ | {"PYTHONHASHSEED": seed} for seed in ("1", "2")]
    runs = [subprocess.run([sys.executable, "-c", told], env=e, capture_output=True) for e in seeds]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr.decode()
    assert runs[0].stdout == runs[1].stdout


# --- keeping own splits apart ------------------------------------------------------------------


def deal(texts, groups, home):
    return deal_own_splits(texts, np.array(groups), np.array(home), "here")


def test_a_quarter_of_train_is_for_supervise_and_the_rest_stays_as_it_came():
    home = ["train"] * 100 + ["validation"] * 10 + ["test"] * 20
    dealt, dropped = deal([passage(i) for i in range(130)], np.arange(130).astype(str), home)
    assert {s: len(i) for s, i in dealt.items()} == {
        "supervise": 25,
        "transfer": 75,
        "validation": 10,
        "test": 20,
    }
    assert dropped == 0
    assert sorted([*dealt["supervise"], *dealt["transfer"]]) == list(range(100))
    np.testing.assert_array_equal(dealt["test"], np.arange(110, 130))


def test_of_near_duplicates_the_training_side_loses():
    texts = [passage(i) for i in range(12)]
    home = ["train"] * 8 + ["validation"] * 2 + ["test"] * 2
    texts[0] = texts[10] + " Once more."  # train resembles test
    texts[1] = texts[8] + " Once more."  # train resembles validation
    texts[9] = texts[11] + " Once more."  # validation resembles test
    dealt, dropped = deal(texts, np.arange(12).astype(str), home)
    assert dropped == 3
    assert dealt["test"].tolist() == [10, 11] and dealt["validation"].tolist() == [8]
    assert sorted([*dealt["supervise"], *dealt["transfer"]]) == [2, 3, 4, 5, 6, 7]


def test_a_group_in_two_splits_stays_with_the_test_side():
    home = ["train"] * 8 + ["validation"] * 2 + ["test"] * 2
    groups = ["t", "v", *"abcdef", "v", "t", "t", "w"]
    dealt, dropped = deal([passage(i) for i in range(12)], groups, home)
    assert dropped == 3  # items 0 (t), 1 (v) and 9 (t)
    assert dealt["test"].tolist() == [10, 11] and dealt["validation"].tolist() == [8]
    assert sorted([*dealt["supervise"], *dealt["transfer"]]) == [2, 3, 4, 5, 6, 7]


def test_a_split_of_which_nothing_is_left_is_named():
    texts = [passage(0), passage(1), passage(2), passage(2)]
    with pytest.raises(W2SError, match="here: no row of validation can be used"):
        deal(texts, list("abcd"), ["train", "train", "validation", "test"])


# --- full size ---------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """What `datasets` keeps of a folder is kept for one test only."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


SIZES = {"train": 8, "validation": 2, "test": 3}


def rows(kind: str, split: str) -> list[dict]:
    """Rows of one split in the format of that kind, each text its own."""
    seeds = [1000 * list(SIZES).index(split) + n for n in range(SIZES[split])]
    if kind == "tldr":  # several experts' summaries
        return [
            {
                "paper_id": f"P{s}",
                "source": [passage(s), passage(s + 500)],
                "target": [f"We say {s}.", "Another opinion."],
            }
            for s in seeds
        ]
    gold = {"highlights": "It is {} .\nIt ends .", "abstract": "we study {} . it works ."}[kind]
    texts = [f"{passage(s)} {passage(s + 500)}" for s in seeds]
    names = [{"id": f"A{s}"} if kind == "highlights" else {} for s in seeds]
    return [
        {"article": t, kind: gold.format(s), **n}
        for t, s, n in zip(texts, seeds, names, strict=True)
    ]


def saved(folder, kind):
    """As `datasets` saves it, with the splits in another order than we want them."""
    from datasets import Dataset, DatasetDict

    parts = {split: Dataset.from_list(rows(kind, split)) for split in SIZES}
    DatasetDict(parts).save_to_disk(folder)
    return str(folder)


def jsonl(folder, kind):
    folder.mkdir()
    for split in SIZES:
        lines = [json.dumps(row) + "\n" for row in rows(kind, split)]
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    return str(folder)


def parquet(folder, kind):
    import pyarrow
    from pyarrow import parquet

    (folder / "data").mkdir(parents=True)
    for split in SIZES:
        table = pyarrow.Table.from_pylist(rows(kind, split))
        parquet.write_table(table, folder / "data" / f"{split}-00000-of-00001.parquet")
    return str(folder)


GOLDS = {
    "tldr": "We say {}.",
    "highlights": "It is {}. It ends.",
    "abstract": "we study {}. it works.",
}


@pytest.mark.parametrize("write", [saved, jsonl, parquet])
@pytest.mark.parametrize("kind", GOLDS)
def test_full_size_reads_the_known_formats_and_keeps_their_splits(tmp_path, kind, write):
    task = load_task("papers", size="full", source=write(tmp_path / "set", kind))
    assert (task.name, task.size, task.in_text) == ("papers", "full", True)
    assert {s: len(i) for s, i in task.splits.items()} == {
        "supervise": 2,
        "transfer": 6,
        "validation": 2,
        "test": 3,
    }
    assert task.gold[task.splits["test"]].tolist() == [
        GOLDS[kind].format(s) for s in (2000, 2001, 2002)
    ]
    assert task.inputs[task.splits["test"][0]] == f"{passage(2000)} {passage(2500)}"
    assert set(task.kinds) == {kind} and set(task.questions) == {papers.QUESTIONS[kind]}
    prefix = {"tldr": "P2000", "highlights": "A2000", "abstract": "test:0"}[kind]
    assert task.groups[task.splits["test"][0]] == prefix
    splits.check_no_leak(task.inputs, task.groups, task.splits)
    assert set(task.resplit(1).splits) == set(task.splits)


def test_a_folder_laid_out_as_the_hubs_parquet_copy_needs_its_configuration(tmp_path):
    import pyarrow
    from pyarrow import parquet

    for config in ("Abstract", "AIC"):
        for split in SIZES:
            place = tmp_path / "scitldr" / config / split
            place.mkdir(parents=True)
            told = [r | {"target": [f"{config} {r['paper_id']}."]} for r in rows("tldr", split)]
            parquet.write_table(pyarrow.Table.from_pylist(told), place / "0000.parquet")
    source = str(tmp_path / "scitldr")
    task = load_task("papers", size="full", source=source, config="Abstract")
    assert len(task.inputs) == 13 and all(g.startswith("Abstract P") for g in task.gold)


def test_a_set_that_is_a_script_is_read_from_the_hubs_parquet_copy(tmp_path, monkeypatch):
    import datasets

    there = datasets.load_from_disk(saved(tmp_path / "set", "tldr"))
    asked = []

    def load_dataset(name, config=None, **where):
        asked.append((name, config, where))
        if not where:
            raise RuntimeError("Dataset scripts are no longer supported, but found scitldr.py")
        return there

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    task = load_task("papers", size="full")
    assert len(task.inputs) == 13
    assert asked == [
        ("allenai/scitldr", "Abstract", {}),
        ("allenai/scitldr", None, {"data_dir": "Abstract", "revision": "refs/convert/parquet"}),
    ]


def test_rows_without_words_are_counted_and_long_texts_cut(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(papers, "FULL_WORDS", 40)
    parts = {split: rows("tldr", split) for split in SIZES}
    parts["train"] += [
        {"paper_id": "x", "source": [" "], "target": ["Nothing to read."]},
        {"paper_id": "y", "source": [passage(77)], "target": ["", " "]},
        {"paper_id": "z", "source": [passage(78)], "target": ["", "Second expert."]},
    ]
    told = {split: datasets.Dataset.from_list(part) for split, part in parts.items()}
    datasets.DatasetDict(told).save_to_disk(tmp_path / "set")
    task = load_task("papers", size="full", source=str(tmp_path / "set"))
    assert len(task.inputs) == 14 and task.provenance["rows_empty"] == 2
    assert "Second expert." in task.gold
    assert {len(text.split()) for text in task.inputs} == {30}  # the second 30 do not fit


def test_at_most_so_many_rows_of_each_split_are_taken(tmp_path):
    source = saved(tmp_path / "set", "abstract")
    task = load_task("papers", size="full", source=source, limit=4)
    assert {s: len(i) for s, i in task.splits.items()} == {
        "supervise": 1,
        "transfer": 3,
        "validation": 2,
        "test": 3,
    }
    assert len(load_task("papers", size="full", source=source, limit=None).inputs) == 13


def test_what_cannot_be_used_is_one_line_with_a_remedy(tmp_path):
    import datasets

    def refused(source, match, **options):
        with pytest.raises(W2SError, match=match) as told:
            load_task("papers", **({"size": "full"} | options), source=str(source))
        assert "\n" not in str(told.value)

    part = datasets.Dataset.from_list([{"text": "a", "label": 1}] * 4)
    datasets.DatasetDict(dict.fromkeys(SIZES, part)).save_to_disk(tmp_path / "other")
    refused(tmp_path / "other", "other: no columns source and target, .* only text, label; rename")
    datasets.DatasetDict({"train": part, "test": part}).save_to_disk(tmp_path / "two")
    refused(tmp_path / "two", "two: no split validation, only train, test; name the splits")
    part.save_to_disk(tmp_path / "one")
    refused(tmp_path / "one", "one: no split test, validation, only train")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "empty: cannot be loaded")
    refused("nobody/nothing", "nobody/nothing: cannot be loaded .* check the name")
    refused(tmp_path / "one", "source: is read at size full only", size="lab")


def test_the_metric_is_one_that_exists():
    from w2s_lab.text_experiment import METRICS

    assert papers.METRIC in METRICS


def test_all_papers_are_read_in_the_order_of_the_files(raw):
    found = list(papers._aclsum(fetch("aclsum")))
    assert [paper.id for paper in found] == list(raw)
    assert [paper.home for paper in found] == ["train"] * 100 + ["validation"] * 50 + ["test"] * 100
