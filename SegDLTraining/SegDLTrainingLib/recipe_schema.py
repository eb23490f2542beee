"""Recipes against ``recipe.schema.json``: what is wrong, in words that name the field and what it may be."""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from SegDLEngine.errors import InputError

SCHEMA_FILE = Path(__file__).with_name("recipe.schema.json")
# Names of JSON's types as the message says them.
KINDS = {
    "object": "a table {...}", "array": "a list [...]", "string": "text", "integer": "a whole number",
    "number": "a number", "boolean": "true or false", "null": "null",
}  # fmt: skip
LIMITS = {
    "minimum": "less than {}", "maximum": "more than {}", "exclusiveMinimum": "not more than {}",
    "exclusiveMaximum": "not less than {}", "minItems": "shorter than {} entries",
    "maxItems": "longer than {} entries", "minLength": "shorter than {} letters",
    "maxLength": "longer than {} letters",
}  # fmt: skip


def check_against_schema(data: Mapping[str, Any], path: Path) -> None:
    """Raise InputError that names the field which the schema refuses."""
    import jsonschema

    error = jsonschema.exceptions.best_match(_validator().iter_errors(data))
    if error is None:
        return
    if error.validator == "anyOf":
        # Of the alternatives the one that the value is meant to be.
        error = next((other for other in error.context if other.validator != "type"), error)
    where = ".".join(map(str, error.absolute_path)) or "the recipe"
    raise InputError(
        f"The recipe {path}: {where}: {_reason(error)}.", hint="See 'your own recipe' in the README."
    )


@functools.cache
def _validator() -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))


def _reason(error: Any) -> str:
    wanted, value = error.validator_value, _short(error.instance)
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        return _unknown(next(key for key in error.instance if key not in known), list(known))
    if error.validator == "enum" and "propertyNames" in error.absolute_schema_path:
        return _unknown(error.instance, wanted)
    if error.validator == "enum":
        return f"{value} is none of {', '.join(map(_short, wanted))}"
    if error.validator == "const":
        return f"{value} is not {_short(wanted)}"
    if error.validator == "type":
        kinds = [wanted] if isinstance(wanted, str) else wanted
        return f"{value} is not {' or '.join(KINDS[kind] for kind in kinds)}"
    if error.validator == "pattern":
        return f"{value} does not fit the pattern {wanted}"
    if error.validator == "required":
        missing = [key for key in wanted if key not in error.instance]
        return f"'{missing[0]}' is missing"
    if error.validator in LIMITS:
        return f"{value} is {LIMITS[error.validator].format(wanted)}"
    return str(error.message)


def _unknown(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, 1)
    meant = f", perhaps '{near[0]}' is meant" if near else ""
    return f"'{key}' is unknown{meant}; known: {', '.join(known)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
