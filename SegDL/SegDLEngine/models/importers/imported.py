"""What every importer gives back, and the parts of a card that they share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SegDLEngine.errors import ModelError

if TYPE_CHECKING:
    import torch

LICENCE_FILE = "LICENSE.txt"
USE = "Research. Not for clinical use."
# Colours of segments, told apart also side by side; a card with more labels begins anew.
_COLORS = (
    (230, 82, 60),
    (66, 135, 245),
    (90, 180, 90),
    (240, 190, 60),
    (160, 100, 200),
    (60, 190, 190),
    (230, 130, 180),
    (150, 120, 80),
)
_MODALITIES = {
    "ct": ("CT", "HU"),
    "pt": ("PT", "SUV"),
    "pet": ("PT", "SUV"),
    "suv": ("PT", "SUV"),
    "mr": ("MR", ""),
    "mri": ("MR", ""),
}
_TUMOUR = re.compile(r"tumou?r|lesion|cancer|neoplasm|metasta|glioma|carcinoma", re.IGNORECASE)
_MASS = (
    {"scheme": "SCT", "code": "49755003", "meaning": "Morphologically Altered Structure"},
    {"scheme": "SCT", "code": "4147007", "meaning": "Mass"},
)
_TISSUE = ({"scheme": "SCT", "code": "85756007", "meaning": "Tissue"},) * 2


@dataclass(frozen=True)
class Imported:
    """A card without its ``weights``, the states of one network or of the folds, and the licence's text."""

    card: Mapping[str, Any]
    states: Sequence[Mapping[str, torch.Tensor]]
    licence_text: str


def modality(name: str, default: str = "MR") -> tuple[str, str]:
    """DICOM modality and unit of an input that is called so, such as ("CT", "HU")."""
    return _MODALITIES.get(name.strip().lower(), (default, _MODALITIES[default.lower()][1]))


def input_entry(name: str, kind: tuple[str, str], taken: Sequence[str] = ()) -> dict[str, Any]:
    """A required input of a card; its name is made of what is allowed in one and is not ``taken``."""
    word = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:28] or "Image"
    word = word if word[0].isalpha() else f"Image-{word}"[:28]
    while word in taken:
        word += "-2"
    return {"name": word, "modality": kind[0], "unit": kind[1], "required": True}


def label_entry(value: int, name: str, position: int) -> dict[str, Any]:
    """A label of a card.  The codes are general ones: the source says no more than a name."""
    category, kind = _MASS if _TUMOUR.search(name) else _TISSUE
    text = name.strip()[:64] or f"Label {value}"
    return {
        "value": value,
        "name": text[0].upper() + text[1:],
        "color": list(_COLORS[position % len(_COLORS)]),
        "terminology": {"category": dict(category), "type": dict(kind)},
    }


def model_id(*words: str) -> str:
    """An id of lower-case letters, digits and hyphens from a name."""
    text = re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")[:64].strip("-")
    return text or "imported-model"


def semantic_version(text: str) -> str:
    """``text`` as three numbers, 1.0.0 if it has none."""
    numbers = re.findall(r"\d+", text)[:3]
    return ".".join((*numbers, "0", "0")[:3]) if numbers else "1.0.0"


def power_of_two(sides: Sequence[int], largest: int = 32) -> int:
    """The largest power of two, up to ``largest``, that divides all sides."""
    found = 1
    while found < largest and all(side % (2 * found) == 0 for side in sides):
        found *= 2
    return found


def refused(source: Path | str, reason: str, hint: str) -> ModelError:
    """The error of a source that cannot be imported."""
    return ModelError(f"{source} cannot be imported: {reason}.", hint=hint)
