"""Faults after which Redis refuses, waits or is not there (F100 and its letters)."""

from __future__ import annotations

from .world import Fault

FAULTS: tuple[Fault, ...] = ()
