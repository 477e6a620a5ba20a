"""Attacks by time: code that never ends, at each place where somebody might wait for it."""

from functools import partial

from redteam.attack import START, attack

sleeping = partial(attack, "sleeping")

ATTACKS = (
    sleeping(
        "sleep-in-cell",
        "Sleeps ten minutes before any answer.",
        extra=[(START, "import time\n\ntime.sleep(600)\n")],
    ),
    sleeping(
        "sleep-in-call",
        "Sleeps in each call, longer than a test may take.",
        honest="double",
        mean="""
        import time


        def mean(values):
            time.sleep(600)
        """,
    ),
    sleeping(
        "sleep-just-below",
        "Sleeps a little in each cell and call, so that only the sum is too long.",
        double="""
        import time

        time.sleep(4)


        def double(x):
            time.sleep(4)
            return x
        """,
        mean="""
        time.sleep(4)


        def mean(values):
            time.sleep(4)
            return 0.0
        """,
        counter="""
        class Counter:
            def __init__(self):
                time.sleep(4)

            add = total = lambda self, *args: time.sleep(4)
        """,
    ),
    sleeping(
        "sleep-uninterruptible",
        "Loops and swallows every exception that would stop it.",
        honest="double",
        mean="""
        import time


        def mean(values):
            end = time.monotonic() + 600
            while time.monotonic() < end:
                try:
                    while time.monotonic() < end:
                        pass
                except BaseException:
                    pass
        """,
    ),
    sleeping(
        "sleep-in-repr",
        "Returns objects that sleep when they are shown or named.",
        double="""
        import time


        class Slow:
            def __repr__(self):
                time.sleep(600)
                return "slow"

            __str__ = __format__ = lambda self, *args: repr(self)

            def __reduce__(self):
                time.sleep(600)


        def double(x):
            return Slow()


        Slow()
        """,
        mean="""
        class SlowError(Exception):
            __str__ = __repr__ = lambda self: repr(Slow())


        def mean(values):
            raise SlowError
        """,
    ),
    sleeping(
        "sleep-in-encoding",
        "Returns containers and arrays that sleep when they are measured, walked or converted.",
        double="""
        import time


        def slow(*args, **kwargs):
            time.sleep(600)


        class Items(list):
            __len__ = __iter__ = __getitem__ = slow


        class Table(dict):
            items = keys = values = __len__ = __iter__ = slow


        class Grid(np.ndarray):
            tolist = tobytes = __array__ = __array_finalize__ = slow
            shape = dtype = property(slow)


        def double(x):
            return Items([x])
        """,
        mean="""
        def mean(values):
            return np.ndarray.__new__(Grid, (3,)) if isinstance(values, list) else Table(a=1)
        """,
        answers="""
        answers = Table(q1="b", q2="b")
        """,
    ),
    sleeping(
        "sleep-in-attributes",
        "Sleeps in `__getattr__`, in properties, descriptors and in the metaclass.",
        honest="double",
        mean="""
        import time


        class Meta(type):
            def __getattribute__(cls, name):
                time.sleep(600)

            __instancecheck__ = lambda cls, other: time.sleep(600)


        class Slow(metaclass=Meta):
            def __getattribute__(self, name):
                time.sleep(600)


        def mean(values):
            return Slow()
        """,
        counter="""
        class Counter:
            def __getattr__(self, name):
                time.sleep(600)

            add = property(lambda self: time.sleep(600))
        """,
    ),
    sleeping(
        "sleep-in-del",
        "Returns objects that sleep when they end, after the reply.",
        honest="double",
        mean="""
        import time


        class Slow:
            def __del__(self):
                time.sleep(600)


        def mean(values):
            return [Slow() for _ in range(3)]
        """,
    ),
    sleeping(
        "sleep-in-exception-class",
        "Raises exceptions whose class takes its time to name its bases.",
        honest="double",
        mean="""
        import time


        class Meta(type):
            __mro__ = property(lambda cls: time.sleep(600))
            __name__ = __qualname__ = property(lambda cls: time.sleep(600))

            def mro(cls):
                return super().mro()


        class Slow(Exception, metaclass=Meta):
            args = property(lambda self: time.sleep(600))
            __traceback__ = property(lambda self: time.sleep(600))
            __notes__ = property(lambda self: time.sleep(600))


        def mean(values):
            raise Slow
        """,
    ),
    sleeping(
        "sleep-endless-iterators",
        "Returns generators, ranges and iterators that go on for very long.",
        double="""
        def double(x):
            return iter(range(2 * 10**8))
        """,
        mean="""
        def mean(values):
            return (number for number in range(2 * 10**8))
        """,
        counter="""
        class Counter:
            add = lambda self, amount: range(2 * 10**8)
            total = lambda self: map(abs, range(2 * 10**8))
        """,
    ),
    sleeping(
        "sleep-deadlock",
        "Waits for a lock, a pipe and a child that will never come.",
        honest="double",
        mean="""
        import os, threading


        def mean(values):
            reader, writer = os.pipe()
            os.read(reader, 1)
            lock = threading.Lock()
            lock.acquire()
            lock.acquire()
        """,
    ),
    sleeping(
        "sleep-clock-changes",
        "Sets the clock and replaces time functions, so that waits seem short.",
        honest="double",
        mean="""
        import time

        sleep = time.sleep
        try:
            time.clock_settime(time.CLOCK_REALTIME, time.time())
        except OSError:
            pass
        time.time = time.monotonic = time.perf_counter = lambda: 0.0


        def mean(values):
            sleep(600)
        """,
    ),
)
