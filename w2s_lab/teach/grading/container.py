"""A container for each submission, by Docker or Podman, where there is no bubblewrap."""

import itertools
import os
import shutil
import socket
import subprocess
from collections.abc import Sequence

from w2s_lab.assets import cache_dir
from w2s_lab.errors import W2SError
from w2s_lab.teach.grading.bubblewrap import CACHED, ENVIRONMENT
from w2s_lab.teach.grading.isolation import HOME
from w2s_lab.teach.grading.line import Ended
from w2s_lab.teach.grading.process import Handle, Limits, Worker, ready
from w2s_lab.teach.grading.verdict import CONTAINER


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
            return ready(worker)
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
        return [*command, self.image, "python", "-I", "-B", "-m", "w2s_lab.teach.grading.worker"]

    def remove(self, name: str) -> None:
        """Ends a container, whatever it does."""
        subprocess.run([self.engine, "rm", "--force", name], capture_output=True, check=False)
        self.names.discard(name)

    def close(self) -> None:
        for name in list(self.names):
            self.remove(name)


class _Contained(Worker):
    """The engine's client is our process; the container has to be ended by name."""

    def __init__(self, room: ContainerRoom, name: str, process: subprocess.Popen, end):
        super().__init__(end, Handle(process.pid), room.limits)
        self.room, self.name, self.client = room, name, process

    def watch(self) -> None:
        pass  # the engine does, by a cgroup

    def kill(self, why: str = "") -> None:
        if self.name in self.room.names:
            self.room.remove(self.name)
        super().kill(why)

    def close(self) -> None:
        super().close()
        self.client.wait()
