"""The ids of LinkFlow's rows, computed the same way here and in `schema.sql`, so that nobody has to ask."""

from __future__ import annotations

import hashlib
import uuid

WORKFLOWS = 200
WORKSPACES = 20


def row_id(kind: str, number: int) -> str:
    return str(uuid.UUID(hashlib.md5(f"{kind}-{number}".encode(), usedforsecurity=False).hexdigest()))
