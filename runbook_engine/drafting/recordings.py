"""Recorded sessions to the commands that were typed, and what they printed: typescript, asciinema, text, history.

Only what the screen showed is read. What was typed without being shown, a password, is in no output; recorded
keystrokes are never looked at. Nothing is run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from ..errors import UsageError

LARGEST = 10 << 20  # bytes
MOST_LINES = 20_000
LONGEST_LINE = 4_000
MOST_OUTPUT = 40
MOST_UNREADABLE = 20  # one character of so many may be none of UTF-8: a program printed it in another encoding

Prompt = Literal["shell", "psql", "redis"]


@dataclass(slots=True)
class Typed:
    """One command, where it was typed, and the first lines that came back."""

    prompt: Prompt
    text: str
    output: list[str] = field(default_factory=list)


_PROMPTS: tuple[tuple[Prompt, re.Pattern[str]], ...] = (
    ("psql", re.compile(r"^[\w.-]+=[>#*!]+(?: (?P<typed>.*))?$")),
    ("redis", re.compile(r"^(?:[\w.-]+:\d{1,5}|redis [^>\s]+)(?:\[\d+\])?(?:\(TX\))?>(?: (?P<typed>.*))?$")),
    # me@host:~/work$, [me@host work]#, (venv) me@host:~$; `# x` without a name before it is a comment.
    ("shell", re.compile(r"^(?:\([\w .-]{1,40}\) ?)?\[?[\w.-]+@[\w.-]+[^$#%>\n]{0,200}[$#%>](?: (?P<typed>.*))?$")),
    ("shell", re.compile(r"^(?:\([\w .-]{1,40}\) ?)?(?:[~/][\w./~-]{0,100} ?)?[$%❯➜](?: +(?P<typed>.*))?$")),
    ("shell", re.compile(r"^(?:ba|z|k|da)?sh-?[\d.]*[$#](?: (?P<typed>.*))?$")),
)
_CONTINUED = {"psql": re.compile(r"^[\w.-]+[-('\"$*][>#] ?(?P<typed>.*)$"), "shell": re.compile(r"^> ?(?P<typed>.*)$")}
_HISTORY = re.compile(r"^(?: {0,6}\d{1,6}[ *] {0,2})?(?:: \d+:\d+;)?(?P<typed>.*)$")
_NUMBERED = re.compile(r"^ {0,6}\d{1,6}[ *] {1,2}\S")
_SCRIPT_FRAME = re.compile(r"^Script (?:started|done)\b")


def read_session(content: bytes, where: str) -> list[Typed]:
    """Every command that a recording shows. Raises UsageError when it shows none."""
    if len(content) > LARGEST:
        raise UsageError(f"{where} is larger than {LARGEST >> 20} MiB; cut the recording down to what matters")
    text = content.decode("utf-8", "replace")
    if text.count("\ufffd") * MOST_UNREADABLE > len(text):
        raise UsageError(f"{where} is no text; expected what a screen showed, or the lines of a shell's history")
    lines = screen_lines(_cast(text, where) if _is_cast(text) else text)[:MOST_LINES]
    lines = [line[:LONGEST_LINE] for line in lines if not _SCRIPT_FRAME.match(line)]
    found = [each for each in _typed(lines) if each.text.strip()]
    found = found or [each for each in _history(lines) if each.text.strip()]
    if not found:
        raise UsageError(
            f"{where} shows no command; expected a recording by `script` or asciinema, lines such as `$ df -h` with "
            "what they printed, or the lines of a shell's history"
        )
    return found


def _is_cast(text: str) -> bool:
    head = text.lstrip().partition("\n")[0]
    return head.startswith("{") and '"version"' in head


def _cast(text: str, where: str) -> str:
    """What asciinema's player would show: the output events. Keystrokes (`i`) may hold a password and are left out."""
    shown = []
    for number, line in enumerate(text.splitlines()):
        if not line.strip() or number == 0 or line.startswith("#"):
            continue
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            raise UsageError(f"{where}:{number + 1}: this is no event of asciinema; the recording is damaged") from None
        if isinstance(event, list) and len(event) == 3 and event[1] == "o" and isinstance(event[2], str):
            shown.append(event[2])
    return "".join(shown).encode("utf-8", "replace").decode("utf-8")


_ESCAPES = re.compile(
    r"\x1b\[(?P<numbers>[0-?]{0,32})[ -/]{0,4}(?P<final>[@-~])"  # cursor and colours
    r"|\x1b[\]PX^_][^\x07\x1b]{0,8192}(?:\x07|\x1b\\)?"  # titles, links
    r"|\x1b[ -/]{0,3}[0-~]|\x1b"
    r"|(?P<control>[\x00-\x08\x0b-\x1f\x7f\x80-\x9f])"
    r"|(?P<plain>[^\x00-\x08\x0b-\x1f\x7f-\x9f\n]+)"
    r"|(?P<end>\n)"
)


def screen_lines(text: str) -> list[str]:
    """Lines as they stood on the screen in the end: typing mistakes erased, colours and titles gone."""
    lines: list[str] = []
    line: list[str] = []
    column = 0
    for found in _ESCAPES.finditer(text):
        if found["end"]:
            lines.append("".join(line).rstrip())
            line, column = [], 0
            if len(lines) > MOST_LINES:
                return lines
        elif found["plain"]:
            for character in found["plain"][: LONGEST_LINE * 2]:
                if column < len(line):
                    line[column] = character
                elif column < LONGEST_LINE * 2:
                    line += [" "] * (column - len(line)) + [character]
                column += 1
        elif found["control"]:
            column = {"\r": 0, "\b": max(0, column - 1)}.get(found["control"], column)
        elif found["final"]:
            column = _edited(line, column, found["numbers"], found["final"])
    return [*lines, "".join(line).rstrip()]


def _edited(line: list[str], column: int, numbers: str, final: str) -> int:
    """What an editor of command lines does: move, erase, delete, insert."""
    first = numbers.split(";")[0]
    count = min(int(first), LONGEST_LINE) if first.isdigit() else 0
    match final:
        case "K" if count == 0:
            del line[column:]
        case "K":
            line[:] = [] if count == 2 else [" "] * min(column, len(line)) + line[column:]
        case "P":
            del line[column : column + max(1, count)]
        case "@" if column <= len(line):
            line[column:column] = [" "] * max(1, count)
        case "C":
            return min(column + max(1, count), LONGEST_LINE)
        case "D":
            return max(0, column - max(1, count))
        case "G":
            return max(0, count - 1)
        case "J" if count == 2:
            line.clear()
            return 0
    return column


def _typed(lines: list[str]) -> Iterator[Typed]:
    """Commands by their prompts. What stands between is output; a continued line belongs to its command."""
    current: Typed | None = None
    for line in lines:
        prompt, typed = _prompt(line)
        if prompt is not None:
            if current is not None:
                yield current
            current = Typed(prompt, typed)
            continue
        if current is None:
            continue
        more = _CONTINUED[current.prompt].match(line) if current.prompt in _CONTINUED else None
        if more and not current.output and (current.prompt == "psql" or _is_open(current.text)):
            current.text = f"{current.text.removesuffix(chr(92))}\n{more['typed']}"
        elif len(current.output) < MOST_OUTPUT:
            current.output.append(line)
    if current is not None:
        yield current


def _is_open(text: str) -> bool:
    return text.endswith(("\\", "|", "&&")) or text.count("'") % 2 == 1 or text.count('"') % 2 == 1


def _prompt(line: str) -> tuple[Prompt | None, str]:
    for kind, pattern in _PROMPTS:
        found = pattern.match(line)
        if found:
            return kind, (found["typed"] or "").strip()
    return None, ""


def _history(lines: list[str]) -> Iterator[Typed]:
    """Without any prompt each line is a command: bash's history with its times, zsh's, or that of `history`."""
    numbered = sum(_NUMBERED.match(line) is not None for line in lines) > len(lines) // 2
    for line in lines:
        if re.match(r"#\d{9,}$", line) or line.startswith("#"):
            continue
        found = _HISTORY.match(line) if numbered or line.startswith(": ") else None
        yield Typed("shell", (found["typed"] if found else line).strip())
