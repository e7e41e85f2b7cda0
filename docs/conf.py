"""How Sphinx builds the documentation. `make docs` runs it with warnings as errors."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))

import generator  # noqa: E402 - found beside this file

from runbook_engine import __version__  # noqa: E402

project = "runbook"
author = "The runbook engine's authors"
release = version = __version__
extensions = ["myst_parser"]
myst_heading_anchors = 4
html_theme = "furo"
html_show_copyright = False
html_title = f"runbook {release}"
html_show_sphinx = False
html_copy_source = False
exclude_patterns = ["generator"]
nitpicky = True
suppress_warnings = [
    "misc.highlighting_failure"
]  # psql has \set and ${{ … }} are no SQL; they are coloured as far as it goes

FIRST = ("playbooks", "testing", "proving", "engine", "safety", "runbook-yaml")
REFERENCE = ("language", "executors", "rules", "commands")


def setup(app: Any) -> None:
    """Pages that are made of the program are made before Sphinx looks for pages."""
    app.connect("config-inited", lambda *_: generator.write(HERE / "generated"))
    app.connect("source-read", _completed)


def _completed(app: Any, docname: str, source: list[str]) -> None:
    """Links out of docs/ lead to the generated page or become a path; the front page gets its tables of contents."""
    if not docname.startswith("generated/"):
        source[0] = re.sub(r"\[([^\]]*)\]\(\.\./([^)]+)\)", _outside, source[0])
    if docname == "index":
        source[0] += _contents()
    elif docname in ("generated/executors", "generated/commands", "generated/playbooks"):
        source[0] += _tree("", f"{docname.rpartition('/')[2]}/*", glob=True)


def _outside(found: re.Match[str]) -> str:
    if found[2] == "examples/README.md":
        return f"[{found[1]}](generated/tutorial.md)"
    if found[2] == "CHANGELOG.md":
        return f"[{found[1]}](generated/changelog.md)"
    path = found[2].partition("#")[0]
    return f"`{path}`" if found[1] in (path, Path(path).name) else f"{found[1]} (`{path}`)"


def _contents() -> str:
    """Every page of docs/ is in it, also one that was added since."""
    own = sorted(path.stem for path in HERE.glob("*.md") if path.stem != "index")
    guides = [name for name in FIRST if name in own] + [name for name in own if name not in FIRST]
    return (
        _tree("Start", "generated/tutorial", "generated/playbooks")
        + _tree("Guides", *guides)
        + _tree("Reference", *(f"generated/{name}" for name in REFERENCE), "generated/changelog")
    )


def _tree(caption: str, *names: str, glob: bool = False) -> str:
    options = [":hidden:", *([":glob:"] if glob else []), *([f":caption: {caption}"] if caption else [])]
    lines = ["```{toctree}", *options, "", *names, "```"]
    return "\n\n" + "\n".join(lines) + "\n"
