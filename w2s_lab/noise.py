"""Weak supervisors made to order: gold labels with as many errors as wanted, of a wanted kind.

It does not model any real supervisor; it separates how often a teacher errs from how it errs.
Compare Burns et al. 2023, section 5.1: errors that a student can predict are errors it learns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from w2s_lab.data import Task
from w2s_lab.errors import W2SError
from w2s_lab.metrics import Estimate, bootstrap_difference, bootstrap_pgr, item_scores

KINDS = ("random", "systematic")
# A student of this size memorizes even random errors if it sees them a dozen times
EPOCHS = 4


@dataclass(frozen=True)
class NoiseDial:
    """What students recover from supervisors of equal accuracy, by rate and kind of error.

    Attributes:
        rates: share of wrong labels; the supervisor's own score is 1 − rate, up to rounding.
        pgr: by kind ("random", "systematic"), one for each rate.
        advantage: score of the student of random errors over that of systematic ones, paired, one
            for each rate.
    """

    rates: Sequence[float]
    pgr: Mapping[str, list[Estimate]]
    advantage: list[Estimate]


def noisy_labels(
    gold: np.ndarray, rate: float, kind: str, *, likeness: np.ndarray, seed: int
) -> np.ndarray:
    """Labels of two classes of which the share `rate` of each class is wrong, shape (items,).

    Args:
        gold: true classes 0 and 1, shape (items,).
        kind: "random" errs on items drawn by lot; "systematic" on those most alike.
        likeness: one number per item, shape (items,); systematic errors are the items with the
            highest numbers of their class, so whoever can see the number can predict the error.
    """
    order = np.random.default_rng(seed).random(len(gold)) if kind == "random" else likeness
    labels = gold.copy()
    for c in (0, 1):
        members = np.flatnonzero(gold == c)
        wrong = members[np.argsort(-order[members], kind="stable")][: round(rate * len(members))]
        labels[wrong] = 1 - c
    return labels


def noise_dial(
    task: Task, *, rates=(0.2, 0.3, 0.4), strong="minilm", seeds=5, device="auto"
) -> NoiseDial:
    """What a naive student recovers from supervisors of equal accuracy, by kind of error.

    All students, of both kinds, all rates and seeds, and their ceiling are one batched training of
    a few passes (`run` makes more). Raises W2SError where there are not two classes.
    """
    from w2s_lab.experiment import imitate

    if len(task.classes) != 2:
        raise W2SError(
            f"{len(task.classes)} classes", where="noise_dial", mend="give a task with two"
        )
    likeness = _likeness(task, device)
    told, settings = [task.gold] * seeds, [(kind, rate) for kind in KINDS for rate in rates]
    for kind, rate in settings:
        for seed in range(seeds):
            towards = likeness @ np.random.default_rng(seed).standard_normal(likeness.shape[1])
            labels = task.gold.copy()
            # split by split, for errors alike enough may all lie outside of what is shown or scored
            for index in (task.splits[name] for name in ("transfer", "test")):
                labels[index] = noisy_labels(
                    task.gold[index], rate, kind, likeness=towards[index], seed=seed
                )
            told.append(labels)
    labels = np.stack(told)
    answers = imitate(task, labels, strong=strong, device=device, epochs=EPOCHS).argmax(-1)
    test = task.splits["test"]
    resampling = {"strata": task.gold[test], "groups": task.groups[test]}

    def scores(predicted: np.ndarray, k: int) -> np.ndarray:
        rows = predicted[k * seeds : (k + 1) * seeds]
        return item_scores(rows, task.gold[test], task.metric)

    pgr: dict[str, list[Estimate]] = {kind: [] for kind in KINDS}
    for k, (kind, _) in enumerate(settings, 1):
        weak, student, ceiling = scores(labels[:, test], k), scores(answers, k), scores(answers, 0)
        pgr[kind].append(bootstrap_pgr(weak, student, ceiling, **resampling))
    advantage = [
        bootstrap_difference(scores(answers, k), scores(answers, k + len(rates)), **resampling)
        for k in range(1, 1 + len(rates))
    ]
    return NoiseDial(tuple(rates), pgr, advantage)


def _likeness(task: Task, device: str) -> np.ndarray:
    """Standardized leading components of the texts' mean word vectors, shape (items, 8)."""
    from w2s_lab.features import token_states
    from w2s_lab.models import trunk

    means = token_states(trunk("static", device=device), task.inputs, pool=True).flat
    means = means.astype(np.float32)
    means -= means.mean(0)
    _, axes = np.linalg.eigh(means.T @ means)
    leading = means @ axes[:, -8:]
    return leading / leading.std(0)
