"""A part of the language as a person reads it at a terminal: type, default, meaning, example, where it may stand."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from .parts import Part, forms, keys_of, places_of

Json = Any
WIDTH = 96
MOST_WORDS = 6
_ONE = {
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "nothing",
    "object": "a mapping",
    "array": "a list",
}
_SPECIAL = {"expression": "an expression", "duration": "a duration (250ms, 10s, 5m, 2h)"}


def help_text(root: Mapping[str, Json], part: Part) -> str:
    """Everything that is known of it."""
    lines = [f"{'.'.join(part.path) or root['title']} — {type_words(root, part.schema)}{_bounds(root, part)}"]
    lines += _paragraph(_about(root, part.schema))
    lines += _values(root, part.schema)
    keys = keys_of(root, part.schema)
    shapes = _shapes(root, part.schema)
    if shapes:
        lines += ["", "one of:", *(f"  {shape}" for shape in shapes), "", "keys:", *_key_lines(keys, star=False)]
    elif keys:
        lines += ["", "keys (* must be there):", *_key_lines(keys)]
    lines += _example(root, part)
    others = [place for place in places_of(root, part) if place != ".".join(part.path)]
    if others:
        lines += ["", *_folded("also at", ", ".join(others))]
    return "\n".join(lines)


def type_words(root: Mapping[str, Json], schema: Mapping[str, Json]) -> str:
    """What may stand there, in a few words."""
    words: list[str] = []
    for _, form in forms(root, schema):
        word = _type_word(root, form)
        if word and word not in words and word != "nothing":
            words.append(word)
    shown = words[:MOST_WORDS]
    return " or ".join(shown) if shown else "any value"


def _type_word(root: Mapping[str, Json], form: Mapping[str, Json]) -> str:
    if "x-type" in form:
        return _SPECIAL[form["x-type"]]
    if "const" in form:
        return str(form["const"])
    if "enum" in form:
        return "one word"
    kind = form.get("type", "")
    if isinstance(kind, list):
        return " or ".join(_ONE[each] for each in kind)
    if kind == "array" and isinstance(form.get("items"), dict) and "x-type" not in form["items"]:
        inner = type_words(root, form["items"])
        return {"text": "a list of texts", "a mapping": "a list of mappings"}.get(inner, "a list")
    return _ONE.get(kind, "")


def _bounds(root: Mapping[str, Json], part: Part) -> str:
    said = []
    if part.required:
        said.append("must be there")
    for _, form in forms(root, part.schema):
        if "minimum" in form:
            said.append(f"at least {form['minimum']}")
        if "maximum" in form:
            said.append(f"at most {form['maximum']}")
        if "pattern" in form:
            said.append(f"matches {form['pattern']}")
    if "default" in part.schema:
        said.append(f"default {_yaml(part.schema['default'])}")
    return "".join(f", {each}" for each in dict.fromkeys(said))


def _about(root: Mapping[str, Json], schema: Mapping[str, Json]) -> str:
    """Its own words, and those of the definition it refers to."""
    told = [str(form["description"]) for _, form in forms(root, schema) if form.get("description")][:1]
    if "$ref" in schema:
        told.append(str(root["$defs"][schema["$ref"].rsplit("/", 1)[-1]].get("description", "")))
    return " ".join(dict.fromkeys(_ended(" ".join(each.split())) for each in told if each))


def _ended(text: str) -> str:
    return text if text.endswith((".", "!", "?", ":")) else f"{text}."


def _values(root: Mapping[str, Json], schema: Mapping[str, Json]) -> list[str]:
    for _, form in forms(root, schema):
        if "enum" in form:
            meanings = form.get("enumDescriptions", [""] * len(form["enum"]))
            rows = [(str(value), meaning) for value, meaning in zip(form["enum"], meanings, strict=True)]
            wide = max(len(value) for value, _ in rows)
            return ["", "values:", *(f"  {value:{wide}}  {meaning}".rstrip() for value, meaning in rows)]
    return []


def _shapes(root: Mapping[str, Json], schema: Mapping[str, Json]) -> list[str]:
    """The forms a mapping may have, where there are several: what each needs, and what it takes besides."""
    shapes = []
    for _, form in forms(root, schema):
        if form.get("properties") and "anyOf" not in form:
            needed = [key for key in form["properties"] if key in form.get("required", ())]
            other = [f"[{key}]" for key in form["properties"] if key not in needed]
            shapes.append(", ".join([*needed, *other]))
    return shapes if len(shapes) > 1 else []


def _key_lines(keys: Mapping[str, Part], star: bool = True) -> Iterator[str]:
    wide = max(len(key) for key in keys) + 1
    for key, part in keys.items():
        name = f"{key}{'*' if part.required and star else ''}"
        about = _ended(" ".join(str(part.schema.get("description", "")).split()))
        yield f"  {name:{wide}}  {textwrap.shorten(about, WIDTH - wide - 4, placeholder=' …')}".rstrip()


def _example(root: Mapping[str, Json], part: Part) -> list[str]:
    examples = [example for _, form in forms(root, part.schema) for example in form.get("examples", ())]
    if not examples:
        return []
    text = _yaml({part.path[-1]: examples[0]} if part.path else examples[0])
    flow = re.fullmatch(r"\{([^{}\n]*)\}", text) if part.path else None
    return ["", "example:", *textwrap.indent(flow[1] if flow else text, "  ").splitlines()]


def _yaml(value: Json) -> str:
    """In block style, as an author writes it; a short list or mapping in one line."""
    text: str = yaml.dump(value, sort_keys=False, allow_unicode=True, width=WIDTH, default_flow_style=None)
    return text.removesuffix("...\n").strip()


def _paragraph(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ") if text else []


def _folded(lead: str, text: str) -> list[str]:
    return textwrap.wrap(f"{lead} {text}", WIDTH, subsequent_indent=" " * (len(lead) + 1))
