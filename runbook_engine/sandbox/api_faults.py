"""Faults after which the API refuses, hangs or answers with errors (F01 to F16)."""

from __future__ import annotations

from .world import Fault

FAULTS: tuple[Fault, ...] = ()
