"""One scalar, or one flow collection that stands on one line: spaces where they belong, quotes only where needed."""

from __future__ import annotations

import re
from typing import Any

from yaml.tokens import (
    AliasToken,
    AnchorToken,
    FlowEntryToken,
    FlowMappingEndToken,
    FlowMappingStartToken,
    FlowSequenceEndToken,
    FlowSequenceStartToken,
    KeyToken,
    ScalarToken,
    ValueToken,
)

from .tree import Leaf

# A text that every reader of YAML, of 1.1 too, takes for text, whatever stands around it. In a flow collection quotes
# around several words help the eye to see where they end.
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_. -]*")
WORDS_OF_YAML = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nan", "inf"])


def needs_no_quotes(text: str, *, in_flow: bool) -> bool:
    """Whether the text can stand plain: letters first, nothing in it that YAML gives a meaning to."""
    allowed = _WORD if in_flow else _PLAIN
    return allowed.fullmatch(text) is not None and text == text.strip() and text.lower() not in WORDS_OF_YAML


def scalar_text(line: str, leaf: Leaf) -> str:
    raw = line[leaf.start[1] : leaf.end[1]]
    token = leaf.tokens[0] if leaf.tokens else None
    whole = isinstance(token, ScalarToken) and raw.startswith(("'", '"'))
    return _scalar(raw, token, in_flow=False) if whole else raw


def _scalar(raw: str, token: Any, *, in_flow: bool) -> str:
    quoted = not token.plain and token.style in ("'", '"')
    return str(token.value) if quoted and needs_no_quotes(token.value, in_flow=in_flow) else raw


def flow_text(line: str, leaf: Leaf) -> str:
    """`{a: 1, b: [x, y]}`: one space after a comma and a colon, none inside the brackets."""
    parts: list[str] = [line[leaf.start[1] : leaf.tokens[0].start_mark.column]]  # an anchor
    for token in leaf.tokens:
        raw = line[token.start_mark.column : token.end_mark.column]
        match token:
            case FlowMappingStartToken() | FlowSequenceStartToken() | FlowMappingEndToken() | FlowSequenceEndToken():
                while raw in "]}" and parts and parts[-1].endswith(", "):
                    parts[-1] = parts[-1][:-2]
                parts.append(raw)
            case FlowEntryToken():
                parts.append(", ")
            case ValueToken():
                parts.append(": ")
            case KeyToken():
                parts.append(raw)
            case ScalarToken():
                parts.append(_scalar(raw, token, in_flow=True))
            case AnchorToken() | AliasToken():
                parts.append(raw + " " if isinstance(token, AnchorToken) else raw)
            case _:
                return line[leaf.start[1] : leaf.end[1]]
    return "".join(parts)
