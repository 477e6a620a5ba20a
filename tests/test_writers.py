"""Does a writer learn what it is given and nothing else, and leave the model it shares alone?

How texts are scored and written is asked in test_generate; here, what is taught and what is copied.
"""

import numpy as np
import pytest
import torch
from tiny_models import save_writer

from w2s_lab import writers
from w2s_lab.errors import W2SError
from w2s_lab.generate import log_likelihood
from w2s_lab.writers import Blocks, Lead, lead

DOCUMENTS = ("w1 w2 w3 w4", "w5", "w6 w7 w8 w9 w10 w11", "w1 w2 w3 w4", "w12 w13 w14", "w15 w16")
QUESTIONS = ("w30", "w31", "w30", "w31", "w30", "w31")
TEXTS = ("w1 w2", "w5", "w6 w7 w8", "w4", "w12 w13", "w16 w15 w16")
EVERY = tuple(range(6))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_writer(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("W2S_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def strong(folder):
    return Blocks(str(folder), DOCUMENTS, QUESTIONS, "cpu")


@pytest.fixture(scope="module")
def weak(folder):
    return Blocks(f"{folder}:2", DOCUMENTS, QUESTIONS, "cpu")


@pytest.fixture(autouse=True)
def brisk(monkeypatch):
    monkeypatch.setattr(writers, "RATE", 0.01)  # a tiny model learns in few steps


def learned(blocks, rows=EVERY, texts=TEXTS, *, epochs=6, seed=0, **how):
    return blocks.taught(rows, texts, epochs=epochs, seed=seed, **how)


def same(one, two):
    pairs = zip(one.parameters(), two.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


# --- what is taught -------------------------------------------------------------------------------


def test_what_is_taught_becomes_likelier_and_what_is_not_taught_does_not(strong):
    before = strong.score(strong.untouched(), EVERY, TEXTS)
    writer = learned(strong, (0, 1), TEXTS[:2], epochs=30)
    assert strong.score(writer, (0, 1), TEXTS[:2]).min() > -0.5 > before[:2].max()
    assert strong.write(writer, (0, 1), 8) == list(TEXTS[:2])


def test_training_moves_the_top_blocks_and_the_norm_and_leaves_the_shared_model_alone(strong):
    before = {name: p.clone() for name, p in strong.lm.model.state_dict().items()}
    writer, untouched = learned(strong), strong.untouched()
    assert {name.partition(".")[0] for name, _ in writer.named_parameters()} == {
        "blocks",
        "way_out",
    }
    for a, b in zip(writer.parameters(), untouched.parameters(), strict=True):
        assert not torch.equal(a, b) and not a.requires_grad
    after = strong.lm.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert len(writer.blocks) == writers.BLOCKS == strong.depth - strong.first


def test_the_seed_decides_the_order_and_the_same_seed_gives_the_same_writer(strong, monkeypatch):
    monkeypatch.setattr(writers, "BATCH", 8)  # several steps an epoch: there is an order
    assert same(learned(strong, epochs=2, seed=1), learned(strong, epochs=2, seed=1))
    assert not same(learned(strong, epochs=2, seed=1), learned(strong, epochs=2, seed=2))


def test_a_text_of_weight_zero_is_as_if_it_were_not_there(strong):
    weights = np.array([1, 0, 1, 0, 1, 0])
    some = learned(strong, (0, 2, 4), TEXTS[::2], epochs=2)
    assert same(learned(strong, epochs=2, weights=weights), some)
    assert not same(learned(strong, epochs=2), some)


def test_weights_count_against_each_other_and_their_scale_does_not(strong):
    equal = learned(strong, epochs=2, weights=np.full(6, 4.0))
    assert same(equal, learned(strong, epochs=2))
    rows, texts = (0, 0), ("w20", "w21")  # two answers to one prompt
    first, second = (
        strong.score(learned(strong, rows, texts, epochs=20, weights=np.array(w)), rows, texts)
        for w in ([5.0, 1.0], [1.0, 5.0])
    )
    assert first[0] > first[1] + 0.3 and second[1] > second[0] + 0.3


def test_no_text_at_all_is_one_clear_line(strong):
    with pytest.raises(W2SError, match="no text to learn"):
        learned(strong, weights=np.zeros(6))


def test_after_each_epoch_the_writer_is_shown_with_its_number_from_0(strong):
    seen, looks = [], []

    def look(epoch, writer):
        seen.append(epoch)
        looks.append(strong.towards(writer, 1.0))

    last = learned(strong, epochs=3, after_epoch=look)
    assert seen == [0, 1, 2]
    assert same(looks[-1], last) and not same(looks[0], last)


def test_a_teachers_distributions_are_matched_instead_of_its_texts(strong, weak):
    # few passes: a teacher without doubt would say no more than its texts do
    tutor = learned(weak, texts=("w20", "w21", "w20", "w21", "w20", "w21"), epochs=3)
    said = tuple(weak.write(tutor, EVERY, 6))

    def apart(writer):
        ours, theirs = (b.prompts.tell(EVERY, said, b.first) for b in (strong, weak))
        with torch.no_grad():
            p = tutor(theirs, list(EVERY))[0].log_softmax(-1)
            q = writer(ours, list(EVERY))[0].log_softmax(-1)
        return (p.exp() * (p - q)).sum(-1).mean().item()

    soft = learned(strong, texts=said, epochs=20, teacher=(weak, tutor, 1.0))
    hard = learned(strong, texts=said, epochs=20)
    assert apart(soft) < 0.5 * min(apart(hard), apart(strong.untouched()))


# --- scores, costs, cuts --------------------------------------------------------------------------


def test_a_score_is_the_mean_over_the_tokens_of_a_text(strong):
    writer = strong.untouched()
    each = log_likelihood(writer, strong.prompts.tell(EVERY, TEXTS, strong.first))
    assert [len(values) for values in each] == [3, 2, 4, 2, 3, 4]  # words, and the end
    got = strong.score(writer, EVERY, TEXTS)
    assert got == pytest.approx([values.mean() for values in each])
    assert strong.score(writer, (1,), ("",)).shape == (1,)


def test_all_sizes_of_a_model_share_one_reading(strong, weak):
    assert weak.prompts is strong.prompts and weak.key == strong.key
    assert (weak.depth, weak.first, strong.first) == (2, 0, 1)
    assert not np.allclose(*(b.score(b.untouched(), EVERY, TEXTS) for b in (weak, strong)))


def test_weights_that_were_written_anew_are_read_anew(tmp_path):
    def scores(seed):
        save_writer(tmp_path, seed=seed)
        model = Blocks(str(tmp_path), DOCUMENTS, QUESTIONS, "cpu")
        return model.score(model.untouched(), EVERY, TEXTS)

    first, second, again = scores(5), scores(6), scores(5)
    assert np.array_equal(first, again) and not np.allclose(first, second)


def test_costs_are_counted_per_token_of_prompt_and_answer(strong, weak):
    # words of document and question: 5, 2, 7, 5, 4, 3. A block has 2·32·32 + 2·32·16 + 3·32·64 +
    # 2·32 = 9,280 weights, the norm before the head 32, the head 44·32 = 1,408
    assert strong.cost()["prompt_tokens"] == pytest.approx(26 / 6)
    assert strong.cost()["read_flops"] == 2 * 4 * 9280
    assert strong.cost()["write_flops"] == 2 * (4 * 9280 + 32 + 1408)
    assert weak.cost()["read_flops"] == 2 * 2 * 9280
    assert weak.cost()["read_seconds"] == pytest.approx(strong.cost()["read_seconds"] / 2)


# --- the lead -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document, sentence",
    [
        ("A Title\nWe study X. It is hard.", "We study X."),
        ("A Title\n\nWhy? Because we can.", "Why?"),
        ("We study X. It is hard.", "We study X."),  # no title
        ("A Title\nIt costs 0.5, approx. half. 7 more follow", "It costs 0.5, approx. half."),
        ("A Title\nno end in sight", "no end in sight"),
        ("A Title\n", "A Title"),
        ("", ""),
        ("def get_terminal_size(fallback):\n    pass", "Get terminal size."),
        ("class A:\n    @property\n    def parseHTTPBody2(self): ...", "Parse http body 2."),
        ("async def fetch(url):\n    return 'A. B'", "Fetch."),
        ("def __init__(self):\n    def inner(): ...", "Init."),
        ("def _(x): ...", "_"),
    ],
)
def test_the_lead_is_the_first_sentence_or_the_functions_name(document, sentence):
    assert lead(document) == sentence


def test_a_lead_is_cut_at_the_limit_and_costs_nothing():
    copier = Lead(["T\nOne two three four. Five.", "def a_b_c(): ..."])
    assert copier.write(None, (1, 0), 3) == ["A b c.", "One two three"]
    assert set(copier.cost().values()) == {0.0}


# --- a cut model ----------------------------------------------------------------------------------


def test_a_cut_model_finds_its_way_out_by_reading_unlabelled_items_only(folder, monkeypatch):
    from w2s_lab import shortcut as room

    read, through = [], room.shortcut

    def looking(lm, depth, texts):
        read.append((depth, tuple(texts)))
        return through(lm, depth, texts)

    monkeypatch.setattr(room, "shortcut", looking)
    cut = Blocks(f"{folder}:3", DOCUMENTS, QUESTIONS, "cpu", unlabelled=(0, 2, 3))
    cut.untouched(), cut.untouched()
    assert read == [(3, (DOCUMENTS[0], DOCUMENTS[2]))]  # once, and item 3 repeats item 0
    Blocks(str(folder), DOCUMENTS, QUESTIONS, "cpu").untouched()
    assert len(read) == 1  # the whole model has its own


def test_a_cut_model_learns_its_way_out_too(weak):
    before, after = weak.untouched(), learned(weak)
    assert not torch.equal(before.way_out[0].weight, after.way_out[0].weight)
    assert same(before, weak.untouched())


def test_a_cut_model_costs_its_blocks_its_way_out_and_the_head(weak, strong):
    # 32·32 weights and 32 of bias, and the norm's 32; the head has 44·32
    ours, whole = weak.cost(), strong.cost()
    assert ours["write_flops"] - ours["read_flops"] == 2 * (32 * 32 + 32 + 32 + 44 * 32)
    assert whole["write_flops"] - whole["read_flops"] == 2 * (32 + 44 * 32)
