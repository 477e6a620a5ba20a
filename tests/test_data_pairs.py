"""Does each answer belong to its function exactly where it says so, and is the test all true?

Functions and their first docstring sentences come from `code`, whose tests are its own.
"""

from collections import Counter

import numpy as np
import pytest

from w2s_lab.data import code, load_task, pairs, splits
from w2s_lab.data.pairs import CLEAN, DIRT, EMPTY, LAB, spoil
from w2s_lab.errors import W2SError

pytestmark = pytest.mark.slow  # the whole pool

ANSWER, STRANGER = "Return the sum of two numbers as a float.", "Open a file for reading."


@pytest.fixture(scope="module")
def lab():
    return load_task("pairs", size="lab")


@pytest.fixture(scope="module")
def told():
    """The true answer to each function, by id."""
    return {row["id"]: row["gold"] for row in code.functions()}


def of(task, kind):
    return np.flatnonzero(task.kinds == kind)


# --- the task -------------------------------------------------------------------------------------


def test_every_pair_carries_a_known_kind_and_gold_is_whether_it_is_a_true_one(lab):
    assert set(lab.kinds) == {CLEAN, *DIRT} and lab.classes == ("dirt", "clean")
    assert lab.gold.tolist() == [int(kind == CLEAN) for kind in lab.kinds]
    assert len(lab.questions) == len(lab.inputs) == len(lab.kinds)
    assert lab.protocol == "filter"


def test_validation_and_test_hold_true_pairs_only(lab):
    for split in ("validation", "test"):
        assert set(lab.kinds[lab.splits[split]]) == {CLEAN}


@pytest.mark.parametrize("size, times", [("smoke", 0.25), ("lab", 1)])
def test_every_split_holds_the_wanted_number_of_each_kind(size, times):
    found = load_task("pairs", size=size)
    for split, wanted in LAB.items():
        here = Counter(found.kinds[found.splits[split]].tolist())
        assert here == {kind: max(1, round(n * times)) for kind, n in wanted.items()}, split


def test_true_pairs_have_the_answer_of_their_function_and_no_spoilt_one_has(lab, told):
    for i, answer in enumerate(lab.inputs):
        assert (answer == told[lab.ids[i]]) == (lab.kinds[i] == CLEAN), lab.ids[i]


def test_a_mismatched_answer_is_true_of_another_function_of_its_split(lab, told):
    for split in ("supervise", "transfer"):
        here = lab.splits[split]
        others = {told[i] for i in lab.ids[here]}
        wrong = here[lab.kinds[here] == "another's answer"]
        from_here = [lab.inputs[i] in others - {told[lab.ids[i]]} for i in wrong]
        # the first function drawn takes from the last one drawn, which may have been left out
        assert sum(from_here) >= len(wrong) - 1
        assert all(lab.inputs[i] in set(told.values()) for i in wrong)


def test_every_question_is_a_short_function_and_what_is_asked_of_it(lab):
    for question in lab.questions:
        body, _, asked = question.rpartition("\n\n")
        assert asked == code.QUESTION and "def " in body and len(body) <= pairs.CHARACTERS


def test_no_function_is_used_twice_and_no_module_crosses_the_splits(lab):
    assert len(set(lab.ids)) == len(lab.ids)
    splits.check_no_leak(lab.questions, lab.groups, lab.splits)


def test_it_comes_out_the_same_twice(lab):
    again = load_task("pairs", size="lab")
    assert again.inputs == lab.inputs and again.questions == lab.questions
    np.testing.assert_array_equal(again.kinds, lab.kinds)
    for split, index in lab.splits.items():
        np.testing.assert_array_equal(again.splits[split], index)


def test_another_deal_is_refused_since_it_would_bring_dirt_into_the_test(lab):
    with pytest.raises(W2SError, match="pairs: its splits hold .* cannot be dealt anew"):
        lab.resplit(1)


# --- spoiling -------------------------------------------------------------------------------------


def spoilt(kind, answer=ANSWER, seed=0):
    return spoil(answer, kind, STRANGER, np.random.default_rng(seed))


def test_a_true_pair_is_left_as_it_is_and_a_mismatched_one_gets_the_strangers_answer():
    assert spoilt(CLEAN) == ANSWER and spoilt("another's answer") == STRANGER


def test_empty_words_say_nothing_of_this_function():
    assert {spoilt("empty words", seed=seed) for seed in range(40)} == set(EMPTY)


@pytest.mark.parametrize(
    "answer, left",
    [
        (ANSWER, "Return the sum"),  # 9 words, a third is 3
        ("Return the sum of two.", "Return the"),  # 5 words, a third is 1, but two are left
        ("Return it.", "Return it."),  # nothing can be cut off two words
    ],
)
def test_what_is_cut_off_keeps_the_first_third_and_two_words_at_least(answer, left):
    assert spoilt("cut off", answer) == left


def test_shuffling_keeps_every_word_as_often_as_it_was():
    said = spoilt("shuffled")
    assert said != ANSWER and Counter(said.split()) == Counter(ANSWER.split())


def test_an_unknown_kind_is_no_way_to_spoil():
    with pytest.raises(KeyError):
        spoilt("burnt")
