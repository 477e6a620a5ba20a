"""Do the benchmarks measure in turns, report what they promise, and agree with their peers?

Their figures are for a quiet machine and are not asserted here.
"""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from w2s_lab.cli import main

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture(autouse=True)
def in_bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))


def test_works_take_turns_and_each_repeat_is_kept():
    import measuring

    said = []
    a, b = measuring.alternate(lambda: said.append("a"), lambda: said.append("b"), repeats=3)
    assert said == ["a", "b"] * 3
    assert len(a.seconds) == len(b.seconds) == 3


def test_a_row_tells_how_many_times_faster_ours_is_repeat_by_repeat():
    import measuring

    ours = measuring.Timed([1.0, 2.0, 4.0], 10.0)
    theirs = measuring.Timed([3.0, 4.0, 4.0], 20.0)
    row = measuring.row("work", "peer", ours, theirs, tokens=7)
    # ratios 3, 2 and 1; medians 2 and 4 seconds
    assert (row["ours"], row["theirs"], row["ratio"]) == (2.0, 4.0, 2.0)
    assert (row["lowest"], row["highest"]) == (1.0, 3.0)
    assert (row["ours_mb"], row["theirs_mb"], row["tokens"], row["unit"]) == (10.0, 20.0, 7, "s")


def test_memory_that_was_given_back_within_the_work_is_seen():
    import measuring

    def work():
        block = np.ones(25_000_000)  # 200 MB
        time.sleep(0.2)
        del block

    assert 150 < measuring.once(work)[1] < 400


def test_every_work_has_a_file_with_a_measure_and_an_aim_that_can_be_found():
    import peers

    for name in peers.WORKS:
        text = (BENCH / f"{name}.py").read_text()
        assert "def measure(size" in text, name
    row = {"work": "decoding, 3 prompts", "peer": "any", "unit": "s"}
    row |= {"ours": 1.0, "theirs": 2.0, "ratio": 2.0}
    assert peers.table([row]).splitlines()[-1].split("|")[6].strip() == "1"


@pytest.mark.parametrize("more", [["--only", "lesson"], ["--size", "smoke"]])
def test_a_part_of_the_table_is_not_written_to_the_page(more, capsys):
    assert main(["bench", "--write", *more]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_table_is_put_between_the_marks_of_its_device_alone(tmp_path, monkeypatch):
    import peers

    page = tmp_path / "engine.md"
    page.write_text("a\n<!-- cpu -->old<!-- end of cpu -->\nb <!-- gpu -->kept<!-- end of gpu -->")
    monkeypatch.setattr(peers, "PAGE", page)
    row = {"work": "w", "peer": "p", "unit": "s", "ours": 1.0, "theirs": 2.0, "ratio": 2.0}
    peers.write([row], "lab", "cpu")
    text = page.read_text()
    assert "old" not in text and "| w | p | 1 s | 2 s | 2 |" in text
    assert text.startswith("a\n<!-- cpu -->") and text.endswith(
        "<!-- gpu -->kept<!-- end of gpu -->"
    )


def test_an_unknown_work_is_told_in_one_line(capsys):
    assert main(["bench", "--only", "nothing"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "token_states" in said


def test_the_plain_student_of_the_benchmark_is_the_same_head():
    import students
    import torch

    from w2s_lab import heads

    torch.manual_seed(0)
    ours = heads.Heads(np.array([3]), 6, 2, heads.QUERIES)
    states, mask = torch.randn(4, 5, 6), torch.arange(5) < torch.tensor([[5], [2], [1], [4]])
    torch.testing.assert_close(students.Head(ours)(states, mask), ours(states, mask)[0])


@pytest.mark.slow
@pytest.mark.parametrize("work", ["token_states", "students", "training", "decoding"])
def test_a_work_runs_at_smoke_size_and_writes_rows(work, tmp_path, capsys):
    pytest.importorskip("sentence_transformers")
    import peers

    out = tmp_path / "rows.json"
    assert main(["bench", "--only", work, "--size", "smoke", "--json", str(out)]) == 0
    rows = json.loads(out.read_text())
    assert rows
    for row in rows:
        assert {"work", "peer", "ours", "theirs", "unit", "ratio"} <= row.keys()
        assert row["ratio"] > 0
        aims = [
            k for k in peers.AIMS if row["work"].startswith(k[0]) and row["peer"].startswith(k[1])
        ]
        assert len(aims) == 1, row["work"]
    assert "torch" in capsys.readouterr().out
