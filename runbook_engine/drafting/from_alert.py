"""An alert to a draft: who matches it, what its labels give as inputs, and its own expression as the symptom."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ..alerts import labels_of
from ..errors import UsageError
from ..loading.source_text import refused_characters
from .draft import Draft
from .taming import identifier, masked, name, tamed

Json = Any
MOST_INPUTS = 6
# Of whoever sent it, or of how bad it is: no value that somebody would run a playbook with.
_NOT_INPUTS = frozenset(("alertname", "severity", "prometheus", "monitor", "replica", "alertstate", "receiver"))
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_WORD = r"^[A-Za-z0-9][A-Za-z0-9_.:/-]*$"
_ADDRESS = re.compile(r"https?://[!-~]{3,400}")
COMMENTS = {
    "": "Drafted from an alert. What the alert said stands here as text; what to do about it is for you to write.",
    "alerts": "An alert that has all of these labels is for this playbook: `runbook match --alert FILE` says so.",
    "symptoms": "Is it true? The alert's own expression, asked of Prometheus (a target of kind http in runbook.yaml).",
    "causes": "Why? Add steps under `diagnosis:`, and one cause for each answer that they can give.",
}
_BY_HAND = "Is it true? A person is asked. Replace it by a step that looks: sql, redis, http, shell, service, …"


def from_alert(alerts: Sequence[Mapping[str, Json]], wanted: str | None, where: str) -> Draft:
    """`alerts` fire and have names; those of one name become one playbook."""
    names = list(dict.fromkeys(labels_of(each)["alertname"] for each in alerts))
    if len(names) > 1:
        told = ", ".join(tamed(each, 60) for each in names[:10])
        raise UsageError(f"{where} holds alerts of {len(names)} names ({told}); a playbook is for one. Give it alone")
    first = alerts[0]
    called = identifier(wanted or masked(names[0]), "alert")
    inputs = _inputs([labels_of(each) for each in alerts])
    expression = _expression(first)
    title = tamed(_annotation(first, "summary", "title"), 120) or tamed(names[0], 120) or called
    symptom, replies = _measured(expression, title, inputs) if expression else _asked(title, inputs)
    fact = "firing" if expression else "still_so"
    playbook: dict[str, Json] = {
        "runbook": 1,
        "name": called,
        "title": title,
        "about": tamed(_annotation(first, "description", "message"), 2000)
        or f"The alert {tamed(names[0], 120)} fires.",
        "alerts": [{"alertname": _exact(names[0])}],
        "not_for": "An alert that has resolved by itself: nothing shows any more then, and the run ends healthy.",
        **({"links": links} if (links := _links(first)) else {}),
        **({"inputs": inputs} if inputs else {}),
        **({"targets": {"prometheus": "http"}} if expression else {}),
        "symptoms": [symptom],
        "causes": [
            {
                "id": "not-known-yet",
                "title": "Nobody has written down yet why this happens",
                "needs": f"{fact} > 0" if expression else fact,
                "advice": "Find the cause, and write it here: what has to be asked, what it means, what mends it.",
            }
        ],
    }
    comments = COMMENTS if expression else {**COMMENTS, "symptoms": _BY_HAND}
    return Draft(playbook, {"cases": called, **replies}, comments)


def _measured(expression: str, title: str, inputs: Mapping[str, Json]) -> tuple[Json, Json]:
    symptom = {
        "id": "firing",
        "title": _with_inputs(title, inputs),
        "target": "prometheus",
        "http": {"get": "/api/v1/query", "query": {"query": expression.replace("${{", "$${{")}},
        "facts": {"firing": "json.data.result | length"},
        "present": "firing > 0",
    }

    def answer(rows: list[Json]) -> Json:
        return {"firing": {"status": 200, "json": {"status": "success", "data": {"result": rows}}}}

    tests = [
        {"name": "it fires", "expect": {"outcome": "diagnosed", "top": "not-known-yet"}},
        {"name": "it has resolved", "replies": answer([]), "expect": {"outcome": "healthy"}},
        {
            "name": "Prometheus is away",
            "replies": {"firing": {"error": {"code": "refused", "message": "connection refused"}}},
            "expect": {"outcome": "error", "present": {"firing": None}},
        },
    ]
    return symptom, {"replies": answer([{"metric": {}, "value": [0, "1"]}]), "tests": tests}


def _asked(title: str, inputs: Mapping[str, Json]) -> tuple[Json, Json]:
    symptom = {
        "id": "seen",
        "title": _with_inputs(title, inputs),
        "ask": {"question": f"Is it still so? {title}", "type": "boolean", "fact": "still_so"},
        "present": "still_so",
    }
    tests = [
        {"name": "it is so", "answers": {"seen": True}, "expect": {"outcome": "diagnosed", "top": "not-known-yet"}},
        {"name": "it has passed", "answers": {"seen": False}, "expect": {"outcome": "healthy"}},
    ]
    return symptom, {"tests": tests}


def _inputs(alerts: Sequence[Mapping[str, str]]) -> dict[str, Json]:
    """One for each label that somebody would run it with; optional, since the next alert may not have it."""
    found: dict[str, Json] = {}
    for label in dict.fromkeys(label for labels in alerts for label in labels):
        if label in _NOT_INPUTS or label.startswith("__") or not _LABEL.fullmatch(label) or len(label) > 60:
            continue
        values = [labels[label] for labels in alerts if label in labels]
        plain = all(re.fullmatch(_WORD, value) for value in values)
        called = name(label, "label", {*found, "firing", "still_so", "prometheus"})
        found[called] = {
            "type": "string",
            "optional": True,
            **({"pattern": _WORD} if plain else {}),
            "label": label,
            "help": f"the alert's label {label}",
        }
        if len(found) == MOST_INPUTS:
            break
    return found


def _with_inputs(title: str, inputs: Mapping[str, Json]) -> str:
    """The title of a step, which shows what the alert gave: the only templates of the draft, made of our own names."""
    told = ", ".join(f"{each['label']} ${{{{ {called} | default('any') }}}}" for called, each in inputs.items())
    return f"{title} ({told})" if told else title


def _expression(alert: Mapping[str, Json]) -> str:
    """What Prometheus evaluated, from the link that it sends along."""
    address = alert.get("generatorURL")
    if not isinstance(address, str) or len(address) > 8000:
        return ""
    try:
        found = parse_qs(urlsplit(address).query).get("g0.expr", [""])[0].strip()
    except ValueError:
        return ""
    sound = found and len(found) <= 4000 and refused_characters(found) == found and masked(found) == found
    return found if sound and "\n" not in found and "\r" not in found else ""


def _annotation(alert: Mapping[str, Json], *names: str) -> str:
    kept = alert.get("annotations")
    values = [kept[each] for each in names if isinstance(kept.get(each), str)] if isinstance(kept, dict) else []
    return next((value for value in values if value.strip()), "")


def _links(alert: Mapping[str, Json]) -> list[str]:
    found = [_annotation(alert, "runbook_url"), _annotation(alert, "dashboard_url", "dashboard")]
    return [each for each in found if _ADDRESS.fullmatch(each) and masked(each) == each and "${{" not in each]


def _exact(alertname: str) -> str:
    """A label must be the same to the last character to match; what no file can hold cannot match anyway."""
    sound = refused_characters(alertname) == alertname == masked(alertname) and "${{" not in alertname
    return alertname if sound and len(alertname) <= 1000 else tamed(alertname)
