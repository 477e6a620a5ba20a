"""One attack, tried: what it got, what it told, what it left behind, and what came after it.

The box proves itself before the first attack (`prove`): an attack runs nowhere else.
"""

import contextlib
import json
import os
import select
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy
import psutil
from redteam.attack import MARKER, PORT, REACHED, Attack
from redteam.target import honest_cells, submission, target_notebook, told

import w2s_lab
from w2s_lab.teach.grading.exports import tables
from w2s_lab.teach.grading.feedback import feedback
from w2s_lab.teach.grading.grader import Grader
from w2s_lab.teach.grading.isolation import FIRST_UID
from w2s_lab.teach.grading.plan import make_plan
from w2s_lab.teach.grading.process import Limits
from w2s_lab.teach.grading.standing import Entry, Standing
from w2s_lab.teach.grading.verdict import Verdict

LIMITS = Limits(
    cell_seconds=3, call_seconds=2, notebook_seconds=10, memory_mb=700, processes=48, files_mb=32
)
HONEST = submission(honest_cells())
FULL = 8.0
STUDENTS = range(FIRST_UID, FIRST_UID + 100)  # as root, whom students' processes belong to
GRACE = 2.0  # seconds after the end in which processes may still be ending
PROOF = """
import os, socket
assert os.getpid() == 1 and [p for p in os.listdir("/proc") if p.isdigit()] == ["1"]
assert os.getuid() != 0 and not os.path.exists("{outside}")
assert not [line for line in open("/proc/net/route")][1:]
open("/tmp/w2s-proof", "w").write("x")
try:
    socket.create_connection(("127.0.0.1", {port}), 1)
except OSError:
    pass
else:
    raise AssertionError("network")
counter_proof = 1
"""


@dataclass(frozen=True)
class Trial:
    """What one attack came to.

    Attributes:
        forged: points beyond those deserved.
        lost: deserved points that it did not get.
        secrets: hidden inputs and answers that a feedback shows.
        reached: walls that did not hold, as the attack itself tells.
        changed: files outside the box that are new or different.
        arrived: connections and packets at this machine's own listeners.
        left: processes two seconds after the end.
        after: whether the next submission was graded as if nothing had been.
        seconds: wall time of the attack.
    """

    forged: float
    lost: float
    secrets: tuple[str, ...]
    reached: bool
    changed: tuple[str, ...]
    arrived: int
    left: tuple[str, ...]
    after: bool
    seconds: float
    verdict: Verdict


class Arena:
    """A grader of the target, and eyes on everything around it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.grader = Grader(as_text(target_notebook()), "target", limits=LIMITS)
        self.listeners = list(_listen())
        self.before = set(psutil.pids())

    def prove(self) -> None:
        """Stops unless the box has processes, files and network of its own."""
        outside = self.folder / "outside"
        outside.write_text("x")
        cell = PROOF.format(outside=outside, port=PORT)
        verdict = self.grader.grade(submission(honest_cells(), [(1, cell)]))
        assert not verdict.notes, f"the box does not hold: {verdict.notes}"
        assert self._arrived() == 0
        assert not Path("/tmp/w2s-proof").exists()
        self.baseline = self.grader.grade(HONEST)
        assert self.baseline.score == FULL, self.baseline.items

    def trial(self, attack: Attack) -> Trial:
        """Grades an attack and an honest submission after it."""
        files = self._files()
        began = time.monotonic()
        verdict = self.grader.grade(attack.notebook())
        seconds = time.monotonic() - began
        left = self._left()
        shown = "\n".join(pages(verdict))
        after = self.grader.grade(HONEST)
        return Trial(
            forged=max(0.0, verdict.score - attack.deserved),
            lost=max(0.0, attack.deserved - verdict.score),
            secrets=tuple(told(shown)),
            reached=REACHED in shown,
            changed=tuple(sorted(map(str, files ^ self._files()))),
            arrived=self._arrived(),
            left=left,
            after=after == self.baseline,
            seconds=seconds,
            verdict=verdict,
        )

    def _files(self) -> set[tuple[str, int, int]]:
        """Names, sizes and times where an attack could leave something."""
        package = Path(w2s_lab.__file__).parent
        places = ["/", "/usr", "/tmp", "/dev/shm", "/var/tmp", "/etc", Path.home(), self.folder]
        places += [package, package.parent, package / "teach" / "grading"]
        places += [Path(numpy.__file__).parent, Path(numpy.__file__).parent.parent]
        found = set()
        for place in places:
            with contextlib.suppress(OSError):
                for entry in os.scandir(place):
                    marked = MARKER in entry.name or "w2s-proof" in entry.name
                    if marked or place == self.folder:
                        about = entry.stat(follow_symlinks=False)
                        found.add((entry.path, about.st_size, about.st_mtime_ns))
        return found

    def _left(self) -> tuple[str, ...]:
        """What an attack has running outside of the grader's own processes; waits a little."""
        until = time.monotonic() + GRACE
        while (found := self._strangers()) and time.monotonic() < until:
            time.sleep(0.05)
        return tuple(found)

    def _strangers(self) -> list[str]:
        nurseries = {self.grader.judges.process.pid}
        room = getattr(self.grader.room, "nursery", None)
        box = {room.process.pid} if room else set()
        ours = nurseries | box
        for pid in box:  # bubblewrap and the warmed process; no more
            with contextlib.suppress(psutil.Error):
                ours |= {child.pid for child in psutil.Process(pid).children()}
        found = []
        for process in psutil.process_iter(["pid", "name", "uids", "ppid"]):
            about = process.info
            if about["pid"] in ours or about["name"] is None:
                continue
            parents = _parents(process)
            escaped = about["uids"].real in STUDENTS if about["uids"] else False
            boxed = any(one.pid in box for one in parents)
            elsewhere = any(one.name() == "bwrap" for one in parents)  # another class is graded
            if boxed or (escaped and not elsewhere):
                found.append(f"{about['pid']} {about['name']}")
        return found

    def _arrived(self) -> int:
        """How many of this machine's own listeners have heard something, and takes it away."""
        count = 0
        for one in select.select(self.listeners, [], [], 0)[0]:
            count += 1
            with contextlib.suppress(OSError):
                if one.type == socket.SOCK_DGRAM:
                    one.recv(1 << 16)
                else:
                    one.accept()[0].close()
        return count

    def close(self) -> None:
        self.grader.close()
        for one in self.listeners:
            one.close()


def pages(verdict: Verdict) -> Iterator[str]:
    """All that is ever shown of a verdict: its texts, the page, the tables."""
    yield from verdict.notes
    for item in verdict.items:
        yield item.message
        yield from (f"{case.title} {case.said}" for case in item.cases)
    one = standing(verdict)
    # A page shows an essay to its author; what was put there is no news
    yield feedback(replace(one, answers={}))
    with tempfile.TemporaryDirectory() as folder:
        for path in tables.summaries([one], Path(folder)):
            yield path.read_text("utf-8-sig")


def standing(verdict: Verdict, student: str = "student") -> Standing:
    """A verdict as the pages want it."""
    sheet = make_plan(as_text(target_notebook()), "target").sheet
    columns = {column.grade_id: column for column in sheet.columns}
    entries = tuple(
        Entry(columns[item.grade_id], item.score, item.message, item.cases)
        for item in verdict.items
    )
    return Standing(
        student,
        "target",
        verdict.status,
        entries,
        raw=verdict.score,
        score=verdict.score,
        max_score=verdict.max_score,
        notes=verdict.notes,
        answers=verdict.answers,
        isolation=verdict.isolation,
    )


def as_text(notebook: dict) -> str:
    """A notebook as a file's text."""
    return json.dumps(notebook)


def _parents(process: psutil.Process) -> list[psutil.Process]:
    """Its ancestors, if it has not ended meanwhile."""
    with contextlib.suppress(psutil.Error):
        return process.parents()
    return []


def _listen() -> Iterator[socket.socket]:
    """Listeners where attacks knock: TCP and UDP, IPv4 and IPv6, and an abstract socket."""
    for family, kind, address in (
        (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", PORT)),
        (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", PORT)),
        (socket.AF_INET6, socket.SOCK_STREAM, ("::1", PORT)),
        (socket.AF_INET6, socket.SOCK_DGRAM, ("::1", PORT)),
        (socket.AF_UNIX, socket.SOCK_STREAM, f"\0{MARKER}"),
    ):
        with contextlib.suppress(OSError):
            one = socket.socket(family, kind)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(address)
            if kind == socket.SOCK_STREAM:
                one.listen(64)
            yield one
