"""`CascadeResult` → a table of rules, guarantees put to the test, a live run's stages, JSON.

It neither trains nor draws; `cascade_plots` draws the same numbers.
What is told of a curve follows Ong et al. 2024, of a guarantee Angelopoulos et al. 2021.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_lab import metrics
from w2s_lab.cascade_experiment import LARGE, QUALITY, SMALL
from w2s_lab.errors import W2SError
from w2s_lab.metrics import Estimate
from w2s_lab.report import Table, counted, plain, short

if TYPE_CHECKING:
    from w2s_lab.cascade import Answered, Cascade
    from w2s_lab.cascade_experiment import CascadeResult, Held
    from w2s_lab.guarantee import Coverage

HEADER = (
    "",
    "quality [95 %]",
    "of large",
    "passed on",
    "cost",
    "average PGR [95 %]",
    "20/50/80 %",
)
BOUNDS = ("random", "oracle")  # what any rule should beat, and what none can
REACHED = (0.2, 0.5, 0.8)  # shares of the gap; Ong et al. 2024 report 50 % and 80 %
ALIKE = ("maximum probability", "margin", "entropy", "calibrated")  # with two classes
LEVELS = (0.01, 0.02, 0.03, 0.05)
DELTA, SPLITS = 0.1, 400


@dataclass(frozen=True)
class Summary:
    """What follows from a result, resampled once: table, JSON and figures all read from here.

    Attributes:
        ranked: rules that need no truth, the highest average PGR first; bounds: random and oracle.
        alone: quality of SMALL and of LARGE.
        held, area, reach: by rule: its threshold on test, its average PGR, and the mean share of
            queries to pass on to recover each of `REACHED`.
        gap: the large model's lead over the small one.
        majority: what always answering the test items' most frequent class scores.
    """

    ranked: tuple[str, ...]
    bounds: tuple[str, ...]
    alone: Mapping[str, Estimate]
    held: Mapping[str, "Held"]
    area: Mapping[str, Estimate]
    reach: Mapping[str, tuple[float, ...]]
    gap: Estimate
    majority: float


def summarize(result: "CascadeResult") -> Summary:
    """The summary of a result, computed at the first call and kept with the result."""
    kept = vars(result)  # where `cached_property` keeps its values, too
    if "_summary" not in kept:
        kept["_summary"] = _summary(result)
    return kept["_summary"]


def _summary(result: "CascadeResult") -> Summary:
    area = {name: result.average_pgr(name) for name in result.methods}
    known = [name for name in result.methods if name not in BOUNDS]
    # without a gap no rule is before another
    ranked = sorted(known, key=lambda name: -area[name].value if area[name].defined else 0.0)
    gold = result.gold["test"]
    most = np.full(len(gold), np.bincount(gold).argmax())
    return Summary(
        ranked=tuple(ranked),
        bounds=tuple(name for name in BOUNDS if name in result.methods),
        alone={name: result.alone(name) for name in (SMALL, LARGE)},
        held={name: result.held(name, result.thresholds(name)) for name in result.methods},
        area=area,
        reach={
            name: tuple(result.to_reach(name, share).value for share in REACHED)
            for name in result.methods
        },
        gap=result.gap,
        majority=float(metrics.item_scores(most, gold, result.metric).mean()),
    )


def share(estimate: Estimate) -> str:
    """A share with its interval in percent, as `33% [28, 38]`."""
    return f"{estimate.value:.0%} [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"


def table(result: "CascadeResult") -> Table:
    """Small model, rules by average PGR, random and oracle, large model; and what they say."""
    told = summarize(result)
    small, large = (told.alone[name].value for name in (SMALL, LARGE))
    ratio = small / large if large else np.nan
    cost = result.cost["small"]["flops"] / result.cost["large"]["flops"]

    def rule_row(name: str) -> tuple[str, ...]:
        held = told.held[name]
        reached = "/".join(f"{100 * part:.0f}" for part in told.reach[name]) + " %"
        return (
            name,
            str(held.quality),
            f"{held.of_large.value:.1%}",
            share(held.share),
            f"{held.cost:.0%}",
            str(told.area[name]),
            "-" if np.isnan(told.reach[name]).any() else reached,
        )

    title = (
        f"{result.task} (size {result.size}): {result.metric.replace('_', ' ')} on "
        f"{len(result.gold['test']):,} test items, {counted(result.seeds, 'seed')}; small = "
        f"{result.weak}, large = {result.strong}; thresholds chosen on validation for "
        f"{QUALITY:.0%} of the large model's quality"
    )
    groups = (
        ((SMALL, str(told.alone[SMALL]), f"{ratio:.1%}", "0%", f"{cost:.0%}", "", ""),),
        tuple(map(rule_row, told.ranked)),
        tuple(map(rule_row, told.bounds)),
        ((LARGE, str(told.alone[LARGE]), "100.0%", "100%", "100%", "", ""),),
    )
    notes = tuple(_notes(result, told))
    return Table(title, tuple(group for group in groups if group), notes, HEADER, 1)


def _notes(result: "CascadeResult", told: Summary) -> list[str]:
    notes = [
        "of large: quality as a share of the large model's; passed on: share of the queries, with "
        "its interval; cost: operations, as a share of asking the large model alone; 20/50/80 %: "
        "share of the queries to pass on to recover that much of the gap.",
        f"The gap from small to large is {told.gap}.",
    ]
    if not any(area.defined for area in told.area.values()):
        notes.append("Average PGR is undefined: the large model does not beat the small one.")
    else:
        above = [name for name in told.ranked if told.area[name].low > 0.5]
        notes.append(
            "Average PGR above 0.5, that of a random rule, with its whole interval: "
            f"{', '.join(above) or 'none of them'}."
        )
    if len(told.ranked) > 1:
        notes.append(
            f"The best of {len(told.ranked)} rules is picked by the very scores shown here, which "
            "flatters it."
        )
    alike = [name for name in ALIKE if name in told.ranked]
    if len(result.classes) == 2 and len(alike) > 1:
        notes.append(
            f"With two classes {', '.join(alike[:-1])} and {alike[-1]} rank alike: they pass on "
            "the same queries."
        )
    if not told.gap.excludes(0):
        notes.append("Warning: the gap may be 0, so no share of it is bounded.")
    if told.majority > told.alone[SMALL].value:
        notes.append(
            f"Warning: always answering the majority class scores {told.majority:.2f}, better "
            "than the small model."
        )
    small, large = (
        f"{short(result.cost[role]['flops'] / 1e6)} MFLOP and "
        f"{short(1000 * result.cost[role]['seconds'])} ms"
        for role in ("small", "large")
    )
    notes.append(f"One query costs {small} with the small model, {large} with the large one.")
    return notes


def covered(
    result: "CascadeResult",
    rule: str,
    levels: Sequence[float] = LEVELS,
    delta: float = DELTA,
    splits: int = SPLITS,
) -> list["Coverage"]:
    """The guarantee put to the test at each level, computed once and kept with the result.

    Raises:
        W2SError: an unknown rule, no levels, numbers out of range.
    """
    if not len(levels):
        raise W2SError("no levels", where="levels", mend="pass one risk or more, inside (0, 1)")
    kept = vars(result).setdefault("_covered", {})
    for level in levels:
        if (rule, level, delta, splits) not in kept:
            made = result.coverage(rule, level=level, delta=delta, splits=splits)
            kept[rule, level, delta, splits] = made
    return [kept[rule, level, delta, splits] for level in levels]


def broken(found: Sequence["Coverage"]) -> list["Coverage"]:
    """Those whose coverage lies below what was promised with its whole interval."""
    return [one for one in found if one.interval[1] < 1 - one.delta]


def percent(number: float) -> str:
    """A level as it is spoken of, `2.5 %`."""
    return f"{100 * number:g} %"


def guarantees(
    result: "CascadeResult",
    rule: str,
    levels: Sequence[float] = LEVELS,
    delta: float = DELTA,
    splits: int = SPLITS,
) -> Table:
    """How often a certified threshold kept its promise, level by level, and what was promised.

    Args:
        levels: risks that are promised, inside (0, 1); delta: how often the promise may fail.
        splits: calibrations drawn for each level.

    Raises:
        W2SError: as `covered`.
    """
    found = covered(result, rule, levels, delta, splits)

    def row(one: "Coverage") -> tuple[str, ...]:
        low, high = one.interval
        return (
            percent(one.level),
            f"{one.covered:.1%} [{100 * low:.1f}, {100 * high:.1f}]",
            f"{1 - one.delta:.0%}",
            f"{one.mean_risk:.2%}",
            f"{one.mean_deferred:.0%}",
            f"{one.held_out:.0%}",
        )

    title = (
        f"{result.task} (size {result.size}): certified thresholds of {rule!r}, "
        f"{counted(splits, 'calibration')} for each level, first seed"
    )
    failed = broken(found)
    kept = [percent(one.level) for one in found if one not in failed]
    notes = [
        "Risk: share of all queries that the small model keeps and answers wrongly where the large "
        f"one is right. The promise: of 100 calibrations, {100 * (1 - delta):.0f} or more give a "
        "threshold whose risk on new queries like these is at most the level.",
        "held out: share of splits with at most the level observed on the other half, which has a "
        "luck of its own; nobody promises that.",
    ]
    if kept:
        notes.append(
            f"As far as {counted(splits, 'calibration')} tell, the promise is kept at a risk of "
            f"{', '.join(kept)}."
        )
    if failed:
        at = ", ".join(percent(one.level) for one in failed)
        notes.append(f"Warning: covered less than promised, with the whole interval, at {at}.")
    header = ("risk at most", "covered [95 %]", "promised", "mean risk", "passed on", "held out")
    return Table(title, (tuple(map(row, found)),), tuple(notes), header, 1)


def stages(
    answered: "Answered", cascade: "Cascade", gold: Sequence[int], metric: str = "accuracy"
) -> Table:
    """What each stage of a live cascade was asked, answered and spent, and the whole of it.

    Args:
        answered: what `cascade` gave back; gold: class numbers of the same queries, (queries,).
        metric: a name in `metrics.SCORES`; a query without an answer counts as wrong.

    Raises:
        W2SError: answers of another cascade, gold of another shape, an unknown metric.
    """
    names = [stage.name for stage in cascade.stages]
    truth = np.asarray(gold)
    if len(answered.seconds) != len(names) or truth.shape != answered.stage.shape:
        what = (
            f"answers of {len(answered.seconds)} stages to {len(answered.stage)} queries beside "
            f"{len(names)} stages and gold of shape {truth.shape}"
        )
        raise W2SError(what, where="stages", mend="pass what this cascade answered, and its gold")
    # the last stage a query was put to is the one that answered it or a later one that failed it
    last = answered.stage.copy()
    for query, name, _ in answered.failed:
        last[query] = max(last[query], names.index(name))
    spent = [stage.flops * (last >= k).mean() for k, stage in enumerate(cascade.stages)]
    whole = sum(spent)

    def quality(among: np.ndarray) -> str:
        if not among.any():
            return "-"
        scores = metrics.item_scores(answered.classes[among], truth[among], metric)
        return f"{scores.mean():.2f}"

    def row(k: int) -> tuple[str, ...]:
        here = answered.stage == k
        flops = f"{spent[k] / whole:.0%}" if whole else "-"
        asked, seconds = f"{(last >= k).mean():.0%}", short(answered.seconds[k])
        return (names[k], asked, f"{here.mean():.0%}", quality(here), flops, seconds)

    everything = np.full(len(truth), True)
    total = (
        "whole cascade",
        "100%",
        f"{(answered.stage >= 0).mean():.0%}",
        quality(everything),
        "100%" if whole else "-",
        short(sum(answered.seconds)),
    )
    notes = []
    if alone := cascade.stages[-1].flops:
        notes.append(
            f"One query took {whole / alone:.0%} of the operations of asking {names[-1]} alone."
        )
    for name in dict.fromkeys(name for _, name, _ in answered.failed):
        lost = [(query, why) for query, which, why in answered.failed if which == name]
        which = counted(len({query for query, _ in lost}), "time")
        notes.append(f"Warning: {name} failed {which}; the first: {lost[0][1]}")
    if (answered.stage < 0).any():
        without = int((answered.stage < 0).sum())
        notes.append(
            f"Warning: {without} of {len(truth)} queries have no answer and count as wrong."
        )
    title = (
        f"{len(truth):,} queries through {counted(len(names), 'stage')}; quality: "
        f"{metric.replace('_', ' ')}"
    )
    header = ("stage", "asked", "answered", "quality of these", "operations", "seconds")
    groups = (tuple(map(row, range(len(names)))), (total,))
    return Table(title, groups, tuple(notes), header, 1)


def as_dict(result: "CascadeResult") -> dict[str, Any]:
    """The result as plain values for JSON; nan and infinity become None.

    First the keys that every lab shares: the floor ("weak") is the small model alone, the ceiling
    the large one, a method is a rule and its "pgr" the average PGR of its curve.
    """
    told = summarize(result)

    def scored(score: Estimate) -> dict[str, Any]:
        value = score.as_dict()
        return {"score": value["value"], "interval": {k: value[k] for k in ("low", "high")}}

    def method(name: str) -> dict[str, Any]:
        held = told.held[name]
        return scored(held.quality) | {
            "pgr": told.area[name].as_dict(),
            "of_large": held.of_large.as_dict(),
            "passed_on": held.share.as_dict(),
            "cost": held.cost,
            "to_reach": dict(zip(map(str, REACHED), told.reach[name], strict=True)),
        }

    return plain(
        {
            "task": result.task,
            "size": result.size,
            "device": result.device,
            "seeds": result.seeds,
            "baselines": {"majority": told.majority},
            "weak": scored(told.alone[SMALL]),
            "ceiling": scored(told.alone[LARGE]),
            "methods": {name: method(name) for name in result.methods},
            "seconds": result.seconds,
            "models": {"weak": result.weak, "strong": result.strong},
            "metric": result.metric,
            "gap": told.gap.as_dict(),
            "cost": result.cost,
            "provenance": result.provenance,
        }
    )
