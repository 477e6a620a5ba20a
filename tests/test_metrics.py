"""The scores, the gap recovered and its interval, against numbers worked by hand.

They do not run a model: an experiment's arithmetic is tested with the experiment.
Calibration and balanced accuracy are also held against scikit-learn where it computes them.
"""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from w2s_lab.errors import W2SError
from w2s_lab.metrics import (
    SCORES,
    Estimate,
    accuracy,
    agreement,
    balanced_accuracy,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_pgr,
    brier_score,
    expected_calibration_error,
    item_scores,
    performance_gap_recovered,
    reliability,
)

examples = settings(max_examples=50, deadline=None, derandomize=True)


def bernoulli(p, shape, seed=0):
    return (np.random.default_rng(seed).random(shape) < p).astype(float)


# The estimate


def test_an_estimate_prints_its_value_and_interval():
    assert str(Estimate(0.449, 0.31, 0.58)) == "0.45 [0.31, 0.58]"
    assert repr(Estimate(-0.001, -np.inf, np.inf)) == "0.00 [-inf, inf]"
    assert str(Estimate(np.nan, np.nan, np.nan)) == "undefined"


def test_an_estimate_excludes_only_what_lies_outside_its_interval():
    estimate = Estimate(0.4, 0.1, 0.7)
    assert estimate.excludes(0.0) and estimate.excludes(0.8)
    assert not estimate.excludes(0.1) and not estimate.excludes(0.5)
    assert not Estimate(0.4, -np.inf, np.inf).excludes(0.0)
    assert not Estimate(np.nan, np.nan, np.nan).excludes(0.0)


def test_an_estimate_survives_strict_json():
    text = json.dumps(Estimate(0.5, -np.inf, np.inf).as_dict(), allow_nan=False)
    assert json.loads(text) == {"value": 0.5, "low": None, "high": None}
    assert json.dumps(Estimate(np.nan, np.nan, np.nan).as_dict(), allow_nan=False)
    assert Estimate(0.5, 0.25, 1.0).as_dict() == {"value": 0.5, "low": 0.25, "high": 1.0}


# The gap recovered


@pytest.mark.parametrize(
    "weak, student, ceiling, pgr",
    [
        (0.70, 0.80, 0.90, 0.5),  # 0.10 / 0.20
        (0.60, 0.72, 0.90, 0.4),  # 0.12 / 0.30; with the denominator swapped 0.12 / 0.18
        (0.60, 0.50, 0.80, -0.5),  # the student falls below its supervisor: -0.10 / 0.20
        (0.60, 0.90, 0.80, 1.5),  # ... or rises above the ceiling: 0.30 / 0.20
    ],
)
def test_the_gap_recovered_matches_the_hand_worked_value(weak, student, ceiling, pgr):
    got = performance_gap_recovered(weak, student, ceiling)
    assert type(got) is float and got == pytest.approx(pgr, abs=1e-12)


@pytest.mark.parametrize("weak, ceiling", [(0.8, 0.7), (0.8, 0.8), (0.1 + 0.2 - 1e-16, 0.1 + 0.2)])
def test_the_gap_is_undefined_when_the_ceiling_does_not_beat_the_weak_model(weak, ceiling):
    assert math.isnan(performance_gap_recovered(weak, 0.75, ceiling))
    assert math.isnan(performance_gap_recovered(weak, weak, ceiling))


def test_the_gap_recovered_broadcasts_and_is_undefined_item_by_item():
    # (0.8 - 0.6) / 0.3 and (0.8 - 0.9) / 0
    got = performance_gap_recovered([0.6, 0.9], 0.8, 0.9)
    np.testing.assert_allclose(got, [2 / 3, np.nan])


@examples
@given(
    weak=st.floats(0, 0.7),
    student=st.floats(0, 1),
    gap=st.floats(0.01, 0.3),
    scale=st.floats(0.01, 100),
    shift=st.floats(-10, 10),
)
def test_the_gap_recovered_does_not_depend_on_the_unit_of_the_scores(
    weak, student, gap, scale, shift
):
    plain = performance_gap_recovered(weak, student, weak + gap)
    moved = performance_gap_recovered(*(scale * x + shift for x in (weak, student, weak + gap)))
    assert moved == pytest.approx(plain, rel=1e-6, abs=1e-6 / min(scale, 1))


# The bootstrap: exact small cases


def test_the_interval_of_a_mean_matches_the_enumerated_bootstrap_distribution():
    # Resamples of (0, 0, 1): the count of ones is binomial(3, 1/3), so the mean is
    # 0 with 8/27 = 0.296, 1/3 with 12/27, 2/3 with 6/27, 1 with 1/27 = 0.037
    scores = [0.0, 0.0, 1.0]
    wide = bootstrap_mean(scores, confidence=0.95)  # 0.037 is more than a tail of 0.025
    narrow = bootstrap_mean(scores, confidence=0.90)  # ... and less than one of 0.05
    assert (wide.value, wide.low, wide.high) == pytest.approx((1 / 3, 0, 1))
    assert (narrow.low, narrow.high) == pytest.approx((0, 2 / 3))


def test_the_interval_of_a_mean_has_the_width_of_the_binomial_one():
    # 600 of 1,000 right: 1.96 * sqrt(0.6 * 0.4 / 1000) = 0.0304
    estimate = bootstrap_mean(np.repeat([1.0, 0.0], [600, 400]), resamples=4000)
    assert estimate.high - estimate.low == pytest.approx(2 * 0.0304, rel=0.08)


def test_seeds_are_resampled_too():
    # Every item of a seed scores alike, so only seeds vary: two draws from (0, 1) average to 0,
    # 1/2 and 1 with 1/4, 1/2 and 1/4
    scores = np.repeat([[0.0], [1.0]], 50, axis=1)
    estimate = bootstrap_mean(scores)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.5, 0, 1))
    assert bootstrap_mean(scores, confidence=0.4).low == pytest.approx(0.5)


def test_a_student_equal_to_an_end_of_the_gap_has_an_interval_of_no_width():
    # Only pairing can know this: in every resample the two are the same numbers
    weak, ceiling = bernoulli(0.7, (3, 200), 1), bernoulli(0.9, (3, 200), 2)
    for student, pgr in ((weak, 0.0), (ceiling, 1.0)):
        estimate = bootstrap_pgr(weak, student, ceiling)
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx((pgr, pgr, pgr))
    # A quarter of the way for every seed and every item
    estimate = bootstrap_pgr(weak, weak + (ceiling - weak) / 4, ceiling)
    assert (estimate.low, estimate.high) == pytest.approx((0.25, 0.25))


def test_a_difference_is_paired_by_seed_and_item():
    scores = bernoulli(0.6, (4, 100))
    estimate = bootstrap_difference(scores + 0.125, scores)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.125,) * 3)
    assert bootstrap_difference(scores, scores + 0.125).value == pytest.approx(-0.125)


def test_scores_without_seeds_are_shared_by_all_seeds():
    weak, student = bernoulli(0.7, 80, 1), bernoulli(0.8, (3, 80), 2)
    ceiling = bernoulli(0.95, (3, 80), 3)
    shared = bootstrap_pgr(weak, student, ceiling)
    tiled = bootstrap_pgr(np.tile(weak, (3, 1)), student, ceiling)
    for field in ("value", "low", "high"):
        assert getattr(shared, field) == pytest.approx(getattr(tiled, field))


# The bootstrap: a gap too small to divide by


def test_the_interval_over_too_small_a_gap_is_unbounded():
    # 51 against 50 of 100 right: many a resample turns the gap around
    weak, ceiling = np.repeat([1.0, 0.0], [50, 50]), np.repeat([0.0, 1.0], [49, 51])
    estimate = bootstrap_pgr(weak, bernoulli(0.5, 100), ceiling)
    assert estimate.defined and (estimate.low, estimate.high) == (-np.inf, np.inf)
    assert not estimate.excludes(0)


def test_a_rarely_missing_gap_leaves_the_interval_bounded_at_a_modest_confidence():
    # One item in ten makes the whole gap: a resample of 10 misses it with 0.9 ** 10 = 0.349.
    # So a tail of 0.025 or 0.3 is all undefined, one of 0.4 is not; the student closes the gap
    weak, ceiling = np.zeros(10), np.eye(10)[0]
    assert bootstrap_pgr(weak, ceiling, ceiling).low == -np.inf
    assert bootstrap_pgr(weak, ceiling, ceiling, confidence=0.4).high == np.inf
    narrow = bootstrap_pgr(weak, ceiling, ceiling, confidence=0.2)
    assert (narrow.low, narrow.high) == (1, 1)


def test_without_a_gap_nothing_is_estimated():
    estimate = bootstrap_pgr([1.0, 0.0], [1.0, 1.0], [0.0, 0.0])
    assert not estimate.defined and math.isnan(estimate.low) and math.isnan(estimate.high)


# The bootstrap: strata and groups


def test_a_stratum_keeps_its_count_in_every_resample():
    # The score depends on the stratum only, so resampling within it changes nothing
    gold = np.repeat([0, 1], [95, 5])
    estimate = bootstrap_mean(gold.astype(float), strata=gold)
    assert (estimate.low, estimate.high) == pytest.approx((0.05, 0.05))
    assert bootstrap_mean(gold.astype(float)).high > 0.05


def test_strata_do_not_hide_the_variation_inside_them():
    # Two strata of 500, 400 and 200 right: sd sqrt((0.8 * 0.2 + 0.4 * 0.6) / 2 / 1000) = 0.01414
    scores = np.repeat([1.0, 0.0, 1.0, 0.0], [400, 100, 200, 300])
    estimate = bootstrap_mean(scores, strata=np.repeat(["a", "b"], 500), resamples=4000)
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * 0.01414, rel=0.08)


def test_a_group_is_drawn_as_a_whole():
    # Groups of one 0 and of three 1s: both drawn alike give 0 or 1 (1/4 each), mixed give 3/4
    scores, groups = [0.0, 1.0, 1.0, 1.0], ["x", "y", "y", "y"]
    estimate = bootstrap_mean(scores, groups=groups)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.75, 0, 1))
    middle = bootstrap_mean(scores, groups=groups, confidence=0.4)
    assert (middle.low, middle.high) == pytest.approx((0.75, 0.75))


def test_groups_of_copies_widen_the_interval_by_the_root_of_their_size():
    scores, groups = np.tile(bernoulli(0.6, 100), 9), np.tile(np.arange(100), 9)
    alone, grouped = bootstrap_mean(scores), bootstrap_mean(scores, groups=groups)
    ratio = (grouped.high - grouped.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(3, rel=0.1)  # 9 copies tell no more than one


def test_groups_do_not_change_the_weight_of_a_stratum():
    # Groups mix the classes unevenly, the score depends on the class only: no width is left
    gold = np.tile([0, 0, 0, 1, 0, 1, 1, 0], 20)
    groups = np.repeat(np.arange(40), 4)
    scores = gold * 0.5
    fixed = bootstrap_mean(scores, strata=gold, groups=groups)
    assert (fixed.low, fixed.high) == pytest.approx((scores.mean(), scores.mean()))
    free = bootstrap_mean(scores, groups=groups)
    assert free.high - free.low > 0.01


def test_a_class_held_by_a_single_group_leaves_the_interval_unbounded():
    # The only group with class 1 is missed by 0.9 ** 10 = 35 % of the resamples
    gold = np.eye(10, dtype=int)[0]
    estimate = bootstrap_mean(np.ones(10), strata=gold, groups=np.arange(10))
    assert (estimate.value, estimate.low, estimate.high) == (1, -np.inf, np.inf)


# The bootstrap: properties


def test_the_same_seed_gives_the_same_interval_and_chunks_do_not_matter(monkeypatch):
    arrays = [bernoulli(p, (2, 60), i) for i, p in enumerate((0.6, 0.7, 0.95))]
    first = bootstrap_pgr(*arrays, seed=3)
    assert first == bootstrap_pgr(*arrays, seed=3) != bootstrap_pgr(*arrays, seed=4)
    monkeypatch.setattr("w2s_lab.metrics.CHUNK", 60 * 7)
    chunked = bootstrap_pgr(*arrays, seed=3)
    assert (first.low, first.high) == pytest.approx((chunked.low, chunked.high))


@examples
@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_the_interval_does_not_depend_on_the_unit_of_the_scores(seed, scale, shift):
    rng = np.random.default_rng(seed)
    arrays = [rng.random((2, 40)) + level for level in (0.0, 0.2, 1.0)]
    plain = bootstrap_pgr(*arrays, resamples=200)
    moved = bootstrap_pgr(*(scale * a + shift for a in arrays), resamples=200)
    for field in ("value", "low", "high"):
        assert getattr(moved, field) == pytest.approx(getattr(plain, field), abs=1e-6)
    assert plain.low <= plain.value <= plain.high


@examples
@given(seed=st.integers(0, 10_000))
def test_the_order_of_items_and_seeds_changes_the_interval_only_by_chance(seed):
    rng = np.random.default_rng(seed)
    arrays = [bernoulli(p, (4, 150), seed + i) for i, p in enumerate((0.5, 0.7, 0.9))]
    seeds, items = rng.permutation(4), rng.permutation(150)
    plain = bootstrap_pgr(*arrays, resamples=1000)
    mixed = bootstrap_pgr(*(a[seeds][:, items] for a in arrays), resamples=1000)
    assert mixed.value == pytest.approx(plain.value)
    width = plain.high - plain.low
    assert mixed.low == pytest.approx(plain.low, abs=0.25 * width)
    assert mixed.high == pytest.approx(plain.high, abs=0.25 * width)


def test_ninety_percent_intervals_hold_the_truth_about_ninety_percent_of_the_time():
    # Items differ in difficulty and the three models fail together, as real ones do: model m is
    # right where difficulty + 0.3 * own noise < threshold. With 300 trials the share held has a
    # standard deviation of sqrt(0.9 * 0.1 / 300) = 1.7 %
    rng = np.random.default_rng(0)
    thresholds = {"weak": 0.3, "student": 0.7, "ceiling": 1.5}

    def draw(items):
        difficulty = rng.normal(size=items)
        noise = rng.normal(size=(3, items))
        return [difficulty + 0.3 * n < t for n, t in zip(noise, thresholds.values(), strict=True)]

    truth = performance_gap_recovered(*(a.mean() for a in draw(2_000_000)))
    held = [
        estimate.low <= truth <= estimate.high
        for estimate in (
            bootstrap_pgr(*draw(250), confidence=0.9, resamples=400, seed=trial)
            for trial in range(300)
        )
    ]
    assert 0.85 < np.mean(held) < 0.95


# The bootstrap: what it refuses


@pytest.mark.parametrize(
    "arrays, options, told",
    [
        (([1, 0], [1, 0, 1], [1, 1]), {}, "student: 1 seeds and 3 items beside 1 and 2"),
        ((np.ones((2, 4)), np.ones((3, 4)), np.ones(4)), {}, "weak: 2 seeds and 4 items beside 3"),
        (([], [], []), {}, "scores of shape (0,)"),
        ((0.5, 0.5, 0.6), {}, "scores of shape ()"),
        ((np.ones((1, 2, 3)),) * 3, {}, "scores of shape (1, 2, 3)"),
        (([0.0, np.nan], [1, 1], [1, 1]), {}, "weak: 1 of 2 scores are nan"),
        (([0, 0], [0, 1], [np.inf, 1]), {}, "ceiling: 1 of 2 scores are nan or infinite"),
        (([0, 0], [0, 1], [1, 1]), {"confidence": 1.0}, "confidence 1.0"),
        (([0, 0], [0, 1], [1, 1]), {"confidence": 95}, "confidence 95"),
        (([0, 0], [0, 1], [1, 1]), {"confidence": 0}, "confidence 0"),
        (([0, 0], [0, 1], [1, 1]), {"resamples": 0}, "0 resamples"),
        (([0, 0], [0, 1], [1, 1]), {"strata": [0, 1, 1]}, "strata: shape (3,), the scores have 2"),
        (([0, 0], [0, 1], [1, 1]), {"groups": [[0, 1]]}, "groups: shape (1, 2)"),
    ],
)
def test_unusable_input_is_one_clear_line(arrays, options, told):
    with pytest.raises(W2SError) as caught:
        bootstrap_pgr(*arrays, **options)
    assert told in str(caught.value) and "\n" not in str(caught.value)


# Scores


def test_balanced_accuracy_matches_the_hand_worked_value():
    # Recall 3/4 of class 0 and 1/2 of class 1: (0.75 + 0.5) / 2; plain accuracy is 4/6
    predicted, gold = [0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 1, 1]
    assert balanced_accuracy(predicted, gold) == pytest.approx(0.625)
    assert accuracy(predicted, gold) == pytest.approx(4 / 6)
    # A right answer earns 6 / (2 * 4) in class 0 and 6 / (2 * 2) in class 1
    np.testing.assert_allclose(
        item_scores(predicted, gold, "balanced_accuracy"), [0.75, 0.75, 0.75, 0, 1.5, 0]
    )


def test_a_constant_answer_has_a_balanced_accuracy_of_one_over_the_classes():
    gold = np.repeat([0, 1, 2], [90, 7, 3])
    assert balanced_accuracy(np.zeros(100, int), gold) == pytest.approx(1 / 3)


def test_classes_absent_from_gold_do_not_count():
    # Class 2 is answered once and never true: (1/2 + 1) / 2
    assert balanced_accuracy([0, 2, 1], [0, 0, 1]) == pytest.approx(0.75)


@examples
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 5))
def test_balanced_accuracy_agrees_with_scikit_learn(seed, classes):
    from sklearn.metrics import balanced_accuracy_score

    rng = np.random.default_rng(seed)
    gold = rng.integers(classes, size=40)
    predicted = rng.permutation(gold) if seed % 2 else np.where(rng.random(40) < 0.3, 0, gold)
    assert balanced_accuracy(predicted, gold) == pytest.approx(
        balanced_accuracy_score(gold, predicted)
    )


@pytest.mark.parametrize("metric", sorted(SCORES))
def test_item_scores_average_to_the_metric_for_every_seed(metric):
    rng = np.random.default_rng(0)
    gold, predicted = rng.integers(3, size=30), rng.integers(3, size=(4, 30))
    scores = item_scores(predicted, gold, metric)
    whole = {"accuracy": accuracy, "balanced_accuracy": balanced_accuracy}[metric]
    assert scores.shape == (4, 30)
    np.testing.assert_allclose(scores.mean(axis=1), [whole(row, gold) for row in predicted])
    assert whole(predicted, gold) == pytest.approx(scores.mean())


@examples
@given(seed=st.integers(0, 10_000))
def test_relabelling_the_classes_and_permuting_the_items_change_no_score(seed):
    rng = np.random.default_rng(seed)
    gold, weak, student = rng.integers(4, size=(3, 50))
    names, order = rng.permutation(4), rng.permutation(50)
    new_gold, new_weak, new_student = names[gold][order], names[weak][order], names[student][order]
    for score in (accuracy, balanced_accuracy):
        assert score(new_student, new_gold) == pytest.approx(score(student, gold))
    before, after = agreement(student, weak, gold), agreement(new_student, new_weak, new_gold)
    assert vars(after) == pytest.approx(vars(before))


def test_a_score_refuses_what_it_cannot_score():
    with pytest.raises(W2SError, match="accuracy, balanced_accuracy"):
        item_scores([0, 1], [0, 1], "f1")
    with pytest.raises(W2SError, match=r"\(3,\), gold \(2,\)"):
        accuracy([0, 1, 1], [0, 1])
    with pytest.raises(W2SError):
        balanced_accuracy([], [])
    with pytest.raises(W2SError):
        accuracy(1, [1])
    with pytest.raises(W2SError):
        accuracy([[0, 1]], [[0, 1]])


# Diagnostics


def test_agreement_matches_the_hand_worked_shares():
    gold, weak = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2], [0, 0, 0, 1, 1, 1, 0, 0, 0, 2]
    student = [0, 0, 1, 1, 1, 1, 0, 1, 1, 2]
    # Weak right on items 0 1 2 4 5 9, the student agrees on five of these six (not item 2).
    # Weak wrong on 3 6 7 8: repeated on 3 and 6, corrected on 7, wrong in its own way on 8
    got = agreement(student, weak, gold)
    assert vars(got) == pytest.approx(
        {
            "with_supervisor_right": 5 / 6,
            "with_supervisor_wrong": 2 / 4,
            "corrected": 0.1,
            "imitated": 0.2,
            "new_errors": 0.1,
        }
    )


def test_agreement_pools_seeds_and_shares_a_weak_model_without_them():
    gold, weak = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0])
    students = np.array([[0, 1, 1, 0], [0, 0, 1, 1]])  # one imitates both errors, one neither
    got = agreement(students, weak, gold)
    assert (got.with_supervisor_right, got.with_supervisor_wrong) == (1.0, 0.5)
    assert got == agreement(students, np.tile(weak, (2, 1)), gold)
    with pytest.raises(W2SError, match="2 seeds, the weak model 3"):
        agreement(students, np.tile(weak, (3, 1)), gold)


def test_agreement_with_a_perfect_supervisor_has_no_errors_to_imitate():
    got = agreement([0, 1, 0], [0, 1, 1], [0, 1, 1])
    assert math.isnan(got.with_supervisor_wrong) and got.imitated == 0
    assert math.isnan(agreement([0], [1], [0]).with_supervisor_right)


def test_the_calibration_error_matches_the_hand_worked_value():
    probs = np.array([[0.9, 0.1], [0.05, 0.95], [0.6, 0.4], [0.42, 0.58], [0.4, 0.6]])
    gold = np.array([0, 0, 0, 1, 0])
    # Bin (0.8, 1]: confidence 0.925, 1 of 2 right, distance 0.425. Bin (0.4, 0.6], its upper edge
    # included: confidence (0.6 + 0.58 + 0.6) / 3 = 0.59333, 2 of 3 right, distance 0.07333.
    # Error (2 * 0.425 + 3 * 0.07333) / 5 = 0.214
    confidence, right, count = reliability(probs, gold, bins=5)
    np.testing.assert_allclose(confidence, [np.nan, np.nan, 1.78 / 3, np.nan, 0.925])
    np.testing.assert_allclose(right, [np.nan, np.nan, 2 / 3, np.nan, 0.5])
    np.testing.assert_array_equal(count, [0, 0, 3, 0, 2])
    assert expected_calibration_error(probs, gold, bins=5) == pytest.approx(0.214)


def test_a_bin_of_confidence_holds_its_upper_edge_but_not_its_lower():
    # Quarters are exact in binary: 0.5 ends bin 2 of 4, 0.75 ends bin 3
    _, _, count = reliability([[0.5, 0.5], [0.75, 0.25], [0.75, 0.25], [0.8, 0.2]], [0] * 4, bins=4)
    np.testing.assert_array_equal(count, [0, 1, 2, 1])


def test_a_certain_model_is_miscalibrated_by_its_error_rate():
    # Confidence 1 belongs to the last bin; three of four right leave 0.25
    assert expected_calibration_error(np.eye(2)[[0, 0, 1, 1]], [0, 0, 1, 0]) == pytest.approx(0.25)


def test_the_brier_score_matches_the_hand_worked_value():
    # (0.3² + 0.3²) = 0.18 and (0.8² + 0.8²) = 1.28, mean 0.73
    assert brier_score([[0.7, 0.3], [0.8, 0.2]], [0, 1]) == pytest.approx(0.73)
    # Three classes: 0.5² + 0.25² + 0.25² = 0.375
    assert brier_score([[0.5, 0.25, 0.25]], [0]) == pytest.approx(0.375)


@examples
@given(seed=st.integers(0, 10_000))
def test_relabelling_and_permuting_change_no_calibration(seed):
    rng = np.random.default_rng(seed)
    probs, gold = rng.dirichlet(np.ones(3), size=40), rng.integers(3, size=40)
    names, order = rng.permutation(3), rng.permutation(40)
    new_probs = np.empty_like(probs)
    new_probs[:, names] = probs
    for score in (expected_calibration_error, brier_score):
        assert score(new_probs[order], names[gold][order]) == pytest.approx(score(probs, gold))


@pytest.mark.parametrize(
    "probs, gold, told",
    [
        ([[0.5, 0.5]], [0, 1], "(1, 2), gold (2,)"),
        ([0.5, 0.5], [0, 1], "(2,), gold (2,)"),
        ([[0.5, 0.6]], [0], "sum of 1.1"),
        ([[-0.5, 1.5]], [0], "least entry of -0.5"),
        ([[np.nan, 1.0]], [0], "nan"),
        ([[0.5, 0.5]], [2], "gold runs from 2 to 2, probs have 2 classes"),
        ([[0.5, 0.5]], [-1], "gold runs from -1"),
    ],
)
def test_calibration_refuses_what_is_no_distribution_over_the_classes(probs, gold, told):
    with pytest.raises(W2SError) as caught:
        expected_calibration_error(probs, gold)
    assert told in str(caught.value)
