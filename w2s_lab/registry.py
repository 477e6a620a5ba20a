"""Named things that a newcomer may add: tasks, models, heads, methods.

A registry is a dict filled by a decorator; asking it for an unknown name says which names exist.
"""

from collections.abc import Callable

from w2s_lab.errors import W2SError


class Registry(dict):
    """Names mapped to functions; `@registry.register("name")` adds one."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind

    def register(self, name: str) -> Callable:
        def add(function):
            if name in self and self[name].__qualname__ != function.__qualname__:
                raise W2SError(f"the {self.kind} {name!r} is registered already", mend="rename one")
            self[name] = function
            return function

        return add

    def __missing__(self, name):
        known = ", ".join(sorted(self))
        raise W2SError(f"unknown {self.kind} {name!r}", mend=f"choose one of: {known}")
