"""Headless training on top of SegDLEngine.  Research software, not for clinical use."""
