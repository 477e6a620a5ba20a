"""Attacks by quantity: disk, output, descriptors, depth, digits, time of a library."""

from functools import partial

from redteam.attack import LAST, attack

floods = partial(attack, "floods")

ATTACKS = (
    floods(
        "flood-disk",
        "Writes 2 GB into each folder where it may write.",
        honest="double",
        mean="""
        import os

        for folder in ("/tmp", os.path.expanduser("~"), "/dev/shm", "/var/tmp"):
            try:
                with open(os.path.join(folder, "w2s-redteam-flood"), "wb") as file:
                    for _ in range(500):
                        file.write(bytes(1 << 20))
            except OSError:
                pass
        """,
    ),
    floods(
        "flood-sparse-files",
        "Makes files of 8 TB that hold nothing, and one that is read back.",
        honest="double",
        mean="""
        import os

        for folder in ("/tmp", os.path.expanduser("~"), "/dev/shm"):
            path = os.path.join(folder, "w2s-redteam-sparse")
            try:
                with open(path, "wb") as file:
                    file.truncate(8 << 40)
            except OSError:
                pass


        def mean(values):
            return open("/tmp/w2s-redteam-sparse", "rb").read(2 << 30)
        """,
    ),
    floods(
        "flood-inodes",
        "Makes 200,000 empty files, folders and links.",
        honest="double",
        mean="""
        import os

        for folder in ("/tmp", os.path.expanduser("~")):
            try:
                place = os.path.join(folder, "w2s-redteam-inodes")
                os.mkdir(place)
                for number in range(50_000):
                    open(f"{place}/{number}", "w").close()
                    os.link(f"{place}/{number}", f"{place}/{number}-link")
            except OSError:
                pass
        """,
    ),
    floods(
        "flood-deep-folders",
        "Nests 5,000 folders, which some programs cannot remove.",
        honest="double",
        extra=[
            (
                LAST,
                """
                import os

                os.chdir("/tmp")
                try:
                    for _ in range(5000):
                        os.mkdir("w2s-redteam-" + "d" * 200)
                        os.chdir("w2s-redteam-" + "d" * 200)
                except OSError:
                    pass
                """,
            )
        ],
    ),
    floods(
        "flood-descriptors",
        "Opens descriptors until none is left, for the worker neither.",
        honest="double",
        mean="""
        import os

        kept = []
        try:
            for _ in range(100_000):
                kept.extend(os.pipe())
        except OSError:
            pass


        def mean(values):
            return 0.0
        """,
    ),
    floods(
        "flood-output",
        "Prints 1 GB, by print, to the descriptors and from a child.",
        honest="double",
        mean="""
        import os, subprocess, sys

        for _ in range(512):
            print("x" * (1 << 20))
        for _ in range(256):
            for fd in (1, 2):
                try:
                    os.write(fd, b"y" * (1 << 20))
                except OSError:
                    pass
        try:
            subprocess.run(["sh", "-c", "yes | head -c 268435456"], timeout=20)
        except Exception:
            pass


        def mean(values):
            print("z" * (64 << 20), file=sys.stderr)
            return 0.0
        """,
    ),
    floods(
        "flood-exception-text",
        "Raises an exception whose text has 200 MB, in a cell and in a call.",
        honest="double",
        mean="""
        def mean(values):
            raise ValueError("x" * (200 << 20))
        """,
        counter="""
        raise type("E" * 1_000_000, (Exception,), {})("y" * (200 << 20))
        """,
    ),
    floods(
        "flood-exception-chain",
        "Raises an exception with a chain, a group and notes without end.",
        honest="double",
        mean="""
        def mean(values):
            error = None
            for number in range(50_000):
                new = ValueError(number)
                new.__cause__, error = error, new
            error.add_note("n" * 10_000_000)
            for _ in range(200):
                error = ExceptionGroup("nested", [error])
            raise error
        """,
    ),
    floods(
        "flood-deep-values",
        "Returns a list nested a million deep and one that contains itself.",
        honest="double",
        mean="""
        def mean(values):
            deep = []
            for _ in range(1_000_000):
                deep = [deep]
            return deep
        """,
        answers="""
        answers = {"q1": "b"}
        answers["q2"] = answers
        """,
    ),
    floods(
        "flood-wide-values",
        "Returns millions of entries that are one object: small here, large when written out.",
        honest="double",
        mean="""
        def mean(values):
            wide = [0] * 1000
            for _ in range(6):
                wide = [wide] * 1000
            return wide
        """,
    ),
    floods(
        "flood-giant-integers",
        "Returns an integer of 30 million digits and asks for its decimal digits.",
        double="""
        import sys

        sys.set_int_max_str_digits(0)


        def double(x):
            return (1 << 100_000_000) + 1
        """,
        mean="""
        def mean(values):
            return len(str(1 << 100_000_000))
        """,
    ),
    floods(
        "flood-broadcast",
        "Returns a column so long that a comparison with a row would fill the memory.",
        double="""
        def double(x):
            return np.zeros((100_000, 1, 1), np.int8)
        """,
        mean="""
        def mean(values):
            return np.broadcast_to(np.int8(0), (1 << 17, 1 << 16))
        """,
    ),
    floods(
        "flood-backtracking",
        "Spends its time in a regular expression and a power, neither of which can be stopped.",
        honest="double",
        mean="""
        import re


        def mean(values):
            re.match(r"(a+)+$", "a" * 33 + "b")
            return 0.0
        """,
        counter="""
        amount = 7 ** (7**11)
        """,
    ),
    floods(
        "flood-compiler",
        "Compiles expressions that are nested and chained too far.",
        honest="double",
        mean="""
        for text in ("(" * 150 + ")" * 150, "-" * 500_000 + "1", "x=" * 200_000 + "1", "1" * 10**7):
            try:
                compile(text, "w2s-redteam", "exec")
            except BaseException:
                pass


        def mean(values):
            return eval("+".join(["1"] * 200_000))
        """,
    ),
    floods(
        "flood-archive",
        "Unpacks a small archive that becomes 4 GB.",
        honest="double",
        mean="""
        import zlib

        packer = zlib.compressobj(9)
        packed = b"".join(packer.compress(bytes(16 << 20)) for _ in range(256)) + packer.flush()


        def mean(values):
            return zlib.decompress(packed)
        """,
    ),
    floods(
        "flood-names",
        "Defines 500,000 variables, and a name that is a million characters long.",
        honest="double",
        mean="""
        for number in range(500_000):
            globals()[f"name_{number}"] = number
        globals()["n" * 1_000_000] = 1


        def mean(values):
            return 0.0
        """,
    ),
)
