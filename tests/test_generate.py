"""Are prompts read once and rightly, and texts written and scored as the plain model would?

On tiny random decoders whose every token shows; the measure is transformers' own forward pass, one
text at a time, without padding and without a cache.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import WORDS, save_writer

from w2s_lab import generate
from w2s_lab.assets import is_whole
from w2s_lab.errors import W2SError
from w2s_lab.generate import (
    ANSWER,
    DOCUMENT,
    Prompts,
    Top,
    cut,
    log_likelihood,
    write,
    write_all,
)
from w2s_lab.models import language_model

LONG = "w1 w2 w3 w4 w5 w6 w7"
DOCUMENTS = [LONG, "w8", "w9 w10 w11 w12 w13 w14 w15 w16 w17 w18 w19 w20", LONG, "w21 w22 w23"]
QUESTIONS = ["w30", "w31 w32", "w33 w34 w35", "w36 w37 w38 w39", "w30"]
ANSWERS = ["w2 w3", "", "w10 w11 w12 w13 w14", "w7", "w22 w23 w24"]
EVERY = range(len(DOCUMENTS))
# keys, values and states are kept in half precision, 11 bits: logits of size 20 move by 0.02
HALF = 0.03


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_writer(tmp_path_factory.mktemp("model"))


@pytest.fixture
def lm(folder, tmp_path, monkeypatch):
    """A model of four blocks and an empty cache."""
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    return language_model(str(folder), device="cpu")


@pytest.fixture
def read(monkeypatch):
    """The batches that any model read since the last `clear`."""
    batches = []
    through = Prompts._read_batch

    def counting(self, store, parts):
        batches.append(len(parts))
        return through(self, store, parts)

    monkeypatch.setattr(Prompts, "_read_batch", counting)
    return batches


def plain(folder, dtype=torch.float32):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()


@torch.no_grad()
def explicit(model, ids, targets):
    """Log-probability of each target, the whole sequence read anew for every one."""
    found = []
    for k, target in enumerate(targets):
        logits = model(torch.tensor([[*ids, *targets[:k]]]), use_cache=False).logits[0, -1]
        found.append(logits.log_softmax(-1)[target].item())
    return found


def scored(lm, documents=DOCUMENTS, questions=QUESTIONS, answers=ANSWERS, *, first=1):
    told = Prompts(lm, documents, questions).tell(range(len(documents)), answers, first)
    return log_likelihood(Top(lm, first, lm.depth), told)


def close(one, two, tolerance=HALF):
    for a, b in zip(one, two, strict=True):
        assert len(a) == len(b) and np.abs(np.subtract(a, b)).max() < tolerance


# --- likelihood -----------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [0, 1, 3])
def test_a_score_is_what_the_plain_model_gives_token_by_token(lm, folder, first):
    prompts, model = Prompts(lm, DOCUMENTS, QUESTIONS), plain(folder, torch.float64)
    told = prompts.tell(EVERY, ANSWERS, first)
    got = log_likelihood(Top(lm, first, lm.depth), told)
    close(got, [explicit(model, prompts.ids[i], told.targets[i]) for i in EVERY])
    # the measure is worth something: one other word at the very beginning shows
    other = explicit(model, [9, *prompts.ids[0][1:]], told.targets[0])
    assert np.abs(np.subtract(got[0], other)).max() > 5 * HALF


def test_a_prompt_is_document_and_question_and_a_target_ends_the_turn(lm):
    prompts = Prompts(lm, ["w1 w2"], ["w5"])
    assert prompts.ids == [(5, 6, 9)]  # w0 is token 4
    assert prompts.tell([0, 0], ["w3", ""], 1).targets == [(7, 3), (3,)]  # [SEP] is 3


def test_an_empty_text_scores_as_the_end_of_the_turn_alone(lm, folder):
    prompts = Prompts(lm, DOCUMENTS, QUESTIONS)
    (got,) = log_likelihood(Top(lm, 1, 4), prompts.tell([2], [""], 1))
    close([got], [explicit(plain(folder, torch.float64), prompts.ids[2], [lm.end])])


@pytest.mark.parametrize("budget", [1, 9, 2048])
def test_texts_of_all_lengths_score_alike_alone_and_in_company(lm, monkeypatch, budget):
    monkeypatch.setattr(generate, "READ_TOKENS", budget)
    monkeypatch.setattr(generate, "SCORE_TOKENS", budget)
    rows = zip(DOCUMENTS, QUESTIONS, ANSWERS, strict=True)
    close(scored(lm), [scored(lm, [d], [q], [a])[0] for d, q, a in rows])


@pytest.mark.parametrize("change", ["document", "question", "answer"])
def test_no_text_sees_another_of_its_batch(lm, change):
    before, texts = scored(lm), [list(DOCUMENTS), list(QUESTIONS), list(ANSWERS)]
    part = texts[["document", "question", "answer"].index(change)]
    part[2] = " ".join(f"w{39 - i}" for i in range(len(part[2].split())))
    after = scored(lm, *texts)
    assert not np.array_equal(before[2], after[2])
    for i in (0, 1, 3, 4):
        assert np.array_equal(before[i], after[i])


def test_a_document_of_several_questions_is_stored_once_and_scores_as_when_read_alone(lm):
    questions = ["w30", "w31 w32", "w33"]
    prompts = Prompts(lm, [LONG] * 3, questions)
    assert prompts._read_once[0].shape[2] == 7 + (
        0 + 1 + 0
    )  # the last token of a prompt is not stored
    got = log_likelihood(Top(lm, 1, 4), prompts.tell([0, 1, 2], ANSWERS[:3], 1))
    alone = [scored(lm, [LONG], [q], [a])[0] for q, a in zip(questions, ANSWERS, strict=False)]
    close(got, alone)


def test_a_prompt_may_be_answered_more_than_once_and_in_any_order(lm):
    prompts, top = Prompts(lm, DOCUMENTS, QUESTIONS), Top(lm, 1, 4)
    got = log_likelihood(top, prompts.tell([3, 0, 3], ["w7", "w2 w3", "w1"], 1))
    close(got[:2], [scored(lm)[3], scored(lm)[0]])
    close(got[2:], [scored(lm, [LONG], [QUESTIONS[3]], ["w1"])[0]])


@pytest.mark.parametrize("documents, questions", [([""], ["w1"]), (["w1"], [""]), ([""], [""])])
def test_an_empty_document_or_question_is_no_mistake(lm, folder, documents, questions):
    prompts = Prompts(lm, documents, questions)
    told = prompts.tell([0], ["w5 w6"], 1)
    got = log_likelihood(Top(lm, 1, 4), told)
    close(got, [explicit(plain(folder, torch.float64), prompts.ids[0], told.targets[0])])


# --- writing --------------------------------------------------------------------------------------


def written(lm, rows=EVERY, limit=8):
    return write(Top(lm, 1, lm.depth), Prompts(lm, DOCUMENTS, QUESTIONS), rows, limit=limit)


def by_library(folder, lm, rows=EVERY, limit=8):
    model, prompts, texts = plain(folder), Prompts(lm, DOCUMENTS, QUESTIONS), []
    for i in rows:
        ids = torch.tensor([prompts.ids[i]])
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=limit,
            eos_token_id=lm.end,
            pad_token_id=0,
        )[0, ids.shape[1] :]
        texts.append(lm.tokenizer.decode(out[out != lm.end], skip_special_tokens=True))
    return texts


@pytest.mark.parametrize("width", [1, 2, 96])
def test_a_batch_writes_what_the_library_writes_one_at_a_time(lm, folder, monkeypatch, width):
    monkeypatch.setattr(generate, "WRITE_ROWS", width)
    assert written(lm) == by_library(folder, lm)
    assert len(set(written(lm))) > 3


def test_rows_may_be_asked_in_any_order_and_twice(lm):
    every = written(lm)
    assert written(lm, [4, 0, 4]) == [every[4], every[0], every[4]]


def test_the_limit_cuts_off_what_has_not_ended(lm):
    lengths = [len(text.split()) for text in written(lm, limit=8)]
    assert [text.split()[:3] for text in written(lm, limit=8)] == [
        text.split() for text in written(lm, limit=3)
    ]
    assert max(lengths) == 8


@pytest.mark.parametrize("place", [0, 1, 4])
def test_a_text_ends_before_the_first_end_and_the_others_go_on(lm, folder, place):
    never = replace(lm)
    never.__dict__["end"] = -1
    endless = [text.split() for text in written(never)]
    ender = replace(lm)
    ender.__dict__["end"] = lm.tokenizer.get_vocab()[endless[2][place]]
    got = written(ender)
    assert got == by_library(folder, ender)
    for text, whole in zip(got, endless, strict=True):
        end = whole.index(endless[2][place]) if endless[2][place] in whole else len(whole)
        assert text.split() == whole[:end]
    assert len({len(text.split()) for text in got}) > 2


def test_a_model_that_ends_at_once_writes_nothing(lm):
    first = lm.tokenizer.get_vocab()[written(lm)[0].split()[0]]
    silent = replace(lm)
    silent.__dict__["end"] = first
    assert written(silent, [0]) == [""]


# --- what is cut ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, characters, kept",
    [
        ("ab cd ef", 8, "ab cd ef"),
        ("ab cd ef", 7, "ab cd"),
        ("ab cd ef", 5, "ab cd"),  # the space that follows shows that a word ends here
        ("ab cd ef", 4, "ab"),
        ("abcdef", 3, "abc"),
        (" abcdef", 3, " ab"),  # never nothing at all
        ("", 3, ""),
    ],
)
def test_a_text_is_cut_between_words_where_it_has_any(text, characters, kept):
    assert cut(text, characters) == kept


def test_every_model_reads_the_same_part_of_a_long_text_and_no_item_is_dropped(lm, tmp_path):
    words = tuple(reversed(WORDS))
    other = language_model(str(save_writer(tmp_path / "other", words=words)), device="cpu")
    document, answer = (" ".join(f"w{i % 40}" for i in range(n)) for n in (900, 300))
    for model in (lm, other):
        prompts = Prompts(model, [document, "w1"], ["w2", "w3"])
        told = prompts.tell([0, 1], [answer, answer], 1)
        read = model.tokenizer.decode(prompts.ids[0])
        assert read == cut(document, DOCUMENT) + " w2" and len(prompts.ids) == 2
        said = model.tokenizer.decode(told.targets[0][:-1])
        assert said == cut(answer, ANSWER) and told.targets[0][-1] == model.end
    scores = log_likelihood(Top(lm, 1, 4), Prompts(lm, [document], ["w2"]).tell([0], [answer], 1))
    assert len(scores[0]) == len(cut(answer, ANSWER).split()) + 1


# --- trained blocks -------------------------------------------------------------------------------


def moved(lm):
    top = Top(lm, 2, 4)
    torch.manual_seed(0)
    with torch.no_grad():
        for p in top.parameters():
            p += 0.1 * torch.randn_like(p)
    return top


def test_no_step_is_the_untouched_model_and_the_whole_way_the_trained_one(lm):
    trained, untouched = moved(lm), Top(lm, 2, 4)
    for share, there in ((0.0, untouched), (1.0, trained)):
        here = trained.towards(share)
        for a, b in zip(here.parameters(), there.parameters(), strict=True):
            assert torch.equal(a, b) and a is not b and not a.requires_grad
    half = trained.towards(0.5).parameters()
    for a, b, c in zip(half, untouched.parameters(), trained.parameters(), strict=True):
        torch.testing.assert_close(a.detach(), (b + c).detach() / 2)


def test_trained_blocks_are_copies_and_hold_no_weight_of_the_others(lm):
    before = {name: p.clone() for name, p in lm.model.state_dict().items()}
    top = moved(lm)
    assert {name.split(".")[0] for name, _ in top.named_parameters()} == {"blocks", "way_out"}
    assert len(top.blocks) == 2 and not any(p.requires_grad for p in lm.model.parameters())
    assert all(torch.equal(before[name], p) for name, p in lm.model.state_dict().items())


def test_the_gradient_of_a_trained_block_is_that_of_the_score(lm):
    told = Prompts(lm, DOCUMENTS, QUESTIONS).tell(EVERY, ANSWERS, 2)
    top = Top(lm, 2, 4)
    weight = top.blocks[0].mlp.up_proj.weight

    def loss():
        return torch.nn.functional.cross_entropy(*top(told, list(EVERY)), reduction="sum")

    loss().backward()
    place = divmod(int(weight.grad.abs().argmax()), weight.shape[1])
    slope, step = weight.grad[place].item(), 1e-3
    with torch.no_grad():
        weight[place] += step
        up = loss().item()
        weight[place] -= 2 * step
        assert (up - loss().item()) / (2 * step) == pytest.approx(slope, rel=0.05)


@pytest.mark.parametrize("first, last", [(-1, 2), (2, 2), (3, 2), (0, 5)])
def test_blocks_that_the_model_does_not_have_are_refused(lm, first, last):
    with pytest.raises(W2SError, match="stay within 0 to 4"):
        Top(lm, first, last)


# --- the cache ------------------------------------------------------------------------------------


def test_prompts_are_read_once(lm, read):
    first = scored(lm)
    assert read
    read.clear()
    assert all(np.array_equal(a, b) for a, b in zip(scored(lm), first, strict=True)) and not read


@pytest.mark.parametrize("change", ["document", "question", "order", "model", "depth"])
def test_another_text_or_model_is_read_anew(lm, folder, read, tmp_path, change):
    scored(lm)
    read.clear()
    documents, questions, model = list(DOCUMENTS), list(QUESTIONS), lm
    if change == "document":
        documents[1] = "w9"
    elif change == "question":
        questions[1] = "w31 w33"
    elif change == "order":
        documents[0], documents[1] = documents[1], documents[0]
    elif change == "model":
        model = language_model(str(save_writer(tmp_path / "other", seed=1)), device="cpu")
    else:
        model = language_model(f"{folder}:3", device="cpu")
    got = scored(model, documents, questions)
    assert read
    prompts, whole = Prompts(model, documents, questions), plain(model.folder, torch.float64)
    whole.model.layers = whole.model.layers[: model.depth]
    targets = prompts.tell(EVERY, ANSWERS, 1).targets
    close(got, [explicit(whole, prompts.ids[i], targets[i]) for i in EVERY])


def test_a_reading_cut_short_leaves_nothing_that_looks_whole(lm, monkeypatch, tmp_path):
    through, batches = Prompts._read_batch, []

    def dies(self, store, parts):
        batches.append(through(self, store, parts))
        raise KeyboardInterrupt

    monkeypatch.setattr(Prompts, "_read_batch", dies)
    with pytest.raises(KeyboardInterrupt):
        scored(lm)
    assert len(batches) == 1
    home = next((tmp_path / "cache" / "prompts").iterdir())
    assert not any(is_whole(f) for f in home.iterdir() if f.is_dir() and f.name[0] != ".")
    monkeypatch.setattr(Prompts, "_read_batch", through)
    again = scored(lm)
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "another"))
    assert all(np.array_equal(a, b) for a, b in zip(again, scored(lm), strict=True))


def test_the_reading_has_a_price_for_each_token(lm):
    prompts = Prompts(lm, DOCUMENTS, QUESTIONS)
    assert 0 < prompts.seconds_per_token < 1
    assert prompts.seconds_per_token == Prompts(lm, DOCUMENTS, QUESTIONS).seconds_per_token


# --- models ---------------------------------------------------------------------------------------


def test_a_cut_model_uses_its_first_blocks_only(lm, folder):
    model, prompts = plain(folder, torch.float64), Prompts(lm, DOCUMENTS, QUESTIONS)
    model.model.layers = model.model.layers[:2]
    told = prompts.tell(EVERY, ANSWERS, 1)
    expected = [explicit(model, prompts.ids[i], told.targets[i]) for i in EVERY]
    close(log_likelihood(Top(lm, 1, 2), told), expected)
    short = language_model(f"{folder}:2", device="cpu")
    assert short.depth == 2 and short.model is lm.model
    close(scored(short), expected)


def test_a_models_operations_are_twice_its_weights(lm, folder):
    # per block: queries and output 32·32 each, keys and values 32·16 each, 3 of the MLP 32·64,
    # 2 norms of 32; the head 44·32
    block = 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64 + 2 * 32
    assert lm.flops_per_token() == 2 * (4 * block + 44 * 32)
    assert language_model(f"{folder}:1", device="cpu").flops_per_token(head=False) == 2 * block


@pytest.mark.parametrize("block, told", [("0", "1 to 4"), ("5", "0 to 4"), ("x", "0 to 4")])
def test_a_block_that_cannot_write_is_one_clear_line(lm, folder, block, told):
    with pytest.raises(W2SError, match=told) as error:
        language_model(f"{folder}:{block}", device="cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["{}", "{}:2"])
def test_a_model_without_rotary_positions_is_one_clear_line(tmp_path, name):
    name = name.format(save_writer(tmp_path / "gpt2", "gpt2"))
    with pytest.raises(W2SError, match="rotary positions") as error:
        Top(language_model(name, device="cpu"), 0, 1)
    assert 'size="full"' in str(error.value) and "\n" not in str(error.value)


# --- several writers ------------------------------------------------------------------------------


def other(lm, seed):
    """A writer of other weights."""
    top = Top(lm, 2, 4)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in top.parameters():
            weight += 0.2 * torch.randn(weight.shape, generator=generator)
    return top


@pytest.mark.parametrize("rows", [2, 5, 96])
def test_writers_side_by_side_write_what_each_writes_alone(lm, monkeypatch, rows):
    monkeypatch.setattr(generate, "WRITE_ROWS", rows)
    prompts, tops = Prompts(lm, DOCUMENTS, QUESTIONS), [other(lm, seed) for seed in range(3)]
    together = write_all(tops, prompts, EVERY, limit=9)
    assert together == [write(top, prompts, EVERY, limit=9) for top in tops]
    assert len({tuple(texts) for texts in together}) == 3  # they are not all alike


def test_writers_of_other_blocks_cannot_share_what_lies_below(lm):
    prompts = Prompts(lm, DOCUMENTS, QUESTIONS)
    with pytest.raises(W2SError, match="each write alone"):
        write_all([Top(lm, 1, 4), Top(lm, 2, 4)], prompts, EVERY, limit=2)


def test_an_answer_told_again_is_not_passed_again(lm, monkeypatch):
    prompts, passed, through = Prompts(lm, DOCUMENTS, QUESTIONS), [], generate.Told._pass

    def counting(self, batch):
        passed.extend(self.rows[i] for i in batch)
        return through(self, batch)

    monkeypatch.setattr(generate.Told, "_pass", counting)
    first = prompts.tell([0, 2], [ANSWERS[0], ANSWERS[2]], 1)
    more = prompts.tell([2, 0, 0, 3], [ANSWERS[2], "w9", ANSWERS[0], ANSWERS[3]], 1)
    assert sorted(passed) == [0, 0, 2, 3]  # "w9" and the answer to 3 are new
    assert more.states[0] is first.states[1]
    prompts.tell([0], [ANSWERS[0]], 2)  # another block makes other states
    assert len(passed) == 5
    del first, more
    assert not prompts.states  # what nobody holds is not kept


def test_a_way_out_stands_between_the_last_block_and_the_head(lm):
    told = Prompts(lm, DOCUMENTS, QUESTIONS).tell(EVERY, ANSWERS, 1)
    doubled = torch.nn.Sequential(torch.nn.Linear(32, 32, bias=False), lm.norm)
    torch.nn.init.eye_(doubled[0].weight)
    top = Top(lm, 1, 4, doubled)
    close(log_likelihood(top, told), log_likelihood(Top(lm, 1, 4), told), 1e-6)
    with torch.no_grad():
        top.way_out[0].weight.zero_()
    assert (log_likelihood(top, told)[0] == log_likelihood(top.towards(1.0), told)[0]).all()
    untouched = log_likelihood(Top(lm, 1, 4, doubled), told)
    close(log_likelihood(top.towards(0.0), told), untouched, 1e-6)
