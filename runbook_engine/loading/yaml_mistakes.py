"""What an author most likely meant where libyaml found a syntax error, with the rewrite. It never reads on."""

from __future__ import annotations

import re

from yaml import MarkedYAMLError

LONGEST_LINE = 2000  # a longer one was not written by hand, and the patterns below look back

_LEAD = r"^(\s*(?:- +)*(?:[\w.-]+: +)?)"
_FLOW_LINE = re.compile(_LEAD + r"([\[{].*)$")
_FLOW_ITEM = re.compile(r"(?:\{\$\{\{.*?\}\}\}|\$\{\{.*?\}\}|\"(?:[^\"\\]|\\.)*\"|'(?:[^']|'')*'|[^,\[\]{}\"'])+")
_FLOW_KEY = re.compile(r"(\s*[\w.-]+: +)(.*)", re.DOTALL)
_INDEXED = re.compile(r"([\w-]+: +)([A-Za-z_][\w.]*\[[^\[\]{}\"']*\][^,{}\"'\[\]]*?)(?= *[,}])")
_QUOTED_THEN_TEXT = re.compile(r"^(\s*(?:- +)*[\w.-]+: +)(('(?:[^']|'')*'|\"(?:[^\"\\]|\\.)*\")[ \t]*[^\s#,\]}].*)$")
_SECOND_COLON = re.compile(r"^(\s*(?:- +)*[\w.-]+: +)([^\s\"'\[{|>&*!#].*?:(?: .*|$))")
_NO_SPACE = re.compile(r"^(\s*(?:- +)*)([A-Za-z_][\w-]*):([^\s/:].*)$")
_STARTS = {
    "@": "a value cannot begin with '@'. quote it",
    "`": "a value cannot begin with a backtick. quote it",
    "%": "a value cannot begin with '%'. quote it",
    "\t": "a tab. indent with spaces",
}

Mistake = tuple[int, int, str, str]  # line, column (1-based), message, code


def explain_syntax(lines: list[str], error: MarkedYAMLError) -> Mistake:
    """Where and what, in the author's terms; libyaml's own words where nothing better is known."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark is not None else (0, 0)
    flow = "flow" in (error.context or "")
    mistake = _recognised(lines, line, flow)
    if mistake is None and error.context_mark is not None and flow:
        mistake = _recognised(lines, error.context_mark.line, flow)
    return mistake or _reworded(lines, error, line, column)


def missing_space(text: str) -> str | None:
    """The mend for `id:queues`, which YAML reads as one text."""
    match = _NO_SPACE.match(text) if len(text) <= LONGEST_LINE else None
    return f"{match[2]}: {match[3]}" if match else None


def quoted(text: str) -> str:
    """The text in the quotes that need least escaping."""
    if '"' not in text and "\\" not in text:
        return f'"{text}"'
    return "'" + text.replace("'", "''") + "'"


def _recognised(lines: list[str], line: int, flow: bool) -> Mistake | None:
    for index in (line, _before(lines, line)):
        text = lines[index] if 0 <= index < len(lines) else ""
        if len(text) > LONGEST_LINE:
            continue
        indentation = text[: len(text) - len(text.lstrip())]
        if "\t" in indentation:
            return (
                index + 1,
                indentation.index("\t") + 1,
                "the line is indented with a tab. YAML takes spaces only",
                "RB004",
            )
        found = _template_in_flow(text, flow) or (_index_in_flow(text) if flow else None)
        found = found or _quoted_then_text(text) or _second_colon(text) or _no_space(text)
        if found:
            return index + 1, found[0] + 1, found[1], "RB004"
    return None


def _before(lines: list[str], line: int) -> int:
    line -= 1
    while 0 <= line < len(lines) and not lines[line].strip():
        line -= 1
    return line


def _template_in_flow(text: str, flow: bool) -> tuple[int, str] | None:
    line = _FLOW_LINE.match(text)
    if "${{" not in text or not (line or flow):
        return None
    start = line.start(2) if line else 0
    rewritten = _FLOW_ITEM.sub(_quoted_item, text[start:])
    if rewritten == text[start:]:
        return None
    shown = (text[:start] + rewritten).strip()
    return text.index("${{"), f"inside [ ] and {{ }} a template must be quoted: {shown}"


def _index_in_flow(text: str) -> tuple[int, str] | None:
    """`{first: lines[0]}`: inside braces YAML takes the bracket for the beginning of a list."""
    match = _INDEXED.search(text)
    if match is None:
        return None
    return match.start(2), f"inside {{ }} a value with [ ] must be quoted: {match[1]}{quoted(match[2])}"


def _quoted_item(match: re.Match[str]) -> str:
    item = match[0]
    key = _FLOW_KEY.match(item)
    lead, value = (key[1], key[2]) if key else ("", item)
    bare = value.strip()
    if "${{" not in bare or bare[0] in "\"'":
        return item
    before = value[: len(value) - len(value.lstrip())]
    return lead + before + quoted(bare) + value[len(before) + len(bare) :]


def _quoted_then_text(text: str) -> tuple[int, str] | None:
    match = _QUOTED_THEN_TEXT.match(text)
    if match is None:
        return None
    rewritten = match[1].strip() + " " + quoted(match[2].strip())
    return match.start(2), f"text goes on after the closing quote. quote all of it: {rewritten}"


def _second_colon(text: str) -> tuple[int, str] | None:
    match = _SECOND_COLON.match(text)
    if match is None:
        return None
    rewritten = match[1].strip() + " " + quoted(match[2].strip())
    return match.start(2), f"a value with ': ' in it must be quoted: {rewritten}"


def _no_space(text: str) -> tuple[int, str] | None:
    match = _NO_SPACE.match(text)
    if match is None:
        return None
    return match.start(3) - 1, f"a space is missing after the colon: {match[2]}: {match[3]}"


def _reworded(lines: list[str], error: MarkedYAMLError, line: int, column: int) -> Mistake:
    problem = error.problem or "cannot be read"
    since = f"{error.context_mark.line + 1}:{error.context_mark.column + 1}" if error.context_mark else "the beginning"
    found = lines[line][column : column + 1] if line < len(lines) else ""
    message = {
        "did not find expected ',' or ']'": f"the list that begins at {since} is not closed here: expected ',' or ']'",
        "did not find expected ',' or '}'": f"the mapping that begins at {since} is not closed: expected ',' or '}}'",
        "found unexpected end of stream": f"the quote that begins at {since} is never closed",
        "found character that cannot start any token": _STARTS.get(
            found, f"{found!r} cannot stand here. quote the value"
        ),
        "mapping values are not allowed in this context": "no key can stand here. check the indentation, "
        "or quote a value that has ': ' in it",
        "did not find expected key": f"expected a key that lines up with {since}. check the indentation",
        "did not find expected '-' indicator": f"expected '- ' that lines up with {since}. check the indentation",
        "could not find expected ':'": "a key without ':'. check the line",
        "block sequence entries are not allowed in this context": "a list begins on a line of its own",
        "did not find expected <document start>": "this stands left of the first line. check the indentation",
    }.get(problem, f"{problem}{f', {error.context} that begins at {since}' if error.context else ''}")
    return line + 1, column + 1, message, "RB003"
