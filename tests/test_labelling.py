"""Is each row of a file labelled once and in its place, however it is read, cut up or interrupted?

On a tiny random model; that it is the weak model of a run is asked on a task of its words.
"""

import contextlib
import csv
import errno
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import save_model

from w2s_lab import cli, labelling, sources
from w2s_lab.data import Task
from w2s_lab.errors import W2SError
from w2s_lab.labeller import Labeller, student_labeller, weak_labeller
from w2s_lab.labelling import label_file
from w2s_lab.models import trunk
from w2s_lab.protocol import Bench
from w2s_lab.workers import all_threads

CLASSES = ("no", "yes", "may be")
RNG = np.random.default_rng(0)
TEXTS = [" ".join(f"w{i}" for i in RNG.integers(0, 40, n)) for n in RNG.integers(1, 30, 60)]


class Inline(Executor):
    """Does what it is asked at once, so that what is on disk at a moment is certain."""

    def submit(self, function, /, *args):
        done = Future()
        done.set_result(function(*args))
        return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def labeller(folder):
    """Random weights, three classes, and word vectors of 32 dimensions."""
    made, rng = trunk(f"{folder}:0", device="cpu"), np.random.default_rng(1)
    shapes = {"mean": (32,), "query": (32, 0), "weight": (32, 3), "bias": (3,)}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    arrays["deviation"] = np.ones(32, np.float32)
    return Labeller(made.name, made.key, 0, CLASSES, arrays, "chance")


@pytest.fixture(scope="module")
def attentive(folder):
    """Random queries over rotated states after the second block."""
    made, rng = trunk(f"{folder}:2", device="cpu"), np.random.default_rng(2)
    shapes = {"mean": (32,), "axes": (32, 8), "query": (8, 2), "weight": (16, 3), "bias": (3,)}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    arrays["deviation"] = np.ones(32, np.float32)
    return Labeller(made.name, made.key, 2, CLASSES, arrays, "chance")


@pytest.fixture(scope="module")
def toy():
    """A task whose two classes differ in their words, with one text twice as long as is read."""
    rng = np.random.default_rng(3)
    gold = rng.integers(0, 2, 120)
    texts = [" ".join(f"w{i}" for i in rng.integers(0, 30, 12) + 10 * g) for g in gold]
    texts[50] = " ".join([texts[50]] * 60)
    items = np.arange(120)
    names = items.astype(str)
    cuts = {"supervise": (0, 40), "transfer": (40, 80), "validation": (80, 90), "test": (90, 120)}
    splits = {name: items[slice(*cut)] for name, cut in cuts.items()}
    return Task("toy", "smoke", texts, gold, names, names, splits, CLASSES[:2], labels=10)


@pytest.fixture
def asked(monkeypatch):
    """The texts that were labelled, in order."""
    seen, answer = [], labelling._answer

    def counting(labeller, texts, *others):
        seen.extend(texts)
        return answer(labeller, texts, *others)

    monkeypatch.setattr(labelling, "_answer", counting)
    return seen


def write(path, texts=TEXTS, **columns):
    """The texts and other columns in a file, in the format of its ending."""
    columns = {**columns, "text": list(texts)}
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path, row_group_size=25)
        return path
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            file.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            table = csv.DictWriter(file, list(columns))
            table.writeheader()
            table.writerows(rows)
    return path


def rows_of(path):
    """What a label file says, whatever its format: a list of dicts of strings and floats."""
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_bytes().splitlines()]
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = {"row": int} | {f"p_{name}": float for name in CLASSES}
    return [{k: numbers.get(k, str)(v) for k, v in row.items()} for row in rows]


def probs_of(rows, classes=CLASSES):
    return np.array([[row[f"p_{name}"] for name in classes] for row in rows])


def told(error):
    line = str(error.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize("seed", [0, 2])
def test_a_weak_labeller_says_what_the_weak_model_of_that_seed_says(
    toy, folder, tmp_path, monkeypatch, seed
):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path))
    name = f"{folder}:0"
    probs, _ = Bench(toy, name, name, "cpu", 3).weak_models()
    made = weak_labeller(toy, name, seed=seed, device="cpu")
    np.testing.assert_allclose(made(toy.inputs, device="cpu"), probs[seed], atol=1e-5)
    assert abs(probs[0] - probs[2]).max() > 0.01
    again = weak_labeller(toy, name, seed=seed, device="cpu")
    assert again.digest == made.digest and again.classes == toy.classes
    assert weak_labeller(toy, name, seed=seed, labels=6, device="cpu").digest != made.digest


def test_a_student_labeller_says_what_the_naive_student_of_a_run_says(
    toy, folder, tmp_path, monkeypatch
):
    from w2s_lab.methods import METHODS

    monkeypatch.setenv("W2S_CACHE", str(tmp_path))
    weak, strong = f"{folder}:0", f"{folder}:2"
    bench = Bench(toy, weak, strong, "cpu", 1)
    probs, _ = bench.students([METHODS["naive"]], *bench.weak_models())
    supervisor = weak_labeller(toy, weak, device="cpu")
    made = student_labeller(toy, supervisor, strong=strong, device="cpu")
    test = [toy.inputs[i] for i in toy.splits["test"]]
    np.testing.assert_allclose(made(test, device="cpu"), probs["naive"][0], atol=1e-3)
    with pytest.raises(W2SError, match="it tells apart"):
        student_labeller(replace(toy, classes=("a", "b")), supervisor, strong=strong)


def test_a_saved_labeller_says_the_same_and_another_file_is_refused(attentive, tmp_path):
    attentive.save(tmp_path / "mine.labeller")
    again = Labeller.load(tmp_path / "mine.labeller")
    assert again.digest == attentive.digest
    np.testing.assert_array_equal(again(TEXTS), attentive(TEXTS))
    (tmp_path / "other").write_bytes(b"something else")
    with pytest.raises(W2SError, match="this is no labeller; give a file that"):
        Labeller.load(tmp_path / "other")
    with pytest.raises(W2SError, match="no such file"):
        Labeller.load(tmp_path / "nowhere")


def test_a_model_with_other_weights_is_refused(labeller, tmp_path):
    other = save_model(tmp_path / "other", seed=1)
    with pytest.raises(W2SError, match="has other weights than the labeller was fitted on"):
        replace(labeller, trunk=f"{other}:0")(TEXTS)


def test_a_task_without_classes_is_refused(toy):
    with pytest.raises(W2SError, match="its answers are no classes"):
        weak_labeller(replace(toy, classes=()))


def test_attention_and_rotation_are_those_written_out_by_hand(attentive, folder):
    import torch

    text, of = TEXTS[0], attentive.arrays
    model = trunk(f"{folder}:2", device="cpu")
    ids = torch.tensor([model.tokenizer(text)["input_ids"]])
    with torch.inference_mode():
        states = model.states(ids, torch.ones_like(ids))[0].half().float().numpy()
    states = ((states - of["mean"]) / of["deviation"]) @ of["axes"]
    share = np.exp(states @ of["query"])  # (tokens, queries)
    pooled = (share / share.sum(0)).T @ states  # (queries, width)
    logits = pooled.ravel() @ of["weight"] + of["bias"]
    expected = np.exp(logits - logits.max())
    # beside a longer text, so that it is padded
    found = attentive([text, " ".join(["w1"] * 60)])[0]
    np.testing.assert_allclose(found, expected / expected.sum(), atol=1e-4)


@settings(max_examples=15)
@given(st.integers(4, 70), st.integers(1, 5), st.integers(100, 4000))
def test_labels_do_not_depend_on_how_the_source_is_cut(labeller, tmp_path_factory, part, ahead, n):
    home = tmp_path_factory.mktemp("cut")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "PART_CHARACTERS", n)
        patch.setattr(labelling, "JOINED", 10 * part)
        source = write(home / "a.jsonl")
        done = label_file(source, home / "b.parquet", labeller=labeller, part=part, ahead=ahead)
    found, expected = rows_of(done.path), labeller(TEXTS)
    assert [row["row"] for row in found] == list(range(60))
    np.testing.assert_allclose(probs_of(found), expected, atol=1e-4)
    margin = np.sort(expected, 1)[:, -1] - np.sort(expected, 1)[:, -2] > 1e-3
    names = np.array([row["label"] for row in found])
    assert (names == np.array(CLASSES)[expected.argmax(1)])[margin].all() and margin.mean() > 0.9
    assert done.rows == done.new == 60 and sum(done.counts.values()) == 60
    assert sorted(os.listdir(home)) == ["a.jsonl", "b.parquet", "b.parquet.json"]


ODD = ["w1, w2", 'w3 "w4"', "w5\nw6\r\nw7", "w8\u2028w9\x85", "", "  w10 ", "é ∀ 🜚 w1", "a,b\n\n,"]


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("to", [".csv", ".jsonl", ".parquet"])
def test_every_format_in_and_out_keeps_rows_ids_and_texts(labeller, tmp_path, ending, to):
    ids = [f"n {i}, ü" for i in range(len(ODD))]
    source = write(tmp_path / f"a{ending}", ODD, name=ids, other=[1] * len(ODD))
    with pytest.warns(UserWarning, match="1 of 8 rows have no text"):
        done = label_file(
            source, tmp_path / f"b{to}", labeller=labeller, id="name", with_text=True, part=3
        )
    found = rows_of(done.path)
    names = [f"p_{name}" for name in CLASSES]
    assert list(found[0]) == ["row", "id", "label", *names, "text"]
    assert [row["row"] for row in found] == list(range(8)) and [row["id"] for row in found] == ids
    assert [row["text"] for row in found] == [text.strip() for text in ODD]
    np.testing.assert_allclose(probs_of(found), labeller([t.strip() for t in ODD]), atol=1e-4)
    assert done.empty == 1
    card = json.loads((tmp_path / f"b{to}.json").read_text(encoding="utf-8"))
    assert card["rows"] == 8 and card["empty"] == 1 and card["counts"] == done.counts


def test_a_csv_row_that_ends_early_has_no_text(labeller, tmp_path):
    (tmp_path / "a.csv").write_text("n,text\n1\n2,w1\n")
    with pytest.warns(UserWarning, match="1 of 2 rows have no text"):
        done = label_file(tmp_path / "a.csv", tmp_path / "b.csv", labeller=labeller)
    np.testing.assert_allclose(probs_of(rows_of(done.path)), labeller(["", "w1"]), atol=1e-4)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_csv_as_excel_writes_it_is_read(labeller, tmp_path, end):
    (tmp_path / "a.csv").write_bytes(f'\ufefftext,n{end}"w1{end}w2",1{end}{end}w3{end}'.encode())
    done = label_file(tmp_path / "a.csv", tmp_path / "b.csv", labeller=labeller, with_text=True)
    assert [row["text"] for row in rows_of(done.path)] == [f"w1{end}w2", "w3"]


def test_other_encodings_are_read_if_they_are_named(labeller, tmp_path):
    (tmp_path / "a.csv").write_bytes("text\nw1 é\n".encode("cp1252"))
    args = tmp_path / "a.csv", tmp_path / "b.jsonl"
    done = label_file(*args, labeller=labeller, with_text=True, encoding="cp1252")
    assert rows_of(done.path)[0]["text"] == "w1 é"


def test_what_json_may_hold_and_a_tokenizer_may_not_is_labelled(labeller, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "w1 \\ud800"}\n\n{"text": null}\n{"n": 1}\n')
    with pytest.warns(UserWarning, match="2 of 3 rows have no text"):
        done = label_file(tmp_path / "a.jsonl", tmp_path / "b.jsonl", labeller=labeller)
    expected = labeller(["w1 \ufffd", "", ""])
    np.testing.assert_allclose(probs_of(rows_of(done.path)), expected, atol=1e-4)


def test_a_folder_is_its_files_in_order_of_their_names(labeller, tmp_path):
    home = tmp_path / "many"
    (home / "data").mkdir(parents=True)
    for number in (2, 0, 1):
        write(home / "data" / f"{number}.parquet", TEXTS[20 * number : 20 * number + 20])
    done = label_file(home, tmp_path / "b.parquet", labeller=labeller, part=7, with_text=True)
    found = rows_of(done.path)
    assert [row["text"] for row in found] == TEXTS and found[-1]["row"] == 59
    with pytest.raises(W2SError, match="this is in the folder to be labelled"):
        label_file(home, home / "b.parquet", labeller=labeller)


def test_a_hub_data_set_is_streamed(labeller, tmp_path, monkeypatch):
    import datasets

    source, load = write(tmp_path / "a.jsonl"), datasets.load_dataset
    calls = []

    def streamed(name, **options):
        calls.append((name, options))
        return load("json", data_files=str(source), cache_dir=str(tmp_path), **options)

    monkeypatch.setattr(datasets, "load_dataset", streamed)
    done = label_file("some/where", tmp_path / "b.jsonl", labeller=labeller, with_text=True)
    assert [row["text"] for row in rows_of(done.path)] == TEXTS
    assert calls == [("some/where", {"split": "train", "streaming": True})]


class FirstIsLast(ThreadPoolExecutor):
    """Of each three calls the first ends last."""

    def __init__(self):
        super().__init__(3)
        self.begun, self.ended = 0, []

    def submit(self, function, /, *args):
        number, self.begun = self.begun, self.begun + 1

        def late():
            time.sleep(0.02 * (2 - number % 3))
            found = function(*args)
            self.ended.append(number)
            return found

        return super().submit(late)


def test_rows_stay_in_order_where_parts_end_out_of_order(labeller, tmp_path):
    with FirstIsLast() as executor:
        done = label_file(
            write(tmp_path / "a.csv"),
            tmp_path / "b.parquet",
            labeller=labeller,
            part=5,
            executor=executor,
            with_text=True,
        )
    assert executor.ended != sorted(executor.ended) and len(executor.ended) == 12
    assert [row["text"] for row in rows_of(done.path)] == TEXTS


def test_no_more_parts_are_in_work_than_asked_for(labeller, tmp_path):
    class Counting(Inline):
        open, most = 0, 0

        def submit(self, *args):
            self.open += 1
            self.most = max(self.most, self.open)
            done = super().submit(*args)
            found = done.result()
            late = Future()
            late.result = lambda timeout=None: setattr(self, "open", self.open - 1) or found
            late.set_result(found)
            return late

    executor = Counting()
    args = write(tmp_path / "a.csv"), tmp_path / "b.parquet"
    label_file(*args, labeller=labeller, part=2, executor=executor, ahead=4)
    assert executor.most == 4


class Killed(BaseException):
    """What stops a process, as far as its code can see it."""


@settings(max_examples=20)
@given(st.integers(0, 14), st.booleans(), st.sampled_from([".parquet", ".jsonl"]))
def test_stopped_at_any_rename_it_goes_on_and_ends_with_the_same_bytes(
    labeller, tmp_path_factory, moment, before, ending
):
    home, rename = tmp_path_factory.mktemp("stop"), os.replace
    source = write(home / "a.csv")
    options = {"labeller": labeller, "part": 7, "executor": Inline()}
    whole = label_file(source, home / f"whole{ending}", **options)
    calls, seen, answer = [], [], labelling._answer

    def stop(old, new):
        calls.append(new)
        if before and len(calls) > moment:
            raise Killed
        rename(old, new)
        if len(calls) > moment:
            raise Killed

    def counting(labeller, texts, *others):
        seen.extend(texts)
        return answer(labeller, texts, *others)

    to = home / f"b{ending}"
    # 9 parts, the settings, the final file, its card and its place: 13 renames
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", stop)
        try:
            label_file(source, to, **options)
        except Killed:
            assert moment < 13
        else:
            assert moment >= 13
    kept = len(list((home / f"b{ending}.part").glob("[0-9]*.parquet")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labelling, "_answer", counting)
        done = label_file(source, to, **options)
    assert to.read_bytes() == whole.path.read_bytes()
    assert (home / f"b{ending}.json").read_text() == (home / f"whole{ending}.json").read_text()
    assert sorted(home.glob("*.part")) == []
    finished = moment > 12 or (moment == 12 and not before)
    assert seen == ([] if finished else TEXTS[7 * kept :])
    assert done.new == len(seen) and done.rows == 60


LABELS = """
import sys, time
from w2s_lab import labelling

answer = labelling._answer

def slow(*args):
    time.sleep(0.03)
    return answer(*args)

labelling._answer = slow
labelling.label_file(sys.argv[1], sys.argv[2], labeller=sys.argv[3], part=2)
"""


def process(code, *arguments):
    root = str(Path(labelling.__file__).parents[1])
    paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-c", code, *map(str, arguments)]
    env = os.environ | {"PYTHONPATH": paths}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
@pytest.mark.parametrize("parts", [1, 12])
def test_killed_for_good_it_goes_on_and_labels_no_finished_part_twice(
    labeller, tmp_path, asked, parts
):
    source, to = write(tmp_path / "a.csv"), tmp_path / "b.parquet"
    labeller.save(tmp_path / "mine.labeller")
    work = tmp_path / "b.parquet.part"
    with process(LABELS, source, to, tmp_path / "mine.labeller") as one:
        while len(list(work.glob("[0-9]*.parquet"))) < parts:
            assert one.poll() is None
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.05))
        one.kill()
    kept = {int(file.stem) for file in work.glob("[0-9]*.parquet")}
    assert parts <= len(kept) < 30
    done = label_file(source, to, labeller=labeller, part=2)
    missing = [text for i, text in enumerate(TEXTS) if i // 2 not in kept]
    assert sorted(asked) == sorted(missing) and done.new == len(missing)
    whole = label_file(source, tmp_path / "whole.parquet", labeller=labeller, part=2)
    assert to.read_bytes() == whole.path.read_bytes()


def stopped(source, to, labeller, *, after=3, **options):
    """Labels `after` parts of 7 rows, and is stopped."""
    count = []

    class Stopping(Inline):
        def submit(self, *args):
            if len(count) == after:
                raise Killed
            count.append(1)
            return super().submit(*args)

    options = {"labeller": labeller, "part": 7, "ahead": 1, "executor": Stopping()} | options
    with pytest.raises(Killed):
        label_file(source, to, **options)


@pytest.mark.parametrize("row", [0, 13, 16])
def test_a_source_that_has_changed_meanwhile_is_told_and_nothing_is_mixed(
    labeller, tmp_path, row, asked
):
    source, to = write(tmp_path / "a.csv"), tmp_path / "b.parquet"
    stopped(source, to, labeller, after=4)
    write(source, [*TEXTS[:row], "w0", *TEXTS[row + 1 :]])
    with pytest.raises(W2SError) as error:
        label_file(source, to, labeller=labeller, part=7)
    start = row // 7 * 7
    assert f"row {start} or one of the 7 from it has changed" in told(error)
    assert "delete b.parquet.part to begin anew" in told(error)
    assert not to.exists()
    write(source)  # put back, it goes on: four parts are there
    asked.clear()
    assert label_file(source, to, labeller=labeller, part=7).rows == 60
    assert asked == TEXTS[28:]


def test_a_source_that_has_got_shorter_is_told(labeller, tmp_path):
    source, to = write(tmp_path / "a.csv"), tmp_path / "b.parquet"
    stopped(source, to, labeller)
    write(source, TEXTS[:7])
    with pytest.raises(W2SError, match="what came after row 6 has changed"):
        label_file(source, to, labeller=labeller, part=7)


def test_another_model_or_setting_is_told_and_not_mixed(labeller, attentive, tmp_path):
    source, to = write(tmp_path / "a.csv", n=range(60)), tmp_path / "b.parquet"
    stopped(source, to, labeller)
    first = {"labeller": labeller, "part": 7}
    for other, name in (
        ({"labeller": attentive}, "labeller 'chance"),
        ({"part": 8}, "part 7"),
        ({"id": "n"}, "id None"),
        ({"with_text": True}, "with_text False"),
    ):
        with pytest.raises(W2SError) as error:
            label_file(source, to, **first | other)
        assert f"made with {name}" in told(error) and "give the same" in told(error)
    assert label_file(source, to, **first).rows == 60
    with pytest.raises(W2SError, match="made with part 7; move it away"):
        label_file(source, to, labeller=labeller, part=8)
    write(source, TEXTS[::-1])
    with pytest.raises(W2SError, match="the source has changed since; move it away"):
        label_file(source, to, **first)


def test_a_second_call_finds_all_done(labeller, tmp_path, asked):
    args = write(tmp_path / "a.csv"), tmp_path / "b.jsonl"
    first = label_file(*args, labeller=labeller)
    asked.clear()
    content = args[1].read_bytes()
    assert label_file(*args, labeller=labeller) == replace(first, new=0)
    assert asked == [] and args[1].read_bytes() == content


def test_a_part_that_was_cut_short_is_labelled_again(labeller, tmp_path, asked):
    source, to = write(tmp_path / "a.csv"), tmp_path / "b.parquet"
    stopped(source, to, labeller, after=4)
    part = tmp_path / "b.parquet.part" / "00000001.parquet"
    os.truncate(part, part.stat().st_size - 1)
    asked.clear()
    label_file(source, to, labeller=labeller, part=7, executor=Inline())
    assert asked == TEXTS[7:14] + TEXTS[28:]


def test_two_at_once_do_not_write_to_one_file(labeller, tmp_path):
    source, to = write(tmp_path / "a.csv"), tmp_path / "b.parquet"

    class Second(Inline):
        def submit(self, *args):
            with pytest.raises(W2SError, match="another process is labelling there"):
                label_file(source, to, labeller=labeller)
            return super().submit(*args)

    assert label_file(source, to, labeller=labeller, executor=Second()).rows == 60


def test_what_another_process_has_finished_before_the_lock_was_given_back_is_found(
    labeller, tmp_path, monkeypatch, asked
):
    source, to = write(tmp_path / "a.csv"), tmp_path / "b.parquet"
    alone = labelling._alone

    def late(*args):  # between the first look and the lock
        monkeypatch.setattr(labelling, "_alone", alone)
        label_file(source, to, labeller=labeller)
        return alone(*args)

    monkeypatch.setattr(labelling, "_alone", late)
    done = label_file(source, to, labeller=labeller)
    assert (done.rows, done.new) == (60, 0) and sorted(asked) == sorted(TEXTS)
    assert sorted(os.listdir(tmp_path)) == ["a.csv", "b.parquet", "b.parquet.json"]


def test_the_folder_of_the_parts_is_deleted_while_it_is_locked(labeller, tmp_path, monkeypatch):
    import filelock

    source, to = write(tmp_path / "a.csv"), tmp_path / "b.parquet"
    work, release, there = tmp_path / "b.parquet.part", filelock.FileLock.release, []

    def looking(self, *args, **options):
        there.append(work.exists())
        return release(self, *args, **options)

    monkeypatch.setattr(filelock.FileLock, "release", looking)
    label_file(source, to, labeller=labeller)
    assert there and not any(there)


@pytest.mark.parametrize("moment", [2, 11])  # a part, and the final file
def test_a_full_disk_loses_nothing(labeller, tmp_path, monkeypatch, asked, moment):
    source, to = write(tmp_path / "a.csv"), tmp_path / "b.parquet"
    options = {"labeller": labeller, "part": 7, "executor": Inline(), "ahead": 1}
    calls, sync = [], os.fsync

    def full(file):
        calls.append(file)
        if len(calls) == moment:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(file)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(W2SError) as error:
        label_file(source, to, **options)
    assert "the disk is full" in told(error) and "what is labelled is kept" in told(error)
    assert not to.exists() and list(tmp_path.rglob("*.tmp")) == []
    kept = len(list((tmp_path / "b.parquet.part").glob("[0-9]*.parquet")))
    asked.clear()
    assert label_file(source, to, **options).rows == 60
    assert asked == TEXTS[7 * kept :]
    assert kept == min(moment - 2, 9)


def test_workers_that_die_cost_their_parts_only(labeller, tmp_path):
    source, to = write(tmp_path / "a.csv"), tmp_path / "b.parquet"

    class Dying(Inline):
        asked = 0

        def submit(self, *args):
            self.asked += 1
            if self.asked == 6:
                dead = Future()
                dead.set_exception(BrokenExecutor("killed"))
                return dead
            return super().submit(*args)

    options = {"labeller": labeller, "part": 7}
    with pytest.raises(W2SError, match="a worker died.*what is labelled is kept"):
        label_file(source, to, **options, executor=Dying(), ahead=1)
    assert label_file(source, to, **options).new == 25  # 60 rows, less five parts of 7


def test_workers_that_never_answer_are_asked_for_once_a_minute(labeller, tmp_path, monkeypatch):
    source, to = write(tmp_path / "a.csv"), tmp_path / "b.parquet"
    monkeypatch.setattr(labelling, "ALIVE_SECONDS", 0.01)
    said, given = [True, True, False], []

    class Silent(Inline):
        def submit(self, *args):
            given.append(super().submit(*args) if len(given) < 3 else Future())
            return given[-1]

    options = {"labeller": labeller, "part": 7, "ahead": 2}
    with pytest.raises(W2SError) as error:
        label_file(source, to, **options, executor=Silent(), alive=lambda: said.pop(0))
    assert "b.parquet.part: all workers are gone; start some and give the same" in told(error)
    assert said == [] and all(future.cancelled() for future in given[3:])
    assert label_file(source, to, **options).new == 39  # 60 rows, less three parts of 7


def test_what_was_begun_in_one_precision_is_not_continued_in_another(
    labeller, tmp_path, monkeypatch, asked
):
    source, to = write(tmp_path / "a.csv"), tmp_path / "b.parquet"
    stopped(source, to, labeller)
    asked.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("w2s_lab.models.gains_from_bfloat16", lambda device: True)
        patch.setattr(Labeller, "__call__", lambda *_, **__: pytest.fail("it was computed"))
        with pytest.raises(W2SError) as error:
            label_file(source, to, labeller=labeller, part=7)
    assert "computed in bfloat16 now, the labels there in float32" in told(error)
    assert "or delete b.parquet.part to begin anew" in told(error)
    assert label_file(source, to, labeller=labeller, part=7).new == 39
    card = json.loads((tmp_path / "b.parquet.json").read_text())
    assert card["settings"]["dtype"] == "float32"


def test_workers_of_two_precisions_are_told_and_not_mixed(labeller, tmp_path, monkeypatch):
    source, to = write(tmp_path / "a.csv"), tmp_path / "b.parquet"
    kinds = iter(["bfloat16"])
    monkeypatch.setattr(Labeller, "dtype", lambda self, device: next(kinds, "float32"))
    with pytest.raises(W2SError, match="computed in float32 now, the labels there in bfloat16"):
        label_file(source, to, labeller=labeller, part=7, executor=Inline(), ahead=2)
    assert os.listdir(tmp_path / "b.parquet.part").count("00000001.parquet") == 0


def test_a_worker_of_dask_computes_with_its_threads_and_gives_them_back(monkeypatch):
    import types

    import torch

    worker = types.SimpleNamespace(state=types.SimpleNamespace(nthreads=3))
    before = torch.get_num_threads()
    monkeypatch.setitem(
        sys.modules, "distributed", types.SimpleNamespace(get_worker=lambda: worker)
    )
    with all_threads():
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == before


def test_the_names_that_the_page_imports_are_there():
    page = Path(labelling.__file__).parents[1] / "docs" / "labelling.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    imports = [line for line in lines if re.match(r"(from|import) ", line)]
    assert len(imports) >= 3
    for line in imports:
        exec(line, {})


@pytest.mark.parametrize(
    "name, content, words",
    [
        (
            "a.csv",
            b"Text,n\nw1,2\n",
            "no column 'text'; there are 'Text', 'n'; did you mean 'Text'",
        ),
        ("a.csv", b"text\nw1\n\xe9\n", "line 3: byte 0xe9 is not utf-8"),
        ("a.csv", "text\nw1\n".encode("utf-16"), "is not utf-8; save the file as UTF-8"),
        ("a.csv", b'text,n\nw1,2\n"w1,2\n', "line 3: unexpected end of data"),
        ("a.csv", b"text\nw1,w2\n", "line 2: 2 fields, but 1 column names"),
        ("a.csv", b"", "no row to label"),
        ("a.csv", b"text\n", "no row to label"),
        ("a.jsonl", b'{"text": "w1"}\n{"text": \n', "line 2 is not a JSON object"),
        ("a.jsonl", b'{"text": "w1"}\n\n[1]\n', "line 3 is not a JSON object"),
        ("a.jsonl", b'{"text": "w1"}\n{"text": 3}\n', "row 1 of column 'text' is of type int"),
        ("a.jsonl", b'{"body": "w1"}\n', "no column 'text'; there are 'body'"),
        ("a.parquet", b"PAR1", "a.parquet: cannot be read"),
        ("a.txt", b"w1\n", "cannot read files that end in '.txt'"),
    ],
)
def test_a_source_that_cannot_be_read_is_told_and_leaves_nothing(
    labeller, tmp_path, name, content, words
):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(W2SError) as error:
        label_file(tmp_path / name, tmp_path / "b.parquet", labeller=labeller)
    assert words in told(error)
    assert os.listdir(tmp_path) == [name]


def test_a_quote_that_is_never_closed_does_not_fill_the_memory(labeller, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "LONGEST_FIELD", 1000)
    (tmp_path / "a.csv").write_text('text\nw1\n"w2\n' + "w3\n" * 1000)
    with pytest.raises(W2SError, match="field larger than field limit"):
        label_file(tmp_path / "a.csv", tmp_path / "b.parquet", labeller=labeller)


@pytest.mark.parametrize(
    "source, to, more, words",
    [
        ("a.csv", "b.txt", {}, "no such format; end it in .csv, .jsonl, .parquet"),
        ("a.csv", "no/b.csv", {}, "no such folder"),
        ("b.csv", "c.csv", {}, "no such file"),
        ("a.csv", "a.csv", {}, "this file is there already"),
        ("a.csv", "b.csv", {"part": 0}, "part is 0"),
        ("a.csv", "b.csv", {"id": "n"}, "no column 'n'; there are 'text'"),
        ("a.csv", "b.csv", {"encoding": "utf-9"}, "unknown encoding 'utf-9'"),
        ("a.csv", "b.csv", {"labeller": None}, "neither a task nor a labeller"),
        ("a.csv", "b.csv", {"labeller": "none"}, "no such file"),
    ],
)
def test_a_mistake_is_told_in_one_line(labeller, tmp_path, source, to, more, words):
    write(tmp_path / "a.csv")
    with pytest.raises(W2SError) as error:
        label_file(tmp_path / source, tmp_path / to, **{"labeller": labeller} | more)
    assert words in told(error)
    assert os.listdir(tmp_path) == ["a.csv"]


def test_the_command_labels_with_a_saved_labeller(labeller, tmp_path, capsys):
    labeller.save(tmp_path / "mine.labeller")
    source, to = write(tmp_path / "a.csv", TEXTS[:5], key=list("abcde")), tmp_path / "b.parquet"
    line = ["label", source, "--to", to, "--labeller", tmp_path / "mine.labeller", "--id", "key"]
    assert cli.main([*map(str, line)]) == 0
    assert capsys.readouterr().out.startswith(f"{to}: 5 rows: ")
    assert [row["id"] for row in rows_of(to)] == list("abcde")


def test_the_command_fits_the_weak_model_of_a_task(toy, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("w2s_lab.labeller.load_task", lambda name, size: {"toy": toy}[name])
    source, mine = write(tmp_path / "a.jsonl", TEXTS[:5]), tmp_path / "mine.labeller"
    line = ["label", source, "--to", tmp_path / "b.csv", "--task", "toy", "--weak", f"{folder}:0"]
    line += ["--labels", 8, "--seed", 1, "--save-labeller", mine, "--device", "cpu"]
    assert cli.main([*map(str, line)]) == 0, capsys.readouterr().err
    assert "8 gold labels, seed 1" in Labeller.load(mine).fitted
    found = probs_of(rows_of(tmp_path / "b.csv"), toy.classes)
    np.testing.assert_allclose(found, Labeller.load(mine)(TEXTS[:5]), atol=1e-4)


@pytest.mark.parametrize(
    "words, said",
    [
        (["--to", "b.csv"], "--task, --labeller: either a task or a saved labeller; give one"),
        (["--to", "b.csv", "--task", "x", "--labeller", "y"], "either a task or a saved labeller"),
        ([], "the following arguments are required: --to"),
        (["--to", "b.csv", "--labeller", "nowhere"], "nowhere: no such file"),
    ],
)
def test_the_command_tells_a_mistake_with_status_2(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.csv")
    assert cli.main(["label", "a.csv", *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_the_command_asks_workers_of_a_cluster_for_the_labellers_model(
    labeller, folder, tmp_path, monkeypatch
):
    asked = []

    @contextlib.contextmanager
    def connect(where, models):
        asked.append((where, list(models)))
        yield Inline(), 2

    monkeypatch.setattr("w2s_lab.cluster.connect", connect)
    monkeypatch.chdir(folder.parent)
    relative = replace(labeller, trunk=f"{folder.name}:0")
    for number, one in enumerate((labeller, relative)):
        one.save(tmp_path / "mine.labeller")
        source, to = write(tmp_path / "a.csv", TEXTS[:5]), tmp_path / f"{number}.csv"
        line = ["label", source, "--to", to, "--labeller", tmp_path / "mine.labeller"]
        assert cli.main([*map(str, line), "--cluster", "tcp://a:1"]) == 0
    assert asked == [("tcp://a:1", [f"{folder}:0"])] * 2
    line = ["label", source, "--to", tmp_path / "2.csv", "--task", "none", "--weak", "minilm:2"]
    assert cli.main([*map(str, line), "--cluster", "tcp://a:1"]) == 2  # no such task
    assert asked[2] == ("tcp://a:1", ["minilm:2"])


@pytest.mark.slow
def test_a_cluster_of_dask_labels_the_same(labeller, tmp_path):
    distributed = pytest.importorskip("distributed", reason="needs the extra `cluster`")
    source = write(tmp_path / "a.csv")
    alone = label_file(source, tmp_path / "alone.parquet", labeller=labeller, part=4)
    options = {"processes": False, "n_workers": 1, "threads_per_worker": 3}
    with (
        distributed.Client(**options, dashboard_address=None, set_as_default=False) as client,
        client.get_executor(pure=False) as executor,
    ):
        there = label_file(
            source, tmp_path / "there.parquet", labeller=labeller, part=4, executor=executor
        )
    assert there.path.read_bytes() == alone.path.read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_a_worker_of_dask_killed_in_mid_file_costs_only_what_it_had_in_work(labeller, tmp_path):
    distributed = pytest.importorskip("distributed", reason="needs the extra `cluster`")
    import dask_processes as dask

    source, to = write(tmp_path / "a.csv"), tmp_path / "b.parquet"
    options = {"labeller": labeller, "part": 4}
    whole = label_file(source, tmp_path / "whole.parquet", **options)
    notes, work = tmp_path / "notes", tmp_path / "b.parquet.part"
    notes.mkdir()

    def noted(labeller, texts, *others):
        """On a worker: an answer that leaves a file when it is begun, and one when it is done."""
        number = next(i for i in range(15) if TEXTS[4 * i : 4 * i + 4] == texts)
        there = (work / f"{number:08d}.parquet").exists()
        (notes / f"{number} begun {os.getpid()} {there}").touch()
        # the one that will be killed waits for it in mid-part, on a slow machine too
        time.sleep(60 if str(os.getpid()) == pid and noted_by(pid)[1] else 0.3)
        found = labelling._answer(labeller, texts, *others)
        (notes / f"{number} done {os.getpid()} {there}").touch()
        return found

    def noted_by(pid):
        """The parts that a worker has begun, and those it has done."""
        names, kinds = [path.name.split() for path in notes.iterdir()], ("begun", "done")
        return [{int(n) for n, what, by, _ in names if (what, by) == (kind, pid)} for kind in kinds]

    with (
        dask.scheduler(tmp_path) as (_, address),
        dask.worker(address, tmp_path) as first,
        dask.worker(address, tmp_path) as second,
    ):
        dask.joined(address, 2)
        killed, pid = [], str(first.pid)

        def kill():
            """Ends the first worker once it has done a part that is on disk and begun another."""

            def in_mid_part():
                begun, done = noted_by(pid)
                on_disk = {int(file.stem) for file in work.glob("[0-9]*.parquet")}
                return done & on_disk and begun - done

            dask.until(in_mid_part)
            time.sleep(0.1)  # the scheduler hears of what is on disk with the next message
            first.kill()
            killed.append(noted_by(pid))

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        with (
            pytest.MonkeyPatch.context() as patch,
            distributed.Client(address, set_as_default=False) as client,
            client.get_executor(pure=False) as executor,
        ):
            patch.setattr(labelling, "_answer", noted)
            label_file(source, to, **options, executor=executor, ahead=4)
        killer.join(60)
        ((begun, done),) = killed
        assert begun - done <= noted_by(str(second.pid))[1]  # its peer did what it had in work
    assert to.read_bytes() == whole.path.read_bytes()
    assert not [path.name for path in notes.iterdir() if path.name.endswith("True")]


MEMORY = """
import re, sys
from pathlib import Path
from w2s_lab import labelling

labelling.label_file(sys.argv[1], sys.argv[2], labeller=sys.argv[3], part=500)
# of this program alone; `ru_maxrss` would count what its parent had when it was forked
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's own files")
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_twenty_times_the_rows_take_no_more_memory(labeller, tmp_path, ending):
    labeller.save(tmp_path / "mine.labeller")
    peaks = []
    for rows in (2_000, 40_000):
        source = tmp_path / f"{rows}{ending}"
        write(source, [f"{TEXTS[i % 60]} {i}" for i in range(rows)])
        with process(MEMORY, source, tmp_path / f"{rows}.jsonl", tmp_path / "mine.labeller") as one:
            peaks.append(int(one.stdout.read()) / 1024)
    # a list of the texts would take 8 MB more, a list of hashes 5 MB, token states 50 MB
    assert peaks[1] - peaks[0] < 12, peaks


@pytest.mark.parametrize("more", [["--weak", "minilm"], ["--seed", "0"], ["--save-labeller", "b"]])
def test_what_a_saved_labeller_has_settled_cannot_be_asked_for_again(more, tmp_path, capsys):
    (tmp_path / "a.csv").write_text("text\nw1\n")
    line = ["label", str(tmp_path / "a.csv"), "--to", str(tmp_path / "b.csv"), "--labeller", "l"]
    assert cli.main([*line, *more]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and more[0] in said
