"""Where targets are: `runbook.yaml`, or LinkFlow's own variables without it. Secrets are resolved here, once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field

from .errors import TargetError, UsageError
from .executor import Target
from .loader import validate_document
from .model import Authored
from .policy import Policy
from .redaction import Redactor
from .secrets import read_secret_file, resolve_settings

Json = Any
FILE = "runbook.yaml"
THIS_MACHINE = "local"  # this machine needs no introduction: every environment has it
FROM_VARIABLES = "variables"
WEB_PORTS = {"http": 80, "https": 443}
PUBLIC = ("user", "username", "database", "host")


class TargetSettings(Authored):
    """One target of an environment: its kind, and whatever its executor needs to reach it."""

    model_config = ConfigDict(frozen=True, extra="allow")
    kind: str


class EnvironmentSettings(Authored):
    """One environment of `runbook.yaml`."""

    about: str = ""
    pace: float = Field(default=1.0, gt=0, le=1, description="0.1 makes samples, holds and duration inputs shorter")
    policy: Policy = Policy()
    targets: dict[str, TargetSettings] = Field(default_factory=dict)


class Configuration(Authored):
    """A whole `runbook.yaml`."""

    environments: dict[str, EnvironmentSettings]
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment ready for a run: every secret resolved and known to the redactor."""

    name: str
    pace: float
    policy: Policy
    targets: Mapping[str, Target]
    redactor: Redactor
    warnings: tuple[str, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def hiding(self, more: Mapping[str, str], shown: Iterable[str] = ()) -> Redactor:
        """A redactor that knows these values too, what a person gave as a sensitive input for instance.

        What stands in `shown`, the text of a playbook, is no secret: masking it there would change what is run.
        """
        values = {**self.secrets, **more}
        found = {value for value in values.values() if value and any(value in text for text in shown)}
        if not more and not found:
            return self.redactor
        return Redactor(values, public=_public(self.targets.values()) | found)

    def kinds(self) -> dict[str, str]:
        return {name: target.kind for name, target in self.targets.items()}

    def places(self) -> dict[str, dict[str, Json]]:
        """Where each target is, as far as it says: host, port and, of an HTTP target, its url. Nothing else of it."""
        return {name: _place(target.settings) for name, target in self.targets.items()}

    def target(self, name: str, overrides: Mapping[str, Json]) -> Target:
        """A target by name, or the one it is derived from with some settings changed."""
        base = str(overrides.get("from", name))
        if base not in self.targets and base != THIS_MACHINE:
            have = ", ".join(sorted(self.targets)) or "none"
            raise TargetError("unconfigured", f"environment {self.name!r} has no target {base!r} (it has {have})", "no")
        changed = {key: value for key, value in overrides.items() if key != "from"}
        found = self.targets.get(base) or Target(THIS_MACHINE, "local", {}, self.pace)
        return replace(found, name=name, settings={**found.settings, **changed}) if overrides else found


def load_environment(
    name: str | None, *, environ: Mapping[str, str], folders: Iterable[Path], file: Path | None = None
) -> Environment:
    """The environment called `name`, the file's default or its only one; without a file, LinkFlow's variables."""
    path = file or next((folder / FILE for folder in folders if (folder / FILE).is_file()), None)
    if path is None:
        if name not in (None, FROM_VARIABLES):
            raise UsageError(f"environment {name!r} is not known: no {FILE} here or in the configuration folder")
        return _resolve(FROM_VARIABLES, from_variables(environ), environ, Path())
    configuration = read_configuration(path)
    chosen = _choose(name, configuration, path)
    return _resolve(chosen, configuration.environments[chosen], environ, path.parent)


def read_configuration(path: Path) -> Configuration:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    return validate_document(text, str(path), Configuration, {})


def _choose(name: str | None, configuration: Configuration, path: Path) -> str:
    known = configuration.environments
    if not known:
        raise UsageError(f"{path} names no environment: write one under `environments:`")
    if name is None:
        name = configuration.default or (next(iter(known)) if len(known) == 1 else None)
    if name is None:
        raise UsageError(f"{path} has several environments; say which one with --env: {', '.join(known)}")
    if name not in known:
        close = get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known)}"
        raise UsageError(f"{path} has no environment {name!r}: {hint}")
    return name


def _resolve(name: str, settings: EnvironmentSettings, environ: Mapping[str, str], folder: Path) -> Environment:
    targets: dict[str, Target] = {}
    secrets: dict[str, str] = {}
    warnings: list[str] = []

    def beside(name: str, path: str, warn: Callable[[str], None]) -> str:
        return read_secret_file(str(folder / Path(name).expanduser()), path, warn)

    for key, target in settings.targets.items():
        raw = target.model_dump(exclude={"kind"})
        resolved, known = resolve_settings(raw, key, environ=environ, read_file=beside, warn=warnings.append)
        targets[key] = Target(key, target.kind, resolved, settings.pace)
        secrets.update(known)
    redactor = Redactor(secrets, public=_public(targets.values()))
    return Environment(
        name, settings.pace, settings.policy, targets, redactor, (*warnings, *redactor.warnings), secrets
    )


def _place(settings: Mapping[str, Json]) -> dict[str, Json]:
    """An address without credentials, path or query, whatever somebody wrote into it."""
    plain = {key: settings[key] for key in ("host", "port") if isinstance(settings.get(key), str | int)}
    try:
        parts = urlsplit(str(settings.get("url") or ""))
        host, port = parts.hostname, parts.port
    except ValueError:
        return plain
    if parts.scheme not in WEB_PORTS or not host:
        return plain
    port = port or WEB_PORTS[parts.scheme]
    authority = f"[{host}]" if ":" in host else host
    return {**plain, "host": host, "port": port, "url": f"{parts.scheme}://{authority}:{port}"}


def _public(targets: Iterable[Target]) -> frozenset[str]:
    """Names that are shown anyway: masking them because somebody chose one as a password would hide everything."""
    return frozenset(str(target.settings[key]) for target in targets for key in PUBLIC if target.settings.get(key))


def from_variables(environ: Mapping[str, str]) -> EnvironmentSettings:
    """LinkFlow's own variables, with its defaults. Services cannot be named by them, so their facts stay unknown."""

    def given(prefix: str, names: Mapping[str, str]) -> dict[str, Json]:
        return {key: environ[prefix + name] for key, name in names.items() if environ.get(prefix + name)}

    database = {"host": "localhost", "port": 5432, "user": "linkflow", "database": "linkflow"}
    database |= given("DATABASE_", {"host": "HOST", "port": "PORT", "user": "USER", "database": "NAME"})
    redis: dict[str, Json] = {"host": "localhost", "port": 6379, "db": 0}
    redis |= given("REDIS_", {"host": "HOST", "port": "PORT", "db": "DB"})
    if environ.get("DATABASE_PASSWORD"):
        database["password"] = {"env": "DATABASE_PASSWORD"}
    if environ.get("REDIS_PASSWORD"):
        redis["password"] = {"env": "REDIS_PASSWORD"}
    for settings, key, variable in (
        (database, "port", "DATABASE_PORT"),
        (redis, "port", "REDIS_PORT"),
        (redis, "db", "REDIS_DB"),
    ):
        settings[key] = _integer(settings[key], variable)
    url = environ.get("LINKFLOW_API_URL") or "http://localhost:8090"
    if urlsplit(url).scheme not in ("http", "https"):
        raise UsageError(f"LINKFLOW_API_URL must begin with http:// or https://, not {url!r}")
    kinds = {"db": ("postgres", database), "redis": ("redis", redis), "api": ("http", {"url": url})}
    targets = {name: TargetSettings(kind=kind, **values) for name, (kind, values) in kinds.items()}
    return EnvironmentSettings(about="LinkFlow's own environment variables", targets=targets)


def _integer(value: Json, variable: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise UsageError(f"{variable} must be a number, not {value!r}") from None
