"""The pages of the documentation that are made of the program: complete, and of one mind with it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from runbook_engine import executors, linter
from runbook_engine.cli import COMMANDS, group
from runbook_engine.model import Action, Authored, Cause, Input, Playbook, Probe

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs"))

import generator  # noqa: E402 - docs/ is no package

PAGES = generator.pages()


def keys(model: type[Authored]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if name not in ("executor", "request"):
            yield field.alias or name


@pytest.mark.parametrize("model", [Playbook, Probe, Cause, Action, Input])
def test_every_key_of_the_language_is_told(model: type[Authored]) -> None:
    assert [key for key in keys(model) if f"| `{key}` |" not in PAGES["language.md"]] == []


@pytest.mark.parametrize("name", executors.names())
def test_every_executor_has_a_page_with_its_answers_and_effects(name: str) -> None:
    page = PAGES[f"executors/{name}.md"]
    assert all(f"| `{answer}` |" in page for answer in executors.find(name).ANSWERS)
    effects = page.partition("## Effects")[2].partition("## Answer")[0]
    assert len(re.findall(r"\| (?:read|touch|reversible|disruptive|destructive) \|", effects)) >= 2


def test_every_code_has_a_section() -> None:
    assert re.findall(r"^## (RB\d+)$", PAGES["rules.md"], re.MULTILINE) == list(linter.summaries())


def test_every_command_has_a_page_with_its_options() -> None:
    context = click.Context(group)
    for name in COMMANDS:
        command = group.get_command(context, name)
        assert command is not None
        options = [option for item in command.params for option in item.opts if option.startswith("--")]
        assert [option for option in options if option not in PAGES[f"commands/{name}.md"]] == []


def test_every_shipped_playbook_has_a_page() -> None:
    shipped = {
        found[1]
        for path in (ROOT / "playbooks").glob("*/*.yaml")
        if not path.name.endswith(".test.yaml")
        and (
            found := re.search(r"^runbook:.*?^name: (\S+)", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        )
    }
    assert {name for name in shipped if f"playbooks/{name}.md" not in PAGES} == set()
    assert all(f"(playbooks/{name}.md)" in PAGES["playbooks.md"] for name in shipped)


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_link_of_a_made_page_leads_somewhere(name: str) -> None:
    here = ROOT / "docs" / "generated" / name
    text = re.sub(r"```.*?```|`[^`\n]*`", "", PAGES[name], flags=re.DOTALL)
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(#[^)]*)?\)", text):
        path = (here.parent / target).resolve() if target else here
        made = (
            str(path.relative_to(ROOT / "docs" / "generated"))
            if path.is_relative_to(ROOT / "docs" / "generated")
            else ""
        )
        assert made in PAGES or path.is_file(), f"{name}: {target}"
        page = PAGES[made] if made in PAGES else path.read_text(encoding="utf-8")
        assert not anchor or anchor[1:] in slugs(page), f"{name}: {target}{anchor}"


def slugs(page: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.replace("\\", "").lower()).replace(" ", "-") for each in headings}


def test_pages_are_written_once_and_old_ones_removed(tmp_path: Path) -> None:
    (tmp_path / "old.md").write_text("x")
    generator.write(tmp_path)
    times: dict[str, Any] = {str(path): path.stat().st_mtime_ns for path in tmp_path.rglob("*.md")}
    generator.write(tmp_path)
    assert not (tmp_path / "old.md").exists() and len(times) == len(PAGES)
    assert times == {str(path): path.stat().st_mtime_ns for path in tmp_path.rglob("*.md")}
