"""Checks what is asked of executors: parameters, constant code, bound names, identifiers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from pydantic import ValidationError

from ...expressions import ExpressionError, has_template, template_names
from ...sql.text import placeholders, problems
from ..positions import Loc
from ..shapes import shape_complaint
from ..suggestions import suggest
from .checking import Checking, Placed

Json = Any

MOST_PLACEHOLDERS = (
    500  # each is looked at in its surroundings: a hostile text would keep a validation busy for minutes
)
MOST_PROBLEMS = 20  # of one text

_TEMPLATE = re.compile(r"\$\{\{\s*(.*?)\s*\}\}", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_requests(checking: Checking) -> None:
    for placed in checking.acts():
        before = len(checking.complaints)
        for loc, code in _code_of(placed):
            _check_code(checking, placed, loc, code)
        if len(checking.complaints) == before:
            _check_params(checking, placed)
        _check_idents(checking, placed)


def _check_params(checking: Checking, placed: Placed) -> None:
    executor = checking.executor_of(placed.act)
    if executor is None:
        return
    try:
        checking.params[placed.loc] = executor.Params.model_validate(placed.act.request)
    except ValidationError as error:
        lead: Loc = (*placed.loc, "request")
        found: dict[Loc, list[Any]] = {}
        for item in error.errors(include_url=False):
            item["loc"] = _without_branches(checking, lead, item["loc"])
            found.setdefault(item["loc"], []).append(item)
        for loc, items in found.items():
            for item in _nearest(items, any(other[: len(loc)] == loc != other for other in found)):
                context = {"executors": checking.executor_names}
                made = shape_complaint(item, executor.Params, checking.root, checking.lines, context, lead)
                checking.complain((*lead, *loc), "RB106", made.message)


def _nearest(items: list[Any], fits_further: bool) -> list[Any]:
    """Every form that a request may have complains of one that it is not: those that do not even begin to fit go."""
    near = [item for item in items if not item["type"].endswith("_type")]
    return near or ([] if fits_further else items[:1])


def _without_branches(checking: Checking, lead: Loc, loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """A union puts the name of its branch into the place; nothing in the file is called that."""
    kept: tuple[int | str, ...] = ()
    for index, part in enumerate(loc):
        if isinstance(part, int) or checking.written((*lead, *kept, part)) or (index == len(loc) - 1 and _is_key(part)):
            kept = (*kept, part)
    return kept


def _is_key(part: str | int) -> bool:
    return isinstance(part, str) and re.fullmatch(r"[a-z_]+", part) is not None and part not in ("str", "list", "dict")


def _code_of(placed: Placed) -> Iterator[tuple[Loc, str]]:
    """The texts of a request that are code: SQL, shell scripts, Lua."""
    request, loc = placed.act.request, (*placed.loc, "request")
    if isinstance(request, str) and placed.act.executor in ("sql", "shell"):
        yield loc, request
    elif isinstance(request, list) and placed.act.executor == "sql":
        yield from (((*loc, index), text) for index, text in enumerate(request) if isinstance(text, str))
    elif isinstance(request, dict) and isinstance(request.get("script"), str):
        yield (*loc, "script"), request["script"]


def _check_code(checking: Checking, placed: Placed, loc: Loc, code: str) -> None:
    if placed.act.executor == "sql" and code.count("%(") > MOST_PLACEHOLDERS:
        checking.complain(loc, "RB301", f"{placed.what}: more than {MOST_PLACEHOLDERS} placeholders in one text")
    elif placed.act.executor == "sql":
        for offset, message in problems(code)[:MOST_PROBLEMS]:
            found = "RB302" if "${{" in message else "RB301"
            checking.complain(loc, found, f"{placed.what}: {message}", offset=offset)
    elif has_template(code):
        for match in islice(_TEMPLATE.finditer(code), MOST_PROBLEMS):
            checking.complain(loc, "RB302", _constant(placed, match), offset=match.start())


def _constant(placed: Placed, match: re.Match[str]) -> str:
    expression = match[1]
    name = expression if _NAME.fullmatch(expression) else "value"
    if placed.act.executor == "redis":
        return f"{placed.what}: a script is constant text. pass {match[0]} in args: and read it as ARGV[1]"
    return (
        f'{placed.what}: a script is constant text. write "${name}" instead of {match[0]} '
        f"and with: {{{name}: '{match[0]}'}}"
    )


def _check_idents(checking: Checking, placed: Placed) -> None:
    act, loc = placed.act, placed.loc
    changing = placed.role in ("action", "part", "undo")
    for key, used in (("idents", bool(act.idents)), ("autocommit", act.autocommit)):
        if used and not changing:
            checking.complain((*loc, key), "RB403", f"{placed.what}: '{key}' is for resolution only", key=True)
    if act.executor != "sql" or (not changing and act.idents):
        return
    _check_ident_sources(checking, placed)
    if loc not in checking.params:
        return
    texts = [code for _, code in _code_of(placed)]
    wanted = {place.name for text in texts for place in placeholders(text) if place.kind == "I"}
    for name in sorted(wanted - act.idents.keys()):
        message = f"{placed.what}: %({name})I has no identifier. write idents: {{{name}: …}}"
        checking.complain((*loc, "request"), "RB303", message)
    for name in sorted(act.idents.keys() - wanted):
        message = f"{placed.what}: the identifier {name!r} is not used: there is no %({name})I{suggest(name, wanted)}"
        checking.complain((*loc, "idents", name), "RB303", message, key=True)
    if act.autocommit and len(texts) != 1:
        checking.complain(
            (*loc, "autocommit"), "RB301", f"{placed.what}: 'autocommit' is for one lone statement", key=True
        )


def _check_ident_sources(checking: Checking, placed: Placed) -> None:
    """Quoting makes an identifier safe to send, not the right one: what a person types must be checked."""
    for name, value in placed.act.idents.items():
        try:
            mentioned = template_names(value)
        except ExpressionError:
            continue
        for source in sorted(mentioned & checking.playbook.inputs.keys()):
            wanted = checking.playbook.inputs[source]
            if wanted.type == "string" and wanted.pattern is None and wanted.enum is None:
                message = f"{placed.what}: input {source!r} becomes an identifier and needs a pattern or an enum"
                checking.complain((*placed.loc, "idents", name), "RB304", message)
