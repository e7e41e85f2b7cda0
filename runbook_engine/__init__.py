"""Automated runbooks: playbooks that diagnose, fix behind a gate, and prove that the fix held."""

__version__ = "0.1.0"
