"""The configuration of a MONAI bundle as plain data.

Expressions (texts that begin with "$") are Python and are never evaluated; what they would say is not known
here.  References ("@name", with "::" or "#" between the steps of a path) are followed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from SegDLEngine.models.importers.imported import refused

_DEEPEST = 20


class Unknown:
    """The value of an expression."""

    def __repr__(self) -> str:
        return "(an expression)"


UNKNOWN = Unknown()


class Configuration:
    """``data`` is the JSON of ``configs/inference.json``; ``source`` names it in errors."""

    def __init__(self, data: Mapping[str, Any], source: str):
        self._data = data
        self.source = source

    def value(self, *names: str) -> Any:
        """The first of these top-level entries that is there, resolved; None without any."""
        found = next((self._data[name] for name in names if name in self._data), None)
        return self.resolved(found)

    def resolved(self, value: Any, depth: int = 0) -> Any:
        """``value`` with its references followed; raises ModelError for one that leads nowhere."""
        if depth > _DEEPEST:
            raise refused(self.source, "its references run in circles", "Repair the configuration.")
        if isinstance(value, str):
            if value.startswith("$"):
                return UNKNOWN
            return self.resolved(self._find(value[1:]), depth + 1) if value.startswith("@") else value
        if isinstance(value, list):
            return [self.resolved(item, depth + 1) for item in value]
        if isinstance(value, Mapping):
            return {key: self.resolved(item, depth + 1) for key, item in value.items()}
        return value

    def _find(self, path: str) -> Any:
        found: Any = self._data
        for step in path.replace("#", "::").split("::"):
            try:
                found = found[int(step)] if isinstance(found, list) else found[step]
            except (KeyError, IndexError, ValueError, TypeError) as error:
                raise refused(
                    self.source, f"its reference '@{path}' leads nowhere", "Repair the configuration."
                ) from error
        return found


def is_known(value: Any) -> bool:
    """True if no part of ``value`` is an expression."""
    if isinstance(value, Mapping):
        return all(is_known(item) for item in value.values())
    if isinstance(value, list):
        return all(is_known(item) for item in value)
    return not isinstance(value, Unknown)


def target(entry: Any) -> str:
    """The class that an entry names, without its module; empty if it names none."""
    name = entry.get("_target_", "") if isinstance(entry, Mapping) else ""
    return name.rpartition(".")[2] if isinstance(name, str) else ""
