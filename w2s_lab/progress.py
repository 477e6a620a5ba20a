"""Progress on long work: a bar where somebody watches, a line in a log, nothing under tests."""

import os
import sys
from collections.abc import Iterable


def quiet() -> bool:
    """Whether to say nothing at all: under tests, in builds, or because the user wants it."""
    return bool(os.environ.get("W2S_QUIET") or os.environ.get("PYTEST_CURRENT_TEST"))


def bar(
    iterable: Iterable | None = None, desc: str = "", total: int | None = None, unit: str = "it"
):
    """tqdm over `iterable`, seen in a terminal or a live notebook; in a log one line instead."""
    from tqdm.auto import tqdm

    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    if not watched and not quiet():
        size = "" if total is None else f": {total:,} {unit if unit.isupper() else unit + 's'}"
        print(f"{desc}{size} ...", file=sys.stderr)
    hidden = quiet() or not watched
    return tqdm(iterable, desc, total, unit=unit, leave=False, disable=hidden)
