"""Attacks that learn hidden inputs, which any tested function sees, and carry them out.

Hidden inputs cannot be kept from the code that is tested. They may reach nobody else: no feedback,
no later cell's message, no second submission.
"""

from functools import partial

from redteam.attack import FRAMES, attack

secrets = partial(attack, "protocol", aims_at_protocol=True)

# A right `double` that remembers what it was called with
LOGGED = """
seen = []


def double(x):
    seen.append(x)
    return x + x
"""

ATTACKS = (
    secrets(
        "secret-by-exception-text",
        "Raises an exception whose text is the hidden input.",
        double="""
        def double(x):
            raise ValueError(f"called with {x!r}")
        """,
        mean="""
        def mean(values):
            raise AssertionError(f"expected the mean of {list(values)!r}")
        """,
    ),
    secrets(
        "secret-by-disguised-text",
        "Raises exceptions whose texts are the hidden input backwards, in base64, in hexadecimal.",
        double="""
        import base64

        calls = []


        def double(x):
            calls.append(0)
            text = str(x)
            forms = [text[::-1], base64.b64encode(text.encode()).decode(), text.encode().hex()]
            raise ValueError(forms[len(calls) % 3] + " " + " ".join(text))
        """,
        mean="""
        def mean(values):
            raise KeyError(" ".join(f"{int(value):x}" for value in values))
        """,
    ),
    secrets(
        "secret-by-exception-name",
        "Raises an exception whose class is named after the hidden input.",
        double="""
        def double(x):
            raise type(f"Input_{x}", (Exception,), {})()
        """,
        mean="""
        def mean(values):
            raise type("Mean", (type(f"Of_{int(values[0])}", (ValueError,), {}),), {})()
        """,
    ),
    secrets(
        "secret-by-missing-name",
        "Fails by a name, a key, an attribute or a module that is called like the hidden input.",
        double="""
        def double(x):
            return eval(f"hidden_{abs(int(x))}")
        """,
        mean="""
        def mean(values):
            if isinstance(values, list):
                return {}[values[0]]
            return __import__(f"hidden_{int(values[0])}")
        """,
        counter="""
        class Counter:
            def add(self, amount):
                return getattr(self, f"hidden_{amount}")
        """,
    ),
    secrets(
        "secret-by-printing",
        "Prints hidden inputs, displays them, warns of them and logs them.",
        double="""
        import logging, sys, warnings
        from IPython.display import display


        def double(x):
            print(x)
            print(x, file=sys.stderr)
            display(x)
            warnings.warn(str(x))
            logging.error(str(x))
            return None
        """,
    ),
    secrets(
        "secret-by-return-value",
        "Returns the hidden input itself, in a text, so that a message about the result shows it.",
        double="""
        def double(x):
            return f"the hidden input is {x}"
        """,
        mean="""
        def mean(values):
            return {"expected": list(values)}
        """,
        counter="""
        class Counter:
            def __init__(self):
                self.seen = []

            def add(self, amount):
                self.seen.append(amount)

            def total(self):
                return repr(self.seen)
        """,
    ),
    secrets(
        "secret-by-later-cell",
        "Remembers hidden inputs and stops a later cell with them.",
        honest="double",
        double=LOGGED,
        mean="""
        raise ValueError(f"the hidden inputs were {seen}")
        """,
    ),
    secrets(
        "secret-by-later-name",
        "Remembers hidden inputs and names a class, a variable and an error after them later on.",
        honest="double",
        double=LOGGED,
        mean="""
        words = "_".join(str(abs(int(one))) for one in seen if np.ndim(one) == 0)
        raise type(f"Seen_{words}", (Exception,), {})
        """,
        counter="""
        raise NameError(f"name 'x_{words}' is not defined", name=f"x_{words}")
        """,
    ),
    secrets(
        "secret-by-later-value",
        "Remembers hidden inputs and puts them where a later visible check shows a value.",
        honest="double",
        double=LOGGED,
        answers="""
        answers = {"q1": f"hidden: {seen}", "q2": str(seen)[::-1]}
        """,
    ),
    secrets(
        "secret-by-later-print",
        "Remembers hidden inputs and prints them in a later cell that does not fail.",
        honest="double",
        double=LOGGED,
        mean="""
        print("hidden inputs:", seen)
        display(seen)
        seen
        """,
    ),
    secrets(
        "secret-of-the-next-request",
        "Reads the requests that wait in the line, to see the next input before it is asked.",
        honest="double",
        needs=[FRAMES],
        mean="""
        import threading, time

        peeked = []


        def look():
            for _ in range(3000):
                data = peek(0.01)
                if data:
                    peeked.append(data)
                time.sleep(0.001)


        threading.Thread(target=look, daemon=True).start()


        def mean(values):
            raise ValueError(b"".join(peeked)[-3000:].decode("utf-8", "replace"))
        """,
        counter="""
        raise ValueError(b"".join(peeked)[-3000:].decode("utf-8", "replace"))
        """,
    ),
    secrets(
        "secret-of-the-requests-buffer",
        "Finds the request that is being answered among its callers' variables and shows it.",
        needs=[FRAMES],
        double="""
        import sys


        def double(x):
            frame, text = sys._getframe(1), ""
            while frame:
                text += repr({k: v for k, v in frame.f_locals.items() if k[0] != "_"})[:2000]
                frame = frame.f_back
            send(globals()["frame"]({"ok": False, "error": ["ValueError"], "text": text}))
            raise ValueError(text)
        """,
    ),
    secrets(
        "secret-by-forged-printed",
        "Forges replies whose `printed`, `text` and `error` hold the hidden input.",
        needs=[FRAMES],
        double="""
        def double(x):
            told = f"hidden: {x}"
            send(frame({"ok": False, "error": [told, "KeyError"], "text": told, "printed": told}))
            return 0
        """,
        mean="""
        def mean(values):
            say(f"hidden: {list(values)}", f"hidden: {list(values)}")
        """,
    ),
    secrets(
        "secret-by-time",
        "Tells digits of the hidden input by how long it takes, and by how it dies.",
        double="""
        import os, time


        def double(x):
            time.sleep(int(str(abs(int(np.max(x))))[-1]) / 4)
            os._exit(int(str(abs(int(np.max(x))))[-2:]))
        """,
    ),
    secrets(
        "secret-by-points",
        "Is right only for small numbers, to learn from the points how large hidden inputs are.",
        also=1,  # `double-check` asks for small ones
        double="""
        def double(x):
            return 2 * x if np.all(np.abs(x) < 1000) else None
        """,
    ),
)
