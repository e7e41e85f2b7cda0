"""What `status`, `start`, `stop`, `restart`, `scale` and `logs` mean to docker compose, kubernetes, systemd or a
command of one's own: the words to run. Versions and debug mode stand in files of their own.

Pure: it runs nothing. It must never guess a mapping, nor name more than the one service.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import Refused, TargetError
from ..executor import Json

VERBS = ("status", "start", "stop", "restart", "scale", "logs", "history", "rollback", "debug", "debugging")
READS = ("status", "logs", "history", "debugging")
KINDS = ("command", "compose", "kubernetes", "systemd")
PLACEHOLDERS = {"scale": "replicas", "rollback": "revision", "debug": "seconds"}
STOP_SECONDS = 35
"""The API drains for up to 30 s; docker would kill it after 10."""
SYSTEMD_PROPERTIES = (
    "LoadState,ActiveState,SubState,Result,MainPID,NRestarts,ExecMainStatus,ExecMainCode,"
    "MemoryCurrent,MemoryMax,ActiveEnterTimestamp"
)


@dataclass(frozen=True, slots=True)
class Mapped:
    """A service as its environment maps it: one kind, that kind's own settings, and the name of the service."""

    kind: str
    service: str
    settings: Mapping[str, Json]

    @property
    def name(self) -> str:
        """What it is, for people."""
        match self.kind:
            case "compose":
                project = self.settings.get("project")
                return f"compose project {project}, service {self.service}" if project else f"compose {self.service}"
            case "kubernetes":
                context = f"{self.settings['context']}/" if self.settings.get("context") else ""
                return f"kubernetes {context}{namespace(self)}/{deployment(self)}"
            case "systemd":
                return f"systemd unit {unit(self)}"
            case _:
                return f"service {self.service} by its own commands"


@dataclass(frozen=True, slots=True)
class Values:
    """What a verb is given."""

    replicas: int | None = None
    lines: int = 200
    since: int | None = None
    revision: str | None = None
    seconds: int | None = None


def mapped(name: str, settings: Mapping[str, Json]) -> Mapped:
    """The one mapping that an environment gives to a service."""
    given = [kind for kind in KINDS if settings.get(kind)]
    if len(given) != 1 or not isinstance(settings[given[0]], Mapping):
        found = ", ".join(given) or "none"
        raise TargetError(
            "unsupported", f"service {name}: its target needs exactly one of {', '.join(KINDS)}; it has {found}", "no"
        )
    return Mapped(given[0], str(settings.get("service") or name), settings[given[0]])


def act_words(service: Mapped, verb: str, values: Values) -> list[str]:
    """The command of a verb other than `status`."""
    match service.kind:
        case "command":
            return command_words(service, verb, values)
        case "compose":
            return _compose_words(service, verb, values)
        case "kubernetes":
            return _kubernetes_words(service, verb, values)
        case _:
            return _systemd_words(service, verb, values)


def command_words(service: Mapped, verb: str, values: Values | None = None) -> list[str]:
    """A command of the environment's own, its placeholders filled; never split nor given to a shell."""
    words = service.settings.get(verb)
    if not isinstance(words, list) or not words:
        placeholder = f', "{{{PLACEHOLDERS[verb]}}}"' if verb in PLACEHOLDERS else ""
        raise unsupported(service, verb, f"add `{verb}: [program, {verb}{placeholder}]` under command:")
    values = values or Values()
    filled = {
        "{service}": service.service,
        "{replicas}": str(values.replicas),
        "{lines}": str(values.lines),
        "{since}": str(values.since or ""),
        "{revision}": str(values.revision),
        "{seconds}": str(values.seconds),
    }
    return [str(words[0]), *(_fill(str(word), filled) for word in words[1:])]


def _fill(word: str, values: Mapping[str, str]) -> str:
    for placeholder, value in values.items():
        word = word.replace(placeholder, value)
    return word


def unsupported(service: Mapped, verb: str, mend: str) -> TargetError:
    return TargetError("unsupported", f"service {service.service}: {service.kind} cannot {verb}; {mend}", "no")


def compose(service: Mapped) -> list[str]:
    """`docker compose` with everything that says which project is meant."""
    settings = service.settings
    files = settings.get("files") or settings.get("file") or []
    words = ["docker", "compose"]
    words += ["-p", str(settings["project"])] if settings.get("project") else []
    for file in [files] if isinstance(files, str) else files:
        words += ["-f", str(file)]
    return words + (["--project-directory", str(settings["directory"])] if settings.get("directory") else [])


def _compose_words(service: Mapped, verb: str, values: Values) -> list[str]:
    name = service.service
    # Without --no-deps and --no-recreate, `up` also recreates other services whose configuration has changed.
    careful = ["up", "-d", "--no-deps", "--no-recreate"]
    since = ["--since", f"{values.since}s"] if values.since else []
    tails = {
        "start": [*careful, name],
        "stop": ["stop", "-t", str(STOP_SECONDS), name],
        "restart": ["restart", "-t", str(STOP_SECONDS), name],
        "scale": [*careful, "--scale", f"{name}={values.replicas}", name],
        "logs": ["logs", "--no-color", "--no-log-prefix", *since, "--tail", str(values.lines), name],
    }
    return [*compose(service), *tails[verb]]


def compose_ps_words(service: Mapped) -> list[str]:
    return [*compose(service), "ps", "-a", "--format", "json", service.service]


def inspect_words(ids: Sequence[str]) -> list[str]:
    return ["docker", "inspect", "--type", "container", *ids]


def stats_words(ids: Sequence[str]) -> list[str]:
    return ["docker", "stats", "--no-stream", "--no-trunc", "--format", "{{json .}}", *ids]


def namespace(service: Mapped) -> str:
    return str(service.settings.get("namespace") or "default")


def deployment(service: Mapped) -> str:
    return str(service.settings.get("deployment") or service.service)


def kubectl(service: Mapped) -> list[str]:
    context = ["--context", str(service.settings["context"])] if service.settings.get("context") else []
    return ["kubectl", *context, "-n", namespace(service)]


def _kubernetes_words(service: Mapped, verb: str, values: Values) -> list[str]:
    name = f"deployment/{deployment(service)}"
    replicas = service.settings.get("replicas")
    if verb == "start" and replicas is None:
        raise unsupported(service, verb, "add `replicas: N` under kubernetes:, how many to start")
    since = [f"--since={values.since}s"] if values.since else []
    tails = {
        "start": ["scale", name, f"--replicas={replicas}"],
        "stop": ["scale", name, "--replicas=0"],
        "restart": ["rollout", "restart", name],
        "scale": ["scale", name, f"--replicas={values.replicas}"],
        "logs": ["logs", name, "--all-pods=true", *since, f"--tail={values.lines}"],
    }
    return [*kubectl(service), *tails[verb]]


def deployment_words(service: Mapped) -> list[str]:
    return [*kubectl(service), "get", f"deployment/{deployment(service)}", "-o", "json"]


def pods_words(service: Mapped, selector: str) -> list[str]:
    return [*kubectl(service), "get", "pods", "-l", selector, "-o", "json"]


def slices_words(service: Mapped) -> list[str]:
    """Those of the service that the environment names, else all of the namespace."""
    name = service.settings.get("endpoints")
    which = ["-l", f"kubernetes.io/service-name={name}"] if name else []
    return [*kubectl(service), "get", "endpointslices", *which, "-o", "json"]


def autoscalers_words(service: Mapped) -> list[str]:
    return [*kubectl(service), "get", "hpa", "-o", "json"]


def unit(service: Mapped) -> str:
    return str(service.settings.get("unit") or service.service)


def _systemctl(service: Mapped) -> list[str]:
    return ["systemctl", *(["--user"] if service.settings.get("user") else []), "--no-pager", "--no-ask-password"]


def _systemd_words(service: Mapped, verb: str, values: Values) -> list[str]:
    if verb == "scale":
        raise unsupported(service, verb, "a unit runs once; map the service to command: with a scale: list")
    if verb != "logs":
        return [*_systemctl(service), verb, "--", unit(service)]
    since = ["--since", f"-{values.since}s"] if values.since else []
    user = ["--user"] if service.settings.get("user") else []
    return ["journalctl", *user, "-u", unit(service), "-n", str(values.lines), *since, "--no-pager", "-o", "cat"]


def show_words(service: Mapped) -> list[str]:
    return [*_systemctl(service), "show", "-p", SYSTEMD_PROPERTIES, "--", unit(service)]


def seconds_of(value: Json) -> int | None:
    """`15m`, `90s`, `1h30m` or a number of seconds."""
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return max(1, int(value))
    found = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", str(value))
    if not found or not any(found.groups()):
        raise Refused(f"service: since {value!r} should look like 15m, 90s or 1h30m")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
