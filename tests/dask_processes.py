"""Schedulers and workers of Dask that are processes of their own, on the loopback."""

import contextlib
import json
import os
import subprocess
import sys
import time

QUIET = "--no-dashboard", "--host", "127.0.0.1"


@contextlib.contextmanager
def process(module, *options, folder, **environment):
    """A process of Dask's; it is ended with the block."""
    command = [sys.executable, "-m", f"distributed.cli.{module}", *map(str, options)]
    with (folder / f"{module}.txt").open("a") as said:
        one = subprocess.Popen(
            command, stdout=said, stderr=said, cwd=folder, env=os.environ | environment
        )
    try:
        yield one
    finally:
        one.terminate()
        try:
            one.wait(10)
        except subprocess.TimeoutExpired:
            one.kill()
            one.wait()


@contextlib.contextmanager
def scheduler(folder):
    """A scheduler's process and its address; it has no workers."""
    told = folder / "scheduler.json"
    options = "--port", 0, "--scheduler-file", told, *QUIET
    with process("dask_scheduler", *options, folder=folder) as one:
        yield one, until(lambda: json.loads(told.read_text())["address"])


def worker(address, folder, *options, **environment):
    """A worker's process, with one thread."""
    words = address, "--nthreads", 1, "--no-nanny", "--local-directory", folder, *options, *QUIET
    return process("dask_worker", *words, folder=folder, **environment)


def joined(address, count):
    """Returns when the scheduler knows so many workers."""
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=60)


def until(ready, seconds=60):
    """What `ready` returns, once it is something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError, KeyError):
            if found := ready():
                return found
        time.sleep(0.02)
    raise AssertionError("it did not come")
