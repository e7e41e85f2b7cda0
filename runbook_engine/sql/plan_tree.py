"""What a plan says, from the JSON of EXPLAIN: which tables are read whole, by which indexes the others. Pure.

Must never take a plan for more than an estimate: nothing of it was run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..executor import Json
from .lexer import Token, code

Sizes = Mapping[tuple[str, str], int | None]  # (schema, table) → rows that PostgreSQL believes it has
LARGE = 10_000  # rows; a smaller table is best read whole
SELECTIVE = 0.05  # of its rows; an index that finds more than that is of no use
RESCANNED = 1000  # rows of a subplan that is gone through once for each row outside
MOST_LINES = 40
_SUBPLAN = re.compile(r"(hashed )?SubPlan (\d+)")
_CONDITIONS = ("Filter", "Join Filter", "Index Cond", "Hash Cond", "Merge Cond", "Recheck Cond", "One-Time Filter")


def scanned_tables(document: Json) -> list[tuple[str, str]]:
    """Schema and name of every table that is read from its beginning to its end."""
    found = [(node.get("Schema", ""), node["Relation Name"]) for node, _ in _nodes(document) if _is_scan(node)]
    return list(dict.fromkeys(found))


def read_plan(document: Json, sizes: Sizes) -> dict[str, Json]:
    nodes = list(_nodes(document))
    top = nodes[0][0]
    scans = [_scan(node, sizes) for node, _ in nodes if _is_scan(node)]
    return {
        "node": top.get("Node Type"),
        "cost": top.get("Total Cost"),
        "rows": top.get("Plan Rows"),
        "seq_scans": scans,
        "indexes": list(dict.fromkeys(node["Index Name"] for node, _ in nodes if "Index Name" in node)),
        "unhashed_subplan": _rescans(nodes),
        "missing_index": next((scan for scan in scans if _lacks_index(scan)), None),
        "text": "\n".join(_line(node, depth) for node, depth in nodes[:MOST_LINES]),
    }


def _nodes(document: Json) -> Iterator[tuple[dict[str, Any], int]]:
    """Every node with its depth, parents first. Not by recursion: a statement may nest as deep as it likes."""
    waiting = [(document[0]["Plan"], 0)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        waiting += [(child, depth + 1) for child in reversed(node.get("Plans", ()))]


def _is_scan(node: Mapping[str, Any]) -> bool:
    return node.get("Node Type") == "Seq Scan" and "Relation Name" in node


def _scan(node: Mapping[str, Any], sizes: Sizes) -> dict[str, Json]:
    return {
        "schema": node.get("Schema", ""),
        "relation": node["Relation Name"],
        "columns": _columns(str(node.get("Filter", "")), str(node.get("Alias", node["Relation Name"]))),
        "estimated_rows": node.get("Plan Rows"),
        "table_rows": sizes.get((node.get("Schema", ""), node["Relation Name"])),
    }


def _lacks_index(scan: Mapping[str, Any]) -> bool:
    """Few rows are wanted of a large table, by columns that an index could find them by."""
    table, wanted = scan["table_rows"], scan["estimated_rows"]
    if not scan["columns"] or table is None or wanted is None:
        return False
    return bool(table > LARGE and wanted < SELECTIVE * table)


def _rescans(nodes: Sequence[tuple[Mapping[str, Any], int]]) -> bool:
    """Whether a long list is gone through again for every row, as `NOT IN (select …)` does beyond work_mem."""
    long = {
        node["Subplan Name"].removeprefix("SubPlan ")
        for node, _ in nodes
        if str(node.get("Subplan Name", "")).startswith("SubPlan ") and node.get("Plan Rows", 0) >= RESCANNED
    }
    conditions = " ".join(str(node[key]) for node, _ in nodes for key in _CONDITIONS if key in node)
    return any(not found[1] and found[2] in long for found in _SUBPLAN.finditer(conditions))


def _line(node: Mapping[str, Any], depth: int) -> str:
    words = [str(node.get("Node Type"))]
    words += [f"using {node['Index Name']}"] if "Index Name" in node else []
    words += [f"on {node['Relation Name']}"] if "Relation Name" in node else []
    words.append(f"(cost {node.get('Total Cost')}, rows {node.get('Plan Rows')})")
    words += [f"{key.lower()}: {str(node[key])[:200]}" for key in ("Index Cond", "Filter") if key in node]
    return "  " * depth + " ".join(words)


def _columns(condition: str, alias: str) -> list[str]:
    """Columns of the table that the condition compares, those compared for equality first.

    Only what stands in a conjunction of plain comparisons: an index does not help an OR, nor a function of a column.
    """
    equal: list[str] = []
    ranged: list[str] = []
    for conjunct in _conjuncts(list(code(condition))):
        column, sign = _compared(conjunct, alias)
        (equal if sign == "=" else ranged if sign in ("<", ">") else []).append(column)
    return list(dict.fromkeys([*equal, *ranged]))


def _conjuncts(tokens: list[Token]) -> Iterator[list[Token]]:
    """`((a = 1) AND (b > 2))` as `a = 1` and `b > 2`."""
    waiting = [tokens]
    while waiting:
        part = _unwrapped(waiting.pop())
        pieces = _split(part, "and")
        if len(pieces) > 1:
            waiting += reversed(pieces)
        elif not _mentions(part, "or", "not", "and"):
            yield part


def _mentions(part: Sequence[Token], *words: str) -> bool:
    return any(token.kind == "word" and token.folded in words for token in part)


def _unwrapped(part: list[Token]) -> list[Token]:
    while len(part) >= 2 and part[0].text == "(" and _close(part) == len(part) - 1:
        part = part[1:-1]
    return part


def _close(part: Sequence[Token]) -> int:
    depth = 0
    for index, token in enumerate(part):
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0:
            return index
    return len(part)


def _split(part: list[Token], word: str) -> list[list[Token]]:
    pieces: list[list[Token]] = [[]]
    depth = 0
    for token in part:
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0 and token.kind == "word" and token.folded == word:
            pieces.append([])
        else:
            pieces[-1].append(token)
    return pieces


def _compared(part: Sequence[Token], alias: str) -> tuple[str, str]:
    """The column of this comparison and how it is compared; no sign when an index could not serve it."""
    depth = 0
    for index, token in enumerate(part):
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0 and token.text in ("=", "<", ">", "~", "!", "@", "&", "|", "#"):
            sign = part[index : index + 2]
            single = token.text if len(sign) < 2 or sign[1].text not in ("~", ">", "<") else "other"
            sides = [side for side in (part[:index], part[index + 1 :]) if _column(side, alias)]
            return (_column(sides[0], alias), single) if len(sides) == 1 else ("", "")
    return "", ""


def _column(side: Sequence[Token], alias: str) -> str:
    """`alias.column`, perhaps with a cast of its own; nothing when it is anything else."""
    part = _unwrapped(list(side))
    cast = next((index for index, token in enumerate(part) if token.text == "::"), None)
    part = _unwrapped(part[:cast]) if cast is not None else part
    named = len(part) == 3 and part[1].text == "." and part[0].identifier == alias
    return part[2].identifier if named and part[2].kind in ("word", "name") else ""
