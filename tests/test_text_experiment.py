"""What follows from texts and scores is what the arithmetic says, for any supervisor."""

import json

import numpy as np
import pytest
from synthetic_text_result import a_small_text_result, a_text_result, without_likelihood

from w2s_lab.errors import W2SError


def a_lead_result(**changes):
    numbers = without_likelihood(a_small_text_result())
    return a_small_text_result(**{"weak": "lead", "numbers": numbers, **changes})


def test_pgr_is_the_share_of_the_gap_from_weak_to_ceiling():
    result = a_small_text_result()
    # log-likelihood: good (−2 + 4) / (−1 + 4) = 2/3, bad (−4 + 4) / 3 = 0
    assert result.pgr("good").value == pytest.approx(2 / 3)
    assert result.pgr("bad").value == 0
    # ROUGE-L: (0.4 − 0.2) / (0.6 − 0.2) = 1/2, (0.1 − 0.2) / 0.4 = −1/4
    assert result.pgr("good", "rouge_l").value == pytest.approx(0.5)
    assert result.pgr("bad", "rouge_l").value == pytest.approx(-0.25)


def test_recovered_is_the_share_of_the_gap_from_the_untouched_model_to_the_ceiling():
    result = a_small_text_result()
    # (−2 + 3) / (−1 + 3) = 1/2; (−4 + 3) / 2 = −1/2
    assert result.recovered("good").value == pytest.approx(0.5)
    assert result.recovered("bad").value == pytest.approx(-0.5)
    # the ceiling itself recovers all in every resample
    assert vars(result.recovered("ceiling")) == {"value": 1, "low": 1, "high": 1}


def test_a_worse_supervisor_raises_pgr_and_leaves_recovered_as_it_was():
    numbers = dict(a_small_text_result().numbers)
    worse = {**numbers["log_likelihood"], "weak": np.full((1, 4), -11.0)}
    result = a_small_text_result(numbers={**numbers, "log_likelihood": worse})
    # (−2 + 11) / (−1 + 11)
    assert result.pgr("good").value == pytest.approx(0.9)
    assert result.recovered("good").value == pytest.approx(0.5)


def test_no_gap_leaves_a_share_of_it_undefined():
    numbers = dict(a_small_text_result().numbers)
    level = {**numbers["log_likelihood"], "strong zero-shot": np.full((1, 4), -1.0)}
    result = a_small_text_result(numbers={**numbers, "log_likelihood": level})
    assert not result.recovered("good").defined and result.pgr("good").defined


def test_a_score_is_a_mean_over_all_test_items_or_over_those_written_for():
    result = a_small_text_result()
    assert result.scores("good").shape == (1, 4) and result.scores("good", "chrf").shape == (1, 2)
    assert result.score("good").value == -2 and result.score("good", "chrf").value == 0.4
    assert result.written == 2


def test_intervals_draw_whole_groups():
    spread = a_small_text_result().score("good")
    assert spread.low < -2 < spread.high
    # one group only: every resample is the whole test
    together = a_small_text_result(groups=np.zeros(4)).score("good")
    assert vars(together) == {"value": -2, "low": -2, "high": -2}


def test_a_lead_is_paired_by_item():
    numbers = dict(a_small_text_result().numbers)
    ahead = {**numbers["log_likelihood"], "bad": numbers["log_likelihood"]["good"] - 0.5}
    lead = a_small_text_result(numbers={**numbers, "log_likelihood": ahead}).lead("good", "bad")
    # half a nat on every item, whatever the items are
    assert vars(lead) == {"value": 0.5, "low": 0.5, "high": 0.5}


def test_the_best_method_is_the_one_of_the_highest_leading_score():
    assert a_small_text_result().best == "good"
    # in ROUGE-L, which leads without a likelihood, bad has 0.1 and good 0.4; swapped, bad wins
    numbers = without_likelihood(a_small_text_result())
    rouge = numbers["rouge_l"]
    numbers["rouge_l"] = {**rouge, "good": rouge["bad"], "bad": rouge["good"]}
    assert a_lead_result(numbers=numbers).best == "bad"


def test_a_supervisor_without_likelihood_leaves_pgr_on_it_undefined_and_rouge_l_leads():
    assert a_small_text_result().metric == "log_likelihood"
    result = a_lead_result()
    assert result.metric == "rouge_l" and not result.has("weak", "log_likelihood")
    assert not result.pgr("good", "log_likelihood").defined
    assert result.pgr("good").value == pytest.approx(0.5)
    assert result.recovered("good", "log_likelihood").value == pytest.approx(0.5)
    told = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert told["metric"] == "rouge_l" and told["weak"]["score"] == pytest.approx(0.2)
    assert told["scores"]["log_likelihood"]["weak"]["score"] is None
    assert "has none" in str(result.table())


@pytest.mark.parametrize(
    "ask, told",
    [
        (lambda r: r.scores("naive"), "no log_likelihood of 'naive'.*one of: weak, .*good"),
        (lambda r: r.score("lead sentence"), "no log_likelihood of 'lead sentence'"),
        (lambda r: r.scores("good", "bleu"), "no metric 'bleu'.*log_likelihood, rouge_l"),
        (lambda r: r.pgr("naive"), "of 'naive'"),
        (lambda r: r.lead("good", "nobody"), "of 'nobody'"),
        (lambda r: r.signs("naive"), "no texts of 'naive'.*weak"),
        (lambda r: r.reproduced("gold"), "no texts of 'gold'"),
    ],
)
def test_what_a_result_does_not_have_is_told_in_one_line(ask, told):
    with pytest.raises(W2SError, match=told) as caught:
        ask(a_small_text_result())
    assert "\n" not in str(caught.value)


def test_the_students_epoch_is_chosen_for_each_seed_by_weak_and_by_gold_texts():
    curves = {
        "weak": np.array([[-3.0, -2.0, -1.0], [-1.0, -2.0, -3.0]]),
        "gold": np.array([[-3.0, -2.0, -2.5], [-1.0, -1.5, -2.0]]),
        # of both seeds, each epoch, the four items
        "test": np.array(
            [
                [[-3, -3, -3, -3], [-1, -2, -1, -2], [-2, -2, -2, -2]],
                [[-1, -1, -1, -1], [-5, -5, -5, -5], [-9, -9, -9, -9]],
            ],
            float,
        ),
    }
    result = a_small_text_result(seeds=2, curves=curves)
    assert {k: v.tolist() for k, v in result.epochs.items()} == {"weak": [3, 1], "gold": [2, 1]}
    # seed 0: epoch 2 instead of 3, −1.5 + 2 = 0.5; seed 1: the same epoch, 0; the mean is 0.25
    assert result.gain_by_gold().value == pytest.approx(0.25)


def test_signs_are_those_of_the_texts_written_and_of_as_much_gold():
    result = a_small_text_result()
    # "cats" and "": 1 and 0 words, one of two empty
    seen = result.signs("strong zero-shot")
    assert (seen.words, seen.empty, seen.copying) == (0.5, 0.5, 0.5)
    assert (result.signs("gold").words, result.signs("gold").copying) == (2, 1)
    # of "cats fly" and "dogs swim" one word in two lies in the source
    assert result.signs("weak").copying == 0.5


def test_a_repeated_error_counts_where_it_stood_and_elsewhere_it_is_chance():
    result = a_small_text_result()
    # errors: "fly" for the first input, "swim" for the second
    found = {name: result.reproduced(name) for name in ("good", "bad", "ceiling")}
    assert {name: (r.share, r.chance) for name, r in found.items()} == {
        "good": (0.5, 0),
        "bad": (0, 1),
        "ceiling": (0, 0),
    }


def test_a_text_without_seeds_is_compared_with_the_errors_of_every_seed():
    result = a_text_result()
    assert result.texts["strong zero-shot"].shape == (1, 24)
    assert result.reproduced("strong zero-shot").errors.shape == (3, 24)
    # two words are made up in each weak text, and the first is repeated
    assert result.reproduced("naive").share == 0.5


def test_a_result_writes_itself_as_json_prints_itself_and_shows_itself(tmp_path):
    result = a_small_text_result()
    result.to_json(tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text()) == result.to_dict()
    assert repr(result) == str(result.table())
    assert result._repr_html_() == result.table()._repr_html_()
    figure = result.plot(tmp_path / "gap.png")
    assert figure.alt and (tmp_path / "gap.png").stat().st_size > 0
