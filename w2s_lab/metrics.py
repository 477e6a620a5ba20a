"""Scores, the performance gap recovered with an honest interval, and what a student got wrong.

It trains nothing and draws nothing: arrays in, numbers out.
PGR and the error diagnostics are Burns et al. 2023, the calibration error Guo et al. 2017.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from w2s_lab.errors import W2SError
from w2s_lab.registry import Registry

# Two scores that differ by less than this share of their size differ by rounding only
ROUNDING = 1e-12
# Weights held at once while resampling: 32 MB of doubles
CHUNK = 4_000_000


@dataclass(frozen=True, repr=False)
class Estimate:
    """A value with its interval, printed as `0.45 [0.31, 0.58]`.

    All three are nan where the value is undefined; an end is infinite where the data do not
    bound it.
    """

    value: float
    low: float
    high: float

    @property
    def defined(self) -> bool:
        """Whether there is a value at all."""
        return not np.isnan(self.value)

    def excludes(self, x: float) -> bool:
        """Whether the interval lies wholly above or wholly below `x`; False where undefined."""
        return bool(x < self.low or x > self.high)

    def as_dict(self) -> dict[str, float | None]:
        """Value, low and high for JSON, which knows neither nan nor infinity: None instead."""
        return {k: float(v) if np.isfinite(v) else None for k, v in vars(self).items()}

    def __repr__(self) -> str:
        if not self.defined:
            return "undefined"
        return f"{self.value:z.2f} [{self.low:z.2f}, {self.high:z.2f}]"


def performance_gap_recovered(weak: ArrayLike, student: ArrayLike, ceiling: ArrayLike) -> Any:
    """Share of the gap between weak model and ceiling that the student closes.

    (student − weak) / (ceiling − weak): 0 when the student only matches its supervisor, 1 when it
    matches the strong model trained on gold, below 0 and above 1 beyond them. nan where the
    ceiling does not beat the weak model by more than rounding.

    Args:
        weak, student, ceiling: scores in any one unit; scalars give a float, arrays broadcast.

    Source: Burns et al. 2023, section 3.
    """
    weak, student, ceiling = (np.asarray(x, float) for x in (weak, student, ceiling))
    gap = ceiling - weak
    with np.errstate(divide="ignore", invalid="ignore"):
        undefined = ~(gap > ROUNDING * (np.abs(ceiling) + np.abs(weak)))
        pgr = np.where(undefined, np.nan, (student - weak) / gap)
    return pgr if pgr.ndim else float(pgr)


def bootstrap_pgr(
    weak: ArrayLike,
    student: ArrayLike,
    ceiling: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    strata: ArrayLike | None = None,
    groups: ArrayLike | None = None,
) -> Estimate:
    """PGR of the mean scores with a percentile interval over seeds and items.

    Each resample draws seeds and items with replacement, the same ones for all three models, for
    they are compared on the same items. A resample whose gap is not above 0 has no PGR, and its
    PGR might lie anywhere: it counts as −inf for the low end and as +inf for the high end, so an
    interval over too small a gap comes out unbounded. Few seeds make it somewhat too narrow: with
    n seeds a bootstrap sees (n − 1) / n of the variance between them.

    Args:
        weak, student, ceiling: the score of each item, (items,) or (seeds, items). One of shape
            (items,) is shared by all seeds.
        confidence: share of such intervals that should hold the truth, inside (0, 1).
        resamples: how many bootstrap resamples; `seed` seeds them.
        strata: (items,), for example the gold class; each keeps its weight in every resample.
        groups: (items,), items that are not independent (one contract family); drawn as a whole.
            With strata, each stratum is then weighted back to its share; a resample that misses
            a stratum altogether has no score and counts like one without a gap.

    Raises:
        W2SError: shapes that disagree, nothing to resample, scores that are not finite, options
            out of range.

    Source: Efron and Tibshirani 1993, chapter 13; seeds crossed with items as in Owen 2007.
    """
    scores = {"weak": weak, "student": student, "ceiling": ceiling}
    options = (confidence, resamples, seed, strata, groups)
    return bootstrap(performance_gap_recovered, scores, *options)


def bootstrap_mean(scores: ArrayLike, **options: Any) -> Estimate:
    """The mean score with its interval; scores, options and errors as in `bootstrap_pgr`."""
    return bootstrap(lambda mean: mean, {"scores": scores}, **options)


def bootstrap_difference(a: ArrayLike, b: ArrayLike, **options: Any) -> Estimate:
    """Mean of `a` less mean of `b`, paired; scores, options and errors as in `bootstrap_pgr`."""
    return bootstrap(np.subtract, {"a": a, "b": b}, **options)


def bootstrap(
    statistic: Callable,
    scores: dict[str, ArrayLike],
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    strata: ArrayLike | None = None,
    groups: ArrayLike | None = None,
) -> Estimate:
    """`statistic` of the arrays' means, with the interval that paired resampling gives it.

    Args:
        statistic: from the means, arrays of shape (resamples,) in the order of `scores`, to values.
        scores: by name, of the same items and, but for those with one row, the same seeds; of shape
            (items,) or (seeds, items).
        strata, groups: of each item, (items,): what is drawn within, and what is drawn together.

    Raises:
        W2SError: a confidence outside (0, 1), no resamples, or scores of unlike shapes.
    """
    if not 0 < confidence < 1 or resamples < 1:
        what = f"no interval of confidence {confidence} from {resamples} resamples"
        raise W2SError(what, mend="choose a confidence between 0 and 1, and resamples >= 1")
    arrays = {name: _by_seed(name, array) for name, array in scores.items()}
    first, items = next((name, array.shape[1]) for name, array in arrays.items())
    seeds = max(len(array) for array in arrays.values())
    for name, array in arrays.items():
        if array.shape[1] != items or len(array) not in (1, seeds):
            what = f"{len(array)} seeds and {array.shape[1]} items beside {seeds} and {items}"
            raise W2SError(what, where=name, mend=f"score the same seeds and items as {first}")
    value = float(statistic(*(array.mean() for array in arrays.values())))
    if np.isnan(value):
        return Estimate(np.nan, np.nan, np.nan)

    rng = np.random.default_rng(seed)
    seed_weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
    means = {name: np.empty(resamples) for name in arrays}
    for chunk, weights in item_weights(rng, items, resamples, strata, groups):
        for name, array in arrays.items():
            by_seed = weights @ array.T  # (chunk, seeds), or (chunk, 1) where shared
            means[name][chunk] = (by_seed * seed_weights[chunk]).sum(axis=1)
    draws = statistic(*means.values())
    tail = (1 - confidence) / 2
    # No interpolation: between an infinite and a finite draw there is no halfway
    low = np.quantile(np.where(np.isnan(draws), -np.inf, draws), tail, method="lower")
    high = np.quantile(np.where(np.isnan(draws), np.inf, draws), 1 - tail, method="higher")
    return Estimate(value, float(low), float(high))


def item_weights(
    rng: np.random.Generator, items: int, resamples: int, strata: Any, groups: Any
) -> Iterator[tuple[slice, np.ndarray]]:
    """Resamples in chunks: their indices, and weights (chunk, items) that sum to 1 in each."""
    stratum = _codes("strata", strata, items)
    share = np.bincount(stratum) / items
    if groups is None:
        unit = np.arange(items)
        pools = [np.flatnonzero(stratum == s) for s in range(len(share))]
    else:
        unit = _codes("groups", groups, items)
        pools = [np.arange(unit.max() + 1)]
    step = max(1, CHUNK // items)
    for start in range(0, resamples, step):
        chunk = slice(start, min(start + step, resamples))
        rows = chunk.stop - start
        counts = np.empty((rows, unit.max() + 1))
        for pool in pools:
            drawn = rng.integers(len(pool), size=(rows, len(pool)))
            drawn += np.arange(rows)[:, None] * len(pool)
            counts[:, pool] = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        weights = counts[:, unit] / items
        if groups is not None:  # whole groups may draw a stratum too often or not at all
            drawn_share = weights @ (stratum[:, None] == np.arange(len(share)))
            with np.errstate(divide="ignore", invalid="ignore"):
                weights *= (share / drawn_share)[:, stratum]
        yield chunk, weights


def _by_seed(name: str, scores: ArrayLike) -> np.ndarray:
    """Scores as (seeds, items), one row where all seeds share them; W2SError where unusable."""
    array = np.asarray(scores, float)
    if array.ndim not in (1, 2) or not array.size:
        mend = "pass (items,) or (seeds, items), not empty"
        raise W2SError(f"scores of shape {array.shape}", where=name, mend=mend)
    bad = int((~np.isfinite(array)).sum())
    if bad:
        mend = "score every item with a finite number"
        raise W2SError(f"{bad} of {array.size} scores are nan or infinite", where=name, mend=mend)
    return np.atleast_2d(array)


def _codes(name: str, labels: ArrayLike | None, items: int) -> np.ndarray:
    """Integers 0, 1, … for the distinct `labels`, (items,); all 0 where there are none."""
    if labels is None:
        return np.zeros(items, int)
    labels = np.asarray(labels)
    if labels.shape != (items,):
        what = f"shape {labels.shape}, the scores have {items} items"
        raise W2SError(what, where=name, mend="pass one label for each item")
    return np.unique(labels, return_inverse=True)[1]


SCORES = Registry("score")


@SCORES.register("accuracy")
def _accuracy_items(predicted: ArrayLike, gold: ArrayLike) -> np.ndarray:
    predicted, gold = _predictions(predicted, gold)
    return (predicted == gold).astype(float)


@SCORES.register("balanced_accuracy")
def _balanced_accuracy_items(predicted: ArrayLike, gold: ArrayLike) -> np.ndarray:
    predicted, gold = _predictions(predicted, gold)
    _, code, count = np.unique(gold, return_inverse=True, return_counts=True)
    return (predicted == gold) * (len(gold) / (len(count) * count))[code]


def item_scores(predicted: ArrayLike, gold: ArrayLike, metric: str) -> np.ndarray:
    """The score of each item, shaped like `predicted`; its mean over the items is the metric.

    Args:
        predicted: classes, (items,) or (seeds, items).
        gold: classes, (items,).
        metric: a name in `SCORES`. For balanced accuracy a right answer earns
            items / (classes · items of its gold class) and a wrong one 0; classes absent from
            `gold` have no recall and do not count.

    Raises:
        W2SError: an unknown metric, shapes that disagree, no items.
    """
    return SCORES[metric](predicted, gold)


def accuracy(predicted: ArrayLike, gold: ArrayLike) -> float:
    """Share of right answers, over all seeds where there are several."""
    return float(item_scores(predicted, gold, "accuracy").mean())


def balanced_accuracy(predicted: ArrayLike, gold: ArrayLike) -> float:
    """Mean over the gold classes of the share answered right, over all seeds as well."""
    return float(item_scores(predicted, gold, "balanced_accuracy").mean())


@dataclass(frozen=True)
class Agreement:
    """How a student's answers relate to its supervisor's; the last three are shares of all items.

    Attributes:
        with_supervisor_right: share of the weak model's right answers that the student gives too.
        with_supervisor_wrong: share of the weak model's errors that the student repeats (error
            imitation). Either is nan where the weak model has no such answers.
        corrected: the weak model is wrong and the student right.
        imitated: both give the same wrong answer.
        new_errors: the weak model is right and the student wrong.
    """

    with_supervisor_right: float
    with_supervisor_wrong: float
    corrected: float
    imitated: float
    new_errors: float


def agreement(student: ArrayLike, weak: ArrayLike, gold: ArrayLike) -> Agreement:
    """Where the student follows its supervisor, and where it repeats or mends its errors.

    Args:
        student, weak: predicted classes, (items,) or (seeds, items); shares are over all seeds.
        gold: classes, (items,).

    Raises:
        W2SError: shapes that disagree, no items.

    Source: Burns et al. 2023, section 5.1 (student-supervisor agreement).
    """
    student, gold = _predictions(student, gold)
    weak, gold = _predictions(weak, gold)
    if student.ndim == weak.ndim == 2 and len(student) != len(weak):
        raise W2SError(f"the student has {len(student)} seeds, the weak model {len(weak)}")
    student, weak = np.broadcast_arrays(student, weak)
    right, same = weak == gold, student == weak

    def share(of: np.ndarray, among: np.ndarray) -> float:
        return float(of[among].mean()) if among.any() else np.nan

    return Agreement(
        with_supervisor_right=share(same, right),
        with_supervisor_wrong=share(same, ~right),
        corrected=float((~right & (student == gold)).mean()),
        imitated=float((~right & same).mean()),
        new_errors=float((right & ~same).mean()),
    )


def reliability(
    probs: ArrayLike, gold: ArrayLike, bins: int = 10
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean confidence, accuracy and number of items in each bin of confidence, three of (bins,).

    The confidence of an item is the probability of its likeliest class; bin m of M holds
    ((m − 1) / M, m / M]. An empty bin has confidence and accuracy nan.

    Args:
        probs: (items, classes); gold: class numbers, (items,).

    Raises:
        W2SError: shapes that disagree, no items, no distribution, an unknown class.

    Source: Guo et al. 2017, section 2.
    """
    probs, gold = distributions(probs, gold)
    sure, right = probs.max(axis=1), probs.argmax(axis=1) == gold
    index = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], sure)
    count = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(index, sure, bins) / count
        return confidence, np.bincount(index, right, bins) / count, count


def expected_calibration_error(probs: ArrayLike, gold: ArrayLike, bins: int = 10) -> float:
    """Mean distance of confidence from accuracy over the bins of `reliability`, by their items."""
    confidence, right, count = reliability(probs, gold, bins)
    full = count > 0
    return float(np.abs(confidence - right)[full] @ count[full] / count.sum())


def brier_score(probs: ArrayLike, gold: ArrayLike) -> float:
    """Mean over items of Σ_c (probs_c − [c is gold])², from 0 (best) to 2; errors as above.

    Source: Brier 1950; with two classes this is twice the squared error of one class.
    """
    probs, gold = distributions(probs, gold)
    return float(((probs - np.eye(probs.shape[1])[gold]) ** 2).sum(axis=1).mean())


def _predictions(predicted: ArrayLike, gold: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    predicted, gold = np.asarray(predicted), np.asarray(gold)
    if not predicted.size or predicted.ndim > 2 or predicted.shape[-1:] != gold.shape:
        what = f"predictions have shape {predicted.shape}, gold {gold.shape}"
        raise W2SError(what, mend="pass (items,) or (seeds, items) for gold of shape (items,)")
    return predicted, gold


def distributions(probs: ArrayLike, gold: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    probs, gold = np.asarray(probs, float), np.asarray(gold)
    if probs.ndim != 2 or not probs.size or gold.shape != probs.shape[:1]:
        what = f"probs have shape {probs.shape}, gold {gold.shape}"
        raise W2SError(what, mend="pass (items, classes) and (items,), not empty")
    worst = probs.sum(axis=1)[np.abs(probs.sum(axis=1) - 1).argmax()]
    if not (probs.min() >= 0 and abs(worst - 1) <= 1e-3):
        what = f"probs have a least entry of {probs.min():g} and a sum of {worst:g}"
        raise W2SError(what, mend="pass probabilities: none below 0, sum 1 over the classes")
    if gold.dtype.kind not in "iub" or gold.min() < 0 or gold.max() >= probs.shape[1]:
        what = f"gold runs from {gold.min()} to {gold.max()}, probs have {probs.shape[1]} classes"
        raise W2SError(what, mend="number the classes from 0")
    return probs, gold.astype(int)
