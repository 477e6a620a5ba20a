"""When is a small writer sure of what it wrote, and what is that worth? Three texts, by hand.

At the end one run of a tiny random decoder and its first two blocks; MiniLM's similarity is
replaced by chrF: no model is fetched here.
"""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_models import save_writer

from w2s_lab import finetune, text_cascade, text_metrics, writers
from w2s_lab.data import Task
from w2s_lab.errors import W2SError
from w2s_lab.text_cascade import MEAN, QUANTILES, SUM, TextCascade

pytestmark = pytest.mark.slow  # models of their own, or the whole pool

TOKENS = ([-1.0, -3.0], [-0.5], [-6.0, -1.0, -2.0])
SMALL, LARGE = [0.2, 0.4, 0.3], [0.6, 0.4, 0.9]


def arrays(*rows):
    return [np.array(row, float) for row in rows]


def of_three(**changes) -> TextCascade:
    """Gains of 0.4, 0 and 0.6; the second text is the surest, by any rule."""
    return TextCascade(
        **{
            "task": "made",
            "models": {"small": "little", "large": "big"},
            "texts": {role: np.array(["a", "b", "c"], object) for role in ("small", "large")},
            "gold": np.array(["a", "b", "d"], object),
            "groups": np.arange(3),
            "quality": {
                "similarity": {"small": np.array(SMALL), "large": np.array(LARGE)},
                "chrf": {"small": np.array([0.0, 0.5, 0.0]), "large": np.array([1.0, 0.5, 0.0])},
            },
            "token_log_probs": arrays(*TOKENS),
            "flops": {"small": 1.0, "large": 10.0},
            **changes,
        }
    )


def of_many(gain=0.3, items=200) -> TextCascade:
    """The large model is better by `gain` and noise; nobody is surer where that is little."""
    rng = np.random.default_rng(0)
    small = rng.random(items)
    quality = {"small": small, "large": small + gain + 0.1 * rng.standard_normal(items)}
    return of_three(
        gold=np.full(items, "a", object),
        groups=np.arange(items),
        quality={"similarity": quality, "chrf": quality},
        token_log_probs=[-rng.random(n) for n in rng.integers(1, 20, items)],
    )


# --- confidence, by hand --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule, sure",
    [
        (SUM, [-4, -0.5, -9]),
        (MEAN, [-2, -0.5, -3]),
        (0.0, [-3, -0.5, -6]),  # the least sure token
        (0.25, [-2.5, -0.5, -4]),  # a quarter from −3 to −1; half-way from −6 to −2
        (0.5, [-2, -0.5, -2]),
        (1.0, [-1, -0.5, -1]),
    ],
)
def test_confidence_is_what_its_rule_makes_of_the_tokens(rule, sure):
    assert of_three().confidence(rule).tolist() == pytest.approx(sure)


def test_of_equally_likely_tokens_the_sum_prefers_the_shorter_text_always():
    found = of_three(token_log_probs=arrays([-0.5] * 7, [-0.5] * 2, [-0.5] * 4))
    assert found.confidence(SUM).tolist() == [-3.5, -1, -2]
    assert found.length_bias(SUM) == -1
    assert found.confidence(MEAN).tolist() == found.confidence(0.25).tolist() == [-0.5] * 3


def test_the_bias_is_a_correlation_of_ranks():
    # lengths 1 2 3 4; sums −8 −2 −3 −40: ranks 2 4 3 1, differences −1 −2 0 3 from 1 2 3 4,
    # 1 − 6 · (1 + 4 + 0 + 9) / (4 · 15) = −0.4
    tokens = arrays([-8], [-1, -1], [-1, -1, -1], [-10, -10, -10, -10])
    assert of_three(token_log_probs=tokens).length_bias(SUM) == pytest.approx(-0.4)


def test_texts_of_one_length_have_no_bias_to_be_told():
    found = of_three(token_log_probs=arrays([-1, -2], [-3, -1], [-1, -1]))
    assert np.isnan(found.length_bias(SUM)) and np.isnan(found.length_bias(0.5))


# --- curve and average PGR ------------------------------------------------------------------------


def test_the_curve_defers_the_least_sure_text_first():
    curve = of_three().curve(SUM)
    # mean of 0.2 0.4 0.3, then the third by 0.9, then the first by 0.6, then the second
    assert curve.quality.tolist() == pytest.approx([0.3, 0.5, 1.9 / 3, 1.9 / 3])
    # a query costs 1, and 10 more where it is passed on
    assert curve.cost.tolist() == pytest.approx([1, 1 + 10 / 3, 1 + 20 / 3, 11])
    assert curve.threshold.tolist() == [-np.inf, -9, -4, -0.5]


@pytest.mark.parametrize(
    "rule, area",
    [
        (SUM, 0.7),  # of the gap 0 .6 1 1: (.3 + .8 + 1) / 3
        (0.5, 2 / 3),  # first and third go together, 0 to 1 over two thirds: 1/3 + 1/3
    ],
)
def test_the_average_pgr_matches_the_hand_worked_area(rule, area):
    assert of_three().average_pgr(rule).value == pytest.approx(area)


def test_another_metric_has_another_average_pgr():
    # only the first text gains, and is second to go: 0 0 1 1, (0 + .5 + 1) / 3
    assert of_three().average_pgr(SUM, "chrf").value == pytest.approx(0.5)
    assert of_three().gap("chrf").value == pytest.approx(1 / 3)


def test_a_single_group_leaves_nothing_to_resample():
    found = of_three(groups=np.zeros(3)).average_pgr(SUM)
    assert (found.low, found.high) == pytest.approx((0.7, 0.7))


def test_the_gap_is_the_large_models_lead():
    # (0.4 + 0 + 0.6) / 3
    assert of_three().gap().value == pytest.approx(1 / 3)


def test_a_confidence_that_knows_nothing_is_worth_one_half():
    found = of_many().average_pgr(MEAN)
    assert found.low < 0.5 < found.high and found.high - found.low < 0.2


# --- the table ------------------------------------------------------------------------------------


def test_the_table_has_every_rule_with_its_bias():
    table = of_three().table()
    names = [row[0] for row in table.rows]
    assert names == ["sum of log-probabilities", "mean", *(f"quantile {q:g}" for q in QUANTILES)]
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["mean"][0].startswith("0.70 [") and rows["quantile 0.5"][0].startswith("0.67 [")
    # sums −4 −0.5 −9 of 2, 1 and 3 tokens
    assert rows["sum of log-probabilities"][1] == "-1.00"
    assert "made: similarity to gold of texts by little (0.30) and big (0.63)" in table.title
    assert "3 test items" in table.title
    found = of_three()
    assert repr(found) == str(found.table()) and "<table>" in found._repr_html_()


def test_the_table_warns_where_the_gap_may_be_none_and_only_there():
    unsure, sure = of_many(gain=0.0).table(), of_many().table()
    assert unsure.notes[-1].startswith("Warning: the gap may be 0")
    assert not any(note.startswith("Warning") for note in sure.notes)
    gap = of_many().gap()
    assert gap.value == pytest.approx(0.3, abs=0.02) and str(gap) in sure.notes[0]


def test_the_table_of_another_metric_is_about_that_one():
    assert "made: chrf to gold" in of_three().table("chrf").title


def test_the_table_warns_where_the_large_model_is_surely_worse():
    table = of_many(gain=-0.3).table()
    assert table.rows[0][1] == "undefined"
    assert any(note.startswith("Warning") for note in table.notes)


def test_a_bias_that_is_undefined_is_not_printed_as_a_number():
    table = of_three(token_log_probs=arrays([-1, -2], [-3, -1], [-1, -1])).table()
    assert all("nan" not in row[2] for row in table.rows)


@pytest.mark.parametrize(
    "ask, told",
    [
        (lambda r: r.confidence("median"), "no rule 'median'.*'sum' or 'mean'"),
        (lambda r: r.length_bias("median"), "no rule 'median'"),
        (lambda r: r.average_pgr("median"), "no rule 'median'"),
        (lambda r: r.confidence(1.5), "a quantile of 1.5"),
        (lambda r: r.confidence(-0.1), "a quantile of -0.1"),
        (lambda r: r.gap("bleu"), "no metric 'bleu'.*similarity, chrf"),
        (lambda r: r.curve(SUM, "bleu"), "no metric 'bleu'"),
        (lambda r: r.average_pgr(SUM, "bleu"), "no metric 'bleu'"),
        (lambda r: r.table("bleu"), "no metric 'bleu'"),
    ],
)
def test_what_a_result_does_not_have_is_told_in_one_line(ask, told):
    with pytest.raises(W2SError, match=told) as caught:
        ask(of_three())
    assert "\n" not in str(caught.value)


# --- a run ----------------------------------------------------------------------------------------

LIMIT = 6


def made() -> Task:
    """Eight texts to learn from, six to be tested on: the answer is the first two words."""
    rng = np.random.default_rng(0)
    inputs = [" ".join(f"w{i}" for i in rng.integers(0, 30, 4 + n % 3)) for n in range(16)]
    return Task(
        name="made",
        size="smoke",
        inputs=inputs,
        gold=np.array([" ".join(text.split()[:2]) for text in inputs], object),
        groups=np.arange(16) // 2,
        ids=np.arange(16).astype(str),
        splits={
            "supervise": np.arange(8),
            "transfer": np.array([14, 15]),
            "test": np.arange(8, 14),
        },
        questions=("w30",) * 16,
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The task and both models; an empty cache, and a rate at which a tiny model learns fast."""
    home = tmp_path_factory.mktemp("world")
    model = save_writer(home / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("W2S_CACHE", str(home / "cache"))
        patch.setattr(text_metrics, "similarity", text_metrics.chrf)
        patch.setattr(writers, "RATE", 0.01)
        patch.setattr(text_cascade, "LIMIT", LIMIT)
        yield made(), {"weak": f"{model}:2", "strong": str(model), "device": "cpu"}


@pytest.fixture(scope="module")
def whole(world):
    task, settings = world
    return text_cascade.text_cascade(task, **settings)


@pytest.fixture
def untaught(monkeypatch):
    """Nobody may train."""

    def fails(*_, **__):
        raise AssertionError("this trains")

    monkeypatch.setattr(finetune, "fit", fails)


def test_both_models_answer_every_test_item_and_are_scored_by_every_metric(world, whole):
    task, settings = world
    assert whole.models == {"small": settings["weak"], "large": settings["strong"]}
    gold = task.gold[task.splits["test"]]
    np.testing.assert_array_equal(whole.gold, gold)
    np.testing.assert_array_equal(whole.groups, task.groups[task.splits["test"]])
    assert set(whole.quality) == set(text_cascade.METRICS)
    for role in ("small", "large"):
        texts = whole.texts[role].tolist()
        assert len(texts) == 6 and max(len(text.split()) for text in texts) <= LIMIT
        np.testing.assert_allclose(whole.quality["chrf"][role], text_metrics.chrf(texts, gold))
    assert str(whole.table())


def test_the_tokens_are_those_of_the_small_models_texts_with_their_end(whole):
    assert all((tokens <= 0).all() for tokens in whole.token_log_probs)
    # one token a word, and one that ends the turn
    words = [len(text.split()) + 1 for text in whole.texts["small"]]
    assert [len(tokens) for tokens in whole.token_log_probs] == words
    assert whole.confidence(MEAN).shape == (6,)


def test_the_cut_model_is_the_cheaper_one(whole):
    assert 0 < whole.flops["small"] < whole.flops["large"]


def test_a_finished_run_is_remembered(world, whole, untaught):
    task, settings = world
    again = text_cascade.text_cascade(task, **settings)
    assert again.flops == whole.flops and again.quality.keys() == whole.quality.keys()
    for role in ("small", "large"):
        np.testing.assert_array_equal(again.texts[role], whole.texts[role])
    for one, other in zip(again.token_log_probs, whole.token_log_probs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("split", ["supervise", "test"])
def test_another_gold_is_another_run(world, whole, untaught, split):
    task, settings = world
    gold = task.gold.copy()
    gold[task.splits[split][0]] = "w29 w29"
    with pytest.raises(AssertionError, match="this trains"):
        text_cascade.text_cascade(replace(task, gold=gold), **settings)


def test_the_gold_of_test_and_all_of_transfer_have_no_influence_on_what_is_written(world, whole):
    task, settings = world
    gold = task.gold.copy()
    gold[8:] = "w29 w29"
    inputs = (*task.inputs[:14], "w1 w1", "w2 w2")
    other = text_cascade.text_cascade(replace(task, gold=gold, inputs=inputs), **settings)
    for role in ("small", "large"):
        assert other.texts[role].tolist() == whole.texts[role].tolist()


def test_a_task_with_classes_is_refused_in_one_line(world, untaught):
    task, settings = world
    with pytest.raises(W2SError, match="made: its answers are classes") as caught:
        text_cascade.text_cascade(replace(task, classes=("a", "b")), **settings)
    assert "\n" not in str(caught.value)


def test_every_room_that_decides_a_run_is_part_of_its_key():
    # neither trained nor scored by: what is remembered does not depend on them
    apart = {"assets", "cache", "data", "errors", "progress", "registry", "report", "whole"}
    after = {"cascade", "cascade_experiment", "metrics"}
    folder = Path(text_cascade.__file__).parent
    for room in text_cascade.ROOMS:
        asked = {*re.findall(r"from w2s_lab\.(\w+) import", (folder / f"{room}.py").read_text())}
        asked -= after if room == "text_cascade" else set()
        assert asked <= {*text_cascade.ROOMS, *apart}, room
