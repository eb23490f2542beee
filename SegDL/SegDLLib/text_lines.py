"""Whole lines of a UTF-8 stream that arrives in arbitrary pieces."""

from __future__ import annotations

import codecs


class TextLines:
    """Feed bytes, get lines; a character or a line may be cut anywhere between two pieces.

    A carriage return ends a line too, so that a progress bar that is drawn over and over does not grow.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._partial = ""

    def feed(self, data: bytes) -> list[str]:
        """The lines that are complete now, without their ends and without empty ones."""
        text = self._decoder.decode(bytes(data)).replace("\r", "\n")
        *lines, self._partial = (self._partial + text).split("\n")
        return [line for line in lines if line.strip()]

    def rest(self) -> list[str]:
        """What came after the last line end."""
        left, self._partial = self._partial.strip(), ""
        return [left] if left else []
