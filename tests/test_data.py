"""What holds of any task: its groups can be dealt anew, and the package's own are all known.

The tasks themselves are asked in one file each, `test_data_indemnity` and so on.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from w2s_lab import data
from w2s_lab.data import OWN, Task
from w2s_lab.errors import W2SError


def made(**changes) -> Task:
    """Forty items of two classes in groups of two, the last four in no split."""
    return Task(
        **{
            "name": "made",
            "size": "smoke",
            "inputs": tuple(f"text number {i} of its own kind" for i in range(40)),
            "gold": np.arange(40) // 2 % 2,
            "groups": np.arange(40) // 2,
            "ids": np.arange(40).astype(str),
            "splits": {
                "supervise": np.arange(8),
                "transfer": np.arange(8, 24),
                "validation": np.arange(24, 28),
                "test": np.arange(28, 36),
            },
            "classes": ("no", "yes"),
            **changes,
        }
    )


def test_every_own_module_puts_its_tasks_under_their_names():
    # a fresh interpreter: here other tests may have asked for tasks before
    asks = (
        "from w2s_lab import data; before = len(data.TASKS); data.register(); data.register();"
        "print(before, *sorted(f'{n}={f.__module__}' for n, f in data.TASKS.items()))"
    )
    asked = [sys.executable, "-c", asks]
    told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    assert told[0] == "0"  # nothing is read before it is needed
    assert {entry.partition("=")[2] for entry in told[1:]} == {f"w2s_lab.data.{m}" for m in OWN}
    assert {entry.partition("=")[0] for entry in told[1:]} >= set(OWN)


def test_no_module_that_makes_a_task_is_left_out():
    folder = Path(data.__file__).parent
    makers = {file.stem for file in folder.glob("*.py") if "\n@task(" in file.read_text("utf-8")}
    assert makers == set(OWN)


def test_a_known_task_is_found_and_an_unknown_one_is_told_with_the_known_ones():
    data.register()
    assert set(OWN) <= set(data.TASKS)
    with pytest.raises(W2SError, match="unknown task 'indemnty'") as caught:
        data.load_task("indemnty")
    assert "indemnity, pairs, papers" in str(caught.value) and "\n" not in str(caught.value)


def test_another_deal_keeps_the_items_their_shares_and_their_groups_whole():
    task = made()
    dealt = task.resplit(1)
    for name, index in dealt.splits.items():
        assert len(index) == len(task.splits[name]), name
        assert set(dealt.gold[index]) == {0, 1}, name
        rest = np.setdiff1d(np.arange(36), index)
        assert not set(dealt.groups[index]) & set(dealt.groups[rest]), name
    both = [sorted(np.concatenate(list(t.splits.values()))) for t in (task, dealt)]
    assert both[0] == both[1] == list(range(36))  # what was in no split stays out
    assert any(set(dealt.splits[s]) != set(task.splits[s]) for s in task.splits)


def test_a_seed_is_one_deal_and_another_seed_another():
    task = made()
    one, again, other = (task.resplit(seed).splits for seed in (1, 1, 2))
    for name in task.splits:
        np.testing.assert_array_equal(one[name], again[name])
    assert any(set(one[name]) != set(other[name]) for name in task.splits)


def test_a_task_of_filtering_keeps_its_splits_and_says_so_in_one_line():
    task = made(protocol="filter")
    with pytest.raises(W2SError, match="made: its splits hold .* cannot be dealt anew") as caught:
        task.resplit(1)
    assert "leave the split as it is" in str(caught.value) and "\n" not in str(caught.value)
