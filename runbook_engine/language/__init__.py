"""The language as editors and people at a terminal are told it: JSON Schemas, and help on any part of it."""
