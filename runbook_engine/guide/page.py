"""What stands on the page of a playbook, in the order in which somebody at three in the morning needs it."""

from __future__ import annotations

from collections.abc import Iterator

from ..expressions import ExpressionError, compile_expression
from ..loader import LoadedPlaybook
from ..model import Cause, Evidence, Input, Playbook, Probe
from ..units import format_duration
from .mitigation import mitigation
from .parts import Bullets, Heading, Line, Paragraph, Part, Span, Table, code, link, plain, strong
from .requests import bound, request_code
from .words import Defaults, condition, prose, stressed


def page(loaded: LoadedPlaybook) -> Iterator[Part]:
    playbook = loaded.playbook
    defaults = {name: _default(each) for name, each in playbook.inputs.items() if _default(each)}
    yield Heading(1, playbook.title)
    yield Paragraph(tuple(_about_the_page(playbook)))
    yield from _meaning(playbook)
    yield from _impact(playbook)
    yield from _alerts_and_inputs(playbook)
    yield from _diagnosis(playbook, defaults)
    yield from _causes(playbook, defaults)
    yield from mitigation(playbook, defaults)
    if playbook.notes:
        yield Heading(2, "What the guide says, and why this differs")
        yield Bullets(tuple((plain(_flat(note)),) for note in playbook.notes))
    if playbook.links:
        yield Heading(2, "Links")
        yield Bullets(tuple((link(each, each),) for each in playbook.links))


def _about_the_page(playbook: Playbook) -> Iterator[Span]:
    yield from (plain("Playbook "), code(playbook.name))
    if playbook.area:
        yield plain(f", area {playbook.area}")
    if playbook.owner:
        yield plain(f", owner {playbook.owner}")
    if playbook.reviewed:
        yield plain(f", reviewed {playbook.reviewed}")
    yield from (plain(". It runs with "), code(f"runbook run {playbook.name}"), plain("."))


def _meaning(playbook: Playbook) -> Iterator[Part]:
    yield Heading(2, "Meaning")
    for text in _paragraphs(playbook.about or playbook.title):
        yield Paragraph((plain(text),))
    if playbook.not_for:
        yield Paragraph((strong("Not for:"), plain(" " + " ".join(_flat(each) for each in playbook.not_for))))


def _impact(playbook: Playbook) -> Iterator[Part]:
    yield Heading(2, "Impact")
    yield Paragraph((plain("It shows as: " + "; ".join(_title(each.title, each.id) for each in playbook.symptoms)),))
    if playbook.explains:
        names = [code(name) for name in playbook.explains]
        spans = [span for name in names for span in (plain(", "), name)][1:]
        yield Paragraph((plain("It brings about "), *spans, plain(": look here first when these show as well.")))
    touched = [each for each in playbook.resolution if each.impact is not None]
    if touched:
        yield Paragraph((plain("What mending it touches, measured before anything is done:"),))
        yield Bullets(
            tuple(
                (link(each.id, f"#step-{each.id}"), plain(f", {each.effect}: "), *prose(each.impact.of))
                for each in touched
                if each.impact is not None
            )
        )


def _alerts_and_inputs(playbook: Playbook) -> Iterator[Part]:
    if playbook.alerts:
        yield Heading(2, "Alerts")
        yield Bullets(
            tuple((code(", ".join(f"{name}={value}" for name, value in each.items())),) for each in playbook.alerts)
        )
    if playbook.inputs:
        yield Heading(2, "Inputs")
        yield Table(
            ("input", "type", "default", "what it is"),
            tuple(
                ((code(name),), (plain(each.type),), (plain(_default(each) or "none"),), (plain(_input_help(each)),))
                for name, each in playbook.inputs.items()
            ),
        )
    if playbook.targets:
        yield Heading(2, "Targets")
        yield Bullets(
            tuple(
                (code(name), plain(f": {use.kind or f'as {use.derived_from}, elsewhere'}"))
                + ((plain(", may be missing"),) if use.optional else ())
                for name, use in playbook.targets.items()
            )
        )


def _diagnosis(playbook: Playbook, defaults: Defaults) -> Iterator[Part]:
    yield Heading(2, "Diagnosis")
    yield Paragraph((plain("Is it true? Any of these, or one that nobody can tell, and the causes are looked for."),))
    for probe in playbook.symptoms:
        yield from _probe(playbook, probe, defaults)
    if playbook.diagnosis:
        yield Paragraph((plain("Why? All of these are asked at once, as soon as what they need is known."),))
    for probe in playbook.diagnosis:
        yield from _probe(playbook, probe, defaults)


def _probe(playbook: Playbook, probe: Probe, defaults: Defaults) -> Iterator[Part]:
    yield Heading(3, f"Look: {probe.id}")
    if probe.title:
        yield Paragraph(stressed(probe.title))
    if probe.when is not None:
        yield Paragraph((plain("Only when "), *condition(probe.when, defaults), plain(".")))
    if probe.ask is not None:
        yield Paragraph((plain("A person is asked: "), *prose(probe.ask.question)))
    elif probe.executor is not None:
        yield request_code(probe)
        yield from (Paragraph(line) for line in bound(probe))
    if probe.sample is not None:
        every = format_duration(probe.sample.every)
        yield Paragraph((plain(f"Asked {probe.sample.times} times, {every} apart: what changes is what counts."),))
    if probe.facts:
        yield Table(("fact", "is"), tuple(((code(name),), (code(_flat(text)),)) for name, text in probe.facts.items()))
    if probe.present is not None:
        yield Paragraph(
            (strong("The problem is there"), plain(" when "), *condition(probe.present, defaults), plain("."))
        )
    if probe.recovering is not None:
        yield Paragraph((plain("It is on its way back when "), *condition(probe.recovering, defaults), plain(".")))
    told = [cause.id for cause in playbook.causes if _known_by(probe) & _read_by(cause)]
    if told:
        spans = [span for name in told for span in (plain(", "), link(name, f"#cause-{name}"))][1:]
        yield Paragraph((plain("It tells: "), *spans, plain(".")))


def _causes(playbook: Playbook, defaults: Defaults) -> Iterator[Part]:
    if not playbook.causes:
        return
    yield Heading(2, "Causes")
    for cause in playbook.causes:
        yield Heading(3, f"Cause: {cause.id}")
        if cause.title:
            yield Paragraph(stressed(cause.title))
        weight = "" if cause.weight == "decisive" else f" (which is {cause.weight} evidence)"
        yield Paragraph((plain("It is so when "), *condition(cause.needs, defaults), plain(f"{weight}.")))
        evidence = [*_evidence("For", cause.supports, defaults), *_evidence("Against", cause.against, defaults)]
        if evidence:
            yield Bullets(tuple(evidence))
        yield from _then(cause)


def _evidence(word: str, pieces: tuple[Evidence, ...], defaults: Defaults) -> Iterator[Line]:
    for each in pieces:
        yield (
            plain(f"{word} it, {each.weight}: "),
            *prose(_flat(each.says)),
            plain(", when "),
            *condition(each.when, defaults),
        )


def _then(cause: Cause) -> Iterator[Part]:
    if cause.explains:
        spans = [span for name in cause.explains for span in (plain(", "), link(name, f"#cause-{name}"))][1:]
        yield Paragraph((plain("It explains "), *spans, plain(": these are not mended beside it.")))
    if cause.benign:
        yield Paragraph((plain("Nothing has to be done."),))
    if cause.fix:
        spans = [span for name in cause.fix for span in (plain(", else "), link(name, f"#step-{name}"))][1:]
        yield Paragraph((strong("Mended by "), *spans, plain(".")))
    if cause.see is not None:
        yield Paragraph((strong("Goes on in "), code(f"runbook run {cause.see.playbook}"), plain(".")))
    for text in _paragraphs(cause.advice):
        yield Paragraph((strong("Advice: "), *prose(text)))


def _known_by(probe: Probe) -> set[str]:
    return {*probe.facts, *((probe.ask.fact,) if probe.ask else ())}


def _read_by(cause: Cause) -> set[str]:
    found: set[str] = set()
    for text in (cause.needs, *(each.when for each in (*cause.supports, *cause.against))):
        try:
            found |= compile_expression(text).names
        except ExpressionError:
            continue
    return found


def _default(each: Input) -> str:
    if each.default is None or each.sensitive:
        return ""
    if each.type == "duration" and isinstance(each.default, int | float):
        return format_duration(each.default)
    return str(each.default).lower() if isinstance(each.default, bool) else str(each.default)


def _input_help(each: Input) -> str:
    label = f" (from the alert's label {each.label})" if each.label else ""
    return _flat(each.help) + label


def _title(title: str, identifier: str) -> str:
    return "".join(f"<{span.text}>" if span.kind == "value" else span.text for span in prose(title)) or identifier


def _paragraphs(text: str) -> Iterator[str]:
    yield from (_flat(each) for each in text.strip().split("\n\n") if each.strip())


def _flat(text: str) -> str:
    return " ".join(text.split())
