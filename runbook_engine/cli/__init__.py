"""The command line. `runbook --help` and completion load click and nothing heavier; a command imports what it needs."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from .. import __version__
from ..errors import EXIT_BUG, EXIT_JOURNAL, RunbookError

if TYPE_CHECKING:
    from ..redaction import Redactor

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("runbook_engine.cli.run", "Diagnose a problem, and fix it behind a gate."),
    "triage": ("runbook_engine.cli.triage", "Ask the symptoms of every playbook at once: which one applies?"),
    "match": ("runbook_engine.cli.triage", "Say which playbook an alert is for."),
    "list": ("runbook_engine.cli.browse", "List the playbooks that can be found."),
    "show": ("runbook_engine.cli.browse", "Show a playbook as a person reads a guide."),
    "new": (
        "runbook_engine.cli.new",
        "Write a new playbook and its first test: by questions, from an alert, a session.",
    ),
    "validate": ("runbook_engine.cli.validate", "Check playbooks: every complaint, with line and column."),
    "fmt": ("runbook_engine.cli.formatting", "Write playbooks in one layout; comments and meaning stay."),
    "test": ("runbook_engine.cli.testing", "Rehearse playbooks from recorded or scripted cases, without any target."),
    "prove": ("runbook_engine.cli.proving", "Go through every way a playbook can run, without any target."),
    "explain": ("runbook_engine.cli.validating", "Explain the code of a complaint."),
    "schema": ("runbook_engine.cli.schema", "Explain any part of the language; print its JSON Schema."),
    "runs": ("runbook_engine.cli.journal", "List earlier runs."),
    "report": ("runbook_engine.cli.journal", "Report a run: Markdown for the incident channel, or JSON."),
    "collect": ("runbook_engine.cli.collecting", "Collect the evidence of this moment in one redacted bundle."),
    "analyze": ("runbook_engine.cli.collecting", "Say what a bundle means, without asking any target."),
    "resume": ("runbook_engine.cli.run", "Go on with a run that was interrupted."),
    "undo": ("runbook_engine.cli.run", "Undo what a run changed."),
    "doctor": ("runbook_engine.cli.doctor", "Check the targets of an environment: who answers, with which rights."),
    "demo": ("runbook_engine.cli.demo", "Break a small LinkFlow on this machine, and mend it."),
    "sandbox": ("runbook_engine.cli.sandbox", "A small LinkFlow on this machine that can be broken on purpose."),
}

EXIT_CODES = """\b
Exit codes:
  0 healthy, fixed, undone     6 unknown: look before you retry
  1 diagnosed, or declined    65 invalid playbook
  2 usage                     69 no target answered
  3 inconclusive              70 our bug (report in a file)
  4 not fixed, relapsed       74 journal or output cannot be written
  5 refused: no confirmation  75 a person has to answer
                             130, 143 interrupted"""


class LazyGroup(click.Group):
    """A group that knows its commands' names and help, and imports one only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        found = [CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items() if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=f"Runbooks that diagnose, fix behind a gate, and prove that the fix held.\n\n{EXIT_CODES}",
)
@click.version_option(__version__, prog_name="runbook")
def group() -> None:
    """The root; its help is given above, with the exit codes."""


def main() -> None:
    """Run the command and end with its exit code. The only broad `except` of the command line stands here."""
    try:
        code = group.main(standalone_mode=False, prog_name="runbook")
        sys.exit(code if isinstance(code, int) else 0)
    except (KeyboardInterrupt, click.exceptions.Abort):  # click makes the second of the first
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(141)
    except RunbookError as error:
        _say(error)
        sys.exit(error.exit_code)
    except Exception as error:
        sys.exit(_unwritable(error) or _bug(error))
    finally:
        _let_go_of_output()


_hiding: list[Redactor] = []


def hide(redactor: Redactor) -> None:
    """From now on no error shows what this one knows."""
    _hiding.append(redactor)


def _masked(text: str) -> str:
    for redactor in _hiding:
        text = redactor.text(text)
    return text


def _let_go_of_output() -> None:
    """Nobody may be left to read it (`| head`): what the interpreter would flush at its end then goes nowhere."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _say(error: RunbookError) -> None:
    from ..safe_text import safe_text

    click.echo(f"runbook: {safe_text(_masked(str(error)), newlines=True)}", err=True)


def _unwritable(error: Exception) -> int | None:
    """A full disk behind our output is nobody's bug."""
    if not isinstance(error, OSError) or error.errno not in (errno.ENOSPC, errno.EDQUOT) or error.filename is not None:
        return None
    click.echo(f"runbook: the output cannot be written: {error.strerror}", err=True)
    return EXIT_JOURNAL


def _bug(error: Exception) -> int:
    """Our fault: the traceback goes to a file, one line to the screen."""
    import tempfile
    import traceback

    descriptor, path = tempfile.mkstemp(prefix="runbook-bug-", suffix=".txt")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(_masked("".join(traceback.format_exception(error))))
    click.echo(f"runbook: our bug: {type(error).__name__}. What happened is in {path}", err=True)
    return EXIT_BUG
