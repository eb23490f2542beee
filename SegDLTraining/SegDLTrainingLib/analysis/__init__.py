"""Results by group of cases (reports 000, 001, 002) and what the masks of a data set look like (004)."""
