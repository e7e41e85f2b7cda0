"""The types of the language, as an author writes them. Pure: validates shapes, knows no file, no target and no clock.

Positions, names, cycles and effects are the loader's business; here stands what a key may hold.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema, model_validator

from .units import parse_duration

Json = Any
EffectName = Literal["read", "touch", "reversible", "disruptive", "destructive"]
Weight = Literal["decisive", "strong", "moderate", "weak"]
Area = Literal["api", "worker", "database", "redis", "scheduler", "emergency", "help"]

NAME = r"^[a-z][a-z0-9_]*$"
ID = r"^[a-z][a-z0-9-]*$"


def _expression(value: Json) -> Json:
    """`present: true` and `count: 5` are expressions too: YAML made them something else than text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _one_or_many(value: Json) -> Json:
    return [value] if isinstance(value, str) else value


def _accepting(*types: str, **more: Json) -> WithJsonSchema:
    """What the schema for editors says of a field whose short forms are turned into one before it is checked."""
    return WithJsonSchema({"type": list(types), **more})


Expression = Annotated[
    str,
    BeforeValidator(_expression),
    Field(min_length=1, max_length=4096),
    _accepting("string", "number", "boolean", **{"x-type": "expression"}),
]
Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    Field(ge=0),
    _accepting("string", "number", **{"x-type": "duration"}),
]
Texts = Annotated[
    tuple[str, ...], BeforeValidator(_one_or_many), _accepting("string", "array", items={"type": "string"})
]
# `yes` and `on` are texts in YAML 1.2, and no answers to a question of true or false.
Flag = Annotated[bool, Field(strict=True)]
FactName = Annotated[str, Field(pattern=NAME)]
Identifier = Annotated[str, Field(pattern=ID, max_length=60)]
Text = Annotated[str, Field(min_length=1, max_length=20000)]


class Authored(BaseModel):
    """Base of everything that stands in a playbook: frozen, and a key that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Input(Authored):
    """A value the person who runs the playbook may give with `-i name=value`."""

    type: Literal["string", "integer", "number", "boolean", "duration", "size"] = "string"
    default: Json = None
    optional: Flag = Field(default=False, description="Without a default and not given: the value is none")
    pattern: str | None = Field(default=None, description="A string must match this regular expression")
    minimum: float | None = None
    maximum: float | None = None
    enum: tuple[Json, ...] | None = None
    sensitive: Flag = Field(default=False, description="Masked wherever it would be shown or stored")
    label: str = Field(default="", description="The label of an alert that gives its value")
    help: str = ""


class TargetUse(Authored):
    """A target the playbook acts on. The environment says where it is; a derived one changes some of its settings."""

    kind: str | None = None
    derived_from: str | None = Field(default=None, alias="from")
    host: Expression | None = None
    port: Expression | None = None
    database: Expression | None = None
    optional: Flag = Field(default=False, description="A run may go on when the environment does not have it")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Json) -> Json:
        return {"kind": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_of(self) -> TargetUse:
        if (self.kind is None) == (self.derived_from is None):
            raise ValueError("a target says either its kind (redis, postgres, …) or which target it is derived `from`")
        return self


class Sample(Authored):
    """Ask the same thing several times: rates and changes need at least two answers."""

    times: int = Field(ge=2, le=60)
    every: Duration


COMPANIONS = ("target", "with", "idents", "autocommit", "timeout")


class Act(Authored):
    """One request to one target. In YAML the executor's own key holds the request (`sql: …`, `redis: […]`)."""

    executor: str | None = None
    request: Json = None
    target: str | None = Field(default=None, description="Needed only where several targets fit")
    bindings: dict[str, Json] = Field(default_factory=dict, alias="with", description="Values bound as data")
    idents: dict[str, str] = Field(default_factory=dict, description="SQL identifiers for %(name)I, resolution only")
    autocommit: Flag = Field(default=False, description="For one lone statement that cannot run in a transaction")
    timeout: Duration | None = Field(default=None, description="Deadline of one call; 10s for a probe")

    @model_validator(mode="before")
    @classmethod
    def _executor_key(cls, value: Json, info: ValidationInfo) -> Json:
        """Turn `sql: …` into `executor: sql, request: …`. The context lists the executors that exist."""
        known = (info.context or {}).get("executors", ())
        if not isinstance(value, dict) or "executor" in value:
            return value
        found = [key for key in value if key in known]
        if len(found) > 1:
            raise ValueError(f"a step asks one executor; this one has {' and '.join(found)}. Make it two steps")
        if not found:
            return value
        rest = {key: item for key, item in value.items() if key != found[0]}
        return {**rest, "executor": found[0], "request": value[found[0]]}


class Ask(Authored):
    """A typed question for the person at the terminal, or `--answer id=value`; the answer is a fact."""

    question: Text
    type: Literal["string", "integer", "number", "boolean", "duration"] = "string"
    enum: tuple[str, ...] | None = None
    fact: FactName


class Probe(Act):
    """A step of `symptoms` or `diagnosis`: establishes facts and changes nothing."""

    id: Identifier
    title: str = ""
    effect: Literal["read", "touch"] = "read"
    when: Expression | None = None
    sample: Sample | None = None
    facts: dict[FactName, Expression] = Field(default_factory=dict)
    ask: Ask | None = None
    sensitive: Flag = Field(default=False, description="Its answer is dropped after the facts are taken")
    present: Expression | None = Field(default=None, description="Symptoms only: true when the problem is there")
    recovering: Expression | None = Field(default=None, description="Symptoms only: still there, provably going")

    @model_validator(mode="after")
    def _one_source(self) -> Probe:
        if (self.executor is None) == (self.ask is None):
            raise ValueError("a step needs one executor (sql, redis, asynq, shell, http, service, logs, host) or `ask`")
        return self


class Evidence(Authored):
    """One observation that speaks for or against a cause."""

    when: Expression
    weight: Weight = "moderate"
    says: Text


class See(Authored):
    """Another playbook that takes over, with its inputs."""

    playbook: Identifier
    inputs: dict[str, Json] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Json) -> Json:
        return {"playbook": value} if isinstance(value, str) else value


class Cause(Authored):
    """Something that may be wrong: what must hold for it, what speaks for and against it, what mends it."""

    id: Identifier
    title: str = ""
    needs: Expression
    weight: Weight = "decisive"
    supports: tuple[Evidence, ...] = Field(default=(), alias="for")
    against: tuple[Evidence, ...] = ()
    explains: tuple[Identifier, ...] = ()
    fix: tuple[Identifier, ...] = ()
    see: See | None = None
    benign: Flag = Field(default=False, description="When confirmed, nothing has to be done")
    advice: str = Field(default="", description="What a person should do where the engine cannot")


class Impact(Authored):
    """The measured size of an action, shown at its gate and measured again right before it."""

    count: Expression
    of: Text
    items: Expression | None = Field(
        default=None, description="The list the count stands for; the gate shows ten of it"
    )


class Limit(Authored):
    """Beyond these the action is refused, or rolled back where the target can."""

    impact: Expression | None = None
    grow: Annotated[str, Field(pattern=r"^\d+(\.\d+)?%$")] = "20%"
    affected: Expression | None = None


class Verify(Authored):
    """How we know that it worked: `until` becomes true within `within` and stays so for `hold`."""

    until: Expression
    within: Duration = 60.0
    hold: Duration = 0.0


class Batch(Authored):
    """Act on a list in parts: a canary first, then parts of `size`, asking `proceed` in between."""

    size: int = Field(ge=1)
    canary: int | None = Field(default=None, ge=1)
    proceed: Expression | None = None


class Undo(Act):
    """The way back, rendered when the action starts. It has its own effect, guard and verification."""

    effect: EffectName = "reversible"
    guard: Expression | None = None
    verify: Verify | None = None


class Progress(Act):
    """A probe asked every so often while a long action runs."""

    every: Duration = 10.0
    says: Text


class SubAct(Act):
    """One act of an action that has several."""

    id: Identifier
    title: str = ""
    undo: Undo | None = None


class Action(Act):
    """A step of `resolution`: changes something, behind a gate, and is verified."""

    id: Identifier
    title: str = ""
    about: str = ""
    effect: EffectName
    guard: Expression | None = None
    impact: Impact | None = None
    limit: Limit = Limit()
    each: Expression | None = None
    item: FactName = Field(default="item", alias="as")
    batch: Batch | None = None
    snapshot: dict[FactName, Act] = Field(default_factory=dict)
    undo: Undo | None = None
    verify: Verify | None = None
    progress: Progress | None = None
    idempotent: Flag = False
    stopgap: Flag = Field(
        default=False, description="It only contains the damage: success is `until`, symptoms may stay"
    )
    names: Expression | None = Field(default=None, description="What a destructive gate asks to be typed")
    manual: Text | None = None
    steps: tuple[SubAct, ...] = ()

    @model_validator(mode="after")
    def _one_way(self) -> Action:
        ways = [self.executor is not None, self.manual is not None, bool(self.steps)]
        if sum(ways) != 1:
            raise ValueError("an action needs exactly one of: an executor (sql, redis, …), `steps`, or `manual`")
        if self.batch is not None and self.each is None:
            raise ValueError("`batch` needs `each`: the list that is acted on in parts")
        return self


class Playbook(Authored):
    """One problem: how it shows, how it is told apart, and how each cause of it is mended."""

    runbook: Literal[1]
    name: Identifier
    title: Text
    about: str = ""
    area: Area | None = None
    alerts: tuple[dict[str, str], ...] = ()
    not_for: Texts = ()
    notes: Texts = ()
    owner: str = ""
    reviewed: str = ""
    links: tuple[str, ...] = ()
    explains: tuple[Identifier, ...] = Field(default=(), description="Playbooks whose problem this one brings about")
    inputs: dict[FactName, Input] = Field(default_factory=dict)
    targets: dict[str, TargetUse] = Field(default_factory=dict)
    symptoms: tuple[Probe, ...] = Field(min_length=1)
    diagnosis: tuple[Probe, ...] = ()
    causes: tuple[Cause, ...] = ()
    resolution: tuple[Action, ...] = ()

    def probes(self) -> tuple[Probe, ...]:
        """Symptoms and diagnosis, in the order they were written."""
        return self.symptoms + self.diagnosis

    def action(self, action_id: str) -> Action:
        """The action a cause's `fix` names; the loader has proved that it exists."""
        return next(action for action in self.resolution if action.id == action_id)


class Library(Authored):
    """Probes that several playbooks share, taken over with `use: library.probe`."""

    library: Identifier
    about: str = ""
    targets: dict[str, TargetUse] = Field(default_factory=dict)
    probes: dict[str, dict[str, Json]]
