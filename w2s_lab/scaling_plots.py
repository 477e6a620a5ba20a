"""Figures of the scaling study: what changes with the student's size, the texts and the labels.

It computes nothing that `scaling` does not. Marks and intervals, with a trend in the title.
After figure 3 and section 5.1 of Burns et al. 2023; the intervals are added.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from w2s_lab import metrics, plots, scaling
from w2s_lab.errors import W2SError
from w2s_lab.experiment import Result
from w2s_lab.metrics import Estimate

Line = Mapping[float, Estimate]  # an estimate for each value of the dial
PGR_SPAN = (-1.0, 1.5)  # an interval over a small gap may be a hundred times as long
COMPUTE = "student's trunk, million operations per token (log scale)"
BY_SUPERVISOR = "one line for each supervisor"
APART = 0.012  # of the axis, between lines whose intervals would cover one another


def sizes(ladder: Mapping[str, Mapping[str, Result]], method: str = "naive") -> Figure:
    """Score of each supervisor's students by their compute, under the ceiling's line.

    Args:
        ladder: of `scaling.ladder`.

    Raises:
        W2SError: an empty ladder, or no such method in it.
    """
    lines = _of_students(ladder, method, "score")
    longest = max(ladder.values(), key=len)
    lines["ceiling"] = _line(longest, "ceiling", "score")
    own = {weak: next(iter(row.values())) for weak, row in ladder.items()}
    starts = {weak: (scaling.per_token(r, "weak"), r.score("weak")) for weak, r in own.items()}
    told = {weak: _row_trend(row, method, "score") for weak, row in ladder.items()}
    return _along(
        lines,
        xlabel=COMPUTE,
        ylabel=_metric(next(iter(longest.values()))),
        title=_headline("their score", told, "compute", of=f"{method} students", by="under"),
        note=BY_SUPERVISOR,
        millions=True,
        starts=starts,
    )


def recovered(ladder: Mapping[str, Mapping[str, Result]], method: str = "naive") -> Figure:
    """PGR of each supervisor's students by their compute; what is undefined is marked so.

    Raises:
        W2SError: as `sizes`.
    """
    told = {weak: _row_trend(row, method, "pgr") for weak, row in ladder.items()}
    return _along(
        _of_students(ladder, method, "pgr"),
        xlabel=COMPUTE,
        ylabel="performance gap recovered",
        title=_headline("their PGR", told, "compute", of=f"{method} students", by="under"),
        note=BY_SUPERVISOR,
        millions=True,
        span=PGR_SPAN,
    )


def agreement(row: Mapping[str, Result], method: str = "naive") -> Figure:
    """How often one supervisor's students agree with it, by their compute.

    Args:
        row: of the ladder, one supervisor's.

    Raises:
        W2SError: an empty row, or no such method in it.
    """
    names = {"where right": "it is right", "agreement": "all", "where wrong": "it is wrong"}
    told = _row_trend(row, method, "where wrong")
    return _along(
        {words: _line(row, method, measure) for measure, words in names.items()},
        xlabel=COMPUTE,
        ylabel="agreement with supervisor",
        title=_headline(
            f"the share of {_supervisor(row)}'s errors they repeat",
            {"": told},
            "compute",
            of=f"{method} students",
        ),
        millions=True,
    )


def methods(row: Mapping[str, Result], names: tuple[str, ...] = scaling.METHODS) -> Figure:
    """Scores of several methods by the student's compute, between supervisor and ceiling.

    Raises:
        W2SError: as `agreement`.
    """
    lines = {name: _line(row, name, "score") for name in ("weak", *names, "ceiling")}
    first = next(iter(row.values()))
    told = {name: _row_trend(row, name, "lead") for name in names}
    return _along(
        lines,
        xlabel=COMPUTE,
        ylabel=_metric(first),
        title=_headline(f"the lead over {_supervisor(row)}", told, "the student's compute"),
        millions=True,
    )


def amount(
    results: Mapping[int, Result],
    xlabel: str,
    measure: str = "pgr",
    names: tuple[str, ...] = scaling.METHODS,
) -> Figure:
    """A measure by the number of transfer texts or of gold labels, for several methods.

    With measure "score", weak model and ceiling are drawn as well.

    Args:
        results: of `scaling.by_transfer` or `scaling.by_labels`.
        xlabel: what is counted, in words.

    Raises:
        W2SError: no results, no such measure, or no such method.
    """
    _some(results)
    ends = ("weak", "ceiling") if measure == "score" else ()
    lines = {
        name: {float(n): scaling.measured(r, name, measure) for n, r in results.items()}
        for name in (*names, *ends)
    }
    told = {name: scaling.trend(results, name, measure) for name in names}
    first = next(iter(results.values()))
    words = _metric(first) if measure == "score" else scaling.MEASURES[measure].words
    return _along(
        lines,
        xlabel=f"{xlabel} (log scale)",
        ylabel=words,
        title=_headline(f"the {words.partition(' on ')[0]}", told, f"the {xlabel}"),
        span=PGR_SPAN if measure == "pgr" else None,
    )


def _of_students(ladder, method: str, measure: str) -> dict[str, Line]:
    _some(ladder)
    return {weak: _line(row, method, measure) for weak, row in ladder.items()}


def _line(row: Mapping[str, Result], method: str, measure: str) -> Line:
    _some(row)
    sized = scaling.sized(row)
    return {size: scaling.measured(r, method, measure) for size, r in sized.items()}


def _row_trend(row: Mapping[str, Result], method: str, measure: str) -> Estimate:
    along = scaling.by_compute(row)
    if len(along) < 2:
        return Estimate(np.nan, np.nan, np.nan)
    return scaling.trend(along, method, measure)


def _some(results: Mapping) -> None:
    if not results:
        raise W2SError("nothing to draw", where="figure", mend="give one result or more")


def _supervisor(row: Mapping[str, Result]) -> str:
    _some(row)
    return next(iter(row.values())).weak


def _metric(result: Result) -> str:
    return f"{result.metric.replace('_', ' ')} on test"


def direction(trend: Estimate) -> str:
    """What a trend's interval settles: "rises", "falls", "is undefined", else "is not settled"."""
    if not trend.defined:
        return "is undefined"
    if not trend.excludes(0) or max(abs(trend.low), abs(trend.high)) < metrics.ROUNDING:
        return "is not settled"
    return "rises" if trend.value > 0 else "falls"


def _headline(
    what: str, told: Mapping[str, Estimate], dial: str, *, of: str = "", by: str = "for"
) -> str:
    """The figure's message in a sentence: how `what` changes with the dial, by line.

    Args:
        of: whose it is, if that stands in front.
        by: between what a line does and the line's name.
    """
    lines: dict[str, list[str]] = {}
    for name, trend in told.items():
        lines.setdefault(direction(trend), []).append(name)
    ways = [way for way in ("rises", "falls", "is not settled", "is undefined") if way in lines]
    slope = change(next(iter(told.values())))
    if ways == ["is undefined"]:
        text = f"the trend of {what} is undefined"
    elif ways == ["is not settled"]:
        text = f"whether {what} changes with {dial} is not settled"
        text += f": {slope} per doubling" * (len(told) == 1)
    elif len(told) == 1:
        text = f"{what} {ways[0]} with {dial}: {slope} per doubling"
    elif len(ways) == 1:
        text = f"{what} {ways[0]} with {dial}"
    else:
        parts = [f"{way} {by} {_and(lines[way])}" for way in ways]
        if ways[0] in ("rises", "falls"):
            parts[0] = parts[0].replace(ways[0], f"{ways[0]} with {dial}", 1)
            text = f"{what} {', '.join(parts)}"
        else:
            text = f"the trend of {what} with {dial} {', '.join(parts)}"
    return _upper(f"{of}: {text}" if of else text)


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def change(trend: Estimate) -> str:
    """A trend with its interval, signs shown; "undefined" where it is."""
    if not trend.defined:
        return "undefined"
    return f"{trend.value:+z.2f} [{trend.low:+z.2f}, {trend.high:+z.2f}]"


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _along(
    lines: Mapping[str, Line],
    *,
    xlabel: str,
    ylabel: str,
    title: str,
    note: str = "",
    millions: bool = False,
    span: tuple[float, float] | None = None,
    starts: Mapping[str, tuple[float, Estimate]] | None = None,
) -> Figure:
    """Lines with an interval at each mark over a dial of doublings.

    Args:
        note: stands below the axis, before what the marks mean.
        millions: the dial counts operations; its ticks are millions.
        span: of the y-axis, where an interval may be too long to be shown; values still fit.
        starts: by line, a dial value and an estimate to be marked hollow: the supervisor itself.
    """
    starts = starts or {}
    values = sorted({x for line in lines.values() for x in line} | {x for x, _ in starts.values()})
    place = _places(values)
    figure, ax = plots.axes(5.4)
    everything = [*(e for line in lines.values() for e in line.values())]
    everything += [estimate for _, estimate in starts.values()]
    ax.set_ylim(_y_limits(everything, span))
    floor, _ = ax.get_ylim()
    step = APART * (place[values[-1]] - place[values[0]])
    missing, ends = False, []
    for k, (name, (colour, marker, style)) in enumerate(plots._looks(lines).items()):
        shift = step * (k - (len(lines) - 1) / 2)
        line = sorted(lines[name].items())
        x = np.array([place[value] + shift for value, _ in line])
        y = np.array([e.value for _, e in line])
        known = ~np.isnan(y)
        look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 7}
        for at, (_, estimate) in zip(x, line, strict=True):
            if estimate.defined:
                _whisker(ax, at, estimate, colour)
        ax.plot(x[known], y[known], linestyle=style, linewidth=2, **look)
        ax.plot(x[~known], np.full((~known).sum(), floor), "x", color=colour, markersize=9,
                markeredgewidth=2, clip_on=False, zorder=4)  # fmt: skip
        missing |= not known.all()
        if name in starts:
            value, estimate = starts[name]
            at = place[value] + shift - 2 * step
            _whisker(ax, at, estimate, colour)
            ax.plot(at, estimate.value, linestyle="", markerfacecolor="white", **look)
        end = np.flatnonzero(known)[-1] if known.any() else -1
        ends.append((name, x[end], y[end] if known.any() else floor, colour))
    low, high = ax.get_ylim()
    if low < 0 < high:
        ax.axhline(0, color=plots.GREY, linewidth=1)
    ax.set_xticks(list(place.values()), [_tick(value, millions) for value in values])
    ax.minorticks_off()
    plots.label_ends(ax, ends)
    notes = [note] * bool(note) + ["hollow: the supervisor itself"] * bool(starts)
    notes += ["×: undefined"] * missing
    ax.set_xlabel("\n".join(filter(None, [xlabel, "; ".join(notes)])), fontsize=plots.TEXT)
    ax.set_ylabel(f"{ylabel}, 95 % intervals", fontsize=plots.TEXT)
    told = [
        f"{name}: " + ", ".join(f"{e} at {_tick(x, millions)}" for x, e in sorted(line.items()))
        for name, line in lines.items()
    ]
    told += [f"supervisor of {name}: {e}" for name, (_, e) in starts.items()]
    words = f"{title}. {ylabel} by {xlabel}. {'; '.join(told)}."
    return plots.described(plots.titled(figure, title), words)


def _places(values: list[float]) -> dict[float, float]:
    """Where each value of the dial stands: log2, and 0 one doubling before the least."""
    least = min((value for value in values if value > 0), default=1.0)
    return {value: float(np.log2(value)) if value > 0 else np.log2(least) - 1 for value in values}


def _tick(value: float, millions: bool) -> str:
    value = value / 1e6 if millions else value
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _whisker(ax: Any, at: float, estimate: Estimate, colour: str) -> None:
    """The interval as a bar; an end that is off the axis, or unbounded, has no cap."""
    low, high = np.clip([estimate.low, estimate.high], *ax.get_ylim())
    ax.plot([at, at], [low, high], color=colour, linewidth=1.5, alpha=0.7)
    caps = [y for y, end in ((low, estimate.low), (high, estimate.high)) if y == end]
    ax.plot([at] * len(caps), caps, "_", color=colour, markersize=8, alpha=0.7)


def _y_limits(estimates: list[Estimate], span: tuple[float, float] | None) -> tuple[float, float]:
    values = np.array([[e.low, e.value, e.high] for e in estimates])
    if span is not None:
        values[:, [0, 2]] = np.clip(values[:, [0, 2]], *span)
    return plots.limits([values])
