"""The process that runs a student's cells: it answers the judge's requests with plain data.

It is ours until the first cell has run, and from then on it may be anybody's: no reply of it is a
verdict. What it prints goes nowhere, except back to the judge, up to a limit.
Run as a module it speaks on standard input and output, in a container; else `nursery` forks it.
"""

import builtins
import contextlib
import io
import itertools
import linecache
import os
import socket
import sys
import threading
import traceback
from importlib import import_module
from operator import attrgetter
from typing import Any

from w2s_lab.teach.grading.codec import decode, encode
from w2s_lab.teach.grading.line import ELEMENTS, FROM_BOX, Ended, Line, pack, values_in

PRINTED = 64 << 10  # characters of one request's output that are kept
TEXT = 2_000  # characters of an exception's text
KEPT = 100_000  # objects that stay here and have a number
MOST_ITEMS = 10_000  # of an endless iterator


class _Bounded(io.TextIOBase):
    """Keeps the first characters that are written, and swallows the rest."""

    encoding = "UTF-8"  # libraries ask for it

    def __init__(self):
        self.kept: list[str] = []
        self.left = PRINTED

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.left > 0:
            self.kept.append(text[: self.left])
            self.left -= len(text)
        return len(text)

    def isatty(self) -> bool:
        return False

    def taken(self) -> str:
        text = "".join(self.kept)
        self.kept, self.left = [], PRINTED
        return text


def make_shell() -> Any:
    """IPython's shell, without history, colours or files."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.xmode = "Minimal"

    class Shell(InteractiveShell):
        def enable_gui(self, gui: str | None = None) -> None:
            pass  # there is no screen

        def enable_matplotlib(self, gui: str | None = None) -> tuple[str, str]:
            return "agg", "agg"  # MPLBACKEND says so; figures are made and not shown

    shell = Shell.instance(config=config)
    # A notebook's cells run as __main__, which has to be a module of its own
    sys.modules["__main__"] = shell.user_module
    return shell


class _Desk:
    """Answers requests; holds the objects that have no plain form."""

    def __init__(self, shell: Any, line: Line):
        self.shell, self.line = shell, line
        self.kept: dict[int, Any] = {}
        self.numbers = itertools.count(1)

    def answer(self, request: dict) -> dict:
        out = _Bounded()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                reply = getattr(self, f"on_{request['op']}")(request)
        except BaseException as error:  # SystemExit as well: the next request comes all the same
            reply = _failure(error)
        return reply | {"printed": out.taken()}

    def reply(self, request: dict) -> None:
        """Answers one request over the line."""
        answer = self.answer(request)
        try:
            frame = pack(answer, FROM_BOX)
        except (ValueError, TypeError) as error:
            frame = pack(_failure(error))
        self.line.end.sendall(frame)

    def on_run(self, request: dict) -> dict:
        done = self.shell.run_cell(request["source"], store_history=False)
        error = done.error_before_exec or done.error_in_exec
        return {"ok": True} if error is None else _failure(error)

    def on_get(self, request: dict) -> dict:
        names = self.shell.user_ns
        there = [name for name in request["names"] if name in names]
        room, elements, told = FROM_BOX - (64 << 10), ELEMENTS - 10_000, []
        for name in there:
            try:
                sent = encode(names[name], self._keep)
                text = pack(sent, room)
                count = values_in(text)
                if count > elements:
                    raise ValueError
            except Exception:  # too large, or made to be no data: other names can be sent for that
                sent, text, count = self._keep(names[name]), b"", 0
            room, elements = room - len(text), elements - count
            told.append([name, sent])
        return {"ok": True, "value": told}

    def on_call(self, request: dict) -> dict:
        target = self._target(request)
        given: list[Any] = []
        arguments = decode(request["args"], self._own, known=given, grow=True)
        value = target(*arguments[0], **arguments[1])
        if not request.get("back"):
            return self._value(value)
        # what the call made of its arguments, and which of them it handed back
        sent = encode(value, self._keep, known=given)
        return {"ok": True, "value": sent, "args": encode(arguments, self._keep)}

    def on_bind(self, request: dict) -> dict:
        self.shell.user_ns[request["name"]] = decode(request["value"], self._own)
        return {"ok": True, "value": None}

    def on_unbind(self, request: dict) -> dict:
        self.shell.user_ns.pop(request["name"], None)
        return {"ok": True, "value": None}

    def on_attribute(self, request: dict) -> dict:
        return self._value(getattr(self._target(request), request["name"]))

    def on_assign(self, request: dict) -> dict:
        setattr(self._target(request), request["name"], decode(request["value"], self._own))
        return {"ok": True, "value": None}

    def on_item(self, request: dict) -> dict:
        return self._value(self._target(request)[decode(request["key"], self._own)])

    def on_length(self, request: dict) -> dict:
        return self._value(len(self._target(request)))

    def on_items(self, request: dict) -> dict:
        return self._value(list(itertools.islice(iter(self._target(request)), MOST_ITEMS)))

    def on_next(self, request: dict) -> dict:
        return self._value(next(self._target(request)))

    def on_text(self, request: dict) -> dict:
        return self._value((repr if request["form"] == "repr" else str)(self._target(request)))

    def on_modules(self, request: dict) -> dict:
        return self._value(sorted(sys.modules))

    def _value(self, value: Any) -> dict:
        return {"ok": True, "value": self._sent(value)}

    def _sent(self, value: Any) -> Any:
        sent = encode(value, self._keep)
        pack(sent, FROM_BOX - (1 << 10))  # told as this request's error, not as a broken line
        return sent

    def _keep(self, value: Any) -> dict:
        if len(self.kept) >= KEPT:
            raise MemoryError("too many objects")
        number = next(self.numbers)
        self.kept[number] = value
        return {"!": "remote", "n": number, "call": callable(value), "t": type(value).__name__[:80]}

    def _own(self, told: dict) -> Any:
        """The object that the judge means: one kept here, a library's, or a function of its own."""
        if told["!"] == "remote":
            return self.kept[told["n"]]
        if told["!"] == "import":
            return attrgetter(told["v"])(import_module(told["m"]))

        def function(*args: Any, **kwargs: Any) -> Any:
            given = encode([list(args), kwargs], self._keep)
            self.line.send({"callback": told["n"], "args": given})
            while "op" in (reply := self.line.receive()):  # it calls back, into this process
                self.reply(reply)
            if "error" in reply:
                kind = getattr(builtins, reply["error"], RuntimeError)
                raise kind(reply["text"])
            return decode(reply["value"], self._own)

        return function

    def _target(self, request: dict) -> Any:
        return self.kept[request["target"]]


def _failure(error: BaseException) -> dict:
    """What the judge is told of an exception: its classes' names, its text, the cell's own line."""
    try:
        text = str(error)[:TEXT]
    except Exception:
        text = ""
    line = ""
    for frame, number in traceback.walk_tb(error.__traceback__):
        if frame.f_globals.get("__name__") == "__main__":
            line = linecache.getline(frame.f_code.co_filename, number).strip()[:200]
    names = [kind.__name__ for kind in type(error).__mro__][:20]
    return {"ok": False, "error": names, "text": text, "line": line}


def serve(line: Line, shell: Any) -> None:
    """Answers requests until the judge hangs up."""
    desk = _Desk(shell, line)
    sys.path.insert(0, "")  # as in a kernel: a module that a cell has written can be imported
    line.send({"ready": True})
    while True:
        try:
            request = line.receive()
        except Ended:
            return
        desk.reply(request)


def main() -> None:
    """Speaks on standard input and output, and keeps both from the cells."""
    end = _between(os.dup(0), os.dup(1))
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    serve(Line(end), make_shell())


def _between(inward: int, outward: int) -> socket.socket:
    """Two pipes as a socket: a container has no other way in and out."""
    end, far = socket.socketpair()

    def into() -> None:
        while part := os.read(inward, 1 << 16):
            far.sendall(part)
        far.shutdown(socket.SHUT_WR)

    def out() -> None:
        while part := far.recv(1 << 16):
            while part:
                part = part[os.write(outward, part) :]

    for pump in (into, out):
        threading.Thread(target=pump, daemon=True).start()
    return end


if __name__ == "__main__":
    main()
