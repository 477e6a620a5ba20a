"""`w2s-lab grade --cluster` with a scheduler and workers of Dask that are processes of their own.

What one machine does alone is the business of test_grading_session.py and test_grading_kills.py.
"""

import contextlib
import json
import socket
import sqlite3
import subprocess
import sys
import time

import pytest
from dask_processes import QUIET, process
from grading import needs_box
from redteam.target import as_bytes, honest_cells, submission, target_notebook

from w2s_lab.cli import main
from w2s_lab.errors import W2SError
from w2s_lab.teach.grading import cluster
from w2s_lab.teach.grading.gradebook import Gradebook

pytest.importorskip("distributed", reason="needs the extra `cluster`")
pytestmark = [pytest.mark.slow, needs_box]
STUDENTS = 24


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A folder with the hand-ins of a class: right, half right, broken, and one endless loop."""
    folder = tmp_path_factory.mktemp("course")
    (folder / "target.ipynb").write_bytes(as_bytes(target_notebook()))
    (folder / "class").mkdir()
    kinds = (
        {},
        {"mean": "def mean(values):\n    return max(values)\n"},
        {"answers": "answers = {}\n", "counter": "class Counter:\n"},
    )
    for number in range(STUDENTS):
        cells = honest_cells() | {"essay": f"student {number}"} | kinds[number % len(kinds)]
        if number == 5:
            cells["double"] = "while True:\n    pass\n"
        (folder / "class" / f"s{number:02d}.ipynb").write_bytes(submission(cells))
    return folder


def words(course, book, *more):
    options = "--assignment", course / "target.ipynb", "--gradebook", book, "--cell-seconds", 1
    return [str(one) for one in ("grade", course / "class", *options, *more)]


def grades(book):
    with Gradebook(book, create=False) as held:
        return held.verdicts("target")


@pytest.fixture(scope="module")
def serial(course, tmp_path_factory):
    """The verdicts that one submission after the other comes to."""
    book = tmp_path_factory.mktemp("serial") / "book"
    assert main(words(course, book, "--workers", 1)) == 0
    assert len(grades(book)) == STUDENTS
    assert len({verdict.score for verdict in grades(book).values()}) >= 3
    return grades(book)


@pytest.fixture
def scheduler(tmp_path):
    """The address of a scheduler without workers."""
    told = tmp_path / "scheduler.json"
    options = "--port", 0, "--scheduler-file", told, *QUIET
    with process("dask_scheduler", *options, folder=tmp_path):
        yield wait(lambda: json.loads(told.read_text())["address"])


def worker(scheduler, folder, **environment):
    """A worker that grades one submission at a time; ready when the scheduler knows it."""
    options = scheduler, "--nthreads", 1, "--no-nanny", "--local-directory", folder, *QUIET
    return process("dask_worker", *options, folder=folder, **environment)


def wait(ready, seconds=60):
    """What `ready` returns, once it is something."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(OSError, ValueError, KeyError, sqlite3.Error):
            if found := ready():
                return found
        time.sleep(0.05)
    raise AssertionError("it did not start")


def joined(scheduler, count):
    from distributed import Client

    with Client(scheduler, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=60)


def saved(book):
    with contextlib.closing(sqlite3.connect(f"file:{book}?mode=ro", uri=True)) as db:
        return db.execute("SELECT count(*) FROM results").fetchone()[0]


def test_two_workers_one_of_them_killed_come_to_the_grades_of_one_machine(
    course, serial, scheduler, tmp_path
):
    book = tmp_path / "book"
    with worker(scheduler, tmp_path) as first, worker(scheduler, tmp_path) as second:
        joined(scheduler, 2)
        command = [sys.executable, "-m", "w2s_lab.cli"]
        command += words(course, book, "--cluster", scheduler)
        grading = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            wait(lambda: saved(book) >= 4)
            assert grading.poll() is None and saved(book) < STUDENTS
            first.kill()
            assert grading.wait(120) == 0, grading.stderr.read()
        finally:
            grading.kill()
            grading.communicate()
        assert second.poll() is None
    assert grades(book) == serial
    assert saved(book) == STUDENTS


def test_a_scheduler_killed_in_the_middle_is_told_and_what_was_graded_stays(
    course, serial, tmp_path
):
    book, told = tmp_path / "book", tmp_path / "scheduler.json"
    options = "--port", 0, "--scheduler-file", told, *QUIET
    command = [sys.executable, "-m", "w2s_lab.cli"]
    with process("dask_scheduler", *options, folder=tmp_path) as scheduler:
        address = wait(lambda: json.loads(told.read_text())["address"])
        with worker(address, tmp_path):
            joined(address, 1)
            command += words(course, book, "--cluster", address)
            grading = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
            try:
                wait(lambda: saved(book) >= 4)
                scheduler.kill()
                said = grading.communicate(timeout=120)[1]
            finally:
                grading.kill()
                grading.wait()
    assert grading.returncode == 2 and saved(book) < STUDENTS
    assert said.splitlines()[-1].startswith(f"w2s-lab: {address}: the cluster is gone; ")
    assert "Traceback" not in said
    assert main(words(course, book)) == 0  # goes on here
    assert grades(book) == serial


@pytest.fixture
def one_line(capsys):
    """Checks that a mistake was told in one line, with these words and what to do."""

    def check(*expected):
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("w2s-lab: ") and "; " in line
        for one in expected:
            assert one in line

    return check


def test_a_cluster_without_workers_is_told_in_one_line(course, scheduler, tmp_path, one_line):
    assert main(words(course, tmp_path / "book", "--cluster", scheduler)) == 2
    one_line(scheduler, "has no workers", "dask worker")


def test_a_worker_that_has_no_box_is_told_in_one_line(course, scheduler, tmp_path, one_line):
    with worker(scheduler, tmp_path, PATH=str(tmp_path)):
        joined(scheduler, 1)
        assert main(words(course, tmp_path / "book", "--cluster", scheduler)) == 2
    one_line("bubblewrap is not installed")


@pytest.mark.parametrize(
    "address", ["127.0.0.1:{port}", "tcp://127.0.0.1:{port}", "nowhere", "http://127.0.0.1:80", ""]
)
def test_an_address_where_nobody_listens_is_told_at_once(address):
    with socket.socket() as taken:  # bound and not listening: nobody else can answer there
        taken.bind(("127.0.0.1", 0))
        address = address.format(port=taken.getsockname()[1]) or "127.0.0.1:99999"
        began = time.monotonic()
        with pytest.raises(W2SError, match="no scheduler answers there; start one") as told:
            cluster.connect(address).__enter__()
        assert time.monotonic() - began < 5
    assert told.value.where == address


def test_a_listener_that_is_no_scheduler_is_told_in_one_line(monkeypatch):
    monkeypatch.setattr("w2s_lab.cluster.CONNECT_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes the call and says nothing
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(W2SError, match="no scheduler answers there"):
            cluster.connect(address).__enter__()


def test_without_dask_the_command_says_what_to_install(course, tmp_path, monkeypatch, one_line):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main(words(course, tmp_path / "book", "--cluster", "127.0.0.1:1")) == 2
    one_line("--cluster: dask is not installed", "pip install 'w2s-lab[cluster]'")
