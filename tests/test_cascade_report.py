"""Tables of a cascade say what was measured, warn where they should, and survive as JSON."""

import json
import math

import numpy as np
import pytest
from synthetic_cascade_result import FEW, METHODS, a_cascade_result
from synthetic_cascade_result import a_small_cascade_result as a_small_result

from w2s_lab import cascade_report
from w2s_lab.cascade import Cascade, Stage, Unanswered
from w2s_lab.errors import W2SError
from w2s_lab.guarantee import Coverage
from w2s_lab.report import WIDTH

ROW = {"quality": 1, "of large": 2, "passed on": 3, "cost": 4, "area": 5, "reach": 6}


def notes(table):
    return " ".join(table.notes)


def rows(result):
    return {row[0]: row for row in cascade_report.table(result).rows}


def both(values):
    return {split: np.array([values], float) for split in ("validation", "test")}


@pytest.fixture(scope="module")
def result():
    return a_cascade_result()


def test_the_small_result_gives_the_hand_worked_rows():
    found = rows(a_small_result())
    shown = [ROW[column] for column in ("of large", "cost", "reach")]
    picked = {name: [row[k] for k in shown] for name, row in found.items()}
    assert picked == {
        "small alone": ["50.0%", "10%", ""],
        # both errors go: 1 + .5 · 10 of 10; half of the gap at .25, four fifths at .4
        "maximum probability": ["100.0%", "60%", "10/25/40 %"],
        # all have to go; the gap is recovered from .5 to 1 only: .6, .75, .9
        "bad": ["100.0%", "110%", "60/75/90 %"],
        # three have to go; recovered from .25 to .75: .35, .5, .65
        "random": ["100.0%", "85%", "35/50/65 %"],
        "oracle": ["100.0%", "60%", "10/25/40 %"],
        "large alone": ["100.0%", "100%", ""],
    }
    assert found["maximum probability"][ROW["quality"]] == "1.00 [1.00, 1.00]"
    assert found["maximum probability"][ROW["passed on"]] == "50% [0, 100]"
    assert found["maximum probability"][ROW["area"]].startswith("0.75 [")


def test_rules_are_ranked_by_average_pgr_between_the_models_and_bounds_stand_apart():
    table = cascade_report.table(a_small_result(methods=tuple(FEW)[::-1]))
    assert [[row[0] for row in group] for group in table.groups] == [
        ["small alone"],
        ["maximum probability", "bad"],
        ["random", "oracle"],
        ["large alone"],
    ]


def test_without_bounds_there_is_no_empty_group():
    table = cascade_report.table(a_small_result(methods=("bad",)))
    assert [len(group) for group in table.groups] == [1, 1, 1]


def test_a_table_fits_a_terminal_and_displays_as_html(result):
    table = cascade_report.table(result)
    assert max(map(len, str(table).splitlines())) <= WIDTH
    assert "<caption>" in table._repr_html_() and "nan" not in str(table)


def test_the_numbers_are_resampled_once(result, monkeypatch):
    first = cascade_report.summarize(result)
    monkeypatch.setattr(type(result), "held", None)
    assert cascade_report.summarize(result) is first and cascade_report.table(result)


def test_rules_that_surely_beat_chance_are_named_and_the_others_not(result):
    told = notes(cascade_report.table(result))
    wanted = "with its whole interval: maximum probability, margin, entropy, calibrated, learned."
    assert wanted in told
    assert "whole interval: none of them." in notes(cascade_report.table(a_small_result()))


@pytest.mark.parametrize("classes, said", [(2, True), (3, False)])
def test_rules_rank_alike_with_two_classes_only(classes, said):
    told = notes(cascade_report.table(a_cascade_result(classes=classes, items=100, seeds=1)))
    alike = "With two classes maximum probability, margin, entropy and calibrated rank alike"
    assert (alike in told) == said


def test_a_gap_that_may_be_none_is_warned_of(result):
    warning = "Warning: the gap may be 0"
    assert warning not in notes(cascade_report.table(result))
    assert warning in notes(cascade_report.table(a_small_result()))


def test_without_a_gap_the_table_says_so_and_shows_no_nan():
    right = both([1, 0, 1, 0])
    table = cascade_report.table(a_small_result(small=right, large=right))
    assert "Average PGR is undefined" in notes(table)
    assert "undefined" in str(table) and "nan" not in str(table)
    assert {row[ROW["reach"]] for row in table.rows} == {"", "-"}


@pytest.mark.parametrize(
    "gold, warned",
    [
        ([0, 0, 0, 1], True),  # 3 of 4 beats the small model's 2 of 4
        ([0, 1, 0, 1], False),  # 2 of 4 does not
    ],
)
def test_a_majority_that_beats_the_small_model_is_warned_of(gold, warned):
    result = a_small_result(gold={split: np.array(gold) for split in ("validation", "test")})
    told = notes(cascade_report.table(result))
    assert ("Warning: always answering the majority class scores 0.75" in told) == warned


def test_a_query_is_priced_in_operations_and_in_time(result):
    # 2e5 and 2.6e9 operations, 20 microseconds and 45 milliseconds
    told = notes(cascade_report.table(result))
    assert "0.2 MFLOP and 0.02 ms with the small model, 2,600 MFLOP and 45 ms with the" in told


# Guarantees


def test_guarantees_give_a_row_for_each_level_and_say_that_they_held(result):
    table = cascade_report.guarantees(result, "margin", levels=(0.02, 0.05), splits=100)
    assert [row[0] for row in table.rows] == ["2 %", "5 %"]
    assert {row[2] for row in table.rows} == {"90%"}
    assert "the promise is kept at a risk of 2 %, 5 %." in notes(table)
    assert "of 100 calibrations, 90 or more" in notes(table)


def test_a_coverage_is_counted_once(result, monkeypatch):
    first = cascade_report.covered(result, "margin", (0.02,), splits=50)
    monkeypatch.setattr(type(result), "coverage", None)
    assert cascade_report.covered(result, "margin", (0.02,), splits=50) == first


def test_a_broken_promise_is_a_warning():
    one = {"delta": 0.1, "splits": 400, "mean_risk": 0.02, "mean_deferred": 0.5, "held_out": 0.8}
    made = [
        Coverage(level=0.01, covered=0.8, interval=(0.76, 0.84), **one),  # .84 < .9
        Coverage(level=0.025, covered=0.88, interval=(0.84, 0.91), **one),  # .91 >= .9
    ]
    result = a_small_result()
    vars(result)["_covered"] = {("bad", c.level, 0.1, 400): c for c in made}
    told = notes(cascade_report.guarantees(result, "bad", levels=(0.01, 0.025)))
    assert "Warning: covered less than promised, with the whole interval, at 1 %." in told
    assert "kept at a risk of 2.5 %." in told
    assert cascade_report.broken(made) == made[:1]


def test_guarantees_need_a_level_and_a_known_rule(result):
    with pytest.raises(W2SError, match="no levels"):
        cascade_report.guarantees(result, "margin", levels=())
    with pytest.raises(W2SError, match="no rule 'luck'"):
        cascade_report.guarantees(result, "luck")


# A live cascade


def says(name, flops, p=None, fails=()):
    """A stage that answers `p` or, where that is None, a query's own number; `fails` on some."""

    def answer(queries):
        if set(queries) & set(fails):
            raise RuntimeError("out of memory")
        sure = np.array([float(q) if p is None else p for q in queries])
        return np.stack([sure, 1 - sure], axis=1)

    return Stage(name, answer, flops)


def three(**large):
    stages = (says("small", 1), says("middle", 10), says("large", 100, 0.75, **large))
    return Cascade(stages, (lambda probs: probs.max(axis=1),) * 2, (0.7, 0.58))


QUERIES, GOLD = ["0.95", "0.6", "0.8", "0.55"], [0, 0, 1, 0]


def test_stages_match_the_hand_worked_run():
    # small keeps queries 0 and 2 (one of them wrong), middle query 1, large query 3; spent:
    # 4 · 1, 2 · 10 and 1 · 100 of 124; 124 / 4 = 31 of the 100 of large
    cascade = three()
    table = cascade_report.stages(cascade(QUERIES), cascade, GOLD)
    assert [row[:5] for row in table.rows] == [
        ("small", "100%", "50%", "0.50", "3%"),
        ("middle", "50%", "25%", "1.00", "16%"),
        ("large", "25%", "25%", "1.00", "81%"),
        ("whole cascade", "100%", "100%", "0.75", "100%"),
    ]
    assert notes(table) == "One query took 31% of the operations of asking large alone."


def test_a_stage_that_failed_was_asked_paid_and_is_named():
    cascade = three(fails=["0.55"])
    with pytest.warns(UserWarning, match="failed 1 of 4"):
        answered = cascade(QUERIES)
    table = cascade_report.stages(answered, cascade, GOLD)
    assert table.rows[1][:4] == ("middle", "50%", "50%", "1.00")
    assert table.rows[2][:5] == ("large", "25%", "0%", "-", "81%")
    assert "Warning: large failed 1 time; the first: RuntimeError: out of memory" in notes(table)


def test_queries_without_an_answer_count_as_wrong():
    stages = (says("small", 1, fails=["0.8"]), says("large", 10, 0.75, fails=["0.8"]))
    cascade = Cascade(stages, (lambda probs: probs.max(axis=1),), (0.7,))
    with pytest.raises(Unanswered) as caught:
        cascade(QUERIES)
    table = cascade_report.stages(caught.value.answered, cascade, [0, 0, 0, 0])
    assert table.rows[-1][2:4] == ("75%", "0.75")
    assert "Warning: 1 of 4 queries have no answer and count as wrong." in notes(table)


def test_stages_without_operations_have_no_share_of_them():
    cascade = Cascade((says("a", 0), says("b", 0)), (lambda probs: probs.max(axis=1),), (0.7,))
    table = cascade_report.stages(cascade(QUERIES), cascade, GOLD)
    assert {row[4] for row in table.rows} == {"-"} and table.notes == ()


def test_gold_of_another_length_is_refused():
    cascade = three()
    with pytest.raises(W2SError, match=r"4 queries beside 3 stages and gold of shape \(3,\)"):
        cascade_report.stages(cascade(QUERIES), cascade, GOLD[:3])


# JSON


def test_json_carries_what_every_lab_shares_and_each_rule(result):
    made = cascade_report.as_dict(result)
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert made["models"] == {"weak": "static", "strong": "minilm+"}
    assert made["weak"]["score"] == pytest.approx(result.small["test"].mean())
    assert made["ceiling"]["score"] == pytest.approx(result.large["test"].mean())
    assert list(made["methods"]) == list(METHODS)
    for name, told in made["methods"].items():
        assert told["pgr"] == result.average_pgr(name).as_dict()
        assert set(told) == {
            "score",
            "interval",
            "pgr",
            "of_large",
            "passed_on",
            "cost",
            "to_reach",
        }
        assert list(told["to_reach"]) == ["0.2", "0.5", "0.8"]
    assert made["provenance"]["licences"] == ["MIT"]


def test_json_knows_no_infinity():
    made = cascade_report.as_dict(a_small_result())
    # 4 items: some resamples have no gap, so the average PGR is not bounded
    assert math.isinf(a_small_result().average_pgr("bad").low)
    assert made["methods"]["bad"]["pgr"] == {"value": 0.25, "low": None, "high": None}
    assert made["baselines"] == {"majority": 0.5}
