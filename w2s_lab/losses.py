"""The objectives a student is trained with, as pure functions of tensors.

They hold no state, no schedule and no model: who trains passes logits and the weak model's labels.
Distillation is Hinton et al. 2015, the confidence loss Burns et al. 2023 (appendix A.4).
"""

import math

import torch
from torch import Tensor

from w2s_lab.errors import W2SError

# A few sweeps settle three classes, ten settle twenty; further ones change nothing
SWEEPS = 10


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of each item from the distribution `target`, shape (..., batch), in nats.

    Args:
        logits: (..., batch, classes); half precision is raised to float32.
        target: probabilities, (..., batch, classes), leading dimensions broadcast.
    """
    _agree(logits, target, "target", 2)
    log_probs = torch.log_softmax(_widened(logits), dim=-1)
    return -(target.to(log_probs.dtype) * log_probs).sum(-1)


def distillation_loss(
    student_logits: Tensor, weak_probs: Tensor, *, temperature: float = 1.0
) -> Tensor:
    """Cross-entropy from the weak model's softened labels, a scalar in nats.

    T² · mean over the batch of −Σ_c softmax(log p / T)_c · log softmax(z / T)_c. The factor T²
    keeps the gradient's size independent of T. The least value is T² times the mean entropy of the
    softened labels, not 0: the loss differs from T² · KL(weak ‖ student) by that constant, so the
    gradients are the same. With T = 1 and one-hot labels it is the usual cross-entropy.

    Args:
        student_logits: z, (batch, classes); leading dimensions (..., batch, classes) give a loss
            of shape (...), one for each student.
        weak_probs: p, the weak model's probabilities, of the same shape (leading dimensions
            broadcast). No gradient flows into them.
        temperature: T > 0; above 1 flattens both distributions.

    Raises:
        W2SError: shapes that disagree, labels that are no distribution, temperature <= 0.

    Source: Hinton, Vinyals and Dean 2015, section 2.
    """
    if not 0 < temperature < math.inf:
        raise W2SError(f"temperature is {temperature}", mend="choose a finite one above 0")
    _agree(student_logits, weak_probs, "weak_probs", 2)
    target = _distribution(weak_probs, "weak_probs")
    target = torch.softmax(target.log() / temperature, dim=-1)
    loss = soft_cross_entropy(_widened(student_logits) / temperature, target)
    return temperature**2 * loss.mean(-1)


def sequence_log_likelihood(logits: Tensor, target_ids: Tensor, mask: Tensor) -> Tensor:
    """Log-likelihood of each row's target, shape (batch,), in nats: a sum over masked positions.

    ALIGNED: `logits[:, t]` has to predict `target_ids[:, t]`. A causal model's output at position
    t predicts the token at t + 1, so pass `logits[:, :-1]` with `ids[:, 1:]`. A row with nothing in
    the mask gets 0.

    Args:
        logits: (batch, tokens, vocabulary); half precision is raised to float32.
        target_ids: whole numbers, (batch, tokens). Outside the mask they may hold anything, and so
            may the logits there: neither the sum nor its gradient sees them.
        mask: 1 or True where a token counts, 0 or False elsewhere, (batch, tokens).

    Raises:
        W2SError: shapes that disagree, a mask of other values, an id in the mask that is no token.
    """
    chosen = _positions(logits, mask)
    if target_ids.shape != mask.shape or target_ids.is_floating_point():
        raise W2SError(
            f"target_ids are {target_ids.dtype} of shape {tuple(target_ids.shape)}",
            mend=f"pass whole numbers of shape {tuple(mask.shape)}",
        )
    ids, vocabulary = target_ids[chosen].long(), logits.shape[-1]
    strange = ids[(ids < 0) | (ids >= vocabulary)]
    if len(strange):
        raise W2SError(
            f"target id {strange[0].item()} is in the mask, the vocabulary has {vocabulary} tokens",
            mend="leave it out of the mask, or use the model's own tokenizer",
        )
    kept = _widened(_at(logits, chosen))
    lost = torch.nn.functional.cross_entropy(kept, ids, reduction="none")
    return -lost.new_zeros(mask.shape).masked_scatter(chosen, lost).sum(-1)


def sequence_distillation_loss(
    student_logits: Tensor, weak_probs: Tensor, mask: Tensor, *, temperature: float = 1.0
) -> Tensor:
    """`distillation_loss` over the masked positions, a scalar in nats per token.

    Each position counts alike, however long its row. With T = 1 and one-hot `weak_probs` it is
    minus the mean log-likelihood of those tokens.

    Args:
        student_logits: (batch, tokens, vocabulary).
        weak_probs: the weak model's next-token probabilities at the same positions, same shape and
            same vocabulary. No gradient flows into them.
        mask: 1 or True where a token counts, 0 or False elsewhere, (batch, tokens). Outside it
            anything may stand in the other two.
        temperature: T > 0; above 1 flattens both distributions.

    Raises:
        W2SError: shapes that disagree, an empty mask, what `distillation_loss` refuses.

    Source: Kim and Rush 2016, section 3.1 (word-level knowledge distillation).
    """
    chosen = _positions(student_logits, mask)
    _agree(student_logits, weak_probs, "weak_probs", 3)
    if not chosen.any():
        raise W2SError("no position is in the mask", mend="mark the target's tokens")
    student, weak = _at(student_logits, chosen), _at(weak_probs, chosen)
    return distillation_loss(student, weak, temperature=temperature)


def confidence_loss(
    student_logits: Tensor,
    weak_probs: Tensor,
    *,
    alpha: float | Tensor,
    prior: Tensor | None = None,
) -> Tensor:
    """Cross-entropy from the weak labels mixed with the student's own hard ones, a scalar in nats.

    (1 − alpha) · CE(student, weak_probs) + alpha · CE(student, hardened(student, prior)). The
    second term rewards the student for being sure of what it believes already, which lets it
    overrule the weak model. No gradient flows through the hardened predictions.

    Args:
        student_logits: (batch, classes); leading dimensions (..., batch, classes) give a loss of
            shape (...), one for each student.
        weak_probs: the weak model's probabilities, of the same shape (leading dimensions
            broadcast). No gradient flows into them.
        alpha: weight of the student's own predictions in [0, 1], a float or a tensor of shape
            (...). See `warmup`: a student that has just begun has no opinion worth keeping.
        prior: share of each class among the hardened predictions, (classes,) or (..., classes);
            the batch mean of `weak_probs` when left out.

    Raises:
        W2SError: shapes that disagree, labels or prior that are no distribution, alpha outside
            [0, 1].

    Source: Burns et al. 2023, section 4.3 and appendix A.4.
    """
    _agree(student_logits, weak_probs, "weak_probs", 2)
    target = _distribution(weak_probs, "weak_probs")
    alpha = torch.as_tensor(alpha, dtype=torch.float32, device=student_logits.device)
    if not bool(((alpha >= 0) & (alpha <= 1)).all()):
        least, most = alpha.min().item(), alpha.max().item()
        raise W2SError(f"alpha runs from {least:g} to {most:g}", mend="keep it within [0, 1]")
    prior = target.mean(-2) if prior is None else prior
    mixed = confidence_target(student_logits, target, alpha=alpha, prior=prior)
    return soft_cross_entropy(student_logits, mixed).mean(-1)


def confidence_target(
    student_logits: Tensor, weak_probs: Tensor, *, alpha: Tensor, prior: Tensor
) -> Tensor:
    """What `confidence_loss` pulls the student towards: weak labels mixed with its own hard ones.

    Cross-entropy is linear in its target, so one cross-entropy from the mixture is the mixture of
    two. Shapes are those of `confidence_loss`; `alpha` has shape (...).
    """
    share = alpha[..., None, None].to(weak_probs.dtype)
    return (1 - share) * weak_probs + share * hardened(student_logits, prior).to(weak_probs.dtype)


@torch.no_grad()
def hardened(student_logits: Tensor, prior: Tensor) -> Tensor:
    """One-hot predictions (..., batch, classes) with the class counts of `prior`, no gradient.

    Class c gets prior_c · batch items, rounded by largest remainder. With two classes class 1 gets
    those that lean most towards it, as with a threshold at that quantile; of equal ones, the
    earlier. With more classes a threshold becomes one offset per class: sweep over the classes,
    moving each offset to where its class beats the others on exactly its quota. This is coordinate
    descent on the dual of "the assignment of largest total log-probability with these counts".
    (Matching the mean softmax to the prior instead would leave a class that is often second but
    never first without an item.) Any rest that ties leave goes by quota, the last class first.

    Args:
        student_logits: (..., batch, classes).
        prior: share of each class, (classes,) or (..., classes), leading dimensions broadcast.

    Raises:
        W2SError: shapes that disagree, an empty batch, a prior that is no distribution.

    Source: Burns et al. 2023, appendix A.4 (two classes).
    """
    _agree(student_logits, prior, "prior", 1)
    logits = _widened(student_logits)
    *leading, batch, classes = logits.shape
    counts = _quotas(_distribution(prior, "prior").double() * batch, batch)
    counts = counts.expand(*leading, classes)
    if classes > 2:
        logits = logits.clone()
        for c in list(range(classes)) * SWEEPS:
            logits[..., c] -= _winning_line(_lead(logits, c, classes), counts[..., c : c + 1])
    hard = torch.zeros_like(logits)
    free = torch.ones(*leading, batch, dtype=torch.bool, device=logits.device)
    for c in range(classes - 1, 0, -1):
        lead = _lead(logits, c, c).masked_fill(~free, -torch.inf)
        order = lead.argsort(dim=-1, descending=True, stable=True)
        first = torch.arange(batch, device=logits.device) < counts[..., c : c + 1]
        taken = torch.zeros_like(free).scatter(-1, order, first)
        hard[..., c] = taken
        free &= ~taken
    hard[..., 0] = free
    return hard


def warmup(step: int, steps: int, *, fraction: float = 0.2) -> float:
    """How much of an auxiliary weight is on at `step` of `steps`, in [0, 1].

    0 at step 0, on a straight line to 1 at `fraction` of the steps, 1 from there on; always 1
    where `fraction` is 0. Raises W2SError for a negative step, no steps, a fraction outside [0, 1].

    Source: Burns et al. 2023, appendix A.4 (the first 20 % of training).
    """
    if step < 0 or steps < 1 or not 0 <= fraction <= 1:
        what = f"no warm-up for step {step} of {steps} with fraction {fraction}"
        raise W2SError(what, mend="step >= 0, steps >= 1 and a fraction in [0, 1] are needed")
    ramp = fraction * steps
    return 1.0 if step >= ramp else step / ramp


def _quotas(exact: Tensor, batch: int) -> Tensor:
    """Whole numbers that sum to `batch`, each less than 1 from `exact` (..., classes)."""
    counts = exact.floor()
    missing = batch - counts.sum(-1, keepdim=True)
    rank = (counts - exact).argsort(dim=-1, stable=True).argsort(dim=-1)
    return (counts + (rank < missing)).long()


def _lead(logits: Tensor, c: int, rivals: int) -> Tensor:
    """By how much class `c` beats the best other class below `rivals`, shape (..., batch)."""
    others = torch.cat([logits[..., :c], logits[..., c + 1 : rivals]], dim=-1)
    return logits[..., c] - others.amax(-1)


def _winning_line(lead: Tensor, count: Tensor) -> Tensor:
    """The lead (..., 1) that `count` items exceed, halfway between the two items beside it."""
    lead = lead.sort(dim=-1, descending=True).values
    lead = torch.cat([lead[..., :1] + 2, lead, lead[..., -1:] - 2], dim=-1)
    return (lead.gather(-1, count) + lead.gather(-1, count + 1)) / 2


def _widened(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _distribution(probs: Tensor, name: str) -> Tensor:
    """`probs` as constants that sum to one exactly; W2SError where they are no distribution."""
    # Rounding to bfloat16 may move a sum by 0.4 %; single precision is allowed a thousandth
    slack = max(1e-3, torch.finfo(probs.dtype).eps) if probs.is_floating_point() else 0.0
    probs = _widened(probs.detach())
    total = probs.sum(-1, keepdim=True)
    least, worst = probs.min().item(), total.flatten()[(total - 1).abs().argmax()].item()
    if not (least >= 0 and abs(worst - 1) <= slack):
        raise W2SError(
            f"{name} has a least entry of {least:g} and a sum of {worst:g}",
            mend="pass probabilities: none below 0, sum 1 over the classes",
        )
    return probs / total


def _positions(logits: Tensor, mask: Tensor) -> Tensor:
    """`mask` as booleans; W2SError unless it is 0 or 1 over the positions of `logits`."""
    if logits.ndim != 3 or mask.shape != logits.shape[:2]:
        raise W2SError(
            f"logits have shape {tuple(logits.shape)}, mask {tuple(mask.shape)}",
            mend="they are (batch, tokens, vocabulary) and (batch, tokens)",
        )
    chosen = mask == 1
    if not bool((chosen | (mask == 0)).all()):
        raise W2SError(
            "the mask holds values other than 0 and 1", mend="1 where a token counts, 0 elsewhere"
        )
    return chosen


def _at(values: Tensor, chosen: Tensor) -> Tensor:
    """The chosen positions' rows, (positions, vocabulary); not copied where all are chosen.

    Multiplying by the mask instead would let a nan outside it into the gradient: 0 * nan is nan.
    """
    return values.flatten(0, 1) if bool(chosen.all()) else values[chosen]


def _agree(logits: Tensor, other: Tensor, name: str, dims: int) -> None:
    """W2SError unless the last `dims` dimensions are the same and there is a batch at all."""
    if logits.ndim < 2 or not logits.numel() or logits.shape[-dims:] != other.shape[-dims:]:
        raise W2SError(
            f"logits have shape {tuple(logits.shape)}, {name} {tuple(other.shape)}",
            mend=f"logits are (..., batch, classes), not empty, the last {dims} sizes in common",
        )
