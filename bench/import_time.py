"""How long `import w2s_lab` takes, as a new process each time; the promise is under 0.3 s.

Run: python bench/import_time.py
"""

import statistics
import subprocess
import sys
import time

RUNS = 11
PROMISE = 0.3  # seconds


def seconds(code: str) -> float:
    """Wall seconds of a fresh interpreter that runs `code`."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    # in turn, so that a busy moment of the machine hits both
    pairs = [(seconds("pass"), seconds("import w2s_lab")) for _ in range(RUNS + 1)][1:]
    bare, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    cost = statistics.median(ours - bare for bare, ours in pairs)
    print(f"python alone     {bare:.3f} s (median of {RUNS})")
    print(f"import w2s_lab   {ours:.3f} s, {cost:.3f} s more")
    print(f"under {PROMISE} s      {cost < PROMISE}")
