"""`sandbox`: start, break, heal and measure a small LinkFlow on this machine."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

Json = Any
OUTPUTS = click.Choice(["text", "json"])


def folder_option(function: Any) -> Any:
    help_text = "Where its state is. Default: $RUNBOOK_SANDBOX, or the user's state folder."
    return click.option("--folder", type=click.Path(path_type=Path), help=help_text)(function)


def chosen(folder: Path | None) -> Path:
    from ..sandbox.state import default_folder

    return folder or default_folder(os.environ)


def say(line: str) -> None:
    from ..safe_text import safe_text

    click.echo(safe_text(line), err=True)


@click.group("sandbox")
def sandbox_command() -> None:
    """A small LinkFlow on this machine that can be broken on purpose: real PostgreSQL, real Redis."""


@sandbox_command.command("up")
@folder_option
@click.option("--pace", default=1.0, show_default=True, help="0.1 makes its times ten times shorter.")
@click.option("--seed", type=int, help="Of its jitter; printed when not given.")
def up_command(folder: Path | None, pace: float, seed: int | None) -> None:
    """Start it, and wait until it is healthy."""
    from ..sandbox import control

    state = control.up(chosen(folder), pace=pace, seed=seed, log=say)
    say(f"its environment: {state.folder / 'runbook.yaml'}; try: cd {state.folder} && runbook run queue-backlog")


@sandbox_command.command("down")
@folder_option
def down_command(folder: Path | None) -> None:
    """End it, and every process it started."""
    from ..sandbox import control

    say("ended" if control.down(chosen(folder)) else "none was running")


@sandbox_command.command("status")
@folder_option
@click.option("--output", type=OUTPUTS, default="text")
def status_command(folder: Path | None, output: str) -> int:
    """Whether it runs, and where: connection strings, ports, pids, folder, active faults."""
    from ..sandbox import control

    status = control.status(chosen(folder))
    if output == "json":
        click.echo(json.dumps(status, indent=2, default=str))
    else:
        for name, value in status.items():
            if name != "services":
                click.echo(f"{name:12} {value if isinstance(value, str) else json.dumps(value, default=str)}")
    return 0 if status["running"] else 1


@sandbox_command.command("faults")
@click.option("--output", type=OUTPUTS, default="text")
def faults_command(output: str) -> None:
    """List the faults, and what each imitates."""
    from ..sandbox import control

    rows = [
        {"id": fault.id, "playbook": fault.playbook, "title": fault.title, "imitates": fault.imitates}
        for fault in control.faults()
    ]
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo(f"{row['id']:5} {row['playbook']:16} {row['title']}\n{'':22} {row['imitates']}")


@sandbox_command.command("break")
@click.argument("fault")
@folder_option
@click.option("--seed", type=int, help="Of the fault's jitter; printed when not given.")
def break_command(fault: str, folder: Path | None, seed: int | None) -> None:
    """Switch FAULT on, and wait until its symptom shows."""
    from ..sandbox import control

    control.break_(control.load_state(chosen(folder)), fault, seed, say)


@sandbox_command.command("heal")
@click.argument("fault", required=False)
@folder_option
def heal_command(fault: str | None, folder: Path | None) -> None:
    """Switch FAULT off; all of them without a name, and back to the healthy baseline."""
    from ..sandbox import control

    state = control.load_state(chosen(folder))
    if fault is None:
        control.restore(state, say)
    else:
        say(f"healed {', '.join(control.heal(state, fault, say)) or 'nothing'}")


@sandbox_command.command("matrix")
@folder_option
@click.option("--only", multiple=True, metavar="FAULT", help="Only these faults.")
@click.option("--repeat", default=3, show_default=True, help="Runs of each fault, with other jitter.")
@click.option("--healthy", default=20, show_default=True, help="Runs without a fault, of each playbook in turn.")
@click.option("--doubles", default=10, show_default=True, help="Pairs of faults at once; none with --only.")
@click.option("--jobs", default=1, show_default=True, help="Sandboxes that are measured side by side.")
@click.option("--pace", default=0.1, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of the first run; printed with every run.")
@click.option("--plan", is_flag=True, help="Only look at what is offered first, and carry nothing out: quicker.")
@click.option("--record", metavar="DIR", type=click.Path(path_type=Path), help="Keep each run as a cassette for tests.")
@click.option("--output", type=OUTPUTS, default="text")
def matrix_command(
    folder: Path | None,
    only: tuple[str, ...],
    repeat: int,
    healthy: int,
    doubles: int,
    jobs: int,
    pace: float,
    seed: int,
    plan: bool,
    record: Path | None,
    output: str,
) -> int:
    """Break it in every way, run the playbook, and compare: accuracy, false alarms, harm."""
    from ..matrix import Setup, run_matrix, table
    from ..matrix.summary import good

    setup = Setup(folder, pace, seed, say, plan, record, jobs)
    result = run_matrix(setup, only=only, repeat=repeat, quiet=healthy, doubles=0 if only else doubles)
    click.echo(json.dumps(result, indent=2) if output == "json" else table(result))
    return 0 if good(result) else 1
