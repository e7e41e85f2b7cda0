"""What a step asks or does, as a person could paste it. Values that only a run knows stay as `${{ … }}`."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from ..model import Act
from ..sql.text import placeholders
from .parts import Code, plain
from .parts import Line as Spans
from .words import condition

Json = Any
_METHODS = ("get", "head", "options", "post", "put", "patch", "delete")
_SAFE_WORD = re.compile(r"[\w@%+=:,./-]+")


def request_code(act: Act) -> Code:
    """The request of a step that has one."""
    request = act.request
    match act.executor:
        case "sql" if isinstance(request, str | list):
            return Code("\n".join(_sql(act)), "sql")
        case "redis" if isinstance(request, list):
            commands = request if request and isinstance(request[0], list) else [request]
            return Code("\n".join("redis-cli " + _command(each) for each in commands), "sh")
        case "shell":
            script = request.rstrip("\n") if isinstance(request, str) else _command(request)
            return Code("\n".join([*_variables(act), script]), "sh")
        case "http":
            return Code(_curl(act), "sh")
    return Code(f"{act.executor}: {_yaml(request)}", "yaml")


def bound(act: Act) -> Iterator[Spans]:
    """Where the values of a request come from, in words, for code that takes them by name."""
    for name, value in act.idents.items():
        yield (*condition(name, {}), plain(f": the identifier {value}"))


def _sql(act: Act) -> Iterator[str]:
    """For psql: a value is a variable of it, set above."""
    texts = act.request if isinstance(act.request, list) else [act.request]
    names: dict[str, Json] = {}
    written = []
    for text in texts:
        made, end = "", 0
        for place in placeholders(text):
            variable = f":'{place.name}'" if place.kind == "s" else f':"{place.name}"'
            made += text[end : place.start] + variable
            end = place.end
            given = act.bindings if place.kind == "s" else act.idents
            names[place.name] = given.get(place.name, "${{ " + place.name + " }}")
        written.append((made + text[end:]).strip())
    yield from (f"\\set {name} {_for_psql(_one_line(value))}" for name, value in names.items())
    if len(written) == 1:
        yield written[0]
    else:
        yield from ("begin;", *(f"{text.rstrip(';')};" for text in written), "commit;")


def _variables(act: Act) -> Iterator[str]:
    yield from (f"export {name}={_quoted(_one_line(value))}" for name, value in act.bindings.items())


def _command(words: Sequence[Json]) -> str:
    return " ".join(_quoted("" if word is None else str(word)) for word in words)


def _curl(act: Act) -> str:
    request: dict[str, Json] = dict(act.request) if isinstance(act.request, dict) else {"get": act.request}
    method = next((name for name in _METHODS if name in request), "get")
    address = f'"${(act.target or "target").upper().replace("-", "_")}_URL"{_quoted(_path(request.get(method)))}'
    words = ["curl", "-sS"]
    words += {"get": [], "head": ["--head"]}.get(method, ["-X", method.upper()])
    words += [word for name, value in (request.get("headers") or {}).items() for word in ("-H", f"{name}: {value}")]
    query = request.get("query") or {}
    parts: list[tuple[str, Json]] = list(query.items()) if isinstance(query, dict) else [("", query)]
    if parts:
        words.append("--get")
        words += [word for name, value in parts for word in ("--data-urlencode", f"{name}={value}".lstrip("="))]
    if "json" in request:
        words += ["--json", _json(request["json"])]
    return f"{_command(words)} {address}"


def _path(path: Json) -> str:
    return "/" + "/".join(map(str, path)) if isinstance(path, list | tuple) else str(path or "/")


def _quoted(word: str) -> str:
    return word if _SAFE_WORD.fullmatch(word) else shlex.quote(word)


def _for_psql(text: str) -> str:
    """psql doubles a quote, and reads backslashes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _one_line(value: Json) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


def _yaml(value: Json) -> str:
    """As it stands in the playbook: there is no command a person could paste for it."""
    dumped: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=100)
    return dumped.removesuffix("...\n").strip("\n").replace("\n", "\n  ")
