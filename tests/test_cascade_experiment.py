"""What follows from two models' answers, worked out by hand; no model is run."""

import json

import numpy as np
import pytest
from synthetic_cascade_result import GOLD, LARGE, SMALL, SURE, a_cascade_result
from synthetic_cascade_result import a_small_cascade_result as a_small_result

from w2s_lab import cascade
from w2s_lab.cascade_experiment import GRID, bootstrap_average_pgr
from w2s_lab.cascade_experiment import LARGE as LARGE_ALONE
from w2s_lab.cascade_experiment import SMALL as SMALL_ALONE
from w2s_lab.errors import W2SError


def rows(*values):
    return np.array(values, float)


def without_a_gap():
    right = {split: rows([1, 1, 1, 1]) for split in ("validation", "test")}
    return a_small_result(small=right, large=right)


def area_of(confidence, small, large):
    """Average PGR of one seed's curve, by the trapezoids of `cascade`."""
    return cascade.average_pgr(
        cascade.deferral_curve(confidence, small, large, small_cost=0, large_cost=1)
    )


@pytest.mark.parametrize(
    "rule, area",
    [
        ("maximum probability", 0.75),  # 0 .5 1 1 1: (.25 + .75 + 1 + 1) / 4
        ("bad", 0.25),  # 0 0 0 .5 1: (0 + 0 + .25 + .75) / 4
        ("random", 0.5),  # 0 0 .5 1 1: (0 + .25 + .75 + 1) / 4
        ("oracle", 0.75),  # two at once, then the rest: 0 to 1 over one half, 1 over the other
    ],
)
def test_the_average_pgr_matches_the_hand_worked_area(rule, area):
    result = a_small_result()
    assert result.average_pgr(rule).value == pytest.approx(area)
    assert result.pgr(rule) is result.average_pgr(rule)  # resampled once


def test_seeds_of_one_gap_have_the_mean_of_their_average_pgrs():
    confidence = rows(SURE, SURE[::-1], [0.6, 0.9, 0.8, 0.7])
    found = bootstrap_average_pgr(confidence, rows(*[SMALL] * 3), rows(*[LARGE] * 3))
    # (.75 + .25 + .5) / 3
    assert found.value == pytest.approx(0.5)
    assert found.value == pytest.approx(np.mean([area_of(c, SMALL, LARGE) for c in confidence]))


def test_seeds_of_different_gaps_have_the_average_pgr_of_their_mean_curve():
    # gap .5, share .75; gap .25, 0 0 1 1 1: (0 + .5 + 1 + 1) / 4 = .625
    # (.5 · .75 + .25 · .625) / (.5 + .25) = .53125 / .75
    small = rows(SMALL, [1, 1, 0, 1])
    found = bootstrap_average_pgr(rows(SURE, SURE), small, rows(LARGE, LARGE))
    assert found.value == pytest.approx(0.53125 / 0.75)


@pytest.mark.parametrize("seed", range(20))
def test_items_of_equal_confidence_go_together_as_on_the_curve(seed):
    rng = np.random.default_rng(seed)
    small, large = np.append((rng.random((2, 30)) < [[0.5], [0.8]]).astype(float), [[0], [1]], 1)
    confidence = rng.integers(4, size=31)
    if large.sum() > small.sum():
        found = bootstrap_average_pgr(rows(confidence), rows(small), rows(large), resamples=1)
        assert found.value == pytest.approx(area_of(confidence, small, large))


def test_one_confidence_for_all_is_worth_as_much_as_chance():
    found = bootstrap_average_pgr(rows([1, 1, 1, 1]), rows(SMALL), rows(LARGE))
    assert found.value == pytest.approx(0.5)
    # every resample with a gap is on the diagonal, too; those without leave both ends open
    assert (found.low, found.high) == (-np.inf, np.inf)


def test_the_interval_of_the_average_pgr_holds_its_value_and_narrows_with_items():
    few, many = (a_cascade_result(items=n, seeds=2).average_pgr("margin") for n in (100, 1600))
    for found in (few, many):
        assert found.low < found.value < found.high
    # 16 times the items: a quarter of the width
    assert 0.15 < (many.high - many.low) / (few.high - few.low) < 0.5


def test_a_single_group_leaves_nothing_to_resample():
    found = bootstrap_average_pgr(rows(SURE), rows(SMALL), rows(LARGE), groups=np.zeros(4))
    assert (found.low, found.high) == pytest.approx((0.75, 0.75))


def test_without_a_gap_the_average_pgr_is_undefined():
    result = without_a_gap()
    assert not result.average_pgr("bad").defined
    assert np.isnan(result.to_reach("bad", 0.5).value)


def test_a_random_rule_averages_to_one_half():
    # one seed's is off by about .06, the mean of 40 by .01
    found = a_cascade_result(items=300, seeds=40).average_pgr("random")
    assert found.value == pytest.approx(0.5, abs=0.03) and found.low < 0.5 < found.high


def test_with_two_classes_the_simple_rules_have_one_average_pgr():
    result = a_cascade_result()
    found = [result.average_pgr(n).value for n in ("maximum probability", "margin", "calibrated")]
    assert found == pytest.approx([found[0]] * 3)


def test_the_best_rule_needs_no_truth_and_is_not_chance():
    # bad .25 is the best of those that could be used
    result = a_small_result(methods=("bad", "random", "oracle"))
    assert result.best == "bad"
    assert a_small_result().best == "maximum probability"


def test_alone_and_gap_are_the_means_of_the_scores():
    result = a_small_result()
    assert result.alone(SMALL_ALONE).value == 0.5 and result.alone(LARGE_ALONE).value == 1
    assert result.gap.value == 0.5


@pytest.mark.parametrize(
    "share, threshold, passed_on, quality",
    [
        (0.99, 0.7, 0.5, 1.0),  # both errors have to go
        (0.75, 0.6, 0.25, 0.75),  # one of them is enough
        (0.5, -np.inf, 0.0, 0.5),  # the small model alone has one half
    ],
)
def test_a_threshold_defers_no_more_than_the_quality_asked_for(
    share, threshold, passed_on, quality
):
    result = a_small_result()
    found = result.thresholds("maximum probability", share)
    assert found.tolist() == [threshold]
    held = result.held("maximum probability", found)
    assert (held.share.value, held.quality.value, held.of_large.value) == (
        passed_on,
        quality,
        quality,
    )
    # a query costs 1, and 10 more where it is passed on, in shares of 10
    assert held.cost == pytest.approx((1 + 10 * passed_on) / 10)


def test_the_threshold_is_validations_even_where_test_is_another():
    confidence = {"margin": {"validation": rows(SURE), "test": rows(np.array(SURE) - 0.2)}}
    result = a_small_result(methods=("margin",), confidence=confidence)
    # .7 of validation lies above .7 .6 .5 .4: all four are passed on
    held = result.held("margin", result.thresholds("margin"))
    assert held.share.value == 1 and held.cost == pytest.approx(1.1)
    assert result.score("margin").value == 1


def test_the_share_to_reach_matches_the_hand_worked_crossings():
    # 0 .5 1: .8 lies at .25 + .25 · .3 / .5
    result = a_small_result()
    assert result.to_reach("maximum probability", 0.8).value == pytest.approx(0.4)
    assert result.to_reach("bad", 0.8).value == pytest.approx(0.9)  # .75 + .25 · .3 / .5


def test_the_band_passes_through_the_curve_and_ends_in_both_models():
    result = a_small_result()
    values = [e.value for e in result.band("maximum probability")]
    assert len(values) == len(GRID)
    # one item at .25, two at .5
    assert [values[0], values[5], values[10], values[20]] == [0.5, 0.75, 1, 1]
    assert result.band("bad")[-1].value == 1


def test_held_out_items_are_validation_then_test():
    result = a_small_result(
        confidence={"margin": {"validation": rows([1, 2, 3, 4]), "test": rows([5, 6, 7, 8])}}
    )
    assert result.held_out("margin").tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    # lost: the small model is wrong and the large one right
    assert result.losses().tolist() == [0, 0, 1, 1, 0, 0, 1, 1]


@pytest.mark.parametrize(
    "level, deferred",
    [
        (0.5, 0.0),  # 4 calibration items without a loss: .5⁴ = .0625 <= .1 certifies all
        (0.3, 1.0),  # .7⁴ = .2401 > .1 certifies nothing
    ],
)
def test_coverage_without_losses_is_whole_whatever_is_deferred(level, deferred):
    found = without_a_gap().coverage("bad", level=level, splits=10)
    assert (found.covered, found.mean_risk, found.mean_deferred) == (1, 0, deferred)


def test_coverage_keeps_its_promise_on_many_items():
    found = a_cascade_result(seeds=1).coverage("margin", level=0.05, splits=200)
    assert found.interval[1] >= 0.9 and found.mean_risk < 0.05 and 0 < found.mean_deferred < 1


def test_an_unknown_rule_is_told_in_one_line_with_the_known_ones():
    with pytest.raises(W2SError, match="no rule 'luck'") as caught:
        a_small_result().average_pgr("luck")
    assert "maximum probability, bad, random, oracle" in str(caught.value)


def test_the_small_result_says_what_its_scores_say():
    predicted = a_small_result().probs["test"][0].argmax(-1)
    assert (predicted == GOLD).astype(int).tolist() == SMALL


def test_a_result_prints_displays_and_writes_itself(tmp_path):
    result = a_small_result()
    assert repr(result) == str(result.table()) and "<table>" in result._repr_html_()
    result.to_json(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == result.to_dict()
    assert result.plot(tmp_path / "a.png").alt and (tmp_path / "a.png").exists()
