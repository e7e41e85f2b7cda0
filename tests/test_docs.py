"""What the documentation says is true: commands, tables, playbooks, rights. Run as a script it writes the tables."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import click
import psycopg
import pytest
import redis as redis_client
from servers import PostgresServer, RedisServer

from runbook_engine import executors
from runbook_engine.catalog import entries, libraries_for
from runbook_engine.cli import COMMANDS, EXIT_CODES, group
from runbook_engine.doctor import examine
from runbook_engine.errors import RunbookError
from runbook_engine.executor import Call, Target
from runbook_engine.executors import asynq, redis, sql
from runbook_engine.expressions.filters import FILTERS
from runbook_engine.interpreter import EXIT_CODES as OUTCOMES
from runbook_engine.interpreter import NEEDS_PERSON, TERMINATED
from runbook_engine.loader import load_playbook, validate_document
from runbook_engine.loading import yaml_reader
from runbook_engine.policy import Policy
from runbook_engine.ranking import WEIGHTS
from runbook_engine.redaction import Redactor
from runbook_engine.targets import Configuration, Environment, from_variables

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), ROOT / "examples" / "README.md"]
LANGUAGE, SETTINGS = DOCS / "playbooks.md", DOCS / "runbook-yaml.md"
ANSWERS = re.compile(r"(<!-- answers[^\n]*-->\n)(.*?)(<!-- end of answers -->)", re.DOTALL)
_CODE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
SHIPPED = sorted((ROOT / "playbooks").glob("*/*.yaml"))


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for language, text in _CODE.findall(read(page)) if language in languages]


def command_lines() -> Iterator[tuple[str, str]]:
    """Every `runbook …` of every page: the lines of code blocks, and what stands between backticks."""
    for page in PAGES:
        lines = [line for block in blocks(page, "", "sh", "bash") for line in block.splitlines()]
        for line in lines:
            found = re.match(r"(?:\$ )?(?:\w+=\$\()?(runbook .*?)(?:\s{2,}#.*|\s*\|.*)?$", line.strip())
            if found:
                yield page.name, found[1]
        for found in re.findall(r"(?<!`)`(runbook [^`\n]+)`", _CODE.sub("", read(page))):
            yield page.name, found


def table(page: Path, head: str) -> dict[str, tuple[str, ...]]:
    """A table by its first column; `head` is how its head begins."""
    text = read(page)
    lines = text[text.index(f"\n| {head}") + 1 :].splitlines()
    rows = list(takewhile(bool, lines))[2:]
    cells = [tuple(cell.strip() for cell in row.strip("|").split(" | ")) for row in rows]
    return {first: tuple(rest) for first, *rest in cells}


def answers() -> str:
    """What each executor answers, one line a name."""
    parts = []
    for name in executors.names():
        rows = [f"| `{key}` | {text} |" for key, text in executors.find(name).ANSWERS.items()]
        parts.append("\n".join([f"**{name}**", "", "| name | what |", "|---|---|", *rows]))
    return "\n" + "\n\n".join(parts) + "\n\n"


@pytest.mark.parametrize(("page", "line"), sorted(set(command_lines())))
def test_a_command_of_the_documentation_exists_with_its_options(page: str, line: str) -> None:
    words = shlex.split(line.split(" > ")[0].replace("…", "").replace("happened|not-happened", "happened"))[1:]
    command: click.Command = group
    context = click.Context(group, info_name="runbook")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"{page}: there is no command `{line}`"
        command, words = found, words[1:]
    if words in ([], ["--help"]):
        return
    given = [*words, *_fillings(command, words)]
    command.make_context(line, given, resilient_parsing=False)


def _fillings(command: click.Command, words: list[str]) -> list[str]:
    """Prose names a command without its argument."""
    needed = [item for item in command.params if isinstance(item, click.Argument) and item.required]
    return ["X"] * max(0, len(needed) - sum(not word.startswith("-") for word in words))


def test_every_command_stands_in_the_readme_or_on_a_page() -> None:
    named = {line.split()[1] for _, line in command_lines()} | set(
        re.findall(r"\brunbook (\w+)", read(ROOT / "README.md"))
    )
    assert named - {"run"} <= COMMANDS.keys() and "run" in COMMANDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_whole_file_in_the_documentation_is_sound(page: Path) -> None:
    for text in blocks(page, "yaml"):
        if text.startswith("runbook:"):
            load_playbook(text, str(page))
        elif text.startswith("environments:"):
            validate_document(text, str(page), Configuration, {})
        else:
            yaml_reader.read(text, str(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_leads_to_a_file_and_to_a_heading(page: Path) -> None:
    for name, anchor in re.findall(r"\]\((?!http)([^)#]*)(?:#([\w-]+))?\)", _CODE.sub("", read(page))):
        target = (page.parent / name) if name else page
        assert target.exists(), f"{page.name}: {name}"
        headings = re.findall(r"^#+ (.*)$", read(target), re.MULTILINE) if anchor else []
        assert not anchor or anchor in [heading.lower().replace(" ", "-") for heading in headings]


def test_the_table_of_answers_is_that_of_the_executors() -> None:
    found = ANSWERS.search(read(LANGUAGE))
    assert found and found[2] == answers(), "run: python tests/test_docs.py"


def test_the_table_of_outcomes_is_that_of_the_interpreter() -> None:
    assert {name: int(cells[0]) for name, cells in table(LANGUAGE, "outcome").items()} == dict(OUTCOMES)
    text = read(LANGUAGE)
    assert f"; {NEEDS_PERSON} when a question" in text and f"; {TERMINATED} after SIGTERM" in text


def test_the_readme_and_the_help_name_the_same_exit_codes() -> None:
    told = read(ROOT / "README.md").partition("Exit codes: ")[2].partition("\n\n")[0]
    numbers = [{int(code) for code in re.findall(r"(?<![\w-])\d+(?![\w-])", text)} for text in (told, EXIT_CODES)]
    assert numbers[0] == numbers[1] >= set(OUTCOMES.values()) | {NEEDS_PERSON, TERMINATED}


def test_the_table_of_weights_is_that_of_the_ranking() -> None:
    assert {name: int(cells[0]) for name, cells in table(LANGUAGE, "weight").items()} == WEIGHTS


def test_the_filters_of_the_page_are_those_of_the_language() -> None:
    told = re.search(r"Filters: `(.*?)`", read(LANGUAGE), re.DOTALL)
    assert told and [word.partition("(")[0] for word in told[1].split()] == list(FILTERS)


def test_every_key_of_a_policy_is_explained() -> None:
    told = " ".join(table(SETTINGS, "key"))
    assert all(re.search(rf"`{name}\b", told) for name in Policy.model_fields)


def test_every_kind_of_target_is_explained() -> None:
    kinds = {kind for name in executors.names() for kind in executors.find(name).KINDS}
    assert {name.strip("`") for name in table(SETTINGS, "kind")} == kinds


def test_linkflows_variables_are_told_with_their_defaults() -> None:
    found = from_variables({}).model_dump()["targets"]
    text = read(SETTINGS)
    for name, default in (
        ("DATABASE_HOST", found["db"]["host"]),
        ("DATABASE_PORT", found["db"]["port"]),
        ("DATABASE_USER", found["db"]["user"]),
        ("DATABASE_NAME", found["db"]["database"]),
        ("REDIS_HOST", found["redis"]["host"]),
        ("REDIS_PORT", found["redis"]["port"]),
        ("REDIS_DB", found["redis"]["db"]),
        ("LINKFLOW_API_URL", found["api"]["url"]),
    ):
        assert re.search(rf"`{name}` \({re.escape(str(default))}\)", text), name


def environment(*targets: Target) -> Environment:
    return Environment("docs", 1.0, Policy(), {target.name: target for target in targets}, Redactor({}))


@pytest.fixture
def role(postgres: PostgresServer) -> Iterator[Target]:
    """The role of the page, in a database with LinkFlow's tables."""
    (script,) = blocks(SETTINGS, "sql")
    tables = (ROOT / "runbook_engine" / "sandbox" / "schema.sql").read_text(encoding="utf-8")
    owner = {**postgres.settings, "dbname": postgres.settings["database"]}
    owner.pop("database")
    with psycopg.connect(**owner, autocommit=True) as connection:
        connection.execute("create database docs")
    with psycopg.connect(**{**owner, "dbname": "docs"}, autocommit=True) as connection:
        connection.execute("\n".join(line for line in tables.splitlines() if not line.startswith("grant ")))
        connection.execute(script.replace("'…'", "'page'"))
    settings = {**postgres.settings, "user": "runbook", "password": "page", "database": "docs"}
    yield Target("db", "postgres", settings)
    with psycopg.connect(**owner, autocommit=True) as connection:
        connection.execute("drop database docs (force)")
        connection.execute("drop role runbook")


def test_the_role_of_the_page_is_enough_for_every_shipped_diagnosis(role: Target) -> None:
    (report,) = examine(environment(role))
    assert report["reachable"] and report["missing"] == [], report
    session = sql.connect(role, "read")
    for path in SHIPPED:
        if re.search(r"^runbook:", read(path), re.MULTILINE):
            loaded = load_playbook(read(path), str(path), libraries=libraries_for(read(path), [], path))
            for probe in loaded.playbook.probes():
                if probe.executor == "sql":
                    values: dict[str, Any] = dict.fromkeys(probe.bindings)
                    session.call(Call(probe.id, probe.request, bindings=values))
    session.close()


@pytest.fixture
def users(redis: redis_client.Redis, redis_process: RedisServer) -> Iterator[dict[str, Target]]:
    """The users of the page."""
    made = {}
    for line in next(block for block in blocks(SETTINGS, "") if "SETUSER" in block).splitlines():
        words = line.replace(">…", ">page").split()
        redis.execute_command(*words)  # type: ignore[no-untyped-call]
        made[words[2]] = Target("redis", "redis", {**redis_process.settings, "username": words[2], "password": "page"})
    yield made
    redis.execute_command("ACL", "DELUSER", *made)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("name", ["runbook-read", "runbook"])
def test_the_redis_users_of_the_page_can_diagnose(users: dict[str, Target], name: str) -> None:
    (report,) = examine(environment(users[name]))
    assert report["reachable"] and report["missing"] == [] and report["writes"], report
    looks = asynq.connect(users[name], "read")
    for request in ({"inspect": None}, {"inspect": "default"}, {"active": "default"}, {"failures": "default"}):
        assert looks.call(Call("look", request))
    looks.close()


def test_the_reading_user_of_the_page_cannot_do_harm(users: dict[str, Target]) -> None:
    session = asynq.connect(users["runbook-read"], "write")
    with pytest.raises(RunbookError):
        session.call(Call("pause", {"pause": "default"}))
    session.close()
    raw = redis.connect(users["runbook-read"], "write")
    for command in (["DEL", "a"], ["FLUSHALL"], ["CONFIG", "SET", "maxmemory", "1"], ["RENAME", "a", "b"]):
        with pytest.raises(RunbookError):
            raw.call(Call("harm", command))
    raw.close()


def test_the_acting_user_of_the_page_can_do_what_the_playbooks_do(
    users: dict[str, Target], redis: redis_client.Redis
) -> None:
    redis.sadd("asynq:queues", "default")
    redis.lpush("asynq:{default}:pending", "one")
    redis.hset("asynq:{default}:t:one", mapping={"msg": "x", "state": "pending"})
    session = asynq.connect(users["runbook"], "write")
    for request in (
        {"pause": "default"},
        {"resume": "default"},
        {"quarantine": "default", "id": "r1"},
        {"restore": "default", "id": "r1"},
        {"repair": "default"},
        {"retry_archived": "default", "ids": ["none"]},
        {"purge_completed": "default"},
    ):
        assert session.call(Call("act", request)) is not None
    session.close()


def test_the_shipped_playbooks_are_found_where_the_pages_say() -> None:
    assert {entry.name for entry in entries([ROOT / "playbooks"])} >= {"queue-backlog", "lock-contention", "linkflow"}
    assert json.loads(read(ROOT / "schema" / "playbook-v1.json"))["title"]


if __name__ == "__main__":
    LANGUAGE.write_text(ANSWERS.sub(lambda found: found[1] + answers() + found[3], read(LANGUAGE)), encoding="utf-8")
