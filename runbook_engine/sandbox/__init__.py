"""A small, real LinkFlow on one machine that can be broken on purpose. `control` is the way in.

Nothing here may be imported by the engine, and nothing here may import executors, playbooks or the interpreter:
wherever a playbook looks, the sandbox must be as foreign as production.
"""

from __future__ import annotations
