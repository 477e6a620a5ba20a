"""The forms in which a live notebook shows a question: fields, a button, room for the feedback.

It knows no right answer; what a press of the button says comes from `quiz`.
Everything is reached by the keyboard, and feedback is read out by a screen reader.
"""

import html
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from w2s_lab.errors import W2SError

if TYPE_CHECKING:  # `quiz` imports this module
    from w2s_lab.quiz import Question

# ipywidgets gives each label the height of one line; a long option would run into the next
STYLE = "<style>.w2s-quiz label {height: auto !important; white-space: normal}</style>"
WIDE: dict[str, Any] = {"style": {"description_width": "initial"}, "layout": {"width": "95%"}}
# sent on leaving the field: key by key, the last one may arrive after the button was pressed
WHOLE: dict[str, Any] = {"continuous_update": False}


def form(question: "Question", reply: Callable[[str, str], str]) -> Any:
    """A question as one ipywidgets box: prompt, fields, a button, room for the feedback.

    Args:
        reply: gives the feedback for an id and what was picked or typed; a W2SError is shown.
    """
    import ipywidgets

    predicts = question.kind == "predict"
    fields = _fields(question, "Your prediction" if predicts else "Your answer")
    # a button, for arrow keys walk through radio buttons by choosing each on the way
    button = ipywidgets.Button(description="Note it" if predicts else "Check")
    said = ipywidgets.HTML()

    def respond(_: Any) -> None:
        picked = "".join(field.value or "" for field in fields)
        try:
            words = reply(question.id, picked)
        except W2SError as error:
            words = str(error)
        said.value = _alert(words)

    button.on_click(respond)
    return _box(_prompt(question), *fields, button, said)


def essay(question: "Question", compare: str) -> Any:
    """An essay question: room to write, a button, and then the points, to be ticked and counted.

    Args:
        compare: what is said above the points.
    """
    import ipywidgets

    text = ipywidgets.Textarea(description="Your answer", rows=8, **WHOLE, **WIDE)
    button = ipywidgets.Button(description="Compare")
    said, points, count = ipywidgets.HTML(), ipywidgets.VBox(), ipywidgets.HTML()
    ticks = [ipywidgets.Checkbox(description=p, indent=False, **WIDE) for p in question.options]
    whys = [ipywidgets.HTML(f"<p>{html.escape(why)}</p>") for why in question.explanations]

    def tally(_: Any = None) -> None:
        told = f"{sum(tick.value for tick in ticks)} of {len(ticks)}"
        count.value = f'<div role="status">{told}</div>'

    def respond(_: Any) -> None:
        misfit = question.misfit(text.value)
        said.value = _alert(misfit or compare)
        shown = [part for pair in zip(ticks, whys, strict=True) for part in pair]
        points.children = [] if misfit else [*shown, count]

    for tick in ticks:
        tick.observe(tally, "value")
    tally()
    button.on_click(respond)
    return _box(_prompt(question), text, button, said, points)


def _fields(question: "Question", name: str) -> list[Any]:
    import ipywidgets

    choices = [(question.option(letter), letter) for letter in question.letters]
    if question.kind == "order":
        offered = [("choose", ""), *choices]
        steps = [f"Step {n}" for n, _ in enumerate(choices, start=1)]
        return [ipywidgets.Dropdown(options=offered, description=step, **WIDE) for step in steps]
    if question.kind == "numeric":  # a text field, for a number field would refuse "0,5"
        return [ipywidgets.Text(description=name, **WHOLE, **WIDE)]
    return [ipywidgets.RadioButtons(options=choices, value=None, description=name, **WIDE)]


def _prompt(question: "Question") -> Any:
    import ipywidgets

    told = [question.prompt, question.limits] if question.limits else [question.prompt]
    return ipywidgets.HTML(STYLE + "".join(f"<p>{html.escape(text)}</p>" for text in told))


def _alert(words: str) -> str:
    lines = html.escape(words).replace("\n", "<br>")
    return f'<div role="alert">{lines}</div>'  # a screen reader reads it out


def _box(*parts: Any) -> Any:
    import ipywidgets

    box = ipywidgets.VBox(parts)
    box.add_class("w2s-quiz")
    return box
