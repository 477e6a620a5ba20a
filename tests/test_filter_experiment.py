"""What follows from a choice of documents is what the arithmetic says; what suits whom is told."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic_filter_result import (
    METHODS,
    a_filter_result,
    a_first_seed,
    a_small_filter_result,
    with_scores,
)

import w2s_lab
from w2s_lab import filter_report
from w2s_lab.data import Task
from w2s_lab.errors import W2SError
from w2s_lab.filter_experiment import BASELINES, possible, run_filter
from w2s_lab.filter_protocol import offered
from w2s_lab.selection import SCORES, Score


def a_task(**changes) -> Task:
    """Eight made-up documents, two in each split."""
    items = 8
    return Task(
        **{
            "name": "made up",
            "size": "smoke",
            "inputs": tuple(f"w{i} w{i + 1}" for i in range(items)),
            "gold": np.arange(items) % 2,
            "groups": np.arange(items),
            "ids": np.arange(items).astype(str),
            "splits": {
                name: np.array([2 * k, 2 * k + 1])
                for k, name in enumerate(("supervise", "transfer", "validation", "test"))
            },
            "classes": ("dirt", "clean"),
            "kinds": np.array(["dirt", "clean"] * 4),
            "protocol": "filter",
            **changes,
        }
    )


# --- what a result says ---------------------------------------------------------------------------


def test_the_random_choice_recovers_nothing_and_the_oracles_everything():
    for result in (a_small_filter_result(), a_filter_result()):
        assert vars(result.recovered("random")) == {"value": 0, "low": 0, "high": 0}
        assert vars(result.recovered("oracle")) == {"value": 1, "low": 1, "high": 1}


def test_recovered_is_the_share_of_the_gap_from_random_to_oracle():
    result = a_small_filter_result()
    # (−2.5 + 4) / (−2 + 4) = 0.75; (−4.5 + 4) / 2 = −0.25; the untouched (−5 + 4) / 2 = −0.5
    assert result.recovered("good").value == pytest.approx(0.75)
    assert result.recovered("bad").value == pytest.approx(-0.25)
    assert result.recovered("untouched").value == pytest.approx(-0.5)
    assert result.pgr("good").value == result.recovered("good").value


def test_without_a_gap_no_share_of_it_is_defined():
    small = a_small_filter_result()
    level = a_small_filter_result(**with_scores(small, oracle=-4))
    assert not level.recovered("good").defined
    assert level.lead("oracle", "random").value == 0


def test_a_lead_is_paired_by_text():
    result = a_small_filter_result()
    # −2.5 + 4 on average, 2 or 1 on each text
    assert result.lead("good", "random").value == pytest.approx(1.5)
    assert 1 <= result.lead("good", "random").low <= result.lead("good", "random").high <= 2
    # 1 on every text, whatever texts are drawn
    assert vars(result.lead("all data", "random")) == {"value": 1, "low": 1, "high": 1}


def test_a_score_is_the_mean_over_seeds_and_texts_and_whole_groups_are_drawn():
    result = a_small_filter_result()
    assert result.score("good").value == -2.5 and result.score("good").low < -2.5
    together = a_small_filter_result(groups=np.zeros(4)).score("good")
    assert vars(together) == {"value": -2.5, "low": -2.5, "high": -2.5}


def test_the_best_method_is_the_one_of_the_highest_score():
    assert a_small_filter_result().best == "good"
    assert a_small_filter_result(**with_scores(a_small_filter_result(), bad=-1)).best == "bad"
    assert a_filter_result().best == "classifier"


def test_how_often_a_document_was_kept_is_counted_over_the_seeds():
    result = a_small_filter_result()
    # of two seeds good kept 0 twice, 1 and 3 once
    assert result.chosen("good").tolist() == [1, 0.5, 0, 0.5, 0]
    assert result.chosen("oracle").tolist() == [1, 0.5, 0.5, 0, 0]


def test_precision_is_the_share_of_the_kept_tokens_that_are_clean():
    result = a_small_filter_result()
    # good kept 10 + 40 and 10 + 20 tokens: 40 of 80 are clean; bad 40 and 50 of dirt
    assert result.precision("good") == pytest.approx(40 / 80)
    assert result.precision("bad") == 0 and result.precision("oracle") == 1
    # random 10 clean of 60
    assert result.precision("random") == pytest.approx(1 / 6)


def test_recall_is_the_share_of_each_kind_that_was_kept_of_what_was_on_offer():
    result = a_small_filter_result()
    # over both seeds three times a document of "a" was on offer, two of "b" and three of "x"
    assert result.on_offer.tolist() == [1, 0.5, 1, 0.5, 1]
    # bad kept two of "x"; good three of "a" and one of "x"
    assert result.recall("bad") == {"a": 0, "b": 0, "x": pytest.approx(2 / 3)}
    assert result.recall("good") == {"a": pytest.approx(1), "b": 0, "x": pytest.approx(1 / 3)}


def test_all_that_was_on_offer_of_a_kind_is_all_of_it():
    # the oracle kept the three of "a" that were on offer, and one of the two of "b"
    assert a_small_filter_result().recall("oracle") == {"a": 1, "b": 0.5, "x": 0}


def test_whoever_keeps_all_that_is_on_offer_has_kept_all_of_every_kind():
    for result in (a_small_filter_result(), a_filter_result()):
        every = [offered(len(result.texts), seed) for seed in range(result.seeds)]
        found = replace(result, kept={"every": every}).recall("every")
        assert set(found) == set(result.kinds) and set(found.values()) == {1}
        shares = [share for name in result.kept for share in result.recall(name).values()]
        assert min(shares) >= 0 and max(shares) <= 1


@pytest.mark.filterwarnings("error")
def test_a_kind_that_was_never_on_offer_is_told_without_a_complaint():
    result = a_first_seed(kinds=np.array(["a", "rare", "b", "x", "x"]))
    assert "nan" not in str(filter_report.kinds(result))


@pytest.mark.parametrize(
    "ask, told",
    [
        (lambda r: r.scores("likely"), "no 'likely' in this result.*one of: .*oracle.*good"),
        (lambda r: r.score("nobody"), "no 'nobody'"),
        (lambda r: r.recovered("nobody"), "no 'nobody'"),
        (lambda r: r.lead("good", "nobody"), "no 'nobody'"),
        (lambda r: r.chosen("all data"), "'all data' chose nothing.*one of: random"),
        (lambda r: r.precision("untouched"), "'untouched' chose nothing"),
        (lambda r: r.recall("nobody"), "'nobody' chose nothing"),
    ],
)
def test_what_a_result_does_not_have_is_told_in_one_line(ask, told):
    with pytest.raises(W2SError, match=told) as caught:
        ask(a_small_filter_result())
    assert "\n" not in str(caught.value)


def test_a_result_shows_itself_as_its_table():
    result = a_small_filter_result()
    assert repr(result) == str(result.table()) and "<table>" in result._repr_html_()


def test_the_untouched_model_and_all_data_are_baselines_and_no_methods():
    result = a_filter_result()
    assert result.baselines == BASELINES == ("untouched", "all data")
    assert not set(BASELINES) & set(result.methods) and set(METHODS) == set(result.methods)


# --- what can be run ------------------------------------------------------------------------------


def test_difficulty_suits_instructions_and_what_learns_from_judged_passages_suits_texts():
    plain = possible(a_task())
    asked = possible(a_task(questions=tuple("abcdefgh")))
    assert {"likely", "middle", "unlikely", "unique"} <= set(plain) & set(asked)
    assert {"n-gram", "classifier", "neighbours", "curated"} <= set(plain) - set(asked)
    assert {"difficulty", "difficulty by loss", "easy"} <= set(asked) - set(plain)
    own = {n for n, s in SCORES.items() if s.judge.__module__.startswith("w2s_lab.")}
    assert own <= set(plain) | set(asked)


def refused(task, told, **changes):
    """Asserts that the run is refused before any model is loaded: there is none of that name."""
    asked = {"weak": "no/such", "strong": "no/such", "methods": ["likely"], "seeds": 1}
    asked |= {"device": "cpu", "labels": None, "started": 0.0, **changes}
    with pytest.raises(W2SError, match=told) as caught:
        run_filter(task, **asked)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["difficulty", "difficulty by loss", "easy"])
def test_a_task_without_prompts_refuses_difficulty_and_says_where_it_can_be_had(name):
    refused(a_task(), f"{name}: these documents answer no instruction.*`pairs`", methods=[name])
    with pytest.raises(W2SError, match="answer no instruction"):
        w2s_lab.run(a_task(), methods=[name], weak="no/such")


def test_a_score_of_ones_own_that_needs_prompts_is_refused_as_well():
    mine = replace(SCORES["difficulty"], name="mine")
    refused(a_task(), "mine: these documents answer no", methods=[mine])


def test_two_scores_of_one_name_are_refused_though_one_named_twice_counts_once():
    mine = Score("mine", lambda store: store.nll, "low")
    other = replace(mine, keep="high")
    refused(a_task(), "mine: the name is taken; give .* a name of its own", methods=[mine, other])
    # "likely" twice is no reproach, so that the first thing wrong is what "easy" needs
    refused(a_task(), "easy: these documents answer no", methods=["likely", "likely", "easy"])


@pytest.mark.parametrize("name", ["random", "oracle", "untouched", "all data", "nll"])
def test_a_score_with_the_name_of_a_bound_is_refused_before_any_model_is_loaded(name):
    mine = Score(name, lambda store: store.nll, "low")
    refused(a_task(), f"{name}: the name is taken", methods=[mine])


@pytest.mark.parametrize("fraction", [0, -1, 1.5, float("nan")])
def test_a_fraction_out_of_range_is_refused_before_any_model_is_loaded(fraction):
    refused(a_task(), "a fraction of .*above 0 and up to 1", fraction=fraction)


@pytest.mark.parametrize("labels", [0, 1, 3])
def test_more_judged_passages_than_there_are_or_fewer_than_two_are_refused(labels):
    refused(a_task(), f"{labels} judged passages.*from 2 to 2", labels=labels)


def test_a_method_of_another_protocol_is_no_score():
    refused(a_task(), "unknown selection score 'naive'.*likely", methods=["naive"])


def test_one_score_of_ones_own_need_not_be_in_a_list():
    mine = replace(SCORES["difficulty"], name="mine")
    with pytest.raises(W2SError, match="mine: these documents answer no instruction"):
        w2s_lab.run(a_task(), methods=mine, weak="no/such")


@pytest.mark.slow
def test_the_real_corpus_can_be_filtered_at_smoke_size():
    result = w2s_lab.run("corpus", size="smoke", seeds=1, methods=("middle", "likely"))
    assert result.methods == ("middle", "likely") and result.seeds == 1
    assert all(np.isfinite(scores).all() for scores in result.numbers.values())
    assert result.precision("oracle") == 1
    # every chooser may take a quarter of the tokens on offer, and any document is shorter than that
    spent = {name: result.chosen(name) @ result.tokens for name in result.kept}
    assert max(spent.values()) <= 0.25 * result.tokens.sum()
    assert result.score("random").value > result.score("untouched").value
    assert all(0 <= share <= 1 for name in result.kept for share in result.recall(name).values())
    assert result.to_dict()["task"] == "corpus"
