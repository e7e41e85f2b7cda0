"""Faults after which requests are slow (F20 to F26)."""

from __future__ import annotations

from .world import Fault

FAULTS: tuple[Fault, ...] = ()
