"""The executors: what may stand under their keys, how harmful that is, and what they answer. From their own modules."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import yaml

from runbook_engine import executors
from runbook_engine.executor import Effect, Executor

from .schemas import keys_table, words

Json = Any
# A request of each kind, for the table of effects: the executor itself judges them while the page is made.
REQUESTS: Mapping[str, tuple[Json, ...]] = {
    "sql": (
        "select count(*) from jobs",
        "select pg_cancel_backend(%(pid)s)",
        "update schedules set is_active = false where id = %(id)s",
        "delete from jobs where id = %(id)s",
        "truncate jobs",
        "create index concurrently on executions (workflow_id)",
        {"plan": "select * from jobs where state = $1"},
    ),
    "redis": (
        ["GET", "key"],
        ["INFO", "memory"],
        ["SET", "rb:canary:1", "1", "PX", 1000, "NX"],
        ["SET", "key", "value"],
        ["DEL", "key"],
        ["FLUSHALL"],
        {"memory": {"sample": 5000, "seconds": 30}},
        {"clients": {"idle": 60}},
        {"unlink": {"prefix": "cache:", "batch": 500}},
    ),
    "asynq": (
        *({verb: "default"} for verb in ("inspect", "active", "failures", "deaths", "unreferenced", "pause", "resume")),
        *({verb: "default"} for verb in ("repair", "purge_completed")),
        {"tasks": "default", "state": "archived"},
        {"retry_archived": "default", "ids": ["a"]},
        {"quarantine": "default", "id": "r1"},
        {"restore": "default", "id": "r1"},
        {"delete_archived": "default", "ids": ["a"], "export_as": "r1"},
    ),
    "http": ("/health", {"get": "/a", "query": {"b": 1}}, {"post": "/a", "json": {"b": 1}}, {"delete": "/a"}),
    "shell": (["df", "-h"], "df -h | tail -1\n", ["rm", "file"]),
    "service": (
        "status",
        {"logs": {"lines": 100}},
        "history",
        "start",
        "restart",
        "stop",
        {"scale": 3},
        {"rollback": {"to": "3"}},
    ),
    "logs": ("5m", {"since": "1h", "patterns": {"panics": "panic:"}}),
    "host": ({"ports": [8090]}, {"resources": True, "disks": ["/"]}),
}


def pages() -> dict[str, str]:
    made = {f"executors/{name}.md": _page(name, executors.find(name)) for name in executors.names()}
    lines = [f"- [{name}](executors/{name}.md): {_summary(executors.find(name))}" for name in executors.names()]
    head = (
        "# Executors\n\nA step asks one executor, under its name as a key. In a diagnosis the target is made to refuse "
        "every change; what an act can do is judged from its request, and no milder effect may be declared."
        "\n\n"
        "Others can be added by a package with an entry point `runbook_engine.executors`.\n\n"
    )
    return {"executors.md": head + "\n".join(lines) + "\n", **made}


def _summary(executor: Executor) -> str:
    text = str(sys.modules[executor.__name__].__doc__ or "")  # type: ignore[attr-defined]
    return " ".join(text.split("\n\n")[0].split())


def _page(name: str, executor: Executor) -> str:
    text = str(sys.modules[executor.__name__].__doc__ or "")  # type: ignore[attr-defined]
    paragraphs = [" ".join(each.split()) for each in text.strip().split("\n\n")]
    kinds = ", ".join(f"`{kind}`" for kind in sorted(executor.KINDS))
    parts = [f"# {name}", *paragraphs, f"Serves targets of kind {kinds}.", "## Request", *_request(name, executor)]
    parts += [
        "## Effects",
        "What the executor sees in a request is the least effect that may be declared for it.",
        _effects(name, executor),
    ]
    answers = "\n".join(f"| `{key}` | {_cell(meaning)} |" for key, meaning in executor.ANSWERS.items())
    parts += [
        "## Answer",
        "Names that its answer puts in scope of `facts:`.",
        f"| name | meaning |\n|---|---|\n{answers}",
    ]
    return "\n\n".join(parts) + "\n"


def _request(name: str, executor: Executor) -> list[str]:
    schema = executor.Params.model_json_schema(by_alias=True)
    definitions = schema.get("$defs", {})
    parts = [" ".join(str(schema.get("description", "")).split())]
    if "properties" in schema:
        parts.append(keys_table(schema, definitions, {}))
    else:
        forms = schema.get("anyOf") or schema.get("oneOf") or [schema]
        parts.append("\n".join(f"- {words(each, definitions, {})}" for each in forms))
    for each in definitions.values():
        if each.get("properties"):
            about = " ".join(str(each.get("description", "")).split("\n\n")[0].split())
            parts += [f"### {each['title']}", *([about] if about else []), keys_table(each, definitions, {})]
    return [part for part in parts if part]


def _effects(name: str, executor: Executor) -> str:
    rows = ["| request | least effect | because |", "|---|---|---|"]
    for request in REQUESTS.get(name, ()):
        effect, why = executor.least_effect(executor.Params.model_validate(request))
        shown = yaml.safe_dump({name: request}, default_flow_style=True, sort_keys=False, width=1000).strip()[1:-1]
        rows.append(f"| `{shown.replace('|', chr(92) + '|')}` | {Effect(effect).name} | {_cell(why)} |")
    return "\n".join(rows)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())
