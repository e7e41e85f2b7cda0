"""What many trials say together, as a document and as a table. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

Json = Any
Row = dict[str, Json]


def summarise(rows: dict[str, list[Row]], pace: float, seed: int) -> dict[str, Json]:
    faults, quiet, doubles = rows["faults"], rows["healthy"], rows["doubles"]
    return {
        "version": 1,
        "pace": pace,
        "seed": seed,
        "accuracy": _share(faults, "right", 1.0),
        "false_alarms": sum(row["false_alarm"] for row in quiet),
        "harm_rate": _share(faults, "harm", 0.0),
        "unknown_rate": _share(faults, "unknown", 0.0),
        "double_accuracy": _share(doubles, "right", 1.0),
        "naive_accuracy": _share(faults, "naive_right", 0.0),
        "replayed_same": sum(not row["differences"] for row in rows["replays"]),
        "replays": len(rows["replays"]),
        "runs": len(faults),
        "healthy_runs": len(quiet),
        "double_runs": len(doubles),
        "groups": [_group(name, faults) for name in dict.fromkeys(row["group"] for row in faults)],
        "faults": faults,
        "healthy": quiet,
        "doubles": doubles,
        "replayed_otherwise": [row for row in rows["replays"] if row["differences"]],
    }


def _share(rows: Sequence[Row], key: str, none: float) -> float:
    return round(sum(row[key] for row in rows) / len(rows), 4) if rows else none


def _group(name: str, faults: Iterable[Row]) -> dict[str, Json]:
    rows = [row for row in faults if row["group"] == name]
    times = [row["diagnosed"] for row in rows if row["diagnosed"] is not None]
    return {
        "group": name,
        "runs": len(rows),
        "accuracy": _share(rows, "right", 1.0),
        "unknown_rate": _share(rows, "unknown", 0.0),
        "harm_rate": _share(rows, "harm", 0.0),
        "naive_accuracy": _share(rows, "naive_right", 0.0),
        "diagnosed_median": round(median(times), 1) if times else None,
        "diagnosed_longest": max(times, default=None),
    }


def good(result: dict[str, Json]) -> bool:
    """What a release asks for: every fault right, no false alarm, no harm, nine of ten pairs, all the same offline."""
    right = result["accuracy"] == 1.0 and result["double_accuracy"] >= 0.9
    return right and not result["false_alarms"] and not result["harm_rate"] and not result["replayed_otherwise"]


def table(result: dict[str, Json]) -> str:
    """The result for people."""
    lines = [*_faults(result["faults"]), *_doubles(result["doubles"]), *_alarms(result["healthy"]), ""]
    lines.append(
        f"{'group':10} {'runs':>4} {'accuracy':>9} {'unknown':>8} {'harm':>6}  {'diagnosed in':14} the guide's commands"
    )
    for group in result["groups"]:
        times = f"{group['diagnosed_median']} s, <= {group['diagnosed_longest']}"
        lines.append(
            f"{group['group']:10} {group['runs']:4} {group['accuracy']:9.2f} {group['unknown_rate']:8.2f} "
            f"{group['harm_rate']:6.2f}  {times:14} {group['naive_accuracy']:.2f}"
        )
    healthy = f"{result['healthy_runs']} healthy runs, {result['false_alarms']} false alarms"
    doubles = f"  doubles {result['double_accuracy']} of {result['double_runs']}" if result["doubles"] else ""
    lines.append(
        f"accuracy {result['accuracy']}  harm_rate {result['harm_rate']}  unknown {result['unknown_rate']}{doubles}  "
        f"{healthy}  (the guide's commands: accuracy {result['naive_accuracy']})"
    )
    lines.append(f"replayed offline: {result['replayed_same']} of {result['replays']} gave the same ranking and end")
    return "\n".join(lines)


def _faults(rows: Sequence[Row]) -> Iterable[str]:
    if rows:
        yield (
            f"{'fault':6} {'expected':24} {'top cause':24} {'outcome':13} {'first offer':20} {'harm':5} {'s':>5}  guide"
        )
    for row in rows:
        wanted = "|".join(row["expected"]) or "healthy"
        yield (
            f"{row['fault']:6} {wanted:24} {row['top'] or '-':24} {row['outcome']:13} {row['offered'] or '-':20} "
            f"{'HARM' if row['harm'] else 'no':5} {row['seconds']:5.1f}  {row['naive'] or '-'}"
        )


def _doubles(rows: Sequence[Row]) -> Iterable[str]:
    for row in rows:
        word = "ok" if row["right"] else "WRONG"
        wanted = f"(wanted {row['expected']} with {row['other']})"
        yield f"{'+'.join(row['faults']):12} {word:6} top {row['top'] or '-'} {wanted}"


def _alarms(rows: Sequence[Row]) -> Iterable[str]:
    for row in rows:
        if row["false_alarm"]:
            yield f"FALSE ALARM {row['playbook']}: {row['outcome']}, {row['because']}"
