"""asynq's messages: what real clients wrote is understood, and no bytes can do harm."""

from __future__ import annotations

import base64
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbook_engine.asynq.wire import (
    ServerInfo,
    TaskMessage,
    WireError,
    WorkerInfo,
    decode_server_info,
    decode_task_message,
    decode_worker_info,
    encode_server_info,
    encode_task_message,
    encode_worker_info,
)

FIXTURES = Path(__file__).parent / "fixtures"
VERSIONS = ["024", "026"]
INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(max_size=20)
TIMES = st.integers(0, 4_000_000_000 * 1024).map(lambda n: n / 1024)


def keys_of(version: str) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((FIXTURES / f"asynq-{version}.json").read_text())["keys"]
    return loaded


def raw_tasks(version: str) -> list[tuple[str, bytes]]:
    found = [item for item in keys_of(version) if ":t:" in item["key"] and item["type"] == "hash"]
    return [(item["key"], base64.b64decode(item["value"]["msg"]["base64"])) for item in found]


def raw_servers(version: str) -> list[bytes]:
    found = [item for item in keys_of(version) if item["key"].startswith("asynq:servers:{")]
    return [base64.b64decode(item["value"]["base64"]) for item in found]


def raw_workers(version: str) -> list[tuple[str, bytes]]:
    found = [item for item in keys_of(version) if item["key"].startswith("asynq:workers:{")]
    return [(task, base64.b64decode(value["base64"])) for item in found for task, value in item["value"].items()]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_task_message_names_the_id_and_queue_of_its_key(version: str) -> None:
    assert raw_tasks(version)
    for key, raw in raw_tasks(version):
        message = decode_task_message(raw)
        assert key == f"asynq:{{{message.queue}}}:t:{message.id}"
        assert message.type and message.payload and 0 <= message.retried <= 25


@pytest.mark.parametrize("version", VERSIONS)
def test_every_server_has_a_host_queues_and_a_start_before_the_fixture_was_taken(version: str) -> None:
    for raw in raw_servers(version):
        server = decode_server_info(raw)
        assert server.host == "vm" and server.pid > 0 and server.concurrency == 3
        assert server.queues == {"critical": 6, "default": 3, "low": 1}
        assert server.status == "active" and 1.79e9 < server.start < 1.8e9 and server.active_worker_count == 3


@pytest.mark.parametrize("version", VERSIONS)
def test_every_worker_names_the_task_it_is_filed_under(version: str) -> None:
    assert len(raw_workers(version)) == 3
    for task, raw in raw_workers(version):
        worker = decode_worker_info(raw)
        assert worker.task_id == task and worker.task_type == "slow" and worker.task_payload == b"60000"
        assert worker.queue in ("critical", "default") and worker.start < worker.deadline


@pytest.mark.parametrize("version", VERSIONS)
def test_what_go_wrote_survives_being_written_again(version: str) -> None:
    for _, raw in raw_tasks(version):
        assert decode_task_message(encode_task_message(decode_task_message(raw))) == decode_task_message(raw)
    for raw in raw_servers(version):
        assert decode_server_info(encode_server_info(decode_server_info(raw))) == decode_server_info(raw)
    for _, raw in raw_workers(version):
        assert decode_worker_info(encode_worker_info(decode_worker_info(raw))) == decode_worker_info(raw)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_task_message_is_written_byte_for_byte_as_go_writes_it(version: str) -> None:
    for _, raw in raw_tasks(version):
        if decode_task_message(raw).headers:
            continue  # Go writes a map in any order
        assert encode_task_message(decode_task_message(raw)) == raw


def test_no_bytes_are_the_zero_message() -> None:
    assert decode_task_message(b"") == TaskMessage()
    assert encode_task_message(TaskMessage()) == b""


def test_a_field_of_a_newer_version_is_skipped() -> None:
    later = b"\xa0\x06\x05" + b"\xaa\x06\x03abc" + b"\xad\x06\x00\x00\x00\x00" + b"\xa9\x06" + bytes(8)
    assert decode_task_message(encode_task_message(TaskMessage(id="a")) + later) == TaskMessage(id="a")


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (b"\x0a", "end inside the number"),
        (b"\x0a\x05ab", "wants 5 bytes"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "are left"),
        (b"\x08" + b"\xff" * 11, "longer than 10 bytes"),
        (b"\x00\x01", "field number 0"),
        (b"\x0b", "wire type 3"),
        (b"\x08\x01", "cannot have"),
        (b"\x0a\x01\xff", "not UTF-8"),
        (b"plain text that somebody stored", "wire type|wants|cannot have|longer"),
    ],
)
def test_bytes_that_are_no_message_are_refused_with_the_reason(raw: bytes, complaint: str) -> None:
    with pytest.raises(WireError, match=complaint):
        decode_task_message(raw)


@pytest.mark.parametrize(
    "info",
    [
        ServerInfo(pid=2**31),
        ServerInfo(start=float("inf")),
        ServerInfo(start=float("nan")),
        ServerInfo(start=1e300),
        ServerInfo(host="\ud800"),
        ServerInfo(queues={"a": 2**40}),
    ],
)
def test_a_value_that_does_not_fit_is_refused(info: ServerInfo) -> None:
    with pytest.raises(WireError):
        encode_server_info(info)


@given(st.binary(max_size=200))
def test_hostile_bytes_raise_a_wire_error_or_nothing(raw: bytes) -> None:
    for decode in (decode_task_message, decode_server_info, decode_worker_info):
        try:
            decode(raw)
        except WireError:
            continue


@given(st.data())
def test_real_messages_with_a_byte_changed_raise_a_wire_error_or_nothing(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from([raw for _, raw in raw_tasks("026")] + raw_servers("026"))))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    for decode in (decode_task_message, decode_server_info, decode_worker_info):
        try:
            decode(bytes(raw))
        except WireError:
            continue


MESSAGES = st.builds(
    TaskMessage,
    type=TEXT,
    payload=st.binary(max_size=50),
    id=TEXT,
    queue=TEXT,
    retry=INT32,
    retried=INT32,
    error_msg=TEXT,
    timeout=INT64,
    deadline=INT64,
    unique_key=TEXT,
    last_failed_at=INT64,
    retention=INT64,
    completed_at=INT64,
    group_key=TEXT,
    headers=st.dictionaries(TEXT, TEXT, max_size=3),
)
SERVERS = st.builds(
    ServerInfo,
    host=TEXT,
    pid=INT32,
    server_id=TEXT,
    concurrency=INT32,
    queues=st.dictionaries(TEXT, INT32, max_size=3),
    strict_priority=st.booleans(),
    status=TEXT,
    start=TIMES,
    active_worker_count=INT32,
)
WORKERS = st.builds(
    WorkerInfo,
    host=TEXT,
    pid=INT32,
    server_id=TEXT,
    task_id=TEXT,
    task_type=TEXT,
    task_payload=st.binary(max_size=50),
    queue=TEXT,
    start=TIMES,
    deadline=TIMES,
)


@given(MESSAGES)
def test_any_task_message_comes_back_as_it_was(message: TaskMessage) -> None:
    assert decode_task_message(encode_task_message(message)) == message


@given(SERVERS)
def test_any_server_comes_back_as_it_was(info: ServerInfo) -> None:
    again = decode_server_info(encode_server_info(info))
    same_start = abs(again.start - info.start) < 1e-6
    assert same_start and all(
        getattr(again, item.name) == getattr(info, item.name) for item in fields(info) if item.name != "start"
    )


@given(WORKERS)
def test_any_worker_comes_back_as_it_was(info: WorkerInfo) -> None:
    again = decode_worker_info(encode_worker_info(info))
    assert abs(again.start - info.start) < 1e-6 and abs(again.deadline - info.deadline) < 1e-6
    assert (again.task_id, again.pid, again.task_payload) == (info.task_id, info.pid, info.task_payload)
