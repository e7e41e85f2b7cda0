"""Rehearses the tests of playbooks: finds and reads them, plays them in sealed processes, rewrites what they expect."""
