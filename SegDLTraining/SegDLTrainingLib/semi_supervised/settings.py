"""The constants of a semi-supervised training, a recipe's ``semi_supervised``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from SegDLEngine.errors import InputError

RULES, RESULTS = ("best", "two best"), ("teacher", "student")


@dataclass(frozen=True)
class SemiSupervisedSettings:
    """Defaults are the report's, and ours where it says nothing (weights, ramp-up, noise).

    Patches are squares of ``patch`` pixels, padded to ``padded`` for the network; ``dictionary`` patches are
    taken of each labelled volume and ``queries`` of each unlabelled one, from boxes larger by the margins;
    of the coarse segmentation the largest ``components`` of at least ``minimum_voxels`` count.  Rule "best"
    takes a similarity from ``lowest`` to ``highest``, rule "two best" two above ``lowest``.  The consistency
    rises to ``consistency_weight`` within ``ramp_up_epochs``; student and teacher see ``noise`` (standard
    deviation) of their own; ``result`` is the network that the package gets.
    """

    patch: int = 68
    padded: int = 72
    dictionary: int = 120
    queries: int = 32
    dictionary_margin: int = 10
    query_margin: int = 15
    components: int = 2
    minimum_voxels: int = 20
    rule: str = "best"
    lowest: float = 0.87
    highest: float = 0.96
    pseudo_weight: float = 1.0
    consistency_weight: float = 1.0
    ramp_up_epochs: float = 5.0
    teacher_decay: float = 0.99
    noise: float = 0.05
    result: str = "teacher"

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> SemiSupervisedSettings:
        """Raises InputError for an unknown or impossible value."""
        try:
            settings = cls(**entry)
        except TypeError as error:
            raise InputError(f"The recipe's semi_supervised: {error}.") from error
        for name, known in (("rule", RULES), ("result", RESULTS)):
            if getattr(settings, name) not in known:
                raise InputError(
                    f"The recipe's semi_supervised.{name} '{getattr(settings, name)}' is unknown.",
                    hint=f"Known: {', '.join(known)}.",
                )
        if settings.padded < settings.patch:
            raise InputError(
                f"The recipe's semi_supervised.padded {settings.padded} is less than patch {settings.patch}."
            )
        return settings
