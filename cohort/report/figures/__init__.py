"""Figures of the report, one per file; each a function that returns SVG text."""
