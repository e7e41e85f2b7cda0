"""A session with the real yaml-language-server: what an editor offers, says and underlines in a playbook.

`make editor` installs the server. Without it these tests skip, and fail in CI.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from commands import RUNBOOK, Place
from language_server import ROOT, SERVER, LanguageServer

pytestmark = pytest.mark.skipif(
    not os.environ.get("CI") and not (SERVER.exists() and shutil.which("node")), reason="run: make editor"
)

VSCODE = ROOT / "examples" / "vscode"
SCHEMA = (ROOT / "schema" / "playbook-v1.json").as_uri()
HEAD = "runbook: 1\nname: x\ntitle: X\n"
SOUND = f"{HEAD}symptoms:\n  - id: a\n    sql: select 1 as n\n    facts: {{n: row.n}}\n    present: n > 0\n"
ACTION = f"{SOUND}resolution:\n  - id: m\n    effect: reversible\n"
NUMBERS = count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LanguageServer]:
    server = LanguageServer(tmp_path_factory.mktemp("workspace"))
    yield server
    server.close()


class Cursor:
    """A document in which `‸` marks where the cursor is."""

    def __init__(self, server: LanguageServer, folder: Path, marked: str, schema: str = SCHEMA) -> None:
        self.server = server
        text = f"# yaml-language-server: $schema={schema}\n{marked.replace('‸', '')}"
        before = f"\n{marked.partition('‸')[0]}"
        self.line = before.count("\n")
        self.column = len(before) - before.rfind("\n") - 1
        self.uri = server.open(folder / f"{next(NUMBERS)}.yaml", text)

    def offered(self) -> dict[str, Any]:
        return {item["label"]: item for item in self.server.completion(self.uri, self.line, self.column)}

    def hover(self) -> str:
        return self.server.hover(self.uri, self.line, self.column)

    def complaints(self) -> list[tuple[int, int, str]]:
        """Line and column (1-based, without the line that names the schema) and the message."""
        told = self.server.diagnostics(self.uri)
        return sorted((d["range"]["start"]["line"], d["range"]["start"]["character"] + 1, d["message"]) for d in told)


COMPLETIONS = {
    "at the top": ("‸", {"playbook", "runbook", "symptoms", "not_for"}, {"sql", "effect"}),
    "after some keys": (f"{HEAD}‸", {"area", "inputs", "diagnosis", "resolution"}, {"runbook", "title"}),
    "a new step": (f"{HEAD}symptoms:\n  - ‸", {"step: sql", "step: asynq", "id", "use"}, {"action: sql", "fix"}),
    "inside a step": (
        f"{HEAD}symptoms:\n  - id: a\n    ‸",
        {"sql", "redis", "asynq", "http", "service", "logs", "host", "shell", "facts", "present", "sample", "ask"},
        {"id", "undo", "verify", "executor", "request"},
    ),
    "inside asynq": (
        f"{HEAD}symptoms:\n  - id: a\n    asynq:\n      ‸",
        {"inspect", "failures", "tasks", "pause", "retry_archived"},
        {"Inspect", "sql", "facts"},
    ),
    "beside a form of asynq": (
        f"{HEAD}symptoms:\n  - id: a\n    asynq:\n      tasks: default\n      ‸",
        {"state", "filter", "limit"},
        {"pause", "tasks", "apart"},
    ),
    "inside http": (f"{HEAD}symptoms:\n  - id: a\n    http:\n      ‸", {"get", "query", "headers"}, {"facts"}),
    "inside logs": (f"{HEAD}symptoms:\n  - id: a\n    logs:\n      ‸", {"since", "patterns"}, {"facts"}),
    "a verb of service": (
        f"{HEAD}symptoms:\n  - id: a\n    service: ‸",
        {"status", "restart", "history"},
        {"scale"},
    ),
    "a new cause": (f"{SOUND}causes:\n  - ‸", {"cause", "id", "needs", "fix", "see"}, {"sql"}),
    "evidence": (f"{SOUND}causes:\n  - id: c\n    for:\n      - ‸", {"evidence", "when", "says"}, {"needs"}),
    "a weight": (f"{SOUND}causes:\n  - id: c\n    weight: ‸", {"decisive", "strong", "moderate", "weak"}, {"heavy"}),
    "inside an action": (
        f"{ACTION}    ‸",
        {"action: sql", "guard", "impact", "limit", "undo", "verify", "snapshot", "service"},
        {"effect", "present", "ask"},
    ),
    "an effect": (
        f"{SOUND}resolution:\n  - id: m\n    effect: ‸",
        {"read", "touch", "reversible", "disruptive", "destructive"},
        {"true"},
    ),
    "inside verify": (f"{ACTION}    verify:\n      ‸", {"verify", "until", "within", "hold"}, {"guard", "effect"}),
    "inside limit": (f"{ACTION}    limit:\n      ‸", {"impact", "grow", "affected"}, {"until"}),
    "inside an undo": (f"{ACTION}    undo:\n      ‸", {"effect", "guard", "asynq", "verify"}, {"id", "limit"}),
    "the type of an input": (
        f"{HEAD}inputs:\n  q:\n    type: ‸",
        {"string", "integer", "duration", "size", "boolean"},
        {"text"},
    ),
    "an area": (f"{HEAD}area: ‸", {"api", "worker", "scheduler", "emergency"}, {"network"}),
}


@pytest.mark.parametrize("place", COMPLETIONS)
def test_completion_offers_what_may_stand_there_and_nothing_else(
    server: LanguageServer, tmp_path: Path, place: str
) -> None:
    marked, wanted, strange = COMPLETIONS[place]
    offered = Cursor(server, tmp_path, marked).offered().keys()
    assert wanted <= offered, wanted - offered
    assert not strange & offered


def test_a_snippet_is_a_whole_step_with_places_to_type_in(server: LanguageServer, tmp_path: Path) -> None:
    snippet = Cursor(server, tmp_path, f"{HEAD}symptoms:\n  - ‸").offered()["step: asynq"]
    assert snippet["insertTextFormat"] == 2 and snippet["documentation"]
    lines = snippet["insertText"].splitlines()
    assert lines[0] == "id: ${1:name}" and [line.strip() for line in lines][2:4] == ["asynq:", "inspect: ${3:default}"]


HOVERS = {
    "a section": (f"{HEAD}symp‸toms: []\n", ["tell whether the problem is there", "- id: queues"]),
    "an executor": (f"{HEAD}symptoms:\n  - id: a\n    as‸ynq: {{inspect: q}}\n", ["#### asynq", "Looks at queues"]),
    "a form": (f"{HEAD}symptoms:\n  - id: a\n    asynq: {{fail‸ures: q}}\n", ["Why jobs of a queue failed"]),
    "an effect": (
        f"{SOUND}resolution:\n  - id: m\n    effect: rever‸sible\n",
        ["Has an exact undo", "Loses something"],
    ),
    "a hold": (f"{ACTION}    verify: {{until: n == 0, ho‸ld: 2m}}\n", ["before the fix counts", "2m"]),
    "a weight": (f"{SOUND}causes:\n  - id: c\n    weight: str‸ong\n", ["4 points"]),
}


@pytest.mark.parametrize("place", HOVERS)
def test_hovering_explains(server: LanguageServer, tmp_path: Path, place: str) -> None:
    marked, told = HOVERS[place]
    shown = Cursor(server, tmp_path, marked).hover()
    assert all(words in shown for words in told), shown


MISTAKES = {
    "nothing": (SOUND, []),
    "a wrong key": (SOUND.replace("facts", "factz"), [(7, 5, "factz")]),
    "a wrong key at the top": (f"{SOUND}causez: []\n", [(9, 1, "causez")]),
    "a wrong type": (f"{SOUND}causes:\n  - id: c\n    needs: n > 0\n    explains: 5\n", [(12, 15, "array")]),
    "a wrong value": (SOUND.replace("sql:", "effect: destructive\n    sql:"), [(6, 13, '"read", "touch"')]),
    "a missing key": (SOUND.replace("title: X\n", ""), [(1, 1, "title")]),
    "no executor": (SOUND.replace("    sql: select 1 as n\n", ""), [(5, 5, "Missing property")]),
    "a wrong key of a request": (
        SOUND.replace("sql: select 1 as n", "asynq: {tasks: q, stat: retry}"),
        [(6, 23, "stat")],
    ),
    "a wrong key of verify": (
        f"{ACTION}    manual: x\n    verify: {{until: n == 0, holds: 2m}}\n",
        [(13, 29, "holds")],
    ),
    "two at once": (SOUND.replace("facts", "factz") + "causez: []\n", [(7, 5, "factz"), (9, 1, "causez")]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_underlined_where_it_is(server: LanguageServer, tmp_path: Path, mistake: str) -> None:
    text, wanted = MISTAKES[mistake]
    found = Cursor(server, tmp_path, text).complaints()
    assert [each[:2] for each in found] == [each[:2] for each in wanted], found
    assert all(want[2] in each[2] for each, want in zip(found, wanted, strict=True)), found


@pytest.mark.parametrize("path", sorted((ROOT / "playbooks").rglob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_playbook_has_nothing_underlined(server: LanguageServer, path: Path) -> None:
    uri = server.open(path, path.read_text(encoding="utf-8"))
    assert [(each["range"]["start"]["line"] + 1, each["message"]) for each in server.diagnostics(uri)] == []
    server.close_document(uri)


@pytest.mark.parametrize(
    ("file", "text", "wanted"),
    [
        ("library-v1.json", "library: l\nprobes:\n  p:\n    ‸", {"redis", "sql", "facts"}),
        ("cases-v1.json", "cases: x\ntests:\n  - ‸", {"test", "name", "expect", "gates"}),
        (
            "runbook-yaml-v1.json",
            "environments:\n  e:\n    targets:\n      db:\n        ‸",
            {"kind", "host", "systemd"},
        ),
        ("runbook-yaml-v1.json", "environments:\n  e:\n    policy:\n      most: ‸", {"disruptive", "reversible"}),
    ],
)
def test_the_other_kinds_of_file_are_completed_too(
    server: LanguageServer, tmp_path: Path, file: str, text: str, wanted: set[str]
) -> None:
    offered = Cursor(server, tmp_path, text, (ROOT / "schema" / file).as_uri()).offered().keys()
    assert wanted <= offered, wanted - offered


class Workspace:
    """A folder set up as examples/vscode/README.md says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (script,) = re.findall(
            r"^```sh\n(.*?)^```", (VSCODE / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
        )
        place = Place(folder, folder / "state", {"PATH": f"{Path(RUNBOOK).parent}:{os.environ['PATH']}"})
        done = place.run("-euc", script.replace("REPOSITORY", str(ROOT)), program="sh")
        assert done.code == 0, done.said
        self.settings = json.loads((folder / ".vscode" / "settings.json").read_text("utf-8"))

    def server(self) -> LanguageServer:
        given = {key.removeprefix("yaml."): value for key, value in self.settings.items() if key.startswith("yaml.")}
        return LanguageServer(self.folder, given)


def test_the_vscode_example_knows_every_kind_of_file_by_its_place(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    server = workspace.server()
    try:
        for name, text, wrong in (
            ("playbooks/worker/x.yaml", SOUND.replace("facts", "factz"), "factz"),
            ("playbooks/library/l.yaml", "library: l\nprobes: {}\nprobez: {}\n", "probez"),
            ("playbooks/worker/x.test.yaml", "cases: x\ntestz: []\n", "testz"),
            ("runbook.yaml", "environments: {}\ndefalt: e\n", "defalt"),
        ):
            told = [each["message"] for each in server.diagnostics(server.open(tmp_path / name, text))]
            assert any(wrong in message for message in told), (name, told)
            assert not any("runbook" in message for message in told), (name, told)
    finally:
        server.close()


def test_the_task_of_the_vscode_example_reads_what_validate_prints(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    (task,) = json.loads((workspace.folder / ".vscode" / "tasks.json").read_text("utf-8"))["tasks"]
    broken = tmp_path / "playbooks" / "x.yaml"
    broken.parent.mkdir()
    broken.write_text(f"{SOUND}inputs: {{unused: {{}}}}\n".replace("title: X", "title: X\ntitel: Y"))
    place = Place(tmp_path, tmp_path / "state", {"PATH": f"{Path(RUNBOOK).parent}:{os.environ['PATH']}"})
    done = place.run("-c", task["command"], program="sh")
    pattern = task["problemMatcher"]["pattern"]
    found, *others = [re.match(pattern["regexp"], line) for line in done.stdout.splitlines()]
    assert found and (found[pattern["file"]], found[pattern["line"]], found[pattern["column"]]) == (
        "playbooks/x.yaml",
        "4",
        "1",
    )
    assert all(others) and found[pattern["code"]] == "RB101" and "titel" in found[pattern["message"]]
