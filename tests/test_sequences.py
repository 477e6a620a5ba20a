"""Is a text's loss the model's own, whatever stands beside it, and does learning stay in the tail?

On a random Llama of a few thousand weights.
"""

import numpy as np
import pytest
import torch
from tiny_models import SPECIAL, WORDS, save_writer

from w2s_lab import sequences as room
from w2s_lab.models import language_model
from w2s_lab.sequences import Read, Tail, cut_log_probs, learn, mean_loss, sequences
from w2s_lab.shortcut import SINKS

BLOCKS = 4
END, START = SPECIAL.index("[SEP]"), SPECIAL.index("[CLS]")
TEXTS = [" ".join(f"w{(7 * i + k * k) % 20}" for k in range(3 + 5 * (i % 4))) for i in range(12)]
PROMPTS = [" ".join(f"w{20 + (i + k) % 20}" for k in range(1 + i % 5)) for i in range(12)]
ALL = np.arange(len(TEXTS))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_writer(tmp_path_factory.mktemp("model"), blocks=BLOCKS)


@pytest.fixture
def lm(folder, tmp_path, monkeypatch):
    """A model of four blocks and an empty cache."""
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    return language_model(str(folder), device="cpu")


def ids_of(words):
    return [len(SPECIAL) + WORDS.index(word) for word in words.split()]


def by_the_model(lm, found, item):
    """The text's loss per token by one call of the plain model, softmax over the shortlist."""
    ids = torch.from_numpy(found.ids[item])[None]
    with torch.inference_mode():
        logits = lm.model(input_ids=ids).logits[0, found.starts[item] - 1 : -1]
    places = np.searchsorted(found.vocabulary, found.ids[item][found.starts[item] :])
    log_probs = logits[:, found.vocabulary].log_softmax(-1)
    return -log_probs[np.arange(len(places)), places].mean().item()


def untrained(read, items=ALL):
    tail = Tail(read, BLOCKS - 1).eval()
    return mean_loss(read, items, lambda batch: tail(batch)[0])


# --- texts to tokens ------------------------------------------------------------------------------


def test_a_text_without_a_prompt_begins_after_a_start_token_which_is_not_predicted(lm):
    found = sequences(lm, ["w3 w1", "w2"])
    first = lm.tokenizer.bos_token_id or lm.end
    assert [ids.tolist() for ids in found.ids] == [
        [first, *ids_of("w3 w1")],
        [first, *ids_of("w2")],
    ]
    assert found.starts.tolist() == [1, 1]
    # the start token and the first word go in, both words are asked for
    assert found.lengths.tolist() == found.counts.tolist() == [2, 1]
    assert found.vocabulary.tolist() == sorted(ids_of("w1 w2 w3"))


def test_a_text_after_its_prompt_ends_with_the_end_of_the_turn_and_no_prompt_is_predicted(lm):
    found = sequences(lm, ["w3 w1"], ["w9 w8 w7"])
    assert found.ids[0].tolist() == [*ids_of("w9 w8 w7 w3 w1"), END]
    assert found.starts.tolist() == [3]
    assert (found.lengths.tolist(), found.counts.tolist()) == ([5], [3])
    # tokens of prompts are never to be predicted, so the shortlist can do without them
    assert found.vocabulary.tolist() == sorted([*ids_of("w3 w1"), END])


def test_the_end_of_the_turn_can_be_asked_for_without_a_prompt_and_left_out_after_one(lm):
    first = lm.tokenizer.bos_token_id or lm.end
    alone = sequences(lm, ["w3 w1"], ended=True)
    assert alone.ids[0].tolist() == [first, *ids_of("w3 w1"), END]
    assert alone.counts.tolist() == sequences(lm, ["w3 w1"], ["w9"]).counts.tolist() == [3]
    bare = sequences(lm, ["w3 w1"], ["w9"], ended=False)
    assert bare.ids[0].tolist() == ids_of("w9 w3 w1") and bare.counts.tolist() == [2]


def test_a_text_of_nothing_has_one_token_to_predict(lm):
    assert sequences(lm, ["", "w1"]).counts.tolist() == [1, 1]
    assert sequences(lm, ["", "w1"], ["w2", "w2"]).counts.tolist() == [1, 2]


def test_a_long_text_is_cut_and_a_long_prompt_leaves_one_token_of_its_text(lm, monkeypatch):
    monkeypatch.setattr(room, "MAX_TOKENS", 6)
    found = sequences(lm, ["w1 " * 9, "w2"], ["w3", "w4 " * 9])
    assert [len(ids) for ids in found.ids] == [6, 10]
    assert found.counts.tolist() == [5, 1]


def test_a_shortlist_can_be_given(lm):
    whole = sequences(lm, TEXTS).vocabulary
    assert sequences(lm, TEXTS[:1], vocabulary=whole).vocabulary is whole


def test_texts_and_prompts_of_other_numbers_are_refused(lm):
    with pytest.raises(ValueError):
        sequences(lm, TEXTS, PROMPTS[:3])


# --- loss -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompts", [[], PROMPTS], ids=["alone", "after prompts"])
def test_the_untrained_tail_has_the_models_own_loss_over_the_shortlist(lm, prompts):
    found = sequences(lm, TEXTS, prompts)
    own = [by_the_model(lm, found, item) for item in ALL]
    losses = untrained(Read(lm, found, [BLOCKS - 1]))
    assert losses == pytest.approx(own, abs=1e-2)  # states are kept in half precision
    assert losses.std() > 0.1  # so a mix-up of texts would show


def test_the_model_cut_after_its_last_block_has_the_same_loss_and_one_cut_before_has_not(lm):
    found = sequences(lm, TEXTS)
    read = Read(lm, found, [2, BLOCKS - 1, BLOCKS])
    way = torch.nn.Identity()
    whole, cut = (
        mean_loss(read, ALL, lambda batch, d=depth: cut_log_probs(read, d, way, batch))
        for depth in (BLOCKS, 2)
    )
    assert whole == pytest.approx(untrained(read), abs=1e-2)
    assert abs(cut - whole).max() > 0.1
    probs = cut_log_probs(read, 2, way, ALL[:3]).exp().sum(-1)
    assert probs.numpy() == pytest.approx(np.ones(len(probs)), abs=1e-5)


def test_a_prompt_changes_the_loss_of_its_text_but_none_of_its_tokens_is_scored(lm):
    found = sequences(lm, TEXTS, PROMPTS)
    read = Read(lm, found, [BLOCKS - 1])
    logits, targets = Tail(read, BLOCKS - 1)(ALL)
    assert len(logits) == len(targets) == found.counts.sum()
    said = [token for text in TEXTS for token in [*ids_of(text), END]]
    assert found.vocabulary[targets.numpy()].tolist() == said
    other = sequences(lm, TEXTS, PROMPTS[1:] + PROMPTS[:1])
    moved = untrained(Read(lm, other, [BLOCKS - 1])) - untrained(read)
    assert abs(moved).min() > 1e-3


def test_a_text_has_the_same_loss_alone_and_in_company(lm, monkeypatch):
    found = sequences(lm, TEXTS, PROMPTS)
    together = untrained(Read(lm, found, [BLOCKS - 1]))
    monkeypatch.setattr(room, "READ_TOKENS", 1)
    monkeypatch.setattr(room, "SCORE_TOKENS", 1)  # every batch is one text
    for item in ALL:
        alone = sequences(lm, [TEXTS[item]], [PROMPTS[item]], vocabulary=found.vocabulary)
        loss = untrained(Read(lm, alone, [BLOCKS - 1]), ALL[:1])
        assert loss == pytest.approx(together[item : item + 1], abs=5e-3)


def test_losses_come_in_the_order_that_was_asked_for(lm):
    read = Read(lm, sequences(lm, TEXTS), [BLOCKS - 1])
    whole = untrained(read)
    some = np.array([7, 0, 3, 11])
    assert untrained(read, some) == pytest.approx(whole[some], abs=1e-4)


def test_the_loss_of_an_even_guess_is_the_logarithm_of_the_shortlist(lm):
    found = sequences(lm, TEXTS)
    read = Read(lm, found, [BLOCKS - 1])
    size = len(found.vocabulary)
    losses = mean_loss(read, ALL, lambda b: torch.zeros(found.counts[b].sum(), size))
    assert losses == pytest.approx(np.full(len(TEXTS), np.log(size)), abs=1e-5)


# --- what has been read ---------------------------------------------------------------------------


def test_states_are_those_of_the_plain_model(lm):
    found = sequences(lm, TEXTS, PROMPTS)
    read = Read(lm, found, [1, 3])
    for item in ALL[:5]:
        with torch.inference_mode():
            ids = torch.from_numpy(found.ids[item][:-1])[None]
            hidden = lm.model(input_ids=ids, output_hidden_states=True).hidden_states
        for block in (1, 3):
            (mine,) = read.padded(block, [item])
            # half precision keeps three digits
            assert torch.allclose(mine, hidden[block][0], rtol=2e-3, atol=2e-3)


def test_what_has_been_read_is_not_read_again(lm, monkeypatch):
    found, read = sequences(lm, TEXTS), []
    through = Read._read

    def counting(self, after):
        read.append(list(after))
        return through(self, after)

    monkeypatch.setattr(Read, "_read", counting)
    first, again = (Read(lm, found, after) for after in ([3, 1], [1, 3]))
    assert read == [[1, 3]]
    for block in (1, 3):
        assert torch.equal(first.states[block], again.states[block])
    Read(lm, found, [2])
    Read(lm, sequences(lm, TEXTS[1:]), [1, 3])
    assert read == [[1, 3], [2], [1, 3]]


def test_the_second_reading_does_not_run_the_model(lm, monkeypatch):
    found = sequences(lm, TEXTS)
    Read(lm, found, [2])

    def refuse(*_):
        raise AssertionError("the model ran")

    monkeypatch.setattr(room, "run", refuse)
    Read(lm, found, [2])
    with pytest.raises(AssertionError, match="the model ran"):
        Read(lm, found, [1])


@pytest.mark.parametrize("after", [[0], [0, 1]])
def test_the_states_before_the_first_block_can_be_read(lm, after):
    found = sequences(lm, TEXTS[:2])
    (mine,) = Read(lm, found, after).padded(0, [0])
    assert torch.allclose(mine, lm.embed(torch.from_numpy(found.ids[0][:-1])), atol=2e-3)


def test_after_start_leaves_out_the_first_tokens_of_each_text_but_never_all_of_them(lm):
    found = sequences(lm, ["w1", "w1 w2 w3 w4 w5 w6 w7", "w1 w2 w3 w4 w5 w6"])
    read = Read(lm, found, [1, 2])
    # 1, 7 and 6 tokens go in: of one token one is left, of 7 and 6 all but the first four
    lengths = [min(SINKS, n - 1) for n in (1, 7, 6)]
    assert lengths == [0, 4, 4]
    states = read.after_start(np.array([1, 0]))
    assert set(states) == {1, 2} and states[2].dtype == torch.float32
    assert torch.equal(states[2][:3], read.padded(2, [1])[0, 4:])
    assert torch.equal(states[2][3:], read.padded(2, [0])[0])


def test_what_predicts_and_what_is_predicted_by_hand(lm):
    found = sequences(lm, ["w5 w1", "w3"], ["w9", "w9 w8 w7"])
    # ids: w9 w5 w1 [SEP] and w9 w8 w7 w3 [SEP]; shortlist: [SEP] w1 w3 w5
    real, targets = Read(lm, found, [1]).predicting(np.array([0, 1]))
    # the state of w9 predicts w5, that of w5 w1, that of w1 the end; the fourth place is padding
    assert real.tolist() == [[True, True, True, False], [False, False, True, True]]
    assert targets.tolist() == [3, 1, 0, 2, 0]
    real, targets = Read(lm, found, [1]).predicting(np.array([1, 0]))
    assert targets.tolist() == [2, 0, 3, 1, 0]


# --- learning -------------------------------------------------------------------------------------


@pytest.fixture
def read(lm):
    return Read(lm, sequences(lm, TEXTS, PROMPTS), [2, BLOCKS - 1, BLOCKS])


def score_of(tail, items=ALL):
    tail.eval()
    return mean_loss(tail._shared[0], items, lambda batch: tail(batch)[0])


def test_learning_lowers_the_loss_of_what_was_learned_and_more_than_that_of_the_rest(read):
    learned, rest = ALL[:6], ALL[6:]
    tail = Tail(read, BLOCKS - 1)
    before = score_of(tail)
    assert learn(tail, learned, epochs=8, lr=1e-2) is tail
    gain = before - score_of(tail)
    assert gain[learned].min() > 0.1 and gain[learned].mean() > gain[rest].mean() + 0.1


def test_learning_leaves_the_base_model_as_it_was(lm, read):
    before = {name: p.clone() for name, p in lm.model.named_parameters()}
    kept = {block: states.clone() for block, states in read.states.items()}
    loss = untrained(read)
    learn(Tail(read, BLOCKS - 1), ALL, epochs=3, lr=1e-2)
    for name, p in lm.model.named_parameters():
        assert torch.equal(p, before[name]) and not p.requires_grad and p.grad is None, name
    assert all(torch.equal(read.states[block], states) for block, states in kept.items())
    assert untrained(read) == pytest.approx(loss, abs=0)


def test_only_the_last_blocks_and_the_norm_are_learned(lm, read):
    tail = Tail(read, 2)
    names = {name.split(".")[0] for name, _ in tail.named_parameters()}
    assert names == {"blocks", "norm"} and len(tail.blocks) == BLOCKS - 2
    assert all(p.requires_grad for p in tail.parameters())
    sizes = sum(p.numel() for block in lm.blocks[2:] for p in block.parameters())
    assert sum(p.numel() for p in tail.parameters()) == sizes + lm.norm.weight.numel()
    assert score_of(tail) == pytest.approx(untrained(read), abs=1e-2)  # and start from the same


def test_the_same_seed_learns_the_same_and_another_seed_something_else(read, monkeypatch):
    monkeypatch.setattr(room, "STEP_TOKENS", 40)  # several steps, so that their order counts
    found = [score_of(learn(Tail(read, BLOCKS - 1), ALL, lr=1e-2, seed=s)) for s in (0, 0, 1)]
    np.testing.assert_array_equal(found[0], found[1])
    assert abs(found[0] - found[2]).max() > 1e-4


def test_no_text_outside_of_the_chosen_ones_is_learned(lm, read):
    other = [*TEXTS[:6], *reversed(TEXTS[6:])]
    found = sequences(lm, other, PROMPTS, vocabulary=read.found.vocabulary)
    tails = [Tail(r, BLOCKS - 1) for r in (read, Read(lm, found, [BLOCKS - 1]))]
    for tail in tails:
        learn(tail, ALL[:6], epochs=2, lr=1e-2)
    for one, two in zip(*(tail.parameters() for tail in tails), strict=True):
        assert torch.allclose(one, two, atol=1e-5)


def teacher_of(read):
    """The model cut after block 2, which disagrees with the whole one."""
    return lambda batch: cut_log_probs(read, 2, torch.nn.Identity(), batch)


def divergence(read, tail):
    """Cross-entropy of the tail to the teacher, per token."""
    with torch.inference_mode():
        told = teacher_of(read)(ALL).exp()
        return -(told * tail(ALL)[0].log_softmax(-1)).sum(-1).mean().item()


def test_the_teachers_share_moves_the_student_from_the_texts_to_the_teacher(read):
    asked = {"epochs": 8, "lr": 1e-2, "teacher": teacher_of(read)}
    tails = [learn(Tail(read, BLOCKS - 1), ALL, share=share, **asked) for share in (0, 0.5, 1)]
    own, told = (
        [f(tail) for tail in tails]
        for f in (lambda t: score_of(t).mean(), lambda t: divergence(read, t))
    )
    assert own[0] < own[1] < own[2] and told[0] > told[1] > told[2]


def test_a_share_of_0_never_asks_the_teacher(read):
    def refuse(batch):
        raise AssertionError("asked")

    tails = [learn(Tail(read, BLOCKS - 1), ALL, teacher=t, share=0) for t in (refuse, None)]
    np.testing.assert_array_equal(*map(score_of, tails))


def test_a_teacher_who_is_sure_of_the_texts_own_tokens_is_no_other_than_the_texts(read):
    def sure(batch):
        _, targets = read.predicting(batch)
        certain = torch.nn.functional.one_hot(targets, len(read.found.vocabulary)).float()
        return certain.clamp(1e-30).log()

    found = [learn(Tail(read, BLOCKS - 1), ALL, teacher=sure, share=s) for s in (0.0, 1.0)]
    assert score_of(found[0]) == pytest.approx(score_of(found[1]), abs=1e-3)
