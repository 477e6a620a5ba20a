"""Named things that a newcomer may add: tasks, models, heads, methods.

A registry is a dict filled by a decorator; asking it for an unknown name says which names exist.
"""

from collections.abc import Callable

from w2s_lab.errors import W2SError


class Registry(dict):
    """Names mapped to functions; `@registry.register("name")` adds one, or replaces it.

    Replacing is allowed, so that a notebook cell that registers something can run twice.
    """

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind

    def register(self, name: str) -> Callable:
        def add(function):
            self[name] = function
            return function

        return add

    def __missing__(self, name):
        known = ", ".join(sorted(self))
        raise W2SError(f"unknown {self.kind} {name!r}", mend=f"choose one of: {known}")
