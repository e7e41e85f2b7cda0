"""`runbook show`: the page a person reads, in three formats; what a playbook says is text in each of them."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from commands import Place
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from runbook_engine.catalog import libraries_for
from runbook_engine.errors import PlaybookError
from runbook_engine.guide import FORMATS
from runbook_engine.guide.words import condition
from runbook_engine.loader import LoadedPlaybook, load_playbook
from runbook_engine.safe_text import cells

ROOT = Path(__file__).parent.parent
SHIPPED = sorted(
    path
    for folder in ("playbooks", "examples")
    for path in (ROOT / folder).rglob("*.yaml")
    if re.search(r"^runbook:", path.read_text(encoding="utf-8"), re.MULTILINE)
)
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</title></style></pre></code><script>x</script>",
    "[click](javascript:alert(1)) ![x](http://evil/x.png)",
    "`x` ``y`` ```\n# heading\n- item\n| a | b |\n|---|---|",
    "**bold** _it_ ~~s~~ <b>b</b> &lt;i&gt; \\",
    "{script}`x` (target)= {{ 7*7 }} $x$ %comment",
    "\u202eevil\u2066 \u200b zero",
    "|a|b| --- === 1. x\n\n    code\n\n> quote",
    "http://evil.example www.evil.example a@b.c",
    "{% raw %} {{ ''.__class__ }} {# #}",
    "]]> --> <!-- c --> <?php ?>",
]
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069]")


def shipped(path: Path) -> LoadedPlaybook:
    text = path.read_text(encoding="utf-8")
    return load_playbook(text, str(path), libraries=libraries_for(text, [ROOT / "playbooks"], path))


def saying(text: str) -> LoadedPlaybook:
    """A playbook whose every free text says this."""
    said = text.replace("${{", "$${{")
    document = {
        "runbook": 1,
        "name": "hostile",
        "title": said,
        "about": said,
        "not_for": said,
        "notes": [said],
        "owner": said,
        "links": [text],
        "alerts": [{"alertname": text}],
        "inputs": {"word": {"type": "string", "default": text, "help": said}},
        "targets": {"db": "postgres", "here": "local"},
        "symptoms": [
            {
                "id": "look",
                "title": said,
                "sql": "select %(word)s as n",
                "with": {"word": said},
                "facts": {"n": "row.n"},
                "present": f"n == {text!r}" if text.isprintable() and "\\" not in text else "n > 1",
            }
        ],
        "diagnosis": [
            {
                "id": "say",
                "title": said,
                "target": "here",
                "effect": "read",
                "shell": ["echo", "--", said],
                "facts": {"e": "lines"},
            }
        ],
        "causes": [
            {
                "id": "it",
                "title": said,
                "needs": "n == 1",
                "for": [{"when": "e", "says": said}],
                "advice": said,
                "fix": ["mend"],
            }
        ],
        "resolution": [
            {
                "id": "mend",
                "title": said,
                "about": said,
                "effect": "disruptive",
                "impact": {"count": 1, "of": said},
                "manual": said,
                "verify": {"until": "n == 1"},
            }
        ],
    }
    return load_playbook(yaml.safe_dump(document, allow_unicode=False), "hostile.yaml")


def like(text: str) -> str:
    """Harmless words in as many paragraphs."""
    return "\n\n".join("plain words" for each in text.strip().split("\n\n") if each.strip())


class Tags(HTMLParser):
    """The elements of a document, in their order, with the names and the local targets of their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(f"{tag} {sorted(name for name, _ in attrs)}")
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.words += data

    def handle_comment(self, data: str) -> None:
        self.found.append("comment")


def rendered(markdown: str) -> Tags:
    return Tags(MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_adds_no_element_to_the_html(text: str) -> None:
    made, plain = FORMATS["html"](saying(text)), FORMATS["html"](saying(like(text)))
    assert Tags(made).found == Tags(plain).found
    assert all(link.startswith("#") or "evil" not in link for link in Tags(made).links)
    assert _CONTROLS.search(made.replace("\n", "")) is None


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_adds_no_element_to_the_markdown(text: str) -> None:
    made, plain = FORMATS["md"](saying(text)), FORMATS["md"](saying(like(text)))
    assert rendered(made).found == rendered(plain).found
    assert not [link for link in rendered(made).links if not link.startswith("#")]
    assert _CONTROLS.search(made.replace("\n", "")) is None
    assert "javascript:" not in "".join(rendered(made).links)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_moves_nothing_on_a_terminal(text: str) -> None:
    made = FORMATS["text"](saying(text))
    assert _CONTROLS.search(made.replace("\n", "")) is None


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60)


@settings(max_examples=150, deadline=None)
@given(WORDS)
def test_whatever_a_playbook_says_is_only_said(inside: str) -> None:
    text = f"a{inside}z"
    try:
        loaded = saying(text)
    except (PlaybookError, yaml.YAMLError):
        return  # our reader refuses it
    assert Tags(FORMATS["html"](loaded)).found == Tags(FORMATS["html"](saying(like(text)))).found
    assert rendered(FORMATS["md"](loaded)).found == rendered(FORMATS["md"](saying(like(text)))).found
    assert _CONTROLS.search(FORMATS["text"](loaded).replace("\n", "")) is None


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_page_has_what_a_guide_has(path: Path) -> None:
    loaded = shipped(path)
    text = FORMATS["text"](loaded)
    sections = ["Meaning", "Impact", "Diagnosis", *(["Causes"] if loaded.playbook.causes else [])]
    sections += ["Mitigation"] if loaded.playbook.resolution else []
    found = [line for line, below in zip(text.split("\n"), text.split("\n")[1:], strict=False) if set(below) == {"-"}]
    assert [name for name in found if name in sections] == sections
    assert all(cells(line) <= 80 for line in text.split("\n") if not line.startswith("    "))
    assert all(f"\nCause: {cause.id}\n" in text for cause in loaded.playbook.causes)
    assert all(f"\nStep: {action.id}\n" in text for action in loaded.playbook.resolution)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_link_of_a_page_leads_somewhere(path: Path) -> None:
    loaded = shipped(path)
    page = Tags(FORMATS["html"](loaded))
    assert {f"cause-{cause.id}" for cause in loaded.playbook.causes} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    headings = re.findall(r"^#+ (.*)$", FORMATS["md"](loaded), re.MULTILINE)
    slugs = {re.sub(r"[^\w -]", "", each.replace("\\", "").lower()).replace(" ", "-") for each in headings}
    assert {link[1:] for link in rendered(FORMATS["md"](loaded)).links if link.startswith("#")} <= slugs


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_value_of_a_statement_is_set_above_it(path: Path) -> None:
    for block in re.findall(r"^```sql\n(.*?)^```", FORMATS["md"](shipped(path)), re.MULTILINE | re.DOTALL):
        assert set(re.findall(r":['\"](\w+)['\"]", block)) == set(re.findall(r"^\\set (\w+) ", block, re.MULTILINE))
        assert "%(" not in block


def test_the_html_needs_nothing_and_allows_nothing() -> None:
    page = FORMATS["html"](shipped(ROOT / "playbooks" / "worker" / "queue-backlog.yaml"))
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in page
    assert "<script" not in page and "prefers-color-scheme: dark" in page and "url(" not in page
    assert not re.search(r"\sstyle=|\son\w+=", page)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("a >= b or c > 5", "a is at least b (9) or c is more than 5"),
        ("a and b and not c", "a holds and b (9) holds and c does not hold"),
        ("a == 1 and (x or y)", "a is 1 and (x holds or y holds)"),
        ("not (a or b)", "not (a holds or b (9) holds)"),
        ("x is known", "x is known"),
        ("x not in [1, 2]", "x is none of [1, 2]"),
        ("(runaways | length) > 0", "runaways | length is more than 0"),
        ("rows | length", "rows | length"),
        ("1 < a <= 3", "1 is less than a is at most 3"),
        ("true", "true"),
    ],
)
def test_a_condition_is_told_in_words(expression: str, words: str) -> None:
    assert "".join(span.text for span in condition(expression, {"b": "9"})) == words


@pytest.mark.parametrize("shape", ["text", "md", "html"])
def test_the_command_prints_each_format(tmp_path: Path, shape: str) -> None:
    place = Place(tmp_path, tmp_path / "state")
    shown = place.run("show", "queue-backlog", "--format", shape)
    assert shown.code == 0 and shown.stderr == "" and "Jobs pile up in a worker queue" in shown.stdout
