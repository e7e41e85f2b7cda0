"""`run`, `resume` and `undo`: from the words of a command line to a driven run, and from its records to the answer."""

from __future__ import annotations

import json
import os
import shlex
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from . import hide

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..events import Event, GateRequested
    from ..journal import Journal
    from ..loader import LoadedPlaybook
    from ..prompt import Terminal
    from ..redaction import Redactor
    from ..runner import Setting
    from ..targets import Environment

Json = Any
OUTPUTS = click.Choice(["text", "json", "events"])


def complete_playbooks(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Names of playbooks, by their files: nothing is parsed."""
    from click.shell_completion import CompletionItem

    from ..catalog import entries, folders

    found = entries(folders(os.environ, Path.cwd()))
    return [CompletionItem(e.name) for e in found if e.kind == "runbook" and e.name.startswith(incomplete)]


def pairs(words: tuple[str, ...], option: str) -> dict[str, str]:
    """`key=value` words of an option."""
    from ..errors import UsageError

    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} wants name=value, not {word!r}")
        found[name] = value
    return found


def seconds(ctx: click.Context, param: click.Parameter, value: str) -> float:
    from ..units import parse_duration

    try:
        found = parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if found <= 0:
        raise click.BadParameter("nothing can be asked in no time; 60s is usual")
    return found


@click.command("run")
@click.argument("name", shell_complete=complete_playbooks)
@click.option("-i", "--input", "inputs", multiple=True, metavar="NAME=VALUE", help="An input of the playbook.")
@click.option("-e", "--env", "environment", metavar="ENV", help="The environment of runbook.yaml to act on.")
@click.option("--plan", is_flag=True, help="Diagnose for real, and show what would be done with its measured impact.")
@click.option("--diagnose", is_flag=True, help="Diagnose only; offer nothing.")
@click.option("--yes", is_flag=True, help="Confirm what is reversible. Never covers more.")
@click.option("--approve", multiple=True, metavar="STEP", help="Confirm this step in advance, up to disruptive.")
@click.option("--answer", multiple=True, metavar="ID=VALUE", help="Answer a question of the playbook.")
@click.option("--budget", default="60s", callback=seconds, help="Time for symptoms and diagnosis.  [default: 60s]")
@click.option("--record", metavar="DIR", type=click.Path(path_type=Path), help="Keep the run as a cassette for a test.")
@click.option("--output", type=OUTPUTS, default="text", help="text, one JSON document, or the events as JSON lines.")
@click.option("-v", "--verbose", is_flag=True, help="Show every fact and every look of a verification.")
def run_command(
    name: str,
    inputs: tuple[str, ...],
    environment: str | None,
    plan: bool,
    diagnose: bool,
    yes: bool,
    approve: tuple[str, ...],
    answer: tuple[str, ...],
    budget: float,
    record: Path | None,
    output: str,
    verbose: bool,
) -> int:
    """Diagnose NAME, and fix it behind a gate. NAME: a playbook, by name or path; or an alert, by name or payload."""
    from ..errors import UsageError
    from ..runner import begin, command_line, execute

    name, labelled = by_alert(name)
    loaded = load_named(name)
    check_approvals(loaded, approve)
    check_answers(loaded, pairs(answer, "--answer"))
    if plan and diagnose:
        raise UsageError("--plan and --diagnose exclude each other: --plan also shows what would be done")
    found = load_env(environment)
    with closing(open_journal()) as journal:
        out = Output(output, verbose)
        setting = out.setting(found, journal)
        given = labelled | pairs(inputs, "-i")
        mode: Literal["run", "plan", "diagnose"] = "plan" if plan else "diagnose" if diagnose else "run"
        where = f" --env {shlex.quote(environment)}" if environment else ""
        words = shlex.join([name, *(word for each in repeated(loaded, given) for word in ("-i", each))])
        start = begin(loaded, setting, given=given, mode=mode, budget=budget, repeat=words + where, where=where)
        answers = pairs(answer, "--answer")
        person = command_line(setting, approved=approve, yes=yes, planned=plan, answers=answers)
        with person.stack:
            finished = execute(start, loaded, setting, person)
        if record is not None:
            keep_cassette(record, loaded, journal, start.run)
        return out.end(finished.exit_code, journal, start.run)


def keep_cassette(folder: Path, loaded: LoadedPlaybook, journal: Journal, run: str) -> None:
    """Write the run's cassette, and the words of a test that plays it."""
    from ..cassette import write_cassette
    from ..errors import UsageError
    from ..replay import effective

    name = f"{loaded.playbook.name}-{run.lower()}.jsonl"
    text = write_cassette(effective((each.kind, each.data) for each in journal.records(run)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"{folder / name} cannot be written: {error.strerror or error}") from error
    click.echo(f"recorded in {folder / name}; masked as the journal is, read it before you share it", err=True)


def by_alert(name: str) -> tuple[str, dict[str, str]]:
    """The playbook's name, also where an alert was named; with it the inputs that the alert's labels give."""
    from ..catalog import entries, folders

    here = entries(folders(os.environ, Path.cwd()))
    if name.endswith((".yaml", ".yml")) or any(entry.kind == "runbook" and entry.name == name for entry in here):
        return name, {}
    from .triage import chosen_by_alert

    chosen = chosen_by_alert(name)
    if chosen is None:
        return name, {}
    playbook, inputs, why = chosen
    click.echo(f"alert: {playbook}, by {why}", err=True)
    return playbook, inputs


def repeated(loaded: LoadedPlaybook, given: dict[str, str]) -> list[str]:
    """The inputs as they may be shown and typed again."""
    sensitive = [name for name, item in loaded.playbook.inputs.items() if item.sensitive]
    return [f"{name}={f'[secret input {name}]' if name in sensitive else value}" for name, value in given.items()]


def load_named(name: str) -> LoadedPlaybook:
    """Find and load a playbook with the libraries it uses."""
    from ..catalog import find_playbook, folders, libraries_for
    from ..errors import PlaybookError
    from ..loader import load_playbook

    places = folders(os.environ, Path.cwd())
    entry = find_playbook(name, places)
    try:
        return load_playbook(entry.text, str(entry.path), libraries=libraries_for(entry.text, places, entry.path))
    except PlaybookError as error:
        show_complaints(error)
        raise SystemExit(error.exit_code) from None


def show_complaints(error: Any, so: str = "nothing was run") -> None:
    from ..errors import counted
    from ..safe_text import safe_text

    for complaint in error.complaints:
        click.echo(safe_text(str(complaint), newlines=True), err=True)
        if complaint.snippet:
            click.echo(safe_text(complaint.snippet, newlines=True), err=True)
    click.echo(f"{counted(len(error.complaints), 'complaint')}; {so}", err=True)


def check_approvals(loaded: LoadedPlaybook, approved: tuple[str, ...]) -> None:
    """An approval for a step that does not exist is a mistake, and a mistyped one must not pass for silence."""
    from difflib import get_close_matches

    from ..errors import UsageError

    known = [action.id for action in loaded.playbook.resolution]
    known += [f"{action.id}:undo" for action in loaded.playbook.resolution if action.undo]
    for step in approved:
        if step not in known:
            close = get_close_matches(step, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known) or 'no actions'}"
            raise UsageError(f"--approve {step}: {loaded.playbook.name} has no such action; {hint}")


def check_answers(loaded: LoadedPlaybook, answers: dict[str, str]) -> None:
    """An answer to a question that is not asked would pass in silence."""
    from ..errors import UsageError

    asked = [probe.id for probe in loaded.playbook.probes() if probe.ask]
    for question in answers:
        if question not in asked:
            raise UsageError(f"--answer {question}: it asks no such question; it asks {', '.join(asked) or 'none'}")


def load_env(name: str | None, file: Path | None = None) -> Environment:
    from ..catalog import config_folder
    from ..targets import load_environment

    folders = [Path.cwd(), config_folder(os.environ)]
    environment = load_environment(name, environ=os.environ, folders=folders, file=file)
    hide(environment.redactor)
    for warning in environment.warnings:
        click.echo(f"warning: {warning}", err=True)
    return environment


def open_journal(readonly: bool = False) -> Journal:
    from ..journal import Journal, state_folder

    return Journal.open(state_folder(os.environ), readonly=readonly)


class Output:
    """Where the answer goes: text on stdout; or the document there, and progress on stderr."""

    def __init__(self, output: str, verbose: bool) -> None:
        from ..terminal import screen_for

        self.output = output
        self.unread = False
        self.screen = screen_for(sys.stdout if output == "text" else sys.stderr, os.environ, verbose=verbose)

    def setting(self, environment: Environment, journal: Any) -> Setting:
        from ..runner import Setting

        listeners: tuple[Callable[[Event], None], ...] = (self.print_event, self.screen.show)

        def known(redactor: Redactor) -> None:
            hide(redactor)
            for warning in redactor.warnings:
                if warning not in environment.warnings:
                    click.echo(f"warning: {warning}", err=True)

        return Setting(environment, journal, listeners, self.screen.tick, self.seen, known)

    def seen(self, gate: GateRequested, terminal: Terminal) -> None:
        """Redirected output shows the gate to nobody: then it is drawn on the terminal that is asked."""
        if not self.screen.attended:
            from ..terminal import screen_for

            screen_for(terminal.output, os.environ).show(gate)

    def print_event(self, event: Event) -> None:
        from ..events import encode, kind_of

        if self.output == "events":
            line = {"kind": kind_of(event), **encode(event)}
            self.print(json.dumps(line, ensure_ascii=True, default=str))

    def print(self, text: str) -> None:
        """A reader that went away must not end a run between an intent and its result: the journal has it all."""
        if not self.unread:
            try:
                click.echo(text)
            except OSError:
                self.unread = True

    def end(self, exit_code: int, journal: Journal, run: str) -> int:
        """The document of the whole run, also of what an earlier process recorded; the journal's head."""
        self.document(journal, run)
        click.echo(f"journal head {journal.head(run)}", err=True)
        return exit_code

    def document(self, journal: Journal, run: str) -> None:
        from ..report import fold, to_json

        if self.output == "json":
            self.print(to_json(fold((record.kind, record.data) for record in journal.records(run))))


@click.command("resume")
@click.argument("run")
@click.option("--settle", type=click.Choice(["happened", "not-happened"]), help="What became of the open step.")
@click.option("--approve", multiple=True, metavar="STEP", help="Confirm this step in advance, up to disruptive.")
@click.option("-e", "--env", "environment", metavar="ENV", help="Default: the environment of the run.")
@click.option("--output", type=OUTPUTS, default="text", help="text, one JSON document, or the events as JSON lines.")
@click.option("-v", "--verbose", is_flag=True)
def resume_command(
    run: str, settle: str | None, approve: tuple[str, ...], environment: str | None, output: str, verbose: bool
) -> int:
    """Go on with RUN. A step whose outcome is unknown is settled first, by a person."""
    from .resuming import resume

    return resume(run, settle=settle, approve=approve, environment=environment, out=Output(output, verbose))


@click.command("undo")
@click.argument("run")
@click.option("--approve", multiple=True, metavar="STEP", help="Confirm this undo in advance: `unpause:undo`.")
@click.option("-e", "--env", "environment", metavar="ENV", help="Default: the environment of the run.")
@click.option("--output", type=OUTPUTS, default="text", help="text, one JSON document, or the events as JSON lines.")
def undo_command(run: str, approve: tuple[str, ...], environment: str | None, output: str) -> int:
    """Undo what RUN changed, from the way back that was stored with it."""
    from .resuming import undo

    return undo(run, approve=approve, environment=environment, out=Output(output, False))
