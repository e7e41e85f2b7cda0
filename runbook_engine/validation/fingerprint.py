"""What a verdict on a text depends on besides the text: this engine, what it stands on, the day."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
METADATA = (".dist-info", ".egg-info")


def fingerprint() -> bytes:
    """Changes whenever the same text could be judged differently."""
    digest = hashlib.sha256()
    for part in _parts():
        digest.update(b"%d:" % len(part) + part)
    return digest.digest()


def _parts() -> Iterator[bytes]:
    yield sys.version.encode()
    # A rule may look at the date, and people do not all live in the same zone.
    yield time.strftime("%Y-%m-%d").encode() + time.strftime("%Y-%m-%d", time.gmtime()).encode()
    for root, folders, files in os.walk(PACKAGE):
        folders.sort()
        yield from (_file(os.path.join(root, name)) for name in sorted(files) if name.endswith(".py"))
    yield from _installed()
    helper = shutil.which("shellcheck")
    yield _file(helper) if helper else b"no shellcheck"


def _installed() -> Iterator[bytes]:
    """Which packages are installed in which version: executors among them, pydantic and Jinja2."""
    for folder in dict.fromkeys(sys.path):
        try:
            found = sorted(os.scandir(folder or "."), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in found:
            if entry.name.endswith(METADATA):
                yield entry.name.encode(errors="surrogateescape") + b"%d" % entry.stat().st_mtime_ns


def _file(path: str) -> bytes:
    status = os.stat(path)
    return f"{path}:{status.st_size}:{status.st_mtime_ns}".encode(errors="surrogateescape")
