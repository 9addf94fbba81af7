"""Modules that are loaded when somebody looks into them, and mostly never."""

from __future__ import annotations

import sys
from types import ModuleType


class Later(ModuleType):
    """Stands for a module until one of its names is asked for."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # what an import looks at in passing
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        __import__(self.__name__)
        return getattr(sys.modules[self.__name__], name)


def put_off(name: str) -> None:
    """Have a module loaded when it is first looked into.

    ``dataclasses`` imports ``inspect``, which costs more than all tools together, and asks it only
    about classes that do not say what they are.
    """
    if name not in sys.modules:
        sys.modules[name] = Later(name)
