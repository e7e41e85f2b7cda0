"""Text to a playbook that is proved sound as far as that can be known without running it, or every complaint.

It never reads a file, opens a connection or evaluates an expression: the caller hands in the texts, of libraries too.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from . import executors as installed
from .errors import Complaint, PlaybookError
from .executor import Executor
from .loading import yaml_reader
from .loading.bounds import MOST_COMPLAINTS, kind_key
from .loading.checks.checking import Checking, Placed, TooManyComplaints
from .loading.checks.defaults import check_defaults
from .loading.checks.effects import check_effects
from .loading.checks.names import check_names
from .loading.checks.order import check_order, step_needs
from .loading.checks.requests import check_requests
from .loading.checks.size import check_size
from .loading.checks.structure import check_structure
from .loading.checks.targets import check_targets
from .loading.libraries import Find, Takeover, take_over
from .loading.mentions import mentioned_names, placed_expressions
from .loading.positions import Loc, describe, executor_key, find_node
from .loading.shapes import validate_shape
from .loading.source_text import complaint_at, split_lines
from .loading.yaml_reader import Node
from .model import Act, Library, Playbook, Probe

Json = Any
M = TypeVar("M", bound=BaseModel)
Kind = Literal["playbook", "library", "cases", "environments"]

_KINDS: Mapping[str, Kind] = {
    "runbook": "playbook",
    "library": "library",
    "cases": "cases",
    "environments": "environments",
}
_CHECKS = (
    check_size,
    check_structure,
    check_defaults,
    check_targets,
    check_requests,
    check_names,
    check_order,
    check_effects,
)


@dataclass(frozen=True)
class LoadedPlaybook:
    """A sound playbook. `needs`: each probe and the probes it waits for; `libraries`: the texts used, by path."""

    playbook: Playbook
    path: str
    text: str
    digest: str
    libraries: Mapping[str, str]
    needs: Mapping[str, frozenset[str]]
    warnings: tuple[Complaint, ...] = ()
    root: Node = field(repr=False, kw_only=True)
    executor_names: tuple[str, ...] = field(repr=False, kw_only=True)

    def position(self, loc: Loc, *, key: bool = False) -> tuple[str, int, int]:
        """Path, line and column of a place such as `("symptoms", 0, "facts", "worst")`, or of its key."""
        found = find_node(self.root, loc, self.executor_names)
        at = found.key if key and found.key is not None else found.node
        return at.path, at.line, at.column

    def complaint(
        self, loc: Loc, code: str, message: str, *, key: bool = False, offset: int | None = None
    ) -> Complaint:
        """A warning at a place, or `offset` characters into the text that stands there; what lint rules make."""
        path, line, column = self.position(loc, key=key)
        lines = _lines_of(self.text if path == self.path else self.libraries.get(path, ""))
        found = find_node(self.root, loc, self.executor_names)
        if offset is not None and found.complete and isinstance(found.node, yaml_reader.Scalar):
            line, column = yaml_reader.position_inside(found.node, lines, offset)
        made = complaint_at(lines, path, line, column, message, code)
        return replace(made, severity="warning")

    @cached_property
    def expressions(self) -> tuple[tuple[Loc, int, str], ...]:
        """Every expression, also inside of a template: where its text stands, how far into it, and it."""
        return tuple(placed_expressions(self.playbook))

    @cached_property
    def mentioned(self) -> frozenset[str]:
        """Every root name that any expression or template reads."""
        return mentioned_names(self.playbook)

    def acts(self) -> list[Placed]:
        """Everything that is sent to a target, wherever it stands."""
        return Checking(self.playbook, self.root, {}, {}, self.executor_names).acts()

    def place(self, loc: Loc) -> str:
        """A place in words."""
        return describe(self.root, loc, self.executor_names)


def load_playbook(
    text: str | bytes,
    path: str,
    *,
    libraries: Mapping[str, tuple[str, str]] | None = None,
    executors: Mapping[str, Executor] | None = None,
) -> LoadedPlaybook:
    """`libraries` are name → (path, text). Raises PlaybookError carrying every complaint, in the order of the file."""
    root, written, lines, read = _read(text, path, "a playbook begins with 'runbook: 1' and its 'name'")
    names = _executor_names(root, executors)
    work = Takeover(libraries or {}, names, _finder(names, executors), lines, [*read.complaints])
    for node in read.dropped:
        work.wreck.lose(node)
    merged = take_over(root, work)
    playbook, complaints = _checked(merged, work)
    errors = tuple(item for item in complaints if item.severity == "error")
    if errors or playbook is None:
        raise PlaybookError(_sorted(errors, path))
    return LoadedPlaybook(
        playbook,
        path,
        written,
        _digest(written, work.texts),
        work.texts,
        step_needs(playbook),
        _sorted(tuple(complaints), path),
        root=merged,
        executor_names=names,
    )


def _checked(root: yaml_reader.Mapping, work: Takeover) -> tuple[Playbook | None, list[Complaint]]:
    """Shape first, then everything else, of what is left when all that has no shape is taken out."""
    context = {"executors": work.executor_names}
    shape = validate_shape(Playbook, root, work.lines, context, work.wreck)
    complaints = work.complaints + shape.complaints
    if shape.model is None:
        return None, complaints
    used = {name: executor for name in executors_of(shape.model) if (executor := work.find(name)) is not None}
    checking = Checking(shape.model, shape.root, work.lines, used, work.executor_names, shape.wreck, work.blind)
    with contextlib.suppress(TooManyComplaints):
        for check in _CHECKS:
            check(checking)
    complaints += checking.complaints
    sound = not any(item.severity == "error" for item in complaints)
    return (_filled(shape.data, checking, context) if sound else shape.model), complaints


def _finder(names: tuple[str, ...], given: Mapping[str, Executor] | None) -> Find:
    """Executors by name, imported only when a playbook uses them."""
    if given is not None:
        return given.get
    return lambda name: installed.find(name) if name in names else None


def load_library(text: str | bytes, path: str) -> Library:
    """A library whose every probe has the shape of a step. Names are checked where a playbook uses it."""
    root, _, lines, read = _read(text, path, "a library begins with 'library: its name'")
    names = (*installed.names(), *installed.installed_names())
    shape = validate_shape(Library, root, lines, {"executors": names})
    complaints = [*read.complaints, *shape.complaints]
    probes = root.value.get("probes")
    for name, probe in probes.value.items() if isinstance(probes, yaml_reader.Mapping) else ():
        named = _with_id(probe, name)
        complaints += validate_shape(Probe, named, lines, {"executors": names}).complaints
    if complaints or shape.model is None:
        raise PlaybookError(_sorted(tuple(complaints), path))
    return shape.model


def validate_document(text: str | bytes, path: str, model: type[M], context: Mapping[str, Json]) -> M:
    """Any other document (environments, cases) against its model, with the same complaints."""
    root, _, lines, read = _read(text, path, f"a mapping is expected: {', '.join(model.model_fields)}")
    shape = validate_shape(model, root, lines, context)
    complaints = (*read.complaints, *shape.complaints)
    if complaints or shape.model is None:
        raise PlaybookError(_sorted(complaints, path))
    return shape.model


def kind_of_file(text: str, path: str) -> Kind:
    """What a file is, by its top-level key, also when the rest of it is broken."""
    key = kind_key(text)
    if key is not None:
        return _KINDS[key]
    root = yaml_reader.read(text, path)
    key = executor_key(root, _KINDS.keys())
    if key is None:
        message = "a top-level key says what a file is: runbook (a playbook), library, cases or environments"
        raise PlaybookError((complaint_at(split_lines(text), path, root.line, root.column, message, "RB109"),))
    return _KINDS[key]


def _read(
    text: str | bytes, path: str, expected: str
) -> tuple[yaml_reader.Mapping, str, dict[str, list[str]], yaml_reader.ReadOn]:
    """The tree of a file that must be a mapping, its text, its lines by path, and how reading went."""
    read = yaml_reader.read_on(text, path)
    root = read.root
    written = text if isinstance(text, str) else text.decode("utf-8")
    lines = split_lines(written)
    if isinstance(root, yaml_reader.Mapping):
        return root, written, {path: lines}, read
    kind = "a list" if isinstance(root, yaml_reader.Sequence) else "one value"
    found = complaint_at(lines, path, root.line, root.column, f"{expected}; this file is {kind}", "RB109")
    raise PlaybookError((*read.complaints, found))


def _executor_names(root: yaml_reader.Mapping, given: Mapping[str, Executor] | None) -> tuple[str, ...]:
    """Ours; those of third parties only when a step has a key that nobody here knows."""
    if given is not None:
        return tuple(sorted(given))
    known = {"use", *installed.names()}.union(*(_keys(model) for model in (Act, Probe)))
    for section in ("symptoms", "diagnosis", "resolution"):
        steps = root.value.get(section)
        for step in steps.value if isinstance(steps, yaml_reader.Sequence) else ():
            if isinstance(step, yaml_reader.Mapping) and section != "resolution" and step.value.keys() - known:
                return tuple(sorted({*installed.names(), *installed.installed_names()}))
            if section == "resolution" and executor_key(step, (*installed.names(), "manual", "steps")) is None:
                return tuple(sorted({*installed.names(), *installed.installed_names()}))
    return installed.names()


def _keys(model: type[BaseModel]) -> set[str]:
    return {item.alias or name for name, item in model.model_fields.items()}


def executors_of(playbook: Playbook) -> set[str]:
    """The executors that any step of it asks."""
    acts: list[Act | None] = [*playbook.probes()]
    for action in playbook.resolution:
        acts += [action, action.undo, action.progress, *action.snapshot.values(), *action.steps]
        acts += [part.undo for part in action.steps]
    return {act.executor for act in acts if act is not None and act.executor is not None}


def _filled(data: Json, checking: Checking, context: Mapping[str, Json]) -> Playbook:
    """The playbook with what the checks inferred written in: the sole target, bindings taken from scope."""
    for loc, key, value in checking.fills:
        place = data
        for part in loc:
            place = place[part]
        place.pop("bindings", None) if key == "with" else None
        place[key] = value
    return Playbook.model_validate(data, context=dict(context))


def _with_id(probe: Node, name: str) -> Node:
    if not isinstance(probe, yaml_reader.Mapping) or "id" in probe.value:
        return probe
    identifier = yaml_reader.Scalar(probe.path, probe.line, probe.column, name.replace("_", "-"), name)
    return yaml_reader.Mapping(
        probe.path,
        probe.line,
        probe.column,
        {**probe.value, "id": identifier},
        {**probe.keys, "id": identifier},
    )


def _digest(text: str, libraries: Mapping[str, str]) -> str:
    """Of the playbook and every library it uses, each framed by its length so that no text can pass for two."""
    digest = hashlib.sha256()
    for part in (text, *sorted(libraries.values())):
        encoded = part.encode()
        digest.update(b"%d:" % len(encoded) + encoded)
    return f"sha256:{digest.hexdigest()}"


def _sorted(complaints: tuple[Complaint, ...], path: str) -> tuple[Complaint, ...]:
    """In the order of the file, what stands in libraries last; of very many the first."""
    unique = list(dict.fromkeys(complaints))
    ordered = sorted(unique, key=lambda item: (item.path != path, item.path, item.line, item.column, item.code))
    if len(ordered) <= MOST_COMPLAINTS:
        return tuple(ordered)
    kept, last = ordered[:MOST_COMPLAINTS], ordered[MOST_COMPLAINTS - 1]
    message = f"there is more: mend the first {MOST_COMPLAINTS}, and the rest will be judged"
    return (*kept, Complaint(last.path, last.line, last.column, message, "RB002"))


@lru_cache(maxsize=4)
def _lines_of(text: str) -> list[str]:
    """Once for all that is said of a text."""
    return split_lines(text)
