"""What follows when a small model passes on what it doubts: curves, thresholds held, guarantees.

It neither trains (`cascade_protocol` does) nor prints nor draws. The floor is the small model
alone, the ceiling the large one; a threshold is chosen on validation and then held on test.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from w2s_lab import cascade, metrics
from w2s_lab.cascade import RULES, Answers, Cascade, Curve, Stage
from w2s_lab.cascade_protocol import MODELS, Model, Said, ask
from w2s_lab.data import Task
from w2s_lab.errors import W2SError
from w2s_lab.models import pick_device
from w2s_lab.shown import Shown

SMALL, LARGE = "small alone", "large alone"
DEFAULT = tuple(RULES)
SEEDS = 5
QUALITY = 0.99  # of the large model's quality, for which thresholds are chosen
GRID = np.linspace(0, 1, 21)  # deferred shares at which curves are drawn
RESAMPLES = 500
FOLDS = 5  # of validation, for rules that are fitted to it


@dataclass(frozen=True, repr=False)
class CascadeResult(Shown):
    """All that two models said, each rule's confidence, and what follows from them.

    Attributes:
        weak, strong: names of the small and the large model.
        small, large: score of each item by split ("validation", "test"), (seeds, items); its mean
            is the quality.
        probs: the small model's class probabilities by split, (seeds, items, classes).
        confidence: by rule and split, (seeds, items); higher keeps an item with the small model.
        gold, groups, kinds: of the test items, (items,).
        cost: by "small" and "large", of one query: tokens, flops, seconds.
    """

    task: str
    size: str
    device: str
    weak: str
    strong: str
    seeds: int
    classes: tuple[str, ...]
    methods: tuple[str, ...]
    small: Mapping[str, np.ndarray]
    large: Mapping[str, np.ndarray]
    probs: Mapping[str, np.ndarray]
    large_probs: Mapping[str, np.ndarray]
    confidence: Mapping[str, Mapping[str, np.ndarray]]
    gold: Mapping[str, np.ndarray]
    groups: np.ndarray
    kinds: np.ndarray
    cost: Mapping[str, Mapping[str, float]]
    seconds: float
    metric: str = "accuracy"
    provenance: Mapping[str, object] = field(default_factory=dict)

    @cached_property
    def _groups(self) -> dict:
        return {"groups": self.groups}

    def _confidence(self, rule: str, split: str) -> np.ndarray:
        if rule not in self.confidence:
            mend = f"one of: {', '.join(self.confidence)}"
            raise W2SError(f"no rule {rule!r} in this result", mend=mend)
        return self.confidence[rule][split]

    def curve(self, rule: str, *, seed: int = 0, split: str = "test", unit: str = "flops") -> Curve:
        """Cost against quality for every threshold of a rule, of one seed."""
        return cascade.deferral_curve(
            self._confidence(rule, split)[seed],
            self.small[split][seed],
            self.large[split][seed],
            small_cost=self.cost["small"][unit],
            large_cost=self.cost["large"][unit],
        )

    @cached_property
    def gap(self) -> metrics.Estimate:
        """The large model's lead over the small one on test, with its interval."""
        return metrics.bootstrap_difference(self.large["test"], self.small["test"], **self._groups)

    def alone(self, name: str) -> metrics.Estimate:
        """Quality on test of one model alone, SMALL or LARGE."""
        scores = {SMALL: self.small, LARGE: self.large}[name]["test"]
        return metrics.bootstrap_mean(scores, **self._groups)

    def average_pgr(self, rule: str) -> metrics.Estimate:
        """Average PGR of the rule's curve, with its interval over seeds and test groups.

        Passing on an item in the middle of the queue counts for the share of the queue behind it,
        so the area under a curve is a weighted mean over items, and can be resampled as one.
        """
        kept = vars(self).setdefault("_average", {})
        if rule not in kept:
            kept[rule] = bootstrap_average_pgr(
                self._confidence(rule, "test"),
                self.small["test"],
                self.large["test"],
                groups=self.groups,
            )
        return kept[rule]

    pgr = average_pgr

    def thresholds(self, rule: str, share: float = QUALITY) -> np.ndarray:
        """By seed, the validation threshold of least deferral with that share of the quality."""
        return np.array(
            [
                cascade.threshold_for_quality(self.curve(rule, seed=s, split="validation"), share)
                for s in range(self.seeds)
            ]
        )

    def deferred(self, rule: str, thresholds: np.ndarray, split: str = "test") -> np.ndarray:
        """Whether each item is passed on at these thresholds, one per seed, (seeds, items)."""
        return self._confidence(rule, split) <= np.asarray(thresholds)[:, None]

    def held(self, rule: str, thresholds: np.ndarray) -> "Held":
        """What thresholds chosen elsewhere do on test: quality, share passed on, cost."""
        gone = self.deferred(rule, thresholds)
        scores = np.where(gone, self.large["test"], self.small["test"])
        small, large = (self.cost[m]["flops"] for m in ("small", "large"))
        return Held(
            quality=metrics.bootstrap_mean(scores, **self._groups),
            of_large=_ratio(scores, self.large["test"], self.groups),
            share=metrics.bootstrap_mean(gone.astype(float), **self._groups),
            cost=(small + gone.mean() * large) / large,
        )

    def scores(self, rule: str, share: float = QUALITY) -> np.ndarray:
        """Test scores of the cascade whose threshold validation chose, (seeds, items)."""
        gone = self.deferred(rule, self.thresholds(rule, share))
        return np.where(gone, self.large["test"], self.small["test"])

    def score(self, rule: str) -> metrics.Estimate:
        """Quality on test at the threshold that validation chose for 99 % of the large model's."""
        return metrics.bootstrap_mean(self.scores(rule), **self._groups)

    def to_reach(self, rule: str, recovered: float) -> metrics.Estimate:
        """Share of queries to pass on to recover that share of the gap, mean and range of seeds."""
        found = [
            cascade.cost_to_reach(self.curve(rule, seed=s), recovered) for s in range(self.seeds)
        ]
        return metrics.Estimate(*(float(f(found)) for f in (np.mean, np.min, np.max)))

    def band(self, rule: str) -> list[metrics.Estimate]:
        """Quality at each deferred share of `GRID`, with intervals over seeds and test groups."""
        sure = self._confidence(rule, "test")
        # equal confidences in random order, which is their mean over many
        noise = np.random.default_rng(0).random(sure.shape)
        rank = np.stack([np.lexsort((n, s)).argsort() for n, s in zip(noise, sure, strict=True)])
        items = sure.shape[1]
        return [
            metrics.bootstrap_mean(
                np.where(rank < share * items, self.large["test"], self.small["test"]),
                resamples=RESAMPLES,
                **self._groups,
            )
            for share in GRID
        ]

    def losses(self, seed: int = 0) -> np.ndarray:
        """1 where only the large model is right, for all held-out items, (items,)."""
        lost = [self.small[s][seed] < self.large[s][seed] for s in ("validation", "test")]
        return np.concatenate(lost).astype(float)

    def held_out(self, rule: str, seed: int = 0) -> np.ndarray:
        """The rule's confidence in all held-out items, validation first, (items,)."""
        return np.concatenate([self._confidence(rule, s)[seed] for s in ("validation", "test")])

    def coverage(self, rule: str, *, level: float, delta: float = 0.1, splits: int = 400, **asked):
        """How often a guaranteed threshold keeps its promise, over many calibration samples."""
        from w2s_lab.guarantee import coverage

        asked |= {"level": level, "delta": delta, "splits": splits}
        return coverage(self.held_out(rule), self.losses(), **asked)

    @cached_property
    def best(self) -> str:
        """The rule of the highest average PGR that needs no truth; a description and no promise."""
        known = [name for name in self.methods if name not in ("oracle", "random")]
        return max(known or self.methods, key=lambda name: self.average_pgr(name).value)

    def to_dict(self) -> dict:
        """The plain values that `to_json` writes."""
        from w2s_lab import cascade_report

        return cascade_report.as_dict(self)

    def table(self):
        """Every rule with its average PGR, as a table that prints and displays itself."""
        from w2s_lab import cascade_report

        return cascade_report.table(self)

    def plot(self, path=None):
        """Quality by share of queries passed on, rule by rule; saved where a path is given."""
        from w2s_lab import cascade_plots

        return cascade_plots.curves(self, path)


@dataclass(frozen=True)
class Held:
    """A threshold on test: quality, its ratio to the large model's, share passed on, and cost.

    `cost` is in operations, as a share of asking the large model alone.
    """

    quality: metrics.Estimate
    of_large: metrics.Estimate
    share: metrics.Estimate
    cost: float


def _ratio(scores: np.ndarray, large: np.ndarray, groups: np.ndarray) -> metrics.Estimate:
    """Mean of `scores` over mean of `large`, resampled together: a gap that starts at 0."""
    return metrics.bootstrap_pgr(np.zeros_like(large), scores, large, groups=groups)


def bootstrap_average_pgr(
    confidence: np.ndarray,
    small: np.ndarray,
    large: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    resamples: int = RESAMPLES,
    confidence_level: float = 0.95,
    seed: int = 0,
) -> metrics.Estimate:
    """Average PGR of the seeds' mean curve with a percentile interval over seeds and items.

    Args:
        confidence, small, large: (seeds, items). groups: (items,), drawn as a whole.
    """
    seeds, items = confidence.shape
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
    area, gap = np.zeros((2, resamples))
    value = np.zeros(2)
    gains = large - small

    def gained(weights: np.ndarray, s: int) -> np.ndarray:
        """Area under the curve above the small model, (resamples,)."""
        level, place = np.unique(confidence[s], return_inverse=True)
        mass = np.zeros((len(weights), len(level)))
        np.add.at(mass.T, place, weights.T)
        # the items of one confidence go together: the line between two points passes their middle
        middle = np.cumsum(mass, axis=1) - mass / 2
        return ((1 - middle)[:, place] * weights) @ gains[s]

    even = np.full((1, items), 1 / items)
    for s in range(seeds):
        value += np.array([gained(even, s)[0], gains[s].mean()]) / seeds
    for chunk, weights in metrics.item_weights(rng, items, resamples, None, groups):
        for s in range(seeds):
            area[chunk] += drawn[chunk, s] * gained(weights, s)
            gap[chunk] += drawn[chunk, s] * (weights @ gains[s])
    return _share(value, area, gap, confidence_level)


def _share(value, area, gap, level) -> metrics.Estimate:
    """area / gap with its interval; an end that a gap of 0 leaves open is infinite."""
    whole = metrics.performance_gap_recovered(0.0, *value)
    if np.isnan(whole):
        return metrics.Estimate(np.nan, np.nan, np.nan)
    shares = metrics.performance_gap_recovered(0.0, area, gap)
    tail = (1 - level) / 2
    low = np.quantile(np.where(np.isnan(shares), -np.inf, shares), tail, method="lower")
    high = np.quantile(np.where(np.isnan(shares), np.inf, shares), 1 - tail, method="higher")
    return metrics.Estimate(float(whole), float(low), float(high))


def answers(said: Said, gold: np.ndarray, seed: int, metric: str) -> Answers:
    """What a rule may know of a split whose gold is known, for one seed."""
    right = {
        f"{role}_right": metrics.item_scores(getattr(said, role)[seed].argmax(-1), gold, metric)
        for role in ("small", "large")
    }
    return Answers(said.small[seed], features=said.features, gold=gold, **right)


def _crossed(rule: str, seen: Answers, seed: int) -> np.ndarray:
    """A rule's confidence in validation items, each by a rule that was fitted without it, (items,).

    Thresholds are chosen on these; a rule that had seen an item would be too sure of it.
    """
    fold = np.random.default_rng(seed).permutation(len(seen.probs)) % FOLDS
    found = np.empty(len(fold))
    for k in np.unique(fold):
        found[fold == k] = RULES[rule](seen.part(fold != k), seen.part(fold == k), seed * FOLDS + k)
    return found


def run_cascade(
    task: Task,
    *,
    weak: str | None,
    strong: str | None,
    methods: Sequence[str] | None,
    seeds: int | None,
    device: str,
    labels: int | None,
    started: float,
) -> CascadeResult:
    """The part of `experiment.run` for a task whose protocol is "cascade"."""
    if labels is not None:
        mend = "leave them out; both models learn from all the gold there is"
        raise W2SError("a cascade takes no number of labels", where="labels", mend=mend)
    weak, strong, seeds = weak or MODELS[0], strong or MODELS[1] + "+", seeds or SEEDS
    rules = list(dict.fromkeys(DEFAULT if methods is None else methods))
    for name in rules:
        RULES[name]
    found = ask(task, weak, strong, device, seeds)
    said: dict[str, Said] = found["said"]
    gold = {split: task.gold[part.items] for split, part in said.items()}
    confidence: dict[str, dict[str, np.ndarray]] = {}
    for name in rules:
        by_seed = []
        for seed in range(seeds):
            seen, new = (
                answers(said[s], gold[s], seed, task.metric) for s in ("validation", "test")
            )
            by_seed.append((_crossed(name, seen, seed), RULES[name](seen, new, seed)))
        sure = [np.stack(part) for part in zip(*by_seed, strict=True)]
        confidence[name] = dict(zip(("validation", "test"), sure, strict=True))
    right = {
        role: {
            s: metrics.item_scores(getattr(p, role).argmax(-1), gold[s], task.metric)
            for s, p in said.items()
        }
        for role in ("small", "large")
    }
    test = said["test"].items
    return CascadeResult(
        task=task.name,
        size=task.size,
        device=found["device"],
        weak=weak,
        strong=strong,
        seeds=seeds,
        classes=task.classes,
        methods=tuple(rules),
        small=right["small"],
        large=right["large"],
        probs={split: part.small for split, part in said.items()},
        large_probs={split: part.large for split, part in said.items()},
        confidence=confidence,
        gold=gold,
        groups=task.groups[test],
        kinds=task.kinds[test] if len(task.kinds) else task.kinds,
        cost=found["cost"],
        metric=task.metric,
        seconds=time.perf_counter() - started,
        provenance=task.provenance,
    )


def build(
    task: Task,
    models: Sequence[str] = ("static", "minilm+"),
    *,
    rule: str = "maximum probability",
    share: float = QUALITY,
    device: str = "auto",
) -> Cascade:
    """A cascade of two or more models that answers new texts, its thresholds set on validation.

    Each stage but the last keeps a query where it is sure enough for the two of them, itself and
    the last stage, to reach `share` of the last stage's quality.

    Args:
        models: cheap to dear; "static" reads mean states with a linear head, "minilm+" attends.
        rule: one that needs nothing but probabilities: "maximum probability", "margin", "entropy".
        share: of the last model's quality on validation, in (0, 1].

    Raises:
        W2SError: fewer than two models, an unknown one, a rule that needs to have seen validation.
    """
    simple = ("maximum probability", "margin", "entropy")
    if rule not in simple:
        raise W2SError(f"the rule {rule!r}", where="build", mend=f"one of: {', '.join(simple)}")
    asked = task.splits["validation"]
    texts, gold = [task.inputs[i] for i in asked], task.gold[asked]
    made = [Model(task, name, 1, pick_device(device)) for name in models]
    said = [model.answer(texts) for model in made]
    right = [metrics.item_scores(probs.argmax(-1), gold, task.metric) for probs in said]

    def sure(probs: np.ndarray) -> np.ndarray:
        given = Answers(probs)
        return RULES[rule](given, given, 0)

    thresholds = []
    for probs, scores in zip(said[:-1], right[:-1], strict=True):
        curve = cascade.deferral_curve(sure(probs), scores, right[-1], small_cost=0, large_cost=1)
        thresholds.append(cascade.threshold_for_quality(curve, share))
    costs = [model.cost(texts)["flops"] for model in made]
    stages = [Stage(m.name, m.answer, c) for m, c in zip(made, costs, strict=True)]
    return Cascade(tuple(stages), (sure,) * (len(stages) - 1), tuple(thresholds))
