"""Examines the targets of an environment: reachable, who answers, what the credential may do, what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .errors import RunbookError, TargetError
from .executor import Call, Executor, Session, Target
from .executors import find, names
from .targets import Environment

Json = Any
DEADLINE = 10.0

POSTGRES_RIGHTS = """
select current_setting('server_version') as version,
 (select rolsuper from pg_roles where rolname = current_user) as superuser,
 pg_has_role(current_user, 'pg_monitor', 'member') as monitor,
 pg_has_role(current_user, 'pg_signal_backend', 'member') as signal,
 exists (select 1 from pg_extension where extname = 'pg_stat_statements') as statements,
 exists (select 1 from pg_class c where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace
   and has_table_privilege(current_user, c.oid, 'INSERT, UPDATE, DELETE')) as writes
"""


def examine(environment: Environment) -> list[dict[str, Json]]:
    """One report a target, all at once: a dead one does not keep the others waiting."""
    with ThreadPoolExecutor(max_workers=max(1, len(environment.targets))) as pool:
        return list(pool.map(_examine, environment.targets.values()))


def _examine(target: Target) -> dict[str, Json]:
    report: dict[str, Json] = {
        "target": target.name,
        "kind": target.kind,
        "reachable": False,
        "identity": "",
        "facts": {},
        "code": "",
        "message": "",
        "writes": None,
        "missing": [],
    }
    executor = executor_for(target.kind)
    if executor is None:
        return report | {"code": "kind", "message": f"no executor serves a target of kind {target.kind!r}"}
    try:
        session = executor.connect(target, "read")
    except (RunbookError, ValueError, TypeError) as error:  # a setting that is no number must not hide other targets
        return report | {"code": getattr(error, "code", "unconfigured"), "message": str(error)}
    try:
        identity = session.identity()
        report |= {"reachable": True, "identity": identity.name, "facts": dict(identity.facts)}
        examiner = EXAMINERS.get(target.kind)
        return report | (examiner(session) if examiner is not None else {})
    except (RunbookError, ValueError, TypeError) as error:
        return report | {"code": getattr(error, "code", "unconfigured"), "message": str(error), "reachable": False}
    finally:
        session.close()


def executor_for(kind: str) -> Executor | None:
    """The executor a kind is named after, else the first that serves it."""
    ordered = sorted(names(), key=lambda name: (name != kind, name))
    return next((executor for executor in map(find, ordered) if kind in executor.KINDS), None)


def _postgres(session: Session) -> dict[str, Json]:
    row = session.call(Call("doctor", POSTGRES_RIGHTS, deadline=DEADLINE))["row"]
    return {"writes": bool(row["superuser"] or row["writes"]), "missing": list(_missing_rights(row))}


def _missing_rights(row: dict[str, Json]) -> Iterator[str]:
    if row["superuser"]:
        yield "a credential that is no superuser: `create role runbook login` with the grants below"
        return
    if not row["monitor"]:
        yield "grant pg_monitor: without it queries of other sessions are hidden"
    if not row["signal"]:
        yield "grant pg_signal_backend: without it no session can be cancelled or terminated"
    if not row["statements"]:
        yield "create extension pg_stat_statements: slow statements cannot be told"


def _redis(session: Session) -> dict[str, Json]:
    missing, writes = [], None
    for command in (["INFO", "server"], ["CONFIG", "GET", "maxmemory"], ["CLIENT", "LIST"]):
        try:
            session.call(Call("doctor", command, deadline=DEADLINE))
        except TargetError as error:
            missing.append(f"{' '.join(command)}: {error.message}")
    try:
        session.call(Call("doctor", ["SET", "rb:canary:doctor", "1", "PX", "1000", "NX"], deadline=DEADLINE))
        writes = True
    except TargetError as error:
        writes = False
        missing.append(f"writes are refused: {error.message}")
    return {"writes": writes, "missing": missing}


def _http(session: Session) -> dict[str, Json]:
    """Any answer will do: a 404 lives, and so does a 429."""
    status = session.call(Call("doctor", {"get": "/"}, deadline=DEADLINE))["status"]
    return {"facts": {"status": status}}


def _service(session: Session) -> dict[str, Json]:
    status = session.call(Call("doctor", "status", deadline=DEADLINE))["status"]
    lacking = [name for name in ("running", "restarts", "started_at") if status.get(name) is None]
    return {"missing": [f"status does not tell {name}" for name in lacking]}


EXAMINERS: dict[str, Callable[[Session], dict[str, Json]]] = {
    "http": _http,
    "postgres": _postgres,
    "redis": _redis,
    "service": _service,
}
