"""Results in which a weak model chose the data, made of random numbers, for the same tests.

No model, no training: how good each choice is is set, and so is what it kept.
"""

import numpy as np

from w2s_lab.filter_experiment import FilterResult
from w2s_lab.filter_protocol import offered

# name: log-likelihood per token on average, over seeds and test texts
LEVELS = {
    "likely": -3.25,
    "middle": -3.05,
    "n-gram": -2.95,
    "classifier": -2.9,
    "random": -3.1,
    "oracle": -2.8,
    "untouched": -3.6,
    "all data": -2.7,
}
METHODS = ("likely", "middle", "n-gram", "classifier")
BOUNDS = {"random": "chance", "oracle": "one who knows"}  # who judges there
BY = {
    **BOUNDS,
    "likely": "",
    "middle": "",
    "n-gram": "pairs of words",
    "classifier": "classifier\non embeddings",
}
ONCE = ("untouched", "all data")  # no seed plays a part
CLEAN = ("clean", "clean: formulas", "clean: medical", "clean: rare words")
DIRT = ("code", "near-duplicate", "shuffled", "table")
# share of the clean documents among those kept
TASTE = {
    "likely": 0.25,
    "middle": 0.5,
    "n-gram": 0.7,
    "classifier": 0.9,
    "random": 0.35,
    "oracle": 1.0,
}
FACTS = {
    "weak_on_test": -3.9,
    "epochs": 1,
    "shortlist": 4000,
    "flops": {"weak scores": 5e12, "one student": 1.6e12, "all data": 8e12},
    "seconds": {"weak": 12.0, "students": 80.0},
}


def a_filter_result(*, documents=80, items=48, seeds=3, seed=0, **changes) -> FilterResult:
    """A result of the levels above; `changes` go to `FilterResult`."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(0, 0.3, items)  # a text is as hard for one as for another
    numbers = {
        name: level + hard + rng.normal(0, 0.04, (1 if name in ONCE else seeds, items))
        for name, level in LEVELS.items()
    }
    kinds = np.array([(*CLEAN, *DIRT)[i % 8] for i in range(documents)])
    clean = np.isin(kinds, CLEAN)
    kept: dict[str, list[np.ndarray]] = {}
    for name, share in TASTE.items():
        chance = np.where(clean, share, 1 - share) / documents * 2
        kept[name] = []
        for here in (offered(documents, s) for s in range(seeds)):
            of_all = chance[here] / chance[here].sum()
            kept[name].append(rng.choice(here, documents // 5, replace=False, p=of_all))
    judged = {name: rng.normal(3 - clean, 0.5) for name in ("nll", *METHODS)}
    return FilterResult(
        **{
            "task": "corpus",
            "size": "lab",
            "device": "cpu",
            "weak": "smollm2:22",
            "strong": "smollm2",
            "labels": 164,
            "seeds": seeds,
            "fraction": 0.25,
            "methods": METHODS,
            "by": BY,
            "distil": dict.fromkeys(METHODS, 0.0),
            "numbers": numbers,
            "kept": kept,
            "judged": judged,
            "texts": np.array([f"document {i} of {k}" for i, k in enumerate(kinds)], object),
            "kinds": kinds,
            "clean": clean,
            "tokens": rng.integers(40, 90, documents),
            "groups": np.arange(items) // 3,
            "test_kinds": np.array([CLEAN[i % 4] for i in range(items)]),
            "facts": FACTS,
            "seconds": 92.5,
            "provenance": {"source": "random numbers", "licences": {"MIT"}},
            **changes,
        }
    )


def a_small_filter_result(**changes) -> FilterResult:
    """Four test texts, five documents, two seeds; "bad" and "good" are the methods.

    Mean log-likelihood: untouched −5, random −4, bad −4.5, good −2.5, oracle −2, all data −3.
    Documents 0 ("a"), 1 ("a") and 2 ("b") are clean, 3 and 4 ("x") dirt; tokens 10, 20, 30, 40, 50.
    Kept: good 0 and 3, then 0 and 1; bad 3, then 4; random 0 and 4, twice; oracle 0 and 2, then 1
    and 0. On offer (`filter_protocol.offered`) are 0, 2, 3 and 4, then 0, 1, 2 and 4.
    """
    levels = {
        "untouched": [[-5.0] * 4],
        "all data": [[-3.0] * 4],
        "random": [[-4.0] * 4] * 2,
        "oracle": [[-2.0] * 4] * 2,
        "bad": [[-4.0, -5, -4, -5], [-5.0, -4, -5, -4]],
        "good": [[-2.0, -3, -2, -3], [-2.0, -3, -2, -3]],
    }
    kept = {
        "random": [[0, 4], [0, 4]],
        "oracle": [[0, 2], [1, 0]],
        "good": [[0, 3], [0, 1]],
        "bad": [[3], [4]],
    }
    return a_filter_result(
        **{
            "documents": 5,
            "items": 4,
            "seeds": 2,
            "methods": ("bad", "good"),
            "by": {**BOUNDS, "bad": "", "good": "a small encoder"},
            "distil": {"bad": 0.0, "good": 0.0},
            "numbers": {name: np.array(rows) for name, rows in levels.items()},
            "kept": {name: [np.array(one) for one in rows] for name, rows in kept.items()},
            "judged": {
                "nll": np.array([1.0, 2, 3, 4, 5]),
                "bad": np.array([5.0, 4, 3, 1, 2]),
                "good": np.array([9.0, 8, np.nan, 7, 1]),
            },
            "texts": np.array(["cats sleep", "dogs run", "birds sing", "0 1", "2 3"], object),
            "kinds": np.array(["a", "a", "b", "x", "x"]),
            "clean": np.array([True, True, True, False, False]),
            "tokens": np.array([10, 20, 30, 40, 50]),
            "groups": np.arange(4),
            "test_kinds": np.array(["a", "b", "a", "b"]),
            **changes,
        }
    )


def a_first_seed(**changes) -> FilterResult:
    """The small result's first seed alone: document 1 is never on offer."""
    result = a_small_filter_result()
    return a_small_filter_result(
        **{
            "seeds": 1,
            "numbers": {name: rows[:1] for name, rows in result.numbers.items()},
            "kept": {name: kept[:1] for name, kept in result.kept.items()},
            **changes,
        }
    )


def with_scores(result: FilterResult, **levels: float) -> dict:
    """`numbers` in which each of these names has one score on every text; `all_data` is a name."""
    numbers = dict(result.numbers)
    for name, level in levels.items():
        name = name.replace("_", " ")
        numbers[name] = np.full_like(numbers[name], float(level))
    return {"numbers": numbers}
