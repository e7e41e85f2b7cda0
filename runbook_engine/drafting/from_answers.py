"""A few answers to a draft that measures, decides and mends: one figure, one bound, one cause, one way out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .. import executors
from ..errors import UsageError
from ..safe_text import safe_text
from ..units import parse_duration
from .draft import Draft
from .taming import identifier

Json = Any


@dataclass(frozen=True, slots=True)
class Look:
    """How one executor is asked for a figure: its usual target, an example, and what in its answer is the figure."""

    target: str
    kind: str
    example: str
    figure: str


LOOKS: Mapping[str, Look] = {
    "sql": Look(
        "db", "postgres", "select count(*) as waiting from jobs where state = 'waiting'", "row | values | first"
    ),
    "redis": Look("redis", "redis", "LLEN jobs", "result"),
    "asynq": Look("redis", "redis", "inspect default", "pending"),
    "http": Look("api", "http", "/health", "status"),
    "shell": Look("here", "local", "cat /proc/sys/fs/file-nr", "lines[0] | float"),
    "service": Look("workers", "service", "status", "status.running"),
    "logs": Look("workers", "service", "5m", "errors"),
    "host": Look("machine", "host", "resources", "resources.mem_available_pct"),
    "ask": Look("", "", "Do users say that it is slow?", ""),
}
FIXES = ("service", "shell", "manual")
_FIX_TITLES = {"service": "Workers: {}", "shell": "Run {}", "manual": "{}"}
_FIX_IMPACTS = {"service": "service is touched", "shell": "command runs", "manual": "thing is done by hand"}
_NO_BOUND = "is no comparison with a number or a duration; expected one such as '> 100', '< 1' or '> 5m'"
_BOUND = re.compile(r"(>=|<=|==|!=|>|<)?\s*(\S+)")
_FIGURE = re.compile(r"([a-z_]\w*)((?:\.[a-z_]\w*|\[0\])*)(?:\s*\|\s*(?:int|float))?")


@dataclass(frozen=True, slots=True)
class Answers:
    """What a person said. `look` and `fix` are `executor: request`; `bad` is a comparison such as `> 100`."""

    name: str
    title: str
    look: str
    bad: str = ""
    about: str = ""
    area: str = ""
    target: str = ""
    figure: str = ""
    cause: str = ""
    fix: str = ""
    advice: str = ""


def from_answers(given: Answers) -> Draft:
    called = identifier(given.name, "playbook")
    if called != given.name:
        raise UsageError(
            f"{given.name!r} is no name for a playbook: lower case letters, digits, hyphens; try {called!r}"
        )
    executor, request = _split(given.look, tuple(LOOKS), "--look")
    look = LOOKS[executor]
    target, kind = _target(given.target, executor, look)
    measured = executor != "ask"
    sign, bound = _bound(given.bad, executor)
    playbook: dict[str, Json] = {
        "runbook": 1,
        "name": called,
        "title": _text(given.title),
        "about": _text(given.about or f"{given.title}."),
        **({"area": given.area} if given.area else {}),
    }
    if measured:
        word = "duration" if isinstance(bound, str) else "number"
        playbook["inputs"] = {
            "bound": {"type": word, "default": bound, "help": f"the figure is bad when it is {sign} this"}
        }
        playbook["targets"] = {target: kind}
    present = f"figure {sign} bound" if measured else "seen"
    playbook["symptoms"] = [_symptom(given, executor, request, target, present)]
    playbook["causes"] = [_cause(given, present)]
    if given.fix:
        extra, action = _action(given, measured, sign)
        playbook["targets"] = {**playbook.get("targets", {}), **extra}
        playbook["resolution"] = [action]
    cases = _cases(given, executor, sign, bound)
    return Draft(playbook, {"cases": called, **cases}, _comments(given, measured))


def checked_look(written: str) -> None:
    """UsageError when it is none."""
    executor, request = _split(written, tuple(LOOKS), "--look")
    _request(executor, request)


def checked_bound(written: str) -> None:
    """UsageError when it is none."""
    _bound(written, "")


def _symptom(given: Answers, executor: str, request: str, target: str, present: str) -> Json:
    if executor == "ask":
        return {
            "id": "look",
            "title": _text(given.title),
            "ask": {"question": _text(request), "type": "boolean", "fact": "seen"},
            "present": present,
        }
    return {
        "id": "look",
        "title": _text(given.title),
        "target": target,
        **({"effect": "read"} if executor == "shell" else {}),
        executor: _request(executor, request),
        "facts": {"figure": given.figure or LOOKS[executor].figure},
        "present": present,
    }


def _request(executor: str, written: str) -> Json:
    """The words of a person as what stands under the executor's key."""
    match executor:
        case "redis":
            return _words(written)
        case "shell":
            # What only a shell can read is a script; anything else is a command that no shell ever sees.
            return written + "\n" if re.search(r"[|;&<>$`*?\n]", written) else _words(written)
        case "asynq":
            verb, _, queue = written.partition(" ")
            return {verb: queue.strip() or None}
        case "host":
            return (
                {"resources": True} if written == "resources" else {"ports": [int(each) for each in _numbers(written)]}
            )
    return written


def _cause(given: Answers, present: str) -> Json:
    title = given.cause or "Nobody has written down yet why this happens"
    return {
        "id": identifier(given.cause, "not-known-yet"),
        "title": _text(title),
        "needs": present,
        **({"fix": ["mend"]} if given.fix else {}),
        **({"advice": _text(given.advice)} if given.advice or not given.fix else {}),
    } | ({} if given.fix or given.advice else {"advice": "Find the cause, and write here what mends it."})


def _action(given: Answers, measured: bool, sign: str) -> tuple[dict[str, str], Json]:
    kind, request = _split(given.fix, FIXES, "--fix")
    if not measured:
        raise UsageError(
            "a fix is proved by looking again, and a person is not asked twice: give --look a step, or --advice"
        )
    good = f"not (figure {sign} bound)"
    extra = {} if kind == "manual" else {"workers": "service"} if kind == "service" else {"here": "local"}
    action: dict[str, Json] = {
        "id": "mend",
        "title": _text(_FIX_TITLES[kind].format(request)),
        "effect": "disruptive",
        "guard": f"figure {sign} bound",
        "impact": {"count": 1, "of": _FIX_IMPACTS[kind]},
        "limit": {"impact": 1},
        **({} if kind == "manual" else {"target": next(iter(extra))}),
        kind: _text(request) if kind == "manual" else _request(kind, request),
        "verify": {"until": good, "within": "60s", "hold": "10s"},
    }
    return extra, action


def _cases(given: Answers, executor: str, sign: str, bound: Json) -> Json:
    cause = identifier(given.cause, "not-known-yet")
    if executor == "ask":
        tests = [
            {"name": "it is so", "answers": {"look": True}, "expect": {"outcome": "diagnosed", "top": cause}},
            {"name": "it is not so", "answers": {"look": False}, "expect": {"outcome": "healthy"}},
        ]
        return {"tests": tests}
    bad, good = _figures(sign, bound)
    figure = given.figure or LOOKS[executor].figure
    replies = {"look": _reply(executor, figure, bad)}
    well = {"look": _reply(executor, figure, good)}
    found: dict[str, Json] = {"name": "the cause is found", "expect": {"outcome": "diagnosed", "top": cause}}
    tests = [found, {"name": "all is well", "replies": well, "expect": {"outcome": "healthy"}}]
    if given.fix:
        found |= {"gates": {"mend": "no"}, "expect": {"outcome": "refused", "top": cause, "offered": ["mend"]}}
        done: dict[str, Json] = {"gates": {"mend": "yes"}}
        if given.fix.startswith("manual"):  # what a person does changes no answer of a test
            tests.append({"name": "it did not help", **done, "expect": {"outcome": "not_fixed", "offered": ["mend"]}})
        else:
            done["after"] = {"mend": well}
            tests.append({"name": "it is mended", **done, "expect": {"outcome": "fixed", "done": ["mend"]}})
    away = {"look": {"error": {"code": "refused", "message": "connection refused"}}}
    tests.append({"name": "nobody answers", "replies": away, "expect": {"outcome": "error", "present": {"look": None}}})
    return {"replies": replies, "tests": tests}


def _reply(executor: str, figure: str, value: Json) -> Json:
    """An answer whose figure is this value."""
    if figure == LOOKS["sql"].figure:
        return {"rows": [{"value": value}], "row": {"value": value}, "rowcount": 1}
    found = _FIGURE.fullmatch(figure)
    if found is None:
        raise UsageError(
            f"--figure {figure!r} is no path into the answer, such as row.waiting, lines[0] | float or status.running"
        )
    text = f"{value}" if executor == "shell" else value
    for part in reversed(re.findall(r"\.(\w+)|(\[0\])", found[2])):
        text = [text] if part[1] else {part[0]: text}
    return {found[1]: text, **({"exit_code": 0} if executor == "shell" else {})}


def _figures(sign: str, bound: Json) -> tuple[Json, Json]:
    """One figure on the bad side of the bound, one on the good."""
    number = parse_duration(bound) if isinstance(bound, str) else bound
    more, less = number + 1, number - 1
    return {">": (more, less), ">=": (number, less), "<": (less, more), "<=": (number, more), "==": (number, more)}.get(
        sign, (more, number)
    )


def _bound(written: str, executor: str) -> tuple[str, Json]:
    if executor == "ask":
        return "", None
    found = _BOUND.fullmatch(written.strip())
    if found is None:
        raise UsageError(f"--bad {written!r} {_NO_BOUND}")
    sign, number = found[1] or ">", found[2]
    try:
        value = float(number)
    except ValueError:
        try:
            parse_duration(number)
        except ValueError:
            raise UsageError(f"--bad {written!r} {_NO_BOUND}") from None
        return sign, number
    if not abs(value) < 1e15:
        raise UsageError(f"--bad {written!r} is no number to compare with")
    return sign, int(value) if value == int(value) else value


def _target(written: str, executor: str, look: Look) -> tuple[str, str]:
    if executor == "ask":
        return "", ""
    name, _, kind = (written or f"{look.target}={look.kind}").partition("=")
    kinds = sorted(executors.find(executor).KINDS)
    kind = kind or (look.kind if look.kind in kinds else kinds[0])
    if kind not in kinds or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        example = f"{look.target}={look.kind}"
        raise UsageError(
            f"--target {written!r}: {executor} asks {' or '.join(kinds)}; expected name=kind, such as {example}"
        )
    return name, kind


def _split(written: str, known: tuple[str, ...], option: str) -> tuple[str, str]:
    kind, colon, request = written.partition(":")
    if not colon or kind.strip() not in known or not request.strip():
        raise UsageError(f"{option} {written!r}: expected `WHAT: REQUEST`, where WHAT is one of {', '.join(known)}")
    return kind.strip(), request.strip()


def _words(written: str) -> list[str]:
    try:
        return shlex.split(written)
    except ValueError as error:
        raise UsageError(f"{written!r} cannot be split into words: {error}") from None


def _numbers(written: str) -> list[str]:
    found = re.findall(r"\d+", written)
    if not found:
        raise UsageError(f"host: {written!r} is neither `resources` nor the numbers of ports")
    return found


def _text(written: str) -> str:
    """A person's own words; they mean what they say, and not a template."""
    return safe_text(" ".join(written.split())).replace("${{", "$${{")


def _comments(given: Answers, measured: bool) -> dict[str, str]:
    told = {
        "": "Drafted by `runbook new`. Change it, and run `runbook validate` and `runbook test` on it after each step."
    }
    if measured:
        told["inputs"] = "What a person may give: -i bound=…"
        told["targets"] = "Name and kind; where each is stands in runbook.yaml (`runbook doctor` asks them)."
    told["symptoms"] = "Is it true? `present` says when."
    told["causes"] = "Why? One cause so far: add steps under `diagnosis:` whose facts tell it from others."
    if given.fix:
        told["resolution"] = "What mends it, behind a gate, and proved by looking again."
    return told
