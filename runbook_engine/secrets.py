"""Resolves secret references of the configuration: from the environment, a file, or a command. Nothing is stored.

An error names the reference and never its value; a command gets no shell, no input and ten seconds.
"""

from __future__ import annotations

import os
import selectors
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from .errors import UsageError
from .redaction import Redactor
from .safe_text import single_line
from .secret_patterns import names_secret

if TYPE_CHECKING:
    from .executor import Json

COMMAND_TIMEOUT = 10.0
MOST_BYTES = 64 * 1024

Warn = Callable[[str], None]
ReadFile = Callable[[str, str, Warn], str]
RunCommand = Callable[[Sequence[str], str, Mapping[str, str]], str]


def _ignore(_: str) -> None:
    pass


def is_reference(value: Json) -> bool:
    """Whether a setting is exactly one of `{env: NAME}`, `{file: PATH}`, `{command: [argv]}`."""
    match value:
        case {"env": str()} | {"file": str()}:
            return len(value) == 1
        case {"command": [str(), *others]}:
            return len(value) == 1 and all(isinstance(each, str) for each in others)
    return False


def read_secret_file(name: str, path: str, warn: Warn = _ignore) -> str:
    """The text of a file without its last line end. Warns when others can read it."""
    try:
        with Path(name).expanduser().open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(MOST_BYTES + 1)
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"{path}: secret file {name!r} cannot be read: {reason}. mend the path or its permissions"
        ) from error
    if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
        warn(f"{path}: secret file {name!r} can be read by others. `chmod 600` it")
    return _as_secret(content, f"{path}: secret file {name!r}")


def run_secret_command(argv: Sequence[str], path: str, environ: Mapping[str, str]) -> str:
    """What a command prints, without its last line end."""
    what = f"{path}: secret command {argv[0]!r}"
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environ),
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{what} cannot be started: {reason}. mend the command in the configuration") from error
    with process:
        try:
            output, complaint = _read_all(process, what)
        finally:
            _kill(process)
    if process.returncode:
        raise UsageError(
            f"{what} ended with {process.returncode}{_last_line(complaint, output)}. run it by hand to see why"
        )
    return _as_secret(output, what)


def _read_all(process: subprocess.Popen[bytes], what: str) -> tuple[bytes, bytes]:
    """Both streams until they end, so that neither can block the other. Leaves the process reaped."""
    deadline = time.monotonic() + COMMAND_TIMEOUT
    kept: dict[IO[bytes] | None, bytes] = {process.stdout: b"", process.stderr: b""}
    with selectors.DefaultSelector() as selector:
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            selector.register(stream, selectors.EVENT_READ, stream)
        while selector.get_map():
            for key, _ in selector.select(max(0.0, deadline - time.monotonic())):
                chunk = os.read(key.fd, MOST_BYTES)
                kept[key.data] = (kept[key.data] + chunk)[-MOST_BYTES - 1 :]
                if not chunk:
                    selector.unregister(key.fileobj)
                elif key.data is process.stdout and len(kept[key.data]) > MOST_BYTES:
                    raise UsageError(f"{what} printed more than {MOST_BYTES >> 10} KiB. let it print the secret alone")
            if time.monotonic() > deadline:
                raise UsageError(
                    f"{what} took longer than {COMMAND_TIMEOUT:g} s. run it by hand to see what it waits for"
                )
    try:
        process.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"{what} took longer than {COMMAND_TIMEOUT:g} s. run it by hand to see why") from error
    return kept[process.stdout], kept[process.stderr]


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _last_line(complaint: bytes, output: bytes) -> str:
    lines = complaint.decode("utf-8", "replace").strip().splitlines()
    if not lines:
        return ""
    redactor = Redactor({"output": output.decode("utf-8", "replace").strip()})
    return f": {single_line(redactor.text(lines[-1]), 200)}"


def _as_secret(content: bytes, what: str) -> str:
    if len(content) > MOST_BYTES:
        raise UsageError(f"{what} holds more than {MOST_BYTES >> 10} KiB. a secret is shorter: mend the reference")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} does not hold UTF-8 text. a secret is text: mend the reference") from error
    return text.removesuffix("\n").removesuffix("\r")


def resolve(
    reference: Json,
    *,
    path: str,
    environ: Mapping[str, str],
    read_file: ReadFile = read_secret_file,
    run_command: RunCommand = run_secret_command,
    warn: Warn = _ignore,
) -> str:
    """The text behind one reference, `{value: …}` or a plain string. `path` says where it stands, `redis.password`."""
    match reference:
        case str():
            return reference
        case {"value": str(value)} if len(reference) == 1:
            return value
        case {"env": str(name)} if is_reference(reference):
            if name not in environ:
                raise UsageError(f"{path}: environment variable {name!r} is not set. export it, or mend the reference")
            return environ[name]
        case {"file": str(name)} if is_reference(reference):
            return read_file(name, path, warn)
        case {"command": argv} if is_reference(reference):
            return run_command(argv, path, environ)
    raise UsageError(
        f"{path}: is not a secret reference. write one of {{env: NAME}}, {{file: PATH}}, {{command: [argv]}}"
    )


def resolve_settings(
    settings: Mapping[str, Json],
    path: str,
    *,
    environ: Mapping[str, str],
    read_file: ReadFile = read_secret_file,
    run_command: RunCommand = run_secret_command,
    warn: Warn = _ignore,
) -> tuple[dict[str, Json], dict[str, str]]:
    """The settings with every reference resolved, and the secrets that became known, each named by its path."""
    secrets: dict[str, str] = {}

    def walk(value: Json, where: str, key: str) -> Json:
        if is_reference(value):
            text = resolve(value, path=where, environ=environ, read_file=read_file, run_command=run_command, warn=warn)
            _learn(secrets, where, text)
            return text
        match value:
            case {"value": str(text)} if len(value) == 1:
                return walk(text, where, key)
            case Mapping():
                return {
                    name: walk(each, f"{where}.{name}" if where else str(name), str(name))
                    for name, each in value.items()
                }
            case list():
                return [walk(each, f"{where}[{index}]", key) for index, each in enumerate(value)]
            case str() if value and names_secret(key):
                warn(
                    f"{where}: the configuration holds the secret itself. write {{env: NAME}} or {{file: PATH}} instead"
                )
                _learn(secrets, where, value)
            case str():
                _learn_url(secrets, where, value)
        return value

    return {name: walk(each, f"{path}.{name}" if path else name, name) for name, each in settings.items()}, secrets


def _learn(secrets: dict[str, str], where: str, text: str) -> None:
    if text:
        secrets[where] = text
    _learn_url(secrets, where, text)


def _learn_url(secrets: dict[str, str], where: str, text: str) -> None:
    """Passwords in a URL, as they are written and as the server gets them."""
    if "://" not in text:
        return
    try:
        url = urlsplit(text)
        words = [url.password or "", *(value for name, value in parse_qsl(url.query) if names_secret(name))]
    except ValueError:
        return
    forms = list(dict.fromkeys(form for word in words for form in (unquote(word), word) if form))
    for number, form in enumerate(forms):
        secrets[f"{where}.password" + (f"[{number}]" if number else "")] = form
