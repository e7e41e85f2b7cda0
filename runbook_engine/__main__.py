"""`python -m runbook_engine` is `runbook`."""

from __future__ import annotations

from .cli import main

main()
