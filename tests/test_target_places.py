"""Where a target is may be named in a playbook: its host, its port, its url. What lets one in may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbook_engine.targets import load_environment

FILE = """
environments:
  one:
    targets:
      api: {kind: http, url: "%s", headers: {Authorization: "Bearer abc"}}
      db: {kind: postgres, host: db.example.org, port: 5433, user: app, password: {env: PG_PASSWORD}}
      redis: {kind: redis, url: "redis://:secret@cache:6379/0"}
      workers: {kind: service, command: {status: [worker, status]}}
"""


def places(folder: Path, url: str = "http://localhost:8090") -> dict[str, dict[str, object]]:
    (folder / "runbook.yaml").write_text(FILE % url)
    return load_environment(None, environ={"PG_PASSWORD": "swordfish-9"}, folders=[folder]).places()


def test_host_and_port_of_each_target_and_nothing_else_of_it(tmp_path: Path) -> None:
    assert places(tmp_path) == {
        "api": {"host": "localhost", "port": 8090, "url": "http://localhost:8090"},
        "db": {"host": "db.example.org", "port": 5433},
        "redis": {},
        "workers": {},
    }


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://linkflow.example.org", ("linkflow.example.org", 443, "https://linkflow.example.org:443")),
        ("http://[::1]:8090/", ("::1", 8090, "http://[::1]:8090")),
        ("http://app:swordfish-9@api:8090/v1?token=x", ("api", 8090, "http://api:8090")),
    ],
)
def test_an_address_loses_whoever_logs_in_and_its_path(tmp_path: Path, url: str, place: tuple[object, ...]) -> None:
    found = places(tmp_path, url)["api"]
    assert (found["host"], found["port"], found["url"]) == place


@pytest.mark.parametrize("url", ["http://api:notaport", "ftp://api", ""])
def test_what_is_no_web_address_has_no_place(tmp_path: Path, url: str) -> None:
    assert places(tmp_path, url)["api"] == {}
