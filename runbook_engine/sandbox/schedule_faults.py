"""Faults after which schedules do not run (F110 to F123)."""

from __future__ import annotations

from .world import Fault

FAULTS: tuple[Fault, ...] = ()
