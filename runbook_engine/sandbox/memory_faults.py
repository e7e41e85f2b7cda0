"""Faults after which Redis is full (F90 to F98)."""

from __future__ import annotations

from .world import Fault

FAULTS: tuple[Fault, ...] = ()
