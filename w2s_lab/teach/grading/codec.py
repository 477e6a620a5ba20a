"""Values as JSON's own types with tags, for the line between judge and box; never pickle.

What arrives from the box was made by a stranger: depth and shapes are checked, and only kinds of
data named here come out of `decode`. An object that is no plain data stays where it is; the other
side gets a number for it. `line` carries the frames and counts what is in them.
"""

import base64
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, ItemsView, KeysView, ValuesView
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

DEPTH = 60
LONGEST_TEXTS = 4 << 20  # characters of an array of texts, each as wide as the longest
LONGEST_INT = 16_384  # hexadecimal digits
COLLISIONS = 1_000  # keys with one hash: more are an attack, not chance
# objects that stay where they are: one of the box's, a function of the judge's, or a name to import
OBJECTS = ("remote", "function", "import")
DATED = (date, datetime)
IMMUTABLE = (int, float, complex, str, bytes, type(None))  # whether two are one cannot matter
ARRAY_KINDS = re.compile(r"[<>|=]?[biufc]\d{1,2}")
TENSOR_KINDS = [
    "bool",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]


class BadFrame(Exception):
    """What arrived is not what this protocol sends."""


def encode(
    value: Any,
    keep: Callable[[Any], dict] | None = None,
    *,
    known: list | None = None,
    grow: bool = False,
) -> Any:
    """A value as JSON's own types.

    Args:
        keep: says what to send for an object that is no plain data.
        known: objects that the other side has as well, in the same order: they go as their number.
        grow: adds what is sent to `known`, so that two entries which are the same list stay one.

    Raises:
        TypeError: an object that is no plain data, and no `keep`.
        ValueError: nested too deeply.
    """
    return _Encoder(keep, known, grow).encode(value, 0)


class _Encoder:
    def __init__(self, keep: Callable[[Any], dict] | None, known: list | None, grow: bool):
        self.keep, self.known, self.grow = keep, known, grow
        self.numbers = {id(value): number for number, value in enumerate(known or ())}

    def encode(self, value: Any, depth: int) -> Any:
        if depth > DEPTH:
            raise ValueError(f"nested more than {DEPTH} deep")
        kind = type(value)
        if value is None or kind is bool or kind is str:
            return value
        if kind is int:
            return value if abs(value) < 2**63 else {"!": "int", "v": hex(value)}
        if kind is float:
            return value if math.isfinite(value) else {"!": "float", "v": repr(value)}
        if self.known is None or isinstance(value, IMMUTABLE):
            return self._composed(value, depth)
        if id(value) in self.numbers:
            return {"!": "same", "v": self.numbers[id(value)]}
        sent = self._composed(value, depth)
        if self.grow:  # when it is complete, as the other side will
            self.numbers[id(value)] = len(self.known)
            self.known.append(value)
        return sent

    def _composed(self, value: Any, depth: int) -> Any:
        def inner(item: Any) -> Any:
            return self.encode(item, depth + 1)

        if isinstance(value, list):
            return [inner(item) for item in value]
        if isinstance(value, tuple):
            return {"!": "tuple", "v": [inner(item) for item in value]}
        if isinstance(value, (set, frozenset)):
            return {"!": type(value).__name__, "v": [inner(item) for item in value]}
        if isinstance(value, dict):
            return {"!": "dict", "v": [[inner(k), inner(v)] for k, v in value.items()]}
        if type(value) in (bytes, bytearray):
            return {"!": type(value).__name__, "v": _text(bytes(value))}
        if isinstance(value, range):
            return {"!": "range", "v": [value.start, value.stop, value.step]}
        if isinstance(value, Fraction):
            return {"!": "fraction", "v": [inner(value.numerator), inner(value.denominator)]}
        if type(value) in DATED:
            return {"!": type(value).__name__, "v": value.isoformat()}
        if isinstance(value, Decimal):
            return {"!": "decimal", "v": str(value)}
        if isinstance(value, (KeysView, ItemsView)):
            return {"!": "set", "v": [inner(item) for item in value]}
        if isinstance(value, ValuesView):
            return [inner(item) for item in value]
        sent = _numeric(value)
        if sent is None and isinstance(value, complex):
            sent = {"!": "complex", "v": [inner(value.real), inner(value.imag)]}
        if sent is None and isinstance(value, (bool, int, float, str)):  # a subclass of these
            base = next(base for base in (bool, int, float, str) if isinstance(value, base))
            return inner(base(value))
        if sent is None:
            if self.keep is None:
                raise TypeError(f"a {type(value).__name__} is no plain data")
            sent = self.keep(value)
        return sent


def _numeric(value: Any) -> dict | str | None:
    """numpy's and torch's values; neither is imported for it."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None and isinstance(value, numpy.generic):
        if not ARRAY_KINDS.fullmatch(value.dtype.str):
            plain = value.item()
            return plain if isinstance(plain, str) else None
        return {"!": "scalar", "t": value.dtype.str, "v": _text(value.tobytes())}
    if numpy is not None and isinstance(value, numpy.ndarray):
        if value.dtype.kind == "U":
            texts = value.ravel().tolist()
            return {"!": "texts", "s": list(value.shape), "v": texts}
        if not ARRAY_KINDS.fullmatch(value.dtype.str):
            return None
        data = numpy.ascontiguousarray(value)
        return {
            "!": "array",
            "t": data.dtype.str,
            "s": list(value.shape),
            "v": _text(data.tobytes()),
        }
    if torch is not None and isinstance(value, torch.Tensor):
        kind = str(value.dtype).removeprefix("torch.")
        if kind not in TENSOR_KINDS or value.layout != torch.strided:
            return None
        data = value.detach().cpu().resolve_conj().resolve_neg()
        # a view of one entry counts as contiguous whatever its stride
        data = data.clone(memory_format=torch.contiguous_format)
        raw = data.reshape(-1).view(torch.uint8) if data.numel() else data
        return {
            "!": "tensor",
            "t": kind,
            "s": list(value.shape),
            "v": _text(raw.numpy().tobytes() if data.numel() else b""),
            "g": bool(value.requires_grad),
        }
    return None


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def decode(
    told: Any,
    remote: Callable[[dict], Any] | None = None,
    *,
    known: list | None = None,
    grow: bool = False,
) -> Any:
    """The value that `encode` was given.

    Args:
        remote: what stands for an object that stayed on the other side.
        known, grow: as in `encode`. A reply from the box never grows: a short frame could describe
            something endless.

    Raises:
        BadFrame: anything that `encode` does not make.
    """
    try:
        return _Decoder(remote, known, grow).decode(told, 0)
    except BadFrame:
        raise
    except Exception as error:  # KeyError, TypeError, ... each from a frame of the wrong form
        raise BadFrame(f"a value of the wrong form ({type(error).__name__})") from None


class _Decoder:
    def __init__(self, remote: Callable[[dict], Any] | None, known: list | None, grow: bool):
        self.remote, self.known, self.grow = remote, known, grow

    def decode(self, told: Any, depth: int) -> Any:
        if depth > DEPTH:
            raise BadFrame("nested too deeply")
        if not isinstance(told, list | dict):
            return told
        if isinstance(told, dict) and told["!"] == "same":
            if self.known is None or type(told["v"]) is not int or told["v"] < 0:
                raise BadFrame("an object that nobody knows")
            return self.known[told["v"]]
        value = self._composed(told, depth)
        if self.grow and not isinstance(value, IMMUTABLE):
            self.known.append(value)  # type: ignore[union-attr]
        return value

    def _composed(self, told: Any, depth: int) -> Any:
        def inner(item: Any) -> Any:
            return self.decode(item, depth + 1)

        if isinstance(told, list):
            return [inner(item) for item in told]
        kind, v = told["!"], told.get("v")
        if kind == "int":
            if len(v) > LONGEST_INT:
                raise BadFrame("a number too long")
            return int(v, 16)
        if kind == "float":
            return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[v]
        if kind == "complex":
            real, imaginary = inner(v[0]), inner(v[1])
            return complex(float(real), float(imaginary))
        if kind in ("bytes", "bytearray"):
            raw = base64.b64decode(v, validate=True)
            return raw if kind == "bytes" else bytearray(raw)
        if kind == "range":
            return range(*_whole(v, 3))
        if kind == "fraction":
            return Fraction(*map(int, map(inner, v)))
        if kind == "decimal" and len(v) <= LONGEST_INT:
            return Decimal(v)
        if kind in ("date", "datetime"):
            return {one.__name__: one for one in DATED}[kind].fromisoformat(v)
        if kind == "tuple":
            return tuple(inner(item) for item in _list(v))
        if kind in ("set", "frozenset"):
            items = [inner(item) for item in _list(v)]
            _check_hashes(items)
            return (set if kind == "set" else frozenset)(items)
        if kind == "dict":
            pairs = [(inner(key), inner(item)) for key, item in _list(v)]
            _check_hashes([key for key, _ in pairs])
            return dict(pairs)
        if kind in ("scalar", "array", "texts"):
            return _array(kind, told)
        if kind == "tensor":
            return _tensor(told)
        if kind in OBJECTS and self.remote is not None:
            return self.remote(told)
        raise BadFrame("an unknown kind of value")


def _list(value: Any) -> list:
    if not isinstance(value, list):
        raise BadFrame("a list was expected")
    return value


def _whole(value: Any, most: int) -> list[int]:
    if len(_list(value)) > most or any(type(one) is not int for one in value):
        raise BadFrame("whole numbers were expected")
    return value


def _check_hashes(keys: list) -> None:
    """Thousands of keys with the same hash would keep the judge busy for minutes."""
    if len(keys) > COLLISIONS and max(Counter(map(hash, keys)).values()) > COLLISIONS:
        raise BadFrame("keys with equal hashes")


def _shape(told: dict) -> tuple[list[int], int]:
    shape = _whole(told["s"], 16)
    if any(size < 0 for size in shape):
        raise BadFrame("a negative size")
    return shape, math.prod(shape)


def _array(kind: str, told: dict) -> Any:
    import numpy as np

    if kind == "texts":
        shape, count = _shape(told)
        texts = _list(told["v"])
        if len(texts) != count or any(type(text) is not str for text in texts):
            raise BadFrame("texts that do not fill their shape")
        if (
            count * max(map(len, texts), default=0) > LONGEST_TEXTS
        ):  # each takes as much as the longest
            raise BadFrame("texts too long for an array")
        return np.array(texts, dtype=str).reshape(shape)
    if not ARRAY_KINDS.fullmatch(told["t"]):
        raise BadFrame("an unknown dtype")
    dtype = np.dtype(told["t"])
    raw = base64.b64decode(told["v"], validate=True)
    shape, count = _shape(told) if kind == "array" else ([], 1)
    if count * dtype.itemsize != len(raw):
        raise BadFrame("data that do not fill their shape")
    data = np.frombuffer(raw, dtype).reshape(shape)
    return data[()] if kind == "scalar" else data.copy()


def _tensor(told: dict) -> Any:
    import torch

    if told["t"] not in TENSOR_KINDS:
        raise BadFrame("an unknown dtype")
    dtype = getattr(torch, told["t"])
    raw = base64.b64decode(told["v"], validate=True)
    shape, count = _shape(told)
    if count * dtype.itemsize != len(raw):
        raise BadFrame("data that do not fill their shape")
    flat = torch.frombuffer(bytearray(raw), dtype=dtype) if raw else torch.empty(0, dtype=dtype)
    tensor = flat.reshape(shape)
    return tensor.requires_grad_() if told.get("g") is True and dtype.is_floating_point else tensor
