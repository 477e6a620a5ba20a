"""Questions: what learners read, what widgets do, and what is wrong with a question file."""

import math
import re
from pathlib import Path

import pytest
import yaml
from IPython.core.formatters import DisplayFormatter

from w2s_lab import quiz
from w2s_lab.errors import W2SError
from w2s_lab.methods import METHODS
from w2s_lab.metrics import Estimate
from w2s_lab.noise import KINDS
from w2s_lab.quiz import Question, answer, ask, feedback, hashed, predict, recall

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
    """The four questions above and no prediction made; `lessons` asks for the real ones."""
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
    files = list(Path(quiz.__file__).with_name("questions").glob("*.yaml"))
    assert files
    for file in files:
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


def test_the_keys_of_the_worked_examples_follow_from_their_numbers(lessons):
    def right(question_id):
        question = next(question for question in lessons if question.id == question_id)
        return question.option(question.right[0])

    # 0.70 - 0.2 * (0.90 - 0.70) = 0.70 - 0.04 = 0.66
    assert "0.66" in right("00-pgr-negative")
    # 0.84 - 0.84 = 0: no gap
    assert "Undefined" in right("00-pgr-undefined")
    assert [right(q)[3:] for q in ("00-capped", "01-seventy")] == ["False", "False"]


# --- plain text -----------------------------------------------------------------------------------

PLAIN = """\
What is 2 + 2? This prompt goes on until it is too long for one line. This prompt goes
on until it is too long for one line.
a) 3
b) 4
c) It depends on many things It depends on many things It depends on many things It
   depends on many things
To answer: answer("99-sum", "a"), or another letter"""


def test_a_question_reads_as_lettered_options_and_how_to_answer():
    assert repr(ask("99-sum")) == PLAIN


@pytest.mark.parametrize(
    ("question_id", "how"),
    [
        ("99-claim", 'answer("99-claim", True) or answer("99-claim", False)'),
        ("99-order", 'answer("99-order", "abc"), the letters in your order'),
        ("99-guess", 'predict("99-guess", "a"), or another letter'),
    ],
)
def test_each_kind_says_how_it_is_answered(question_id, how):
    assert repr(ask(question_id)).endswith(f"To answer: {how}")


def test_what_a_quiet_notebook_stores_is_the_plain_text_alone():
    data, metadata = DisplayFormatter().format(ask("99-sum"))
    assert (data, metadata) == ({"text/plain": PLAIN}, {})


@pytest.mark.parametrize(
    ("question_id", "choice", "told"),
    [
        ("99-sum", "b", "b) 4\nRight. Count them."),
        ("99-sum", "A)", "a) 3\nNot quite. One too few."),
        ("99-sum", "4", "b) 4\nRight. Count them."),
        ("99-claim", True, "a) True\nRight. It is."),
        ("99-claim", "false", "b) False\nNot quite. Look again."),
        (
            "99-order",
            "b, a, c",
            "Right.\nb) first: Needs nothing.\na) then: Needs a start.\nc) last: Needs the rest.",
        ),
        # beside the right order, bac, "bca" differs first at step 2 and "abc" at step 1
        ("99-order", "bca", "c) last\nNot quite: this is not step 2. Needs the rest."),
        ("99-order", "abc", "a) then\nNot quite: this is not step 1. Needs a start."),
    ],
)
def test_an_answer_gets_the_verdict_and_its_own_explanation(question_id, choice, told, capsys):
    assert feedback(question_id, choice) == told
    assert answer(question_id, choice) is None
    assert capsys.readouterr().out == told + "\n"


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (
            lambda: answer("99-sum", "d"),
            "99-sum: 'd' is not an answer; choose one of: a, b, c",
        ),
        (
            lambda: answer("99-sum", "ab"),
            "99-sum: 'ab' is not an answer; choose one of: a, b, c",
        ),
        (lambda: answer("99-sum", ""), "99-sum: '' is not an answer; choose one of: a, b, c"),
        (
            lambda: answer("99-order", "aab"),
            "99-order: 'aab' is not an answer; name each once, first step first of: a, b, c",
        ),
        (
            lambda: ask("99-summ"),
            "no question '99-summ'; choose one of: 99-sum, 99-order, 99-claim, 99-guess",
        ),
        (
            lambda: predict("99-guess", "z"),
            "99-guess: 'z' is not an answer; choose one of: a, b",
        ),
        (
            lambda: predict("99-sum", "a"),
            "99-sum: this question is not a prediction; "
            'use ask("99-sum") and answer("99-sum", ...)',
        ),
        (
            lambda: predict("99-sum"),
            "99-sum: this question is not a prediction; "
            'use ask("99-sum") and answer("99-sum", ...)',
        ),
        (
            lambda: recall("99-sum", "4"),
            "99-sum: this question is not a prediction; "
            'use ask("99-sum") and answer("99-sum", ...)',
        ),
        (
            lambda: answer("99-guess", "a"),
            '99-guess: a prediction is neither right nor wrong yet; use predict("99-guess", ...)',
        ),
        (
            lambda: recall("nothing", 1),
            "no question 'nothing'; choose one of: 99-sum, 99-order, 99-claim, 99-guess",
        ),
    ],
)
def test_a_slip_is_told_in_one_line_with_the_known_choices(call, line):
    with pytest.raises(W2SError) as caught:
        call()
    assert str(caught.value) == line
    assert quiz.PREDICTIONS == {}


def test_an_unknown_id_of_a_known_lesson_lists_that_lesson_only(lessons):
    with pytest.raises(W2SError, match="00-pgr-zero, 00-pgr-one") as caught:
        ask("00-pgr")
    assert "01-" not in str(caught.value)


# --- predictions ----------------------------------------------------------------------------------


def test_no_choice_is_no_prediction_but_the_question():
    assert predict("99-guess", None) is ask("99-guess")
    assert quiz.PREDICTIONS == {}


def test_a_prediction_comes_back_beside_what_was_measured(capsys):
    predict("99-guess", "a")
    assert capsys.readouterr().out.startswith("Noted: a) below 0\n")
    recall("99-guess", 0.25)
    assert capsys.readouterr().out == (
        "How much?\nYou predicted a) below 0\nMeasured: 0.25\nThat is b) 0 or more. It held.\n"
    )


def test_a_prediction_that_holds_is_told_so_and_may_be_changed_before(capsys):
    predict("99-guess", "b")
    predict("99-guess", "A")
    capsys.readouterr()
    recall("99-guess", Estimate(-0.1, -0.3, 0.1))
    assert capsys.readouterr().out == (
        "How much?\nYou predicted a) below 0\nMeasured: -0.10 [-0.30, 0.10]\n"
        "That is what you predicted. It fell.\n"
    )


def test_a_measurement_is_told_to_those_who_predicted_nothing(capsys):
    recall("99-guess", measured=0.0)
    assert capsys.readouterr().out == (
        "How much?\nYou made no prediction.\nMeasured: 0.00\nThat is b) 0 or more. It held.\n"
    )


def test_an_undefined_measurement_bears_out_no_option(capsys):
    predict("99-guess", "b")
    recall("99-guess", Estimate(math.nan, math.nan, math.nan))
    out = capsys.readouterr().out
    assert out.endswith("Measured: undefined\nNone of the options says that.\n")


def test_what_the_noise_dial_may_find_bears_out_one_prediction_each(lessons):
    question = next(question for question in lessons if question.id == "00-noise-kind")
    found = [question.outcome(name) for name in (*KINDS, "neither")]
    assert found == ["a", "b", "c"]


def test_a_name_is_matched_as_a_whole(lessons):
    question = next(question for question in lessons if question.id == "01-best-method")
    assert question.outcome("relabel") == question.outcome("filter") == "d"
    assert question.outcome("rel") is None


# --- widgets --------------------------------------------------------------------------------------


def parts(question):
    prompt, *fields, button, said = question.widget().children
    return prompt, fields, button, said


def test_a_choice_is_checked_by_the_button_and_not_on_the_way_to_it():
    prompt, [radio], button, said = parts(SUM)
    assert "What is 2 + 2?" in prompt.value
    assert (radio.description, radio.value, button.description) == ("Your answer", None, "Check")
    assert [label for label, _ in radio.options] == [SUM.option(letter) for letter in "abc"]
    radio.value = "b"
    assert said.value == ""
    button.click()
    assert said.value == '<div role="alert">b) 4<br>Right. Count them.</div>'


def test_a_button_pressed_too_early_says_what_can_be_chosen():
    _, _, button, said = parts(SUM)
    button.click()
    assert "is not an answer; choose one of: a, b, c" in said.value


def test_an_order_is_put_together_step_by_step():
    _, fields, button, said = parts(ORDER)
    assert [field.description for field in fields] == ["Step 1", "Step 2", "Step 3"]
    for field, letter in zip(fields, "bac", strict=True):
        field.value = letter
    button.click()
    assert "Right." in said.value
    fields[1].value = "b"
    button.click()
    assert "name each once" in said.value


def test_a_prediction_made_with_the_widget_is_noted():
    _, [radio], button, _ = parts(GUESS)
    assert (radio.description, button.description) == ("Your prediction", "Note it")
    radio.value = "b"
    assert quiz.PREDICTIONS == {}
    button.click()
    assert quiz.PREDICTIONS == {"99-guess": "b"}


def test_text_is_not_taken_for_markup(monkeypatch):
    whys = ("1 < 2 & so on.", "No.")
    odd = Question("99-odd", "choice", "Is 1 < 2?", ("yes", "no"), whys, hashed("99-odd", "a"))
    monkeypatch.setattr(quiz, "bank", lambda: {"99-odd": odd})
    prompt, [radio], button, said = parts(odd)
    assert "Is 1 &lt; 2?" in prompt.value
    radio.value = "a"
    button.click()
    assert "1 &lt; 2 &amp; so on." in said.value


def test_a_live_notebook_stores_the_widget_and_the_same_plain_text(monkeypatch):
    monkeypatch.setattr(quiz, "live", lambda: True)
    data, _ = DisplayFormatter().format(ask("99-sum"))
    assert data.pop("text/plain") == PLAIN
    assert list(data) == ["application/vnd.jupyter.widget-view+json"]


# --- question files -------------------------------------------------------------------------------

ENTRY = {
    "id": "98-a",
    "kind": "choice",
    "prompt": "Which?",
    "key": hashed("98-a", "b"),
    "options": [{"text": "this", "why": "No."}, {"text": "that", "why": "Yes."}],
}


def write(folder, entries, name="98.yaml"):
    file = folder / name
    file.write_text(entries if isinstance(entries, str) else yaml.safe_dump(entries), "utf-8")
    return file


def test_a_file_gives_its_questions_in_order(tmp_path):
    second = ENTRY | {"id": "98-b", "key": hashed("98-b", "a")}
    found = quiz.read_questions(write(tmp_path, [ENTRY, second]))
    assert [(question.id, question.right) for question in found] == [
        ("98-a", ["b"]),
        ("98-b", ["a"]),
    ]
    assert found[0].explanations == ("No.", "Yes.")


def test_the_same_answer_has_another_key_in_another_question():
    assert hashed("98-a", "b") != hashed("98-b", "b")


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ("- [", "not YAML"),
        ([{k: v for k, v in ENTRY.items() if k != "prompt"}], "a field is missing.*prompt"),
        ([{k: v for k, v in ENTRY.items() if k != "key"}], "a field is missing.*key"),
        ([ENTRY | {"options": [{"text": "this"}]}], "a field is missing.*why"),
        ([ENTRY | {"kind": "predict"}], "a field is missing.*when"),
        ([ENTRY | {"prompt": " "}], "a text is empty"),
        ([ENTRY | {"options": [{"text": True, "why": "No."}]}], "not a text.*quotes"),
        ([ENTRY | {"kind": "essay"}], "unknown kind 'essay'.*choice, true-false"),
        ([ENTRY | {"key": hashed("98-b", "b")}], "the key fits no answer"),
        ("just words", "a field is missing"),
    ],
)
def test_a_malformed_file_is_named_with_what_is_wrong(entries, what, tmp_path):
    with pytest.raises(W2SError, match=rf"98\.yaml.*{what}"):
        quiz.read_questions(write(tmp_path, entries))


def test_an_id_that_two_files_use_stops_the_bank(tmp_path, monkeypatch, lessons):
    (tmp_path / "questions").mkdir()
    for name in ("97.yaml", "98.yaml"):
        write(tmp_path / "questions", [ENTRY], name)
    monkeypatch.setattr(quiz, "__file__", str(tmp_path / "quiz.py"))
    with pytest.raises(W2SError, match=r"98\.yaml: 98-a occurs twice"):
        quiz.bank.__wrapped__()
