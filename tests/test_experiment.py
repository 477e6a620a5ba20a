"""Does a run report what was trained, and does no student hear a gold label it may not know?

A made-up task on a tiny random model; the real clauses only in the slow test at the end.
"""

import inspect
from dataclasses import replace

import numpy as np
import pytest
from tiny_models import save_model

from w2s_lab import baselines, experiment, heads, metrics, protocol
from w2s_lab.assets import cache_dir
from w2s_lab.data import Task
from w2s_lab.errors import W2SError
from w2s_lab.experiment import imitate, run
from w2s_lab.methods import METHODS, Method, naive, variant

SIZES = {"supervise": 48, "transfer": 320, "validation": 40, "test": 72}
LABELS = 8


def planted(seed=0):
    """480 texts in groups of four; one of seven words tells the class, out of three words each."""
    rng = np.random.default_rng(seed)
    items = sum(SIZES.values())
    gold = rng.integers(0, 2, items)
    key = np.where(gold, 30, 35) + rng.integers(0, 3, items)
    words = np.c_[rng.integers(0, 30, (items, 6)), key]
    texts = [" ".join(f"w{w}" for w in rng.permutation(row)) for row in words]
    ends = np.cumsum(list(SIZES.values()))
    return Task(
        name="planted",
        size="smoke",
        inputs=tuple(texts),
        gold=gold,
        groups=np.arange(items) // 4,
        ids=np.arange(items).astype(str),
        splits=dict(zip(SIZES, np.split(np.arange(items), ends[:-1]), strict=True)),
        classes=("right", "left"),
        labels=LABELS,
        descriptions=("w35 w36 w37", "w30 w31 w32"),
        kinds=np.where(np.arange(items) % 2, "odd", "even"),
        provenance={"source": "made up"},
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The task and the settings of every run here; an empty cache, a tiny model."""
    home = tmp_path_factory.mktemp("world")
    model = save_model(home / "model")
    settings = {"weak": f"{model}:0", "strong": f"{model}:2", "seeds": 2, "device": "cpu"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("W2S_CACHE", str(home / "cache"))
        yield planted(), settings


@pytest.fixture(scope="module")
def whole(world):
    """One run with every method."""
    task, settings = world
    return run(task, **settings)


@pytest.fixture
def fresh(monkeypatch):
    """Lets nothing come from the cache of finished runs, nor go there."""
    everything = protocol.Bench._compute
    monkeypatch.setattr(protocol.Bench, "everything", everything)


def some(world, *methods, **changes):
    task, settings = world
    return run(changes.pop("task", task), methods=methods or ["naive"], **{**settings, **changes})


def same(a, b, names):
    for name in names:
        np.testing.assert_array_equal(a.probs[name], b.probs[name], err_msg=name)


def moved(task, splits, *, seed=0):
    """The task with the other class as gold for a random half of these splits' items."""
    gold = task.gold.copy()
    for split in splits:
        index = task.splits[split]
        gold[index] ^= np.random.default_rng(seed).random(len(index)) < 0.5
    return replace(task, gold=gold)


def test_a_run_holds_weak_ceiling_methods_and_baselines_by_name(whole):
    assert whole.methods == tuple(METHODS)
    assert set(whole.baselines) == set(baselines.BASELINES) and len(whole.baselines) == 4
    assert set(whole.probs) == {"weak", "ceiling", *whole.methods, *whole.baselines}
    for name, probs in whole.probs.items():
        assert probs.shape == (2, 72, 2), name
        np.testing.assert_allclose(probs.sum(-1), 1, atol=1e-5, err_msg=name)
        assert whole.predicted(name).shape == whole.scores(name).shape == (2, 72)


def test_what_a_run_says_about_the_test_items_is_the_tasks(world, whole):
    task, settings = world
    test = task.splits["test"]
    np.testing.assert_array_equal(whole.test, test)
    for name in ("gold", "groups", "kinds"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(task, name)[test])
    assert (whole.task, whole.size, whole.classes) == ("planted", "smoke", ("right", "left"))
    assert (whole.seeds, whole.labels, whole.metric) == (2, LABELS, "balanced_accuracy")
    assert (whole.weak, whole.strong) == (settings["weak"], settings["strong"])
    assert whole.provenance == {"source": "made up", "split": None}


def test_the_ceiling_learns_the_planted_words_better_than_eight_labels_teach_them(whole):
    weak, ceiling = whole.score("weak").value, whole.score("ceiling").value
    assert ceiling > weak + 0.1 and weak > 0.55


def test_seeds_differ_and_the_majority_does_not(whole):
    for name in ("weak", "ceiling", "naive", "strong on gold labels", "bag of words"):
        assert abs(whole.probs[name][0] - whole.probs[name][1]).max() > 1e-3, name
    assert len(np.unique(whole.predicted("majority"))) == 1
    assert whole.score("majority").value == 0.5  # balanced accuracy of one class for all


def test_the_same_run_without_the_cache_comes_to_the_same(world, whole, fresh):
    again = run(world[0], **world[1])
    same(whole, again, whole.probs)
    for name, curve in whole.curves.items():
        np.testing.assert_array_equal(again.curves[name], curve)
    assert again.pool == whole.pool


def test_no_student_hears_the_gold_of_transfer_validation_or_test(world, whole, fresh):
    task, settings = world
    other = run(moved(task, ["transfer", "validation", "test"]), **settings)
    same(whole, other, set(whole.probs) - {"ceiling"})
    assert abs(whole.probs["ceiling"] - other.probs["ceiling"]).max() > 0.1


def test_the_ceiling_hears_the_gold_of_transfer_alone(world, whole, fresh):
    other = some(world, task=moved(world[0], ["validation", "test"]))
    same(whole, other, ["ceiling", "naive", "weak"])
    curve, other_curve = whole.curves["ceiling"], other.curves["ceiling"]
    np.testing.assert_array_equal(curve[:, 0], other_curve[:, 0])  # weak labels matched
    assert abs(curve[:, 1] - other_curve[:, 1]).max() > 0.1  # score against gold


def bench(task, settings, labels=LABELS):
    names = (settings["weak"], settings["strong"])
    return protocol.Bench(task, *names, settings["device"], settings["seeds"], labels)


def test_of_the_other_gold_labels_of_supervise_only_the_class_counts_are_used(world, whole, fresh):
    task, settings = world
    given = bench(task, settings).given
    rest = np.setdiff1d(task.splits["supervise"], given)
    found = None
    for seed in range(200):  # a deal of the same labels that leaves the draw as it is
        gold = task.gold.copy()
        gold[rest] = np.random.default_rng(seed).permutation(gold[rest])
        other = replace(task, gold=gold)
        if (bench(other, settings).given == given).all() and (gold != task.gold).sum() >= 4:
            found = other
            break
    assert found is not None
    same(whole, run(found, **settings), whole.probs)


def test_each_weak_model_is_given_as_many_labels_of_each_class(world):
    task, settings = world
    given = bench(task, settings).given
    assert given.shape == (2, LABELS)
    assert set(given.ravel()) <= set(task.splits["supervise"])
    for row in given:
        assert len(set(row)) == LABELS
        assert np.bincount(task.gold[row]).tolist() == [4, 4]
    assert set(given[0]) != set(given[1])


def test_a_class_with_too_few_items_gives_all_it_has(world):
    task, settings = world
    gold, supervise = task.gold.copy(), task.splits["supervise"]
    gold[supervise] = 0
    gold[supervise[[3, 30]]] = 1
    for row in bench(replace(task, gold=gold), settings).given:
        assert np.bincount(gold[row]).tolist() == [6, 2]


def test_more_labels_than_there_are_are_refused(world):
    task, settings = world
    assert bench(task, settings, labels=48).given.shape == (2, 48)
    with pytest.raises(W2SError, match="49 gold labels asked for; .* to 48"):
        some(world, labels=49)


@pytest.mark.parametrize("labels", [-1, 0, 1])
def test_fewer_labels_than_classes_are_refused(world, labels):
    task, settings = world
    with pytest.raises(W2SError, match="give from 2, one for each class"):
        bench(task, settings, labels=labels)


def test_an_unknown_method_is_refused_with_the_known_ones_before_anything_is_loaded(monkeypatch):
    monkeypatch.setattr(experiment, "load_task", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(W2SError, match="unknown method 'nave'.*naive"):
        run(methods=["nave"])
    with pytest.raises(W2SError, match="seeds is 0"):
        run(methods=["naive"], seeds=0)


def test_a_method_comes_to_the_same_alone_as_in_company(world, whole):
    alone = some(world, "filter")
    assert set(alone.probs) == {"weak", "ceiling", "filter", *alone.baselines}
    for name in alone.probs:  # sums of floats differ in order
        np.testing.assert_allclose(alone.probs[name], whole.probs[name], atol=1e-3, err_msg=name)


def test_a_finished_run_is_not_trained_again(world, whole, monkeypatch):
    monkeypatch.setattr(heads, "train", lambda *_, **__: pytest.fail("trained"))
    again = run(world[0], **world[1])
    same(whole, again, whole.probs)
    assert list(again.probs) == list(whole.probs)
    assert (again.pool, again.cost, list(again.curves)) == (
        whole.pool,
        whole.cost,
        list(whole.curves),
    )


@pytest.mark.parametrize(
    "change",
    ["text", "gold", "labels", "seeds", "methods", "traits", "trunk", "splits", "descriptions"],
)
def test_a_run_that_differs_in_anything_is_trained_anew(world, monkeypatch, change):
    task, settings = world
    some(world)
    monkeypatch.setattr(protocol.Bench, "_compute", lambda *_: 1 / 0)
    some(world)  # a hit
    test = task.splits["test"]
    changes = {
        "text": {"task": replace(task, inputs=("w1 w2", *task.inputs[1:]))},
        "gold": {"task": moved(task, ["transfer"])},
        "labels": {"labels": LABELS + 1},
        "seeds": {"seeds": 3},
        "methods": {"methods": ["soft"]},
        "traits": {"methods": [variant("naive", alpha=0.5)]},
        "trunk": {"strong": settings["strong"].replace(":2", ":1")},
        "splits": {"task": replace(task, splits={**task.splits, "test": test[:-1]})},
        "descriptions": {"task": replace(task, descriptions=("w1", "w2"))},
    }[change]
    with pytest.raises(ZeroDivisionError):
        run(changes.pop("task", task), **{"methods": ["naive"], **settings, **changes})


def test_a_method_of_yours_is_asked_each_time_and_never_remembered(world):
    asked = []

    def mine(probs, prior, round):
        asked.append(round)
        return naive(probs, prior, round)

    results = cache_dir() / "results"
    before = set(results.iterdir()) if results.exists() else set()
    first, second = (some(world, Method("mine", mine)) for _ in range(2))
    assert asked == [0, 0]
    assert set(results.iterdir() if results.exists() else ()) == before
    same(first, second, ["mine"])
    # and it is trained like the package's own
    np.testing.assert_allclose(first.probs["mine"], some(world).probs["naive"], atol=1e-3)


def test_a_method_hears_the_weak_model_first_and_its_own_student_afterwards(world):
    task, settings = world
    heard = []

    def spy(probs, prior, round):
        heard.append((round, probs.copy(), prior))
        return naive(probs, prior, round)

    found = some(world, Method("spy", spy, rounds=3), Method("crowd", spy, committee=True))
    # the two in round 0, then the one with more rounds
    assert [round for round, _, _ in heard] == [0, 0, 1, 2]
    assert all(probs.shape == (2, 320, 2) for _, probs, _ in heard)
    given = bench(task, settings)
    weak, committee = (p[:, task.splits["transfer"]] for p in given.weak_models())
    np.testing.assert_allclose(heard[0][1], weak, atol=1e-6)
    np.testing.assert_allclose(heard[1][1], committee, atol=1e-6)
    assert abs(weak - committee).max() > 0.01
    assert abs(heard[2][1] - weak).max() > 0.05
    assert abs(heard[3][1] - heard[2][1]).max() > 1e-3
    share = task.gold[task.splits["supervise"]].mean()
    assert all(prior.tolist() == pytest.approx([1 - share, share]) for _, _, prior in heard)
    assert found.methods == ("spy", "crowd")


def test_bootstrap_begins_on_the_middle_of_the_strong_model(world, monkeypatch):
    asked = []
    inputs = protocol.Bench.inputs

    def watching(self, trunk, items, **options):
        asked.append(trunk.layer)
        return inputs(self, trunk, items, **options)

    monkeypatch.setattr(protocol.Bench, "inputs", watching)
    monkeypatch.setattr(protocol.Bench, "everything", protocol.Bench._compute)
    some(world, "bootstrap")
    # weak model; middle student; ceiling; strong student; strong on gold labels
    assert asked == [0, 1, 2, 2, 2]


def test_the_labelled_pool_is_counted_over_all_texts(world, whole):
    probs, _ = bench(*world).weak_models()
    assert whole.pool["texts"] == 480
    counts = [whole.pool[name] for name in ("right", "left")]
    assert sum(counts) == 480
    np.testing.assert_allclose(counts, [(probs.argmax(-1) == c).sum() / 2 for c in (0, 1)])


def test_curves_have_a_row_an_epoch_and_end_with_shares(whole):
    assert {"naive", "ceiling"} <= set(whole.curves)
    for curve in whole.curves.values():
        assert curve.shape == (protocol.EPOCHS, 2)
        assert (curve >= 0).all() and (curve <= 1 + 1e-9).all()


def test_costs_count_tokens_and_computed_blocks(world, whole):
    task, _ = world
    # seven words, [CLS] and [SEP]: 9 tokens a text, of which 1,000 are labelled
    assert whole.cost["weak"]["tokens"] == whole.cost["strong"]["tokens"] == 9_000
    assert whole.cost["weak"]["flops"] == 0
    # two blocks of 17,088 each (test_models)
    assert whole.cost["strong"]["flops"] == 9_000 * 2 * 17_088
    assert whole.cost["strong"]["seconds"] > 0


def test_scores_leads_and_recovered_gaps_are_those_of_the_metrics(whole):
    for name in ("weak", "naive", "ceiling"):
        direct = metrics.balanced_accuracy(whole.probs[name].argmax(-1), whole.gold)
        assert whole.score(name).value == pytest.approx(direct)
    weak, student, ceiling = (whole.score(n).value for n in ("weak", "filter", "ceiling"))
    gap = metrics.performance_gap_recovered(weak, student, ceiling)
    assert whole.pgr("filter").value == pytest.approx(gap)
    assert whole.lead("filter", over="weak").value == pytest.approx(student - weak)
    assert whole.pgr("weak").value == 0 and whole.pgr("ceiling").value == 1
    assert whole.lead("naive", over="naive") == metrics.Estimate(0, 0, 0)


def test_the_best_method_is_no_baseline_and_has_the_highest_score(whole):
    scores = {name: whole.score(name).value for name in whole.methods}
    assert whole.best in whole.methods
    assert scores[whole.best] == max(scores.values())


def test_agreement_and_calibration_are_those_of_the_metrics(whole):
    wanted = metrics.agreement(whole.predicted("naive"), whole.predicted("weak"), whole.gold)
    assert whole.agreement("naive") == wanted
    for name in ("weak", "ceiling"):
        by_seed = np.concatenate(list(whole.probs[name]))
        gold = np.concatenate([whole.gold, whole.gold])
        wanted = metrics.expected_calibration_error(by_seed, gold)
        assert whole.calibration_error(name) == pytest.approx(wanted)


def test_a_name_that_is_not_in_the_result_is_refused_with_those_that_are(whole):
    for ask in (whole.score, whole.pgr, whole.predicted):
        with pytest.raises(W2SError, match="no 'magic' in this result.*weak.*ceiling"):
            ask("magic")


def test_without_descriptions_the_class_names_serve_for_zero_shot(world):
    task = replace(world[0], descriptions=())
    named = replace(world[0], descriptions=world[0].classes)
    bare, told = some(world, task=task), some(world, task=named)
    assert np.array_equal(bare.probs["strong zero-shot"], told.probs["strong zero-shot"])


def test_what_a_seed_learns_does_not_depend_on_how_many_seeds_there_are(world):
    task, settings = world
    few = run(task, **{**settings, "seeds": 1}, methods=("naive", "filter"))
    more = run(task, **{**settings, "seeds": 3}, methods=("naive", "filter"))
    for name in few.probs:
        assert np.allclose(few.probs[name][0], more.probs[name][0], atol=1e-3), name


def test_chosen_seeds_come_to_what_they_come_to_among_all(world):
    task, settings = world
    asked = {"methods": ("naive", "ensemble", "relabel"), "labels": 12}
    every = run(task, **{**settings, **asked, "seeds": 4})
    some_of = run(task, **{**settings, **asked, "seeds": (3, 1)})
    assert some_of.seeds == 2 and some_of.provenance["seeds"] == [3, 1]
    for name in every.probs:
        np.testing.assert_allclose(
            some_of.probs[name], every.probs[name][[3, 1]], atol=1e-3, err_msg=name
        )


@pytest.mark.parametrize("seeds", [0, (), (1, 1), (-1,), (10_000,)])
def test_seeds_that_cannot_be_are_refused(world, seeds):
    with pytest.raises(W2SError, match="seeds is .*; give "):
        some(world, seeds=seeds)


def test_seeds_that_share_their_models_cannot_be_chosen(world):
    with pytest.raises(W2SError, match=r"seeds is \(2, 3\); give how many, not which"):
        run(replace(world[0], protocol="cascade"), seeds=(2, 3))


def test_another_deal_of_the_groups_is_another_test_split(world):
    task, _ = world
    a, b = (some(world, split=seed) for seed in (1, 2))
    assert set(a.test) != set(b.test) and a.provenance["split"] == 1
    np.testing.assert_array_equal(a.gold, task.gold[a.test])


def test_the_bag_of_words_learns_the_words_it_was_given(world):
    found = some(world, labels=48)
    # 48 texts show each of six telling words about eight times
    assert found.score("bag of words").value > 0.9


def test_imitators_hear_the_labels_of_transfer_alone(world):
    task, settings = world
    told = np.stack([task.gold, 1 - task.gold, task.gold])
    elsewhere = np.setdiff1d(np.arange(480), task.splits["transfer"])
    told[2, elsewhere] = 1 - told[2, elsewhere]
    probs = imitate(task, told, strong=settings["strong"], device="cpu")
    assert probs.shape == (3, 72, 2)
    gold = task.gold[task.splits["test"]]
    right = (probs.argmax(-1) == gold).mean(-1)
    assert right[0] > 0.7 and right[1] < 0.3 and right[2] > 0.7
    one = imitate(task, told[:1], strong=settings["strong"], device="cpu")
    lied = told[:1].copy()
    lied[0, elsewhere] = 1 - lied[0, elsewhere]
    np.testing.assert_array_equal(imitate(task, lied, strong=settings["strong"], device="cpu"), one)


def test_the_watch_keeps_the_epoch_that_fits_the_weak_labels_best_for_each_head():
    import torch

    from w2s_lab.features import States

    states = States(np.eye(2, dtype=np.float16)[[0, 1, 0, 1]], np.arange(5), 0.0)
    inputs = heads.Inputs(states, np.arange(4), dim=None, device="cpu")
    weak = np.tile(np.eye(2)[[0, 0, 0, 0]], (2, 1, 1))  # the weak model says 0 to everything
    watch = protocol.Watch(inputs, np.arange(4), weak, np.array([0, 1, 1, 1]), "accuracy")
    both = heads.Heads(np.array([0, 1]), 2, 2, 1)
    # how much each head leans to class 0 after each epoch: best is the second, then the first
    for epoch, lean in enumerate([(1.0, 3.0), (2.0, 2.0), (-5.0, -5.0)], 1):
        with torch.no_grad():
            both.weight.zero_()
            both.bias.zero_()
            both.bias[:, 0, 0] = torch.tensor(lean)
            both.query.fill_(epoch)
        watch(epoch, both)
    assert np.stack(watch.curves).shape == (3, 2, 2)  # epochs, heads, (matched, score)
    assert watch.curves[0].tolist() == [[1, 0.25]] * 2
    assert watch.curves[2].tolist() == [[0, 0.75]] * 2
    watch.restore_best(both, np.array([0]))
    assert both.bias[:, 0, 0].tolist() == [2, -5]
    assert both.query[0].tolist() == [[2], [3]]
    watch.restore_best(both, np.array([0, 1]))
    assert both.bias[:, 0, 0].tolist() == [2, 3]
    assert both.query[0].tolist() == [[2], [1]]


def test_early_stopping_ends_elsewhere_than_naive_and_trains_as_naive_does(
    world, fresh, monkeypatch
):
    monkeypatch.setattr(protocol, "EPOCHS", 40)  # enough to fit the weak model's errors
    found = some(world, "naive", "early stopping")
    assert found.curves["naive"].tolist() == found.curves["early stopping"].tolist()
    assert abs(found.probs["naive"] - found.probs["early stopping"]).max() > 1e-3


def test_every_setting_of_a_run_is_named_in_its_docstring():
    for name in inspect.signature(run).parameters:
        assert name in run.__doc__


@pytest.mark.slow
def test_the_first_lab_runs_from_clauses_to_scores_at_smoke_size(tmp_path, monkeypatch):
    real = cache_dir()
    for room in ("assets", "features", "tasks"):
        (real / room).mkdir(parents=True, exist_ok=True)
        (tmp_path / room).symlink_to(real / room, target_is_directory=True)
    monkeypatch.setenv("W2S_CACHE", str(tmp_path))
    found = run(size="smoke", seeds=2, device="cpu")
    assert found.methods == tuple(METHODS) and len(found.baselines) == 4
    assert found.score("ceiling").value > found.score("weak").value + 0.1
    assert found.score("ceiling").value > found.score("strong zero-shot").value
    assert all(np.isfinite(found.pgr(name).value) for name in found.methods)
    assert found.cost["strong"]["flops"] > found.cost["weak"]["flops"] == 0


def test_two_settings_of_one_name_are_refused_and_named_ones_are_trained_together(world):
    settings = [replace(METHODS["naive"], rate=rate) for rate in (0.3, 3.0)]
    with pytest.raises(W2SError, match="2 methods are called 'naive'"):
        some(world, *settings)
    named = [variant("naive", rate=rate) for rate in (0.3, 3.0)]
    result = some(world, *named)
    assert result.methods == ("naive (rate 0.3)", "naive (rate 3)")
    slow, fast = (result.probs[name] for name in result.methods)
    assert abs(slow - fast).max() > 0.01


def test_a_number_of_seeds_may_come_from_numpy():
    assert experiment.numbers(np.int64(3)) == (0, 1, 2)
