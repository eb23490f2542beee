"""Preprocessing steps by name."""
