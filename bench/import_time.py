"""How long `import w2s_lab` takes, as a new process each time; the promise is under 0.3 s.

Run: python bench/import_time.py
"""

import statistics
import subprocess
import sys
import time

RUNS = 11
PROMISE = 0.3  # seconds


def seconds(code: str) -> list[float]:
    """Wall seconds of a fresh interpreter that runs `code`, RUNS times after one warm-up."""
    taken = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        taken.append(time.perf_counter() - start)
    return taken[1:]


if __name__ == "__main__":
    bare, ours = seconds("pass"), seconds("import w2s_lab")
    cost = statistics.median(ours) - statistics.median(bare)
    print(f"python alone        {statistics.median(bare):.3f} s (median of {RUNS})")
    print(f"import w2s_lab      {statistics.median(ours):.3f} s, of which ours {cost:.3f} s")
    print(f"promise kept        {cost < PROMISE} (under {PROMISE} s)")
