"""Results of two models of which the small one passes on what it doubts, made of random numbers.

No model, no training: how often each model is right, and how sure the small one says it is, is set.
"""

import numpy as np

from w2s_lab.cascade import RULES, Answers, tempered
from w2s_lab.cascade_experiment import CascadeResult

COST = {
    "small": {"tokens": 120.0, "flops": 2e5, "seconds": 2e-5},
    "large": {"tokens": 120.0, "flops": 2.6e9, "seconds": 0.045},
}
METHODS = tuple(RULES)


def a_cascade_result(
    *, items=500, validation=500, seeds=3, seed=0, ceiling=0.93, classes=2, sharper=2.0, **changes
) -> CascadeResult:
    """The small model is right as often as it is sure, and says so `sharper` times too loudly.

    Its true chance of being right runs evenly from 1 / `classes` to 1, so it is right in 3 of 4
    cases with two classes; the large model is right with probability `ceiling` on any item.
    `changes` go to `CascadeResult`.
    """
    rng = np.random.default_rng(seed)
    counts = {"validation": validation, "test": items}
    gold = {split: rng.integers(classes, size=count) for split, count in counts.items()}
    eye = np.eye(classes, dtype=bool)

    def answers(sure, right, truth):
        """Probabilities of `sure` for gold where `right`, else for the class after it."""
        named = np.where(right, truth, (truth + 1) % classes)
        rest = ((1 - sure) / (classes - 1))[..., None]
        return np.where(eye[named], sure[..., None], rest)

    probs, large_probs, scores = {}, {}, {"small": {}, "large": {}}
    for split, truth in gold.items():
        sure = rng.uniform(1 / classes, 1, (seeds, len(truth)))
        honest = answers(sure, rng.random(sure.shape) < sure, truth)
        probs[split] = np.stack([tempered(said, 1 / sharper) for said in honest])
        right = rng.random(sure.shape) < ceiling
        large_probs[split] = answers(np.full(sure.shape, 0.95), right, truth)
        for role, said in (("small", probs), ("large", large_probs)):
            scores[role][split] = (said[split].argmax(-1) == truth).astype(float)

    def given(split, k):
        right = {f"{role}_right": scores[role][split][k] for role in scores}
        return Answers(probs[split][k], gold=gold[split], **right)

    confidence = {
        name: {
            split: np.stack(
                [RULES[name](given("validation", k), given(split, k), k) for k in range(seeds)]
            )
            for split in counts
        }
        for name in METHODS
    }
    return CascadeResult(
        **{
            "task": "queue",
            "size": "lab",
            "device": "cpu",
            "weak": "static",
            "strong": "minilm+",
            "seeds": seeds,
            "classes": tuple(f"class {k}" for k in range(classes)),
            "methods": METHODS,
            **scores,
            "probs": probs,
            "large_probs": large_probs,
            "confidence": confidence,
            "gold": gold,
            "groups": np.arange(items),
            "kinds": np.array([], str),
            "cost": COST,
            "seconds": 12.5,
            "provenance": {"source": "random numbers", "licences": {"MIT"}},
            **changes,
        }
    )


# Four items and one seed, to be worked out by hand
SURE = [0.9, 0.8, 0.7, 0.6]
SMALL, LARGE = [1, 1, 0, 0], [1, 1, 1, 1]
GOLD = [0, 1, 0, 1]
FEW = {
    "maximum probability": SURE,
    "bad": [0.6, 0.7, 0.8, 0.9],
    "random": [0.6, 0.9, 0.8, 0.7],
    "oracle": [0, 0, -1, -1],
}


def a_small_cascade_result(**changes) -> CascadeResult:
    """The four items above, validation and test alike; small scores 0.5, large 1, a query 1 and 10.

    Passing on one item after another gives, as shares of the gap of 0.5:
    maximum probability 0 0.5 1 1 1, bad 0 0 0 0.5 1, random 0 0 0.5 1 1, oracle 0 - 1 - 1.
    """
    predicted = np.where(np.array(SMALL) == 1, GOLD, 1 - np.array(GOLD))
    sure = np.array(SURE)[:, None]
    probs = np.where(np.eye(2, dtype=bool)[predicted], sure, 1 - sure)

    def both(values):
        return {split: np.array([values], float) for split in ("validation", "test")}

    return a_cascade_result(
        **{
            "items": 4,
            "validation": 4,
            "seeds": 1,
            "methods": tuple(FEW),
            "small": both(SMALL),
            "large": both(LARGE),
            "probs": both(probs),
            "large_probs": both(np.eye(2)[GOLD]),
            "gold": {split: np.array(GOLD) for split in ("validation", "test")},
            "confidence": {name: both(sure) for name, sure in FEW.items()},
            "cost": {
                "small": {"tokens": 5.0, "flops": 1.0, "seconds": 0.001},
                "large": {"tokens": 5.0, "flops": 10.0, "seconds": 0.02},
            },
            **changes,
        }
    )
