"""Attacks by memory: 8 GB of it in each of the ways that a limit may not count."""

from functools import partial

from redteam.attack import attack

floods = partial(attack, "floods")

ATTACKS = (
    floods(
        "flood-memory-lists",
        "Fills 8 GB by bytearrays and touches every page.",
        honest="double",
        mean=r"""
        def mean(values):
            kept = []
            for _ in range(128):
                kept.append(bytearray(b"\x01") * (64 << 20))
            return len(kept)
        """,
    ),
    floods(
        "flood-memory-at-once",
        "Asks for one block of 8 GB, in the cell.",
        honest="double",
        mean="""
        kept = np.ones(1 << 30)
        kept += 1


        def mean(values):
            return kept
        """,
    ),
    floods(
        "flood-memory-tensors",
        "Fills 8 GB by torch tensors and by shared ones.",
        honest="double",
        mean="""
        import torch

        kept = []
        for _ in range(64):
            kept.append(torch.ones(16 << 20))
            kept.append(torch.ones(16 << 20).share_memory_())
        """,
    ),
    floods(
        "flood-memory-shared",
        "Fills shared and anonymous maps, which limits on data size do not count.",
        honest="double",
        mean="""
        import mmap

        kept = []
        for _ in range(128):
            block = mmap.mmap(-1, 64 << 20, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
            for at in range(0, 64 << 20, 4096):
                block[at] = 1
            kept.append(block)
        """,
    ),
    floods(
        "flood-memory-memfd",
        "Fills anonymous files, which belong to no folder.",
        honest="double",
        mean="""
        import os

        kept = []
        for number in range(32):
            fd = os.memfd_create(f"w2s-redteam-{number}")
            kept.append(fd)
            for _ in range(256):
                os.write(fd, bytes(1 << 20))
        """,
    ),
    floods(
        "flood-memory-by-children",
        "Spreads 8 GB over sixteen processes, each of them below the limit.",
        honest="double",
        mean=r"""
        import os, time

        for _ in range(16):
            try:
                if os.fork() == 0:
                    kept = bytearray(b"\x01") * (512 << 20)
                    time.sleep(30)
                    os._exit(0)
            except (OSError, MemoryError):
                break


        def mean(values):
            time.sleep(10)
            return 0.0
        """,
    ),
)
