"""Results whose answers are texts, made of random numbers and a few words, for the same tests.

No model, no training: how good each name is is set, and so is what it made up.
"""

import numpy as np

from w2s_lab.text_experiment import BASELINES, METRICS, TextResult

# name: log-likelihood per token, and score of what was written, on average
LEVELS = {
    "naive": (-3.3, 0.22),
    "early stopping": (-3.2, 0.23),
    "mixed": (-2.7, 0.31),
    "shrink": (-2.6, 0.33),
    "weak": (-4.0, 0.15),
    "ceiling": (-2.0, 0.45),
    "lead sentence": (None, 0.20),  # a lead sentence has no likelihood
    "strong zero-shot": (-3.0, 0.25),
    "strong on gold labels": (-2.8, 0.28),
}
STUDENTS = ("naive", "early stopping", "mixed", "shrink")
ONCE = ("lead sentence", "strong zero-shot")  # no seed plays a part
COST = {
    "weak": {"tokens": 135_000.0, "seconds": 80.0, "flops": 8e12},
    "strong": {"tokens": 140_000.0, "seconds": 200.0, "flops": 3.2e13},
}


def a_text_result(*, items=60, written=24, seeds=3, seed=0, **changes) -> TextResult:
    """A result of the levels above; `changes` go to `TextResult`."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(0, 0.3, items)  # an item is as hard for one as for another

    def numbers(metric):
        likely, found = metric == METRICS[0], {}
        for name, (likelihood, level) in LEVELS.items():
            shape = (1 if name in ONCE else seeds, items if likely else written)
            noise = rng.normal(0, 0.1, shape)
            if not likely:
                found[name] = np.clip(level + 0.2 * (noise + hard[:written]), 0, 1)
            elif likelihood is not None:
                found[name] = likelihood + noise + hard
        return found

    made_up = [f"zeugma{i} quokka{i}" for i in range(written)]
    gold = np.array([f"method {i} reads words" for i in range(items)], object)
    texts = {name: np.tile(gold[:written], (1 if name in ONCE else seeds, 1)) for name in LEVELS}
    texts["weak"] = texts["weak"] + np.array([f" of {w}" for w in made_up], object)
    for name in STUDENTS:  # repeats the first of two words that the weak model made up
        texts[name] = texts[name] + np.array([f" of {w.split()[0]}" for w in made_up], object)
    epochs = np.arange(1, 6) + np.zeros((seeds, 1))
    gold_curve = -3 - 0.1 * (epochs - 2) ** 2  # best at epoch 2
    dial = {share: -3 + 0.8 * share - 0.6 * share**2 for share in (0.25, 0.5, 0.75, 1.0)}
    return TextResult(
        **{
            "task": "papers",
            "size": "lab",
            "device": "cpu",
            "weak": "smollm2:22",
            "strong": "smollm2",
            "labels": 16,
            "seeds": seeds,
            "methods": STUDENTS,
            "baselines": BASELINES,
            "numbers": {metric: numbers(metric) for metric in METRICS},
            "texts": texts,
            "gold": gold,
            "sources": np.array([f"{text} and more of them" for text in gold], object),
            "groups": np.arange(items) // 3,
            "kinds": np.array([], str),
            "transfer": 60,
            "curves": {
                "weak": -2 - np.exp(-epochs),
                "gold": gold_curve,
                "test": gold_curve[..., None] + hard,
            },
            "dial": {s: v + hard + rng.normal(0, 0.05, (seeds, items)) for s, v in dial.items()},
            "chosen": {"shrink": np.array([0.5, 0.75, 0.5] * seeds)[:seeds]},
            "cost": COST,
            "seconds": 12.5,
            "provenance": {"source": "random numbers", "licences": {"MIT"}},
            **changes,
        }
    )


def a_small_text_result(**changes) -> TextResult:
    """Four test items, two of them written for, one seed; "bad" and "good" are the methods.

    Mean log-likelihood: weak −4, untouched −3, bad −4, good −2, ceiling −1. ROUGE-L: lead sentence
    0.1, weak and untouched 0.2, bad 0.1, good 0.4, ceiling 0.6. The weak model made up "fly" and
    "swim"; good repeats the first of them where it stood, bad both where they did not stand.
    """
    likelihood = {
        "weak": [-4, -4, -4, -4],
        "strong zero-shot": [-3, -3, -3, -3],
        "strong on gold labels": [-3, -3, -3, -3],
        "bad": [-5, -5, -3, -3],
        "good": [-1, -3, -2, -2],
        "ceiling": [-1, -1, -1, -1],
    }
    written = {
        "lead sentence": [0.1, 0.1],
        "weak": [0.1, 0.3],
        "strong zero-shot": [0.2, 0.2],
        "strong on gold labels": [0.3, 0.3],
        "bad": [0.1, 0.1],
        "good": [0.3, 0.5],
        "ceiling": [0.5, 0.7],
    }
    texts = {
        "lead sentence": ["cats sleep", "dogs run"],
        "weak": ["cats fly", "dogs swim"],
        "strong zero-shot": ["cats", ""],
        "strong on gold labels": ["cats sleep", "dogs"],
        "bad": ["dogs swim", "cats fly"],
        "good": ["cats fly", "dogs run"],
        "ceiling": ["cats sleep", "dogs run"],
    }
    arrays = {name: np.array([values], float) for name, values in written.items()}
    return a_text_result(
        **{
            "items": 4,
            "written": 2,
            "seeds": 1,
            "labels": 1,
            "methods": ("bad", "good"),
            "numbers": {
                "log_likelihood": {k: np.array([v], float) for k, v in likelihood.items()},
                **{metric: arrays for metric in METRICS[1:]},
            },
            "texts": {name: np.array([said], object) for name, said in texts.items()},
            "gold": np.array(["cats sleep", "dogs run", "birds sing", "fish eat"], object),
            "sources": np.array(["cats sleep", "dogs run", "birds sing", "fish eat"], object),
            "groups": np.arange(4),
            "curves": {},
            "dial": {},
            "chosen": {},
            **changes,
        }
    )


def without_likelihood(result: TextResult) -> dict:
    """The `numbers` of a run whose supervisor is no language model."""
    numbers = {metric: dict(by_name) for metric, by_name in result.numbers.items()}
    del numbers[METRICS[0]]["weak"]
    return numbers


def with_weak_texts(result: TextResult, text: str) -> dict:
    """`texts` and `numbers` of a run whose weak model always writes `text`, which scores 0."""
    texts = dict(result.texts) | {"weak": np.full_like(result.texts["weak"], text)}
    numbers = {metric: dict(by_name) for metric, by_name in result.numbers.items()}
    for metric in METRICS[1:]:
        numbers[metric]["weak"] = np.zeros_like(numbers[metric]["weak"])
    return {"texts": texts, "numbers": numbers}
