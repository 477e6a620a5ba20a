"""Attacks that replace what a test leans on: libraries, builtins, the package, our own worker."""

from functools import partial

from redteam.attack import START, attack

patching = partial(attack, "patching")

ATTACKS = (
    patching(
        "patch-builtins",
        "Replaces the builtins that a test would call.",
        honest="double",
        mean="""
        import builtins

        builtins.isinstance = lambda *args: True
        builtins.abs = lambda value: 0
        builtins.len = lambda value: 0
        builtins.sorted = lambda *args, **kwargs: []
        builtins.all = builtins.any = lambda values: True
        builtins.print = lambda *args, **kwargs: None


        def mean(values):
            return 0.0
        """,
    ),
    patching(
        "patch-numpy-comparisons",
        "Makes every comparison of numpy's hold.",
        honest="double",
        mean="""
        import numpy, numpy.testing

        for name in ("allclose", "array_equal", "isclose", "array_equiv"):
            setattr(numpy, name, lambda *args, **kwargs: True)
        for name in [name for name in dir(numpy.testing) if name.startswith("assert")]:
            setattr(numpy.testing, name, lambda *args, **kwargs: None)


        def mean(values):
            return 0.0
        """,
    ),
    patching(
        "patch-numpy-generator",
        "Makes random numbers predictable, so that drawn inputs are known.",
        double="""
        class Constant:
            def integers(self, *args, **kwargs):
                return np.zeros(5, int)

            def __getattr__(self, name):
                return self.integers


        np.random.default_rng = lambda *args: Constant()
        np.random.seed(0)


        def double(x):
            return 0 * x if isinstance(x, np.ndarray) else 0
        """,
    ),
    patching(
        "patch-assertion-error",
        "Swaps AssertionError for an exception that nobody counts, and for a class that lies.",
        honest="double",
        mean="""
        import builtins


        class Harmless(Warning):
            def __init_subclass__(cls):
                raise RuntimeError


        builtins.AssertionError = Harmless
        builtins.Exception = builtins.BaseException = Harmless


        def mean(values):
            raise Harmless("passed")
        """,
    ),
    patching(
        "patch-marks-class",
        "Rewrites the package's marks so that each case holds and each total is full.",
        honest="double",
        mean="""
        from w2s_lab import exercise

        exercise.Marks.near = exercise.Marks.same = lambda *args, **kwargs: None
        exercise.Marks.holds = exercise.Marks.refuses = lambda *args, **kwargs: None
        exercise.Marks.total = lambda self: 2.0
        exercise.Unmet = KeyboardInterrupt
        exercise._close = lambda *args: True


        def mean(values):
            return 0.0
        """,
    ),
    patching(
        "patch-json-and-struct",
        "Replaces the libraries that write and read frames.",
        honest="double",
        mean="""
        import json, struct

        real = json.dumps
        forged = '{"ok": true, "value": 2, "printed": ""}'
        json.dumps = lambda *args, **kwargs: forged
        json.JSONEncoder.encode = lambda self, value: forged
        json.JSONEncoder.iterencode = lambda self, value, *args: iter([forged])
        struct.pack = lambda *args: len(forged).to_bytes(4, "little")


        def mean(values):
            return 2.0
        """,
        aims_at_protocol=True,
    ),
    patching(
        "patch-os-write",
        "Replaces the calls that write and read the socket, and answers with a frame of its own.",
        honest="double",
        mean=r"""
        import os, socket

        write = os.write
        body = b'{"ok": true, "value": 1e999, "printed": "8 of 8"}'


        def other(fd, data):
            if fd > 2:
                write(fd, len(body).to_bytes(4, "little") + body)
                return len(data)
            return write(fd, data)


        os.write = other
        os.read = lambda fd, size: b"\x02\x00\x00\x00{}"[:size]


        def mean(values):
            return 2.0
        """,
        aims_at_protocol=True,
    ),
    patching(
        "patch-worker-codec",
        "Replaces every function of the worker's and the codec's modules by one of its own.",
        honest="double",
        mean="""
        import sys

        forged = {"ok": True, "value": 73.0, "printed": "", "error": [], "text": ""}
        for name, module in list(sys.modules.items()):
            if name.rsplit(".", 1)[-1] in ("worker", "codec", "zygote") or (
                name == "__main__" and getattr(module, "__file__", None)
            ):
                for key, value in list(vars(module).items()):
                    if callable(value) and not isinstance(value, type):
                        setattr(module, key, lambda *args, **kwargs: forged)


        def mean(values):
            return True
        """,
        aims_at_protocol=True,
    ),
    patching(
        "patch-encoder-by-import",
        "Imports the codec by its name, lifts its limits, then returns far too much.",
        honest="double",
        mean="""
        import importlib

        for name in ("codec", "worker", "box", "judge"):
            try:
                module = importlib.import_module(f"w2s_lab.teach.grading.{name}")
            except Exception:
                continue
            for key, value in list(vars(module).items()):
                if isinstance(value, int) and key.isupper():
                    setattr(module, key, 1 << 40)


        def mean(values):
            return [[0] * 1000 for _ in range(3000)]
        """,
        aims_at_protocol=True,
    ),
    patching(
        "patch-import-system",
        "Puts a finder and an import hook in front that hand out doctored modules.",
        honest="double",
        mean="""
        import builtins, sys, types

        doctored = types.ModuleType("doctored")
        doctored.__getattr__ = lambda name: lambda *args, **kwargs: True


        class Finder:
            def find_spec(self, name, path=None, target=None):
                sys.modules[name] = doctored
                return None


        sys.meta_path.insert(0, Finder())
        builtins.__import__ = lambda *args, **kwargs: doctored
        sys.modules["numpy.testing"] = sys.modules["json"] = doctored


        def mean(values):
            return 1.0
        """,
    ),
    patching(
        "patch-codecs-and-str",
        "Registers codecs and error handlers that change text on its way out.",
        honest="double",
        mean="""
        import codecs

        codecs.register_error("strict", lambda error: ("8 of 8", error.end))
        codecs.register_error("replace", lambda error: ("8 of 8", error.end))
        codecs.register_error("surrogateescape", lambda error: ("8 of 8", error.end))
        codecs.encode = codecs.decode = lambda *args: "8 of 8"


        def mean(values):
            raise ValueError("\\ud800 \\udfff lone surrogates")
        """,
    ),
    patching(
        "patch-ndarray-module",
        "Replaces numpy in the modules' table and as a global by a stand-in that agrees.",
        double="""
        import sys, types


        class Agreeing(types.ModuleType):
            def __getattr__(self, name):
                return lambda *args, **kwargs: True


        sys.modules["numpy"] = np = Agreeing("numpy")


        def double(x):
            return np.anything(x)
        """,
    ),
    patching(
        "patch-given-cells",
        "Runs code of its own before the given cells, so that those import a doctored numpy.",
        extra=[
            (
                0,
                """
                import sys, types

                doctored = types.ModuleType("numpy")
                doctored.array_equal = lambda *args: True
                doctored.__getattr__ = lambda name: doctored
                sys.modules["numpy"] = doctored
                """,
            ),
            (START, "np = __import__('numpy')\n"),
        ],
        double="""
        def double(x):
            return np
        """,
        may_lose=True,
    ),
    patching(
        "patch-c-memory-of-ints",
        "Overwrites the cached small integer 0 in memory so that 0 equals 1 from then on.",
        honest="double",
        mean="""
        import ctypes, sys

        place = id(0) + sys.getsizeof(0) - 4
        ctypes.c_uint32.from_address(place).value = 1


        def mean(values):
            return 0.0
        """,
    ),
)
