"""What `w2s_lab.cache` and `w2s_lab.entries` promise: within the limit, and never half an entry.

Entries are small files under a temporary folder; other processes are real, and really killed.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from w2s_lab import cache, cli, entries
from w2s_lab.cache import atomic_folder, clear, surplus, trim
from w2s_lab.entries import MANIFEST, Entry, is_whole
from w2s_lab.errors import W2SError

ROOT = Path(__file__).parents[1]
DAY = 86400
killed = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """An empty cache that may hold 1,000 bytes."""
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("W2S_CACHE_GB", "0.000001")
    return tmp_path / "cache"


def put(final: Path, size: int = 400, *, idle: float = 0) -> Path:
    """An entry of two files that was last used `idle` seconds ago."""

    def fill(folder: Path) -> None:
        (folder / "a").write_bytes(b"x" * (size - 1))
        (folder / "b").write_bytes(b"y")

    folder = atomic_folder(final, fill)
    if idle:
        old(folder, idle)
    return folder


def old(folder: Path, idle: float = DAY) -> None:
    os.utime(folder / MANIFEST, (time.time() - idle,) * 2)


def idle(folder: Path) -> float:
    return time.time() - (folder / MANIFEST).stat().st_mtime


def names(home: Path) -> list[str]:
    """What is there to be found, by name."""
    return sorted(e.folder.name for kind in cache.KINDS for e in entries.found(home / kind))


def left_overs(home: Path) -> list[str]:
    return sorted(path.name for path in home.rglob(".*") if path.suffix in (".part", ".lock"))


def python(code: str, *arguments) -> subprocess.Popen:
    """Another process that has this file's names."""
    start = "import os, sys, time\nfrom pathlib import Path\nfrom tests.test_cache import *\n"
    paths = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    return subprocess.Popen(
        [sys.executable, "-c", start + code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
    )


# The policy


def entry(name: str, size: int, used: float, held: bool = False) -> Entry:
    return Entry(Path(name), size, used, held)


def test_the_oldest_go_until_the_rest_fits():
    some = [entry("new", 300, 9), entry("old", 200, 1), entry("middle", 500, 5)]
    assert surplus(some, 1000) == []  # 300 + 200 + 500 = 1,000
    assert surplus(some, 999) == [some[1]]  # 800 are left
    assert surplus(some, 800) == [some[1]]
    assert surplus(some, 799) == [some[1], some[2]]  # 300 are left
    assert surplus(some, 0) == [some[1], some[2], some[0]]


def test_one_that_is_held_stays_and_a_younger_one_goes_instead():
    some = [entry("held", 900, 1, held=True), entry("old", 50, 2), entry("new", 50, 3)]
    assert surplus(some, 950) == [some[1]]
    assert surplus(some, 100) == [some[1], some[2]]  # 900 stay, which is too much


caches = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 20), st.booleans())).map(
    lambda rows: [entry(str(i), *row) for i, row in enumerate(rows)]
)


@given(caches, st.integers(0, 1000))
def test_what_goes_is_old_enough_not_held_and_no_more_than_needed(there, most):
    going = surplus(there, most)
    stay = [one for one in there if one not in going]
    assert not any(one.held for one in going)
    free = [one.used for one in stay if not one.held]
    assert max((one.used for one in going), default=0) <= min(free, default=np.inf)
    total = sum(one.bytes for one in stay)
    assert total <= most or not free
    assert not going or total + going[-1].bytes > most
    assert len(set(going)) == len(going)


@given(caches, st.integers(0, 1000))
def test_after_a_trim_there_is_nothing_more_to_trim(there, most):
    going = surplus(there, most)
    assert surplus([one for one in there if one not in going], most) == []


# The limit


def test_without_a_word_the_limit_is_ten_gigabytes(monkeypatch):
    monkeypatch.delenv("W2S_CACHE_GB")
    assert cache.limit() == 10e9
    monkeypatch.setenv("W2S_CACHE_GB", " ")
    assert cache.limit() == 10e9


def test_the_limit_is_in_gigabytes_and_off_is_none_at_all(monkeypatch):
    for text, most in (("2.5", 2.5e9), ("0", 0), ("off", np.inf), ("OFF", np.inf)):
        monkeypatch.setenv("W2S_CACHE_GB", text)
        assert cache.limit() == most


@pytest.mark.parametrize("text", ["ten", "-1", "10GB", "nan", "inf", "none"])
def test_a_limit_that_makes_no_sense_is_one_line_before_any_work(home, monkeypatch, text):
    monkeypatch.setenv("W2S_CACHE_GB", text)
    with pytest.raises(W2SError) as error:
        atomic_folder(home / "results" / "a", lambda folder: pytest.fail("worked"))
    assert str(error.value).startswith(f"W2S_CACHE_GB: {text!r} is no number from 0 on; give")
    assert "\n" not in str(error.value)


def test_a_new_entry_that_is_too_much_drives_out_the_one_unused_for_longest(home):
    put(home / "features" / "m" / "b", idle=2 * DAY)
    put(home / "features" / "m" / "a", idle=3 * DAY)
    put(home / "results" / "c")  # 3 x 400 bytes
    assert names(home) == ["b", "c"]


def test_a_use_keeps_an_entry_from_going_first(home):
    put(home / "results" / "a", idle=3 * DAY)
    put(home / "results" / "b", idle=2 * DAY)
    atomic_folder(home / "results" / "a", lambda folder: pytest.fail("filled again"))
    put(home / "results" / "c")
    assert names(home) == ["a", "c"]


def test_what_was_used_in_the_last_hour_stays_even_over_the_limit(home):
    for name in "abcd":
        put(home / "results" / name, idle=3500)
    assert trim(0) == cache.Removed(entries=0, bytes=0, stayed=4)
    old(home / "results" / "c", 3700)
    assert trim(0) == cache.Removed(entries=1, bytes=400, stayed=3)
    assert names(home) == ["a", "b", "d"]


@pytest.mark.parametrize("kind", cache.LASTING)
def test_assets_and_what_the_boxes_read_neither_count_nor_go_by_themselves(home, kind):
    put(home / kind / "a", 5000, idle=DAY)
    put(home / "results" / "b", idle=DAY)
    put(home / "results" / "c")
    trim()
    assert names(home) == ["a", "b", "c"]
    trim(0)
    assert names(home) == ["a", "c"]


def test_a_limit_that_is_off_removes_nothing(home, monkeypatch):
    monkeypatch.setenv("W2S_CACHE_GB", "off")
    for name in "abcd":
        put(home / "results" / name, idle=DAY)
    assert names(home) == list("abcd")
    assert trim() == cache.Removed(0, 0, 0)


def test_an_entry_that_is_at_work_stays_and_the_next_one_goes(home):
    for name, days in (("a", 3), ("b", 2), ("c", 1)):
        put(home / "results" / name, 300, idle=days * DAY)
    with FileLock(home / "results" / ".a.lock"):
        assert trim(600) == cache.Removed(entries=1, bytes=300, stayed=0)
    assert names(home) == ["a", "c"]


def test_what_long_work_found_at_its_beginning_stays_while_it_goes_on(home):
    found = put(home / "features" / "m" / "found")
    unused = put(home / "features" / "m" / "unused")
    elsewhere = put(home / "features" / "n" / "elsewhere")

    def fill(folder: Path) -> None:  # as if it had begun three hours ago and found one entry
        (folder / "a").write_text("long work")
        os.utime(folder.parent, (time.time() - 3 * 3600,) * 2)
        for entry, hours in ((found, 3.01), (unused, 4.01), (elsewhere, 3.01)):
            old(entry, hours * 3600)
        assert trim(0).entries == 2
        assert found.exists()

    atomic_folder(home / "features" / "m" / "new", fill)
    assert trim(0).entries == 1  # `found`; only what is new stays
    assert names(home) == ["new"]


def test_what_long_work_found_at_its_beginning_counts_as_used_at_its_end(home, monkeypatch):
    found = put(home / "features" / "m" / "found", idle=3.01 * 3600)
    unused = put(home / "features" / "m" / "unused", idle=4 * 3600)
    clock = [time.time() - 3 * 3600]
    monkeypatch.setattr(entries, "time", SimpleNamespace(time=lambda: clock[0]))

    def fill(folder: Path) -> None:
        (folder / "a").write_text("long work")
        clock[0] += 3 * 3600

    atomic_folder(home / "features" / "m" / "new", fill)
    assert idle(found) < 60 and idle(unused) > 3 * 3600


def test_a_clock_that_was_wrong_does_not_protect_an_entry_for_ever(home):
    put(home / "results" / "a", idle=-300 * DAY)
    trim(0)
    assert names(home) == []
    put(home / "results" / "b", idle=-60)  # another machine's clock
    trim(0)
    assert names(home) == ["b"]


def test_what_the_user_put_there_is_never_touched(home):
    mine = [home / "results" / "mine.txt", home / "results" / "2024" / "b.csv", home / "x" / "y"]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("not ours")
        os.utime(path, (1, 1))
    put(home / "results" / "a", idle=DAY)
    trim(0)
    clear()
    assert [path.read_text() for path in mine] == ["not ours"] * 3
    assert names(home) == []


def test_fifty_small_entries_cost_one_look_at_the_others(home, monkeypatch):
    looks = Counter()
    scandir = os.scandir

    def counted(path):
        looks[str(path)] += 1
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counted)
    for i in range(50):
        put(home / "prompts" / "m" / str(i), 20)  # 50 x 20 bytes are just not too much
    assert looks[str(home / "prompts" / "m")] == 2  # for what was left over, and for what is there
    old(home / "prompts" / "m" / "7")
    put(home / "results" / "one more", 20)
    assert looks[str(home / "prompts" / "m")] == 4
    assert len(names(home)) == 50


def test_over_the_limit_with_all_in_use_it_looks_once_a_minute(home, monkeypatch):
    clock, looks = [0.0], []
    monkeypatch.setattr(cache.time, "monotonic", lambda: clock[0])
    trimmed = cache.trim
    monkeypatch.setattr(cache, "trim", lambda most: looks.append(most) or trimmed(most))
    for i in range(50):  # the third is too much, and all were used just now
        put(home / "results" / str(i))
        clock[0] += 1
    assert len(looks) == 2  # at the first entry, and when it was too much
    old(home / "results" / "7")
    clock[0] += 60
    put(home / "results" / "one more")
    assert len(looks) == 3 and "7" not in names(home)


def test_what_other_processes_add_is_seen_after_a_while(home, monkeypatch):
    put(home / "results" / "a", idle=DAY)
    with python("put(Path(sys.argv[1]), 700)", home / "results" / "b") as other:
        assert other.wait() == 0
    old(home / "results" / "b")
    put(home / "results" / "c", 100)  # 400 + 100, as far as is known here
    assert names(home) == ["b", "c"]  # the other process knew of 400 + 700
    put(home / "results" / "d", 300)
    monkeypatch.setattr(cache, "RECOUNT", -1)
    put(home / "results" / "e", 10)
    assert names(home) == ["c", "d", "e"]


def test_every_kind_that_the_package_keeps_is_known_here():
    sources = "".join(path.read_text() for path in (ROOT / "w2s_lab").rglob("*.py"))
    assert set(re.findall(r'cache_dir\(\) / "(\w+)"', sources)) <= set(cache.KINDS)


# A use


def test_a_hit_marks_the_entry_as_used_but_at_most_once_a_minute(home, monkeypatch):
    folder = put(home / "results" / "a", idle=50)
    marks = []
    utime = os.utime
    monkeypatch.setattr(os, "utime", lambda *a: marks.append(a) or utime(*a))
    assert is_whole(folder) and marks == []
    utime(folder / MANIFEST, (time.time() - 70,) * 2)
    assert is_whole(folder) and is_whole(folder)
    assert len(marks) == 1 and idle(folder) < 10


def test_a_fresh_hit_looks_at_its_own_files_alone(home, monkeypatch):
    folder = put(home / "results" / "a")
    looks = []
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **k: looks.append(Path(path)) or stat(path, **k))
    assert is_whole(folder)
    assert sorted(set(looks)) == sorted(folder / name for name in (MANIFEST, "a", "b"))
    assert len(looks) == 3


def test_in_a_cache_that_cannot_be_written_a_hit_needs_neither_mark_nor_lock(home, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError

    folder = put(home / "results" / "a", idle=DAY)
    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr("filelock.FileLock", lambda *_, **__: pytest.fail("asked for a lock"))
    assert is_whole(folder)
    assert atomic_folder(folder, lambda _: pytest.fail("filled again")) == folder


def test_a_trim_in_a_cache_that_cannot_be_written_removes_and_breaks_nothing(home, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError

    put(home / "results" / "a", idle=DAY)
    monkeypatch.setattr(os, "replace", refuse)
    assert trim(0) == cache.Removed(entries=0, bytes=0, stayed=1)
    assert is_whole(home / "results" / "a")


def test_an_entry_taken_away_while_it_is_marked_is_a_miss(home, monkeypatch):
    folder = put(home / "results" / "a", idle=DAY)
    utime = os.utime

    def late(*arguments):  # a trim had looked before the mark
        utime(*arguments)
        shutil.move(folder, home / "gone")

    monkeypatch.setattr(os, "utime", late)
    assert not is_whole(folder)


def test_whoever_finds_an_old_entry_waits_until_its_lock_is_free(home, monkeypatch):
    asked = []

    class Lock(FileLock):
        def __enter__(self):
            asked.append(Path(self.lock_file).name)
            return super().__enter__()

    monkeypatch.setattr("filelock.FileLock", Lock)
    folder = put(home / "results" / "a", idle=cache.GRACE / 2 - 10)
    asked.clear()
    assert is_whole(folder) and asked == []
    old(folder, cache.GRACE / 2 + 10)
    assert is_whole(folder) and asked == [".a.lock"]


def test_a_file_that_is_mapped_can_still_be_read_when_its_entry_goes(home):
    values = np.arange(1000, dtype=np.float32)
    folder = atomic_folder(
        home / "features" / "m" / "a", lambda folder: np.save(folder / "a.npy", values)
    )
    mapped = np.load(folder / "a.npy", mmap_mode="r")
    old(folder)
    trim(0)
    if os.name != "nt":  # Windows leaves the entry for the next time
        assert not folder.exists()
    np.testing.assert_array_equal(mapped, values)


@pytest.mark.slow
def test_states_that_were_trimmed_are_read_again_and_are_the_same(home, tmp_path):
    from tiny_models import save_model

    from w2s_lab.features import token_states
    from w2s_lab.models import trunk

    small = trunk(f"{save_model(tmp_path / 'model')}:2", device="cpu")
    texts = ["w1 w2 w3", "w4", "w5 w6"]
    first = token_states(small, texts[:2]).flat
    for manifest in home.rglob(MANIFEST):
        old(manifest.parent)
    assert trim(0).entries == 1
    both = token_states(small, texts)
    np.testing.assert_array_equal(both.flat[: both.offsets[2]], first)


# Left-overs


def test_what_a_killed_process_left_is_swept_away_and_counted(home):
    part = home / "features" / "m" / ".a.part" / "123"
    part.mkdir(parents=True)
    (part / "states.npy").write_bytes(b"x" * 500)
    (home / "features" / "m" / ".a.lock").touch()
    (home / "results").mkdir()
    (home / "results" / ".b.lock").touch()
    kept = put(home / "tasks" / "c")
    assert trim() == cache.Removed(entries=0, bytes=500, stayed=0)
    assert left_overs(home) in ([".c.lock"], [])  # the lock of what is there; Windows drops it
    assert is_whole(kept)


def test_what_somebody_is_writing_is_no_left_over(home):
    def fill(folder: Path) -> None:
        (folder / "half").write_text("half")
        put(home / "results" / "inner", 10)  # its first look finds the outer one half done
        assert trim(0).bytes == 0
        assert clear().entries == 1  # the inner one
        assert (folder / "half").read_text() == "half"

    assert is_whole(atomic_folder(home / "features" / "m" / "outer", fill))


def test_a_damaged_entry_is_mended_when_asked_for_and_removed_when_not(home):
    for name in "ab":
        folder = put(home / "results" / name)
        (folder / MANIFEST).write_text('{"a": 39')
        old(folder)
    assert is_whole(put(home / "results" / "a"))
    assert trim(0).entries == 1
    assert names(home) == ["a"]


@pytest.mark.parametrize("harm", [os.unlink, lambda path: os.truncate(path, 10)])
def test_an_entry_with_a_file_missing_or_cut_short_is_filled_again(home, harm):
    folder = put(home / "results" / "a")
    harm(folder / "a")
    assert not is_whole(folder)
    assert (put(home / "results" / "a") / "a").stat().st_size == 399


# By hand


def test_clear_takes_the_kinds_it_is_given_also_when_just_used(home):
    for kind in cache.KINDS:
        put(home / kind / f"in {kind}", 10)
    assert clear(["prompts", "tasks", "tasks"]) == cache.Removed(entries=2, bytes=20, stayed=0)
    left = ["in assets", "in converted", "in features", "in results", "in shortcuts"]
    assert names(home) == left
    with FileLock(home / "results" / ".in results.lock"):
        assert clear() == cache.Removed(entries=3, bytes=30, stayed=1)
    assert names(home) == ["in assets", "in results"]
    clear(["assets"])
    assert names(home) == ["in results"]


def test_a_kind_that_is_not_there_is_told_before_anything_goes(home):
    put(home / "results" / "a")
    with pytest.raises(W2SError, match="'resluts': no such kind of entry; choose from: assets, "):
        clear(["results", "resluts"])
    assert names(home) == ["a"]


def test_the_table_has_a_line_for_each_kind_the_sum_and_the_limit(home, capsys, monkeypatch):
    monkeypatch.setenv("W2S_CACHE_GB", "off")
    put(home / "features" / "m" / "a", 1_500_000, idle=3 * 3600)
    put(home / "features" / "m" / "b", 400_000, idle=2 * DAY)
    put(home / "assets" / "c", 7_000_000, idle=90)
    (home / "results" / ".d.part").mkdir(parents=True)
    monkeypatch.setenv("W2S_CACHE_GB", "0.004")
    assert cli.main(["cache"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["entries", "MB", "last", "used"]
    table = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    assert table["features"] == ["2", "2", "3", "hours", "ago"]  # 1.9 MB
    assert table["assets"] == ["1", "7", "1", "minute", "ago"]
    assert table["results"] == ["0", "0"]
    assert table["unfinished"] == ["1", "0"]
    assert table["all"] == ["4", "9"]  # 1.9 + 7 = 8.9 MB
    assert table["folder:"][0] == f"{home},"
    assert lines[-1] == "limit: 2 of 4 MB for features, prompts, results"


def test_an_empty_cache_has_a_table_too_and_none_is_made(home, capsys, monkeypatch):
    monkeypatch.setenv("W2S_CACHE_GB", "off")
    assert cli.main(["cache"]) == 0
    assert "limit: 0 of any number of MB" in capsys.readouterr().out
    assert not home.exists()


def test_trim_and_clear_say_in_a_line_what_went_and_what_was_freed(home, capsys):
    for name, since in (("a", 3 * DAY), ("b", 2 * DAY), ("c", 0)):
        put(home / "assets" / name, 2_000_000)
        (home / "results").mkdir(exist_ok=True)
        shutil.move(home / "assets" / name, home / "results" / name)
        old(home / "results" / name, since)
    assert cli.main(["cache", "--trim", "0.0045"]) == 0  # 6 MB are there
    assert capsys.readouterr().out == "removed 1 entries, 2 MB freed\n"
    assert cli.main(["cache", "--trim"]) == 0  # 1,000 bytes
    told = "removed 1 entries, 2 MB freed; 1 in use or used just now stayed\n"
    assert capsys.readouterr().out == told
    assert cli.main(["cache", "--clear", "results"]) == 0
    assert capsys.readouterr().out == "removed 1 entries, 2 MB freed\n"
    assert names(home) == []


def test_json_has_the_same_in_bytes(home, tmp_path, capsys):
    put(home / "features" / "m" / "a", 300)
    assert cli.main(["cache", "--json", str(tmp_path / "cache.json")]) == 0
    found = json.loads((tmp_path / "cache.json").read_text())
    assert found["folder"] == str(home) and found["limit"] == 1000
    assert found["kinds"]["features"].pop("last_used") == pytest.approx(time.time(), abs=60)
    assert found["kinds"]["features"] == {"entries": 1, "bytes": 300}
    assert found["limited"] == ["features", "prompts", "results"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--trim", "much"],
        ["--trim", "-1"],
        ["--trim=off"],
        ["--clear", "resluts"],
        ["--trim", "1", "--clear"],
        ["--json", "."],
        ["features"],
    ],
)
def test_a_mistake_is_one_line_and_status_2_and_nothing_goes(home, capsys, arguments):
    put(home / "results" / "a", idle=DAY)
    assert cli.main(["cache", *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1 and told.err.startswith("w2s-lab: ")
    assert names(home) == ["a"]


# Other processes


def test_two_processes_that_fill_one_entry_at_once_compute_it_once(home):
    code = (
        "def fill(folder):\n"
        "    print('computes', flush=True); time.sleep(0.5); (folder / 'a').write_text('done')\n"
        "print((atomic_folder(Path(sys.argv[1]), fill) / 'a').read_text())\n"
    )
    both = [python(code, home / "results" / "a") for _ in range(2)]
    said = [process.communicate()[0].split() for process in both]
    assert sorted(said) == [["computes", "done"], ["done"]]


@killed
def test_a_process_killed_in_mid_write_leaves_nothing_finished_and_the_next_completes_it(home):
    code = (
        "def fill(folder):\n"
        "    (folder / 'a').write_text('ha'); print('half', flush=True); time.sleep(60)\n"
        "atomic_folder(Path(sys.argv[1]), fill)\n"
    )
    final = home / "results" / "a"
    with python(code, final) as process:
        assert process.stdout.readline() == "half\n"
        process.kill()
    assert not is_whole(final) and names(home) == []
    assert list(home.rglob("a")) != []  # it lies in the folder of a part
    assert is_whole(put(final))
    assert not [name for name in left_overs(home) if name.endswith(".part")]


@killed
@pytest.mark.parametrize("moment", ["before the rename", "after the rename", "in mid-removal"])
def test_a_trim_killed_at_any_moment_leaves_whole_entries_and_a_next_one_cleans_up(home, moment):
    for i in range(4):
        put(home / "features" / "m" / str(i), 200, idle=DAY - i)
    code = """
replace, rmtree, moment = os.replace, entries.shutil.rmtree, sys.argv[1]
done = []

def kill():
    os.kill(os.getpid(), 9)

def deadly_replace(source, target):
    if moment == "before the rename" and done:
        kill()
    replace(source, target)
    done.append(target)
    if moment == "after the rename" and len(done) == 2:
        kill()

def deadly_rmtree(folder, **options):
    if len(done) == 2 and folder.exists():
        next(folder.rglob("a")).unlink()
        kill()
    rmtree(folder, **options)

os.replace, entries.shutil.rmtree = deadly_replace, deadly_rmtree
trim(0)
"""
    with python(code, moment) as process:
        assert process.wait() == -signal.SIGKILL
    there = names(home)
    assert there == (["1", "2", "3"] if moment == "before the rename" else ["2", "3"])
    for name in there:
        assert (home / "features" / "m" / name / "a").stat().st_size == 199
    trim()
    assert names(home) == there
    assert not [name for name in left_overs(home) if name.endswith(".part")]
    assert trim(0).entries == len(there)
    assert left_overs(home) == []


USER = """
home, me = cache.cache_dir() / "results", sys.argv[1]
made = 0

def fill(folder):
    global made
    made += 1
    for part in "abc":
        (folder / part).write_text(folder.parent.name[1:-5] + part)

for turn in range(100):
    final = home / f"{me}{turn % 4}"
    if final.exists():
        try:
            old(final)  # a day ago, for whoever trims; now I come back to it
        except FileNotFoundError:
            pass
    folder = atomic_folder(final, fill)
    for part in "abc":
        assert (folder / part).read_text() == final.name + part
print(made)
"""


def test_a_trim_beside_two_that_write_and_read_takes_nothing_from_under_them(home, monkeypatch):
    monkeypatch.setenv("W2S_CACHE_GB", "off")
    users = [python(USER, me) for me in ("first", "second")]
    gone = 0
    while any(user.poll() is None for user in users):
        gone += trim(0).entries
    made = [int(user.communicate()[0]) for user in users]
    assert [user.returncode for user in users] == [0, 0]
    assert gone == sum(made) - len(names(home))  # each that went was made again
    assert gone > 0
