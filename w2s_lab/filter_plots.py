"""Figures of a result in which a weak model chose the data, one message each, told in words too.

It computes nothing that `filter_report` does not; look and colours are those of `plots`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from w2s_lab import plots
from w2s_lab.errors import W2SError
from w2s_lab.filter_protocol import FLOOR, ORACLE
from w2s_lab.filter_report import fine, ranked
from w2s_lab.plots import BLACK, BLUE, GREEN, GREY, TEXT, VERMILLION
from w2s_lab.report import short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from w2s_lab.filter_experiment import FilterResult


def gap(result: "FilterResult", path: str | Path | None = None) -> "Figure":
    """By how much each choice beats the random one, up to the oracle's; saved to `path`.

    Raises:
        W2SError: as `plots.save`.
    """
    names = ranked(result)
    leads = {name: result.lead(name, FLOOR) for name in (*names, ORACLE)}
    figure, ax = plots.axes(2.4 + 0.42 * len(names))
    ax.set_xlim(*plots.limits([[0], *(list(vars(lead).values()) for lead in leads.values())]))
    ends = sorted(((0.0, FLOOR, VERMILLION), (leads[ORACLE].value, ORACLE, GREEN)))
    for (x, name, colour), side in zip(ends, ("right", "left"), strict=True):
        ax.axvline(x, color=colour, linewidth=2, linestyle="--")
        ax.annotate(
            name,
            (x, 1),
            xycoords=("data", "axes fraction"),
            xytext=(4 if side == "left" else -4, 5),
            textcoords="offset points",
            ha=side,
            fontsize=TEXT,
            fontweight="bold",
        )
    ax.axvspan(*plots.within(leads[ORACLE], ax), color=GREEN, alpha=0.12, linewidth=0)
    beside = {name: f"recovers {result.recovered(name)}" for name in names}
    plots.score_rows(ax, leads, beside, ())
    ax.set_xlabel("nats per token over the random choice, 95 % intervals", fontsize=TEXT)
    best, worst = names[0], names[-1]
    title = f"The best choice, {best}, recovers {result.recovered(best)} of the gap to the oracle"
    if leads[worst].high < 0:
        title += f"; {worst} does worse than chance"
    listed = [f"{n} {fine(leads[n])}, recovers {result.recovered(n)}" for n in names]
    words = (
        f"{title}. Over the random choice, nats per token: oracle {fine(leads[ORACLE])}. "
        f"{plots.joined('Choices', listed)}"
    )
    figure = plots.described(plots.titled(figure, title), words)
    if path is not None:
        plots.save(figure, path)
    return figure


def by_kind(result: "FilterResult", method: str = "likely") -> "Figure":
    """What a score says of each kind of document, and the band that was kept.

    Raises:
        W2SError: a method that was not run.
    """
    if method not in result.methods:
        mend = f"choose from: {', '.join(result.methods)}"
        raise W2SError(f"no method {method!r} in this result", mend=mend)
    scores = result.judged[method]
    middle = {k: _median(scores[result.kinds == k]) for k in map(str, np.unique(result.kinds))}
    kinds = sorted(middle, key=lambda k: (np.isnan(middle[k]), middle[k]))
    figure, ax = plots.axes(2.2 + 0.36 * len(kinds))
    rng = np.random.default_rng(0)
    kept = result.chosen(method) > 0
    for row, kind in enumerate(kinds):
        here = np.flatnonzero((result.kinds == kind) & ~np.isnan(scores))
        heights = -row + rng.uniform(-0.28, 0.28, len(here))
        colour = GREEN if result.clean[result.kinds == kind].all() else VERMILLION
        shape = "o" if colour == GREEN else "s"
        for chosen in (False, True):
            part = kept[here] == chosen
            ax.scatter(
                scores[here][part],
                heights[part],
                28,
                marker=shape,
                facecolor=colour if chosen else "white",
                edgecolor=colour,
                linewidth=1,
            )
    ax.set_yticks(-np.arange(len(kinds)), kinds)
    ax.set_ylim(-len(kinds) + 0.4, 0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", alpha=0.25)
    ax.set_xlabel(
        f"{method}: score of each document; filled: kept; circles: clean, squares: dirt",
        fontsize=TEXT,
    )
    share = result.precision(method)
    title = f"Of what {method!r} keeps, {share:.0%} is clean"
    recall = result.recall(method)
    listed = [
        f"{k}: {'no score' if np.isnan(m := middle[k]) else f'median {m:.2f}'}, "
        f"{recall[k]:.0%} kept"
        for k in kinds
    ]
    words = f"{title}. {plots.joined('From the lowest score on', listed)}"
    return plots.described(plots.titled(figure, title), words)


def _median(scores: np.ndarray) -> float:
    known = scores[~np.isnan(scores)]
    return float(np.median(known)) if len(known) else np.nan


def diagram(result: "FilterResult", method: str | None = None) -> "Figure":
    """The two stages of a run, select and train, with its own counts on the arrows.

    Args:
        method: whose choice is drawn; by default the best.

    Raises:
        W2SError: a name that chose nothing.
    """
    method = method or result.best
    chosen = result.chosen(method)
    texts = np.mean([len(index) for index in result.kept[method]])
    tokens = float(chosen @ result.tokens)
    flops = {k: short(v / 1e12) for k, v in result.facts["flops"].items()}
    distil = result.distil.get(method, 0)
    figure, ax = plots.axes(5.2)
    ax.set_axis_off()
    ax.set_xlim(0, 100)
    ax.set_ylim(0, 56)

    def box(x: float, y: float, wide: float, words: str, colour: str) -> None:
        ax.add_patch(plots.rounded((x, y), wide, 13, colour))
        ax.text(x + wide / 2, y + 6.5, words, ha="center", va="center", fontsize=TEXT)

    def arrow(start, end, words: str = "", at=None, **look) -> None:
        ax.annotate(
            "",
            end,
            start,
            arrowprops={"arrowstyle": "-|>", "color": BLACK, "linewidth": 1.6, **look},
        )
        if words:
            ax.text(*at, words, ha="center", va="center", fontsize=TEXT, color=BLACK)

    documents, spent = len(result.texts), int(result.tokens.sum())
    ax.text(0, 54, "1 · select", fontsize=TEXT + 1, fontweight="bold", va="center")
    ax.text(0, 24, "2 · train", fontsize=TEXT + 1, fontweight="bold", va="center")
    box(0, 36, 22, "store, uncurated", GREY)
    who = result.by.get(method) or f"weak model\n{result.weak}"
    box(39, 36, 23, who, VERMILLION)
    box(78, 36, 22, "chosen subset", GREEN)
    offered = f"{documents:,} texts\n{spent:,} tokens"
    arrow((22, 42.5), (39, 42.5), offered, (30.5, 47))
    kept = f"{texts:.0f} texts\n{tokens:,.0f} tokens"
    arrow((62, 42.5), (78, 42.5), kept, (70, 47))
    work = "" if result.by.get(method) else f": {flops['weak scores']} TFLOP"
    ax.text(50.5, 33, f"{method!r}{work}", ha="center", fontsize=TEXT)
    ax.text(89, 33, f"{result.precision(method):.0%} clean", ha="center", fontsize=TEXT)
    box(0, 6, 22, "input x", GREY)
    box(33, 6, 24, f"strong model\n{result.strong}", BLUE)
    box(75, 6, 25, "loss", GREEN)
    arrow((22, 12.5), (33, 12.5))
    arrow((57, 14.5), (75, 14.5), "its output ŷ", (66, 17))
    arrow((89, 31), (89, 19), "label y", (94, 25))
    arrow((84, 36), (14, 19), "x", (46, 25.4))
    arrow((75, 9.5), (57, 9.5), "gradient", (66, 7), linestyle="--")
    what = "cross-entropy to y"
    if distil:
        what = (
            f"{1 - distil:g} × cross-entropy to y + {distil:g} × distillation from the weak model"
        )
    trained = f"{what}; one student: {flops['one student']} TFLOP"
    ax.text(100, 2.2, trained, ha="right", va="center", fontsize=TEXT)
    over = result.lead(method, FLOOR)
    title = f"Two stages: choosing by {method!r} gains {fine(over)} nats per token over chance"
    words = (
        f"{title}. Stage 1, select: {documents:,} texts of {spent:,} tokens go to "
        f"{' '.join(who.split())}, which passes on {texts:.0f} texts of {tokens:,.0f} tokens, "
        f"{result.precision(method):.0%} of them clean. Stage 2, train: the strong model "
        f"{result.strong} reads x from the chosen texts, its output is compared with their label y "
        f"in the loss, {what}, and the gradient goes back into the strong model."
    )
    return plots.described(plots.titled(figure, title), words)


def lost(result: "FilterResult", names: Sequence[str] = ()) -> "Figure":
    """Which share of each kind of clean document is kept, method by method.

    Args:
        names: which methods, by default all.
    """
    names = [*(names or ranked(result))]
    kinds = [str(kind) for kind in np.unique(result.kinds[result.clean])]
    figure, ax = plots.axes(2.6 + 0.42 * len(names))
    looks = ((BLUE, "o"), (VERMILLION, "s"), (GREEN, "D"), (BLACK, "^"), (plots.ORANGE, "v"))
    rows = -np.arange(len(names))
    found = {name: result.recall(name) for name in names}
    for (colour, marker), kind in zip(looks, kinds, strict=False):
        shares = [100 * found[name].get(kind, np.nan) for name in names]
        ax.scatter(shares, rows, 80, color=colour, marker=marker, label=kind, zorder=3)
    for row, name in zip(rows, names, strict=True):
        shares = [100 * found[name][kind] for kind in kinds]
        ax.plot([min(shares), max(shares)], [row, row], color=GREY, linewidth=2, zorder=1)
    ax.axvline(100 * result.fraction, color=BLACK, linewidth=1, linestyle=":")
    ax.set_yticks(rows, names)
    ax.set_ylim(rows[-1] - 0.6, 0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", alpha=0.25)
    ax.set_xlabel("clean texts kept (%); dotted: a random choice", fontsize=TEXT)
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
    ax.legend(**place, ncols=len(kinds), frameon=False, fontsize=TEXT)
    spread = {n: max(found[n][k] for k in kinds) - min(found[n][k] for k in kinds) for n in names}
    worst = max(spread, key=lambda name: spread[name])
    least = min(kinds, key=lambda kind: found[worst][kind])
    title = (
        f"{worst!r} treats clean texts least alike: it keeps {found[worst][least]:.0%} of {least!r}"
    )
    listed = [", ".join(f"{k} {found[n][k]:.0%}" for k in kinds) for n in names]
    told = [f"{n}: {line}" for n, line in zip(names, listed, strict=True)]
    return plots.described(plots.titled(figure, title), f"{title}. {plots.joined('Kept', told)}")
