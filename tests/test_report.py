"""Reports say what was predicted, and a file is whole or not there."""

import dataclasses
import json
import os
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_result import STUDENTS, a_result, a_small_result

from w2s_lab import metrics, report
from w2s_lab.errors import W2SError


def strict(text):
    """What a JSON reader that knows no nan makes of it."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def row(table, name):
    return next(cells for cells in table.rows if cells[0] == name)


def warnings_of(result):
    return [note for note in report.table(result).notes if note.startswith("Warning: ")]


def test_the_table_runs_from_baselines_over_weak_and_students_by_score_to_the_ceiling():
    names = [cells[0] for cells in report.table(a_result()).rows]
    assert names[:4] == ["majority", "bag of words", "strong zero-shot", "strong on gold labels"]
    # sorted by the shares right that the students were made with
    assert names[4:8] == ["weak", "relabel", "filter", "confidence"]
    assert set(names[8:11]) == {"naive", "soft", "early stopping"} and names[11:] == ["ceiling"]


def test_the_shares_of_errors_are_the_hand_worked_ones():
    # weak errs on items 1 and 3. good: mends 3, repeats 1 (1/2 each), spoils none of 0 and 2.
    # bad: repeats both, spoils 0 of the two that weak had right.
    table = report.table(a_small_result())
    assert row(table, "good")[3:] == ("50 %", "50 %", "0 %")
    assert row(table, "bad")[3:] == ("100 %", "0 %", "50 %")


def test_score_and_pgr_are_the_hand_worked_ones():
    # good (0.75 − 0.5) / (1 − 0.5) = 0.5; bad (0.25 − 0.5) / (1 − 0.5) = −0.5
    told = report.summarize(a_small_result())
    assert (told.scores["good"].value, told.pgr["good"].value) == (0.75, 0.5)
    assert (told.scores["bad"].value, told.pgr["bad"].value) == (0.25, -0.5)
    assert told.gap.value == 0.5
    assert told.mended == {"good": 0.5, "bad": 0.0}


def test_a_weak_model_without_errors_leaves_their_shares_open_and_pgr_undefined():
    perfect = a_small_result().probs["ceiling"]
    result = a_small_result(probs={**a_small_result().probs, "weak": perfect})
    table = report.table(result)
    assert row(table, "good")[2:5] == ("undefined", "-", "-")
    assert "PGR is undefined: the ceiling does not beat the weak model." in table.notes
    methods = strict(json.dumps(report.as_dict(result)))["methods"]
    assert methods["good"]["pgr"] == {"value": None, "low": None, "high": None}
    assert methods["good"]["agreement"]["with_supervisor_wrong"] is None


@pytest.mark.parametrize("result", [a_result(), a_small_result(), a_result(weak=0.9, ceiling=0.9)])
def test_the_printed_table_fits_a_terminal_of_100_columns(result):
    assert max(len(line) for line in str(report.table(result)).splitlines()) <= 100


def test_the_printed_columns_stand_under_one_another():
    lines = str(report.table(a_result())).splitlines()
    rows = [line for line in lines if re.match(r"[a-z -]+  +\d\.\d\d \[", line)]
    assert len(rows) == 12
    assert len({line.index("[") for line in rows}) == 1


def test_a_baseline_that_beats_every_student_is_warned_of_with_its_lead():
    result = a_small_result(labels=16)
    # the bag of words has 4 of 4 right, good 3 of 4: ahead by 0.25
    (warning,) = warnings_of(result)
    assert "A bag of words on the same 16 gold labels scores 1.00" in warning
    assert "better than any student, by 0.25 [" in warning


def test_a_baseline_level_with_the_best_student_is_not_called_better():
    small = a_small_result()
    result = a_small_result(probs={**small.probs, "bag of words": small.probs["good"]})
    (warning,) = warnings_of(result)
    assert "no student is better" in warning and "better than any" not in warning


def test_baselines_below_the_best_student_raise_no_warning():
    assert warnings_of(a_small_result(baselines=("majority",))) == []


def test_students_below_the_untrained_strong_model_are_named():
    result = a_result()
    (warning,) = [w for w in warnings_of(result) if "without any training: " in w]
    below = [name for name in STUDENTS if result.score(name).value < 0.78]
    assert below and all(name in warning for name in below)
    assert "relabel" not in warning


def test_intervals_that_exclude_zero_are_told_apart_from_those_that_do_not():
    result = a_result()
    (line,) = [n for n in report.table(result).notes if n.startswith("PGR above 0")]
    for name in STUDENTS:
        assert (name in line) == (result.pgr(name).low > 0)


def test_no_student_above_its_teacher_is_said_plainly():
    probs = a_result().probs
    result = a_result(methods=("naive",), probs={**probs, "naive": probs["weak"]})
    assert any("none is shown to beat its teacher" in n for n in report.table(result).notes)
    worse = a_result(methods=("naive",), probs={**probs, "naive": 1 - probs["ceiling"]})
    assert any(n.startswith("PGR below 0") for n in report.table(worse).notes)


def test_a_gap_that_may_be_nothing_is_told():
    result = a_result(weak=0.86, ceiling=0.88)
    assert result.lead("ceiling", over="weak").value > 0
    assert "The gap may be 0, so no PGR over it is bounded." in report.table(result).notes


def test_costs_are_told_per_1000_labels():
    # 1.92e12 operations are 1,920 GFLOP, to two digits 1,900
    (line,) = [n for n in report.table(a_result()).notes if n.startswith("1,000 labels")]
    assert "0.62 s (0 GFLOP) with the weak" in line and "45 s (1,900 GFLOP) with the str" in line


def test_the_html_table_says_what_its_cells_belong_to_and_sets_no_colours():
    page = report.table(a_result())._repr_html_()
    assert page.count("<caption>") == 1
    assert page.count('scope="col"') == 6 and page.count('scope="row"') == 12
    assert "style" not in page and "color" not in page
    assert "<strong>Warning: </strong>" in page


def test_the_html_table_escapes_names():
    probs = a_small_result().probs
    named = a_small_result(
        task="<script>", strong="a&b", methods=("<i>",), probs={**probs, "<i>": probs["weak"]}
    )
    page = report.table(named)._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;" in page and "a&amp;b" in page
    assert "<i>" not in page and '<th scope="row">&lt;i&gt;</th>' in page


def test_the_json_has_the_agreed_shape():
    told = strict(json.dumps(a_result().to_dict()))
    first = ["task", "size", "device", "seeds", "baselines", "weak", "ceiling", "methods"]
    assert list(told)[:9] == [*first, "seconds"]
    assert told["baselines"]["majority"] == 0.5
    assert set(told["methods"]) == set(STUDENTS)
    for place in (told["weak"], told["ceiling"], *told["methods"].values()):
        assert place["interval"]["low"] <= place["score"] <= place["interval"]["high"]
    for place in told["methods"].values():
        assert set(place["pgr"]) == {"value", "low", "high"}
    assert told["models"] == {"weak": "static", "strong": "minilm"}


def test_the_json_repeats_the_hand_worked_numbers():
    told = report.as_dict(a_small_result())
    assert told["weak"]["score"] == 0.5 and told["ceiling"]["score"] == 1.0
    assert told["methods"]["good"]["score"] == 0.75
    # one seed and four items: resamples without a gap leave PGR unbounded, which JSON cannot say
    assert told["methods"]["good"]["pgr"] == {"value": 0.5, "low": None, "high": None}
    assert told["methods"]["bad"]["agreement"]["new_errors"] == 0.25


def test_two_runs_with_one_seed_make_equal_files_but_for_the_seconds(tmp_path):
    files = [tmp_path / name for name in ("a.json", "b.json", "c.json")]
    results = a_result(), a_result(seconds=99.0), a_result(seed=1)
    for file, result in zip(files, results, strict=True):
        result.to_json(file)
    first, second, other = (strict(file.read_text()) for file in files)
    assert (first.pop("seconds"), second.pop("seconds"), other.pop("seconds")) == (12.5, 99, 12.5)
    assert json.dumps(first) == json.dumps(second) != json.dumps(other)


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
numbers = st.sampled_from([np.float32("nan"), np.int64(3), np.arange(3), np.array("x")])
odd = numbers | st.binary() | st.sets(st.text())
nested = st.recursive(
    plain | odd,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=8,
)


@given(nested)
def test_any_provenance_becomes_strict_json(value):
    strict(json.dumps(report.plain(value), allow_nan=False))


def test_the_order_of_a_set_does_not_show():
    words = [f"word {k}" for k in range(20)]
    assert report.plain({"x": set(words)}) == {"x": sorted(words)}


def test_each_quantity_is_resampled_once_for_table_json_and_figure(monkeypatch):
    from w2s_lab import plots

    calls = []
    real = metrics.bootstrap
    monkeypatch.setattr(metrics, "bootstrap", lambda *a, **k: calls.append(1) or real(*a, **k))
    result = a_small_result()
    report.table(result)
    # 6 scores, 2 PGR, the gap, and the lead of the one baseline that is ahead
    assert len(calls) == 10
    report.as_dict(result), report.table(result), plots.gap(result), plots.errors(result)
    assert len(calls) == 10


def test_a_changed_copy_of_a_result_is_summed_up_anew():
    result = a_small_result()
    report.summarize(result)
    changed = dataclasses.replace(result, methods=("bad",))
    assert report.summarize(changed).ranked == ("bad",)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    target = tmp_path / "r.json"
    target.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(W2SError, match="No space left"):
        a_small_result().to_json(target)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_a_written_file_has_the_permissions_of_any_new_file(tmp_path):
    report.write_whole(tmp_path / "r.json", b"x")
    (tmp_path / "plain").write_bytes(b"x")
    assert (tmp_path / "r.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_link_is_written_through(tmp_path):
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    real.write_text("old")
    link.symlink_to(real)
    report.write_whole(link, b"new")
    assert link.is_symlink() and real.read_bytes() == b"new"


@pytest.mark.parametrize(
    "name, told",
    [
        ("", "is a folder"),
        ("missing/r.json", "in a folder that does not exist"),
        ("file/r.json", "in a folder that does not exist"),
        ("pipe", "not an ordinary file"),
        ("x" * 300, "cannot be written"),
    ],
)
def test_a_place_where_no_file_can_be_is_told_in_one_line(tmp_path, name, told):
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(W2SError, match=told) as caught:
        report.writable(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_folder_or_file_that_is_read_only_is_told(tmp_path):
    (tmp_path / "r.json").touch(0o400)
    with pytest.raises(W2SError, match="read-only"):
        report.writable(tmp_path / "r.json")
    tmp_path.chmod(0o500)
    with pytest.raises(W2SError, match="cannot be written"):
        report.writable(tmp_path / "other.json")


def test_asking_where_to_write_makes_no_file(tmp_path):
    assert report.writable(tmp_path / "r.json") == tmp_path / "r.json"
    assert list(tmp_path.iterdir()) == []


def test_another_ending_is_refused_where_one_is_asked_for(tmp_path):
    assert report.writable(tmp_path / "a.PNG", suffix=".png")
    with pytest.raises(W2SError, match="end in .png"):
        report.writable(tmp_path / "a.svg", suffix=".png")
