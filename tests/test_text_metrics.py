"""Scores and signs of texts against numbers worked by hand, and what must hold of any text.

No model is loaded: a tiny one and a table of vectors stand in for the encoder.
"""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import save_model

from w2s_lab import text_metrics
from w2s_lab.errors import W2SError
from w2s_lab.features import States
from w2s_lab.models import trunk
from w2s_lab.text_metrics import (
    SCORES,
    Signs,
    by_seed,
    chrf,
    copying,
    density,
    repetition,
    reproduced,
    rouge_l,
    signs,
    similarity,
    unsupported_names,
    unsupported_numbers,
)

VOCABULARY = [
    "the",
    "a",
    "cat",
    "ran",
    "Rome",
    "NLP",
    "get_size",
    "os.path",
    "3",
    "1,000",
    "é",
    ".",
]
anything = settings(max_examples=60)
texts = st.text(max_size=40) | st.lists(st.sampled_from(VOCABULARY), max_size=12).map(" ".join)
pairs = st.lists(st.tuples(texts, texts), min_size=1, max_size=4).map(
    lambda found: [list(side) for side in zip(*found, strict=True)]
)


# --- scores ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "gold", "score"),
    [
        # The sentences of Lin 2004, section 3.1, without the stem that "kill" and "killed" share:
        # longest common subsequence "police the gunman", 3 of 4 words and 3 of 4
        ("police end the gunman", "police killed the gunman", 3 / 4),
        # ... and "the gunman", 2 of 4 and 2 of 4
        ("the gunman end police", "police killed the gunman", 2 / 4),
        # "the cat sat": P = 3/3, R = 3/6, F = 2 · 1 · 0.5 / 1.5
        ("the cat sat", "the cat sat on the mat", 2 / 3),
        ("The cats: connected!", "the cat (connections)", 1),  # case, marks and endings
        ("something else", "no word in common", 0),
        ("", "something", 0),
        ("something", "", 0),
        ("?!", "?!", 0),  # no word at all
        ("東京", "東京", 0),  # only a-z and 0-9 are seen
    ],
)
def test_rouge_l_matches_the_hand_worked_value(written, gold, score):
    assert rouge_l([written], [gold]) == pytest.approx([score])


@pytest.mark.parametrize(
    ("written", "gold", "score"),
    [
        # P: a, b 2/2; ab 1/1. R: 2/3; 1/2. No three characters are written, so two lengths count:
        # P = 1, R = (2/3 + 1/2) / 2 = 7/12, F2 = 5PR / (4P + R) = (35/12) / (55/12)
        ("ab", "abc", 7 / 11),
        # The other way round P = 7/12, R = 1: recall counts twice, F2 = (35/12) / (28/12 + 1)
        ("abc", "ab", 7 / 8),
        # c, a, b 3/3; of ca, ab 1/2; of cab 0/1: P = R = (1 + 1/2 + 0) / 3
        ("cab", "abc", 1 / 2),
        ("a b", "ab", 1),  # spaces do not count
        ("A", "a", 0),  # case does
        ("東京", "東京", 1),
        ("?!", "?!", 1),
        ("", "something", 0),
        ("something", "", 0),
        ("", "", 0),
    ],
)
def test_chrf_matches_the_hand_worked_value(written, gold, score):
    assert chrf([written], [gold]) == pytest.approx([score])


def test_a_score_is_one_value_for_each_item_in_its_order():
    written, gold = ["ab", "cab", "x"], ["abc", "abc", "x"]
    assert chrf(written, gold) == pytest.approx([7 / 11, 1 / 2, 1])
    assert rouge_l(written, gold) == pytest.approx([0, 0, 1])


@pytest.fixture
def encoder(monkeypatch):
    """An encoder of two numbers; gives what it was asked."""
    vectors = {"east": (2, 0), "north": (0, 3), "west": (-1, 0), "northeast": (1, 1)}
    asked = []

    def fake(model, texts, *, pool):
        asked.append((model, list(texts), pool))
        flat = np.array([vectors[text] for text in texts], np.float16)
        return States(flat, np.arange(len(texts) + 1), 0.0)

    monkeypatch.setattr(text_metrics, "trunk", lambda name: name)
    monkeypatch.setattr(text_metrics, "token_states", fake)
    return asked


def test_similarity_is_the_cosine_and_never_below_zero(encoder):
    # east and northeast: 2 · 1 / (2 · √2)
    got = similarity(["east", "east", "north", "west"], ["east", "northeast", "east", "east"])
    assert got == pytest.approx([1, math.sqrt(0.5), 0, 0], abs=1e-6)
    assert encoder[0][0] == "minilm:6" and encoder[0][2] is True


def test_an_empty_text_is_similar_to_nothing_and_is_not_encoded(encoder):
    assert similarity([" \n", "east", ""], ["east", "east", ""]).tolist() == [0, 1, 0]
    assert [texts for _, texts, _ in encoder] == [["east", "east"]]
    assert similarity([""], ["east"]).tolist() == [0]


@pytest.mark.slow
def test_a_text_is_as_similar_as_can_be_to_itself_with_a_real_forward_pass(tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    folder = save_model(tmp_path / "model")
    monkeypatch.setattr(text_metrics, "trunk", lambda name: trunk(f"{folder}:3", device="cpu"))
    same, other = similarity(["w1 w2", "w1 w2"], ["w1 w2", "w30 w31 w32"])
    assert same == pytest.approx(1, abs=1e-3)
    assert 0 <= other < 0.99


@pytest.mark.parametrize("name", ["rouge_l", "chrf"])
@anything
@given(both=pairs)
def test_a_score_lies_between_nothing_and_itself(name, both):
    score = SCORES[name]
    assert all(0 <= x <= 1 for x in score(*both))
    for text, same in zip(both[0], score(both[0], both[0]), strict=True):
        seen = re.search("[a-z0-9]", text.lower()) if name == "rouge_l" else text.strip()
        assert same == pytest.approx(float(bool(seen)))


def test_every_score_has_a_name_and_an_unknown_one_says_which_there_are():
    assert sorted(SCORES) == ["chrf", "rouge_l", "similarity"]
    with pytest.raises(W2SError, match="unknown text score 'bleu'; choose one of: chrf, rouge_l"):
        SCORES["bleu"]


# --- shapes ---------------------------------------------------------------------------------------


def test_texts_of_several_seeds_are_scored_beside_the_same_gold():
    # seed 0 as written, seed 1 with the items swapped: only the right place is the right text
    written = np.array([["ab", "x"], ["x", "ab"]], object)
    assert by_seed(chrf, written, ["ab", "x"]).tolist() == [[1, 1], [0, 0]]
    assert by_seed(chrf, written, written).tolist() == [[1, 1], [1, 1]]
    assert by_seed(chrf, ["ab", "x"], ["ab", "y"]).tolist() == [1, 0]
    assert rouge_l([""], [""]).dtype == float
    assert by_seed(repetition, [["a a", "a b"]]).tolist() == [[0.5, 0]]


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: chrf(["a"], ["a", "b"]), r"texts of shape \(2,\) beside \(1,\); pass \(items,\)"),
        (lambda: rouge_l("abc", "abc"), r"texts of shape \(\) beside \(\)"),
        (lambda: repetition([]), r"shape \(0,\) beside \(0,\); pass \(items,\), not empty"),
        (lambda: chrf([["a"], ["b"]], ["a"]), r"shape \(2, 1\).*`by_seed` takes \(seeds, items\)"),
        (lambda: chrf(["a", None], ["a", "b"]), "a NoneType among the texts; pass texts only"),
        (lambda: copying(["a"], [3]), "a int among the texts"),
        (lambda: by_seed(chrf, [["a", "b"]], ["a"]), r"shape \(1,\) beside \(1, 2\)"),
        (lambda: by_seed(chrf, [["a", "b"]], [["a"]]), r"shape \(1, 1\) beside \(1, 2\)"),
        (lambda: signs([], []), r"shape \(0,\) beside \(0,\); pass \(items,\) or \(seeds, items\)"),
        (lambda: reproduced(["a"], [["a"], ["b"]], ["a"], ["a"]), r"shape \(2, 1\) beside \(1,\)"),
        (lambda: reproduced([["a"]], ["a"], ["a"], [None]), "a NoneType among the texts"),
    ],
)
def test_texts_that_do_not_fit_are_told_in_one_line(call, line):
    with pytest.raises(W2SError, match=line):
        call()


# --- bad writing ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("the cat sat on the mat", 0),
        # 3-grams of 6 words: abc bca cab abc, the last was there before
        ("a b c A, b. c!", 1 / 4),
        ("no no no no no", 2 / 3),  # 3 of one kind
        ("no no no no", 1 / 2),
        ("no no no", 2 / 3),  # up to three words, single words count
        ("no no yes", 1 / 3),
        ("no", 0),
        ("", 0),
        ("...", 0),
    ],
)
def test_repetition_matches_the_hand_worked_value(text, share):
    assert repetition([text]) == pytest.approx([share])


SOURCE = "the cat sat on the mat and the dog sat on the cat"


@pytest.mark.parametrize(
    ("text", "coverage", "mean_length"),
    [
        # fragments "the dog sat on the" (5) and "mat" (1) of 7 words; "red" is new:
        # coverage 6/7, density (25 + 1) / 7
        ("The dog sat on the red mat", 6 / 7, 26 / 7),
        # "the cat" (2) starts twice; the longer run "the cat sat on the" (5) is taken
        ("the cat sat on the", 1, 5),
        # longest first: "sat on the mat" (4), then "the dog" (2): (16 + 4) / 6
        ("sat on the mat, the dog", 1, 20 / 6),
        ("dog mat cat", 1, 1),  # three fragments of one word
        ("nothing here", 0, 0),
        ("", 0, 0),
        (SOURCE.upper() + "!", 1, 13),
    ],
)
def test_copied_fragments_match_the_hand_worked_coverage_and_density(text, coverage, mean_length):
    assert copying([text], [SOURCE]) == pytest.approx([coverage])
    assert density([text], [SOURCE]) == pytest.approx([mean_length])


def test_short_fragments_can_be_left_out_of_copying():
    # fragments of 5 and 1 in 7 words
    text = ["The dog sat on the red mat"]
    assert copying(text, [SOURCE], shortest=2) == pytest.approx([5 / 7])
    assert copying(text, [SOURCE], shortest=5) == pytest.approx([5 / 7])
    assert copying(text, [SOURCE], shortest=6).tolist() == [0]


def test_a_fragment_is_found_at_a_start_inside_an_earlier_match():
    # "x x y" begins at the second x; a search that skips past the match "x x" would miss it
    assert density(["x x y"], ["x x x y"]).tolist() == [3]


@pytest.mark.parametrize(
    ("text", "source", "found"),
    [
        ("It beats BERT and BLEU.", "we use BERT", ("BLEU",)),  # acronyms
        ("Now LSTMs and CNNs win.", "an LSTM", ("CNNs",)),  # and their plural
        ("In NLP, in Rome, in Nlp and in Paris", "no", ("NLP", "Rome", "Paris")),  # each once
        ("Rome fell. Paris rose: London too", "no", ()),  # at the start of a sentence: not seen
        ("Go\nRome", "no", ()),
        ("the (Rome)", "no", ("Rome",)),
        ("BLEU rose. WordNet fell. word2vec stayed", "no", ("BLEU", "WordNet", "word2vec")),
        ("Calls os.path or get_size", "no", ("os.path", "get_size")),
        ("Gets terminalSize of Terminals", "get_terminal_size()", ()),  # parts of an identifier
        ("Gets TerminalWidth", "get_terminal_size()", ("TerminalWidth",)),
        ("an HTTPServer", "the http server", ()),
        ("uses UTF8 here", "utf-8", ()),
        ("a fine ROBERTA", "RoBERTa", ()),
        ("uses path.join", "os.path.join()", ()),
        ("the Class of Classes", "a class", ("Classes",)),  # an s alone is dropped, no more
        ("Return True if I say The x, e.g. a 2nd, i.e. None.", "no", ()),
        ("with Vaswani's model", "Vaswani et al.", ()),
        ("the Émile of Zürich", "émile", ("Zürich",)),
        ("call __init__ or _x", "def __init__(self)", ("_x",)),
        ("", "no", ()),
        ("Rome", "", ()),
        ("in Rome", "", ("Rome",)),
    ],
)
def test_names_that_the_source_does_not_hold(text, source, found):
    assert unsupported_names([text], [source]) == [found]


@pytest.mark.parametrize(
    ("text", "source", "found"),
    [
        ("1000 of 0.250 and 7", "1,000 of .25", ("7",)),
        ("1,000.5 and 1_000", "1000.5 and 1000", ()),
        ("5% or 6 %, 7 percent", "5 and 8", ("6 %", "7")),
        ("85%", "0.85", ("85%",)),
        ("Python 3.11.2", "3.11 and 2", ("3.11.2",)),
        ("Python 3.11.2", "at 3.11.2.", ()),
        ("(1,2,3)", "1, 2 and 3", ()),
        ("It ends in 3.", "3", ()),
        ("-4 and 4.0", "4", ()),
        ("word2vec, x86, v_1", "no", ()),
        ("the 90s, 10k and a 2nd", "no", ("90", "10", "2")),
        ("7 and 7.0 and 07", "no", ("7",)),  # each value once
        ("1,0000", "1", ("0000",)),  # no separator of thousands
        ("seven", "no", ()),
        ("٣", "3", ()),  # digits of another script
        ("", "", ()),
    ],
)
def test_numbers_that_the_source_does_not_hold(text, source, found):
    assert unsupported_numbers([text], [source]) == [found]


@anything
@given(both=pairs)
def test_no_text_crashes_a_sign_and_a_text_supports_itself(both):
    written, source = both
    for share in (repetition(written), copying(written, source)):
        assert all(0 <= x <= 1 for x in share)
    assert all(density(written, source) >= copying(written, source) - 1e-12)
    unsupported_names(written, source), unsupported_numbers(written, source)
    nothing = [()] * len(written)
    assert unsupported_names(written, written) == nothing == unsupported_numbers(written, written)
    assert all(
        copying(written, written) == [bool(len(w)) for w in map(text_metrics._words, written)]
    )


def test_signs_are_means_over_all_texts_of_all_seeds():
    written = [["no no no no", ""], ["in Rome 7", "in Rome or Oslo"]]
    # repetition 1/2, 0, 0, 0; copied words 0/4, 0, "in rome" 2/3, "in" 1/4
    # density 0, 0, 4/3, 1/4; words 4, 0, 3, 4
    found = signs(written, ["In Rome.", "in and 7"])
    assert found == Signs(
        repetition=pytest.approx(1 / 8),
        copying=pytest.approx((2 / 3 + 1 / 4) / 4),
        density=pytest.approx((4 / 3 + 1 / 4) / 4),
        unsupported_names=1 / 4,
        unsupported_numbers=1 / 4,
        empty=1 / 4,
        words=11 / 4,
    )
    assert signs(written[1], ["In Rome.", "in and 7"]).words == 7 / 2


# --- imitation ------------------------------------------------------------------------------------

SOURCES = ["the cat sat", "dogs run", "rain"]
GOLD = ["a cat", "dog", "sun shines"]
# eats, purple and fish; home; nothing. "The", "cat" and "dogs" are supported, "sun shines" is gold
WEAK = ["The cat eats purple fish", "dogs run home", "the sun shines"]
STUDENT = ["purple fishes of a cat", "fish home", "fish"]


def test_repeated_errors_match_the_hand_worked_counts():
    # item 0 repeats purple and fish, item 1 home. By chance: of the two other texts 2 have fish,
    # none eats or purple: 2 / 2; none has home: 0 / 2
    found = reproduced(STUDENT, WEAK, SOURCES, GOLD)
    assert found.errors.tolist() == [3, 1, 0]
    assert found.repeated.tolist() == [2, 1, 0]
    assert found.expected.tolist() == [1, 0, 0]
    assert (found.share, found.chance) == (3 / 4, 1 / 4)
    assert repr(found) == "3 of 4 errors repeated (0.75; by chance 0.25)"


def test_chance_compares_items_of_other_sources_only():
    # Of item 0 the one other input is item 2: its text has fish and not purple, 1 / 1.
    # Item 1 now has the source "the cat sat": errors dogs (not gold "dog"'s stem), run, home
    found = reproduced(STUDENT, WEAK, ["the cat sat", "the cat sat", "rain"], GOLD)
    assert found.errors.tolist() == [3, 2, 0]
    assert found.expected.tolist() == [1, 0, 0]
    alone = reproduced(STUDENT, WEAK, ["rain"] * 3, GOLD)
    assert alone.share > 0 and math.isnan(alone.chance)


def test_the_same_input_in_another_seed_is_no_other_input():
    # Seed 1 says nothing: its errors are all missed, and seed 0 is counted as if alone
    found = reproduced([STUDENT, ["", "", ""]], WEAK, SOURCES, GOLD)
    assert found.errors.tolist() == [[3, 1, 0], [3, 1, 0]]
    assert found.repeated.tolist() == [[2, 1, 0], [0, 0, 0]]
    assert found.expected.tolist() == [[1, 0, 0], [0, 0, 0]]
    # ... and each seed has its own weak texts
    own = reproduced([STUDENT, STUDENT], [WEAK, ["", "fish fish", ""]], SOURCES, GOLD)
    assert own.errors.tolist() == [[3, 1, 0], [0, 1, 0]]
    assert own.expected.tolist() == [[1, 0, 0], [0, 1, 0]]  # fish stands in both other texts


def test_a_student_that_writes_one_text_for_all_imitates_no_more_than_by_chance():
    found = reproduced(["fish at home"] * 3, WEAK, SOURCES, GOLD)
    assert found.share == found.chance == 1 / 2  # fish and home of four


def test_function_words_and_single_letters_are_no_errors_but_numbers_are():
    found = reproduced(["x", "y"], ["These would, because of x's 7", ""], ["a", "b"], ["a", "b"])
    assert found.errors.tolist() == [1, 0]
    assert math.isnan(reproduced(["x"], ["the"], ["a"], ["b"]).share)


@anything
@given(both=pairs)
def test_no_text_crashes_the_count_of_repeated_errors(both):
    student, weak = both
    found = reproduced(student, weak, [str(i) for i in range(len(weak))], [""] * len(weak))
    assert np.all(found.repeated <= found.errors)
    same = reproduced(weak, weak, [str(i) for i in range(len(weak))], [""] * len(weak))
    assert np.array_equal(same.repeated, same.errors)
