"""Memory, load, pressure and disk space of this machine. What the system does not say is none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import psutil

from ..executor import Json
from .processes import told

PRESSURE = Path("/proc/pressure")


def resources(disks: Sequence[str]) -> dict[str, Json]:
    """Pressure is the share of time in which some process waited: of the last minute, and of the last ten seconds."""
    cores = psutil.cpu_count()
    memory = told(psutil.virtual_memory)
    load = told(psutil.getloadavg)
    return {
        "cores": cores,
        "mem_available": memory and memory.available,
        "mem_available_pct": memory and round(100 * memory.available / memory.total, 1),
        "load_per_core": round(load[0] / cores, 2) if load and cores else None,
        **_pressures(),
        "disks": [_disk(path) for path in disks],
    }


def _pressures() -> dict[str, Json]:
    found: dict[str, Json] = {}
    for resource in ("cpu", "io", "memory"):
        text = told((PRESSURE / resource).read_text) or ""
        found[f"psi_{resource}"] = _average(text, 60)
        found[f"psi_{resource}_10s"] = _average(text, 10)
    return found


def _average(text: str, seconds: int) -> float | None:
    found = re.search(rf"^some .*\bavg{seconds}=([\d.]+)", text, re.MULTILINE)
    return float(found[1]) if found else None


def _disk(path: str) -> dict[str, Json]:
    usage = told(lambda: psutil.disk_usage(path))
    return {
        "path": path,
        "free": usage and usage.free,
        # What root keeps for itself is not free for LinkFlow.
        "free_pct": usage and round(100.0 - usage.percent, 1),
    }
