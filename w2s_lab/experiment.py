"""The protocol: weak, students, ceiling and the baselines that could embarrass them, in one call.

It neither draws nor prints. Protocol and names follow Burns et al. 2023 (sections 3 and 4); the
interval, the zero-shot baseline and the held-out weak labels are added.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral
from typing import cast

import numpy as np

from w2s_lab import metrics, protocol
from w2s_lab.baselines import BASELINES
from w2s_lab.data import Task, default_size, load_task
from w2s_lab.errors import W2SError
from w2s_lab.methods import METHODS, Method, balanced, one_hot
from w2s_lab.selection import Score
from w2s_lab.shown import Shown
from w2s_lab.text_methods import TEXT_METHODS, TextMethod

MODELS = ("static", "minilm")  # weak, strong
SEEDS = 5


@dataclass(frozen=True, repr=False)
class Result(Shown):
    """All that was predicted in a run, and what follows from it.

    Attributes:
        weak, strong: names of the models; labels: gold labels each weak model was given.
        probs: class probabilities on the test items by name ("weak", "ceiling", each method, each
            baseline), arrays of shape (seeds, items, classes).
        methods, baselines: which of the names in `probs` are which.
        gold, groups, kinds: of the test items, shape (items,).
        test: indices of the test items in the task.
        pool: how many texts the weak model labelled, and how many of each class, mean over seeds.
        curves: for "naive" and "ceiling", per epoch: share of weak labels matched and the score
            against gold, both on the validation groups, arrays of shape (epochs, 2).
        cost: per 1,000 labels, for "weak" and "strong": measured seconds, and floating-point
            operations of the trunk.
    """

    task: str
    size: str
    device: str
    weak: str
    strong: str
    labels: int
    seeds: int
    metric: str
    classes: tuple[str, ...]
    methods: tuple[str, ...]
    baselines: tuple[str, ...]
    probs: Mapping[str, np.ndarray]
    gold: np.ndarray
    groups: np.ndarray
    kinds: np.ndarray
    test: np.ndarray
    pool: Mapping[str, float]
    curves: Mapping[str, np.ndarray]
    cost: Mapping[str, Mapping[str, float]]
    seconds: float
    provenance: Mapping[str, object] = field(default_factory=dict)

    @cached_property
    def _resampling(self) -> dict:
        return {"strata": self.gold, "groups": self.groups}

    def predicted(self, name: str) -> np.ndarray:
        """Predicted classes of the test items, shape (seeds, items)."""
        if name not in self.probs:
            raise W2SError(f"no {name!r} in this result", mend=f"one of: {', '.join(self.probs)}")
        return self.probs[name].argmax(-1)

    def scores(self, name: str) -> np.ndarray:
        """Score per test item, shape (seeds, items); its mean is the score."""
        return metrics.item_scores(self.predicted(name), self.gold, self.metric)

    def score(self, name: str) -> metrics.Estimate:
        """The score with its interval over seeds and test groups."""
        return metrics.bootstrap_mean(self.scores(name), **self._resampling)

    def pgr(self, name: str) -> metrics.Estimate:
        """Performance gap recovered by a method, with its interval over seeds and test groups."""
        triple = (self.scores(n) for n in ("weak", name, "ceiling"))
        return metrics.bootstrap_pgr(*triple, **self._resampling)

    def lead(self, name: str, over: str) -> metrics.Estimate:
        """By how much one score beats another, with its paired interval."""
        return metrics.bootstrap_difference(
            self.scores(name), self.scores(over), **self._resampling
        )

    def agreement(self, name: str) -> metrics.Agreement:
        """Where a student follows the weak model, and where it mends or repeats its errors."""
        return metrics.agreement(self.predicted(name), self.predicted("weak"), self.gold)

    def calibration_error(self, name: str) -> float:
        """Expected calibration error over all seeds, 0 to 1."""
        probs = self.probs[name]
        return metrics.expected_calibration_error(
            probs.reshape(-1, probs.shape[-1]), np.tile(self.gold, len(probs))
        )

    @cached_property
    def best(self) -> str:
        """The method with the highest score; chosen on test, so a description and no promise."""
        return max(self.methods, key=lambda name: self.scores(name).mean())

    def to_dict(self) -> dict:
        """The plain values that `to_json` writes."""
        from w2s_lab import report

        return report.as_dict(self)

    def table(self):
        """Every score and PGR with its interval, as a table that prints and displays itself."""
        from w2s_lab import report

        return report.table(self)

    def plot(self, path=None):
        """Scores between floor and ceiling, and the gap recovered; saved where a path is given."""
        from w2s_lab import plots

        return plots.gap(self, path)


def run(
    task: str | Task = "indemnity",
    *,
    weak: str | None = None,
    strong: str | None = None,
    methods=None,
    seeds: int | Sequence[int] | None = None,
    size: str | None = None,
    device: str = "auto",
    labels: int | None = None,
    split: int | None = None,
    cluster: str | None = None,
):
    """Weak and strong performance, the ceiling, and what each method recovers of the gap.

    A `Result`; a `TextResult` for a task whose answers are texts, a `FilterResult` where a weak
    model chooses the data, a `CascadeResult` where a small model passes questions on.

    Args:
        task: a name, file or Hub id for `load_task`, or a `Task`.
        weak, strong: a rung of the ladder (static, minilm, smollm2), a Hub id or a local folder;
            by default static and minilm. The weak model is a linear head on mean states, the
            strong one attends over tokens. For texts: language models, by default smollm2:22 (cut
            after block 22) and smollm2; or "lead" as the weak one, which copies. For a cascade: the
            small and the large model, "+" behind a name for a head that attends to tokens.
        methods: names out of `METHODS` (for texts `TEXT_METHODS`, for a store `selection.SCORES`,
            for a cascade `cascade.RULES`), or some of your own; by default all, but for texts not
            "soft". Settings of one method are methods too: `variant("naive", rate=3)`; all of them,
            with all seeds, are trained as one program.
        seeds: how many times all is repeated, each with other gold labels and other first weights,
            or another part of the store; by default 5, for texts and stores 3. Or which, as (0, 3),
            where a model labels by class: what a seed comes to does not depend on the others.
        size: "smoke", "lab" or "full"; default from W2S_SIZE.
        device: "auto", "cpu", "cuda", "mps".
        labels: gold labels for each weak model, or judged passages of a store; the task's own
            number by default.
        split: deal the groups anew with this seed.
        cluster: a Dask scheduler's address, or a file of settings, see `cluster.connect`: its
            workers do the work, one job for each seed where a model labels by class.

    Raises:
        W2SError: an unknown name, or more labels than there are.
    """
    started = time.perf_counter()
    methods = [methods] if isinstance(methods, str | Method | TextMethod | Score) else methods
    if methods is not None and not len(methods):
        raise W2SError("no methods", where="run", mend=f"name some of: {', '.join(METHODS)}")
    for name in methods or ():  # a misspelt name is told before anything is loaded
        if isinstance(name, str):
            known(name)
    if seeds is not None:
        numbers(seeds)
    if cluster is not None:
        from w2s_lab.grid import runs

        asked = {"weak": weak, "strong": strong, "methods": methods, "seeds": seeds, "size": size}
        asked |= {"task": task, "device": device, "labels": labels, "split": split}
        return runs([asked], cluster)[0]
    if not isinstance(task, Task):
        task = load_task(task, size=default_size(size))
    if split is not None:
        task = task.resplit(split)
    if other := elsewhere(task):
        if not isinstance(seeds, Integral | None):
            mend = "give how many, not which: they share their models"
            raise W2SError(f"seeds is {seeds}", where=task.name, mend=mend)
        asked = {"weak": weak, "strong": strong, "methods": methods, "seeds": seeds}
        return other(task, **asked, device=device, labels=labels, started=started)
    weak, strong = weak or MODELS[0], strong or MODELS[1]
    chosen = chosen_of(methods)
    drawn = numbers(SEEDS if seeds is None else seeds)
    bench = protocol.Bench(task, weak, strong, device, drawn, labels)
    probs, curves, facts = bench.everything(chosen)
    test = task.splits["test"]
    return Result(
        task=task.name,
        size=task.size,
        device=bench.device,
        weak=weak,
        strong=strong,
        labels=bench.labels,
        seeds=bench.seeds,
        metric=task.metric,
        classes=task.classes,
        methods=tuple(m.name for m in chosen),
        baselines=tuple(BASELINES),
        probs=probs,
        gold=task.gold[test],
        groups=task.groups[test],
        kinds=task.kinds[test] if len(task.kinds) else task.kinds,
        test=test,
        pool=facts["pool"],
        curves=curves,
        cost=facts["cost"],
        seconds=time.perf_counter() - started,
        provenance={**task.provenance, "split": split} | told_of(drawn),
    )


def numbers(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """The numbers of so many seeds, or those that are given.

    Raises:
        W2SError: none, one of them twice, or one that is no number from 0 to 9,999.
    """
    if isinstance(seeds, Integral):
        if seeds < 1:
            raise W2SError(f"seeds is {seeds}", where="run", mend="give 1 or more")
        return tuple(range(int(seeds)))
    found = tuple(int(seed) for seed in cast(Sequence[int], seeds))
    if not found or len(set(found)) < len(found) or min(found) < 0 or max(found) > 9999:
        mend = "give different numbers from 0 to 9,999, or how many"
        raise W2SError(f"seeds is {seeds}", where="run", mend=mend)
    return found


def told_of(drawn: tuple[int, ...]) -> dict:
    """Which seeds, for a result's provenance, if they are not the first ones."""
    return {} if drawn == numbers(len(drawn)) else {"seeds": list(drawn)}


def chosen_of(methods) -> list[Method]:
    """The methods of these names, by default all there are, each once.

    Raises:
        W2SError: two different ones have the same name: a result could not tell them apart.
    """
    asked = dict.fromkeys(METHODS if methods is None else methods)
    chosen = [m if isinstance(m, Method) else METHODS[m] for m in asked]
    names = [m.name for m in chosen]
    if twice := [name for name in names if names.count(name) > 1]:
        mend = 'name each setting, as `methods.variant("naive", rate=3)` does'
        raise W2SError(f"{len(twice)} methods are called {twice[0]!r}", where="methods", mend=mend)
    return chosen


def default_models(task: Task) -> dict[str, str]:
    """Names of the weak and the strong model of a run that is asked for none."""
    from w2s_lab import cascade_protocol, filter_protocol, text_protocol

    pair = MODELS
    if task.protocol == "filter":
        pair = filter_protocol.MODELS
    elif task.protocol == "cascade":
        pair = cascade_protocol.MODELS
    elif task.in_text:
        pair = text_protocol.MODELS[task.size]
    return dict(zip(("weak", "strong"), pair, strict=True))


def elsewhere(task: Task):
    """The function that runs a task of another protocol than that of labels by class, if any."""
    if task.protocol == "filter":
        from w2s_lab.filter_experiment import run_filter

        return run_filter
    if task.protocol == "cascade":
        from w2s_lab.cascade_experiment import run_cascade

        return run_cascade
    if task.in_text:
        from w2s_lab.text_experiment import run_text

        return run_text
    return None


def known(name: str) -> None:
    """Nothing, if some protocol has a method of that name.

    Raises:
        W2SError: none has.
    """
    from w2s_lab.cascade import RULES
    from w2s_lab.selection import SCORES

    everywhere = (METHODS, TEXT_METHODS, SCORES, RULES)
    if not any(name in registry for registry in everywhere):
        names = ", ".join(sorted({name for registry in everywhere for name in registry}))
        raise W2SError(f"unknown method {name!r}", mend=f"choose one of: {names}")


def imitate(
    task: Task,
    labels: np.ndarray,
    *,
    strong: str = "minilm",
    device: str = "auto",
    epochs: int = protocol.EPOCHS,
) -> np.ndarray:
    """Test probabilities of strong students that imitate given labels, one student per row.

    Args:
        labels: class per student and item of the task, shape (students, items); only those of
            `transfer` are shown to the students.
        epochs: passes over the transfer texts.

    Returns:
        float array of shape (students, test items, classes).
    """
    from w2s_lab.heads import train

    bench = protocol.Bench(task, strong, strong, device, 1)
    transfer, test = task.splits["transfer"], task.splits["test"]
    inputs = bench.inputs(bench.trunk, np.concatenate([transfer, test]), dim=protocol.DIM)
    told = labels[:, transfer]
    lessons = bench.lessons(one_hot(told, bench.classes), balanced(told, bench.classes))
    here = np.arange(len(transfer) + len(test))
    heads = train(inputs, here[: len(transfer)], lessons, epochs=epochs)
    return heads.predict(inputs, here[len(transfer) :])
