"""What follows from a run in which a weak model chose the data: gap recovered, kinds kept and lost.

It neither trains (`filter_protocol` does) nor prints nor draws. The floor is a student on a random
subset, the ceiling one on a subset by an oracle who knows the truth, all of one token budget.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from w2s_lab import metrics
from w2s_lab.data import Task
from w2s_lab.errors import W2SError
from w2s_lab.filter_protocol import (
    EVERYTHING,
    FLOOR,
    FRACTION,
    MODELS,
    ORACLE,
    UNTOUCHED,
    FilterBench,
    check_scores,
    offered,
)
from w2s_lab.selection import SCORES, Score
from w2s_lab.shown import Shown

SEEDS = 3  # a run of five would take seven minutes on two cores
BASELINES = (UNTOUCHED, EVERYTHING)


@dataclass(frozen=True, repr=False)
class FilterResult(Shown):
    """All that was chosen and scored in a run, and what follows from it.

    Attributes:
        weak, strong: names of the models; labels: judged passages that some scores learned from.
        fraction: share of the tokens on offer that each chooser may take.
        by: who judges for each method; empty for the weak language model.
        distil: weight of the weak model's predictions in the loss, by method.
        numbers: log-likelihood per token of each test text, in nats, by name: "random", "oracle"
            and each method (seeds, items); "untouched" and "all data" (1, items).
        kept: by name and seed the chosen documents, indices into the store.
        judged: what each method thought of each document of the store, (documents,).
        texts, kinds, clean, tokens: of the store, (documents,).
        groups, test_kinds: of the test texts, (items,).
        facts: counts and costs, as `FilterBench` gives them.
    """

    task: str
    size: str
    device: str
    weak: str
    strong: str
    labels: int
    seeds: int
    fraction: float
    methods: tuple[str, ...]
    by: Mapping[str, str]
    distil: Mapping[str, float]
    numbers: Mapping[str, np.ndarray]
    kept: Mapping[str, Sequence[np.ndarray]]
    judged: Mapping[str, np.ndarray]
    texts: np.ndarray
    kinds: np.ndarray
    clean: np.ndarray
    tokens: np.ndarray
    groups: np.ndarray
    test_kinds: np.ndarray
    facts: Mapping[str, Any]
    seconds: float
    provenance: Mapping[str, object] = field(default_factory=dict)
    baselines: tuple[str, ...] = BASELINES
    metric: str = "log_likelihood"

    def scores(self, name: str) -> np.ndarray:
        """Log-likelihood per token of each test text, (seeds, items) or (1, items).

        Raises:
            W2SError: no such name in this result.
        """
        if name not in self.numbers:
            raise W2SError(f"no {name!r} in this result", mend=f"one of: {', '.join(self.numbers)}")
        return self.numbers[name]

    def score(self, name: str) -> metrics.Estimate:
        """The score with its interval over seeds and test groups."""
        return metrics.bootstrap_mean(self.scores(name), groups=self.groups)

    def recovered(self, name: str) -> metrics.Estimate:
        """Share of the gap from random to the oracle's choice, with its interval."""
        triple = (self.scores(n) for n in (FLOOR, name, ORACLE))
        return metrics.bootstrap_pgr(*triple, groups=self.groups)

    pgr = recovered

    def lead(self, name: str, over: str) -> metrics.Estimate:
        """By how much one score beats another, with its paired interval."""
        return metrics.bootstrap_difference(
            self.scores(name), self.scores(over), groups=self.groups
        )

    @cached_property
    def best(self) -> str:
        """The method with the highest score; chosen on test, so a description and no promise."""
        return max(self.methods, key=lambda name: self.scores(name).mean())

    def chosen(self, name: str) -> np.ndarray:
        """How often each document was kept, over the seeds, (documents,)."""
        if name not in self.kept:
            raise W2SError(f"{name!r} chose nothing", mend=f"one of: {', '.join(self.kept)}")
        return np.bincount(np.concatenate(self.kept[name]), minlength=len(self.texts)) / self.seeds

    @cached_property
    def on_offer(self) -> np.ndarray:
        """How often each document was there to choose from, over the seeds, (documents,)."""
        many = len(self.texts)
        drawn = np.concatenate([offered(many, seed) for seed in range(self.seeds)])
        return np.bincount(drawn, minlength=many) / self.seeds

    def recall(self, name: str) -> dict[str, float]:
        """Share of the documents of each kind that were kept, of those on offer; 0 of none."""
        chosen = self.chosen(name)
        kinds = {str(k): self.kinds == k for k in np.unique(self.kinds)}
        there = {k: max(self.on_offer[of].sum(), 1 / self.seeds) for k, of in kinds.items()}
        return {k: float(chosen[of].sum() / there[k]) for k, of in kinds.items()}

    def precision(self, name: str) -> float:
        """Share of the tokens kept that are clean."""
        spent = self.chosen(name) * self.tokens
        return float(spent[self.clean].sum() / spent.sum())

    def to_dict(self) -> dict:
        """The plain values that `to_json` writes."""
        from w2s_lab import filter_report

        return filter_report.as_dict(self)

    def table(self):
        """Every choice with its gap recovered, as a table that prints and displays itself."""
        from w2s_lab import filter_report

        return filter_report.table(self)

    def plot(self, path=None):
        """Students between the random and the oracle's choice; saved where a path is given."""
        from w2s_lab import filter_plots

        return filter_plots.gap(self, path)


def possible(task: Task) -> list[str]:
    """Names of the scores that suit a task: difficulty needs instructions, others judged texts."""
    paired = len(task.questions) > 0
    fits = {"": True, "prompts": paired, "judged": not paired}
    return [name for name, found in SCORES.items() if fits[found.needs]]


def run_filter(
    task: Task,
    *,
    weak: str | None,
    strong: str | None,
    methods: Sequence[str | Score] | None,
    seeds: int | None,
    device: str,
    labels: int | None,
    started: float,
    fraction: float | None = None,
) -> FilterResult:
    """The part of `experiment.run` for a task whose protocol is "filter".

    Args:
        fraction: share of the tokens on offer that each chooser may take, in (0, 1].
    """
    weak, strong, seeds = weak or MODELS[0], strong or MODELS[1], seeds or SEEDS
    asked = dict.fromkeys(possible(task) if methods is None else methods)
    chosen = [m if isinstance(m, Score) else SCORES[m] for m in asked]
    check_scores(task, chosen)
    bench = FilterBench(
        task, weak, strong, device, seeds, FRACTION if fraction is None else fraction, labels
    )
    found = bench.everything(chosen)
    store, test = bench.store, bench.test
    kinds = task.kinds if len(task.kinds) else np.array(task.classes)[task.gold]
    return FilterResult(
        task=task.name,
        size=task.size,
        device=bench.device,
        weak=weak,
        strong=strong,
        labels=bench.labels,
        seeds=seeds,
        fraction=bench.fraction,
        methods=tuple(m.name for m in chosen),
        by={m.name: m.by for m in chosen} | {FLOOR: "chance", ORACLE: "one who knows"},
        distil={m.name: m.distil for m in chosen},
        numbers=found["scores"],
        kept=found["kept"],
        judged=found["judged"],
        texts=np.array([task.inputs[i] for i in store], object),
        kinds=kinds[store],
        clean=task.gold[store] == 1,
        tokens=np.array(found["facts"]["counts"]),
        groups=task.groups[test],
        test_kinds=kinds[test],
        facts=found["facts"],
        seconds=time.perf_counter() - started,
        provenance=task.provenance,
    )
