"""`shell:` one command, given as a list or as a constant script, here or over ssh.

A list is never split nor given to a shell. The text of a script is constant, and `with:` values reach it as environment
variables. It must never put a value into a script's text. What a command does cannot be seen from outside, so a step
is `disruptive` unless its author declares less (`DECLARED`); commands that plainly change something are still caught.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import ConfigDict, RootModel, ValidationError, field_validator

from runbook_engine.commands.output import last_line, lines_of
from runbook_engine.commands.processes import Cancellation, Finished, inherited_environment, run
from runbook_engine.commands.shell_effects import harm_in_script, harm_in_words
from runbook_engine.commands.ssh import Connection, Remote
from runbook_engine.errors import Refused, TargetError
from runbook_engine.executor import Call, Effect, Identity, Json, Target
from runbook_engine.expressions import has_template

KINDS = frozenset({"local", "ssh"})
ANSWERS: Mapping[str, str] = {
    "exit_code": "how it ended; negative when a signal ended it",
    "stdout": "what it printed; the middle is left out beyond 256 KiB",
    "stderr": "what it printed as errors; the middle is left out beyond 256 KiB",
    "lines": "stdout as a list of lines",
    "json": "stdout read as JSON, none when it is not a JSON object or list",
    "dropped": "bytes of stdout and stderr that were left out",
    "seconds": "how long it ran",
}
DECLARED = True
"""The effect is what the author says it is, and a screen must say so."""
DEFAULT_EFFECT = Effect.disruptive

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_NAMED_OPTION = re.compile(r"--?[A-Za-z][A-Za-z0-9_-]*=")
# Programs read these as code, options or search paths: data in them would be a command.
_CODE_NAMES = re.compile(
    r"(PATH|IFS|ENV|BASH_ENV|SHELLOPTS|BASHOPTS|PS4|PROMPT_COMMAND|CDPATH|LD_.*|DYLD_.*|PYTHON.*|PERL5.*|RUBYOPT|RUBYLIB|"
    r"NODE_OPTIONS|NODE_PATH|JAVA_TOOL_OPTIONS|_JAVA_OPTIONS|GIT_.*|EDITOR|VISUAL|PAGER|LESSOPEN|LESSCLOSE|MANPAGER|"
    r"RUNBOOK_CALL)\Z"
)


class Params(RootModel[str | list[Json]]):
    """A command as a list, its first item constant, or the constant text of a script."""

    model_config = ConfigDict(frozen=True)

    @field_validator("root")
    @classmethod
    def _constant_code(cls, root: str | list[Json]) -> str | list[Json]:
        if isinstance(root, str):
            return _constant_script(root)
        if not root or not isinstance(root[0], str) or not root[0].strip():
            raise ValueError("a command as a list needs the program as its first item, like [docker, ps]")
        if "${{" in root[0]:
            raise ValueError("the program, item 1 of the list, must be constant: templates may stand in the others")
        return root

    @staticmethod
    def misread(written: Json, rendered: Json) -> str | None:
        """Why a command with its values filled in would mean something else than its author wrote."""
        for index in open_items(written) if isinstance(written, list) else ():
            if str(rendered[index]).startswith("-"):
                return (
                    f"item {index + 1} of the command, {written[index]}, begins with '-' and would be an option; "
                    "put a literal -- before it"
                )
        return None


def open_items(written: list[Json]) -> list[int]:
    """Where data could be an option: the items that a template begins, or an option's own letters, and no `--` before.

    `--name=${{ data }}` is one option whatever the data is; `-n${{ data }}` may be several.
    """
    end = written.index("--") if "--" in written else len(written)
    return [index for index, item in enumerate(written[:end]) if isinstance(item, str) and _is_open(item)]


def _is_open(item: str) -> bool:
    literal = item.split("${{", 1)[0]
    return has_template(item) and (not literal or (literal.startswith("-") and not _NAMED_OPTION.match(literal)))


def _constant_script(script: str) -> str:
    if "${{" in script:
        raise ValueError(
            "a script is constant, so '${{ }}' cannot stand in it. "
            'Name the value under with: (`with: {queue: "${{ queue }}"}`) and write "$queue" in the script'
        )
    if not script.strip():
        raise ValueError("the script is empty; write a command, or a list like [docker, ps]")
    return script


class Channel(Protocol):
    """One way to run commands: on this machine, or over one ssh connection."""

    def identity(self) -> Identity: ...

    def run(self, request: str | list[str], env: Mapping[str, str], deadline: float, keep: bool) -> Finished: ...

    def close(self) -> None: ...


class Session:
    """Commands on one machine. A read session refuses what plainly changes something; it cannot see more than that."""

    def __init__(self, channel: Channel, mode: Literal["read", "write"], cancellation: Cancellation) -> None:
        self._channel = channel
        self._mode = mode
        self._cancellation = cancellation

    def identity(self) -> Identity:
        return self._channel.identity()

    def call(self, call: Call) -> Json:
        request, env = _command(call), variables(call.bindings)
        if call.idents:
            raise Refused("shell: takes no idents; give values by with: or as items of the list")
        if self._mode == "read":
            effect, why = least_effect(request)
            if effect > Effect.touch:
                raise Refused(f"shell: {why}, and this session is for reading; declare its effect, in resolution")
        try:
            finished = self._channel.run(request, env, call.deadline, self._mode == "write")
        finally:
            self._cancellation.heard()
        if self._mode == "write" and finished.exit_code != 0:
            raise _failed(request, finished)
        return answer(finished)

    def cancel(self) -> None:
        self._cancellation.ring()

    def close(self) -> None:
        self._channel.close()
        self._cancellation.close()


def answer(finished: Finished) -> dict[str, Json]:
    """What `facts:` sees of a command that ended."""
    return {
        "exit_code": finished.exit_code,
        "stdout": finished.stdout,
        "stderr": finished.stderr,
        "lines": lines_of(finished.stdout),
        "json": None if finished.stdout_dropped else _document(finished.stdout),
        "dropped": finished.stdout_dropped + finished.stderr_dropped,
        "seconds": round(finished.seconds, 3),
    }


def _document(text: str) -> Json:
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def _failed(request: str | list[str], finished: Finished) -> TargetError:
    spoken = last_line(finished.stderr) or last_line(finished.stdout)
    how = f"exit {finished.exit_code}" if finished.exit_code >= 0 else f"ended by signal {-finished.exit_code}"
    return TargetError("exit", f"{_title(request)}: {how}" + (f": {spoken}" if spoken else ""))


def _title(request: str | list[str]) -> str:
    return request[0] if isinstance(request, list) else "script"


def _command(call: Call) -> str | list[str]:
    try:
        root = Params.model_validate(call.request).root
    except ValidationError as error:
        raise Refused(f"shell: {error.errors()[0]['msg']}") from error
    return root if isinstance(root, str) else [as_text(item, f"item {n}") for n, item in enumerate(root, 1)]


def variables(bindings: Mapping[str, Json]) -> dict[str, str]:
    """`with:` as environment variables, names unchanged."""
    for name in bindings:
        if not _NAME.match(name):
            raise Refused(f"shell: with: {name!r} cannot name a variable; use letters, digits and _")
        if _CODE_NAMES.match(name):
            raise Refused(f"shell: with: {name!r} is read as code by programs; use another name")
    return {name: as_text(value, f"with: {name}") for name, value in bindings.items()}


def as_text(value: Json, where: str) -> str:
    """Strings as they are, everything else as JSON; nothing stands for none."""
    if value is None:
        raise Refused(f"shell: {where} is none; give it a value, by default() for instance")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if "\0" in text:
        raise Refused(f"shell: {where} holds a NUL byte, which no command can take")
    return text


def least_effect(params: Any) -> tuple[Effect, str]:
    """`read` unless the command plainly changes something: the rest is the author's declaration (`DECLARED`)."""
    root = Params.model_validate(params).root
    harm = harm_in_script(root) if isinstance(root, str) else harm_in_words([str(item) for item in root])
    if harm:
        return Effect.disruptive, harm
    return Effect.read, "declared by the author: nobody can see into a command"


def bound_names(params: Any) -> frozenset[str]:
    """None: variables of a script come from `with:` alone, and a script has variables of its own."""
    Params.model_validate(params)
    return frozenset()


def show(call: Call) -> str:
    """The command as a shell would read it, its variables above it."""
    request = _command(call)
    shown = [f"{name}={shlex.quote(value)}" for name, value in variables(call.bindings).items()]
    return "\n".join([*shown, request.rstrip("\n") if isinstance(request, str) else shlex.join(request)])


def connect(target: Target, mode: Literal["read", "write"]) -> Session:
    """Open a session on this machine or, over ssh, on another.

    Settings of `local`: cwd, env. Of `ssh`: host, port, user, key, passphrase, password, known_hosts, agent, cwd, env.
    """
    cancellation = Cancellation()
    try:
        channel: Channel = Local(target, cancellation) if target.kind == "local" else Ssh(target, cancellation)
    except TargetError:
        cancellation.close()
        raise
    return Session(channel, mode, cancellation)


class Local:
    """Commands on this machine."""

    def __init__(self, target: Target, cancellation: Cancellation) -> None:
        self._env = inherited_environment(_settings_env(target))
        self._cwd = target.settings.get("cwd")
        self._cancellation = cancellation

    def identity(self) -> Identity:
        host, user = os.uname().nodename, _user()
        return Identity(f"{user}@{host} (this machine)", {"host": host, "user": user, "machine": _machine_id()})

    def run(self, request: str | list[str], env: Mapping[str, str], deadline: float, keep: bool) -> Finished:
        return run(
            ["/bin/sh", "-eu", "-c", request] if isinstance(request, str) else request,
            env={**self._env, **env},
            deadline=deadline,
            cwd=self._cwd,
            keep=keep,
            cancellation=self._cancellation,
        )

    def close(self) -> None:
        return


class Ssh:
    """Commands on another machine; one connection for the session, one channel a command."""

    def __init__(self, target: Target, cancellation: Cancellation) -> None:
        self._connection = Connection(Remote.of(target.settings))
        self._env = _settings_env(target)
        self._cwd = target.settings.get("cwd")
        self._cancellation = cancellation

    def identity(self) -> Identity:
        ask = "uname -n; id -un; cat /etc/machine-id 2>/dev/null || echo"
        host, user, machine = [*lines_of(self._run(ask, {}, 10.0, False).stdout), "", "", ""][:3]
        facts = {"host": host, "user": user, "machine": machine, "host_key": self._connection.fingerprint}
        return Identity(f"{user}@{host} ({self._connection.fingerprint})", facts)

    def run(self, request: str | list[str], env: Mapping[str, str], deadline: float, keep: bool) -> Finished:
        words = ["sh", "-eu", "-c", request] if isinstance(request, str) else request
        folder = f"cd {shlex.quote(str(self._cwd))} && " if self._cwd else ""
        finished = self._run(f"{folder}exec {shlex.join(words)}", {**self._env, **env}, deadline, keep)
        if isinstance(request, list) and finished.exit_code == 127 and "not found" in finished.stderr:
            raise TargetError("not_found", f"{self._name}: {last_line(finished.stderr)}", "no")
        return finished

    def _run(self, body: str, env: Mapping[str, str], deadline: float, keep: bool) -> Finished:
        return self._connection.run(
            body, env=env, deadline=deadline, keep=keep, cancellation=self._cancellation, name=self._name
        )

    @property
    def _name(self) -> str:
        return f"ssh {self._connection.remote.host}"

    def close(self) -> None:
        self._connection.close()


def _settings_env(target: Target) -> dict[str, str]:
    env = target.settings.get("env") or {}
    return {str(name): as_text(value, f"env {name} of target {target.name}") for name, value in env.items()}


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _machine_id() -> str | None:
    try:
        return Path("/etc/machine-id").read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None
