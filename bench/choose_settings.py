"""How the settings of the methods were chosen: on validation groups, by weak labels alone.

The test split is replaced by the validation split before anything runs, so no test text is read;
gold of the validation groups is not used. A student is judged by how well it agrees, class by
class, with the half of the weak labels there that the weak model is surest of.

Run: python bench/choose_settings.py          (about ten minutes on 2 cores)
"""

from dataclasses import replace

import numpy as np

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


def agreement(task, seeds: int = 5) -> dict[str, float]:
    """Mean agreement of each candidate's students with the surest weak labels of validation."""
    blind = replace(task, splits={**task.splits, "test": task.splits["validation"]})
    result = w2s.run(blind, methods=candidates(), seeds=seeds)
    prior = np.bincount(task.gold[task.splits["supervise"]]) / len(task.splits["supervise"])
    target, weight = keep_confident(result.probs["weak"], prior, 0)
    return {
        name: float(
            np.mean(
                [
                    balanced_accuracy(student[sure], labels[sure])
                    for student, labels, sure in zip(
                        result.predicted(name), target.argmax(-1), weight > 0, strict=True
                    )
                ]
            )
        )
        for name in result.methods
    }


if __name__ == "__main__":
    task = w2s.load_task("indemnity", size="lab")
    found = [agreement(task.resplit(deal)) for deal in DEALS]
    print(f"{'setting':<28}agreement, mean over deals {DEALS}")
    for name in sorted(found[0], key=lambda name: -np.mean([f[name] for f in found])):
        each = " ".join(f"{f[name]:.3f}" for f in found)
        print(f"{name:<28}{np.mean([f[name] for f in found]):.3f}   ({each})")
