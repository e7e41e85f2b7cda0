"""The command line, from the commands themselves: usage, arguments, options; and the exit codes."""

from __future__ import annotations

from collections.abc import Iterator

import click

from runbook_engine.cli import COMMANDS, EXIT_CODES, group


def pages() -> dict[str, str]:
    made = {f"commands/{name}.md": text for name, text in _all()}
    lines = [f"- [`runbook {name}`](commands/{name}.md): {text}" for name, (_, text) in COMMANDS.items()]
    codes = EXIT_CODES.replace("\b\n", "").partition(":\n")[2]
    head = "# Command line\n\n`runbook --help` and `runbook COMMAND --help` say the same at the terminal.\n\n"
    return {"commands.md": f"{head}{chr(10).join(lines)}\n\n## Exit codes\n\n```text\n{codes}\n```\n", **made}


def _all() -> Iterator[tuple[str, str]]:
    context = click.Context(group, info_name="runbook")
    for name in COMMANDS:
        command = group.get_command(context, name)
        assert command is not None
        parts = [f"# runbook {name}", *_command(command, click.Context(command, context, info_name=name))]
        if isinstance(command, click.Group):
            for inner in command.list_commands(context):
                found = command.get_command(context, inner)
                assert found is not None
                inside = click.Context(found, click.Context(command, context, info_name=name), info_name=inner)
                parts += [f"## runbook {name} {inner}", *_command(found, inside)]
        yield name, "\n\n".join(parts) + "\n"


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    usage = command.get_usage(context).removeprefix("Usage: ")
    yield f"```text\n{usage}\n```"
    for paragraph in (command.help or "").split("\n\n"):
        if paragraph.startswith("\b"):
            yield f"```text\n{paragraph.strip(chr(8) + chr(10))}\n```"
        elif paragraph.strip():
            yield _prose(paragraph)
    options = [found for item in command.params if (found := item.get_help_record(context)) is not None]
    if options:
        rows = [f"| `{_bar(name)}` | {_prose(text)} |" for name, text in options]
        yield "| option | meaning |\n|---|---|\n" + "\n".join(rows)


def _bar(text: str) -> str:
    return text.replace("|", "\\|")


def _prose(text: str) -> str:
    escaped = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")
    return escaped.replace("[", "\\[")
