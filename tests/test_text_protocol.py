"""Does a whole run of the text labs keep its promises: who sees which gold, what is remembered?

On a tiny random decoder as the strong model and its first two blocks as the weak one. Scores by
MiniLM are replaced by chrF: no model is fetched here.
"""

from dataclasses import replace

import numpy as np
import pytest
from tiny_models import save_writer

from w2s_lab import finetune, text_metrics, text_protocol, writers
from w2s_lab.data import Task
from w2s_lab.errors import W2SError
from w2s_lab.experiment import run
from w2s_lab.text_experiment import BASELINES, METRICS
from w2s_lab.text_methods import TEXT_METHODS, TextMethod
from w2s_lab.text_protocol import TextBench, test_items
from w2s_lab.writers import Blocks

pytestmark = pytest.mark.slow  # whole runs of tiny models

test_items.__test__ = False  # pytest takes its name for a test's
SIZES = {"supervise": 8, "transfer": 6, "validation": 4, "test": 6}
ALL = tuple(TEXT_METHODS)


def made() -> Task:
    """Two questions to each text: what comes first in it, and what comes last."""
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{i}" for i in rng.integers(0, 30, 4 + n % 3)) for n in range(13)]
    inputs = [text for text in texts for _ in range(2)]
    ends = np.cumsum(list(SIZES.values()))
    # the last two items are in no split
    places = np.split(np.arange(24), ends[:-1])
    return Task(
        name="made",
        size="smoke",
        inputs=inputs,
        gold=np.array(
            [" ".join(t.split()[:2][:: 1 - 2 * (i % 2)]) for i, t in enumerate(inputs)], object
        ),
        groups=np.arange(26) // 2,
        ids=np.array([f"item {i}" for i in range(26)]),
        splits=dict(zip(SIZES, places, strict=True)),
        labels=4,
        questions=("w30", "w31") * 13,
        kinds=np.array(["first", "last"] * 13),
        provenance={"source": "made up"},
    )


@pytest.fixture(scope="module", autouse=True)
def brisk():
    """A cheap stand-in for similarity, and a rate at which a tiny model learns in few steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(text_metrics.SCORES, "similarity", text_metrics.chrf)
        patch.setattr(writers, "RATE", 0.01)
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The task and the settings of every run here; an empty cache, a tiny model."""
    home = tmp_path_factory.mktemp("world")
    model = save_writer(home / "model")
    settings = {"weak": f"{model}:2", "strong": str(model), "seeds": 1, "device": "cpu"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("W2S_CACHE", str(home / "cache"))
        yield made(), settings


@pytest.fixture(scope="module")
def whole(world):
    """One run with every method."""
    task, settings = world
    return run(task, methods=ALL, **settings)


@pytest.fixture
def fresh(monkeypatch):
    """Lets nothing come from the cache of finished runs, nor go there."""
    monkeypatch.setattr(TextBench, "everything", TextBench._compute)


@pytest.fixture
def untaught(monkeypatch):
    """Nobody may train."""

    def fails(*_, **__):
        raise AssertionError("this trains")

    monkeypatch.setattr(finetune, "fit", fails)


def some(world, *methods, **changes):
    task, settings = world
    return run(changes.pop("task", task), methods=methods or ["naive"], **{**settings, **changes})


def same(one, two, name):
    texts = np.array_equal(one.texts[name], two.texts[name])
    return texts and np.array_equal(
        one.scores(name, "log_likelihood"), two.scores(name, "log_likelihood")
    )


# --- a whole run ----------------------------------------------------------------------------------


def test_every_model_has_every_metric_on_every_test_item(whole):
    for metric in METRICS:
        names = {"weak", "ceiling", *BASELINES, *ALL}
        names -= {"lead sentence"} if metric == "log_likelihood" else set()
        assert set(whole.numbers[metric]) == names
        for name in names:
            scores = whole.scores(name, metric)
            assert scores.shape == (1, 6) and np.isfinite(scores).all()
    assert whole.metric == "log_likelihood" and not whole.has("lead sentence")
    assert whole.gold.tolist() == [made().gold[i] for i in test_items(made())]


def test_a_result_can_be_read_printed_and_saved(whole, tmp_path):
    assert "naive" in repr(whole) and "<" in whole._repr_html_()
    whole.to_json(tmp_path / "result.json")
    assert (tmp_path / "result.json").stat().st_size
    for name in ALL:
        for metric in METRICS:
            whole.pgr(name, metric), whole.recovered(name, metric), whole.score(name, metric)
        assert whole.signs(name).words >= 0
        whole.reproduced(name)
    assert whole.curves["weak"].shape == (1, text_protocol.EPOCHS)
    assert whole.curves["test"].shape == (1, text_protocol.EPOCHS, 6)
    assert set(whole.dial) == set(text_protocol.SHARES)
    assert whole.chosen["shrink"].item() in text_protocol.SHARES
    assert whole.cost["weak"]["flops"] < whole.cost["strong"]["flops"]


def test_the_ceiling_learned_and_the_methods_differ(whole):
    scores = {name: whole.scores(name).mean() for name in ("ceiling", "strong zero-shot")}
    assert scores["ceiling"] > scores["strong zero-shot"]
    # `agreed` may choose the same half as `likely`: which texts they choose is asked elsewhere
    for names in (("naive", "likely", "mixed", "soft"), ("naive", "agreed", "mixed", "soft")):
        assert len({whole.scores(name).mean() for name in names}) == 4


def test_the_whole_way_of_the_dial_is_the_naive_student(whole):
    assert np.array_equal(whole.dial[1.0], whole.scores("naive"))
    share = whole.chosen["shrink"].item()
    assert np.array_equal(whole.dial[share], whole.scores("shrink"))


def test_early_stopping_keeps_the_epoch_that_fits_the_weak_texts_best(whole):
    epoch = whole.curves["weak"].argmax(1)[0]
    assert np.array_equal(whole.curves["test"][:, epoch], whole.scores("early stopping"))
    assert np.array_equal(whole.curves["test"][:, -1], whole.scores("naive"))


def test_methods_of_one_training_may_be_named_in_any_order(world, whole):
    other = some(world, "shrink", "early stopping", "naive")
    for name in other.methods:
        assert np.array_equal(other.scores(name), whole.scores(name))
    assert np.array_equal(other.curves["test"], whole.curves["test"])
    assert np.array_equal(other.dial[1.0], whole.dial[1.0])


def test_only_the_ceiling_learns_the_gold_of_transfer_and_nobody_that_of_later_splits(
    world, whole, fresh
):
    task, _ = world
    hidden = np.concatenate([task.splits[s] for s in ("transfer", "validation", "test")])
    gold = task.gold.copy()
    gold[hidden] = "w39 w38 w37"
    other = some(world, *ALL, task=replace(task, gold=gold))
    for name in {"weak", *BASELINES, *ALL}:
        assert np.array_equal(other.texts[name], whole.texts[name])
    assert np.array_equal(other.curves["weak"], whole.curves["weak"])
    assert np.array_equal(other.chosen["shrink"], whole.chosen["shrink"])
    assert not np.array_equal(other.texts["ceiling"], whole.texts["ceiling"])


def test_another_gold_of_supervise_makes_another_weak_model(world, whole, fresh):
    task, _ = world
    gold = task.gold.copy()
    gold[task.splits["supervise"]] = "w39 w38"
    other = some(world, task=replace(task, gold=gold))
    assert not same(other, whole, "weak") and same(other, whole, "strong zero-shot")
    assert same(other, whole, "ceiling")


def test_items_in_no_split_are_never_read(world, whole, fresh):
    task, _ = world
    inputs = [*task.inputs[:24], "w33 w34", "w35"]
    other = some(world, task=replace(task, inputs=inputs))
    assert all(same(other, whole, name) for name in ("weak", "naive", "ceiling"))


def test_a_second_seed_leaves_the_first_as_it_was(world, whole):
    both = some(world, "naive", "agreed", "shrink", seeds=2)
    for name in ("weak", "naive", "agreed", "shrink", "ceiling", "strong on gold labels"):
        scores = both.scores(name)
        assert scores.shape == (2, 6) and np.array_equal(scores[:1], whole.scores(name))
        assert not np.array_equal(scores[0], scores[1])
    assert both.scores("strong zero-shot").shape == (1, 6)
    assert both.dial[0.5].shape == (2, 6) and both.chosen["shrink"].shape == (2,)


# --- what is remembered ---------------------------------------------------------------------------


def test_a_finished_run_is_remembered(world, whole, untaught):
    again = some(world, *ALL)
    for metric in METRICS:
        for name, scores in whole.numbers[metric].items():
            assert np.array_equal(again.scores(name, metric), scores)
    assert all(same(again, whole, name) for name in ("weak", "ceiling", *ALL))
    assert again.cost == whole.cost
    for name, values in whole.curves.items():
        assert np.array_equal(again.curves[name], values)


@pytest.mark.parametrize("change", ["gold", "question", "input", "labels", "method", "groups"])
def test_another_task_or_setting_is_another_run(world, whole, untaught, change):
    task, _ = world
    asked, methods, item = {}, ALL, task.splits["test"][0]
    if change == "gold":
        gold = task.gold.copy()
        gold[item] = "w39"
        asked["task"] = replace(task, gold=gold)
    elif change == "question":
        questions = [*task.questions]
        questions[item] = "w39"
        asked["task"] = replace(task, questions=tuple(questions))
    elif change == "input":
        inputs = [*task.inputs]
        inputs[item] = "w39"
        asked["task"] = replace(task, inputs=inputs)
    elif change == "groups":
        asked["task"] = replace(task, groups=task.groups + 100)
    elif change == "labels":
        asked["labels"] = 3
    else:
        methods = ALL[:-1]
    with pytest.raises(AssertionError, match="this trains"):
        some(world, *methods, **asked)


def test_a_method_of_ones_own_is_never_taken_from_the_cache(world, whole, monkeypatch):
    def first_two(weak):
        return np.arange(len(weak.texts)) < 2

    mine = TextMethod("mine", first_two)
    found = some(world, mine)
    assert found.methods == ("mine",) and same(found, whole, "ceiling")
    assert not np.array_equal(found.scores("mine"), whole.scores("naive"))
    monkeypatch.setattr(TextBench, "_compute", lambda *_: pytest.fail("computed", pytrace=False))
    with pytest.raises(pytest.fail.Exception, match="computed"):
        some(world, mine)


# --- bad supervisors ------------------------------------------------------------------------------


@pytest.mark.parametrize("rubbish", ["", "§ %% ((", "w1 " * 60])
def test_a_weak_model_that_writes_rubbish_ends_in_a_report(world, fresh, monkeypatch, rubbish):
    through = Blocks.write_all

    def write_all(self, writers, rows, limit, desc=""):
        if self.depth == 2:
            return [[rubbish] * len(rows) for _ in writers]
        return through(self, writers, rows, limit, desc)

    monkeypatch.setattr(Blocks, "write_all", write_all)
    names = ("naive", "likely", "agreed", "shrink", "soft")
    found = some(world, *names)
    assert "naive" in repr(found) and "soft" in found._repr_html_()
    assert (found.texts["weak"] == rubbish).all()
    assert np.isfinite(found.scores("naive")).all()
    for name in names:
        found.signs("weak"), found.reproduced(name), found.pgr(name, "rouge_l")
    if not rubbish:
        assert found.scores("weak", "rouge_l").max() == 0 == found.signs("weak").words
        assert found.reproduced("naive").errors.sum() == 0


def test_a_copier_has_no_likelihood_and_so_no_gap_by_it(world):
    found = some(world, "naive", "likely", "shrink", weak="lead")
    assert not found.has("weak", "log_likelihood") and found.metric == "rouge_l"
    assert np.isnan(found.pgr("naive", "log_likelihood").value)
    assert np.isfinite(found.scores("naive", "log_likelihood")).all()
    assert np.array_equal(found.texts["weak"][0], found.texts["lead sentence"][0])
    # without likelihoods there is nothing to filter by: all texts stay
    assert np.array_equal(found.scores("naive"), found.scores("likely"))
    assert found.cost["weak"]["flops"] == 0 and "naive" in repr(found)


def test_distributions_cannot_be_had_from_a_copier(world, untaught):
    with pytest.raises(W2SError, match="soft: lead has no distribution"):
        some(world, "soft", weak="lead")


def test_distributions_cannot_be_had_over_another_vocabulary(world, untaught, tmp_path):
    other = save_writer(tmp_path / "other", words=tuple(f"x{i}" for i in range(30)))
    with pytest.raises(W2SError, match="another vocabulary"):
        some(world, "soft", weak=str(other))


def test_another_model_of_the_same_vocabulary_has_distributions_to_match(world, fresh, tmp_path):
    other = save_writer(tmp_path / "other", blocks=2, seed=1)
    found = some(world, "naive", "soft", weak=str(other))
    assert not np.array_equal(found.scores("soft"), found.scores("naive"))


def test_a_model_may_teach_itself(world, fresh):
    _, settings = world
    found = some(world, "soft", weak=settings["strong"])
    assert np.array_equal(found.scores("weak"), found.scores("strong on gold labels"))


# --- what is refused, what is dealt ---------------------------------------------------------------


@pytest.mark.parametrize("labels", [0, -1, 9])
def test_labels_out_of_range_are_one_clear_line(world, untaught, labels):
    with pytest.raises(W2SError, match="labels: .* gold labels asked for; give from 1 to 8"):
        some(world, labels=labels)


def test_a_copier_cannot_be_the_strong_model(world, untaught):
    with pytest.raises(W2SError, match="strong='lead'"):
        some(world, strong="lead")


def bench(world, task=None, seeds=1, labels=None):
    made_task, s = world
    return TextBench(task or made_task, s["weak"], s["strong"], "cpu", seeds, labels)


def test_gold_is_dealt_from_supervise_as_many_of_each_kind_as_can_be(world):
    here = bench(world, seeds=4)
    for given in here.given:
        assert len(set(given)) == 4 and set(given) <= set(here.supervise)
        assert sorted(i % 2 for i in given) == [0, 0, 1, 1]
    assert len(set(map(frozenset, here.given))) > 1
    assert bench(world, labels=8).given[0] != here.supervise  # all of them, in another order
    assert sorted(bench(world, labels=8).given[0]) == sorted(here.supervise)


def test_a_task_without_kinds_is_dealt_as_well(world):
    task, _ = world
    here = bench(world, replace(task, kinds=np.array([], str)))
    assert len(set(here.given[0])) == 4 and set(here.given[0]) <= set(here.supervise)


def test_the_limit_comes_from_the_gold_of_supervise_alone(world):
    task, _ = world
    gold = task.gold.copy()
    assert bench(world).limit == 2 + 1  # words, and the end of the turn
    gold[task.splits["transfer"]] = "w1 w2 w3 w4 w5 w6"
    gold[task.splits["test"]] = "w1 w2 w3 w4 w5 w6"
    assert bench(world, replace(task, gold=gold)).limit == 3
    gold[task.splits["supervise"][:1]] = "w1 w2 w3 w4"
    assert bench(world, replace(task, gold=gold)).limit == 3  # the longest of 8 is above 0.75
    gold[task.splits["supervise"][:2]] = "w1 w2 w3 w4"
    assert bench(world, replace(task, gold=gold)).limit == 4 + 1  # 0.75 of 7 steps: the 7th of 8
    gold[task.splits["supervise"][:2]] = "w1 " * 500
    assert bench(world, replace(task, gold=gold)).limit == 133 + 1  # 400 characters of it


def test_only_the_first_test_items_are_written_for_and_all_are_scored(world, monkeypatch, fresh):
    monkeypatch.setattr(text_protocol, "WRITTEN", 4)
    found = some(world)
    assert found.written == 4 and found.scores("naive", "chrf").shape == (1, 4)
    assert found.scores("naive", "log_likelihood").shape == (1, 6)
    assert found.score("naive", "rouge_l") and found.signs("naive") and found.reproduced("naive")
    copied = [writers.lead(text) for text in found.sources[:4]]
    assert found.texts["lead sentence"][0].tolist() == [" ".join(c.split()[:3]) for c in copied]


def test_the_way_out_of_a_cut_model_is_fitted_on_the_transfer_inputs_alone(world):
    here, (task, _) = bench(world), world
    assert here.weak._read == [task.inputs[i] for i in task.splits["transfer"]]


def test_a_writer_of_two_names_writes_once(world, fresh, monkeypatch):
    written, through = [], Blocks.write_all

    def counting(self, writers, rows, limit, desc=""):
        written.append(len(writers))
        return through(self, writers, rows, limit, desc)

    monkeypatch.setattr(Blocks, "write_all", counting)
    monkeypatch.setattr(text_protocol, "SHARES", (1.0,))  # so that `shrink` is the naive student
    found = some(world, "naive", "shrink")
    assert written[-1] == 3  # ceiling, the strong model on the few gold pairs, and naive
    assert (found.texts["shrink"] == found.texts["naive"]).all()
