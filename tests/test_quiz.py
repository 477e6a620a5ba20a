"""Questions: what learners read, what widgets do, and what is wrong with a question file."""

import math
import re

import pytest
import yaml
from IPython.core.formatters import DisplayFormatter

from w2s_lab import quiz
from w2s_lab.errors import W2SError
from w2s_lab.methods import METHODS
from w2s_lab.metrics import Estimate
from w2s_lab.quiz import Question, answer, ask, feedback, hashed, predict, recall

BOTH = Question("q-both", "choice", "Which?", ("One", "Two"), ("Less.", "More."), "")
SUM = Question(
    id="99-sum",
    kind="choice",
    prompt="What is 2 + 2? " + "This prompt goes on until it is too long for one line. " * 2,
    options=("3", "4", "It depends on many things " * 4),
    explanations=("One too few.", "Count them.", "On none."),
    key=hashed("99-sum", "b"),
)
ORDER = Question(
    "99-order",
    "order",
    "In which order?",
    ("then", "first", "last"),
    ("Needs a start.", "Needs nothing.", "Needs the rest."),
    hashed("99-order", "bac"),
)
CLAIM = Question(
    "99-claim",
    "true-false",
    "2 > 1",
    ("True", "False"),
    ("It is.", "Look again."),
    hashed("99-claim", "a"),
)
GUESS = Question(
    "99-guess",
    "predict",
    "How much?",
    ("below 0", "0 or more"),
    ("It fell.", "It held."),
    outcomes=((-math.inf, 0), (0, math.inf)),
)


@pytest.fixture(autouse=True)
def own_bank(request, monkeypatch):
    """The four questions above, and no prediction made; marked tests see the lessons' own."""
    monkeypatch.setattr(quiz, "PREDICTIONS", {})
    if "lessons" not in request.fixturenames:
        ours = {question.id: question for question in (SUM, ORDER, CLAIM, GUESS)}
        monkeypatch.setattr(quiz, "bank", lambda: ours)


@pytest.fixture
def lessons():
    return list(quiz.bank().values())


# --- the lessons' questions -----------------------------------------------------------------------


def test_each_key_fits_exactly_one_answer_and_a_prediction_has_none(lessons):
    assert len(lessons) >= 14
    right = {question.id: len(question.right) for question in lessons}
    assert right == {q.id: int(q.kind != "predict") for q in lessons}


def test_each_option_has_an_explanation_of_its_own(lessons):
    for question in lessons:
        assert len(question.explanations) == len(question.options) >= 2, question.id
        assert len(set(question.explanations)) == len(question.options), question.id
        assert len(set(question.options)) == len(question.options), question.id
        assert all(why.endswith(".") for why in question.explanations), question.id
        assert not any(text.endswith(".") for text in question.options), question.id


def test_each_question_is_named_after_the_lesson_whose_file_holds_it():
    for file in sorted(quiz.Path(quiz.__file__).with_name("questions").glob("*.yaml")):
        for question in quiz.read_questions(file):
            assert re.fullmatch(rf"{file.stem}-[a-z-]+", question.id)


def test_the_letters_of_the_right_choices_give_no_pattern_away(lessons):
    letters = [question.right[0] for question in lessons if question.kind == "choice"]
    assert max(letters.count(letter) for letter in set(letters)) <= len(letters) / 2
    assert set(letters) == set("abcd")


def test_the_bins_of_the_predicted_pgr_leave_no_gap_and_do_not_overlap(lessons):
    bins = next(question.outcomes for question in lessons if question.id == "01-naive-pgr")
    assert (bins[0][0], bins[-1][1]) == (-math.inf, math.inf)
    assert [high for _, high in bins[:-1]] == [low for low, _ in bins[1:]]


def test_each_method_bears_out_exactly_one_prediction_of_the_best(lessons):
    named = next(question.outcomes for question in lessons if question.id == "01-best-method")
    assert sorted(name for names in named for name in names) == sorted(METHODS)


def test_the_wrong_answers_of_the_pgr_questions_are_wrong_by_arithmetic():
    # (student - 0.70) / (0.90 - 0.70) = -0.2 gives 0.70 - 0.04 = 0.66, option c;
    # ceiling - weak = 0.84 - 0.84 = 0 has no PGR, option a
    bank = {q.id: q for q in map(ask, [])} or quiz_bank()
    assert bank["00-pgr-negative"].right == ["c"] and "0.66" in bank["00-pgr-negative"].options[2]
    assert bank["00-pgr-undefined"].right == ["a"]
