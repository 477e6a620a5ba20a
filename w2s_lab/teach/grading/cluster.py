"""The same grading on the workers of a Dask cluster: each needs this package and bubblewrap.

A worker that dies costs nothing but time: the scheduler gives its submissions to another one.
"""

import atexit
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from w2s_lab.errors import W2SError
from w2s_lab.teach.grading.verdict import Verdict

if TYPE_CHECKING:
    from w2s_lab.teach.grading.grader import Grader
    from w2s_lab.teach.grading.session import Options

CONNECT_SECONDS = 10


@contextmanager
def connect(scheduler: str) -> Iterator[tuple[Executor, int]]:
    """An executor on the cluster, and how many submissions it takes at the same time.

    Raises:
        W2SError: dask is not installed, nobody answers there, or the cluster has no worker.
    """
    try:
        from distributed import Client
    except ImportError:
        mend = "install it: pip install 'w2s-lab[cluster]'"
        raise W2SError("dask is not installed", where="--cluster", mend=mend) from None
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError):
        mend = "start one with `dask scheduler` and give the address that it prints"
        raise W2SError("no scheduler answers there", where=scheduler, mend=mend) from None
    with client:
        threads = sum(client.nthreads().values())
        if not threads:
            mend = f"start some with `dask worker {scheduler}`"
            raise W2SError("the cluster has no workers", where=scheduler, mend=mend)
        # not pure: the same bytes graded for two graders are two jobs
        with client.get_executor(pure=False) as executor:
            yield executor, threads


def work(text: str, name: str, options: "Options") -> Callable[[bytes, int], Verdict]:
    """What a worker of the cluster does with one submission."""
    return partial(_grade, text, name, options.limits, options.container, options.trust)


def _grade(text: str, name: str, limits, container: str, trust: bool, raw: bytes, seed: int):
    return _grader(text, name, limits, container, trust).grade(raw, seed=seed)


@lru_cache(maxsize=2)
def _grader(text: str, name: str, limits, container: str, trust: bool) -> "Grader":
    """This process's grader of an assignment, warmed by its first submission and kept."""
    from w2s_lab.teach.grading.grader import Grader

    grader = Grader(text, name, limits=limits, container=container, trust=trust)
    atexit.register(grader.close)
    return grader
