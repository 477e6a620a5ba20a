"""Tables of texts say what was scored, warn where they must, and stay valid for garbage."""

import dataclasses
import json

import numpy as np
import pytest
from synthetic_text_result import (
    STUDENTS,
    a_small_text_result,
    a_text_result,
    with_weak_texts,
    without_likelihood,
)
from test_report import row, strict

from w2s_lab import metrics, text_report
from w2s_lab.errors import W2SError

GARBAGE = ["", " \n", "the the the", "12 BLEU <b>", "\x00\ud83d\ude00"]


def notes_of(result, metric="log_likelihood"):
    (table,) = text_report.table(result, metric).tables
    return " ".join(table.notes)


def with_likelihood(**scores):
    """The small result with other log-likelihoods of its four items."""
    small = a_small_text_result()
    numbers = dict(small.numbers)
    told = {name.replace("_", " "): np.full((1, 4), float(v)) for name, v in scores.items()}
    told = {name.replace("zero shot", "zero-shot"): v for name, v in told.items()}
    return a_small_text_result(
        numbers={**numbers, "log_likelihood": numbers["log_likelihood"] | told}
    )


def test_there_is_a_table_for_each_score_and_the_leading_one_is_first():
    titles = [table.title for table in text_report.table(a_small_text_result()).tables]
    assert [text.split(": ")[1].split(" of ")[0] for text in titles] == [
        "log-likelihood",
        "ROUGE-L",
        "chrF",
        "similarity to gold",
    ]
    assert "; 4 test items, 1 seed; weak = smollm2:22 with 1 gold label, " in titles[0]
    assert titles[1].endswith("; 2 test items")
    lead = a_small_text_result(numbers=without_likelihood(a_small_text_result()), weak="lead")
    assert "ROUGE-L" in text_report.table(lead).tables[0].title
    assert "weak = lead" in text_report.table(lead).tables[0].title


def test_the_table_runs_from_baselines_over_weak_and_students_by_score_to_the_ceiling():
    (table,) = text_report.table(a_small_text_result(), "log_likelihood").tables
    names = ["lead sentence", "strong zero-shot", "strong on gold labels", "weak"]
    assert [cells[0] for cells in table.rows] == [*names, "good", "bad", "ceiling"]


def test_the_numbers_of_a_table_are_the_hand_worked_ones():
    (table,) = text_report.table(a_small_text_result(), "log_likelihood").tables
    # PGR (−2 + 4) / 3 and recovered (−2 + 3) / 2; bad 0 / 3 and −1 / 2
    _, score, pgr, recovered = row(table, "good")
    assert [text.split(" [")[0] for text in (score, pgr, recovered)] == ["-2.00", "0.67", "0.50"]
    _, score, pgr, recovered = row(table, "bad")
    assert [text.split(" [")[0] for text in (score, pgr, recovered)] == ["-4.00", "0.00", "-0.50"]
    assert row(table, "ceiling") == ("ceiling", "-1.00 [-1.00, -1.00]", "", "")
    assert row(table, "lead sentence") == ("lead sentence", "has none", "", "")
    assert "untouched strong model to the ceiling is 2.00 [2.00, 2.00]." in table.notes[0]


def test_one_table_can_be_asked_for_and_an_unknown_one_is_refused():
    assert len(text_report.table(a_small_text_result(), "chrf").tables) == 1
    with pytest.raises(W2SError, match="no metric 'bleu'.*rouge_l"):
        text_report.table(a_small_text_result(), "bleu")


def test_a_student_worse_than_the_untouched_model_is_warned_of_with_its_lead():
    told = notes_of(a_small_text_result())
    assert "Warning: worse than the strong model left alone (zero-shot): bad (-1.00 [" in told
    assert "good (" not in told
    assert "left alone" not in notes_of(with_likelihood(bad=-2.5))


def test_a_student_is_named_better_than_both_only_where_both_intervals_lie_above_0():
    better = "Better than both supervisor and untouched model, with intervals above 0: "
    assert f"{better}good." in notes_of(a_small_text_result())
    # above the untouched model's −3 on every item, but below the weak model's −1.5
    assert better not in notes_of(with_likelihood(weak=-1.5))
    # above the weak model's −4 on every item, but below an untouched −1
    assert better not in notes_of(with_likelihood(strong_zero_shot=-1))
    assert f"{better}good, bad." in notes_of(with_likelihood(bad=-2.5))


def test_a_lead_whose_interval_holds_0_is_not_called_better():
    small = a_small_text_result()
    numbers = dict(small.numbers)
    # +3 and −1 by turns: 1 on average over the untouched −3
    torn = numbers["log_likelihood"] | {"good": np.array([[0.0, -4, 0, -4]])}
    torn["weak"] = np.full((1, 4), -9.0)  # beaten on every item
    result = a_small_text_result(numbers={**numbers, "log_likelihood": torn})
    assert result.lead("good", "strong zero-shot").value == 1
    assert "Better than" not in notes_of(result) and "left alone): good" not in notes_of(result)


def test_nobody_is_better_than_a_supervisor_that_has_no_score():
    small = a_small_text_result()
    told = notes_of(a_small_text_result(numbers=without_likelihood(small), weak="lead"))
    assert "both supervisor" not in told
    assert "Better than the untouched model, with intervals above 0: good." in told


def test_a_ceiling_that_is_not_above_the_weak_model_is_warned_of():
    warning = "Warning: the ceiling is not above the weak model, so PGR is undefined."
    assert warning not in notes_of(a_small_text_result())
    level = with_likelihood(weak=-1)
    assert warning in notes_of(level)
    (table,) = text_report.table(level, "log_likelihood").tables
    assert row(table, "good")[2] == "undefined" and row(table, "good")[3].startswith("0.50 [")


def test_a_baseline_above_every_student_is_warned_of():
    few = "no student is better than the strong on gold labels."
    assert few not in notes_of(a_small_text_result())
    assert few in notes_of(with_likelihood(strong_on_gold_labels=-1.9))
    small = a_small_text_result()
    rouge = small.numbers["rouge_l"] | {"lead sentence": np.array([[0.4, 0.5]])}
    lead = a_small_text_result(numbers={**small.numbers, "rouge_l": rouge})
    # 0.45 against good's 0.4, in this score alone
    assert "no student is better than the lead sentence." in notes_of(lead, "rouge_l")
    assert "lead sentence" not in notes_of(lead) + notes_of(lead, "chrf")


def test_what_labels_cost_is_told_once_beneath_the_leading_table():
    told = [table.notes[-1] for table in text_report.table(a_text_result()).tables]
    # 8e12 and 3.2e13 operations
    assert "80 s (140,000 tokens, 8 TFLOP) with the weak model" in told[0]
    assert "200 s (140,000 tokens, 32 TFLOP) with the strong one" in told[0]
    assert not any("1,000 labels cost" in note for note in told[1:])


def test_costs_are_worked_out_for_the_labels_of_this_run():
    table = text_report.costs(a_small_text_result(transfer=60, labels=16), 0.5)
    # 1,000 labels at 0.5 are 500; 60 are 30, and the weak model's 16 are 8
    assert row(table, "person") == ("person", "", "", "", "500")
    assert row(table, "weak") == ("weak", "140,000", "8", "80", "0")
    # 80 s a thousand: 4.8 s for 60
    told = " ".join(table.notes)
    assert "The 60 labels of this run cost 30 from a person and 4.8 s from the weak" in told
    assert "needed 16 labels (8)" in told
    # good over untouched −2 + 3, the ceiling −1 + 3
    assert "the student (good) gains 1.00 [" in told and "with the person's 2.00 [" in told
    assert "0.5 for one by a person" in table.title


def test_signs_are_the_hand_worked_shares():
    table = text_report.signs(a_small_text_result())
    assert [cells[0] for cells in table.rows] == [
        *("gold", "lead sentence", "weak", "bad", "good", "strong zero-shot", "ceiling")
    ]
    # "cats", "": half a word, half of the texts empty; no error repeated, none by chance
    cells = ("0", "0 %", "50 %", "0 %", "0 %", "50 %", "0 %", "0 %")
    assert row(table, "strong zero-shot") == ("strong zero-shot", *cells)
    assert row(table, "good")[-2:] == ("50 %", "0 %")
    assert row(table, "bad")[-2:] == ("0 %", "100 %")
    assert row(table, "weak")[-2:] == row(table, "gold")[-2:] == ("", "")
    assert [cells[0] for cells in text_report.signs(a_small_text_result(), ("good",)).rows] == [
        "good"
    ]


def test_examples_show_source_gold_and_what_was_written():
    table = text_report.examples(a_small_text_result(), items=(0, 1))
    assert table.groups == (
        (
            ("source", "cats sleep"),
            ("gold", "cats sleep"),
            ("weak", "cats fly"),
            ("bad", "dogs swim"),
            ("ceiling", "cats sleep"),
        ),
        (
            ("source", "dogs run"),
            ("gold", "dogs run"),
            ("weak", "dogs swim"),
            ("bad", "cats fly"),
            ("ceiling", "dogs run"),
        ),
    )


def test_an_empty_text_is_called_nothing_and_a_broken_line_stays_one_row():
    small = a_small_text_result()
    texts = small.texts | {"good": np.array([["cats\n\n fly ", "\n"]], object)}
    table = text_report.examples(a_small_text_result(texts=texts), ("good",), (0, 1))
    assert [cells[1] for cells in table.rows if cells[0] == "good"] == ["cats fly", "(nothing)"]


def test_a_long_source_is_cut_in_examples():
    sources = np.array(["word " * 1000] * 4, object)
    source = text_report.examples(a_small_text_result(sources=sources), items=(0,)).rows[0][1]
    assert 290 < len(source) <= 300 and source.endswith(" …")


@pytest.mark.parametrize(
    "names, items, told",
    [
        ((), (2,), "no texts for item 2; give 0 to 1"),
        ((), (-1,), "no texts for item -1"),
        (("naive",), (0,), "no texts of 'naive'"),
    ],
)
def test_examples_of_what_nobody_wrote_are_refused(names, items, told):
    with pytest.raises(W2SError, match=told):
        text_report.examples(a_small_text_result(), names, items)


def test_texts_and_names_are_escaped_in_html():
    small = a_small_text_result()
    evil = "<script>alert(1)</script> & more"
    texts = small.texts | {"good": np.full((1, 2), evil, object)}
    result = a_small_text_result(
        texts=texts, task="<i>", weak="a&b", sources=np.full(4, evil, object)
    )
    shown = text_report.examples(result, ("good",), (0,)), text_report.signs(result)
    for made in (*shown, text_report.costs(result, 1), result.table()):
        page = made._repr_html_()
        assert "<script" not in page and "<i>" not in page and "&lt;i&gt;" in page
    assert shown[0]._repr_html_().count("&lt;script&gt;alert(1)&lt;/script&gt; &amp; more") == 2
    assert "a&amp;b" in result.table()._repr_html_()


def test_printed_tables_of_scores_signs_and_costs_fit_a_terminal_of_100_columns():
    result = a_text_result()
    for made in (result.table(), text_report.signs(result), text_report.costs(result, 1)):
        assert max(len(line) for line in str(made).splitlines()) <= 100


def test_the_json_has_the_agreed_shape():
    told = strict(json.dumps(a_text_result().to_dict(), allow_nan=False))
    first = ["task", "size", "device", "seeds", "baselines", "weak", "ceiling", "methods"]
    assert list(told)[:9] == [*first, "seconds"]
    assert (told["task"], told["size"], told["device"]) == ("papers", "lab", "cpu")
    assert (told["seeds"], told["seconds"]) == (3, 12.5)
    names = ["lead sentence", "strong zero-shot", "strong on gold labels"]
    assert list(told["baselines"]) == names and told["baselines"]["lead sentence"] is None
    assert list(told["methods"]) == list(STUDENTS)
    for place in (told["weak"], told["ceiling"], *told["methods"].values()):
        assert place["interval"]["low"] <= place["score"] <= place["interval"]["high"]
    for place in told["methods"].values():
        assert set(place["pgr"]) == set(place["recovered"]) == {"value", "low", "high"}
    assert list(told["scores"]) == ["log_likelihood", "rouge_l", "chrf", "similarity"]
    assert told["scores"]["log_likelihood"]["methods"] == told["methods"]
    assert told["models"] == {"weak": "smollm2:22", "strong": "smollm2"}
    assert told["chosen"] == {"shrink": [0.5, 0.75, 0.5]}
    assert told["provenance"]["licences"] == ["MIT"]


def test_the_json_repeats_the_hand_worked_numbers():
    told = text_report.as_dict(a_small_text_result())
    assert (told["weak"]["score"], told["ceiling"]["score"]) == (-4, -1)
    assert told["baselines"]["strong zero-shot"] == -3
    good = told["methods"]["good"]
    assert good["score"] == -2 and good["pgr"]["value"] == pytest.approx(2 / 3)
    assert good["recovered"]["value"] == pytest.approx(0.5)
    assert good["over_zero_shot"]["value"] == 1 and good["over_zero_shot"]["low"] > 0
    rouge = told["scores"]["rouge_l"]
    assert rouge["baselines"]["lead sentence"] == pytest.approx(0.1)
    assert rouge["methods"]["good"]["pgr"]["value"] == pytest.approx(0.5)
    assert told["signs"]["weak"]["copying"] == 0.5 and told["signs"]["gold"]["words"] == 2


def test_an_undefined_pgr_is_null_in_json():
    told = strict(json.dumps(with_likelihood(weak=-1).to_dict(), allow_nan=False))
    assert told["methods"]["good"]["pgr"] == {"value": None, "low": None, "high": None}


@pytest.mark.parametrize("text", GARBAGE)
def test_a_weak_model_that_writes_garbage_is_reported_like_any_other(text, tmp_path):
    result = a_small_text_result(**with_weak_texts(a_small_text_result(), text))
    assert "nan" not in str(result.table()) + str(text_report.signs(result))
    result.to_json(tmp_path / "r.json")
    told = strict((tmp_path / "r.json").read_text())
    # ROUGE-L 0: (0.4 − 0) / (0.6 − 0)
    rouge = told["scores"]["rouge_l"]["methods"]["good"]
    assert rouge["pgr"]["value"] == pytest.approx(2 / 3)
    assert text_report.examples(result, items=(0, 1)).rows[2][0] == "weak"


def test_without_an_error_to_repeat_a_dash_stands_for_its_share():
    table = text_report.signs(a_small_text_result(**with_weak_texts(a_small_text_result(), "")))
    assert row(table, "good")[-2:] == ("-", "-")
    assert row(table, "weak")[1:] == ("0", "0 %", "0 %", "0 %", "0 %", "100 %", "", "")


def test_each_quantity_is_resampled_once_for_table_and_figure(monkeypatch):
    from w2s_lab import text_plots

    calls = []
    real = metrics.bootstrap
    monkeypatch.setattr(metrics, "bootstrap", lambda *a, **k: calls.append(1) or real(*a, **k))
    result = a_small_text_result()
    text_report.scored(result, "log_likelihood")
    # 6 scores, of the 2 methods PGR and the share recovered
    assert len(calls) == 10
    text_report.scored(result, "log_likelihood")
    assert len(calls) == 10
    text_plots.gap(result)  # and the best student's lead
    assert len(calls) == 11


def test_a_changed_copy_of_a_result_is_scored_anew():
    result = a_small_text_result()
    text_report.scored(result, "rouge_l")
    changed = dataclasses.replace(result, methods=("bad",))
    assert text_report.scored(changed, "rouge_l").ranked == ("bad",)
