"""Every code of a complaint: what is wrong, why it matters, how it is mended. From the rules themselves."""

from __future__ import annotations

from runbook_engine import explaining

_HEAD = """# Rules

What `runbook validate` says, by its code; `runbook explain RBnnn` tells the same at the terminal. Codes are stable:
additions only. RB0 is about the text of a file, RB1 about its shape, RB2 about names and expressions, RB3 about
code and data, RB4 about effects, RB5 about causes and what they lead to, RB6 and above about everything else.
"""


def pages() -> dict[str, str]:
    found = explaining.pages()
    rows = [f"| [{code}](#{code.lower()}) | {_cell(page.summary)} |" for code, page in found.items()]
    parts = [_HEAD, "| code | meaning |\n|---|---|\n" + "\n".join(rows)]
    for code, page in found.items():
        parts.append(f"## {code}\n\n{_cell(page.summary)} This is {page.kind}.\n\n{page.why}")
        for word, example in (("Wrong", page.bad), ("Right", page.good)):
            parts += [f"{word}:\n\n```yaml\n{example.strip()}\n```"] if example else []
    return {"rules.md": "\n\n".join(parts) + "\n"}


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())
