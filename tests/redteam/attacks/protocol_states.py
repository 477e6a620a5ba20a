"""Attacks by what lasts: secrets kept for another submission, answers that change with time."""

from functools import partial

from redteam.attack import FRAMES, START, TELL, attack
from redteam.attacks.protocol_secrets import LOGGED

lasting = partial(attack, "protocol", aims_at_protocol=True)

ATTACKS = (
    lasting(
        "secret-by-file",
        "Writes hidden inputs into files, for another submission to read.",
        honest="double",
        needs=[TELL],
        extra=[
            (
                START,
                """
                import os, pathlib

                PLACES = ["/tmp", "/dev/shm", "/var/tmp", os.path.expanduser("~"), "."]
                PLACES = [pathlib.Path(place, "w2s-redteam-secret") for place in PLACES]
                for place in PLACES:
                    attempt(f"hidden inputs of another in {place}", lambda: place.read_text())
                finish()
                """,
            )
        ],
        double="""
        def double(x):
            for place in PLACES:
                try:
                    place.write_text(str(x))
                except OSError:
                    pass
            return x + x
        """,
    ),
    lasting(
        "secret-in-the-zygote",
        "Stores hidden inputs in modules and builtins, in case the process is used again.",
        honest="double",
        needs=[TELL],
        extra=[
            (
                START,
                """
                import builtins, os, sys

                if hasattr(builtins, "w2s_redteam") or "W2S_REDTEAM" in os.environ:
                    tell("hidden inputs of another submission")
                if hasattr(sys.modules.get("numpy"), "w2s_redteam"):
                    tell("hidden inputs of another submission, in numpy")
                finish()
                """,
            )
        ],
        double="""
        def double(x):
            builtins.w2s_redteam = np.w2s_redteam = x
            os.environ["W2S_REDTEAM"] = str(x)
            return x + x
        """,
    ),
    lasting(
        "secret-by-left-process",
        "Leaves a process that knows hidden inputs and offers them under an abstract name.",
        honest="double",
        needs=[TELL],
        extra=[
            (
                START,
                """
                import os, socket, time

                NAME = chr(0) + "w2s-redteam-secret"


                def ask():
                    with socket.socket(socket.AF_UNIX) as line:
                        line.settimeout(1)
                        line.connect(NAME)
                        return line.recv(1000)


                attempt("hidden inputs of another submission", ask)
                finish()
                """,
            )
        ],
        double=LOGGED,
        mean="""
        if os.fork() == 0:
            os.setsid()
            try:
                with socket.socket(socket.AF_UNIX) as line:
                    line.settimeout(600)
                    line.bind(NAME)
                    line.listen()
                    end = time.monotonic() + 600
                    while time.monotonic() < end:
                        line.accept()[0].sendall(repr(seen).encode())
            finally:
                os._exit(0)
        """,
    ),
    lasting(
        "state-second-call",
        "Is right at the first call and wrong at the second, or the other way round.",
        double="""
        calls = []


        def double(x):
            calls.append(x)
            return 2 * x if len(calls) % 2 else calls[0]
        """,
    ),
    lasting(
        "state-visible-then-hidden",
        "Is right for what the visible check asks, and repeats it for the hidden one.",
        also=1,  # `double-check`
        double="""
        known = {3: 6, -1.5: -3.0}


        def double(x):
            return known.get(x, 6) if np.ndim(x) == 0 else np.full(np.shape(x), 6)
        """,
    ),
    lasting(
        "state-proxy-becomes-value",
        "Replaces its functions by other things after they have been fetched.",
        honest="double",
        mean="""
        def mean(values):
            globals()["mean"] = 73519284.0
            get_ipython().user_ns["mean"] = 73519284.0
            return globals()["mean"]
        """,
        counter="""
        class Counter:
            def __init__(self):
                globals()["Counter"] = object.__new__(type(self))

            def add(self, amount):
                Counter.total = lambda self: amount
                self.__class__ = type("Other", (Counter,), {})
        """,
    ),
    lasting(
        "state-own-loop",
        "Never returns from a call but serves the line itself, as a worker of its own.",
        honest="double",
        needs=[FRAMES],
        mean="""
        import time


        def mean(values):
            say(0.0)
            end = time.monotonic() + 600
            while time.monotonic() < end:
                asked = peek(1, take=True)
                if b'"get"' in asked:
                    say({"!": "dict", "v": [["mean", 1], ["answers", {"q1": "b"}]]})
                elif asked:
                    say({"!": "int", "v": "0x" + asked[:200].hex()})
        """,
    ),
    lasting(
        "state-dies-and-tells",
        "Files hidden inputs, dies, and shows them from a fresh process that saw no hidden test.",
        honest="double",
        extra=[
            (
                START,
                """
                import os, pathlib

                PLACES = ["/tmp", "/dev/shm", "/var/tmp", os.path.expanduser("~"), "."]
                PLACES = [pathlib.Path(place, "w2s-redteam-restart") for place in PLACES]
                seen = []
                """,
            )
        ],
        double=LOGGED,
        mean="""
        if seen:
            for place in PLACES:
                try:
                    place.write_text(repr(seen))
                except OSError:
                    pass
            os._exit(0)
        """,
        answers="""
        told = [place.read_text() for place in PLACES if place.exists()]
        answers = {"q1": f"hidden: {told}", "q2": f"hidden: {told}"}
        """,
        counter="""
        raise ValueError(f"hidden: {told}")
        """,
    ),
    lasting(
        "state-child-tells-successor",
        "Leaves a child with the hidden inputs, dies, and asks the child from a fresh process.",
        honest="double",
        extra=[(START, "import os, socket, time\n\nNAME = chr(0) + 'w2s-redteam-restart'\n")],
        double=LOGGED,
        mean="""
        if seen:
            if os.fork() == 0:
                os.setsid()
                with socket.socket(socket.AF_UNIX) as line:
                    line.settimeout(60)
                    try:
                        line.bind(NAME)
                        line.listen()
                        for _ in range(10):
                            line.accept()[0].sendall(repr(seen).encode())
                    finally:
                        os._exit(0)
            time.sleep(0.5)
            os._exit(0)
        """,
        answers="""
        told = ""
        try:
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(2)
                line.connect(NAME)
                told = line.recv(5000).decode()
        except OSError:
            pass
        answers = {"q1": f"hidden: {told}", "q2": f"hidden: {told}"}
        """,
        counter="""
        raise ValueError(f"hidden: {told}")
        """,
    ),
    lasting(
        "state-second-way-through",
        "Files hidden inputs, for a second way through the notebook in which all texts are shown.",
        honest="double",
        extra=[
            (
                START,
                """
                import os, pathlib

                PLACES = ["/tmp", "/dev/shm", "/var/tmp", os.path.expanduser("~"), "."]
                PLACES = [pathlib.Path(place, "w2s-redteam-again") for place in PLACES]
                told = [place.read_text() for place in PLACES if place.exists()]
                """,
            )
        ],
        double="""
        def double(x):
            if told:
                raise ValueError(f"hidden: {told}")
            for place in PLACES:
                try:
                    with open(place, "a") as file:
                        print(x, file=file)
                except OSError:
                    pass
            return x + x
        """,
        mean="""
        raise ValueError(f"hidden: {told}")
        """,
    ),
    lasting(
        "state-replay-differs",
        "Dies in each call of a hidden test, so that its cells run again with less time left.",
        honest="double",
        mean="""
        import os, time

        time.sleep(1)


        def mean(values):
            os._exit(0)
        """,
        answers="""
        time.sleep(1)
        os._exit(0)
        """,
        counter="""
        class Counter:
            def __init__(self):
                os._exit(0)
        """,
    ),
)
