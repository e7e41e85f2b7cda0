"""What mends a mistake that has exactly one right mend, one kind a file. Nothing else may be in this folder."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from ..errors import Complaint
from ..validation.text import Edit, Text


class Mend(Protocol):
    """Satisfied by a module."""

    @property
    def CODES(self) -> frozenset[str]:  # noqa: N802
        """The codes of the complaints that it looks at. A module constant."""

    def mend(self, complaint: Complaint, text: Text) -> list[Edit]:
        """The edits that mend this complaint, or none where more than one mend could be right."""


@cache
def mends() -> tuple[Mend, ...]:
    """Every mend, by the name of its file."""
    names = sorted(file.stem for file in Path(__file__).parent.glob("[a-z]*.py"))
    return tuple(_mend(name) for name in names)


def _mend(name: str) -> Mend:
    module: Any = importlib.import_module(f".{name}", __package__)
    mend: Mend = module
    return mend
