"""Does the queue have three desks, half of it for nobody, and no owner on both sides of a split?

The pool of `indemnity` is made once for this file, from the verified copy in the cache.
"""

import numpy as np
import pytest

from w2s_lab.data import cascade, indemnity, load_task, splits
from w2s_lab.data.cascade import CLASSES, KINDS

pytestmark = pytest.mark.slow  # the whole pool


@pytest.fixture(scope="module")
def lab():
    return load_task("cascade", size="lab")


@pytest.fixture(scope="module")
def smoke():
    return load_task("cascade", size="smoke")


@pytest.fixture(params=["smoke", "lab"])
def found(request):
    return request.getfixturevalue(request.param)


def test_a_promise_goes_to_counsel_a_mention_to_contracts_and_a_mere_risk_to_nobody(found):
    assert found.classes == CLASSES == ("nobody", "contracts desk", "counsel")
    assert found.protocol == "cascade" and found.metric == "accuracy"
    desk = {"promise": 2, "mention": 1, "risk": 0}
    for index in found.splits.values():
        for item in index:
            assert found.gold[item] == desk.get(str(found.kinds[item]), 0)
    assert KINDS == ("risk", "mention", "promise")


def test_counsel_gets_what_indemnity_calls_a_promise(smoke):
    whole = indemnity.load("smoke")
    np.testing.assert_array_equal(smoke.gold == 2, whole.gold == 1)


def test_half_of_the_queue_is_for_nobody_and_what_both_models_learn_from_is_not_thinned(found):
    for split in ("validation", "test"):
        idle = found.gold[found.splits[split]] == 0
        assert idle.mean() == 0.5, split
    assert (found.gold[found.splits["transfer"]] == 0).mean() > 0.6


def test_there_are_three_splits_and_each_has_clauses_for_every_desk(found):
    assert set(found.splits) == {"transfer", "validation", "test"}
    for split, counts in found.counts().items():
        assert set(counts) == set(CLASSES) and min(counts.values()) >= 3, split


def test_no_owner_and_no_near_duplicate_crosses_the_splits(found):
    owners = [set(found.groups[index]) for index in found.splits.values()]
    assert not (owners[0] & owners[1] or owners[0] & owners[2] or owners[1] & owners[2])
    splits.check_no_leak(found.inputs, found.groups, found.splits)


def test_only_what_indemnity_scores_is_in_the_queue(smoke):
    whole = indemnity.load("smoke")
    scored = set(np.concatenate(list(whole.splits.values())))
    assert set(np.concatenate(list(smoke.splits.values()))) <= scored


def test_it_comes_out_the_same_twice(smoke):
    again = load_task("cascade", size="smoke")
    np.testing.assert_array_equal(again.gold, smoke.gold)
    for split, index in smoke.splits.items():
        np.testing.assert_array_equal(again.splits[split], index)


def test_thinning_keeps_all_that_somebody_must_see_and_as_many_others():
    gold = np.array([0, 0, 0, 0, 0, 1, 2, 0, 0, 0])
    kept = cascade._thinned(np.arange(10), gold)
    # two are for somebody, so two of the eight others stay
    assert len(kept) == 4 and {5, 6} <= set(kept) and kept.tolist() == sorted(kept)
    assert (gold[kept] == 0).sum() == 2


def test_a_queue_with_few_idle_clauses_keeps_them_all():
    assert cascade._thinned(np.arange(4), np.array([1, 2, 1, 0])).tolist() == [0, 1, 2, 3]
