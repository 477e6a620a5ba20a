"""Thresholds whose risk on new queries is bounded, whatever the model and the data.

It ranks nothing: a better confidence defers less at the same risk, the promise holds for any.
Learn then test (Angelopoulos et al. 2021), conformal risk control (Angelopoulos et al. 2024).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from w2s_lab.cascade import per_item
from w2s_lab.errors import W2SError
from w2s_lab.metrics import ROUNDING
from w2s_lab.registry import Registry

GUARANTEES: Registry = Registry("guarantee")


def certified_threshold(
    confidence: ArrayLike, losses: ArrayLike, *, level: float, delta: float = 0.1
) -> float:
    """The least deferring threshold whose risk is at most `level`, with probability 1 − delta.

    Risk at a threshold: mean over all queries of the small model's loss where it is kept
    (confidence > threshold), 0 where deferred. The probability is over the draw of these
    calibration items, which must be independent and like the queries to come. The walk starts
    with everything deferred and lets go of one distinct confidence after another while a test
    rejects "the risk is above level"; −inf keeps everything, inf (nothing could be certified)
    defers everything, whatever the confidence of a new query.

    Args:
        confidence, losses: (items,), losses in [0, 1]; those of 0 and 1 are tested exactly
            (binomial), others by the Hoeffding–Bentkus bound.
        level, delta: inside (0, 1).

    Raises:
        W2SError: arrays that are empty, disagree or are not finite; numbers out of range.

    Source: Angelopoulos et al. 2021, fixed sequence testing, Hoeffding–Bentkus p-values.
    """
    thresholds, lost, count = _kept_losses(confidence, losses, level, delta)
    binary = np.isin(np.asarray(losses, float), (0, 1)).all()
    p = (_binomial_p if binary else _hoeffding_bentkus_p)(lost, count, level)
    # The risk falls with the threshold, true and observed, so the candidates may be the observed
    # confidences themselves (Bates et al. 2021, theorem 1)
    return _least_deferring(thresholds, p <= delta)


def conformal_threshold(confidence: ArrayLike, losses: ArrayLike, *, level: float) -> float:
    """The least deferring threshold whose risk is at most `level` on average over calibrations.

    Weaker than `certified_threshold`, which bounds the risk of nearly every single calibration,
    and so it defers less: n / (n + 1) · observed risk + 1 / (n + 1) <= level. Risk, arguments,
    infinite thresholds and errors as there.

    Source: Angelopoulos et al. 2024 (conformal risk control), section 1.1.
    """
    thresholds, lost, count = _kept_losses(confidence, losses, level)
    return _least_deferring(thresholds, (lost + 1) / (count + 1) <= level * (1 + ROUNDING))


@GUARANTEES.register("learn-then-test")
def _learn_then_test(confidence, losses, level, delta):
    return certified_threshold(confidence, losses, level=level, delta=delta)


@GUARANTEES.register("risk control")
def _risk_control(confidence, losses, level, delta):
    return conformal_threshold(confidence, losses, level=level)


@dataclass(frozen=True)
class Coverage:
    """How often a guarantee held when it was put to the test.

    Attributes:
        level, delta, splits: as asked.
        covered: share of the calibrations whose threshold has a true risk of at most `level`;
            learn then test promises 1 − delta of them, risk control promises only `mean_risk`.
        interval: Clopper–Pearson, 95 %, of `covered`.
        mean_risk, mean_deferred: true risk and deferred share, mean over the calibrations.
        held_out: share of splits in halves with at most `level` *observed* on the other half;
            nobody promises it, for that half has a luck of its own.
    """

    level: float
    delta: float
    splits: int
    covered: float
    interval: tuple[float, float]
    mean_risk: float
    mean_deferred: float
    held_out: float


def coverage(
    confidence: ArrayLike,
    losses: ArrayLike,
    *,
    level: float,
    delta: float = 0.1,
    splits: int = 200,
    share: float = 0.5,
    seed: int = 0,
    method: str = "learn-then-test",
) -> Coverage:
    """Puts a guarantee to the test on items whose losses are known.

    The items themselves are taken as the population: each calibration draws `share` of their
    number from them with replacement, so its items are independent, as the guarantee asks, and
    the true risk of its threshold is known without error.

    Args:
        confidence, losses, level, delta: as in `certified_threshold`.
        share: inside (0, 1); splits: how many calibrations, `seed` seeds them.
        method: "learn-then-test" or "risk control", a name in `GUARANTEES`.

    Raises:
        W2SError: as `certified_threshold`, an unknown method, too few items or splits.
    """
    sure, loss = per_item(confidence=confidence, losses=losses)
    size = round(share * len(sure))
    if not 0 < size < len(sure) or splits < 1:
        what = f"{splits} calibrations with {size} of {len(sure)} items"
        raise W2SError(what, mend="pass two items or more, a share inside (0, 1), splits >= 1")
    choose = GUARANTEES[method]
    rng = np.random.default_rng(seed)
    risks, deferred, observed = np.empty((3, splits))
    for split in range(splits):
        drawn = rng.integers(len(sure), size=size)
        kept = sure > choose(sure[drawn], loss[drawn], level, delta)
        risks[split], deferred[split] = (loss * kept).mean(), 1 - kept.mean()
        half, rest = np.split(rng.permutation(len(sure)), [size])
        threshold = choose(sure[half], loss[half], level, delta)
        observed[split] = (loss[rest] * (sure[rest] > threshold)).mean()
    from scipy.stats import binomtest

    most = level * (1 + ROUNDING)
    held = int((risks <= most).sum())
    low, high = binomtest(held, splits).proportion_ci(0.95, method="exact")
    return Coverage(
        level=level,
        delta=delta,
        splits=splits,
        covered=held / splits,
        interval=(float(low), float(high)),
        mean_risk=float(risks.mean()),
        mean_deferred=float(deferred.mean()),
        held_out=float((observed <= most).mean()),
    )


def _kept_losses(
    confidence: ArrayLike, losses: ArrayLike, level: float, delta: float = 0.5
) -> tuple[np.ndarray, np.ndarray, int]:
    """Thresholds from −inf up, the sum of the losses each keeps, and the number of items."""
    for name, value in (("level", level), ("delta", delta)):
        if not 0 < value < 1:
            raise W2SError(f"a {name} of {value}", where=name, mend="choose one inside (0, 1)")
    sure, loss = per_item(confidence=confidence, losses=losses)
    if loss.min() < 0 or loss.max() > 1:
        what = f"losses from {loss.min():g} to {loss.max():g}"
        raise W2SError(what, where="losses", mend="scale them to [0, 1], 0 for a right answer")
    values, group = np.unique(sure, return_inverse=True)
    # Summed from the surest down, so that nothing kept is exactly 0
    lost = np.append(np.bincount(group, loss)[::-1].cumsum()[::-1], 0.0)
    return np.append(-np.inf, values), lost, len(sure)


def _least_deferring(thresholds: np.ndarray, passed: np.ndarray) -> float:
    """The lowest threshold above which, itself included, all pass; inf where not even the last."""
    failed = np.flatnonzero(~passed)
    first = failed[-1] + 1 if len(failed) else 0
    return float(thresholds[first]) if first < len(thresholds) else np.inf


def _binomial_p(lost: np.ndarray, count: int, level: float) -> np.ndarray:
    """Chance of no more losses than these among `count` queries if the risk were `level`."""
    from scipy.stats import binom

    return binom.cdf(lost, count, level)


def _hoeffding_bentkus_p(lost: np.ndarray, count: int, level: float) -> np.ndarray:
    """A bound on that chance for losses anywhere in [0, 1]."""
    from scipy.special import rel_entr
    from scipy.stats import binom

    risk = np.minimum(lost / count, level)
    hoeffding = np.exp(-count * (rel_entr(risk, level) + rel_entr(1 - risk, 1 - level)))
    return np.minimum(hoeffding, np.e * binom.cdf(np.ceil(lost), count, level))
