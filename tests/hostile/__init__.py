"""The hostile corpus: files that somebody may hand to the engine, by mistake or on purpose. Always the same ones.

`make fuzz` measures what each costs; `test_hostile.py` proves that each is answered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from . import graphs, language, mutations, others, shapes, texts
from .files import Hostile, Made, Reader
from .others import LIBRARIES

__all__ = ["FAMILIES", "LIBRARIES", "Hostile", "corpus"]

FAMILIES: Mapping[str, Callable[[], Made]] = {
    "bombs": shapes.bombs,
    "nesting": shapes.nesting,
    "sizes": shapes.sizes,
    "keys": shapes.keys,
    "tags": shapes.tags,
    "documents": shapes.documents,
    "encodings": texts.encodings,
    "acting-text": texts.acting,
    "acting-prose": texts.titles,
    "numbers": texts.numbers,
    "expressions": language.expressions,
    "patterns": language.patterns,
    "templates": language.templates,
    "sql": language.sql,
    "scripts": language.scripts,
    "requests": language.requests,
    "dependencies": graphs.dependencies,
    "causes": graphs.causes,
    "many": graphs.many,
    "cases": others.cases,
    "libraries": others.libraries,
    "uses": others.used,
    "environments": others.environments,
    "cassettes": others.cassettes,
    "alerts": others.alerts,
    "mutated-bytes": mutations.of_bytes,
    "mutated-tokens": mutations.of_tokens,
    "mutated-lines": mutations.of_lines,
}
READERS: Mapping[str, Reader] = {"cassettes": "cassette", "alerts": "alert"}


@cache
def corpus() -> tuple[Hostile, ...]:
    """Every file of every family, each different from all others."""
    return tuple(
        Hostile(family, name, _bytes(content), READERS.get(family, "validate"))
        for family, make in FAMILIES.items()
        for name, content in make()
    )


def _bytes(content: str | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
