"""A lesson repeated against its first run: lesson 01's notebook, executed twice.

    python bench/lesson.py

The first run finds models and data in the cache, and nothing computed.
"""

import os
import statistics
import tempfile
from pathlib import Path

os.environ["W2S_QUIET"] = "1"

from measuring import main, once

from w2s_lab.assets import cache_dir

LESSONS = Path(__file__).parents[1] / "notebooks"
KEPT = ("assets", "converted")  # what a download brings, and the unpacked weights


def measure(size: str = "lab", device: str = "cpu") -> list[dict]:
    """One row: the second run of lesson 01 is ours, the first is theirs."""
    import nbformat
    from nbclient import NotebookClient

    def run() -> None:
        notebook = nbformat.read(LESSONS / "01_indemnity.ipynb", as_version=4)
        NotebookClient(notebook, timeout=3600, resources={"metadata": {"path": LESSONS}}).execute()

    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        for kind in KEPT:
            if (cache_dir() / kind).exists():
                (Path(folder) / kind).symlink_to(cache_dir() / kind)
        try:
            # the notebook's kernel takes these over; its memory is not this process's
            os.environ.update(W2S_CACHE=folder, W2S_SIZE=size)
            if device == "cpu":
                os.environ["CUDA_VISIBLE_DEVICES"] = ""
            first, again = once(run)[0], [once(run)[0] for _ in range(1 if size == "smoke" else 3)]
        finally:
            os.environ.clear()
            os.environ.update(before)
    ours = statistics.median(again)
    seconds = {"ours": ours, "theirs": first, "unit": "s", "ratio": first / ours}
    return [{"work": "lesson 01 executed again", "peer": "its first run, once", **seconds}]


if __name__ == "__main__":
    main(measure)
