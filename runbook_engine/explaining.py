"""What `runbook explain` and the documentation tell of each code: what is wrong, why it matters, an example of both.

A rule brings its own example and its reason, in its docstring; the codes of a load have a page under `explained/`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .linter import rules, summaries

PAGES = Path(__file__).parent / "explained"

_EXAMPLE = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
_TOP = re.compile(r"^([a-z]\w*):", re.MULTILINE)
_TARGETS = {"db": ("sql", "postgres"), "redis": ("redis", "redis"), "api": ("http", "http")}
_BASE = {
    "runbook": "runbook: 1\n",
    "name": "name: example\n",
    "title": "title: An example\n",
    "symptoms": """symptoms:
  - id: waiting
    sql: select count(*) as n from pg_stat_activity where wait_event_type = 'Lock'
    facts: {waiting: row.n}
    present: waiting > 0
""",
}


@dataclass(frozen=True, slots=True)
class Page:
    """One code. `bad` and `good` are parts of a playbook; none where the code is not about what stands in one."""

    code: str
    summary: str
    kind: str
    why: str
    bad: str = ""
    good: str = ""


@cache
def pages() -> dict[str, Page]:
    """A page for each code there is."""
    found = {}
    warnings = {rule.CODE: rule for rule in rules()}
    for code, summary in summaries().items():
        if code in warnings:
            rule = warnings[code]
            why = str(rule.__doc__ or "").partition(": ")[2].strip()
            why = why[:1].upper() + why[1:]
            found[code] = Page(code, summary, "a warning", why, rule.BAD, rule.GOOD)
        else:
            found[code] = _written(code, summary)
    return found


def whole(example: str) -> str:
    """A playbook with this part, and as little else as a playbook needs."""
    keys = set(_TOP.findall(example))
    if keys & {"library", "cases", "environments", "runbok"}:
        return example
    missing = [text for key, text in _BASE.items() if key not in keys]
    text = "".join([*missing[:3], example.strip("\n"), "\n", *missing[3:]])
    if "targets" not in keys:
        asked = [name for name, (key, _) in _TARGETS.items() if re.search(rf"\b{key}:", text)]
        text += "targets: {" + ", ".join(f"{name}: {_TARGETS[name][1]}" for name in asked) + "}\n"
    return text


def _written(code: str, summary: str) -> Page:
    text = (PAGES / f"{code}.md").read_text(encoding="utf-8")
    examples = _EXAMPLE.findall(text)
    kind = "a warning" if code >= "RB600" else "an error: the playbook is refused"
    why = text.partition("\nWrong:")[0].strip()
    return Page(code, summary, kind, why, *examples)
