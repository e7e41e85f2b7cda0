"""`schema`: any part of the language as help at the terminal, and the JSON Schemas for editors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..language.parts import Part

Json = Any
KINDS = click.Choice(["playbook", "library", "cases", "environments"])


@click.command("schema")
@click.argument("part", required=False)
@click.option("--format", "shape", type=click.Choice(["text", "json"]), help="Default: text for a PART, else json.")
@click.option(
    "--draft", type=click.Choice(["7", "2020-12"]), default="7", show_default=True, help="Of the JSON Schema."
)
@click.option("--kind", type=KINDS, help="Which kind of file. Default: the one that has PART, else playbook.")
def schema_command(part: str | None, shape: str | None, draft: str, kind: str | None) -> None:
    """Explain PART of the language, or print the JSON Schema for editors.

    PART is a dotted path: resolution.verify.hold, symptoms.asynq, inputs.type, environments.policy.most.
    Without one the schema of a whole file is printed, with the executors that other packages have installed here.
    """
    import json

    from ..language.help_text import help_text
    from ..schema import schema_of, schema_text

    if part is None and shape != "text":
        click.echo(schema_text(kind or "playbook", draft, third_parties=True))
        return
    found, name = _find(part or "", kind)
    if shape != "json":
        click.echo(help_text(schema_of(name, "2020-12", third_parties=True), found))
        return
    whole = schema_of(name, draft, third_parties=True)
    definitions = "definitions" if draft == "7" else "$defs"
    told = _referring(found.schema, definitions)
    click.echo(json.dumps({"$schema": whole["$schema"], **told, definitions: whole[definitions]}, indent=2))


def _find(part: str, kind: str | None) -> tuple[Part, str]:
    """Where it is: in the kind that was named, else in the first that has its first word."""
    from ..errors import UsageError
    from ..language.documents import DOCUMENTS
    from ..language.parts import find_part
    from ..schema import schema_of

    kinds = [kind] if kind else list(DOCUMENTS)
    first = part.partition(".")[0].partition("[")[0]
    for name in kinds:
        root = schema_of(name, "2020-12", third_parties=True)
        if not part or first in root["properties"] or len(kinds) == 1:
            return find_part(root, part), name
    from ..loading.suggestions import suggest

    known = {key for name in kinds for key in schema_of(name, "2020-12", third_parties=True)["properties"]}
    raise UsageError(f"no file has a key {first!r}{suggest(first, known)}")


def _referring(schema: Json, definitions: str) -> Json:
    from ..language.drafts import edition

    told = edition(dict(schema), "7") if definitions == "definitions" else dict(schema)
    return {key: item for key, item in told.items() if key != "$schema"}
