"""Winnow turns team chat into knowledge that can be found again."""
