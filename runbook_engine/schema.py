"""The JSON Schemas of every kind of file, for editors: generated, in two editions, kept under `schema/`.

`schema/NAME.json` is draft-07, which editors know; `schema/2020-12/NAME.json` says the same in that dialect.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .language.documents import DOCUMENTS, build
from .language.drafts import edition

Json = Any


def schema_of(kind: str = "playbook", draft: str = "7", third_parties: bool = False) -> dict[str, Json]:
    """The schema of one kind of file (playbook, library, cases, environments) in a draft (7, 2020-12)."""
    return edition(build(DOCUMENTS[kind], third_parties), draft)


def schema_text(kind: str = "playbook", draft: str = "7", third_parties: bool = False) -> str:
    """The schema as a file holds it; with third parties what is sound on this machine, where they are installed."""
    return json.dumps(schema_of(kind, draft, third_parties), indent=2, ensure_ascii=False)


def schema_files() -> Iterator[tuple[str, str, str]]:
    """Every file under `schema/`: its path there, the kind and the draft of what it holds."""
    for kind, document in DOCUMENTS.items():
        yield document.file, kind, "7"
        yield f"2020-12/{document.file}", kind, "2020-12"
