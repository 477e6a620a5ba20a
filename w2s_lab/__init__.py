"""Weak-to-strong generalization as a course: what does a strong model learn from a weaker teacher?

The rooms below load at first use, so that importing the package costs next to nothing.
"""

import os
from importlib import import_module

# Large tensors in large pages: scoring texts took 1.2 s instead of 1.7. torch reads it at its first
# large tensor, on Linux; a setting of yours stays.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__version__ = "0.1.0"
_WHERE = {
    "load_task": "w2s_lab.data",
    "task": "w2s_lab.data",
    "Task": "w2s_lab.data",
    "run": "w2s_lab.experiment",
    "Result": "w2s_lab.experiment",
    "method": "w2s_lab.methods",
    "W2SError": "w2s_lab.errors",
}
__all__ = sorted(_WHERE)


def __getattr__(name: str):
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'w2s_lab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
