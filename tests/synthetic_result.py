"""Results made of random numbers, for the tests of what reports, draws and prints them.

No model, no training: how often each name is right, and right where the weak model errs, is set.
"""

import numpy as np

from w2s_lab.experiment import Result

# name: share right where the weak model is right, and where it is wrong
STUDENTS = {
    "naive": (0.93, 0.30),
    "soft": (0.90, 0.35),
    "confidence": (0.93, 0.45),
    "filter": (0.94, 0.60),
    "relabel": (0.95, 0.68),
    "early stopping": (0.86, 0.36),
}
BASELINES = {"bag of words": 0.90, "strong zero-shot": 0.80, "strong on gold labels": 0.78}
COST = {
    "weak": {"tokens": 135_000.0, "seconds": 0.62, "flops": 0.0},
    "strong": {"tokens": 135_000.0, "seconds": 44.6, "flops": 1.92e12},
}


def a_result(*, items=400, seeds=3, seed=0, weak=0.70, ceiling=0.95, **changes) -> Result:
    """A result of two classes with the students and baselines above; `changes` go to `Result`."""
    rng = np.random.default_rng(seed)
    gold = (rng.random(items) < 0.25).astype(int)
    groups = np.sort(rng.integers(items // 6 + 1, size=items))

    def answers(right):
        """Probabilities that favour gold with probability `right`."""
        hit = rng.random((seeds, items)) < right
        sure = rng.uniform(0.55, 0.98, (seeds, items))
        truth = np.where(hit, sure, 1 - sure)
        return np.where(gold[:, None] == [0, 1], truth[..., None], 1 - truth[..., None])

    probs = {"weak": answers(weak), "ceiling": answers(ceiling)}
    weak_right = probs["weak"].argmax(-1) == gold
    for name, (where_right, where_wrong) in STUDENTS.items():
        probs[name] = answers(np.where(weak_right, where_right, where_wrong))
    probs["majority"] = np.tile([1.0, 0.0], (seeds, items, 1))
    probs |= {name: answers(right) for name, right in BASELINES.items()}
    epochs = np.arange(1, 13)
    matched = 0.95 - 0.4 * np.exp(-epochs / 3)
    score = 0.83 - 0.2 * np.exp(-epochs) - 0.006 * epochs
    return Result(
        **{
            "task": "indemnity",
            "size": "lab",
            "device": "cpu",
            "weak": "static",
            "strong": "minilm",
            "labels": 16,
            "seeds": seeds,
            "metric": "balanced_accuracy",
            "classes": ("no indemnity", "indemnity"),
            "methods": tuple(STUDENTS),
            "baselines": ("majority", *BASELINES),
            "probs": probs,
            "gold": gold,
            "groups": groups,
            "kinds": np.array([], str),
            "test": np.arange(items),
            "pool": {"texts": 13_782, "no indemnity": 9_000.5, "indemnity": 4_781.5},
            "curves": {
                "naive": np.stack([matched, score], 1),
                "ceiling": np.stack([0.75 - 0 * matched, 0.95 - 0.3 * np.exp(-epochs / 2)], 1),
            },
            "cost": COST,
            "seconds": 12.5,
            "provenance": {"source": "random numbers", "split": None},
            **changes,
        }
    )


def a_small_result(**changes) -> Result:
    """Four items and one seed, to be worked out by hand; "good" and "bad" are the methods.

    gold 0 0 1 1; weak 0 1 1 0 scores 0.5; good 0 1 1 1 scores 0.75; bad 1 1 1 0 scores 0.25; the
    ceiling has all right and the bag of words 0 0 1 1 too; the majority class scores 0.5.
    """
    answers = {
        "weak": [0, 1, 1, 0],
        "ceiling": [0, 0, 1, 1],
        "bad": [1, 1, 1, 0],
        "good": [0, 1, 1, 1],
        "majority": [0, 0, 0, 0],
        "bag of words": [0, 0, 1, 1],
    }
    return a_result(
        **{
            "items": 4,
            "seeds": 1,
            "metric": "accuracy",
            "labels": 1,
            "methods": ("bad", "good"),
            "baselines": ("majority", "bag of words"),
            "probs": {name: np.eye(2)[[classes]] for name, classes in answers.items()},
            "gold": np.array([0, 0, 1, 1]),
            "groups": np.arange(4),
            **changes,
        }
    )
