"""The same grading on the workers of a Dask cluster: each needs this package and bubblewrap.

A worker that dies costs nothing but time: the scheduler gives its submissions to another one.
"""

import atexit
import logging
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor
from contextlib import contextmanager
from functools import lru_cache, partial
from threading import Lock
from typing import TYPE_CHECKING

from w2s_lab.errors import W2SError
from w2s_lab.teach.grading.verdict import Verdict

if TYPE_CHECKING:
    from w2s_lab.teach.grading.grader import Grader
    from w2s_lab.teach.grading.process import Limits
    from w2s_lab.teach.grading.session import Options

CONNECT_SECONDS = 10
ONE_AT_A_TIME = Lock()


@contextmanager
def connect(scheduler: str) -> Iterator[tuple[Executor, int]]:
    """An executor on the cluster, and how many submissions it takes at the same time.

    Raises:
        W2SError: dask is not installed, nobody answers there, the cluster has no worker, or it goes
            away meanwhile.
    """
    try:
        from distributed import Client, KilledWorker
    except ImportError:
        mend = "install it: pip install 'w2s-lab[cluster]'"
        raise W2SError("dask is not installed", where="--cluster", mend=mend) from None
    try:
        _knock(scheduler)  # Client waits for ever for some that do not, and complains at its end
        client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError):
        mend = "start one with `dask scheduler` and give the address that it prints"
        raise W2SError("no scheduler answers there", where=scheduler, mend=mend) from None
    with _unlogged(), client:
        threads = sum(client.nthreads().values())
        if not threads:
            mend = f"start some with `dask worker {scheduler}`"
            raise W2SError("the cluster has no workers", where=scheduler, mend=mend)
        # not pure: the same bytes graded for two graders are two jobs
        with client.get_executor(pure=False) as executor:
            try:
                yield executor, threads
            except (CancelledError, KilledWorker):
                mend = "see to it and go on; nothing was lost"
                raise W2SError("the cluster is gone", where=scheduler, mend=mend) from None


@contextmanager
def _unlogged() -> Iterator[None]:
    """Dask logs a lost connection as tracebacks, from threads of its own; we tell it in one."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _knock(address: str) -> None:
    """Raises OSError or ValueError unless somebody there speaks first, as a scheduler does."""
    from distributed.comm.addressing import parse_address, parse_host_port

    scheme, place = parse_address(address)
    if scheme not in ("tcp", "tls"):
        raise ValueError(f"no scheduler talks {scheme}")
    with socket.create_connection(parse_host_port(place), CONNECT_SECONDS) as line:
        if scheme == "tcp" and not line.recv(1):  # by tls it is the caller who begins
            raise ConnectionResetError


def work(grader: "Grader", options: "Options") -> Callable[[bytes, int], Verdict]:
    """What a worker of the cluster does with one submission, as this grader would."""
    about = grader.text, grader.name, options.limits, options.container, options.trust
    return partial(_grade, (*about, grader.by_reference))


def _grade(about: tuple, raw: bytes, seed: int) -> Verdict:
    with ONE_AT_A_TIME:  # else each thread of a worker would start a box of its own
        grader = _grader(*about)
    return grader.grade(raw, seed=seed)


@lru_cache(maxsize=2)
def _grader(
    text: str, name: str, limits: "Limits", container: str, trust: bool, by_reference: bool
) -> "Grader":
    """This process's grader of an assignment, made for its first submission and kept."""
    from w2s_lab.teach.grading.grader import Grader

    grader = Grader(text, name, limits=limits, container=container, trust=trust)
    grader.by_reference = by_reference  # as the gate found it
    atexit.register(grader.close)
    return grader
