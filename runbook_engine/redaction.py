"""Masks secrets in everything that leaves: screen, reports, journal, errors. Pure.

Two nets: values that are known, in every encoding they usually travel in, and text that looks like a secret. It cannot
see a secret that was reversed, cut in half, re-wrapped or upper-cased, and is no licence to print one.
"""

from __future__ import annotations

import base64
import bisect
import html
import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from .secret_patterns import found, names_secret

if TYPE_CHECKING:
    from .executor import Json

SHORTEST = 6
MASK = "***"
_ROUNDS = 4
_STEM = 12  # long needles are found faster
_LINE_OF_SECRET = 16  # a key file is also known by its lines


@dataclass(frozen=True, slots=True)
class _Known:
    """One secret. `core` stands in each of the `escaped` forms, each stem in its `opaque` ones."""

    name: str
    mask: str
    core: str
    escaped: tuple[str, ...]
    opaque: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int
    mask: str
    kind: str


class Redactor:
    """Knows the secrets of one run, and counts what it masked in `hits`, by name of the secret or kind of pattern.

    `public` are words that are no secret even where they serve as a password, the name of the database for instance.
    """

    def __init__(self, values: Mapping[str, str], *, public: Collection[str] = ()) -> None:
        self.warnings: list[str] = []
        self.hits: Counter[str] = Counter()
        usable = {name: value for name, value in values.items() if value and self._usable(name, value, public)}
        self._known = [_know(name, value, usable.values()) for name, value in usable.items()]
        masks = sorted({known.mask for known in self._known} | {MASK}, key=len, reverse=True)
        self._masks = re.compile("|".join(map(re.escape, masks)))

    def _usable(self, name: str, value: str, public: Collection[str]) -> bool:
        if value in public:
            self.warnings.append(f"secret {name} is a word shown anyway and is not masked. choose a real secret")
        elif len(value) < SHORTEST:
            self.warnings.append(
                f"secret {name} has fewer than {SHORTEST} characters: masking it would hide plain text, so it is not "
                "masked. choose a longer one"
            )
        else:
            return True
        return False

    def text(self, text: str, *, patterns: bool = True) -> str:
        """The text with its secrets masked. Without `patterns` only known ones, for text that must stay as it is."""
        masked = self._masked(text, patterns)
        if "\x1b" not in masked and "\x9b" not in masked:
            return masked
        # A colour in the middle of a secret would hide it. Where there is none the text stays to the last byte: what
        # was read is what an act or an undo binds, and the screen escapes at its own edge.
        plain = _strip_ansi(masked)
        hidden = self._masked(plain, patterns)
        return masked if hidden == plain else hidden

    def json(self, value: Json, *, patterns: bool = True) -> Json:
        """The same structure, secrets masked in strings, in keys, and under keys that name one.

        A key that is a plain word stays: it is the name of a field, whatever somebody chose as a password.
        """
        strings = list(_strings(value))
        suspicious = self._suspicious(strings, patterns)
        return self._walk(value, suspicious, patterns)

    def _masked(self, text: str, patterns: bool) -> str:
        if len(text) < SHORTEST:
            return text
        # What stood glued to one secret may show as another once that one is masked.
        for _ in range(_ROUNDS):
            spans = self._spans(text, patterns)
            if not spans:
                break
            text = self._without(spans, text)
        return text

    def _without(self, spans: list[_Span], text: str) -> str:
        parts: list[str] = []
        position = 0
        for span in spans:
            self.hits[span.kind] += 1
            parts += text[position : span.start], span.mask
            position = span.end
        return "".join([*parts, text[position:]])

    def _spans(self, text: str, patterns: bool) -> list[_Span]:
        known = [span for secret in self._known for span in _occurrences(secret, text)]
        alike = [_Span(start, end, MASK, kind) for start, end, kind in found(text)] if patterns else []
        if not known and not alike:
            return []
        masked = [(match.start(), match.end()) for match in self._masks.finditer(text)]
        known = [span for span in known if not _inside(span, masked)]
        alike = [span for span in alike if not _touches(span, masked)]
        return _merged(known, alike)

    def _suspicious(self, strings: list[str], patterns: bool) -> set[str]:
        """Which of many strings hold a secret, found by looking at all of them at once."""
        if not strings:
            return set()
        starts = list(accumulate((len(each) + 1 for each in strings), initial=0))
        suspicious = {each for each in strings if "\x1b" in each or "\x9b" in each}
        for span in self._spans("\n".join(strings), patterns):
            first = bisect.bisect_right(starts, span.start) - 1
            last = bisect.bisect_left(starts, span.end)
            suspicious.update(strings[first:last])
        return suspicious

    def _walk(self, value: Json, suspicious: Collection[str], patterns: bool) -> Json:
        match value:
            case str():
                return self.text(value, patterns=patterns) if value in suspicious else value
            case dict():
                return {
                    self._key(key, suspicious, patterns): self._hidden(each, suspicious, patterns)
                    if patterns and isinstance(key, str) and names_secret(key)
                    else self._walk(each, suspicious, patterns)
                    for key, each in value.items()
                }
            case list() | tuple():
                return self._walk_list(value, suspicious, patterns)
        return value

    def _key(self, key: Json, suspicious: Collection[str], patterns: bool) -> Json:
        return key if isinstance(key, str) and _PLAIN_KEY.fullmatch(key) else self._walk(key, suspicious, patterns)

    def _walk_list(self, values: Json, suspicious: Collection[str], patterns: bool) -> Json:
        walked: list[Json] = []
        before: Json = None
        for each in values:
            # Redis answers `CONFIG GET` as names and values in turn, and takes a password as the word after AUTH.
            hide = patterns and isinstance(before, str) and before.lower() in _WORDS_BEFORE
            walked.append((self._hidden if hide else self._walk)(each, suspicious, patterns))
            before = each
        return walked

    def _hidden(self, value: Json, suspicious: Collection[str], patterns: bool) -> Json:
        """What stands under a key that names a secret: text and numbers go, the shape, flags and emptiness stay."""
        match value:
            case bool() | None | "":
                return value
            case str():
                shown = self._walk(value, suspicious, patterns)
                if self._masks.fullmatch(shown) or _STAND_IN.fullmatch(shown):
                    return shown
                self.hits["key"] += 1
                return MASK
            case int() | float():
                self.hits["key"] += 1
                return MASK
            case list() | tuple():
                return [self._hidden(each, suspicious, patterns) for each in value]
        return self._walk(value, suspicious, patterns)


_PLAIN_KEY = re.compile("[A-Za-z][A-Za-z_]*")
_WORDS_BEFORE = frozenset(
    {"auth", "requirepass", "masterauth", "--password", "--pass", "--token", "--secret", "--api-key"}
)
_STAND_IN = re.compile(r"\$\{\{[^}]*\}\}|\$\{?\w+\}?")


def _know(name: str, value: str, values: Collection[str]) -> _Known:
    mask = f"[secret {name}]"
    if any(each in mask for each in values):  # the mask itself would tell
        mask = MASK
    raw = [value, _strip_ansi(value), *(line for line in value.splitlines() if _telling_line(line))]
    escaped = sorted({form for each in raw for form in _escaped(each)}, key=len, reverse=True)
    opaque = {form for each in raw for form in _opaque(each)}
    cores = re.findall("[A-Za-z0-9_]+", value) if len(set(raw)) == 1 else []
    return _Known(name, mask, max(cores, key=len, default=""), tuple(escaped), _by_stem(opaque))


def _by_stem(forms: Collection[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    stems: dict[str, list[str]] = {}
    for form in sorted(forms, key=len, reverse=True):
        stems.setdefault(form[:_STEM], []).append(form)
    return tuple((stem, tuple(group)) for stem, group in stems.items())


def _telling_line(line: str) -> bool:
    return len(line) >= _LINE_OF_SECRET and not line.startswith("-----")


def _escaped(value: str) -> Iterator[str]:
    """Forms that keep letters and digits as they are."""
    for text in {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}:
        yield text
        yield _as_go(text)
        yield text.replace("/", "\\/")
        yield json.dumps(text)[1:-1]
        yield _as_go(json.dumps(text)[1:-1])
        yield json.dumps(_as_go(text))[1:-1]
        yield json.dumps(_as_go(text), ensure_ascii=False)[1:-1]
        yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield from (
        repr(value)[1:-1],
        repr(value.encode("utf-8", "replace"))[2:-1],
        repr(value + "'")[1:-2],
        repr(value + "\"'")[1:-4],
    )
    yield from (value.replace("'", "'\\''"), value.replace("'", "'\"'\"'"), re.sub(r'([\\"$`])', r"\\\1", value))
    yield re.sub(r'([\\"$`!])', r"\\\1", value)
    yield from (value.replace("'", "''"), value.replace("'", "\\'"), value.replace("\\", "\\\\").replace("'", "''"))
    yield from _in_url(value)
    yield from (
        html.escape(value),
        html.escape(value, quote=False),
        html.escape(value).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
    )
    yield from (_in_yaml(value), _ascii_yaml(value), value.replace("\n", "\\n"), value.replace("\n", "\r\n"))


def _as_go(text: str) -> str:
    """Go's encoding/json also escapes what could end an HTML element."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _in_url(value: str) -> Iterator[str]:
    encodable = value.encode("utf-8", "replace")
    for encoded in (
        quote(encodable, safe=""),
        quote(encodable),
        quote_plus(encodable),
        quote(encodable, safe="!$&'()*+,;=:@/?~"),
        quote(encodable, safe="!'()*~"),
    ):
        yield encoded
        yield re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), encoded)


def _in_yaml(value: str) -> str:
    named = {"\0": "\\0", "\a": "\\a", "\v": "\\v", "\x1b": "\\e", "\x85": "\\N", "\xa0": "\\_"}
    text = json.dumps(value, ensure_ascii=False)[1:-1]
    return "".join(named.get(char, f"\\x{ord(char):02X}" if 0x7F <= ord(char) < 0x100 else char) for char in text)


def _ascii_yaml(value: str) -> str:
    return re.sub("[^ -~]", lambda match: _yaml_escape(ord(match[0])), _in_yaml(value))


def _yaml_escape(code: int) -> str:
    return f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"


def _opaque(value: str) -> Iterator[str]:
    """Forms in which nothing of the value can be recognised."""
    encoded = value.encode("utf-8", "replace")
    yield encoded.hex()
    yield encoded.hex().upper()
    for each in {
        encoded,
        json.dumps(value)[1:-1].encode(),
        _as_go(json.dumps(value, ensure_ascii=False)[1:-1]).encode("utf-8", "replace"),
    }:
        for shift in range(3):
            yield from _base64_within(each, shift)


def _base64_within(encoded: bytes, shift: int) -> Iterator[str]:
    """The characters that the value alone decides when it stands `shift` bytes after a group's beginning."""
    text = base64.b64encode(b"\0" * shift + encoded).decode()
    whole = 8 * (shift + len(encoded)) // 6
    certain = text[(0, 2, 3)[shift] : whole]
    yield certain
    yield certain.replace("+", "-").replace("/", "_")


def _occurrences(secret: _Known, text: str) -> Iterator[_Span]:
    forms = [form for stem, group in secret.opaque if stem in text for form in group]
    if secret.core in text:
        forms += secret.escaped
    for form in forms:
        position = text.find(form)
        while position >= 0:
            yield _Span(position, position + len(form), secret.mask, secret.name)
            position = text.find(form, position + len(form))


def _inside(span: _Span, masked: list[tuple[int, int]]) -> bool:
    index = bisect.bisect_right(masked, (span.start, len(masked) + span.end)) - 1
    return index >= 0 and masked[index][0] <= span.start and span.end <= masked[index][1]


def _touches(span: _Span, masked: list[tuple[int, int]]) -> bool:
    index = bisect.bisect_left(masked, (span.end, 0)) - 1
    return index >= 0 and masked[index][1] > span.start


def _merged(known: list[_Span], alike: list[_Span]) -> list[_Span]:
    """Spans in order that do not overlap. Where they do, all goes, named after a known secret if there is one."""
    named = set(map(id, known))
    merged: list[_Span] = []
    sure = False
    for span in sorted([*known, *alike], key=lambda span: (span.start, -span.end)):
        if merged and span.start < merged[-1].end:
            last = merged[-1]
            better = span if id(span) in named and not sure else last
            sure = sure or id(span) in named
            merged[-1] = _Span(last.start, max(last.end, span.end), better.mask, better.kind)
        else:
            merged.append(span)
            sure = id(span) in named
    return merged


_ANSI = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]{0,64}[ -/]{0,8}[@-~]"  # colours and cursor
    "|\x1b\\][^\x07\x1b\x9c]{0,4096}(?:\x07|\x1b\\\\|\x9c)"  # titles, links, clipboard
    "|\x1b[()*+][A-Z0-9]"  # character sets
)


def _strip_ansi(text: str) -> str:
    if "\x1b" not in text and "\x9b" not in text:
        return text
    return _ANSI.sub("", text).replace("\x1b", "\u241b").replace("\x9b", "<009B>")


def _strings(value: Json) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for key, each in value.items():
                yield from _strings(key)
                yield from _strings(each)
        case list() | tuple():
            for each in value:
                yield from _strings(each)
