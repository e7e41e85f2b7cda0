"""Complaints in the shapes that editors, CI systems and code hosts read, also when the file is hostile."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from commands import Place
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from runbook_engine.complaint_formats import FORMATS, github_summary
from runbook_engine.errors import Complaint
from runbook_engine.linter import summaries

BAD = Complaint("a,b:c.yaml", 3, 7, "no <fix> & 'more'\n100%\x1b[31m", "RB503", "    3 | fix: [x]\n      |       ^")
ODD = Complaint("a,b:c.yaml", 9, 1, "nothing reads it", "RB220", "", "warning")
CHECKED = {"a,b:c.yaml": [BAD, ODD], "fine.yaml": []}


def _closed(required: list[str], **properties: object) -> dict[str, object]:
    return {"type": "object", "required": required, "additionalProperties": False, "properties": properties}


_WORDS = {"type": "string", "minLength": 1}
_MESSAGE = _closed(["text"], text=_WORDS, markdown=_WORDS)
_PLACE = _closed(
    ["artifactLocation", "region"],
    artifactLocation=_closed(["uri"], uri={"type": "string", "pattern": r"^[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]+$"}),
    region=_closed(
        ["startLine"],
        startLine={"type": "integer", "minimum": 1},
        startColumn={"type": "integer", "minimum": 1},
        snippet=_closed([], text={"type": "string"}),
    ),
)
# SARIF 2.1.0 as far as we go: what the standard demands of each object that we write, and no property that it lacks.
SARIF = _closed(
    ["$schema", "version", "runs"],
    **{"$schema": {"type": "string", "pattern": "sarif-2\\.1\\.0"}},
    version={"const": "2.1.0"},
    runs={
        "type": "array",
        "items": _closed(
            ["tool", "results"],
            tool=_closed(
                ["driver"],
                driver=_closed(
                    ["name", "rules"],
                    name=_WORDS,
                    version=_WORDS,
                    semanticVersion={"type": "string", "pattern": r"^\d+\.\d+\.\d+"},
                    rules={
                        "type": "array",
                        "uniqueItems": True,
                        "items": _closed(
                            ["id", "helpUri"],
                            id={"type": "string", "pattern": r"^RB\d{3}$"},
                            shortDescription=_MESSAGE,
                            help=_MESSAGE,
                            helpUri={"type": "string", "pattern": r"^[a-z]+:[A-Za-z0-9:._/#-]+$"},
                        ),
                    },
                ),
            ),
            invocations={
                "type": "array",
                "items": _closed(["executionSuccessful"], executionSuccessful={"type": "boolean"}),
            },
            columnKind={"enum": ["unicodeCodePoints", "utf16CodeUnits"]},
            results={
                "type": "array",
                "items": _closed(
                    ["ruleId", "message", "level", "locations", "partialFingerprints"],
                    ruleId=_WORDS,
                    ruleIndex={"type": "integer", "minimum": 0},
                    level={"enum": ["none", "note", "warning", "error"]},
                    message=_MESSAGE,
                    locations={"type": "array", "items": _closed(["physicalLocation"], physicalLocation=_PLACE)},
                    partialFingerprints={
                        "type": "object",
                        "required": ["primaryLocationLineHash"],
                        "additionalProperties": {"type": "string", "pattern": r"^[0-9a-f]{16}:\d+$"},
                    },
                ),
            },
        ),
    },
)
TEXTS = st.text(min_size=1, max_size=40)
COMPLAINTS = st.builds(
    Complaint,
    TEXTS,
    st.integers(0, 9),
    st.integers(0, 9),
    TEXTS,
    st.sampled_from(sorted(summaries())),
    st.text(),
    st.sampled_from(["error", "warning"]),
)


def shown(shape: str) -> str:
    return FORMATS[shape](CHECKED, summaries())


def test_sarif_names_rules_places_and_levels() -> None:
    document = json.loads(shown("sarif"))
    (run,) = document["runs"]
    assert document["version"] == "2.1.0"
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["RB220", "RB503"]
    error, warning = run["results"]
    assert (error["ruleId"], error["ruleIndex"], error["level"]) == ("RB503", 1, "error")
    region = error["locations"][0]["physicalLocation"]["region"]
    assert region == {"startLine": 3, "startColumn": 7, "snippet": {"text": "fix: [x]"}}
    assert error["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "a%2Cb%3Ac.yaml"
    assert warning["level"] == "warning"


@given(st.lists(COMPLAINTS, max_size=5))
def test_whatever_stands_in_a_file_sarif_is_as_the_standard_has_it(complaints: list[Complaint]) -> None:
    document = json.loads(FORMATS["sarif"]({"x": complaints}, summaries()))
    Draft7Validator(SARIF).validate(document)
    (run,) = document["runs"]
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    marks = [result["partialFingerprints"]["primaryLocationLineHash"] for result in run["results"]]
    assert len(marks) == len(set(marks))


def test_a_fingerprint_survives_a_line_that_moves() -> None:
    moved = Complaint(BAD.path, 30, 9, BAD.message, BAD.code, "   30 |   fix:  [x]\n      |         ^")
    marks = [
        json.loads(FORMATS["sarif"]({"x": [each]}, {}))["runs"][0]["results"][0]["partialFingerprints"]
        for each in (BAD, moved, ODD)
    ]
    assert marks[0] == marks[1] != marks[2]


@given(st.lists(COMPLAINTS, max_size=5))
def test_whatever_stands_in_a_file_junit_is_well_formed(complaints: list[Complaint]) -> None:
    suite = ElementTree.fromstring(FORMATS["junit"]({"x": complaints}, {}).split("\n", 1)[1])
    assert len(suite.findall("testcase")) == 1


@given(st.lists(COMPLAINTS, max_size=30))
def test_whatever_stands_in_a_file_each_annotation_is_one_line_and_no_more_than_ten_of_a_level(
    complaints: list[Complaint],
) -> None:
    lines = [line for line in FORMATS["github"]({"x": complaints}, {}).split("\n") if line]
    assert len(lines) == len(complaints)
    made = [line for line in lines if line.startswith(("::error ", "::warning "))]
    assert all(re.fullmatch(r"::(error|warning) file=[^:,]*,line=\d+,col=\d+,title=RB\d{3}::.*", line) for line in made)
    assert all(sum(line.startswith(f"::{level} ") for line in made) <= 10 for level in ("error", "warning"))
    assert not any(line.startswith("::") for line in lines if line not in made)


def test_no_line_of_the_log_is_a_command() -> None:
    many = [BAD] * 10
    sly = [
        Complaint("::add-mask::x", 1, 1, "m", "RB101"),
        Complaint(" ::x", 1, 1, "m", "RB101"),
        Complaint("x", 1, 1, "##[add-mask]y", "RB101"),
    ]
    lines = FORMATS["github"]({"x": [*many, *sly]}, {}).splitlines()[10:]
    assert len(lines) == 3 and not any(line.lstrip().startswith("::") or "##[" in line for line in lines)


@given(st.lists(COMPLAINTS, min_size=1, max_size=5))
def test_the_summary_is_a_table_in_which_no_markup_acts(complaints: list[Complaint]) -> None:
    rows = [row for row in github_summary({"x": complaints}).splitlines() if row.startswith("|")]
    assert len(rows) == len(complaints) + 2
    for row in rows:
        assert row.count("|") == 4 and not re.search(r"[<>`*\[\]]", row)


def test_the_summary_shows_quotes_as_quotes() -> None:
    """An entity whose `#` was written as an entity itself would be read as letters."""
    shown = github_summary({"x": [Complaint("x", 1, 1, "target 'db' <b>&", "RB406")]})
    assert "target &#39;db&#39; &#60;b&#62;&#38;" in shown and "&#38;#" not in shown


def test_the_summary_stays_below_what_github_takes() -> None:
    shown = github_summary({"x": [BAD] * 20_000})
    assert len(shown.encode()) < 1 << 20 and re.search(r"^and \d+ more$", shown, re.MULTILINE)


def test_junit_has_a_case_for_each_file_and_survives_markup() -> None:
    suite = ElementTree.fromstring(shown("junit").split("\n", 1)[1])
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    first, second = suite.findall("testcase")
    failure = first.find("failure")
    assert failure is not None and "no <fix> & 'more'" in (failure.text or "") and "\x1b" not in (failure.text or "")
    assert "nothing reads it" in (first.findtext("system-out") or "")
    assert (second.get("name"), len(second)) == ("fine.yaml", 0)


def test_github_annotations_escape_what_would_end_them() -> None:
    error, warning = shown("github").splitlines()
    assert error.startswith("::error file=a%2Cb%3Ac.yaml,line=3,col=7,title=RB503::no <fix> & 'more'")
    assert "100%25" in error and warning.startswith("::warning ")


@pytest.mark.parametrize("shape", sorted(FORMATS))
def test_no_shape_lets_an_escape_sequence_through(shape: str) -> None:
    assert "\x1b" not in shown(shape)


def test_validate_writes_annotations_by_itself_under_github_actions(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("runbook: 1\nname: broken\ntitel: x\n")
    place = Place(tmp_path, tmp_path / "state")
    finished = place.run("validate", "broken.yaml", GITHUB_ACTIONS="true")
    assert finished.code == 65 and finished.stdout.startswith("::error file=broken.yaml,line=")
    plain = place.run("validate", "broken.yaml", "--format", "text", GITHUB_ACTIONS="true")
    assert plain.code == 65 and "^" in plain.stdout


def test_explain_says_what_a_code_means_and_lists_all_without_one(tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path / "state")
    assert "a warning" in place.run("explain", "rb220").stdout
    assert len(place.run("explain").stdout.splitlines()) == len(summaries())
    refused = place.run("explain", "RB999")
    assert refused.code == 2 and "did you mean" in refused.stderr
