"""What turns a fresh clone into a running SegDL: environment, system libraries.  Standard library only."""
