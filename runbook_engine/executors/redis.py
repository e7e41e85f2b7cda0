"""`redis:` one command, several, a script, where the memory went, who is connected, or the removal of a prefix.

It must never split a text into arguments, and a read step can only send what the list of reads names.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    RootModel,
    StrictFloat,
    StrictInt,
    StrictStr,
    Tag,
    ValidationError,
    field_validator,
)

from runbook_engine.errors import Refused
from runbook_engine.executor import Call, Effect, Identity, Json, Target
from runbook_engine.redis_client.commands import affected_at_most, affected_by, complaint_about, effect_of

if TYPE_CHECKING:
    from runbook_engine.redis_client.session import RedisSession
    from runbook_engine.redis_client.wire import Answer, Argument

KINDS = frozenset({"redis"})
ANSWERS: Mapping[str, str] = {
    "result": "the reply; of several commands the list of their replies; INFO, CONFIG GET and HGETALL as tables",
    "affected": "keys or members that a write touched, where the reply says so",
    "complete": "unlink: false when it stopped at the limit",
    "ms": "milliseconds from sending the request until its reply was read",
    "truncated": "true when the reply was longer than 10 000 elements or 1 MiB and was cut",
}

_TEMPLATE = "${{"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Binary(_Strict):
    """Bytes that are not UTF-8, as an answer gives them."""

    base64: StrictStr


Word = StrictStr | StrictInt | StrictFloat | Binary
Line = Annotated[list[Word], Field(min_length=1, max_length=10_000)]


class Script(_Strict):
    """A Lua script. Its text is constant; what varies comes in by keys and args."""

    script: StrictStr
    keys: list[StrictStr] = []
    args: list[Word] = []

    @field_validator("script")
    @classmethod
    def _is_constant(cls, script: str) -> str:
        if _TEMPLATE in script:
            raise ValueError("a script is code and stays constant. Pass the value in args: and read it as ARGV[1]")
        return script


class MemoryOptions(_Strict):
    sample: StrictInt | StrictStr = 5000
    seconds: StrictInt | StrictFloat | StrictStr = 30


class Memory(_Strict):
    """Which kinds of key hold the memory, from a sample."""

    memory: MemoryOptions | None = None


class ClientsOptions(_Strict):
    idle: StrictInt | StrictFloat | StrictStr = 60


class Clients(_Strict):
    """Who is connected, grouped; a client without a command for `idle` seconds counts as idle."""

    clients: ClientsOptions | None = None


class UnlinkOptions(_Strict):
    prefix: StrictStr = Field(min_length=3)
    batch: StrictInt | StrictStr = 500


class Unlink(_Strict):
    """Remove every key that begins with a prefix, in batches."""

    unlink: UnlinkOptions


_FORMS = ("script", "memory", "clients", "unlink")


def _form(value: Any) -> str | None:
    if isinstance(value, RootModel):
        value = value.root
    if isinstance(value, list | tuple):
        return "pipeline" if value and isinstance(value[0], list | tuple) else "command"
    if isinstance(value, Mapping):
        return next((name for name in _FORMS if name in value), None)
    return next((name for name in _FORMS if hasattr(value, name)), None)


class Params(
    RootModel[
        Annotated[
            Annotated[Line, Tag("command")]
            | Annotated[list[Line], Tag("pipeline")]
            | Annotated[Script, Tag("script")]
            | Annotated[Memory, Tag("memory")]
            | Annotated[Clients, Tag("clients")]
            | Annotated[Unlink, Tag("unlink")],
            Discriminator(
                _form,
                custom_error_type="redis_form",
                custom_error_message=(
                    "expected a command as a list such as [GET, key], a list of such lists, {script: ..., keys: [...], "
                    "args: [...]}, {memory: {sample: 5000, seconds: 30}}, {clients: {idle: 60}} or "
                    "{unlink: {prefix: ..., batch: 500}}"
                ),
            ),
        ]
    ]
):
    """What may stand under `redis:`."""

    model_config = ConfigDict(frozen=True)

    @field_validator("root")
    @classmethod
    def _can_be_sent(cls, root: Any) -> Any:
        for command in _commands(root):
            if complaint := complaint_about(command):
                raise ValueError(complaint)
        return root


def least_effect(params: Any) -> tuple[Effect, str]:
    root = _read(params).root
    if isinstance(root, Script):
        return Effect.reversible, "a script may write"
    if isinstance(root, Memory):
        return Effect.read, "samples keys"
    if isinstance(root, Clients):
        return Effect.read, "lists clients"
    if isinstance(root, Unlink):
        return Effect.disruptive, f"unlinks every key that begins with {root.unlink.prefix!r}"
    return max((effect_of(command) for command in _commands(root)), key=lambda found: found[0])


def bound_names(params: Any) -> frozenset[str]:
    """None: values are templates in the argument lists."""
    return frozenset()


def show(call: Call) -> str:
    root = _read(call.request).root
    if isinstance(root, Script):
        words = [
            f"KEYS {' '.join(_quoted(key) for key in root.keys)}",
            f"ARGV {' '.join(_quoted(arg) for arg in root.args)}",
        ]
        return "\n".join(["EVAL", root.script.rstrip("\n"), *(word.rstrip() for word in words)])
    if isinstance(root, Memory):
        options = root.memory or MemoryOptions()
        return f"SCAN every key for {options.seconds} s, MEMORY USAGE of about {options.sample}"
    if isinstance(root, Clients):
        return f"CLIENT LIST, grouped; idle from {(root.clients or ClientsOptions()).idle} s on"
    if isinstance(root, Unlink):
        return (
            f"SCAN and UNLINK every key that begins with {_quoted(root.unlink.prefix)}, {root.unlink.batch} at a time"
        )
    return "\n".join(" ".join(_quoted(word) for word in command) for command in _commands(root))


def connect(target: Target, mode: Literal["read", "write"]) -> Session:
    from runbook_engine.redis_client import session as redis_session

    return Session(redis_session.connect(target, mode))


class Session:
    """One connection for one run."""

    def __init__(self, session: RedisSession) -> None:
        self._session = session

    def identity(self) -> Identity:
        return self._session.identity()

    def call(self, call: Call) -> Json:
        began = time.monotonic()
        answer = self._answer(call, began + call.deadline)
        return {**answer, "ms": round((time.monotonic() - began) * 1000, 3)}

    def _answer(self, call: Call, ends_at: float) -> dict[str, Json]:
        root = _read(call.request).root
        if isinstance(root, Script):
            answer = self._session.run_script(root.script, root.keys, [_sent(arg) for arg in root.args], ends_at)
            return _answered(_json([], answer.replies[0]), answer)
        if isinstance(root, Memory):
            return self._memory(root.memory or MemoryOptions(), ends_at)
        if isinstance(root, Clients):
            return self._clients(root.clients or ClientsOptions(), ends_at)
        if isinstance(root, Unlink):
            return self._unlink(root.unlink, call, ends_at)
        return self._commands(_commands(root), call, ends_at, single=_form(root) == "command")

    def cancel(self) -> None:
        self._session.cancel()

    def close(self) -> None:
        self._session.close()

    def _commands(self, commands: list[list[Any]], call: Call, ends_at: float, single: bool) -> dict[str, Json]:
        _refuse_too_many(commands, call.affected)
        sent = [[_sent(word) for word in command] for command in commands]
        reads = all(effect_of(command)[0] is Effect.read for command in commands)
        # What only reads or leaves a canary is no transaction: each reply counts by itself, also an error.
        separate = not single and all(effect_of(command)[0] <= Effect.touch for command in commands)
        answer = self._session.ask(sent, ends_at) if separate else self._session.write(sent, ends_at)
        results = [_json(command, reply) for command, reply in zip(commands, answer.replies, strict=True)]
        answered = _answered(results[0] if single else results, answer)
        if not reads:
            counts = [affected_by(command, reply) for command, reply in zip(commands, answer.replies, strict=True)]
            known = [count for count in counts if count is not None]
            answered |= {"affected": sum(known)} if len(known) == len(counts) else {}
        return answered

    def _memory(self, options: MemoryOptions, ends_at: float) -> dict[str, Json]:
        from runbook_engine.redis_client.memory import attribute_memory

        sample = _whole(options.sample, "sample", 1, 50_000)
        seconds = min(_seconds(options.seconds), ends_at - time.monotonic() - 0.5)
        return {"result": attribute_memory(self._session, sample, time.monotonic() + max(0.0, seconds), ends_at)}

    def _clients(self, options: ClientsOptions, ends_at: float) -> dict[str, Json]:
        from runbook_engine.redis_client.clients import connected_clients

        return {"result": connected_clients(self._session, _seconds(options.idle, "idle"), ends_at)}

    def _unlink(self, options: UnlinkOptions, call: Call, ends_at: float) -> dict[str, Json]:
        from runbook_engine.redis_client.scanning import unlink_prefix

        batch = _whole(options.batch, "batch", 1, 1000)
        return {"result": None} | unlink_prefix(self._session, options.prefix, batch, call.affected, ends_at)


def _read(params: Any) -> Params:
    if isinstance(params, Params):
        return params
    try:
        return Params.model_validate(params)
    except ValidationError as fault:
        first = fault.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        raise Refused(f"redis: {where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}") from fault


def _commands(root: Any) -> list[list[Any]]:
    match _form(root):
        case "command":
            return [list(root)]
        case "pipeline":
            return [list(command) for command in root]
        case _:
            return []


def _sent(word: Any) -> Argument:
    if not isinstance(word, Binary):
        return word  # type: ignore[no-any-return]  # validated: str, int or float
    try:
        return base64.b64decode(word.base64, validate=True)
    except (binascii.Error, ValueError) as fault:
        raise Refused(f"redis: an argument's base64 cannot be read: {fault}") from fault


def _quoted(word: Any) -> str:
    text = f"base64:{word.base64}" if isinstance(word, Binary) else str(word)
    return text if re.fullmatch(r"[\w.:{}*<>/@+=,-]+", text, re.ASCII) else json.dumps(text)


def _json(command: Sequence[Any], reply: Any) -> Json:
    from runbook_engine.redis_client.replies import json_of

    return json_of(command or [""], reply)


def _answered(result: Json, answer: Answer) -> dict[str, Json]:
    return {"result": result, "truncated": answer.truncated}


def _refuse_too_many(commands: Sequence[Sequence[Any]], limit: int | None) -> None:
    counts = [affected_at_most(command) for command in commands if effect_of(command)[0] is not Effect.read]
    total = sum(count for count in counts if count is not None)
    if limit is not None and total > limit:
        raise Refused(f"redis: the request names {total} keys; limit.affected is {limit}. Nothing was sent")


def _whole(value: Any, name: str, least: int, most: int) -> int:
    if not re.fullmatch(r"\d{1,9}", str(value)) or not least <= int(value) <= most:
        raise Refused(f"redis: {name} is {value!r}; expected a whole number from {least} to {most}")
    return int(value)


def _seconds(value: Any, name: str = "seconds") -> float:
    try:
        seconds = float(value)
    except ValueError as fault:
        raise Refused(f"redis: {name} is {value!r}; expected a number") from fault
    if not 0 < seconds <= 3600:
        raise Refused(f"redis: {name} is {value!r}; expected up to 3600")
    return seconds
