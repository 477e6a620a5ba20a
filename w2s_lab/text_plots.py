"""Figures of a result whose answers are texts, one message each, told in words as well.

It computes nothing that `text_report` does not; look and colours are those of `plots`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from w2s_lab import metrics, plots
from w2s_lab.errors import W2SError
from w2s_lab.plots import BLACK, BLUE, GREEN, ORANGE, TEXT, VERMILLION
from w2s_lab.text_report import TITLES, ZERO_SHOT, percent, scored

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from w2s_lab.text_experiment import TextResult

FIXED = {"weak": (VERMILLION, "s"), ZERO_SHOT: (BLACK, "o"), "ceiling": (GREEN, "D")}


def gap(
    result: "TextResult", path: str | Path | None = None, metric: str | None = None
) -> "Figure":
    """Students between the untouched model and the ceiling, and the share of that gap recovered.

    The weak model and PGR stand beside in words: far below, it would squeeze all else together.

    Raises:
        W2SError: as `plots.save`.
    """
    metric = metric or result.metric
    told = scored(result, metric)
    baselines = [n for n in result.baselines if n in told.score and n != ZERO_SHOT]
    names = [*told.ranked, *baselines]
    figure, ax = plots.axes(2.6 + 0.42 * len(names))
    shown = [list(vars(told.score[n]).values()) for n in (*names, ZERO_SHOT, "ceiling")]
    left, right = plots.limits(shown)
    ax.set_xlim(left, right)
    edges = sorted((ZERO_SHOT, "ceiling"), key=lambda name: told.score[name].value)
    for name, side in zip(edges, ("right", "left"), strict=True):
        score, (colour, _) = told.score[name], FIXED[name]
        ax.axvspan(*plots.within(score, ax), color=colour, alpha=0.12, linewidth=0)
        ax.axvline(score.value, color=colour, linewidth=2, linestyle="--")
        ax.annotate(
            "untouched" if name == ZERO_SHOT else name,
            (score.value, 1),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if side == "right" else 4, 5),
            textcoords="offset points",
            ha=side,
            fontsize=TEXT,
            fontweight="bold",
        )
    beside = {name: f"recovers {told.recovered[name]}" for name in told.ranked}
    plots.score_rows(ax, told.score, beside, baselines)
    weak = f"; weak model: {told.score['weak']}" if "weak" in told.score else ""
    ax.set_xlabel(f"{TITLES[metric]}, 95 % intervals{weak}", fontsize=TEXT)
    best = told.ranked[0]
    lead = result.lead(best, ZERO_SHOT, metric)
    verdict = "beats" if lead.low > 0 else "is worse than" if lead.high < 0 else "about equals"
    title = f"The best student, {best}, {verdict} the untouched model (by {lead})"
    listed = [
        f"{n} {told.score[n]}, recovers {told.recovered[n]}, PGR {told.pgr[n]}" for n in told.ranked
    ]
    words = (
        f"{title}. {TITLES[metric]}: untouched {told.score[ZERO_SHOT]}, ceiling "
        f"{told.score['ceiling']}{weak}. {plots.joined('Methods', listed)} "
        + plots.joined("Baselines", [f"{n} {told.score[n]}" for n in baselines] or ["none"])
    )
    figure = plots.described(plots.titled(figure, title), words)
    if path is not None:
        plots.save(figure, path)
    return figure


def overfitting(result: "TextResult") -> "Figure":
    """How the naive student comes to fit the weak texts and gold, epoch by epoch, on validation.

    Raises:
        W2SError: the naive method was not run.
    """
    if not len(result.curves):
        raise W2SError("no learning curve in this result", mend='run the method "naive"')
    lines = {
        "weak texts": (result.curves["weak"], VERMILLION, "s", "--"),
        "gold texts": (result.curves["gold"], BLUE, "o", "-"),
    }
    figure, ax = plots.axes(5)
    epochs = np.arange(1, result.curves["gold"].shape[1] + 1)
    ends = []
    for label, (values, colour, marker, style) in lines.items():
        loss = -values
        ax.plot(epochs, loss.mean(0), color=colour, marker=marker, linestyle=style, linewidth=2)
        ax.fill_between(epochs, loss.min(0), loss.max(0), color=colour, alpha=0.15, linewidth=0)
        ends.append((label, epochs[-1], loss.mean(0)[-1], colour))
    plots.fit_y(ax, [-values for values, *_ in lines.values()])
    ax.set_xticks(epochs)
    plots.label_ends(ax, ends)
    ax.set_xlabel("epoch (one pass over the weak texts)", fontsize=TEXT)
    ax.set_ylabel("loss on validation, nats per token", fontsize=TEXT)
    best = {name: 1 + int((-values.mean(0)).argmin()) for name, (values, *_) in lines.items()}
    if best["gold texts"] < best["weak texts"]:
        title = f"After epoch {best['gold texts']} the student fits its teacher better, gold worse"
    elif best["gold texts"] > best["weak texts"]:
        title = f"After epoch {best['weak texts']} the student fits gold better, its teacher worse"
    else:
        title = "The weak texts and gold agree on how long the student should learn"
    told = [
        f"{name} from {-v.mean(0)[0]:.2f} to {-v.mean(0)[-1]:.2f}, lowest at epoch {best[name]}"
        for name, (v, *_) in lines.items()
    ]
    words = f"{title}. Loss on validation items, mean and range of {result.seeds} seeds: "
    return plots.described(plots.titled(figure, title), words + "; ".join(told) + ".")


def shrinking(result: "TextResult") -> "Figure":
    """Likelihood of gold for a student that went only a share of the way, from none to all of it.

    Raises:
        W2SError: the method "shrink" was not run.
    """
    if not result.dial:
        raise W2SError("no shrunk student in this result", mend='run the method "shrink"')
    groups = {"groups": result.groups}
    zero = result.numbers["log_likelihood"][ZERO_SHOT]
    shares = [0.0, *result.dial]
    lead = [
        metrics.bootstrap_difference(scores, zero, **groups)
        for scores in (zero, *result.dial.values())
    ]
    best = int(np.argmax([e.value for e in lead]))
    picked = ", ".join(f"{share:g}" for share in sorted(set(result.chosen["shrink"].tolist())))
    title = f"Best after {shares[best]:g} of the way; the few gold pairs chose {picked}"
    return plots.dial(
        shares,
        {"student": lead},
        xlabel="share of the way from the untouched to the naive student's weights",
        ylabel="nats per token over untouched",
        title=title,
    )


def signs(result: "TextResult") -> "Figure":
    """Which share of the weak model's errors each model repeats, and how many by chance."""
    names = [ZERO_SHOT, *result.methods, "ceiling"]
    found = {name: result.reproduced(name) for name in names}
    share, chance = ([100 * getattr(r, k) for r in found.values()] for k in ("share", "chance"))
    figure, ax = plots.axes(2.2 + 0.42 * len(names))
    rows = -np.arange(len(names))
    for row, here, elsewhere in zip(rows, share, chance, strict=True):
        ax.plot([elsewhere, here], [row, row], color=ORANGE, linewidth=3, zorder=1)
    ax.scatter(chance, rows, 70, facecolor="white", edgecolor=BLACK, marker="D", label="by chance")
    ax.scatter(share, rows, 80, color=VERMILLION, marker="o", label="for the same input")
    ax.set_yticks(rows, names)
    ax.set_ylim(rows[-1] - 0.6, 0.6)
    ax.set_xlim(left=0)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("words the weak model made up that are repeated (%)", fontsize=TEXT)
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
    ax.legend(**place, ncols=2, frameon=False, fontsize=TEXT)
    first = "naive" if "naive" in found else result.methods[0]
    title = "The weak model made up no words that could be repeated"
    if found["ceiling"].errors.sum():
        again = percent(found[first].share)
        title = f"Of its teacher's made-up words, the {first} student repeats {again}"
    listed = [f"{n} {percent(r.share)} (by chance {percent(r.chance)})" for n, r in found.items()]
    words = f"{title}. {plots.joined('Repeated for the same input', listed)}"
    return plots.described(plots.titled(figure, title), words)
