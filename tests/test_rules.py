"""What rules say nothing of, and how they read scripts, queries and expressions. What they say stands in tests/bad."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from runbook_engine.commands.endless import endless
from runbook_engine.commands.placements import as_code, as_options, unquoted
from runbook_engine.commands.portability import not_portable
from runbook_engine.commands.shell_words import commands_in
from runbook_engine.commands.shellcheck import findings
from runbook_engine.expressions.mistakes import NUMBER, TEXT, beside_none, contradiction, mixed_kinds
from runbook_engine.redis_client.unbounded import unbounded
from runbook_engine.rules.stale_reviews import complaint_about
from runbook_engine.sql.unbounded import unbounded_rows
from runbook_engine.validation.judging import judge

NAMES = {"x", "y"}


def test_a_script_is_read_as_commands_words_and_expansions() -> None:
    script = 'if [ -n "$x" ]; then\n  a=$(grep -c "$y" <file | sort) # $no\nfi\n'
    script += "cat <<EOF\n$body\nEOF\necho $((x + $(wc -l)))\n"
    read = [
        (
            command.name,
            [(each.name, each.quoted, each.arithmetic) for word in command.words for each in word.expansions],
        )
        for command in commands_in(script)
    ]
    assert read == [
        ("[", [("x", True, False)]),
        ("grep", [("y", True, False)]),
        ("sort", []),
        ("", []),
        ("fi", []),
        ("cat", []),
        ("wc", []),
        ("echo", [("x", False, True)]),
    ]


@pytest.mark.parametrize("script", ["", "'", '"', "$(", "`", "${", "$((", "<<E", "\\", "a\\", "(" * 300, "$(" * 300])
def test_no_script_is_too_broken_to_be_read(script: str) -> None:
    assert isinstance(commands_in(script), tuple)
    assert list(as_code(script, NAMES)) == [] and isinstance(list(not_portable(script)), list)


@pytest.mark.parametrize(
    "script",
    [
        'grep -c -- "$x" /var/log/app.log',
        'sh -c \'grep "$1" /var/log/app.log\' sh "$x"',
        "awk -v word=\"$x\" '$1 == word' /var/log/app.log",
        "jq --arg name \"$x\" '.[$name]' /run/app.json",
        'psql -v name="$x" -f /srv/report.sql',
        'printf %s "$x"',
        'if [ "$x" -gt 5 ]; then echo large; fi',
        'y=$x\necho "$(( $(wc -l < "$x") + 1 ))"',
        "case $x in a) echo a;; esac",
        "cat <<EOF\n$x\nEOF",
        "echo '$x' # eval $x",
        'redis-cli -n 1 LLEN "$x"',
    ],
)
def test_a_value_in_its_place_is_no_code_no_option_and_one_word(script: str) -> None:
    assert [*as_code(script, NAMES), *unquoted(script, NAMES), *as_options(script, NAMES)] == []


@pytest.mark.parametrize(
    "request_",
    [
        "tail -n 5 /var/log/app.log",
        "timeout 5 tail -f /var/log/app.log",
        "kubectl get -f pod.yaml",
        "top -b -n 1",
        "grep -f patterns file",
        "docker ps -f name=app",
        ["ping", "-c", "3", "redis"],
        ["journalctl", "-u", "app", "-n", "100"],
    ],
)
def test_a_command_that_ends_is_no_endless_one(request_: str | list[str]) -> None:
    assert list(endless(request_)) == []


@pytest.mark.parametrize(
    "script",
    [
        "grep -E 'a|b' file | sort -n",
        "echo \"a == b\" '[[ x ]]' # [[ no ]]",
        '[ "$a" = b ] && date +%s',
        "sed -n 's/a/b/p' <file >/dev/null 2>&1",
        "(cd /srv && ls) & wait",
        "awk '{ if ($1 == 2) print }' file",
        "x=${y:-1} z=${y#a} w=${y%%b}",
    ],
)
def test_what_every_sh_can_is_portable(script: str) -> None:
    assert list(not_portable(script)) == []


@pytest.mark.parametrize(
    "command",
    [
        ["LRANGE", "jobs", "0", "99"],
        ["LLEN", "jobs"],
        ["SMEMBERS", "asynq:queues"],
        ["HGETALL", "asynq:{default}:t:${{ id }}"],
        ["ZRANGEBYSCORE", "late", "-inf", "5", "LIMIT", 0, 10],
        ["HMGET", "one", "a", "b"],
        [],
    ],
)
def test_a_bounded_command_is_bounded(command: list[object]) -> None:
    assert unbounded(command) is None


@pytest.mark.parametrize(
    "query",
    [
        "select count(*) from jobs",
        "select date_part('day', max(finished_at)) from jobs",
        "select id from jobs limit 10",
        "select id from jobs order by id fetch first 10 rows only",
        "select state, count(*) from jobs group by state",
        "select * from pg_stat_activity",
        "select deleted_at is null as alive from workflows where id::text = %(id)s",
        "select exists (select 1 from jobs)",
        "with late as (select * from jobs limit 5) select * from late",
        "select n from generate_series(1, 5) as n",
        "show work_mem",
        "select 1",
        "",
    ],
)
def test_a_bounded_query_is_bounded(query: str) -> None:
    assert unbounded_rows(query) is None


@pytest.mark.parametrize(
    "text", ["a > 5", "a == '5'", "at > '2026-01-01'", "name == 'x' and n > 5", "a + '5' == b", "x in ['5', 5]", "(a ="]
)
def test_a_comparison_that_may_be_meant_is_left_alone(text: str) -> None:
    assert list(mixed_kinds(text, {"name": TEXT, "n": NUMBER})) == []


@pytest.mark.parametrize(
    "text",
    [
        "most == none or n > most",
        "most != none and n > most",
        "n > (most | default(5))",
        "n > most if most else false",
        "most is known and n > most",
        "n == most",
        "n > other",
    ],
)
def test_a_threshold_that_is_asked_about_is_left_alone(text: str) -> None:
    assert list(beside_none(text, {"most"})) == []


@pytest.mark.parametrize(
    "text",
    [
        "n > 3 and n < 5",
        "n >= 5 and n <= 5",
        "n == 5 and n < 9",
        "n > 5 or n < 3",
        "n != 5 and n != 6",
        "a == 'x' and b == 'y'",
        "n > 5 and n > 9",
        "n > m and n < 3",
        "n == 5 and n == '5'",
    ],
)
def test_conditions_that_can_hold_together_are_no_contradiction(text: str) -> None:
    assert contradiction(text) is None


@pytest.mark.parametrize(
    ("reviewed", "told"),
    [
        ("2026-06-01", ""),
        ("2025-06-02", ""),
        ("2025-05-31", "last reviewed 366 days ago"),
        ("2026-06-02", ""),
        ("2026-06-09", "reviewed on 2026-06-09, which is still to come"),
        ("June", "'June' is no date"),
    ],
)
def test_a_review_is_good_for_a_year(reviewed: str, told: str) -> None:
    found = complaint_about(reviewed, date(2026, 6, 1))
    assert found.startswith(told) and bool(found) == bool(told)


def test_without_shellcheck_nothing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    findings.cache_clear()
    assert findings('[ "$a"="b" ]') == ()
    findings.cache_clear()


def test_without_shellcheck_an_ignore_of_its_findings_is_not_needless(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = (Path(__file__).parent.parent / "playbooks" / "emergency" / "database-recovery.yaml").read_text()
    assert "ignore[RB415, RB416]" in text
    monkeypatch.setenv("PATH", str(tmp_path))
    findings.cache_clear()
    assert [each for each in judge("x.yaml", text.encode(), {}) if each.code == "RB621"] == []
    findings.cache_clear()


@pytest.mark.parametrize("body", ["exit 3", "echo no JSON", "echo '[]'", "echo '{\"comments\": []}'", "kill -9 $$"])
def test_a_shellcheck_that_is_broken_says_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str) -> None:
    (tmp_path / "shellcheck").write_text(f"#!/bin/sh\n{body}\n")
    (tmp_path / "shellcheck").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    findings.cache_clear()
    assert findings('[ "$a"="b" ]') == ()
    findings.cache_clear()


def test_a_secret_is_told_and_not_repeated() -> None:
    bad = Path(__file__).parent / "bad"
    for name in ("warn-password-in-url", "warn-password-in-comment", "warn-token", "warn-private-key"):
        text = (bad / f"{name}.yaml").read_text()
        (found,) = [each for each in judge("x.yaml", text.encode(), {}) if each.code == "RB610"]
        told = str(found) + found.snippet
        assert not any(word in told for word in ("Tr0ub4dor3", "abcdefghijklmn", "MIIEpAIBAAK")), name
        assert "***" in found.snippet
