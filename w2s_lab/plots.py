"""Figures of a result, one message each, with the interval drawn and the same told in words.

It computes nothing that `report` does not; no figure depends on pyplot's global state.
Colours are Okabe and Ito's (2008), which colour-blind readers can tell apart; shapes differ, too.
"""

import base64
import io
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from w2s_lab import metrics
from w2s_lab.errors import W2SError
from w2s_lab.metrics import Estimate
from w2s_lab.report import summarize, writable, write_whole

if TYPE_CHECKING:
    from w2s_lab.experiment import Result

BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK, GREY = "#E69F00", "#56B4E9", "#000000", "#666666"
# colour, mark, line: what has a name here looks the same in every figure
ROLES: dict[str, tuple[str, str, Any]] = {
    "weak": (VERMILLION, "s", "--"),
    "ceiling": (GREEN, "D", "-."),
}
LOOKS: tuple[tuple[str, str, Any], ...] = (
    (BLUE, "o", "-"),
    (PURPLE, "^", ":"),
    (ORANGE, "v", (0, (6, 1))),
    (SKY, "P", (0, (3, 1, 1, 1, 1, 1))),
    (BLACK, "X", (0, (1, 2))),
)
TEXT, TITLE = 12, 15  # points on 9 inches, legible from the back of a room
DPI = 100  # 900 pixels wide; a page with ten figures still loads on a slow line
WIDEST = 70  # characters of a title's line
DROP = 0.01  # a fall of the curve that is smaller is not spoken of


class Drawing(Figure):
    """A matplotlib Figure with words for those who cannot see it; a notebook shows both."""

    alt = ""

    def _repr_mimebundle_(self, include=None, exclude=None):
        return _bundle(self)


def described(figure: Any, text: str) -> Any:
    """The figure, with `text` as its alternative for screen readers in `figure.alt`.

    Raises:
        W2SError: no text.
    """
    figure.alt = " ".join(text.split())
    if not figure.alt:
        raise W2SError("a figure without alt text", mend="say in a sentence what it shows")
    return figure


def show(figure: Figure) -> None:
    """Displays a figure as PNG with its alt text, or prints that text outside of a notebook.

    Raises:
        W2SError: the figure has no alt text.
    """
    from IPython import get_ipython
    from IPython.display import display

    data, metadata = _bundle(figure)
    if get_ipython() is None:
        print(data["text/plain"])
    else:
        display(data, metadata=metadata, raw=True)
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close(figure)  # one made by pyplot would be shown again when the cell ends


def save(figure: Figure, path: str | Path) -> None:
    """Writes the figure as a PNG file, whole or not at all, with its alt text as "Description".

    Raises:
        W2SError: no alt text, another ending than .png, a path where no file can be written.
    """
    writable(path, suffix=".png")
    write_whole(path, _png(figure))


def _bundle(figure: Any) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Data and metadata of a notebook's output: `alt` is where the page takes its words from."""
    image = base64.b64encode(_png(figure)).decode()
    return {"image/png": image, "text/plain": figure.alt}, {"image/png": {"alt": figure.alt}}


def _png(figure: Figure) -> bytes:
    alt = described(figure, getattr(figure, "alt", "")).alt
    file = io.BytesIO()
    # without matplotlib's own line, the version that drew it, the same figure is the same file
    figure.savefig(file, format="png", dpi=DPI, metadata={"Description": alt, "Software": None})
    return file.getvalue()


def gap(result: "Result", path: str | Path | None = None) -> Figure:
    """Scores of methods and baselines between weak model and ceiling, PGR beside; saved to `path`.

    Raises:
        W2SError: as `save`.
    """
    told = summarize(result)
    baselines = sorted(result.baselines, key=lambda name: -told.scores[name].value)
    names = [*told.ranked, *baselines]
    figure, ax = axes(2.3 + 0.4 * len(names))
    left, right = limits([list(vars(told.scores[name]).values()) for name in result.probs])
    ax.set_xlim(left, right)

    ends = sorted(ROLES, key=lambda name: told.scores[name].value)
    for name, side in zip(ends, ("right", "left"), strict=True):
        score, (colour, _, style) = told.scores[name], ROLES[name]
        ax.axvspan(*within(score, ax), color=colour, alpha=0.13, linewidth=0)
        ax.axvline(score.value, color=colour, linewidth=2, linestyle=style)
        ax.annotate(
            f"{name} {score}",
            (score.value, 1),
            xycoords=("data", "axes fraction"),
            xytext=(4 if side == "left" else -4, 5),
            textcoords="offset points",
            ha=side,
            fontsize=TEXT,
            fontweight="bold",
        )
    beside = {name: f"PGR {told.pgr[name]}" for name in told.ranked}
    score_rows(ax, told.scores, beside, baselines)
    ax.set_xlabel(f"{_metric(result)} on test, 95 % intervals", fontsize=TEXT)
    title = _headline(told.ranked[0], told.pgr[told.ranked[0]])
    words = [
        f"{title}. On test, {_metric(result)}:",
        f"weak {told.scores['weak']}, ceiling {told.scores['ceiling']}.",
        joined("Methods", [f"{n} {told.scores[n]}, PGR {told.pgr[n]}" for n in told.ranked]),
    ]
    if baselines:
        words.append(joined("Baselines", [f"{name} {told.scores[name]}" for name in baselines]))
    figure = described(titled(figure, title), " ".join(words))
    if path is not None:
        save(figure, path)
    return figure


def score_rows(
    ax: Any, scores: Mapping[str, Estimate], students: Mapping[str, str], baselines: Sequence[str]
) -> None:
    """One row for each student, words beside it, then one for each baseline; intervals drawn.

    Args:
        students: what stands on the right of each student's row, by name, in order.
    """
    # half a row of air between the students and the baselines
    names = [*students, *baselines]
    rows = [-k - 0.5 * (k >= len(students)) for k in range(len(names))]
    for row, name in zip(rows, names, strict=True):
        score, student = scores[name], name in students
        ax.errorbar(
            score.value,
            row,
            xerr=np.abs(within(score, ax) - score.value)[:, None],
            fmt="o" if student else "D",
            color=BLUE if student else BLACK,
            markerfacecolor=BLUE if student else "white",
            markersize=8,
            linewidth=2 if student else 1.2,
            capsize=3,
        )
        if student:
            at = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": TEXT}
            ax.annotate(students[name], (1.02, row), **at)
    ax.set_yticks(rows, [*students, *(f"baseline: {name}" for name in baselines)])
    ax.set_ylim(rows[-1] - 0.6, 0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", alpha=0.25)


def within(score: Estimate, ax: Any) -> np.ndarray:
    """Both ends of an interval; one that the data do not bound reaches to the edge."""
    return np.clip([score.low, score.high], *ax.get_xlim())


def _headline(best: str, pgr: Estimate) -> str:
    if not pgr.defined:
        return "No gap to recover: the ceiling does not beat the weak model"
    if pgr.high < 0:
        return f"No student beats its teacher; the best, {best}, recovers {pgr} of the gap"
    unsure = "" if pgr.low > 0 else "Not settled: "
    return f"{unsure}the best student, {best}, recovers {pgr} of the gap".replace(
        "the best", "The best", 0 if unsure else 1
    )


def learning_curve(result: "Result", method: str = "naive") -> Figure:
    """How a student comes to match the weak labels and gold, epoch by epoch, on validation.

    Raises:
        W2SError: no curve of that method in the result.
    """
    if method not in result.curves:
        known = ", ".join(name for name in result.curves if name != "ceiling") or "none"
        raise W2SError(f"no learning curve of {method!r}", mend=f"run it; there are: {known}")
    matched, score = result.curves[method].T
    lines = {
        f"{method}, matches weak labels": (matched, VERMILLION, "s", "--"),
        f"{method}, {_metric(result)}": (score, BLUE, "o", "-"),
    }
    if "ceiling" in result.curves:
        lines["ceiling, " + _metric(result)] = (result.curves["ceiling"][:, 1], GREEN, "D", "-.")
    figure, ax = axes(5)
    epochs = np.arange(1, len(score) + 1)
    for values, colour, marker, style in lines.values():
        ax.plot(epochs, values, color=colour, marker=marker, linestyle=style, linewidth=2)
    fit_y(ax, [values for values, *_ in lines.values()])
    ax.locator_params(axis="x", integer=True)
    ends = [(label, epochs[-1], v[-1], colour) for label, (v, colour, *_) in lines.items()]
    label_ends(ax, ends)
    ax.set_xlabel("epoch (one pass over the transfer items)", fontsize=TEXT)
    ax.set_ylabel("share, or score, on validation", fontsize=TEXT)
    peak = int(score.argmax())
    fall = score[peak] - score[-1]
    if fall > DROP and matched[-1] > matched[peak]:
        title = f"After epoch {peak + 1} the {method} student fits its teacher better, gold worse"
    else:
        title = f"The {method} student does not fall back on gold while it learns the weak labels"
    told = [f"{label} from {v[0]:.2f} to {v[-1]:.2f}" for label, (v, *_) in lines.items()]
    words = f"{title}. Means over {result.seeds} seeds, in {len(score)} epochs: {'; '.join(told)}."
    return described(titled(figure, title), f"{words} Best on gold: {score[peak]:.2f}.")


def errors(result: "Result", methods: Sequence[str] | None = None) -> Figure:
    """What each student did with its teacher's errors, and its own new ones, as shares of test.

    Args:
        methods: default all, the highest score first.

    Raises:
        W2SError: a method that was not run.
    """
    told = summarize(result)
    names = list(dict.fromkeys(methods or told.ranked))
    for name in names:
        if name not in told.agreement:
            mend = f"choose from: {', '.join(result.methods)}"
            raise W2SError(f"no method {name!r} in this result", mend=mend)
    wrong = float((result.predicted("weak") != result.gold).mean())
    seen = [told.agreement[name] for name in names]
    parts = {
        "corrected": ([a.corrected for a in seen], GREEN, ""),
        "imitated": ([a.imitated for a in seen], VERMILLION, "//"),
        "wrong in another way": ([wrong - a.corrected - a.imitated for a in seen], GREY, "xx"),
        "new errors": ([a.new_errors for a in seen], ORANGE, ".."),
    }
    if max(parts["wrong in another way"][0], default=0) < 1e-9:  # two classes: no other way
        del parts["wrong in another way"]
    figure, ax = axes(2.6 + 0.42 * len(names))
    rows, start = -np.arange(len(names)), np.zeros(len(names))
    for part, (shares, colour, hatch) in parts.items():
        look = {"color": colour, "hatch": hatch, "edgecolor": "white"}
        ax.barh(rows, shares, left=start, height=0.7, label=part, **look)
        start = start + shares
    for k, row in enumerate(rows):
        text = " / ".join(f"{100 * shares[k]:.0f}" for shares, *_ in parts.values()) + " %"
        beside = {"xytext": (6, 0), "textcoords": "offset points", "va": "center"}
        ax.annotate(text, (start[k], row), **beside, fontsize=TEXT)
    ax.axvline(wrong, color=BLACK, linewidth=1.5)
    ax.set_yticks(rows, names)
    ax.set_ylim(rows[-1] - 0.6, 0.6)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f}")
    ax.set_xlabel(
        "test items (%); up to the black line: what the weak model got wrong", fontsize=TEXT
    )
    # one row of keys in the order of the bars: a thin part has no room for its name
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
    ax.legend(**place, ncols=len(parts), frameon=False, fontsize=TEXT)
    title = "The weak model makes no errors to correct or imitate"
    if wrong:
        best = max(names, key=lambda name: told.mended[name])
        title = f"Of its teacher's errors, {best} corrects {100 * told.mended[best]:.0f} %"
    listed = [
        f"{name} corrects {a.corrected:.1%}, imitates {a.imitated:.1%}, adds {a.new_errors:.1%}"
        for name, a in zip(names, seen, strict=True)
    ]
    words = f"{title}. The weak model is wrong on {wrong:.1%} of the test items."
    return described(titled(figure, title), f"{words} {joined('Of all test items', listed)}")


def reliability(result: "Result", names: Sequence[str] | None = None) -> Figure:
    """How often each is right when it is that sure; on the diagonal it knows what it knows.

    Args:
        names: of weak, ceiling or methods; default weak, the best method, ceiling.

    Raises:
        W2SError: a name that the result does not have.
    """
    names = list(dict.fromkeys(("weak", result.best, "ceiling") if names is None else names))
    figure, ax = axes(5.4)
    least = 1 / len(result.classes)
    ax.plot([least, 1], [least, 1], color=GREY, linewidth=1)
    ends, drawn, off = [], [], {}
    for name, (colour, marker, style) in _looks(names).items():
        result.predicted(name)  # says which names there are
        probs = result.probs[name].reshape(-1, len(result.classes))
        gold = np.tile(result.gold, result.seeds)
        sure, right, count = metrics.reliability(probs, gold)
        full = count > 0
        ece = result.calibration_error(name)
        off[name] = (ece, float(probs.max(1).mean() - (probs.argmax(1) == gold).mean()))
        ax.plot(sure[full], right[full], color=colour, linestyle=style, linewidth=2)
        area = 25 + 250 * count[full] / count.sum()
        ax.scatter(sure[full], right[full], area, color=colour, marker=marker, zorder=3)
        ends.append((f"{name}, ECE {ece:.2f}", sure[full][-1], right[full][-1], colour))
        drawn.append(right[full])
    ax.set_xlim(least - 0.02, 1.02)
    fit_y(ax, [*drawn, np.array([least, 1])])
    label_ends(ax, ends)
    ax.set_xlabel("confidence (mean in each tenth; larger marks hold more items)", fontsize=TEXT)
    ax.set_ylabel("share that is right", fontsize=TEXT)
    worst = max(off, key=lambda name: off[name][0])
    which = "surer" if off[worst][1] > 0 else "less sure"
    title = f"The worst calibrated, {worst}, is {which} than it is right (ECE {off[worst][0]:.2f})"
    listed = [
        f"{name} has an expected calibration error of {ece:.2f} and is "
        f"{abs(bias):.2f} {'surer' if bias > 0 else 'less sure'} than right on average"
        for name, (ece, bias) in off.items()
    ]
    return described(titled(figure, title), f"{title}. {joined('Reliability', listed)}")


def dial(
    x: Sequence,
    series: Mapping[str, Sequence[Estimate]],
    xlabel: str,
    ylabel: str,
    title: str,
) -> Figure:
    """Lines with interval bands over the values that a dial was turned to.

    Args:
        x: numbers, in order; or words, set apart evenly.
        series: an estimate for each x, by the name that stands at the end of its line.
        title: the message.

    Raises:
        W2SError: no series, or one that is longer or shorter than `x`.
    """
    if not series or not len(x):
        raise W2SError("nothing to draw", where="dial", mend="give values and a series for them")
    for label, estimates in series.items():
        if len(estimates) != len(x):
            what = f"{len(estimates)} estimates for {len(x)} values"
            raise W2SError(what, where=label, mend="give one for each")
    numbers = all(isinstance(value, int | float | np.number) for value in x)
    at = np.asarray(x, float) if numbers else np.arange(len(x))
    figure, ax = axes(5)
    values = {k: np.array([[e.low, e.value, e.high] for e in s]).T for k, s in series.items()}
    fit_y(ax, list(values.values()))
    floor, top = ax.get_ylim()
    ends = []
    for label, (colour, marker, style) in _looks(values).items():
        low, value, high = values[label]
        ax.plot(at, value, color=colour, marker=marker, linestyle=style, linewidth=2, markersize=7)
        # an end that the data do not bound reaches to the edge
        band = np.clip(low, floor, top), np.clip(high, floor, top)
        ax.fill_between(at, *band, color=colour, alpha=0.15, linewidth=0)
        shown = np.flatnonzero(~np.isnan(value))
        if len(shown):
            ends.append((label, at[shown[-1]], value[shown[-1]], colour))
    if floor < 0 < top:
        ax.axhline(0, color=GREY, linewidth=1)
    ax.set_xticks(at, [f"{value:g}" if numbers else str(value) for value in x])
    label_ends(ax, ends)
    ax.set_xlabel(xlabel, fontsize=TEXT)
    ax.set_ylabel(f"{ylabel}, 95 % intervals", fontsize=TEXT)
    lines = [
        f"{label}: " + ", ".join(f"{e} at {v}" for e, v in zip(estimates, x, strict=True))
        for label, estimates in series.items()
    ]
    return described(titled(figure, title), f"{title}. {ylabel} by {xlabel}. {'; '.join(lines)}.")


def axes(height: float) -> tuple[Figure, Any]:
    """A figure of our width with one empty, quiet pair of axes; `height` in inches."""
    figure = Drawing(figsize=(9, height), layout="constrained", facecolor="white")
    ax = figure.subplots()
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=TEXT)
    return figure, ax


def rounded(corner: tuple[float, float], wide: float, high: float, colour: str) -> Any:
    """A box of a diagram: dark edge, light fill, so that black words on it can be read."""
    from matplotlib.colors import to_rgba
    from matplotlib.patches import FancyBboxPatch

    look: dict = {"edgecolor": colour, "facecolor": to_rgba(colour, 0.12), "linewidth": 2}
    return FancyBboxPatch(corner, wide, high, boxstyle="round,pad=0,rounding_size=1.5", **look)


def titled(figure: Figure, title: str) -> Figure:
    """The figure with its message on top, broken into lines of about one length."""
    lines = -(-len(title) // WIDEST)
    even = -(-len(title) // lines) + 6  # two lines about as long, rather than a word alone
    figure.suptitle(
        textwrap.fill(title, min(even, WIDEST)),
        x=0.01,
        ha="left",
        fontsize=TITLE,
        fontweight="bold",
    )
    return figure


def _looks(names: Iterable[str]) -> dict[str, tuple[str, str, Any]]:
    """A colour, mark and line for each name; the roles' only where no role is among the names."""
    names = list(names)
    free = LOOKS if set(names) & set(ROLES) else (LOOKS[0], *ROLES.values(), *LOOKS[1:])
    rest = cycle(free)
    return {name: ROLES.get(name) or next(rest) for name in names}


def _metric(result: "Result") -> str:
    return result.metric.replace("_", " ")


def joined(what: str, parts: Sequence[str]) -> str:
    """A sentence of alt text that lists its parts."""
    return f"{what}: {'; '.join(parts)}."


def fit_y(ax: Any, values: Sequence[np.ndarray]) -> None:
    """Sets the y-axis to hold what is finite among `values`."""
    ax.set_ylim(limits(values))


def limits(values: Sequence) -> tuple[float, float]:
    """The least and the largest finite number, with a little air."""
    flat = np.concatenate([np.ravel(array) for array in values])
    flat = flat[np.isfinite(flat)]
    low, high = (flat.min(), flat.max()) if len(flat) else (0.0, 1.0)
    air = 0.05 * (high - low) or 0.1
    return low - air, high + air


def label_ends(ax: Any, ends: Sequence[tuple[str, float, float, str]]) -> None:
    """Names lines at their right ends; names that would overlap are moved apart, as little as can.

    Args:
        ends: label, last x, last y and colour of each line.
    """
    if not ends:
        return
    from sklearn.isotonic import isotonic_regression

    ends = sorted(ends, key=lambda end: end[2])
    floor, top = ax.get_ylim()
    room = 0.075 * (top - floor) * np.arange(len(ends))  # a line of text on five inches
    # distances of at least `room` and the least squared moves: a monotone fit of what is left
    wanted = np.array([y for _, _, y, _ in ends]) - room
    places = room + isotonic_regression(wanted, y_min=floor, y_max=top - room[-1])
    for (label, x, y, colour), place in zip(ends, places, strict=True):
        ax.annotate(
            label,
            (x, y),
            (1.03, place),
            textcoords=ax.get_yaxis_transform(),
            va="center",
            fontsize=TEXT,  # in black, for orange words on white are hard to read
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 1.5,
                "shrinkA": 2,
                "relpos": (0, 0.5),  # to where the words begin, not under them
            },
        )
