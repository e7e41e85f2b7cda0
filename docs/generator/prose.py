"""Pages that stand elsewhere in the repository, with their links turned: the tutorial and the changelog."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def pages() -> dict[str, str]:
    tutorial = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return {"tutorial.md": _moved(tutorial, "examples"), "changelog.md": _moved(changes, "")}


def _moved(text: str, folder: str) -> str:
    """Links to pages of docs/ stay links; those to other files of the repository become their paths."""

    def turned(found: re.Match[str]) -> str:
        words, target, anchor = found[1], found[2], found[3] or ""
        path = (ROOT / folder / target).resolve()
        if path.is_relative_to(ROOT / "docs"):
            return f"[{words}](../{path.relative_to(ROOT / 'docs')}{anchor})"
        return f"{words} (`{path.relative_to(ROOT)}`)" if words != target else f"`{path.relative_to(ROOT)}`"

    return re.sub(r"\[([^\]]*)\]\((?!https?:)([^)#]+)(#[\w-]+)?\)", turned, text)
