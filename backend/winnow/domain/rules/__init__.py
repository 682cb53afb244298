"""The built-in extractor: knowledge by rules, offline and deterministic."""

from winnow.domain.rules.extract import extract_by_rules

__all__ = ["extract_by_rules"]
