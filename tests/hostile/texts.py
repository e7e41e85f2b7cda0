"""Files that are hostile as text: encodings, controls, what acts on a terminal, numbers that are none."""

from __future__ import annotations

import json

from .files import ACTION, SYMPTOM, Made, block, playbook

# What a byte may not be in UTF-8: never, alone, cut short, too long, beyond the end, half a pair.
NOT_UTF8 = {
    "ff": b"\xff",
    "fe": b"\xfe",
    "continuation-alone": b"\x80",
    "continuations": b"\xbf" * 50,
    "cut-2": b"\xc3",
    "cut-3": b"\xe2\x82",
    "cut-4": b"\xf0\x9f\x98",
    "overlong-slash": b"\xc0\xaf",
    "overlong-nul": b"\xc0\x80",
    "overlong-3": b"\xe0\x80\xaf",
    "overlong-4": b"\xf0\x80\x80\xaf",
    "surrogate": b"\xed\xa0\x80",
    "surrogate-pair": b"\xed\xa0\xbd\xed\xb8\x80",
    "too-high": b"\xf4\x90\x80\x80",
    "five-bytes": b"\xf8\x88\x80\x80\x80",
    "six-bytes": b"\xfc\x84\x80\x80\x80\x80",
    "latin-1": "größe".encode("latin-1"),
    "shift-jis": "障害".encode("shift_jis"),
    "gb18030": "故障".encode("gb18030"),
}
# As characters, where a person would see them, and what they would do to a screen.
ACTING = {
    "escape-clear": "\x1b[2J\x1b[H",
    "escape-colour": "\x1b[31mred\x1b[0m",
    "escape-title": "\x1b]0;owned\x07",
    "escape-clipboard": "\x1b]52;c;b3duZWQ=\x07",
    "escape-link": "\x1b]8;;http://evil\x1b\\x\x1b]8;;\x1b\\",
    "escape-report": "\x1b[6n\x1b[c",
    "csi-8bit": "\x9b2J",
    "osc-8bit": "\x9d0;owned\x9c",
    "backspace": "safe\b\b\b\bevil",
    "return": "safe\revil",
    "bell": "\a",
    "nul": "a\0b",
    "delete": "a\x7fb",
    "vertical-tab": "a\x0bb\x0cc",
    "bidi-override": "a\u202eb",
    "bidi-isolate": "a\u2066b\u2069",
    "bidi-embedding": "a\u202ab\u202c",
    "bidi-mark": "a\u200fb\u061cc",
    "zero-width": "a\u200bb\u200dc\u2060d",
    "soft-hyphen": "a\u00adb",
    "tag-letters": "a" + "".join(chr(0xE0000 + ord(letter)) for letter in "evil"),
    "variation": "a\ufe0fb\U000e0100c",
    "line-separator": "a\u2028b\u2029c",
    "next-line": "a\u0085b",
    "byte-order-mark": "a\ufeffb",
    "noncharacter": "a\uffffb\ufdd0c\U0001ffffd",
    "combining": "a" + "\u0301" * 500,
    "filler": "a\u3164b\u115fc\uffa0d",
    "braille-blank": "a\u2800b",
    "private": "a\ue000b",
    "wide": "障" * 3_000,
    "look-alike": "wаiting",
    "emoji": "👩‍👩‍👧‍👦" * 100,
}
# The same written as escapes of YAML: these pass a look at the bytes.
ESCAPED = {
    "escape": "\\e[2J",
    "escape-u": "\\u001b]52;c;b3duZWQ=\\a",
    "nul": "\\0",
    "bell": "\\a",
    "bidi": "\\u202e",
    "surrogate": "\\ud800",
    "surrogate-pair": "\\ud83d\\ude00",
    "beyond": "\\UFFFFFFFF",
    "next-line": "\\N",
    "separator": "\\L\\P",
    "backspace": "\\b\\b\\b\\b",
    "return": "\\r",
    "csi": "\\x9b",
    "tag-letters": "\\U000E0065\\U000E0076",
    "delete": "\\x7f",
    "noncharacter": "\\uffff",
}


def encodings() -> Made:
    plain = block("").encode()
    for name, wrong in NOT_UTF8.items():
        yield f"in-a-value-{name}", plain + b"about: " + wrong + b"\n"
        yield f"first-{name}", wrong + plain
    yield "a-megabyte-of-ff", b"\xff" * 1_000_000
    yield "a-megabyte-of-latin-1", b"title: " + b"\xe9" * 1_000_000
    yield "last-byte-of-a-megabyte", b"# " + b"x\n# " * 250_000 + b"\xff"
    for codec in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "utf-7", "utf-8-sig", "cp037"):
        yield codec, block("about: größe\n").encode(codec, errors="replace")
    yield "two-marks", b"\xef\xbb\xbf\xef\xbb\xbf" + plain
    yield "mark-in-the-midst", plain + b"\xef\xbb\xbf" + b"about: x\n"
    yield "gzip", bytes.fromhex("1f8b08000000000000ff") + b"x" * 100
    yield "elf", b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 50
    yield "every-byte", bytes(range(256))
    yield "every-byte-twice", bytes(byte for byte in range(256) for _ in range(2))
    yield "nuls", b"\0" * 100_000
    yield "nul-first", b"\0" + plain
    yield "carriage-returns", plain.replace(b"\n", b"\r")
    yield "every-line-end", plain.replace(b"\n", b"\r\n", 3).replace(b"\n", b"\r", 5)


def acting() -> Made:
    """In the name, a key, an id, a value, a comment: wherever a complaint quotes it."""
    for name, text in ACTING.items():
        yield f"everywhere-{name}", _everywhere(text)
    for name, written in ESCAPED.items():
        yield f"escaped-{name}", _escaped(written)


def _everywhere(text: str) -> bytes:
    made = playbook(
        name=f"x{text}",
        title=text,
        about=text,
        **{f"key{text}": text},
        causes=[{"id": f"c{text}", "needs": f"unknown{text} > 1", "fix": [f"f{text}"], "see": f"p{text}"}],
        resolution=[{**ACTION, "id": f"a{text}", "effect": text, "target": text}],
    )
    return f"# {text}\n{made}".encode("utf-8", "surrogatepass")


def _escaped(written: str) -> str:
    q = f'"x{written}"'
    return block(
        f"{q}: 1\nabout: {q}\narea: {q}\nexplains: [{q}]\n"
        f"diagnosis:\n  - {{id: {q}, title: {q}, sql: {q}, target: {q}, facts: {{{q}: {q}}}, effect: {q}}}\n"
        f"  - {{id: more, redis: [{q}, {q}], with: {{{q}: {q}}}, use: {q}}}\n"
        f"causes:\n  - {{id: one, needs: {q}, title: {q}, fix: [{q}], for: [{{when: {q}, says: {q}}}]}}\n"
    )


def titles() -> Made:
    """Sound playbooks whose prose acts on a terminal: they load, and are shown."""
    for name, written in ESCAPED.items():
        if name in ("nul", "surrogate", "surrogate-pair", "beyond"):
            continue
        text = f'"a{written}b"'
        yield (
            name,
            (
                f"runbook: 1\nname: hostile\ntitle: {text}\nabout: {text}\nowner: {text}\nnotes: [{text}]\n"
                f"not_for: {text}\nlinks: [{text}]\ntargets: {{redis: redis}}\n"
                f"alerts: [{{alertname: {text}, {text}: {text}}}]\n"
                f"inputs: {{queue: {{type: string, default: {text}, help: {text}}}}}\n"
                f"symptoms:\n  - {{id: waiting, title: {text}, redis: [GET, {text}], facts: {{pong: result}}, "
                "present: pong != 'PONG'}\n"
                f"causes:\n  - id: one\n    title: {text}\n    needs: pong == 1\n    advice: {text}\n"
                f"    for: [{{when: pong == 2, says: {text}}}]\n    fix: [mend]\n"
                f"resolution:\n  - {{id: mend, title: {text}, about: {text}, effect: destructive, "
                f"redis: [DEL, {text}], impact: {{count: 1, of: {text}}}, verify: {{until: pong == 3}}}}\n"
            ),
        )


def numbers() -> Made:
    values = {
        "5000-digits": "9" * 5_000,
        "a-million-digits": "9" * 60_000,
        "negative": "-" + "9" * 5_000,
        "hex": "0x" + "f" * 5_000,
        "octal": "0o" + "7" * 5_000,
        "exponent": "1e999999999",
        "fraction": "0." + "1" * 60_000,
        "tiny": "1e-999999999",
        "infinite": ".inf",
        "not-a-number": "-.nan",
        "underscores": "1_000_000",
        "sexagesimal": "190:20:30",
        "date": "2001-02-30",
        "date-far": "99999999999-12-31T99:99:99Z",
        "binary": "0b" + "1" * 5_000,
        "digits-of-elsewhere": "٣٤٥",
        "superscript": "10²",
        "minus-zero": "-0",
        "dots": "1.2.3.4",
        "signs": "+-" * 500,
        "zeros": "0" * 5_000,
    }
    for name, value in values.items():
        yield (
            name,
            block(
                f"inputs:\n  a: {{type: integer, default: {value}, minimum: {value}, enum: [{value}]}}\n"
                f"diagnosis:\n  - {{id: more, redis: [PING], timeout: {value}, "
                f"sample: {{times: {value}, every: {value}}}}}\n"
                f"reviewed: {value}\n"
            ),
        )
    durations = (
        "9" * 5_000 + "s",
        "1e400h",
        "-5m",
        "5" + "m" * 5_000,
        "٥m",
        "1h" * 2_000,
        "nan",
        "inf",
        "1 h 2",
        "0x5s",
        "",
        " " * 50,
    )
    for number, value in enumerate(durations):
        step = {"id": "more", "redis": ["PING"], "timeout": value, "sample": {"times": 2, "every": value}}
        inputs = {
            "d": {"type": "duration", "default": value, "minimum": value},
            "s": {"type": "size", "default": value.replace("s", "MiB")},
            "n": {"type": "number", "default": value},
        }
        until = {"until": f"duration({json.dumps(value)}) > size({json.dumps(value)})", "within": value, "hold": value}
        yield (
            f"duration-{number:02}",
            playbook(inputs=inputs, symptoms=[SYMPTOM], diagnosis=[step], resolution=[{**ACTION, "verify": until}]),
        )
