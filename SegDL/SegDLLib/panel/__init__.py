"""The panel, one file for each section; none of them computes."""
