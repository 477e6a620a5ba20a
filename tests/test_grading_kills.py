"""Killed at any moment, on a full disk, with damaged rows, by a wrong clock: nothing is lost.

The real command grades a class that goes on handing in and is ended with `kill -9` again and again.
12 kills, or as many as the environment variable W2S_KILLS says.
"""

import contextlib
import json
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from grading import needs_box
from redteam.target import as_bytes, honest_cells, submission, target_notebook

from w2s_lab.teach.grading.gradebook import Gradebook
from w2s_lab.teach.grading.grader import JudgeFailed
from w2s_lab.teach.grading.session import Options, _grade_pending
from w2s_lab.teach.grading.verdict import GRADED, NEEDS_A_PERSON, REJECTED, Item, Sheet, Verdict
from w2s_lab.teach.release import student_seed

pytestmark = [pytest.mark.slow, needs_box]
KILLS = int(os.environ.get("W2S_KILLS", "12"))
STUDENTS = 40
LOOPS, DEAD, NO_JSON, FIFO, COPY = (7, 23), 13, 31, 35, 39
MARKED = {2: 1.5, 3: 0.0, 17: 2.0}  # student → what a person gives for the essay
GRACE = 2.0  # seconds in which everything has to be gone
FAULTS = ("row", "disk", "clock", "", "file size", "row", "clock")  # one after each kill, in turn
# Every look at the clock is up to a year off, back or forth. The files' own times jump as well.
CLOCK = """
import datetime, random, sys, time
from w2s_lab import cli
from w2s_lab.teach.grading import database

real = time.time
off = lambda: random.uniform(-3e7, 3e7)
time.time = lambda: real() + off()

class Jumping(datetime.datetime):
    @classmethod
    def now(cls, zone=None):
        return super().now(zone) + datetime.timedelta(seconds=off())

database.datetime = Jumping
sys.exit(cli.main())
"""
# A disk of a given size that nobody else sees; afterwards it is made larger and brought back
DISK = """
mount -t tmpfs -o "size=$1k" none "$2" && cp "$3"/* "$2" || exit 99
disk=$2 home=$3; shift 3
"$@"; status=$?
mount -o remount,size=99m "$disk" && rm -f "$home"/* && cp "$disk"/* "$home" || exit 99
exit $status
"""
# What the file itself tells: each result that is kept, and each grading of what has one already
WITNESS = """
CREATE TABLE kept (sha BLOB);
CREATE TABLE again (sha BLOB);
INSERT INTO kept SELECT sha FROM results;
CREATE TRIGGER keeps AFTER INSERT ON results BEGIN INSERT INTO kept VALUES (new.sha); END;
CREATE TRIGGER begins AFTER INSERT ON attempts
    WHEN EXISTS (SELECT 1 FROM results WHERE sha = new.sha AND grader = new.grader)
    BEGIN INSERT INTO again VALUES (new.sha); END;
CREATE TRIGGER begins_more AFTER UPDATE ON attempts
    WHEN EXISTS (SELECT 1 FROM results WHERE sha = new.sha AND grader = new.grader)
    BEGIN INSERT INTO again VALUES (new.sha); END;
"""


# --- the class ------------------------------------------------------------------------------------


def final(number):
    """What a student hands in at last; None for a FIFO."""
    cells = honest_cells() | {"essay": f"student {min(number, COPY - 1)}"}  # the last one copies
    kinds = (
        {},
        {"double": "def double(x):\n    return x * x\n"},
        {"mean": "def mean(values:\n    return 0\n"},
        {"answers": "answers = {'q1': 'a', 'q2': 'a'}\n"},
        {"counter": "raise RuntimeError('not today')\n"},
    )
    cells |= kinds[number % len(kinds)] if number < COPY - 1 else {}
    if number in LOOPS:
        cells["double"] = "while True:\n    pass\n"
    if number == DEAD:
        cells["mean"] = "def mean(values):\n    import os\n\n    os._exit(3)\n"
    if number == NO_JSON:
        return b"\0" * 99
    return None if number == FIFO else submission(cells)


class Class:
    """A class at work in a folder: its hand-ins, its gradebook, the command that grades it."""

    def __init__(self, folder):
        self.folder, self.token = folder, f"w2s-kills-{random.getrandbits(64):x}"
        for name in ("class", "books", "disk", "tmp"):
            (folder / name).mkdir(parents=True)
        self.book = folder / "books" / "book.sqlite"
        self.assignment, self.said = folder / "target.ipynb", folder / "said.txt"
        self.assignment.write_bytes(as_bytes(target_notebook()))
        self.environment = os.environ | {"W2S_MARK": self.token, "TMPDIR": str(folder / "tmp")}
        self.environment.pop("W2S_QUIET", None)  # its lines tell how far it is
        self.environment.pop("PYTEST_CURRENT_TEST", None)

    def hand_in(self, number, raw, at=None):
        path = self.folder / "class" / f"s{number:02d}" / "target.ipynb"
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        os.mkfifo(path) if raw is None else path.write_bytes(raw)
        if at is not None:
            os.utime(path, (at, at))

    def command(self, python=("-m", "w2s_lab.cli"), book=None):
        options = ["--assignment", self.assignment, "--gradebook", book or self.book]
        options += ["--cell-seconds", 1, "--call-seconds", 5, "--workers", 2]
        return [sys.executable, *python, "grade", *map(str, [self.folder / "class", *options])]

    def start(self, command=None):
        with self.said.open("w") as said:
            return subprocess.Popen(
                command or self.command(),
                stdout=subprocess.DEVNULL,
                stderr=said,
                env=self.environment,
                start_new_session=True,
            )

    def run(self, command=None):
        """Status of the command when it is left alone."""
        return self.start(command).wait(120)

    def grading(self, process):
        """Waits until the first submission is being graded, or the command has ended."""
        while process.poll() is None and "grading target" not in self.said.read_text():
            time.sleep(0.003)

    def left(self, family=()):
        """What of ours still runs, once it has had time to end."""
        until = time.monotonic() + GRACE
        while (found := [*filter(runs, family), *marked(self.token)]) and time.monotonic() < until:
            time.sleep(0.02)
        return found

    def state(self):
        """All that a gradebook is for: verdicts and marks."""
        with Gradebook(self.book) as book:
            marks = {who: set(given.values()) for who, given in book.every_mark("target").items()}
            return book.verdicts("target"), marks

    def mark(self, *numbers):
        """A person gives the essays of those who have a verdict on their final text."""
        with Gradebook(self.book) as book:
            told = book.verdicts("target") if book.assignments() else {}
            for number in numbers:
                who, score = f"s{number:02d}", MARKED[number]
                done = told[who].answers.get("essay") if who in told else None
                if done == f"student {number}" and not book.marks(who, "target"):
                    book.mark(who, "target", "essay", score, "read", by="a person")


def marked(token):
    """Processes that inherited this word in their environment."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if token.encode() in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(psutil.Process(int(pid)))
    return [one for one in found if runs(one)]


def runs(process):
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def family(process):
    """What the command has started: its descendants, and judges, which share a session with one."""
    found = {}
    with contextlib.suppress(psutil.Error):
        main = psutil.Process(process.pid)
        found = {one.pid: one for one in [main, *main.children(recursive=True)]}
    sessions = {session(pid) for pid in found} - {None, session(os.getpid())}
    return list(found.values()) + [
        one
        for one in psutil.process_iter()
        if one.pid not in found and session(one.pid) in sessions
    ]


def session(pid):
    with contextlib.suppress(OSError):
        return os.getsid(pid)
    return None


def victims(process, what):
    """The processes of this name among what the command has started; none if it is too early."""
    with contextlib.suppress(psutil.Error, ValueError):
        children = psutil.Process(process.pid).children()
        (box,) = [one for one in children if "bwrap" in one.name()]
        (judges,) = [one for one in children if "judge" in one.cmdline()]
        if what == "the box":
            return box.children()[:1]  # the first process in it
        if what == "what forks judges":
            return [judges]
        if what == "a judge":
            theirs = [one for one in family(process) if session(one.pid) == judges.pid]
            return [one for one in theirs if one.pid != judges.pid][:1]
    return []


def kill(processes):
    for one in processes:
        with contextlib.suppress(psutil.Error):
            one.kill()


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Verdicts and marks of the class when nothing comes in between."""
    one = Class(tmp_path_factory.mktemp("reference") / "course")
    for number in range(STUDENTS):
        one.hand_in(number, final(number))
    assert one.run() == 0, one.said.read_text()
    one.mark(*MARKED)
    verdicts, marks = one.state()
    statuses = Counter(verdict.status for verdict in verdicts.values())
    assert statuses == {GRADED: STUDENTS - 2, REJECTED: 2}
    assert len({verdict.score for verdict in verdicts.values()}) >= 5
    assert len(marks) == len(MARKED)
    return verdicts, marks


# --- kills ----------------------------------------------------------------------------------------


def test_a_class_graded_through_many_kills_and_faults_has_the_grades_of_one_left_alone(
    reference, tmp_path
):
    chance, one = random.Random(20_241_105), Class(tmp_path / "course")
    spoilt: Counter[bytes] = Counter()
    bodies: dict[bytes, bytes] = {}
    done: Counter[str] = Counter()
    for number in range(STUDENTS):
        one.hand_in(number, draft(number, 0))
    while done["kills"] < KILLS:
        kills = done["kills"]
        fault = FAULTS[kills % len(FAULTS)] if kills else ""
        hand_in_more(one, kills, chance)
        if fault == "disk":
            done[full_disk(one, chance)] += 1
        elif fault == "file size":
            done[file_size(one)] += 1
        clock = ("-c", CLOCK) if fault == "clock" else ("-m", "w2s_lab.cli")
        how = chance.choice(("the command", "the command", "everything", *PARTS))
        if killed(one, one.start(one.command(clock)), how, chance):
            done["kills"] += 1
            done[f"killed {how}"] += 1
            done["wrong clocks"] += fault == "clock"
        if kills % 2 == 0 or fault == "row":  # else the command itself finds what the kill left
            look(one, bodies, spoilt)
            one.mark(*MARKED)
            done["damaged rows"] += fault == "row" and spoil(one, chance, spoilt)
    for number in range(STUDENTS):
        one.hand_in(number, final(number))
    assert one.run() == 0, one.said.read_text()
    assert one.left() == []
    one.mark(*MARKED)
    look(one, bodies, spoilt)
    print(dict(sorted(done.items())))
    assert done["damaged rows"] and done["wrong clocks"]

    assert one.state() == reference
    check_once(one, spoilt)
    assert os.listdir(one.folder / "tmp") == []
    assert os.listdir(one.folder / "books") == [one.book.name]
    files = {str(path.relative_to(one.folder / "class")) for path in one.folder.glob("class/*/*")}
    assert files == {f"s{number:02d}/target.ipynb" for number in range(STUDENTS)}


PARTS = ("the box", "what forks judges", "a judge")


def killed(one, process, how, chance):
    """Kills at a moment by chance; False if the command was quicker."""
    if chance.random() < 0.25:  # while it starts
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0.05, 1.2))
    else:
        one.grading(process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0, 0.3))
    ours = family(process)
    if how in PARTS:  # the command goes on for a moment, and saves what it can
        kill(victims(process, how))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0, 0.4))
        ours += family(process)
    live = process.poll() is None
    kill(ours if how == "everything" else [])
    process.kill()
    status = process.wait(10)
    said = one.said.read_text()
    # a box or judges that cannot be started end the command, in one clear line
    assert status == -9 if live else status == 0 or (how in PARTS and status == 2), said
    assert "Traceback" not in said
    assert one.left(ours) == [], f"after killing {how}: {said}"
    return live


def hand_in_more(one, kills, chance):
    """Final texts of those whose time has come, drafts and torn files of five others; files' times
    are anything."""
    due = range(STUDENTS * kills // KILLS, STUDENTS * (kills + 1) // KILLS)
    later = range(due.stop, STUDENTS)
    for number in due:
        one.hand_in(number, final(number), at=chance.uniform(1e9, 4e9))
    for number in chance.sample(later, min(5, len(later))):
        torn = final(number) is not None and chance.random() < 0.3
        raw = final(number)[: chance.randrange(1, 99)] if torn else draft(number, kills + 1)
        one.hand_in(number, raw, at=chance.uniform(1e9, 4e9))


def draft(number, turn):
    return submission(honest_cells() | {"essay": f"draft {turn} of {number}"})


def full_disk(one, chance):
    """Grades with a gradebook on a disk that is full, or will be soon; then there is room again."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return file_size(one)  # only root can make such a disk
    home, disk = one.book.parent, one.folder / "disk"
    taken = sum(-(-path.stat().st_size // 4096) * 4 for path in home.iterdir())
    room = chance.choice((0, 4, 40, 80))  # KB; the index of the log takes 32
    command = one.command(book=disk / one.book.name)
    words = [str(taken + room), str(disk), str(home)]
    status = one.run(["unshare", "-m", "sh", "-c", DISK, "sh", *words, *command])
    said = one.said.read_text().splitlines()
    assert status in (0, 2), said
    if status == 2:
        assert said[-1].startswith("w2s-lab: ") and "Traceback" not in said, said
    assert one.left() == []
    return "full disks" if status else "disks with room"


def file_size(one):
    """Grades until a file may not grow any more."""
    process = one.start()
    one.grading(process)
    log = Path(f"{one.book}-wal")
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        most = log.stat().st_size
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, most))
    status, said = process.wait(120), one.said.read_text().splitlines()
    assert status in (0, 2), said
    if status == 2:
        assert said[-1].startswith("w2s-lab: ") and "Traceback" not in said, said
    assert one.left() == []
    return "files at their limit" if status else "limits not reached"


def spoil(one, chance, spoilt):
    """Turns over one bit of a row; returns whether there was one."""
    table, column = chance.choice(
        (("results", "body"), ("results", "seal"), ("hand_ins", "reason"), ("contents", "packed"))
    )
    with contextlib.closing(sqlite3.connect(one.book, isolation_level=None)) as db:
        rows = db.execute(f"SELECT rowid, sha, {column} FROM {table} ORDER BY rowid").fetchall()
        if not rows:
            return False
        row, sha, value = chance.choice(rows)
        place = chance.randrange(len(value) or 1)
        value = value[:place] + bytes([(value[place] if value else 0) ^ 4]) + value[place + 1 :]
        db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (value, row))
    if table == "results":
        spoilt[sha] += 1
    return True


def look(one, bodies, spoilt):
    """What was kept once stays as it is, unless its row was damaged."""
    with contextlib.suppress(FileNotFoundError), Gradebook(one.book, create=True):
        pass  # a kill may have left a file without tables
    with contextlib.closing(sqlite3.connect(one.book, isolation_level=None)) as db:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'kept'").fetchone():
            db.executescript(WITNESS)
        now = dict(db.execute("SELECT sha, body FROM results"))
    for sha, body in bodies.items():
        assert sha in now, "a result is gone"
        assert now[sha] == body or spoilt[sha], "a result has changed"
    bodies.update(now)


def check_once(one, spoilt):
    """Each text of those who count was kept once, and once more where its row was damaged."""
    with contextlib.closing(sqlite3.connect(one.book)) as db:
        kept = Counter(sha for (sha,) in db.execute("SELECT sha FROM kept"))
        again = {sha for (sha,) in db.execute("SELECT sha FROM again")}
        bodies = dict(db.execute("SELECT sha, body FROM results"))
    with Gradebook(one.book) as book:
        final_ones = {sha.encode() for sha, _ in book.handed_in("target").values() if sha}
    assert len(final_ones) == STUDENTS - 2  # one is no file, one copied another's
    assert final_ones <= set(kept)
    assert {sha: times for sha, times in kept.items() if not 1 <= times <= 1 + spoilt[sha]} == {}
    assert again <= set(spoilt)
    told = {json.loads(body)["status"] for sha, body in bodies.items() if sha not in spoilt}
    assert NEEDS_A_PERSON not in told


# --- what dies beside the command -----------------------------------------------------------------


@pytest.mark.parametrize("what", PARTS)
def test_what_dies_beside_the_command_costs_nobody_a_point(reference, tmp_path, what):
    one = Class(tmp_path / "course")
    for number in range(STUDENTS):
        one.hand_in(number, final(number))
    process = one.start()
    one.grading(process)
    hits = 0
    for pause in (0.05, 1.0):  # the second one comes when the first is mended
        time.sleep(pause)
        found = victims(process, what)
        kill(found)
        hits += len(found)
    assert process.wait(120) == 0, one.said.read_text()
    assert hits
    assert one.left() == []
    assert one.state()[0] == reference[0]


def test_a_submission_that_is_tried_again_keeps_its_students_numbers(tmp_path):
    sheet = Sheet("target", "grader", ())
    seeds: dict[bytes, list[int]] = {}

    def work(raw, seed):
        seeds.setdefault(raw, []).append(seed)
        if len(seeds[raw]) == 1:
            raise JudgeFailed("killed")
        return Verdict(GRADED, (Item("a", 1.0, 1.0),))

    with Gradebook(tmp_path / "book") as book, ThreadPoolExecutor(1) as executor:
        book.add_sheet(sheet)
        for student in ("ann", "ben"):
            book.hand_in(student, "target", student.encode())
        _grade_pending(book, sheet, executor, work, 1, Options(seed_by_student=True))
    assert seeds == {name.encode(): [student_seed(name, "target")] * 2 for name in ("ann", "ben")}
