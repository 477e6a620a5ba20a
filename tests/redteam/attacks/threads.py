"""Attacks by what runs beside or after the worker: threads, finalizers, exit functions."""

from functools import partial

from redteam.attack import FRAMES, LAST, attack

threads = partial(attack, "threads")

ATTACKS = (
    threads(
        "thread-answers-first",
        "Has a thread write a reply before the worker does, again and again.",
        honest="double",
        needs=[FRAMES],
        mean="""
        import threading, time


        def answer():
            for _ in range(2000):
                say(73.0)
                time.sleep(0.001)


        threading.Thread(target=answer, daemon=True).start()


        def mean(values):
            time.sleep(0.2)
            return 0.0
        """,
        aims_at_protocol=True,
    ),
    threads(
        "thread-takes-requests",
        "Has a thread read the requests away from the worker and answer them itself.",
        honest="double",
        needs=[FRAMES],
        mean="""
        import threading, time


        def answer():
            for _ in range(600):
                if peek(0.1, take=True):
                    say({"!": "float", "v": "nan"})


        threading.Thread(target=answer, daemon=True).start()


        def mean(values):
            return 0.0
        """,
        aims_at_protocol=True,
    ),
    threads(
        "thread-rewrites-functions",
        "Has a thread exchange the function between two calls of one test.",
        honest="double",
        mean="""
        import threading, time


        def change():
            for _ in range(10_000):
                for wrong in (0.0, 1.0, None, "x"):
                    globals()["mean"] = lambda values, wrong=wrong: wrong
                    time.sleep(0.001)


        threading.Thread(target=change, daemon=True).start()


        def mean(values):
            return 0.0
        """,
    ),
    threads(
        "thread-many",
        "Starts threads until none can be started, each of which sleeps.",
        honest="double",
        mean="""
        import threading, time

        for _ in range(2000):
            try:
                threading.Thread(target=time.sleep, args=(60,)).start()
            except RuntimeError:
                break


        def mean(values):
            return 0.0
        """,
    ),
    threads(
        "thread-holds-the-lock",
        "Holds the interpreter's lock in one long C call, so that no timer of Python's fires.",
        honest="double",
        mean="""
        def mean(values):
            return sum(range(2 * 10**10))
        """,
    ),
    threads(
        "atexit-replies",
        "Registers functions at exit that forge replies, then ends the process.",
        honest="double",
        needs=[FRAMES],
        mean="""
        import atexit, sys, threading

        atexit.register(lambda: [say(73.0) for _ in range(20)])
        threading._register_atexit(lambda: say(73.0))


        def mean(values):
            sys.exit(0)
        """,
        aims_at_protocol=True,
    ),
    threads(
        "del-of-the-result",
        "Returns objects whose end runs code, after the reply is made.",
        honest="double",
        needs=[FRAMES],
        mean="""
        import weakref


        class Last:
            def __del__(self):
                say(73519284)


        class Cycle(list):
            pass


        def mean(values):
            thing = Cycle([Last()])
            thing.append(thing)
            weakref.finalize(thing, say, 73519284)
            return Last()
        """,
        aims_at_protocol=True,
    ),
    threads(
        "signal-handlers",
        "Installs handlers for every signal and an interval timer that fires in the worker.",
        honest="double",
        mean="""
        import signal


        def stop(*args):
            raise AssertionError("a handler of the student's")


        for number in range(1, signal.NSIG):
            try:
                signal.signal(number, stop)
            except (OSError, ValueError):
                pass
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)


        def mean(values):
            return 0.0
        """,
    ),
    threads(
        "thread-raises-in-worker",
        "Has a thread raise exceptions in the worker's main thread, whatever it does.",
        honest="double",
        mean="""
        import ctypes, threading, time

        main = threading.main_thread().ident


        def disturb():
            for _ in range(500):
                for kind in (KeyboardInterrupt, SystemExit, StopIteration, GeneratorExit):
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(main), ctypes.py_object(kind)
                    )
                    time.sleep(0.005)


        threading.Thread(target=disturb, daemon=True).start()


        def mean(values):
            return 0.0
        """,
    ),
    threads(
        "thread-non-daemon-last",
        "Leaves threads that keep the process alive after its work is done.",
        honest="double",
        extra=[
            (
                LAST,
                """
                import threading, time

                for _ in range(5):
                    threading.Thread(target=time.sleep, args=(600,), daemon=False).start()
                """,
            )
        ],
    ),
    threads(
        "thread-prints-later",
        "Prints from a thread during other cells' calls, megabytes of it.",
        honest="double",
        mean="""
        import threading, time


        def talk():
            for _ in range(2000):
                print("score: 8 " * 1000)
                time.sleep(0.002)


        threading.Thread(target=talk, daemon=True).start()


        def mean(values):
            time.sleep(1)
            return 0.0
        """,
    ),
)
