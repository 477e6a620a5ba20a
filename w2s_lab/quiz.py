"""Questions of the lessons: predict first, check what was understood, look back at the end.

It gives no marks, and a formative key guards nothing: it is only not read by accident.
That predicting before seeing helps understanding is Crouch et al. 2004 (Am. J. Phys. 72).
"""

import hashlib
import math
import re
import textwrap
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from w2s_lab import quiz_widgets
from w2s_lab.errors import W2SError
from w2s_lab.widgets import live, view

KINDS = ("choice", "true-false", "order", "predict", "numeric", "essay")
LETTERS = "abcdefgh"
PREDICTIONS: dict[str, str] = {}  # question id → letter; lives as long as the kernel
WIDTH = 88  # columns of the plain form: what a notebook shows without a scroll bar
COMPARE = "Nobody marks this. A good answer says what follows; tick what yours says too."
# "1,000" is a thousand to some and one to others, so it is not read at all
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")


@dataclass(frozen=True)
class Number:
    """What a "numeric" answer is compared with; the numbers themselves stand there as keys.

    Attributes:
        step: answers are rounded to its multiples.
        within: how many steps an answer may be off and still be right.
        unit: what it is counted in; it may be written after the number.
        mistakes: key and explanation of each wrong number that was foreseen.
        hint: what is said of any other wrong number.
    """

    step: float
    within: int = 1
    unit: str = ""
    mistakes: tuple[tuple[str, str], ...] = ()
    hint: str = ""

    def read(self, choice: Any) -> float:
        """A number or a text as a float ("0,5" is 0.5); ValueError if it is none, or not finite."""
        if isinstance(choice, bool | np.bool_):
            raise ValueError("a truth value would be read as 0 or 1")
        if isinstance(choice, str):
            choice = choice.strip()
            if self.unit and choice.lower().endswith(self.unit.lower()):
                choice = choice[: -len(self.unit)].strip()
            choice = choice.replace("\N{MINUS SIGN}", "-")
            choice = choice if THOUSANDS.fullmatch(choice) else choice.replace(",", ".")
        value = float(choice)
        if not math.isfinite(value):
            raise ValueError("no step is near it")
        return value


@dataclass(frozen=True, repr=False)
class Question:
    """A question; a live notebook shows it as a form, everything else as plain text.

    Attributes:
        kind: one of `KINDS`; in an "order" the options are steps, shown out of order.
        options: what there is to choose from; none for "numeric"; for an "essay" the points of a
            good answer, which are not shown before there is an answer to compare.
        explanations: one for each option: why it is right or wrong; for a step, why it stands
            where it stands; for a prediction, what it means if that is measured; for a point, why
            it matters. For "numeric" a single one, why the number is right.
        key: `hashed(id, right answer)`; empty for "predict" and "essay".
        outcomes: for "predict", what bears out each option: (low, high) for a number with
            low <= measured < high, or names.
        number: for "numeric", how an answer is read and compared.
        words: for an "essay", how many it has at least and at most.
    """

    id: str
    kind: str
    prompt: str
    options: tuple[str, ...]
    explanations: tuple[str, ...]
    key: str = ""
    outcomes: tuple[tuple, ...] = ()
    number: Number | None = None
    words: tuple[int, int] = (0, 0)

    @property
    def letters(self) -> str:
        """The letters of the options; none in an essay, where nothing is chosen."""
        return "" if self.kind == "essay" else LETTERS[: len(self.options)]

    @property
    def answers(self) -> list[str]:
        """Every answer that can be listed: a letter, or for an order all letters in some sequence.

        None for a number or an essay.
        """
        ordered = self.kind == "order"
        return ["".join(p) for p in permutations(self.letters, len(self.letters) if ordered else 1)]

    @property
    def right(self) -> list[str]:
        """The listed answers that fit the key: one, or none where none is listed or it is open."""
        return [answer for answer in self.answers if hashed(self.id, answer) == self.key]

    def option(self, letter: str) -> str:
        """An option as it is shown, with its letter."""
        return f"{letter}) {self.options[LETTERS.index(letter)]}"

    def why(self, letter: str) -> str:
        """An option's own explanation."""
        return self.explanations[LETTERS.index(letter)]

    @property
    def limits(self) -> str:
        """What a number or an essay has to keep to, told beforehand; "" for the other kinds."""
        if self.number:
            step = rounded(self.number.step, self.number.step)
            off = rounded(self.number.step * self.number.within, self.number.step)
            unit = f" of {self.number.unit}," if self.number.unit else ""
            still = f" One that is {off} off is still right." if self.number.within else ""
            return f"Give a number{unit} to the nearest {step}.{still}"
        least, most = self.words
        then = "Nobody marks them: you will see what a good answer says, and compare."
        return f"Write {least} to {most} words. {then}" if most else ""

    def misfit(self, text: str) -> str:
        """What is wrong with the length of an essay, in a sentence; "" where nothing is."""
        count = sum(any(map(str.isalnum, word)) for word in text.split())
        least, most = self.words
        if count < least:
            return (
                f"Too short (words: {count}, at least {least}). What to compare it with comes then."
            )
        return f"Too long (words: {count}, at most {most}). Say it shorter." if count > most else ""

    def read(self, choice: Any) -> str:
        """The answer that a choice means ("B" and "b)" are "b", True is "true"), or a W2SError.

        A number comes back rounded to its step, and an essay as it is.
        """
        if self.number:
            try:
                return rounded(self.number.read(choice), self.number.step)
            except (TypeError, ValueError, OverflowError):
                what = f"{choice!r:.60} is not a number"
                share = ", and 50 % as 0.5" if "%" in str(choice) else ""
                mend = f"write a bare number, such as 0.5 or 1200{share}"
                raise W2SError(what, where=self.id, mend=mend) from None
        if self.kind == "essay":
            if not isinstance(choice, str):
                what = f"{choice!r:.60} is not a text"
                raise W2SError(what, where=self.id, mend="put your answer in quotes")
            return choice
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
            "numeric": f'answer("{self.id}", x), where x is your number',
            "essay": f'answer("{self.id}", "..."), with your text between the quotes',
        }[self.kind]
        told = [self.prompt, self.limits] if self.limits else [self.prompt]
        options = [self.option(letter) for letter in self.letters]
        shown = [textwrap.fill(option, WIDTH, subsequent_indent="   ") for option in options]
        return "\n".join([_lines(*told), *shown, f"To answer: {how}"])

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, Any]:
        return view(self.widget(), repr(self)) if live() else {"text/plain": repr(self)}

    def widget(self) -> Any:
        """The question as one ipywidgets box: prompt, fields, a button, room for the feedback."""
        if self.kind == "essay":
            return quiz_widgets.essay(self, COMPARE)
        return quiz_widgets.form(self, _note if self.kind == "predict" else feedback)


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

    An essay is not marked: if its length is right, the points of a good answer come back.

    Args:
        choice: a letter; True or False; for an order all letters, first step first ("cab"); a
            number; a text.

    Raises:
        W2SError: an unknown question, a choice that it does not have, or a prediction.
    """
    question = ask(question_id)
    if question.kind == "predict":
        mend = f'use predict("{question_id}", ...)'
        raise W2SError("a prediction is neither right nor wrong yet", where=question_id, mend=mend)
    said = question.read(choice)
    if question.number:
        return _compared(question, question.number, said)
    if question.kind == "essay":
        return question.misfit(said) or _points(question)
    right = question.right[0]
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


def _compared(question: Question, number: Number, said: str) -> str:
    """The verdict on a number; the right one first, for its tolerance was promised."""
    steps = sorted(range(-number.within, number.within + 1), key=abs)
    near = [hashed(question.id, rounded(said, number.step, off)) for off in steps]
    if question.key in near:
        words = f"Right. {question.explanations[0]}"
    else:
        foreseen = [why for key in near for wrong, why in number.mistakes if key == wrong]
        words = f"Not quite. {foreseen[0]}" if foreseen else f"Not quite: try again. {number.hint}"
    return _lines(f"{said} {number.unit}".strip(), words)


def _points(question: Question) -> str:
    ticks = [textwrap.fill(f"[ ] {t}", WIDTH, subsequent_indent="    ") for t in question.options]
    margin = " " * 4
    whys = [
        textwrap.fill(w, WIDTH, initial_indent=margin, subsequent_indent=margin)
        for w in question.explanations
    ]
    both = [line for pair in zip(ticks, whys, strict=True) for line in pair]
    return "\n".join([_lines(COMPARE), *both, f"How many of {len(ticks)}?"])


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


def hashed(question_id: str, right: str | float, step: float | None = None) -> str:
    """The key that a question's file holds; the id is its salt.

    Args:
        right: the right answer, or for a mistake the wrong one.
        step: the question's, where the answer is a number.
    """
    answer = right if step is None else rounded(right, step)
    return hashlib.sha256(f"{question_id}:{answer}".encode()).hexdigest()[:12]


def rounded(number: str | float, step: float, off: int = 0) -> str:
    """A number on the grid of a step, halves away from 0; one place is always one text ("0.5").

    Args:
        off: how many steps to go on from there.
    """
    grid = Decimal(str(step))  # as it is written: 0.01 is a hundredth, which no float is
    place = (Decimal(str(number)) / grid).to_integral_value(ROUND_HALF_UP) + off
    return f"{(place * grid).normalize() + 0:f}"  # + 0 turns -0 into 0


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
    """The questions in a YAML file: a list of id, kind, prompt, and what the kind needs.

    A choice, a true-false and an order need key and options (text, why). The options of a
    prediction also say `when`: two numbers, or names. A numeric question needs key, step, why and
    mistakes (key, why), and may give within, unit and hint. An essay needs least, most and points
    (text, why).

    Raises:
        W2SError: not YAML, a field that is missing, empty or out of range, an unknown kind, or a
            key that fits no answer.
    """
    import yaml

    try:
        entries = yaml.safe_load(Path(path).read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise W2SError(f"not YAML ({error})", where=str(path), mend="mend the file") from None
    return [_question(entry, f"{path}: question {n}") for n, entry in enumerate(entries or [], 1)]


def _question(entry: Any, where: str) -> Question:
    try:
        question = _filled(entry)
    except (KeyError, TypeError) as error:
        what = f"a field is missing or misplaced ({error})"
        raise W2SError(what, where=where, mend="compare it with another question") from None
    what, mend = _fault(question)
    if what:
        raise W2SError(what, where=where, mend=mend)
    return question


def _filled(entry: Any) -> Question:
    """The question as its file has it, unchecked; KeyError or TypeError where it has holes."""
    kind = entry["kind"]
    start = (entry["id"], kind, entry["prompt"])
    if kind == "numeric":
        mistakes = tuple((mistake["key"], mistake["why"]) for mistake in entry["mistakes"])
        spare = (entry.get("unit") or "", mistakes, entry.get("hint") or "")
        number = Number(entry["step"], entry.get("within", 1), *spare)
        return Question(*start, (), (entry["why"],), entry["key"], number=number)
    if kind not in KINDS:
        return Question(*start, (), ())
    options = entry["points" if kind == "essay" else "options"]
    texts, whys = (tuple(option[name] for option in options) for name in ("text", "why"))
    if kind == "essay":
        return Question(*start, texts, whys, words=(entry["least"], entry["most"]))
    predicts = kind == "predict"
    when = tuple(tuple(option["when"]) for option in options) if predicts else ()
    return Question(*start, texts, whys, "" if predicts else entry["key"], when)


def _fault(question: Question) -> tuple[str, str]:
    """What is wrong with a question, and how to mend it; two empty texts if nothing is."""
    number, kind = question.number, question.kind
    words = [question.id, question.prompt, *question.options, *question.explanations]
    words += [why for _, why in number.mistakes] if number else []
    spare = [number.unit, number.hint] if number else []  # may be empty
    if not all(isinstance(text, str) and text.strip() for text in [*words, *filter(None, spare)]):
        return "a text is empty or not a text", "put it in quotes"
    if kind not in KINDS:
        return f"unknown kind {kind!r}", f"choose one of: {', '.join(KINDS)}"
    if number:
        return _number_fault(question, number)
    if kind == "essay":
        whole = all(type(count) is int for count in question.words)
        if not whole or not 0 < question.words[0] < question.words[1]:
            return (
                "least and most are not two counts of words",
                "give whole numbers, 0 < least < most",
            )
        if not question.options:
            return "an essay without points", "say what a good answer says"
    elif kind != "predict" and not question.right:
        return "the key fits no answer", f"put hashed({question.id!r}, right answer) there"
    return "", ""


def _number_fault(question: Question, number: Number) -> tuple[str, str]:
    step, within = number.step, number.within
    if type(step) not in (int, float) or not 0 < step < math.inf:
        return f"the step {step!r} is not a number above 0", "give one, such as 0.01"
    if type(within) is not int or within < 0:
        return f"within is {within!r}", "give a whole number of steps, 0 or more"
    keys = [question.key, *(key for key, _ in number.mistakes)]
    mend = f"put hashed({question.id!r}, number, step={step}) there, in quotes"
    for key in keys:
        if not (isinstance(key, str) and re.fullmatch("[0-9a-f]{12}", key)):
            return f"{key!r} is not a key", mend
    return ("two numbers have the same key", mend) if len({*keys}) < len(keys) else ("", "")
