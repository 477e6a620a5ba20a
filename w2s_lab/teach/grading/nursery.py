"""A warmed process that forks another one for each submission, so that torch is imported once.

One nursery in the box forks the processes that run students' cells, one outside forks the judges.
It never sees a submission: each child gets a line of its own, over which the work comes.
"""

import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from w2s_lab.teach.grading import isolation
from w2s_lab.teach.grading.line import Ended, Line

Child = Callable[[Line, dict], None]


def run(control: Line, child: Child) -> None:
    """Loads modules and forks children until the control line closes.

    A request is {"load": [module, ...]}, {"plan": a teacher's notebook, "name": ...} to have it
    read and compiled already, or {"fork": about} with the child's line as descriptor; the answer to
    the last carries a descriptor of the new process (pidfd_open(2)).
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children that end are forgotten at once
    control.send({"ready": True})
    while True:
        try:
            request, fds = control.receive_fds(1)
        except Ended:
            return
        if "load" in request:
            control.send({"loaded": [name for name in request["load"] if _load(name)]})
            continue
        if "plan" in request:
            from w2s_lab.teach.grading.court import prepare

            prepare(request["plan"], request["name"])
            control.send({"prepared": True})
            continue
        (fd,) = fds
        gc.collect()
        gc.freeze()  # else the child's first collection would copy every page
        pid = os.fork()
        if pid == 0:
            _fork_child(control, fd, request["fork"], child)
        os.close(fd)


def _load(name: str) -> bool:
    """Whether the module could be imported; a student's own import tells what is wrong with it."""
    try:
        import_module(name)
    except BaseException:
        return False
    return True


def _fork_child(control: Line, fd: int, about: dict, child: Child) -> None:
    """In between: it moves its own child into new namespaces, tells who it is, and ends."""
    try:
        if about.get("box"):
            isolation.leave()
        pid = os.fork()
    except OSError as error:
        control.send({"failed": str(error)})
        os._exit(1)
    if pid:
        # In another namespace it has another number; macOS has no namespaces, and no descriptors
        fds = (os.pidfd_open(pid),) if hasattr(os, "pidfd_open") else ()
        control.send({"forked": pid}, fds=fds)
        os._exit(0)
    status = 1
    line = Line(socket.socket(fileno=fd))
    try:
        control.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a cell may wait for processes of its own
        child(line, about)
        status = 0
    except Ended:
        pass
    except BaseException as error:
        line.send({"failed": f"{type(error).__name__}: {error}"[:500]})
    finally:
        os._exit(status)  # no atexit, no threads to wait for


def student(shell: Any, line: Line, about: dict) -> None:
    """A child that runs a student's cells in this shell."""
    from w2s_lab.teach.grading import worker

    if about["box"]:
        isolation.settle(about["place"], about["limits"])
    else:
        isolation.limit_self(about["limits"])
    worker.serve(line, shell)


def judge(line: Line, about: dict) -> None:
    """A child that grades one submission."""
    from w2s_lab.teach.grading.court import serve

    isolation.limit_judge(about["data_mb"], about["cpu_seconds"])
    serve(line)


def main() -> None:
    """`python -m w2s_lab.teach.grading.nursery student|judge MODULES`, control line on fd 0."""
    what, modules = sys.argv[1], json.loads(sys.argv[2])
    control = Line(socket.socket(fileno=os.dup(0)))
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1) if os.environ.get("W2S_GRADER_DEBUG") else (0, 1, 2):
        os.dup2(nothing, number)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who started us
    child: Child = judge
    if what == "student":
        from w2s_lab.teach.grading.worker import make_shell

        child = partial(student, make_shell())
    for name in modules:
        _load(name)
    run(control, child)


if __name__ == "__main__":
    main()
