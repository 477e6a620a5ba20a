"""Whole models as writers: learning, greedy writing, scores, and that writers share one model.

Random transformers of a few thousand weights; no real model is loaded. Writing and scores are held
against loops over one item and one token at a time, without padding and without a cache.
"""

import copy
import json
import shutil
from functools import lru_cache, partial

import numpy as np
import pytest
import torch
from tiny_models import SPECIAL, WORDS, save_tokenizer
from torch import nn

from w2s_lab import whole
from w2s_lab.errors import W2SError
from w2s_lab.finetune import fit, target_loss
from w2s_lab.generate import Prompts
from w2s_lab.models import language_model
from w2s_lab.whole import Whole
from w2s_lab.writers import Blocks

pytestmark = pytest.mark.slow  # four kinds of models, all of size full

KINDS = ("llama", "gpt2", "t5", "bart")
PAD, _, START, END = range(4)  # as in `SPECIAL`
LIMIT = 48  # positions
WIDTH = len(SPECIAL + WORDS)  # of the vocabulary: 44
RNG = np.random.default_rng(0)
DOCUMENTS = [" ".join(RNG.choice(WORDS, size)) for size in (3, 11, 1, 7, 19, 2, 30, 5)]
QUESTIONS = [WORDS[i] for i in range(8)]
TEXTS = [" ".join(RNG.choice(WORDS, size)) for size in (4, 1, 0, 6, 2, 9, 3, 5)]
ROWS = range(8)


def save(folder, kind, *, vocabulary=WIDTH, words=WORDS, seed=0):
    """A random language model of that kind, far from the flat first guess, and its tokenizer."""
    import transformers

    sizes = {
        "llama": {"num_key_value_heads": 1, "intermediate_size": 24},
        "gpt2": {},
        "t5": {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_heads": 2, "num_layers": 2}
        | {"dropout_rate": 0.0},
        "bart": {
            **{"d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 24},
            **{"decoder_ffn_dim": 24, "encoder_attention_heads": 2, "decoder_attention_heads": 2},
        },
    }[kind]
    if kind in ("llama", "gpt2"):
        sizes |= {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2}
    if kind != "t5":
        sizes |= {"max_position_embeddings": LIMIT}
    config = transformers.AutoConfig.for_model(
        kind,
        vocab_size=vocabulary,
        pad_token_id=PAD,
        bos_token_id=START,
        eos_token_id=END,
        decoder_start_token_id=END if kind == "bart" else PAD,
        **sizes,
    )
    two = config.is_encoder_decoder
    family = transformers.AutoModelForSeq2SeqLM if two else transformers.AutoModelForCausalLM
    torch.manual_seed(seed)
    model = family.from_config(config)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
    model.save_pretrained(folder)
    save_tokenizer(folder, framed=kind == "bart", words=words)  # BART's frames every text
    special = {"bos_token": "[CLS]", "eos_token": "[SEP]", "pad_token": "[PAD]"}
    transformers.AutoTokenizer.from_pretrained(folder, **special).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """From a kind to the folder of its model."""
    made = {kind: save(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}
    return made.__getitem__


@pytest.fixture(scope="module")
def of(folder):
    """From a kind and what is trained to one `Whole` that all tests share, as writers do."""
    return lru_cache(lambda kind, how="lora": load(folder(kind), how))


@pytest.fixture
def advised(folder, tmp_path):
    """From a kind and settings of `generate` to a copy of its model that recommends them."""

    def make(kind, **advice):
        copied = shutil.copytree(folder(kind), tmp_path / kind)
        file = copied / "generation_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | advice))
        return copied

    return make


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Learning rates at which so small a model learns in a few steps."""
    monkeypatch.setattr(whole, "RATES", {"lora": 2e-2, "top": 1e-2, "whole": 1e-2})


def load(folder, how="lora", documents=DOCUMENTS, questions=QUESTIONS):
    return Whole(str(folder), documents, questions, "cpu", how)


def same(one, two):
    return all(torch.equal(one.weights[n], two.weights[n]) for n in one.weights | two.weights)


def close(one, two):
    torch.testing.assert_close(one.weights, two.weights, atol=2e-4, rtol=2e-3)


def fails(call, *told):
    with pytest.raises(W2SError) as caught:
        call()
    assert "\n" not in str(caught.value)
    for part in told:
        assert part in str(caught.value)


def prompt(kind, row):
    """The ids of a prompt, by hand: document and question, a word a token."""
    words = f"{DOCUMENTS[row]} {QUESTIONS[row]}".split()
    ids = [len(SPECIAL) + WORDS.index(word) for word in words]
    return [START, *ids, END] if kind == "bart" else ids


def target(kind, text):
    ids = [len(SPECIAL) + WORDS.index(word) for word in text.split()]
    return [START, *ids, END] if kind == "bart" else [*ids, END]


def next_logits(model, kind, prompt, said):
    """Logits of the token after `said`, by a pass over everything."""
    if kind in ("llama", "gpt2"):
        return model(torch.tensor([[*prompt, *said]])).logits[0, -1]
    start = END if kind == "bart" else PAD
    ids, said = torch.tensor([prompt]), torch.tensor([[start, *said]])
    return model(input_ids=ids, decoder_input_ids=said).logits[0, -1]


# Scores


@pytest.mark.parametrize("kind", KINDS)
def test_a_score_is_the_mean_over_a_loop_of_single_tokens_in_double_precision(of, kind):
    here = of(kind)
    writer = here.taught(ROWS, TEXTS, epochs=2, seed=0)
    with here.using(writer) as model:
        exact = copy.deepcopy(model).double()
    wanted = []
    with torch.no_grad():
        for row in ROWS:
            ids, each = target(kind, TEXTS[row]), []
            for k, token in enumerate(ids):
                logits = next_logits(exact, kind, prompt(kind, row), ids[:k])
                each.append(logits.log_softmax(-1)[token].item())
            wanted.append(np.mean(each))
    found = here.score(writer, ROWS, TEXTS)
    assert found.shape == (8,) and found.dtype == float
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_neither_company_nor_order_nor_batches_change_a_score(of, kind, monkeypatch):
    here = of(kind)
    here.untouched().known.clear()
    together = here.score(here.untouched(), ROWS, TEXTS)
    here.untouched().known.clear()
    back = here.score(here.untouched(), ROWS[::-1], TEXTS[::-1])[::-1]
    np.testing.assert_allclose(back, together, rtol=1e-5)
    monkeypatch.setattr(whole, "BUDGET", 1)  # one by one
    here.untouched().known.clear()
    alone = here.score(here.untouched(), ROWS, TEXTS)
    np.testing.assert_allclose(alone, together, rtol=1e-5)
    assert here.score(here.untouched(), [], []).shape == (0,)


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_the_score_of_an_empty_text_is_the_log_probability_of_ending_at_once(of, kind):
    here = of(kind)
    with here.using(here.untouched()) as model:
        logits = next_logits(model, kind, prompt(kind, 3), [])
    wanted = logits.log_softmax(-1)[END].item()
    assert here.score(here.untouched(), [3], [""])[0] == pytest.approx(wanted, rel=1e-5)


# Writing


@pytest.mark.parametrize(
    ("kind", "stop"), [("llama", "w9"), ("gpt2", "w5"), ("t5", "w39"), ("bart", "w1")]
)
def test_a_batch_writes_what_a_loop_without_padding_and_cache_writes(
    advised, kind, stop, monkeypatch
):
    # A second token ends a turn, as in models that were trained to chat: texts of all lengths
    ends = [END, len(SPECIAL) + WORDS.index(stop)]
    here = load(advised(kind, eos_token_id=ends))
    wanted, sizes = [], set()
    with here.using(here.untouched()) as model:
        for row in ROWS:
            said = []
            while len(said) < 7 and not {*said} & {*ends}:
                said.append(int(next_logits(model, kind, prompt(kind, row), said).argmax()))
            sizes.add(len(said))
            words = [WORDS[i - len(SPECIAL)] for i in said if i >= len(SPECIAL) and i not in ends]
            wanted.append(" ".join(words))
    assert len(sizes) > 2
    assert here.write(here.untouched(), ROWS, 7) == wanted
    monkeypatch.setattr(whole, "WRITE_TOKENS", 1)  # one by one
    here.untouched().known.clear()
    assert here.write(here.untouched(), ROWS[::-1], 7) == wanted[::-1]
    assert here.write(here.untouched(), [], 7) == []


@pytest.mark.parametrize("kind", ["gpt2", "bart"])
def test_what_the_authors_recommend_for_decoding_is_not_followed(advised, of, kind):
    plain = of(kind)
    advice = {"num_beams": 3, "min_length": 9, "repetition_penalty": 9.0, "top_k": 2}
    other = load(advised(kind, do_sample=True, **advice))
    texts = plain.write(plain.untouched(), ROWS, 9)
    assert other.write(other.untouched(), ROWS, 9) == texts
    assert any(len(set(text.split())) < len(text.split()) for text in texts)  # repetitions


def test_a_first_token_that_a_model_needs_stays(advised):
    here = load(advised("bart", forced_bos_token_id=len(SPECIAL) + 7))  # as mBART needs a language
    texts = here.write(here.untouched(), ROWS, 3)
    assert all(text.startswith("w7") for text in texts)


# What is asked twice


@pytest.fixture
def passes(monkeypatch):
    """From a `Whole` to a list that grows with each pass of its model."""

    def count(here):
        seen = []
        hook = here.model.register_forward_hook(lambda *_: seen.append(1))
        hooks.append(hook)
        return seen

    hooks: list = []
    yield count
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_what_a_writer_wrote_or_scored_is_not_computed_again(of, kind, passes):
    here = of(kind)
    writer = here.towards(here.untouched(), 1.0)  # one that nobody has asked
    seen = passes(here)
    texts, scores = here.write(writer, ROWS, 5), here.score(writer, ROWS, TEXTS)
    assert len(seen) > 1
    seen.clear()
    assert here.write(writer, ROWS[::-1], 5) == texts[::-1]
    np.testing.assert_array_equal(
        here.score(writer, [3, 3, 1], [TEXTS[3]] * 2 + [TEXTS[1]]), scores[[3, 3, 1]]
    )
    assert not seen
    here.score(writer, [0], [TEXTS[1]])  # another text to the same prompt
    assert len(seen) == 1
    here.write(writer, [0], 4)  # another limit
    assert len(seen) > 1
    seen.clear()
    here.score(here.towards(writer, 1.0), [0], [TEXTS[0]])  # another writer
    assert len(seen) == 1


def test_only_what_is_new_is_computed_and_each_once(of, passes, monkeypatch):
    here = of("llama")
    writer = here.towards(here.untouched(), 1.0)
    here.score(writer, [1, 2], [TEXTS[1], TEXTS[2]])
    monkeypatch.setattr(whole, "BUDGET", 1)  # a pass for each
    seen = passes(here)
    here.score(writer, [1, 4, 2, 4, 5], [TEXTS[i] for i in (1, 4, 2, 4, 5)])
    assert len(seen) == 2


def test_what_is_remembered_dies_with_its_writer(of):
    import gc
    import weakref

    here = of("llama")
    writer = here.towards(here.untouched(), 0.5)
    here.write(writer, ROWS, 3)
    assert len(writer.known) == len(set(here.prompts))
    memory = weakref.ref(writer)
    here.score(here.untouched(), [0], ["w1"])  # its weights are out of the model
    del writer
    gc.collect()
    assert memory() is None


# Learning


@pytest.mark.parametrize(
    ("kind", "how"),
    [*((kind, "lora") for kind in KINDS), *((k, h) for k in ("llama", "t5") for h in ("whole",))]
    + [("gpt2", "top:1"), ("bart", "top:1")],
)
def test_learning_answers_raises_their_score(of, kind, how):
    here = of(kind, how)
    before = here.score(here.untouched(), ROWS, TEXTS)
    writer = here.taught(ROWS, TEXTS, epochs=15, seed=0)
    after = here.score(writer, ROWS, TEXTS)
    assert (after > before + 0.5).mean() > 0.8
    assert after.mean() > before.mean() + 1
    np.testing.assert_array_equal(here.score(here.untouched(), ROWS, TEXTS), before)


@pytest.mark.parametrize(("how", "rate"), [("lora", 0.1), ("whole", 0.2), ("top:2", 0.3)])
def test_each_way_to_train_has_a_rate_of_its_own(of, how, rate, monkeypatch):
    monkeypatch.setattr(whole, "RATES", {"lora": 0.1, "whole": 0.2, "top": 0.3})
    rates = []
    monkeypatch.setattr(whole, "fit", lambda *_, lr, **__: rates.append(lr))
    of("gpt2", how).taught(ROWS, TEXTS, epochs=1, seed=0)
    assert rates == [rate]


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_answers_learned_by_heart_are_written(of, kind):
    here = of(kind, "whole")
    writer = here.taught(ROWS, TEXTS, epochs=60, seed=0)
    assert here.write(writer, ROWS, 12) == TEXTS
    assert here.write(here.untouched(), ROWS, 12) != TEXTS


@pytest.mark.parametrize("how", ["lora", "whole", "top:1"])
def test_no_step_of_the_way_is_the_untouched_model_and_all_of_it_the_taught_one(of, how):
    here = of("llama", how)
    writer = here.taught(ROWS, TEXTS, epochs=4, seed=1)
    untouched, taught = (here.score(w, ROWS, TEXTS) for w in (here.untouched(), writer))
    np.testing.assert_array_equal(here.score(here.towards(writer, 0.0), ROWS, TEXTS), untouched)
    np.testing.assert_array_equal(here.score(here.towards(writer, 1.0), ROWS, TEXTS), taught)
    before = {name: w.clone() for name, w in writer.weights.items()}
    half = here.score(here.towards(writer, 0.5), ROWS, TEXTS)
    assert not np.allclose(half, untouched) and not np.allclose(half, taught)
    assert all(torch.equal(w, before[name]) for name, w in writer.weights.items())


@pytest.mark.parametrize("how", ["lora", "top:1"])
def test_a_share_of_the_way_is_that_share_of_the_change_of_every_weight(of, how):
    here = of("llama", how)
    writer = here.taught(ROWS, TEXTS, epochs=4, seed=1)

    def layer(writer):
        """What the last block's query weights are in effect."""
        with here.using(writer) as model:
            found = model.model.layers[-1].self_attn.q_proj
            extra = found.get_delta_weight("default") if how == "lora" else 0
            return found.weight.clone() + extra

    start, end = layer(here.untouched()), layer(writer)
    assert (end - start).abs().max() > 1e-2
    third = layer(here.towards(writer, 0.25))
    torch.testing.assert_close(third, start + 0.25 * (end - start), atol=1e-6, rtol=1e-5)


def test_an_example_of_weight_0_is_as_good_as_left_out(of):
    here = of("llama")
    weights = np.array([1, 0, 2, 1, 0, 1, 1, 0.5])
    some = np.flatnonzero(weights)
    left = here.taught(some, [TEXTS[i] for i in some], epochs=3, seed=2, weights=weights[some])
    assert same(here.taught(ROWS, TEXTS, epochs=3, seed=2, weights=weights), left)
    assert not same(here.taught(ROWS, TEXTS, epochs=3, seed=2), left)
    fails(lambda: here.taught(ROWS, TEXTS, epochs=1, seed=0, weights=np.zeros(8)), "0 targets")


def test_an_example_of_weight_2_counts_as_if_it_were_there_twice(of):
    here = of("gpt2", "top:1")
    # No dropout, and one batch an epoch: the same gradient, whichever way the weight is told
    for module in here.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    weights = np.array([1.0, 2, 1, 1, 1, 1, 1, 1])
    heavy = here.taught(ROWS, TEXTS, epochs=3, seed=0, weights=weights)
    twice = here.taught([*ROWS, 1], [*TEXTS, TEXTS[1]], epochs=3, seed=0)
    once = here.taught(ROWS, TEXTS, epochs=3, seed=0)
    texts = [here.score(writer, ROWS, TEXTS) for writer in (heavy, twice, once)]
    np.testing.assert_allclose(texts[0], texts[1], rtol=1e-3)
    assert not np.allclose(texts[0], texts[2], rtol=1e-2)


# One model, many writers


@pytest.mark.parametrize("how", ["lora", "whole"])
def test_two_writers_of_one_model_do_not_disturb_each_other(of, folder, how):
    here = of("llama", how)
    first = here.taught(ROWS, TEXTS, epochs=3, seed=0)
    score, texts = here.score(first, ROWS, TEXTS), here.write(first, ROWS, 9)
    second = here.taught(ROWS[::-1], TEXTS, epochs=3, seed=1)
    assert not np.allclose(here.score(second, ROWS, TEXTS), score)
    np.testing.assert_array_equal(here.score(first, ROWS, TEXTS), score)
    assert here.write(first, ROWS, 9) == texts
    # Nor does it matter what was trained before
    assert same(load(folder("llama"), how).taught(ROWS[::-1], TEXTS, epochs=3, seed=1), second)


@pytest.mark.parametrize(("kind", "how"), [("gpt2", "lora"), ("bart", "lora"), ("gpt2", "whole")])
def test_a_seed_gives_the_same_writer_each_time_and_another_seed_another(of, kind, how):
    here = of(kind, how)  # with dropout
    torch.manual_seed(1)
    first = here.taught(ROWS, TEXTS, epochs=2, seed=5)
    torch.manual_seed(2)
    assert same(here.taught(ROWS, TEXTS, epochs=2, seed=5), first)
    other = here.taught(ROWS, TEXTS, epochs=2, seed=6)
    assert not same(other, first)
    # Adam moves a weight by at most its rate a step: factors that are further apart began apart
    for name in [name for name in first.weights if "lora_A" in name]:
        assert (first.weights[name] - other.weights[name]).abs().max() > 0.1


@pytest.mark.parametrize("how", ["lora", "whole"])
def test_a_writer_seen_after_an_epoch_can_be_kept_and_used_while_training_goes_on(of, how):
    here = of("t5", how)
    before = here.score(here.untouched(), ROWS, TEXTS)
    plain = here.taught(ROWS, TEXTS, epochs=3, seed=0)
    seen = []

    def look(epoch, writer):
        seen.append((epoch, writer, here.score(writer, ROWS, TEXTS)))
        np.testing.assert_array_equal(here.score(here.untouched(), ROWS, TEXTS), before)
        return True  # `Blocks` is not stopped by it either

    assert same(here.taught(ROWS, TEXTS, epochs=3, seed=0, after_epoch=look), plain)
    assert [epoch for epoch, _, _ in seen] == [0, 1, 2]
    for _, writer, score in seen:
        np.testing.assert_array_equal(here.score(writer, ROWS, TEXTS), score)
    assert same(seen[-1][1], plain) and not same(seen[0][1], seen[1][1])


@pytest.mark.parametrize("how", ["lora", "whole"])
def test_a_training_that_broke_off_leaves_all_writers_as_they_were(of, how):
    here = of("llama", how)
    first = here.taught(ROWS, TEXTS, epochs=2, seed=0)
    score = here.score(first, ROWS, TEXTS)
    endless = np.full(8, np.inf)
    fails(lambda: here.taught(ROWS, TEXTS, epochs=1, seed=1, weights=endless), "sum inf")
    np.testing.assert_array_equal(here.score(first, ROWS, TEXTS), score)

    def interrupt(epoch, writer):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        here.taught(ROWS, TEXTS, epochs=2, seed=1, after_epoch=interrupt)
    np.testing.assert_array_equal(here.score(first, ROWS, TEXTS), score)
    assert same(here.taught(ROWS, TEXTS, epochs=2, seed=0), first)


# A teacher's distributions


def distributions(here, writer, width):
    """A writer's distributions over the targets, item by item, (tokens, width) each."""
    told, found = here.tell(tuple(ROWS), tuple(TEXTS)), []
    for i in ROWS:
        with torch.no_grad():
            probs = writer(told, [i])[0][:, :width].softmax(-1)
        found.append(nn.functional.pad(probs, (0, width - probs.shape[1])))
    return found


@pytest.mark.parametrize(("weak", "strong"), [(44, 44), (50, 44), (44, 50)])
def test_a_teachers_distributions_are_learned_as_if_all_of_them_were_given(tmp_path, weak, strong):
    # 44 words are known; models of one family make room for different numbers of them
    other = load(save(tmp_path / "weak", "gpt2", seed=3, vocabulary=weak))
    teacher = other.taught(ROWS, TEXTS, epochs=2, seed=0)
    here = load(save(tmp_path / "strong", "llama", vocabulary=strong), "whole")
    weights = np.array([1, 2, 1, 1, 3, 1, 1, 0.5])
    settings = {"epochs": 3, "seed": 0, "weights": weights}
    found = here.taught(ROWS, TEXTS, **settings, teacher=(other, teacher, 2.0))

    plain = load(tmp_path / "strong", "whole")
    model, told = plain.model, plain.tell(ROWS, TEXTS)
    soft = {"teacher": distributions(other, teacher, strong), "temperature": 2.0}
    lengths, loss = target_loss(model, told.prompts, told.targets, weights=weights, **soft)
    fit(model, lengths, loss, epochs=3, lr=whole.RATES["whole"], seed=0)
    close(found, whole.Writer(dict(model.named_parameters())))
    assert not same(found, here.taught(ROWS, TEXTS, **settings))


@pytest.mark.parametrize("how", ["lora", "whole"])
def test_a_writer_can_be_the_teacher_of_another_one_of_the_same_model(of, folder, how):
    here, apart = of("gpt2", how), load(folder("gpt2"), how)  # in training mode it drops out
    teacher = here.taught(ROWS, TEXTS, epochs=3, seed=0)
    learn = partial(here.taught, ROWS, TEXTS, epochs=3, seed=1, after_epoch=lambda *_: None)
    found = learn(teacher=(here, teacher, 1.0))
    assert same(found, learn(teacher=(apart, teacher, 1.0)))


def test_blocks_and_whole_models_teach_each_other(of, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path))
    monkeypatch.setattr("w2s_lab.writers.RATE", 1e-2)
    blocks = Blocks(str(folder("llama")), DOCUMENTS, QUESTIONS, "cpu")
    here = of("llama", "whole")

    def apart(one, two):
        """Mean over the texts of the total variation between distributions."""
        pairs = zip(distributions(*one, WIDTH), distributions(*two, WIDTH), strict=True)
        return np.mean([(a - b).abs().sum(-1).mean() / 2 for a, b in pairs])

    # One model, read in two ways: half precision kept of the prompts, and nothing kept
    np.testing.assert_allclose(
        blocks.score(blocks.untouched(), ROWS, TEXTS),
        here.score(here.untouched(), ROWS, TEXTS),
        atol=0.02,
    )
    teacher = blocks, blocks.taught(ROWS, TEXTS, epochs=10, seed=0)
    before = apart(teacher, (here, here.untouched()))
    student = here.taught(ROWS, TEXTS, epochs=10, seed=0, teacher=(*teacher, 1.0))
    assert apart(teacher, (here, student)) < before / 2
    teacher = here, here.taught(ROWS, TEXTS, epochs=10, seed=0)
    before = apart(teacher, (blocks, blocks.untouched()))
    student = blocks.taught(ROWS, TEXTS, epochs=10, seed=0, teacher=(*teacher, 1.0))
    assert apart(teacher, (blocks, student)) < before / 2


def test_a_teacher_of_other_tokens_is_refused_in_one_line(of, tmp_path):
    here = of("llama")
    strange = load(save(tmp_path / "words", "gpt2", words=WORDS[::-1]))
    for other in (strange, of("bart")):  # BART begins an answer with a token of its own
        teacher = (other, other.untouched(), 1.0)
        learn = partial(here.taught, ROWS, TEXTS, epochs=1, seed=0, teacher=teacher)
        fails(learn, other.name, here.name, "other tokens")


# Prompts and limits


def test_a_causal_model_reads_the_prompts_that_its_blocks_would_read(folder, tmp_path):
    import transformers

    name = tmp_path / "chat"
    save(name, "llama")
    tokenizer = transformers.AutoTokenizer.from_pretrained(name)
    tokenizer.chat_template = "w1 w2 {{ messages[0]['content'] }} {{ 'w3 w4' }}"
    tokenizer.save_pretrained(name)
    lm, here = language_model(str(name), device="cpu"), load(name)
    assert here.prompts == Prompts(lm, DOCUMENTS, QUESTIONS).ids
    assert here.prompts[2] == (5, 6, *prompt("llama", 2), 7, 8)
    assert here.key == lm.key and here.end == lm.end == END


@pytest.mark.parametrize("kind", ["t5", "bart", "llama"])
def test_documents_and_answers_are_cut_before_they_become_tokens(of, folder, kind, monkeypatch):
    # Of "w10 w11 w12" seven characters are "w10 w11"; one of the question
    monkeypatch.setattr(whole, "DOCUMENT", 7)
    monkeypatch.setattr("w2s_lab.generate.DOCUMENT", 7)
    monkeypatch.setattr(whole, "ANSWER", 7)
    here = load(folder(kind), documents=["w10 w11 w12"], questions=["w5"])
    assert len(here.prompts[0]) == 3 + 2 * (kind == "bart")
    assert here.tell([0], ["w10 w11 w12"]).targets == [tuple(target(kind, "w10 w11"))]


def test_no_item_is_left_out_for_having_no_token(folder):
    for kind in KINDS:
        here = load(folder(kind), documents=["", "w1"], questions=["", ""])
        assert len(here.write(here.untouched(), [0, 1], 3)) == 2
        assert np.isfinite(here.score(here.untouched(), [0, 1], ["", "w1"])).all()
        here.taught([0, 1], ["", "w1"], epochs=1, seed=0)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bart"])
def test_what_does_not_fit_into_the_models_positions_is_refused_in_one_line(folder, kind):
    own = 2 if kind == "bart" else 0  # [CLS] and [SEP] of each text
    document = " ".join(["w1"] * (LIMIT - 1 - own))  # and one of the question
    here = load(folder(kind), documents=["w1", document], questions=["w2", "w2"])
    fails(
        lambda: load(folder(kind), documents=[document + " w1"] * 8),
        "item 0",
        f"{LIMIT + 1} positions",
    )
    assert len(here.write(here.untouched(), [1], 1)) == 1
    assert len(here.score(here.untouched(), [1], [""])) == 1
    if kind == "bart":  # its decoder has positions of its own
        said = " ".join(["w1"] * LIMIT)
        assert len(here.write(here.untouched(), [0], LIMIT)) == 1
        fails(lambda: here.write(here.untouched(), [0, 0], LIMIT + 1), "item 0", here.name)
        fails(lambda: here.score(here.untouched(), [0], [said]), "item 0 takes 50 positions")
    else:
        fails(lambda: here.write(here.untouched(), [0, 1], 2), "item 1 takes 49", here.name)
        fails(lambda: here.score(here.untouched(), [1], ["w1"]), "item 1 takes 49")
        fails(lambda: here.taught([1], ["w1"], epochs=1, seed=0), "item 1 takes 49")


def test_what_is_no_writer_is_refused_in_one_line(folder, tmp_path):
    import transformers
    from tiny_models import save_model

    fails(lambda: load(f"{folder('llama')}:1"), "cut model")
    fails(lambda: load(folder("llama"), "half"), "half", "lora")
    fails(lambda: load(save_model(tmp_path / "encoder")), "encoder cannot write")
    headless = save_model(tmp_path / "headless", "llama")  # its head would be random
    fails(lambda: load(headless), "headless", "lack lm_head.weight")
    bare = tmp_path / "bare"
    transformers.AutoConfig.from_pretrained(folder("gpt2")).save_pretrained(bare)
    save_tokenizer(bare, framed=False)
    fails(lambda: load(bare), "bare", "no language model")


# What it costs


def test_costs_count_the_weights_that_a_token_meets(of):
    # Llama, dim 16, one of two heads for keys and values, inner 24. Of one block: attention
    # 16·16 + 2·16·8 + 16·16 = 768, feed-forward 3·16·24 = 1,152, two norms 32: 1,952. Two blocks
    # and the last norm 16: 3,920. Its head of 44 · 16 = 704 is met by written tokens only.
    found = of("llama").cost()
    assert found["read_flops"] == 2 * 3920
    assert found["write_flops"] == 2 * (3920 + 704)
    # documents of 78 words in all, eight questions of one
    assert found["prompt_tokens"] == (78 + 8) / 8
    assert 0 < found["read_seconds"] < 1
    assert of("llama").cost() == found  # measured once
    # T5, dim 16, two heads of 8, inner 24. Attention 4·16·16 = 1,024, feed-forward 2·16·24 = 768,
    # a norm 16 before each. Encoder: 2 · (1,024 + 768 + 32) + 16 = 3,664. Decoder, that looks at
    # the encoder as well: 2 · (2 · 1,024 + 768 + 48) + 16 = 5,744; its tied head 704.
    found = of("t5", "whole").cost()
    assert found["read_flops"] == 2 * 3664
    assert found["write_flops"] == 2 * (5744 + 704)


# Half precision


def test_lora_on_a_model_in_half_precision_learns_in_single_precision(folder, of, monkeypatch):
    monkeypatch.setattr(whole, "gains_from_bfloat16", lambda device: True)
    here = load(folder("llama"))
    assert {p.dtype for p in here.model.parameters() if not p.requires_grad} == {torch.bfloat16}
    writer = here.taught(ROWS, TEXTS, epochs=15, seed=0)
    assert {w.dtype for w in writer.weights.values()} == {torch.float32}
    exact = of("llama")
    np.testing.assert_allclose(  # 8 bits of each weight and state
        here.score(writer, ROWS, TEXTS), exact.score(writer, ROWS, TEXTS), atol=0.3
    )
    assert len(here.write(writer, ROWS, 9)) == 8


def test_a_teacher_in_half_precision_leaves_no_rounded_weights_to_its_student(folder, monkeypatch):
    # A step on a GPU runs within `autocast`, which keeps the weights that it has rounded
    def rounded(model, lengths, loss, **settings):
        def step(*args):
            with torch.autocast("cpu", torch.bfloat16):
                return loss(*args)

        return fit(model, lengths, step, **settings)

    monkeypatch.setattr(whole, "fit", rounded)
    monkeypatch.setattr(whole, "gains_from_bfloat16", lambda device: True)
    here, apart = (load(folder("llama"), "whole") for _ in range(2))
    teacher = here.taught(ROWS, TEXTS, epochs=3, seed=0)
    assert teacher(here.tell([0], ["w1"]), [0])[0].dtype == torch.bfloat16
    found = here.taught(ROWS, TEXTS, epochs=2, seed=1, teacher=(here, teacher, 1.0))
    assert same(found, here.taught(ROWS, TEXTS, epochs=2, seed=1, teacher=(apart, teacher, 1.0)))


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["lora", "whole"])
def test_a_gpu_learns_scores_and_writes_as_the_cpu_does(folder, of, kind, how):
    here = Whole(str(folder(kind)), DOCUMENTS, QUESTIONS, "cuda", how)
    there = of(kind, how)
    writer = here.taught(ROWS, TEXTS, epochs=30, seed=0)
    scores = here.score(writer, ROWS, TEXTS)
    np.testing.assert_allclose(scores, there.score(writer, ROWS, TEXTS), atol=0.3)
    assert scores.mean() > here.score(here.untouched(), ROWS, TEXTS).mean() + 1
    alike = zip(here.write(writer, ROWS, 9), there.write(writer, ROWS, 9), strict=True)
    assert sum(one == two for one, two in alike) >= 6  # rounding decides a close race
    itself = here.taught(ROWS, TEXTS, epochs=10, seed=1, teacher=(here, writer, 1.0))
    apart = here.score(itself, ROWS, TEXTS).mean()
    assert apart > here.score(here.untouched(), ROWS, TEXTS).mean() + 0.5
    assert here.cost()["read_seconds"] > 0
