"""Something to turn, and something to judge: a slider over results, and pairs of texts rated blind.

Nothing is computed in the background, and a slider draws each value once.
Both are ipywidgets; without a live notebook they are plain output, with a call for each step.
"""

import html
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from w2s_lab.errors import W2SError
from w2s_lab.progress import quiet


def live() -> bool:
    """Whether a person has a notebook open that can show widgets; never in tests and builds."""
    if quiet():
        return False
    try:
        import ipywidgets  # noqa: F401
        from IPython import get_ipython
    except ImportError:
        return False
    return getattr(get_ipython(), "kernel", None) is not None


def view(widget: Any, plain: str) -> dict[str, Any]:
    """What a notebook stores for a live widget: the widget, and `plain` where it cannot be shown.

    The text that ipywidgets gives itself is an abbreviated repr, no use to a reader.
    """
    shown = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    return {"text/plain": plain, "application/vnd.jupyter.widget-view+json": shown}


def dial(
    draw: Callable,
    values: Iterable,
    label: str | tuple[str, ...],
    *,
    start: Any = None,
    describe: Callable | None = None,
) -> "Dial":
    """A slider that shows `draw(value)` for the value it stands at; in plain output, its start.

    Two dials at once: `dial(draw, (counts, weights), ("labels", "weight"))` shows
    `draw(count, weight)`, and `start` is a pair.

    Args:
        draw: gives a matplotlib Figure with an attribute `alt`, or a text. It should look up what
            was computed before: a slider that has to wait teaches nothing.
        values: what the slider runs over, in order; a mapping from value to result will do.
        label: what the values are, in words.
        start: where it stands first; default the first value.
        describe: gives one sentence for a value, shown below; default the figure's `alt`, for
            readers who hear the page.

    Raises:
        W2SError: no values, or a start that is not among them.
    """
    single = isinstance(label, str)
    labels = (label,) if isinstance(label, str) else label
    ranges = (values,) if single else tuple(values)
    axes = tuple((name, list(span)) for name, span in zip(labels, ranges, strict=True))
    for name, span in axes:
        if not span:
            raise W2SError(f"a dial without values for {name}", mend="give it at least one")
    if start is None:
        first = tuple(span[0] for _, span in axes)
    else:
        first = (start,) if single else tuple(start)
    made = Dial(draw, axes, first, describe)
    made.checked(first)
    return made


@dataclass(frozen=True, repr=False)
class Dial:
    """What `dial` makes; a notebook shows it as the last value of a cell."""

    draw: Callable
    axes: tuple[tuple[str, list], ...]
    start: tuple
    describe: Callable | None = None
    _drawn: dict[tuple, Any] = field(default_factory=dict)

    def at(self, *values: Any) -> None:
        """Shows what is drawn for a value, or one value for each slider, without a slider.

        Raises:
            W2SError: a value that the dial does not have.
        """
        _show(self.result(*values))
        if self.describe:
            print(self.describe(*values))

    def result(self, *values: Any) -> Any:
        """The Figure or text for a value, drawn at the first call and kept; errors as in `at`."""
        values = self.checked(values)
        if values not in self._drawn:
            self._drawn[values] = self.draw(*values)
        return self._drawn[values]

    def checked(self, values: Sequence) -> tuple:
        """The values as a tuple, each known to be on its slider; W2SError otherwise."""
        if len(values) != len(self.axes):
            mend = f"give one for each of: {', '.join(name for name, _ in self.axes)}"
            raise W2SError(f"{len(values)} values for {len(self.axes)} sliders", mend=mend)
        for value, (name, span) in zip(values, self.axes, strict=True):
            if value not in span:
                raise W2SError(f"{name} has no {value}", mend=f"choose one of: {_listed(span)}")
        return tuple(values)

    def widget(self) -> Any:
        """Sliders, drawing and sentence as one ipywidgets box, drawn at the start value."""
        import ipywidgets

        sliders = [
            ipywidgets.SelectionSlider(
                options=[(str(value), value) for value in span],
                value=value,
                description=name,
                continuous_update=False,  # redraw where the hand stops, not at each step between
                style={"description_width": "initial"},
                layout={"width": "95%"},
            )
            for value, (name, span) in zip(self.start, self.axes, strict=True)
        ]
        output, sentence = ipywidgets.Output(), ipywidgets.HTML()

        def redraw(_: Any = None) -> None:
            values = tuple(slider.value for slider in sliders)
            with output:  # shows an error of `draw` too, which a callback would swallow
                output.clear_output(wait=True)
                drawn = self.result(*values)
                _show(drawn)
                words = self.describe(*values) if self.describe else getattr(drawn, "alt", "")
                sentence.value = f'<div role="status">{html.escape(words)}</div>'

        for slider in sliders:
            slider.observe(redraw, "value")
        redraw()
        return ipywidgets.VBox([*sliders, output, sentence])

    def _ipython_display_(self) -> None:
        if live():
            from IPython.display import display

            display(view(self.widget(), repr(self)), raw=True)
        else:
            self.at(*self.start)
            print(self._hint)

    def __repr__(self) -> str:
        words = [_text(self.result(*self.start))]
        words += [self.describe(*self.start)] if self.describe else []
        return "\n".join([*words, self._hint])

    @property
    def _hint(self) -> str:
        stands = zip(self.axes, self.start, strict=True)
        shown = ", ".join(f"{name} = {value}" for (name, _), value in stands)
        call = ", ".join(repr(span[-1]) for _, span in self.axes)
        spans = "; ".join(f"{name}: {_listed(span)}" for name, span in self.axes)
        return f"Shown at {shown}. For another: d = dial(...), then d.at({call}). {spans}"


def _show(drawn: Any) -> None:
    """Prints a text; displays a figure, or prints its alt text outside of a notebook."""
    if isinstance(drawn, str):
        print(drawn)
    else:
        from w2s_lab.plots import show

        show(drawn)


def _text(drawn: Any) -> str:
    return drawn if isinstance(drawn, str) else getattr(drawn, "alt", "")


def _listed(values: Sequence) -> str:
    return ", ".join(str(value) for value in values)


# --- pairs of texts -------------------------------------------------------------------------------

CHOICES = {"left": "left is better", "right": "right is better", "equal": "equally good"}
PANEL = "max-height:16em;overflow:auto;white-space:pre-wrap;border:1px solid #767676;padding:.5em"


def blind(
    a: Sequence[str],
    b: Sequence[str],
    *,
    inputs: Sequence[str],
    gold: Sequence[str] | None = None,
    scores: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
    names: tuple[str, str] = ("A", "B"),
    pairs: int = 10,
    seed: int = 0,
) -> "Blind":
    """Pairs of texts to rate without knowing who wrote which; then, who you and each score prefer.

    Each writer stands left in half of the pairs, so that a habit of choosing one side prefers
    nobody. Items for which both wrote the same are left out.

    Args:
        a, b: what the two wrote for each item, (items,).
        inputs: what they read, and what was asked of it.
        gold: shown in the verdict only, for a text like it would look better than it is.
        scores: name → the score of each text of `a` and of each of `b`, higher is better.
        names: who wrote `a` and `b`; told in the verdict only.
        pairs: how many to rate; fewer where fewer differ.
        seed: draws the items and the sides.

    Raises:
        W2SError: lists of different lengths, names that agree, or no item that differs.
    """
    scores, items = scores or {}, np.shape(a)[:1]
    given: dict[str, Sequence] = {
        "a": a,
        "b": b,
        "inputs": inputs,
        "gold": a if gold is None else gold,
    }
    given |= {f"scores of {metric}": side for metric, both in scores.items() for side in both}
    for name, values in given.items():
        if np.shape(values) != items or not items:
            what = f"shape {np.shape(values)} beside {items or '(items,)'}"
            mend = "give one for each item, and of each score a list for either writer"
            raise W2SError(what, where=name, mend=mend)
    if len({*names, "equal"}) != 3 or pairs < 1:
        what = f"{pairs} pairs by {' and '.join(map(repr, names))}"
        raise W2SError(what, mend="ask for one pair or more, by two names")
    differ = [i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x.split() != y.split()]
    if not differ:
        raise W2SError("nothing to rate: both wrote the same for every item")
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(differ)[:pairs]
    swapped = rng.permutation((np.arange(len(chosen)) + rng.integers(2)) % 2 == 1)
    drawn = tuple(zip(chosen.tolist(), swapped.tolist(), strict=True))
    return Blind((a, b), inputs, gold, scores, names, drawn)


@dataclass(frozen=True, repr=False)
class Blind:
    """What `blind` makes: buttons in a live notebook, elsewhere a text and `rate` for each pair."""

    texts: tuple[Sequence[str], Sequence[str]]
    inputs: Sequence[str]
    gold: Sequence[str] | None
    scores: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    names: tuple[str, str]
    drawn: tuple[tuple[int, bool], ...]  # item, and whether b stands left
    _said: list[str] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether every pair is rated."""
        return len(self._said) == len(self.drawn)

    def show(self) -> None:
        """Prints the pair that is to be rated next; after the last one the verdict."""
        print(self)

    def rate(self, choice: str) -> None:
        """Notes that "left" or "right" is better, or that they are "equal", and shows the next.

        Raises:
            W2SError: another choice, or all pairs are rated.
        """
        self._note(choice)
        self.show()

    def _note(self, choice: str) -> None:
        if choice not in CHOICES:
            raise W2SError(f"{choice!r} is no choice", mend=f"choose one of: {_listed([*CHOICES])}")
        if self.done:
            raise W2SError(f"all {len(self.drawn)} pairs are rated", mend="see verdict()")
        self._said.append(choice)

    def verdict(self) -> Any:
        """Who you preferred, how often each score agrees, and who wrote what: `reading.Texts`.

        Before the last pair is rated it only says how many are.
        """
        from w2s_lab.reading import Texts

        count = f"{len(self._said)} of {len(self.drawn)} pairs rated"
        if not self.done:
            return Texts(f"{count}; the verdict comes after the last one.", ())
        sides = [self.names[::-1] if swapped else self.names for _, swapped in self.drawn]
        you = [
            {"left": left, "right": right, "equal": "equal"}[choice]
            for choice, (left, right) in zip(self._said, sides, strict=True)
        ]
        preferred = {"you": you}
        rows = [("you", f"{_counted(you, self.names)} {_sign_test(you, self.names)}")]
        for metric, (a, b) in self.scores.items():
            theirs = [_better(a[i], b[i], self.names) for i, _ in self.drawn]
            same = [x == y for x, y in zip(you, theirs, strict=True) if "equal" not in (x, y)]
            told = f"You agree in {sum(same)} of the {len(same)} pairs in which both prefer one."
            rows.append((metric, f"{_counted(theirs, self.names)} {told}"))
            preferred[metric] = theirs
        for k, ((item, _), (left, right)) in enumerate(zip(self.drawn, sides, strict=True)):
            told = "; ".join(f"{who}: {names[k]}" for who, names in preferred.items())
            told = f"left was {left}, right was {right}. Better for {told}."
            told += "" if self.gold is None else f" Gold: {self.gold[item]}"
            rows.append((f"pair {k + 1}", told))
        return Texts(f"{count}.", tuple(rows))

    def widget(self) -> Any:
        """Progress, input, both texts and three buttons as one ipywidgets box; then the verdict."""
        import ipywidgets

        progress, read, left, right = (ipywidgets.HTML() for _ in range(4))
        buttons = {choice: ipywidgets.Button(description=CHOICES[choice]) for choice in CHOICES}
        texts = ipywidgets.GridBox([left, right], layout={"grid_template_columns": "50% 50%"})
        asked = ipywidgets.VBox([texts, ipywidgets.HBox([*buttons.values()])])
        shown = 0

        def refresh() -> None:
            nonlocal shown
            shown = len(self._said)
            of = len(self.drawn)
            words = f"All {of} pairs are rated." if self.done else f"Pair {shown + 1} of {of}"
            progress.value = f'<div role="status">{words}</div>'  # a screen reader reads it out
            if self.done:
                asked.layout.display = "none"
                read.value = self.verdict()._repr_html_()
            else:
                for field_, (title, text) in zip((read, left, right), self._pair(), strict=True):
                    field_.value = _panel(title, text)

        def press(choice: str) -> None:
            if shown == len(self._said) and not self.done:  # what stands there is what is rated
                self._note(choice)
            refresh()

        for choice, button in buttons.items():
            button.on_click(lambda _, choice=choice: press(choice))
        refresh()
        return ipywidgets.VBox([progress, read, asked])

    def _pair(self) -> list[tuple[str, str]]:
        """Title and text of the next pair's input, left text and right text."""
        item, swapped = self.drawn[len(self._said)]
        left, right = (texts[item] for texts in (self.texts[::-1] if swapped else self.texts))
        parts = {"input": self.inputs[item], "left": left, "right": right}
        return [
            (title, text.strip("\n") if text.strip() else "(nothing)")
            for title, text in parts.items()
        ]

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, Any]:
        return view(self.widget(), repr(self)) if live() else {"text/plain": repr(self)}

    def __repr__(self) -> str:
        if self.done:
            return str(self.verdict())
        start = f"Pair {len(self._said) + 1} of {len(self.drawn)}"
        parts = [f"{title}:\n{_wrapped(text)}" for title, text in self._pair()]
        calls = " or ".join(f'ab.rate("{choice}")' for choice in CHOICES)
        return "\n\n".join([start, *parts, f"Which is better? ab = blind(...), then {calls}"])


def _better(a: float, b: float, names: tuple[str, str]) -> str:
    """The name of the higher score."""
    return names[0] if a > b else names[1] if b > a else "equal"


def _counted(preferred: list[str], names: tuple[str, str]) -> str:
    told = ", ".join(f"{name} in {preferred.count(name)}" for name in names)
    return f"{told}, neither in {preferred.count('equal')} of {len(preferred)} pairs."


def _sign_test(preferred: list[str], names: tuple[str, str]) -> str:
    """How far the preferences are from those of a coin (exact binomial, Clopper-Pearson)."""
    from scipy.stats import binomtest

    first, second = map(preferred.count, names)
    if not first + second:
        return "No preference at all."
    test = binomtest(first, first + second)
    low, high = test.proportion_ci()
    told = f"That leaves {low:.0%} to {high:.0%} for {names[0]} among all such preferences"
    return f"{told} (95% interval); a coin is as uneven with probability {test.pvalue:.2g}."


def _panel(title: str, text: str) -> str:
    """A box that scrolls, reached by the keyboard too; the text is shown and never interpreted."""
    shown = html.escape(text)
    start = f'<div tabindex="0" role="region" aria-label="{title}" style="{PANEL}">'
    return f"{start}<b>{title}</b>\n{shown}</div>"


def _wrapped(text: str) -> str:
    lines = (textwrap.fill(line, 88, subsequent_indent="  ") for line in text.splitlines())
    return textwrap.indent("\n".join(lines), "  ")
