"""MONAI bundles (a folder or zip with ``configs`` and ``models``) as SegDL models.

Nothing of the bundle's own Python is run: expressions and scripts are left out.  The network is built by the
installed MONAI from its plain description and gets the bundle's weights; a bundle that gives no such
description can be run from its TorchScript archive, where the user trusts that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SegDLEngine.models.card import SCHEMA_NAME
from SegDLEngine.models.importers.fitting import fit
from SegDLEngine.models.importers.imported import (
    LICENCE_FILE,
    USE,
    Imported,
    input_entry,
    label_entry,
    modality,
    model_id,
    power_of_two,
    refused,
    semantic_version,
)
from SegDLEngine.models.importers.monai_config import Configuration, is_known, target
from SegDLEngine.models.importers.monai_transforms import Plan, plan_of
from SegDLEngine.models.importers.states import check_trust, is_torchscript, read_state

if TYPE_CHECKING:
    import torch

_METADATA = "configs/metadata.json"
_INFERENCE = "configs/inference.json"
_WEIGHTS = ("models/model.pt", "models/model.pth", "models/model.safetensors")
_ARCHIVE = "models/model.ts"
# Parts of a whole are drawn over it: outputs that overlap, from the first to the last.
_DRAWN_LATER = ("whole", "core", "enhanc")


def is_bundle(folder: Path) -> bool:
    """True for the root folder of a bundle."""
    return (folder / _METADATA).is_file()


def import_bundle(
    folder: Path, card_id: str | None, licence_text: str | None, *, trust: bool = False
) -> Imported:
    """The bundle in ``folder`` as card and weights; raises ModelError or InputError that names the file."""
    metadata = _read_json(folder / _METADATA)
    inference = folder / _INFERENCE
    if not inference.is_file():
        raise refused(
            folder,
            f"it has no {_INFERENCE}",
            "Bundles whose configuration is YAML can be exported as JSON by MONAI.",
        )
    configuration = Configuration(_read_json(inference), str(inference))
    transforms = configuration.value("preprocessing", "transforms", "preprocessing_transforms")
    listed = transforms.get("transforms") if isinstance(transforms, Mapping) else transforms
    if not isinstance(listed, list):
        raise refused(
            inference, "it has no list of preprocessing transforms", "See MONAI's bundle specification."
        )
    plan = plan_of(listed, str(inference))
    windows = _windows(configuration, metadata, plan)
    outputs = _outputs(configuration, metadata, folder)
    network, state = _network(folder, configuration, metadata, windows, plan, outputs, trust)
    card = {
        "schema": SCHEMA_NAME,
        "id": card_id or model_id(str(metadata.get("name") or folder.name)),
        "version": semantic_version(str(metadata.get("version", ""))),
        "title": str(metadata.get("name") or folder.name)[:120],
        "task": str(metadata.get("task") or metadata.get("description") or "MONAI bundle"),
        "description": _description(metadata, plan),
        "inputs": _inputs(metadata, outputs["channels_in"]),
        "labels": outputs["labels"],
        "network": network,
        "preprocessing": _steps(plan, outputs["channels_in"]),
        "inference": {
            "mode": "windows",
            "patch": [windows["side"][axis] for axis in "ijk"],
            "overlap": windows["overlap"],
            "blending": windows["blending"],
            "batch": 1,
            "activation": outputs["activation"],
            "threshold": 0.5,
            "uncertainty": "flip_tta",
            "samples": 0,
        },
        "postprocessing": outputs["postprocessing"],
        "training": {"imported": {"source": "MONAI bundle", "name": str(metadata.get("name", ""))}},
        "results": [{"stated by the bundle": metadata["eval_metrics"]}] if "eval_metrics" in metadata else [],
        "licence": {"spdx": "LicenseRef-as-received", "file": LICENCE_FILE},
        "intended_use": f"{metadata.get('intended_use') or 'As stated by its authors'}. {USE}",
    }
    return Imported(card, [state], licence_text or _licence(folder))


def _windows(configuration: Configuration, metadata: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """Sides of a window by axis of the grid, overlap and blending."""
    inferer = configuration.value("inferer")
    inferer = inferer if isinstance(inferer, Mapping) else {}
    sides = inferer.get("roi_size")
    if not is_known(sides) or not isinstance(sides, (list, int)):
        sides = _tensor(metadata, "inputs").get("spatial_shape", [])
    sides = [sides] * 3 if isinstance(sides, int) else sides
    if len(sides) != 3 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise refused(
            configuration.source,
            f"the size of its windows, {sides}, is not three numbers of voxels",
            "Only networks of volumes can be imported; write inferer.roi_size as numbers.",
        )
    overlap = inferer.get("overlap", 0.25)
    blending = inferer.get("mode", "constant")
    return {
        "sides": sides,
        "side": {axis[-1]: side for axis, side in zip(plan.axes, sides, strict=True)},
        "overlap": overlap if isinstance(overlap, float) and 0 <= overlap < 1 else 0.25,
        "blending": blending if blending in ("constant", "gaussian") else "constant",
    }


def _outputs(configuration: Configuration, metadata: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What the channels mean: labels, activation, the order in which overlapping ones are drawn."""
    tensor = _tensor(metadata, "outputs")
    names = _channel_names(tensor)
    if len(names) != tensor.get("num_channels", len(names)) or not names:
        raise refused(
            folder / _METADATA,
            "network_data_format.outputs.pred.channel_def does not name every output channel",
            'Name each channel, such as {"0": "background", "1": "tumour"}.',
        )
    listed = configuration.value("postprocessing")
    listed = listed.get("transforms", []) if isinstance(listed, Mapping) else listed
    entries = [entry for entry in listed or [] if isinstance(entry, Mapping)]
    sigmoid = any(entry.get("sigmoid") is True for entry in entries)
    softmax = any(entry.get("softmax") is True or entry.get("argmax") is True for entry in entries)
    if not sigmoid and not softmax:
        sigmoid = len(names) == 1
    overlapping = names if sigmoid else names[1:]
    order = sorted(range(len(overlapping)), key=lambda number: (_rank(overlapping[number]), number))
    largest = any(target(entry).startswith("KeepLargestConnectedComponent") for entry in entries)
    return {
        "labels": [label_entry(number + 1, name, number) for number, name in enumerate(overlapping)],
        "activation": "sigmoid" if sigmoid else "softmax",
        "draw_order": order if sigmoid and len(names) > 1 else None,
        "postprocessing": [{"step": "components", "keep": "largest"}] if largest else [],
        "channels_in": int(_tensor(metadata, "inputs").get("num_channels", 1)),
    }


def _rank(name: str) -> int:
    """A whole comes before its core, and that before the enhancing part."""
    found = [number for number, word in enumerate(_DRAWN_LATER) if word in name.lower()]
    return found[0] if found else len(_DRAWN_LATER)


def _network(
    folder: Path,
    configuration: Configuration,
    metadata: Mapping[str, Any],
    windows: Mapping[str, Any],
    plan: Plan,
    outputs: Mapping[str, Any],
    trust: bool,
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The card's ``network`` and its weights."""
    options: dict[str, Any] = {
        "in_channels": outputs["channels_in"],
        "patch": [windows["side"][axis] for axis in "ijk"],
        "axes": list(plan.axes),
        "multiples": [power_of_two(windows["sides"])] * 3,
    }
    if outputs["draw_order"]:
        options["draw_order"] = outputs["draw_order"]
    described = configuration.value("network_def", "network")
    path = _weights(folder)
    if target(described) and is_known(described):
        arguments = {key: value for key, value in described.items() if not key.startswith("_")}
        options = {"architecture": target(described), "arguments": arguments, **options}
        return {"name": "monai", "options": options}, fit(
            read_state(path, trust=trust), "monai", options, path
        )
    if not is_torchscript(path):
        raise refused(
            configuration.source,
            "its network is described by Python expressions, which are never evaluated",
            f"Put a TorchScript archive at {_ARCHIVE} and import with --trust, if you trust it.",
        )
    check_trust(path, trust)
    return _archived(path, options)


def _archived(path: Path, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    import torch

    from SegDLEngine.networks.torchscript_network import ARCHIVE, load_archive

    content = path.read_bytes()
    load_archive(content)
    archive = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return {"name": "torchscript", "options": {"size": len(content), **options}}, {ARCHIVE: archive}


def _weights(folder: Path) -> Path:
    for name in (*_WEIGHTS, _ARCHIVE):
        if (folder / name).is_file():
            return folder / name
    raise refused(
        folder,
        f"it has none of {', '.join((*_WEIGHTS, _ARCHIVE))}",
        "Large files of a bundle are often downloaded apart, see its large_files.yml.",
    )


def _inputs(metadata: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    tensor = _tensor(metadata, "inputs")
    kind = modality(str(tensor.get("modality", "")), "MR")
    names = _channel_names(tensor)
    if count == 1 or len(names) != count:
        names = [kind[0] if count == 1 else f"{kind[0]}{number + 1}" for number in range(count)]
    entries: list[dict[str, Any]] = []
    for name in names:
        own = modality(name, kind[0]) if count > 1 else kind
        entries.append(input_entry(name, own, [entry["name"] for entry in entries]))
    return entries


def _steps(plan: Plan, inputs: int) -> list[dict[str, Any]]:
    if plan.spacing is not None:
        return plan.steps
    first = [{"step": "to_reference"}] if inputs > 1 else []
    return [*first, {"step": "patient_order"}, *plan.steps]


def _description(metadata: Mapping[str, Any], plan: Plan) -> str:
    parts = [str(metadata.get("description") or "").rstrip(".")]
    parts += [f"By {metadata['authors']}"] if metadata.get("authors") else []
    parts.append("Imported from a MONAI bundle; the codes of its segments are general ones")
    parts += [f"Other than in the bundle, {note}" for note in plan.notes]
    return ". ".join(part for part in parts if part) + "."


def _tensor(metadata: Mapping[str, Any], side: str) -> Mapping[str, Any]:
    """The first tensor of the inputs or outputs that the metadata describe."""
    table = metadata.get("network_data_format", {}).get(side, {})
    found: Any = next(iter(table.values()), {}) if isinstance(table, Mapping) else {}
    return found if isinstance(found, Mapping) else {}


def _channel_names(tensor: Mapping[str, Any]) -> list[str]:
    table = tensor.get("channel_def", {})
    if not isinstance(table, Mapping) or not all(str(key).isdigit() for key in table):
        return []
    return [str(table[key]) for key in sorted(table, key=int)]


def _licence(folder: Path) -> str:
    for name in ("LICENSE", "LICENSE.txt", "docs/LICENSE", "docs/license.txt"):
        if (folder / name).is_file():
            return (folder / name).read_text(encoding="utf-8", errors="replace")
    return "Weights brought by the user; the bundle has no licence file.\n"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise refused(path, f"it cannot be read as JSON ({error})", "Get the bundle again.") from error
    if not isinstance(found, dict):
        raise refused(path, "it is no JSON object", "Get the bundle again.")
    return found
