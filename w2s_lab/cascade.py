"""A small model answers first and defers what it doubts: rules, curves, thresholds, a live cascade.

It trains no model and promises nothing about new queries: `guarantee` does.
Curves follow RouteLLM (Ong et al. 2024), deferral of texts Gupta et al. 2024.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import ArrayLike

from w2s_lab.errors import W2SError
from w2s_lab.metrics import ROUNDING, distributions, performance_gap_recovered
from w2s_lab.registry import Registry

RULES: Registry = Registry("deferral rule")
rule = RULES.register
LEAST = 1e-12  # a probability of 0 has no logarithm and no temperature that mends it
TEMPERATURES = (0.05, 20.0)  # a model that is always right would be sharpened without end


@dataclass(frozen=True)
class Curve:
    """What deferring more and more queries does; one entry a point, by rising fraction.

    Attributes:
        fraction: share of the queries deferred, from 0 to 1.
        quality: mean score where the large model answers these and the small model the others.
        cost: mean cost of a query, in the unit of the costs given.
        threshold: an item is deferred where its confidence <= threshold; −inf at fraction 0.
    """

    fraction: np.ndarray
    quality: np.ndarray
    cost: np.ndarray
    threshold: np.ndarray


def deferral_curve(
    confidence: ArrayLike,
    small_scores: ArrayLike,
    large_scores: ArrayLike,
    *,
    small_cost: float,
    large_cost: float,
) -> Curve:
    """Quality and cost at every deferral that a threshold on the confidence can make.

    The least confident items are deferred first, items of equal confidence only together. A
    deferred query pays for both stages, for it passed both.

    Args:
        confidence, small_scores, large_scores: (items,); higher confidence keeps an item.
        small_cost, large_cost: of one query, in any one unit.

    Raises:
        W2SError: arrays that are empty, of other or different shapes, or not finite; a cost that
            is negative or not finite.

    Source: Ong et al. 2024, the cost–quality curve.
    """
    sure, small, large = per_item(
        confidence=confidence, small_scores=small_scores, large_scores=large_scores
    )
    for name, cost in (("small_cost", small_cost), ("large_cost", large_cost)):
        if not 0 <= cost < np.inf:
            raise W2SError(f"a cost of {cost}", where=name, mend="pass a finite number >= 0")
    values, group, count = np.unique(sure, return_inverse=True, return_counts=True)
    if len(values) == 1:
        warnings.warn(
            f"all {len(sure)} items have confidence {values[0]:g}: no threshold tells them apart",
            stacklevel=2,
        )
    # Sums, not means, keep scores of 0 and 1 exact
    quality = small.sum() + np.append(0.0, np.bincount(group, large - small).cumsum())
    quality[-1] = large.sum()
    fraction = np.append(0, count.cumsum()) / len(sure)
    threshold = np.append(-np.inf, values)
    return Curve(fraction, quality / len(sure), small_cost + fraction * large_cost, threshold)


def average_pgr(curve: Curve) -> float:
    """Mean share of the gap recovered over all deferred fractions; 0.5 for a random rule.

    The area between the curve and the small model's quality, over the whole gap; nan where the
    large model does not beat the small one by more than rounding.

    Source: Ong et al. 2024, average performance gap recovered (APGR).
    """
    return float(np.trapezoid(_recovered(curve), curve.fraction))


def cost_to_reach(curve: Curve, recovered: float) -> float:
    """Smallest deferred fraction, interpolated, that recovers this share of the gap.

    The first crossing where the curve rises and falls; nan where there is no gap to recover.

    Raises:
        W2SError: a share outside [0, 1].

    Source: Ong et al. 2024, call-performance threshold (CPT).
    """
    if not 0 <= recovered <= 1:
        raise W2SError(f"no curve recovers {recovered} of the gap", mend="choose a share in [0, 1]")
    pgr = _recovered(curve)
    if np.isnan(pgr[0]):
        return np.nan
    first = int((pgr >= recovered - ROUNDING).argmax())
    if first == 0:
        return 0.0
    around = slice(first - 1, first + 1)
    return float(np.interp(recovered, pgr[around], curve.fraction[around]))


def _recovered(curve: Curve) -> np.ndarray:
    return performance_gap_recovered(curve.quality[0], curve.quality, curve.quality[-1])


def threshold_for_budget(confidence: ArrayLike, fraction: float) -> float:
    """The threshold that defers most of these validation items, yet no more than `fraction`.

    −inf, which defers nothing, where even the least confident items are too many: they are equal
    and go together or not at all.

    Args:
        confidence: (items,); fraction: the budget, in (0, 1].

    Raises:
        W2SError: no items, confidence that is not finite, a fraction out of range.
    """
    (sure,) = per_item(confidence=confidence)
    if not 0 < fraction <= 1:
        raise W2SError(f"a budget of {fraction}", where="fraction", mend="choose one in (0, 1]")
    values, count = np.unique(sure, return_counts=True)
    within = count.cumsum() <= fraction * len(sure) * (1 + ROUNDING)
    return float(values[within][-1]) if within.any() else -np.inf


def threshold_for_quality(curve: Curve, share: float) -> float:
    """The threshold of least deferral whose quality is `share` of the large model's or more.

    Raises:
        W2SError: no threshold reaches that quality.
    """
    wanted = share * curve.quality[-1]
    enough = curve.quality >= wanted - ROUNDING * abs(wanted)
    if not enough.any():
        what = (
            f"no threshold reaches a quality of {wanted:.4g}, the best is {max(curve.quality):.4g}"
        )
        raise W2SError(what, where="share", mend="ask for a smaller share")
    return float(curve.threshold[enough.argmax()])


# Rules: how sure is the small model of its answer?


@dataclass(frozen=True)
class Answers:
    """What the small model said about some queries and, where known, who is right.

    Attributes:
        probs: (items, classes); features: (items, dims), what the small model saw, if at hand.
        small_right, large_right: (items,), 1 where that model is right; known on validation items.
        gold: (items,), class numbers from 0; known on validation items.
    """

    probs: np.ndarray
    features: np.ndarray | None = None
    small_right: np.ndarray | None = None
    large_right: np.ndarray | None = None
    gold: np.ndarray | None = None

    def __post_init__(self):
        probs, _ = distributions(self.probs, np.zeros(len(self.probs), int))
        object.__setattr__(self, "probs", probs)
        for name in ("features", "small_right", "large_right", "gold"):
            if (value := getattr(self, name)) is None:
                continue
            value = np.asarray(value, int if name == "gold" else float)
            if value.shape[:1] != probs.shape[:1] or value.ndim != 1 + (name == "features"):
                what = f"shape {value.shape} beside {len(probs)} items"
                raise W2SError(what, where=name, mend="pass one entry an item, in the same order")
            object.__setattr__(self, name, value)

    def part(self, items: np.ndarray) -> "Answers":
        """The same of some items, given by index or mask."""
        taken: dict = {k: v if v is None else v[items] for k, v in vars(self).items()}
        return Answers(**taken)


@rule("maximum probability")
def maximum_probability(seen: Answers, new: Answers, seed: int) -> np.ndarray:
    """The probability of the likeliest class."""
    return new.probs.max(axis=1)


@rule("margin")
def margin(seen: Answers, new: Answers, seed: int) -> np.ndarray:
    """How far the likeliest class is ahead of the next."""
    second, first = np.sort(new.probs, axis=1)[:, -2:].T
    return first - second


@rule("entropy")
def entropy(seen: Answers, new: Answers, seed: int) -> np.ndarray:
    """Minus the entropy of the probabilities, in nats."""
    return (new.probs * np.log(np.where(new.probs > 0, new.probs, 1))).sum(axis=1)


@rule("calibrated")
def calibrated(seen: Answers, new: Answers, seed: int) -> np.ndarray:
    """The likeliest class's probability at the temperature that fits the validation items."""
    (gold,) = _known("calibrated", "seen", seen, "gold")
    return tempered(new.probs, temperature(seen.probs, gold)).max(axis=1)


@rule("learned")
def learned(seen: Answers, new: Answers, seed: int) -> np.ndarray:
    """Minus the predicted probability that the large model would mend the small one's error.

    A logistic regression on the sorted log-probabilities and, if given, the features. Where the
    validation items hold no such case, or nothing else, it is the maximum probability.

    Source: Gupta et al. 2024, post-hoc deferral rules.
    """
    small, large = _known("learned", "seen", seen, "small_right", "large_right")
    mends = small < large
    if mends.all() or not mends.any():
        return maximum_probability(seen, new, seed)
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    with_features = seen.features is not None
    model.fit(_evidence(seen, "seen", with_features), mends)
    return -model.predict_proba(_evidence(new, "new", with_features))[:, 1]


@rule("random")
def random(seen: Answers, new: Answers, seed: int) -> np.ndarray:
    """Chance; what any rule has to beat."""
    return np.random.default_rng(seed).random(len(new.probs))


@rule("oracle")
def oracle(seen: Answers, new: Answers, seed: int) -> np.ndarray:
    """Knows both models' answers: defers first where only the large one is right."""
    small, large = _known("oracle", "new", new, "small_right", "large_right")
    return small - large


def _known(name: str, which: str, answers: Answers, *fields: str) -> list[np.ndarray]:
    missing = [field for field in fields if getattr(answers, field) is None]
    if missing:
        what = f"{name!r} needs {' and '.join(missing)} of the answers in `{which}`"
        raise W2SError(what, where="deferral rule", mend="pass them to Answers or choose another")
    return [getattr(answers, field) for field in fields]


def _evidence(answers: Answers, which: str, with_features: bool) -> np.ndarray:
    ordered = np.sort(_log(answers.probs), axis=1)
    if not with_features:
        return ordered
    return np.hstack([ordered, *_known("learned", which, answers, "features")])


def _log(probs: ArrayLike) -> np.ndarray:
    return np.log(np.maximum(np.asarray(probs, float), LEAST))


def tempered(probs: ArrayLike, temperature: float) -> np.ndarray:
    """softmax(log probs / temperature), (items, classes): above 1 softer, below 1 sharper."""
    logits = _log(probs) / temperature
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def temperature(probs: ArrayLike, gold: ArrayLike) -> float:
    """The temperature, from 0.05 to 20, at which `tempered` makes the gold classes likeliest.

    Args:
        probs: (items, classes); gold: class numbers, (items,).

    Raises:
        W2SError: shapes that disagree, no items, no distribution, an unknown class.

    Source: Guo et al. 2017, section 4.2.
    """
    from scipy.optimize import minimize_scalar

    probs, gold = distributions(probs, gold)

    def loss(log_temperature: float) -> float:
        logits = _log(probs) / np.exp(log_temperature)
        logits -= logits.max(axis=1, keepdims=True)
        likely = logits[np.arange(len(gold)), gold] - np.log(np.exp(logits).sum(axis=1))
        return -likely.mean()

    options = {"xatol": 1e-6}
    best = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded", options=options)
    return float(np.exp(best.x))


def token_quantile(token_log_probs: Sequence[ArrayLike], quantile: float) -> np.ndarray:
    """Confidence in each generated text: a quantile of its tokens' log-probabilities, (items,).

    At 0 a text is as sure as its least sure token. Unlike a sum or a mean, a quantile does not
    drown one doubtful token in a long text. An empty text is least sure of all, 1 below the others.

    Args:
        token_log_probs: one array (tokens,) a text, natural logarithms.
        quantile: in [0, 1].

    Raises:
        W2SError: no texts, log-probabilities that are not finite, a quantile out of range.

    Source: Gupta et al. 2024, Chow-quantile.
    """
    if not 0 <= quantile <= 1:
        raise W2SError(f"a quantile of {quantile}", where="quantile", mend="choose one in [0, 1]")
    texts = [np.asarray(text, float).ravel() for text in token_log_probs]
    if not texts or not all(np.isfinite(text).all() for text in texts):
        what = "a token's log-probability is nan or infinite" if texts else "there are no texts"
        raise W2SError(what, where="token_log_probs", mend="pass finite numbers for every text")
    sure = [np.quantile(text, quantile) if len(text) else None for text in texts]
    empty = min((value for value in sure if value is not None), default=0.0) - 1
    return np.array([empty if value is None else value for value in sure])


# The live cascade


@dataclass(frozen=True)
class Stage:
    """A model in a cascade.

    Attributes:
        answer: queries → class probabilities, (queries, classes).
        flops: floating point operations it spends on one query.
    """

    name: str
    answer: Callable[[Sequence[str]], np.ndarray]
    flops: float = 0.0


@dataclass(frozen=True)
class Answered:
    """The answers of a cascade and what they took.

    Attributes:
        probs: (queries, classes), nan where no stage answered.
        stage: (queries,), index of the stage that answered, −1 where none did.
        flops: (queries,); a query pays once for every stage it was put to, failed or not.
        seconds: what each stage took, on the clock.
        failed: (query, stage name, message) wherever a stage gave a query no answer.
    """

    probs: np.ndarray
    stage: np.ndarray
    flops: np.ndarray
    seconds: tuple[float, ...]
    failed: tuple[tuple[int, str, str], ...]

    @property
    def classes(self) -> np.ndarray:
        """The likeliest class of each query, (queries,), −1 where no stage answered."""
        return np.where(self.stage < 0, -1, self.probs.argmax(axis=1))

    @property
    def shares(self) -> np.ndarray:
        """Share of the queries that each stage answered, (stages,)."""
        return (self.stage[:, None] == np.arange(len(self.seconds))).mean(axis=0)


class Unanswered(W2SError):
    """Some queries that no stage could answer; `answered` holds all the others."""

    def __init__(self, answered: Answered):
        lost = np.flatnonzero(answered.stage < 0)
        why = next(message for query, _, message in answered.failed if query == lost[0])
        what = f"no stage could answer {len(lost)} of {len(answered.stage)} queries ({why})"
        super().__init__(what, mend="mend the stage; `.answered` of this error holds the others")
        self.answered = answered


@dataclass(frozen=True)
class Cascade:
    """Stages from cheap to dear; calling it with queries gives each to the first that is sure.

    Attributes:
        stages: two or more.
        confidences: probs (queries, classes) → confidence (queries,), for all stages but the last.
        thresholds: for the same stages; a query goes on where its confidence <= threshold.
    """

    stages: tuple[Stage, ...]
    confidences: tuple[Callable[[np.ndarray], np.ndarray], ...]
    thresholds: tuple[float, ...]

    def __post_init__(self):
        count = len(self.stages)
        if count < 2:
            what = f"a cascade of {count} stages"
            raise W2SError(what, where="stages", mend="pass at least two, cheap to dear")
        for name in ("confidences", "thresholds"):
            if len(getattr(self, name)) != count - 1:
                what = f"{len(getattr(self, name))} for {count} stages"
                raise W2SError(what, where=name, mend="pass one for each stage but the last")
        if np.isnan(self.thresholds).any():
            mend = "pass numbers; -inf defers nothing, inf everything"
            raise W2SError("a threshold is nan", where="thresholds", mend=mend)

    def __call__(self, inputs: Sequence[str], *, batch: int = 64) -> Answered:
        """Answers new queries; each stage sees only what all earlier stages deferred.

        The last stage keeps every query. Where a stage fails (raises, or returns what is no
        distribution) its batch is asked again query by query; a query it still fails keeps the
        answer of the stage before, or goes on where there is none. A warning counts them.

        Raises:
            W2SError: no queries, a batch below 1.
            Unanswered: queries without any answer, told once all the others are answered.
        """
        if isinstance(inputs, str) or not len(inputs) or batch < 1:
            what = f"{type(inputs).__name__} of length {len(inputs)} in batches of {batch}"
            raise W2SError(
                what, where="inputs", mend="pass a list of one query or more, batch >= 1"
            )
        here, answers = np.arange(len(inputs)), dict[int, np.ndarray]()
        stage, flops = np.full(len(inputs), -1), np.zeros(len(inputs))
        seconds, failed = [], []
        confidences, thresholds = (*self.confidences, None), (*self.thresholds, -np.inf)
        for index, current in enumerate(self.stages):
            onward = []
            started = perf_counter()
            flops[here] += current.flops
            for start in range(0, len(here), batch):
                part = here[start : start + batch]
                said = _ask(current, confidences[index], [inputs[i] for i in part], answers)
                for query, outcome in zip(part.tolist(), said, strict=True):
                    if isinstance(outcome, Exception):
                        message = f"{type(outcome).__name__}: {outcome}"
                        failed.append((query, current.name, message))
                        deferred = query not in answers
                    else:
                        answers[query], sure = outcome
                        stage[query] = index
                        deferred = sure <= thresholds[index]
                    if deferred:
                        onward.append(query)
            seconds.append(perf_counter() - started)
            here = np.array(onward, int)
        probs = np.full((len(inputs), _classes(answers) or 1), np.nan)
        for query, row in answers.items():
            probs[query] = row
        answered = Answered(probs, stage, flops, tuple(seconds), tuple(failed))
        if (stage < 0).any():
            raise Unanswered(answered)
        if failed:
            count = len({query for query, _, _ in failed})
            message = (
                f"a stage failed {count} of {len(inputs)} queries, others answered; see .failed"
            )
            warnings.warn(message, stacklevel=2)
        return answered


def _ask(stage: Stage, confidence: Callable | None, queries: list, answers: dict) -> list:
    """For each query (probs, confidence) or the exception it ended in, asked twice if need be."""
    try:
        return list(_answer(stage, confidence, queries, _classes(answers)))
    except Exception:
        said: list = []
    for query in queries:
        try:
            said += _answer(stage, confidence, [query], _classes(answers))
        except Exception as error:
            said.append(error)
    return said


def _answer(stage: Stage, confidence: Callable | None, queries: list, classes: int):
    probs = np.asarray(stage.answer(queries), float)
    if probs.ndim != 2 or len(probs) != len(queries) or classes not in (0, probs.shape[1]):
        expected = f"({len(queries)}, {classes or 'classes'})"
        raise W2SError(f"answers of shape {probs.shape}", mend=f"return probabilities {expected}")
    probs, _ = distributions(probs, np.zeros(len(queries), int))
    if confidence is None:  # the last stage keeps every query
        return zip(probs, np.zeros(len(queries)), strict=True)
    sure = np.asarray(confidence(probs), float)
    if sure.shape != (len(queries),) or np.isnan(sure).any():
        what = f"confidence of shape {sure.shape} with {np.isnan(sure).sum()} nan"
        raise W2SError(what, mend=f"return ({len(queries)},) without nan")
    return zip(probs, sure, strict=True)


def _classes(answers: dict[int, np.ndarray]) -> int:
    return len(next(iter(answers.values()), ()))


def per_item(**arrays: ArrayLike) -> list[np.ndarray]:
    """The named arrays as finite floats of one shape (items,); W2SError where they are not."""
    checked = {name: np.asarray(array, float) for name, array in arrays.items()}
    first, shape = next((name, array.shape) for name, array in checked.items())
    for name, array in checked.items():
        if array.ndim != 1 or not array.size:
            mend = "pass (items,), not empty"
            raise W2SError(f"an array of shape {array.shape}", where=name, mend=mend)
        if array.shape != shape:
            what = f"{len(array)} items, {first} has {shape[0]}"
            raise W2SError(what, where=name, mend="pass one number an item, in the same order")
        bad = int((~np.isfinite(array)).sum())
        if bad:
            what = f"{bad} of {len(array)} numbers are nan or infinite"
            raise W2SError(what, where=name, mend="give every item a finite number")
    return list(checked.values())
