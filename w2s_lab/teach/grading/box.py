"""Where a student's code runs: a bubblewrap box, a container, or, on request, nowhere special.

This is the host's side: it starts the box, opens one worker in it for each submission, watches how
much memory and how many processes it takes, and ends it. What happens inside is in `isolation`.
"""

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from w2s_lab.assets import cache_dir
from w2s_lab.errors import W2SError
from w2s_lab.teach.grading.codec import BadFrame
from w2s_lab.teach.grading.line import ELEMENTS, FROM_BOX, Ended, Line
from w2s_lab.teach.grading.verdict import BOX, CONTAINER, TRUST

HOME = "/student"
ASSETS = "/assets"
CACHED = (
    "assets",
    "converted",
    "tasks",
    "shortcuts",
)  # of the cache; results are nobody's business
START_SECONDS = 120  # importing torch from a cold disk
OPEN_SECONDS = 30
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": HOME,
    "LANG": "C.UTF-8",
    "IPYTHONDIR": "/tmp/ipython",
    "MPLBACKEND": "agg",
    "MPLCONFIGDIR": "/tmp/matplotlib",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "W2S_CACHE": f"{HOME}/.cache/w2s-lab",
    "W2S_QUIET": "1",
}
MODULE = "w2s_lab.teach.grading"


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


class Worker:
    """A process that runs one submission's cells: a line to it, and power over it.

    Attributes:
        end: the judge's end of the line.
        why: what ended it, in words for the student, "" if it ended by itself or not at all.
    """

    def __init__(self, end: socket.socket, pidfd: int, limits: Limits):
        self.end, self.pidfd, self.limits = end, pidfd, limits
        self.pid = _pid(pidfd)
        self.why = ""

    def watch(self) -> None:
        """Ends it if its processes are too many or take too much memory."""
        processes = _tree(self.pid)
        if sum(threads for _, threads in processes) > self.limits.processes + 8:
            self.kill(f"started more than {self.limits.processes} processes and threads")
            return
        pids = [pid for pid, _ in processes]
        most = self.limits.memory_mb << 20
        # what a forked process shares with its parent counts once in the slower measure
        if sum(map(_resident, pids)) > most and sum(map(_proportional, pids)) > most:
            self.kill(f"took more than {self.limits.memory_mb} MB of memory")

    def kill(self, why: str = "") -> None:
        """Ends it and, being the first of its namespace, every process that it started."""
        self.why = self.why or why
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Ends it for good."""
        self.kill()
        self.end.close()  # may be closed already
        os.close(self.pidfd)


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

    def fork(self, about: dict) -> tuple[socket.socket, int]:
        """A new child: our end of its line, and a descriptor of its process."""
        ours, theirs = socket.socketpair()
        with theirs, self.lock:
            self.line.send({"fork": about}, fds=(theirs.fileno(),))
            told, fds = self.line.receive_fds(1, seconds=OPEN_SECONDS)
        if not fds:
            ours.close()
            raise Ended(str(told.get("failed")))
        return ours, fds[0]

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
            raise _no_box(f"bubblewrap could not start a box ({error})") from None

    def load(self, modules: Sequence[str]) -> None:
        self.modules += self.nursery.load(modules)

    def open(self, place: int) -> Worker:
        about = {"box": True, "place": place, "limits": self.limits.inside()}
        for attempt in itertools.count():
            try:
                return _ready(*self.nursery.fork(about), self.limits)
            except (Ended, TimeoutError) as error:
                if attempt:
                    raise _no_box(
                        f"a new process could not be put into the box ({error})"
                    ) from None
            with self.lock:  # the machine may have run out of memory: once more, from the start
                self.nursery.close()
                self.nursery = self._start()
        raise AssertionError  # not reached

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
        return _ready(*self.nursery.fork({"box": False, "limits": limits}), self.limits)

    def close(self) -> None:
        self.nursery.close()


class ContainerRoom:
    """One container for each submission, by Docker or Podman.

    Args:
        image: has Python with this package; as `docker:IMAGE` or `podman:IMAGE`.
    """

    isolation = CONTAINER

    def __init__(self, image: str, limits: Limits):
        self.engine, _, self.image = image.partition(":")
        if self.engine not in ("docker", "podman") or not self.image:
            mend = "write docker:IMAGE or podman:IMAGE"
            raise W2SError(f"unknown container {image!r}", where="--container", mend=mend)
        if shutil.which(self.engine) is None:
            mend = f"install {self.engine}, or grade in a box on Linux with bubblewrap"
            raise W2SError(f"{self.engine} is not installed", where="--container", mend=mend)
        self.limits = limits
        self.numbers = itertools.count()
        self.names: set[str] = set()

    def load(self, modules: Sequence[str]) -> None:
        pass  # each container starts cold

    def open(self, place: int) -> Worker:
        name = f"w2s-lab-{os.getpid()}-{next(self.numbers)}"
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                self.command(name),
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.names.add(name)
        worker = _Contained(self, name, process, ours)
        try:
            return _await(worker)
        except (Ended, TimeoutError):
            mend = f"try `{self.engine} run --rm {self.image} python -c 'import w2s_lab'`"
            raise W2SError("the container did not start", where=self.image, mend=mend) from None

    def command(self, name: str) -> list[str]:
        """What starts one container: no network, nothing to write but its own small files."""
        limits = self.limits
        files = f"rw,nosuid,nodev,mode=1777,size={limits.files_mb}m"
        command = [self.engine, "run", "--rm", "--interactive", "--name", name]
        command += ["--network", "none", "--read-only", "--cap-drop", "ALL"]
        command += ["--security-opt", "no-new-privileges", "--user", "61000:61000"]
        command += ["--pids-limit", str(limits.processes + 8)]
        command += ["--memory", f"{limits.memory_mb}m", "--memory-swap", f"{limits.memory_mb}m"]
        for folder in ("/tmp", HOME, "/dev/shm"):
            command += ["--tmpfs", f"{folder}:{files}"]
        for key, value in ENVIRONMENT.items():
            if key != "PATH":  # the image knows where its Python is
                command += ["--env", f"{key}={value}"]
        for cached in CACHED:
            if (cache_dir() / cached).is_dir():
                path = f"{ENVIRONMENT['W2S_CACHE']}/{cached}"
                command += ["--volume", f"{cache_dir() / cached}:{path}:ro"]
        return [*command, self.image, "python", "-I", "-B", "-m", f"{MODULE}.worker"]

    def remove(self, name: str) -> None:
        subprocess.run([self.engine, "rm", "--force", name], capture_output=True, check=False)
        self.names.discard(name)

    def close(self) -> None:
        for name in list(self.names):
            self.remove(name)


class _Contained(Worker):
    """The engine's client is our process; the container has to be ended by name."""

    def __init__(self, room: ContainerRoom, name: str, process: subprocess.Popen, end):
        super().__init__(end, os.pidfd_open(process.pid), room.limits)
        self.room, self.name, self.process = room, name, process

    def watch(self) -> None:
        pass  # the engine does, by a cgroup

    def kill(self, why: str = "") -> None:
        if self.name in self.room.names:
            self.room.remove(self.name)
        super().kill(why)

    def close(self) -> None:
        super().close()
        self.process.wait()


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


def bubblewrap() -> list[str]:
    """The command that makes a box around what follows it: no network, no host files, no rights.

    Raises:
        W2SError: there is no bubblewrap here.
    """
    beside = os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
    program = shutil.which("bwrap", path=beside)
    if sys.platform != "linux" or program is None:
        what = "bubblewrap is not installed" if sys.platform == "linux" else "no box on this system"
        raise _no_box(what)
    command = [program, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    command += ["--unshare-cgroup-try", "--new-session", "--hostname", "box", "--clearenv"]
    # What runs in the box is the first process of its namespace: with it everything ends, whoever
    # was killed before
    command += ["--as-pid-1"]
    if os.geteuid() == 0:
        # A user namespace would leave the host's root on bound files. What remains is needed to
        # make namespaces and to become somebody else, and is given up before a cell runs.
        command += ["--cap-drop", "ALL"]
        for capability in ("SYS_ADMIN", "SETUID", "SETGID", "SETPCAP"):
            command += ["--cap-add", f"CAP_{capability}"]
    else:
        command += ["--unshare-user", "--uid", "1000", "--gid", "1000"]
    for key, value in ENVIRONMENT.items():
        command += ["--setenv", key, value]
    command += ["--proc", "/proc", "--dev", "/dev"]
    for folder in ("/dev/shm", "/tmp", HOME):  # covered by private ones later
        command += [*_folders(folder), "--perms", "1777", "--size", str(32 << 20)]
        command += ["--tmpfs", folder]
    command += ["--remount-ro", "/dev", "--ro-bind", "/usr", "/usr"]
    for name in ("lib", "lib32", "lib64", "bin", "sbin"):
        if os.path.islink(f"/{name}"):
            command += ["--symlink", os.readlink(f"/{name}"), f"/{name}"]
        elif os.path.isdir(f"/{name}"):
            command += ["--ro-bind", f"/{name}", f"/{name}"]
    for path in _readable():
        command += [*_folders(path), "--ro-bind", path, path]
    for cached in CACHED:
        if (cache_dir() / cached).is_dir():
            inside = f"{ASSETS}/{cached}"
            command += [*_folders(inside), "--ro-bind", str(cache_dir() / cached), inside]
    return [*command, "--chdir", HOME, "--remount-ro", "/", "--"]


def _readable() -> list[str]:
    """The Python environment and this package, and nothing else that is ours."""
    import w2s_lab

    package = Path(w2s_lab.__file__).parent
    paths = [sys.prefix, sys.base_prefix, os.path.realpath(sys.base_prefix)]
    if not any(package.is_relative_to(path) for path in paths):
        paths.append(str(package))
    outer = [path for path in dict.fromkeys(paths) if not path.startswith("/usr/")]
    return [path for path in outer if path != "/usr"]


def _folders(path: str) -> list[str]:
    """bubblewrap makes missing parents that only root may enter."""
    made = []
    for parent in reversed(Path(path).parents):
        if str(parent) not in ("/", "/dev", "/tmp", "/usr"):
            made += ["--perms", "0755", "--dir", str(parent)]
    return made


def python(module: str) -> list[str]:
    """The command that runs a module of this package in this Python, whatever lies around."""
    return [sys.executable, "-I", "-B", "-X", "utf8", "-m", f"{MODULE}.{module}"]


def _ready(end: socket.socket, pidfd: int, limits: Limits) -> Worker:
    return _await(Worker(end, pidfd, limits))


def _await(worker: Worker) -> Worker:
    """Waits for a worker's first words, the last that are certainly ours."""
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


def _no_box(what: str) -> W2SError:
    if sys.platform == "linux":
        how = "install it (Debian, Ubuntu: apt install bubblewrap) and allow user namespaces"
    else:
        how = "grade on Linux"
    mend = f"{how}, or name a container (--container docker:IMAGE), or --trust code that you trust"
    return W2SError(what, where="grade", mend=mend)


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
