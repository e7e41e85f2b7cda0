"""`python -m runbook_engine.sandbox up|down|status|faults|break|heal|restore`: the sandbox without the engine."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from ..errors import RunbookError
from . import control


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m runbook_engine.sandbox")
    parser.add_argument("action", choices=("up", "down", "status", "faults", "break", "heal", "restore"))
    parser.add_argument("fault", nargs="?")
    parser.add_argument("--folder", type=Path, default=control.default_folder(os.environ))
    parser.add_argument("--pace", type=float, default=1.0)
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    try:
        act(options)
    except RunbookError as error:
        say(str(error))
        raise SystemExit(error.exit_code) from None


def act(options: argparse.Namespace) -> None:
    match options.action:
        case "up":
            control.up(options.folder, pace=options.pace, seed=options.seed, log=say)
        case "down":
            control.down(options.folder)
        case "status":
            sys.stdout.write(json.dumps(control.status(options.folder), indent=2) + "\n")
        case "faults":
            sys.stdout.writelines(f"{fault.id:5} {fault.playbook:16} {fault.title}\n" for fault in control.faults())
        case "break":
            control.break_(control.load_state(options.folder), options.fault, options.seed, say)
        case "heal":
            control.heal(control.load_state(options.folder), options.fault, say)
        case _:
            control.restore(control.load_state(options.folder), say)


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()
