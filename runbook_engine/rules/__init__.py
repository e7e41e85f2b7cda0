"""Lint rules, one a file: CODE, SUMMARY, BAD, GOOD and check(loaded). Nothing else may stand here."""
