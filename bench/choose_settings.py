"""Two ways to choose the methods' settings without gold: on validation groups, by weak labels.

The validation split stands in for the test split before anything runs, so nothing is fitted to or
scored on test texts, and gold of the validation groups is not used. A setting is judged by

- imitation: how well its students match, class by class, the surest half of the weak labels;
- consistency: how well its students, each taught by another weak model, agree with one another
  (Cohen's kappa, mean over pairs). What they owe to their own supervisor they do not share.

Imitation prefers, as one would expect, whatever imitates most. The rule is therefore consistency.
Relabel and climb share one schedule, the one that the better of the two prefers.

Run: python bench/choose_settings.py          (about five minutes on 2 cores)
"""

from dataclasses import replace
from itertools import combinations

import numpy as np
from sklearn.metrics import cohen_kappa_score

import w2s_lab as w2s
from w2s_lab.methods import METHODS, Method, keep_confident, variant
from w2s_lab.metrics import balanced_accuracy

DEALS = (0, 1, 2, 3)
ALPHAS = (0.25, 0.5, 0.75)
SCHEDULES = {
    "always half": (0.5, 0.5, 0.5, 0.5),
    "half to 0.9": (0.5, 0.6, 0.75, 0.9),
    "0.75 to 0.9": (0.75, 0.8, 0.85, 0.9),
    "everything": (1.0, 1.0, 1.0, 1.0),
}


def candidates() -> list[Method]:
    """The settings to choose from."""
    made = [variant("confidence", alpha=alpha) for alpha in ALPHAS]
    for name, keep in SCHEDULES.items():

        def teach(probs, prior, round, keep=keep):
            return keep_confident(probs, prior, round, keep)

        for base in ("relabel", "climb"):
            made.append(replace(METHODS[base], name=f"{base}, {name}", teach=teach))
    return made


def judged(task, seeds: int = 5) -> dict[str, tuple[float, float]]:
    """(imitation, consistency) of each candidate on the validation groups."""
    blind = replace(task, splits={**task.splits, "test": task.splits["validation"]})
    result = w2s.run(blind, methods=candidates(), seeds=seeds)
    prior = np.bincount(task.gold[task.splits["supervise"]]) / len(task.splits["supervise"])
    target, weight = keep_confident(result.probs["weak"], prior, 0)
    found = {}
    for name in result.methods:
        students = result.predicted(name)
        imitation = [
            balanced_accuracy(student[sure], labels[sure])
            for student, labels, sure in zip(students, target.argmax(-1), weight > 0, strict=True)
        ]
        consistency = [cohen_kappa_score(a, b) for a, b in combinations(students, 2)]
        found[name] = (float(np.mean(imitation)), float(np.mean(consistency)))
    return found


if __name__ == "__main__":
    task = w2s.load_task("indemnity", size="lab")
    found = [judged(task.resplit(deal)) for deal in DEALS]
    mean = {name: np.mean([f[name] for f in found], axis=0) for name in found[0]}
    print(f"mean over deals {DEALS}, by consistency")
    print(f"{'setting':<28}imitation  consistency")
    for name in sorted(mean, key=lambda name: -mean[name][1]):
        each = " ".join(f"{f[name][1]:.2f}" for f in found)
        print(f"{name:<28}{mean[name][0]:.3f}      {mean[name][1]:.3f}   ({each})")
