"""The page as one HTML file: no script, nothing loaded, light and dark. Whatever a playbook says is text in it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ..safe_text import safe_text
from .parts import Bullets, Code, Heading, Paragraph, Part, Span, Table

_ADDRESS = re.compile(r"https?://[!-~]+")
_STYLE = """
:root {
  color-scheme: light dark; --ink: #1c1e21; --paper: #fff; --quiet: #5c6370; --line: #d9dce1;
  --code: #f3f4f6; --link: #0b57d0;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #e3e5e8; --paper: #16181c; --quiet: #9aa1ac; --line: #33373e; --code: #22252b; --link: #8ab4f8; }
}
body {
  margin: 0 auto; max-width: 52rem; padding: 1.5rem 1rem 4rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.55 system-ui, sans-serif;
}
h1, h2, h3 { line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin-top: 2.2rem; border-bottom: 1px solid var(--line); padding-bottom: .2rem; }
h3 { margin-top: 1.8rem; }
a { color: var(--link); }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; background: var(--code); border-radius: 4px; }
code { padding: .1em .3em; overflow-wrap: anywhere; }
pre { padding: .7rem .9rem; overflow-x: auto; }
pre code { padding: 0; overflow-wrap: normal; }
table { border-collapse: collapse; width: 100%; font-size: .95em; }
th, td {
  text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere;
}
th { color: var(--quiet); font-weight: 600; }
@media print { body { max-width: none; } pre { white-space: pre-wrap; } }
""".lstrip()
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src '{{ digest }}'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{{ title }}</title>
<style>{{ style }}</style>
</head>
<body>
<main>
{% for part in parts %}
{% if part.kind == "heading" %}
<h{{ part.level }}{% if part.level > 1 %} id="{{ part.anchor }}"{% endif %}>{{ part.text }}</h{{ part.level }}>
{% elif part.kind == "paragraph" %}
<p>{{ line(part.line) }}</p>
{% elif part.kind == "bullets" %}
<ul>
{% for each in part.lines %}
<li>{{ line(each) }}</li>
{% endfor %}
</ul>
{% elif part.kind == "code" %}
<pre><code>{{ part.text }}</code></pre>
{% else %}
<table>
<thead><tr>{% for each in part.head %}<th>{{ each }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in part.rows %}
<tr>{% for cell in row %}<td>{{ line(cell) }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
{% endif %}
{% endfor %}
</main>
</body>
</html>
"""
_LINE = """{% macro line(spans) %}{% for span in spans %}{% if span.kind == "code" %}<code>{{ span.text }}</code>\
{% elif span.kind == "value" %}<var>{{ span.text }}</var>\
{% elif span.kind == "strong" %}<strong>{{ span.text }}</strong>\
{% elif span.target %}<a href="{{ span.target }}" rel="noreferrer">{{ span.text }}</a>\
{% else %}{{ span.text }}{% endif %}{% endfor %}{% endmacro %}"""
_KINDS = {Heading: "heading", Paragraph: "paragraph", Bullets: "bullets", Code: "code", Table: "table"}


def html(parts: Iterable[Part], title: str) -> str:
    """A whole document."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    return environment.from_string(_LINE + _PAGE).render(
        parts=[_part(part) for part in parts],
        title=safe_text(title),
        style=Markup(_STYLE),  # text of this file; nothing else is ever exempt from escaping
        digest=f"sha256-{digest}",
    )


def _part(part: Part) -> dict[str, object]:
    kind = _KINDS[type(part)]
    match part:
        case Heading():
            return {"kind": kind, "level": part.level, "text": safe_text(part.text), "anchor": part.anchor}
        case Paragraph():
            return {"kind": kind, "line": [_span(span) for span in part.line]}
        case Bullets():
            return {"kind": kind, "lines": [[_span(span) for span in line] for line in part.lines]}
        case Code():
            return {"kind": kind, "text": safe_text(part.text, newlines=True)}
        case Table():
            rows = [[[_span(span) for span in cell] for cell in row] for row in part.rows]
            return {"kind": kind, "head": part.head, "rows": rows}


def _span(span: Span) -> dict[str, str]:
    """An address that is none of the web's leads nowhere."""
    safe = span.target.startswith("#") or _ADDRESS.fullmatch(span.target) is not None
    return {"kind": span.kind, "text": safe_text(span.text), "target": span.target if safe else ""}
