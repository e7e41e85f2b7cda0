"""Asks shellcheck about a script, where it is installed: https://www.shellcheck.net. Without it nothing is said."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

DEADLINE = 10.0  # seconds
MOST_TEXT = 64 * 1024
MOST_FINDINGS = 20
# 2154: variables come by `with:`; 1090 and 1091: files of another machine; 2148: the engine chooses the shell;
# 2086: told by a rule of ours for values that are handed over, and others are the author's own words.
_NOT_FOR_US = "SC1090,SC1091,SC2034,SC2086,SC2148,SC2154"


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark; line and column count from 1, within the script."""

    line: int
    column: int
    code: int
    message: str


def installed() -> str | None:
    return shutil.which("shellcheck")


@lru_cache(maxsize=512)
def findings(script: str) -> tuple[Finding, ...]:
    """Errors and warnings, no matters of style. A shellcheck that is absent, hangs or breaks says nothing."""
    program = installed()
    if program is None or len(script) > MOST_TEXT:
        return ()
    command = [program, "--norc", "--format=json1", "--shell=sh", "--severity=warning", f"--exclude={_NOT_FOR_US}", "-"]
    try:
        done = subprocess.run(command, input=script.encode(), capture_output=True, timeout=DEADLINE, check=False)
        remarks = json.loads(done.stdout).get("comments", [])
    except (OSError, subprocess.SubprocessError, ValueError, AttributeError):
        return ()
    return tuple(_finding(each) for each in remarks[:MOST_FINDINGS])


def _finding(remark: dict[str, Any]) -> Finding:
    return Finding(int(remark["line"]), int(remark["column"]), int(remark["code"]), str(remark["message"]))
