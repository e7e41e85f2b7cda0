"""Faults after which the connections of PostgreSQL run out (F70 to F75)."""

from __future__ import annotations

from .world import Fault

FAULTS: tuple[Fault, ...] = ()
