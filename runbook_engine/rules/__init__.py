"""Lint rules, one a file: CODE, SUMMARY and check(loaded). Nothing else may stand here."""
