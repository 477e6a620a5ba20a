"""Figures of a small model that passes on what it doubts, one message each, told in words too.

It computes nothing about rules that `cascade_report` does not; look and colours are of `plots`.
The queue's delay is the closed form of `queueing`.
"""

import textwrap
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_lab import cascade, metrics, plots, queueing
from w2s_lab.cascade_experiment import GRID, LARGE, QUALITY, SMALL
from w2s_lab.cascade_report import (
    BOUNDS,
    DELTA,
    LEVELS,
    SPLITS,
    Summary,
    broken,
    covered,
    percent,
    share,
    summarize,
)
from w2s_lab.errors import W2SError
from w2s_lab.plots import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, TEXT, VERMILLION
from w2s_lab.report import short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from w2s_lab.cascade_experiment import CascadeResult
    from w2s_lab.queueing import Server

ASKED = np.linspace(0.9, 1, 11)  # shares of the large model's quality
MOST = 0.8  # of the gap, what the title of the curves speaks of
LINES: dict[str, tuple[str, Any]] = {
    "best": (BLUE, "-"),
    "random": (GREY, (0, (1, 2))),
    "oracle": (ORANGE, (0, (6, 1))),
}
OTHERS: tuple[tuple[str, Any], ...] = (
    (PURPLE, (0, (3, 1, 1, 1))),
    (SKY, "-."),
    (BLACK, ":"),
    (VERMILLION, "-"),
)


def band(result: "CascadeResult", rule: str) -> np.ndarray:
    """Low end, value and high end of the quality at each share of `GRID`, (3, shares); kept."""
    kept = vars(result).setdefault("_bands", {})
    if rule not in kept:
        kept[rule] = np.array([[e.low, e.value, e.high] for e in result.band(rule)]).T
    return kept[rule]


def curves(
    result: "CascadeResult", path: str | Path | None = None, rules: Sequence[str] | None = None
) -> "Figure":
    """Quality by the share of queries passed on, between the two models alone; saved to `path`.

    Args:
        rules: by default the best one, "learned", "random" and "oracle". The best of those drawn
            has its 95 % interval, random is the straight line it is on average; rules whose curves
            coincide share a line.

    Raises:
        W2SError: an unknown rule, no rules; as `plots.save`.
    """
    told = summarize(result)
    names = list(dict.fromkeys(_default(result) if rules is None else rules))
    if not names:
        raise W2SError("no rules to draw", where="curves", mend="name one or more, or none at all")
    lines = {name: band(result, name) for name in names}
    best = next((name for name in told.ranked if name in names), names[0])
    figure, ax = plots.axes(5.4)
    x, (small, large) = 100 * GRID, (told.alone[name] for name in (SMALL, LARGE))
    free = cycle(OTHERS)
    for group in _alike(lines):
        which = "best" if best in group else group[0]
        colour, style = LINES.get(which) or next(free)
        low, value, high = lines[best if best in group else group[0]]
        if group[0] == "random":
            value = small.value + GRID * told.gap.value
        label = textwrap.fill(", ".join(group), 32)
        ax.plot(x, value, color=colour, linestyle=style, linewidth=2, label=label)
        if best in group:
            ax.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    reached = result.to_reach(best, MOST).value
    if not np.isnan(reached):
        at = 100 * reached, small.value + MOST * told.gap.value
        ax.plot(*at, marker="o", color=BLUE, markersize=9, linestyle="")
    for score, colour, style in ((small, VERMILLION, "--"), (large, GREEN, "-.")):
        ax.axhline(score.value, color=colour, linestyle=style, linewidth=1.5)
    ends = (small.value, large.value)
    drawn = [line[1] for line in lines.values()]
    plots.fit_y(ax, [*drawn, lines[best][[0, 2]], np.array(ends)])
    ax.set_xlim(0, 100)
    plots.label_ends(
        ax,
        [
            (f"{name} {told.alone[name].value:.2f}", 100, told.alone[name].value, colour)
            for name, colour in ((SMALL, VERMILLION), (LARGE, GREEN))
        ],
    )
    # above the line of the small model and below any rule that beats chance
    floor, top = ax.get_ylim()
    corner = (1, (min(ends) - floor) / (top - floor))
    ax.legend(loc="lower right", bbox_to_anchor=corner, frameon=False, fontsize=TEXT)
    ax.set_xlabel("queries passed on to the large model (%)", fontsize=TEXT)
    ax.set_ylabel(f"{_metric(result)} on test; band: 95 % interval", fontsize=TEXT)
    title = _headline(told, reached)
    listed = [
        f"{name} " + ", ".join(f"{v:.2f}" for v in lines[name][1, ::4])
        for name in names
        if name != "random"
    ]
    words = [
        f"{title}. Small model alone {small}, large model alone {large}.",
        f"Best of the rules drawn: {best}.",
        plots.joined("Passing on 0, 20, 40, 60, 80, 100 % gives", listed) if listed else "",
        "A random rule gives the straight line between the two models." * ("random" in names),
    ]
    figure = plots.described(plots.titled(figure, title), " ".join(words))
    if path is not None:
        plots.save(figure, path)
    return figure


def _default(result: "CascadeResult") -> list[str]:
    """The best rule and those of the same average PGR, then what it is compared with."""
    told = summarize(result)
    best = told.area[result.best].value
    equal = [name for name in told.ranked if abs(told.area[name].value - best) < metrics.ROUNDING]
    wanted = [result.best, *equal, "learned", *BOUNDS]
    return [name for name in dict.fromkeys(wanted) if name in result.methods]


def _alike(lines: dict[str, np.ndarray]) -> list[list[str]]:
    """The names in groups whose lines nobody could tell apart."""
    values = [line[1] for line in lines.values()]
    width = 0.005 * (np.max(values) - np.min(values))  # a line's own width on five inches
    groups: list[list[str]] = []
    for name, line in lines.items():
        for group in groups:
            if np.abs(line[1] - lines[group[0]][1]).max() <= width and name not in BOUNDS:
                group.append(name)
                break
        else:
            groups.append([name])
    return groups


def _headline(told: Summary, reached: float) -> str:
    if np.isnan(reached):
        return "No gap to recover: the large model does not beat the small one"
    begin = "Passing" if told.gap.excludes(0) else "Not settled: passing"
    return f"{begin} on {100 * reached:.0f} % of the queries recovers {100 * MOST:.0f} % of the gap"


def thresholds(result: "CascadeResult", rule: str) -> "Figure":
    """What thresholds chosen on validation for a share of the large model's quality give on test.

    Raises:
        W2SError: an unknown rule.
    """
    held = [result.held(rule, result.thresholds(rule, asked)) for asked in ASKED]
    figure, (top, bottom) = _panels(2, 6.4, (2, 1))
    x = 100 * ASKED
    top.plot(x, x, color=GREY, linewidth=1)
    for ax, given, colour, marker in (
        (top, [one.of_large for one in held], BLUE, "o"),
        (bottom, [one.share for one in held], ORANGE, "s"),
    ):
        low, value, high = 100 * np.array([[e.low, e.value, e.high] for e in given]).T
        plots.fit_y(ax, [low, high, x if ax is top else np.zeros(1)])
        ends = np.clip([low, high], *ax.get_ylim())
        look = {"color": colour, "marker": marker, "linewidth": 2, "capsize": 3}
        ax.errorbar(x, value, yerr=np.abs(ends - value), **look)
    plots.label_ends(
        top,
        [
            ("as asked", x[-1], x[-1], GREY),
            ("on test", x[-1], 100 * held[-1].of_large.value, BLUE),
        ],
    )
    top.set_ylabel("quality on test\n(% of large)", fontsize=TEXT)
    bottom.set_ylabel("passed on (%)", fontsize=TEXT)
    bottom.set_xlabel(
        "quality asked for on validation (% of the large model's); 95 % intervals", fontsize=TEXT
    )
    at = int(np.abs(ASKED - QUALITY).argmin())
    got = 100 * held[at].of_large.value
    title = (
        f"{100 * QUALITY:.0f} % of the large model's quality asked for on validation, "
        f"{got:.1f} % held on test"
    )
    listed = [
        f"{100 * asked:.0f} % asked, {share(one.of_large)} held, {share(one.share)} passed on"
        for asked, one in zip(ASKED, held, strict=True)
    ]
    words = f"{title}. Thresholds of {rule!r}. {plots.joined('On test', listed)}"
    return plots.described(plots.titled(figure, title), words)


def calibration(result: "CascadeResult", seed: int | None = None) -> "Figure":
    """How often the small model is right when it is that sure, before and after a temperature.

    Each seed has its own temperature, which fits its validation items.

    Args:
        seed: one alone; by default all, their test items together.

    Raises:
        W2SError: a seed that was not run.
    """
    if seed is not None and not 0 <= seed < result.seeds:
        what = f"no seed {seed} among {result.seeds}"
        raise W2SError(what, where="calibration", mend="count them from 0")
    chosen = range(result.seeds) if seed is None else [seed]
    known, gold = result.probs["validation"], result.gold["validation"]
    warmth = [cascade.temperature(known[s], gold) for s in chosen]
    before = [result.probs["test"][s] for s in chosen]
    after = [cascade.tempered(p, t) for p, t in zip(before, warmth, strict=True)]
    truth = np.tile(result.gold["test"], len(chosen))
    mean = float(np.mean(warmth))
    figure, ax = plots.axes(5.4)
    least = 1 / len(result.classes)
    ax.plot([least, 1], [least, 1], color=GREY, linewidth=1)
    ends, drawn, off = [], [], []
    for label, said, (colour, marker, style) in (
        ("as it is", before, (VERMILLION, "s", "--")),
        (f"temperature {mean:.2f}", after, (BLUE, "o", "-")),
    ):
        probs = np.concatenate(said)
        sure, right, count = metrics.reliability(probs, truth)
        full = count > 0
        off.append(metrics.expected_calibration_error(probs, truth))
        ax.plot(sure[full], right[full], color=colour, linestyle=style, linewidth=2)
        area = 25 + 250 * count[full] / count.sum()
        ax.scatter(sure[full], right[full], area, color=colour, marker=marker, zorder=3)
        ends.append((f"{label}, ECE {off[-1]:.2f}", sure[full][-1], right[full][-1], colour))
        drawn.append(right[full])
    ax.set_xlim(least - 0.02, 1.02)
    plots.fit_y(ax, [*drawn, np.array([least, 1])])
    plots.label_ends(ax, ends)
    ax.set_xlabel("confidence (mean in each tenth; larger marks hold more items)", fontsize=TEXT)
    ax.set_ylabel("share that is right", fontsize=TEXT)
    what = "lowers" if off[1] < off[0] else "does not lower"
    title = (
        f"A temperature of {mean:.2f} {what} the small model's calibration error: "
        f"{off[0]:.2f} before, {off[1]:.2f} after"
    )
    words = (
        f"{title}. Temperatures that fit validation, by seed: "
        f"{', '.join(f'{t:.2f}' for t in warmth)}. A temperature above 1 makes the model less sure."
    )
    return plots.described(plots.titled(figure, title), words)


def coverage(
    result: "CascadeResult",
    rule: str,
    levels: Sequence[float] = LEVELS,
    delta: float = DELTA,
    splits: int = SPLITS,
) -> "Figure":
    """How often certified thresholds kept their promise, level by level, beside what was promised.

    Args:
        levels, delta, splits: as in `cascade_report.guarantees`.

    Raises:
        W2SError: as `cascade_report.covered`.
    """
    found = sorted(covered(result, rule, levels, delta, splits), key=lambda one: one.level)
    figure, ax = plots.axes(5)
    at = np.arange(len(found))
    value = 100 * np.array([one.covered for one in found])
    ends = 100 * np.array([one.interval for one in found]).T
    promised = 100 * (1 - delta)
    ax.axhline(promised, color=VERMILLION, linestyle="--", linewidth=2)
    look = {"fmt": "o", "color": BLUE, "markersize": 9, "linewidth": 2, "capsize": 5}
    ax.errorbar(at, value, yerr=np.abs(ends - value), **look)
    plots.fit_y(ax, [ends, np.array([promised, 100.0])])
    ax.set_xlim(-0.5, len(found) - 0.5)
    label = f"promised: {promised:g} %"
    plots.label_ends(ax, [(label, len(found) - 0.5, promised, VERMILLION)])
    ax.set_xticks(at, [percent(one.level) for one in found])
    ax.grid(axis="y", alpha=0.25)
    ax.set_xlabel("risk that is promised at most", fontsize=TEXT)
    ax.set_ylabel(f"promise kept (% of {splits:,} calibrations)", fontsize=TEXT)
    if failed := broken(found):
        listed = ", ".join(percent(one.level) for one in failed)
        title = f"Promised in {promised:g} % of calibrations, held in fewer at a risk of {listed}"
    else:
        least = f"{value.min():.0f} %"
        title = f"Promised in {promised:g} % of calibrations, the risk is held in {least} or more"
    told = [
        f"risk {percent(one.level)}: {one.covered:.1%} "
        f"[{100 * low:.1f}, {100 * high:.1f}], {one.mean_deferred:.0%} passed on"
        for one, (low, high) in ((one, one.interval) for one in found)
    ]
    words = f"{title}. Thresholds of {rule!r}. {plots.joined('Kept', told)}"
    return plots.described(plots.titled(figure, title), words)


def queue(
    result: "CascadeResult",
    rule: str,
    *,
    queries_a_day: float,
    small: "Server",
    large: "Server",
    prices: tuple[float, float] | None = None,
    quality: float = QUALITY,
    currency: str = "euros",
) -> "Figure":
    """A day's cost, the mean delay and the quality by the share of queries passed on.

    Queries are spread evenly over the day; the marks stand where validation set the threshold.

    Args:
        small, large: the machines of each stage; their prices are an hour's rent.
        prices: of one query with the small and the large model, where each charges by the query;
            without them the machines are rented, busy or not.
        quality: the share of the large model's quality for which the threshold is chosen.

    Raises:
        W2SError: an unknown rule, a number of queries that is not above 0, prices below 0.
    """
    rate = queries_a_day / 86_400
    held = result.held(rule, result.thresholds(rule, quality))
    chosen = held.share.value

    def day(part: float) -> float:
        if prices is None:
            return queueing.rent(small, large)
        return queueing.bill(queries_a_day, part, *prices)

    def delay(part: float) -> float:
        return queueing.expected_delay(rate, part, small, large).mean

    waits = delay(chosen)
    limit = large.count / (rate * large.seconds)  # the share that keeps the large model busy
    if rate * small.seconds >= small.count:
        limit = 0.0
    shares = np.linspace(0, 1, 401)
    figure, (cost, wait, good) = _panels(3, 7.6, (1, 1, 1))
    costs = np.array([day(part) for part in shares])
    cost.plot(100 * shares, costs, color=BLACK, linewidth=2)
    plots.fit_y(cost, [costs, np.zeros(1)])
    times = np.array([delay(part) for part in shares])
    shown = np.isfinite(times)
    wait.plot(100 * shares[shown], times[shown], color=PURPLE, linewidth=2)
    # it rises without bound towards the limit, so the panel ends shortly before
    near = delay(min(1.0, 0.93 * limit))
    highest = max(t for t in (near, waits, small.seconds) if np.isfinite(t))
    wait.set_ylim(0, 1.15 * highest)
    if limit <= 1:
        wait.axvspan(100 * limit, 100, color=VERMILLION, alpha=0.15, linewidth=0)
        narrow = limit > 0.8  # no room for words in it; on the left the line is still low
        wait.annotate(
            f"shaded: overloaded, from {100 * limit:.0f} % on" if narrow else "overloaded",
            (1 if narrow else 100 * limit + 1, 0.8),
            xycoords=("data", "axes fraction"),
            va="center",
            fontsize=TEXT,
            zorder=4,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 2},
        )
    low, value, high = band(result, rule)
    good.plot(100 * GRID, value, color=BLUE, linewidth=2)
    good.fill_between(100 * GRID, low, high, color=BLUE, alpha=0.15, linewidth=0)
    plots.fit_y(good, [low, high])
    marks = ((cost, day(chosen)), (wait, waits), (good, held.quality.value))
    for ax, y in marks:
        ax.axvline(100 * chosen, color=GREY, linestyle=":", linewidth=1.5)
        if np.isfinite(y):
            ax.plot(100 * chosen, y, marker="o", color=VERMILLION, markersize=9)
    good.set_xlim(0, 100)
    cost.set_ylabel(f"cost a day\n({currency})", fontsize=TEXT)
    wait.set_ylabel("mean delay\n(seconds)", fontsize=TEXT)
    good.set_ylabel(f"{_metric(result)}\non test", fontsize=TEXT)
    good.set_xlabel("queries passed on (%); dotted: where validation set it", fontsize=TEXT)
    figure.align_ylabels()
    passing = f"Passing on {100 * chosen:.0f} %"
    spent = f"{short(day(chosen))} {currency} a day"
    if np.isfinite(waits):
        title = f"{passing} costs {spent}, and a query takes {short(waits)} seconds"
    else:
        title = f"{passing} overloads the machines: the queue grows without bound"
    over = f"Overloaded from {100 * limit:.0f} % on." if limit <= 1 else "Never overloaded."
    told = [
        f"{100 * part:.0f} % passed on, {short(day(part))} {currency}, "
        + (f"{short(delay(part))} seconds" if np.isfinite(delay(part)) else "overloaded")
        + f", quality {value[np.abs(GRID - part).argmin()]:.2f}"
        for part in (0.0, 0.5, 1.0)
    ]
    words = (
        f"{title}. {queries_a_day:,.0f} queries a day; the threshold of {rule!r} costs {spent} and "
        f"gives a quality of {held.quality}. {over} {plots.joined('By share', told)}"
    )
    return plots.described(plots.titled(figure, title), words)


def _panels(count: int, height: float, heights: Sequence[float]) -> tuple["Figure", Any]:
    """A figure of our width with quiet axes, one over another, that share what runs across."""
    figure = plots.Drawing(figsize=(9, height), layout="constrained", facecolor="white")
    panels = figure.subplots(count, 1, sharex=True, height_ratios=heights)
    for ax in panels:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=TEXT)
    return figure, panels


def _metric(result: "CascadeResult") -> str:
    return result.metric.replace("_", " ")
