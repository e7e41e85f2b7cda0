"""What a hostile file is, and the smallest sound playbook that most of them are built on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Json = Any
Reader = Literal["validate", "cassette", "alert"]
Made = Iterator[tuple[str, str | bytes]]  # a name, and the file


@dataclass(frozen=True, slots=True)
class Hostile:
    """One file: which family it is of, what is hostile about it, and which command reads such files."""

    family: str
    name: str
    content: bytes
    reader: Reader = "validate"

    @property
    def label(self) -> str:
        return f"{self.family}/{self.name}"


SYMPTOM: Mapping[str, Json] = {
    "id": "waiting",
    "redis": ["PING"],
    "facts": {"pong": "result"},
    "present": "pong != 'PONG'",
}
ACTION: Mapping[str, Json] = {"id": "mend", "effect": "destructive", "redis": ["DEL", "a"]}


def playbook(**keys: Json) -> str:
    """A playbook that is sound but for what `keys` say; JSON is YAML."""
    return json.dumps(playbook_data(**keys), ensure_ascii=False)


def playbook_data(**keys: Json) -> dict[str, Json]:
    return {
        "runbook": 1,
        "name": "hostile",
        "title": "A hostile playbook",
        "targets": {"redis": "redis", "db": "postgres"},
        "symptoms": [SYMPTOM],
        **keys,
    }


def with_fact(expression: str) -> str:
    return playbook(symptoms=[{**SYMPTOM, "facts": {"pong": expression}}])


def with_step(**keys: Json) -> str:
    """With one more step, of the diagnosis."""
    return playbook(diagnosis=[{"id": "more", **keys}])


def with_action(**keys: Json) -> str:
    return playbook(resolution=[{**ACTION, **keys}])


def block(body: str) -> str:
    """The same playbook in block style, with `body` behind it."""
    return f"""runbook: 1
name: hostile
title: A hostile playbook
targets: {{redis: redis, db: postgres}}
symptoms:
  - id: waiting
    redis: [PING]
    facts: {{pong: result}}
    present: pong != 'PONG'
{body}"""
