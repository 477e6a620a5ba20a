"""A student's names as the teacher's tests see them: data, and stand-ins for what stays in the box.

Nothing here decides anything. A stand-in can be called, read, indexed and iterated; it has no truth
value and is equal to nothing, because then the student's own code would be asked for the verdict.
"""

import builtins
import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from operator import attrgetter
from types import MappingProxyType
from typing import Any

from w2s_lab.teach.grading.codec import BadFrame, decode, encode

TEXT = 500  # characters of what a student's exception says
# Exceptions that would stop more than the call, or pass for an answer: a StopIteration ends a loop
# of the test, and `all()` over nothing is true
STOPPING = (StopIteration, StopAsyncIteration, GeneratorExit, MemoryError, RecursionError)


class Gone(Exception):
    """The box has ended; the text says why, in words for the student."""


class Stand:
    """A stand-in for an object in the box.

    Args:
        ask: sends one request to the box and returns its reply.
        told: the object's number and the name of its class.
        name: how the test calls it, if it has a name of its own: it can be found again by it.
    """

    __slots__ = ("__ask", "__told", "__name", "__generation", "__back")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, ask: "Ask", told: dict, name: str = ""):
        hold = super().__setattr__
        hold("_Stand__ask", ask)
        hold("_Stand__told", told)
        hold("_Stand__name", name)
        hold("_Stand__generation", ask.generation)

    def __number(self) -> int:
        ask = self.__ask
        if self.__generation != ask.generation:  # another worker is at the line
            if not self.__name:
                raise Gone("an object was lost when your code was started again")
            hold = super().__setattr__
            hold("_Stand__told", ask.find(self.__name))
            hold("_Stand__generation", ask.generation)
        return self.__told["n"]

    def __request(self, op: str, **about: Any) -> Any:
        return self.__ask.request(op, target=self.__number(), **about)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__name__":  # what Python looks for by itself
            raise AttributeError(name)
        return self.__request("attribute", name=name)

    def __setattr__(self, name: str, value: Any) -> None:
        self.__request("assign", name=name, value=self.__ask.sent(value))

    def __getitem__(self, key: Any) -> Any:
        return self.__request("item", key=self.__ask.sent(key))

    def __next__(self) -> Any:
        return self.__request("next")

    def __len__(self) -> int:
        length = self.__request("length")
        if type(length) is not int or not 0 <= length < 2**31:
            raise TypeError("the length of the student's object is no number")
        return length

    def __iter__(self) -> Iterator[Any]:
        items = self.__request("items")
        if not isinstance(items, list):
            raise TypeError("the student's object cannot be iterated")
        return iter(items)

    def __bool__(self) -> bool:
        raise TypeError(f"{self!r} has no truth value here: test its plain data")

    def __eq__(self, other: object) -> bool:
        raise TypeError(f"{self!r} cannot be compared here: test its plain data")

    def __str__(self) -> str:
        return self.__text("str")

    def __repr__(self) -> str:
        return f"<a {str(self.__told.get('t'))[:80]} in the box>"

    def __text(self, form: str) -> str:
        text = self.__request("text", form=form)
        if type(text) is not str:
            raise TypeError("the text of the student's object is no text")
        return text


class CallableStand(Stand):
    """A stand-in for a function, class or method in the box."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._Stand__ask.call(self._Stand__number(), args, kwargs)


class Ask:
    """What stand-ins need of the judge: requests, and the name of the worker that answers them.

    Args:
        exchange: sends a request, returns the reply, raises `Gone`.
        by_reference: says whether a call's changes to its arguments come back right now.
        heard: is given what a student's code printed.
    """

    def __init__(
        self,
        exchange: Callable[[dict], dict],
        by_reference: Callable[[], bool],
        heard: Callable[[str], None],
    ):
        self.exchange, self.by_reference, self.heard = exchange, by_reference, heard
        self.generation = 0
        self.given: Mapping[str, Any] = {}  # the teacher's names: exception classes among them
        self.functions: list[Callable] = []  # the test's own, which the box may call

    def request(self, op: str, **about: Any) -> Any:
        """The value in the reply.

        Raises:
            Exception: the kind that the student's code raised, as far as it is one of Python's own.
        """
        return self._value(self._reply({"op": op} | about))

    def call(self, target: int, args: tuple, kwargs: dict) -> Any:
        """The value of a call. Its arguments are copies: what is done to them stays in the box,
        unless the author asked for it with `w2s_lab.exercise.by_reference`.
        """
        given = [list(args), kwargs]
        known: list[Any] = []
        request = {"op": "call", "target": target, "args": self.sent(given, known)}
        if not self.by_reference():
            return self._value(self._reply(request))
        reply = self._reply(request | {"back": True})
        put_back(given, decode(reply.get("args"), self._stand))
        return decode(reply.get("value"), self._stand, known=known)

    def find(self, name: str) -> dict:
        """The number of the object that has this name now."""
        found: Any = self._reply({"op": "get", "names": [name]}).get("value")
        try:
            return dict(found[0][1])
        except (TypeError, IndexError, ValueError, KeyError):
            raise NameError(f"name {name!r} is not defined", name=name) from None

    def names(self, wanted: list[str]) -> dict[str, Any]:
        """Those of the student's names that exist: data as data, the rest as stand-ins."""
        found = self._reply({"op": "get", "names": wanted}).get("value")
        values = {}
        if not isinstance(found, list):
            return {}
        for pair in found:
            if not (isinstance(pair, list) and len(pair) == 2 and pair[0] in wanted):
                raise BadFrame("names that nobody asked for")
            name = pair[0]
            with contextlib.suppress(BadFrame):  # one that cannot be read is missing, not the rest
                values[name] = decode(pair[1], partial(self._stand, name=name))
        return values

    def bind(self, name: str, value: Any) -> None:
        """Gives a name in the box a value, if it can be sent: in one kernel a test would do so.

        Plain data go there only where arguments come back too: a test that keeps what it expects
        under a student's name would tell it.
        """
        if not (callable(value) or isinstance(value, Stand) or self.by_reference()):
            return
        with contextlib.suppress(TypeError, ValueError):
            self._reply({"op": "bind", "name": name, "value": self.sent(value)})

    def unbind(self, name: str) -> None:
        """Takes a name away in the box."""
        self._reply({"op": "unbind", "name": name})

    def sent(self, value: Any, known: list[Any] | None = None) -> Any:
        """What goes into the box; objects that are no plain data go as what stands for them.

        Args:
            known: is filled with the lists, dicts and arrays in it, in the order of the box.
        """
        return encode(value, self._kept, known=[] if known is None else known, grow=True)

    def _kept(self, thing: Any) -> dict:
        if isinstance(thing, Stand):
            return {"!": "remote", "n": thing._Stand__number()}  # type: ignore[attr-defined]
        if importable(thing):
            return {"!": "import", "m": thing.__module__, "v": thing.__qualname__}
        if callable(thing):
            self.functions.append(thing)
            return {"!": "function", "n": len(self.functions) - 1}
        raise TypeError(f"a {type(thing).__name__} cannot be handed into the box: use plain data")

    def called(self, told: dict) -> dict:
        """What a function of the test gives to the box, which called it; the message to send."""
        try:
            number = told["callback"]
            if type(number) is not int or not 0 <= number < len(self.functions):
                raise BadFrame("a function that nobody handed over")
            args, kwargs = decode(told["args"], self._stand)
            return {"value": self.sent(self.functions[number](*args, **kwargs))}
        except BadFrame:
            raise
        except Exception as error:
            known = getattr(builtins, type(error).__name__, None) is type(error)
            return {"error": type(error).__name__ if known else "RuntimeError", "text": str(error)}

    def _reply(self, request: dict) -> dict:
        reply = self.exchange(request)
        if not isinstance(reply, dict):
            raise BadFrame("a reply that is none")
        printed = reply.get("printed")
        if isinstance(printed, str) and printed:
            self.heard(printed)
        if reply.get("ok") is not True:
            raise failure(reply, self.given)
        return reply

    def _value(self, reply: dict) -> Any:
        return decode(reply.get("value"), self._stand)

    def _stand(self, told: dict, name: str = "") -> Stand:
        if told["!"] != "remote" or type(told.get("n")) is not int:
            raise BadFrame("an object without a number")
        kind = CallableStand if told.get("call") is True else Stand
        return kind(self, {"n": told["n"], "t": told.get("t")}, name)


def importable(thing: Any) -> bool:
    """Whether it is a library's: the box has it too, under the same name."""
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module not in sys.modules:
        return False
    try:
        return attrgetter(name)(sys.modules[module]) is thing
    except AttributeError:
        return False


def put_back(given: Any, after: Any) -> None:
    """Makes lists, dicts, arrays and tensors that were handed over what a call has made of them."""
    if isinstance(given, list) and isinstance(after, list):
        for old, new in zip(given, after, strict=False):
            put_back(old, new)
        both = [_kept(old, new) for old, new in zip(given, after, strict=False)]
        given[:] = both + after[len(given) :]
    elif isinstance(given, tuple) and isinstance(after, tuple):
        for old, new in zip(given, after, strict=False):
            put_back(old, new)
    elif isinstance(given, dict) and isinstance(after, dict):
        for key in given.keys() & after.keys():
            put_back(given[key], after[key])
        changed = {k: _kept(given[k], new) if k in given else new for k, new in after.items()}
        given.clear()
        given.update(changed)
    elif isinstance(given, set) and isinstance(after, set):
        given.clear()
        given.update(after)
    elif getattr(given, "shape", ()) and _same_kind(given, after):
        given[...] = after


def _same_kind(given: Any, after: Any) -> bool:
    """Whether two arrays or tensors hold as many numbers of the same type."""
    alike = type(given) is type(after) and given.shape == after.shape
    return alike and given.dtype == after.dtype


def _kept(old: Any, new: Any) -> Any:
    """The old object where it could take over what is new, the new one where it could not."""
    mutable = isinstance(old, (list, dict, set)) or bool(getattr(old, "shape", ()))
    same = type(old) is type(new) and getattr(old, "shape", 0) == getattr(new, "shape", 0)
    return old if (mutable and same) or isinstance(old, Stand) else new


def failure(reply: dict, given: Mapping[str, Any] = MappingProxyType({})) -> Exception:
    """The exception that a reply tells of, as the nearest one of Python's own or of `given`."""
    names = reply.get("error")
    text = reply.get("text")
    text = text[:TEXT] if isinstance(text, str) else ""
    kind: type[Exception] = RuntimeError
    for name in names if isinstance(names, list) else []:
        found = given.get(name, getattr(builtins, name, None)) if isinstance(name, str) else None
        if isinstance(found, type) and issubclass(found, Exception):
            if not issubclass(found, STOPPING):
                kind = found
            break
    try:
        error = kind(text) if text else kind()
    except TypeError:  # UnicodeDecodeError and its like take more than a text
        error = RuntimeError(text)
    line = reply.get("line")
    error.line = line[:200] if isinstance(line, str) else ""  # type: ignore[attr-defined]
    error.boxed = True  # type: ignore[attr-defined]
    return error
