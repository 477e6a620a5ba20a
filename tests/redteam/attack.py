"""What an attack is, and all of them: hostile answers to the assignment in `target`, as data.

Nothing here runs one: they are for the grader's box, and for nothing else. Each is bounded in
number, size and time, writes under new names alone, and calls nobody but this machine itself.
What a class of attack tries is from reports on autograders and from reading our own grader.
"""

import importlib
import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from redteam.target import POINTS, honest_cells, submission

# Says that a wall did not hold. It stands in what an attack prints and, where a whole cell of
# attempts is over, in the text of an exception: in no reply and no feedback may it be found.
REACHED = "W2S-REACHED"
MARKER = "w2s-redteam"  # begins the name of every file, process, socket and variable left behind
PORT = 47113  # where attacks look for a listener of the test's own: 127.0.0.1 and ::1
START, LAST = 1, 12  # places of further cells: after `setup`, after everything

# Cells of tools, run at START by the attacks that need them
TELL = f"""
_found = []


def tell(what):
    _found.append(str(what))
    print("{REACHED}", what)


def attempt(what, work, good=lambda result: True):
    try:
        result = work()
    except BaseException:
        return None
    if good(result):
        tell(what)
    return result


def finish():
    if _found:
        raise RuntimeError("{REACHED} " + "; ".join(_found)[:400])
"""
LIBC = """
import ctypes, os

libc = ctypes.CDLL(None, use_errno=True)
X86 = os.uname().machine == "x86_64"  # the numbers below are of this machine


def syscall(number, *arguments):
    if not X86:
        raise OSError("other numbers")
    ctypes.set_errno(0)
    sized = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    libc.syscall.restype = ctypes.c_long
    result = libc.syscall(ctypes.c_long(number), *sized)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
"""
FRAMES = """
import json, os, select, socket, stat, struct


def sockets():
    found = []
    for fd in range(3, 256):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                found.append(fd)
        except OSError:
            pass
    return found


def frame(value):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return struct.pack("<I", len(body)) + body


def send(data):
    for fd in sockets():
        left = memoryview(data)
        while left and select.select([], [fd], [], 5)[1]:
            try:
                left = left[os.write(fd, left[:65536]):]
            except OSError:
                break


def say(value, printed=""):
    send(frame({"ok": True, "value": value, "printed": printed}))


def peek(seconds=0.0, take=False):
    found = b""
    for fd in select.select(sockets(), [], [], seconds)[0]:
        try:
            with socket.socket(fileno=os.dup(fd)) as line:
                line.setblocking(False)
                found += line.recv(1 << 20, 0 if take else socket.MSG_PEEK)
        except OSError:
            pass
    return found
"""


@dataclass(frozen=True)
class Attack:
    """One hostile submission.

    Attributes:
        name: unique; lower case, digits and hyphens.
        kind: the class of attack.
        about: one sentence: what it tries.
        answers: grade id → what stands in place of the stub; other answers stay stubs.
        extra: (position, source) of further cells, see `target.submission`.
        deserved: the points of the honest answers in it; the grader gives no more.
        aims_at_protocol: it speaks or garbles what judge and box say to each other.
        may_lose: it may well cost its author the honest points too. Without it exactly `deserved`
            is due, if tests run where they stand and a dead box takes no earlier points along.
    """

    name: str
    kind: str
    about: str
    answers: Mapping[str, str]
    extra: tuple[tuple[int, str], ...] = ()
    deserved: float = 0
    aims_at_protocol: bool = False
    may_lose: bool = field(default=False, kw_only=True)

    def notebook(self) -> bytes:
        """The file that is handed in."""
        return submission(self.answers, self.extra)


def attack(
    kind: str,
    name: str,
    about: str,
    *,
    honest: str = "",
    needs: Iterable[str] = (),
    extra: Iterable[tuple[int, str]] = (),
    also: float = 0,
    aims_at_protocol: bool = False,
    may_lose: bool = False,
    **answers: str,
) -> Attack:
    """An attack from indented sources.

    Args:
        honest: names of answers that are right, with blanks between; their points are deserved.
            The source is that of `honest_cells` where none is given.
        needs: cells of tools, run at `START`.
        also: further points deserved: of a visible check that an answer passes by rights.
        answers: grade id = source.
    """
    rights = honest.split()
    given = {one: honest_cells()[one] for one in rights}
    given |= {one: textwrap.dedent(text).lstrip("\n") for one, text in answers.items()}
    tools = [(START, text.lstrip("\n")) for text in needs]
    cells = [(place, textwrap.dedent(text).lstrip("\n")) for place, text in extra]
    return Attack(
        name=name,
        kind=kind,
        about=about,
        answers=given,
        extra=(*tools, *cells),
        deserved=also + sum(POINTS[one] for one in rights),
        aims_at_protocol=aims_at_protocol,
        may_lose=may_lose,
    )


def load() -> tuple[Attack, ...]:
    """All attacks, by file and place in it.

    Raises:
        ValueError: a name that is none, or that two attacks have.
    """
    folder = Path(__file__).parent / "attacks"
    modules = [f"redteam.attacks.{path.stem}" for path in sorted(folder.glob("[a-z]*.py"))]
    found = tuple(one for module in modules for one in importlib.import_module(module).ATTACKS)
    known: set[str] = set()
    for one in found:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", one.name) or one.name in known:
            raise ValueError(f"no name of its own: {one.name!r}")
        known.add(one.name)
    return found
