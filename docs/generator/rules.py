"""Every code of a complaint: what is wrong, why it matters, how it is mended. From the rules themselves."""

from __future__ import annotations

from typing import Any

from runbook_engine import linter

_HEAD = """# Rules

What `runbook validate` says, by its code; `runbook explain RBnnn` tells the same at the terminal. Codes are stable:
additions only. RB0 is about the text of a file, RB1 about its shape, RB2 about names and expressions, RB3 about
code and data, RB4 about effects, RB5 about causes and what they lead to, RB6 and above about everything else.
"""


def pages() -> dict[str, str]:
    explained = getattr(linter, "pages", None)
    found: dict[str, Any] = explained() if callable(explained) else {}
    summaries = linter.summaries()
    rows = [f"| [{code}](#{code.lower()}) | {_cell(text)} |" for code, text in summaries.items()]
    parts = [_HEAD, "| code | meaning |\n|---|---|\n" + "\n".join(rows)]
    for code, text in summaries.items():
        parts.append(f"## {code}\n\n{_cell(text)}")
        parts += [_more(found[code], text)] if code in found else []
    return {"rules.md": "\n\n".join(part for part in parts if part) + "\n"}


def _more(page: Any, summary: str) -> str:
    """The rule's own page, without what stands above it already."""
    text = page if isinstance(page, str) else str(getattr(page, "text", page))
    lines = text.strip().split("\n")
    if lines and lines[0].lstrip("# ").startswith("RB"):
        lines = lines[1:]
    return "\n".join(f"##{line}" if line.startswith("# ") else line for line in lines).strip()


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())
