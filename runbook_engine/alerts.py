"""Which playbook an alert is for: the labels a playbook names under `alerts:` against the labels of the alert. Pure.

An alert comes as Alertmanager's webhook payload (version 4), as its API lists alerts, as one alert, as a plain mapping
of labels, or as a bare name. Source: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from .errors import UsageError
from .loading.inputs import resolve_inputs
from .model import Playbook

Json = Any
Labels = Mapping[str, str]
EXPECTED = (
    "expected Alertmanager's webhook payload "
    '({"alerts": [{"status": "firing", "labels": {"alertname": …}}]}), a list of alerts, or one'
)
LARGEST = 1 << 20  # characters of a payload
MOST = 200  # alerts of one payload
DEEPEST = 4  # lists and groups around an alert
LONGEST_NAME = 200  # characters of a name that are compared
ALIKE = 0.75  # names this similar are shown as near misses


@dataclass(frozen=True, slots=True)
class Matched:
    """How one entry of a playbook's `alerts:` fares against one alert: which labels agree, and which do not."""

    playbook: str
    agreed: Mapping[str, str]
    differing: Mapping[str, tuple[str, str | None]]  # label: what the playbook wants, what the alert has
    inputs: Mapping[str, str]
    unfit: tuple[str, ...] = ()  # labels whose value the playbook does not take

    @property
    def matches(self) -> bool:
        return not self.differing

    def why(self) -> str:
        """`alertname=QueueBacklog`, and for a near miss what stands against it."""
        parts = [f"{name}={value}" for name, value in self.agreed.items()]
        parts += [
            f"{name} is {have!r}, not {wanted!r}" if have is not None else f"it has no label {name} (wanted {wanted!r})"
            for name, (wanted, have) in self.differing.items()
        ]
        return ", ".join(parts)


def read_alerts(text: str, where: str) -> list[Labels]:
    """The labels of each firing alert of a payload."""
    return _different([labels_of(each) for each in read_firing(text, where)], where)


def read_past(text: str, where: str) -> list[Labels]:
    """The labels of each alert of a payload of the past, also of those that were resolved."""
    return _different([labels_of(each) for each in _named_alerts(text, where)], where)


def _different(alerts: Sequence[Labels], where: str) -> list[Labels]:
    different: list[Labels] = list({json.dumps(labels, sort_keys=True): labels for labels in alerts}.values())
    if len(different) > MOST:
        raise UsageError(f"{where} holds {len(different)} different alerts; expected at most {MOST}")
    return different


def read_firing(text: str, where: str) -> list[dict[str, Json]]:
    """Each firing alert of a payload that has a name, whole: labels, annotations, links."""
    alerts = [each for each in _named_alerts(text, where) if _fires(each)]
    if not alerts:
        raise UsageError(f"{where} holds no firing alert that has a name; {EXPECTED}")
    return alerts


def _named_alerts(text: str, where: str) -> list[dict[str, Json]]:
    if len(text) > LARGEST:
        raise UsageError(f"{where} is longer than {LARGEST} characters; an alert's payload is not")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is no JSON ({error}); expected Alertmanager's webhook payload") from None
    alerts = [each for each in _alerts(document) if labels_of(each).get("alertname")]
    if not alerts:
        raise UsageError(f"{where} holds no alert that has a name; {EXPECTED}")
    return alerts


def named(name: str) -> list[Labels]:
    """An alert of which only the name is known."""
    return [{"alertname": name}]


def _alerts(document: Json, depth: int = 0) -> Sequence[Json]:
    """Webhook, API v2 (a list), its groups (a list of them), Prometheus (`data`), or one alert."""
    if depth > DEEPEST:
        return []
    if isinstance(document, list):
        return [alert for each in document[: 10 * MOST] for alert in _alerts(each, depth + 1)]
    if not isinstance(document, dict):
        return []
    if isinstance(document.get("data"), dict):
        return _alerts(document["data"], depth + 1)
    if isinstance(document.get("alerts"), list):
        common = document.get("commonLabels") or {}
        return [_with_common(each, common) for each in document["alerts"] if isinstance(each, dict)]
    return [document]


def _with_common(alert: dict[str, Json], common: Json) -> dict[str, Json]:
    labels = alert.get("labels")
    known = common if isinstance(common, dict) else {}
    return {**alert, "labels": {**known, **(labels if isinstance(labels, dict) else {})}}


def labels_of(alert: Json) -> dict[str, str]:
    if not isinstance(alert, dict):
        return {}
    labels = alert.get("labels", alert)
    if not isinstance(labels, dict):
        return {}
    return {str(name): str(value) for name, value in labels.items() if isinstance(value, str | int | float)}


def _fires(alert: Json) -> bool:
    """Webhooks say `status: firing`; the API says `status: {state: active}`; what says nothing fires."""
    if not isinstance(alert, dict):
        return False
    status = alert.get("status", alert.get("state"))
    state = status.get("state") if isinstance(status, dict) else status
    return state not in ("resolved", "suppressed", "pending", "inactive")


def match(labels: Labels, playbooks: Iterable[Playbook]) -> tuple[list[Matched], list[Matched]]:
    """The playbooks an alert is for, the most specific first; and those that nearly were."""
    known = compared(labels, playbooks)
    hits = sorted((each for each in known if each.matches), key=lambda each: (-len(each.agreed), each.playbook))
    sure = {each.playbook for each in hits}
    near = [each for each in known if each.playbook not in sure and _near(each)]
    return _once(hits), _once(sorted(near, key=lambda each: (-closeness(each), each.playbook)))


def compared(labels: Labels, playbooks: Iterable[Playbook]) -> list[Matched]:
    """Every entry of every playbook against the alert."""
    return [_compare(playbook, wanted, labels) for playbook in playbooks for wanted in playbook.alerts]


def _compare(playbook: Playbook, wanted: Labels, labels: Labels) -> Matched:
    agreed = {name: value for name, value in wanted.items() if labels.get(name) == value}
    differing = {name: (value, labels.get(name)) for name, value in wanted.items() if name not in agreed}
    given, unfit = {}, []
    for name, each in playbook.inputs.items():
        value = labels.get(each.label) if each.label else None
        if not value:
            continue
        try:
            resolve_inputs(playbook.model_copy(update={"inputs": {name: each}}), {name: value}, 1.0)
            given[name] = value
        except UsageError as error:
            unfit.append(f"label {each.label}: {error}")
    return Matched(playbook.name, agreed, differing, given, tuple(unfit))


def _near(found: Matched) -> bool:
    return bool(found.agreed) or closeness(found) >= ALIKE


def closeness(found: Matched) -> float:
    """How alike the names are that differ; a label that agrees counts for more than any likeness."""
    wanted, have = found.differing.get("alertname", ("", None))
    have = (have or "").lower()[:LONGEST_NAME]
    alike = SequenceMatcher(None, wanted.lower()[:LONGEST_NAME], have).ratio() if have else 0.0
    return len(found.agreed) + alike


def _once(found: Iterable[Matched]) -> list[Matched]:
    best: dict[str, Matched] = {}
    for each in found:
        best.setdefault(each.playbook, each)
    return list(best.values())
