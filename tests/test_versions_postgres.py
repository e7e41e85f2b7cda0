"""Every SQL statement that a shipped playbook or library may send, on the oldest and the newest PostgreSQL we serve.

What a server or a role cannot answer must be left out by the step's own gate: it is never an error of the server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from servers import PostgresServer, packaged_postgres, postgres_server

from runbook_engine.catalog import TESTS, folders, libraries_for
from runbook_engine.executor import Call, Target
from runbook_engine.executors import sql
from runbook_engine.expressions import Unknown, compile_expression
from runbook_engine.loader import load_playbook
from runbook_engine.model import Act, Playbook, Probe
from runbook_engine.sandbox.postgres import SCHEMA
from runbook_engine.sql.text import to_psycopg

SHIPPED = Path(__file__).parent.parent / "playbooks"
OLDEST, NEWEST = 15, 18
STATEMENT = "select count(*) from executions where workflow_id = $1 and created_at > $2"
ROLES = """
create role linkflow login;
create role runbook login password 'secret' in role pg_monitor, pg_signal_backend;
create role stranger login password 'secret';
"""
GRANTS = """
grant usage on schema public to stranger;
grant select on all tables in schema public to stranger;
"""


@dataclass(frozen=True)
class Place:
    """A server of one version with LinkFlow's tables, and one of the roles that may ask it."""

    server: PostgresServer
    role: str

    @property
    def settings(self) -> dict[str, Any]:
        return self.server.settings | {"user": self.role, "password": "secret"}


@pytest.fixture(scope="module", params=[OLDEST, NEWEST], ids=["PostgreSQL 15", "PostgreSQL 18"])
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    binaries = packaged_postgres(OLDEST) if request.param == OLDEST else None
    with postgres_server(binaries=binaries) as running:
        with superuser(running) as connection:
            for text in (ROLES, SCHEMA.read_text().replace("150000", "3000"), GRANTS):
                connection.execute(text.encode())
        yield running


@pytest.fixture(params=["runbook", "stranger"], ids=["pg_monitor", "without rights"])
def place(request: pytest.FixtureRequest, server: PostgresServer) -> Place:
    return Place(server, request.param)


def superuser(server: PostgresServer) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password,
        dbname=server.database,
        autocommit=True,
    )


@cache
def shipped() -> Mapping[str, Playbook]:
    """Every playbook; of each library one that takes all its probes over."""
    found: dict[str, Playbook] = {}
    for path in sorted(each for each in SHIPPED.rglob("*.yaml") if not each.name.endswith(TESTS)):
        text = path.read_text()
        document = yaml.safe_load(text)
        if "library" in document:
            text = taking_over(document)
        elif "runbook" not in document:
            continue
        places = folders({}, SHIPPED)
        found[path.stem] = load_playbook(text, str(path), libraries=libraries_for(text, places, path)).playbook
    return found


def taking_over(library: Mapping[str, Any]) -> str:
    name = library["library"]
    steps = [{"id": f"probe-{number}", "use": f"{name}.{probe}"} for number, probe in enumerate(library["probes"])]
    symptom = {"id": "there", "sql": "select 1 as one", "target": "db", "facts": {"one": "row.one"}, "present": "one"}
    return yaml.safe_dump(
        {
            "runbook": 1,
            "name": "takes-over",
            "title": f"Takes over everything of {name}",
            "targets": library["targets"],
            "symptoms": [symptom],
            "diagnosis": steps,
        }
    )


def probes_of(playbook: Playbook) -> list[Probe]:
    return [probe for probe in playbook.probes() if probe.executor == "sql"]


def other_reads(playbook: Playbook) -> Iterator[Act]:
    for action in playbook.resolution:
        yield from (act for act in action.snapshot.values() if act.executor == "sql")
        if action.progress is not None and action.progress.executor == "sql":
            yield action.progress


def writes_of(playbook: Playbook) -> Iterator[str]:
    for action in playbook.resolution:
        ways_back = [action.undo, *(part.undo for part in action.steps)]
        acts: list[Act] = [action, *action.steps, *(undo for undo in ways_back if undo is not None)]
        for act in acts:
            yield from sql.texts(act.request) if act.executor == "sql" else ()


def request_of(act: Act) -> Any:
    """As it is sent, with a statement of LinkFlow's for one that would come as data."""
    return {"plan": STATEMENT} if isinstance(act.request, dict) else act.request


def asked(session: Any, act: Act) -> Any:
    """What the server says. Values are none, for what cannot stand anything fails with those as with any other."""
    bindings = dict.fromkeys(sql.bound_names(act.request)) | dict.fromkeys(act.bindings)
    return session.call(Call(id="run/step/1/1", request=request_of(act), bindings=bindings, deadline=10.0))


def walk(session: Any, playbook: Playbook) -> tuple[int, list[str]]:
    """Ask every SQL probe whose gate does not forbid it. How many were asked, and what went wrong."""
    facts: dict[str, Any] = {name: given.default for name, given in playbook.inputs.items()}
    waiting = probes_of(playbook)
    known = {name for probe in waiting for name in probe.facts}
    count, wrong = 0, []
    while waiting:
        probe = next((each for each in waiting if settled(each, facts, known)), waiting[0])
        waiting.remove(probe)
        gate = compile_expression(probe.when).evaluate(scope_of(playbook, facts)) if probe.when else True
        if not isinstance(gate, Unknown) and not gate:
            facts |= dict.fromkeys(probe.facts, Unknown("its gate"))
            continue
        try:
            answer = asked(session, probe)
        except Exception as error:
            wrong.append(f"{playbook.name}/{probe.id}: {error}")
            answer = {}
        count += 1
        absent = dict.fromkeys(sql.ANSWERS, Unknown("not answered"))
        samples = [{**answer, "at": 0.0}, {**answer, "at": 1.0}]
        inside = {**absent, **answer, "error": None, "samples": samples, "sampled": 1.0, "answered": True}
        for name, expression in probe.facts.items():
            facts[name] = compile_expression(expression).evaluate({**scope_of(playbook, facts), **inside})
    return count, wrong


def settled(probe: Probe, facts: Mapping[str, Any], known: set[str]) -> bool:
    """Whether whatever SQL can say about its gate has been said."""
    names = compile_expression(probe.when).names if probe.when else frozenset[str]()
    return not (names & known) - facts.keys()


def scope_of(playbook: Playbook, facts: Mapping[str, Any]) -> dict[str, Any]:
    missing = {name: Unknown("not asked here") for probe in playbook.probes() for name in probe.facts}
    run = {"id": "test", "pace": 1.0}
    return {**missing, **facts, "targets": {}, "run": run, "call": {"id": "call"}, "__baselines__": {}}


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_probe_is_answered_or_left_out_by_its_gate(place: Place, name: str) -> None:
    with closing(sql.connect(Target("db", "postgres", place.settings), "read")) as session:
        count, wrong = walk(session, shipped()[name])
        reads = list(other_reads(shipped()[name]))
        for act in reads:
            try:
                asked(session, act)
            except Exception as error:
                wrong.append(f"{name}: {act.request}: {error}")
    assert not wrong, "\n".join(wrong)
    assert count or not probes_of(shipped()[name]), "every step was left out: this test proves nothing"


def test_a_server_without_pg_stat_statements_is_no_error_either(server: PostgresServer) -> None:
    wrong: list[str] = []
    with superuser(server) as connection:
        connection.execute("drop extension pg_stat_statements")
        try:
            for role in ("runbook", "stranger"):
                settings = replace(Place(server, "runbook"), role=role).settings
                with closing(sql.connect(Target("db", "postgres", settings), "read")) as session:
                    for playbook in shipped().values():
                        wrong += walk(session, playbook)[1]
        finally:
            connection.execute("create extension pg_stat_statements")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_act_is_understood(server: PostgresServer, name: str) -> None:
    """Its statement is planned with none for each value. What has no plan is left to the tests that carry it out."""
    wrong = []
    with superuser(server) as connection:
        for text in writes_of(shipped()[name]):
            if text.split(maxsplit=1)[0].lower() not in ("select", "insert", "update", "delete", "with"):
                continue
            try:
                explain = f"explain {to_psycopg(text)}"
                connection.execute(explain.encode(), dict.fromkeys(sql.bound_names(text)))
            except (psycopg.Error, KeyError) as error:
                wrong.append(f"{text}: {error}")
    assert not wrong, "\n".join(wrong)
