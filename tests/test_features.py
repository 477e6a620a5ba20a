"""Are token states computed once, kept whole, and found again only for the same text and weights?

On tiny random models: what is stored and when is asked here, what the states are in test_models.
"""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import save_model

from w2s_lab import features, models
from w2s_lab.features import MAX_TOKENS, batches_of_like_length, token_states
from w2s_lab.models import Trunk, trunk

TEXTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9 w10 w11", "w12 w13"]
LENGTHS = [5, 3, 9, 4]  # words, [CLS] and [SEP]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def small(folder, tmp_path, monkeypatch):
    """A trunk read after its second block, and an empty cache."""
    monkeypatch.setenv("W2S_CACHE", str(tmp_path))
    return trunk(f"{folder}:2", device="cpu")


@pytest.fixture
def read(monkeypatch):
    """The texts' lengths that the trunk read since the last `clear`."""
    lengths = []
    states = Trunk.states

    def counting(self, input_ids, attention_mask):
        lengths.extend(attention_mask.sum(1).tolist())
        return states(self, input_ids, attention_mask)

    monkeypatch.setattr(Trunk, "states", counting)
    return lengths


def rows(states, i):
    return states.flat[states.offsets[i] : states.offsets[i + 1]]


def direct(model, text):
    """The states of one text by itself, straight from the model."""
    ids = torch.tensor([model.tokenizer(text)["input_ids"]])
    with torch.inference_mode():
        return model.states(ids, torch.ones_like(ids))[0].numpy()


def test_states_are_those_of_each_text_read_alone_in_the_order_asked(small):
    states = token_states(small, TEXTS)
    assert len(states) == 4 and states.lengths.tolist() == LENGTHS
    assert states.flat.dtype == np.float16 and states.flat.shape == (21, 32)
    for i, text in enumerate(TEXTS):
        # float16 keeps 11 bits
        np.testing.assert_allclose(rows(states, i), direct(small, text), rtol=2e-3, atol=2e-3)


def test_a_second_call_does_not_run_the_model(small, read):
    first = token_states(small, TEXTS)
    assert sorted(read) == sorted(LENGTHS)
    read.clear()
    second = token_states(small, TEXTS[::-1])
    assert read == []
    assert second.lengths.tolist() == LENGTHS[::-1]
    for i in range(4):
        np.testing.assert_array_equal(rows(second, i), rows(first, 3 - i))


def test_only_a_changed_text_is_read_again(small, read):
    first = token_states(small, TEXTS)
    read.clear()
    second = token_states(small, [TEXTS[0], "w4 w4", *TEXTS[2:]])
    assert read == [4]
    np.testing.assert_array_equal(rows(second, 2), rows(first, 2))
    np.testing.assert_allclose(rows(second, 1), direct(small, "w4 w4"), rtol=2e-3, atol=2e-3)
    assert not np.array_equal(rows(second, 1)[:3], rows(first, 1))


def test_repeats_are_read_once_and_returned_each_time(small, read):
    states = token_states(small, ["w1 w2", "w3", "w1 w2", "w1 w2"])
    assert sorted(read) == [3, 4]
    assert states.lengths.tolist() == [4, 3, 4, 4]
    for i in (2, 3):
        np.testing.assert_array_equal(rows(states, i), rows(states, 0))


def test_other_weights_another_block_and_another_pooling_are_misses(small, read, tmp_path):
    before = token_states(small, TEXTS)
    for other in (
        trunk(f"{save_model(tmp_path / 'other', seed=1)}:2", device="cpu"),
        trunk(f"{small.folder}:1", device="cpu"),
    ):
        read.clear()
        assert not np.array_equal(token_states(other, TEXTS).flat, before.flat)
        assert len(read) == 4
    read.clear()
    assert token_states(small, TEXTS, pool=True).flat.shape == (4, 32)
    assert len(read) == 4


def test_a_model_overwritten_in_its_folder_is_a_miss(small, read, tmp_path):
    name = f"{save_model(tmp_path / 'mine')}:2"
    before = token_states(trunk(name, device="cpu"), TEXTS)
    save_model(tmp_path / "mine", seed=1)
    after = token_states(trunk(name, device="cpu"), TEXTS)
    assert len(read) == 8
    assert not np.array_equal(after.flat, before.flat)


def test_the_same_model_in_another_folder_is_a_hit(small, read, tmp_path):
    token_states(small, TEXTS)
    read.clear()
    copy = shutil.copytree(small.folder, tmp_path / "copy")
    token_states(trunk(f"{copy}:2", device="cpu"), TEXTS)
    assert read == []


def test_pooled_states_are_the_means_of_the_token_states(small):
    tokens, pooled = token_states(small, TEXTS), token_states(small, TEXTS, pool=True)
    assert pooled.lengths.tolist() == [1, 1, 1, 1]
    for i in range(4):
        mean = rows(tokens, i).astype(np.float32).mean(0)
        np.testing.assert_allclose(pooled.flat[i], mean, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])  # [CLS] [SEP], and nothing at all
@pytest.mark.parametrize("pool", [False, True])
def test_a_text_without_words_still_has_a_row(small, tmp_path, kind, pool):
    model = trunk(f"{save_model(tmp_path / kind, kind)}:2", device="cpu")
    states = token_states(model, ["w1 w2", "", "w3"], pool=pool)
    assert states.lengths[1] == (2 if kind == "bert" and not pool else 1)
    assert np.isfinite(states.flat).all()
    assert (states.lengths > 0).all()


def test_a_text_is_cut_at_the_same_token_however_long_it_is(small):
    words = [f"w{i % 40}" for i in range(500)]
    texts = [" ".join(words[:n]) for n in (MAX_TOKENS - 2, MAX_TOKENS - 1, 500)]
    states = token_states(small, texts)
    assert states.lengths.tolist() == [MAX_TOKENS] * 3
    for i in (1, 2):  # [CLS], 382 words, [SEP]
        np.testing.assert_allclose(rows(states, i), rows(states, 0), rtol=2e-3, atol=2e-3)


def test_texts_are_told_apart_by_every_character(small, read):
    token_states(small, ["w1 w2"])
    read.clear()
    token_states(small, ["w1 w2 ", "w1\nw2", "W1 w2", ""])
    assert len(read) == 4


def test_many_calls_with_shared_texts_agree_with_one(small):
    together = token_states(small, TEXTS)
    for some in ([0, 1], [1, 2], [3], [2, 3, 0]):
        states = token_states(small, [TEXTS[i] for i in some])
        for at, i in enumerate(some):
            np.testing.assert_array_equal(rows(states, at), rows(together, i))


@pytest.mark.parametrize("file", ["states.npy", "offsets.npy", "meta.json", ".manifest.json"])
def test_a_file_deleted_from_the_cache_is_computed_again(small, read, tmp_path, file):
    first = token_states(small, TEXTS)
    read.clear()
    next((tmp_path / "features").rglob(file)).unlink()
    second = token_states(small, TEXTS)
    assert len(read) == 4
    np.testing.assert_array_equal(second.flat, first.flat)
    read.clear()
    token_states(small, TEXTS)
    assert read == []


def test_a_file_cut_short_is_computed_again(small, read, tmp_path):
    first = token_states(small, TEXTS)
    read.clear()
    states = next((tmp_path / "features").rglob("states.npy"))
    os.truncate(states, states.stat().st_size - 1)
    np.testing.assert_array_equal(token_states(small, TEXTS).flat, first.flat)
    assert len(read) == 4


def test_a_model_that_fails_leaves_no_entry(small, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(Trunk, "states", fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            token_states(small, TEXTS)
    assert not list((tmp_path / "features").rglob("*.npy"))
    assert len(token_states(small, TEXTS)) == 4


def test_the_time_it_takes_to_load_the_model_is_not_counted(small, tmp_path, monkeypatch):
    blocks, clock = Trunk.blocks, [0.0]

    def slow(self):
        clock[0] += 100 if "model" not in vars(self) else 0
        return blocks(self)

    def states(self, input_ids, attention_mask):
        clock[0] += 0.5
        return torch.zeros(*input_ids.shape, 32)

    monkeypatch.setattr(Trunk, "blocks", slow)
    monkeypatch.setattr(Trunk, "states", states)
    monkeypatch.setattr(features.time, "perf_counter", lambda: clock[0])
    fresh = trunk(f"{save_model(tmp_path / 'fresh')}:1", device="cpu")
    # one batch: half a second for 21 tokens
    assert token_states(fresh, TEXTS).seconds_per_token == pytest.approx(0.5 / 21)


@pytest.mark.parametrize("pool", [False, True])
def test_reading_without_keeping_gives_what_is_kept_and_leaves_no_file(small, tmp_path, pool):
    kept = token_states(small, TEXTS, pool=pool)
    files = sorted(tmp_path.rglob("*"))
    ids = features.token_ids(small, TEXTS)
    seen = []
    for batch, states in features.read(small, ids, pool=pool):
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()  # the caller's own
        for row, item in enumerate(batch):
            count = 1 if pool else len(ids[item])
            np.testing.assert_array_equal(states[row, :count], rows(kept, item))
            seen.append(item)
    assert sorted(seen) == list(range(len(TEXTS)))
    assert sorted(tmp_path.rglob("*")) == files


def test_states_computed_in_another_precision_are_kept_apart(small, monkeypatch):
    plain = token_states(small, TEXTS)
    monkeypatch.setattr(models, "gains_from_bfloat16", lambda device: True)
    half = models.trunk(str(small.folder) + f":{small.layer}", device="cpu")
    half = replace(half)  # a trunk of its own: the other one has loaded its model
    assert half.dtype == "bfloat16"
    other = token_states(half, TEXTS)
    assert not np.array_equal(plain.flat, other.flat)
    # 8 bits of mantissa: 1 part in 256 at each rounding
    np.testing.assert_allclose(plain.flat, other.flat, atol=0.1, rtol=0.05)


WRITER = """
import sys, time
from w2s_lab.features import token_states
from w2s_lab.models import Trunk, trunk

states, reached = Trunk.states, []

def stuck(self, ids, mask):
    if reached and sys.argv[2] == "stuck":
        print("in the middle", flush=True)
        time.sleep(600)
    time.sleep(0.3)  # so that two at once do meet
    reached.append(1)
    return states(self, ids, mask)

Trunk.states = stuck
import w2s_lab.features
w2s_lab.features.BATCH_TOKENS["cpu"] = 9  # three batches: 9 tokens, 5, 4 with 3
found = token_states(trunk(sys.argv[1] + ":2", device="cpu"), sys.argv[3:])
print(len(reached), float(abs(found.flat).sum(dtype="float64")), flush=True)
"""


def writer(folder, how):
    command = [sys.executable, "-c", WRITER, str(folder), how, *TEXTS]
    root = str(Path(features.__file__).parents[1])
    paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    env = os.environ | {"PYTHONPATH": paths}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_a_writer_killed_in_the_middle_leaves_nothing_that_is_read(small, read, tmp_path):
    with writer(small.folder, "stuck") as process:
        assert process.stdout.readline() == "in the middle\n"
        process.kill()
    left = [path.name for path in (tmp_path / "features").rglob("states.npy")]
    assert left == ["states.npy"]  # half written, in the folder of a part
    states = token_states(small, TEXTS)
    assert len(read) == 4
    np.testing.assert_allclose(rows(states, 3), direct(small, TEXTS[3]), rtol=2e-3, atol=2e-3)
    names = [path.name for path in next((tmp_path / "features").iterdir()).iterdir()]
    assert not [name for name in names if name.endswith(".part")]  # and it is swept away


@pytest.mark.slow
def test_two_processes_at_once_read_each_text_once_and_end_with_the_same_states(small):
    with writer(small.folder, "free") as a, writer(small.folder, "free") as b:
        lines = [process.stdout.read().split() for process in (a, b)]
    assert sorted(int(line[0]) for line in lines) == [0, 3]  # batches read by each
    total = abs(token_states(small, TEXTS).flat).sum(dtype="float64")
    assert lines[0][1] == lines[1][1] == str(float(total))


@given(
    st.lists(st.integers(1, MAX_TOKENS), min_size=1, max_size=60).map(np.array),
    st.integers(1, 2000),
)
def test_batches_hold_every_item_once_within_the_budget(lengths, budget):
    batches = batches_of_like_length(lengths, budget)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * lengths[batch].max()
        assert padded <= budget or len(batch) == 1  # a text longer than the budget goes alone


def test_batches_put_texts_of_like_length_together():
    lengths = np.array([1, 8, 2, 8, 1])
    # 16 tokens: the two of 8; then 16 // 2 = 8 texts of up to 2, all the rest
    assert [b.tolist() for b in batches_of_like_length(lengths, 16)] == [[1, 3], [2, 0, 4]]
