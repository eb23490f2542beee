"""Measure a lung-tumour model on every real case of the test data; a table, and rows for the card's results.

``python Testing/benchmarks/lung_real_cases.py [MODEL] [--json FILE] [--into-card] [--pictures FOLDER]``
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
from real_cases import data_folder, parser_of, print_rows, write_json, write_results
from SegDLEngine import Image, read_image, segment
from SegDLEngine.options import SegmentOptions


@dataclass(frozen=True)
class RealCase:
    """``tumour``: value of the tumour in the file of labels; no labels means a thorax without tumour."""

    name: str
    ct: str
    labels: str | None = None
    tumour: int = 1


CASES = (
    RealCase("LUNG1-001", "LUNG1-001/ct.nii.gz", "LUNG1-001/labels.nii.gz", 3),
    RealCase("lung1", "lung1/lung1_image.nrrd", "lung1/lung1_label.nrrd"),
    RealCase("phantom_pat2", "phantom_pat2/ct.nii.gz", "phantom_pat2/gtv.nii.gz"),
    RealCase("phantom_pat3", "phantom_pat3/ct.nii.gz", "phantom_pat3/gtv.nii.gz"),
    RealCase("normal_thorax", "normal_thorax/ct.nii.gz"),
)


def measure(case: RealCase, folder: Path, model: str, pictures: Path | None) -> dict[str, Any]:
    """One row: Dice, whether the lesion was met, volumes in ml, false positives, seconds."""
    ct = read_image(folder / case.ct, modality="CT", unit="HU")
    started = time.perf_counter()
    result = segment({"CT": ct}, model, SegmentOptions(samples=0))
    seconds = time.perf_counter() - started
    tumour = np.zeros(ct.array.shape, bool)
    if case.labels:
        tumour = read_image(folder / case.labels).array == case.tumour
    found = result.labels.array > 0
    components = cc3d.connected_components(found, connectivity=26)
    false = np.setdiff1d(components[found], components[tumour])
    if pictures:
        _draw(case, ct, tumour, found, pictures)
    ml = ct.grid.voxel_ml
    return {
        "case": case.name,
        "dice": _round(2 * (found & tumour).sum() / (found.sum() + tumour.sum())) if tumour.any() else None,
        "sensitivity": _round((found & tumour).sum() / tumour.sum()) if tumour.any() else None,
        "detected": bool((found & tumour).any()) if tumour.any() else None,
        "tumour_ml": _round(tumour.sum() * ml),
        "found_ml": _round(found.sum() * ml),
        "false_positive_ml": _round(np.isin(components, false).sum() * ml if len(false) else 0),
        "false_positive_lesions": len(false),
        "seconds": round(seconds, 1),
    }


def _round(value: float) -> float:
    return round(float(value), 3)


def _draw(case: RealCase, ct: Image, tumour: np.ndarray, found: np.ndarray, folder: Path) -> None:
    """Six slices with both outlines, for looking at (needs matplotlib)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    areas = (tumour | found).sum(axis=(1, 2))
    levels = np.flatnonzero(areas) if areas.any() else np.arange(len(areas))
    chosen = levels[np.linspace(0, len(levels) - 1, 8)[1:-1].astype(int)]
    figure, axes = plt.subplots(1, 6, figsize=(24, 4.5))
    for axis, k in zip(axes, chosen, strict=True):
        axis.imshow(ct.array[k], cmap="gray", vmin=-1000, vmax=250)
        for mask, colour in ((tumour, "lime"), (found, "red")):
            if mask[k].any():
                axis.contour(mask[k], [0.5], colors=colour, linewidths=0.9)
        axis.set_title(f"{case.name}, slice {k}")
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(folder / f"{case.name}.png", dpi=50)


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("model", nargs="?", default="lung-tumor-unet2d")
    arguments = parser.parse_args()
    data = data_folder("lung")
    rows = [measure(case, data, arguments.model, arguments.pictures) for case in CASES]
    print_rows(rows)
    if arguments.json:
        write_json(rows, arguments.json)
    if arguments.into_card:
        write_results(arguments.model, rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
