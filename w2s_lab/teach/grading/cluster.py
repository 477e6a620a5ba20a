"""The same grading on the workers of a Dask cluster: each needs this package and bubblewrap.

A worker that dies costs nothing but time: the scheduler gives its submissions to another one.
"""

import atexit
from collections.abc import Callable
from functools import lru_cache, partial
from threading import Lock
from typing import TYPE_CHECKING

from w2s_lab.cluster import connect
from w2s_lab.teach.grading.verdict import Verdict

if TYPE_CHECKING:
    from w2s_lab.teach.grading.grader import Grader
    from w2s_lab.teach.grading.process import Limits
    from w2s_lab.teach.grading.session import Options

__all__ = ["connect", "work"]
ONE_AT_A_TIME = Lock()


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
