"""Data sets described by a ``dataset.json``: nnU-Net raw data and the Medical Segmentation Decathlon."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from SegDLEngine.errors import InputError
from SegDLEngine.models.card import ModelCard

from SegDLTrainingLib.data.cases import CaseEntry, Problem
from SegDLTrainingLib.data.labels import MAP_HINT, same_name
from SegDLTrainingLib.data.names import input_for, is_image_file, stem

Found = tuple[list[CaseEntry], list[Problem]]

# The code of the problem that a map of the user's solves.
LABEL_NAMES = "label-names"


def is_nnunet(folder: Path) -> bool:
    images = folder / "imagesTr"
    return images.is_dir() and any(stem(path.name).endswith("_0000") for path in images.iterdir())


def is_msd(folder: Path) -> bool:
    return (folder / "dataset.json").is_file()


def nnunet_cases(folder: Path, card: ModelCard) -> Found:
    """Cases of imagesTr and labelsTr; channel ``_0000`` is the first of dataset.json, and so on."""
    described = _described(folder)
    channels = _channels(described, card, folder)
    labels = {stem(path.name): path for path in _images(folder / "labelsTr")}
    label_map, problems = _label_map(described, card)
    inputs: dict[str, dict[str, str]] = {}
    for path in _images(folder / "imagesTr"):
        name, _, channel = stem(path.name).rpartition("_")
        if name and channel.isdigit():
            target = channels.get(int(channel))
            entry = inputs.setdefault(name, {})
            if target in entry:
                text = f"'{Path(entry[target]).name}' and '{path.name}' are both the input '{target}'."
                problems.append(Problem("error", "ambiguous", name, text, "Remove one of them."))
            elif target is not None:
                entry[target] = str(path)
    for name in sorted(set(labels) - set(inputs)):
        text = f"'{labels[name].name}' in labelsTr has no image in imagesTr."
        problems.append(Problem("warning", "no-image", name, text))
    cases = [
        CaseEntry(name, name, paths, str(labels[name]) if name in labels else None, label_map=label_map)
        for name, paths in inputs.items()
    ]
    return cases, problems


def msd_cases(folder: Path, card: ModelCard) -> Found:
    """Cases of the list ``training``; a channel of a 4D image is written as ``path#number``."""
    described = _described(folder)
    rows = described.get("training")
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) and "image" in row for row in rows):
        raise InputError(f"'{folder / 'dataset.json'}' has no list 'training' of images and labels.")
    channels = _channels(described, card, folder)
    label_map, problems = _label_map(described, card)
    cases = []
    for row in rows:
        image = folder / str(row["image"])
        several = len(described.get("modality") or described.get("channel_names") or {}) > 1
        paths = {
            name: f"{image}#{number}" if several else str(image) for number, name in sorted(channels.items())
        }
        labels = str(folder / str(row["label"])) if row.get("label") else None
        cases.append(CaseEntry(stem(image.name), stem(image.name), paths, labels, label_map=label_map))
    return cases, problems


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if is_image_file(path.name)) if folder.is_dir() else []


def _described(folder: Path) -> dict[str, Any]:
    path = folder / "dataset.json"
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"'{path}' cannot be read: {error}.") from error
    if not isinstance(data, dict):
        raise InputError(f"'{path}' is no description of a data set.")
    return data


def _channels(described: Mapping[str, Any], card: ModelCard, folder: Path) -> dict[int, str]:
    """Input name by channel number; channels that the card does not use are left out."""
    names = described.get("channel_names") or described.get("modality")
    if not isinstance(names, Mapping):
        if len(card.inputs) == 1:
            return {0: card.reference}
        raise InputError(
            f"'{folder / 'dataset.json'}' does not name the channels, and the model '{card.id}' has "
            f"{len(card.inputs)} inputs.",
            hint='Add "channel_names", as in {"0": "CT", "1": "PET"}.',
        )
    if not all(str(number).isdigit() for number in names):
        raise InputError(
            f"'{folder / 'dataset.json'}' does not number the channels: {', '.join(map(str, names))}.",
            hint='As in "channel_names": {"0": "CT", "1": "PET"}.',
        )
    found = {int(number): input_for(card, str(name)) for number, name in names.items()}
    channels = {number: name for number, name in found.items() if name is not None}
    if not channels and len(names) == len(card.inputs) == 1:
        return {int(next(iter(names))): card.reference}
    missing = [
        entry["name"] for entry in card.inputs if entry["required"] and entry["name"] not in channels.values()
    ]
    if missing or len(set(channels.values())) < len(channels):
        said = ", ".join(str(name) for name in names.values())
        raise InputError(
            f"'{folder / 'dataset.json'}' has the channels {said}; the model '{card.id}' needs "
            f"{', '.join(card.input_names)}.",
            hint="Name the channels like the inputs of the model.",
        )
    return channels


def _label_map(described: Mapping[str, Any], card: ModelCard) -> tuple[dict[str, int] | None, list[Problem]]:
    """From the file's values to the card's by the names of the labels; a lone label needs no name."""
    stated = described.get("labels")
    if not isinstance(stated, Mapping):
        return None, []
    # MSD and nnU-Net 1 write {"1": "tumour"}, nnU-Net 2 {"tumour": 1}.
    pairs = [
        (str(key), str(value)) if str(key).isdigit() else (str(value), str(key))
        for key, value in stated.items()
    ]
    # Regions, {"core": [1, 3]}, say nothing of the single values.
    pairs = [(value, name) for value, name in pairs if value.isdigit() and value != "0"]
    if not pairs:
        return None, []
    if len(pairs) == len(card.labels) == 1:
        return {pairs[0][0]: int(card.labels[0]["value"])}, []
    label_map = {}
    for value, name in pairs:
        fitting = [int(label["value"]) for label in card.labels if same_name(name, str(label["name"]))]
        if not fitting:
            return None, [
                Problem(
                    "error",
                    LABEL_NAMES,
                    "",
                    f"dataset.json: label {value} '{name}' is none of '{card.id}': "
                    + ", ".join(f"{label['value']} {label['name']}" for label in card.labels)
                    + ".",
                    MAP_HINT,
                )
            ]
        label_map[value] = fitting[0]
    return label_map, []
