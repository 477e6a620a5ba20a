"""How every benchmark here measures: in turns, in one run, with memory and the machine's own rate.

It knows none of the works. A row is a dict of plain values: "work", "peer", "ours", "theirs",
"unit" and "ratio" (how many times better ours is), and what else is worth telling.
"""

import argparse
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from transformers.utils import logging

logging.disable_progress_bar()

LOOK = 0.02  # seconds between two looks at the memory


@dataclass
class Timed:
    """Repeated measurements of one work.

    Attributes:
        seconds: of each repeat.
        megabytes: the most that a repeat took on top of what was there before it.
        value: what the work returned last.
    """

    seconds: list[float] = field(default_factory=list)
    megabytes: float = 0.0
    value: object = None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def alternate(*works: Callable, repeats: int = 3, device: str = "cpu") -> list[Timed]:
    """Each work measured `repeats` times, in turns, so that a slow minute hits all alike."""
    found = [Timed() for _ in works]
    for _ in range(repeats):
        for work, timed in zip(works, found, strict=True):
            seconds, megabytes, timed.value = once(work, device)
            timed.seconds.append(seconds)
            timed.megabytes = max(timed.megabytes, megabytes)
    return found


def once(work: Callable, device: str = "cpu") -> tuple[float, float, object]:
    """Seconds and megabytes that one call takes, and what it returns."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        started = time.perf_counter()
        value = work()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        return seconds, (torch.cuda.max_memory_allocated() - before) / 1e6, value
    with Memory() as memory:
        started = time.perf_counter()
        value = work()
        seconds = time.perf_counter() - started
    return seconds, memory.megabytes, value


class Memory:
    """The most resident memory of this process within the block, on top of that before it."""

    def __enter__(self) -> "Memory":
        import psutil

        self._process, self._done = psutil.Process(), threading.Event()
        self._before = self._most = self._process.memory_info().rss
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._done.wait(LOOK):
            self._most = max(self._most, self._process.memory_info().rss)

    def __exit__(self, *_) -> None:
        self._done.set()
        self._thread.join()
        self._most = max(self._most, self._process.memory_info().rss)

    @property
    def megabytes(self) -> float:
        return (self._most - self._before) / 1e6


def matmul_rate(device: str = "cpu", dtype: str = "float32", *, size: int | None = None) -> float:
    """Operations per second of the device's own square matrix product, the best of several."""
    import torch

    on_gpu = device.startswith("cuda")
    size = size or (8192 if on_gpu else 2048)
    a, b = (torch.randn(size, size, device=device).to(getattr(torch, dtype)) for _ in range(2))
    best = min(once(lambda: a @ b, device)[0] for _ in range(20 if on_gpu else 6))
    return 2 * size**3 / best


def row(work: str, peer: str, ours: Timed, theirs: Timed, **more) -> dict:
    """A row in seconds: medians, and the ratios of the repeats from lowest to highest."""
    ratios = [b / a for a, b in zip(ours.seconds, theirs.seconds, strict=True)]
    return {
        "work": work,
        "peer": peer,
        "ours": ours.median,
        "theirs": theirs.median,
        "unit": "s",
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "ours_mb": ours.megabytes,
        "theirs_mb": theirs.megabytes,
        **more,
    }


def main(measure: Callable[[str, str], list[dict]]) -> None:
    """One benchmark by itself: what `python bench/NAME.py` does."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--size", default="lab", choices=("smoke", "lab", "full"))
    asked.add_argument("--device", default="cpu")
    options = asked.parse_args()
    show(measure(options.size, options.device), options.device)


def show(rows: list[dict], device: str) -> None:
    """Prints rows, after what they depend on."""
    print(", ".join(f"{name} {value}" for name, value in environment(device).items()))
    for one in rows:
        print(f"{one['work']}\n  against {one['peer']}")
        spread = f" [{one['lowest']:.2f}, {one['highest']:.2f}]" if "lowest" in one else ""
        sides = f"ours {one['ours']:.4g}, theirs {one['theirs']:.4g} {one['unit']}"
        print(f"  {sides}; ratio {one['ratio']:.2f}{spread}")
        if "ours_mb" in one:
            print(
                f"  memory on top: ours {one['ours_mb']:.0f} MB, theirs {one['theirs_mb']:.0f} MB"
            )
        if "share" in one:
            print(f"  share of the measured matrix rate: {one['share']:.0%}")
        known = {"work", "peer", "ours", "theirs", "unit", "ratio", "lowest", "highest", "share"}
        for name in one.keys() - known - {"ours_mb", "theirs_mb"}:
            print(f"  {name}: {one[name]}")


def environment(device: str = "cpu") -> dict[str, str]:
    """What the figures depend on: the machine and the versions."""
    from importlib.metadata import PackageNotFoundError, version

    import torch

    named = {"processor": _processor(), "cores": str(os.cpu_count())}
    named["threads of torch"] = str(torch.get_num_threads())
    if device.startswith("cuda"):
        named["device"] = torch.cuda.get_device_name()
    named["Python"] = platform.python_version()
    for package in ("torch", "transformers", "sentence-transformers", "accelerate"):
        try:
            named[package] = version(package)
        except PackageNotFoundError:
            named[package] = "not installed"
    return named


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
