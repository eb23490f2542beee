"""What a training is: a checkpoint is continued only by the training that began it.

Recipe, contents of the cases and starting weights decide about the weights, so they must be the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from SegDLEngine.errors import InputError

from SegDLTrainingLib.recipes import Recipe
from SegDLTrainingLib.volumes import PreparedVolume

MOST_TOLD = 3
LONGEST_VALUE = 40
_ABSENT = object()

# Name and content of each case, in the order in which batches are drawn from them.
Contents = list[list[Any]]


@dataclass(frozen=True)
class Identity:
    """``recipe``: its content; ``cases`` by part; ``origin``: hashes of models and weights by what they are.

    All of it is JSON.
    """

    recipe: dict[str, Any]
    cases: dict[str, Contents]
    origin: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        cases: Mapping[str, Sequence[PreparedVolume]],
        initial: Mapping[str, torch.Tensor] | None = None,
        origin: Mapping[str, str] | None = None,
    ) -> Identity:
        """The identity of a training from the weights that ``origin`` names, or just ``initial`` ones.

        Weights are better named by where they come from: what is made of them may differ by rounding.
        """
        contents = {
            part: [[volume.name, dict(volume.content)] for volume in volumes]
            for part, volumes in cases.items()
        }
        start = {"starting_weights": _hash_of(initial)} if initial is not None else {}
        # Through JSON, as that is what it will be compared with.
        return cls(json.loads(json.dumps(recipe.content)), contents, {**start, **(origin or {})})

    def facts(self) -> dict[str, Any]:
        return asdict(self)

    def check(self, earlier: Mapping[str, Any], path: Path) -> None:
        """Raise InputError that says how ``earlier`` facts, those in the file ``path``, are others."""
        found = list(self._differences(earlier))
        if not found:
            return
        told = "; ".join(found[:MOST_TOLD])
        more = f"; and {len(found) - MOST_TOLD} more differences" if len(found) > MOST_TOLD else ""
        raise InputError(
            f"The training in {path.parent} cannot go on, it is not the one that began: {told}{more}.",
            hint="Restore what was there to go on, or begin anew with another --output.",
            code="other_training",
        )

    def _differences(self, earlier: Mapping[str, Any]) -> Iterator[str]:
        recipes = list(_changes(earlier["recipe"], self.recipe, ""))
        yield from recipes
        for what in sorted({*self.origin, *earlier["origin"]}):
            if self.origin.get(what) != earlier["origin"].get(what):
                yield f"the {what.replace('_', ' ')} changed"
        for part, contents in self.cases.items():
            before = earlier["cases"].get(part, [])
            # Another card prepares all cases otherwise, which need not be told for each.
            yield from _other_cases(part, before, contents, compare=not recipes)


def _other_cases(part: str, before: Contents, now: Contents, *, compare: bool) -> Iterator[str]:
    earlier, later = ({name: content for name, content in rows} for rows in (before, now))
    for name in sorted(earlier.keys() - later.keys()):
        yield f"the {part} case '{name}' is missing"
    for name in sorted(later.keys() - earlier.keys()):
        yield f"the {part} case '{name}' is new"
    for name in [name for name in later if name in earlier] if compare else []:
        keys = [*later[name], *(key for key in earlier[name] if key not in later[name])]
        changed = [key for key in keys if later[name].get(key) != earlier[name].get(key)]
        if changed:
            yield f"the {part} case '{name}' changed ({', '.join(changed)})"
    if earlier.keys() == later.keys() and list(earlier) != list(later):
        yield f"the {part} cases are in another order"


def _changes(before: Any, now: Any, place: str) -> Iterator[str]:
    """The fields that differ, by their paths in the recipe."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in [*now, *(key for key in before if key not in now)]:
            path = f"{place}.{key}" if place else key
            yield from _changes(before.get(key, _ABSENT), now.get(key, _ABSENT), path)
    elif before != now:
        yield f"the recipe's {place} was {_text(before)} and is {_text(now)}"


def _text(value: Any) -> str:
    if value is _ABSENT:
        return "not there"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def _hash_of(state: Mapping[str, torch.Tensor]) -> str:
    whole = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous().reshape(-1)
        whole.update(f"{name} {tuple(state[name].shape)} {tensor.dtype}".encode())
        whole.update(tensor.view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()
