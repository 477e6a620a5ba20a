"""Deferral curves, rules and the live cascade, against numbers worked by hand.

They run no model: a stage here is a function of three lines.
"""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from w2s_lab.cascade import (
    RULES,
    Answers,
    Cascade,
    Curve,
    Stage,
    Unanswered,
    average_pgr,
    cost_to_reach,
    deferral_curve,
    temperature,
    tempered,
    threshold_for_budget,
    threshold_for_quality,
    token_quantile,
)
from w2s_lab.errors import W2SError

examples = settings(max_examples=50, deadline=None, derandomize=True)

# Least sure first: items of 0.2, then two of 0.5 together, then 0.9
CONFIDENCE = [0.9, 0.5, 0.2, 0.5]
SMALL, LARGE = [1, 0, 0, 1], [1, 1, 1, 0]


def curve_of(confidence, small=SMALL, large=LARGE, **costs):
    return deferral_curve(confidence, small, large, **({"small_cost": 1, "large_cost": 10} | costs))


def line(*quality):
    """A curve through these qualities at evenly spaced fractions."""
    fraction = np.linspace(0, 1, len(quality))
    return Curve(fraction, np.array(quality), 1 + fraction, fraction)


def random_items(seed, items=30):
    rng = np.random.default_rng(seed)
    small, large = (rng.random((2, items)) < [[0.5], [0.8]]).astype(float)
    return rng, np.append(small, 0.0), np.append(large, 1.0)  # at least one mended error: a gap


# Curves


def test_the_curve_matches_the_hand_worked_points():
    # Nothing deferred: 2/4. Item 2 (0 → 1): 3/4. Items 1 and 3 (0 → 1, 1 → 0): 3/4. Item 0: 3/4.
    # Cost 1 + fraction * 10
    curve = curve_of(CONFIDENCE)
    np.testing.assert_array_equal(curve.fraction, [0, 0.25, 0.75, 1])
    np.testing.assert_array_equal(curve.quality, [0.5, 0.75, 0.75, 0.75])
    np.testing.assert_array_equal(curve.cost, [1, 3.5, 8.5, 11])
    np.testing.assert_array_equal(curve.threshold, [-np.inf, 0.2, 0.5, 0.9])


def test_an_item_at_the_threshold_is_deferred():
    curve, confidence = curve_of(CONFIDENCE), np.array(CONFIDENCE)
    for fraction, threshold in zip(curve.fraction, curve.threshold, strict=True):
        assert (confidence <= threshold).mean() == fraction


def test_the_average_pgr_matches_the_hand_worked_area():
    # PGR 0, 1, 1, 1 at 0, 1/4, 3/4, 1: 1/8 + 1/2 + 1/4
    assert average_pgr(curve_of(CONFIDENCE)) == pytest.approx(0.875)
    # The surest first: 0, 0, 0, 1 at 0, 1/4, 3/4, 1, for items 1 and 3 undo each other: 1/8
    assert average_pgr(curve_of(-np.array(CONFIDENCE))) == pytest.approx(0.125)


def test_the_diagonal_has_an_average_pgr_of_one_half():
    assert average_pgr(line(0.6, 0.7, 0.8)) == pytest.approx(0.5)


def test_without_a_gap_no_share_of_it_is_recovered():
    for large in (SMALL, [0, 0, 0, 1]):
        curve = curve_of(CONFIDENCE, large=large)
        assert math.isnan(average_pgr(curve)) and math.isnan(cost_to_reach(curve, 0.5))


def test_the_cost_to_reach_is_the_first_crossing_of_a_curve_that_falls_again():
    # PGR 0, 0.8, 0.2, 1 at 0, 1/3, 2/3, 1. A half is crossed on the first rise, at 5/8 of a
    # third; 0.9 only on the second, at (0.9 - 0.2) / 0.8 = 7/8 of the last third
    curve = line(0.0, 0.8, 0.2, 1.0)
    assert cost_to_reach(curve, 0.5) == pytest.approx(5 / 24)
    assert cost_to_reach(curve, 0.8) == pytest.approx(1 / 3)
    assert cost_to_reach(curve, 0.9) == pytest.approx(2 / 3 + 7 / 24)
    assert cost_to_reach(curve, 0) == 0 and cost_to_reach(curve, 1) == 1


def test_a_curve_that_overshoots_reaches_the_whole_gap_early():
    # 0, 2, 1 at 0, 1/2, 1: the large model's quality is met a quarter of the way
    assert cost_to_reach(line(0.5, 0.7, 0.6), 1) == pytest.approx(0.25)


def test_equal_confidence_leaves_two_points_and_says_so():
    with pytest.warns(UserWarning, match="all 4 items have confidence 0.5"):
        curve = curve_of([0.5] * 4)
    np.testing.assert_array_equal(curve.fraction, [0, 1])
    np.testing.assert_array_equal(curve.quality, [0.5, 0.75])
    assert average_pgr(curve) == pytest.approx(0.5)


def test_a_random_rule_averages_to_the_diagonal():
    # The area's mean over orders is 1/2; 400 orders of 41 items leave a standard error near 0.01
    _, small, large = random_items(0, 40)
    new = Answers(np.full((41, 2), 0.5))
    areas = [
        average_pgr(curve_of(RULES["random"](new, new, seed), small, large)) for seed in range(400)
    ]
    assert np.mean(areas) == pytest.approx(0.5, abs=3 * np.std(areas) / 20)
    assert np.std(areas) / 20 < 0.02


@examples
@given(seed=st.integers(0, 10_000))
def test_the_oracle_is_nowhere_below_any_other_confidence(seed):
    rng, small, large = random_items(seed)
    new = Answers(np.full((31, 2), 0.5), small_right=small, large_right=large)
    best = curve_of(RULES["oracle"](new, new, 0), small, large)
    for confidence in (rng.random(31), rng.integers(4, size=31), small, large - small):
        other = curve_of(confidence, small, large)
        at = np.linspace(0, 1, 101)
        gain = np.interp(at, best.fraction, best.quality) - np.interp(
            at, other.fraction, other.quality
        )
        assert gain.min() >= -1e-12


@examples
@given(confidence=st.lists(st.integers(-50, 50), min_size=4, max_size=20), seed=st.integers(0, 99))
def test_only_the_order_of_the_confidence_matters(confidence, seed):
    rng, confidence = np.random.default_rng(seed), np.array(confidence)
    small, large = rng.random((2, len(confidence)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = curve_of(confidence, small, large)
        order = rng.permutation(len(confidence))
        moved = curve_of((confidence**3 * 4 - 7)[order], small[order], large[order])
    for name in ("fraction", "quality", "cost"):
        np.testing.assert_allclose(getattr(moved, name), getattr(plain, name), atol=1e-12)
    assert plain.quality[0] == pytest.approx(small.mean())
    assert plain.quality[-1] == pytest.approx(large.mean())


@pytest.mark.parametrize(
    "arrays, costs, told",
    [
        (([], [], []), {}, "confidence: an array of shape (0,); pass (items,)"),
        (([[0.5]], [1], [1]), {}, "confidence: an array of shape (1, 1)"),
        (([0.5, 0.6], [1], [1, 1]), {}, "small_scores: 1 items, confidence has 2"),
        (([0.5, np.nan], [1, 1], [1, 1]), {}, "confidence: 1 of 2 numbers are nan"),
        (([0.5, -np.inf], [1, 1], [1, 1]), {}, "confidence: 1 of 2 numbers are nan or infinite"),
        (([0.5, 0.6], [1, 1], [1, np.inf]), {}, "large_scores: 1 of 2"),
        (([0.5, 0.6], [1, 1], [1, 1]), {"small_cost": -1}, "small_cost: a cost of -1; pass"),
        (([0.5, 0.6], [1, 1], [1, 1]), {"large_cost": np.nan}, "large_cost: a cost of nan"),
    ],
)
def test_a_curve_refuses_unusable_input_in_one_line(arrays, costs, told):
    with pytest.raises(W2SError) as caught:
        curve_of(*arrays, **costs)
    assert told in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("recovered", [-0.1, 1.1, np.nan, np.inf])
def test_a_share_of_the_gap_lies_between_none_and_all(recovered):
    with pytest.raises(W2SError, match="choose a share in"):
        cost_to_reach(line(0, 1), recovered)


# Thresholds


@pytest.mark.parametrize(
    "fraction, threshold",
    [(1, 0.9), (0.8, 0.5), (0.75, 0.5), (0.74, 0.2), (0.25, 0.2), (0.2, -np.inf)],
)
def test_a_budget_buys_whole_groups_of_equal_confidence(fraction, threshold):
    # One item of 0.2, two of 0.5, one of 0.9: shares 1/4, 3/4, 1
    assert threshold_for_budget(CONFIDENCE, fraction) == threshold


def test_a_budget_that_is_met_exactly_is_not_lost_to_rounding():
    # 0.29 * 100 is 28.999999999999996 in floating point
    assert threshold_for_budget(np.arange(100), 0.29) == 28


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1, np.nan])
def test_a_budget_is_a_share_above_none(fraction):
    with pytest.raises(W2SError, match="fraction: a budget of"):
        threshold_for_budget(CONFIDENCE, fraction)


def test_the_threshold_for_a_quality_defers_no_more_than_it_must():
    # Qualities 0.5, 0.75, 0.75, 0.75: 2/3 of the large model's is there without deferring
    curve = curve_of(CONFIDENCE)
    assert threshold_for_quality(curve, 2 / 3) == -np.inf
    assert threshold_for_quality(curve, 0.9) == threshold_for_quality(curve, 1) == 0.2
    with pytest.raises(W2SError, match="the best is 0.75; ask for a smaller share"):
        threshold_for_quality(curve, 1.01)


# Rules


def test_rules_match_their_hand_worked_values():
    new = Answers(np.array([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]]))
    np.testing.assert_allclose(RULES["maximum probability"](new, new, 0), [0.5, 1])
    np.testing.assert_allclose(RULES["margin"](new, new, 0), [0.25, 1])
    # 0.5 ln 2 + 2 * 0.25 ln 4 = 1.5 ln 2, and 0 for a certain answer
    np.testing.assert_allclose(RULES["entropy"](new, new, 0), [-1.5 * np.log(2), 0])


@examples
@given(st.lists(st.integers(0, 64), min_size=2, max_size=20))
def test_with_two_classes_three_rules_rank_alike(numerators):
    p = np.array(numerators) / 64  # exact, so that equal confidence stays equal
    new = Answers(np.stack([p, 1 - p], axis=1))
    names = ("maximum probability", "margin", "entropy")
    ranks = [np.unique(RULES[name](new, new, 0), return_inverse=True)[1] for name in names]
    np.testing.assert_array_equal(ranks[0], ranks[1])
    np.testing.assert_array_equal(ranks[0], ranks[2])


def test_with_three_classes_they_do_not():
    # The first has the likelier class, the second the wider margin and the smaller entropy
    new = Answers(np.array([[0.5, 0.5, 0.0], [0.45, 0.1, 0.45]]))
    assert np.argmax(RULES["maximum probability"](new, new, 0)) == 0
    new = Answers(np.array([[0.5, 0.48, 0.02], [0.45, 0.275, 0.275]]))
    assert np.argmax(RULES["maximum probability"](new, new, 0)) == 0
    assert np.argmax(RULES["margin"](new, new, 0)) == 1


def test_the_temperature_matches_the_hand_worked_value():
    # Always 0.8 sure, log-odds ln 4, and 4 of 6 right, log-odds ln 2: T = ln 4 / ln 2 = 2
    probs, gold = np.tile([0.8, 0.2], (6, 1)), [0, 0, 0, 0, 1, 1]
    assert temperature(probs, gold) == pytest.approx(2, rel=1e-4)
    np.testing.assert_allclose(tempered(probs, 2)[0], [2 / 3, 1 / 3])
    np.testing.assert_allclose(tempered(probs, 1), probs)


def test_a_model_that_is_always_right_gets_the_lowest_temperature():
    assert temperature([[0.8, 0.2]] * 3, [0, 0, 0]) == pytest.approx(0.05, rel=1e-3)
    assert temperature([[0.8, 0.2]] * 3, [1, 1, 1]) == pytest.approx(20, rel=1e-3)
    assert np.isfinite(temperature([[1.0, 0.0], [1.0, 0.0]], [0, 1]))


def test_the_calibrated_rule_gives_the_rate_at_which_the_model_is_right():
    seen = Answers(np.tile([0.8, 0.2], (6, 1)), gold=[0, 0, 0, 0, 1, 1])
    new = Answers(np.array([[0.2, 0.8]]))
    assert RULES["calibrated"](seen, new, 0) == pytest.approx([2 / 3], rel=1e-3)


def test_the_learned_rule_finds_the_feature_that_tells_where_the_large_model_helps():
    rng = np.random.default_rng(0)
    helps = rng.random(400) < 0.4
    features = np.stack([rng.normal(size=400), 100 * helps + rng.normal(size=400)], axis=1)
    probs = np.tile([0.6, 0.4], (400, 1))
    answers = [
        Answers(probs[part], features[part], ~helps[part], np.ones(200))
        for part in (slice(200), slice(200, None))
    ]
    confidence = RULES["learned"](*answers, 0)
    assert confidence[helps[200:]].max() < confidence[~helps[200:]].min()
    assert (confidence >= -1).all() and (confidence <= 0).all()


def test_the_learned_rule_learns_from_probabilities_alone():
    # The small model errs where it is sure, so the rule turns the maximum probability around
    rng = np.random.default_rng(0)
    p = rng.uniform(0.5, 1, 300)
    seen = Answers(np.stack([p, 1 - p], axis=1), small_right=p < 0.75, large_right=np.ones(300))
    assert np.corrcoef(RULES["learned"](seen, seen, 0), p)[0, 1] < -0.8


def test_the_learned_rule_keeps_what_neither_model_can_answer():
    # The small model errs wherever feature 0 is 1, the large one as well unless feature 1 is 1
    features = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 50)
    small, large = features[:, 0] == 0, (features[:, 0] == 0) | (features[:, 1] == 1)
    seen = Answers(np.tile([0.6, 0.4], (200, 1)), features, small, large)
    confidence = RULES["learned"](seen, seen, 0)[:4]
    assert confidence.argmin() == 3 and confidence[2] > confidence[3] + 0.3


def test_the_learned_rule_without_both_outcomes_is_the_maximum_probability():
    seen = Answers(np.array([[0.6, 0.4], [0.1, 0.9]]), small_right=[1, 1], large_right=[1, 0])
    np.testing.assert_array_equal(RULES["learned"](seen, seen, 0), [0.6, 0.9])


def test_the_random_rule_repeats_itself_by_seed():
    new = Answers(np.full((5, 2), 0.5))
    first = RULES["random"](new, new, 1)
    assert (first == RULES["random"](new, new, 1)).all()
    assert (first != RULES["random"](new, new, 2)).any()


@pytest.mark.parametrize(
    "name, told",
    [
        ("oracle", "'oracle' needs small_right and large_right of the answers in `new`"),
        ("learned", "'learned' needs small_right and large_right of the answers in `seen`"),
        ("calibrated", "'calibrated' needs gold of the answers in `seen`; pass them"),
        ("confidence", "unknown deferral rule 'confidence'; choose one of"),
    ],
)
def test_a_rule_says_what_it_lacks(name, told):
    new = Answers(np.full((2, 2), 0.5))
    with pytest.raises(W2SError) as caught:
        RULES[name](new, new, 0)
    assert told in str(caught.value)


def test_answers_must_be_about_the_same_items():
    with pytest.raises(W2SError, match=r"gold: shape \(3,\) beside 2 items; pass one entry"):
        Answers(np.full((2, 2), 0.5), gold=[0, 1, 1])
    with pytest.raises(W2SError, match=r"features: shape \(2,\)"):
        Answers(np.full((2, 2), 0.5), features=[0, 1])
    with pytest.raises(W2SError, match="pass probabilities"):
        Answers(np.full((2, 2), 0.6))


# Texts


def test_the_quantile_of_a_text_matches_the_hand_worked_value():
    # Sorted −4, −2, −1: the least, the middle one, and halfway between the first two at 1/4
    texts = [[-1, -4, -2], [-3.0]]
    np.testing.assert_allclose(token_quantile(texts, 0), [-4, -3])
    np.testing.assert_allclose(token_quantile(texts, 0.5), [-2, -3])
    np.testing.assert_allclose(token_quantile(texts, 0.25), [-3, -3])


def test_an_empty_text_is_less_sure_than_any_other():
    np.testing.assert_allclose(token_quantile([[-1, -4], [], [-2]], 0), [-4, -5, -2])
    np.testing.assert_allclose(token_quantile([[], []], 0.5), [-1, -1])


@pytest.mark.parametrize(
    "texts, quantile, told",
    [
        ([[-1.0]], 1.5, "quantile: a quantile of 1.5; choose one in"),
        ([[-1.0]], np.nan, "a quantile of nan"),
        ([], 0.5, "there are no texts"),
        ([[-1.0], [-np.inf]], 0.5, "nan or infinite; pass finite numbers"),
    ],
)
def test_a_quantile_refuses_what_has_none(texts, quantile, told):
    with pytest.raises(W2SError) as caught:
        token_quantile(texts, quantile)
    assert told in str(caught.value)


# The live cascade


def two_classes(p):
    return np.stack([p, 1 - p], axis=1)


def says(name, p=0.9, flops=0.0, heard=None, fails=()):
    """A stage that answers `p` or, where that is None, a query's own number; `fails` on some."""

    def answer(queries):
        if heard is not None:
            heard.append(list(queries))
        if set(queries) & set(fails):
            raise RuntimeError("out of memory")
        return two_classes(np.array([float(q) if p is None else p for q in queries]))

    return Stage(name, answer, flops)


def sure(probs):
    return probs.max(axis=1)


QUERIES = ["0.95", "0.6", "0.8", "0.55"]


def test_three_stages_answer_and_charge_as_worked_by_hand():
    # The first keeps what is surer than 0.7, the second, 0.58 sure of what is above 0.58, none of
    # the rest below: query 1 stops there, query 3 pays for all three, 1 + 10 + 100
    heard = [[], [], []]
    stages = (
        says("small", None, 1, heard[0]),
        says("middle", None, 10, heard[1]),
        says("large", 0.75, 100, heard[2]),
    )
    answered = Cascade(stages, (sure, sure), (0.7, 0.58))(QUERIES)
    assert heard == [[QUERIES], [["0.6", "0.55"]], [["0.55"]]]
    np.testing.assert_array_equal(answered.stage, [0, 1, 0, 2])
    np.testing.assert_array_equal(answered.flops, [1, 11, 1, 111])
    np.testing.assert_allclose(answered.probs[:, 0], [0.95, 0.6, 0.8, 0.75])
    np.testing.assert_allclose(answered.shares, [0.5, 0.25, 0.25])
    np.testing.assert_array_equal(answered.classes, [0, 0, 0, 0])
    assert len(answered.seconds) == 3 and min(answered.seconds) >= 0 and answered.failed == ()


def test_a_cascade_defers_the_same_items_as_the_curve_it_was_tuned_on():
    rng = np.random.default_rng(0)
    p = rng.integers(1, 20, 50) / 20
    confidence = sure(two_classes(p))
    threshold = threshold_for_budget(confidence, 0.4)
    cascade = Cascade((says("small", None), says("large")), (sure,), (threshold,))
    answered = cascade([str(x) for x in p], batch=7)
    np.testing.assert_array_equal(answered.stage == 1, confidence <= threshold)
    assert 0 < answered.shares[1] <= 0.4


@examples
@given(
    queries=st.lists(st.floats(0, 1), min_size=1, max_size=30),
    thresholds=st.tuples(*[st.sampled_from([-np.inf, 0.5, 0.7, 1.0, np.inf])] * 2),
    batch=st.integers(1, 8),
)
def test_the_last_stage_never_drops_a_query(queries, thresholds, batch):
    stages = (says("small", None, 1), says("middle", None, 2), says("large", 0.5, 4))
    answered = Cascade(stages, (sure, sure), thresholds)([str(q) for q in queries], batch=batch)
    assert (answered.stage >= 0).all() and np.isfinite(answered.probs).all()
    assert answered.shares.sum() == pytest.approx(1)
    np.testing.assert_array_equal(answered.flops, np.array([1, 3, 7])[answered.stage])


@examples
@given(
    broken=st.lists(st.sets(st.integers(0, 11)), min_size=3, max_size=3), batch=st.integers(1, 12)
)
def test_a_failing_stage_never_loses_the_other_queries(broken, batch):
    queries = [str(0.5 + i / 30) for i in range(12)]
    fails = [{queries[i] for i in items} for items in broken]
    stages = [says(f"stage {i}", None, fails=fails[i]) for i in range(3)]
    cascade = Cascade(tuple(stages), (sure, sure), (0.7, 0.6))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            answered = cascade(queries, batch=batch)
        except Unanswered as error:
            answered = error.answered
    np.testing.assert_array_equal(answered.stage < 0, np.isnan(answered.probs).any(axis=1))
    for i in range(12):
        hopeless = all(i in items for items in broken)
        assert (answered.stage[i] < 0) == hopeless
        assert (answered.classes[i] < 0) == hopeless


def test_a_query_that_the_large_model_fails_keeps_the_small_models_answer():
    stages = (says("small", None, 1), says("large", 0.9, 10, fails={"0.6"}))
    with pytest.warns(UserWarning, match="a stage failed 1 of 4 queries"):
        answered = Cascade(stages, (sure,), (0.7,))(QUERIES)
    np.testing.assert_array_equal(answered.stage, [0, 0, 0, 1])
    np.testing.assert_allclose(answered.probs[:, 0], [0.95, 0.6, 0.8, 0.9])
    np.testing.assert_array_equal(answered.flops, [1, 11, 1, 11])  # a failed try is paid too
    assert answered.failed == ((1, "large", "RuntimeError: out of memory"),)


def test_a_query_that_the_small_model_fails_goes_on_to_the_large_one():
    stages = (says("small", None, fails={"0.95"}), says("large", 0.9))
    with pytest.warns(UserWarning, match="failed 1 of 4"):
        answered = Cascade(stages, (sure,), (-np.inf,))(QUERIES)
    np.testing.assert_array_equal(answered.stage, [1, 0, 0, 0])


def test_a_query_that_every_stage_fails_is_told_after_the_others_are_answered():
    stages = (says("small", None, fails={"0.6"}), says("large", fails={"0.6"}))
    with pytest.raises(W2SError, match="could answer 1 of 4 queries .*out of memory") as caught:
        Cascade(stages, (sure,), (0.7,))(QUERIES)
    answered = caught.value.answered
    np.testing.assert_array_equal(answered.stage, [0, -1, 0, 1])
    np.testing.assert_array_equal(answered.classes, [0, -1, 0, 0])
    assert np.isnan(answered.probs[1]).all() and np.isfinite(answered.probs[[0, 2, 3]]).all()


def test_a_cascade_without_a_single_answer_still_says_so():
    broken = says("small", fails=QUERIES)
    with pytest.raises(Unanswered, match="could answer 4 of 4 queries"):
        Cascade((broken, broken), (sure,), (0.7,))(QUERIES)


@pytest.mark.parametrize(
    "answer, told",
    [
        (lambda queries: np.full((len(queries) + 1, 2), 0.5), "answers of shape"),
        (lambda queries: np.full(len(queries), 0.5), "return probabilities (1, 2)"),
        (lambda queries: np.full((len(queries), 4), 0.25), "answers of shape (1, 4)"),
        (lambda queries: np.full((len(queries), 2), np.nan), "least entry of nan"),
        (lambda queries: np.full((len(queries), 2), 0.6), "sum of 1.2"),
        (lambda queries: None, "answers of shape ()"),
    ],
)
def test_an_answer_that_is_no_distribution_counts_as_a_failure(answer, told):
    stages = (says("small", None), Stage("large", answer))
    with pytest.warns(UserWarning, match="failed 4 of 4"):
        answered = Cascade(stages, (sure,), (np.inf,))(QUERIES)
    assert (answered.stage == 0).all() and len(answered.failed) == 4
    assert all(told in message for _, _, message in answered.failed)


def test_a_confidence_of_nan_counts_as_a_failure():
    cascade = Cascade((says("small"), says("large")), (lambda probs: probs[:, 0] * np.nan,), (0.5,))
    with pytest.warns(UserWarning, match="failed 4 of 4"):
        answered = cascade(QUERIES)
    assert (answered.stage == 1).all() and "without nan" in answered.failed[0][2]


@pytest.mark.parametrize("before", [[], [RuntimeError()]], ids=["at once", "while asked again"])
def test_an_interrupt_stops_a_cascade(before):
    raised = iter([*before, KeyboardInterrupt()])

    def interrupted(queries):
        raise next(raised)

    with pytest.raises(KeyboardInterrupt):
        Cascade((Stage("small", interrupted), says("large")), (sure,), (0.5,))(QUERIES)


@pytest.mark.parametrize(
    "stages, confidences, thresholds, told",
    [
        (1, 0, [], "stages: a cascade of 1 stages; pass at least two"),
        (3, 1, [0.5, 0.5], "confidences: 1 for 3 stages; pass one for each stage but the last"),
        (2, 1, [], "thresholds: 0 for 2 stages"),
        (2, 1, [np.nan], "a threshold is nan; pass numbers"),
    ],
)
def test_a_cascade_that_cannot_run_is_not_built(stages, confidences, thresholds, told):
    with pytest.raises(W2SError) as caught:
        Cascade((says("x"),) * stages, (sure,) * confidences, tuple(thresholds))
    assert told in str(caught.value)


@pytest.mark.parametrize("inputs, batch", [([], 64), ("a question", 64), (["a question"], 0)])
def test_a_cascade_asks_for_a_list_of_queries(inputs, batch):
    with pytest.raises(W2SError, match="pass a list of one query or more"):
        Cascade((says("small"), says("large")), (sure,), (0.5,))(inputs, batch=batch)


@pytest.mark.parametrize("items", [[2, 0], np.array([2, 0]), np.array([False, True, False])])
def test_a_part_holds_the_same_items_of_everything_that_is_known(items):
    whole = Answers(
        np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]]),
        features=np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
        small_right=[1, 0, 1],
        large_right=[1, 1, 0],
        gold=[0, 1, 1],
    )
    part = whole.part(items)
    for name, value in vars(whole).items():
        np.testing.assert_array_equal(getattr(part, name), value[items], err_msg=name)
    assert len(whole.probs) == 3


def test_what_is_unknown_stays_unknown_in_a_part():
    part = Answers(np.array([[0.9, 0.1], [0.6, 0.4]]), gold=[0, 1]).part(np.array([1]))
    assert part.gold.tolist() == [1] and part.probs.tolist() == [[0.6, 0.4]]
    assert part.features is part.small_right is part.large_right is None
