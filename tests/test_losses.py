"""The objectives, against numbers worked by hand and against PyTorch's own cross-entropy.

They do not train a model beyond a few gradients.
Quotas of several classes are held against the exact assignment that scipy finds.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from w2s_lab.errors import W2SError
from w2s_lab.losses import (
    confidence_loss,
    distillation_loss,
    hardened,
    sequence_distillation_loss,
    sequence_log_likelihood,
    soft_cross_entropy,
    warmup,
)

examples = settings(max_examples=50, deadline=None, derandomize=True)
LOG2, LOG3 = math.log(2), math.log(3)


def random_batch(seed, *shape):
    torch.manual_seed(seed)
    logits = 2 * torch.randn(*shape, dtype=torch.float64)
    return logits, torch.softmax(torch.randn(*shape, dtype=torch.float64), -1)


# Distillation


def test_the_distillation_loss_matches_the_hand_worked_value():
    # Student log(3), 0 means probabilities 3/4, 1/4. Cross-entropy from (1/2, 1/2):
    # (log(4/3) + log 4) / 2 = log 4 - log(3) / 2; from (1, 0) for the second item: log(4/3)
    logits = torch.tensor([[LOG3, 0.0], [LOG3, 0.0]])
    weak = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    expected = ((2 * LOG2 - LOG3 / 2) + (2 * LOG2 - LOG3)) / 2
    assert distillation_loss(logits, weak).item() == pytest.approx(expected, rel=1e-6)


def test_temperature_softens_both_sides_and_the_loss_is_scaled_by_its_square():
    # T = 2. Weak (0.9, 0.1): square roots 3 : 1, so (3/4, 1/4). Student logits 2 log 3, 0 halve to
    # log 3, 0, so (3/4, 1/4) too. The loss is 4 times the entropy of (3/4, 1/4):
    # 4 * (3/4 log(4/3) + 1/4 log 4) = 8 log 2 - 3 log 3 = 2.2493
    logits, weak = torch.tensor([[2 * LOG3, 0.0]]), torch.tensor([[0.9, 0.1]])
    loss = distillation_loss(logits, weak, temperature=2.0)
    assert loss.item() == pytest.approx(8 * LOG2 - 3 * LOG3, rel=1e-6)


@examples
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 5))
def test_one_hot_labels_give_the_usual_cross_entropy(seed, classes):
    logits, _ = random_batch(seed, 7, classes)
    labels = torch.randint(classes, (7,))
    for weak in (functional.one_hot(labels, classes).double(), functional.one_hot(labels, classes)):
        loss = distillation_loss(logits, weak)
        torch.testing.assert_close(loss, functional.cross_entropy(logits, labels))


@examples
@given(seed=st.integers(0, 10_000), temperature=st.floats(0.3, 10))
def test_the_least_distillation_loss_is_the_teachers_entropy(seed, temperature):
    other, weak = random_batch(seed, 6, 3)
    soft = torch.softmax(weak.log() / temperature, -1)
    entropy = temperature**2 * -(soft * soft.log()).sum(-1).mean()
    student = weak.log().requires_grad_()
    loss = distillation_loss(student, weak, temperature=temperature)
    torch.testing.assert_close(loss.detach(), entropy)
    (gradient,) = torch.autograd.grad(loss, student)
    assert gradient.abs().max() < 1e-8
    assert distillation_loss(other, weak, temperature=temperature) > entropy


def test_the_gradient_keeps_its_size_as_the_temperature_rises():
    # For T large the gradient tends to (z - mean z - (log p - mean log p)) / (classes * batch)
    logits, weak = random_batch(0, 5, 3)
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(distillation_loss(logits, weak, temperature=1e4), logits)
    centred = logits.detach() - weak.log()
    centred = centred - centred.mean(-1, keepdim=True)
    torch.testing.assert_close(gradient, centred / 15, rtol=1e-2, atol=1e-4)


# Sequences


def random_sequences(seed, batch=3, tokens=6, vocabulary=5):
    """Logits, ids that are -100 or far too large outside the mask, and a mask with a gap."""
    torch.manual_seed(seed)
    logits = 2 * torch.randn(batch, tokens, vocabulary, dtype=torch.float64)
    mask = torch.rand(batch, tokens) < 0.6
    ids = torch.randint(vocabulary, (batch, tokens))
    return logits, torch.where(mask, ids, torch.tensor([-100, 999])[ids % 2]), mask


def test_a_sequences_log_likelihood_matches_the_hand_worked_value():
    # Logits are logs of odds over a vocabulary of 3: (1, 1, 2) make 1/4, 1/4, 1/2, (6, 3, 1) make
    # 6/10, 3/10, 1/10, (1, 1, 1) thirds. Targets 2, 1, 0; the last is masked in the first row.
    # First row: log(1/2) + log(3/10) = log(3/20). Second: log(1/2 * 3/10 * 1/3) = log(1/20)
    odds = torch.tensor([[1.0, 1, 2], [6, 3, 1], [1, 1, 1]])
    logits, ids = odds.log().expand(2, 3, 3), torch.tensor([[2, 1, 0], [2, 1, 0]])
    got = sequence_log_likelihood(logits, ids, torch.tensor([[1, 1, 0], [1, 1, 1]]))
    torch.testing.assert_close(got, torch.tensor([math.log(3 / 20), math.log(1 / 20)]))


@examples
@given(seed=st.integers(0, 10_000), whole=st.booleans())
def test_a_sequences_log_likelihood_is_the_loop_over_its_positions(seed, whole):
    logits, ids, mask = random_sequences(seed)
    if whole:
        ids, mask = ids.clamp(0, 4), torch.ones_like(mask)
    expected = torch.zeros(3, dtype=torch.float64)
    for row in range(3):
        for t in range(6):
            if mask[row, t]:
                odds = logits[row, t].exp()
                expected[row] += math.log(odds[ids[row, t]] / odds.sum())
    got = sequence_log_likelihood(logits, ids, mask)
    torch.testing.assert_close(got, expected)
    for other in (mask.long(), mask.double()):
        torch.testing.assert_close(sequence_log_likelihood(logits, ids.int(), other), got)


def test_left_and_right_padding_give_equal_scores():
    logits, ids, _ = random_sequences(1)
    ids = ids.clamp(0, 4)
    filler, blank = torch.full((3, 2, 5), 7.0).double(), torch.full((3, 2), -100)
    seen, off = torch.ones(3, 6), torch.zeros(3, 2)
    left = [torch.cat([pad, x], 1) for pad, x in ((filler, logits), (blank, ids), (off, seen))]
    right = [torch.cat([x, pad], 1) for pad, x in ((filler, logits), (blank, ids), (off, seen))]
    bare = sequence_log_likelihood(logits, ids, seen)
    torch.testing.assert_close(sequence_log_likelihood(*left), bare)
    torch.testing.assert_close(sequence_log_likelihood(*right), bare)


def test_a_row_with_nothing_in_its_mask_scores_zero():
    logits, ids, mask = random_sequences(2)
    mask[1] = False
    got = sequence_log_likelihood(logits, ids, mask)
    assert got[1] == 0 and got[0] < 0 and got[2] < 0
    assert sequence_log_likelihood(logits, ids, torch.zeros_like(mask)).tolist() == [0, 0, 0]
    assert sequence_log_likelihood(logits[:0], ids[:0], mask[:0]).shape == (0,)


@pytest.mark.parametrize("rubbish", [math.nan, math.inf, -math.inf, 1e300])
def test_what_stands_outside_the_mask_reaches_neither_the_value_nor_the_gradient(rubbish):
    logits, ids, mask = random_sequences(3)
    weak = torch.softmax(torch.randn_like(logits), -1)
    losses = {
        "likelihood": lambda z, p: sequence_log_likelihood(z, ids, mask).sum(),
        "distillation": lambda z, p: sequence_distillation_loss(z, p, mask, temperature=2.0),
    }
    for loss in losses.values():
        clean, dirty = logits.clone(), logits.masked_fill(~mask[..., None], rubbish)
        clean.requires_grad_()
        dirty.requires_grad_()
        stained = weak.masked_fill(~mask[..., None], rubbish)
        one, two = loss(clean, weak), loss(dirty, stained)
        assert one.item() == two.item()
        gradient = torch.autograd.grad(two, dirty)[0]
        torch.testing.assert_close(gradient, torch.autograd.grad(one, clean)[0])
        assert (gradient[~mask] == 0).all() and (gradient[mask] != 0).any(-1).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sequences_in_half_precision_are_computed_in_single_precision(dtype):
    logits, ids, mask = random_sequences(4, vocabulary=300)
    logits = logits.to(dtype)
    got = sequence_log_likelihood(logits, ids.clamp(max=299), mask)
    assert got.dtype == torch.float32
    exact = sequence_log_likelihood(logits.double(), ids.clamp(max=299), mask)
    torch.testing.assert_close(got.double(), exact, rtol=1e-6, atol=0)


def test_extreme_logits_give_finite_log_likelihoods_and_a_forbidden_token_none():
    logits = torch.tensor([[[1e4, -1e4, 0.0], [1e4, -1e4, -math.inf]]], requires_grad=True)
    ones = torch.ones(1, 2)
    got = sequence_log_likelihood(logits, torch.tensor([[0, 1]]), ones)
    assert got.tolist() == [-2e4]  # 0 for the sure token, -20,000 for the one it rules out
    assert torch.autograd.grad(got.sum(), logits)[0].isfinite().all()
    assert sequence_log_likelihood(logits, torch.tensor([[0, 2]]), ones).tolist() == [-math.inf]


@examples
@given(seed=st.integers(0, 10_000), temperature=st.floats(0.3, 10))
def test_distilling_sequences_is_distilling_their_masked_positions(seed, temperature):
    logits, _, mask = random_sequences(seed)
    mask[0, 0] = True
    weak = torch.softmax(torch.randn_like(logits), -1)
    got = sequence_distillation_loss(logits, weak, mask.int(), temperature=temperature)
    flat = distillation_loss(logits[mask], weak[mask], temperature=temperature)
    torch.testing.assert_close(got, flat)
    everywhere = sequence_distillation_loss(logits, weak, torch.ones_like(mask))
    torch.testing.assert_close(everywhere, distillation_loss(logits, weak).mean())


def test_distilling_a_certain_teacher_is_minus_the_mean_log_likelihood():
    logits, ids, mask = random_sequences(5)
    weak = functional.one_hot(ids.clamp(0, 4), 5)
    got = sequence_distillation_loss(logits, weak, mask)
    expected = -sequence_log_likelihood(logits, ids, mask).sum() / mask.sum()
    torch.testing.assert_close(got, expected)


# Both losses: extremes, precision, shapes


def both_losses(logits, weak):
    return [
        distillation_loss(logits, weak),
        distillation_loss(logits, weak, temperature=3.0),
        distillation_loss(logits, weak, temperature=0.05),
        confidence_loss(logits, weak, alpha=0.5),
    ]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_extreme_logits_and_certain_labels_stay_finite_with_their_gradients(dtype):
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4], [0.0, 0.0]], dtype=dtype, requires_grad=True)
    weak = torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.5, 0.5]], dtype=dtype)
    for loss in both_losses(logits, weak):
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.isfinite() and gradient.isfinite().all()
    # 20,000 nats for the first item, 0 for the second, log 2 for the third
    expected = (2 * float(logits[0, 0].detach()) + LOG2) / 3
    assert distillation_loss(logits, weak).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single_precision(dtype):
    logits, weak = (x.to(dtype) for x in random_batch(1, 64, 4))
    full = both_losses(logits.float(), weak.float() / weak.float().sum(-1, keepdim=True))
    for half, single in zip(both_losses(logits, weak), full, strict=True):
        assert half.dtype == torch.float32
        torch.testing.assert_close(half, single, rtol=1e-6, atol=0)
    assert soft_cross_entropy(logits, weak).dtype == torch.float32


def test_students_stacked_in_a_leading_dimension_are_independent():
    logits, weak = random_batch(2, 3, 20, 4)
    alpha = torch.tensor([0.0, 0.3, 1.0])
    stacked = confidence_loss(logits, weak, alpha=alpha)
    soft = distillation_loss(logits, weak, temperature=2.0)
    assert stacked.shape == soft.shape == (3,)
    for k in range(3):
        alone = confidence_loss(logits[k], weak[k], alpha=alpha[k].item())
        torch.testing.assert_close(stacked[k], alone)
        alone = distillation_loss(logits[k], weak[k], temperature=2.0)
        torch.testing.assert_close(soft[k], alone)
    shared = confidence_loss(logits, weak[0], alpha=0.5)
    torch.testing.assert_close(shared[2], confidence_loss(logits[2], weak[0], alpha=0.5))


@examples
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 4), shift=st.floats(-50, 50))
def test_relabelling_permuting_and_shifting_logits_change_no_loss(seed, classes, shift):
    # 12 items and a prior in twelfths: no quota is left to rounding
    logits, weak = random_batch(seed, 12, classes)
    prior = torch.bincount(torch.randint(classes, (12,)), minlength=classes).double() / 12
    names, order = torch.randperm(classes), torch.randperm(12)
    moved, new_weak = logits[order][:, names] + shift, weak[order][:, names]
    torch.testing.assert_close(
        distillation_loss(moved, new_weak, temperature=2.0),
        distillation_loss(logits, weak, temperature=2.0),
    )
    torch.testing.assert_close(
        confidence_loss(moved, new_weak, alpha=0.4, prior=prior[names]),
        confidence_loss(logits, weak, alpha=0.4, prior=prior),
    )


# Confidence


def test_the_confidence_loss_matches_the_hand_worked_value():
    # Student probabilities (3/4, 1/4), (1/2, 1/2), (1/4, 3/4), (1/10, 9/10); weak labels
    # (1, 0), (1/2, 1/2), (1, 0), (1/2, 1/2), of which class 1 has 1/4: one item of four, the last.
    # Weak term: (log(4/3) + log 2 + log 4 + (log 10 + log(10/9)) / 2) / 4
    # Own term, labels 0 0 0 1: (log(4/3) + log 2 + log 4 + log(10/9)) / 4
    logits = torch.tensor([[3.0, 1.0], [1.0, 1.0], [1.0, 3.0], [1.0, 9.0]]).log()
    weak = torch.tensor([[1.0, 0.0], [0.5, 0.5], [1.0, 0.0], [0.5, 0.5]])
    common = math.log(4 / 3) + math.log(2) + math.log(4)
    weak_term = (common + (math.log(10) + math.log(10 / 9)) / 2) / 4
    own_term = (common + math.log(10 / 9)) / 4
    for alpha in (0.0, 0.25, 1.0):
        expected = (1 - alpha) * weak_term + alpha * own_term
        loss = confidence_loss(logits, weak, alpha=alpha)
        assert loss.item() == pytest.approx(expected, rel=1e-6)
    # With half the items in class 1 the third one, at 3/4, moves over: log 4 becomes log(4/3)
    half = confidence_loss(logits, weak, alpha=1.0, prior=torch.tensor([0.5, 0.5]))
    assert half.item() == pytest.approx(own_term - LOG3 / 4, rel=1e-6)


def test_without_alpha_the_confidence_loss_is_distillation():
    for dtype in (torch.float64, torch.bfloat16):
        logits, weak = (x.to(dtype) for x in random_batch(3, 16, 3))
        torch.testing.assert_close(
            confidence_loss(logits, weak, alpha=0.0), distillation_loss(logits, weak)
        )


def test_no_gradient_flows_through_the_hard_labels_or_the_weak_ones():
    logits, weak = random_batch(4, 10, 2)
    logits.requires_grad_()
    weak.requires_grad_()
    (gradient,) = torch.autograd.grad(confidence_loss(logits, weak, alpha=0.3), logits)
    # Softmax minus the mixed target, over the batch: what a constant target gives
    target = 0.7 * weak + 0.3 * hardened(logits, weak.mean(0))
    torch.testing.assert_close(gradient, (torch.softmax(logits, -1) - target) / 10)
    assert not hardened(logits, weak.mean(0)).requires_grad
    assert not confidence_loss(logits.detach(), weak, alpha=0.3).requires_grad


# The hardened predictions


def test_the_items_that_lean_most_towards_class_one_get_it():
    # By class 1's lead: -3, 5, 1, 0. A threshold from the wrong tail would choose the first
    logits = torch.tensor([[3.0, 0.0], [0.0, 5.0], [-1.0, 0.0], [7.0, 7.0]])
    for share, ones in ((0.0, []), (0.25, [1]), (0.5, [1, 2]), (0.75, [1, 2, 3])):
        hard = hardened(logits, torch.tensor([1 - share, share]))
        assert hard[:, 1].nonzero().flatten().tolist() == ones
        assert hard.sum(-1).tolist() == [1] * 4


@examples
@given(
    seed=st.integers(0, 10_000),
    batch=st.integers(1, 40),
    share=st.floats(0, 1),
    levels=st.integers(1, 4),
)
def test_class_one_gets_its_rounded_share_even_among_ties(seed, batch, share, levels):
    torch.manual_seed(seed)
    logits = torch.randint(levels, (batch, 2)).float()
    prior = torch.tensor([1 - share, share], dtype=torch.float64)
    ones = hardened(logits, prior)[:, 1]
    assert abs(ones.sum().item() - share * batch) <= 0.5 + 1e-6
    lead = logits[:, 1] - logits[:, 0]
    if 0 < ones.sum() < batch:
        assert lead[ones == 1].min() >= lead[ones == 0].max()


def test_ties_go_to_class_one_in_order():
    hard = hardened(torch.zeros(5, 2), torch.tensor([0.6, 0.4]))
    assert hard[:, 1].tolist() == [1, 1, 0, 0, 0]


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_hardened_labels_are_the_best_assignment_with_these_counts(classes):
    from scipy.optimize import linear_sum_assignment

    logits, _ = random_batch(classes, 5, 60, classes)
    prior = torch.distributions.Dirichlet(torch.ones(5, classes).double()).sample()
    hard = hardened(logits, prior)
    for z, h, p in zip(logits, hard, prior, strict=True):
        counts = h.sum(0)
        assert h.sum(-1).eq(1).all() and ((counts - 60 * p).abs() < 1).all()
        columns = np.repeat(np.arange(classes), counts.int().numpy())
        rows, chosen = linear_sum_assignment(-z.numpy()[:, columns])
        best = z.numpy()[rows, columns[chosen]].sum()
        assert (h * z).sum().item() == pytest.approx(best, abs=1e-9)


def test_a_student_that_already_matches_the_prior_keeps_its_own_answers():
    logits, _ = random_batch(5, 90, 3)
    own = functional.one_hot(logits.argmax(-1), 3).double()
    torch.testing.assert_close(hardened(logits, own.mean(0)), own)


@pytest.mark.parametrize("scale", [0.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_quotas_of_several_classes_hold_for_tied_and_extreme_logits(scale, dtype):
    torch.manual_seed(0)
    logits = (scale * torch.randint(-1, 2, (10, 3))).to(dtype)
    hard = hardened(logits, torch.tensor([0.5, 0.3, 0.2]))
    assert hard.sum(0).tolist() == [5, 3, 2] and hard.sum(-1).tolist() == [1] * 10


# The warm-up


def test_the_warm_up_rises_on_a_straight_line_to_a_fifth_of_the_training():
    # 100 steps, 20 of warm-up: 0, 0.05, …, 1
    got = [warmup(step, 100) for step in range(100)]
    np.testing.assert_allclose(got, [min(1, step / 20) for step in range(100)])
    assert (got[0], got[10], got[20], got[99]) == (0, 0.5, 1, 1)


@examples
@given(steps=st.integers(2, 500), fraction=st.floats(0.05, 1))
def test_the_warm_up_never_jumps(steps, fraction):
    # One that follows step / steps and then switches to 1 jumps by 1 - fraction
    got = [warmup(step, steps, fraction=fraction) for step in range(steps + 1)]
    assert got[0] == 0 and got[-1] == 1
    rises = np.diff(got)
    assert rises.min() >= 0 and rises.max() <= 1 / (fraction * steps) + 1e-9


def test_without_a_warm_up_the_weight_is_on_from_the_first_step():
    assert [warmup(step, 10, fraction=0) for step in (0, 5, 10)] == [1, 1, 1]


@pytest.mark.parametrize(
    "step, steps, fraction", [(-1, 10, 0.2), (0, 0, 0.2), (0, 9, -0.1), (0, 9, 2)]
)
def test_a_warm_up_out_of_range_is_refused(step, steps, fraction):
    with pytest.raises(W2SError, match=f"step {step} of {steps} with fraction {fraction}"):
        warmup(step, steps, fraction=fraction)


# What the losses refuse

Z, P = torch.zeros(2, 2), torch.full((2, 2), 0.5)
Z3, P3 = torch.zeros(2, 4, 3), torch.ones(2, 4, 3) / 3
IDS = ON = torch.ones(2, 4, dtype=torch.int32)


@pytest.mark.parametrize(
    "call, told",
    [
        (lambda: distillation_loss(Z, torch.ones(3, 2) / 2), "(2, 2), weak_probs (3, 2)"),
        (lambda: distillation_loss(Z, torch.tensor([0, 1])), "(2, 2), weak_probs (2,)"),
        (lambda: distillation_loss(Z[0], P[0]), "logits have shape (2,)"),
        (lambda: distillation_loss(Z[:0], P[:0]), "logits have shape (0, 2)"),
        (lambda: distillation_loss(Z, P * 1.01), "sum of 1.01"),
        (lambda: distillation_loss(Z, P.log()), "least entry of -0.69"),
        (lambda: distillation_loss(Z, torch.tensor([[1.5, -0.5], [1, 0]])), "least entry of -0.5"),
        (lambda: distillation_loss(Z, P * torch.nan), "nan"),
        (lambda: distillation_loss(Z, P, temperature=0), "temperature is 0"),
        (lambda: distillation_loss(Z, P, temperature=-1.0), "temperature is -1.0"),
        (lambda: confidence_loss(Z, P[:, :1], alpha=0.5), "(2, 2), weak_probs (2, 1)"),
        (lambda: confidence_loss(Z, P * 2, alpha=0.5), "sum of 2"),
        (lambda: confidence_loss(Z, P, alpha=1.5), "alpha runs from 1.5 to 1.5"),
        (lambda: confidence_loss(Z, P, alpha=-0.1), "alpha runs from -0.1"),
        (lambda: confidence_loss(Z, P, alpha=torch.tensor([0.5, 2.0])), "alpha runs from 0.5 to 2"),
        (lambda: confidence_loss(Z, P, alpha=0.5, prior=torch.ones(3) / 3), "(2, 2), prior (3,)"),
        (
            lambda: confidence_loss(Z, P, alpha=0.5, prior=P[0] / 2),
            "prior has a least entry of 0.2",
        ),
        (lambda: hardened(Z, torch.tensor(0.5)), "(2, 2), prior ()"),
        (lambda: soft_cross_entropy(Z, P[:1]), "(2, 2), target (1, 2)"),
        (lambda: sequence_log_likelihood(Z3, IDS, ON[:, 1:]), "(2, 4, 3), mask (2, 3)"),
        (lambda: sequence_log_likelihood(Z3, IDS[:, 1:], ON), "int32 of shape (2, 3)"),
        (lambda: sequence_log_likelihood(Z3, IDS.float(), ON), "float32 of shape (2, 4)"),
        (lambda: sequence_log_likelihood(Z, IDS[:, :2], ON[:, :2]), "(2, 2), mask (2, 2)"),
        (lambda: sequence_log_likelihood(Z3, IDS, ON * 2), "other than 0 and 1"),
        (lambda: sequence_log_likelihood(Z3, IDS, ON / 2), "other than 0 and 1"),
        (lambda: sequence_log_likelihood(Z3, IDS, ON * torch.nan), "other than 0 and 1"),
        (lambda: sequence_log_likelihood(Z3, IDS * 3, ON), "target id 3 is in the mask, the voc"),
        (lambda: sequence_log_likelihood(Z3, IDS * -100, ON), "target id -100 is in the mask"),
        (lambda: sequence_distillation_loss(Z3, P3[:1], ON), "(2, 4, 3), weak_probs (1, 4, 3)"),
        (lambda: sequence_distillation_loss(Z3, P3[..., :1], ON), "weak_probs (2, 4, 1)"),
        (lambda: sequence_distillation_loss(Z3, P3, ON * 0), "no position is in the mask"),
        (lambda: sequence_distillation_loss(Z3, P3 * 2, ON), "sum of 2"),
        (lambda: sequence_distillation_loss(Z3, P3, ON, temperature=0), "temperature is 0"),
        (lambda: sequence_distillation_loss(Z3, P3, ON + 1), "other than 0 and 1"),
    ],
)
def test_bad_input_is_one_clear_line_with_the_numbers_that_disagree(call, told):
    with pytest.raises(W2SError) as caught:
        call()
    assert told in str(caught.value) and "\n" not in str(caught.value)
