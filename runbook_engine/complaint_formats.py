"""Complaints about files in the shapes that people and their tools read. Pure: takes complaints, gives text.

SARIF 2.1.0: https://docs.oasis-open.org/sarif/sarif/v2.1.0/ · JUnit as most CI systems read it · annotations:
https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from .errors import Complaint
from .safe_text import safe_text

Json = Any
Checked = Mapping[str, Sequence[Complaint]]
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
    return json.dumps([asdict(complaint) for complaint in _all(checked)], indent=2)


def sarif(checked: Checked, summaries: Mapping[str, str]) -> str:
    """One run with the rules that were broken and a result for each complaint."""
    complaints = _all(checked)
    used = sorted({complaint.code for complaint in complaints})
    rules = [{"id": code, "shortDescription": {"text": summaries.get(code, code)}} for code in used]
    driver = {"name": "runbook", "rules": rules}
    results = [_sarif_result(complaint, used.index(complaint.code)) for complaint in complaints]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _sarif_result(complaint: Complaint, rule: int) -> dict[str, Json]:
    place = {
        "artifactLocation": {"uri": complaint.path.removeprefix("./").replace("\\", "/")},
        "region": {"startLine": max(1, complaint.line), "startColumn": max(1, complaint.column)},
    }
    return {
        "ruleId": complaint.code,
        "ruleIndex": rule,
        "level": complaint.severity,
        "message": {"text": safe_text(complaint.message)},
        "locations": [{"physicalLocation": place}],
    }


def junit(checked: Checked, summaries: Mapping[str, str]) -> str:
    """A test case for each file; its errors are failures, its warnings are printed."""
    cases = [_junit_case(path, complaints) for path, complaints in checked.items()]
    failed = sum(any(each.severity == "error" for each in complaints) for complaints in checked.values())
    head = f'<testsuite name="runbook validate" tests="{len(checked)}" failures="{failed}" errors="0" skipped="0">'
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', head, *cases, "</testsuite>"])


def _junit_case(path: str, complaints: Sequence[Complaint]) -> str:
    name = f'<testcase classname="runbook.validate" name={quoteattr(safe_text(path))}'
    errors = [each for each in complaints if each.severity == "error"]
    warnings = [each for each in complaints if each.severity != "error"]
    inside = []
    if errors:
        body = "\n".join(_line(each) for each in errors)
        inside.append(f"<failure message={quoteattr(_line(errors[0]))}>{escape(body)}</failure>")
    if warnings:
        inside.append(f"<system-out>{escape(chr(10).join(_line(each) for each in warnings))}</system-out>")
    return f"  {name}>{''.join(inside)}</testcase>" if inside else f"  {name}/>"


def github(checked: Checked, summaries: Mapping[str, str]) -> str:
    """Annotations on the lines of a pull request."""
    return "\n".join(
        f"::{complaint.severity} file={_property(complaint.path)},line={complaint.line},col={complaint.column},"
        f"title={_property(complaint.code)}::{_data(safe_text(complaint.message))}"
        for complaint in _all(checked)
    )


def _data(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")


def _line(complaint: Complaint) -> str:
    return safe_text(f"{complaint}" if complaint.severity == "error" else f"{complaint} (warning)")


def _all(checked: Checked) -> list[Complaint]:
    return [complaint for complaints in checked.values() for complaint in complaints]


FORMATS: Mapping[str, Callable[[Checked, Mapping[str, str]], str]] = {
    "text": text,
    "concise": concise,
    "json": as_json,
    "sarif": sarif,
    "junit": junit,
    "github": github,
}
