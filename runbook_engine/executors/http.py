"""`http:` one request to the target's own origin. A response of any status is an answer; only the transport can fail.

It must never follow a redirect elsewhere, retry, use a proxy of the environment, or read without a deadline and a byte
limit. Host and scheme come from the target alone; values become percent-encoded path segments, query values, header
values or JSON, never parts of an address.

The client is `http.client` on a socket of our own: only so can one deadline cover name, connection, head and body.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, urlencode, urljoin, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from runbook_engine.errors import Refused, TargetError
from runbook_engine.executor import Call, Effect, Identity, Json, Target
from runbook_engine.http_exchange import Exchange, Origin, Response, resolve

KINDS = frozenset({"http"})
ANSWERS: Mapping[str, str] = {
    "status": "the status code, 429 or 503 as well as 200",
    "body": "the body as text, up to 1 MiB",
    "json": "the body read as JSON, none when it is not",
    "headers": "the headers, names in lower case; the last of several",
    "ms": "milliseconds until the body was read",
    "truncated": "whether the body was longer than what was kept",
}
METHODS = ("get", "head", "options", "post", "put", "patch", "delete")
READING = frozenset({"get", "head", "options"})
MAX_REDIRECTS = 5

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "te", "upgrade", "expect"})
# Frameworks take these for the method itself: a GET with one of them can delete.
_OVERRIDES = frozenset({"x-http-method-override", "x-http-method", "x-method-override"})
_TEMPLATE = re.compile(r"\$\{\{.*?\}\}", re.DOTALL)
_SEGMENT_SAFE = "-._~!$&'()*+,;=:@"

Path = str | list[Json]


def _or_path(schema: dict[str, Json]) -> None:
    """For editors: `http: /path` is the short form of a GET."""
    full = dict(schema)
    schema.clear()
    schema["anyOf"] = [{"type": "string", "description": "a path to GET"}, full]


class Params(BaseModel):
    """One method with a path; the path is kept as its segments, so that a value can never become two of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, json_schema_extra=_or_path)

    get: Path | None = None
    head: Path | None = None
    options: Path | None = None
    post: Path | None = None
    put: Path | None = None
    patch: Path | None = None
    delete: Path | None = None
    slash: bool = Field(default=False, description="the path ends with a slash")
    query: dict[str, Json] | str | None = None
    content: Json = Field(default=None, alias="json", description="sent as JSON")
    headers: dict[str, Json] = Field(default_factory=dict)
    follow: bool = Field(default=False, description="follow redirects within the same origin")
    timeout: float | str | None = Field(default=None, description="seconds, at most the step's own")

    def shaped(self) -> Json:
        """What is rendered: the path as segments, so that no value can bring a slash into it."""
        return self.model_dump(by_alias=True, exclude_none=True)

    @model_validator(mode="before")
    @classmethod
    def _in_full(cls, given: Any) -> Any:
        full = {"get": given} if isinstance(given, str) else given
        if not isinstance(full, dict):
            return full
        named = [method for method in METHODS if full.get(method) is not None]
        if len(named) != 1:
            raise ValueError(f"one method is needed, of {', '.join(METHODS)}; found {', '.join(named) or 'none'}")
        path = full[named[0]]
        # A template in front may be a whole path; it is split when its value is known.
        if isinstance(path, str) and not path.startswith("${{"):
            segments, slash = split_path(path)
            return {**full, named[0]: segments, "slash": slash}
        return full

    @field_validator("headers")
    @classmethod
    def _header_names(cls, headers: dict[str, Json]) -> dict[str, Json]:
        for name in headers:
            if name.lower() in _OVERRIDES:
                raise ValueError(f"header {name!r} would make it another method; use that method itself")
            if not _TOKEN.match(name) or name.lower() in _OURS:
                raise ValueError(f"header {name!r} cannot be set; the client sets it itself or it is no header name")
        return headers

    @model_validator(mode="after")
    def _body_fits(self) -> Params:
        if self.content is not None and self.method in READING:
            raise ValueError(f"{self.method} takes no json; use post, put, patch or delete")
        return self

    @property
    def method(self) -> str:
        return next(method for method in METHODS if getattr(self, method) is not None)

    @property
    def segments(self) -> list[Json]:
        path = getattr(self, self.method)
        return path if isinstance(path, list) else [path]


def split_path(path: str) -> tuple[list[Json], bool]:
    """Its segments, and whether it ends with a slash. A template stays whole, whatever stands in it."""
    templates: list[str] = []

    def hide(match: re.Match[str]) -> str:
        templates.append(match[0])
        return f"\0{len(templates) - 1}\0"

    hidden = _TEMPLATE.sub(hide, path)
    if not hidden.startswith("/") or hidden.startswith("//"):
        raise ValueError(f"{path!r} must be a path that starts with one slash; the host is the target's")
    if set("?#") & set(hidden):
        raise ValueError(f"{path!r}: put what follows the '?' under query:, and leave a '#' out")
    parts = hidden[1:].split("/")
    slash = parts[-1] == "" and len(parts) > 1
    if parts == [""]:
        return [], True
    kept = parts[:-1] if slash else parts
    return [re.sub("\0(\\d+)\0", lambda match: templates[int(match[1])], part) for part in kept], slash


class Session:
    """Requests to one origin, each on a connection of its own: a kept one can be dead without anybody's fault."""

    def __init__(self, target: Target, mode: Literal["read", "write"]) -> None:
        self._origin = Origin.of(target.settings)
        self._addresses = resolve(self._origin)
        self._context = self._origin.tls()
        self._headers = _header_values(target.settings.get("headers") or {})
        self._mode = mode
        self._exchange = Exchange(self._origin, self._addresses, self._context)

    def identity(self) -> Identity:
        addresses = sorted({address[0] for _, address in self._addresses})
        name = f"{self._origin.url} ({', '.join(addresses)})"
        return Identity(name, {"url": self._origin.url, "addresses": addresses})

    def call(self, call: Call) -> Json:
        request = _request(call, self._headers)
        if self._mode == "read" and request.method.lower() not in READING:
            raise Refused(f"http: {request.method} may change something, and this session is for reading")
        started = time.monotonic()
        limit = started + request.seconds
        path = request.path
        for _ in range(MAX_REDIRECTS + 1):
            response = self._exchange.perform(request.method, path, request.headers, request.body, limit)
            onward = _same_origin(self._origin, path, response) if request.follow else None
            if onward is None:
                self._accepted(request, response)
                return answer(response, time.monotonic() - started)
            path = onward
        raise TargetError(
            "redirects", f"{self._origin.url}{request.path}: more than {MAX_REDIRECTS} redirects", "unknown"
        )

    def _accepted(self, request: _Request, response: Response) -> None:
        """A write that the server turned down was not done; after a 5xx nobody knows."""
        if self._mode == "write" and request.method.lower() not in READING and response.status >= 300:
            sure = response.status < 500 and response.status != 408
            message = f"{request.method} {request.path}: the server answered {response.status}"
            raise TargetError(f"http_{response.status}", message, "no" if sure else "unknown")

    def cancel(self) -> None:
        self._exchange.cancel()

    def close(self) -> None:
        self._exchange.cancel()


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes | None
    seconds: float
    follow: bool


def _request(call: Call, headers: Mapping[str, str]) -> _Request:
    params = _params(call.request)
    reading = params.method in READING
    own = {"Accept": "application/json, */*", "Accept-Encoding": "identity", "User-Agent": "runbook"}
    if not reading:
        own["Idempotency-Key"] = call.id
    body = None if params.content is None else json.dumps(params.content, allow_nan=False).encode()
    if body is not None:
        own["Content-Type"] = "application/json"
    return _Request(
        method=params.method.upper(),
        path=path_of(params),
        headers=_merged(own, headers, _header_values(params.headers)),
        body=body,
        seconds=min(call.deadline, _seconds(params.timeout, call.deadline)),
        follow=params.follow and reading,
    )


def _merged(*layers: Mapping[str, str]) -> dict[str, str]:
    merged: dict[str, tuple[str, str]] = {}
    for layer in layers:
        merged.update({name.lower(): (name, value) for name, value in layer.items()})
    return dict(merged.values())


def _params(request: Json) -> Params:
    try:
        return Params.model_validate(request)
    except ValidationError as error:
        raise Refused(f"http: {error.errors()[0]['msg']}") from error


def _seconds(timeout: float | str | None, default: float) -> float:
    try:
        seconds = default if timeout is None else float(timeout)
    except ValueError as error:
        raise Refused(f"http: timeout {timeout!r} is not a number of seconds") from error
    if not seconds > 0:
        raise Refused(f"http: timeout {timeout!r} is not above 0")
    return seconds


def path_of(params: Params) -> str:
    """The path and query as they are sent."""
    encoded = [_segment(segment) for segment in params.segments]
    path = "/" + "/".join(encoded) + ("/" if params.slash and encoded else "")
    query = _query(params.query)
    return f"{path}?{query}" if query else path


def _segment(segment: Json) -> str:
    text = _scalar(segment, "a path segment")
    if text in ("", ".", ".."):
        raise Refused(f"http: {text!r} cannot be a path segment: the request would go to another path")
    try:
        return quote(text, safe=_SEGMENT_SAFE)
    except UnicodeEncodeError as error:
        raise Refused(f"http: half a Unicode character in the path segment {text[:40]!r}") from error


def _query(query: dict[str, Json] | str | None) -> str:
    if query is None:
        return ""
    if not isinstance(query, dict):
        raise Refused("http: query must be a mapping of names to values")
    pairs = [
        (name, _scalar(item, f"query {name}"))
        for name, value in query.items()
        for item in (value if isinstance(value, list) else [value])
        if item is not None
    ]
    return urlencode(pairs, errors="replace")


def _scalar(value: Json, where: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise Refused(f"http: {where} must be a text or a number, not {type(value).__name__}")


def _header_values(headers: Mapping[str, Json]) -> dict[str, str]:
    values = {name: _scalar(value, f"header {name}") for name, value in headers.items()}
    for name, value in values.items():
        if re.search(r"[\r\n\0]", value) or not _TOKEN.match(name):
            raise Refused(f"http: header {name!r} holds a line break or NUL, which would start another header")
        try:
            value.encode("latin-1")
        except UnicodeEncodeError as error:
            raise Refused(f"http: header {name!r} holds characters that no header can carry") from error
    return values


def _same_origin(origin: Origin, path: str, response: Response) -> str | None:
    """The path to go on with; a redirect elsewhere is the answer itself."""
    location = response.headers.get("location")
    if response.status not in (301, 302, 303, 307, 308) or not location:
        return None
    onward = urlsplit(urljoin(origin.url + path, location))
    try:
        same = (onward.scheme, onward.hostname, onward.port or origin.default_port) == origin.key
    except ValueError:
        return None
    if not same:
        return None
    return quote(onward.path or "/", safe="/%" + _SEGMENT_SAFE) + (
        f"?{quote(onward.query, safe='/?%' + _SEGMENT_SAFE)}" if onward.query else ""
    )


def answer(response: Response, seconds: float) -> dict[str, Json]:
    """What `facts:` sees of a response."""
    text = response.text()
    return {
        "status": response.status,
        "body": text,
        "json": None if response.truncated else _document(text),
        "headers": dict(response.headers),
        "ms": round(seconds * 1000, 1),
        "truncated": response.truncated,
    }


def _document(text: str) -> Json:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def least_effect(params: Any) -> tuple[Effect, str]:
    """GET, HEAD and OPTIONS read; every other method may change something."""
    method = Params.model_validate(params).method
    if method in READING:
        return Effect.read, f"{method.upper()} reads"
    return Effect.disruptive, f"{method.upper()} changes something on the server"


def bound_names(params: Any) -> frozenset[str]:
    """None: a request has no code."""
    Params.model_validate(params)
    return frozenset()


def show(call: Call) -> str:
    """The request line, its own headers and its body."""
    params = _params(call.request)
    shown = [f"{params.method.upper()} {path_of(params)}"]
    shown += [f"{name}: {value}" for name, value in _header_values(params.headers).items()]
    if params.content is not None:
        shown.append(json.dumps(params.content, ensure_ascii=False, indent=2))
    return "\n".join(shown)


def connect(target: Target, mode: Literal["read", "write"]) -> Session:
    """Resolve the target's name once; every request goes to these addresses. Settings: url, headers, ca."""
    return Session(target, mode)
