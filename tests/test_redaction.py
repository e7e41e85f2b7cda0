from __future__ import annotations

import base64
import html
import json
import random
import shlex
import string
import urllib.parse
from collections.abc import Callable

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from runbook_engine.redaction import Redactor
from runbook_engine.secret_patterns import names_secret

Form = Callable[[str], str]


def go_json(value: str) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def lower_hex(text: str) -> str:
    parts = text.split("%")
    return parts[0] + "".join("%" + part[:2].lower() + part[2:] for part in parts[1:])


FORMS: dict[str, Form] = {
    "raw": lambda value: f"x {value} y",
    "glued": lambda value: f"x{value}y",
    "json": lambda value: json.dumps({"a": value}),
    "json utf-8": lambda value: json.dumps({"a": value}, ensure_ascii=False),
    "json of go": go_json,
    "json in json": lambda value: json.dumps({"a": json.dumps({"b": value})}),
    "go json in json": lambda value: json.dumps(go_json(value), ensure_ascii=False),
    "repr": repr,
    "repr in a structure": lambda value: repr({"a": [value, "it's"]}),
    "repr of bytes": lambda value: repr(value.encode()),
    "shell single quote": shlex.quote,
    "shell single quote, backslash": lambda value: "'" + value.replace("'", "'\\''") + "'",
    "shell double quote": lambda value: '"' + "".join("\\" + c if c in '\\"$`' else c for c in value) + '"',
    "url": lambda value: f"http://h/?a={urllib.parse.quote(value, safe='')}&b",
    "url path": lambda value: f"http://h/{urllib.parse.quote(value)}",
    "url lower": lambda value: lower_hex(urllib.parse.quote(value, safe="")),
    "url plus": lambda value: urllib.parse.urlencode({"a": value}),
    "url userinfo": lambda value: f"redis://:{urllib.parse.quote(value, safe='')}@h:6379",
    "html": html.escape,
    "html text": lambda value: html.escape(value, quote=False),
    "sql literal": lambda value: "'" + value.replace("'", "''") + "'",
    "hex": lambda value: "\\x" + value.encode().hex(),
    "hex upper": lambda value: value.encode().hex().upper(),
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "base64 of user and password": lambda value: base64.b64encode(f"user:{value}".encode()).decode(),
    "base64 of a longer user": lambda value: base64.b64encode(f"admin:{value}!".encode()).decode(),
    "base64 one further": lambda value: base64.b64encode(f"a:bc:{value}..".encode()).decode(),
    "base64url": lambda value: base64.urlsafe_b64encode(f"ab{value}".encode()).decode().rstrip("="),
    "base64 of json": lambda value: base64.b64encode(json.dumps({"p": value}).encode()).decode(),
    "base64 of go json": lambda value: base64.b64encode(go_json(value).encode()).decode(),
    "yaml double quote": lambda value: yaml.safe_dump(value, default_style='"', width=10**6),
    "colour inside": lambda value: f"{value[:3]}\x1b[31;1m{value[3:]}\x1b[0m",
    "link around": lambda value: f"\x1b]8;;http://h/{urllib.parse.quote(value)}\x07{value}\x1b]8;;\x07",
}


def some_secrets(count: int) -> list[str]:
    chance = random.Random(7)
    letters = string.ascii_letters + string.digits
    alphabets = [letters, letters + string.punctuation, letters + string.punctuation + " éßλ", string.hexdigits]
    return ["".join(chance.choice(alphabets[n % 4]) for _ in range(chance.randint(8, 48))) for n in range(count)]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_a_known_secret_shows_in_no_realistic_form(form: Form) -> None:
    leaked = []
    for value in some_secrets(200):
        redactor = Redactor({"redis.password": value})
        shown, told = redactor.text(form(value), patterns=False), form(value)
        # What stands around the secret may stay: it must be the same whatever the secret is.
        if "[secret redis.password]" not in shown or value in shown or told == shown:
            leaked.append((value, told, shown))
    assert leaked == []


def test_the_mask_names_the_secret_and_the_rest_stays() -> None:
    redactor = Redactor({"redis.password": "hunter2!", "db.password": "correct horse"})
    assert redactor.text("AUTH hunter2! for 'correct horse', twice hunter2!") == (
        "AUTH [secret redis.password] for '[secret db.password]', twice [secret redis.password]"
    )
    assert redactor.hits == {"redis.password": 2, "db.password": 1}


def test_one_secret_inside_another_or_overlapping_it_leaves_nothing_behind() -> None:
    redactor = Redactor({"short": "secret", "long": "mysecretword", "other": "wordpress"})
    shown = redactor.text("mysecretwordpress secret", patterns=False)
    assert "word" not in shown and "press" not in shown and "my" not in shown


@pytest.mark.parametrize("value", ["secret", "redis.password", "[secret redis", "***secret"])
def test_a_mask_never_tells_the_secret_itself(value: str) -> None:
    redactor = Redactor({"redis.password": value})
    assert value not in redactor.text(f"it is {value}.")


def test_the_lines_of_a_key_file_are_known_one_by_one() -> None:
    key = "-----BEGIN KEY-----\nabcdefghijklmnopqrstuv\nwxyz0123456789ABCDEFGH\n-----END KEY-----"
    shown = Redactor({"ssh.key": key}).text("line: wxyz0123456789ABCDEFGH and -----BEGIN KEY-----", patterns=False)
    assert shown == "line: [secret ssh.key] and -----BEGIN KEY-----"


def test_short_and_public_values_are_refused_with_a_warning() -> None:
    redactor = Redactor({"a": "12345", "b": "linkflow", "c": ""}, public={"linkflow"})
    assert redactor.text("12345 linkflow") == "12345 linkflow"
    assert [
        warning[: len(start)]
        for warning, start in zip(
            redactor.warnings, ["secret a has fewer than 6", "secret b is a word shown"], strict=True
        )
    ] == ["secret a has fewer than 6", "secret b is a word shown"]


KNOWN_BY_LOOK = [
    ("aws AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
    ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI/K7MDENG"),
    ("ghp_" + "a1B2" * 9, "a1B2"),
    ("glpat-" + "x" * 20, "xxxx"),
    ("xoxb-1234567890-abcdefghij", "1234567890"),
    ("https://hooks.slack.com/services/T000/B000/XXXXXXXXXXXX", "XXXX"),
    ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0abc.c2lnbmF0dXJl", "c2lnbmF0dXJl"),
    ("AIza" + "b" * 35, "bbbb"),
    ("sk_live_abcdefghij0123", "abcdefghij0123"),
    ("npm_" + "c" * 36, "cccc"),
    ("hvs." + "d" * 24, "dddd"),
    ("SG." + "e" * 22 + "." + "f" * 43, "ffff"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKC\nabc+/=\n-----END RSA PRIVATE KEY-----", "MIIEpAIBAAKC"),
    ('"-----BEGIN PRIVATE KEY-----\\nMIIEcut', "MIIEcut"),
    ("postgres://linkflow:hunter2@db:5432/linkflow", "hunter2"),
    ("redis://:hunter2@redis:6379/0", "hunter2"),
    ("Authorization: Bearer hunter2hunter2", "hunter2"),
    ("authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    ('{"Authorization":"Bearer hunter2"}', "hunter2"),
    ("sent bearer abcdefghij0123456789", "abcdefghij0123456789"),
    ("Set-Cookie: session=hunter2; Path=/", "hunter2"),
    ("password=hunter2", "hunter2"),
    ("DATABASE_PASSWORD=hunter2", "hunter2"),
    ("PGPASSWORD='hunter2 x' psql", "hunter2"),
    ('"password": "hunter2"', "hunter2"),
    ('{\\"password\\":\\"hunter2\\"}', "hunter2"),
    ("password: hunter2", "hunter2"),
    ("password: 12345678", "12345678"),
    ("api_key => hunter2", "hunter2"),
    ("apiKey: hunter2", "hunter2"),
    ("client_secret=hunter2&x=1", "hunter2"),
    ("access_token=hunter2", "hunter2"),
    ("?token=hunter2", "hunter2"),
    ("mysql --password hunter2", "hunter2"),
    ("redis-cli -h x -a hunter2 ping", "hunter2"),
    ("CONFIG SET requirepass hunter2", "hunter2"),
    ('1700.1 [0 1.1.1.1:1] "AUTH" "default" "hunter2"', "hunter2"),
    ("ALTER ROLE x PASSWORD 'hunter2'", "hunter2"),
    ("AccountKey=" + "g" * 40, "gggg"),
    ("X-Amz-Signature=abcdef0123456789", "abcdef0123456789"),
    ("İ password=hunter2", "hunter2"),
]


@pytest.mark.parametrize(("text", "secret"), KNOWN_BY_LOOK)
def test_what_looks_like_a_secret_is_masked(text: str, secret: str) -> None:
    shown = Redactor({}).text(text)
    assert secret not in shown and "***" in shown


ORDINARY = """\
2025-11-01T12:00:00Z level=info msg="job finished" queue=default id=8f3a duration=12ms token_count=5
FATAL:  password authentication failed for user "linkflow"
unexpected token: 'foo' at line 3
invalid token: expected }
secret store: unreachable
key: value
primary key (id), foreign key: users
error: no password supplied
asynq:{default}:pending 5003
GET https://example.com/a:b/c?d=e@f HTTP/1.1
select token, secret from webhooks where key = 'x'
password: ${{ inputs.password }}
password=$PGPASSWORD
password: <none>
max_tokens=400 tokens: 12 token_ttl: 300
secret_name: redis-auth password_file: /run/secrets/redis
git commit 3f786850e387550fdab836ed7e6dc881de23001b
-----BEGIN CERTIFICATE-----
cookie jar is full; bearer of news
docker run --rm -it --name x --tokens 5
sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
"""


@pytest.mark.parametrize("line", ORDINARY.splitlines())
def test_ordinary_lines_stay_as_they_are(line: str) -> None:
    redactor = Redactor({"redis.password": "correct horse battery"})
    assert redactor.text(line) == line
    assert not redactor.hits


@given(
    st.lists(
        st.sampled_from([text for text, _ in KNOWN_BY_LOOK] + ORDINARY.splitlines() + ["hunter2!", "\x1b[1m"]),
        max_size=6,
    )
)
def test_masking_twice_is_the_same_as_once(parts: list[str]) -> None:
    redactor = Redactor({"redis.password": "hunter2!", "password": "s3cr3t", "x": "secret"})
    for glue in (" ", "\n", ""):
        once = redactor.text(glue.join(parts))
        assert redactor.text(once) == once


@given(st.text(min_size=6, max_size=24), st.text(max_size=40), st.text(max_size=40))
def test_a_known_secret_never_survives_whatever_it_is(value: str, before: str, after: str) -> None:
    redactor = Redactor({"a": value})
    shown = redactor.text(before + value + after)
    assert value not in shown.replace("[secret a]", "\0").replace("***", "\0")


def test_known_secrets_alone_can_be_asked_for() -> None:
    redactor = Redactor({"a": "hunter2!"})
    assert redactor.text("password=other hunter2!", patterns=False) == "password=other [secret a]"


def test_json_is_walked_through_lists_keys_and_secret_names() -> None:
    redactor = Redactor({"db.password": "hunter2!"})
    told = {
        "rows": [["a", "has hunter2! inside", 5, None, True, 1.5]],
        "hunter2!": "key",
        "password": "other",
        "apiKey": ["x1", "", None],
        "pin_password": 1234,
        "token_count": 5,
        "token": {"ttl": "5m", "value": "plain"},
        "requirepass": "",
        "config": ["requirepass", "other", "port", "6379"],
        "has_password": True,
        "secret": "${{ inputs.secret }}",
        "line": "password=other",
    }
    assert redactor.json(told) == {
        "rows": [["a", "has [secret db.password] inside", 5, None, True, 1.5]],
        "[secret db.password]": "key",
        "password": "***",
        "apiKey": ["***", "", None],
        "pin_password": "***",
        "token_count": 5,
        "token": {"ttl": "5m", "value": "plain"},
        "requirepass": "",
        "config": ["requirepass", "***", "port", "6379"],
        "has_password": "***" if False else True,
        "secret": "${{ inputs.secret }}",
        "line": "password=***",
    }
    assert redactor.json(redactor.json(told)) == redactor.json(told)
    assert told["password"] == "other"


def test_json_without_secrets_comes_back_equal() -> None:
    told = {"queues": [{"name": "default", "pending": 5003, "oldest": 1.5}], "error": None, "key": ["a", {"b": []}]}
    assert Redactor({"a": "hunter2!"}).json(told) == told


def test_a_secret_in_one_of_many_strings_is_found() -> None:
    strings = [f"row {number}" for number in range(500)]
    told = [*strings, "x hunter2! y", *strings, "hunter2!"]
    assert Redactor({"a": "hunter2!"}).json(told) == [*strings, "x [secret a] y", *strings, "[secret a]"]


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "db_password",
        "DB_PASSWORD",
        "apiKey",
        "api-key",
        "Authorization",
        "Set-Cookie",
        "accessToken",
        "client_secret",
    ],
)
def test_keys_that_name_a_secret(key: str) -> None:
    assert names_secret(key)


@pytest.mark.parametrize(
    "key", ["token_count", "tokens", "key", "password_file", "secret_name", "author", "compass", "monkey"]
)
def test_keys_that_do_not_name_a_secret(key: str) -> None:
    assert not names_secret(key)


def test_text_with_escapes_and_no_secret_stays_to_the_last_byte() -> None:
    text = "\x1b[31mred\x1b[0m \x1b[ \x1b]0;t\x07x \x9b31m"
    assert Redactor({"redis.password": "correct-horse"}).text(text) == text
    assert Redactor({}).json({text: [text]}) == {text: [text]}


def test_a_colour_in_the_middle_of_a_secret_does_not_hide_it() -> None:
    masked = Redactor({"redis.password": "correct-horse"}).text("so \x1b[31mcorrect-\x1b[0mhorse it is")
    assert "correct" not in masked
    assert "horse" not in masked


def test_a_key_that_is_a_plain_word_is_a_name_and_stays() -> None:
    redactor = Redactor({"db.password": "broken"})
    assert redactor.json({"broken": True, "is_broken": "broken"}) == {
        "broken": True,
        "is_broken": "[secret db.password]",
    }
