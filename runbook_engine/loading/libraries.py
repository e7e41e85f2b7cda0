"""Takes shared probes over into a playbook (`use: library.probe`), node by node, so that positions stay true."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from ..errors import Complaint, PlaybookError
from ..executor import Executor
from . import yaml_reader
from .positions import executor_key
from .salvage import Wreck, stand_in
from .source_text import complaint_at, split_lines
from .suggestions import suggest
from .yaml_reader import Node, Scalar

_REFERENCE = re.compile(r"([a-z][a-z0-9-]*)\.([a-z][a-z0-9_-]*)")
Find = Callable[[str], Executor | None]


@dataclass(slots=True)
class Takeover:
    """One playbook's use of libraries. `texts` are the libraries really used, by path."""

    libraries: Mapping[str, tuple[str, str]]
    executor_names: tuple[str, ...]
    find: Find
    lines: dict[str, list[str]]
    complaints: list[Complaint] = field(default_factory=list)
    roots: dict[str, yaml_reader.Mapping | None] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    targets: dict[str, tuple[Scalar, Node]] = field(default_factory=dict)
    wreck: Wreck = field(default_factory=Wreck)
    blind: bool = False
    """A probe could not be found: nobody knows which facts it would establish."""


def take_over(root: yaml_reader.Mapping, work: Takeover) -> yaml_reader.Mapping:
    """The playbook with every `use` replaced by what it names; keys beside `use` win."""
    sections = {}
    for section in ("symptoms", "diagnosis"):
        steps = root.value.get(section)
        if isinstance(steps, yaml_reader.Sequence) and any(_use_of(step) for step in steps.value):
            taken = _all_taken(steps.value, root, work, symptom=section == "symptoms")
            sections[section] = replace(steps, value=tuple(taken))
    if not sections:
        return root
    merged = replace(root, value={**root.value, **sections})
    return _with_targets(merged, work.targets) if work.targets else merged


def _use_of(step: Node) -> Scalar | None:
    found = step.value.get("use") if isinstance(step, yaml_reader.Mapping) else None
    return found if isinstance(found, Scalar) else None


def _all_taken(steps: tuple[Node, ...], root: yaml_reader.Mapping, work: Takeover, *, symptom: bool) -> Iterator[Node]:
    """In the place of a step whose probe cannot be found stands one that does nothing: what it lacks has been said."""
    for step in steps:
        taken = _taken(step, root, work)
        if taken is None:
            work.blind = True
            work.wreck.lose(step)
        yield taken or stand_in(step, symptom=symptom)


def _taken(step: Node, root: yaml_reader.Mapping, work: Takeover) -> Node | None:
    use = _use_of(step)
    if use is None or not isinstance(step, yaml_reader.Mapping):
        return step
    own = {key: value for key, value in step.value.items() if key != "use"}
    found = _find_probe(use, work)
    if found is None:
        return None
    name, library, probe = found
    theirs = dict(probe.value)
    if executor_key(replace(step, value=own), work.executor_names):
        theirs.pop(executor_key(probe, work.executor_names) or "", None)
    merged = {**theirs, **own}
    keys = {**probe.keys, **step.keys}
    if "id" not in merged:
        merged["id"], keys["id"] = replace(use, value=name, text=name, one_line=False), step.keys["use"]
    taken = replace(step, value=merged, keys={key: keys[key] for key in merged})
    _want_targets(taken, root, library, work)
    return taken


def _find_probe(use: Scalar, work: Takeover) -> tuple[str, yaml_reader.Mapping, yaml_reader.Mapping] | None:
    reference = _REFERENCE.fullmatch(use.text)
    if reference is None:
        _complain(work, use, f"{use.text[:60]!r} is no shared probe. write use: library.probe")
        return None
    name, probe_name = reference[1], reference[2]
    if name not in work.libraries:
        _complain(work, use, f"there is no library {name!r}{suggest(name, work.libraries)}")
        return None
    library = _library(name, work)
    probes = library.value.get("probes") if library is not None else None
    if library is None or not isinstance(probes, yaml_reader.Mapping):
        return None
    probe = probes.value.get(probe_name)
    if not isinstance(probe, yaml_reader.Mapping):
        _complain(work, use, f"library {name!r} has no probe {probe_name!r}{suggest(probe_name, probes.value)}")
        return None
    return probe_name.replace("_", "-"), library, probe


def _library(name: str, work: Takeover) -> yaml_reader.Mapping | None:
    """Read once; a library that cannot be read complains once."""
    if name not in work.roots:
        path, text = work.libraries[name]
        work.lines[path], work.texts[path] = split_lines(text), text
        work.roots[name] = None
        try:
            root = yaml_reader.read(text, path)
        except PlaybookError as error:
            work.complaints += error.complaints
            return None
        if isinstance(root, yaml_reader.Mapping) and isinstance(root.value.get("probes"), yaml_reader.Mapping):
            work.roots[name] = root
        else:
            message = "a library is a mapping with 'library: its name' and 'probes:', a mapping of names to steps"
            work.complaints.append(complaint_at(work.lines[path], path, root.line, root.column, message, "RB107"))
    return work.roots[name]


def _want_targets(
    probe: yaml_reader.Mapping, root: yaml_reader.Mapping, library: yaml_reader.Mapping, work: Takeover
) -> None:
    """Targets of the library that the probe cannot do without here."""
    theirs, ours = library.value.get("targets"), root.value.get("targets")
    if not isinstance(theirs, yaml_reader.Mapping):
        return
    known = ours.value if isinstance(ours, yaml_reader.Mapping) else {}
    named = probe.value.get("target")
    wanted = [named.text] if isinstance(named, Scalar) else _fitting(probe, theirs.value, known, work)
    while wanted:
        name = wanted.pop()
        if name in theirs.value and name not in known and name not in work.targets:
            node = theirs.value[name]
            work.targets[name] = (theirs.keys[name], node)
            origin = node.value.get("from") if isinstance(node, yaml_reader.Mapping) else None
            wanted += [origin.text] if isinstance(origin, Scalar) else []


def _fitting(
    probe: yaml_reader.Mapping, theirs: Mapping[str, Node], known: Mapping[str, Node], work: Takeover
) -> list[str]:
    executor = work.find(executor_key(probe, work.executor_names) or "")
    if executor is None or any(_kind(node) in executor.KINDS for node in known.values()):
        return []
    return [name for name, node in theirs.items() if _kind(node) in executor.KINDS]


def _kind(node: Node) -> str:
    found = node.value.get("kind") if isinstance(node, yaml_reader.Mapping) else node
    return found.text if isinstance(found, Scalar) else ""


def _with_targets(root: yaml_reader.Mapping, wanted: Mapping[str, tuple[Scalar, Node]]) -> yaml_reader.Mapping:
    ours = root.value.get("targets")
    if not isinstance(ours, yaml_reader.Mapping):
        first = next(iter(wanted.values()))[0]
        ours = yaml_reader.Mapping(first.path, first.line, first.column, {}, {})
    targets = yaml_reader.Mapping(
        ours.path,
        ours.line,
        ours.column,
        {**ours.value, **{name: node for name, (_, node) in wanted.items()}},
        {**ours.keys, **{name: key for name, (key, _) in wanted.items()}},
    )
    key = root.keys.get("targets", next(iter(wanted.values()))[0])
    return replace(root, value={**root.value, "targets": targets}, keys={**root.keys, "targets": key})


def _complain(work: Takeover, at: Scalar, message: str) -> None:
    work.complaints.append(complaint_at(work.lines.get(at.path, []), at.path, at.line, at.column, message, "RB107"))
