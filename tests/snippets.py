"""Code blocks of the documentation, with where they stand and what is said of those that are not run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]
_FENCE = re.compile(r"^( *)(`{3,})\s*([\w{}-]*)\s*$")
_NOT_RUN = re.compile(r"^<!-- not run: (.+?) -->$")
_COMMAND = re.compile(r"^(?:\$ )?(?:\w+=\$\()?(?P<line>(?:runbook|make)\b.*?)(?:\s{2,}#.*)?$")
SHELLS = ("sh", "bash", "shell", "console")


@dataclass(frozen=True)
class Snippet:
    """One block. `reason` is why it is not run, from `<!-- not run: … -->` on the line above it."""

    page: Path
    line: int
    language: str
    text: str
    reason: str = ""

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """Its `runbook …` and `make …` lines; of a recorded session those behind a prompt, the rest is output."""
        found = []
        for line in self.text.replace("\\\n", " ").splitlines():
            command = _COMMAND.match(line.strip())
            if command and (self.language in SHELLS or not self.language):
                found.append(command["line"].strip())
        return found


def snippets() -> list[Snippet]:
    return [snippet for page in PAGES for snippet in _of_page(page)]


def _of_page(page: Path) -> Iterator[Snippet]:
    lines = page.read_text(encoding="utf-8").splitlines()
    at = 0
    while at < len(lines):
        opened = _FENCE.match(lines[at])
        if opened is None:
            at += 1
            continue
        end = next(
            (
                index
                for index in range(at + 1, len(lines))
                if (closed := _FENCE.match(lines[index])) and len(closed[2]) >= len(opened[2]) and not closed[3]
            ),
            len(lines),
        )
        above = next((line.strip() for line in reversed(lines[:at]) if line.strip()), "")
        reason = _NOT_RUN.match(above)
        text = "\n".join(line.removeprefix(opened[1]) for line in lines[at + 1 : end]) + "\n"
        yield Snippet(page, at + 2, opened[3], text, reason[1] if reason else "")
        at = end + 1
