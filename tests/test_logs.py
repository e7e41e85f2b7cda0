"""What a log says: lines of every kind read and counted, and nothing that stands in one breaks it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbook_engine.error_classes import CLASSES, LONGEST, classes_of
from runbook_engine.logs.figures import MOST_KINDS, Window, figures
from runbook_engine.logs.lines import error_fingerprint, moment, read_line, route_of, statement
from runbook_engine.logs.patterns import LOOKED_AT, wanted

NOW = 1_800_000_000.0


def at(age: float) -> str:
    return datetime.fromtimestamp(NOW - age, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def request(age: float = 10, status: object = 200, path: str = "/api/v1/health", ms: object = 5.0, **more: Any) -> str:
    known = {"level": "info", "method": "GET", "path": path, "status": status, "duration": ms, "time": at(age)}
    return json.dumps({**known, "message": "request completed", **more})


def error(said: str, age: float = 10, level: str = "error", **more: Any) -> str:
    return json.dumps({"level": level, "time": at(age), "message": "request failed", "error": said, **more})


def read(*lines: str, since: float = 900, recent: float = 180, patterns: dict[str, str] | None = None) -> Any:
    found = {name: wanted(source) for name, source in (patterns or {}).items()}
    answer = figures([list(lines)], Window(NOW, NOW - since, NOW - recent), found)
    json.dumps(answer, allow_nan=False).encode()
    return answer


def test_requests_are_counted_by_how_they_ended_and_how_long_they_took() -> None:
    lines = [request(ms=number) for number in range(1, 101)]
    lines += [request(status=500), request(status=503), request(status=429), request(status=404)]
    answer = read(*lines)
    assert (answer["requests"], answer["n5xx"], answer["n4xx"], answer["n429"]) == (104, 2, 2, 1)
    assert answer["err_rate"] == 2 / 104
    assert (answer["p50_ms"], answer["p95_ms"], answer["p99_ms"]) == (49.0, 95.0, 99.0)
    assert answer["lines"] == 104 and answer["bytes"] == sum(len(line) + 1 for line in lines)


def test_without_requests_and_errors_rates_and_shares_are_unknown() -> None:
    answer = read()
    assert answer["err_rate"] is None and answer["p95_ms"] is None and answer["last_age_s"] is None
    assert set(answer["class_share"].values()) == {None} and answer["sql_bytes_share"] is None
    assert answer["recent"] == {
        "requests": 0, "n5xx": 0, "err_rate": None, "p95_ms": None, "errors": 0, "seconds": 180,
    }  # fmt: skip


def test_the_recent_part_tells_a_problem_that_is_over_from_one_that_is_not() -> None:
    over = read(*[request(age=600, status=500)] * 10, *[request(age=20)] * 10, error("EOF", age=500))
    assert over["err_rate"] == 0.5 and over["recent"]["n5xx"] == 0 and over["recent"]["err_rate"] == 0
    assert (over["errors"], over["recent"]["errors"]) == (1, 0)


def test_lines_older_than_the_window_are_dropped_whatever_the_source_said() -> None:
    answer = read(request(age=901, status=500), "a plain line that follows it: EOF", request(age=899))
    assert (answer["lines"], answer["requests"], answer["n5xx"], answer["errors"]) == (1, 1, 0, 0)


def test_a_plain_line_before_the_first_time_is_as_old_as_what_follows() -> None:
    assert read("EOF", request(age=5000))["errors"] == 0
    assert read("EOF", request(age=5))["errors"] == 1


def test_a_time_in_the_future_is_now() -> None:
    answer = read(request(age=-86400), request(age=10))
    assert answer["last_age_s"] == 0 and answer["requests"] == 2


@pytest.mark.parametrize(
    "text",
    [
        '2026-11-23T21:00:00.000Z {"level":"error","message":"EOF"}',
        '[pod/api-1/api] 2026-11-23T21:00:00Z {"level":"error","message":"EOF"}',
        'api-1  | {"level":"error","message":"EOF","time":"2026-11-23T21:00:00Z"}',
        '1795467600.000000 machine linkflow-api[12]: {"level":"error","message":"EOF"}',
        "2026-11-23 21:00:00.000 UTC [77] ERROR:  EOF",
    ],
)
def test_what_a_platform_puts_before_a_line_is_taken_off_and_its_time_counts(text: str) -> None:
    line = read_line(text)
    assert (line.at, line.level) == (1795467600.0, "error")
    assert line.message.endswith("EOF")


def test_the_time_of_the_program_wins_over_the_platforms() -> None:
    assert read_line('2026-11-23T21:00:00Z {"time":"2026-11-23T20:00:00Z"}').at == 1795464000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2026-11-23T21:00:00.123456789Z", 1795467600.123456),
        ("2026-11-23T22:00:00+01:00", 1795467600.0),
        (1795467600, 1795467600.0),
        (1795467600000, 1795467600.0),
        ("1795467600", 1795467600.0),
        (float("nan"), None),
        (float("inf"), None),
        (True, None),
        ("", None),
        ("yesterday", None),
        (-5, None),
        (10**400, None),
        ("0001-01-01T00:00:00", None),
        ({}, None),
    ],
)
def test_moments(value: object, seconds: float | None) -> None:
    found = moment(value)
    assert found == pytest.approx(seconds) if seconds is not None else found is None or found < 0


def test_numbers_may_be_texts_and_what_is_no_number_is_left_aside() -> None:
    answer = read(
        request(status="503", ms="12.5"),
        request(status="active", ms=3),
        request(status=True, ms=float("nan")),
        request(status=200, ms=float("inf")),
        request(status=1e400, ms=-4),
        request(status=700),
    )
    assert (answer["requests"], answer["n5xx"], answer["p99_ms"]) == (2, 1, 12.5)


def test_a_status_without_path_and_duration_is_no_request() -> None:
    assert read(json.dumps({"status": 500, "message": "job", "time": at(1)}))["requests"] == 0


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/api/v1/workflows/42/runs", "/api/v1/workflows/:id/runs"),
        ("/w/3fa85f64-5717-4562-b3fc-2c963f66afa6?x=1", "/w/:id"),
        ("/w/5f2b6c7d8e9f0a1b2c3d", "/w/:id"),
        ("/v2/health", "/v2/health"),
        ("/facade/decade", "/facade/decade"),
        ("", ""),
        ("/" * 5, "/////"),
    ],
)
def test_routes_have_no_ids(path: str, route: str) -> None:
    assert route_of(path) == route


def test_the_routes_that_matter_are_listed_and_no_more_than_can_be_read() -> None:
    lines = [request(path=f"/many/x{number}") for number in range(3000)] + [request(path="/busy/7", bytes=900)] * 50
    lines += [request(path="/bad", status=500)] * 3 + [request(path="/slow", ms=90000)]
    routes = read(*reversed(lines))["routes"]
    assert len(routes) <= 20
    assert routes[0] == {
        "route": "/busy/:id", "method": "GET", "count": 50, "n5xx": 0, "share_5xx": 0, "p95_ms": 5, "bytes_p90": 900,
    }  # fmt: skip
    assert {"/bad", "/slow"} <= {each["route"] for each in routes}


def test_errors_are_grouped_by_what_does_not_vary_and_classed() -> None:
    lines = [
        error(f'dial tcp 10.0.0.{n}:443: user "{n}" 3fa85f64-5717-4562-b3fc-2c963f66af{n:02} EOF') for n in range(9)
    ]
    answer = read(*lines, error("redis: connection pool timeout"), error("strange", level="fatal", age=3))
    first = answer["fingerprints"][0]
    assert first["text"] == "request failed: dial tcp #.#.#.#:#: user <str> <uuid> EOF"
    assert (first["count"], first["classes"], first["level"], first["last"]) == (9, ["downstream"], "error", at(10))
    assert answer["errors"] == 11 and answer["class_share"]["redis"] == 1 / 11
    assert answer["class_share"]["lease"] == 0 and answer["fatal"] == "request failed: strange"


def test_numbers_that_tell_classes_apart_are_not_lost_among_those_that_vary() -> None:
    answer = read(error("got 429 from 7"), error("got 401 from 8"), error("got 500 from 9"))
    shares = answer["class_share"]
    assert (shares["rate_limit"], shares["auth"]) == (1 / 3, 1 / 3)
    assert [each["count"] for each in answer["fingerprints"]] == [3]


def test_plain_lines_count_as_errors_when_they_belong_to_a_class_or_say_so() -> None:
    answer = read(
        "\x1b[31mpq: sorry, too many clients already\x1b[0m",
        "2027-01-15 08:00:00.000 UTC [7] FATAL:  terminating connection",
        "all is well",
        "12:M 23 Nov 2026 21:00:00.000 # MISCONF Redis is configured to save RDB snapshots",
    )
    assert (answer["lines"], answer["errors"]) == (4, 3)
    assert answer["fatal"] == "2027-01-15 08:00:00.000 UTC [7] FATAL:  terminating connection"


def test_a_panic_is_counted_once_and_its_stack_is_no_error() -> None:
    trace = """\
panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x1]

goroutine 1 [running]:
gorm.io/gorm.(*DB).First(0x0)
\t/go/pkg/mod/gorm.io/gorm@v1.25.5/finisher_api.go:129 +0x1d

request rate limited: 429""".splitlines()
    answer = read(*trace, error("panic recovered: nil pointer", level="error"))
    assert (answer["errors"], answer["panics"]) == (3, 2)
    assert answer["fatal"].startswith("panic: runtime error")


def test_slow_statements_lose_their_literals_whether_on_one_line_or_two() -> None:
    answer = read(
        "\x1b[33m[250.5ms] \x1b[34;1m[rows:1]\x1b[0m SLOW SQL >= 200ms select * from t where a = 'x' and b = 42",
        "2026/11/23 21:00:00 /app/store.go:12 SLOW SQL >= 200ms",
        "[900.1ms] [rows:1] select * from t where a = 'my secret' and b = 7 limit $1",
        "[1.0ms] [rows:1] select quota from limits where n = 429",
        request(age=1),
    )
    assert answer["slow_sql"] == [
        {"ms": 900.1, "count": 1, "text": "select * from t where a = ? and b = ? limit $1"},
        {"ms": 250.5, "count": 1, "text": "select * from t where a = ? and b = ?"},
    ]
    assert answer["errors"] == 0 and 0 < answer["sql_bytes_share"] < 1


def test_how_fast_a_log_is_written() -> None:
    answer = read(request(age=100), request(age=1))
    assert answer["bytes_per_s"] == pytest.approx(answer["bytes"] / 100)


def test_patterns_are_counted_with_the_age_of_the_last() -> None:
    answer = read(
        error("bind: address already in use", age=100),
        error("bind: Address already in use", age=7),
        request(age=3),
        patterns={"bind": "(?i)address already in use", "number": r"duration\D{1,3}\d+", "none": "^x+$", "any": "a|b"},
    )
    found = answer["found"]
    assert found["bind"] == {"count": 2, "last_age_s": 7.0, "last": "request failed: bind: Address already in use"}
    assert (found["number"]["count"], found["none"]["count"], found["any"]["count"]) == (1, 0, 3)


@pytest.mark.parametrize("source", ["a(b", "a**", "(?=x)", "x" * 600])
def test_a_pattern_that_cannot_be_says_why(source: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        wanted(source)


def test_a_pattern_that_takes_too_long_is_unknown_and_not_none() -> None:
    answer = read(*["x" * 900] * 400, patterns={"slow": "[a-z]+[a-z]+[a-z]+[a-z]+[0-9]"})
    assert answer["found"]["slow"] == {"count": None, "last_age_s": None, "last": None}


PARTS = ["a", "b", "ab", r"\d", r"\.", ".", "[ab]", "[^a]", "(?:ab|c)", "(x)?", "a?", "b*", "c+", "a{2}", "|", "bind: "]


@given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=6), st.text("abcx.1 ind:", max_size=30), st.booleans())
def test_looking_for_words_first_changes_nothing(parts: list[str], text: str, any_case: bool) -> None:
    source = ("(?i)" if any_case else "") + "".join(parts)
    try:
        one = wanted(source)
    except ValueError:
        return
    text = text.upper() if any_case else text
    truth = one.pattern.search(text[:LOOKED_AT], lambda steps: None)
    assert one.found_in(text, text.lower()) == truth


SAID = [*"abz019:. \n", "SQLSTATE", "pq:", "429", "Rate limit", "EOF", "dial tcp 1.2.3.4:5432", "dial tcp x", "PANIC",
        "asynq: task lease expired", "redis:", "401", "LOADING", "I/O Timeout", "status code: 503",
        "é", "K"]  # fmt: skip


@given(st.lists(st.sampled_from(SAID), max_size=12).map("".join))
def test_looking_for_words_first_finds_the_same_classes(text: str) -> None:
    assert classes_of(text) == {name for name, pattern in CLASSES.items() if pattern.search(text[:LONGEST])}


HOSTILE = st.one_of(
    st.text(max_size=200),
    st.binary(max_size=200).map(lambda data: data.decode("utf-8", "replace")),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    ).map(json.dumps),
    st.fixed_dictionaries(
        {},
        optional={
            name: st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.just([{}])
            for name in ("time", "level", "status", "duration", "duration_ms", "path", "route", "method", "bytes",
                         "message", "error")
        },
    ).map(json.dumps),
)  # fmt: skip


@given(st.lists(HOSTILE, max_size=8))
def test_no_line_breaks_it(lines: list[str]) -> None:
    answer = read(*lines, patterns={"one": "a.c", "two": "x"})
    assert answer["lines"] <= len(lines)


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        '{"a":' * 50_000,
        "{" + "9" * 100_000,
        '{"status":' + "9" * 5000 + "}",
        json.dumps({"message": "x" * 1_000_000, "level": "error", "error": "y" * 1_000_000, "time": at(1)}),
        '"' * 100_000,
        "dial tcp " * 20_000,
        "'" * 50_000,
        "[1.0ms] [rows:1] SLOW SQL >= 200ms " + "'" * 50_001,
        '{"message":"\\ud800","level":"error"}',
        "[pod/" + "x" * 100_000,
        "\x1b[" + "0;" * 50_000,
        "/".join("0a" * 9000),
    ],
    ids=range(13),
)
def test_a_huge_or_broken_line_is_one_line(line: str) -> None:
    answer = read(line, request(age=1))
    assert answer["lines"] == 2
    assert all(len(each["text"]) <= 300 for each in answer["fingerprints"])


def test_endless_variety_is_counted_and_not_kept() -> None:
    def name(number: int) -> str:
        return "".join(chr(ord("g") + int(digit)) for digit in str(number))

    answer = read(*[error(f"word{name(number)}") for number in range(MOST_KINDS + 500)])
    assert answer["errors"] == MOST_KINDS + 500 and len(answer["fingerprints"]) == 20


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("key ghp_16C7e42F292c6912E7710c838347Ae178B4a is bad", "key <token> is bad"),
        ("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVP here", "got <token> here"),
        ("pod linkflow-worker-7d9f8b6c5-x2x4z", "pod <token>"),
        ("a perfectly-ordinary-long-compound word 12", "a perfectly-ordinary-long-compound word #"),
    ],
)
def test_a_token_is_never_cut_into_what_nobody_would_know_for_one(said: str, text: str) -> None:
    assert error_fingerprint(said) == text


def test_fingerprints_and_statements_are_short() -> None:
    assert len(error_fingerprint("word " * 1000)) == 300 and len(statement("select a, " * 1000)) == 300
