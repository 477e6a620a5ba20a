"""Are smaller tasks parts of larger ones, and is a trend a slope over the same seeds and items?"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_result import a_result, a_small_result
from test_experiment import planted
from tiny_models import save_model

from w2s_lab import metrics, scaling
from w2s_lab.errors import W2SError
from w2s_lab.metrics import Estimate

TASK = planted()
WHOLE = TASK.splits["transfer"]


def lopsided(seed):
    """A task whose transfer groups have 1 to 12 items, about one in eight of the second class."""
    rng = np.random.default_rng(seed)
    items = np.arange(len(TASK.inputs))
    gold = (rng.random(len(items)) < 0.125).astype(int)
    gold[WHOLE[:8]] = 1
    groups = np.repeat(items, rng.integers(1, 13, len(items)))[: len(items)]
    return replace(TASK, gold=gold, groups=groups)


# --- tasks of other sizes -------------------------------------------------------------------------


@given(seed=st.integers(0, 99), a=st.integers(40, 320), b=st.integers(40, 320))
def test_fewer_texts_are_part_of_more_and_are_whole_groups_but_one(seed, a, b):
    task = lopsided(seed)
    small, large = sorted((a, b))
    few, many = (scaling.fewer(task, n, seed=seed).splits["transfer"] for n in (small, large))
    assert (len(few), len(many)) == (small, large)
    assert len(set(few)) == small and set(few) <= set(many) <= set(WHOLE)
    cut = [
        group
        for group in set(task.groups[few])
        if (task.groups[few] == group).sum() < (task.groups[WHOLE] == group).sum()
    ]
    assert len(cut) <= 1


@given(seed=st.integers(0, 99), texts=st.integers(40, 320))
def test_the_classes_keep_their_shares_to_within_one_group(seed, texts):
    task = lopsided(seed)
    kept = scaling.fewer(task, texts, seed=seed).splits["transfer"]
    largest = np.unique(task.groups[WHOLE], return_counts=True)[1].max()
    expected = task.gold[WHOLE].mean() * texts
    assert abs(task.gold[kept].sum() - expected) <= largest


def test_other_splits_and_the_items_stay_as_they_are():
    small = scaling.fewer(TASK, 50)
    for name in ("supervise", "validation", "test"):
        np.testing.assert_array_equal(small.splits[name], TASK.splits[name])
    assert small.inputs is TASK.inputs and small.gold is TASK.gold


def test_another_seed_is_another_draw_and_the_same_one_the_same():
    draws = [scaling.fewer(TASK, 50, seed=seed).splits["transfer"].tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_all_texts_are_the_whole_split():
    np.testing.assert_array_equal(scaling.fewer(TASK, len(WHOLE)).splits["transfer"], WHOLE)


def test_the_order_by_hand():
    # groups a: items 0, 1 of class 0; b: item 2 of class 1; c: items 3, 4 of class 0. Nothing is
    # there yet, so the first group is one with class 0, a or c. Of its 2 items 0.4 should then be
    # of class 1, so b comes second, whatever the seed.
    groups, gold = np.array(["a", "a", "b", "c", "c"]), np.array([0, 0, 1, 0, 0])
    for seed in range(20):
        assert scaling._by_group(groups, gold, seed)[2] == 2


@pytest.mark.parametrize("texts", [-1, 0, 1, 321])
def test_a_number_of_texts_that_there_cannot_be_is_refused(texts):
    with pytest.raises(W2SError, match="from 2, one for each class, to 320"):
        scaling.fewer(TASK, texts)


def test_texts_too_few_for_a_rare_class_are_refused():
    gold = np.zeros_like(TASK.gold)
    gold[WHOLE[-1]] = 1
    with pytest.raises(W2SError, match="none of 2 transfer texts is 'left'"):
        scaling.fewer(replace(TASK, gold=gold), 2)


@given(texts=st.integers(1, 60), shown=st.integers(0, 200))
def test_repeated_texts_are_shown_as_often_as_one_another_or_once_more(texts, shown):
    task = replace(TASK, splits={**TASK.splits, "transfer": WHOLE[:texts]})
    repeated = scaling.as_often(task, texts + shown)
    found, times = np.unique(repeated.splits["transfer"], return_counts=True)
    assert found.tolist() == WHOLE[:texts].tolist() and times.sum() == texts + shown
    assert times.max() - times.min() <= 1


def test_texts_cannot_be_shown_less_than_once():
    with pytest.raises(W2SError, match="320 transfer texts cannot be shown as 319"):
        scaling.as_often(TASK, 319)


def test_a_task_of_its_scored_items_says_the_same_of_each():
    part = replace(TASK, splits={"transfer": WHOLE[5:9], "test": np.array([3, 470])})
    small = scaling.scored(part)
    assert len(small.inputs) == len(small.gold) == len(small.kinds) == 6
    for name, index in part.splits.items():
        here = small.splits[name]
        assert [small.inputs[i] for i in here] == [part.inputs[i] for i in index]
        for column in ("gold", "groups", "ids", "kinds"):
            np.testing.assert_array_equal(
                getattr(small, column)[here], getattr(part, column)[index]
            )


# --- the protocol along a dial --------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    home = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("W2S_CACHE", str(home / "cache"))
        yield str(save_model(home / "model"))


QUICK = {"seeds": 2, "methods": ("naive",), "device": "cpu"}


@pytest.fixture(scope="module")
def ladder(model):
    rungs = [f"{model}:{block}" for block in (2, 0, 1)]
    return rungs, scaling.ladder(TASK, supervisors=rungs[1:], students=rungs, **QUICK)


def test_each_supervisor_teaches_its_own_trunk_and_every_larger_one(ladder):
    (two, none, one), found = ladder
    assert {weak: list(row) for weak, row in found.items()} == {
        none: [none, one, two],
        one: [one, two],
    }
    for weak, row in found.items():
        for strong, result in row.items():
            assert (result.weak, result.strong) == (weak, strong)


def test_compute_grows_by_the_same_with_each_block_and_is_none_for_word_vectors(ladder):
    (two, none, one), found = ladder
    assert [scaling.per_token(r) for r in found[none].values()] == pytest.approx(
        [scaling.compute(rung, device="cpu") for rung in (none, one, two)]
    )
    assert scaling.compute(two, device="cpu") == 2 * scaling.compute(one, device="cpu") > 0
    along = scaling.by_compute(found[none])
    assert list(along.values()) == [found[none][one], found[none][two]]


def test_two_students_of_one_size_are_told_and_neither_hidden(ladder):
    (two, none, one), found = ladder
    for same in (one, none):
        row = {**found[none], "again": found[none][same]}
        with pytest.raises(W2SError, match="two students of one size.*again"):
            scaling.by_compute(row)


def test_a_supervisor_that_no_student_reaches_is_refused(model):
    with pytest.raises(W2SError, match="a supervisor without students"):
        scaling.ladder(TASK, supervisors=[f"{model}:2"], students=[f"{model}:1"], **QUICK)


def test_by_transfer_ends_with_the_whole_split_and_gives_each_seed_its_own_draw(model, monkeypatch):
    asked = []

    def watched(task, **options):
        asked.append((task.splits["transfer"], options["seeds"]))
        return run(task, **options)

    run = scaling.run
    monkeypatch.setattr(scaling, "run", watched)
    pair = {"weak": f"{model}:0", "strong": f"{model}:1"}
    found = scaling.by_transfer(TASK, (40, 320, 1000), **pair, **QUICK)
    assert list(found) == [40, 320]
    assert [result.seeds for result in found.values()] == [2, 2]
    (first, zero), (second, one), (whole, both) = asked
    assert (zero, one, both) == ((0,), (1,), 2)
    assert len(first) == len(second) == len(whole) == 320  # as many steps for all
    assert len(set(first)) == len(set(second)) == 40 and set(first) != set(second)
    assert found[40].probs["weak"].shape == found[320].probs["weak"].shape == (2, 72, 2)


def test_by_labels_ends_with_all_there_are(model):
    pair = {"weak": f"{model}:0", "strong": f"{model}:1"}
    found = scaling.by_labels(TASK, (8, 1000), **pair, **QUICK)
    assert {count: result.labels for count, result in found.items()} == {8: 8, 48: 48}


def test_seeds_put_together_keep_their_order_and_weigh_alike():
    parts = [a_result(seeds=n, items=60) for n in (1, 2)]
    both = scaling.of_all_seeds(parts)
    assert both.seeds == 3
    for name, probs in both.probs.items():
        np.testing.assert_array_equal(probs[0], parts[0].probs[name][0])
        np.testing.assert_array_equal(probs[1:], parts[1].probs[name])
    assert both.scores("naive").mean() == pytest.approx(
        np.average([p.scores("naive").mean() for p in parts], weights=[1, 2])
    )


@pytest.mark.parametrize(
    "parts, told",
    [
        ([], "no results"),
        ([a_result(items=60), a_result(items=70)], "other test items"),
        ([a_small_result(), a_small_result(probs={"weak": np.eye(2)[[[0, 0, 0, 0]]]})], "methods"),
    ],
    ids=["none", "items", "methods"],
)
def test_seeds_of_other_experiments_are_not_put_together(parts, told):
    with pytest.raises(W2SError, match=told):
        scaling.of_all_seeds(parts)


# --- measures and trends --------------------------------------------------------------------------


def student(answers, **changes):
    """The small result, with these answers (0 or 1, four items) of the method "good"."""
    result = a_small_result(**changes)
    return replace(result, probs={**result.probs, "good": np.eye(2)[[answers]]})


# weak 0 1 1 0 scores 0.5 and the ceiling 1, so PGR is 0, 0.5 and 1
NONE, HALF, FULL = student([0, 1, 1, 0]), student([0, 1, 1, 1]), student([0, 0, 1, 1])


@pytest.mark.parametrize(
    "measure, value",
    [
        ("score", 0.75),
        ("lead", 0.25),
        ("gap", 0.5),
        ("pgr", 0.5),
        ("agreement", 0.75),  # 0 1 1 1 against 0 1 1 0: three of four
        ("where right", 1.0),  # the weak model is right on items 0 and 2, and both are kept
        ("where wrong", 0.5),  # of its errors, items 1 and 3, the first is repeated
    ],
)
def test_each_measure_by_hand(measure, value):
    assert scaling.measured(HALF, "good", measure).value == pytest.approx(value)


def test_measures_and_intervals_are_those_of_the_result():
    result = a_result()
    assert scaling.measured(result, "naive") == result.pgr("naive")
    assert scaling.measured(result, "ceiling", "score") == result.score("ceiling")
    assert scaling.measured(result, "soft", "lead") == result.lead("soft", over="weak")
    told = result.agreement("filter")
    right, wrong = (scaling.measured(result, "filter", f"where {w}") for w in ("right", "wrong"))
    assert (right.value, wrong.value) == pytest.approx(
        (told.with_supervisor_right, told.with_supervisor_wrong)
    )


def test_a_supervisor_without_errors_leaves_their_share_undefined():
    perfect = np.eye(2)[[[0, 0, 1, 1]]]
    result = replace(HALF, probs={**HALF.probs, "weak": perfect})
    assert not scaling.measured(result, "good", "where wrong").defined


def test_the_slope_is_per_doubling_by_hand():
    # log2 of 1, 2, 4 is 0, 1, 2, and PGR 0, 0.5, 1 rises by a half each time
    assert scaling.trend({1: NONE, 2: HALF, 4: FULL}, "good").value == pytest.approx(0.5)
    # log2 of 1, 2, 8 is 0, 1, 3 with mean 4/3: deviations -4/3, -1/3, 5/3; their products with
    # 0, 0.5, 1 sum to 3/2, their squares to 14/3, and 3/2 / (14/3) = 9/28
    assert scaling.trend({1: NONE, 2: HALF, 8: FULL}, "good").value == pytest.approx(9 / 28)


def test_the_unit_of_the_dial_does_not_matter_to_the_slope():
    a = scaling.trend({1: NONE, 2: HALF, 4: FULL}, "good", "score")
    b = scaling.trend({3e6: NONE, 6e6: HALF, 12e6: FULL}, "good", "score")
    assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high))


def test_the_slope_between_two_values_is_their_paired_difference():
    a = a_result()
    b = replace(a, probs={**a.probs, "naive": a.probs["relabel"]})
    slope = scaling.trend({1: a, 2: b}, "naive", "score")
    lead = a.lead("relabel", over="naive")
    assert (slope.value, slope.low, slope.high) == pytest.approx((lead.value, lead.low, lead.high))


def test_what_does_not_change_has_a_slope_of_exactly_nothing():
    result = a_result()
    found = scaling.trend({1: result, 2: result, 4: result}, "naive", "score")
    assert (found.value, found.low, found.high) == pytest.approx((0, 0, 0), abs=1e-12)


def test_the_slope_of_pgr_is_undefined_where_a_gap_is_missing():
    level = replace(NONE, probs={**NONE.probs, "ceiling": NONE.probs["weak"]})
    assert not scaling.trend({1: level, 2: HALF}, "good").defined


def test_a_gap_that_some_resamples_lack_leaves_the_slope_unbounded():
    # the ceiling beats the weak model on one of twelve items only, and a third of all draws miss it
    gold = np.tile([0, 1], 6)
    weak = np.eye(2)[[[1, *gold[1:]]]]
    result = a_result(items=12, seeds=1, metric="accuracy", methods=("good",), gold=gold)
    probs = {"weak": weak, "good": weak, "ceiling": np.eye(2)[[gold]]}
    result = replace(result, probs=probs, groups=np.arange(12))
    found = scaling.trend({1: result, 2: result}, "good")
    assert (found.value, found.low, found.high) == (0, -np.inf, np.inf)


def right_so_often(shares):
    """Results at 1, 2, 4, …, their naive students right on these shares of 900 items."""
    base, rng = a_result(items=900), np.random.default_rng(0)
    found = {}
    for k, share in enumerate(shares):
        right = rng.random((base.seeds, 900)) < share
        answers = np.where(right, base.gold, 1 - base.gold)
        found[2**k] = replace(base, probs={**base.probs, "naive": np.eye(2)[answers]})
    return found


def test_a_steady_rise_is_found_and_noise_is_not_called_one():
    rise = scaling.trend(right_so_often((0.7, 0.75, 0.8, 0.85)), "naive", "score")
    assert rise.low < 0.05 < rise.high and rise.low > 0.02
    assert not scaling.trend(right_so_often((0.8,) * 4), "naive", "score").excludes(0)


@pytest.mark.parametrize("x", [(), (1,), (0, 1), (-1, 2)])
def test_a_slope_needs_two_values_above_nothing(x):
    with pytest.raises(W2SError, match="no slope over"):
        scaling.trend(dict.fromkeys(x, HALF), "good")


def test_a_slope_over_results_that_do_not_belong_together_is_refused():
    with pytest.raises(W2SError, match="other test items"):
        scaling.trend({1: a_result(items=60), 2: a_result(items=70)}, "naive")
    with pytest.raises(W2SError, match="2 seeds"):
        scaling.trend({1: a_result(seeds=3), 2: a_result(seeds=2)}, "naive")
    one = a_result(items=60)
    with pytest.raises(W2SError, match="other test items"):
        scaling.trend({1: one, 2: replace(one, groups=one.groups[::-1] + 1)}, "naive")


def test_an_unknown_measure_is_told_with_the_known_ones():
    with pytest.raises(W2SError, match="no measure 'prg'; choose from: score, .*pgr"):
        scaling.measured(HALF, "good", "prg")


def test_all_that_is_measured_comes_as_an_estimate():
    assert all(isinstance(scaling.measured(HALF, "good", m), Estimate) for m in scaling.MEASURES)
    assert scaling.MEASURES["pgr"].of is metrics.performance_gap_recovered
