"""Attacks on the line between box and judge: frames that are none, too many, too large, too odd."""

from functools import partial
from textwrap import dedent

from redteam.attack import FRAMES, attack

protocol = partial(attack, "protocol", aims_at_protocol=True)


def sent(name: str, about: str, source: str):
    """An honest `double`, then `mean`, which sends something in its cell and in each call.

    Args:
        source: defines `attack()`.
    """
    after = """

    def mean(values):
        attack()
        return 0.0


    attack()
    """
    text = dedent(source).lstrip("\n") + dedent(after)
    return protocol(name, about, honest="double", needs=[FRAMES], mean=text)


ATTACKS = (
    sent(
        "frame-forged-reply",
        "Writes a reply of its own before the worker does.",
        """
        def attack():
            say(73.0, "mean-hidden: 2 of 2")
        """,
    ),
    sent(
        "frame-replies-ahead",
        "Writes a hundred replies ahead, for requests that are still to come.",
        """
        def attack():
            for _ in range(50):
                say(True)
                say({"!": "dict", "v": [["q1", "b"], ["q2", "b"]]})
        """,
    ),
    sent(
        "frame-two-in-one-write",
        "Writes two replies at once, so that the second waits in a buffer for the next request.",
        """
        def attack():
            one = frame({"ok": True, "value": 0.0, "printed": ""})
            two = frame({"ok": True, "value": 1, "printed": "", "score": 8})
            send(one + two)
        """,
    ),
    sent(
        "frame-half",
        "Writes a length and half of what it announces, then nothing more.",
        """
        import time


        def attack():
            send(struct.pack("<I", 1000) + b'{"ok": true, "value": [')
            time.sleep(600)
        """,
    ),
    sent(
        "frame-drop-by-drop",
        "Writes one byte a second, so that no read ever waits too long.",
        """
        import time


        def attack():
            whole = struct.pack("<I", 600) + b" " * 599 + b"1"
            for byte in whole:
                send(bytes([byte]))
                time.sleep(1)
        """,
    ),
    sent(
        "frame-no-length",
        "Writes frames of length 0, and a length of three bytes.",
        r"""
        def attack():
            send(b"\x00\x00\x00\x00" * 1000)
            send(b"\x00\x00\x00")
        """,
    ),
    sent(
        "frame-largest-length",
        "Announces 4 GB, by 2^32 - 1 and by numbers that are negative where signs are read.",
        r"""
        def attack():
            send(b"\xff\xff\xff\xff" + b"[" * 100_000)
            send(b"\x00\x00\x00\x80" + b"[" * 100_000)
            send(struct.pack(">I", 20) + b"{}")
        """,
    ),
    sent(
        "frame-just-allowed",
        "Fills the largest frames with brackets, lists, names and text.",
        """
        SIZE = (4 << 20) - 64


        def attack():
            for body in (
                b"[" * SIZE,
                b"[" + b"[]," * (SIZE // 3 - 1) + b"[]]",
                b'{"ok":true,"value":[' + b"0," * (SIZE // 2 - 20) + b"0]}",
                b'{"ok":true,"value":"' + b"x" * (SIZE - 40) + b'"}',
                b'{"a":' * (SIZE // 5),
            ):
                send(frame(body))
        """,
    ),
    sent(
        "frame-deep",
        "Nests a value as deep as 10 to 100,000, below and above each limit.",
        """
        def attack():
            for depth in (10, 35, 63, 99, 500, 990, 5000, 100_000):
                body = b"[" * depth + b"]" * depth
                send(frame(b'{"ok": true, "printed": "", "value": ' + body + b"}"))
        """,
    ),
    sent(
        "frame-no-json",
        "Writes what is not JSON: other encodings, comments, NaN, Python, pickles, nothing.",
        r"""
        def attack():
            import pickle

            for body in (
                b"",
                b"\xff\xfe\x00\x01",
                b'{"ok": true, "value": "\xed\xa0\x80\xc3"}',
                '{"ok": true}'.encode("utf-16"),
                b'\xef\xbb\xbf{"ok": true, "value": 1, "printed": ""}',
                b'{"ok": true, "value": NaN, "printed": ""}',
                b'{"ok": true, "value": -Infinity, "printed": ""}',
                b"{'ok': True}",
                b'{"ok": true, "value": 1} {"ok": true}',
                b'{"ok": true, /* */ "value": 1}',
                b"\x00" * 100,
                pickle.dumps({"ok": True}),
            ):
                send(frame(body))
        """,
    ),
    sent(
        "frame-duplicate-keys",
        "Gives keys twice, so that two readers see two replies.",
        """
        def attack():
            send(frame(b'{"ok": false, "ok": true, "value": 0, "value": 73.0, "printed": "", '
                       b'"error": ["AssertionError"], "error": [], "printed": "8"}'))
            send(frame(b'{"ok": true, "value": {"!": "int", "!": "tuple", "v": "7", "v": []}}'))
        """,
    ),
    sent(
        "frame-giant-numbers",
        "Writes numbers of millions of digits and exponents without end.",
        """
        def attack():
            for text in ("1e999999", "-1e999999", "1" * 2_000_000, "0." + "1" * 2_000_000,
                         "1e-999999999", "-0", "9007199254740993", "1E400"):
                send(frame(b'{"ok": true, "printed": "", "value": ' + text.encode() + b"}"))
        """,
    ),
    sent(
        "frame-no-object",
        "Replies by what is no object: lists, texts, numbers, null, objects without `ok`.",
        """
        def attack():
            for value in ([], [True, 73.0], "ok", 1, True, None, {}, {"value": 73.0}, {"ok": None}):
                send(frame(value))
        """,
    ),
    sent(
        "frame-ok-lookalikes",
        "Says `ok` in every way but true.",
        """
        def attack():
            for ok in (1, 1.0, "true", "ok", [True], {"!": "int", "v": "0x1"}, -1, 2**64):
                send(frame({"ok": ok, "value": 73.0, "printed": "", "error": [], "text": ""}))
        """,
    ),
    sent(
        "frame-fields-of-other-kinds",
        "Gives each field of a reply a kind that it does not have.",
        """
        def attack():
            for odd in (None, 7, [], [["x"]], {"!": "remote", "n": 1}, "x" * 100_000, 1e308):
                send(frame({"ok": True, "value": odd, "printed": odd}))
                send(frame({"ok": False, "error": odd, "text": odd, "printed": odd}))
                send(frame({"ok": True, "printed": "", "value": 1, "args": odd, "score": odd}))
        """,
    ),
    sent(
        "frame-flood",
        "Writes 50,000 replies as fast as they are taken.",
        """
        def attack():
            for _ in range(50):
                send(frame({"ok": True, "value": 0.0, "printed": ""}) * 1000)
        """,
    ),
    sent(
        "frame-closed-line",
        "Closes the line, or one half of it, and goes on as if nothing were.",
        """
        def attack():
            for fd in sockets():
                line = socket.socket(fileno=fd)
                line.shutdown(socket.SHUT_WR)
                line.close()
        """,
    ),
    sent(
        "frame-other-line",
        "Puts a pair of sockets of its own in the place of the line.",
        """
        kept = []


        def attack():
            for fd in sockets():
                one, two = socket.socketpair()
                kept.extend((one, two))
                two.sendall(frame({"op": "get", "names": ["mean"]}))
                os.dup2(one.fileno(), fd)
        """,
    ),
    sent(
        "frame-null-line",
        "Puts files, pipes and nothing in the place of every descriptor.",
        """
        def attack():
            null = os.open("/dev/zero", os.O_RDWR)
            for fd in range(0, 64):
                if fd != null:
                    try:
                        os.dup2(null, fd)
                    except OSError:
                        pass
        """,
    ),
    sent(
        "frame-descriptors-along",
        "Sends descriptors and credentials along with a reply, hundreds of them.",
        """
        def attack():
            body = frame({"ok": True, "value": 0.0, "printed": ""})
            kept = [os.open("/dev/null", os.O_RDONLY) for _ in range(100)]
            for fd in sockets():
                with socket.socket(fileno=os.dup(fd)) as line:
                    line.settimeout(2)
                    for _ in range(20):
                        try:
                            socket.send_fds(line, [body], kept)
                        except OSError:
                            pass
            for fd in kept:
                os.close(fd)
        """,
    ),
    sent(
        "frame-line-options",
        "Changes the line itself: buffers, blocking, signals at its end, bytes out of band.",
        """
        import fcntl


        def attack():
            for fd in sockets():
                fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)
                fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
                with socket.socket(fileno=os.dup(fd)) as line:
                    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF, socket.SO_RCVLOWAT):
                        line.setsockopt(socket.SOL_SOCKET, option, 1)
                    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
                    try:
                        line.send(b"!", socket.MSG_OOB | socket.MSG_DONTWAIT)
                    except OSError:
                        pass
        """,
    ),
)
