"""What other programs read of a class's grades: a registry of formats.

Each takes the standings of one assignment and a folder, which is made if need be, and gives the
files that it wrote there.
"""

from collections.abc import Callable
from pathlib import Path

from w2s_lab.teach.grading.exports import gradescope, nbgrader, tables

FORMATS: dict[str, Callable[..., list[Path]]] = {
    "csv": tables.summaries,
    "canvas": tables.canvas,
    "moodle": tables.moodle,
    "gradescope": gradescope.export,
    "nbgrader": nbgrader.export,
}
