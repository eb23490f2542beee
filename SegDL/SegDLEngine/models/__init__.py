"""Model cards, packages and the catalogue."""
