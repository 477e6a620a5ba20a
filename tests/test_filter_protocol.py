"""Is every chooser offered the same for the same budget, and is a finished run remembered rightly?

On a made-up store and random models of a few thousand weights.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import WORDS, save_model, save_writer

from w2s_lab import filter_protocol, sequences
from w2s_lab.data import Task
from w2s_lab.errors import W2SError
from w2s_lab.filter_experiment import run_filter
from w2s_lab.filter_protocol import OFFERED, FilterBench, offered
from w2s_lab.selection import DISTIL, SCORES, Score

pytestmark = pytest.mark.slow  # whole runs of tiny models

SIZES = {"supervise": 24, "transfer": 60, "validation": 4, "test": 16}
SEEDS = 2


def planted(seed=0, **changes) -> Task:
    """104 texts: clean ones count upwards, dirt is words at random; test is clean."""
    rng = np.random.default_rng(seed)
    items = sum(SIZES.values())
    ends = np.cumsum(list(SIZES.values()))
    splits = dict(zip(SIZES, np.split(np.arange(items), ends[:-1]), strict=True))
    gold = (rng.random(items) < 0.5).astype(int)
    gold[np.concatenate([splits["validation"], splits["test"]])] = 1
    texts = []
    for clean in gold:
        first, length = rng.integers(30), rng.integers(6, 12)
        words = (first + np.arange(length)) % 30 if clean else rng.integers(0, 40, length)
        texts.append(" ".join(f"w{w}" for w in words))
    return Task(
        **{
            "name": "planted",
            "size": "smoke",
            "inputs": tuple(texts),
            "gold": gold,
            "groups": np.arange(items) // 2,
            "ids": np.arange(items).astype(str),
            "splits": splits,
            "classes": ("dirt", "clean"),
            "metric": "log_likelihood",
            "kinds": np.where(gold == 1, "counting", "noise"),
            "protocol": "filter",
            "provenance": {"source": "made up"},
            **changes,
        }
    )


def asked_of(task) -> Task:
    """The same task with a prompt of one or two words for each text."""
    return replace(task, questions=tuple(f"w{i % 40} w3"[: 2 + 3 * (i % 2)] for i in range(104)))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The settings of every run here; an empty cache, tiny models, a tiny encoder."""
    home = tmp_path_factory.mktemp("world")
    model = save_writer(home / "model", blocks=4)
    encoder = save_model(home / "encoder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("W2S_CACHE", str(home / "cache"))
        patch.setattr(filter_protocol, "WEAK_EMBEDDER", str(encoder))
        # a random model of 32 numbers a state needs larger and more steps than a trained one
        patch.setitem(sequences.learn.__kwdefaults__, "lr", 3e-2)
        patch.setattr(sequences, "STEP_TOKENS", 30)
        yield {"weak": f"{model}:2", "strong": str(model), "device": "cpu"}


def run(world, *methods, task=None, **changes):
    asked = {"seeds": SEEDS, "labels": None, "started": 0.0, **world, **changes}
    return run_filter(task or planted(), methods=list(methods) or ["likely"], **asked)


@pytest.fixture(scope="module")
def whole(world):
    """One run with every score that suits texts."""
    return run(world, "likely", "middle", "distilled", "n-gram", "classifier", "unique", "curated")


@pytest.fixture
def computed(monkeypatch):
    """The runs that were not remembered."""
    done, through = [], FilterBench._compute

    def counting(self, methods):
        done.append([m.name for m in methods])
        return through(self, methods)

    monkeypatch.setattr(FilterBench, "_compute", counting)
    return done


def by_length(store):
    return np.array([len(text) for text in store.texts], float)


# --- choosing -------------------------------------------------------------------------------------


def a_bench(lengths, clean, *, seeds=3, fraction=0.25):
    """A bench that knows lengths and gold alone; no model is behind it."""
    bench = object.__new__(FilterBench)
    count = len(lengths)
    bench.in_store = bench.store = np.arange(count)
    bench.seeds, bench.fraction = seeds, fraction
    bench.task = planted(gold=np.array(clean, int))
    bench.__dict__["read"] = type(
        "Read", (), {"found": type("Found", (), {"counts": np.array(lengths)})}
    )
    return bench


def test_four_fifths_of_a_store_are_on_offer_once_each_and_other_ones_in_each_seed():
    # the whole numbers next to 0.8 · 61 = 48.8 and 0.8 · 7 = 5.6
    assert OFFERED == 0.8 and [len(offered(count, 0)) for count in (61, 7)] == [49, 6]
    drawn = [offered(61, seed) for seed in range(10)]
    assert all(len(set(here)) == 49 and set(here) <= set(range(61)) for here in drawn)
    assert len({frozenset(here) for here in drawn}) == 10
    assert offered(61, 3).tolist() == drawn[3].tolist()


NAMES = ("likely", "unlikely", "middle")


@given(
    st.lists(st.tuples(st.integers(5, 40), st.booleans()), min_size=30, max_size=60),
    st.sampled_from([0.3, 0.5, 1.0]),
    st.integers(0, 99),
)
def test_every_chooser_is_offered_the_same_and_spends_no_more_than_the_same(
    documents, fraction, seed
):
    lengths, clean = (np.array(part) for part in zip(*documents, strict=True))
    clean[:10] = True  # an oracle needs something to find
    rng = np.random.default_rng(seed)
    judged = {name: rng.normal(size=len(lengths)) for name in NAMES}
    judged["middle"][rng.random(len(lengths)) < 0.2] = np.nan
    bench = a_bench(lengths, clean, fraction=fraction)
    kept = bench.choose(judged, [SCORES[name] for name in NAMES])
    assert set(kept) == {"random", "oracle", *NAMES}
    for s in range(bench.seeds):
        here = offered(len(lengths), s)
        budget = fraction * lengths[here].sum()
        for name, chosen in kept.items():
            index = chosen[s]
            assert len(set(index)) == len(index) and set(index) <= set(here), name
            assert lengths[index].sum() <= budget, name
            # whoever has a score for all leaves less than one document's tokens
            if name in ("random", "likely", "unlikely"):
                assert lengths[index].sum() > budget - lengths.max(), name
        assert clean[kept["oracle"][s]].all()
        assert not np.isnan(judged["middle"][kept["middle"][s]]).any()


def test_choosers_keep_what_their_scores_say():
    lengths, clean = np.full(50, 10), np.arange(50) % 2 == 0
    scores = np.arange(50.0)
    bench = a_bench(lengths, clean)
    asked = [SCORES["likely"], SCORES["unlikely"]]
    kept = bench.choose({"likely": scores, "unlikely": scores}, asked)
    for seed in range(bench.seeds):
        # 40 of 50 are on offer, a quarter of their tokens are 10 documents
        here = np.sort(offered(50, seed))
        assert sorted(kept["likely"][seed]) == here[:10].tolist()
        assert sorted(kept["unlikely"][seed]) == here[-10:].tolist()


def test_a_random_choice_is_another_in_each_seed_and_knows_nothing_of_gold():
    lengths, clean = np.full(200, 10), np.arange(200) < 100
    kept = a_bench(lengths, clean, seeds=20).choose({}, [])["random"]
    assert len({tuple(sorted(index)) for index in kept}) == 20
    # 40 of 160 on offer, half of them clean; the mean of 20 draws lies within 4 · √(10 / 20)
    assert np.mean([clean[index].sum() for index in kept]) == pytest.approx(20, abs=2.9)


def test_an_oracle_who_finds_too_little_clean_text_spends_less_and_takes_no_dirt():
    lengths, clean = np.full(50, 10), np.arange(50) < 6
    kept = a_bench(lengths, clean).choose({}, [])["oracle"]
    for seed, index in enumerate(kept):
        assert sorted(index) == [i for i in np.sort(offered(50, seed)) if i < 6]


# --- a whole run ----------------------------------------------------------------------------------


def test_a_run_holds_bounds_baselines_and_methods_by_name(whole):
    names = {"random", "oracle", "untouched", "all data", *whole.methods}
    assert set(whole.numbers) == names
    for name, scores in whole.numbers.items():
        once = name in ("untouched", "all data")
        assert scores.shape == (1 if once else SEEDS, SIZES["test"]), name
        assert np.isfinite(scores).all() and (scores < 0).all(), name
    assert set(whole.kept) == names - {"untouched", "all data"}
    assert set(whole.judged) == {"nll", *whole.methods}
    assert all(values.shape == (SIZES["transfer"],) for values in whole.judged.values())


def test_what_a_run_says_of_store_and_test_is_the_tasks(world, whole):
    task = planted()
    store, test = task.splits["transfer"], task.splits["test"]
    assert whole.texts.tolist() == [task.inputs[i] for i in store]
    np.testing.assert_array_equal(whole.clean, task.gold[store] == 1)
    np.testing.assert_array_equal(whole.kinds, task.kinds[store])
    np.testing.assert_array_equal(whole.groups, task.groups[test])
    # one token a word
    assert whole.tokens.tolist() == [len(task.inputs[i].split()) for i in store]
    assert (whole.weak, whole.strong) == (world["weak"], world["strong"])
    assert (whole.seeds, whole.labels, whole.fraction) == (SEEDS, SIZES["supervise"], 0.25)
    assert whole.by["likely"] == "" and whole.by["n-gram"] == SCORES["n-gram"].by
    assert (whole.by["random"], whole.by["oracle"]) == ("chance", "one who knows")
    assert whole.distil == {**dict.fromkeys(whole.methods, 0), "distilled": DISTIL}


def test_the_oracles_choice_is_all_clean_and_no_choice_is_dearer(whole):
    assert whole.precision("oracle") == 1
    for name, kept in whole.kept.items():
        for seed, index in enumerate(kept):
            here = offered(SIZES["transfer"], seed)
            assert set(index) <= set(here), name
            assert whole.tokens[index].sum() <= 0.25 * whole.tokens[here].sum(), name
    # 0.8 · 60 in each seed, and nothing was kept more often than it was there
    assert whole.on_offer.sum() == 48
    assert all((whole.chosen(name) <= whole.on_offer).all() for name in whole.kept)


def test_learning_from_counting_texts_teaches_to_count_and_noise_teaches_less(whole):
    untouched, random, oracle = (
        whole.score(name).value for name in ("untouched", "random", "oracle")
    )
    assert oracle > untouched + 0.2 and random > untouched
    assert oracle > random


def test_scores_that_share_the_weak_models_loss_agree_and_distilling_changes_the_student(whole):
    for name in ("likely", "middle", "distilled"):
        np.testing.assert_array_equal(whole.judged[name], whole.judged["nll"])
    for one, two in zip(whole.kept["middle"], whole.kept["distilled"], strict=True):
        np.testing.assert_array_equal(one, two)
    assert DISTIL and abs(whole.numbers["middle"] - whole.numbers["distilled"]).max() > 1e-3


def test_the_costs_are_told(whole):
    flops = whole.facts["flops"]
    assert set(flops) == {"weak scores", "one student", "all data"}
    # a choice takes a quarter of what is on offer, four fifths of all: a fifth
    assert flops["one student"] == pytest.approx(0.2 * flops["all data"])
    assert flops["weak scores"] > 0 and whole.facts["weak_on_test"] < 0
    assert whole.facts["counts"] == whole.tokens.tolist()


def test_another_weak_model_than_the_strong_one_cut_can_choose(world, tmp_path):
    other = save_writer(tmp_path / "other", blocks=2, seed=1)
    result = run(world, "likely", "distilled", weak=str(other), seeds=1)
    assert all(np.isfinite(scores).all() for scores in result.numbers.values())


def test_a_weak_model_of_another_tokenizer_can_choose_but_cannot_be_a_teacher(world, tmp_path):
    other = str(save_writer(tmp_path / "other", words=tuple(reversed(WORDS))))
    told = "distilled: .*other has other tokens than .*model; choose a weak model of its family"
    with pytest.raises(W2SError, match=told):
        run(world, "likely", "distilled", weak=other, seeds=1)
    assert np.isfinite(run(world, "likely", weak=other, seeds=1).numbers["likely"]).all()


def test_a_strong_model_without_a_block_to_spare_is_refused(world, tmp_path):
    shallow = save_writer(tmp_path / "shallow", blocks=1)
    with pytest.raises(W2SError, match="1 blocks.*more than 1"):
        run(world, weak=str(shallow), strong=str(shallow))


def test_judged_passages_are_of_both_classes_however_few_they_are(world):
    task = planted()
    for labels in (2, 3, 8, 24):
        bench = FilterBench(task, world["weak"], world["strong"], "cpu", 1, labels=labels)
        gold = task.gold[bench.judged]
        assert len(gold) == len(set(bench.judged)) == labels
        assert set(bench.judged) <= set(task.splits["supervise"])
        if labels < 24:
            assert abs(gold.mean() - task.gold[task.splits["supervise"]].mean()) < 0.51
        assert set(gold) == {0, 1}


@pytest.mark.parametrize("gold, name", [(1, "dirt"), (0, "clean")])
def test_judged_passages_that_are_all_of_one_class_are_refused(world, gold, name):
    task = planted()
    same = task.gold.copy()
    same[task.splits["supervise"]] = gold
    with pytest.raises(W2SError, match=f"labels: no judged passage is '{name}'; judge some of ei"):
        run(world, "classifier", task=replace(task, gold=same))
    assert run(world, "likely", task=replace(task, gold=same), seeds=1).methods


def test_documents_without_kinds_are_told_by_their_class(world):
    result = run(world, task=planted(seed=1, kinds=np.array([])), seeds=1)
    np.testing.assert_array_equal(result.kinds, np.where(result.clean, "clean", "dirt"))
    assert set(result.test_kinds) == {"clean"} and set(result.recall("oracle")) == {"clean", "dirt"}


# --- prompts --------------------------------------------------------------------------------------


def test_answers_to_prompts_are_judged_by_how_much_their_prompt_helps(world):
    result = run(world, "difficulty", "easy", task=asked_of(planted()), seeds=1)
    easy, hard = result.judged["easy"], result.judged["difficulty"]
    assert np.isfinite(easy).all() and (easy > 0).all()
    np.testing.assert_array_equal(np.isnan(hard), easy > 1)
    assert not np.isnan(hard[result.kept["difficulty"][0]]).any()
    # the end of the turn is an answer's last token
    assert result.tokens.tolist() == [len(text.split()) + 1 for text in result.texts]


def test_a_task_without_prompts_refuses_difficulty_in_one_clear_line(world):
    with pytest.raises(W2SError, match="difficulty: these documents answer no instruction") as told:
        run(world, "likely", "difficulty")
    assert "\n" not in str(told.value) and "`pairs`" in str(told.value)


def test_an_answer_is_the_same_tokens_with_and_without_its_prompt(world, monkeypatch):
    seen, through = [], sequences.mean_loss

    def counting(read, items, *args, **options):
        seen.append(read.found.counts[items])
        return through(read, items, *args, **options)

    monkeypatch.setattr(sequences, "mean_loss", counting)
    bench = FilterBench(asked_of(planted()), world["weak"], world["strong"], "cpu", 1)
    bench.opinions()
    given, alone = seen
    np.testing.assert_array_equal(given, alone)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0, 1.1, -0.2])
def test_a_fraction_out_of_range_is_refused(world, fraction):
    with pytest.raises(W2SError, match="a fraction of .*above 0 and up to 1"):
        run(world, fraction=fraction)


def test_a_fraction_too_small_for_one_document_is_refused(world):
    with pytest.raises(W2SError, match="does not buy the first document"):
        run(world, fraction=0.001)


@pytest.mark.parametrize(
    "judge, shape",
    [
        (lambda store: store.nll[:-1], r"\(59,\)"),
        (lambda store: 1.0, r"\(\)"),
        (lambda store: store.nll[:, None], r"\(60, 1\)"),
    ],
)
def test_a_score_of_the_wrong_length_is_told_with_its_name(world, judge, shape):
    with pytest.raises(W2SError, match=rf"my score: scores of shape {shape}.*give \(60,\)"):
        run(world, Score("my score", judge, "low"))


def test_a_score_that_is_nan_everywhere_is_refused(world):
    with pytest.raises(W2SError, match="every score is nan"):
        run(world, Score("mine", lambda store: store.nll * np.nan, "low"))


# --- what is remembered ---------------------------------------------------------------------------


def test_the_same_run_is_remembered_to_the_last_number(world, whole, computed):
    again = run(world, *whole.methods)
    assert computed == []
    for name, scores in whole.numbers.items():
        np.testing.assert_array_equal(again.numbers[name], scores)
    for name, values in whole.judged.items():
        np.testing.assert_array_equal(again.judged[name], values)
    for name, kept in whole.kept.items():
        for one, two in zip(kept, again.kept[name], strict=True):
            np.testing.assert_array_equal(one, two)
    assert again.facts == whole.facts


def test_a_remembered_run_is_what_a_fresh_one_comes_to(world, whole, monkeypatch):
    monkeypatch.setattr(FilterBench, "everything", FilterBench._compute)
    fresh = run(world, *whole.methods)
    for name, scores in whole.numbers.items():
        np.testing.assert_allclose(fresh.numbers[name], scores, atol=1e-5, err_msg=name)


def test_another_gold_text_fraction_weak_model_or_number_of_seeds_is_another_run(world, computed):
    first = planted()
    run(world)
    run(world)
    assert len(computed) == 1
    gold = first.gold.copy()
    gold[first.splits["transfer"][0]] ^= 1
    run(world, task=replace(first, gold=gold))
    run(world, task=replace(first, inputs=("w9 w8", *first.inputs[1:])))
    run(world, fraction=0.3)
    run(world, seeds=1)
    run(world, labels=8)
    run(world, weak=world["weak"].replace(":2", ":3"))
    run(world, "unlikely")
    assert len(computed) == 8
    run(world, task=planted())  # the same content is the same run
    assert len(computed) == 8


def test_another_encoder_is_another_run(world, computed, monkeypatch, tmp_path):
    other = save_model(tmp_path / "encoder", seed=1)
    run(world, "classifier", seeds=1)
    monkeypatch.setattr(filter_protocol, "WEAK_EMBEDDER", str(other))
    run(world, "classifier", seeds=1)
    run(world, "classifier", seeds=1)
    assert computed == [["classifier"]] * 2


def test_a_score_from_elsewhere_is_computed_each_time(world, computed):
    mine = Score("mine", by_length, "low")
    first = run(world, mine, "likely")
    again = run(world, mine, "likely")
    assert computed == [["mine", "likely"]] * 2
    for name, scores in first.numbers.items():
        np.testing.assert_allclose(again.numbers[name], scores, atol=1e-6, err_msg=name)
    longest = run(world, Score("mine", lambda store: -by_length(store), "low"), "likely")
    assert longest.judged["mine"].tolist() == (-first.judged["mine"]).tolist()
    assert longest.chosen("mine").sum() < first.chosen("mine").sum()


@pytest.mark.parametrize("name", ["random", "oracle", "untouched", "all data", "nll"])
def test_a_score_cannot_take_the_name_of_a_bound(world, name):
    with pytest.raises(W2SError, match=f"{name}: the name is taken"):
        run(world, Score(name, by_length, "low"), seeds=1)


def test_a_score_cannot_take_the_name_of_another_in_the_same_run(world, computed):
    with pytest.raises(W2SError, match="likely: the name is taken"):
        run(world, "likely", Score("likely", by_length, "low"), seeds=1)
    assert computed == []
