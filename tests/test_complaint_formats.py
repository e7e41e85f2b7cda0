"""Complaints in the shapes that editors, CI systems and code hosts read, also when the file is hostile."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from commands import Place

from runbook_engine.complaint_formats import FORMATS
from runbook_engine.errors import Complaint
from runbook_engine.linter import summaries

BAD = Complaint("a,b:c.yaml", 3, 7, "no <fix> & 'more'\n100%\x1b[31m", "RB503", "   fix: [x]\n         ^")
ODD = Complaint("a,b:c.yaml", 9, 1, "nothing reads it", "RB220", "", "warning")
CHECKED = {"a,b:c.yaml": [BAD, ODD], "fine.yaml": []}


def shown(shape: str) -> str:
    return FORMATS[shape](CHECKED, summaries())


def test_sarif_names_rules_places_and_levels() -> None:
    document = json.loads(shown("sarif"))
    (run,) = document["runs"]
    assert document["version"] == "2.1.0"
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["RB220", "RB503"]
    error, warning = run["results"]
    assert (error["ruleId"], error["ruleIndex"], error["level"]) == ("RB503", 1, "error")
    assert error["locations"][0]["physicalLocation"]["region"] == {"startLine": 3, "startColumn": 7}
    assert warning["level"] == "warning"


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
