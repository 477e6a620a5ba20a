"""Is the gold rule what a reader would say, and do the clauses reach the splits without leaks?

The pool is made once for this file, from the verified copy of the licence texts in the cache.
"""

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from w2s_lab.assets import fetch
from w2s_lab.data import Task, indemnity, load_task, splits
from w2s_lab.data.indemnity import kind, promises
from w2s_lab.errors import W2SError

pytestmark = pytest.mark.slow  # the whole pool

READ = Path(__file__).parents[1] / "docs" / "data" / "indemnity_read.csv"


@pytest.fixture(scope="module")
def lab():
    return load_task("indemnity", size="lab")


@pytest.mark.parametrize(
    "clause",
    [
        "Licensee shall indemnify Licensor against all claims.",
        "You agree to indemnify, defend and hold us harmless from any claim.",
        "You will defend and INDEMNIFY the Company.",
        "Customer indemnifies the Supplier against loss.",
        "Licensee shall hold Licensor, its officers, directors, employees and agents harmless.",
        "You save us harmless from all expense arising out of your use.",
        "Each party shall keep the other harmless against third-party claims.",
        "Licensor is fully indemnified by the licensee against such claims.",
        "You agree that the authors shall be indemnified for all attorneys’ fees.",
        "The Vendor’s affiliates shall indemnify the Buyer’s agents.",
        # a denial, a permission or a mention elsewhere does not undo a promise
        "We do not warrant anything. You shall indemnify us.",
        "We may audit you; you shall indemnify us for the cost.",
        "The obligation to indemnify survives. Licensee shall indemnify Licensor.",
    ],
)
def test_a_promise_to_indemnify_is_found(clause):
    assert promises(clause) and kind(clause) == "promise"


@pytest.mark.parametrize(
    "clause",
    [
        "Licensor shall not indemnify Licensee.",
        "The Company has no obligation to indemnify you against any claim.",
        "Neither party shall indemnify the other.",
        "We will never defend or indemnify you.",
        "You may choose to indemnify your own customers.",
        "Contributor may indemnify its recipients on its own behalf.",
        "This section limits the obligation to indemnify under Section 9.",
        "The duty of the Supplier to defend and indemnify ends with this Agreement.",
        "If Vendor fails to indemnify the Buyer, the Buyer can terminate.",
        "The Buyer’s rights end where the Vendor’s insurer refuses to indemnify.",
        "The indemnified party shall give prompt notice of the claim.",
        "Notice must be given to each and indemnified party.",
        "Indemnification. See Section 12 for damages.",
        "The indemnity in Section 4 survives termination of this agreement.",
        "This is a harmless piece of code.",
    ],
)
def test_an_indemnity_denied_allowed_or_only_named_is_no_promise(clause):
    assert not promises(clause) and kind(clause) == "mention"


def test_hold_harmless_counts_only_within_one_sentence_and_in_reach():
    middle = "Licensor and its officers, directors and agents, "
    assert promises(f"Licensee shall hold {middle * 2}harmless.")  # 98 letters between
    assert not promises(f"Licensee shall hold {middle * 4}harmless.")  # 196
    assert not promises("Licensee shall hold the key. The tool is harmless.")


@pytest.mark.parametrize(
    ("clause", "sort"),
    [
        ("In no event is the author liable for damages or loss of any kind.", "risk"),
        ("The LIABILITY for any Claim is limited.", "risk"),
        ("The software comes without warranty.", "other"),  # one risk word
        ("You may copy and modify the software.", "other"),
        ("The closs and preclaim words do not count.", "other"),  # inside other words
    ],
)
def test_clauses_without_indemnity_are_told_apart_by_their_risk_words(clause, sort):
    assert kind(clause) == sort


def test_the_rule_agrees_with_two_readers_on_98_percent_of_what_they_read(record_property):
    texts = {row["id"]: row["text"] for row in indemnity.clauses(fetch("licensedcode"))}
    with READ.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 250 and len({row["id"] for row in rows}) == len(rows)
    rule = [str(int(promises(texts[row["id"]]))) for row in rows]
    for reader in ("reader_1", "reader_2"):
        share = np.mean([said == row[reader] for said, row in zip(rule, rows, strict=True)])
        record_property(reader, float(share))
        assert share >= 0.98, f"{reader}: {share:.1%} of {len(rows)}"
    assert set(rule) == {"0", "1"}


def test_the_pool_is_large_and_each_clause_has_its_own_name(lab):
    assert len(lab.inputs) > 13_000
    assert len(set(lab.ids)) == len(set(lab.inputs)) == len(lab.inputs)
    assert len(lab.gold) == len(lab.groups) == len(lab.kinds) == len(lab.inputs)
    lengths = np.array([len(text.split()) for text in lab.inputs])
    assert (lengths.min(), lengths.max()) == (25, 220)
    assert not [text for text in lab.inputs if text != " ".join(text.split())]


def test_gold_is_the_rule_and_the_scored_clauses_are_those_that_are_not_dismissed(lab):
    assert lab.gold.tolist() == [int(promises(text)) for text in lab.inputs]
    scored = np.concatenate(list(lab.splits.values()))
    assert sorted(scored) == np.flatnonzero(lab.kinds != "other").tolist()
    assert set(lab.gold[lab.kinds == "promise"]) == {1}
    assert set(lab.gold[lab.kinds != "promise"]) == {0}


@pytest.mark.parametrize("size", ["smoke", "lab"])
def test_every_split_holds_both_classes_and_no_owner_is_in_two(size):
    task = load_task("indemnity", size=size)
    assert list(task.splits) == ["supervise", "transfer", "validation", "test"]
    owners: Counter = Counter()
    for index in task.splits.values():
        assert set(task.gold[index]) == {0, 1}
        owners.update(set(task.groups[index]))
    assert max(owners.values()) == 1
    given = np.bincount(task.gold[task.splits["supervise"]])
    assert task.labels <= given.sum() and given.min() * 2 >= task.labels  # as many of each class


def test_shares_of_the_splits_are_about_those_asked_for(lab):
    scored = sum(len(index) for index in lab.splits.values())
    for name, share in indemnity.SHARES.items():
        assert len(lab.splits[name]) / scored == pytest.approx(share, abs=0.02)


def test_smoke_is_small_and_a_part_of_the_lab(lab):
    smoke = load_task("indemnity", size="smoke")
    assert len(smoke.inputs) < 3_000
    texts = dict(zip(lab.ids, lab.inputs, strict=True))
    assert all(texts[i] == text for i, text in zip(smoke.ids, smoke.inputs, strict=True))
    assert (smoke.gold[np.concatenate(list(smoke.splits.values()))] == 1).sum() >= 40


@pytest.mark.slow
def test_the_same_clauses_and_splits_come_every_time(lab):
    again = load_task("indemnity", size="lab")
    assert again.inputs == lab.inputs
    for name, index in lab.splits.items():
        np.testing.assert_array_equal(again.splits[name], index)


def test_a_new_deal_of_the_owners_is_checked_like_the_first(lab):
    dealt = lab.resplit(7)
    assert [sorted(dealt.splits[s]) for s in dealt.splits] != [
        sorted(lab.splits[s]) for s in lab.splits
    ]
    scored = [np.sort(np.concatenate(list(task.splits.values()))) for task in (dealt, lab)]
    np.testing.assert_array_equal(*scored)
    assert all(set(dealt.gold[index]) == {0, 1} for index in dealt.splits.values())


def test_a_clause_planted_in_two_splits_is_found(lab):
    smoke = load_task("indemnity", size="smoke")
    source, target = smoke.splits["transfer"][0], smoke.splits["test"][0]

    def check(task: Task):
        splits.check_no_leak(task.inputs, task.groups, task.splits)

    check(smoke)
    texts = list(smoke.inputs)
    texts[target] = texts[source] + " Except as provided."
    with pytest.raises(W2SError, match="near-duplicates"):
        check(replace(smoke, inputs=texts))
    groups = smoke.groups.copy()
    groups[target] = groups[source]
    with pytest.raises(W2SError, match="is in transfer and test"):
        check(replace(smoke, groups=groups))
    twice = np.append(smoke.splits["test"], source)
    with pytest.raises(W2SError, match="again in test"):
        check(replace(smoke, splits={**smoke.splits, "test": twice}))


def test_owners_come_from_the_files_headers_and_other_languages_stay_out(tmp_path):
    long = "word " * 30
    (tmp_path / "licenses").mkdir()
    (tmp_path / "rules").mkdir()
    for name, header, body in (
        ("licenses/a.LICENSE", "key: a\nowner: Ann & Co\n", f"{long}\n\nshort\n\nOther {long}"),
        ("licenses/b.LICENSE", "owner: Bob\nlanguage: fr\n", long),
        ("rules/c.RULE", "license_expression: c\n", f"Third {long}"),
    ):
        (tmp_path / name).write_text(f"---\n{header}---\n\n{body}\n")
    (tmp_path / "rules" / "d.RULE").write_text(f"No header {long}")
    rows = list(indemnity.clauses(tmp_path))
    assert [(row["id"], row["owner"]) for row in rows] == [
        ("a.LICENSE#0", "Ann & Co"),
        ("a.LICENSE#2", "Ann & Co"),
        ("c.RULE#0", "c"),
        ("d.RULE#0", "d"),
    ]
    assert rows[0]["text"] == long.strip()


def test_full_size_reads_a_local_folder_in_ledgars_format(tmp_path):
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

    names = ["Adjustments", "Governing Laws", "Indemnifications", "Indemnity"]
    rng = np.random.default_rng(0)
    labels = np.arange(160) % 4
    texts = [" ".join(f"word{w}" for w in rng.integers(0, 5000, 40)) for _ in labels]
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    whole = Dataset.from_dict({"text": texts, "label": labels}, features=features)
    parts = {"train": whole.select(range(100)), "test": whole.select(range(100, 160))}
    DatasetDict(parts).save_to_disk(tmp_path / "ledgar")
    task = load_task("indemnity", size="full", source=str(tmp_path / "ledgar"))
    assert (task.name, task.size, task.classes) == ("indemnity", "full", indemnity.CLASSES)
    gold = dict(zip(texts, (labels >= 2).astype(int), strict=True))
    assert [gold[text] for text in task.inputs] == task.gold.tolist()
    assert len(task.inputs) == 160 and task.gold.sum() == 80
    assert all(set(task.gold[index]) == {0, 1} for index in task.splits.values())
