"""Do both models learn gold of `transfer` alone, answer any text alike, and is a run remembered?

On a tiny random encoder; then what `cascade_experiment` makes of such answers: rules that were
fitted without the items they judge, and a live cascade.
"""

from dataclasses import replace

import numpy as np
import pytest
from tiny_models import save_model

from w2s_lab import cascade, cascade_protocol, heads, metrics
from w2s_lab.cascade import RULES, Answers
from w2s_lab.cascade_experiment import FOLDS, _crossed, answers, build, run_cascade
from w2s_lab.cascade_protocol import FEATURES, Model, ask
from w2s_lab.data import Task
from w2s_lab.errors import W2SError
from w2s_lab.experiment import run

pytestmark = pytest.mark.slow  # whole runs of tiny models

SIZES = {"transfer": 180, "validation": 60, "test": 50}
CLASSES = ("nobody", "desk", "counsel")
NEW = ("w1 w2 w30 w4 w5 w6", "w7", "w33 w8 w9", "w10 w36 w11 w12 w13 w14 w15 w16 w17 w18", "w1 w2")


def planted() -> Task:
    """Texts in groups of two; one of seven words tells the class, three words for each class."""
    rng = np.random.default_rng(0)
    items = sum(SIZES.values())
    gold = rng.integers(0, 3, items)
    key = 30 + 3 * gold + rng.integers(0, 3, items)
    words = np.c_[rng.integers(0, 30, (items, 6)), key]
    texts = [" ".join(f"w{w}" for w in rng.permutation(row)) for row in words]
    ends = np.cumsum(list(SIZES.values()))
    return Task(
        name="queue",
        size="smoke",
        inputs=tuple(texts),
        gold=gold,
        groups=np.arange(items) // 2,
        ids=np.arange(items).astype(str),
        splits=dict(zip(SIZES, np.split(np.arange(items), ends[:-1]), strict=True)),
        classes=CLASSES,
        metric="accuracy",
        protocol="cascade",
    )


def moved(task: Task, split: str) -> Task:
    """The task with the next class as gold for all items of a split."""
    gold = task.gold.copy()
    gold[task.splits[split]] = (gold[task.splits[split]] + 1) % 3
    return replace(task, gold=gold)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model; an empty cache for all that is asked of it here."""
    home = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("W2S_CACHE", str(home / "cache"))
        # so few texts need more passes for a head that attends to beat a linear one
        patch.setattr(cascade_protocol, "EPOCHS", 80)
        yield save_model(home / "model")


@pytest.fixture(scope="module")
def task():
    return planted()


@pytest.fixture(scope="module")
def linear(folder, task):
    """Word vectors with a linear head, of two seeds."""
    return Model(task, f"{folder}:0", 2, "cpu")


@pytest.fixture(scope="module")
def attending(folder, task):
    return Model(task, f"{folder}:2+", 2, "cpu")


@pytest.fixture(scope="module", params=["linear", "attending"])
def model(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def untaught(monkeypatch):
    """Nobody may train."""

    def fails(*_, **__):
        raise AssertionError("this trains")

    monkeypatch.setattr(heads, "train", fails)


def texts_of(task, split):
    return [task.inputs[i] for i in task.splits[split]]


# --- a model --------------------------------------------------------------------------------------


def test_a_text_has_probabilities_of_each_seed_that_sum_to_one(model):
    probs = model.probs(NEW)
    assert probs.shape == (2, len(NEW), 3) and probs.min() >= 0
    np.testing.assert_allclose(probs.sum(-1), 1, atol=1e-5)
    assert abs(probs[0] - probs[1]).max() > 1e-3  # each seed learns from another part


def test_a_stages_answer_is_the_first_seeds(model):
    np.testing.assert_array_equal(model.answer(NEW), model.probs(NEW)[0])


def test_a_text_is_answered_alone_as_in_company(folder, task, model):
    # other texts than elsewhere, so that no state is at hand; far from the trained in length
    texts = ["w3 " * 40 + "w38", "w39", "w0 w0 w0 w0 w31"]
    alone = np.concatenate([model.probs([text]) for text in texts], 1)
    together = model.probs([*texts, *NEW])[:, : len(texts)]
    np.testing.assert_allclose(alone, together, atol=1e-4)
    assert abs(alone[:, 0] - alone[:, 1]).max() > 0.05


def test_whoever_asked_before_has_no_influence(folder, task):
    asked, fresh = (Model(task, f"{folder}:0", 1, "cpu") for _ in range(2))
    asked.probs(["w39 " * 30])
    np.testing.assert_allclose(asked.probs(NEW), fresh.probs(NEW), atol=1e-6)


def test_both_heads_learn_the_planted_words(task, model):
    gold = task.gold[task.splits["test"]]
    right = (model.probs(texts_of(task, "test")).argmax(-1) == gold).mean()
    assert right > 0.5  # one in three by chance


def test_a_plus_makes_a_head_that_attends_to_single_tokens(linear, attending):
    assert attending.attends and not linear.attends
    assert attending._heads.queries == heads.QUERIES and linear._heads.queries == 0
    # seven words, and [CLS] and [SEP]; or their mean
    assert set(attending._inputs.lengths) == {9} and set(linear._inputs.lengths) == {1}
    assert attending.trunk.layer == 2 and linear.trunk.layer == 0


def test_each_seed_learns_from_its_own_four_fifths_of_transfer(linear):
    parts = np.stack([linear._part(180, seed) for seed in range(3)])
    assert (parts.sum(1) == 144).all()
    assert (parts[0] != parts[1]).any() and (parts[1] != parts[2]).any()
    np.testing.assert_array_equal(parts[0], linear._part(180, 0))


def test_a_second_seed_leaves_the_first_as_it_was(folder, task, model):
    alone = Model(task, model.name, 1, "cpu")
    np.testing.assert_allclose(alone.probs(NEW)[0], model.probs(NEW)[0], atol=1e-3)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_the_gold_of_later_splits_is_never_heard(folder, task, linear, split):
    other = Model(moved(task, split), linear.name, 2, "cpu")
    np.testing.assert_array_equal(other.probs(NEW), linear.probs(NEW))


def test_the_gold_of_transfer_is_heard(folder, task, linear):
    other = Model(moved(task, "transfer"), linear.name, 2, "cpu")
    assert abs(other.probs(NEW) - linear.probs(NEW)).max() > 0.1


def test_a_model_sees_a_text_in_few_numbers_whoever_is_asked_along(linear):
    alone, together = linear.features(NEW[:1]), linear.features(NEW)
    assert together.shape == (len(NEW), FEATURES)
    np.testing.assert_allclose(alone, together[:1], atol=1e-4)


def test_the_numbers_are_centred_on_the_trained_texts_and_the_first_says_most(task, linear):
    found = linear.features(texts_of(task, "transfer"))
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-6)
    spread = found.std(0)
    assert (np.diff(spread) <= 1e-9).all() and spread[-1] > 0
    # axes at right angles: no number repeats another
    np.testing.assert_allclose(np.corrcoef(found.T), np.eye(FEATURES), atol=1e-6)


def test_a_query_costs_more_with_every_block_and_word_vectors_are_not_free(folder, task):
    costs = [Model(task, f"{folder}:{k}", 1, "cpu").cost(NEW) for k in range(4)]
    flops = [cost["flops"] for cost in costs]
    assert flops[0] > 0 and (np.diff(flops) > 10 * flops[0]).all()
    # words and [CLS], [SEP]: (6 + 1 + 3 + 10 + 2) / 5 + 2
    assert {cost["tokens"] for cost in costs} == {22 / 5 + 2}
    # a linear head on 32 numbers: one addition and one product each, for every token
    assert flops[0] == pytest.approx(2 * 32 * 6.4)
    assert all(cost["seconds"] > 0 for cost in costs)


def test_a_head_that_attends_costs_more_than_a_linear_one(folder, task):
    plain, attending = (Model(task, f"{folder}:1{end}", 1, "cpu").cost(NEW) for end in ("", "+"))
    assert attending["flops"] > plain["flops"] and attending["tokens"] == plain["tokens"]


# --- a finished run -------------------------------------------------------------------------------


def asked(task, folder, seeds=2):
    return ask(task, f"{folder}:0", f"{folder}:2+", "cpu", seeds)


@pytest.fixture(scope="module")
def whole(folder, task):
    return asked(task, folder)


def test_both_models_say_something_of_every_item_of_validation_and_test(task, whole):
    assert set(whole["said"]) == {"validation", "test"} and whole["device"] == "cpu"
    for split, said in whole["said"].items():
        np.testing.assert_array_equal(said.items, task.splits[split])
        items = len(said.items)
        assert said.small.shape == said.large.shape == (2, items, 3)
        assert said.features.shape == (items, FEATURES)
    assert whole["cost"]["large"]["flops"] > whole["cost"]["small"]["flops"] > 0
    assert set(whole["cost"]["small"]) == {"tokens", "flops", "seconds"}


def test_what_is_said_is_what_the_models_answer(task, whole, linear, attending):
    for split, said in whole["said"].items():
        texts = texts_of(task, split)
        np.testing.assert_allclose(said.small, linear.probs(texts), atol=1e-6)
        np.testing.assert_allclose(said.large, attending.probs(texts), atol=1e-6)
        np.testing.assert_allclose(said.features, linear.features(texts), atol=1e-6)


def test_a_finished_run_is_remembered(task, folder, whole, untaught):
    again = asked(task, folder)
    for split, said in whole["said"].items():
        for name, value in vars(said).items():
            np.testing.assert_array_equal(getattr(again["said"][split], name), value)
    assert again["cost"] == whole["cost"]


CHANGES = {
    "gold of transfer": lambda task: moved(task, "transfer"),
    "another text": lambda task: replace(task, inputs=("w1 w1 w1", *task.inputs[1:])),
    "other splits": lambda task: replace(
        task, splits={**task.splits, "test": task.splits["test"][1:]}
    ),
    "classes": lambda task: replace(task, classes=("none", *CLASSES[1:])),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_task_is_another_run(task, folder, whole, untaught, change):
    with pytest.raises(AssertionError, match="this trains"):
        asked(CHANGES[change](task), folder)


@pytest.mark.parametrize("weak, seeds", [(":1", 2), (":0+", 2), (":0", 1)])
def test_another_model_or_number_of_seeds_is_another_run(
    task, folder, whole, untaught, weak, seeds
):
    with pytest.raises(AssertionError, match="this trains"):
        ask(task, f"{folder}{weak}", f"{folder}:2+", "cpu", seeds)


@pytest.mark.parametrize("items", [0, 5])
def test_too_little_gold_is_refused_in_one_line(task, folder, untaught, items):
    few = replace(task, splits={**task.splits, "transfer": np.arange(items)})
    with pytest.raises(W2SError, match=f"queue: {items} gold items for 3 classes") as caught:
        asked(few, folder)
    assert "\n" not in str(caught.value)


def test_two_gold_items_for_each_class_are_enough(task, folder, monkeypatch):
    monkeypatch.setattr(cascade_protocol, "STEPS", 2)
    few = replace(task, splits={**task.splits, "transfer": np.arange(6)})
    assert asked(few, folder, seeds=1)["said"]["test"].small.shape == (1, 50, 3)


# --- rules that were fitted to validation ---------------------------------------------------------


@pytest.fixture
def spy(monkeypatch):
    """A rule that notes which items it was fitted to and which it judged, by their feature."""
    calls = []

    def look(seen, new, seed):
        calls.append((set(seen.features[:, 0]), set(new.features[:, 0]), seed))
        return new.features[:, 0] + 1000 * np.isin(new.features[:, 0], seen.features[:, 0])

    monkeypatch.setitem(RULES, "spy", look)
    return calls


def numbered(items):
    """Answers of which each has its own number as its feature."""
    probs = np.random.default_rng(0).dirichlet(np.ones(3), items)
    return Answers(probs, features=np.arange(items, dtype=float)[:, None])


@pytest.mark.parametrize("items", [60, 61, FOLDS])
def test_each_item_gets_its_confidence_from_a_rule_that_was_fitted_without_it(spy, items):
    found = _crossed("spy", numbered(items), 0)
    # 1000 more where an item was seen; and each is in its place
    np.testing.assert_array_equal(found, np.arange(items))
    assert len(spy) == FOLDS
    for seen, new, _ in spy:
        assert not seen & new and seen | new == set(range(items))
    assert sorted(n for _, new, _ in spy for n in new) == list(range(items))


def test_the_parts_are_even_and_move_with_the_seed(spy):
    for seed in (0, 0, 1):
        _crossed("spy", numbered(61), seed)
    one, again, other = (spy[i : i + FOLDS] for i in (0, FOLDS, 2 * FOLDS))
    assert {len(new) for _, new, _ in one} == {12, 13}
    assert one == again and one != other
    assert {seed for *_, seed in one}.isdisjoint({seed for *_, seed in other})


def test_what_a_rule_may_know_of_a_split_is_one_seeds(task, whole):
    said = whole["said"]["validation"]
    gold = task.gold[said.items]
    known = answers(said, gold, 1, "accuracy")
    np.testing.assert_array_equal(known.probs, said.small[1])
    np.testing.assert_array_equal(known.small_right, said.small[1].argmax(-1) == gold)
    np.testing.assert_array_equal(known.large_right, said.large[1].argmax(-1) == gold)
    np.testing.assert_array_equal(known.features, said.features)


def settings(folder, **changes):
    names = {"weak": f"{folder}:0", "strong": f"{folder}:2+"}
    return {**names, "seeds": 2, "device": "cpu", **changes}


def test_a_run_judges_validation_crosswise_and_test_by_all_of_validation(
    task, folder, whole, monkeypatch
):
    calls = []

    def look(seen, new, seed):
        calls.append((len(seen.probs), len(new.probs)))
        return new.probs.max(1)

    monkeypatch.setitem(RULES, "spy", look)
    found = run(task, methods=["spy"], **settings(folder))
    # by seed: five times 48 of the 60 for the other 12, then all 60 for the 50 of test
    assert calls == 2 * ([(48, 12)] * 5 + [(60, 50)])
    for split in ("validation", "test"):
        sure = found.confidence["spy"][split]
        np.testing.assert_allclose(sure, whole["said"][split].small.max(-1), atol=1e-6)


def test_a_run_knows_both_models_scores_and_says_what_it_was(task, folder, whole, untaught):
    found = run(task, methods=["margin", "margin", "learned"], **settings(folder))
    assert found.methods == ("margin", "learned")
    for split, said in whole["said"].items():
        gold = task.gold[task.splits[split]]
        np.testing.assert_array_equal(found.gold[split], gold)
        np.testing.assert_array_equal(found.small[split], said.small.argmax(-1) == gold)
        np.testing.assert_array_equal(found.large[split], said.large.argmax(-1) == gold)
        assert found.confidence["learned"][split].shape == (2, len(gold))
    np.testing.assert_array_equal(found.groups, task.groups[task.splits["test"]])
    assert (found.task, found.seeds, found.classes, found.metric) == (
        "queue",
        2,
        CLASSES,
        "accuracy",
    )
    assert str(found.table()) and found.cost == whole["cost"]


def test_a_cascade_takes_no_number_of_labels(task, untaught):
    asked = {"weak": None, "strong": None, "methods": None, "seeds": 1, "device": "cpu"}
    with pytest.raises(W2SError, match="labels: .*leave them out") as caught:
        run_cascade(task, **asked, labels=8, started=0.0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["luck", "naive"])
def test_an_unknown_rule_is_refused_before_anything_is_trained(task, folder, untaught, name):
    asked = settings(folder, methods=[name], labels=None, started=0.0)
    with pytest.raises(W2SError, match=f"unknown deferral rule '{name}'.*margin, maximum"):
        run_cascade(moved(task, "transfer"), **asked)


def test_a_misspelt_rule_of_a_cascade_is_told_with_the_rules_there_are(task, folder, untaught):
    with pytest.raises(W2SError, match="'margn'.*margin, maximum"):
        run(task, methods=["margn"], **settings(folder))


# --- a live cascade -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def names(folder):
    return f"{folder}:0", f"{folder}:2+"


@pytest.fixture(scope="module")
def live(task, names):
    return build(task, names, device="cpu")


def by_hand(task, names, rule="maximum probability", share=0.99):
    """The first threshold, from what both models say of validation."""
    texts, gold = texts_of(task, "validation"), task.gold[task.splits["validation"]]
    small, large = (Model(task, name, 1, "cpu").answer(texts) for name in names)
    given = Answers(small)
    curve = cascade.deferral_curve(
        RULES[rule](given, given, 0),
        metrics.item_scores(small.argmax(-1), gold, "accuracy"),
        metrics.item_scores(large.argmax(-1), gold, "accuracy"),
        small_cost=0,
        large_cost=1,
    )
    return cascade.threshold_for_quality(curve, share)


@pytest.mark.parametrize("rule", ["maximum probability", "margin", "entropy"])
@pytest.mark.parametrize("share", [0.9, 0.99])
def test_a_threshold_is_the_least_deferral_that_keeps_the_quality_on_validation(
    task, names, rule, share
):
    built = build(task, names, rule=rule, share=share, device="cpu")
    assert built.thresholds == pytest.approx((by_hand(task, names, rule, share),))


def test_a_threshold_hears_the_gold_of_validation_and_not_of_test(task, names, live):
    assert build(moved(task, "test"), names, device="cpu").thresholds == live.thresholds
    # with gold moved to the next class most answers are wrong, and other ones right
    other = build(moved(task, "validation"), names, device="cpu")
    assert other.thresholds != live.thresholds


def test_a_live_cascade_answers_texts_that_nobody_has_seen(task, names, live):
    small, large = (Model(task, name, 1, "cpu").answer(NEW) for name in names)
    found = live(NEW)
    gone = small.max(1) <= live.thresholds[0]
    assert 0 < gone.mean() < 1  # some are passed on, some are not
    np.testing.assert_array_equal(found.stage, gone.astype(int))
    np.testing.assert_allclose(found.probs, np.where(gone[:, None], large, small), atol=1e-5)
    first, second = (stage.flops for stage in live.stages)
    np.testing.assert_allclose(found.flops, first + gone * second)
    assert [stage.name for stage in live.stages] == list(names)
    assert second > first > 0


def test_each_of_three_models_but_the_last_gets_a_threshold_of_its_own(task, folder, names):
    three = (names[0], f"{folder}:1", names[1])
    built = build(task, three, device="cpu")
    pairs = [by_hand(task, (name, three[-1])) for name in three[:2]]
    assert built.thresholds == pytest.approx(tuple(pairs))
    assert set(built(texts_of(task, "test")).stage) <= {0, 1, 2}


@pytest.mark.parametrize("rule", ["calibrated", "learned", "random", "oracle", "luck"])
def test_a_rule_that_needs_more_than_probabilities_is_not_built(task, names, untaught, rule):
    with pytest.raises(W2SError, match=f"build: the rule '{rule}'.*one of: maximum") as caught:
        build(task, names, rule=rule, device="cpu")
    assert "\n" not in str(caught.value)


def test_a_cascade_of_one_model_is_not_built(task, names):
    with pytest.raises(W2SError, match="a cascade of 1 stages"):
        build(task, names[:1], device="cpu")
