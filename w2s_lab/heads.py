"""Many small students on frozen token states, trained together as one batched tensor program.

It does not run the trunk. The head is attention pooling (Lin et al. 2017, section 2): each query
averages a text's tokens by softmax, and one linear layer reads the averages. No query at all is the
plain mean: a linear head.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from w2s_lab.features import States, batches_of_like_length
from w2s_lab.losses import confidence_target, soft_cross_entropy, warmup
from w2s_lab.progress import bar

BATCH = 64  # texts
QUERIES = 4
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-2
PREDICT_TOKENS = 8192  # padded tokens of one batch; its states stay in the processor's cache


@dataclass(frozen=True)
class Lessons:
    """What K students are told about n texts.

    Attributes:
        target: probabilities to be matched, shape (students, items, classes).
        weight: how much each text counts, shape (students, items); 0 leaves it out.
        alpha: weight of the student's own hardened predictions, shape (students,).
        prior: class shares that those predictions are hardened to, shape (students, classes).
        seed: of the head's first weights, shape (students,).
        rate: multiplies the learning rate, shape (students,) or one number for all.
    """

    target: np.ndarray
    weight: np.ndarray
    alpha: np.ndarray
    prior: np.ndarray
    seed: np.ndarray
    rate: np.ndarray | float = 1.0

    @property
    def rates(self) -> np.ndarray:
        """`rate` of each student, shape (students,)."""
        return np.full(self.seed.shape, self.rate, float)

    @staticmethod
    def stack(many: "list[Lessons]") -> "Lessons":
        """All students of several lessons, one after another."""
        columns = ("target", "weight", "alpha", "prior", "seed", "rates")
        return Lessons(*(np.concatenate([getattr(one, c) for one in many]) for c in columns))


class Inputs:
    """Token states ready for training: standardized and, if asked for, rotated to fewer dims.

    Args:
        states: of all items.
        fit: items whose tokens set mean, deviation and rotation; leave test items out.
        dim: principal components to keep; None keeps every dimension.
    """

    def __init__(self, states: States, fit: np.ndarray, *, dim: int | None, device: str):
        flat = torch.from_numpy(states.flat).to(device, torch.float32, copy=True)
        rows = np.concatenate([np.arange(*states.offsets[i : i + 2]) for i in fit])
        sample = flat[torch.from_numpy(rows).to(device)]
        self.mean, self.deviation, self.axes = sample.mean(0), sample.std(0) + 1e-6, None
        if dim and dim < flat.shape[1]:
            sample = (sample - self.mean) / self.deviation
            values, axes = torch.linalg.eigh(sample.T @ sample / len(sample))
            self.axes = axes[:, -dim:] / values[-dim:].mean().sqrt()
        self._take(states, flat)

    def _take(self, states: States, flat: torch.Tensor) -> None:
        flat = flat.sub_(self.mean).div_(self.deviation)
        self.flat = flat if self.axes is None else flat @ self.axes
        self.dim, self.offsets, self.lengths = self.flat.shape[1], states.offsets, states.lengths

    def like_these(self, states: States) -> "Inputs":
        """Other texts' states, with the scale and rotation of these ones."""
        others = copy.copy(self)
        others._take(states, torch.from_numpy(states.flat).to(self.mean, copy=True))
        return others

    def batch(self, items: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """States and mask of some items: (batch, tokens, dim) and (batch, tokens)."""
        lengths = self.lengths[items]
        steps = np.arange(lengths.max())
        rows = self.offsets[items][:, None] + np.minimum(steps, lengths[:, None] - 1)
        mask = torch.from_numpy(steps < lengths[:, None]).to(self.flat.device)
        rows = torch.from_numpy(rows.ravel()).to(self.flat.device)
        return self.flat.index_select(0, rows).view(len(items), len(steps), -1), mask


class Heads(torch.nn.Module):
    """K heads over states of `dim` dimensions; logits of all of them in one call.

    Args:
        seeds: one per head; a head's first weights depend on its own seed alone.
        queries: 0 makes linear heads on the mean state.
    """

    def __init__(self, seeds: np.ndarray, dim: int, classes: int, queries: int):
        super().__init__()
        self.heads, self.queries, self.dim = len(seeds), queries, dim
        width = max(1, queries) * dim
        made = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
        first = [torch.randn(dim, queries, generator=g) * dim**-0.5 for g in made]
        last = [torch.randn(width, classes, generator=g) * 0.01 for g in made]
        self.query = torch.nn.Parameter(torch.stack(first, 1))  # (dim, heads, queries)
        self.weight = torch.nn.Parameter(torch.stack(last))  # (heads, width, classes)
        self.bias = torch.nn.Parameter(torch.zeros(self.heads, 1, classes))

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logits (heads, batch, classes) for states (batch, tokens, dim) and their mask."""
        batch, tokens, dim = states.shape
        if self.queries:
            pooled = _Attend.apply(self.query.reshape(dim, -1), states, mask)
            pooled = pooled.view(batch, self.heads, -1).transpose(0, 1)
        else:
            mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            pooled = mean.expand(self.heads, batch, dim)
        return torch.bmm(pooled, self.weight) + self.bias

    @torch.inference_mode()
    def predict(self, inputs: Inputs, items: np.ndarray) -> np.ndarray:
        """Class probabilities, float array (heads, items, classes)."""
        probs = np.empty((self.heads, len(items), self.bias.shape[-1]), np.float32)
        for batch in batches_of_like_length(inputs.lengths[items], PREDICT_TOKENS):
            probs[:, batch] = self(*inputs.batch(items[batch])).softmax(-1).cpu().numpy()
        return probs


class _Attend(torch.autograd.Function):
    """Attention pooling with its gradient written out, for queries alone: states are frozen.

    What autograd would do besides, a copy for the mask and one for its gradient, took a quarter of
    a training step.
    """

    @staticmethod
    def forward(ctx, query, states, mask):
        """Means (batch, queries, dim) by queries (dim, queries) of states (batch, tokens, dim)."""
        batch, tokens, dim = states.shape
        score = (states.reshape(-1, dim) @ query).view(batch, tokens, -1)
        score += torch.zeros_like(mask, dtype=score.dtype).masked_fill_(~mask, -1e4)[..., None]
        share = score.softmax(1)  # (batch, tokens, queries)
        pooled = torch.bmm(share.transpose(1, 2), states)
        ctx.save_for_backward(states, share, pooled)
        return pooled

    @staticmethod
    def backward(ctx, d_pooled):
        states, share, pooled = ctx.saved_tensors
        d_score = torch.bmm(states, d_pooled.transpose(1, 2))
        # softmax: d_score = share * (d_share - sum over tokens of share * d_share), and that sum
        # is the product of what came out with its gradient
        d_score -= (d_pooled * pooled).sum(-1)[:, None]
        d_score *= share
        flat = states.reshape(-1, states.shape[-1])
        return flat.T @ d_score.view(len(flat), -1), None, None


def train(
    inputs: Inputs,
    items: np.ndarray,
    lessons: Lessons,
    *,
    epochs: int,
    batch: int = BATCH,
    queries: int = QUERIES,
    order_seed: int = 0,
    after_epoch: Callable[[int, Heads], None] | None = None,
    desc: str = "students",
) -> Heads:
    """K trained heads; all see the same batches, each with its own targets and weights.

    Args:
        inputs: states of all items.
        items: the n items to train on, in the order of the columns of `lessons`.
        lessons: targets, weights, alphas, seeds and learning rates of the K heads.
        epochs: passes over the items.
        batch: texts in one step.
        after_epoch: called with the number of epochs done and the heads, for curves and stopping.
    """
    device = inputs.flat.device
    target = torch.as_tensor(lessons.target, dtype=torch.float32, device=device)
    weight = torch.as_tensor(lessons.weight, dtype=torch.float32, device=device)
    weight = weight / weight.mean(1, keepdim=True)
    alpha = torch.as_tensor(lessons.alpha, dtype=torch.float32, device=device)
    prior = torch.as_tensor(lessons.prior, dtype=torch.float32, device=device)
    rate = torch.as_tensor(lessons.rates, dtype=torch.float32, device=device)
    heads = Heads(lessons.seed, inputs.dim, target.shape[-1], queries).to(device)
    optimizer = torch.optim.AdamW(
        heads.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True
    )
    rng = np.random.default_rng(order_seed)
    steps, step = epochs * -(-len(items) // batch), 0
    with bar(None, desc, steps, unit="step") as seen:
        for epoch in range(epochs):
            for chosen in _shuffled(inputs.lengths[items], batch, rng):
                logits = heads(*inputs.batch(items[chosen]))
                wanted = target[:, chosen]
                if alpha.any():
                    trust = alpha * warmup(step, steps)
                    wanted = confidence_target(logits, wanted, alpha=trust, prior=prior)
                loss = (weight[:, chosen] * soft_cross_entropy(logits, wanted)).mean(1).sum()
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                for group in optimizer.param_groups:
                    group["lr"] = LEARNING_RATE * (1 - step / steps)
                _step(optimizer, heads, rate)
                step += 1
                seen.update()
            if after_epoch:
                after_epoch(epoch + 1, heads)
    return heads


def _step(optimizer, heads: Heads, rate: torch.Tensor) -> None:
    """One step of each head at its own learning rate, times that of the optimizer.

    AdamW's step is proportional to the learning rate, its weight decay included (Loshchilov and
    Hutter 2019, algorithm 2), so each head goes its own share of the common way.
    """
    if (rate == 1).all():
        optimizer.step()
        return
    before = [p.detach().clone() for p in heads.parameters()]
    optimizer.step()
    with torch.no_grad():
        for p, old in zip(heads.parameters(), before, strict=True):
            share = rate[None, :, None] if p is heads.query else rate[:, None, None]
            p.copy_(old.lerp(p, share))


def _shuffled(lengths: np.ndarray, batch: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Batches in random order, each of like lengths: shuffled, then sorted within a few batches."""
    order = rng.permutation(len(lengths))
    stretch = 6 * batch
    parts = [order[i : i + stretch] for i in range(0, len(order), stretch)]
    order = np.concatenate([part[np.argsort(lengths[part], kind="stable")] for part in parts])
    batches = [order[i : i + batch] for i in range(0, len(order), batch)]
    rng.shuffle(batches)
    return batches
