"""Questions of the lessons: predict first, check what was understood, look back at the end.

It gives no marks, and a formative key guards nothing: it is only not read by accident.
That predicting before seeing helps understanding is Crouch et al. 2004 (Am. J. Phys. 72).
"""

import hashlib
import html
import textwrap
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any

from w2s_lab.errors import W2SError
from w2s_lab.widgets import live, view

KINDS = ("choice", "true-false", "order", "predict")
LETTERS = "abcdefgh"
PREDICTIONS: dict[str, str] = {}  # question id → letter; lives as long as the kernel
WIDTH = 88  # columns of the plain form: what a notebook shows without a scroll bar
# ipywidgets gives each radio label the height of one line; a long option would run into the next
STYLE = "<style>.w2s-quiz label {height: auto !important; white-space: normal}</style>"


@dataclass(frozen=True, repr=False)
class Question:
    """A question; a live notebook shows it as radio buttons, everything else as plain text.

    Attributes:
        kind: one of `KINDS`; in an "order" the options are steps, shown out of order.
        explanations: one for each option: why it is right or wrong; for a step, why it stands
            where it stands; for a prediction, what it means if that is measured.
        key: `hashed(id, right answer)`; empty for "predict".
        outcomes: for "predict", what bears out each option: (low, high) for a number with
            low <= measured < high, or names.
    """

    id: str
    kind: str
    prompt: str
    options: tuple[str, ...]
    explanations: tuple[str, ...]
    key: str = ""
    outcomes: tuple[tuple, ...] = ()

    @property
    def letters(self) -> str:
        """The letters of the options."""
        return LETTERS[: len(self.options)]

    @property
    def answers(self) -> list[str]:
        """Every possible answer: a letter, or for an order all letters in some sequence."""
        ordered = self.kind == "order"
        return ["".join(p) for p in permutations(self.letters, len(self.letters) if ordered else 1)]

    @property
    def right(self) -> list[str]:
        """The answers that fit the key: one, or none for a prediction."""
        return [answer for answer in self.answers if hashed(self.id, answer) == self.key]

    def option(self, letter: str) -> str:
        """An option as it is shown, with its letter."""
        return f"{letter}) {self.options[LETTERS.index(letter)]}"

    def why(self, letter: str) -> str:
        """An option's own explanation."""
        return self.explanations[LETTERS.index(letter)]

    def read(self, choice: Any) -> str:
        """The answer that a choice means ("B" and "b)" are "b", True is "true"), or a W2SError."""
        said = "".join(filter(str.isalnum, str(choice).lower()))
        texts = [text.lower() for text in self.options]
        said = LETTERS[texts.index(said)] if said in texts else said
        if said not in self.answers:
            ways = "name each once, first step first" if self.kind == "order" else "choose one"
            mend = f"{ways} of: {', '.join(self.letters)}"
            raise W2SError(f"{choice!r} is not an answer", where=self.id, mend=mend)
        return said

    def outcome(self, measured: Any) -> str | None:
        """The letter of the prediction that a number or a name bears out; None where none does."""
        for letter, holds in zip(LETTERS, self.outcomes, strict=False):
            named = isinstance(measured, str)
            if measured in holds if named else holds[0] <= measured < holds[1]:
                return letter
        return None

    def __repr__(self) -> str:
        how = {
            "choice": f'answer("{self.id}", "a"), or another letter',
            "true-false": f'answer("{self.id}", True) or answer("{self.id}", False)',
            "order": f'answer("{self.id}", "{self.letters}"), the letters in your order',
            "predict": f'predict("{self.id}", "a"), or another letter',
        }[self.kind]
        options = [self.option(letter) for letter in self.letters]
        shown = [textwrap.fill(option, WIDTH, subsequent_indent="   ") for option in options]
        return "\n".join([_lines(self.prompt), *shown, f"To answer: {how}"])

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, Any]:
        return view(self.widget(), repr(self)) if live() else {"text/plain": repr(self)}

    def widget(self) -> Any:
        """The question as one ipywidgets box: prompt, choices, a button, room for the feedback."""
        import ipywidgets

        choices = [(self.option(letter), letter) for letter in self.letters]
        wide: Any = {"style": {"description_width": "initial"}, "layout": {"width": "95%"}}
        fields: list[Any]
        if self.kind == "order":
            offered = [("choose", ""), *choices]
            steps = [f"Step {n}" for n, _ in enumerate(choices, start=1)]
            fields = [ipywidgets.Dropdown(options=offered, description=s, **wide) for s in steps]
        else:
            name = "Your prediction" if self.kind == "predict" else "Your answer"
            fields = [
                ipywidgets.RadioButtons(options=choices, value=None, description=name, **wide)
            ]
        # a button, for arrow keys walk through radio buttons by choosing each on the way
        button = ipywidgets.Button(description="Note it" if self.kind == "predict" else "Check")
        said = ipywidgets.HTML()

        def respond(_: Any) -> None:
            picked = "".join(field.value or "" for field in fields)
            try:
                words = (_note if self.kind == "predict" else feedback)(self.id, picked)
            except W2SError as error:
                words = str(error)
            lines = html.escape(words).replace("\n", "<br>")
            said.value = f'<div role="alert">{lines}</div>'  # a screen reader reads it out

        button.on_click(respond)
        prompt = ipywidgets.HTML(f"{STYLE}<p>{html.escape(self.prompt)}</p>")
        box = ipywidgets.VBox([prompt, *fields, button, said])
        box.add_class("w2s-quiz")
        return box


def ask(question_id: str) -> Question:
    """The question, to stand last in a cell, which then shows it; W2SError where there is none."""
    questions = bank()
    if question_id not in questions:
        lesson = [known for known in questions if known[:3] == str(question_id)[:3]]
        mend = f"choose one of: {', '.join(lesson or questions)}"
        raise W2SError(f"no question {question_id!r}", mend=mend)
    return questions[question_id]


def answer(question_id: str, choice: Any) -> None:
    """Prints whether a choice is right, and why; errors as in `feedback`."""
    print(feedback(question_id, choice))


def feedback(question_id: str, choice: Any) -> str:
    """Whether a choice is right, and its own explanation; of a wrong order, its first wrong step.

    Args:
        choice: a letter; True or False; for an order all letters, first step first ("cab").

    Raises:
        W2SError: an unknown question, a choice that it does not have, or a prediction.
    """
    question = ask(question_id)
    if question.kind == "predict":
        mend = f'use predict("{question_id}", ...)'
        raise W2SError("a prediction is neither right nor wrong yet", where=question_id, mend=mend)
    said, right = question.read(choice), question.right[0]
    if question.kind != "order":
        verdict = "Right." if said == right else "Not quite."
        return _lines(question.option(said), f"{verdict} {question.why(said)}")
    if said == right:
        return _lines(
            "Right.", *(f"{question.option(step)}: {question.why(step)}" for step in said)
        )
    place = next(n for n, step in enumerate(said) if step != right[n])
    verdict = f"Not quite: this is not step {place + 1}."
    return _lines(question.option(said[place]), f"{verdict} {question.why(said[place])}")


def predict(question_id: str, choice: Any = None) -> Question | None:
    """Notes a prediction until `recall`; with no choice, the question itself.

    Raises:
        W2SError: an unknown question, a choice that it does not have, or not a prediction.
    """
    if choice is None:
        return _prediction(question_id)
    print(_note(question_id, choice))
    return None


def _prediction(question_id: str) -> Question:
    question = ask(question_id)
    if question.kind != "predict":
        mend = f'use ask("{question_id}") and answer("{question_id}", ...)'
        raise W2SError("this question is not a prediction", where=question_id, mend=mend)
    return question


def _note(question_id: str, choice: Any) -> str:
    question = _prediction(question_id)
    PREDICTIONS[question_id] = said = question.read(choice)
    return _lines(f"Noted: {question.option(said)}", "It comes back beside what is measured.")


def recall(question_id: str, measured: Any) -> None:
    """Prints what was predicted beside what was measured.

    Args:
        measured: a number, an `Estimate`, or a name, whichever the question is about.

    Raises:
        W2SError: an unknown question, or not a prediction.
    """
    question = _prediction(question_id)
    said = PREDICTIONS.get(question_id)
    happened = question.outcome(getattr(measured, "value", measured))
    shown = f"{measured:z.2f}" if isinstance(measured, float) else str(measured)
    told = f"You predicted {question.option(said)}" if said else "You made no prediction."
    verdict = "None of the options says that."
    if happened is not None:
        same = "That is what you predicted."
        verdict = same if happened == said else f"That is {question.option(happened)}."
        verdict = f"{verdict} {question.why(happened)}"
    print(_lines(question.prompt, told, f"Measured: {shown}", verdict))


def _lines(*paragraphs: str) -> str:
    return "\n".join(textwrap.fill(text, WIDTH) for text in paragraphs)


def hashed(question_id: str, right: str) -> str:
    """The key that a question's file holds; the id is its salt."""
    return hashlib.sha256(f"{question_id}:{right}".encode()).hexdigest()[:12]


@cache
def bank() -> dict[str, Question]:
    """All questions by id, in the order of the lessons."""
    found: dict[str, Question] = {}
    for file in sorted(Path(__file__).with_name("questions").glob("*.yaml")):
        for question in read_questions(file):
            if question.id in found:
                raise W2SError(f"{question.id} occurs twice", where=str(file), mend="rename one")
            found[question.id] = question
    return found


def read_questions(path: str | Path) -> list[Question]:
    """The questions in a YAML file: a list of id, kind, prompt, key, and options (text, why).

    The options of a prediction also say `when`: two numbers, or names.

    Raises:
        W2SError: not YAML, a field that is missing or empty, an unknown kind, or a key that fits
            no answer.
    """
    import yaml

    try:
        entries = yaml.safe_load(Path(path).read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise W2SError(f"not YAML ({error})", where=str(path), mend="mend the file") from None
    return [_question(entry, f"{path}: question {n}") for n, entry in enumerate(entries or [], 1)]


def _question(entry: Any, where: str) -> Question:
    try:
        options, predicts = entry["options"], entry["kind"] == "predict"
        texts, whys = (tuple(option[name] for option in options) for name in ("text", "why"))
        when = tuple(tuple(option["when"]) for option in options) if predicts else ()
        start = (entry["id"], entry["kind"], entry["prompt"])
        question = Question(*start, texts, whys, "" if predicts else entry["key"], when)
    except (KeyError, TypeError) as error:
        what = f"a field is missing or misplaced ({error})"
        raise W2SError(what, where=where, mend="compare it with another question") from None
    words = (question.id, question.prompt, *texts, *whys)
    if not all(isinstance(text, str) and text.strip() for text in words):
        raise W2SError("a text is empty or not a text", where=where, mend="put it in quotes")
    if question.kind not in KINDS:
        mend = f"choose one of: {', '.join(KINDS)}"
        raise W2SError(f"unknown kind {question.kind!r}", where=where, mend=mend)
    if not (predicts or question.right):
        mend = f"put hashed({question.id!r}, right answer) there"
        raise W2SError("the key fits no answer", where=where, mend=mend)
    return question
