"""A connection that carries frames: 4 bytes of length, then JSON; and file descriptors where asked.

What arrives from a box is counted before it is parsed. What values in a frame mean is `codec`'s.
"""

import json
import socket
import struct
import time
from typing import Any

from w2s_lab.teach.grading.codec import BadFrame

FROM_BOX = 4 << 20  # bytes in a frame; a frame of tiny lists takes about 30 times that in memory
INTO_BOX = 64 << 20  # the judge is trusted: hidden inputs may be large
ELEMENTS = 400_000  # values in a frame from the box
HEAD = struct.Struct("<I")


class Ended(Exception):
    """The other side is gone."""


def pack(message: Any, most: int = INTO_BOX) -> bytes:
    """A message as one frame: its length in 4 bytes, then JSON.

    Raises:
        ValueError: longer than `most` bytes.
    """
    # not as ASCII: two halves of a character, escaped one after the other, would become a whole one
    told = json.dumps(message, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    text = told.encode("utf-8", "surrogatepass")
    if len(text) > most:
        raise ValueError(f"{len(text) >> 10} KB are too much for one message")
    return HEAD.pack(len(text)) + text


def values_in(text: bytes) -> int:
    """How many values JSON holds at most, without parsing it: each but the first has one of these
    before it; those inside of texts count as well.
    """
    return sum(map(text.count, (b"[", b"{", b",", b":")))


def unpack(text: bytes, *, elements: int | None = ELEMENTS) -> Any:
    """The message in a frame; `elements` bounds how many values it may hold.

    Raises:
        BadFrame: too many values, or no JSON.
    """
    if elements is not None and values_in(text) > elements:
        raise BadFrame("too many values")
    try:
        return json.loads(text.decode("utf-8", "surrogatepass"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadFrame("no JSON") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


class Line:
    """One end of a connection that carries frames, and file descriptors where asked.

    Args:
        end: a connected Unix stream socket; the line owns it.
        most: bytes in a frame that arrives.
        elements: values in a frame that arrives; None: any number.
    """

    def __init__(self, end: socket.socket, *, most: int = INTO_BOX, elements: int | None = None):
        self.end, self.most, self.elements = end, most, elements

    def send(
        self, message: Any, *, fds: tuple[int, ...] = (), seconds: float | None = None
    ) -> None:
        """Sends one message.

        Raises:
            Ended: nobody listens.
            TimeoutError: nobody read it in time.
        """
        frame = memoryview(pack(message))
        until = None if seconds is None else time.monotonic() + seconds
        try:
            if fds:  # they travel with the first byte
                sent = socket.send_fds(self.end, [frame[:1]], list(fds))
                frame = frame[sent:]
            while frame:
                self._wait(until)
                frame = frame[self.end.send(frame[: 1 << 16]) :]
        except TimeoutError:
            raise
        except OSError:
            raise Ended from None

    def receive(self, *, seconds: float | None = None) -> Any:
        """The next message; as `receive_fds`, without descriptors."""
        return self.receive_fds(0, seconds=seconds)[0]

    def receive_fds(
        self, most_fds: int = 1, *, seconds: float | None = None
    ) -> tuple[Any, list[int]]:
        """The next message and the file descriptors that came with it.

        Raises:
            Ended: the other side closed, or died in the middle of a frame.
            TimeoutError: no whole frame in time.
            BadFrame: longer than allowed, too many values, no JSON.
        """
        until = None if seconds is None else time.monotonic() + seconds
        try:
            self._wait(until)
            if most_fds:
                first, fds, _, _ = socket.recv_fds(self.end, HEAD.size, most_fds)
            else:  # descriptors that nobody asked for are dropped by the kernel
                first, fds = self.end.recv(HEAD.size), []
            if not first:
                raise Ended
            length = HEAD.unpack(first + self._exactly(HEAD.size - len(first), until))[0]
            if length > self.most:
                raise BadFrame("a frame too long")
            return unpack(self._exactly(length, until), elements=self.elements), fds
        except TimeoutError:
            raise
        except OSError:
            raise Ended from None

    def _exactly(self, count: int, until: float | None) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            self._wait(until)
            part = self.end.recv(min(count - len(parts), 1 << 18))
            if not part:
                raise Ended
            parts += part
        return bytes(parts)

    def _wait(self, until: float | None) -> None:
        if until is None:
            self.end.settimeout(None)
            return
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.end.settimeout(left)

    def close(self) -> None:
        self.end.close()
