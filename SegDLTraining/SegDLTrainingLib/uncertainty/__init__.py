"""How well the uncertainty of a model tells where it is wrong (report 004)."""
