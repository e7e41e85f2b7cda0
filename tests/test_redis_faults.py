"""The sandbox's faults of Redis: each shows the word or the key it is named for, and is gone when it is healed."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from runbook_engine.sandbox import control
from runbook_engine.sandbox.baseline import look
from runbook_engine.sandbox.broker import connect_redis, key
from runbook_engine.sandbox.redis_care import CLEAN
from runbook_engine.sandbox.redis_faults import refusal
from runbook_engine.sandbox.service import request
from runbook_engine.sandbox.state import State
from runbook_engine.sandbox.webhooks import GROUP, STREAM

pytestmark = pytest.mark.xdist_group("sandbox")


def facts(state: State) -> dict[str, Any]:
    with contextlib.closing(connect_redis(state)) as client:
        return {
            **client.info(),
            "stream": client.xlen(STREAM),
            "completed": client.zcard(key("default", "completed")),
            "pending": client.llen(key("default", "pending")),
            "archived": client.zcard(key("default", "archived")),
            "sessions": int(client.exists("session:cache:1")),
        }


@pytest.mark.parametrize(
    ("fault", "grown", "least"),
    [
        ("F90", "completed", 30_000),
        ("F92", "sessions", 1),
        ("F93", "stream", 10_000),
        ("F94", "pending", 25_000),
        ("F96", "archived", 8_000),
    ],
)
def test_redis_is_full_of_what_the_fault_says_and_empty_of_it_when_healed(
    sandbox: State, fault: str, grown: str, least: int
) -> None:
    control.restore(sandbox)
    control.break_(sandbox, fault, seed=3)
    found = facts(sandbox)
    assert found[grown] >= least and found["used_memory"] > found["maxmemory"] > 16 << 20
    assert "maxmemory" in refusal(sandbox)
    control.heal(sandbox)
    assert facts(sandbox)[grown] < least / 2 and refusal(sandbox) == ""
    control.restore(sandbox)
    assert look(sandbox).healthy


def test_evictions_go_on_until_the_policy_is_put_back(sandbox: State) -> None:
    control.restore(sandbox)
    control.break_(sandbox, "F98", seed=3)
    found = facts(sandbox)
    assert found["evicted_keys"] > 500 and found["maxmemory_policy"] == "allkeys-lru"
    control.restore(sandbox)
    assert facts(sandbox)["maxmemory_policy"] == "noeviction" and look(sandbox).healthy


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("F100a", "refused"),
        ("F100b", "loading"),
        ("F100c", "auth"),
        ("F100d", "max number of clients|Connection|closed"),
        ("F100e", "read only|READONLY"),
        ("F100g", "NOREPLICAS|replicas"),
        ("F100h", "MISCONF|RDB"),
        ("F100i", "BUSY|busy"),
        ("F100j", "timeout"),
        ("F100k", "timeout"),
    ],
)
def test_redis_refuses_as_it_says_and_restore_brings_a_clean_one_back(sandbox: State, fault: str, words: str) -> None:
    control.restore(sandbox)
    control.break_(sandbox, fault, seed=3)
    said = refusal(sandbox)
    assert any(word.lower() in said.lower() for word in words.split("|")), said
    control.restore(sandbox)
    assert_clean(sandbox)


def assert_clean(state: State) -> None:
    with contextlib.closing(connect_redis(state)) as client:
        assert {name: client.config_get(name).get(name, value) for name, value in CLEAN.items()} == CLEAN
        assert client.info("replication")["role"] == "master"
        assert client.info("persistence")["rdb_last_bgsave_status"] == "ok"
        assert [group["name"] for group in client.xinfo_groups(STREAM)] == [GROUP.encode()]
    assert look(state).healthy and refusal(state) == ""


def test_restore_brings_back_what_nobody_recorded(sandbox: State) -> None:
    control.restore(sandbox)
    with contextlib.closing(connect_redis(sandbox)) as client:
        client.config_set("min-replicas-to-write", 1)
        client.replicaof("127.0.0.1", "1")
        client.config_set("requirepass", "another")
    control.restore(sandbox)
    assert_clean(sandbox)


def test_a_healthy_sandbox_takes_webhooks_in_and_works_them_off(sandbox: State) -> None:
    control.restore(sandbox)
    with contextlib.closing(connect_redis(sandbox)) as client:
        before = client.xinfo_stream(STREAM)["last-generated-id"]
        for _ in range(100):
            group = client.xinfo_groups(STREAM)[0]
            if group["last-delivered-id"] > before and group["pending"] == 0:
                break
            client.xread({STREAM: "$"}, block=100)
        assert group["consumers"] >= 1 and group["last-delivered-id"] > before
    assert request(sandbox, {"service": "worker", "action": "status"})["running"] == 2
