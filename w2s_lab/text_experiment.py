"""What follows from a run whose answers are texts: scores, gap recovered, signs of imitation.

It neither trains (`text_protocol` does) nor prints nor draws. Protocol and names follow Burns et
al. 2023; the gap from the untouched strong model, and its share recovered, are added.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from w2s_lab import metrics
from w2s_lab.data import Task
from w2s_lab.errors import W2SError
from w2s_lab.shown import Shown
from w2s_lab.text_methods import TEXT_METHODS, TextMethod

METRICS = ("log_likelihood", "rouge_l", "chrf", "similarity")
BASELINES = ("lead sentence", "strong zero-shot", "strong on gold labels")
DEFAULT = ("naive", "early stopping", "likely", "agreed", "mixed", "shrink")
SEEDS = 3  # a run of five would take ten minutes on two cores


@dataclass(frozen=True, repr=False)
class TextResult(Shown):
    """All that was written and scored in a run, and what follows from it.

    Attributes:
        weak, strong: names of the models; labels: gold pairs each weak model was given.
        numbers: by metric and name ("weak", "ceiling", each method, each baseline) scores, higher
            is better, arrays of shape (seeds, items), or (1, items) where no seed plays a part.
            "log_likelihood" is that of the gold text, per token, in nats, for all test items; the
            other metrics compare what was written for the first `written` of them.
        texts: by name what was written, object arrays (seeds, written).
        gold, sources, groups, kinds: of the test items, shape (items,).
        curves: of the naive student, (seeds, epochs): mean log-likelihood per token of the "weak"
            and of the "gold" texts of the validation items; of the "test" gold (seeds, epochs,
            items).
        dial: test log-likelihood of the naive student that went only a share of the way from the
            untouched model, by share, (seeds, items).
        chosen: by method that shrinks, the share that the few gold pairs chose, (seeds,).
        cost: per 1,000 labels, for "weak" and "strong": tokens, operations, measured seconds.
    """

    task: str
    size: str
    device: str
    weak: str
    strong: str
    labels: int
    seeds: int
    methods: tuple[str, ...]
    baselines: tuple[str, ...]
    numbers: Mapping[str, Mapping[str, np.ndarray]]
    texts: Mapping[str, np.ndarray]
    gold: np.ndarray
    sources: np.ndarray
    groups: np.ndarray
    kinds: np.ndarray
    transfer: int
    curves: Mapping[str, np.ndarray]
    dial: Mapping[float, np.ndarray]
    chosen: Mapping[str, np.ndarray]
    cost: Mapping[str, Mapping[str, float]]
    seconds: float
    provenance: Mapping[str, object] = field(default_factory=dict)

    @property
    def written(self) -> int:
        """How many of the test items every model has written for."""
        return next(iter(self.texts.values())).shape[1]

    @cached_property
    def metric(self) -> str:
        """The score that leads: log-likelihood, or ROUGE-L where the weak one is no model."""
        return METRICS[0] if "weak" in self.numbers[METRICS[0]] else METRICS[1]

    def has(self, name: str, metric: str | None = None) -> bool:
        """Whether `name` has this score: a lead sentence has no likelihood."""
        return name in self.numbers[metric or self.metric]

    def scores(self, name: str, metric: str | None = None) -> np.ndarray:
        """Score per test item, (seeds, items) or (1, items); its mean is the score.

        Raises:
            W2SError: no such name or metric in this result.
        """
        metric = metric or self.metric
        if metric not in METRICS:
            raise W2SError(f"no metric {metric!r}", mend=f"one of: {', '.join(METRICS)}")
        if name not in self.numbers[metric]:
            known = ", ".join(self.numbers[metric])
            raise W2SError(f"no {metric} of {name!r} in this result", mend=f"one of: {known}")
        return self.numbers[metric][name]

    def _resampling(self, metric: str | None) -> dict:
        items = len(self.gold) if (metric or self.metric) == METRICS[0] else self.written
        return {"groups": self.groups[:items]}

    def score(self, name: str, metric: str | None = None) -> metrics.Estimate:
        """The score with its interval over seeds and test groups."""
        return metrics.bootstrap_mean(self.scores(name, metric), **self._resampling(metric))

    def _gap(self, floor: str, name: str, metric: str | None) -> metrics.Estimate:
        if not self.has(floor, metric):
            return metrics.Estimate(np.nan, np.nan, np.nan)
        triple = (self.scores(n, metric) for n in (floor, name, "ceiling"))
        return metrics.bootstrap_pgr(*triple, **self._resampling(metric))

    def pgr(self, name: str, metric: str | None = None) -> metrics.Estimate:
        """Performance gap recovered, from weak to ceiling; undefined where weak has no score."""
        return self._gap("weak", name, metric)

    def recovered(self, name: str, metric: str | None = None) -> metrics.Estimate:
        """The share recovered of the gap from the untouched strong model to the ceiling.

        A bad supervisor makes PGR's gap wide and its share easy to win; this gap has nothing to do
        with the supervisor.
        """
        return self._gap("strong zero-shot", name, metric)

    def lead(self, name: str, over: str, metric: str | None = None) -> metrics.Estimate:
        """By how much one score beats another, with its paired interval."""
        pair = (self.scores(name, metric), self.scores(over, metric))
        return metrics.bootstrap_difference(*pair, **self._resampling(metric))

    @cached_property
    def best(self) -> str:
        """The method of the highest score; chosen on test, so a description and no promise."""
        return max(self.methods, key=lambda name: self.scores(name).mean())

    def signs(self, name: str):
        """Repetition, copying, unsupported names and numbers in what was written: `Signs`."""
        from w2s_lab.text_metrics import signs

        texts = self.gold[None, : self.written] if name == "gold" else self.written_by(name)
        return signs(texts, self.sources[: self.written])

    def reproduced(self, name: str):
        """How many of the weak model's errors `name` repeats on the same inputs: `Reproduced`."""
        from w2s_lab.text_metrics import reproduced

        said = np.broadcast_to(self.written_by(name), self.texts["weak"].shape)
        read, gold = self.sources[: self.written], self.gold[: self.written]
        return reproduced(said, self.texts["weak"], read, gold)

    def written_by(self, name: str) -> np.ndarray:
        """The texts of `name`, (seeds, written) or (1, written).

        Raises:
            W2SError: no such name in this result.
        """
        if name not in self.texts:
            raise W2SError(f"no texts of {name!r}", mend=f"one of: {', '.join(self.texts)}")
        return self.texts[name]

    @cached_property
    def epochs(self) -> dict[str, np.ndarray]:
        """The naive student's epoch, from 1, chosen by the "weak" texts and by "gold", (seeds,)."""
        return {name: self.curves[name].argmax(1) + 1 for name in ("weak", "gold")}

    def gain_by_gold(self) -> metrics.Estimate:
        """What choosing the epoch by gold instead of weak texts would have gained on test."""
        every = np.arange(self.seeds)
        gold, weak = (self.curves["test"][every, self.epochs[n] - 1] for n in ("gold", "weak"))
        return metrics.bootstrap_difference(gold, weak, **self._resampling(METRICS[0]))

    def to_dict(self) -> dict:
        """The plain values that `to_json` writes."""
        from w2s_lab import text_report

        return text_report.as_dict(self)

    def table(self):
        """Every score and PGR with its interval, as a table that prints and displays itself."""
        from w2s_lab import text_report

        return text_report.table(self)

    def plot(self, path=None):
        """Scores between floor and ceiling, and the gap recovered; saved where a path is given."""
        from w2s_lab import text_plots

        return text_plots.gap(self, path)


def run_text(
    task: Task,
    *,
    weak: str | None,
    strong: str | None,
    methods: Sequence[str | TextMethod] | None,
    seeds: int | None,
    device: str,
    labels: int | None,
    started: float,
) -> TextResult:
    """The part of `experiment.run` for a task whose answers are texts."""
    from w2s_lab.text_protocol import MODELS, SHARES, TextBench, test_items

    default = MODELS[task.size]
    weak, strong, seeds = weak or default[0], strong or default[1], seeds or SEEDS
    bench = TextBench(task, weak, strong, device, seeds, labels)
    asked = dict.fromkeys(DEFAULT if methods is None else methods)
    chosen = [m if isinstance(m, TextMethod) else TEXT_METHODS[m] for m in asked]
    for m in chosen:
        if why := bench.possible(m):
            raise W2SError(f"{weak} {why}", where=m.name, mend="leave this method out")
    found = bench.everything(chosen)
    numbers, test = dict(found["numbers"]), test_items(task)
    curves, chosen_shares = numbers.pop("curves", {}), numbers.pop("chosen", {})
    dial = numbers.pop("dial", {}).get("likelihood", ())
    return TextResult(
        task=task.name,
        size=task.size,
        device=bench.device,
        weak=weak,
        strong=strong,
        labels=bench.labels,
        seeds=seeds,
        methods=tuple(m.name for m in chosen),
        baselines=BASELINES,
        numbers=numbers,
        texts={name: np.array(texts, object) for name, texts in found["texts"].items()},
        gold=task.gold[test],
        sources=np.array([task.inputs[i] for i in test], object),
        groups=task.groups[test],
        kinds=task.kinds[test] if len(task.kinds) else task.kinds,
        transfer=len(task.splits["transfer"]),
        curves=curves,
        dial=dict(zip(SHARES, dial, strict=False)),
        chosen=chosen_shares,
        cost=found["facts"]["cost"],
        seconds=time.perf_counter() - started,
        provenance=task.provenance,
    )
