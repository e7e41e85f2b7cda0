"""What jobs are made of: their types, workflows, workspaces and sizes, counted. Never a payload, only what it names.

Pure.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..executor import Json
from .wire import TaskMessage

_SHOWN = 20
_WHOLE = 1 << 20  # of a larger payload only the beginning is read; LinkFlow writes the ids first
_BEGINNING = 400
_IDS = ("workflow_id", "workspace_id")
_FIRST_IDS = re.compile(rb'\A\{\s*"workflow_id"\s*:\s*"([^"\\]{1,64})"\s*,\s*"workspace_id"\s*:\s*"([^"\\]{1,64})"')


def named_in(payload: bytes) -> Mapping[str, str | None]:
    """The workflow and the workspace a LinkFlow payload names. The rest of a payload is the user's and is not shown."""
    if len(payload) > _WHOLE:
        found = _FIRST_IDS.match(payload[:_BEGINNING])
        values = [each.decode("utf-8", "replace") for each in found.groups()] if found else [None, None]
        return dict(zip(_IDS, values, strict=True))
    try:
        content: Any = json.loads(payload)
    except (ValueError, RecursionError):
        content = None
    fields = content if isinstance(content, Mapping) else {}
    return {name: value if isinstance(value := fields.get(name), str) else None for name in _IDS}


def makeup(tasks: Sequence[TaskMessage]) -> dict[str, Json]:
    """How many jobs are of which type, workflow and workspace, the most frequent first, and how large they are."""
    named = [named_in(task.payload) for task in tasks]
    sizes = sorted(len(task.payload) for task in tasks)
    return {
        "by_type": counted((task.type for task in tasks), "type"),
        "by_workflow": counted((each["workflow_id"] for each in named), "workflow_id"),
        "by_workspace": counted((each["workspace_id"] for each in named), "workspace_id"),
        "payload_max": sizes[-1] if sizes else None,
    }


def counted(values: Iterable[str | None], name: str) -> list[Json]:
    """Each value with its count and its share of all, also of those that name none."""
    every = list(values)
    counts = Counter(value for value in every if value is not None).most_common(_SHOWN)
    return [{name: value, "count": count, "share": round(count / len(every), 4)} for value, count in counts]
