"""Where a student's code runs: a bubblewrap box, a container, or, on request, nowhere special.

This is the host's side: it starts the box and opens one worker in it for each submission. What
happens inside is in `isolation`.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Protocol

from w2s_lab.teach.grading.bubblewrap import bubblewrap, no_box
from w2s_lab.teach.grading.codec import BadFrame
from w2s_lab.teach.grading.container import ContainerRoom
from w2s_lab.teach.grading.line import Ended, Line
from w2s_lab.teach.grading.process import OPEN_SECONDS, Handle, Limits, Worker, ready
from w2s_lab.teach.grading.verdict import BOX, TRUST

START_SECONDS = 120  # importing torch from a cold disk
MODULE = "w2s_lab.teach.grading"


class Room(Protocol):
    """A kind of place for workers; `isolation` is its name in a gradebook."""

    isolation: str

    def open(self, place: int) -> Worker:
        """A new worker; `place` tells apart those that run at the same time."""

    def load(self, modules: Sequence[str]) -> None:
        """Imports modules beforehand, where that is possible."""

    def close(self) -> None:
        """Ends everything that still runs there."""


class Nursery:
    """A warmed process that forks children on request; see the module of this name.

    Args:
        command: what starts it; its standard input is the control line.
    """

    def __init__(self, command: Sequence[str], environment: dict[str, str] | None = None):
        ours, theirs = socket.socketpair()
        errors = None if os.environ.get("W2S_GRADER_DEBUG") else subprocess.PIPE
        self.process = subprocess.Popen(
            command,
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=environment,
            start_new_session=True,  # Ctrl-C is told to us alone
        )
        theirs.close()
        self.line = Line(ours)
        self.lock = threading.Lock()
        try:
            self.line.receive(seconds=START_SECONDS)
        except (Ended, TimeoutError, BadFrame):
            self.process.kill()
            said = self.process.communicate()[1] or b""
            self.close()
            raise Ended(" ".join(said.decode("utf-8", "replace").split())[-300:]) from None

    def load(self, modules: Sequence[str]) -> list[str]:
        """Imports modules in it; returns those that could be imported."""
        with self.lock:
            self.line.send({"load": list(modules)})
            return self.line.receive(seconds=START_SECONDS)["loaded"]

    def prepare(self, plan: str, name: str) -> None:
        """Has it read and compile a teacher's notebook; for judges."""
        with self.lock:
            self.line.send({"plan": plan, "name": name})
            self.line.receive(seconds=START_SECONDS)

    def fork(self, about: dict) -> tuple[socket.socket, Handle]:
        """A new child: our end of its line, and power over its process."""
        ours, theirs = socket.socketpair()
        with theirs, self.lock:
            self.line.send({"fork": about}, fds=(theirs.fileno(),))
            told, fds = self.line.receive_fds(1, seconds=OPEN_SECONDS)
        if "forked" not in told:
            ours.close()
            raise Ended(str(told.get("failed")))
        return ours, Handle(told["forked"], *fds)

    def close(self) -> None:
        """Ends it; what it forked in a box ends with it."""
        self.line.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.process.kill()
        self.process.wait()
        if self.process.stderr:
            self.process.stderr.close()


class BubblewrapRoom:
    """Workers forked inside one bubblewrap box, each with namespaces and files of its own."""

    isolation = BOX

    def __init__(self, limits: Limits, modules: Sequence[str] = ()):
        self.limits, self.modules = limits, list(modules)
        self.lock = threading.Lock()
        self.nursery = self._start()

    def _start(self) -> Nursery:
        command = [*bubblewrap(), *python("nursery"), "student", json.dumps(self.modules)]
        try:
            return Nursery(command)
        except Ended as error:
            raise no_box(f"bubblewrap could not start a box ({error})") from None

    def load(self, modules: Sequence[str]) -> None:
        self.modules += self.nursery.load(modules)

    def open(self, place: int) -> Worker:
        about = {"box": True, "place": place, "limits": self.limits.inside()}
        nursery = self.nursery
        try:
            return ready(Worker(*nursery.fork(about), self.limits))
        except (Ended, TimeoutError):  # the machine may have run out of memory
            nursery = self._renewed(nursery)
        try:
            return ready(Worker(*nursery.fork(about), self.limits))
        except (Ended, TimeoutError) as error:
            what = f"a new process could not be put into the box ({error})"
            raise no_box(what) from None

    def _renewed(self, nursery: Nursery) -> Nursery:
        """The box, started again unless another thread was quicker."""
        with self.lock:
            if self.nursery is nursery:
                nursery.close()
                self.nursery = self._start()
            return self.nursery

    def close(self) -> None:
        self.nursery.close()


class TrustedRoom:
    """Workers without any isolation, for code that is trusted."""

    isolation = TRUST

    def __init__(self, limits: Limits, modules: Sequence[str] = ()):
        self.limits = limits
        environment = os.environ | {"MPLBACKEND": "agg", "W2S_QUIET": "1"}
        command = [*python("nursery"), "student", json.dumps(list(modules))]
        self.nursery = Nursery(command, environment)

    def load(self, modules: Sequence[str]) -> None:
        self.nursery.load(modules)

    def open(self, place: int) -> Worker:
        # the user's other processes count as well, so their number is not limited here
        limits = self.limits.inside() | {"processes": 1 << 16}
        return ready(Worker(*self.nursery.fork({"box": False, "limits": limits}), self.limits))

    def close(self) -> None:
        self.nursery.close()


def open_room(
    limits: Limits, modules: Sequence[str] = (), *, container: str = "", trust: bool = False
) -> Room:
    """The place for untrusted code that this machine has and the teacher chose.

    Raises:
        W2SError: no box can be had here; in one line, with what to do.
    """
    if trust:
        return TrustedRoom(limits, modules)
    if container:
        return ContainerRoom(container, limits)
    return BubblewrapRoom(limits, modules)


def python(module: str) -> list[str]:
    """The command that runs a module of this package in this Python, whatever lies around."""
    return [sys.executable, "-I", "-B", "-X", "utf8", "-m", f"{MODULE}.{module}"]
