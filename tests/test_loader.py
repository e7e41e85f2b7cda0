"""What a sound playbook becomes when it is loaded, and that a broken one is refused with everything that is wrong."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from runbook_engine import executors, linter
from runbook_engine.errors import Complaint, PlaybookError, UsageError
from runbook_engine.loader import (
    LoadedPlaybook,
    kind_of_file,
    load_library,
    load_playbook,
    validate_document,
)
from runbook_engine.loading.inputs import resolve_inputs
from runbook_engine.loading.yaml_reader import plain, read

EXAMPLE = (Path(__file__).parent / "fixtures" / "queue-backlog-example.yaml").read_text(encoding="utf-8")

SMALL = """\
runbook: 1
name: small
title: Small
inputs:
  limit: {type: integer, default: 5}
targets: {db: postgres}
symptoms:
  - id: waiting
    sql: select count(*) as n from jobs where age > %(limit)s
    facts: {waiting: row.n}
    present: waiting > 0
"""

LIBRARY = """\
library: postgres
targets: {db: postgres, spare: redis}
probes:
  blockers:
    title: Sessions wait for locks
    sql: select count(*) as n from pg_locks where not granted
    facts: {blocked: row.n}
  broken:
    sql: select 1 as n
    facts: {broken: rwo.n}
"""


def load(text: str, **libraries: tuple[str, str]) -> LoadedPlaybook:
    return load_playbook(text, "small.yaml", libraries=libraries)


def complaints(text: str, **libraries: tuple[str, str]) -> tuple[Complaint, ...]:
    with pytest.raises(PlaybookError) as caught:
        load(text, **libraries)
    return caught.value.complaints


def test_the_worked_example_loads_and_says_which_step_waits_for_which() -> None:
    loaded = load_playbook(EXAMPLE, "queue-backlog.yaml")
    assert loaded.warnings == ()
    assert loaded.needs == {
        "queues": frozenset(),
        "canary": frozenset(),
        "rates": frozenset({"queues"}),
        "blockers": frozenset(),
        "service": frozenset(),
    }


def test_the_sole_fitting_target_is_filled_in_everywhere() -> None:
    playbook = load_playbook(EXAMPLE, "queue-backlog.yaml").playbook
    assert [probe.target for probe in playbook.probes()] == ["redis", "redis", "redis", "db", "workers"]
    unpause = playbook.action("unpause")
    assert unpause.undo is not None
    assert (unpause.target, unpause.undo.target, unpause.snapshot["since"].target) == ("redis", "redis", "redis")


def test_a_placeholder_takes_its_value_from_scope_when_with_does_not_name_it() -> None:
    assert load(SMALL).playbook.symptoms[0].bindings == {"limit": "${{ limit }}"}


def test_what_with_names_is_kept() -> None:
    text = SMALL.replace("    facts:", "    with: {limit: 7}\n    facts:")
    assert load(text).playbook.symptoms[0].bindings == {"limit": 7}


def test_a_command_on_this_machine_needs_no_target() -> None:
    text = SMALL + "diagnosis:\n  - {id: load, effect: read, shell: [uptime], facts: {load: lines}}\n"
    assert load(text).playbook.diagnosis[0].target is None


def test_positions_are_known_for_values_and_for_keys() -> None:
    loaded = load(SMALL)
    assert loaded.position(("symptoms", 0, "request")) == ("small.yaml", 9, 10)
    assert loaded.position(("symptoms", 0, "facts", "waiting"), key=True) == ("small.yaml", 10, 13)


def test_every_complaint_comes_at_once_and_in_the_order_of_the_file() -> None:
    text = SMALL.replace("waiting > 0", "watting > 0").replace(
        "limit: {type: integer, default: 5}", "limit: {default: [1]}"
    )
    text += "causes:\n  - {id: jam, needs: waiting > 5, fix: [mend]}\n"
    assert [(item.line, item.code) for item in complaints(text)] == [(5, "RB111"), (11, "RB202"), (13, "RB503")]


def test_the_digest_changes_with_the_text_and_with_each_library() -> None:
    using = SMALL + "diagnosis:\n  - use: postgres.blockers\n"
    one = load(using, postgres=("lib.yaml", LIBRARY)).digest
    other = load(using, postgres=("lib.yaml", LIBRARY + "# more\n")).digest
    assert one.startswith("sha256:")
    assert len({one, other, load(SMALL).digest, load(SMALL + "\n").digest}) == 4


def test_a_library_that_is_not_used_is_not_part_of_the_digest() -> None:
    loaded = load(SMALL, postgres=("lib.yaml", LIBRARY))
    assert loaded.libraries == {}
    assert loaded.digest == load(SMALL).digest


def test_a_shared_probe_is_taken_over_and_keys_beside_use_win() -> None:
    text = SMALL + "diagnosis:\n  - use: postgres.blockers\n    id: locks\n    title: Locks\n"
    loaded = load(text, postgres=("lib.yaml", LIBRARY))
    probe = loaded.playbook.diagnosis[0]
    assert (probe.id, probe.title, probe.executor, probe.target) == ("locks", "Locks", "sql", "db")
    assert loaded.position(("diagnosis", 0, "request"))[:2] == ("lib.yaml", 6)
    assert loaded.libraries == {"lib.yaml": LIBRARY}


def test_a_shared_probe_is_called_by_its_name_when_no_id_is_given() -> None:
    loaded = load(SMALL + "diagnosis:\n  - use: postgres.blockers\n", postgres=("lib.yaml", LIBRARY))
    assert loaded.playbook.diagnosis[0].id == "blockers"


def test_a_library_brings_only_the_target_that_its_probe_cannot_do_without() -> None:
    text = SMALL.replace("targets: {db: postgres}\n", "targets: {cache: redis}\n")
    text = text.replace("sql: select count(*) as n from jobs where age > %(limit)s", "redis: [DBSIZE]")
    text = text.replace("row.n", "result") + "diagnosis:\n  - use: postgres.blockers\n"
    loaded = load(text, postgres=("lib.yaml", LIBRARY))
    assert set(loaded.playbook.targets) == {"cache", "db"}
    assert set(load(SMALL + "diagnosis:\n  - use: postgres.blockers\n", postgres=("l", LIBRARY)).playbook.targets) == {
        "db"
    }


def test_an_error_in_a_shared_probe_points_into_the_library() -> None:
    (found,) = complaints(SMALL + "diagnosis:\n  - use: postgres.broken\n", postgres=("lib.yaml", LIBRARY))
    assert (found.path, found.line, found.column) == ("lib.yaml", 10, 21)
    assert "rwo" in found.message
    assert "broken: rwo.n" in found.snippet


def test_a_fact_of_a_library_that_nothing_reads_is_no_fault_of_the_playbook() -> None:
    loaded = load(SMALL + "diagnosis:\n  - use: postgres.blockers\n", postgres=("lib.yaml", LIBRARY))
    assert linter.run(loaded) == []


def test_an_unknown_shared_probe_gets_the_nearest_name() -> None:
    (found,) = complaints(SMALL + "diagnosis:\n  - use: postgres.blocker\n", postgres=("lib.yaml", LIBRARY))
    assert found.message == "library 'postgres' has no probe 'blocker'. did you mean 'blockers'?"


def test_a_library_is_checked_for_itself_too() -> None:
    assert load_library(LIBRARY, "lib.yaml").library == "postgres"
    with pytest.raises(PlaybookError) as caught:
        load_library(LIBRARY.replace("title: Sessions", "tilte: Sessions"), "lib.yaml")
    assert [(item.line, item.column) for item in caught.value.complaints] == [(5, 5)]
    assert "did you mean 'title'?" in caught.value.complaints[0].message


def test_recovering_may_look_at_the_diagnosis_without_making_a_circle() -> None:
    loaded = load_playbook(EXAMPLE, "queue-backlog.yaml")
    assert "eta" in (loaded.playbook.symptoms[0].recovering or "")
    assert loaded.needs["queues"] == frozenset()


def test_a_step_on_a_derived_target_waits_for_what_the_target_is_derived_by() -> None:
    text = SMALL.replace("targets: {db: postgres}", 'targets:\n  db: postgres\n  side: {from: db, port: "${{ port }}"}')
    text = text.replace("  - id: waiting\n", "  - id: waiting\n    target: db\n") + (
        "diagnosis:\n"
        "  - {id: ports, target: db, sql: select 5433 as port, facts: {port: row.port}}\n"
        "  - {id: there, target: side, sql: select 1 as n, facts: {there: row.n}}\n"
    )
    assert load(text).needs["there"] == frozenset({"ports"})


def test_before_and_item_are_known_where_they_exist() -> None:
    text = (
        SMALL
        + """\
causes:
  - {id: jam, needs: waiting > 5, fix: [free]}
resolution:
  - id: free
    effect: reversible
    each: targets | sort
    as: job
    sql: update jobs set held = false where id = %(job)s
    snapshot:
      old: {sql: select id from jobs where held}
    undo:
      sql: update jobs set held = true where id = any(%(ids)s)
      with: {ids: "${{ before.old }}"}
    verify: {until: waiting < before.old.rowcount}
"""
    )
    free = load(text).playbook.action("free")
    assert free.bindings == {"job": "${{ job }}"}


@pytest.mark.parametrize(
    ("steps", "each", "wide", "told"),
    [
        (199, 10, "", ""),
        (199, 11, "", "the playbook has more than 2000 expressions. split it"),
        (13, 1, f" == '{'x' * 1200}'", ""),
        (14, 1, f" == '{'x' * 1200}'", "the playbook has more than 16384 characters of expressions. split it"),
    ],
)
def test_a_playbook_has_no_more_expressions_than_somebody_could_read(
    steps: int, each: int, wide: str, told: str
) -> None:
    """Besides the one of the symptom: one that is there already, and one that shows it."""
    facts = [", ".join(f"f{step}_{number}: result{wide}" for number in range(each)) for step in range(steps)]
    diagnosis = [f"  - {{id: s{step}, redis: [GET, a], facts: {{{made}}}}}\n" for step, made in enumerate(facts)]
    text = SMALL.replace("{db: postgres}", "{db: postgres, queues: redis}") + "diagnosis:\n" + "".join(diagnosis)
    if not told:
        assert len(load(text).playbook.diagnosis) == steps
    else:
        assert [(found.code, found.message) for found in complaints(text)] == [("RB002", told)]


def test_one_text_has_no_more_expressions_than_somebody_could_read() -> None:
    few, many = (f"  - id: waiting\n    title: '{'${{ waiting }} ' * count}'" for count in (200, 201))
    assert load(SMALL.replace("  - id: waiting", few))
    (found,) = complaints(SMALL.replace("  - id: waiting", many))
    assert "the text has more than 200 expressions; split it" in found.message
    assert (found.line, found.column) == (9, 13 + 200 * len("${{ waiting }} ") + len("${{"))


def test_the_kind_of_a_file_is_its_top_level_key_also_when_it_is_broken() -> None:
    assert kind_of_file("# x\nrunbook: 1\n  bad\n", "a.yaml") == "playbook"
    assert kind_of_file("library: x\n", "a.yaml") == "library"
    assert kind_of_file("{cases: []}", "a.yaml") == "cases"
    assert kind_of_file("environments: {}\n", "a.yaml") == "environments"
    with pytest.raises(PlaybookError, match="a top-level key says what a file is"):
        kind_of_file("services: {}\n", "a.yaml")


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    region: str
    retries: int = 3


def test_other_documents_get_the_same_complaints() -> None:
    assert validate_document("region: eu\n", "s.yaml", Settings, {}) == Settings(region="eu")
    with pytest.raises(PlaybookError) as caught:
        validate_document("regoin: eu\nretries: often\n", "s.yaml", Settings, {})
    shown = [str(item) for item in caught.value.complaints]
    assert any("s.yaml:1:1: RB101 unknown key 'regoin'" in item and "did you mean 'region'?" in item for item in shown)
    assert any("s.yaml:2:10: RB103 'retries'" in item and "must be a whole number" in item for item in shown)
    assert not any("needs 'region'" in item for item in shown)  # it is there, only spelt otherwise


INPUTS = SMALL.replace(
    "inputs:\n",
    "inputs:\n"
    "  age: {type: duration, default: 5m}\n"
    "  queue: {type: string, optional: true, pattern: '^[a-z]+$'}\n"
    "  space: {type: size, default: 64MiB, minimum: 1024}\n"
    "  deep: {type: boolean, default: false}\n"
    "  share: {type: number, default: 0.5, maximum: 1}\n"
    "  mode: {enum: [fast, slow], default: fast}\n"
    "  host: {help: where it runs}\n",
)


def test_inputs_are_typed_and_durations_follow_the_pace() -> None:
    given = {"host": "a", "limit": "7", "deep": "yes", "space": "1GiB", "share": 1, "queue": None}
    assert resolve_inputs(load(INPUTS).playbook, given, 0.1) == {
        "age": 30.0,
        "queue": None,
        "space": 1024**3,
        "deep": True,
        "share": 1,
        "mode": "fast",
        "host": "a",
        "limit": 7,
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"input 'host' \(where it runs\) is needed. give it with -i host=…"),
        ({"hots": "a"}, "has no input 'hots'. did you mean 'host'"),
        ({"host": "a", "limit": "many"}, "input 'limit': 'many' is not a number"),
        ({"host": "a", "limit": "1.5"}, "input 'limit': '1.5' is not a whole number"),
        ({"host": "a", "queue": "a b"}, "input 'queue': 'a b' does not match"),
        ({"host": "a", "queue": "ab\n"}, "input 'queue': .* does not match"),
        ({"host": "a", "space": "1"}, "input 'space': 1 is less than 1024"),
        ({"host": "a", "share": "1.1"}, "input 'share': 1.1 is more than 1"),
        ({"host": "a", "mode": "medium"}, "input 'mode': 'medium' is none of fast, slow"),
        ({"host": "a", "deep": "maybe"}, "input 'deep': 'maybe' is neither true nor false"),
        ({"host": "a", "age": "soon"}, "input 'age': 'soon' is not a duration"),
        ({"host": ["a"]}, "input 'host': .* is not text"),
        ({"host": "a", "limit": "nan"}, "input 'limit': 'nan' is not a number"),
    ],
)
def test_an_input_that_does_not_fit_is_named_with_what_would(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve_inputs(load(INPUTS).playbook, given)


def test_a_whole_number_of_eighteen_digits_is_kept_exactly() -> None:
    given = {"host": "a", "limit": "123456789012345679"}
    assert resolve_inputs(load(INPUTS).playbook, given)["limit"] == 123456789012345679


def test_executors_are_listed_without_being_imported_and_found_by_name() -> None:
    assert {"sql", "redis", "asynq", "shell", "http", "service", "logs", "host"} == set(executors.names())
    assert "postgres" in executors.find("sql").KINDS
    with pytest.raises(KeyError):
        executors.find("telepathy")


def test_lint_rules_have_codes_of_their_own_and_a_sentence_each() -> None:
    codes = [rule.CODE for rule in linter.rules()]
    assert len(codes) == len(set(codes))
    assert all(code in linter.summaries() and linter.summaries()[code].endswith(".") for code in codes)


def test_every_code_that_a_complaint_can_carry_is_explained() -> None:
    package = Path(linter.__file__).parent
    texts = [package / "loader.py", *sorted((package / "loading").rglob("*.py"))]
    import re

    used = {code for path in texts for code in re.findall(r'"(RB\d{3})"', path.read_text(encoding="utf-8"))}
    assert used <= linter.summaries().keys()


LINTED = (
    SMALL
    + """\
causes:
  - {id: jam, needs: waiting > 5, fix: [clear]}
  - {id: dead-end, needs: waiting > 9}
resolution:
  - {id: clear, effect: destructive, sql: delete from jobs}
  - {id: forgotten, effect: disruptive, sql: update jobs set held = false, verify: {until: waiting == 0}}
diagnosis:
  - {id: idle, sql: select 1 as n, facts: {idle: row.n}}
"""
)


def test_the_linter_warns_of_what_would_help_nobody() -> None:
    text = LINTED.replace("  limit: {type: integer", "  unused: {default: x}\n  limit: {type: integer")
    found = [(item.code, item.line, item.severity) for item in linter.run(load(text))]
    assert found == [
        ("RB221", 5, "warning"),
        ("RB511", 15, "warning"),
        ("RB410", 17, "warning"),
        ("RB411", 17, "warning"),
        ("RB510", 18, "warning"),
        ("RB418", 18, "warning"),
        ("RB220", 20, "warning"),
    ]


def test_the_linter_warns_of_an_action_that_its_causes_are_too_weak_to_offer() -> None:
    weak = LINTED.replace("{id: jam, needs: waiting > 5,", "{id: jam, weight: strong, needs: waiting > 5,")
    assert "RB512" in {item.code for item in linter.run(load(weak))}
    helped = weak.replace("fix: [clear]}", "fix: [clear], for: [{when: waiting > 7, says: many}]}")
    assert "RB512" not in {item.code for item in linter.run(load(helped))}


def test_the_worked_example_lints_clean() -> None:
    assert linter.run(load_playbook(EXAMPLE, "queue-backlog.yaml")) == []


PIECES = st.sampled_from(
    [
        *("${{ ", " }}", "waiting", "row.n", ": ", "- ", "\n", "\n  ", "    ", "'", '"', "|", "[", "]", "{", "}", "5m"),
        *(
            "sql",
            "redis",
            "use: a.b",
            "id: x",
            "facts",
            "rate('row.n')",
            "*x",
            "&x ",
            "%(limit)s",
            "%(n)I",
            "null",
            "true",
        ),
        *("targets", "resolution", "when: ", "sample: {times: 2, every: 5s}", "effect: ", "0", "-1", "1e400", "§"),
    ]
)
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), PIECES), min_size=1, max_size=6)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(EDITS)
def test_any_edit_of_a_playbook_loads_or_is_refused_with_complaints(edits: list[tuple[float, int, str]]) -> None:
    text = EXAMPLE
    for where, length, piece in edits:
        start = int(where * len(text))
        text = text[:start] + piece + text[start + length :]
    found: tuple[Complaint, ...] = ()
    try:
        linter.run(load_playbook(text, "fuzz.yaml"))
    except PlaybookError as error:
        found = error.complaints
    assert all(item.line >= 1 and item.column >= 1 and item.message and item.code for item in found)


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 70), st.floats(allow_nan=False, allow_infinity=False), PIECES
)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(LEAVES, st.lists(inner, max_size=3), st.dictionaries(PIECES, inner, max_size=3))


VALUES = nested(nested(LEAVES))


def places(value: Any, way: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place in JSON data."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way, *(place for key, child in children for place in places(child, (*way, key)))]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.floats(0, 0.999), VALUES)
def test_any_value_in_any_place_loads_or_is_refused_with_complaints(where: float, value: Any) -> None:
    data = plain(read(EXAMPLE, "fuzz.yaml"))
    ways = places(data)[1:]
    *way, last = ways[int(where * len(ways))]
    holder = data
    for part in way:
        holder = holder[part]
    holder[last] = value
    with suppress(PlaybookError):
        linter.run(load_playbook(json.dumps(data), "fuzz.yaml"))


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_any_text_at_all_is_refused_and_nothing_else(text: str) -> None:
    with pytest.raises(PlaybookError):
        load_playbook(text, "fuzz.yaml")
