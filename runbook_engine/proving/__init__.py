"""Goes through every way a playbook can run and shows what holds on each of them, or the way on which it does not.

No target is touched: states of the world are searched for, the real interpreter is driven through them, and each run is
judged by its events. Pure.
"""

from __future__ import annotations

from .claims import CLAIMS, Breach
from .proof import REACHED, Failure, Proof, prove
from .story import story

__all__ = ["CLAIMS", "REACHED", "Breach", "Failure", "Proof", "prove", "story"]
