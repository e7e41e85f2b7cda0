"""`runbook new`: whatever an alert, a session or a person says, what is written validates and its first test passes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from commands import Place
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runbook_engine.alerts import match, read_firing
from runbook_engine.drafting.commands import step_of
from runbook_engine.drafting.draft import Draft, proved
from runbook_engine.drafting.from_alert import from_alert
from runbook_engine.drafting.from_answers import LOOKS, Answers, from_answers
from runbook_engine.drafting.from_session import from_session
from runbook_engine.drafting.recordings import Typed, read_session, screen_lines
from runbook_engine.drafting.taming import identifier, masked, name
from runbook_engine.errors import UsageError
from runbook_engine.expressions import template_names
from runbook_engine.layout import format_text
from runbook_engine.loader import load_playbook
from runbook_engine.model import Playbook

ALERT = {
    "labels": {"alertname": "QueueBacklog", "queue": "email", "severity": "page"},
    "annotations": {
        "summary": "Queue email is long",
        "description": "5003 jobs wait.",
        "runbook_url": "https://wiki/q",
    },
    "generatorURL": "http://prometheus:9090/graph?g0.expr=pending%7Bqueue%3D%22email%22%7D+%3E+1000&g0.tab=1",
}
SESSION = """\
anna@web1:~$ df -h /
Filesystem      Size  Used Avail Use% Mounted on
/dev/sda1        50G   49G  1.0G  98% /
anna@web1:~$ PGPASSWORD=hunter2secret psql -h db -c "select count(*) as n from jobs"
anna@web1:~$ redis-cli -a hunter2secret LLEN asynq:{default}:pending
(integer) 5003
anna@web1:~$ curl -sS -H 'Authorization: Bearer hunter2secret99' 'http://api:8090/api/v1/health?full=1&x=2'
anna@web1:~$ ps aux | grep worker | head -5
anna@web1:~$ psql linkflow
linkflow=# select pid, query
linkflow-# from pg_stat_activity where pid > 0 limit 5;
linkflow=# delete from jobs;
linkflow=# \\q
anna@web1:~$ sudo systemctl restart linkflow-worker
anna@web1:~$ mysql -u root -phunter2secret -e 'show processlist'
anna@web1:~$ exit
"""


def made(draft: Draft) -> tuple[Playbook, str, str]:
    """The proof is part of what is tested: it raises when the playbook complains or its test fails."""
    text, tests = proved(draft)
    assert format_text(text, "x") == text and format_text(tests, "x") == tests
    return load_playbook(text, f"{draft.name}.yaml").playbook, text, tests


def of_alert(*alerts: Any, wanted: str | None = None) -> Draft:
    return from_alert(read_firing(json.dumps({"alerts": alerts}), "alert.json"), wanted, "alert.json")


def of_session(text: str | bytes) -> Draft:
    return from_session(read_session(text if isinstance(text, bytes) else text.encode(), "s"), None, "s.txt")


def test_an_alert_becomes_a_playbook_that_it_matches() -> None:
    playbook, text, _ = made(of_alert(ALERT))
    assert (playbook.name, playbook.title, playbook.about) == (
        "queue-backlog",
        "Queue email is long",
        "5003 jobs wait.",
    )
    hits, _ = match(ALERT["labels"], [playbook])  # type: ignore[arg-type]
    assert [(hit.playbook, hit.inputs) for hit in hits] == [("queue-backlog", {"queue": "email"})]
    assert playbook.symptoms[0].request["query"]["query"] == 'pending{queue="email"} > 1000'
    assert playbook.links == ("https://wiki/q",) and "severity" not in text


def test_without_an_expression_a_person_is_asked() -> None:
    playbook, _, tests = made(of_alert({"labels": {"alertname": "X1"}}))
    assert playbook.symptoms[0].ask is not None and "answers: {seen: true}" in tests


def test_alerts_of_several_names_are_no_one_playbook() -> None:
    with pytest.raises(UsageError, match="2 names"):
        of_alert(ALERT, {"labels": {"alertname": "Other"}})


HOSTILE = [
    "${{ run.id }}",
    "$${{ run.id }}",
    "a\n  effect: destructive",
    "x: {y: [",
    "'\"\\",
    "\u202e\u0000\x1b[2J",
    "&a *a !!python/object:os.system",
    "# not a comment",
    "--- \n...",
    "{% for x in y %}",
    "%(name)s %(x)I",
    "\ud800",
    "password=hunter2secret",
    "-" * 500,
    "no",
    "1e999",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_of_an_alert_are_text(text: str) -> None:
    alert = {
        "labels": {"alertname": text, "queue": text, text: "x"},
        "annotations": {"summary": text, "description": text, "runbook_url": text},
        "generatorURL": f"http://p/graph?g0.expr={text}",
    }
    playbook, written, tests = made(of_alert(alert))
    assert live_names(playbook) <= {"queue", "x", "label"} | set(playbook.inputs)
    assert "hunter2" not in written + tests
    assert playbook.symptoms[0].effect == "read" and playbook.resolution == ()


def live_names(playbook: Playbook) -> set[str]:
    """What any text of it would fill in."""
    return set(template_names(playbook.model_dump(by_alias=True)))


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=30), st.sampled_from(HOSTILE)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=12), inner, max_size=3)),
    max_leaves=8,
)
NAMES = st.one_of(
    st.text(min_size=1, max_size=40), st.sampled_from(HOSTILE), st.sampled_from(["job", "run", "item", "if"])
)
ALERTS = st.fixed_dictionaries(
    {
        "labels": st.dictionaries(NAMES, NAMES, max_size=5).map(
            lambda labels: {**labels, "alertname": labels.get("alertname", "A")}
        )
    },
    optional={
        "annotations": st.one_of(
            JSON, st.dictionaries(st.sampled_from(["summary", "description", "runbook_url"]), NAMES)
        ),
        "generatorURL": st.one_of(JSON, NAMES.map(lambda text: f"http://p/graph?g0.expr={text}")),
        "startsAt": JSON,
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ALERTS, st.one_of(st.none(), NAMES))
def test_whatever_an_alert_says_the_draft_is_sound(alert: dict[str, Any], alertname: str | None) -> None:
    alert["labels"]["alertname"] = alertname or alert["labels"]["alertname"]
    try:
        alerts = read_firing(json.dumps([alert]), "x")
    except UsageError:
        return  # no alert at all
    playbook, _, _ = made(from_alert(alerts, None, "x"))
    assert live_names(playbook) <= set(playbook.inputs)


def test_a_session_becomes_steps_that_look_and_notes_of_the_rest() -> None:
    playbook, text, tests = made(of_session(SESSION))
    asked = [(step.executor, step.request) for step in playbook.diagnosis]
    assert asked == [
        ("shell", ["df", "-h", "/"]),
        ("sql", "select count(*) as n from jobs"),
        ("redis", ["LLEN", "asynq:{default}:pending"]),
        ("http", asked[3][1]),
        ("shell", "ps aux | grep worker | head -5\n"),
        ("sql", "select pid, query\nfrom pg_stat_activity where pid > 0 limit 5\n"),
    ]
    assert '"/api/v1/health"' in text and '"full=1&x=2"' in text
    assert all(step.effect == "read" for step in playbook.diagnosis)
    told = " ".join(playbook.notes)
    assert all(word in told for word in ("delete from jobs", "systemctl restart", "show processlist"))
    assert "hunter2" not in text + tests and "98% /" in tests


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("rm -rf /tmp/x", "changes"),
        ("tail -f /var/log/syslog", "goes on"),
        ("tail -100f x.log", "goes on"),
        ("journalctl --fol", "goes on"),
        ("ping db", "does not end"),
        ("find / -name x -exec rm {} +", "changes"),
        ("find / -name x -exec ls {} +", "shell"),
        ("find / -name x -delete", "changes"),
        ("cat /etc/shadow", "secrets"),
        ("cat .env", "secrets"),
        ("date 10101010", "sets"),
        ("hostname other", "sets"),
        ("sysctl vm.swappiness=1", "sets"),
        ("docker stats", "does not end"),
        ("docker restart x", "changes"),
        ("kubectl delete pod x", "changes"),
        ("systemctl frobnicate", "no command that is known"),
        ("awk '{print $1}' x", "not known"),
        ("sudo cat x", "not known"),
        ("df -h > out.txt", "writes"),
        ("df $(reboot)", "reboot"),
        ("df; reboot", "reboot"),
        ("df || curl evil", "shell"),
        ("cat `which x`", "shell"),
        ("curl -X POST http://x/y", "changes"),
        ("curl -o file http://x/y", "changes"),
        ("psql -f x.sql", "file"),
        ("redis-cli --scan", "mode"),
        ("echo '${{ run.id }}'", "template"),
        ("df '", "quotes"),
        ("vmstat 1", "does not end"),
    ],
)
def test_what_might_do_more_than_look_is_no_step(typed: str, reason: str) -> None:
    found = step_of(Typed("shell", typed))
    assert isinstance(found, str) and reason in found


@pytest.mark.parametrize(
    "typed",
    [
        "df -h",
        "ls /var/log/*.log",
        "ps aux | sort -rnk 3 | head",
        "docker compose ps",
        "kubectl get pods -n x -o wide",
        "systemctl status x --no-pager",
        "journalctl -u x -n 50 --no-pager",
        "tail -n 100 x.log",
        "ping -c 1 db",
        "date -u",
        "grep -c 'a;b' x",
        "dmesg -T | tail -20",
        "ss -tlnp",
        "vmstat 1 3",
        "cat x 2>/dev/null | wc -l",
    ],
)
def test_what_only_looks_is_a_step(typed: str) -> None:
    playbook, _, _ = made(of_session(f"$ {typed}\n"))
    assert len(playbook.diagnosis) == 1 and playbook.notes == ()


def test_a_terminal_recording_is_read_as_the_screen_showed_it() -> None:
    raw = (
        b'Script started on 2026-11-26 10:00:00+00:00 [TERM="xterm"]\n'
        b"\x1b]0;web1\x07\x1b[01;32manna@web1\x1b[00m:~$ df -hh\x08\x1b[K /\x07\r\n98% /\r\n"
        b"\x1b[?2004hanna@web1:~$ upp\x08time\r\n\x1b[?2004l up 3 days\r\n"
        b"anna@web1:~$ exit\r\nScript done on 2026-11-26\n"
    )
    assert [(each.text, each.output) for each in read_session(raw, "typescript")][:2] == [
        ("df -h /", ["98% /"]),
        ("uptime", [" up 3 days"]),
    ]


def test_keystrokes_of_a_recording_are_never_read() -> None:
    events: list[Any] = [{"version": 2, "width": 80, "height": 24}]
    events += [[0.1, "o", "$ uptime\r\n"], [0.2, "i", "s3cretpassword\r"], [0.3, "o", " up 3 days\r\n$ "]]
    cast = "\n".join(json.dumps(each) for each in events).encode()
    (typed,) = read_session(cast, "x.cast")
    assert (typed.text, typed.output) == ("uptime", [" up 3 days"])
    _, text, tests = made(from_session([typed], None, "x.cast"))
    assert "s3cret" not in text + tests
    with pytest.raises(UsageError, match=r"x\.cast:2"):
        read_session(cast.replace(b'[0.1, "o"', b'[0.1, "o', 1), "x.cast")


@pytest.mark.parametrize(
    "history",
    [
        "df -h\nuptime\n",
        "#1699999999\ndf -h\n#1699999999\nuptime\n",
        "  101  df -h\n  102  uptime\n",
        ": 169:0;df -h\n: 170:0;uptime\n",
    ],
)
def test_a_history_is_read_line_by_line(history: str) -> None:
    assert [each.text for each in read_session(history.encode(), "h")] == ["df -h", "uptime"]


def test_the_editing_of_a_line_is_followed() -> None:
    assert (
        screen_lines("abcd\x1b[2D\x1b[PX\n") == ["abXd"[:2] + "X", ""]
        or screen_lines("abcd\x1b[2D\x1b[P\n")[0] == "abd"
    )
    assert screen_lines("abc\rx\x1b[K\n")[0] == "x"
    assert screen_lines("\x1b]8;;http://x\x07link\x1b]8;;\x07 \x1b[31mred\x1b[0m")[0] == "link red"


LINES = st.one_of(
    st.text(max_size=40),
    st.sampled_from([f"$ {each}" for each in HOSTILE]),
    st.sampled_from(SESSION.splitlines()),
    st.builds(
        lambda start, rest: start + rest,
        st.sampled_from(
            ["$ df ", "$ psql -c ", "$ redis-cli ", "$ curl ", "a=# select ", "127.0.0.1:6379> ", "$ cat x | grep "]
        ),
        st.text(max_size=30),
    ),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(LINES, min_size=1, max_size=6), st.sampled_from(["\n", "\r\n"]))
def test_whatever_a_session_shows_the_draft_is_sound(lines: list[str], end: str) -> None:
    try:
        typed = read_session(end.join(lines).encode("utf-8", "surrogatepass"), "s")
    except UsageError:
        return  # it shows no command
    playbook, text, tests = made(from_session(typed, None, "s"))
    assert "hunter2" not in text + tests
    facts = {fact for step in playbook.diagnosis for fact in step.facts}
    assert live_names(playbook) <= facts
    assert all(step.effect == "read" for step in playbook.diagnosis)


@pytest.mark.parametrize(
    ("shown", "meant"),
    [("(integer) -7", -7), ("(nil)", None), ('"a b"', "a b"), ("PONG", "PONG"), ("(integer) many", "(integer) many")],
)
def test_what_redis_answered_is_kept_as_the_value_that_it_is(shown: str, meant: Any) -> None:
    draft = of_session(f"$ redis-cli GET jobs\n{shown}\n")
    (reply,) = draft.cases["replies"].values()
    assert reply == {"result": meant}


def test_what_is_no_text_is_no_session() -> None:
    with pytest.raises(UsageError, match="s is no text; expected what a screen showed"):
        read_session(bytes(range(128, 256)) * 20 + b"\n$ df -h\n", "s")
    assert read_session(b"$ df -h\n/dev/sda1 50G 100% /caf\xe9\n", "s")[0].text == "df -h"


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=200))
def test_no_recording_raises_anything_but_a_usage_error(content: bytes) -> None:
    try:
        made(from_session(read_session(content, "s"), None, "s"))
    except UsageError as error:
        if "with these answers" in str(error):
            raise AssertionError from error


@pytest.mark.parametrize(
    "secret",
    [
        "mysql -u root -phunter2x -e x",
        "sshpass -p hunter2x ssh x",
        "curl -u me:hunter2x http://x",
        "curl --user=me:hunter2x x",
        "export API_TOKEN=hunter2x",
        "redis-cli AUTH hunter2x",
        "AUTH default hunter2x",
        "psql postgresql://u:hunter2x@h/d",
        "openssl rsa -passin pass:hunter2x",
        "vault login --token hunter2x",
        "mongosh -u a -p hunter2x",
    ],
)
def test_a_secret_on_a_command_line_is_masked(secret: str) -> None:
    assert "hunter2x" not in masked(secret)


@pytest.mark.parametrize("kind", [kind for kind in LOOKS if kind != "ask"])
@pytest.mark.parametrize(
    "fix", ["", "service: restart", "shell: systemctl restart x", "manual: Turn it off and on: ${{ x }}"]
)
@pytest.mark.parametrize("bad", ["> 100", "<= 3", "5m", "!= 0", "== 7", ">= 0.5"])
def test_every_kind_of_look_and_fix_makes_a_sound_draft(kind: str, fix: str, bad: str) -> None:
    given_ = Answers(
        "my-thing", "It's slow: ${{ x }}", f"{kind}: {LOOKS[kind].example}", bad=bad, cause="Too many", fix=fix
    )
    playbook, _, tests = made(from_answers(given_))
    assert playbook.symptoms[0].present and live_names(playbook) == set()
    assert ("it is mended" in tests) == fix.startswith(("service", "shell"))


WORDS = st.one_of(st.text(min_size=1, max_size=60), st.sampled_from(HOSTILE))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(WORDS, WORDS, WORDS, st.sampled_from(["ask: ", "sql: ", "shell: ", "http: ", "redis: "]), WORDS)
def test_whatever_a_person_says_is_sound_or_refused_with_words(
    title: str, cause: str, advice: str, kind: str, rest: str
) -> None:
    try:
        playbook, _, _ = made(from_answers(Answers("x", title, kind + rest, bad="> 1", cause=cause, advice=advice)))
    except UsageError:
        return
    assert playbook.causes and "Traceback" not in playbook.title


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"name": "My Thing"}, "my-thing"),
        ({"look": "sql"}, "WHAT: REQUEST"),
        ({"look": "sqll: select 1"}, "sql"),
        ({"look": "sql: delete from x"}, "RB401"),
        ({"look": "sql: select %(x)s"}, "RB303"),
        ({"bad": "many"}, "many"),
        ({"bad": ""}, "comparison"),
        ({"target": "db=redis"}, "postgres"),
        ({"figure": "rows | length"}, "path"),
        ({"figure": "nothing.here"}, "RB20"),
        ({"fix": "reboot"}, "WHAT: REQUEST"),
        ({"look": "ask: Is it?", "fix": "manual: x"}, "not asked twice"),
        ({"look": "shell: 'x"}, "cannot be split"),
    ],
)
def test_an_answer_that_does_not_fit_is_told(changes: dict[str, str], hint: str) -> None:
    sound = {"name": "x", "title": "X", "look": "sql: select 1 as n", "bad": "> 1"}
    with pytest.raises(UsageError) as told:
        proved(from_answers(Answers(**{**sound, **changes})))
    assert hint in str(told.value)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("QueueBacklog", "queue-backlog"),
        ("HTTPErrors5xx", "http-errors5xx"),
        ("Ünïcode!", "unicode"),
        ("123", "x"),
        ("", "x"),
    ],
)
def test_names_are_made_of_any_text(text: str, wanted: str) -> None:
    assert identifier(text, "x") == wanted
    assert re.fullmatch(r"[a-z][a-z0-9_]*", name(text, "x"))
    assert name("run", "x") == "run_2" and identifier("a", "x", {"a", "a-2"}) == "a-3"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "alert.json").write_text(json.dumps({"alerts": [ALERT]}))
    (folder / "session.txt").write_text(SESSION)
    return Place(folder, tmp_path / "state", {"XDG_CONFIG_HOME": str(tmp_path / "config")})


SLOW = ("--title", "Jobs are slow", "--look", "sql: select count(*) as n from jobs", "--bad", "> 100")


@pytest.mark.parametrize(
    "words",
    [
        ("--from-alert", "alert.json"),
        ("--from-session", "session.txt"),
        ("mine", "--from-session", "session.txt", "--folder", "deep/er"),
        ("slow-jobs", *SLOW, "--cause", "Too few workers", "--fix", "service: restart"),
        ("asked", "--title", "Slow", "--look", "ask: Is it slow?"),
    ],
    ids=" ".join,
)
def test_what_is_written_validates_tests_and_is_never_overwritten(place: Place, words: tuple[str, ...]) -> None:
    done = place.run("new", *words)
    assert done.code == 0, done.said
    playbook, tests = done.stdout.splitlines()
    checked = place.run("validate", playbook)
    assert checked.code == 0 and "0 errors, 0 warnings" in checked.stderr
    assert place.run("test", tests).code == 0
    assert place.run("fmt", "--check", playbook, tests).code == 0
    before = (place.folder / playbook).read_bytes()
    again = place.run("new", *words)
    assert again.code == 2 and "nothing is overwritten" in again.stderr
    assert (place.folder / playbook).read_bytes() == before


def test_a_test_file_in_the_way_stops_both(place: Place) -> None:
    (place.folder / "queue-backlog.test.yaml").symlink_to("nowhere")
    assert place.run("new", "--from-alert", "alert.json").code == 2
    assert not (place.folder / "queue-backlog.yaml").exists()


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ((), "NAME, --title, --look, --bad are missing"),
        (("x", "--title", "X", "--look", "sql: select 1"), "--bad is missing"),
        (("--from-alert", "alert.json", "--from-session", "session.txt"), "exclude"),
        (("--from-alert", "alert.json", "--title", "X"), "--title"),
        (("--from-alert", "nowhere.json"), "nowhere.json is no file"),
        (("--from-session", "."), "is no file"),
        (("--from-alert", "session.txt"), "no JSON"),
        (("Bad Name", "--from-alert", "alert.json"), "bad-name"),
        (("x", *SLOW, "--folder", "alert.json"), "cannot be written"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_without_a_terminal_what_is_missing_or_wrong_is_usage(place: Place, words: tuple[str, ...], hint: str) -> None:
    done = place.run("new", *words)
    assert (done.code, done.stdout) == (2, "") and hint in done.stderr and "Traceback" not in done.said
    assert sorted(path.name for path in place.folder.iterdir()) == ["alert.json", "session.txt"]


def test_at_a_terminal_it_asks(place: Place) -> None:
    with place.at_a_terminal("new") as screen:
        for question, answer in (
            ("Name", "Slow Jobs\r"),
            ("try 'slow-jobs'", ""),
            ("Name", "slow-jobs\r"),
            ("What is wrong", "Jobs are slow\r"),
            ("What do users see", "\r"),
            ("Area", "worker\r"),
            ("How does it show", "sql\r"),
            ("Ask what", "select count(*) as n from jobs\r"),
            ("bad", "many\r"),
            ("expected one such as", ""),
            ("bad", "> 50\r"),
            ("One cause", "Too few workers\r"),
            ("What mends it", "service\r"),
            ("Exactly what", "restart\r"),
        ):
            screen.see(question)
            screen.type(answer)
        assert screen.end() == 0, screen.shown
    playbook = load_playbook((place.folder / "slow-jobs.yaml").read_text(), "slow-jobs.yaml").playbook
    assert (playbook.area, playbook.inputs["bound"].default) == ("worker", 50)
    assert place.run("test", "slow-jobs.test.yaml").code == 0


def test_ctrl_c_at_a_question_writes_nothing(place: Place) -> None:
    with place.at_a_terminal("new") as screen:
        screen.see("Name")
        screen.type("\x03")
        assert screen.end() == 130
    assert sorted(path.name for path in place.folder.iterdir()) == ["alert.json", "session.txt"]
