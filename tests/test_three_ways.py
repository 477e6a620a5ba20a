"""Label, filter, defer: is the account of the three ways what the arithmetic says?

Worked by hand on four test items; at the end one run on a made-up task and a tiny random model.
"""

from dataclasses import replace

import numpy as np
import pytest
from tiny_models import save_model

from w2s_lab import metrics, models
from w2s_lab.data import Task
from w2s_lab.errors import W2SError
from w2s_lab.three_ways import BUDGET, NEEDS, WAYS, Ways, _spoilt, _upper, three_ways

pytestmark = pytest.mark.slow  # models of their own, or the whole pool

# Right answers of one seed to four items: the gap from 1/4 to 1 is 3/4
RIGHT = {
    "weak": [1, 0, 0, 0],
    "label": [1, 1, 0, 0],
    "as found": [0, 0, 0, 0],
    "filter": [1, 1, 1, 0],
    "random half": [1, 0, 0, 0],
    "right ones": [1, 1, 1, 1],
    "defer": [1, 1, 1, 0],
    "ceiling": [1, 1, 1, 1],
}
KEPT = {
    "label": 0.7,
    "as found": 0.8,
    "filter": 0.9,
    "random half": 0.81,
    "right ones": 1.0,
    "ceiling": 1.0,
}


def ways(**changes) -> Ways:
    """Four items; 100 transfer texts; a text costs the weak model 1 TFLOP, the strong one 10."""
    return Ways(
        **{
            "task": "made",
            "seeds": 1,
            "wrong": 0.2,
            "metric": "balanced_accuracy",
            "numbers": {name: np.array([right], float) for name, right in RIGHT.items()},
            "kept": KEPT,
            "deferred": 0.25,
            "gold": np.array([0, 1, 0, 1]),
            "groups": np.arange(4),
            "flops": {"weak": 1e12, "strong": 10e12},
            "transfer": 100,
            **changes,
        }
    )


def many(seeds=3, items=400) -> Ways:
    """As many items as bound the intervals; who is right is drawn, the ceiling most often."""
    rng = np.random.default_rng(0)
    often = {"weak": 0.6, "label": 0.65, "filter": 0.7, "defer": 0.75, "ceiling": 0.95}
    numbers = {
        name: (rng.random((seeds, items)) < often.get(name, 0.65)).astype(float) for name in RIGHT
    }
    gold, groups = np.arange(items) % 2, np.arange(items) // 2
    return ways(numbers=numbers, seeds=seeds, gold=gold, groups=groups)


# --- the account, by hand -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, share",
    [
        ("weak", 0),
        ("label", 1 / 3),  # (2/4 − 1/4) / (3/4)
        ("filter", 2 / 3),
        ("defer", 2 / 3),
        ("as found", -1 / 3),
        ("ceiling", 1),
    ],
)
def test_a_way_recovers_its_share_of_the_gap_from_weak_to_ceiling(name, share):
    assert ways().recovered(name).value == pytest.approx(share)


def test_scores_and_leads_are_means_over_the_test_items():
    found = ways()
    assert found.score("filter").value == 0.75
    assert found.lead("filter", "label").value == 0.25
    # paired: label is right wherever weak is, so no resample puts it behind
    assert ways(gold=np.zeros(4, int)).lead("label", "weak").low >= 0


def test_seeds_count_alike():
    numbers = {n: np.array([r, [0, 0, 0, 1]], float) for n, r in RIGHT.items()}
    found = ways(numbers=numbers, seeds=2)
    # (2/4 + 1/4) / 2
    assert found.score("label").value == pytest.approx(3 / 8)


def test_intervals_draw_whole_groups():
    one = ways(gold=np.zeros(4, int), groups=np.zeros(4))
    # one group: every resample is the whole test
    assert vars(one.recovered("label")) == pytest.approx(
        {"value": 1 / 3, "low": 1 / 3, "high": 1 / 3}
    )


@pytest.mark.parametrize(
    "way, prepare, serve",
    [
        ("label", 1100, 100),  # both models read all 100 texts; the student answers 10 queries
        ("filter", 600, 100),  # the weak one reads all, the student half of them
        ("defer", 1000, 35),  # 10 weak passes, and a quarter of 10 strong ones
    ],
)
def test_a_way_computes_what_it_reads_and_what_it_serves(way, prepare, serve):
    found = ways().operations(way, 10)
    assert found == pytest.approx((prepare * 1e12, serve * 1e12))


def test_who_defers_pays_the_weak_pass_for_all_and_the_strong_one_for_the_deferred_share():
    nothing, all_of_them = ways(deferred=0.0), ways(deferred=1.0)
    assert nothing.operations("defer", 10)[1] == pytest.approx(10e12)
    assert all_of_them.operations("defer", 10)[1] == pytest.approx(110e12)  # more than strong alone
    assert all_of_them.operations("label", 10)[1] == pytest.approx(100e12)
    assert nothing.operations("defer", 0)[1] == 0


def test_gap_per_operation_divides_the_gap_and_its_interval_by_all_operations():
    found = many()
    gap = found.recovered("filter")
    # 600 + 100 TFLOP are 0.7 · 10¹⁵
    assert vars(found.per_flop("filter", 10)) == pytest.approx(
        {name: value / 0.7 for name, value in vars(gap).items()}
    )


@pytest.mark.parametrize("queries, best", [(10, "filter"), (61, "filter"), (62, "defer")])
def test_the_best_way_changes_with_the_number_of_queries(queries, best):
    # filter and defer recover as much: 600 + 10 q and 1000 + 3.5 q cross at 400 / 6.5 = 61.5
    assert ways().best(queries) == best


def test_the_way_of_the_largest_gap_is_the_best_only_where_it_is_cheap_enough():
    numbers = dict(ways().numbers, label=np.ones((1, 4)), defer=np.zeros((1, 4)))
    # 1 TFLOP a text: label 1 / (200 + 10) = 0.0048, filter (2/3) / (150 + 10) = 0.0042
    assert ways(numbers=numbers, flops={"weak": 1e12, "strong": 1e12}).best(10) == "label"
    # 10 TFLOP a strong text: 1 / (1100 + 100) = 0.00083, (2/3) / (600 + 100) = 0.00095
    assert ways(numbers=numbers).best(10) == "filter"


def without_a_gap(**changes) -> Ways:
    """The ceiling is no better than the weak model."""
    return ways(numbers=dict(ways().numbers, ceiling=ways().numbers["weak"]), **changes)


def test_without_a_gap_no_share_of_it_is_defined():
    assert not without_a_gap().recovered("filter").defined
    assert not without_a_gap().per_flop("filter").defined


def test_without_a_gap_no_way_is_named_the_best():
    found = without_a_gap()
    assert not any(found.table(10).notes[-1].endswith(f"buys: {way}.") for way in WAYS)
    assert "'label' buys the most" not in found.plot(10).alt


def test_an_interval_without_width_is_drawn_in_spite_of_rounding():
    rng = np.random.default_rng(1)
    for items in range(3, 40):
        often = {"weak": 0.3, "ceiling": 0.9}
        numbers = {n: (rng.random((2, items)) < often.get(n, 0.6)) * 1.0 for n in RIGHT}
        gold = rng.integers(0, 2, items)
        ways(numbers=numbers, seeds=2, gold=gold, groups=np.zeros(items)).plot(10)


# --- tables and figure ----------------------------------------------------------------------------


def test_the_table_holds_both_ends_and_each_way_with_its_operations():
    table = ways().table(10)
    rows = {row[0]: row[1:] for row in table.rows}
    assert list(rows) == ["weak", *WAYS, "ceiling"]
    assert rows["defer"][2:4] == ("1,000 TFLOP", "35 TFLOP") and rows["label"][3] == "100 TFLOP"
    # (1/3) / 1.2 = 0.28, (2/3) / 0.7 = 0.95, (2/3) / 1.035 = 0.64
    assert [rows[way][4].partition(" ")[0] for way in WAYS] == ["0.3", "1.0", "0.6"]
    assert rows["weak"][1:] == rows["ceiling"][1:] == ("", "", "", "")
    assert rows["label"][0].startswith("0.50 [") and rows["label"][1].startswith("0.33 [")
    for told in ("made: balanced accuracy on 4 test items", "1 seed;", "10 queries served"):
        assert told in table.title


def test_the_tables_notes_say_what_each_way_needs_and_which_buys_most():
    notes = ways().table(10).notes
    for way in WAYS:
        assert f"{way} needs {NEEDS[way]}." in notes
    assert set(NEEDS) == set(WAYS)
    assert "Of the labels found, 20% are wrong; 25% of the queries are passed on." in notes
    assert notes[-1].endswith("buys: filter.")
    assert ways().table(1000).notes[-1].endswith("buys: defer.")


def test_choosing_stands_beside_relabelling_with_the_share_of_right_labels():
    table = ways().choices()
    rows = {row[0]: row[1:] for row in table.rows}
    assert len(rows) == 7
    assert rows["all texts, relabelled by the weak model"][0] == "70%"
    assert rows["the half the weak model trusts, labels as found"][0] == "90%"
    assert rows["only the texts whose label is right"][0] == "100%"
    assert rows["all texts, labels as found"][2].startswith("-0.33 [")
    assert rows["(the weak model itself)"] == ("", rows["(the weak model itself)"][1], "")
    assert table.notes[0].startswith("Choosing beats relabelling by 0.25 [")
    assert "20% of the labels found are wrong" in table.title


def test_a_result_prints_and_shows_its_table():
    found = ways()
    assert repr(found) == str(found.table())
    assert found._repr_html_() == found.table()._repr_html_() and "<table>" in found._repr_html_()


def drawn(figure) -> list[str]:
    from matplotlib.text import Text

    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.mark.parametrize("found", [ways(), many()], ids=["unbounded", "bounded"])
def test_the_figure_names_ways_ends_and_axes_and_says_so_in_words(found):
    figure = found.plot(10)
    (ax,) = figure.axes
    texts = drawn(figure)
    for name in (*WAYS, "weak model", "ceiling"):
        assert name in texts
    assert ax.get_xlabel() == "operations (TFLOP) to prepare and to serve 10 queries"
    assert ax.get_ylabel() == "gap recovered, 95 % intervals"
    assert "\n" not in figure.alt and "10 queries served" in figure.alt
    for way in WAYS:
        assert f"{way} {found.recovered(way)} for" in figure.alt
    assert f"{found.best(10)!r} buys the most" in figure.alt
    low, high = ax.get_ylim()
    assert low < 0 and high > 1 and ax.get_xlim()[0] == 0


def test_the_figure_puts_each_way_at_its_operations_and_its_gap():
    (ax,) = many().plot(10).axes
    points = [bars.lines[0].get_xydata()[0] for bars in ax.containers]
    # 1100 + 100, 600 + 100 and 1000 + 35 TFLOP
    assert [x for x, _ in points] == pytest.approx([1200, 700, 1035])
    assert [y for _, y in points] == pytest.approx([many().recovered(way).value for way in WAYS])


# --- what the students are told -------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("wrong", [0.1, 0.5])
def test_about_the_share_asked_for_is_turned_into_another_class(classes, wrong):
    gold = np.random.default_rng(1).integers(classes, size=4000)
    found = _spoilt(gold, classes, wrong, 0)
    moved = found != gold  # all that are chosen move: their share is the one asked for
    # the deviation of a share of 4,000 is √(.5 · .5 / 4000) = 0.008 at most
    assert moved.mean() == pytest.approx(wrong, abs=0.03)
    assert set(found) == set(range(classes))
    # every other class is as likely
    steps = np.bincount((found - gold)[moved] % classes, minlength=classes)
    assert steps[0] == 0
    np.testing.assert_allclose(steps[1:] / moved.sum(), 1 / (classes - 1), atol=0.06)


def test_spoiling_repeats_itself_by_seed_and_leaves_gold_alone():
    gold = np.arange(100) % 3
    found = _spoilt(gold, 3, 0.5, 7)
    np.testing.assert_array_equal(found, _spoilt(gold, 3, 0.5, 7))
    assert (found != _spoilt(gold, 3, 0.5, 8)).any()
    np.testing.assert_array_equal(gold, np.arange(100) % 3)


def test_a_larger_share_spoils_what_a_smaller_one_did_and_more_and_none_spoils_none():
    gold = np.arange(200) % 3
    few, lots = (_spoilt(gold, 3, wrong, 0) for wrong in (0.1, 0.4))
    spoilt = few != gold
    np.testing.assert_array_equal(lots[spoilt], few[spoilt])
    np.testing.assert_array_equal(_spoilt(gold, 3, 0.0, 0), gold)


def test_the_upper_half_of_each_label_is_kept():
    values = np.array([[0.1, 0.9, 0.5, 0.4, 0.2, 0.3]])
    labels = np.array([[0, 0, 0, 0, 1, 1]])
    # of 0: 0.9 and 0.5; of 1: 0.3, though it is less than what is left of 0
    assert _upper(values, labels)[0].tolist() == [False, True, True, False, False, True]


def test_of_equal_values_the_earlier_are_kept():
    values, labels = np.full((1, 6), 0.5), np.array([[0, 1, 0, 1, 0, 0]])
    # two of the four 0 at 0 2 4 5, one of the two 1 at 1 3
    assert np.flatnonzero(_upper(values, labels)[0]).tolist() == [0, 1, 2]


def test_a_label_that_only_one_text_has_keeps_it():
    values, labels = np.array([[0.0, 0.9, 0.8]]), np.array([[2, 0, 0]])
    assert np.flatnonzero(_upper(values, labels)[0]).tolist() == [0, 1]


def test_each_seed_keeps_its_own_half():
    values = np.array([[0.1, 0.2], [0.2, 0.1]])
    assert _upper(values, np.zeros((2, 2), int)).tolist() == [[False, True], [True, False]]


# --- a run ----------------------------------------------------------------------------------------

SIZES = {"supervise": 48, "transfer": 240, "validation": 100, "test": 72}


def planted() -> Task:
    """Texts in groups of four; one word of seven tells the class, three words each."""
    rng = np.random.default_rng(0)
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
        labels=16,
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
def run(world):
    task, settings = world
    return three_ways(task, **settings)


def test_a_run_scores_weak_ceiling_every_way_and_every_choice(world, run):
    task, _ = world
    assert set(run.numbers) == set(RIGHT) and set(run.kept) == set(KEPT)
    test = task.splits["test"]
    for name, scores in run.numbers.items():
        assert scores.shape == (2, 72), name
        assert set(scores.ravel()) <= set(
            metrics.item_scores([task.gold[test]], task.gold[test], task.metric).ravel()
        ) | {0.0}, name
    np.testing.assert_array_equal(run.gold, task.gold[test])
    np.testing.assert_array_equal(run.groups, task.groups[test])
    assert (run.task, run.seeds, run.wrong, run.transfer) == ("planted", 2, 0.2, 240)
    assert str(run.table()) and str(run.choices()) and run.plot().alt


def test_the_right_ones_are_all_right_and_as_found_is_as_wrong_as_asked(run):
    assert run.kept["right ones"] == run.kept["ceiling"] == 1
    # two seeds of 240: a deviation of √(.2 · .8 / 480) = 0.018
    assert run.kept["as found"] == pytest.approx(0.8, abs=0.06)
    assert run.kept["random half"] == pytest.approx(0.8, abs=0.08)


def test_the_weak_model_chooses_better_than_chance(run):
    assert run.kept["label"] > 0.55
    assert run.kept["filter"] > run.kept["random half"] + 0.02


def test_no_more_is_deferred_than_the_budget_allows(run):
    # chosen on 100 validation items and held on 2 · 72 others: a deviation of about 0.06
    assert 0.05 < run.deferred <= BUDGET + 0.12


def test_who_defers_answers_as_the_weak_model_or_as_the_ceiling(run):
    defer, weak, ceiling = (run.numbers[n] for n in ("defer", "weak", "ceiling"))
    assert ((defer == weak) | (defer == ceiling)).all()
    # at least as many items must have gone as it answers otherwise than the weak model
    assert (defer != weak).mean() <= run.deferred
    assert (defer != ceiling).mean() <= 1 - run.deferred


def test_word_vectors_cost_an_addition_a_number_and_blocks_their_weights(world, run):
    task, settings = world
    test = [task.inputs[i] for i in task.splits["test"]]
    tokens = np.mean([len(text.split()) + 2 for text in test])  # [CLS] and [SEP]
    assert run.flops["weak"] == pytest.approx(tokens * 32)  # the hidden size
    strong = models.trunk(settings["strong"], device="cpu")
    assert run.flops["strong"] == pytest.approx(tokens * strong.flops_per_token())
    assert run.flops["strong"] > 100 * run.flops["weak"] > 0


def test_without_wrong_labels_the_labels_found_are_gold(world, run):
    task, settings = world
    clean = three_ways(task, **settings, wrong=0)
    assert clean.kept["as found"] == clean.kept["filter"] == clean.kept["random half"] == 1
    for name in ("as found", "right ones"):
        np.testing.assert_array_equal(clean.numbers[name], clean.numbers["ceiling"])
    # what nobody told wrong labels stays as it was
    for name in ("weak", "label", "ceiling", "defer"):
        np.testing.assert_array_equal(clean.numbers[name], run.numbers[name])


@pytest.fixture
def unread(monkeypatch):
    """No model may be asked for."""

    def fails(*_, **__):
        raise AssertionError("this reads a model")

    monkeypatch.setattr(models, "trunk", fails)


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": (), "gold": np.array(["a text"] * sum(SIZES.values()), object)},
        {"protocol": "filter"},
        {"protocol": "cascade"},
    ],
    ids=["texts", "filter", "cascade"],
)
def test_a_task_of_another_kind_is_refused_in_one_line(unread, changes):
    with pytest.raises(W2SError, match="planted: .*choose indemnity") as caught:
        three_ways(replace(planted(), **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [-0.1, 1, 1.5, np.nan])
def test_a_share_out_of_range_is_refused_in_one_line(unread, wrong):
    with pytest.raises(W2SError, match=r"of the labels wrong; choose from \[0, 1\)") as caught:
        three_ways(planted(), wrong=wrong)
    assert "\n" not in str(caught.value)
