"""Whole pieces that an editor offers to insert. Data only; a test puts each of them into a playbook and loads it.

`${1:text}` is a place to type in, as editors have it; templates of the language stand nowhere here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = Any


def _snippet(label: str, description: str, body: Json) -> dict[str, Json]:
    return {"label": label, "description": description, "body": body}


def _step(label: str, description: str, facts: dict[str, str], **request: Json) -> dict[str, Json]:
    body = {"id": "${1:name}", "title": "${2:what it establishes}", **request, "facts": facts}
    return _snippet(label, description, body)


_STEPS = (
    _step("step: sql", "Ask PostgreSQL", {"${4:waiting}": "row.n"}, sql="${3:select count(*) as n from jobs}"),
    _step("step: redis", "Ask Redis", {"${4:length}": "result"}, redis=["${3:LLEN}", "${5:key}"]),
    _step("step: asynq", "Look at a queue", {"${4:pending}": "pending"}, asynq={"inspect": "${3:default}"}),
    _step("step: http", "Send a GET", {"${4:code}": "status"}, http={"get": "${3:/api/v1/health}"}),
    _step("step: service", "State of a service", {"${3:running}": "status.running"}, service="status"),
    _step("step: logs", "Count what a log says", {"${4:errors}": "n5xx"}, logs={"since": "${3:15m}"}),
    _step("step: host", "Look at this machine", {"${4:listening}": "listeners"}, host={"ports": ["${3:8090}"]}),
    _step(
        "step: shell",
        "Run a command",
        {"${4:ended}": "exit_code"},
        effect="read",
        shell=["${3:systemctl}", "${5:status}"],
    ),
    _snippet(
        "step: ask",
        "Ask the person",
        {
            "id": "${1:name}",
            "ask": {"question": "${2:Was there a release today?}", "type": "boolean", "fact": "${3:yes}"},
        },
    ),
    _snippet("step: use", "Take a shared probe over", {"use": "${1:library.probe}"}),
)
_VERIFY = {"until": "${5:true}", "within": "60s", "hold": "${6:2m}"}


def _action(label: str, description: str, effect: str, **more: Json) -> dict[str, Json]:
    body = {"id": "${1:name}", "title": "${2:what it does}", "effect": effect, "guard": "${3:true}", **more}
    return _snippet(label, description, {**body, "verify": _VERIFY})


SNIPPETS: Mapping[str, tuple[dict[str, Json], ...]] = {
    "Playbook": (
        _snippet(
            "playbook",
            "A whole playbook to fill in",
            {
                "runbook": 1,
                "name": "${1:paused-queue}",
                "title": "${2:A queue is paused}",
                "targets": {"redis": "redis"},
                "symptoms": [
                    {
                        "id": "waiting",
                        "asynq": {"inspect": "${3:default}"},
                        "facts": {"pending": "pending", "paused": "paused"},
                        "present": "pending > 0",
                    }
                ],
                "causes": [{"id": "queue-paused", "needs": "paused", "fix": ["unpause"]}],
                "resolution": [
                    {
                        "id": "unpause",
                        "title": "${4:Resume the queue}",
                        "effect": "reversible",
                        "guard": "paused",
                        "asynq": {"resume": "${3:default}"},
                        "undo": {"asynq": {"pause": "${3:default}"}},
                        "verify": {"until": "not paused", "within": "15s", "hold": "10s"},
                    }
                ],
            },
        ),
    ),
    "Probe": _STEPS,
    "LibraryProbe": _STEPS[:-1],
    "Cause": (
        _snippet(
            "cause",
            "What may be wrong, and what mends it",
            {
                "id": "${1:name}",
                "title": "${2:what is wrong}",
                "needs": "${3:true}",
                "for": [{"when": "${4:true}", "weight": "strong", "says": "${5:what speaks for it}"}],
                "advice": "${6:what a person does about it}",
            },
        ),
    ),
    "Action": (
        _action(
            "action: asynq",
            "Act on a queue",
            "reversible",
            asynq={"resume": "${4:default}"},
            undo={"asynq": {"pause": "${4:default}"}},
        ),
        _action("action: service", "Act on a service", "disruptive", service="${4:restart}"),
        _action(
            "action: sql", "Change rows", "destructive", sql="${4:delete from jobs where false}", limit={"affected": 1}
        ),
        _action("action: redis", "Change a key", "destructive", redis=["${4:DEL}", "${7:key}"], limit={"affected": 1}),
        _action("action: http", "Send a request", "disruptive", http={"post": "${4:/api/v1/retry}"}),
        _action("action: shell", "Run a command", "disruptive", shell=["${4:systemctl}", "${7:restart}"]),
        _action("action: manual", "An instruction for a person", "disruptive", manual="${4:what to do}"),
    ),
    "Verify": (
        _snippet("verify", "How we know that it worked", {"until": "${1:true}", "within": "60s", "hold": "${2:2m}"}),
    ),
    "Impact": (_snippet("impact", "How much is touched", {"count": "${1:1}", "of": "${2:jobs start}"}),),
    "Limit": (_snippet("limit", "How much may be touched", {"impact": "${1:100}", "affected": "${2:100}"}),),
    "Undo": (_snippet("undo: asynq", "The way back on a queue", {"asynq": {"pause": "${1:default}"}}),),
    "Evidence": (
        _snippet(
            "evidence", "An observation", {"when": "${1:true}", "weight": "moderate", "says": "${2:what was seen}"}
        ),
    ),
    "Sample": (_snippet("sample", "Ask several times", {"times": 2, "every": "${1:10s}"}),),
    "Input": (
        _snippet("input", "A value to give", {"type": "${1:string}", "default": "${2:x}", "help": "${3:what it is}"}),
    ),
    "Case": (
        _snippet(
            "test",
            "A story and what must come of it",
            {"name": "${1:what it shows}", "replies": {"${2:step}": {}}, "expect": {"outcome": "${3:fixed}"}},
        ),
    ),
    "TargetSettings": (
        _snippet(
            "target: postgres",
            "A database",
            {
                "kind": "postgres",
                "host": "${1:localhost}",
                "user": "${2:runbook}",
                "password": {"env": "${3:DB_PASSWORD}"},
            },
        ),
        _snippet(
            "target: redis",
            "A Redis",
            {"kind": "redis", "host": "${1:localhost}", "password": {"env": "${2:REDIS_PASSWORD}"}},
        ),
        _snippet("target: http", "An API", {"kind": "http", "url": "${1:http://localhost:8090}"}),
        _snippet(
            "target: service",
            "A service of docker compose",
            {"kind": "service", "service": "${1:worker}", "compose": {"project": "${2:app}"}},
        ),
    ),
}
