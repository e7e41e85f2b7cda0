"""`host:` over real processes and real sockets of this machine, some of them another user's."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from runbook_engine import doctor
from runbook_engine.errors import Refused, TargetError
from runbook_engine.executor import Call, Effect, Target
from runbook_engine.executors import host
from runbook_engine.policy import Policy
from runbook_engine.redaction import Redactor
from runbook_engine.targets import Environment

LISTENS = """
import socket, sys, time
made = socket.create_server((sys.argv[1], 0), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
print(made.getsockname()[1], flush=True)
time.sleep(600)
"""
ASKS_AS_NOBODY = """
import json, os, sys
from runbook_engine.executor import Call, Target
from runbook_engine.executors import host
session = host.connect(Target("machine", "host", {}), "read")
os.setgroups([]); os.setgid(65534); os.setuid(65534)
print(json.dumps(session.call(Call("x", json.loads(sys.argv[1])))))
"""


def ask(request: dict[str, Any], deadline: float = 30.0) -> Any:
    with closing(host.connect(Target("machine", "host", {}), "read")) as session:
        answer = session.call(Call("run/s/1/1", request, deadline=deadline))
    assert set(answer) == set(host.ANSWERS)
    return answer


@contextmanager
def process(code: str, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options) as running:
        try:
            yield running
        finally:
            with contextlib.suppress(ProcessLookupError):
                running.send_signal(signal.SIGCONT)
            running.kill()


@contextmanager
def listener(address: str, *arguments: str) -> Iterator[tuple[int, int]]:
    """A process that listens there: its pid and its port."""
    with process(LISTENS, address, *arguments) as running:
        assert running.stdout
        yield running.pid, int(running.stdout.readline())


def wait_until(claim: Callable[[], bool]) -> None:
    for _ in range(1000):
        if claim():
            return
        time.sleep(0.01)
    raise AssertionError("it never came true")


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_a_listener_is_named_with_the_address_it_is_bound_to(address: str) -> None:
    if ":" in address and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with listener(address) as (pid, port):
        (row,) = ask({"ports": [port]})["listeners"]
    assert (row["port"], row["address"], row["pid"]) == (port, address, pid)
    assert row["name"].startswith("python") and Path(row["exe"]).exists()
    assert row["user"] == pwd.getpwuid(os.getuid()).pw_name and 0 <= row["uptime_s"] < 600


def test_one_port_may_be_given_as_a_number_or_a_text_and_a_free_one_has_no_listener() -> None:
    with listener("127.0.0.1") as (pid, port):
        for ports in (port, str(port), [str(port), None]):
            assert [row["pid"] for row in ask({"ports": ports})["listeners"]] == [pid]
    assert ask({"ports": port})["listeners"] == []


def test_a_port_that_is_only_connected_to_is_no_listener() -> None:
    with listener("127.0.0.1") as (_, port), socket.create_connection(("127.0.0.1", port)) as connection:
        own = connection.getsockname()[1]
        assert ask({"ports": [own]})["listeners"] == []


def test_a_process_is_described_by_what_it_uses_and_never_by_its_arguments() -> None:
    with listener("127.0.0.1", "--password=hunter2") as (pid, port):
        answer = ask({"pids": pid, "ports": port})
        (row,) = answer["processes"]
    assert row["alive"] and row["listen_ports"] == [port] and row["state"] == "sleeping"
    assert row["rss"] > 1_000_000 and row["threads"] == 1 and 0 < row["fds"] < row["fd_limit"]
    assert row["cpu"] < 50 and row["uptime_s"] < 600
    assert "hunter2" not in json.dumps(answer)


def test_the_use_of_cpu_is_a_percentage_of_one_core() -> None:
    with process("while True: pass") as running:
        (row,) = ask({"pids": [running.pid], "seconds": 1})["processes"]
    assert 5 < row["cpu"] < 150


def test_a_stopped_process_is_alive_and_says_that_it_is_stopped() -> None:
    with listener("127.0.0.1") as (pid, port):
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: ask({"pids": pid, "seconds": 0})["processes"][0]["state"] == "stopped")
        row = ask({"pids": pid})["processes"][0]
    assert row["alive"] and row["listen_ports"] == [port]


def test_a_process_that_ended_is_not_alive_whether_or_not_its_parent_has_looked() -> None:
    with process("pass") as running:
        wait_until(lambda: not ask({"pids": running.pid, "seconds": 0})["processes"][0]["alive"])
        zombie = ask({"pids": [running.pid], "seconds": 0})["processes"][0]
        running.wait()
        gone = ask({"pids": [running.pid]})["processes"][0]
    assert zombie["state"] == "zombie"
    assert gone == {"pid": running.pid, "alive": False, **dict.fromkeys(set(gone) - {"pid", "alive"})}


def test_processes_are_told_in_the_order_they_were_asked_for_and_once_each() -> None:
    with process("input()", stdin=subprocess.PIPE) as one, process("input()", stdin=subprocess.PIPE) as two:
        rows = ask({"pids": [two.pid, one.pid, str(two.pid), None], "seconds": 0})["processes"]
    assert [row["pid"] for row in rows] == [two.pid, one.pid]
    assert ask({"pids": []})["processes"] == []


def test_of_another_users_process_what_is_hidden_is_none() -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become somebody else")
    with socket.create_server(("127.0.0.1", 0)) as ours:
        port = ours.getsockname()[1]
        asked = json.dumps({"seconds": 0, "pids": [os.getpid()], "ports": [port]})
        done = subprocess.run(
            [sys.executable, "-c", ASKS_AS_NOBODY, asked], capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert [(row["port"], row["pid"], row["name"]) for row in answer["listeners"]] == [(port, None, None)]
    (row,) = answer["processes"]
    assert row["alive"] and row["name"] and row["rss"] > 0
    assert row["fds"] is row["listen_ports"] is row["exe"] is None


def test_resources_are_figures_of_this_machine() -> None:
    found = ask({"resources": True})["resources"]
    assert found["cores"] >= 1 and 0 < found["mem_available_pct"] <= 100 and found["load_per_core"] >= 0
    assert [disk["path"] for disk in found["disks"]] == ["/"] and 0 <= found["disks"][0]["free_pct"] <= 100
    pressures = [value for name, value in found.items() if name.startswith("psi_")]
    assert len(pressures) == 6
    known = Path("/proc/pressure/cpu").exists()
    assert all((value is not None and 0 <= value <= 100) if known else value is None for value in pressures)


def test_a_disk_that_is_not_there_is_none_and_does_not_hide_the_others(tmp_path: Path) -> None:
    disks = ask({"disks": [str(tmp_path / "nowhere"), str(tmp_path)]})["resources"]["disks"]
    assert disks[0] == {"path": str(tmp_path / "nowhere"), "free": None, "free_pct": None}
    assert disks[1]["free"] > 0


def test_what_was_not_asked_for_is_none() -> None:
    assert ask({"resources": True}) | {"resources": None} == dict.fromkeys(host.ANSWERS) | {"truncated": False}
    assert ask({"pids": [os.getpid()], "seconds": 0})["listeners"] is None


def test_more_than_200_are_cut_and_that_is_said() -> None:
    answer = ask({"pids": list(range(1, 300)), "seconds": 0})
    assert len(answer["processes"]) == 200 and answer["truncated"]


def test_a_call_keeps_its_deadline_and_nothing_has_happened() -> None:
    with pytest.raises(TargetError, match="no answer within") as caught:
        ask({"pids": [os.getpid()], "seconds": 30}, deadline=0.2)
    assert (caught.value.code, caught.value.happened) == ("timeout", "no")


@pytest.mark.parametrize(
    ("request_", "mend"),
    [
        ({"kill": 1}, "it only reads ports"),
        ({"ports": 0}, "from 1 to 65535"),
        ({"ports": ["http"]}, "from 1 to 65535"),
        ({"ports": [70000]}, "from 1 to 65535"),
        ({"pids": [-1]}, "from 1 to"),
        ({"pids": "$(id)"}, "from 1 to"),
        ({"pids": 1, "seconds": "soon"}, "from 0 to 60"),
        ({}, "say what to look at"),
    ],
)
def test_what_is_no_number_is_refused(request_: dict[str, Any], mend: str) -> None:
    with pytest.raises(Refused, match=mend):
        ask(request_)


def test_templates_may_stand_for_everything() -> None:
    params = host.Params.model_validate(
        {"ports": ["${{ port }}"], "pids": "${{ pids }}", "resources": True, "disks": ["/", "${{ path }}"]}
    )
    assert host.Params.model_validate(params.model_dump()) == params
    assert host.least_effect(params.model_dump())[0] is Effect.read and host.bound_names(params.model_dump()) == set()
    with pytest.raises(ValidationError):
        host.Params.model_validate({"port": 1})


def test_what_is_shown() -> None:
    assert host.show(Call("x", {"ports": 8090, "pids": [3, 4]})) == "listeners on 8090; processes 3, 4"
    assert host.show(Call("x", {"resources": True})) == "memory, load, pressure and the disks of /"


def test_an_environment_that_gives_it_a_machine_is_told_that_it_has_none() -> None:
    with pytest.raises(TargetError, match="this machine and has no settings; found host") as caught:
        host.connect(Target("machine", "host", {"host": "db.example.org"}), "read")
    assert caught.value.code == "unsupported"


def test_doctor_says_which_machine_it_is() -> None:
    environment = Environment(
        "here", 1.0, Policy(), {"machine": Target("machine", "host", {})}, Redactor({}, public=frozenset())
    )
    (report,) = doctor.examine(environment)
    assert report["reachable"] and socket.gethostname() in report["identity"] and report["missing"] == []
