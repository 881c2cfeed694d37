"""Wraps named functions and methods of the production code, which itself knows nothing of it.

A target is ``module:name`` or ``module:Class.method``: the place where callers look it up.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import reduce
from importlib import import_module
from typing import Any

Function = Callable[..., Any]


def find(target: str) -> Function:
    """What the target names; raises ``AttributeError`` or ``ModuleNotFoundError`` where there is nothing."""
    module, path = _split(target)
    found: Function = _follow(import_module(module), path)
    return found


def replace(target: str, make: Callable[[Function], Function]) -> None:
    """Put ``make(what is there)`` in the target's place.

    A method of a class that cannot be changed (of an extension module) is put in a subclass, which takes the place of
    the class in the module that the target names.
    """
    module, path = _split(target)
    owner = _follow(import_module(module), path[:-1])
    replacement = make(getattr(owner, path[-1]))
    if isinstance(owner, type) and not owner.__flags__ & _HEAP_TYPE:
        subclass = type(owner.__name__, (owner,), {path[-1]: replacement})
        setattr(_follow(import_module(module), path[:-2]), path[-2], subclass)
    else:
        setattr(owner, path[-1], replacement)


def is_coroutine(function: Function) -> bool:
    """Whether calling it gives something to await."""
    return inspect.iscoroutinefunction(function)


_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class that was made by a class statement


def _split(target: str) -> tuple[str, list[str]]:
    module, _, path = target.partition(":")
    return module, path.split(".")


def _follow(owner: Any, path: list[str]) -> Any:
    return reduce(getattr, path, owner)
