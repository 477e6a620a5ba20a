"""Do made-up supervisors err exactly as often, and in the way, that was ordered?

The dial itself is turned at smoke size, on the real clauses.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_lab.noise import KINDS, noisy_labels


def world(items=400, *, seed=0):
    """Gold with a quarter of class 1, and a number that has nothing to do with it."""
    rng = np.random.default_rng(seed)
    return (np.arange(items) % 4 == 0).astype(int), rng.standard_normal(items)


@given(
    st.lists(st.booleans(), min_size=1, max_size=60).map(lambda x: np.array(x, int)),
    st.floats(0, 1),
    st.sampled_from(KINDS),
    st.integers(0, 9),
)
def test_each_class_has_exactly_the_ordered_share_of_errors(gold, rate, kind, seed):
    likeness = np.random.default_rng(seed).standard_normal(len(gold))
    labels = noisy_labels(gold, rate, kind, likeness=likeness, seed=seed)
    assert set(labels.tolist()) <= {0, 1}
    for c in (0, 1):
        members = gold == c
        assert (labels[members] != c).sum() == round(rate * members.sum())


def test_systematic_errors_are_the_items_with_the_highest_numbers_of_their_class():
    gold = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    likeness = np.array([0.1, 0.9, 0.3, 0.8, 0.2, 0.0, 0.7, 0.5])
    labels = noisy_labels(gold, 0.5, "systematic", likeness=likeness, seed=0)
    # class 0: items 1 (0.9) and 3 (0.8); class 1: items 6 (0.7) and 7 (0.5)
    assert labels.tolist() == [0, 1, 0, 1, 1, 1, 0, 0]
    again = noisy_labels(gold, 0.5, "systematic", likeness=likeness, seed=1)
    assert again.tolist() == labels.tolist()


def test_gold_is_left_as_it_was():
    gold, likeness = world()
    for kind in KINDS:
        noisy_labels(gold, 0.4, kind, likeness=likeness, seed=0)
        np.testing.assert_array_equal(gold, world()[0])


def test_random_errors_are_drawn_by_the_seed_and_ignore_the_numbers():
    gold, likeness = world()
    first = noisy_labels(gold, 0.3, "random", likeness=likeness, seed=0)
    same = noisy_labels(gold, 0.3, "random", likeness=-likeness, seed=0)
    np.testing.assert_array_equal(first, same)
    assert (first != noisy_labels(gold, 0.3, "random", likeness=likeness, seed=1)).mean() > 0.1


def test_whoever_sees_the_number_predicts_systematic_errors_and_not_random_ones():
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    gold, likeness = world(2000)
    half = np.arange(2000) < 1000
    area = {}
    for kind in KINDS:
        wrong = noisy_labels(gold, 0.3, kind, likeness=likeness, seed=0) != gold
        model = LogisticRegression().fit(likeness[half, None], wrong[half])
        guess = model.predict_proba(likeness[~half, None])[:, 1]
        area[kind] = roc_auc_score(wrong[~half], guess)
    assert area["systematic"] > 0.98
    assert abs(area["random"] - 0.5) < 0.06  # 3 standard errors: 0.29 / √(1000 · 0.3 · 0.7)


@pytest.fixture(scope="module")
def dial():
    """What the students heard, and the dial at two rates, on the smoke-size clauses."""
    from w2s_lab import experiment, noise
    from w2s_lab.data import load_task

    task, heard = load_task("indemnity", size="smoke"), []
    imitate = experiment.imitate

    def listening(task, labels, **options):
        heard.append(labels)
        return imitate(task, labels, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "imitate", listening)
        found = noise.noise_dial(task, rates=(0.3, 0.4), seeds=3, device="cpu")
    return task, heard[0], found


def test_supervisors_of_both_kinds_err_equally_often_where_they_teach_and_are_scored(dial):
    task, heard, _ = dial
    # three rows each: the ceiling, then random at 0.3 and 0.4, then systematic at 0.3 and 0.4
    for row, rate in zip(heard, np.repeat([0, 0.3, 0.4, 0.3, 0.4], 3), strict=True):
        for split in ("transfer", "test"):
            index = task.splits[split]
            for c in (0, 1):
                members = index[task.gold[index] == c]
                assert (row[members] != c).sum() == round(rate * len(members))


def test_a_student_recovers_more_from_random_errors_than_from_systematic_ones(dial):
    _, _, found = dial
    assert found.rates == (0.3, 0.4)
    assert all(len(found.pgr[kind]) == 2 for kind in KINDS)
    random, systematic = (np.mean([e.value for e in found.pgr[kind]]) for kind in KINDS)
    assert random > systematic + 0.2
    assert all(estimate.value > 0 for estimate in found.advantage)
