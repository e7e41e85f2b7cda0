"""Pages of the documentation that are made of the program itself: nothing of them is kept by hand, or in git.

`PAGES` are functions without arguments, each giving pages by their file names below `docs/generated/`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from . import commands, executors, language, playbooks, prose, rules

Pages = Mapping[str, str]
MAKERS: tuple[Callable[[], Pages], ...] = (
    prose.pages,
    language.pages,
    executors.pages,
    rules.pages,
    commands.pages,
    playbooks.pages,
)


def pages() -> dict[str, str]:
    """Every page: its file name and its text."""
    return {name: text for make in MAKERS for name, text in make().items()}


def write(folder: Path) -> None:
    """Below `folder`. A page that says the same is left alone, one that nobody makes any more is removed."""
    made = pages()
    for old in sorted(folder.rglob("*.md")):
        if str(old.relative_to(folder)) not in made:
            old.unlink()
    for name, text in made.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
