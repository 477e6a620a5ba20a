"""Attacks by ending: exit codes, signals to itself and to its parents, crashes."""

from functools import partial

from redteam.attack import LIBC, START, TELL, attack

exits = partial(attack, "exits")

ATTACKS = (
    exits(
        "exit-zero-in-cell",
        "Ends the process with success before any test.",
        extra=[(START, "import os\n\nos._exit(0)\n")],
        double="""
        def double(x):
            return 0
        """,
    ),
    exits(
        "exit-zero-in-call",
        "Ends the process with success from within a tested function.",
        honest="double",
        mean="""
        import os


        def mean(values):
            os._exit(0)
        """,
    ),
    exits(
        "exit-by-exceptions",
        "Raises the exceptions that stop loops and programs rather than tests.",
        double="""
        def double(x):
            raise SystemExit(0)
        """,
        mean="""
        def mean(values):
            raise KeyboardInterrupt
        """,
        counter="""
        class Counter:
            def add(self, amount):
                raise GeneratorExit

            def total(self):
                raise StopIteration(70)
        """,
    ),
    exits(
        "exit-by-quit",
        "Calls exit and quit as IPython and site define them.",
        honest="double",
        mean="""
        def mean(values):
            get_ipython().ask_exit()
            exit()
            quit()
        """,
    ),
    exits(
        "exit-sigkill-self",
        "Kills itself in the middle of a call.",
        honest="double",
        mean="""
        import os, signal


        def mean(values):
            os.kill(os.getpid(), signal.SIGKILL)
            os.abort()
        """,
    ),
    exits(
        "exit-sigstop-self",
        "Stops itself, so that it neither answers nor ends.",
        honest="double",
        mean="""
        import os, signal


        def mean(values):
            os.kill(os.getpid(), signal.SIGSTOP)
            signal.pause()
        """,
    ),
    exits(
        "exit-sigstop-parent",
        "Stops its parent and asks it to end, then all that it may signal.",
        honest="double",
        needs=[TELL],
        mean="""
        import os, signal

        parent = os.getppid()
        if parent > 0:
            attempt("a signal to the parent", lambda: os.kill(parent, 0) is None)
            attempt("stopping the parent", lambda: os.kill(parent, signal.SIGSTOP) is None)
        attempt("a signal to all", lambda: os.kill(-1, 0) is None)
        for entry in os.listdir("/proc"):
            pid = int(entry) if entry.isdigit() else parent
            if pid not in (os.getpid(), parent):
                attempt(f"a signal to {pid}", lambda: os.kill(pid, signal.SIGWINCH) is None)
        finish()
        """,
    ),
    exits(
        "exit-segfault",
        "Crashes the interpreter by reading address 0, as often as it is called.",
        honest="double",
        mean="""
        import ctypes


        def mean(values):
            ctypes.string_at(0)
        """,
    ),
    exits(
        "exit-stack-overflow",
        "Overflows the C stack, which no exception catches.",
        honest="double",
        mean="""
        import sys

        sys.setrecursionlimit(10**6)


        class Deep:
            def __getattr__(self, name):
                return repr(getattr(self, name + "x"))

            __repr__ = __str__ = lambda self: f"{self!r}{self!s}"


        def mean(values):
            return str(Deep())
        """,
    ),
    exits(
        "exit-death-signal",
        "Clears the signal that would end it with its parent, then sleeps on.",
        honest="double",
        needs=[LIBC],
        mean="""
        import signal, time

        libc.prctl(1, 0, 0, 0, 0)
        libc.prctl(36, 1, 0, 0, 0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)


        def mean(values):
            time.sleep(600)
        """,
    ),
    exits(
        "exit-by-own-limits",
        "Sets limits on itself that end it at the next step.",
        honest="double",
        mean="""
        import resource


        def mean(values):
            resource.setrlimit(resource.RLIMIT_CPU, (0, 0))
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
            for _ in range(2000):
                list(range(10**6))
        """,
    ),
    exits(
        "exit-raise-limits",
        "Raises the limits set on it, and its priority.",
        honest="double",
        needs=[TELL],
        mean="""
        import os, resource

        for name in ("CPU", "DATA", "FSIZE", "NOFILE", "NPROC", "CORE", "MEMLOCK", "STACK"):
            number = getattr(resource, "RLIMIT_" + name)
            soft, hard = resource.getrlimit(number)
            if hard != resource.RLIM_INFINITY:
                attempt(
                    f"a higher limit of {name}",
                    lambda: resource.setrlimit(number, (hard + 1, hard + 1)) is None,
                )
        attempt("a better priority", lambda: os.nice(-5), lambda now: now < 0)
        finish()
        """,
    ),
)
