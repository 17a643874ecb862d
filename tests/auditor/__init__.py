"""Checks an archive against the promises of docs/archive-format.md. Shares no code with the program that writes it."""
