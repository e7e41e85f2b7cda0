"""Which versions of a service there are, and going back to one of them.

A version that would not differ from the one that runs is refused: `:latest` pulls the same image again. It must never
build: an `up` that builds would put today's code under yesterday's name.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..errors import Refused, TargetError
from ..executor import Json
from . import mappings
from .kubernetes import digest_of, items
from .looking import containers_of, deployment_of, running_container
from .mappings import Mapped
from .running import Runner
from .status import epoch, read_json, rows

REVISION = "deployment.kubernetes.io/revision"
CHANGE_CAUSE = "kubernetes.io/change-cause"
RECONCILERS = {
    "argocd.argoproj.io/tracking-id": "argocd",
    "argocd.argoproj.io/instance": "argocd",
    "kustomize.toolkit.fluxcd.io/name": "flux",
    "helm.toolkit.fluxcd.io/name": "flux",
}
MOVING = ("latest", "")
"""Tags that name whatever was pushed last."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One version of one service. `differs` is whether its image is another one than that which runs."""

    revision: str
    image: str | None = None
    digest: str | None = None
    current: bool = False
    deployed_at: str | None = None
    built_at: str | None = None
    cause: str | None = None
    differs: bool | None = None

    @property
    def tag(self) -> str | None:
        """The name behind the colon; of a digest none."""
        if self.image is None or "@" in self.image:
            return None
        return self.image.rpartition("/")[2].partition(":")[2] or "latest"

    @property
    def at(self) -> float:
        """When it came, for the order; what is not known came first. Of images only the building is known of each."""
        return epoch(self.built_at or self.deployed_at) or 0.0


@dataclass(frozen=True, slots=True)
class History:
    """All that are known, oldest first; `managed_by` names what puts the desired state back by itself."""

    revisions: tuple[Revision, ...]
    managed_by: str | None = None

    @property
    def current(self) -> Revision | None:
        return next((each for each in self.revisions if each.current), None)

    @property
    def previous(self) -> Revision | None:
        """The newest that came before the one that runs; after a rollback not the one that was left."""
        current = self.current
        earlier = [each for each in self.revisions if current and each.at < current.at]
        return earlier[-1] if earlier else None

    def document(self, now: float) -> dict[str, Json]:
        current, previous = self.current, self.previous
        return {
            "revisions": [_row(each, now) for each in self.revisions],
            "current": _row(current, now) if current else None,
            "previous": _row(previous, now) if previous else None,
            "managed_by": self.managed_by,
        }


def _row(each: Revision, now: float) -> dict[str, Json]:
    deployed = epoch(each.deployed_at)
    return {
        "revision": each.revision,
        "image": each.image,
        "tag": each.tag,
        "digest": each.digest,
        "current": each.current,
        "deployed_at": each.deployed_at,
        "built_at": each.built_at,
        "age_s": None if deployed is None else round(max(0.0, now - deployed), 1),
        "differs": each.differs,
        "cause": each.cause,
    }


def history_of(runner: Runner, service: Mapped, limit: float) -> History:
    """The versions that the platform knows, oldest first."""
    match service.kind:
        case "command":
            words = mappings.command_words(service, "history")
            return _compared(_of_command(read_json(runner.read(words, limit), words[0])))
        case "compose":
            return _compared(_of_compose(runner, service, limit))
        case "kubernetes":
            return _compared(_of_kubernetes(runner, service, limit))
        case _:
            raise mappings.unsupported(
                service, "history", "systemd keeps no versions; map the service to command: with a history: list"
            )


def _compared(history: History) -> History:
    ordered = sorted(history.revisions, key=lambda each: (each.at, _natural(each.revision)))
    current = next((each for each in ordered if each.current), None)
    return replace(history, revisions=tuple(replace(each, differs=_differs(each, current)) for each in ordered))


def _differs(each: Revision, current: Revision | None) -> bool | None:
    if current is None or each is current:
        return None
    if each.digest and current.digest:
        return each.digest != current.digest
    if each.image is None or current.image is None:
        return None
    return each.image != current.image


def _natural(revision: str) -> tuple[int, str]:
    return (int(revision) if revision.isdecimal() else 0, revision)


def _of_command(document: Json) -> History:
    listed = document.get("revisions") if isinstance(document, dict) else document
    found = [row for row in rows(listed or []) if row.get("revision") is not None]
    return History(
        tuple(
            Revision(
                str(row["revision"]),
                _text(row.get("image")),
                _text(row.get("digest")),
                row.get("current") is True,
                _text(row.get("deployed_at")),
                _text(row.get("built_at")),
                _text(row.get("cause")),
            )
            for row in found
        ),
        _text(document.get("managed_by")) if isinstance(document, dict) else None,
    )


def _of_compose(runner: Runner, service: Mapped, limit: float) -> History:
    """The tags of the image that runs: compose itself remembers nothing."""
    running = running_container(runner, service, limit)
    if running is None:
        return History(())
    image = str((running.get("Config") or {}).get("Image") or "")
    name = Revision("", image)
    current = Revision(name.tag or image, image, _text(running.get("Image")), True, _text(running.get("Created")))
    repository = re.sub(r"(:[^:/]*|@.*)$", "", image)
    words = ["docker", "image", "ls", "--no-trunc", "--format", "{{json .}}", repository]
    listed = [_tagged(row) for row in rows(runner.json(words, limit)) if row.get("Tag") not in (None, "<none>")]
    others = [each for each in listed if each.revision != current.revision]
    built = next((each.built_at for each in listed if each.revision == current.revision), None)
    # Others were built at some time and deployed at another, which nobody wrote down.
    return History((*others, replace(current, built_at=built)))


def _tagged(row: Mapping[str, Json]) -> Revision:
    tag, repository = str(row.get("Tag")), row.get("Repository")
    found = re.match(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) ([+-]\d{4})", str(row.get("CreatedAt")))
    built = f"{found[1]}T{found[2]}{found[3][:3]}:{found[3][3:]}" if found else None
    return Revision(tag, f"{repository}:{tag}", _text(row.get("ID")), built_at=built)


def _of_kubernetes(runner: Runner, service: Mapped, limit: float) -> History:
    """The replica sets of the deployment. A rollback gives an old one a new number and keeps its time."""
    found, pods = deployment_of(runner, service, limit)
    metadata = found.get("metadata") or {}
    now = (metadata.get("annotations") or {}).get(REVISION)
    sets = items(runner.json([*mappings.kubectl(service), "get", "replicasets", "-o", "json"], limit))
    owned = [each for each in sets if _is_owned(each, str(metadata.get("uid")))]
    digests = {hash_of(pod): _pod_digest(pod) for pod in pods if _pod_digest(pod)}
    return History(
        tuple(_replica_set(each, now, digests.get(hash_of(each))) for each in owned),
        _reconciler(metadata),
    )


def _is_owned(replica_set: Mapping[str, Json], uid: str) -> bool:
    owners = (replica_set.get("metadata") or {}).get("ownerReferences") or []
    return any(owner.get("kind") == "Deployment" and owner.get("uid") == uid for owner in owners)


def _replica_set(replica_set: Mapping[str, Json], now: Json, digest: str | None) -> Revision:
    metadata = replica_set.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    template = ((replica_set.get("spec") or {}).get("template") or {}).get("spec") or {}
    image = next((_text(each.get("image")) for each in template.get("containers") or []), None)
    revision = str(annotations.get(REVISION))
    return Revision(
        revision,
        image,
        digest or digest_of(image),
        revision == str(now),
        _text(metadata.get("creationTimestamp")),
        cause=_text(annotations.get(CHANGE_CAUSE)),
    )


def hash_of(item: Mapping[str, Json]) -> str:
    return str(((item.get("metadata") or {}).get("labels") or {}).get("pod-template-hash"))


def _pod_digest(pod: Mapping[str, Json]) -> str | None:
    containers = (pod.get("status") or {}).get("containerStatuses") or []
    return next((digest_of(each.get("imageID")) for each in containers), None)


def _reconciler(metadata: Mapping[str, Json]) -> str | None:
    marks = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
    return next((name for mark, name in RECONCILERS.items() if mark in marks), None)


def roll_back(runner: Runner, service: Mapped, revision: str, limit: float) -> tuple[str, bool]:
    """Run that revision instead, and wait until it does. Returns what was printed, and whether anything was to do."""
    history = _checked_history(runner, service, revision, limit)
    current = history.current if history else None
    if current is not None and current.revision == revision:
        return f"{revision} runs already", False
    match service.kind:
        case "command":
            words = mappings.command_words(service, "rollback", mappings.Values(revision=revision))
            return runner.act(words, limit), True
        case "compose":
            return _compose_up(runner, service, revision, current, limit), True
        case _:
            return _undo_rollout(runner, service, revision, limit), True


def _checked_history(runner: Runner, service: Mapped, revision: str, limit: float) -> History | None:
    """What is known before the act; an environment's own command may know for itself."""
    if service.kind == "command" and not service.settings.get("history"):
        mappings.command_words(service, "rollback")
        return None
    try:
        history = history_of(runner, service, limit)
    except TargetError as error:
        raise TargetError(error.code, f"before rollback: {error.message}", "no") from error
    wanted = next((each for each in history.revisions if each.revision == revision), None)
    if wanted is None:
        known = ", ".join(each.revision for each in history.revisions) or "none"
        raise Refused(f"service: {service.service} has no revision {revision!r}; there are {known}")
    _refuse_the_same(service, wanted, history.current)
    return history


def _refuse_the_same(service: Mapped, wanted: Revision, current: Revision | None) -> None:
    if current is None or wanted.differs is not False:
        return
    if wanted.digest and current.digest:
        raise Refused(f"service: {wanted.revision} and {current.revision} of {service.service} are the same image")
    if wanted.tag in MOVING:
        raise Refused(
            f"service: revisions {wanted.revision} and {current.revision} of {service.service} both say "
            f"{wanted.image}: going back would run the same image again. Deploy images by a tag of their own or digest"
        )


def _compose_up(runner: Runner, service: Mapped, tag: str, current: Revision | None, limit: float) -> str:
    variable = str(service.settings.get("tag") or "IMAGE_TAG")
    prefix = ["env", f"{variable}={tag}", *mappings.compose(service)]
    document = runner.json([*prefix, "config", "--format", "json"], limit)
    image = ((document.get("services") or {}).get(service.service) or {}).get("image")
    if Revision("", _text(image)).tag != tag:
        raise Refused(
            f"service: with {variable}={tag} the compose file still runs {image or 'a built image'} for "
            f"{service.service}: it needs `image: name:${{{variable}}}`; `tag:` under compose: names another variable"
        )
    listed, _ = containers_of(runner, service, limit)
    count = sum(1 for row in listed if row.get("State") == "running")
    # Without --scale, `up` would go back to the number in the file; without --no-build it would build the tag.
    scale = ["--scale", f"{service.service}={count}"] if count else []
    patience = ["--wait", "--wait-timeout", str(_left(limit))]
    careful = ["--no-deps", "--no-build", "-t", str(mappings.STOP_SECONDS)]
    return runner.act([*prefix, "up", "-d", *careful, *scale, *patience, service.service], limit)


def _undo_rollout(runner: Runner, service: Mapped, revision: str, limit: float) -> str:
    if not revision.isdecimal():
        raise Refused(f"service: revision {revision!r} of a deployment should be its number")
    name = f"deployment/{mappings.deployment(service)}"
    said = runner.act([*mappings.kubectl(service), "rollout", "undo", name, f"--to-revision={revision}"], limit)
    waiting = [*mappings.kubectl(service), "rollout", "status", name, f"--timeout={_left(limit)}s"]
    return said + runner.act(waiting, limit)


def _left(limit: float) -> int:
    """Whole seconds, one less than the call has: the platform's own word is better than our deadline."""
    return max(1, math.floor(limit - time.monotonic()) - 1)


def _text(value: Json) -> str | None:
    return None if value is None else str(value)
