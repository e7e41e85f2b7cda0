"""Faults after which workers crash or jobs fail (F39, F45, F50 to F62)."""

from __future__ import annotations

from .world import Fault

FAULTS: tuple[Fault, ...] = ()
