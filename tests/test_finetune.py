"""The training loop, the three ways to adapt a model, and the losses of language models.

Random transformers of a few thousand weights; no real model is trained.
Losses are held against one example at a time, gradients against one big batch.
"""

import os
import socket
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from w2s_lab import finetune, resume
from w2s_lab import targets as targets_room
from w2s_lab.errors import W2SError
from w2s_lab.finetune import adapt, fit, target_loss

VOCABULARY, END, LIMIT = 23, 1, 40


def tiny(kind, *, blocks=3, dropout=0.0, seed=0):
    """A random language model of that kind."""
    import transformers

    config = transformers.AutoConfig.for_model(
        kind,
        vocab_size=VOCABULARY,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=END,
        decoder_start_token_id=0,
        **{
            "llama": {"num_key_value_heads": 1, "intermediate_size": 24},
            "gpt2": {"resid_pdrop": dropout, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
            "t5": {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_heads": 2, "num_layers": blocks},
            "bart": {
                **{"d_model": 16, "encoder_layers": blocks, "decoder_layers": blocks},
                **{"encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "encoder_attention_heads": 2},
                **{"decoder_attention_heads": 2, "max_position_embeddings": LIMIT},
            },
        }[kind],
        **(
            {"num_hidden_layers": blocks, "hidden_size": 16, "num_attention_heads": 2}
            | {"max_position_embeddings": LIMIT}
            if kind in ("llama", "gpt2")
            else {"dropout_rate": 0.0, "dropout": 0.0}
        ),
    )
    torch.manual_seed(seed)
    family = "AutoModelForSeq2SeqLM" if config.is_encoder_decoder else "AutoModelForCausalLM"
    model = getattr(transformers, family).from_config(config).eval()
    with torch.no_grad():  # far from the flat first guess, so that every token matters
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return model


def chatter(examples=9, seed=0):
    """Prompts and targets of random tokens and lengths; each target ends with END."""
    rng = np.random.default_rng(seed)
    prompts = [rng.integers(2, VOCABULARY, rng.integers(1, 15)).tolist() for _ in range(examples)]
    targets = [rng.integers(2, VOCABULARY, rng.integers(0, 8)).tolist() for _ in range(examples)]
    return prompts, [[*target, END] for target in targets]


def regression(examples=40, seed=0):
    """Lengths and a loss that any module from 4 to 1 dimensions can learn."""
    torch.manual_seed(seed)
    inputs = torch.randn(examples, 4)
    wanted = inputs @ torch.tensor([[1.0], [-2.0], [0.5], [0.0]])
    lengths = 1 + np.random.default_rng(seed).permutation(examples)

    def loss(model, rows):
        # an example counts as many "tokens" as it is long
        weight = torch.from_numpy(lengths[rows]).float()[:, None]
        return (weight * (model(inputs[rows]) - wanted[rows]) ** 2).sum(), int(lengths[rows].sum())

    return lengths, loss


def line(seed=0, dropout=0.0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 1))


def weights(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def same(one, two):
    return all(torch.equal(one[name], two[name]) for name in one | two)


def fails(call, *told):
    with pytest.raises(W2SError) as caught:
        call()
    assert "\n" not in str(caught.value)
    for part in told:
        assert part in str(caught.value)


# Which part of the model learns


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["llama", "gpt2", "t5", "bart"])
def test_lora_trains_few_weights_and_leaves_the_models_own_untouched(kind):
    model = tiny(kind, dropout=0.1)
    before = weights(model)
    adapted = adapt(model, "lora")
    trained = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert trained and all("lora_" in name for name in trained)
    assert all(p.dtype == torch.float32 for p in adapted.parameters())
    start = weights(adapted)
    prompts, targets = chatter()
    lengths, loss = target_loss(adapted, prompts, targets)
    fit(adapted, lengths, loss, epochs=2, lr=1e-2)
    after = weights(adapted)
    moved = {name for name in after if not torch.equal(after[name], start[name])}
    assert moved == trained
    plain = {
        name.removeprefix("base_model.model.").replace(".base_layer", ""): p
        for name, p in after.items()
        if "lora_" not in name
    }
    assert plain.keys() == before.keys() and same(plain, before)
    # Every linear layer but the head, each with one pair of factors of the rank
    linear = [
        m
        for name, m in tiny(kind).named_modules()
        if type(m).__name__ in ("Linear", "Conv1D") and name != "lm_head"
    ]
    assert len(trained) == 2 * len(linear)
    assert {len(p) for name, p in after.items() if "lora_A" in name} == {finetune.RANK}


@pytest.mark.slow
def test_lora_starts_as_the_model_itself_and_its_seed_decides():
    ids = torch.arange(10)[None]
    expected = tiny("llama")(ids).logits
    made = []
    for seed in (0, 0, 1):
        model = tiny("llama")
        torch.manual_seed(len(made))  # the caller's state must not matter
        state = torch.get_rng_state()
        made.append(adapt(model, "lora", seed=seed))
        assert torch.equal(torch.get_rng_state(), state)
    first, again, other = made
    torch.testing.assert_close(first(ids).logits, expected)
    assert same(weights(first), weights(again)) and not same(weights(first), weights(other))
    assert first.generate(input_ids=ids, max_new_tokens=3, do_sample=False).shape[1] > 10


NORMS = {  # the final norm; BART's decoder has none
    "llama": {"model.norm.weight"},
    "gpt2": {"transformer.ln_f.weight", "transformer.ln_f.bias"},
    "t5": {"decoder.final_layer_norm.weight"},
    "bart": set(),
}
BLOCKS = {
    "llama": "model.layers",
    "gpt2": "transformer.h",
    "t5": "decoder.block",
    "bart": "model.decoder.layers",
}


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("top", [1, 2])
def test_top_k_trains_the_last_k_blocks_and_the_final_norm_alone(kind, top):
    model = adapt(tiny(kind), f"top:{top}")
    start = weights(model)
    prompts, targets = chatter()
    lengths, loss = target_loss(model, prompts, targets)
    fit(model, lengths, loss, epochs=2, lr=1e-2)
    moved = {name for name, p in weights(model).items() if not torch.equal(p, start[name])}
    blocks = tuple(f"{BLOCKS[kind]}.{3 - k}." for k in range(1, top + 1))
    expected = NORMS[kind] | {name for name in start if name.startswith(blocks)}
    assert moved == expected


def test_whole_thaws_what_another_way_froze():
    model = adapt(adapt(tiny("gpt2"), "top:1"), "whole")
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    "how, told", [("half", "whole, lora or top:K"), ("top:", "top:K"), ("top:-1", "top:K")]
)
def test_an_unknown_way_to_adapt_is_refused(how, told):
    fails(lambda: adapt(tiny("gpt2"), how), how, told)


@pytest.mark.parametrize("how", ["top:0", "top:4"])
def test_more_blocks_than_there_are_or_none_are_refused(how):
    fails(lambda: adapt(tiny("gpt2"), how), how, "give 1 to 3")


# The loop


def test_a_learnable_relation_is_learned_and_the_means_are_the_training_losses():
    lengths, loss = regression()
    model = line()
    first = [loss(model, np.arange(40))[0].item() / lengths.sum()]
    means = fit(model, lengths, loss, epochs=40, lr=3e-2, budget=200)
    assert len(means) == 40 and means[-1] < 0.05 * means[0]
    # One batch holds them all: the first mean is the loss before the first step
    alone = fit(line(), lengths, loss, epochs=1, lr=3e-2, budget=10**6)
    np.testing.assert_allclose(alone, first, rtol=1e-5)
    # In many steps that go nowhere it is the same: every token counts alike, in whichever batch
    still = fit(line(), lengths, loss, epochs=1, lr=1e-12, budget=100)
    np.testing.assert_allclose(still, first, rtol=1e-5)
    assert not model.training


def test_a_tiny_language_model_learns_its_targets_by_heart():
    model = tiny("llama")
    prompts, targets = chatter(6)
    lengths, loss = target_loss(model, prompts, targets)
    means = fit(adapt(model, "whole"), lengths, loss, epochs=40, lr=2e-2, budget=60)
    assert means[-1] < 0.1 * means[0]


@pytest.mark.parametrize("kind", ["regression", "llama"])
def test_accumulated_quarters_step_like_one_big_batch(kind, monkeypatch):
    # Quarters of different numbers of tokens: a mean of batch means would go elsewhere.
    # The clip is lifted, since Adam's first step is blind to scale anyway.
    taken = []
    real = nn.utils.clip_grad_norm_

    def spy(parameters, norm):
        parameters = list(parameters)
        taken.append([p.grad.clone() for p in parameters])
        return real(parameters, norm)

    monkeypatch.setattr(finetune.nn.utils, "clip_grad_norm_", spy)
    quarters = [np.array(rows) for rows in ([0, 1, 2, 3, 4, 5], [6], [7, 8], [9])]
    for parts in (quarters, [np.arange(10)]):
        monkeypatch.setattr(finetune, "_steps_of", lambda *_, parts=parts: [parts])
        if kind == "llama":
            model = tiny("llama")
            lengths, loss = target_loss(model, *chatter(10))
        else:
            model, (lengths, loss) = line(), regression(10)
        fit(model, lengths, loss, epochs=1, lr=1e-3, accumulate=len(parts))
    for one, two in zip(*taken, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)
    assert len(taken) == 2


def test_accumulate_batches_make_one_step():
    calls = []
    lengths, loss = regression()

    def counted(model, rows):
        calls.append(len(rows))
        return loss(model, rows)

    steps = {}
    for accumulate in (1, 3):
        calls.clear()
        plan = finetune._steps_of(lengths, 100, accumulate, 0, 0)
        fit(line(), lengths, counted, epochs=1, lr=1e-3, budget=100, accumulate=accumulate)
        steps[accumulate] = len(plan)
        assert [len(rows) for step in plan for rows in step] == calls
    assert steps[3] == -(-steps[1] // 3)


def test_each_epoch_holds_every_example_once_in_other_company_within_the_budget():
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(4, 0.5, 300).astype(int), 5, 400)
    company, waste = [], []
    for epoch in range(3):
        steps = finetune._steps_of(lengths, 1000, 2, 0, epoch)
        batches = [rows for step in steps for rows in step]
        assert sorted(np.concatenate(batches)) == list(range(300))
        padded = [len(rows) * lengths[rows].max() for rows in batches]
        assert max(padded) <= 1000 and {len(step) for step in steps[:-1]} == {2}
        company.append({frozenset(rows.tolist()) for rows in batches})
        waste.append(1 - lengths.sum() / sum(padded))
        longest = [lengths[rows].max() for rows in batches]
        assert 0.3 < (np.diff(longest) < 0).mean() < 0.7  # in no order of length
    assert max(waste) < 0.2
    for one, two in pairwise(company):
        assert len(one & two) < 0.1 * len(one)
    again = finetune._steps_of(lengths, 1000, 2, 0, 0)
    assert {frozenset(rows.tolist()) for step in again for rows in step} == company[0]
    other = finetune._steps_of(lengths, 1000, 2, 1, 0)
    assert len({frozenset(rows.tolist()) for step in other for rows in step} & company[0]) < 5
    # Even a set that is one stretch is mixed anew, unless it is one batch
    few = np.arange(10, 40)
    mixes = [
        {
            frozenset(rows.tolist())
            for step in finetune._steps_of(few, 300, 1, 0, e)
            for rows in step
        }
        for e in (0, 1)
    ]
    assert mixes[0] != mixes[1]
    assert len(finetune._steps_of(few, 2000, 1, 0, 0)) == 1
    # An example that is longer than the budget is a batch of its own
    assert [r.tolist() for s in finetune._steps_of(np.array([9]), 5, 1, 0, 0) for r in s] == [[0]]


def test_the_learning_rate_rises_on_a_line_and_falls_on_one(monkeypatch):
    rates = []
    real = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW,
        "step",
        lambda self: (rates.append(self.param_groups[0]["lr"]), real(self))[1],
    )
    lengths, loss = regression()
    fit(line(), lengths, loss, epochs=20, lr=0.5, budget=10**6, warmup=0.2)
    # 20 steps, 4 of which rise: fifths of the way up, the whole at step 4, then sixteenths down
    expected = [0.2, 0.4, 0.6, 0.8, *((20 - step) / 16 for step in range(4, 20))]
    np.testing.assert_allclose(rates, 0.5 * np.array(expected))
    rates.clear()
    fit(line(), lengths, loss, epochs=4, lr=1.0, budget=10**6, warmup=0)
    np.testing.assert_allclose(rates, [1, 0.75, 0.5, 0.25])


def test_a_steep_loss_is_clipped_and_a_gentle_one_is_not(monkeypatch):
    norms = []
    real = torch.optim.AdamW.step

    def spy(self):
        grads = [p.grad for group in self.param_groups for p in group["params"]]
        norms.append(torch.stack([g.norm() for g in grads]).norm().item())
        return real(self)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    lengths, loss = regression()
    for scale in (1e3, 1e-3):
        scaled = lambda model, rows, s=scale: (s * loss(model, rows)[0], loss(model, rows)[1])  # noqa: E731
        fit(line(), lengths, scaled, epochs=1, lr=1e-9, budget=10**6)
    assert norms[0] == pytest.approx(1, rel=1e-4) and norms[1] < 0.1


def test_weights_decay_only_on_demand_and_only_what_learns_moves():
    lengths, _ = regression()
    flat = lambda model, rows: (0.0 * model(torch.zeros(1, 4)).sum(), len(rows))  # noqa: E731
    still, shrunk = line(), line()
    still[0].requires_grad_(False)
    before = weights(line())
    fit(still, lengths, flat, epochs=1, lr=0.1)
    assert same(weights(still), before)
    fit(shrunk, lengths, flat, epochs=1, lr=0.1, warmup=0, weight_decay=0.5, budget=10**6)
    after = weights(shrunk)
    for name in before:  # one step: 1 - 0.1 * 0.5
        torch.testing.assert_close(after[name], 0.95 * before[name])


def test_a_gradient_left_by_somebody_else_does_not_count():
    lengths, loss = regression()
    clean, dirty = line(), line()
    for p in dirty.parameters():
        p.grad = torch.full_like(p, 100.0)
    for model in (clean, dirty):
        fit(model, lengths, loss, epochs=1, lr=1e-2)
        assert all(p.grad is None for p in model.parameters())
    assert same(weights(clean), weights(dirty))


def test_the_seed_decides_everything_and_the_callers_randomness_is_left_alone():
    lengths, loss = regression()
    made = []
    for seed in (0, 0, 1):
        model = line(dropout=0.3)
        torch.manual_seed(len(made))  # the caller's state must not matter
        state, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()
        fit(model, lengths, loss, epochs=3, lr=1e-2, budget=100, seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        assert (np.random.get_state()[1] == numpys).all()
        made.append(weights(model))
    assert same(made[0], made[1]) and not same(made[0], made[2])


def test_dropout_is_on_while_training_off_afterwards_and_other_in_each_epoch():
    lengths = np.ones(4, int)
    model, seen = nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5)), []

    def loss(model, rows):
        out = model(torch.ones(1, 4))
        seen.append((out == 0).flatten())
        return out.sum(), 1

    def after(epoch, model):
        assert not model.training

    fit(model, lengths, loss, epochs=3, lr=1e-9, after_epoch=after)
    assert all(0 < mask.float().mean() < 1 for mask in seen)
    assert not torch.equal(seen[0], seen[1]) and not torch.equal(seen[1], seen[2])
    assert not model.training
    fit(model, lengths, loss, epochs=1, lr=1e-9, seed=1)
    assert not torch.equal(seen[0], seen[3])


def test_after_epoch_may_stop_the_training():
    lengths, loss = regression()
    told = []

    def after(epoch, model):
        told.append(epoch)
        return epoch == 2

    assert len(fit(line(), lengths, loss, epochs=9, lr=1e-2, after_epoch=after)) == 2
    assert told == [1, 2]


# What is kept and what is resumed


def interrupted(epoch):
    def after(done, model):
        if done == epoch:
            raise KeyboardInterrupt

    return after


def prepare(kind):
    if kind == "line":
        return line(dropout=0.2), *regression()
    how, kind = kind.split()
    model = adapt(tiny(kind, dropout=0.1), how)
    return model, *target_loss(model, *chatter())


@pytest.mark.parametrize("kind", ["line", "whole gpt2", "lora gpt2", "top:1 llama"])
@pytest.mark.parametrize("epoch", [1, 2])
def test_an_interrupted_run_goes_on_to_the_same_weights(kind, epoch, tmp_path):
    arguments = {"epochs": 3, "lr": 1e-2, "budget": 60, "accumulate": 2}
    model, lengths, loss = prepare(kind)
    means = fit(model, lengths, loss, **arguments)
    expected = weights(model)

    broken, lengths, loss = prepare(kind)
    with pytest.raises(KeyboardInterrupt):
        fit(broken, lengths, loss, folder=tmp_path, after_epoch=interrupted(epoch), **arguments)
    assert not broken.training
    fresh, lengths, loss = prepare(kind)
    told, calls = [], []

    def counted(model, rows):
        calls.append(rows)
        return loss(model, rows)

    torch.manual_seed(99)
    after = lambda done, model: told.append(done)  # noqa: E731
    resumed = fit(fresh, lengths, counted, folder=tmp_path, after_epoch=after, **arguments)
    assert same(weights(fresh), expected) and resumed == means
    assert told == list(range(epoch, 4))  # the epoch that was cut short is told again
    plans = [finetune._steps_of(lengths, 60, 2, 0, e) for e in range(epoch, 3)]
    assert len(calls) == sum(len(step) for plan in plans for step in plan)

    # A finished run is not repeated: it is read
    done, lengths, loss = prepare(kind)
    assert fit(done, lengths, None, folder=tmp_path, **arguments) == means
    assert same(weights(done), expected) and not done.training


def test_a_stopped_run_stays_stopped(tmp_path):
    lengths, loss = regression()
    arguments = {"epochs": 5, "lr": 1e-2, "folder": tmp_path}
    model, later = line(), line()
    means = fit(model, lengths, loss, after_epoch=lambda done, _: done == 2, **arguments)
    assert len(means) == 2
    assert fit(later, lengths, None, after_epoch=lambda *_: False, **arguments) == means
    assert same(weights(model), weights(later))


def test_the_state_holds_what_is_trained_and_no_frozen_weight(tmp_path):
    # GPT-2's head is its embedding: frozen under one name, it must not be kept under the other
    model, lengths, loss = prepare("top:1 gpt2")
    fit(model, lengths, loss, epochs=1, lr=1e-2, folder=tmp_path)
    kept = torch.load(tmp_path / "fit.pt", weights_only=True)["weights"]
    assert kept.keys() == {name for name, p in model.named_parameters() if p.requires_grad}


def test_buffers_are_part_of_the_state(tmp_path):
    lengths, loss = regression()

    def normed():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))

    straight, again = normed(), normed()
    arguments = {"epochs": 3, "lr": 1e-2, "folder": tmp_path}
    fit(straight, lengths, loss, **arguments)
    fit(again, lengths, None, **arguments)
    assert torch.equal(straight[1].running_mean, again[1].running_mean)


def test_a_failure_while_keeping_the_state_leaves_the_one_before(tmp_path, monkeypatch):
    lengths, loss = regression()
    arguments = {"epochs": 3, "lr": 1e-2, "folder": tmp_path}
    expected = line()
    means = fit(expected, lengths, loss, **(arguments | {"folder": None}))
    real, count = os.replace, []

    def full(source, target):
        count.append(source)
        if len(count) == 2:
            raise OSError(28, "No space left on device")
        return real(source, target)

    monkeypatch.setattr(resume.os, "replace", full)
    told = "cannot be kept there (No space left on device)"
    fails(lambda: fit(line(), lengths, loss, **arguments), told, str(tmp_path), "free some space")
    assert [file.name for file in tmp_path.iterdir()] == ["fit.pt"]
    assert len(torch.load(tmp_path / "fit.pt", weights_only=True)["means"]) == 1
    (tmp_path / ".fit.pt.1.part").write_bytes(b"half")  # what a killed process leaves
    model = line()
    assert fit(model, lengths, loss, **arguments) == means
    assert same(weights(model), weights(expected))


def test_a_disk_that_fills_up_is_one_clear_line(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    lengths, loss = regression()
    monkeypatch.setattr(resume.torch, "save", full)
    run = lambda folder: fit(line(), lengths, loss, epochs=1, lr=1e-2, folder=folder)  # noqa: E731
    fails(lambda: run(tmp_path / "new"), "No space left")
    assert list((tmp_path / "new").iterdir()) == []
    # A folder that cannot be is noticed before the training, not after an epoch of it
    (tmp_path / "file").touch()
    loss = None
    fails(lambda: run(tmp_path / "file" / "x"), "cannot be kept")
    monkeypatch.setattr(resume.Path, "touch", full)
    fails(lambda: run(tmp_path / "new"), "cannot be kept")


@pytest.mark.parametrize(
    "change, told",
    [
        ({"lr": 2e-2}, "lr 0.01 there, 0.02 here"),
        ({"epochs": 3}, "epochs 2 there, 3 here"),
        ({"seed": 7}, "seed 0 there, 7 here"),
        ({"budget": 7}, "budget 4096 there, 7 here"),
        ({"accumulate": 2}, "batches of a step 1 there, 2 here"),
        ({"warmup": 0}, "warmup 0.1 there, 0 here"),
        ({"weight_decay": 1}, "weight_decay 0.0 there, 1 here"),
        ({"lengths": np.arange(1, 41)}, "lengths"),
        ({"model": nn.Linear(4, 1)}, "trained weights"),
    ],
)
def test_the_state_of_another_run_is_refused(change, told, tmp_path):
    lengths, loss = regression()
    arguments = {"model": line(), "lengths": lengths, "epochs": 2, "lr": 1e-2, "folder": tmp_path}
    fit(loss=loss, **arguments)
    fails(lambda: fit(loss=loss, **(arguments | change)), told, "another folder")


def test_the_state_of_other_first_weights_is_refused_frozen_ones_included(tmp_path):
    lengths, loss = regression()
    arguments = {"lengths": lengths, "loss": loss, "epochs": 1, "lr": 1e-2, "folder": tmp_path}

    def begun(bias):
        model = line()
        model[0].requires_grad_(False)
        with torch.no_grad():
            model[0].bias[0] = bias
        return model

    fit(begun(0.25), **arguments)
    fails(lambda: fit(begun(0.5), **arguments), "first weights", "another folder")
    fit(begun(0.25), **arguments)


@pytest.mark.parametrize("change", ["prompts", "targets", "weights", "temperature", "teacher"])
def test_the_state_of_other_data_of_the_same_lengths_is_refused(change, tmp_path):
    prompts, targets = chatter(3)
    rng = np.random.default_rng(0)
    soft = [rng.dirichlet(np.ones(VOCABULARY), len(ids)).astype("float32") for ids in targets]
    told = {"prompts": prompts, "targets": targets, "teacher": soft}
    told |= {"weights": np.ones(3), "temperature": 1.0}

    def run(**other):
        model = tiny("llama", blocks=1)
        data = target_loss(model, **(told | other))
        return fit(model, *data, epochs=1, lr=1e-2, folder=tmp_path)

    means = run()
    assert run() == means
    changed = {
        "prompts": [[3 if prompts[0][0] == 2 else 2, *prompts[0][1:]], *prompts[1:]],
        "targets": [[*ids[:-1], 3] for ids in targets],
        "weights": np.array([1.0, 1.0, 2.0]),
        "temperature": 2.0,
        "teacher": [soft[0][:, ::-1].copy(), *soft[1:]],
    }
    fails(lambda: run(**{change: changed[change]}), "data", "another folder")


def test_a_device_without_room_is_not_told_as_a_damaged_state(tmp_path, monkeypatch):
    lengths, loss = regression()
    run = lambda: fit(line(), lengths, loss, epochs=1, lr=1e-2, folder=tmp_path)  # noqa: E731
    run()

    def full(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(resume, "_put", full)
    with pytest.raises(torch.OutOfMemoryError):
        run()


def test_processes_that_find_different_states_say_so(tmp_path, monkeypatch):
    lengths, loss = regression()
    real = finetune.team.gathered
    other = lambda part: real(part) | {1: (2, False)}  # noqa: E731
    monkeypatch.setattr(finetune.team, "gathered", other)
    run = lambda: fit(line(), lengths, loss, epochs=1, lr=1e-2, folder=tmp_path)  # noqa: E731
    fails(run, "different states", "all machines share")


def test_a_damaged_state_is_refused(tmp_path):
    lengths, loss = regression()
    (tmp_path / "fit.pt").write_bytes(b"PK not a state")
    call = lambda: fit(line(), lengths, loss, epochs=2, lr=1e-2, folder=tmp_path)  # noqa: E731
    fails(call, "fit.pt", "cannot be read", "delete it")


# What the loop refuses


@pytest.mark.parametrize("rubbish", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_run_and_spoils_no_weight(rubbish):
    lengths, loss = regression()
    calls = []

    def spoiled(model, rows):
        calls.append(rows)
        value, count = loss(model, rows)
        return value + (rubbish if len(calls) == 3 else 0), count  # its gradient stays finite

    model = line()
    call = lambda: fit(  # noqa: E731
        model, lengths, spoiled, epochs=5, lr=0.25, budget=10**6, desc="weak", warmup=0
    )
    fails(call, "weak: in step 3 of 5", f"{rubbish}", "lower the learning rate, now 0.25")
    assert all(p.isfinite().all() for p in model.parameters()) and not model.training


def test_a_gradient_that_is_not_finite_ends_the_run_too():
    def loss(model, rows):  # the root's slope at 0 is infinite
        return (model(torch.zeros(1, 4)) * 0).abs().sqrt().sum(), 1

    fails(lambda: fit(line(), np.ones(3), loss, epochs=1, lr=1e-2), "loss is 0, the norm of its")


@pytest.mark.parametrize(
    "change, told",
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"lr": 0}, "lr is 0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"lr": float("inf")}, "lr is inf"),
        ({"seed": -1}, "seed is -1"),
        ({"budget": 0}, "budget is 0"),
        ({"accumulate": 0}, "accumulate is 0"),
        ({"warmup": 1}, "warmup is 1"),
        ({"warmup": -0.1}, "warmup is -0.1"),
        ({"lengths": np.array([])}, "lengths"),
        ({"lengths": np.array([3, 0])}, "lengths"),
        ({"lengths": np.ones((2, 2))}, "lengths"),
        ({"model": nn.Linear(4, 1).requires_grad_(False)}, "nothing to train"),
        ({"model": nn.Tanh()}, "nothing to train"),
        ({"model": nn.Linear(4, 1).bfloat16()}, "dtype=torch.float32"),
    ],
)
def test_an_argument_out_of_range_is_one_clear_line(change, told):
    lengths, loss = regression()
    fails(
        lambda: fit(**({"model": line(), "lengths": lengths, "loss": loss} | ARGUMENTS | change)),
        told,
    )


ARGUMENTS = {"epochs": 1, "lr": 1e-2}


# The losses of language models


def alone(model, prompt, target):
    """Minus the log-likelihood of one target, with nothing else in the batch."""
    if model.config.is_encoder_decoder:
        read, told = torch.tensor([prompt]), torch.tensor([[0, *target[:-1]]])
        logits = model(input_ids=read, decoder_input_ids=told).logits[0]
    else:
        logits = model(torch.tensor([[*prompt, *target[:-1]]])).logits[0, len(prompt) - 1 :]
    return nn.functional.cross_entropy(logits, torch.tensor(target), reduction="sum")


KINDS = pytest.mark.parametrize("kind", ["llama", "gpt2", "t5", "bart"])


@KINDS
def test_a_batchs_loss_is_the_sum_of_its_examples_one_at_a_time(kind):
    model = tiny(kind)
    if kind == "bart":  # it would start a target with </s>
        model.config.decoder_start_token_id = 0
    prompts, targets = chatter(12)
    targets[3] = [END]  # a target that is empty but for its end
    prompts[4] = prompts[4][:1]
    lengths, loss = target_loss(model, prompts, targets)
    for rows in (np.arange(12), np.array([3, 4]), np.array([7])):
        got, count = loss(model, rows)
        each = [alone(model, prompts[i], targets[i]) for i in rows]
        torch.testing.assert_close(got, torch.stack(each).sum(), rtol=1e-5, atol=1e-5)
        assert count == sum(len(targets[i]) for i in rows)
    if model.config.is_encoder_decoder:
        assert lengths.tolist() == [len(p) + len(t) for p, t in zip(prompts, targets, strict=True)]
    else:  # the last token of a target is never read
        assert lengths.tolist() == [
            len([*p, *t]) - 1 for p, t in zip(prompts, targets, strict=True)
        ]


@KINDS
def test_no_example_sees_another(kind):
    # The gradient of example i's own loss must not depend on what lies beside it
    model = tiny(kind)
    prompts, targets = chatter(5)
    others = [list(reversed(p)) + [3, 4, 5] for p in prompts], [[9, *t] for t in targets]
    for i in range(5):
        own = np.zeros(5)
        own[i] = 1
        scores = []
        for around in ((prompts, targets), others):
            mixed = [[*around[0]], [*around[1]]]
            mixed[0][i], mixed[1][i] = prompts[i], targets[i]
            _, loss = target_loss(model, *mixed, weights=own)
            share = sum(map(len, mixed[1])) / len(targets[i])  # the weights' mean becomes 1
            scores.append(loss(model, np.arange(5))[0].item() / share)
        assert scores[0] == pytest.approx(scores[1], rel=1e-5)
        assert scores[0] > 0.1


def test_the_head_reads_only_positions_with_a_target(monkeypatch):
    model = tiny("llama")
    prompts, targets = [[5] * 9, [6] * 9], [[7, END], [END]]
    _, loss = target_loss(model, prompts, targets)
    read = []
    model.lm_head.register_forward_pre_hook(lambda _, args: read.append(args[0].shape))
    value, _ = loss(model, np.array([0, 1]))
    assert read == [(2, 2, 16)]
    # A model that cannot choose positions gives the same, at more cost
    whole = type(model).forward
    monkeypatch.setattr(type(model), "forward", lambda self, **inputs: whole(self, **inputs))
    monkeypatch.setattr(
        targets_room.inspect, "signature", lambda _: type("S", (), {"parameters": ()})
    )
    _, plain = target_loss(model, prompts, targets)
    torch.testing.assert_close(plain(model, np.array([0, 1]))[0], value)
    assert read[-1] == (2, 10, 16)


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_weights_scale_each_examples_loss_with_a_mean_of_one_over_the_tokens(kind):
    model = tiny(kind)
    prompts, targets = chatter(4)
    given = np.array([0.0, 1.0, 2.0, 5.0])
    counts = np.array([len(t) for t in targets])
    scale = counts.sum() / (given * counts).sum()
    _, loss = target_loss(model, prompts, targets, weights=given)
    each = [loss(model, np.array([i])) for i in range(4)]
    for i in range(4):
        expected = given[i] * scale * alone(model, prompts[i], targets[i])
        torch.testing.assert_close(each[i][0], expected, rtol=1e-5, atol=1e-6)
        assert each[i][1] == counts[i]
    same_for_all, _ = target_loss(model, prompts, targets, weights=np.full(4, 3.0))[1](
        model, np.arange(4)
    )
    torch.testing.assert_close(
        same_for_all, target_loss(model, prompts, targets)[1](model, np.arange(4))[0]
    )


@KINDS
def test_a_teacher_is_matched_token_by_token(kind):
    model = tiny(kind)
    prompts, targets = chatter(4)
    rng = np.random.default_rng(0)
    certain = [np.eye(VOCABULARY, dtype=np.float32)[target] for target in targets]
    plain, count = target_loss(model, prompts, targets)[1](model, np.arange(4))
    _, loss = target_loss(model, prompts, targets, teacher=certain)
    told, tokens = loss(model, np.arange(4))
    torch.testing.assert_close(told, plain)
    assert tokens == count
    soft = [rng.dirichlet(np.ones(VOCABULARY), len(target)) for target in targets]
    arguments = {"teacher": soft, "temperature": 2.0, "weights": [1, 1, 1, 3]}
    _, loss = target_loss(model, prompts, targets, **arguments)
    together = loss(model, np.arange(4))[0]
    apart = torch.stack([loss(model, np.array([i]))[0] for i in range(4)])
    torch.testing.assert_close(together, apart.sum(), rtol=1e-5, atol=1e-5)
    # By hand for one: 4 * the cross-entropy of square roots, times tokens, weight and scale
    target = torch.tensor(soft[3]).sqrt()
    target /= target.sum(-1, keepdim=True)
    spied = []
    hook = model.register_forward_hook(lambda _, __, out: spied.append(out.logits[0]))
    loss(model, np.array([3]))
    hook.remove()
    logs = torch.log_softmax(spied[0][-len(targets[3]) :] / 2, -1)
    counts = np.array([len(t) for t in targets])
    scale = counts.sum() / (counts.sum() + 2 * counts[3])
    expected = 3 * scale * 4 * -(target * logs).sum()
    assert apart[3].item() == pytest.approx(expected.item(), rel=1e-5)


def test_an_adapted_model_takes_the_same_losses():
    prompts, targets = chatter(4)
    for kind in ("llama", "t5"):
        model = tiny(kind)
        before = target_loss(model, prompts, targets)[1](model, np.arange(4))[0]
        adapted = adapt(model, "lora")
        after = target_loss(adapted, prompts, targets)[1](adapted, np.arange(4))[0]
        torch.testing.assert_close(after, before)


P4, T4 = chatter(4)


@pytest.mark.parametrize(
    "arguments, told",
    [
        (([], []), "0 prompts and 0 targets"),
        ((P4, T4[:3]), "4 prompts and 3 targets"),
        ((P4, [*T4[:3], []]), "the target of example 3 has no token"),
        (([[], *P4[1:]], T4), "the prompt of example 0 has no token"),
        (
            ([*P4[:3], [3] * 40], T4),
            f"example 3 takes {39 + len(T4[3])} positions, the model has 40",
        ),
        ((P4, [T4[0], [23], *T4[2:]]), "example 1 has ids from"),
        (([[-1], *P4[1:]], T4), "ids from -1"),
    ],
)
def test_examples_that_no_model_can_take_are_refused(arguments, told):
    model = tiny("llama")
    fails(lambda: target_loss(model, *arguments), told)


def test_as_many_positions_as_the_model_has_are_no_mistake():
    model = tiny("gpt2")
    _, loss = target_loss(model, [[3] * LIMIT], [[END]])
    assert loss(model, np.array([0]))[0].isfinite()
    fails(lambda: target_loss(model, [[3] * LIMIT], [[4, END]]), f"takes {LIMIT + 1} positions")
    # An encoder and its decoder have as many each; T5 counts distances and has no limit
    target_loss(tiny("bart"), [[3] * LIMIT], [[4] * LIMIT])
    fails(lambda: target_loss(tiny("bart"), [[3] * (LIMIT + 1)], [[END]]), "41 positions")
    target_loss(tiny("t5"), [[3] * 999], [[END]])


@pytest.mark.parametrize(
    "extra, told",
    [
        ({"weights": [1, 2]}, "2 weights"),
        ({"weights": [0, 0, 0, 0]}, "of sum 0"),
        ({"weights": [1, 1, 1, -1]}, "4 weights of sum 2"),
        ({"weights": [1, 1, 1, np.nan]}, "of sum nan"),
        ({"teacher": [np.ones((9, VOCABULARY))] * 4}, "do not match the targets' tokens"),
        ({"teacher": [np.ones((1, VOCABULARY))]}, "do not match the targets' tokens"),
    ],
)
def test_weights_and_teachers_that_do_not_fit_are_refused(extra, told):
    fails(lambda: target_loss(tiny("llama"), P4, T4, **extra), told)


# Packed examples

PACKED = pytest.mark.parametrize("kind", ["llama", "gpt2"])


def gradients(model, loss, rows):
    model.zero_grad()
    value, count = loss(model, rows)
    value.backward()
    return value.detach(), count, [p.grad.clone() for p in model.parameters()]


@PACKED
def test_packed_examples_lose_and_teach_what_each_does_alone(kind):
    model = tiny(kind)
    prompts, targets = chatter(12)
    told = {"weights": np.arange(1, 13)}
    lengths, packed = target_loss(model, prompts, targets, packed=True, **told)
    plain, padded = target_loss(model, prompts, targets, **told)
    assert lengths.tolist() == plain.tolist()
    value, count, grads = gradients(model, packed, np.arange(12))
    parts = [gradients(model, padded, np.array([i])) for i in range(12)]
    torch.testing.assert_close(value, sum(part[0] for part in parts), rtol=1e-5, atol=1e-4)
    assert count == sum(part[1] for part in parts)
    for k, grad in enumerate(grads):
        torch.testing.assert_close(grad, sum(p[2][k] for p in parts), rtol=1e-3, atol=1e-4)


@PACKED
def test_packed_examples_match_their_teachers_as_padded_ones_do(kind):
    model, rng = tiny(kind), np.random.default_rng(0)
    prompts, targets = chatter(6)
    soft = [rng.dirichlet(np.ones(VOCABULARY), len(target)) for target in targets]
    told = {"teacher": soft, "temperature": 2.0, "weights": [1, 1, 2, 1, 3, 1]}
    losses = [target_loss(model, prompts, targets, packed=p, **told)[1] for p in (False, True)]
    one, two = (loss(model, np.array([4, 0, 2])) for loss in losses)
    torch.testing.assert_close(two[0], one[0], rtol=1e-5, atol=1e-5)
    assert one[1] == two[1]


@PACKED
def test_another_example_beside_it_changes_no_bit_of_a_packed_ones_logits(kind):
    model = tiny(kind)
    texts = [[5, 6, 7], [8, 9], [10, 11, 12, 13, 14], [3]]
    spans = [(0, len(text)) for text in texts]
    before = targets_room.packed_logits(model, texts, spans).split([3, 2, 5, 1])
    for i in range(4):
        other = [[*text] for text in texts]
        other[i] = [(token + 4) % VOCABULARY for token in other[i]]
        after = targets_room.packed_logits(model, other, spans).split([3, 2, 5, 1])
        for k in range(4):
            assert torch.equal(before[k], after[k]) == (k != i)


def test_packed_rows_are_full_but_for_the_last_ones():
    sizes = [7, 3, 5, 2, 4, 7, 1]
    # longest first, width 7: [7] [7] [5 2] [4 3] and the 1 in a row of its own
    assert targets_room.rows_of(sizes, 7) == [[0], [5], [2, 3], [4, 1], [6]]
    assert targets_room.rows_of([2, 2], 2) == [[0], [1]]


def test_the_head_reads_packed_targets_alone():
    model = tiny("llama")
    _, loss = target_loss(model, [[5] * 9, [6] * 3], [[7, END], [END]], packed=True)
    read = []
    model.lm_head.register_forward_hook(lambda _, __, out: read.append(out.shape))
    loss(model, np.array([0, 1]))
    assert read == [(1, 3, VOCABULARY)]  # two targets of the first, one of the second


@pytest.mark.parametrize("fault", ["positions", "mask"])
@PACKED
def test_a_model_that_reads_on_from_text_to_text_is_found_out(kind, fault, monkeypatch):
    # Mutants: positions that go on count for GPT-2, a mask that is missing for both
    model = tiny(kind)
    whole = type(model).forward

    def broken(self, input_ids=None, position_ids=None, **more):
        if fault == "positions":
            position_ids = torch.arange(input_ids.shape[1])[None].expand_as(input_ids)
        else:
            size = input_ids.shape[1]
            causal = torch.ones(size, size).tril().bool()[None, None]
            more["attention_mask"] = causal.expand(len(input_ids), 1, size, size)
        return whole(self, input_ids=input_ids, position_ids=position_ids, **more)

    monkeypatch.setattr(type(model), "forward", broken)
    fails(lambda: target_loss(model, P4, T4, packed=True), type(model).__name__, "leave `packed`")


@pytest.mark.parametrize(
    "kind, settings, told",
    [
        ("mamba", {"state_size": 4}, "takes no positions"),
        ("bloom", {"n_head": 2}, "takes no positions"),  # distances, counted by itself
        (
            "lfm2",  # a convolution runs over the row
            {"num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 24}
            | {"layer_types": ["conv", "full_attention"]},
            "not read as it is alone",
        ),
    ],
)
def test_a_model_that_passes_a_state_along_is_not_packed(kind, settings, told):
    import transformers

    shape = {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 2}
    ids = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": END}
    config = transformers.AutoConfig.for_model(kind, **shape, **ids, **settings)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():  # far from the flat first guess, as in `tiny`
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
    fails(lambda: target_loss(model, P4, T4, packed=True), told, "examples are padded then")


def test_an_encoder_decoder_model_is_not_packed():
    fails(lambda: target_loss(tiny("t5"), P4, T4, packed=True), "encoder-decoder")


def test_packed_batches_take_examples_of_any_lengths_and_fill_the_budget():
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(4, 0.5, 300).astype(int), 5, 400)
    steps = finetune._steps_of(lengths, 1000, 2, 0, 0, packed=True)
    batches = [rows for step in steps for rows in step]
    assert sorted(np.concatenate(batches)) == list(range(300))
    held = np.array([lengths[rows].sum() for rows in batches])
    assert held.max() <= 1000 and held[:-1].mean() > 900
    spread = [lengths[rows].std() for rows in batches[:-1]]
    assert np.mean(spread) > 0.8 * lengths.std()  # not of like length
    # one that is longer than the budget is a batch of its own
    alone = finetune._steps_of(np.array([9, 9]), 5, 1, 0, 0, packed=True)
    assert [len(rows) for step in alone for rows in step] == [1, 1]


def test_packed_training_learns_by_heart():
    model = tiny("llama")
    lengths, loss = target_loss(model, *chatter(6), packed=True)
    means = fit(adapt(model, "whole"), lengths, loss, epochs=40, lr=2e-2, budget=60, packed=True)
    assert means[-1] < 0.1 * means[0]


# What is saved, and what is compiled


@pytest.mark.parametrize("kind", ["llama", "gpt2", "t5"])
@pytest.mark.parametrize("how", ["whole", "lora"])
def test_checkpoints_keep_less_for_the_same_weights(kind, how):
    made, kept = [], []
    for checkpoint in (False, True):
        model = adapt(tiny(kind, blocks=4), how)
        lengths, loss = target_loss(model, *chatter(6))
        numbers = []

        def counted(model, rows, loss=loss, numbers=numbers):
            pack = lambda saved: (numbers.append(saved.numel()), saved)[1]  # noqa: E731
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
                return loss(model, rows)

        means = fit(model, lengths, counted, epochs=2, lr=1e-2, checkpoint=checkpoint)
        made.append((weights(model), means))
        kept.append(sum(numbers))
        inner = targets_room.bare(model)
        assert not any(getattr(m, "gradient_checkpointing", False) for m in inner.modules())
    assert kept[1] < 0.6 * kept[0]
    np.testing.assert_allclose(made[1][1], made[0][1], rtol=1e-6)
    for name, value in made[0][0].items():
        torch.testing.assert_close(made[1][0][name], value, rtol=1e-3, atol=1e-4)


def test_a_model_without_checkpoints_is_refused():
    lengths, loss = regression()
    fails(lambda: fit(line(), lengths, loss, epochs=1, lr=1e-2, checkpoint=True), "no checkpoints")


def test_blocks_are_compiled_only_where_asked_for_or_on_a_gpu_and_only_while_they_train(
    monkeypatch,
):
    seen, now = [], []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **how: seen.append((self, how)))
    lengths, loss = regression()
    fit(line(), lengths, loss, epochs=300, lr=1e-3)  # long, but on a CPU
    assert not seen
    model = adapt(tiny("llama"), "lora")
    lengths, loss = target_loss(model, *chatter(4))

    def look(*_):
        now.append(torch.compiler.is_compiling())

    fit(model, lengths, loss, epochs=1, lr=1e-3, compile=True, after_epoch=look)
    blocks = list(model.get_base_model().model.layers)
    assert [part for part, _ in seen] == blocks and now == [False]
    assert all(how == {"dynamic": True} for _, how in seen)  # one program for all widths
    assert all(part._compiled_call_impl is None for part in blocks)


def test_products_in_single_precision_are_rounded_on_a_gpu_only_and_only_within():
    from w2s_lab.blocks import quick_products

    before = torch.get_float32_matmul_precision()
    with quick_products(False):
        assert torch.get_float32_matmul_precision() == before
    with quick_products(True):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="before PyTorch 2.9")
def test_products_can_be_rounded_after_somebody_has_used_the_newer_way_to_ask_for_it():
    from w2s_lab.blocks import quick_products

    products = torch.backends.cuda.matmul
    with quick_products(True):
        pass
    assert products.fp32_precision == "none"  # inherits, as before
    try:
        torch.backends.fp32_precision = "tf32"
        with pytest.raises(RuntimeError):
            torch.get_float32_matmul_precision()
        lengths, loss = regression()
        fit(line(), lengths, loss, epochs=1, lr=1e-2)
        torch.backends.fp32_precision = "none"
        products.fp32_precision = "tf32"
        with quick_products(True):
            assert products.fp32_precision == "tf32"
        assert products.fp32_precision == "tf32"
    finally:
        torch.backends.fp32_precision = products.fp32_precision = "none"


@pytest.mark.gpu
@pytest.mark.parametrize(
    "settings", [{}, {"packed": True}, {"compile": True}, {"checkpoint": True}]
)
def test_a_gpu_learns_by_heart_in_every_way_that_saves_time_or_memory(settings):
    model = tiny("llama").cuda()
    packed = settings.get("packed", False)
    lengths, loss = target_loss(model, *chatter(6), packed=packed)
    means = fit(adapt(model, "whole"), lengths, loss, epochs=40, lr=2e-2, budget=60, **settings)
    assert means[-1] < 0.2 * means[0]


# Imports, and several processes


@pytest.mark.slow
def test_importing_the_loop_imports_neither_accelerate_nor_peft_nor_transformers():
    code = (
        "import sys, w2s_lab.finetune;"
        "print([m for m in ('accelerate', 'peft', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


TEAM = """
import os, sys, torch
tests, home = sys.argv[1:]
sys.path.insert(0, tests)
from test_finetune import fit, line, regression
rank, batches = int(os.environ["RANK"]), []
lengths, loss = regression()
def counted(model, rows):
    batches.append(rows)
    return loss(model, rows)
model = line(seed=rank)  # other first weights in each: those of the first process count
means = fit(model, lengths, counted, epochs=3, lr=1e-2, budget=100, folder=home)
torch.save((means, model.state_dict(), len(batches)), os.path.join(home, f"{rank}.pt"))
"""


@pytest.mark.slow
def test_two_processes_train_like_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    team = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    team |= {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", TEAM, os.path.dirname(__file__), str(tmp_path)]
    running = [
        subprocess.Popen(command, env=os.environ | team | {"RANK": rank, "LOCAL_RANK": rank})
        for rank in "01"
    ]
    try:
        assert [process.wait(timeout=120) for process in running] == [0, 0]
    finally:
        for process in running:
            process.kill()
    lengths, loss = regression()
    model = line()
    means = fit(model, lengths, loss, epochs=3, lr=1e-2, budget=100)
    work = []
    for rank in (0, 1):
        theirs, state, batches = torch.load(tmp_path / f"{rank}.pt")
        work.append(batches)
        np.testing.assert_allclose(theirs, means, rtol=1e-4)
        for name, value in model.state_dict().items():
            torch.testing.assert_close(state[name], value, rtol=1e-3, atol=1e-5)
    # Each batch is cut into two, but one that is a single example
    plans = [finetune._steps_of(lengths, 100, 1, 0, epoch) for epoch in range(3)]
    sizes = [len(step[0]) for plan in plans for step in plan]
    assert work == [len(sizes), sum(size > 1 for size in sizes)]
    assert (tmp_path / "fit.pt").exists()
