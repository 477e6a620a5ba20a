"""The judge's process: takes one submission over its line, and sends the verdict back.

`nursery` forks it; `grader`, at the other end, gives it workers for the student's cells.
"""

import base64
import contextlib
import sys
from functools import lru_cache
from socket import socket

from w2s_lab.teach.grading.execution import compiled
from w2s_lab.teach.grading.judge import Supply, grade
from w2s_lab.teach.grading.line import Line
from w2s_lab.teach.grading.plan import GIVEN, PLAIN, TEST, Plan, make_plan
from w2s_lab.teach.grading.process import Limits
from w2s_lab.teach.grading.proxies import Ask, Gone
from w2s_lab.teach.grading.verdict import GRADED, Item, Verdict


@lru_cache(maxsize=8)
def _plan(text: str, name: str, seed: int) -> Plan:
    return make_plan(text, name, seed=seed)


def prepare(text: str, name: str) -> None:
    """Reads and compiles a teacher's notebook; processes forked from here need not do it again."""
    for step in _plan(text, name, 0).steps:
        for source in {step.source, step.visible} if step.role in (GIVEN, PLAIN, TEST) else ():
            with contextlib.suppress(SyntaxError, ValueError):
                compiled(source, step.grade_id or "cell")


def serve(line: Line) -> None:
    """Grades the one submission that comes over the line; new workers come over it as well."""
    job = line.receive()
    limits = Limits(**job["limits"])

    def new() -> socket:
        line.send({"need": "worker"})
        told, fds = line.receive_fds(1)
        if not fds:
            raise Gone(str(told.get("why")))
        return socket(fileno=fds[0])

    def lost() -> str:
        line.send({"need": "why"})
        return line.receive()["why"]

    def tell(item: Item) -> None:
        verdict = Verdict(GRADED, (item,))
        line.send({"item": verdict.to_json()})

    plan = _plan(job["plan"], job["name"], job["seed"])
    raw = base64.b64decode(job["raw"])
    supply = Supply(new, lost, limits, job["by_reference"])
    modules: list[str] = []

    def look(ask: Ask) -> None:
        modules.extend(ask.request("modules"))

    verdict = grade(plan, raw, supply, tell=tell, at_end=look if job["modules"] else None)
    told = {"box": modules, "judge": sorted(sys.modules)} if job["modules"] else {}
    line.send({"verdict": verdict.to_json(), "modules": told})
