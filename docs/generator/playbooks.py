"""LinkFlow's playbooks: one page each, as `runbook show NAME --format md` prints it, and how they work together."""

from __future__ import annotations

import re
from pathlib import Path

from runbook_engine.catalog import libraries_for
from runbook_engine.guide import FORMATS
from runbook_engine.loader import LoadedPlaybook, load_playbook

ROOT = Path(__file__).parent.parent.parent
AREAS = ("api", "worker", "database", "redis", "scheduler", "emergency", "help")
_HEAD = """# LinkFlow's playbooks

Every issue of LinkFlow's troubleshooting guide as a playbook that runs. `runbook triage` asks the symptoms of all
of them at once and puts the most upstream first; `runbook run NAME` diagnoses one, offers what mends it, and proves
that it held.

A page shows what is asked, with what to paste, what each answer means, and what is done about it. Where a playbook
differs from the guide, the page says so and why: keys that asynq has not had for years, figures that do not measure
what they seem to, commands that make it worse.

They share probes (`playbooks/library`), so that a question several of them ask is sent once, and they point at one
another: a cause that belongs to somebody else ends in `see:`, and a problem that brings another one about says so
in `explains:`.
"""


def pages() -> dict[str, str]:
    found = [loaded for path in sorted((ROOT / "playbooks").glob("*/*.yaml")) if (loaded := _loaded(path)) is not None]
    made = {f"playbooks/{each.playbook.name}.md": FORMATS["md"](each) for each in found}
    parts = [_HEAD]
    for area in AREAS:
        names = [each.playbook.name for each in found if each.playbook.area == area]
        if names:
            parts.append(f"## {area.capitalize()}\n")
            parts += [f"- [{name}](playbooks/{name}.md)" for name in names]
            parts.append("")
    return {"playbooks.md": "\n".join(parts), **made}


def _loaded(path: Path) -> LoadedPlaybook | None:
    text = path.read_text(encoding="utf-8")
    if path.name.endswith(".test.yaml") or not re.search(r"^runbook:", text, re.MULTILINE):
        return None
    return load_playbook(text, str(path), libraries=libraries_for(text, [ROOT / "playbooks"], path))
