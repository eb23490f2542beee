"""The reference segmentation of a case as the card's labels on the grid of its reference image."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from SegDLEngine.errors import InputError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.reading import read_labels
from SegDLEngine.images.resampling import resample
from SegDLEngine.images.segment_masks import SegmentMask, read_segment_masks, segments_kind
from SegDLEngine.models.card import ModelCard

from SegDLTrainingLib.data.cases import CaseEntry

Warn = Callable[[str, str], None]

# Grids whose corners agree to this part of a voxel are one grid: formats round.
SAME_GRID = 0.05
# The type that Slicer gives to a new segment.
TISSUE = {"scheme": "SCT", "code": "85756007", "meaning": "Tissue"}
MAP_HINT = "Say what is meant with --map FROM=VALUE, or 'label_map' in a manifest (VALUE 0 is background)."


def case_labels(entry: CaseEntry, card: ModelCard, grid: Grid, warn: Warn | None = None) -> Image:
    """Labels (uint8; the card's values, 0 elsewhere) of the case on ``grid``.

    ``warn`` hears of resampling, of overlap (the later label of the card wins) and of what the file's reader
    says.  Raises InputError for what cannot be read, is no label of the card, or lies somewhere else.
    """
    if entry.labels is None:
        raise InputError(f"Case '{entry.name}' has no labels.", hint="Give a reference segmentation.")
    tell = warn or (lambda code, text: None)
    _check_map(entry, card)
    path = Path(entry.labels).expanduser()
    if not path.exists():
        raise InputError(
            f"The labels '{entry.labels}' do not exist.", hint="Check the path.", code="not-found"
        )
    if segments_kind(path):
        segments = read_segment_masks(path, grid, warn=tell)
        return _from_segments(segments, entry, card, grid, tell)
    image = read_labels(path, warn=tell)
    mapped = image.with_array(_mapped(image.array, entry, card))
    return Image(on_grid(mapped, grid, str(path), tell), grid, metadata={"path": str(path)})


def on_grid(labels: Image, grid: Grid, what: str, tell: Warn) -> np.ndarray:
    """The array of a labelmap on ``grid``, resampled (nearest) where its own grid is another.

    Raises InputError where both have one size but lie apart (a lost header), and where all labels get lost.
    """
    if labels.grid.matches(grid, tolerance=SAME_GRID):
        return labels.array
    same_box = _same_box(labels.grid, grid)
    if not same_box and labels.grid.size == grid.size:
        apart = np.abs(labels.grid.corners() - grid.corners()).max()
        raise InputError(
            f"'{what}' has the size of its image but lies {apart:.1f} mm off: one of the headers is wrong.",
            hint="Correct origin, spacing or direction of the labels.",
            code="geometry",
        )
    moved = resample(labels, grid, interpolation="nearest").array
    before = np.count_nonzero(labels.array) * labels.grid.voxel_ml
    after = np.count_nonzero(moved) * grid.voxel_ml
    if before > 0 and after == 0:
        raise InputError(
            f"'{what}' has its labels outside of the image.",
            hint="Check origin and direction.",
            code="geometry",
        )
    whole = np.isclose(before, after, rtol=1e-3) and _same_points(labels.grid, grid)
    if not whole and (
        not same_box or not np.allclose(sorted(labels.grid.spacing), sorted(grid.spacing), rtol=1e-3)
    ):
        tell(
            "label-grid",
            f"'{what}' ({_text(labels.grid)}) is resampled to the grid of its image ({_text(grid)}): "
            f"{before:.2f} ml become {after:.2f} ml.",
        )
    return moved


def _check_map(entry: CaseEntry, card: ModelCard) -> None:
    """Raise InputError for a map onto a value that is no label of the card."""
    known = {0, *(int(label["value"]) for label in card.labels)}
    for name, value in (entry.label_map or {}).items():
        if value not in known:
            raise InputError(
                f"Case '{entry.name}' maps '{name}' to {value}, which is no label of '{card.id}': "
                f"{_labels_text(card)}.",
                hint="Map to one of these values, or to 0 for background.",
                code="label-values",
            )


def _mapped(array: np.ndarray, entry: CaseEntry, card: ModelCard) -> np.ndarray:
    """Values of the file as values of the card."""
    known = {int(label["value"]) for label in card.labels}
    values, counts = np.unique(array, return_counts=True)
    table = np.zeros(int(values.max()) + 1, np.uint8)
    wrong = []
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        target = value
        if entry.label_map is not None and value:
            chosen = mapped_name(str(value), entry.label_map)
            target = -1 if chosen is None else chosen
        if target == 0 or target in known:
            table[value] = target
        else:
            wrong.append(f"{value} ({count} voxels)")
    if wrong:
        shown = ", ".join(wrong[:8]) + (f" and {len(wrong) - 8} more" if len(wrong) > 8 else "")
        raise InputError(
            f"'{entry.labels}' has values that are no label of '{card.id}': {shown}; "
            f"its labels: {_labels_text(card)}.",
            hint=MAP_HINT,
            code="label-values",
        )
    return table[array]


def _from_segments(
    segments: Sequence[SegmentMask], entry: CaseEntry, card: ModelCard, grid: Grid, tell: Warn
) -> Image:
    chosen = choose_segments(segments, card, entry.label_map)
    if not chosen:
        names = ", ".join(f"'{segment.name}'" for segment in segments[:20])
        raise InputError(
            f"'{entry.labels}' has no segment for a label of '{card.id}' ({_labels_text(card)}): "
            f"it has {names}.",
            hint=MAP_HINT,
            code="label-values",
        )
    array = np.zeros(grid.shape, np.uint8)
    overlap = 0
    order = [int(label["value"]) for label in card.labels]
    for segment, value in sorted(chosen, key=lambda pair: order.index(pair[1])):
        mask = Image(segment.mask.astype(np.uint8), segment.grid)
        inside = on_grid(mask, grid, f"{entry.labels}: {segment.name}", tell) > 0
        overlap += int(np.count_nonzero(inside & (array > 0) & (array != value)))
        array[inside] = value
    if overlap:
        tell("overlap", f"'{entry.labels}': segments overlap in {overlap} voxels; the later label wins.")
    return Image(array, grid, metadata={"path": entry.labels})


def choose_segments(
    segments: Sequence[SegmentMask],
    card: ModelCard,
    label_map: Mapping[str, int] | None,
    *,
    any_name: bool = True,
) -> list[tuple[SegmentMask, int]]:
    """The segments that are labels of the card, with the label's value.

    By ``label_map`` where given; else by terminology codes, else by name.  With ``any_name`` the single
    segment of a file without codes is the label of a card that has a single one.
    """
    values = {int(label["value"]) for label in card.labels}
    chosen = []
    for segment in segments:
        if label_map is not None:
            value = mapped_name(segment.name, label_map) or 0
        else:
            value = _label_of(segment, card)
        if value in values:
            chosen.append((segment, value))
    alone = any_name and len(segments) == len(values) == 1
    if not chosen and label_map is None and alone and _uncoded(segments[0].terminology):
        return [(segments[0], values.pop())]
    return chosen


def mapped_name(name: str, label_map: Mapping[str, int]) -> int | None:
    """The value for a segment name or file value, exact or by wildcard, without regard to case."""
    lower = name.lower()
    for pattern, value in label_map.items():
        if pattern.lower() == lower:
            return int(value)
    for pattern, value in label_map.items():
        if fnmatch.fnmatchcase(lower, pattern.lower()):
            return int(value)
    return None


def same_name(one: str, other: str) -> bool:
    """True for names that differ only in case, punctuation or British and American spelling."""

    def plain(text: str) -> str:
        text = text.lower().replace("tumour", "tumor").replace("oedema", "edema")
        return "".join(letter for letter in text if letter.isalnum())

    return plain(one) == plain(other)


def _label_of(segment: SegmentMask, card: ModelCard) -> int:
    """The value of the card's label that a segment is, 0 if none or not clear.

    By the codes that both have; by name among several labels with these codes, or where none has them.
    """
    coded = [label for label in card.labels if _codes_agree(segment.terminology, label.get("terminology"))]
    if len(coded) == 1:
        return int(coded[0]["value"])
    for label in coded or card.labels:
        if same_name(segment.name, str(label["name"])):
            return int(label["value"])
    return 0


def _codes_agree(found: Mapping[str, Any], wanted: Mapping[str, Any] | None) -> bool:
    """True if the types are equal, and so are modifiers and regions as far as both say them."""
    if not wanted or "type" not in wanted or "type" not in found:
        return False
    keys = ("type", "type_modifier", "region", "region_modifier")
    return all(_same_code(wanted[key], found[key]) for key in keys if key in wanted and key in found)


def _uncoded(terminology: Mapping[str, Any]) -> bool:
    """True without a type, and for Slicer's default type, which says nothing."""
    return "type" not in terminology or _same_code(terminology["type"], TISSUE)


def _same_code(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Equal codes; the old SNOMED-RT codes of DICOM equal their SNOMED-CT successors."""
    from pydicom.sr.coding import Code

    first, second = (Code(item["code"], item["scheme"], "") for item in (one, other))
    return bool(first == second)


def _same_box(one: Grid, other: Grid) -> bool:
    """True if both cover the same box, in whatever order of axes."""
    apart = np.linalg.norm(one.corners()[:, None] - other.corners()[None], axis=2)
    return bool(apart.min(axis=1).max() <= SAME_GRID * min(*one.spacing, *other.spacing))


def _same_points(one: Grid, other: Grid) -> bool:
    """True if the voxels of both coincide where they overlap, as in a segmentation cut to its extent."""
    corner = one.to_physical(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]))
    index = other.to_index(corner)
    alike = bool(np.isclose(one.voxel_ml, other.voxel_ml, rtol=1e-3))
    return alike and bool(np.abs(index - np.rint(index)).max() <= SAME_GRID)


def _labels_text(card: ModelCard) -> str:
    return ", ".join(f"{label['value']} {label['name']}" for label in card.labels)


def _text(grid: Grid) -> str:
    size = "x".join(map(str, grid.size))
    return f"{size}, {'/'.join(f'{length:.3g}' for length in grid.spacing)} mm"
