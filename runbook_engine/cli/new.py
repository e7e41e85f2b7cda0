"""`new`: writes a playbook and its first test. What is written has been validated and its test has passed, before."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..drafting.draft import Draft

AREAS = click.Choice(["api", "worker", "database", "redis", "scheduler", "emergency", "help"])
_INSTANCE = (
    "For instance: runbook new slow-jobs --title 'Jobs are slow' --look 'sql: select count(*) from jobs' --bad '> 100' "
    "--cause 'Too few workers' --fix 'service: restart'; or --from-alert FILE, or --from-session FILE"
)
_FILE = click.Path(allow_dash=True)


@click.command("new")
@click.argument("name", required=False)
@click.option(
    "--from-alert", "alert", type=_FILE, metavar="FILE", help="An Alertmanager payload or one alert; `-`: stdin."
)
@click.option(
    "--from-session", "session", type=_FILE, metavar="FILE", help="script, asciinema, `$ command` lines, history."
)
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Where to write.  [default: playbooks if it is there, else .]"
)
@click.option("--title", help="What is wrong, in a few words.")
@click.option("--about", help="What users see of it.")
@click.option("--area", type=AREAS, help="The part of the platform.")
@click.option(
    "--look", metavar="WHAT: REQUEST", help="How it shows: `sql: select count(*) …`, `http: /health`, `ask: …`."
)
@click.option("--target", metavar="NAME=KIND", help="Whom the look asks.  [default: by the kind of look]")
@click.option("--figure", metavar="PATH", help="What in the answer counts: row.waiting, status, lines[0] | float.")
@click.option("--bad", metavar="COMPARISON", help="When the figure is bad: '> 100', '< 1', '> 5m'.")
@click.option("--cause", help="One cause, in a few words.")
@click.option("--fix", metavar="WHAT: REQUEST", help="What mends it: `service: restart`, `shell: …`, `manual: …`.")
@click.option("--advice", help="What a person should do.")
def new_command(
    name: str | None, alert: str | None, session: str | None, folder: Path | None, **answers: str | None
) -> None:
    """Write NAME.yaml and NAME.test.yaml: by a few questions at a terminal, by options, from an alert or a session.

    What an alert or a session says is taken as text, with its secrets masked; nothing of it is run. No file is ever
    overwritten.
    """
    from ..drafting.draft import proved
    from ..errors import UsageError

    given = {key: value for key, value in answers.items() if value is not None}
    if alert is not None and session is not None:
        raise UsageError("--from-alert and --from-session exclude each other")
    if (alert or session) and given:
        option = "--from-alert" if alert else "--from-session"
        raise UsageError(f"{option} answers for itself; leave out {', '.join(f'--{each}' for each in given)}")
    if alert is not None:
        draft = _from_alert(alert, name)
    elif session is not None:
        draft = _from_session(session, name)
    else:
        draft = _from_answers(name, given)
    place = folder or (Path("playbooks") if Path("playbooks").is_dir() else Path())
    files = [place / f"{draft.name}.yaml", place / f"{draft.name}.test.yaml"]
    _refuse_existing(files)
    _write(files, proved(draft))
    _say_what_next(draft.name, files)


def _from_alert(file: str, name: str | None) -> Draft:
    from ..alerts import LARGEST, read_firing
    from ..drafting.from_alert import from_alert

    where = "standard input" if file == "-" else file
    text = _read(file, LARGEST).decode("utf-8", "replace")
    return from_alert(read_firing(text, where), _name(name), where)


def _from_session(file: str, name: str | None) -> Draft:
    from ..drafting.from_session import from_session
    from ..drafting.recordings import LARGEST, read_session

    where = "standard input" if file == "-" else file
    return from_session(read_session(_read(file, LARGEST), where), _name(name), "session" if file == "-" else file)


def _name(name: str | None) -> str | None:
    """A name that a person gave is taken as it is, or refused."""
    from ..drafting.taming import identifier
    from ..errors import UsageError

    if name is not None and identifier(name, "playbook") != name:
        fitting = identifier(name, "playbook")
        raise UsageError(f"{name!r} is no name for a playbook: lower case letters, digits, hyphens; try {fitting!r}")
    return name


def _from_answers(name: str | None, given: dict[str, str]) -> Draft:
    from ..drafting.from_answers import Answers, from_answers
    from ..errors import UsageError

    here = sys.stdin.isatty() and sys.stderr.isatty()
    asks = given.get("look", "").partition(":")[0].strip() == "ask"
    missing = [each for each in ("title", "look", "bad") if each not in given and not (each == "bad" and asks)]
    if here and (name is None or missing):
        name, given = _questions(name, given)
    elif name is None or missing:
        wanted = [*(["NAME"] if name is None else []), *(f"--{each}" for each in missing)]
        are = "is" if len(wanted) == 1 else "are"
        raise UsageError(f"there is no terminal to ask at, and {', '.join(wanted)} {are} missing. {_INSTANCE}")
    return from_answers(Answers(name=name or "", **given))


def _questions(name: str | None, given: dict[str, str]) -> tuple[str, dict[str, str]]:
    """At most nine of them; an empty answer takes what stands in brackets."""
    from ..drafting.from_answers import FIXES, LOOKS, checked_bound, checked_look

    def ask(key: str, question: str, default: str = "", check: Callable[[str], object] = str) -> str:
        if key not in given:
            given[key] = _asked(question, default, check)
        return given[key]

    click.echo("A playbook in a few answers. Nothing is run or asked of any target; Ctrl-C writes nothing.", err=True)
    name = name or _asked("Name (as in `runbook run NAME`)", "", _name)
    title = ask("title", "What is wrong, in a few words")
    ask("about", "What do users see of it", f"{title}.")
    if "area" not in given:
        area = click.prompt("Area", default="", type=click.Choice(["", *AREAS.choices]), show_default=False, err=True)
        given |= {"area": area} if area else {}
    if "look" not in given:
        what = click.prompt("How does it show? Ask", type=click.Choice(list(LOOKS)), err=True)
        look = LOOKS[what]
        request = _asked("Ask what", look.example, lambda text: checked_look(f"{what}: {text}"))
        given["look"] = f"{what}: {request}"
    kind = given["look"].partition(":")[0].strip()
    if kind != "ask":
        ask("bad", f"When is the figure ({given.get('figure') or LOOKS[kind].figure}) bad", "> 100", checked_bound)
    ask("cause", "One cause of it, in a few words", "not known yet")
    if "fix" not in given and "advice" not in given and kind != "ask":
        way = click.prompt("What mends it", type=click.Choice([*FIXES, "nothing"]), default="nothing", err=True)
        if way != "nothing":
            given["fix"] = f"{way}: {_asked('Exactly what', 'restart' if way == 'service' else '')}"
    if "fix" not in given:
        ask("advice", "What should a person do", "Find out why, and write it here.")
    return name, given


def _asked(question: str, default: str = "", check: Callable[[str], object] = str) -> str:
    """One answer; a wrong one is told, and asked for again."""
    from ..errors import RunbookError
    from ..safe_text import safe_text

    while True:
        answer = str(click.prompt(question, default=default or None, err=True)).strip()
        try:
            check(answer)
        except RunbookError as error:
            click.echo(f"  {safe_text(str(error))}", err=True)
            continue
        if answer:
            return answer


def _read(file: str, most: int) -> bytes:
    from ..errors import UsageError

    if file == "-":
        return sys.stdin.buffer.read(most + 1)
    path = Path(file)
    try:
        if not path.is_file():
            raise UsageError(f"{file} is no file")
        with path.open("rb") as stream:
            return stream.read(most + 1)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}") from error


def _refuse_existing(files: list[Path]) -> None:
    from ..errors import UsageError

    found = next((path for path in files if os.path.lexists(path)), None)
    if found is not None:
        raise UsageError(f"{found} is there already, and nothing is overwritten. give another NAME, or --folder")


def _write(files: list[Path], texts: tuple[str, str]) -> None:
    """Both or neither; a file that appeared meanwhile is left alone."""
    from ..errors import UsageError

    made: list[Path] = []
    try:
        files[0].parent.mkdir(parents=True, exist_ok=True)
        for path, text in zip(files, texts, strict=True):
            with path.open("x", encoding="utf-8", newline="\n") as file:
                made.append(path)
                file.write(text)
    except OSError as error:
        for path in made:
            path.unlink(missing_ok=True)
        raise UsageError(f"{error.filename or files[0]} cannot be written: {error.strerror or error}") from error


def _say_what_next(name: str, files: list[Path]) -> None:
    import shlex

    from ..safe_text import safe_text

    for path in files:
        click.echo(safe_text(str(path)))
    shown = [safe_text(shlex.quote(str(path))) for path in files]
    click.echo(f"next: runbook show {shown[0]}; runbook test {shown[1]}; runbook run {shown[0]} --plan", err=True)
