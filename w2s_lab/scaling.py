"""Does a larger student recover more, and what are more texts or more gold labels worth?

It runs the protocol along a dial and measures trends with their intervals; it draws nothing.
After Burns et al. 2023, sections 4.2, 4.3 and 5.1; the intervals of the trends are added.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from w2s_lab import metrics
from w2s_lab.data import Task
from w2s_lab.errors import W2SError
from w2s_lab.experiment import Result, run
from w2s_lab.metrics import Estimate

# Rungs in the order of their compute; a name without a block is read where `models.LADDER` says
STUDENTS = ("static", "minilm:1", "minilm:2", "minilm", "minilm:6", "smollm2:5", "smollm2")
SUPERVISORS = ("static", "minilm", "smollm2:5")
METHODS = ("naive", "confidence")
TRANSFER = (50, 100, 200, 400)  # texts; the whole transfer split comes last
LABELS = (8, 12, 24, 48)  # gold labels; all of the supervise split come last


# --- tasks of other sizes -------------------------------------------------------------------------


def scored(task: Task) -> Task:
    """The task without the items that no split holds: a large supervisor need not read those.

    What the weak model says of the others does not depend on them, so no score changes.
    """
    used = np.sort(np.concatenate(list(task.splits.values())))
    place = np.full(len(task.inputs), -1)
    place[used] = np.arange(len(used))
    return replace(
        task,
        inputs=tuple(task.inputs[i] for i in used),
        gold=task.gold[used],
        groups=task.groups[used],
        ids=task.ids[used],
        kinds=task.kinds[used] if len(task.kinds) else task.kinds,
        questions=tuple(task.questions[i] for i in used) if task.questions else (),
        splits={name: place[index] for name, index in task.splits.items()},
    )


def fewer(task: Task, texts: int, *, seed: int = 0) -> Task:
    """The task with only so many transfer texts; fewer of one seed are part of more of that seed.

    Whole groups are drawn, the last one cut to size, so few texts are texts of few groups, as they
    would be in practice. Each next group has the class that is scarcest so far: the classes keep
    about their shares. All other splits stay.

    Args:
        texts: from one for each class to all of `transfer`.
        seed: another seed is another draw.

    Raises:
        W2SError: no such number of texts, or a class is missing among so few.
    """
    transfer = task.splits["transfer"]
    if not len(task.classes) <= texts <= len(transfer):
        mend = f"give from {len(task.classes)}, one for each class, to {len(transfer)}"
        raise W2SError(f"{texts} transfer texts asked for", where="texts", mend=mend)
    kept = transfer[_by_group(task.groups[transfer], task.gold[transfer], seed)[:texts]]
    for c, name in enumerate(task.classes):
        if not (task.gold[kept] == c).any():
            what = f"none of {texts} transfer texts is {name!r}"
            raise W2SError(what, where="texts", mend="ask for more, or draw with another seed")
    return replace(task, splits={**task.splits, "transfer": np.sort(kept)})


def _by_group(groups: np.ndarray, gold: np.ndarray, seed: int) -> np.ndarray:
    """An order of all items, (items,), of which any beginning is whole groups and one cut."""
    rng = np.random.default_rng(seed)
    member = np.unique(groups, return_inverse=True)[1]
    content = np.zeros((member.max() + 1, gold.max() + 1))  # items of each class in each group
    np.add.at(content, (member, gold), 1)
    left = list(rng.permutation(len(content)))
    share, have, order = content.sum(0) / len(gold), np.zeros(content.shape[1]), []
    while left:
        wanted = (share * have.sum() - have).argmax()
        # the first with the scarcest class, or just the first once no group has it any more
        group = next((g for g in left if content[g, wanted]), left[0])
        left.remove(group)
        have += content[group]
        order.append(rng.permutation(np.flatnonzero(member == group)))
    return np.concatenate(order)


def as_often(task: Task, texts: int) -> Task:
    """The task with its transfer texts repeated up to `texts`, so that a pass has as many steps.

    Students take a fixed number of passes. Without this, few texts would also mean few steps, and
    a student that has not finished learning looks like one that lacks data.

    Raises:
        W2SError: fewer texts asked for than there are.
    """
    transfer = task.splits["transfer"]
    if texts < len(transfer):
        what = f"{len(transfer)} transfer texts cannot be shown as {texts}"
        raise W2SError(what, where="texts", mend=f"ask for {len(transfer)} or more")
    return replace(task, splits={**task.splits, "transfer": np.resize(transfer, texts)})


# --- the protocol along a dial --------------------------------------------------------------------


def compute(name: str, *, device: str = "auto") -> float:
    """Floating-point operations per token up to the block a rung is read at; 0 for word vectors.

    Raises:
        W2SError: no such model.
    """
    from w2s_lab.models import trunk

    return trunk(name, device=device).flops_per_token()


def per_token(result: Result, role: str = "strong") -> float:
    """Floating-point operations per token of a result's model, `role` "weak" or "strong"."""
    cost = result.cost[role]
    return cost["flops"] / cost["tokens"]


def by_compute(row: Mapping[str, Result]) -> dict[float, Result]:
    """A row of the ladder by its students' operations per token, for `trend`.

    Students that compute nothing are left out, for 0 has no logarithm.

    Raises:
        W2SError: as `sized`.
    """
    return {size: result for size, result in sized(row).items() if size > 0}


def sized(row: Mapping[str, Result]) -> dict[float, Result]:
    """A row of the ladder by its students' operations per token, all of them, least first.

    Raises:
        W2SError: two students of one size, so that one would hide the other.
    """
    found = sorted(((per_token(r), name) for name, r in row.items()))
    for (size, one), (other, same) in pairwise(found):
        if math.isclose(size, other):
            what = f"two students of one size: {one} and {same}"
            raise W2SError(what, where="ladder", mend="leave one of them out")
    return {size: row[name] for size, name in found}


def ladder(
    task: Task,
    *,
    supervisors: Sequence[str] = SUPERVISORS,
    students: Sequence[str] = STUDENTS,
    methods: Sequence = METHODS,
    device: str = "auto",
    **options,
) -> dict[str, dict[str, Result]]:
    """Results by supervisor and student, for each student that computes at least as much.

    The supervisor is a linear head on mean states, the student attends to single tokens. So each
    supervisor also teaches a student on its own trunk: what that one gains, or could gain at its
    ceiling, is owed to the head, and only what larger trunks add to it is owed to size.

    Args:
        supervisors, students: rungs, see `experiment.run`.
        options: `seeds` and `labels`, as for `experiment.run`.

    Raises:
        W2SError: no such model, or a supervisor that no student reaches.
    """
    size = {name: compute(name, device=device) for name in {*supervisors, *students}}
    pairs = {
        weak: [s for s in sorted(students, key=size.__getitem__) if size[s] >= size[weak]]
        for weak in supervisors
    }
    for weak, those in pairs.items():
        if not those:
            mend = "name a student that computes at least as much"
            raise W2SError("a supervisor without students", where=weak, mend=mend)
    task, options = scored(task), {**options, "methods": methods, "device": device}
    return {
        weak: {strong: run(task, weak=weak, strong=strong, **options) for strong in those}
        for weak, those in pairs.items()
    }


def by_transfer(
    task: Task,
    texts: Sequence[int] = TRANSFER,
    *,
    seeds: int = 5,
    methods: Sequence = METHODS,
    **options,
) -> dict[int, Result]:
    """Results by the number of transfer texts, the whole split last; as many steps for each.

    Each seed has its own draw of texts, so that the interval over seeds also tells how much hangs
    on the draw. The ceiling, too, has gold of these texts alone.

    Args:
        options: `weak`, `strong`, `labels` and `device`, as for `experiment.run`.

    Raises:
        W2SError: as `fewer` and `experiment.run`.
    """
    task, whole = scored(task), len(task.splits["transfer"])
    options, found = {**options, "methods": methods}, {}
    for count in sorted({n for n in texts if n < whole}):
        small = [as_often(fewer(task, count, seed=s), whole) for s in range(seeds)]
        runs = [run(one, seeds=(s,), **options) for s, one in enumerate(small)]
        found[count] = of_all_seeds(runs)
    return {**found, whole: run(task, seeds=seeds, **options)}


def of_all_seeds(results: Sequence[Result]) -> Result:
    """One result with the seeds of all; its learning curves are their mean.

    Raises:
        W2SError: no results, or some on other test items or with other methods.
    """
    if not results:
        raise W2SError("no results", where="of_all_seeds", mend="give one or more")
    first = results[0]
    _on_the_same_test(results)
    for result in results[1:]:
        if result.probs.keys() != first.probs.keys():
            raise W2SError("results with other methods", mend="run them all with the same")
    total = sum(result.seeds for result in results)

    def mean(curves: Sequence[np.ndarray]) -> np.ndarray:
        weight = [result.seeds / total for result in results]
        return np.tensordot(weight, np.stack(curves), 1)

    return replace(
        first,
        seeds=total,
        probs={k: np.concatenate([result.probs[k] for result in results]) for k in first.probs},
        curves={k: mean([result.curves[k] for result in results]) for k in first.curves},
        seconds=sum(result.seconds for result in results),
    )


def _on_the_same_test(results: Sequence[Result]) -> None:
    first = results[0]
    if not all(
        np.array_equal(result.gold, first.gold) and np.array_equal(result.groups, first.groups)
        for result in results
    ):
        raise W2SError("results on other test items", mend="run them all on the same test")


def by_labels(
    task: Task, counts: Sequence[int] = LABELS, *, methods: Sequence = METHODS, **options
) -> dict[int, Result]:
    """Results by the supervisor's number of gold labels, all of `supervise` last.

    Args:
        options: `weak`, `strong`, `seeds` and `device`, as for `experiment.run`.

    Raises:
        W2SError: as `experiment.run`.
    """
    every = len(task.splits["supervise"])
    task, options = scored(task), {**options, "methods": methods}
    used = [*sorted({n for n in counts if n < every}), every]
    return {count: run(task, labels=count, **options) for count in used}


# --- what is measured, and its trend --------------------------------------------------------------


@dataclass(frozen=True)
class Measure:
    """A number for a student, made of means over seeds and test items.

    Attributes:
        words: what it is, for an axis.
        arrays: result and method → arrays of shape (seeds, items).
        of: their means → the number.
    """

    words: str
    arrays: Callable[[Result, str], tuple[np.ndarray, ...]]
    of: Callable


def _share(part, whole):
    """part / whole, nan where there is no whole."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(whole) > 0, np.divide(part, whole), np.nan)


def _scores(*names: str | None) -> Callable:
    """The scores of these names; None stands for the method."""
    return lambda result, method: tuple(result.scores(name or method) for name in names)


def _same(result: Result, method: str) -> tuple[np.ndarray]:
    return ((result.predicted(method) == result.predicted("weak")).astype(float),)


def _same_where(right: bool) -> Callable:
    def arrays(result: Result, method: str) -> tuple[np.ndarray, ...]:
        among = ((result.predicted("weak") == result.gold) == right).astype(float)
        return among * _same(result, method)[0], among

    return arrays


MEASURES: dict[str, Measure] = {
    "score": Measure("score on test", _scores(None), lambda mean: mean),
    "lead": Measure("lead over the supervisor", _scores(None, "weak"), np.subtract),
    "gap": Measure("ceiling less supervisor", _scores("ceiling", "weak"), np.subtract),
    "pgr": Measure(
        "performance gap recovered",
        _scores("weak", None, "ceiling"),
        metrics.performance_gap_recovered,
    ),
    "agreement": Measure("agreement with the supervisor", _same, lambda mean: mean),
    "where right": Measure("agreement where the supervisor is right", _same_where(True), _share),
    "where wrong": Measure("agreement where the supervisor is wrong", _same_where(False), _share),
}


def measured(result: Result, method: str, measure: str = "pgr") -> Estimate:
    """A measure of a method's student, with its interval over seeds and test groups.

    Args:
        method: of the result; "weak" and "ceiling" may be named, too.
        measure: a name in `MEASURES`. Agreement is a share of the test items, not balanced.

    Raises:
        W2SError: no such measure, or no such method in the result.

    Source: Burns et al. 2023, section 5.1.3, for the agreements.
    """
    chosen = _measure(measure)
    return _estimate(chosen.of, [*chosen.arrays(result, method)], result)


def trend(
    results: Mapping[int, Result] | Mapping[float, Result], method: str, measure: str = "pgr"
) -> Estimate:
    """By how much a measure changes per doubling of the dial, with its interval.

    The least-squares slope over log2 of the dial's values. Each resample draws seeds and test
    groups once, for all values alike, and fits the line anew. Undefined where the measure is
    undefined at some value; a resample in which it is counts as −inf for the low end and as +inf
    for the high one, as in `metrics.bootstrap_pgr`.

    Args:
        results: by the dial's value (a number of texts or labels, operations per token), above 0;
            the same seeds and test items for all.
        method, measure: as in `measured`.

    Raises:
        W2SError: fewer than two values, one not above 0, or results that do not belong together.
    """
    x, rows = np.array(list(results), float), list(results.values())
    if len(x) < 2 or not (x > 0).all():
        raise W2SError(f"no slope over {x.tolist()}", where="trend", mend="give two values above 0")
    _on_the_same_test(rows)
    if len(counts := dict.fromkeys(result.seeds for result in rows)) > 1:
        what = f"results of {' and '.join(map(str, counts))} seeds"
        raise W2SError(what, where="trend", mend="run them all with the same seeds")
    chosen, along = _measure(measure), np.log2(x) - np.log2(x).mean()
    arrays = [array for result in rows for array in chosen.arrays(result, method)]
    each = len(arrays) // len(rows)

    def slope(*means):
        values = [chosen.of(*means[k : k + each]) for k in range(0, len(means), each)]
        return np.tensordot(along, np.stack(values), 1) / (along @ along)

    return _estimate(slope, arrays, rows[0])


def _measure(name: str) -> Measure:
    if name not in MEASURES:
        raise W2SError(f"no measure {name!r}", mend=f"choose from: {', '.join(MEASURES)}")
    return MEASURES[name]


def _estimate(statistic: Callable, arrays: Sequence[np.ndarray], result: Result) -> Estimate:
    scores: dict[str, ArrayLike] = {f"array {k}": array for k, array in enumerate(arrays)}
    return metrics.bootstrap(statistic, scores, strata=result.gold, groups=result.groups)
