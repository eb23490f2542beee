"""Procedural thorax CT volumes with known tumours: anatomy, other findings, tumours, scanner."""
