"""A slider over results that are already computed: what changes when one thing is turned.

It computes nothing in the background, and draws each value once.
The sliders are ipywidgets; without a live notebook the start value is shown as plain output.
"""

import html
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

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
