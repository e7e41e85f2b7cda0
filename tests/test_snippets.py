"""Every command and every snippet of README, docs and examples is carried out, or says why it is not."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import test_cases
import yaml
from commands import RUNBOOK, Finished, Place, run_id
from snippets import PAGES, ROOT, SHELLS, Snippet, snippets

from runbook_engine.loading import yaml_reader

ALL = snippets()
# Blocks that others carry out whole: the rights in test_docs, the walk through the first playbook in test_examples.
ELSEWHERE = {"sql": "test_docs.py", "examples/README.md": "test_examples.py"}
# What no page may have: a run that ends like this tells the reader something that is not so.
WRONG = {65, 70, 74}
PAGES_OF_PLAYBOOKS = {
    found[1]: snippet.text
    for snippet in ALL
    if snippet.language == "yaml" and (found := re.search(r"^name: ([a-z-]+)", snippet.text, re.MULTILINE))
}


def named(snippets: list[Snippet]) -> list[object]:
    return [pytest.param(snippet, id=snippet.place) for snippet in snippets]


def runs() -> list[Snippet]:
    return [
        each for each in ALL if not each.reason and each.commands and str(each.page.relative_to(ROOT)) not in ELSEWHERE
    ]


def test_every_page_with_code_is_looked_at() -> None:
    assert {"README.md", "docs/playbooks.md", "docs/testing.md", "docs/runbook-yaml.md", "examples/README.md"} <= {
        str(each.page.relative_to(ROOT)) for each in ALL
    }
    assert len(ALL) == sum(len(re.findall(r"(?m)^ *```+", page.read_text(encoding="utf-8"))) for page in PAGES) // 2


def test_every_snippet_is_of_a_language_that_is_carried_out() -> None:
    known = (*SHELLS, "yaml", "sql", "json", "")
    unknown = [each.place for each in ALL if not each.reason and each.language not in known]
    assert unknown == [], "a block of another language needs `<!-- not run: why -->` on the line above it"


@pytest.mark.parametrize(
    "snippet", [pytest.param(each, id=f"{each.place}: {each.reason}") for each in ALL if each.reason] or [None]
)
def test_what_is_not_run_says_why(snippet: Snippet | None) -> None:
    assert snippet is None or len(snippet.reason.split()) >= 2


@pytest.mark.parametrize("snippet", named([each for each in ALL if each.language == "yaml" and not each.reason]))
def test_yaml_is_what_it_claims_to_be(snippet: Snippet, tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path / "state")
    kind = re.search(r"^(runbook|library|cases|environments):", snippet.text, re.MULTILINE)
    if kind is None:
        yaml_reader.read(snippet.text, snippet.place)  # a part of a file: its keys are told of in the text around it
        return
    if kind[1] == "cases":
        name = str(yaml.safe_load(snippet.text)["cases"])
        playbook = PAGES_OF_PLAYBOOKS.get(name, test_cases.PLAYBOOK)
        (tmp_path / f"{name}.yaml").write_text(playbook)
        (tmp_path / f"{name}.test.yaml").write_text(snippet.text)
        done = place.run("test", f"{name}.test.yaml")
    else:
        (tmp_path / "snippet.yaml").write_text(snippet.text)
        done = place.run("validate", "snippet.yaml")
    assert done.code == 0, f"{snippet.place}\n{done.said}"


def test_json_can_be_read() -> None:
    for each in ALL:
        if each.language == "json" and not each.reason:
            json.loads(each.text)


@pytest.mark.parametrize("line", sorted({line for each in ALL for line in each.commands if line.startswith("make ")}))
def test_a_target_of_make_exists(line: str) -> None:
    shown = subprocess.run(["make", "--dry-run", *shlex.split(line)[1:]], cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 0 and shown.stdout, shown.stderr


class Reader:
    """Somebody who types what the pages say, in their order, with a LinkFlow of this machine as production."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self.sandbox = folder / "sandbox"
        more = {"RUNBOOK_SANDBOX": str(self.sandbox), "XDG_CONFIG_HOME": str(folder / "config")}
        self.place = Place(self.folder, folder / "state", more)
        (self.folder / "playbooks").mkdir()
        (self.folder / "session.txt").write_text("$ df -h /\n$ uptime\n")
        self.fills: dict[str, str] = {}
        alert = {"labels": {"alertname": "QueueBacklog"}, "annotations": {"summary": "Jobs wait"}}
        for name in ("alert.json", "FILE"):
            (self.folder / name).write_text(json.dumps({"alerts": [alert]}))

    def type(self, line: str) -> Finished:
        words = [self.fills.get(word, word) for word in shlex.split(line.partition(" | ")[0].partition(" > ")[0])[1:]]
        done = self.place.run(*words)
        self.remember(words, done)
        return done

    def remember(self, words: list[str], done: Finished) -> None:
        """What a person would read off the screen and type into the next command."""
        if words[:2] == ["sandbox", "up"]:
            known = yaml.safe_load((self.sandbox / "runbook.yaml").read_text())["environments"]["sandbox"]
            environments = {"sandbox": known, "production": known, "staging": known}
            (self.folder / "runbook.yaml").write_text(
                yaml.safe_dump({"environments": environments, "default": "sandbox"})
            )
        elif words[0] == "run" and "--approve" in words:
            self.fills["R-3EP12"] = self.fills["RUN"] = run_id(done.said)
        elif words[0] == "collect":
            found = sorted(self.folder.glob("*.tar.gz")) + sorted(self.folder.glob("*.zip"))
            self.fills["BUNDLE"] = str(found[-1])


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    made = Reader(tmp_path_factory.mktemp("reader"))
    try:
        yield made
    finally:
        made.place.run("sandbox", "down")


def in_order() -> list[str]:
    """Every `runbook` line of every page once: a LinkFlow first, then what needs one, and its end last."""
    lines = list(dict.fromkeys(line for each in runs() for line in each.commands if line.startswith("runbook ")))
    first = [line for line in lines if line.startswith(("runbook sandbox up", "runbook sandbox break"))]
    last = [line for line in lines if line.startswith("runbook sandbox down")]
    return [*first, *(line for line in lines if line not in (*first, *last)), *last]


# Where another end than well is the right one: there is no terminal here, and nobody to confirm.
ENDS = {
    "runbook sandbox": {0},
    "runbook list": {0},
    "runbook doctor": {0, 1},
    "runbook run": {0, 1, 5},
    "runbook resume": {0, 2, 5, 6},
    "runbook undo": {0, 5},
    "runbook triage": {0, 1},
}


@pytest.mark.xdist_group("reader")
@pytest.mark.timeout(300)
def test_every_command_of_the_pages_does_what_they_say(reader: Reader) -> None:
    lines = in_order()
    assert sum(line.startswith("runbook run") for line in lines) >= 3, lines
    for line in lines:
        done = reader.type(line)
        wanted = ENDS.get(" ".join(line.split()[:2]), {0})
        assert done.code in wanted and done.code not in WRONG, f"{line}: {done.code}\n{done.said[-2000:]}"
        assert "Traceback" not in done.said, line
    assert reader.fills.keys() >= {"BUNDLE", "R-3EP12"}


def test_the_command_that_is_run_is_the_one_of_this_tree() -> None:
    assert Path(RUNBOOK).parent == Path(sys.executable).parent
