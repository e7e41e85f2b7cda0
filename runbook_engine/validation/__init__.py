"""Judges many files at once: finds and reads them, remembers verdicts, weighs complaints by a profile, mends."""
