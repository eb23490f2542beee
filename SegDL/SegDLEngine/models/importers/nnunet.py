"""nnU-Net v2 results folders (``plans.json``, ``dataset.json``, ``fold_*``) as SegDL models.

The network is built by the package ``dynamic-network-architectures`` from the plans; several folds become an
ensemble.  The steps of nnU-Net's preprocessor become those of the card, with two differences that the card
states: interpolation is cubic along all axes, also across thick slices, and probabilities, not logits, are
averaged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SegDLEngine.models.card import ENSEMBLE, SCHEMA_NAME
from SegDLEngine.models.importers.fitting import fit
from SegDLEngine.models.importers.imported import (
    LICENCE_FILE,
    USE,
    Imported,
    input_entry,
    label_entry,
    modality,
    model_id,
    refused,
)
from SegDLEngine.models.importers.nnunet_plans import Configuration, configuration_of
from SegDLEngine.models.importers.states import read_checkpoint, state_of

if TYPE_CHECKING:
    import torch

CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")
_AXES = ("k", "j", "i")
_MASK = "foreground"


@dataclass(frozen=True)
class _Fold:
    """``path`` of a checkpoint, its weights, and what it says of the training."""

    path: Path
    state: Mapping[str, torch.Tensor]
    configuration: str
    trainer: str
    mirroring: Sequence[int]


def is_results(folder: Path) -> bool:
    """True for the folder of a trained configuration, such as ``nnUNetTrainer__nnUNetPlans__3d_fullres``."""
    return (folder / "plans.json").is_file() and any(folder.glob("fold_*"))


def import_results(
    folder: Path, card_id: str | None, licence_text: str | None, folds: Sequence[str] | None = None
) -> Imported:
    """The trained configuration as card and weights of all folds, or of ``folds`` ("0", "all", ...).

    Raises ModelError or InputError that names the file.
    """
    plans, dataset = _read_json(folder / "plans.json"), _read_json(folder / "dataset.json")
    found = [_read_fold(path) for path in _checkpoints(folder, folds)]
    first = found[0]
    if any(fold.configuration != first.configuration for fold in found):
        raise refused(folder, "its folds are of different configurations", "Choose some with --folds.")
    plan = configuration_of(plans, first.configuration, folder / "plans.json")
    if any(not 0 <= axis < len(plan.axes) for axis in first.mirroring):
        raise refused(first.path, f"it mirrors along axes {list(first.mirroring)}", "Get the file again.")
    heads = _heads(dataset, folder / "dataset.json")
    inputs = _inputs(dataset, folder / "dataset.json")
    network = _network(plan, len(inputs), heads)
    states = [fit(fold.state, "nnunet", network["options"], fold.path) for fold in found]
    title = str(dataset.get("name") or plans.get("dataset_name") or folder.name)
    card = {
        "schema": SCHEMA_NAME,
        "id": card_id or model_id("nnunet", title, first.configuration),
        "version": "1.0.0",
        "title": f"{title} - nnU-Net {first.configuration}"[:120],
        "task": str(dataset.get("description") or f"Segments {', '.join(heads.names)}."),
        "description": _description(title, plan, first),
        "inputs": inputs,
        "labels": [
            label_entry(value, name, number)
            for number, (value, name) in enumerate(zip(heads.values, heads.names, strict=True))
        ],
        "network": network,
        "preprocessing": _steps(plan, inputs),
        "inference": _inference(plan, first, heads, len(found)),
        "postprocessing": [],
        "training": {
            "imported": {
                "source": "nnU-Net v2 results folder",
                "trainer": first.trainer,
                "folds": [fold.path.parent.name for fold in found],
            }
        },
        "results": [],
        "licence": {"spdx": "LicenseRef-as-received", "file": LICENCE_FILE},
        "intended_use": f"As stated by those who trained it. {USE}",
    }
    return Imported(card, states, licence_text or _licence(dataset))


@dataclass(frozen=True)
class _Heads:
    """Foreground outputs: label values, names; ``regions`` overlap and are drawn one after the other."""

    values: list[int]
    names: list[str]
    regions: bool


def _heads(dataset: Mapping[str, Any], source: Path) -> _Heads:
    labels = dataset.get("labels")
    if not isinstance(labels, Mapping) or labels.get("background") != 0:
        raise refused(source, "'labels' is no table with 'background': 0", "Repair the file.")
    foreground = {
        str(name): value for name, value in labels.items() if name != "ignore" and value not in (0, [0])
    }
    regions = any(isinstance(value, list) and len(value) > 1 for value in foreground.values())
    values = dataset.get("regions_class_order") if regions else list(foreground.values())
    values = [value[0] if isinstance(value, list) and len(value) == 1 else value for value in values or []]
    if len(values) != len(foreground) or not all(
        isinstance(value, int) and 1 <= value <= 255 for value in values
    ):
        field = "regions_class_order" if regions else "labels"
        raise refused(source, f"'{field}' does not give each output a value of 1..255", "Repair the file.")
    if not regions and values != list(range(1, len(values) + 1)):
        pairs = sorted(zip(values, foreground, strict=True))
        values, names = [list(column) for column in zip(*pairs, strict=True)]
        if values != list(range(1, len(values) + 1)):
            raise refused(source, f"'labels' has gaps: {values}", "nnU-Net needs consecutive labels.")
        return _Heads(values, names, False)
    return _Heads(values, list(foreground), regions)


def _inputs(dataset: Mapping[str, Any], source: Path) -> list[dict[str, Any]]:
    names = dataset.get("channel_names")
    if not isinstance(names, Mapping) or not names:
        raise refused(source, "it has no 'channel_names'", "Only datasets of nnU-Net v2 are known.")
    entries: list[dict[str, Any]] = []
    for key in sorted(names, key=int):
        text = str(names[key])
        name = "Image" if text.lower() in ("nonorm", "zscore", "rescale_to_0_1", "rgb_to_0_1") else text
        entries.append(input_entry(name, modality(text, "MR"), [entry["name"] for entry in entries]))
    return entries


def _network(plan: Configuration, inputs: int, heads: _Heads) -> dict[str, Any]:
    options: dict[str, Any] = {
        "architecture": plan.architecture,
        "arguments": plan.arguments,
        "in_channels": inputs,
        "out_channels": len(heads.values) + (0 if heads.regions else 1),
        "patch": plan.by_axis(plan.patch),
        "axes": plan.axes,
    }
    if heads.regions:
        options["draw_order"] = list(range(len(heads.values)))
    return {"name": "nnunet", "options": options}


def _steps(plan: Configuration, inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """nnU-Net changes grey values before it resamples."""
    names = [entry["name"] for entry in inputs]
    steps: list[dict[str, Any]] = [{"step": "to_reference"}] if len(names) > 1 else []
    if any(plan.masked):
        steps.append({"step": "foreground_mask", "name": _MASK})
    for number, name in enumerate(names):
        steps += _normalisation(plan, number, name)
    spacing = plan.by_axis(plan.spacing)
    if plan.flat:
        steps.append({"step": "resample_in_plane", "spacing": spacing[:2], "interpolation": "cubic"})
    else:
        steps.append({"step": "resample", "spacing": spacing, "interpolation": "cubic"})
    return steps


def _normalisation(plan: Configuration, number: int, name: str) -> list[dict[str, Any]]:
    scheme, only = plan.schemes[number], {"inputs": [name]}
    if scheme == "CTNormalization":
        found = plan.intensities[number]
        return [
            {"step": "clip", "low": found["percentile_00_5"], "high": found["percentile_99_5"], **only},
            {"step": "scale", "offset": -found["mean"], "factor": 1 / max(found["std"], 1e-8), **only},
        ]
    if scheme == "ZScoreNormalization":
        masked = {"mask": _MASK, "outside": 0.0} if plan.masked[number] else {}
        return [{"step": "zscore", **masked, **only}]
    return [{"step": "stretch", **only}] if scheme == "RescaleTo01Normalization" else []


def _inference(plan: Configuration, fold: _Fold, heads: _Heads, folds: int) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "activation": "sigmoid" if heads.regions else "softmax",
        "threshold": 0.5,
        "batch": 8 if plan.flat else 1,
    }
    if plan.flat:
        settings |= {"mode": "slices", "context": [0]}
    else:
        settings |= {"mode": "windows", "patch": plan.by_axis(plan.patch), "overlap": 0.5}
    if fold.mirroring:
        settings["mirroring"] = sorted(plan.axes[axis] for axis in fold.mirroring)
    if folds > 1:
        return {**settings, "uncertainty": ENSEMBLE}
    return {**settings, "uncertainty": "flip_tta", "samples": 1 if fold.mirroring else 0}


def _checkpoints(folder: Path, folds: Sequence[str] | None) -> list[Path]:
    """The checkpoint of each fold; without a choice all numbered folds, or "all" if there is no other."""
    found = {}
    for path in sorted(folder.glob("fold_*")):
        name = next((name for name in CHECKPOINTS if (path / name).is_file()), None)
        if name is not None:
            found[path.name.removeprefix("fold_")] = path / name
    if folds is not None:
        missing = [fold for fold in folds if fold not in found]
        if missing:
            raise refused(
                folder, f"it has no checkpoint of fold {missing[0]}", f"It has: {', '.join(found) or 'none'}."
            )
        return [found[fold] for fold in folds]
    numbered = [path for fold, path in found.items() if re.fullmatch(r"\d+", fold)]
    if not found:
        raise refused(folder, f"no fold has a {CHECKPOINTS[0]}", "Is the training finished?")
    return numbered or list(found.values())


def _read_fold(path: Path) -> _Fold:
    checkpoint = read_checkpoint(path)
    state = state_of(checkpoint, path)
    if not isinstance(checkpoint, Mapping) or not isinstance(checkpoint.get("init_args"), Mapping):
        raise refused(
            path, "it says nothing of its configuration", "Only checkpoints of nnU-Net v2 are known."
        )
    return _Fold(
        path,
        state,
        str(checkpoint["init_args"].get("configuration")),
        str(checkpoint.get("trainer_name", "")),
        tuple(checkpoint.get("inference_allowed_mirroring_axes") or ()),
    )


def _description(title: str, plan: Configuration, fold: _Fold) -> str:
    size = " x ".join(str(side) for side in plan.by_axis(plan.patch))
    return (
        f"{title}, trained with nnU-Net v2 ({fold.trainer}, {fold.configuration}), windows of {size} voxels."
        " Other than in nnU-Net, images are interpolated by cubic splines along all axes, probabilities"
        " instead of logits are averaged over windows, mirror images and folds, and its postprocessing is"
        " left out. Images are taken in the order of their files, as in nnU-Net. The codes of its segments"
        " are general ones."
    )


def _licence(dataset: Mapping[str, Any]) -> str:
    stated = dataset.get("licence") or dataset.get("license") or "not stated"
    return f"Weights brought by the user. Licence of the data that they were trained on: {stated}.\n"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise refused(
            path, f"it cannot be read as JSON ({error})", "A results folder has plans.json and dataset.json."
        ) from error
    if not isinstance(found, dict):
        raise refused(path, "it is no JSON object", "Get the folder again.")
    return found
