"""The JSON Schema that editors use: up to date, and of one mind with the loader about what is sound."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from json_schema import faults

from runbook_engine.loading import yaml_reader
from runbook_engine.schema import playbook_schema, schema_text

ROOT = Path(__file__).parent.parent
FILE = ROOT / "schema" / "playbook-v1.json"
PLAYBOOKS = sorted(
    path
    for folder in ("playbooks", "examples")
    for path in (ROOT / folder).rglob("*.yaml")
    if re.search(r"^runbook:", path.read_text(encoding="utf-8"), re.MULTILINE)
)
SCHEMA = playbook_schema()

MINIMAL = {
    "runbook": 1,
    "name": "x",
    "title": "X",
    "symptoms": [{"id": "a", "sql": "select 1", "facts": {"f": "row"}, "present": "f"}],
}


def document(path: Path) -> Any:
    return yaml_reader.plain(yaml_reader.read(path.read_text(encoding="utf-8"), str(path)))


def with_symptom(**keys: Any) -> dict[str, Any]:
    return {**MINIMAL, "symptoms": [{"id": "a", "present": "f", **keys}]}


def test_the_file_is_what_the_command_prints() -> None:
    assert FILE.read_text(encoding="utf-8") == schema_text() + "\n", "run: runbook schema > schema/playbook-v1.json"


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_every_playbook_we_ship_fits_the_schema(path: Path) -> None:
    assert list(faults(document(path), SCHEMA, SCHEMA)) == []


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_every_playbook_we_ship_tells_the_editor_where_the_schema_is(path: Path) -> None:
    found = re.match(r"# yaml-language-server: \$schema=(\S+)\n", path.read_text(encoding="utf-8"))
    assert found and (path.parent / found[1]).resolve() == FILE


@pytest.mark.parametrize(
    "playbook",
    [
        with_symptom(sql="select 1", present=True),
        with_symptom(sql=["select 1", "select 2"], timeout=5, sample={"times": 2, "every": "250ms"}),
        with_symptom(redis=["GET", "key"]),
        with_symptom(redis=[["GET", "a"], ["SET", "b", 1, "PX", 1000]]),
        with_symptom(redis={"memory": {"sample": 100}}),
        with_symptom(asynq={"inspect": None}),
        with_symptom(http="/api/v1/health"),
        with_symptom(http={"get": ["api", "${{ x }}"], "query": {"a": 1}}),
        with_symptom(service="status"),
        with_symptom(service={"status": None}),
        with_symptom(service={"logs": {"lines": 50, "since": "15m"}}),
        with_symptom(shell=["ps", "-p", "${{ pid }}"], effect="read"),
        with_symptom(shell="uptime", effect="read"),
        with_symptom(ask={"question": "Who?", "fact": "f"}),
        {**MINIMAL, "symptoms": [{"use": "library.probe", "present": "f"}]},
        {**MINIMAL, "targets": {"db": "postgres", "side": {"from": "db", "port": 5433}}},
        {**MINIMAL, "not_for": "a burst", "notes": ["one", "two"], "alerts": [{"alertname": "X"}]},
        {**MINIMAL, "causes": [{"id": "c", "needs": True, "see": "other", "for": [{"when": "f", "says": "so"}]}]},
        {**MINIMAL, "causes": [{"id": "c", "needs": "f", "see": {"playbook": "other", "inputs": {"a": 1}}}]},
        {
            **MINIMAL,
            "resolution": [
                {"id": "m", "effect": "touch", "each": "f", "as": "row", "batch": {"size": 5}, "manual": "do it"},
                {
                    "id": "n",
                    "effect": "reversible",
                    "service": {"scale": "${{ n }}"},
                    "undo": {"service": {"scale": 1}},
                },
            ],
        },
    ],
)
def test_what_the_language_takes_in_short_the_schema_takes_too(playbook: Any) -> None:
    assert list(faults(playbook, SCHEMA, SCHEMA)) == []


@pytest.mark.parametrize(
    ("playbook", "told"),
    [
        ({**MINIMAL, "symptom": []}, "symptom: this key is not known"),
        ({**MINIMAL, "runbook": 2}, "runbook"),
        ({key: value for key, value in MINIMAL.items() if key != "title"}, "required"),
        (with_symptom(sql="select 1", factz={"f": "row"}), "factz"),
        (with_symptom(sql="select 1", facts={"Not-a-name": "row"}), "Not-a-name"),
        (with_symptom(sql="select 1", effect="destructive"), "effect"),
        (with_symptom(), "forms"),
        (with_symptom(service="explode"), "forms"),
        (with_symptom(asynq={"inspekt": "default"}), "forms"),
        ({**MINIMAL, "causes": [{"id": "c", "needs": "f", "weight": "heavy"}]}, "weight"),
    ],
)
def test_what_the_loader_refuses_by_its_shape_the_schema_refuses_too(playbook: Any, told: str) -> None:
    assert told in "; ".join(faults(playbook, SCHEMA, SCHEMA))


def test_the_schema_is_plain_json_that_refers_only_to_itself() -> None:
    text = json.dumps(SCHEMA)
    assert set(re.findall(r'"#/\$defs/(\w+)"', text)) <= SCHEMA["$defs"].keys()
