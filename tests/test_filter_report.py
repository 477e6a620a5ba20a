"""Tables of a choice say who beat chance and what was lost, and the JSON holds plain values."""

import json

import numpy as np
import pytest
from synthetic_filter_result import (
    METHODS,
    a_filter_result,
    a_first_seed,
    a_small_filter_result,
    with_scores,
)
from synthetic_result import a_result
from test_report import row, strict

from w2s_lab import filter_report, report
from w2s_lab.errors import W2SError


def notes_of(result):
    return " ".join(filter_report.table(result).notes)


def small(**levels):
    return a_small_filter_result(**with_scores(a_small_filter_result(), **levels))


# --- the table ------------------------------------------------------------------------------------


def test_the_table_runs_from_untouched_over_random_and_methods_by_score_to_oracle_and_all_data():
    names = [cells[0] for cells in filter_report.table(a_small_filter_result()).rows]
    assert names == ["untouched", "random", "good", "bad", "oracle", "all data"]
    best_first = ["classifier", "n-gram", "middle", "likely"]
    assert filter_report.ranked(a_filter_result()) == best_first


def test_the_numbers_of_a_table_are_the_hand_worked_ones():
    table = filter_report.table(a_small_filter_result())
    _, score, over, share, clean, texts = row(table, "good")
    # over random −2.5 + 4; recovered 1.5 / 2; clean 40 of 80 tokens; two texts in each seed
    assert (score, clean, texts) == ("-2.500", "50%", "2")
    assert over.startswith("+1.500 [+") and share.startswith("0.75 [")
    _, score, over, share, clean, texts = row(table, "bad")
    assert (score, clean, texts) == ("-4.500", "0%", "1")
    assert over.startswith("-0.500 [-") and share.startswith("-0.25 [")
    assert row(table, "random") == ("random", "-4.000", "", "", "17%", "2")
    assert row(table, "oracle")[1:3] == ("-2.000", "+2.000 [+2.000, +2.000]")
    assert row(table, "untouched")[1:] == ("-5.000", "-1.000 [-1.000, -1.000]", "", "", "")
    assert row(table, "all data")[-2:] == ("", "5")


def test_the_title_says_what_was_scored_by_whom_and_on_how_much():
    title = filter_report.table(a_small_filter_result()).title
    for told in (
        "corpus (size lab)",
        "nats per token",
        "4 texts, 2 seeds",
        "weak = smollm2:22",
        "strong = smollm2;",
        "each choice may spend 25% of the tokens on offer",
    ):
        assert told in title


def test_who_is_better_or_worse_than_random_with_the_whole_interval_is_named():
    told = notes_of(small(bad=-4.5))
    assert "Better than random with the whole interval: good." in told
    assert "Warning: worse than random with the whole interval: bad." in told
    told = notes_of(small(bad=-3.9, good=-3.5))
    assert "Better than random with the whole interval: good, bad." in told
    assert "worse than random" not in told


def test_an_interval_that_holds_0_names_nobody():
    result = a_small_filter_result()
    torn = np.array([[-2.0, -6, -2, -6]] * 2)  # +2 and −2 by turns
    result = a_small_filter_result(numbers={**result.numbers, "good": torn, "bad": torn})
    told = notes_of(result)
    assert "Better than random with the whole interval: none of them." in told
    assert "worse than random" not in told


def test_a_gap_that_may_be_0_is_warned_of():
    warning = "Warning: the gap may be 0, so no share of it is bounded."
    assert warning not in notes_of(a_small_filter_result())
    level = small(oracle=-4)
    assert warning in notes_of(level)
    assert "from random to oracle is +0.000 [+0.000, +0.000]" in notes_of(level)
    assert row(filter_report.table(level), "good")[3] == "undefined"


def test_learning_from_everything_is_told_of_where_it_beats_the_oracles_choice():
    assert "dirt included" not in notes_of(a_small_filter_result())  # −3 against −2
    told = notes_of(small(all_data=-1.5))
    # a quarter of the 80 % on offer: all is 1 / 0.2 times as much
    assert "takes 5 times the training of a choice and beats the oracle's by +0.500 [" in told


def test_what_the_scores_and_a_student_cost_is_told():
    told = notes_of(a_filter_result())
    # 5e12 and 1.6e12 operations
    assert "scores of the store cost 5 TFLOP, one student 1.6 TFLOP." in told


def test_a_table_prints_and_displays_itself():
    table = filter_report.table(a_filter_result())
    assert "classifier" in str(table) and "<caption>" in table._repr_html_()


# --- kinds ----------------------------------------------------------------------------------------


def test_the_table_of_kinds_lists_clean_ones_first_with_the_share_kept():
    table = filter_report.kinds(a_small_filter_result())
    assert table.header == ("", "in store", "good", "bad", "oracle")
    assert [[cells[0] for cells in group] for group in table.groups] == [["a", "b"], ["x"]]
    # on offer three of "a" and of "x", two of "b": good kept three, one and none, bad two of "x",
    # the oracle three of "a" and one of "b"
    assert row(table, "a") == ("a", "2", "100%", "0%", "100%")
    assert row(table, "b") == ("b", "1", "0%", "0%", "50%")
    assert row(table, "x") == ("x", "2", "33%", "67%", "0%")
    assert "a random choice keeps 25%" in table.title
    assert filter_report.kinds(a_small_filter_result(), ["bad"]).header[2:] == ("bad",)


def test_the_table_of_test_kinds_holds_leads_over_random_kind_by_kind():
    table = filter_report.test_kinds(a_small_filter_result())
    # good has −2 on texts of "a" and −3 on those of "b", random −4 on all
    assert row(table, "a") == ("a", "2", "+2.000", "-0.500", "+2.000")
    assert row(table, "b")[2] == "+1.000"


def test_kinds_of_a_name_that_chose_nothing_are_refused():
    with pytest.raises(W2SError, match="'all data' chose nothing"):
        filter_report.kinds(a_small_filter_result(), ["all data"])


# --- texts to read --------------------------------------------------------------------------------


def test_examples_show_clean_documents_that_were_never_kept():
    found = filter_report.examples(a_small_filter_result(), "good", dropped=True)
    # of the clean 0, 1 and 2 good kept all but 2
    assert found.rows == (("b", "birds sing"),)
    assert "good: clean and never kept, 1 in all" in found.title
    found = filter_report.examples(a_small_filter_result(), "bad", dropped=True)
    assert [text for _, text in found.rows] == ["cats sleep", "birds sing", "dogs run"]


def test_a_document_that_was_never_on_offer_is_no_example_of_what_was_dropped():
    # document 1, "dogs run", was not there
    found = filter_report.examples(a_first_seed(), "bad", dropped=True)
    assert [text for _, text in found.rows] == ["cats sleep", "birds sing"]
    assert "never kept, 2 in all" in found.title


def test_examples_show_dirt_that_was_kept():
    found = filter_report.examples(a_small_filter_result(), "good", dropped=False)
    assert found.rows == (("x", "0 1"),) and "dirt that was kept, 1 in all" in found.title
    assert filter_report.examples(a_small_filter_result(), "oracle", dropped=False).rows == ()


@pytest.mark.parametrize("dropped", [True, False])
def test_examples_hold_one_document_of_each_kind_before_a_second_of_any(dropped):
    result = a_filter_result()
    found = filter_report.examples(result, "likely", dropped=dropped, count=4)
    wanted = result.clean if dropped else ~result.clean
    assert len(found.rows) == 4
    there = {k for k in result.kinds[wanted & ((result.chosen("likely") == 0) == dropped)]}
    assert len({kind for kind, _ in found.rows}) == min(4, len(there))


def test_a_long_document_is_shortened_and_markup_is_shown_as_it_is():
    texts = np.array(["<b>" + " word" * 90, "a", "b", "c", "d"], object)
    found = filter_report.examples(a_small_filter_result(texts=texts), "bad", dropped=True)
    (first, *_) = [text for _, text in found.rows]
    assert len(first) <= filter_report.SHOWN and first.endswith("…")
    assert "&lt;b&gt;" in found._repr_html_()


# --- JSON -----------------------------------------------------------------------------------------


def test_the_json_has_the_keys_that_every_lab_shares_and_they_come_first():
    told = a_small_filter_result().to_dict()
    shared = ("task", "size", "device", "seeds", "baselines", "weak", "ceiling", "methods")
    assert tuple(told)[: len(shared)] == shared
    assert set(shared) | {"seconds"} <= set(report.as_dict(a_result()))
    for name in ("weak", "ceiling"):
        assert set(told[name]) == set(report.as_dict(a_result())[name])


def test_the_json_is_strict_and_says_what_the_result_says(tmp_path):
    result = a_small_filter_result()
    result.to_json(tmp_path / "a.json")
    told = strict((tmp_path / "a.json").read_text())
    assert told == json.loads(json.dumps(result.to_dict(), allow_nan=False))
    # floor and ceiling are the random choice and the oracle's
    assert (told["weak"]["score"], told["ceiling"]["score"]) == (-4, -2)
    assert told["baselines"] == {"untouched": -5, "all data": -3}
    good = told["methods"]["good"]
    assert good["score"] == -2.5 and good["pgr"]["value"] == pytest.approx(0.75)
    assert good["clean"] == pytest.approx(0.5) and good["kept"] == result.recall("good")
    assert told["methods"]["bad"]["kept"] == {"a": 0, "b": 0, "x": pytest.approx(2 / 3)}
    assert set(told["methods"]) == {"bad", "good"}
    assert told["models"] == {"weak": "smollm2:22", "strong": "smollm2"}
    assert told["provenance"]["licences"] == ["MIT"]
    assert told["fraction"] == 0.25 and told["metric"] == "log_likelihood"
    assert set(told["cost"]) == {"flops", "seconds"}


def test_without_a_gap_the_json_has_null_where_a_share_is_undefined():
    told = json.loads(json.dumps(small(oracle=-4).to_dict(), allow_nan=False))
    assert told["methods"]["good"]["pgr"]["value"] is None


def test_every_method_of_a_result_is_in_its_json():
    assert tuple(a_filter_result().to_dict()["methods"]) == METHODS
