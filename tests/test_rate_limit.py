"""LinkFlow's rate limiter: what it does, and that looking at a limited API neither calls it down nor makes it worse."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client
import yaml
from carried_out import Trial, assert_fixed

from runbook_engine.sandbox import control
from runbook_engine.sandbox.baseline import wait_until
from runbook_engine.sandbox.broker import connect_redis
from runbook_engine.sandbox.rate_limit import LIMIT
from runbook_engine.sandbox.service import request
from runbook_engine.sandbox.state import State

pytestmark = pytest.mark.xdist_group("sandbox")

CLIENT = "203.0.113.7"
KEY = f"ratelimit:ip:{CLIENT}"
HANDFUL = 4  # requests that one run may add to a limiter's count


@pytest.fixture
def redis(sandbox: State) -> Iterator[redis_client.Redis]:
    control.restore(sandbox)
    with closing(connect_redis(sandbox)) as client:
        yield client
    control.restore(sandbox)


def ask(state: State, path: str = "/api/v1/health", **headers: str) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", state.api_port, timeout=5)) as connection:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        return connection.getresponse().status


def exhausted(state: State, redis: redis_client.Redis) -> None:
    """The client has asked too often, and its count will not run out during the test."""
    redis.set(KEY, LIMIT + 50, px=600_000)
    assert ask(state, X_Forwarded_For=CLIENT) == 429


def through_a_proxy(state: State, folder: Path, playbook: str, **inputs: str) -> Trial:
    """A run whose requests all come from one address, as from behind a proxy."""
    document: dict[str, Any] = yaml.safe_load((state.folder / "runbook.yaml").read_text())
    document["environments"]["sandbox"]["targets"]["api"]["headers"] = {"X-Forwarded-For": CLIENT}
    (folder / "runbook.yaml").write_text(yaml.safe_dump(document))
    return Trial(replace(state, folder=folder), folder, playbook, inputs)


def test_every_request_renews_the_window_and_the_hundred_and_first_is_refused(
    sandbox: State, redis: redis_client.Redis
) -> None:
    assert ask(sandbox, X_Forwarded_For=CLIENT) == 200
    redis.pexpire(KEY, 900)
    assert ask(sandbox, X_Forwarded_For=CLIENT) == 200
    assert 900 < int(redis.pttl(KEY)) <= 6000
    redis.set(KEY, LIMIT - 1, keepttl=True)
    assert [ask(sandbox, X_Forwarded_For=CLIENT) for _ in range(2)] == [200, 429]


def test_who_comes_directly_has_a_new_key_with_every_connection(sandbox: State, redis: redis_client.Redis) -> None:
    assert [ask(sandbox) for _ in range(3)] == [200, 200, 200]
    keys = redis.keys("ratelimit:ip:127.0.0.1:*")
    assert len(keys) >= 3


def test_routes_for_those_who_signed_in_are_not_limited(sandbox: State, redis: redis_client.Redis) -> None:
    exhausted(sandbox, redis)
    assert ask(sandbox, "/api/v1/billing/plans", X_Forwarded_For=CLIENT) == 429
    assert ask(sandbox, "/api/v1/billing/plans", X_Forwarded_For=CLIENT, Authorization="Bearer one") == 200


def test_without_redis_it_lets_everybody_in(sandbox: State, redis: redis_client.Redis) -> None:
    exhausted(sandbox, redis)
    request(sandbox, {"service": "redis", "action": "stop"})
    assert ask(sandbox, "/api/v1/health/live", X_Forwarded_For=CLIENT) == 200


def test_the_constant_load_is_never_refused(sandbox: State, redis: redis_client.Redis) -> None:
    def statuses() -> list[int]:
        lines = sandbox.log_file("api").read_text().splitlines()
        return [json.loads(line)["status"] for line in lines if '"request completed"' in line]

    wait_until(lambda: len(statuses()) > 2 * LIMIT, "more requests than the limiter allows", 20)
    assert 429 not in statuses()


@pytest.mark.parametrize("playbook", ["connection-refused", "high-error-rate", "health-check"])
def test_a_limited_api_is_not_called_down_and_is_asked_few_times(
    sandbox: State, redis: redis_client.Redis, tmp_path: Path, playbook: str
) -> None:
    exhausted(sandbox, redis)
    before = int(redis.get(KEY) or 0)
    document = through_a_proxy(sandbox, tmp_path, playbook).run("")
    assert document["outcome"] == "healthy", (document["reason"], document["causes"][:2])
    added = int(redis.get(KEY) or 0) - before
    assert 1 <= added <= HANDFUL, f"{playbook} sent {added} requests"


def limited_client(state: State, redis: redis_client.Redis) -> None:
    """One that goes on asking: enough of it stands in the log of the last seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", state.api_port, timeout=5)
    with closing(connection):
        for _ in range(LIMIT + 400):
            connection.request("GET", "/api/v1/health/live", headers={"X-Forwarded-For": CLIENT})
            connection.getresponse().read()
    redis.pexpire(KEY, 600_000)


def test_a_client_that_is_refused_for_ever_is_let_in_again_and_the_undo_refuses_it(
    sandbox: State, redis: redis_client.Redis, tmp_path: Path
) -> None:
    limited_client(sandbox, redis)
    counted = redis.get(KEY)
    trial = Trial(sandbox, tmp_path, "high-error-rate", {"client": CLIENT})
    document = trial.run("forget-client")
    assert document["causes"][0]["id"] == "rate-limited"
    assert_fixed(document, "forget-client")
    assert ask(sandbox, X_Forwarded_For=CLIENT) == 200
    redis.delete(KEY)
    assert trial.undo()["outcome"] == "undone"
    assert redis.get(KEY) == counted and 0 < int(redis.pttl(KEY)) <= 600_000


def test_without_the_name_of_the_client_nothing_is_offered(
    sandbox: State, redis: redis_client.Redis, tmp_path: Path
) -> None:
    limited_client(sandbox, redis)
    document = Trial(sandbox, tmp_path, "high-error-rate").run("*")
    assert (document["outcome"], document["causes"][0]["id"]) == ("diagnosed", "rate-limited")
