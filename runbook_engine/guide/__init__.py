"""A playbook as a person reads a guide: meaning, impact, diagnosis, causes, mitigation. Pure: no target, no screen.

`page` says what stands on it; each format writes the same parts its own way, and escapes all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..loader import LoadedPlaybook
from .as_html import html
from .as_markdown import markdown
from .as_text import text
from .page import page

FORMATS: Mapping[str, Callable[[LoadedPlaybook], str]] = {
    "text": lambda loaded: text(page(loaded)),
    "md": lambda loaded: markdown(page(loaded)),
    "html": lambda loaded: html(page(loaded), loaded.playbook.title),
}
