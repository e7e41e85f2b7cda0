"""What a bundle leaves out of answers beyond secrets: literals of SQL, names before an @, arguments of Redis commands.

A bundle leaves the machine, perhaps the company. Pure. It must never change the shape of an answer, and is applied to
answers before anything else sees them, so that all that is derived from them is without these too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

Json = Any
MASK = "***"

_SQL = re.compile(
    r"\bselect\b[^\n]{0,500}\bfrom\b|\binsert\s+into\b|\bupdate\s+\S{1,200}\s+set\b|\bdelete\s+from\b|\bvalues\s*\("
    r"|\bwhere\s+[^\n]{1,200}(?:=|<|>|\bin\b|\blike\b)|\bcopy\s+\S{1,200}\s+(?:from|to)\b|\bcall\s+\S{1,200}\(",
    re.IGNORECASE,
)
# A statement that was cut off may end within a literal.
_LITERAL = re.compile(r"'(?:[^']|'')*(?:'|$)")
_DOLLARS = re.compile(r"\$(\w{0,30})\$.*?(?:\$\1\$|$)", re.DOTALL)
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?=[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,5}\.[A-Za-z]{2})"
)
# Where numbers were taken out of a key or a token, nothing else would know it for what it is.
_BROKEN = re.compile(r"(?<![A-Za-z0-9_#>-])(?:eyJ(?:[A-Za-z0-9_.-]|#|<n>){16,}|(?:[A-Za-z0-9_-]|#|<n>){16,})")
_CUT_WORD = re.compile(r"[A-Za-z](?:#|<n>)[A-Za-z]")
_KEPT_WORDS = 2  # of a slow command: its name and its key


def scrubbed(value: Json, hits: Counter[str]) -> Json:
    """The same structure, every text without literals of SQL and without the names of e-mail addresses."""
    match value:
        case str():
            return _text(value, hits)
        case dict():
            bare = _without_arguments(value, hits)
            return {
                _text(key, hits) if isinstance(key, str) else key: scrubbed(each, hits) for key, each in bare.items()
            }
        case list() | tuple():
            return [scrubbed(each, hits) for each in value]
    return value


def _without_arguments(entry: Mapping[str, Json], hits: Counter[str]) -> Mapping[str, Json]:
    """SLOWLOG holds whole commands, and their arguments are anybody's data."""
    words = entry.get("command")
    if "microseconds" not in entry or not isinstance(words, list) or len(words) <= _KEPT_WORDS:
        return entry
    hits["redis-arguments"] += 1
    return {**entry, "command": [*words[:_KEPT_WORDS], f"({len(words) - _KEPT_WORDS} more)"]}


def _text(text: str, hits: Counter[str]) -> str:
    if "@" in text:
        text, found = _EMAIL.subn(f"{MASK}@", text)
        hits["email"] += found
    if "#" in text or "<n>" in text:
        text = _BROKEN.sub(lambda found: _whole(found, hits), text)
    if "'" not in text and "$" not in text:
        return text
    # Line by line: one apostrophe in a log must not swallow what follows it.
    return "\n".join(_without_literals(line, hits) for line in text.split("\n"))


def _whole(found: re.Match[str], hits: Counter[str]) -> str:
    if not (found[0].startswith("eyJ") or _CUT_WORD.search(found[0])):
        return found[0]
    hits["token"] += 1
    return "<token>"


def _without_literals(line: str, hits: Counter[str]) -> str:
    if not ("'" in line or "$" in line) or not _SQL.search(line):
        return line
    line, quoted = _LITERAL.subn("?", line)
    line, dollars = _DOLLARS.subn("?", line)
    hits["sql-literal"] += quoted + dollars
    return line


def compose_settings(document: Json) -> Json:
    """A compose project as it is written, without the values of variables and of inline secrets and configs."""
    if not isinstance(document, Mapping):
        return None
    kept = {key: document[key] for key in ("name", "networks", "volumes") if key in document}
    services = document.get("services")
    found = services.items() if isinstance(services, Mapping) else ()
    return {**kept, "services": {name: _service(each) for name, each in found}}


def _service(service: Json) -> Json:
    if not isinstance(service, Mapping):
        return None
    hidden = {key: _names(service[key]) for key in ("environment", "build", "labels") if key in service}
    return {**service, **hidden}


def _names(values: Json) -> Json:
    """The names of variables, and values that only name another variable."""
    if isinstance(values, Mapping):
        return {name: each if re.fullmatch(r"\$\{\w+\}|\$\w+", str(each)) else MASK for name, each in values.items()}
    if isinstance(values, list):
        return [str(each).partition("=")[0] for each in values]
    return MASK
