"""How a strong student learns from a weak supervisor: one registered function a method.

It does not train: a method turns the supervisor's probabilities into targets and weights. Methods
follow Burns et al. 2023 (section 4.3, appendix A.4) and self-training with a prior-matched filter.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from w2s_lab.registry import Registry

METHODS: Registry = Registry("method")
TEMPERATURE = 2.0  # softens what the weak model says; the student itself is read at 1
# How much of each class's expected count a student is shown, round by round: the surest half
# first, then more, as the labels get better
KEEP = (0.5, 0.6, 0.75, 0.9)


@dataclass(frozen=True)
class Method:
    """A way to learn from weak labels.

    Attributes:
        teach: (probs, prior, round) → (target, weight); probs and target have shape
            (seeds, items, classes), weight (seeds, items), prior (classes,). In round 0 `probs` are
            the weak model's, afterwards the student's own.
        rounds: how often the student is trained anew on what it says itself.
        alpha: weight of the auxiliary confidence loss.
        rate: multiplies the learning rate.
        stops_early: keep the epoch that fits the weak labels of the validation groups best.
        middle: train a model of middle strength in round 0.
        committee: listen to several weak models, each fitted to a resample of the same gold labels.
    """

    name: str
    teach: Callable
    rounds: int = 1
    alpha: float = 0.0
    rate: float = 1.0
    stops_early: bool = False
    middle: bool = False
    committee: bool = False


def method(name: str, **traits) -> Callable:
    """Registers the decorated function as the method `name`; `traits` are `Method`'s."""

    def add(teach):
        METHODS[name] = Method(name, teach, **traits)
        return teach

    return add


def variant(name: str, **traits) -> Method:
    """A registered method with other traits, for example `variant("confidence", alpha=0.25)`."""
    label = ", ".join(f"{trait} {value:g}" for trait, value in traits.items())
    return replace(METHODS[name], name=f"{name} ({label})", **traits)


def balanced(classes: np.ndarray, count: int, *, among: np.ndarray | None = None) -> np.ndarray:
    """Weights (seeds, items) that let every class count alike; items outside `among` get 0.

    The score is balanced accuracy, so the loss is balanced too, for students and ceiling alike.
    """
    among = np.ones(classes.shape, bool) if among is None else among
    weight = np.zeros(classes.shape)
    for c in range(count):
        members = among & (classes == c)
        weight += members / np.maximum(members.sum(-1, keepdims=True), 1)
    return weight


def one_hot(classes: np.ndarray, count: int) -> np.ndarray:
    """Probabilities (..., classes) that are certain of the given classes (...)."""
    return np.eye(count)[classes]


@method("naive")
def naive(probs, prior, round):
    """The student imitates the weak model's hard labels."""
    labels = probs.argmax(-1)
    return one_hot(labels, len(prior)), balanced(labels, len(prior))


@method("soft")
def soft(probs, prior, round):
    """The student imitates the weak model's probabilities, softened by a temperature."""
    softened = probs ** (1 / TEMPERATURE)
    softened = softened / softened.sum(-1, keepdims=True)
    return softened, balanced(probs.argmax(-1), len(prior))


@method("confidence", alpha=0.75)
def confidence(probs, prior, round):
    """As naive, and most of the loss rewards the student for trusting itself."""
    return naive(probs, prior, round)


@method("filter")
def keep_confident(probs, prior, round, keep: Sequence[float] = KEEP):
    """The student sees only the labels the supervisor is surest of, class by class."""
    seeds, items, classes = probs.shape
    # an item that two classes would keep goes to the one that ranks it higher
    order = (-probs).argsort(1, kind="stable")  # of equally sure items the earlier
    rank = order.argsort(1) / np.maximum(prior * items, 1)  # (seeds, items, classes)
    labels = rank.argmin(-1)
    among = rank.min(-1) < keep[round]
    return one_hot(labels, classes), balanced(labels, classes, among=among)


@method("relabel", rounds=len(KEEP))
def relabel(probs, prior, round):
    """As filter; then the student relabels everything itself and learns again from more of it."""
    return keep_confident(probs, prior, round)


@method("bootstrap", rounds=2, middle=True)
def bootstrap(probs, prior, round):
    """A middle model learns from the weak one, and the strong student from the middle one."""
    return naive(probs, prior, round)


@method("climb", rounds=len(KEEP), middle=True)
def climb(probs, prior, round):
    """Relabel whose first student is the middle model: other features, so other errors."""
    return keep_confident(probs, prior, round)


@method("early stopping", stops_early=True)
def early_stopping(probs, prior, round):
    """As naive, but training ends where the weak labels of other agreements fit best."""
    return naive(probs, prior, round)


@method("ensemble", committee=True)
def ensemble(probs, prior, round):
    """As naive, from the mean vote of weak models fitted to resamples of the same gold labels."""
    return naive(probs, prior, round)
