"""`logs:` by file, own command, compose, kubernetes and journal: the exact words, and what came of it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from platforms import COMPOSE, KUBECTL, KUBERNETES, PREFIX, SYSTEMD, Platform
from pydantic import ValidationError

from runbook_engine.errors import Refused, TargetError
from runbook_engine.executor import Call, Effect, Target
from runbook_engine.executors import logs
from runbook_engine.logs import files


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Platform(tmp_path)


def line(age: float, status: int = 200) -> str:
    at = datetime.fromtimestamp(time.time() - age, UTC).isoformat().replace("+00:00", "Z")
    return json.dumps({"level": "info", "path": "/x", "status": status, "duration": 1.0, "time": at, "message": "m"})


def ask(settings: dict[str, Any], request: object) -> Any:
    session = logs.connect(Target("worker", "service", settings), "read")
    try:
        answer = session.call(Call(id="run/s/1/1", request=request, deadline=30))
        assert set(answer) == set(logs.ANSWERS) and json.loads(json.dumps(answer)) == answer
        return answer
    finally:
        session.close()


WORDS: list[tuple[dict[str, Any], list[str]]] = [
    (COMPOSE, [*PREFIX, "logs", "--no-color", "--no-log-prefix", "--since", "90s", "--tail", "200000", "--timestamps",
               "worker"]),
    (KUBERNETES, [*KUBECTL, "logs", "deployment/linkflow-worker", "--all-pods=true", "--since=90s", "--tail=200000",
                  "--timestamps"]),
    (SYSTEMD, ["journalctl", "-u", "linkflow-worker.service", "-n", "200000", "--since", "-90s", "--no-pager", "-o",
               "short-unix"]),
    ({"command": {"logs": ["own", "{lines}", "{since}"]}}, ["own", "200000", "90"]),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "words"), WORDS, ids=["compose", "kubernetes", "systemd", "command"])
def test_a_platform_is_asked_for_the_window_with_its_times(
    settings: dict[str, Any], words: list[str], platform: Platform
) -> None:
    platform.answer(([], 0, line(5, 500) + "\n", "pq: sorry\n"))
    answer = ask(settings, {"since": 89.5, "recent": 10})
    assert platform.words == [words]
    assert (answer["requests"], answer["recent"]["n5xx"], answer["errors"]) == (1, 1, 1)
    assert answer["truncated"] is False


def test_what_ran_before_is_asked_for_too_and_need_not_be_there(platform: Platform) -> None:
    platform.answer((["--previous"], 1, "", "previous terminated container not found\n"), ([], 0, line(5) + "\n", ""))
    assert ask(KUBERNETES, {"since": "15m", "previous": True})["lines"] == 1
    assert [words[-1] for words in platform.words] == ["--timestamps", "--previous"]
    platform.answer((["--previous"], 0, line(60) + "\n", ""), ([], 0, line(5) + "\n", ""))
    assert ask(KUBERNETES, {"previous": True})["lines"] == 2
    before = len(platform.words)
    ask({"command": {"logs": ["own"]}}, {"previous": True})
    assert len(platform.words) == before + 1


def test_a_platform_that_fails_is_an_error_with_its_last_word(platform: Platform) -> None:
    platform.answer(([], 1, "", "Cannot connect to the Docker daemon\n"))
    with pytest.raises(TargetError, match="exit 1: Cannot connect"):
        ask(COMPOSE, "15m")


@pytest.fixture
def log_file(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def write(*lines: str | bytes) -> dict[str, Any]:
        data = b"\n".join(each if isinstance(each, bytes) else each.encode() for each in lines)
        (tmp_path / "app.log").write_bytes(data + b"\n")
        return {"log_file": str(tmp_path / "app.log")}

    return write


def test_a_file_is_read_and_stays_as_it_was(log_file: Callable[..., dict[str, Any]]) -> None:
    settings = log_file(line(2000, 500), line(50, 503), b"\xff\xfe\x00 garbage", line(5))
    before = os.stat(settings["log_file"])
    answer = ask(settings, "15m")
    assert (answer["requests"], answer["n5xx"], answer["lines"]) == (2, 1, 3)
    after = os.stat(settings["log_file"])
    assert (before.st_size, before.st_mtime_ns, before.st_ino) == (after.st_size, after.st_mtime_ns, after.st_ino)


def test_only_the_part_of_a_long_file_that_the_window_needs_is_read(log_file: Callable[..., dict[str, Any]]) -> None:
    settings = log_file(*[line(7200)] * 60_000, *[line(30)] * 10_000, line(1, 500))
    size = os.stat(settings["log_file"]).st_size
    found = files.tail(settings["log_file"], time.time() - 900, logs.MOST_BYTES)
    assert len(found.data) < size / 2 and not found.truncated
    answer = ask(settings, 900)
    assert (answer["requests"], answer["n5xx"], answer["truncated"]) == (10_001, 1, False)


def test_a_file_beyond_the_limit_loses_its_oldest_lines_and_says_so(log_file: Callable[..., dict[str, Any]]) -> None:
    settings = log_file(line(60, 500), *[line(30)] * 5000)
    found = files.tail(settings["log_file"], time.time() - 900, 50_000)
    assert found.truncated and len(found.data) < 50_000 and found.data.startswith(b'{"level"')
    many = log_file(line(60, 500), *["x"] * (logs.MOST_LINES + 10))
    answer = ask(many, 900)
    assert answer["truncated"] and answer["lines"] == logs.MOST_LINES and answer["n5xx"] == 0


def test_what_is_no_file_is_an_error_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, code in (("pipe", "not_a_file"), (".", "not_a_file"), ("none", "not_found")):
        with pytest.raises(TargetError) as caught:
            ask({"log_file": str(tmp_path / name)}, "15m")
        assert (caught.value.code, caught.value.happened) == (code, "no")


def test_an_empty_log_has_no_lines(log_file: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert ask({"log_file": str(tmp_path / "empty")}, "15m")["lines"] == 0


def test_a_command_that_prints_too_much_keeps_its_end(tmp_path: Path) -> None:
    program = "import sys; sys.stdout.write((chr(120) * 99 + chr(10)) * 600_000); print('pq: the end')"
    answer = ask({"command": {"logs": [sys.executable, "-c", program]}}, "15m")
    assert answer["truncated"] and answer["errors"] == 1


@pytest.mark.parametrize(
    "request_",
    [0, -1, "15 parsecs", {"since": "8d"}, {"recent": 0}, {"patterns": {"x": "("}}, {"follow": True}, True],
)
def test_a_request_that_cannot_be_meant_is_refused(request_: object) -> None:
    with pytest.raises(Refused, match="logs"):
        ask({"command": {"logs": ["own"]}}, request_)


def test_a_pattern_that_cannot_be_is_a_load_error_and_a_template_is_not() -> None:
    with pytest.raises(ValidationError):
        logs.Params.model_validate({"patterns": {"x": "("}})
    with pytest.raises(ValidationError, match="at most 20"):
        logs.Params.model_validate({"patterns": {str(number): "x" for number in range(21)}})
    given = {"since": "${{ window }}", "patterns": {"x": "${{ word }}("}}
    params = logs.Params.model_validate(given)
    assert logs.Params.model_validate(params.model_dump()) == params
    assert logs.least_effect(given)[0] == Effect.read and logs.bound_names(given) == frozenset()


def test_what_is_shown() -> None:
    request = {"since": 90, "previous": True, "patterns": {"bind": "in use"}}
    shown = logs.show(Call(id="x", request=request))
    assert shown == "log of the last 1m 30s and of what ran before, looking for bind"


def test_the_identity_names_the_log(tmp_path: Path) -> None:
    for settings, name in ((COMPOSE, "log of compose project linkflow, service worker"), ({"log_file": "/a"}, "/a")):
        session = logs.connect(Target("worker", "service", settings), "read")
        assert name in session.identity().name
        session.close()
    with pytest.raises(TargetError, match="exactly one of"):
        logs.connect(Target("worker", "service", {}), "read")
