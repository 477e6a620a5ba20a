"""Does each method turn a supervisor's probabilities into the targets and weights that it names?

Small tables worked out by hand; nothing is trained.
"""

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from w2s_lab.errors import W2SError
from w2s_lab.methods import (
    KEEP,
    METHODS,
    Method,
    balanced,
    keep_confident,
    method,
    naive,
    one_hot,
    soft,
    variant,
)

HALF = np.array([0.5, 0.5])


def two(*second):
    """Probabilities (1, items, 2) with these shares of class 1."""
    second = np.array(second)
    return np.stack([1 - second, second], -1)[None]


def kept(probs, prior, round=0):
    """Item → label of what the filter shows to the only student."""
    target, weight = keep_confident(probs, np.array(prior), round)
    return {int(i): int(target[0, i].argmax()) for i in np.flatnonzero(weight[0])}


def test_balanced_weights_sum_to_one_for_each_class():
    classes = np.array([[0, 0, 0, 1], [1, 1, 0, 0]])
    # 3 of class 0 share one unit, the only 1 has its own; then 2 and 2
    wanted = [[1 / 3, 1 / 3, 1 / 3, 1], [1 / 2, 1 / 2, 1 / 2, 1 / 2]]
    np.testing.assert_allclose(balanced(classes, 2), wanted)


def test_balanced_weights_count_only_the_items_asked_for():
    classes = np.array([[0, 0, 0, 1, 1]])
    among = np.array([[True, False, True, False, True]])
    np.testing.assert_allclose(balanced(classes, 2, among=among), [[1 / 2, 0, 1 / 2, 0, 1]])


@given(hnp.arrays(int, (2, 9), elements=st.integers(0, 3)))
def test_every_class_that_occurs_has_the_same_total_weight(classes):
    weight = balanced(classes, 4)
    for row, labels in zip(weight, classes, strict=True):
        totals = np.bincount(labels, row, minlength=4)
        np.testing.assert_allclose(totals, np.isin(np.arange(4), labels))


def test_naive_takes_the_likelier_class_for_certain():
    target, weight = naive(two(0.9, 0.2, 0.4), HALF, 0)
    assert target.tolist() == [[[0, 1], [1, 0], [1, 0]]]
    assert weight.tolist() == [[1, 0.5, 0.5]]


def test_soft_targets_are_square_roots_made_to_sum_to_one():
    # √0.9 : √0.1 = 3 : 1, and √0.2 : √0.8 = 1 : 2
    target, weight = soft(two(0.1, 0.8), HALF, 0)
    np.testing.assert_allclose(target, [[[3 / 4, 1 / 4], [1 / 3, 2 / 3]]])
    assert weight.tolist() == [[1, 1]]


def test_soft_targets_of_three_classes():
    # √ of 4/9, 4/9, 1/9 is 2/3, 2/3, 1/3; divided by their sum 5/3
    target, _ = soft(np.array([[[4, 4, 1]]]) / 9, np.ones(3) / 3, 0)
    np.testing.assert_allclose(target, [[[0.4, 0.4, 0.2]]])


def test_soft_targets_stay_finite_where_the_supervisor_is_certain():
    target, _ = soft(two(0.0, 1.0), HALF, 0)
    assert target.tolist() == [[[1, 0], [0, 1]]]


def test_the_filter_shows_the_surest_of_each_class_in_the_shares_of_the_prior():
    probs = two(0.95, 0.05, 0.6, 0.55, 0.3, 0.1, 0.7, 0.45, 0.2, 0.4)
    # Half of 10 · 0.4 is 2 for class 1: items 0 (0.95) and 6 (0.7).
    # Half of 10 · 0.6 is 3 for class 0: items 1 (0.05), 5 (0.1) and 8 (0.2).
    assert kept(probs, [0.6, 0.4]) == {0: 1, 6: 1, 1: 0, 5: 0, 8: 0}
    weight = keep_confident(probs, np.array([0.6, 0.4]), 0)[1]
    np.testing.assert_allclose(weight[0, [0, 6]], 1 / 2)
    np.testing.assert_allclose(weight[0, [1, 5, 8]], 1 / 3)


def test_the_filter_goes_by_rank_where_the_supervisor_is_biased():
    # Everything looks like class 1, yet by the prior half is not: the least likely are class 0.
    probs = two(0.99, 0.98, 0.97, 0.96, 0.6, 0.7, 0.8, 0.9)
    assert kept(probs, HALF) == {0: 1, 1: 1, 4: 0, 5: 0}


def test_the_filter_of_three_classes_shows_the_surest_of_each():
    probs = np.array(
        [
            [0.8, 0.1, 0.1],
            [0.7, 0.2, 0.1],
            [0.5, 0.3, 0.2],
            [0.4, 0.3, 0.3],
            [0.1, 0.8, 0.1],
            [0.2, 0.5, 0.3],
            [0.1, 0.1, 0.8],
            [0.3, 0.2, 0.5],
        ]
    )[None]
    # Half of 8 · (1/2, 1/4, 1/4) is (2, 1, 1)
    assert kept(probs, [0.5, 0.25, 0.25]) == {0: 0, 1: 0, 4: 1, 6: 2}


def test_an_item_that_two_classes_want_goes_to_the_one_that_ranks_it_higher():
    probs = np.array(
        [
            [0.45, 0.50, 0.05],
            [0.50, 0.40, 0.10],
            [0.10, 0.20, 0.70],
            [0.10, 0.10, 0.80],
            [0.05, 0.05, 0.90],
            [0.05, 0.05, 0.90],
        ]
    )[None]
    # Round 3 keeps 0.9 of 6 · (1/3, 1/3, 1/3): ranks below 1.8, so two of each class. Class 0 wants
    # items 1 and 0, class 1 wants 0 and 1: each goes to where it comes first. Class 2 wants 4, 5.
    assert kept(probs, [1 / 3] * 3, round=3) == {1: 0, 0: 1, 4: 2, 5: 2}


def test_each_round_shows_the_earlier_ones_items_and_more():
    probs = two(*np.random.default_rng(0).random(100))
    counts, before = [], {}
    for round in range(len(KEEP)):
        now = kept(probs, [0.8, 0.2], round)
        assert before.items() <= now.items()
        counts.append([list(now.values()).count(c) for c in (0, 1)])
        before = now
    # 80 and 20 times 0.5, 0.6, 0.75, 0.9
    assert counts == [[40, 10], [48, 12], [60, 15], [72, 18]]


def test_of_equally_sure_items_the_earlier_are_shown():
    probs = two(0.9, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1)
    assert kept(probs, HALF) == {0: 1, 1: 1, 4: 0, 5: 0}
    many = two(*[0.9] * 300, *[0.1] * 300)
    shown = kept(many, HALF)
    assert sorted(shown) == [*range(150), *range(300, 450)]


def test_a_supervisor_that_gives_hard_labels_is_never_contradicted():
    labels = np.array([0, 1, 0, 0, 1, 0, 0, 0, 0, 0])
    shown = kept(one_hot(labels, 2)[None], HALF)  # class 1 lacks its five
    assert all(labels[i] == label for i, label in shown.items())
    assert sorted(shown.values()).count(1) == 2


def test_a_class_too_rare_to_count_still_shows_its_surest_item():
    shown = kept(two(0.1, 0.2, 0.3, 0.9), [0.99, 0.01])
    assert shown[3] == 1


@given(
    hnp.arrays(float, st.integers(4, 60), elements=st.floats(0, 1), unique=True),
    st.floats(0.05, 0.95),
    st.integers(0, len(KEEP) - 1),
)
def test_the_filter_keeps_exactly_the_counts_of_the_prior_from_the_right_tails(
    second, prior, round
):
    target, weight = keep_confident(two(*second), np.array([1 - prior, prior]), round)
    labels, shown, n = target[0].argmax(-1), weight[0] > 0, len(second)
    # one off where both classes want the same item of a very short list, or shares round
    for c, share in ((0, 1 - prior), (1, prior)):
        wanted = np.ceil(KEEP[round] * max(share * n, 1) - 1e-9)
        assert abs((shown & (labels == c)).sum() - wanted) <= 1
    ones, zeros = second[shown & (labels == 1)], second[shown & (labels == 0)]
    assert ones.min(initial=1) >= zeros.max(initial=0) - 1e-12


def test_each_seed_is_filtered_by_itself():
    a, b = two(0.95, 0.05, 0.6, 0.3), two(0.1, 0.6, 0.2, 0.8)
    target, weight = keep_confident(np.concatenate([a, b]), HALF, 0)
    for i, one in enumerate((a, b)):
        alone = keep_confident(one, HALF, 0)
        np.testing.assert_array_equal(target[i], alone[0][0])
        np.testing.assert_array_equal(weight[i], alone[1][0])


@st.composite
def supervisors(draw):
    seeds, items, classes = (
        draw(st.integers(1, 3)),
        draw(st.integers(1, 30)),
        draw(st.integers(2, 4)),
    )
    raw = draw(hnp.arrays(float, (seeds, items, classes), elements=st.floats(0.01, 1)))
    shares = draw(hnp.arrays(float, classes, elements=st.floats(0.05, 1)))
    return raw / raw.sum(-1, keepdims=True), shares / shares.sum()


@given(supervisors())
def test_every_method_gives_distributions_and_some_weight_to_every_student(supervisor):
    probs, prior = supervisor
    before = probs.copy()
    for m in METHODS.values():
        for round in range(m.rounds):
            target, weight = m.teach(probs, prior, round)
            assert target.shape == probs.shape and weight.shape == probs.shape[:2]
            assert (target >= 0).all() and (weight >= 0).all()
            np.testing.assert_allclose(target.sum(-1), 1)
            assert (weight.sum(-1) > 0).all()
    np.testing.assert_array_equal(probs, before)


def test_a_method_is_told_the_supervisors_words_the_prior_and_the_round_and_no_gold():
    for m in METHODS.values():
        assert list(inspect.signature(m.teach).parameters)[:3] == ["probs", "prior", "round"]
        required = [
            p for p in inspect.signature(m.teach).parameters.values() if p.default is p.empty
        ]
        assert len(required) == 3


def test_every_method_says_in_one_sentence_what_it_does():
    for m in METHODS.values():
        assert m.teach.__doc__.splitlines()[0].endswith(".")
        assert METHODS[m.name] is m and isinstance(m, Method)


def test_methods_that_train_again_have_an_amount_to_keep_for_each_round():
    # more and more is shown, never all: the last tenth is where the two classes meet
    assert list(KEEP) == sorted(KEEP) and KEEP[-1] < 1
    for name in ("relabel", "climb"):
        assert METHODS[name].rounds == len(KEEP)
    assert METHODS["filter"].rounds == 1


def test_a_method_of_yours_is_registered_with_its_traits_and_can_be_registered_again(monkeypatch):
    monkeypatch.delitem(METHODS, "mine", raising=False)

    @method("mine", alpha=0.25, rounds=2)
    def mine(probs, prior, round):
        return naive(probs, prior, round)

    assert METHODS["mine"] == Method("mine", mine, rounds=2, alpha=0.25)
    method("mine")(naive)
    assert METHODS["mine"] == Method("mine", naive)
    del METHODS["mine"]


def test_a_variant_has_its_own_name_and_leaves_the_original_alone():
    original = METHODS["confidence"]
    changed = variant("confidence", alpha=0.125)
    assert (changed.name, changed.alpha) == ("confidence (alpha 0.125)", 0.125)
    assert changed.teach is original.teach
    assert METHODS["confidence"] is original and original.alpha > 0.125


def test_an_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(W2SError, match="unknown method 'relable'.*naive.*relabel"):
        METHODS["relable"]
