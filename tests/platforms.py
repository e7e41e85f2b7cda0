"""Programs called docker, kubectl and so on, that answer as the real ones do, and remember what they were asked."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Literal

from runbook_engine.executor import Call, Target
from runbook_engine.executors import service

FIXTURES = Path(__file__).parent / "fixtures"
STAND_IN = """#!{python}
import json, pathlib, sys
folder = pathlib.Path({folder!r})
words = [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]
with (folder / "words.jsonl").open("a") as log:
    log.write(json.dumps(words) + "\\n")
for wanted, code, out, err in json.loads((folder / "answers.json").read_text()):
    if all(word in words for word in wanted):
        sys.stdout.write(out); sys.stderr.write(err); sys.exit(code)
"""
COMPOSE = {"service": "worker", "compose": {"project": "linkflow", "files": ["a.yaml", "b.yaml"], "directory": "/srv"}}
KUBERNETES = {"kubernetes": {"namespace": "linkflow", "deployment": "linkflow-worker", "context": "prod"}}
SYSTEMD = {"systemd": {"unit": "linkflow-worker.service"}}
PREFIX = ["docker", "compose", "-p", "linkflow", "-f", "a.yaml", "-f", "b.yaml", "--project-directory", "/srv"]
KUBECTL = ["kubectl", "--context", "prod", "-n", "linkflow"]
SYSTEMCTL = ["systemctl", "--no-pager", "--no-ask-password"]


class Platform:
    """Programs called docker, kubectl, systemctl and journalctl that answer by rules and remember their words."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("docker", "kubectl", "systemctl", "journalctl", "own"):
            program = folder / name
            program.write_text(STAND_IN.format(python=sys.executable, folder=str(folder)))
            program.chmod(0o755)
        self.answer()

    def answer(self, *rules: tuple[list[str], int, str, str]) -> None:
        (self.folder / "answers.json").write_text(json.dumps(rules))

    @property
    def words(self) -> list[list[str]]:
        log = self.folder / "words.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def ask(
    settings: dict[str, Any], request: object, mode: Literal["read", "write"] = "read", affected: int | None = None
) -> Any:
    session = service.connect(Target("worker", "service", settings), mode)
    try:
        return session.call(Call(id="run/s/1/1", request=request, deadline=20, affected=affected))
    finally:
        session.close()


def printed(name: str) -> str:
    """What docker or kubectl prints, in the form that its reference documents, from `tests/fixtures`."""
    return (FIXTURES / name).read_text()
