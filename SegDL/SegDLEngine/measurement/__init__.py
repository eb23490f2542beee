"""Lesion tables, overlap and surface metrics."""
