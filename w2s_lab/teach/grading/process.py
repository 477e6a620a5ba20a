"""The process that runs one submission's cells, from outside: its limits, its line, its end.

What happens inside is in `worker` and `isolation`; where it is started, in `box`.
"""

import contextlib
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from w2s_lab.teach.grading.cgroup import Group, open_group
from w2s_lab.teach.grading.codec import BadFrame
from w2s_lab.teach.grading.line import ELEMENTS, FROM_BOX, Ended, Line

OPEN_SECONDS = 30
BOXED = sys.platform == "linux"  # elsewhere nothing is watched, and only trusted code is run


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Attributes:
        cell_seconds: wall time of one cell.
        call_seconds: wall time of one call by a test.
        notebook_seconds: wall time of all its cells and tests together.
        memory_mb: resident memory of all its processes.
        processes: processes and threads.
        files_mb: files in each of its three private folders, and the size of one file.
    """

    cell_seconds: float = 60
    call_seconds: float = 10
    notebook_seconds: float = 180
    memory_mb: int = 2048
    processes: int = 64
    files_mb: int = 128

    def inside(self) -> dict[str, int]:
        """The part that the kernel is asked to keep."""
        return {
            "files_mb": self.files_mb,
            "data_mb": 2 * self.memory_mb,
            "processes": self.processes,
            # time in several threads adds up; wall time is what is promised
            "cpu_seconds": int(self.notebook_seconds * 4) + 10,
        }


class Handle:
    """Power over a process that somebody else has started, whatever its number is by then.

    Args:
        pid: its number where it was started.
        pidfd: a descriptor of it (pidfd_open(2)), None where the system has no such thing.
    """

    def __init__(self, pid: int, pidfd: int | None = None):
        self.pidfd = pidfd
        self.pid = pid if pidfd is None else _pid(pidfd)

    def kill(self) -> None:
        """Ends it at once; does nothing where it has ended."""
        with contextlib.suppress(ProcessLookupError):
            if self.pidfd is None:
                os.kill(self.pid, signal.SIGKILL)
            else:
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Lets go of it."""
        if self.pidfd is not None:
            os.close(self.pidfd)


class Worker:
    """A process that runs one submission's cells: a line to it, and power over it.

    Attributes:
        end: the judge's end of the line.
        why: what ended it, in words for the student, "" if it ended by itself or not at all.
    """

    def __init__(self, end: socket.socket, process: Handle, limits: Limits):
        self.end, self.process, self.limits = end, process, limits
        self.why = ""
        self.group = _group(process.pid, limits) if BOXED else None

    def watch(self) -> None:
        """Ends it if its processes are too many or take too much memory."""
        if not BOXED:
            return  # no /proc to look at
        processes = _tree(self.process.pid)
        if sum(threads for _, threads in processes) > self.limits.processes + 8:
            self.kill(f"it started more than {self.limits.processes} processes and threads")
            return
        pids = [pid for pid, _ in processes]
        most = self.limits.memory_mb << 20
        # what a forked process shares with its parent counts once in the slower measure
        if sum(map(_resident, pids)) > most and sum(map(_proportional, pids)) > most:
            self.kill(f"it took more than {self.limits.memory_mb} MB of memory")

    def kill(self, why: str = "") -> None:
        """Ends it and, being the first of its namespace, every process that it started."""
        if self.group and self.group.exceeded():
            why = f"it took more than {self.limits.memory_mb} MB of memory"
        self.why = self.why or why
        self.process.kill()

    def close(self) -> None:
        """Ends it for good."""
        self.kill()
        self.end.close()  # may be closed already
        self.process.close()
        if self.group:
            self.group.close()


def ready(worker: Worker) -> Worker:
    """The worker, when it has said its first words, the last that are certainly ours.

    Raises:
        Ended: it has not; says why, as far as it is known.
    """
    line = Line(worker.end, most=FROM_BOX, elements=ELEMENTS)
    try:
        told = line.receive(seconds=OPEN_SECONDS)
    except (Ended, TimeoutError, BadFrame):
        worker.close()
        raise Ended("it said nothing") from None
    if "ready" not in told:
        worker.close()
        raise Ended(str(told.get("failed")))
    return worker


def _group(pid: int, limits: Limits) -> Group | None:
    """A control group that holds the process, where this one may make one."""
    memory_mb, processes = limits.memory_mb, limits.processes + 8
    group = open_group(str(pid), memory_mb=memory_mb, processes=processes)
    if group is None or group.add(pid):
        return group
    group.close()
    return None


def _pid(pidfd: int) -> int:
    """The number, here, of a process in another namespace; -1 once it has ended."""
    for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines():
        if line.startswith("Pid:"):
            return int(line.split()[1])
    return -1


def _tree(pid: int) -> list[tuple[int, int]]:
    """A process and all its descendants, each with the number of its threads."""
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        try:
            threads = os.listdir(f"/proc/{one}/task")
            for thread in threads:
                waiting += map(int, Path(f"/proc/{one}/task/{thread}/children").read_text().split())
        except OSError:  # it has ended meanwhile
            continue
        found.append((one, len(threads)))
    return found


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _proportional(pid: int) -> int:
    """Resident bytes, shared pages divided among those who share them."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    return _resident(pid)
