"""`explain`: what the code of a complaint means."""

from __future__ import annotations

import click


@click.command("explain")
@click.argument("code", required=False)
def explain_command(code: str | None) -> None:
    """Say what CODE (RBnnn, from a complaint) means; without it, list every code."""
    from difflib import get_close_matches

    from ..errors import UsageError
    from ..explaining import pages
    from ..linter import summaries

    known = summaries()
    if code is None:
        for each, summary in known.items():
            click.echo(f"{each}  {summary}")
        return
    wanted = code.upper()
    if wanted not in known:
        close = get_close_matches(wanted, known, 1, 0.5)
        hint = f"did you mean {close[0]}?" if close else "`runbook explain` lists them"
        raise UsageError(f"there is no code {code!r}: {hint}")
    page = pages()[wanted]
    click.echo(f"{wanted}  {page.kind}\n\n{page.summary}\n\n{page.why}")
    for word, example in (("Wrong", page.bad), ("Right", page.good)):
        if example:
            click.echo(f"\n{word}:\n")
            click.echo("\n".join(f"    {line}" for line in example.strip("\n").split("\n")))
