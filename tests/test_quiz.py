"""Questions: what learners read, what widgets do, and what is wrong with a question file."""

import math
import re
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import yaml
from IPython.core.formatters import DisplayFormatter

from w2s_lab import quiz
from w2s_lab.errors import W2SError
from w2s_lab.methods import METHODS
from w2s_lab.metrics import Estimate
from w2s_lab.noise import KINDS
from w2s_lab.quiz import Number, Question, answer, ask, feedback, hashed, predict, recall, rounded

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
HALF = Question(
    "99-half",
    "numeric",
    "What is 1 / 2?",
    (),
    ("Two of them make one.",),
    hashed("99-half", 0.5, 0.01),
    number=Number(
        step=0.01,
        mistakes=(
            (hashed("99-half", 2, 0.01), "You turned it round."),
            (hashed("99-half", 0.52, 0.01), "Too many."),
        ),
        hint="Divide.",
    ),
)
PRICE = Question(
    "99-price",
    "numeric",
    "What do 3 cost at 40 cents?",
    (),
    ("Three times 40.",),
    hashed("99-price", 120, 10),
    number=Number(step=10, within=0, unit="cents"),
)
ESSAY = Question(
    "99-essay",
    "essay",
    "Why is the sky blue?",
    ("Air scatters light", "Blue light more than red, which is what makes the difference " * 2),
    ("Else it would be black.", "Else it would be white."),
    words=(3, 6),
)
OURS = (SUM, ORDER, CLAIM, GUESS, HALF, PRICE, ESSAY)
KNOWN = "99-sum, 99-order, 99-claim, 99-guess, 99-half, 99-price, 99-essay"


@pytest.fixture(autouse=True)
def own_bank(request, monkeypatch):
    """The questions above and no prediction made; `lessons` asks for the real ones."""
    monkeypatch.setattr(quiz, "PREDICTIONS", {})
    if "lessons" not in request.fixturenames:
        ours = {question.id: question for question in OURS}
        monkeypatch.setattr(quiz, "bank", lambda: ours)


@pytest.fixture
def lessons():
    return list(quiz.bank().values())


# --- the lessons' questions -----------------------------------------------------------------------


def test_each_key_fits_exactly_one_answer_and_what_is_open_has_none(lessons):
    assert len(lessons) >= 14
    right = {question.id: len(question.right) for question in lessons}
    assert right == {q.id: int(q.kind in ("choice", "true-false", "order")) for q in lessons}


def test_each_option_has_an_explanation_of_its_own(lessons):
    for question in (q for q in lessons if q.kind != "numeric"):
        assert len(question.explanations) == len(question.options) >= 2, question.id
        assert len(set(question.explanations)) == len(question.options), question.id
        assert len(set(question.options)) == len(question.options), question.id
        assert all(why.endswith(".") for why in question.explanations), question.id
        assert not any(text.endswith(".") for text in question.options), question.id


def test_a_number_and_each_of_its_foreseen_mistakes_have_an_explanation_of_their_own(lessons):
    for question in (q for q in lessons if q.kind == "numeric"):
        foreseen = [why for _, why in question.number.mistakes]
        whys = [*question.explanations, *foreseen, question.number.hint]
        assert len(foreseen) >= 4 and len(set(whys)) == len(whys), question.id
        assert all(why.endswith(".") or why.endswith("?") for why in whys), question.id


def test_each_lesson_asks_for_numbers_and_an_essay_and_the_last_has_every_kind_but_one(lessons):
    kinds = {f"{n:02}": [q.kind for q in lessons if q.id.startswith(f"{n:02}-")] for n in range(7)}
    for lesson in list(kinds)[:6]:
        assert kinds[lesson].count("numeric") in (1, 2) and kinds[lesson].count("essay") == 1
    last = kinds["06"]
    assert {*last} == {*quiz.KINDS} - {"predict"} and len(last) >= 10
    assert last.count("numeric") >= 2 and last.count("essay") >= 3


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


# The right number of each question, and then its foreseen mistakes in the file's order
NUMBERS = {
    # (0.72 - 0.60) / (0.90 - 0.60) = 0.12 / 0.30 = 0.40; 0.12 / 0.18 = 0.67; 0.18 / 0.30 = 0.60;
    # 0.72 / 0.90 = 0.80; 0.12 / 0.60 = 0.20
    "00-pgr-compute": (0.4, 0.67, 0.6, 0.8, 0.12, 0.2, 40),
    # 0.62 + 0.6 * (0.87 - 0.62) = 0.62 + 0.15 = 0.77; 0.87 - 0.15 = 0.72; 0.6 * 0.87 = 0.52
    "00-student-score": (0.77, 0.15, 0.72, 0.52, 1.22, 77),
    # 700 + 110 - 40 = 770; 700 + 110 = 810; 1000 - 150 = 850; 110 / 150 = 0.73; 700 - 150 = 550;
    # 700 - 110 + 40 = 630; 700 - 40 = 660
    "01-contradicts": (0.77, 0.81, 0.85, 0.73, 0.55, 0.63, 0.66, 77),
    # (72 / 80 + 10 / 20) / 2 = (0.9 + 0.5) / 2 = 0.7; 82 / 100; 0.2 * 0.9 + 0.8 * 0.5 = 0.58
    "01-balanced": (0.7, 0.82, 0.9, 0.5, 0.58, 70),
    # 0.5 * 0.8 * 0.25 = 0.1, ln 0.1 = -2.303; ln 0.04 = -3.219; -2.303 / 3 = -0.768;
    # log10 0.1 = -1; log2 0.1 = -3.322; ln 1.55 = 0.438
    "02-likelihood": (-2.3, 2.3, -3.22, -0.77, 0.1, -1, -3.32, 0.44),
    # sqrt(0.9) : sqrt(0.1) = 3 : 1, and 3 / 4 = 0.75; sqrt(0.9) = 0.949; 81 / 82 = 0.988
    "02-softened": (0.75, 0.95, 0.99, 0.45, 0.25, 0.9, 0.5),
    # (100 * 3 + 30000 * 0.001) / 3 = 330 / 3 = 110; 30 / 3 = 10; 300 / 3 = 100;
    # (300 + 3000) / 3 = 1100; (300 + 300) / 3 = 200
    "03-same-money": (110, 10, 100, 330, 1100, 200),
    # (2.40 - 2.20) / (2.40 - 1.80) = 0.20 / 0.60 = 0.33; (3.30 - 2.20) / (3.30 - 1.80) = 0.73;
    # 0.40 / 0.60 = 0.67; 0.20 / 0.40 = 0.5; 0.20 / 1.50 = 0.13
    "03-recovered": (0.33, 0.73, 0.2, 0.67, -0.33, 0.5, 0.13),
    # (0.7 + 1.1 + 2.2 + 0.8) / 4 = 4.8 / 4 = 1.2, e^1.2 = 3.320; e^(4.8 / 6) = e^0.8 = 2.226;
    # e^4.8 = 121.51; (2.014 + 3.004 + 9.025 + 2.226) / 4 = 4.067; 2^1.2 = 2.297; e^-1.2 = 0.301
    "04-perplexity": (3.32, 2.23, 1.2, 121.51, 4.07, 2.3, 0.3, 4.8),
    # 45 / 300 = 0.15; 1 - 0.7 = 0.3; 400 / 1000; 45 / 1000 = 0.045; 45 / 400 = 0.1125; 255 / 300
    "04-wrong-kept": (0.15, 0.3, 0.4, 0.045, 0.1125, 0.85, 15),
    # 0.2 + 0.15 * 5 = 0.95; 0.15 * 5 = 0.75; 0.85 * 0.2 + 0.75 = 0.92; 0.2 + 5 = 5.2;
    # (0.2 + 5) / 2 = 2.6; 0.2 + 0.85 * 5 = 4.45; 0.95 * 10000 = 9500
    "05-cost": (0.95, 0.75, 0.92, 5.2, 2.6, 4.45, 9500),
    # 0.2 + 5 s = 5, s = 4.8 / 5 = 0.96; 0.2 / 5 = 0.04
    "05-break-even": (0.96, 1, 0.04, 0.5, 96),
    # 1000 / (1000 + 4 * 1500) = 1000 / 7000 = 0.143; 1000 / 6000 = 0.167; 1000 / 2500 = 0.4;
    # 6000 / 7000 = 0.857; 0.4^4 = 0.0256
    "06-human-share": (0.14, 0.17, 0.4, 0.86, 0.03),
    # (0.02 + 0.48) / 0.4 = 0.50 / 0.4 = 1.25; 0.5 * 0.4 = 0.2; 0.5 / 0.6 = 0.83;
    # 0.48 / 0.4 = 1.2; 0.02 / 0.4 = 0.05; 0.05 + 0.48 = 0.53
    "06-usable-price": (1.25, 0.5, 0.2, 0.83, 1.2, 0.05, 0.53),
    # 0.8 * 400 = 320, 0.2 * 600 = 120, 320 / 440 = 0.727; 400 / 1000; 320 / 1000;
    # 120 / 440 = 0.273; 440 / 1000
    "06-selected": (0.73, 0.8, 0.4, 0.32, 0.27, 0.44),
}


@pytest.mark.parametrize("question_id", NUMBERS)
def test_a_number_worked_out_by_hand_is_right_and_so_is_each_mistake(question_id, lessons):
    question = ask(question_id)
    number, (right, *wrong) = question.number, NUMBERS[question_id]
    for off in (-number.within, 0, number.within):
        told = feedback(question_id, right + off * number.step)
        assert " ".join(told.split()).endswith(f"Right. {question.explanations[0]}")
    assert len(wrong) == len(number.mistakes)
    for value, (_, why) in zip(wrong, number.mistakes, strict=True):
        assert " ".join(feedback(question_id, value).split()).endswith(f"Not quite. {why}")


def test_every_number_is_worked_out_and_none_stands_in_its_own_explanations(lessons):
    asked = {question.id: question for question in lessons if question.kind == "numeric"}
    assert asked.keys() == NUMBERS.keys()
    for question in asked.values():
        number = question.number
        words = [question.prompt, *question.explanations, *(why for _, why in number.mistakes)]
        plain = re.findall(r"-?\d+(?:[.,]\d+)*", " ".join([*words, number.hint]))
        right = rounded(NUMBERS[question.id][0], number.step)
        assert right not in [text.rstrip("0") if "." in text else text for text in plain]


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
        ("99-half", 'answer("99-half", x), where x is your number'),
        ("99-essay", 'answer("99-essay", "..."), with your text between the quotes'),
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
            f"no question '99-summ'; choose one of: {KNOWN}",
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
            f"no question 'nothing'; choose one of: {KNOWN}",
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


# --- numbers --------------------------------------------------------------------------------------


def test_a_numeric_question_tells_its_tolerance_and_unit_beforehand():
    assert repr(HALF).splitlines() == [
        "What is 1 / 2?",
        "Give a number to the nearest 0.01. One that is 0.01 off is still right.",
        'To answer: answer("99-half", x), where x is your number',
    ]
    assert "\nGive a number of cents, to the nearest 10.\n" in repr(PRICE)


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (0.5, "0.5\nRight. Two of them make one."),
        # 0.514 is 51.4 steps, so 51 and one off; 0.516 is 51.6, so 52, and foreseen
        (0.514, "0.51\nRight. Two of them make one."),
        (0.49, "0.49\nRight. Two of them make one."),
        # 0.53 is one step from the mistake 0.52, and three from the right 0.50
        (0.516, "0.52\nNot quite. Too many."),
        (0.53, "0.53\nNot quite. Too many."),
        ("2,00", "2\nNot quite. You turned it round."),
        (-0.001, "0\nNot quite: try again. Divide."),
        (100, "100\nNot quite: try again. Divide."),
    ],
)
def test_a_number_is_rounded_and_gets_its_verdict_and_explanation(choice, told, capsys):
    assert feedback("99-half", choice) == told
    answer("99-half", choice)
    assert capsys.readouterr().out == told + "\n"


def test_a_huge_number_is_wrong_and_no_trouble():
    assert "try again" in feedback("99-half", 1e300)


def test_what_is_right_within_the_tolerance_is_right_though_a_mistake_is_nearer(monkeypatch):
    # 0.51 is a step from the right 0.50, as promised, and also the mistake itself
    close = replace(HALF.number, mistakes=((hashed("99-half", 0.51, 0.01), "Too many."),))
    monkeypatch.setattr(quiz, "bank", lambda: {"99-half": replace(HALF, number=close)})
    assert "Right." in feedback("99-half", 0.51)
    # one step further only the mistake is near
    assert "Too many." in feedback("99-half", 0.52)


@pytest.mark.parametrize(
    "half",
    ["0.5", "0,5", " .50 ", "5e-1", "+0.5", 1 / 2, Fraction(1, 2), Decimal("0.5")]
    + [np.float32(0.5), np.float64(0.5), np.array(0.5)],
)
def test_a_number_may_be_written_in_any_of_the_usual_ways(half):
    assert HALF.read(half) == "0.5"


@pytest.mark.parametrize("price", ["120 cents", "120cents", "120", 120, np.int64(120), 118.2])
def test_the_unit_may_follow_the_number(price):
    assert feedback("99-price", price) == "120 cents\nRight. Three times 40."


@pytest.mark.parametrize("zero", ["-0.25", "\N{MINUS SIGN}0,25"])
def test_a_minus_of_either_sort_is_a_minus(zero):
    assert HALF.read(zero) == "-0.25"


@pytest.mark.parametrize(
    "choice",
    [math.nan, math.inf, "nan", "-inf", "1e999", "half", "", "0.5 cents", "1,000", "1,000.5"]
    + ["0,5,0", True, False, np.True_, None, ..., [1, 2], 1j, 10**400],
)
def test_what_is_no_number_is_told_in_one_line(choice):
    with pytest.raises(W2SError) as caught:
        answer("99-half", choice)
    line = str(caught.value)
    assert line.startswith("99-half: ") and len(line) < 150 and "\n" not in line
    assert line.endswith(" is not a number; write a bare number, such as 0.5 or 1200")


def test_a_share_is_not_told_in_per_cent_and_the_line_says_how():
    with pytest.raises(W2SError, match=r"'50 %' is not a number;.* and 50 % as 0\.5$"):
        answer("99-half", "50 %")


@pytest.mark.parametrize(
    ("number", "step", "text"),
    [
        (0.5, 0.01, "0.5"),
        ("0.50", 0.01, "0.5"),
        (0.1 + 0.2, 0.1, "0.3"),
        (4, 0.01, "4"),
        (-0.004, 0.01, "0"),
        # 0.125 is 12.5 steps of 0.01, and halves go away from 0
        (0.125, 0.01, "0.13"),
        (-0.125, 0.01, "-0.13"),
        (1234, 10, "1230"),
        # 0.3 is 1.2 quarters
        (0.3, 0.25, "0.25"),
    ],
)
def test_a_place_on_the_grid_has_one_text_only(number, step, text):
    assert rounded(number, step) == text
    assert hashed("99-half", number, step) == hashed("99-half", text)


# --- essays ---------------------------------------------------------------------------------------


def test_an_essay_question_tells_its_length_and_hides_its_points():
    assert repr(ESSAY).splitlines() == [
        "Why is the sky blue?",
        "Write 3 to 6 words. Nobody marks them: you will see what a good answer says, and",
        "compare.",
        'To answer: answer("99-essay", "..."), with your text between the quotes',
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "Too short (words: 0, at least 3)."),
        ("Because - - ... !", "Too short (words: 1, at least 3)."),
        ("one two three four five six seven", "Too long (words: 7, at most 6)."),
    ],
)
def test_an_essay_of_another_length_is_told_so_and_sees_no_point(text, told):
    assert feedback("99-essay", text).startswith(told)
    assert "Air" not in feedback("99-essay", text)


@pytest.mark.parametrize("text", ["It scatters light", "one, two\nthree four - five six"])
def test_an_essay_of_fitting_length_gets_the_points_to_tick_and_no_mark(text, capsys):
    answer("99-essay", text)
    assert capsys.readouterr().out == (
        "Nobody marks this. A good answer says what follows; tick what yours says too.\n"
        "[ ] Air scatters light\n"
        "    Else it would be black.\n"
        "[ ] Blue light more than red, which is what makes the difference Blue light more than\n"
        "    red, which is what makes the difference\n"
        "    Else it would be white.\n"
        "How many of 2?\n"
    )


@pytest.mark.parametrize("choice", [5, None, True, ["It", "scatters", "light"]])
def test_an_essay_that_is_no_text_is_told_so(choice):
    with pytest.raises(W2SError, match="99-essay: .* is not a text; put your answer in quotes"):
        answer("99-essay", choice)


@pytest.mark.parametrize("question", [HALF, ESSAY])
def test_numbers_and_essays_are_not_predicted(question):
    with pytest.raises(W2SError, match="not a prediction"):
        predict(question.id, "a")


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


def test_a_number_is_typed_and_checked_by_the_button():
    prompt, [field], button, said = parts(HALF)
    assert "0.01 off is still right" in prompt.value
    field.value = "0,5"
    assert said.value == ""
    button.click()
    assert said.value == '<div role="alert">0.5<br>Right. Two of them make one.</div>'
    field.value = "1/0 <b>"
    button.click()
    assert "&#x27;1/0 &lt;b&gt;&#x27; is not a number" in said.value


def test_an_essay_is_compared_in_the_widget_by_ticking():
    _, [text, button], said, points = parts(ESSAY)
    text.value = "It scatters light"
    button.click()
    assert quiz.COMPARE in said.value
    assert [part.description for part in points.children[:-1:2]] == [*ESSAY.options]


def test_every_question_of_the_lessons_has_a_form_and_a_plain_text(lessons):
    for question in lessons:
        assert question.widget().children
        assert f'("{question.id}", ' in repr(question)


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
        ([ENTRY | {"kind": "poem"}], "unknown kind 'poem'.*choice, true-false.*numeric, essay"),
        ([ENTRY | {"kind": "essay"}], "a field is missing.*points"),
        ([ENTRY | {"kind": "numeric"}], "a field is missing.*mistakes"),
        ([ENTRY | {"key": hashed("98-b", "b")}], "the key fits no answer"),
        ("just words", "a field is missing"),
    ],
)
def test_a_malformed_file_is_named_with_what_is_wrong(entries, what, tmp_path):
    with pytest.raises(W2SError, match=rf"98\.yaml.*{what}"):
        quiz.read_questions(write(tmp_path, entries))


NUMERIC = {
    "id": "98-n",
    "kind": "numeric",
    "prompt": "How many?",
    "key": hashed("98-n", 3, 1),
    "step": 1,
    "why": "Count them.",
    "mistakes": [{"key": hashed("98-n", 4, 1), "why": "One too many."}],
}
WRITTEN = {
    "id": "98-e",
    "kind": "essay",
    "prompt": "Why?",
    "least": 5,
    "most": 9,
    "points": [{"text": "This", "why": "It matters."}],
}


def test_a_numeric_entry_may_leave_out_tolerance_unit_and_hint(tmp_path):
    more = {"id": "98-m", "key": hashed("98-m", 3, 1), "within": 2, "unit": "m", "hint": "Look."}
    bare, full = quiz.read_questions(write(tmp_path, [NUMERIC, NUMERIC | more]))
    mistakes = ((hashed("98-n", 4, 1), "One too many."),)
    assert bare.number == Number(1, 1, "", mistakes, "")
    assert full.number == Number(1, 2, "m", mistakes, "Look.")
    assert (bare.explanations, bare.options, bare.right) == (("Count them.",), (), [])


def test_an_essay_entry_gives_length_and_points(tmp_path):
    [read] = quiz.read_questions(write(tmp_path, [WRITTEN]))
    assert (read.words, read.options, read.explanations) == ((5, 9), ("This",), ("It matters.",))


@pytest.mark.parametrize(
    ("entry", "change", "what"),
    [
        (NUMERIC, {"step": 0}, "the step 0 is not a number above 0; give one"),
        (NUMERIC, {"step": "1e-3"}, "the step '1e-3' is not a number"),
        (NUMERIC, {"step": math.inf}, "the step inf is not"),
        (NUMERIC, {"step": True}, "the step True is not"),
        (NUMERIC, {"within": -1}, "within is -1; give a whole number"),
        (NUMERIC, {"within": 0.5}, "within is 0.5"),
        (NUMERIC, {"within": None}, "within is None"),
        (NUMERIC, {"key": "3"}, r"'3' is not a key; put hashed\('98-n', number, step=1\) there"),
        (NUMERIC, {"key": 123456789012}, "123456789012 is not a key"),
        (NUMERIC, {"mistakes": [{"key": "4", "why": "No."}]}, "'4' is not a key"),
        (NUMERIC, {"mistakes": [{"key": NUMERIC["key"], "why": "No."}]}, "have the same key"),
        (NUMERIC, {"mistakes": [{"key": hashed("98-n", 4, 1)}]}, "a field is missing.*why"),
        (NUMERIC, {"mistakes": None}, "a field is missing"),
        (NUMERIC, {"mistakes": [{"key": hashed("98-n", 4, 1), "why": ""}]}, "a text is empty"),
        (NUMERIC, {"why": 3}, "not a text"),
        (NUMERIC, {"unit": 3}, "not a text"),
        (NUMERIC, {"hint": " "}, "a text is empty"),
        (WRITTEN, {"least": 0}, "least and most are not two counts"),
        (WRITTEN, {"least": 9}, "least and most are not two counts"),
        (WRITTEN, {"most": "9"}, "least and most are not two counts"),
        (WRITTEN, {"points": []}, "an essay without points"),
        (WRITTEN, {"points": [{"text": "This"}]}, "a field is missing.*why"),
        (WRITTEN, {"points": [{"text": "", "why": "It is."}]}, "a text is empty"),
    ],
)
def test_a_malformed_number_or_essay_is_named_in_one_line(entry, change, what, tmp_path):
    with pytest.raises(W2SError, match=rf"98\.yaml: question 2: .*{what}") as caught:
        quiz.read_questions(write(tmp_path, [ENTRY, entry | change]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["key", "step", "why", "mistakes", "least", "most", "points"])
def test_a_field_that_a_number_or_an_essay_lacks_is_named(field, tmp_path):
    entry = NUMERIC if field in NUMERIC else WRITTEN
    file = write(tmp_path, [{k: v for k, v in entry.items() if k != field}])
    with pytest.raises(W2SError, match=f"question 1: a field is missing.*'{field}'"):
        quiz.read_questions(file)


def test_an_id_that_two_files_use_stops_the_bank(tmp_path, monkeypatch, lessons):
    (tmp_path / "questions").mkdir()
    for name in ("97.yaml", "98.yaml"):
        write(tmp_path / "questions", [ENTRY], name)
    monkeypatch.setattr(quiz, "__file__", str(tmp_path / "quiz.py"))
    with pytest.raises(W2SError, match=r"98\.yaml: 98-a occurs twice"):
        quiz.bank.__wrapped__()
