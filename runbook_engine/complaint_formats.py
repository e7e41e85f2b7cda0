"""Complaints about files in the shapes that people and their tools read. Pure: takes complaints, gives text.

SARIF 2.1.0: https://docs.oasis-open.org/sarif/sarif/v2.1.0/ · JUnit as most CI systems read it · annotations:
https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from html import escape
from typing import Any
from urllib.parse import quote

from . import __version__
from .errors import Complaint, counted
from .safe_text import safe_text

Json = Any
Checked = Mapping[str, Sequence[Complaint]]
MOST_ANNOTATIONS = 10  # of each level in one step; GitHub drops the others without a word
MOST_SUMMARY = 1_000_000  # bytes
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def text(checked: Checked, summaries: Mapping[str, str]) -> str:
    """Each complaint with the line it is about and a caret."""
    return "\n".join(
        line
        for complaint in _all(checked)
        for line in (_line(complaint), *([safe_text(complaint.snippet, newlines=True)] if complaint.snippet else []))
    )


def concise(checked: Checked, summaries: Mapping[str, str]) -> str:
    """One line each, as compilers print them."""
    return "\n".join(_line(complaint) for complaint in _all(checked))


def as_json(checked: Checked, summaries: Mapping[str, str]) -> str:
    shown = [asdict(complaint) for complaint in _all(checked)]
    return json.dumps([{key: value for key, value in each.items() if key != "ignored"} for each in shown], indent=2)


def sarif(checked: Checked, summaries: Mapping[str, str]) -> str:
    """One run with the rules that were broken and a result for each complaint, suppressed where its author says so."""
    complaints = [complaint for found in checked.values() for complaint in found]
    used = sorted({complaint.code for complaint in complaints})
    driver = {
        "name": "runbook",
        "version": __version__,
        "semanticVersion": __version__,
        "rules": [_sarif_rule(code, summaries.get(code, code)) for code in used],
    }
    seen: Counter[str] = Counter()
    results = [_sarif_result(complaint, used.index(complaint.code), seen) for complaint in complaints]
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": True}],
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _sarif_rule(code: str, summary: str) -> dict[str, Json]:
    told = safe_text(summary)
    return {
        "id": code,
        "shortDescription": {"text": told},
        "help": {"text": f"{told} `runbook explain {code}` says more.", "markdown": f"{told} `runbook explain {code}`"},
        "helpUri": f"urn:runbook:rule:{code}",
    }


def _sarif_result(complaint: Complaint, rule: int, seen: Counter[str]) -> dict[str, Json]:
    """Its fingerprint is of the line and not of its number: what moves is no new alert."""
    line = " ".join(_line_of(complaint).split())
    mark = hashlib.sha256("\n".join((complaint.code, complaint.path, line)).encode(errors="replace")).hexdigest()[:16]
    seen[mark] += 1
    region: dict[str, Json] = {"startLine": max(1, complaint.line), "startColumn": max(1, complaint.column)}
    if line:
        region["snippet"] = {"text": safe_text(_line_of(complaint))}
    uri = quote(complaint.path.removeprefix("./").replace("\\", "/"), safe="/", errors="replace")
    place = {"artifactLocation": {"uri": f"file://{uri}" if uri.startswith("/") else uri}, "region": region}
    suppressed = {"suppressions": [{"kind": "inSource", "justification": safe_text(complaint.ignored)}]}
    return {
        "ruleId": complaint.code,
        "ruleIndex": rule,
        "level": complaint.severity,
        "message": {"text": safe_text(complaint.message)},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"primaryLocationLineHash": f"{mark}:{seen[mark]}"},
        **(suppressed if complaint.ignored else {}),
    }


def _line_of(complaint: Complaint) -> str:
    """The text of the line, out of the snippet."""
    return complaint.snippet.split("\n")[0].partition(" | ")[2]


def junit(checked: Checked, summaries: Mapping[str, str]) -> str:
    """A test case for each file; its errors are failures, its warnings are printed."""
    cases = [_junit_case(path, _shown(complaints)) for path, complaints in checked.items()]
    failed = sum(any(each.severity == "error" for each in complaints) for complaints in checked.values())
    head = f'<testsuite name="runbook validate" tests="{len(checked)}" failures="{failed}" errors="0" skipped="0">'
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', head, *cases, "</testsuite>"])


def _junit_case(path: str, complaints: Sequence[Complaint]) -> str:
    name = f'<testcase classname="runbook.validate" name="{escape(safe_text(path))}"'
    errors = [each for each in complaints if each.severity == "error"]
    warnings = [each for each in complaints if each.severity != "error"]
    inside = []
    if errors:
        body = "\n".join(_line(each) for each in errors)
        inside.append(f'<failure message="{escape(_line(errors[0]))}">{escape(body)}</failure>')
    if warnings:
        inside.append(f"<system-out>{escape(chr(10).join(_line(each) for each in warnings))}</system-out>")
    return f"  {name}>{''.join(inside)}</testcase>" if inside else f"  {name}/>"


def github(checked: Checked, summaries: Mapping[str, str]) -> str:
    """Annotations on the lines of a pull request. A step may have ten of each level; the rest are lines of its log."""
    lines, rest = [], []
    counts: Counter[str] = Counter()
    for complaint in _all(checked):
        counts[complaint.severity] += 1
        few = counts[complaint.severity] <= MOST_ANNOTATIONS
        lines.append(_annotation(complaint)) if few else rest.append(_no_command(_line(complaint)))
    return "\n".join([*lines, *rest])


def github_summary(checked: Checked) -> str:
    """Everything as a table for $GITHUB_STEP_SUMMARY, which takes a megabyte."""
    complaints = _all(checked)
    errors = sum(complaint.severity == "error" for complaint in complaints)
    told = f"{counted(errors, 'error')}, {counted(len(complaints) - errors, 'warning')}"
    lines = [f"### runbook validate: {told} in {counted(len(checked), 'file')}", ""]
    if complaints:
        lines += ["| where | code | what |", "|---|---|---|"]
    size = sum(len(line.encode()) + 1 for line in lines)
    for index, complaint in enumerate(complaints):
        where = f"{complaint.path}:{complaint.line}:{complaint.column}"
        kind = complaint.code if complaint.severity == "error" else f"{complaint.code} (warning)"
        line = f"| {_cell(where)} | {_cell(kind)} | {_cell(complaint.message)} |"
        size += len(line.encode()) + 1
        if size > MOST_SUMMARY:
            lines += ["", f"and {len(complaints) - index} more"]
            break
        lines.append(line)
    return "\n".join(lines) + "\n"


def _no_command(line: str) -> str:
    """GitHub takes a line of a log for a command when it begins with `::`, and wherever `##[` stands in it."""
    plain = line.replace("##[", "## [")
    return f"./{plain}" if plain.lstrip().startswith("::") else plain


def _cell(text: str) -> str:
    """Text in a table of Markdown, where neither markup nor a bar may act."""
    return re.sub(r"[&<>\"'\\`*_{}\[\]()#+!|~@$:]", lambda match: f"&#{ord(match[0])};", safe_text(text))


def _annotation(complaint: Complaint) -> str:
    return (
        f"::{complaint.severity} file={_property(safe_text(complaint.path))},line={complaint.line},"
        f"col={complaint.column},title={_property(complaint.code)}::{_data(safe_text(complaint.message))}"
    )


def _data(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")


def _line(complaint: Complaint) -> str:
    return safe_text(f"{complaint}" if complaint.severity == "error" else f"{complaint} (warning)")


def _all(checked: Checked) -> list[Complaint]:
    return [complaint for complaints in checked.values() for complaint in _shown(complaints)]


def _shown(complaints: Sequence[Complaint]) -> list[Complaint]:
    """Without what an author ignores, with a reason."""
    return [complaint for complaint in complaints if not complaint.ignored]


FORMATS: Mapping[str, Callable[[Checked, Mapping[str, str]], str]] = {
    "text": text,
    "concise": concise,
    "json": as_json,
    "sarif": sarif,
    "junit": junit,
    "github": github,
}
