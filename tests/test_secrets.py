from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from runbook_engine.errors import UsageError
from runbook_engine.secrets import is_reference, resolve, resolve_settings

ENVIRON = {
    "PATH": "/usr/bin:/bin",
    "REDIS_PASSWORD": "hunter2!",
    "EMPTY": "",
    "DATABASE_URL": "postgres://u:p%40ss%21@db/x",
}


def resolved(reference: Any, environ: Mapping[str, str] = ENVIRON) -> str:
    return resolve(reference, path="redis.password", environ=environ)


def refused(reference: Any) -> str:
    with pytest.raises(UsageError) as caught:
        resolved(reference)
    return str(caught.value)


def test_each_kind_of_reference_gives_its_text(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("from file\n")
    file.chmod(0o600)
    assert resolved({"env": "REDIS_PASSWORD"}) == "hunter2!"
    assert resolved({"env": "EMPTY"}) == ""
    assert resolved({"file": str(file)}) == "from file"
    assert resolved({"command": ["sh", "-c", 'echo "$REDIS_PASSWORD x"']}) == "hunter2! x"
    assert resolved({"value": "plain"}) == resolved("plain") == "plain"


def test_only_one_line_end_is_taken_off(tmp_path: Path) -> None:
    assert resolved({"command": ["printf", " a b \\n\\n"]}) == " a b \n"
    assert resolved({"command": ["printf", "a\\r\\n"]}) == "a"


def test_a_missing_variable_is_named_with_the_setting_that_wants_it() -> None:
    assert refused({"env": "NOPE"}) == (
        "redis.password: environment variable 'NOPE' is not set. export it, or mend the reference"
    )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    said = refused({"file": str(tmp_path / "nope")})
    assert said.startswith("redis.password: secret file ") and "cannot be read: No such file or directory" in said
    assert "Is a directory" in refused({"file": str(tmp_path)})


def test_a_file_that_others_can_read_is_warned_about(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("x" * 10)
    file.chmod(0o644)
    warnings: list[str] = []
    assert resolve({"file": str(file)}, path="a", environ={}, warn=warnings.append) == "x" * 10
    assert len(warnings) == 1 and "can be read by others. `chmod 600` it" in warnings[0]


def test_what_is_too_long_or_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(b"x" * 70_000)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    assert "more than 64 KiB" in refused({"file": str(tmp_path / "long")})
    assert "not hold UTF-8 text" in refused({"file": str(tmp_path / "bytes")})
    assert "more than 64 KiB" in refused({"command": ["sh", "-c", "yes"]})


def test_a_failing_command_shows_its_last_complaint_without_secrets() -> None:
    script = "echo hunter2-out; echo first >&2; echo 'denied password=abc hunter2-out \x1b[2J' >&2; exit 3"
    said = refused({"command": ["sh", "-c", script]})
    assert said.startswith("redis.password: secret command 'sh' ended with 3: denied password=*** ")
    assert "hunter2" not in said and "\x1b" not in said and "first" not in said
    assert "ended with 1. run it by hand" in refused({"command": ["false"]})
    assert "cannot be started: No such file or directory" in refused({"command": ["/no/such/command"]})


def test_a_command_that_hangs_is_ended_with_its_children(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("runbook_engine.secrets.COMMAND_TIMEOUT", 0.3)
    said = refused({"command": ["sh", "-c", f"sleep 77 & echo $! > {tmp_path}/pid; wait"]})
    assert "took longer than 0.3 s" in said
    child = Path("/proc", (tmp_path / "pid").read_text().strip(), "status")
    assert not child.exists() or re.search(r"State:\s+[ZX]", child.read_text())


def test_a_command_is_never_given_to_a_shell() -> None:
    assert resolved({"command": ["printf", "%s", "$(id); `id` $HOME"]}) == "$(id); `id` $HOME"


@pytest.mark.parametrize(
    "value",
    [
        {"env": {"A": "b"}},
        {"command": {"status": ["x"]}},
        {"command": []},
        {"env": "A", "file": "b"},
        {},
        "env",
        None,
        ["env"],
    ],
)
def test_what_only_resembles_a_reference_is_none(value: Any) -> None:
    assert not is_reference(value)
    if not isinstance(value, str):
        assert "is not a secret reference. write one of {env: NAME}" in refused(value)


def test_settings_are_resolved_wherever_references_stand_and_secrets_named_by_path() -> None:
    settings = {
        "host": "redis",
        "port": 6379,
        "password": {"env": "REDIS_PASSWORD"},
        "tls": {"ca": {"value": "/etc/ca.pem"}, "keys": [{"command": ["echo", "key one"]}]},
        "environment": {"env": {"A": "b"}},
    }
    found, secrets = resolve_settings(settings, "redis", environ=ENVIRON)
    assert found == {
        "host": "redis",
        "port": 6379,
        "password": "hunter2!",
        "tls": {"ca": "/etc/ca.pem", "keys": ["key one"]},
        "environment": {"env": {"A": "b"}},
    }
    assert secrets == {"redis.password": "hunter2!", "redis.tls.keys[0]": "key one"}


def test_passwords_in_urls_are_known_as_written_and_as_meant() -> None:
    settings = {
        "url": "redis://:p%40ss%21@h/0",
        "api": "http://h/?token=abcdef1&x=1",
        "from": {"env": "DATABASE_URL"},
        "bad": "http://[x",
    }
    _, secrets = resolve_settings(settings, "", environ=ENVIRON)
    assert secrets == {
        "url.password": "p@ss!",
        "url.password[1]": "p%40ss%21",
        "api.password": "abcdef1",
        "from": "postgres://u:p%40ss%21@db/x",
        "from.password": "p@ss!",
        "from.password[1]": "p%40ss%21",
    }


def test_a_literal_secret_is_known_and_warned_about() -> None:
    warnings: list[str] = []
    found, secrets = resolve_settings({"password": "hunter2!"}, "db", environ={}, warn=warnings.append)
    assert found == {"password": "hunter2!"} and secrets == {"db.password": "hunter2!"}
    assert warnings == [
        "db.password: the configuration holds the secret itself. write {env: NAME} or {file: PATH} instead"
    ]
