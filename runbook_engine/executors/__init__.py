"""Finds executors by name. A file in this folder is an executor and its name is the YAML key; nothing else may be here.

Listing names imports nothing; third parties (entry points) are looked up only when a name is not one of ours.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import Any

from ..executor import Executor

GROUP = "runbook_engine.executors"


@cache
def names() -> tuple[str, ...]:
    """Built-in executors, from the file names alone."""
    return tuple(sorted(file.stem for file in Path(__file__).parent.glob("[a-z]*.py")))


@cache
def installed_names() -> tuple[str, ...]:
    """Executors that other packages registered."""
    return tuple(sorted(_entry_points()))


def find(name: str) -> Executor:
    """The executor of this name. Raises KeyError when nobody has it."""
    if name in names():
        module: Any = importlib.import_module(f".{name}", __package__)
    else:
        module = _entry_points()[name].load()
    executor: Executor = module
    return executor


def load_all() -> dict[str, Executor]:
    """Every executor there is. A built-in wins over a third party of the same name."""
    return {name: find(name) for name in sorted({*names(), *installed_names()})}


@cache
def _entry_points() -> dict[str, Any]:
    from importlib.metadata import entry_points  # 20 ms, and nearly always nobody registered anything

    return {point.name: point for point in entry_points(group=GROUP)}
