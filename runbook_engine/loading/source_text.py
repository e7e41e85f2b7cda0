"""The text of a file, and where in it something is wrong: decoding, lines as YAML counts them, snippets with a caret.

It refuses text that cannot be shown to a reviewer as it is, and never guesses an encoding.
"""

from __future__ import annotations

import re

from ..errors import Complaint, PlaybookError

MOST_BYTES = 1024 * 1024
WIDEST_SNIPPET = 160

_LINE_BREAK = re.compile(r"\r\n|\r|\n")
# Controls, lone surrogates, Unicode's own line breaks (YAML 1.1 counts them as lines, editors do not) and the
# direction overrides with which a reviewed text can differ from the text that runs.
_REFUSED = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)


def readable_text(source: bytes | str, path: str) -> str:
    """The text, or PlaybookError with the place of the first character that may not be in it."""
    size = len(source)
    if size > MOST_BYTES:
        raise _unreadable(path, "", 1, 1, f"the file has {size} bytes, more than {MOST_BYTES}. split it", "RB002")
    text = _decoded(source, path) if isinstance(source, bytes) else source
    refused = _REFUSED.search(text)
    if refused is None:
        return text
    line, column = _count(text, refused.start())
    if refused.start() == 0 and refused[0] == "\ufeff":
        message = "the file begins with a byte order mark. save it as UTF-8 without one"
    elif "\udc80" <= refused[0] <= "\udcff":  # how Python hands over a byte that it could not decode
        message = f"the byte 0x{ord(refused[0]) & 0xFF:02x} is not UTF-8. save the file as UTF-8"
    else:
        message = (
            f"the character U+{ord(refused[0]):04X} cannot stand in a playbook. in double quotes write it as an escape"
        )
    raise _unreadable(path, text, line, column, message, "RB001")


def refused_characters(text: str) -> str:
    """The text with each character that no file may hold as the escape that YAML has for it in double quotes."""
    return _REFUSED.sub(lambda found: f"\\u{ord(found[0]):04X}", text)


def split_lines(text: str) -> list[str]:
    """Lines as YAML counts them; `str.splitlines` would break at more characters than YAML does."""
    return _LINE_BREAK.split(text)


def snippet(lines: list[str], line: int, column: int) -> str:
    """The line, and a caret under its column. Long lines are cut around the column."""
    if not 1 <= line <= len(lines):
        return ""
    text = lines[line - 1].replace("\t", " ")
    start = max(0, column - WIDEST_SNIPPET // 2) if len(text) > WIDEST_SNIPPET else 0
    return f"{line:5} | {text[start : start + WIDEST_SNIPPET]}\n      | {' ' * max(0, column - 1 - start)}^"


def complaint_at(lines: list[str], path: str, line: int, column: int, message: str, code: str) -> Complaint:
    """A complaint with its snippet."""
    return Complaint(path, line, column, message, code, snippet(lines, line, column))


def _decoded(source: bytes, path: str) -> str:
    try:
        return source.decode("utf-8")
    except UnicodeDecodeError as error:
        before = source[: error.start].decode("utf-8", "replace")
        line, column = _count(before, len(before))
        message = f"the byte 0x{source[error.start]:02x} is not UTF-8. save the file as UTF-8"
        raise _unreadable(path, before, line, column, message, "RB001") from error


def _count(text: str, offset: int) -> tuple[int, int]:
    before = split_lines(text[:offset])
    return len(before), len(before[-1]) + 1


def _unreadable(path: str, text: str, line: int, column: int, message: str, code: str) -> PlaybookError:
    lines = split_lines(_REFUSED.sub("\ufffd", text))
    return PlaybookError((complaint_at(lines, path, line, column, message, code),))
