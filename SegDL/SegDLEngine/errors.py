"""The errors of the engine: each says what happened, why, and what the user can do.

Every error carries a machine-readable ``code`` (used in the protocol's ``error`` event), one readable
``text`` that names the file or field, and a ``hint`` with the remedy.  The command line maps the class to
its exit code; the panel shows ``text`` and ``hint``.
"""

from __future__ import annotations


class SegDLError(Exception):
    """Base class: the work failed (exit code 1)."""

    exit_code = 1
    default_code = "failed"

    def __init__(self, text: str, *, hint: str = "", code: str = "", detail: str = ""):
        super().__init__(text)
        self.text = text
        self.hint = hint
        self.code = code or self.default_code
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.text} {self.hint}".strip()


class InputError(SegDLError):
    """A file, an option or a field that the user gave cannot be used (exit code 2)."""

    exit_code = 2
    default_code = "input"


class ModelError(SegDLError):
    """A model package is missing, broken or not installed (exit code 2)."""

    exit_code = 2
    default_code = "model"


class Cancelled(SegDLError):
    """The user asked to stop; nothing was written (exit code 3)."""

    exit_code = 3
    default_code = "cancelled"

    def __init__(self, text: str = "Cancelled.", **details: str):
        super().__init__(text, **details)
