"""Guarantees against hand-worked cases, and put to the test where the truth is known.

They also prove that the test itself can fail: wrong guarantees must be seen to break.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from w2s_lab.errors import W2SError
from w2s_lab.guarantee import (
    GUARANTEES,
    _binomial_p,
    _hoeffding_bentkus_p,
    certified_threshold,
    conformal_threshold,
    coverage,
)

examples = settings(max_examples=50, deadline=None, derandomize=True)
SPLITS = 300
# Three standard deviations of the share of 300 calibrations that cover, at 0.9: 0.052
TOLERANCE = 3 * math.sqrt(0.9 * 0.1 / SPLITS)


def items(count=2000, seed=0):
    """Items whose chance of a loss is 1 − confidence."""
    rng = np.random.default_rng(seed)
    confidence = rng.random(count)
    return confidence, (rng.random(count) > confidence).astype(float)


# Hand-worked


def test_the_binomial_p_value_matches_the_hand_worked_value():
    # 20 queries, level 0.2, one loss or none: 0.8 ** 20 + 20 * 0.2 * 0.8 ** 19 = 0.0692
    assert _binomial_p(np.array([1.0]), 20, 0.2) == pytest.approx(0.8**20 + 4 * 0.8**19)
    assert _binomial_p(np.array([20.0]), 20, 0.2) == pytest.approx(1)


def test_the_hoeffding_bentkus_p_value_matches_the_hand_worked_value():
    # No loss among 20 at level 0.2: h(0, 0.2) = ln(1 / 0.8), so exp(−20 h) = 0.8 ** 20; the
    # Bentkus bound is e times as much. At half a loss: h(1/40, 0.2) by its formula
    assert _hoeffding_bentkus_p(np.array([0.0]), 20, 0.2) == pytest.approx(0.8**20)
    h = 0.025 * math.log(0.025 / 0.2) + 0.975 * math.log(0.975 / 0.8)
    assert _hoeffding_bentkus_p(np.array([0.5]), 20, 0.2) == pytest.approx(math.exp(-20 * h))
    # As many losses as the level allows, or more, are no evidence
    np.testing.assert_allclose(_hoeffding_bentkus_p(np.array([4.0, 15.0]), 20, 0.2), 1)


@pytest.mark.parametrize("count, threshold", [(21, np.inf), (22, -np.inf)])
def test_nothing_is_certified_before_enough_items_are_seen(count, threshold):
    # Without a loss 0.9 ** 21 = 0.109 is too little evidence at delta 0.1, 0.9 ** 22 = 0.098 enough
    got = certified_threshold(np.arange(count), np.zeros(count), level=0.1, delta=0.1)
    assert got == threshold


def test_the_walk_stops_at_the_last_certified_confidence():
    # 40 items, the four least sure lost. P(Bin(40, 0.1) <= 0) = 0.9 ** 40 = 0.015 and <= 1:
    # 0.015 + 40 * 0.1 * 0.9 ** 39 = 0.080, but <= 2: 0.223. So one loss may be kept, item 3
    losses = np.arange(40) < 4
    assert certified_threshold(np.arange(40), losses, level=0.1, delta=0.1) == 2
    assert certified_threshold(np.arange(40), losses, level=0.1, delta=0.05) == 3


def test_conformal_control_matches_the_hand_worked_threshold():
    # (losses + 1) / 41 <= 0.1 allows 3.1 losses: the least sure of four is deferred
    losses = np.arange(40) < 4
    assert conformal_threshold(np.arange(40), losses, level=0.1) == 0
    assert conformal_threshold(np.arange(40), losses, level=5 / 41) == -np.inf
    # 1 / (n + 1) alone is more than the level: everything is deferred
    assert conformal_threshold(np.arange(8), np.zeros(8), level=0.1) == np.inf


def test_equal_confidence_is_kept_or_deferred_together():
    confidence = np.repeat([0.0, 1.0], [10, 90])
    losses = np.repeat([1.0, 0.0], [5, 95])
    assert certified_threshold(confidence, losses, level=0.05) == 0
    assert conformal_threshold(confidence, losses, level=0.05) == 0


# Properties


@examples
@given(seed=st.integers(0, 10_000), level=st.floats(0.05, 0.5))
def test_a_stricter_promise_never_defers_less(seed, level):
    confidence, losses = items(200, seed)
    threshold = certified_threshold(confidence, losses, level=level)
    assert certified_threshold(confidence, losses, level=level / 2) >= threshold
    assert certified_threshold(confidence, losses, level=level, delta=0.01) >= threshold
    kept = confidence > threshold
    assert (losses * kept).mean() <= level


@examples
@given(seed=st.integers(0, 10_000), level=st.floats(0.05, 0.5))
def test_the_bound_for_any_losses_is_never_bolder_than_the_exact_one(seed, level):
    lost = np.arange(60.0)
    exact, bound = _binomial_p(lost, 60, level), _hoeffding_bentkus_p(lost, 60, level)
    assert (bound >= exact * (1 - 1e-12)).all()
    assert (np.diff(bound) >= -1e-12).all()


# Put to the test


def test_learn_then_test_covers_as_often_as_it_promises():
    got = coverage(*items(), level=0.1, delta=0.1, splits=SPLITS, share=0.25)
    assert 0.9 - TOLERANCE <= got.covered <= 1
    # ... and is no more careful than it has to be: at a level of 0.1 the truth allows deferring
    # up to a confidence of 1 − sqrt(0.2) = 0.55, where ∫ (1 − c) dc from there is 0.1
    assert 0.55 < got.mean_deferred < 0.65
    assert got.interval[0] <= got.covered <= got.interval[1] and got.mean_risk < 0.1
    assert got.held_out > 0.8


def test_calibrations_are_independent_draws_even_when_they_are_large():
    # Nine tenths of the items drawn without replacement would leave hardly any luck: all cover
    got = coverage(*items(400), level=0.1, splits=SPLITS, share=0.9)
    assert 0.9 - TOLERANCE <= got.covered < 0.98


def test_learn_then_test_covers_graded_losses_too():
    confidence, losses = items()
    got = coverage(confidence, losses * 0.7 + 0.1, level=0.15, splits=SPLITS, share=0.25)
    assert got.covered >= 0.9 - TOLERANCE and got.mean_deferred < 0.95


def test_risk_control_keeps_the_mean_risk_and_covers_only_about_half():
    got = coverage(*items(), level=0.1, splits=SPLITS, share=0.25, method="risk control")
    assert 0.09 < got.mean_risk <= 0.101  # its mean has a standard error of about 0.001
    assert 0.3 < got.covered < 0.75
    strict = coverage(*items(), level=0.1, splits=SPLITS, share=0.25)
    assert got.mean_deferred < strict.mean_deferred


@pytest.mark.parametrize(
    "mutant",
    [
        lambda c, loss, level, delta: certified_threshold(c, loss, level=level, delta=1 - delta),
        lambda c, loss, level, delta: -certified_threshold(-c, loss, level=level, delta=delta),
        lambda c, loss, level, delta: conformal_threshold(c, loss, level=level),
    ],
    ids=[
        "the wrong tail of the test",
        "the wrong tail of the confidence",
        "a bound on the mean only",
    ],
)
def test_a_wrong_guarantee_is_seen_to_break(mutant, monkeypatch):
    monkeypatch.setitem(GUARANTEES, "mutant", mutant)
    got = coverage(*items(), level=0.1, splits=100, share=0.25, method="mutant")
    assert got.interval[1] < 0.9


def test_the_same_seed_gives_the_same_coverage():
    arrays = items(200)
    first = coverage(*arrays, level=0.2, splits=20, seed=1)
    assert first == coverage(*arrays, level=0.2, splits=20, seed=1)
    assert first != coverage(*arrays, level=0.2, splits=20, seed=2)


# Bad input


@pytest.mark.parametrize(
    "arrays, options, told",
    [
        (([0.5], [0]), {"level": 0}, "level: a level of 0; choose one inside (0, 1)"),
        (([0.5], [0]), {"level": 10}, "level: a level of 10"),
        (([0.5], [0]), {"level": 0.1, "delta": 1}, "delta: a delta of 1"),
        (([0.5], [0]), {"level": 0.1, "delta": np.nan}, "delta: a delta of nan"),
        (([0.5], [2]), {"level": 0.1}, "losses: losses from 2 to 2; scale them to [0, 1]"),
        (([0.5, 0.6], [0]), {"level": 0.1}, "losses: 1 items, confidence has 2"),
        (([], []), {"level": 0.1}, "pass (items,), not empty"),
        (([np.nan], [0]), {"level": 0.1}, "confidence: 1 of 1 numbers are nan"),
    ],
)
def test_a_guarantee_refuses_unusable_input_in_one_line(arrays, options, told):
    with pytest.raises(W2SError) as caught:
        certified_threshold(*arrays, **options)
    assert told in str(caught.value) and "\n" not in str(caught.value)
    if "delta" not in options:
        with pytest.raises(W2SError):
            conformal_threshold(*arrays, **options)


def test_coverage_refuses_what_cannot_be_split():
    with pytest.raises(W2SError, match="200 calibrations with 0 of 1 items; pass two items"):
        coverage([0.5], [0], level=0.1)
    with pytest.raises(W2SError, match="share inside"):
        coverage(*items(20), level=0.1, share=1)
    with pytest.raises(W2SError, match="choose one of: learn-then-test, risk control"):
        coverage(*items(20), level=0.1, method="hope")
