"""Is a trunk the very model that transformers loads, read after the block that was asked for?

Tiny random models for what holds of any; the real ones only where their names and files matter.
"""

import numpy as np
import pytest
import torch
from tiny_models import WORDS, save_model, save_tokenizer

from w2s_lab import models
from w2s_lab.errors import W2SError
from w2s_lab.models import LADDER, pick_device, trunk

IDS = torch.tensor([[5, 6, 7, 8, 9], [10, 11, 12, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


@pytest.fixture
def ladder(tmp_path, monkeypatch):
    """The ladder's names with tiny models behind them: minilm of 6 blocks, smollm2 of 30."""
    save_model(tmp_path / "minilm", blocks=6)
    save_model(tmp_path / "smollm2", "llama", blocks=30)
    monkeypatch.setattr(models, "locate", lambda name: tmp_path / name)
    monkeypatch.setattr(models, "_converted_smollm2", lambda: tmp_path / "smollm2")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "folder", "layer"),
    [
        ("static", "minilm", 0),
        ("minilm", "minilm", 4),
        ("minilm:3", "minilm", 3),
        ("minilm:0", "minilm", 0),
        ("static:2", "minilm", 2),
        ("smollm2", "smollm2", 10),
        ("smollm2:30", "smollm2", 30),
    ],
)
def test_a_rung_of_the_ladder_names_a_model_and_a_block(ladder, name, folder, layer):
    found = trunk(name, device="cpu")
    assert (found.name, found.folder, found.layer) == (name, ladder / folder, layer)


def test_every_rung_stops_at_a_block_that_its_model_has(ladder):
    for name in LADDER:
        found = trunk(name, device="cpu")
        assert found.layer <= len(found.blocks())


def test_a_folder_of_yours_is_read_two_thirds_of_the_way_up(tmp_path):
    assert trunk(str(save_model(tmp_path)), device="cpu").layer == 2  # 3 blocks
    deep = save_model(tmp_path / "deep", "llama", blocks=8)
    assert trunk(str(deep), device="cpu").layer == 5  # 8 · 2/3 = 5.33
    assert trunk(f"{deep}:7", device="cpu").layer == 7


@pytest.mark.parametrize("block", ["4", "-1", "x", "1.5", "²"])
def test_a_block_that_the_model_lacks_is_refused_with_its_depth(tmp_path, block):
    save_model(tmp_path)
    with pytest.raises(W2SError, match="from 0 to 3") as error:
        trunk(f"{tmp_path}:{block}", device="cpu")
    assert repr(block) in str(error.value) and "\n" not in str(error.value)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(W2SError, match="minilm.*smollm2") as error:
        trunk("no-such-model", device="cpu")
    assert "no-such-model" in str(error.value) and "\n" not in str(error.value)


def test_a_folder_without_a_model_is_refused_in_one_line(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "no such type"}')
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path, tmp_path / "empty"):
        with pytest.raises(W2SError, match="config.json, weights and tokenizer") as error:
            trunk(str(folder), device="cpu")
        assert str(folder) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama"])
def test_states_are_those_that_transformers_lists_after_the_block(tmp_path, kind):
    from transformers import AutoModel

    save_model(tmp_path, kind)
    whole = AutoModel.from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        wanted = whole(input_ids=IDS, attention_mask=MASK, output_hidden_states=True).hidden_states
        assert len(wanted) == 4  # the embeddings and three blocks
        for layer in range(4):
            states = trunk(f"{tmp_path}:{layer}", device="cpu").states(IDS, MASK)
            torch.testing.assert_close(states, wanted[layer])


def test_blocks_above_the_one_that_is_read_are_not_computed(tmp_path):
    found = trunk(f"{save_model(tmp_path)}:1", device="cpu")
    ran = []
    for i, block in enumerate(found.blocks()):
        block.register_forward_hook(lambda *_, i=i: ran.append(i))
    with torch.inference_mode():
        found.states(IDS, MASK)
        found.states(IDS, MASK)
    assert ran == [0, 0]


def test_a_failure_inside_the_model_is_not_taken_for_the_end_of_the_pass(tmp_path):
    found = trunk(f"{save_model(tmp_path)}:2", device="cpu")
    with pytest.raises(IndexError):
        found.states(torch.full((1, 2), 10_000), torch.ones(1, 2, dtype=torch.long))
    with torch.inference_mode():  # and no hook stays behind
        assert found.states(IDS, MASK).shape == (2, 5, 32)
        assert found.model(input_ids=IDS, attention_mask=MASK)[0].shape == (2, 5, 32)


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama"])
def test_what_stands_in_the_padding_does_not_change_a_text(tmp_path, kind):
    found = trunk(f"{save_model(tmp_path, kind)}:2", device="cpu")
    with torch.inference_mode():
        alone = found.states(IDS[1:, :3], MASK[1:, :3])[0]
        for filler in (0, 30):
            ids = IDS.masked_fill(MASK == 0, filler)
            torch.testing.assert_close(found.states(ids, MASK)[1, :3], alone)


def test_the_key_changes_with_weights_and_tokenizer_and_nothing_else(tmp_path):
    def key(name, seed=0, words=WORDS):
        folder = save_model(tmp_path / name, seed=seed)
        save_tokenizer(folder, framed=True, words=words)
        return trunk(str(folder), device="cpu").key

    first = key("a")
    assert key("b") == first  # the place does not count
    assert key("c", seed=1) != first
    assert key("d", words=WORDS[::-1]) != first
    (tmp_path / "b" / "README.md").write_text("words about the model")
    assert trunk(str(tmp_path / "b"), device="cpu").key == first


def test_weights_written_anew_in_the_same_folder_are_another_trunk(tmp_path):
    first = trunk(str(save_model(tmp_path)), device="cpu")
    assert trunk(str(tmp_path), device="cpu") is first  # loaded once
    with torch.inference_mode():
        key, before = first.key, first.states(IDS, MASK)
        save_model(tmp_path, seed=1)
        second = trunk(str(tmp_path), device="cpu")
        assert second.key != key
        assert not torch.allclose(second.states(IDS, MASK), before)


def test_operations_count_the_blocks_up_to_the_one_that_is_read(tmp_path):
    save_model(tmp_path)
    # Of one block (dim 32, inner 64): attention 4 · (32 · 32 + 32) = 4,224; feed-forward
    # 32 · 64 + 64 + 64 · 32 + 32 = 4,192; two norms 2 · 64 = 128. Sum 8,544, doubled 17,088.
    for layer in range(4):
        assert trunk(f"{tmp_path}:{layer}", device="cpu").flops_per_token() == layer * 17_088


def test_a_device_that_is_not_there_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device() == pick_device("cpu") == "cpu"
    for device in ("cuda", "cuda:1", "mps", "tpu", ""):
        with pytest.raises(W2SError, match="choose auto or cpu") as error:
            pick_device(device)
        assert "\n" not in str(error.value)


def test_auto_takes_a_gpu_and_a_number_beyond_the_last_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device() == "cuda"
    assert pick_device("cuda:1") == "cuda:1"
    for device in ("cuda:2", "cuda:x"):
        with pytest.raises(W2SError, match=device):
            pick_device(device)


@pytest.mark.slow
def test_converted_smollm2_says_what_the_packed_file_says():
    from transformers import AutoModel, AutoTokenizer

    from w2s_lab.assets import locate

    source = locate("smollm2")
    packed = next(source.glob("*.gguf")).name
    found = trunk("smollm2", device="cpu")
    text = "The licensee shall indemnify and hold harmless the licensor’s affiliates."
    direct = AutoTokenizer.from_pretrained(source, gguf_file=packed)(text)["input_ids"]
    assert found.tokenizer(text)["input_ids"] == direct
    whole = AutoModel.from_pretrained(source, gguf_file=packed, dtype=torch.float32).eval()
    ids = torch.tensor([direct])
    with torch.inference_mode():
        wanted = whole(input_ids=ids, output_hidden_states=True)
        states = found.states(ids, torch.ones_like(ids))
        last = found.model(input_ids=ids)[0]
        # next words: the head is tied to the embedding
        logits = last[0, -1] @ found.model.get_input_embeddings().weight.T
        wanted_logits = wanted[0][0, -1] @ whole.get_input_embeddings().weight.T
    # half precision: 11 bits of each weight, a few parts in a thousand after ten blocks
    difference = (states - wanted.hidden_states[10]).norm() / wanted.hidden_states[10].norm()
    assert difference < 5e-3
    assert (logits - wanted_logits).abs().max() < 0.05 * wanted_logits.std()
    assert logits.argmax() == wanted_logits.argmax()
    assert np.isfinite(states.half().numpy()).all()  # as they are kept in the cache
