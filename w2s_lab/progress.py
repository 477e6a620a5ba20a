"""Progress bars that keep quiet where nobody watches (tests, logs, nbval)."""

import os
import sys
from collections.abc import Iterable


def bar(iterable: Iterable | None = None, desc: str = "", total: int | None = None, unit="it"):
    """`tqdm` over `iterable`, shown only on a terminal or in a notebook that a person has open."""
    from tqdm import tqdm

    quiet = bool(os.environ.get("W2S_QUIET") or os.environ.get("PYTEST_CURRENT_TEST"))
    return tqdm(
        iterable, desc, total, unit=unit, leave=False, disable=quiet or not sys.stderr.isatty()
    )
