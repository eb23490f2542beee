"""A whole pretraining: CT volumes, training of the restoration task, a file of weights to start from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from SegDLEngine.errors import InputError
from SegDLEngine.models.writing import write_weights
from SegDLEngine.protocol import Reporter

from SegDLTrainingLib.fit import fit
from SegDLTrainingLib.identity import Identity
from SegDLTrainingLib.places import WEIGHTS_EXTENSION
from SegDLTrainingLib.recipes import Recipe
from SegDLTrainingLib.restoration.task import Restoration
from SegDLTrainingLib.start import Start
from SegDLTrainingLib.transfer import initial_weights
from SegDLTrainingLib.workplace import workplace


def pretrain(
    recipe: Recipe,
    output: str | Path,
    reporter: Reporter,
    *,
    start_from: str | Path | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Train after ``recipe`` and write the weights as ``output`` (.safetensors), in full precision.

    ``segdl-train fit --start-from`` takes this file, as one that ``segdl models import --initial`` wrote; a
    text file of the same name with ``.json`` says how it came about.  Options are those of
    ``run.train``.  Returns ``{"weights", "sha256", "validation_loss", "epochs"}``.
    """
    output = Path(output)
    if output.suffix != WEIGHTS_EXTENSION:
        raise InputError(
            f"Weights cannot be written as '{output.name}'.", hint="Use the extension .safetensors."
        )
    with workplace(output, reporter, **options) as place:
        first = Start.of(start_from) if start_from else None
        initial = initial_weights(recipe, first, place.reporter) if first else None
        cases = place.cases(recipe)
        identity = Identity.of(recipe, cases, origin=first.origin if first else None)
        result = fit(
            recipe, cases["training"], cases["validation"], place.folder, place.reporter, place.machine,
            initial, place.curves, Restoration, identity,
        )  # fmt: skip
        if not place.machine.processes.first:
            return {}
    output.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "weights": str(output),
        "sha256": write_weights(result.state, output),
        "validation_loss": result.kept.get("validation_loss"),
        "epochs": len(result.history),
    }
    facts = {
        **report,
        "weights": output.name,
        "recipe": recipe["id"],
        "seed": recipe.seed,
        "network": recipe.card["network"],
        "preprocessing": recipe.card["preprocessing"],
        "cases": {part: len(volumes) for part, volumes in cases.items()},
    }
    output.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return report
