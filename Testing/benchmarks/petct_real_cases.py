"""Measure a PET/CT tumour model on the real cases of the test data; a table, and rows for the card's results.

``python Testing/benchmarks/petct_real_cases.py [MODEL] [--json FILE] [--into-card] [--pictures FOLDER]``
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
from real_cases import data_folder, parser_of, print_rows, write_json, write_results
from SegDLEngine import Image, read_image, segment
from SegDLEngine.images.resampling import resample
from SegDLEngine.images.rtstruct import read_rtstruct
from SegDLEngine.options import SegmentOptions

CASES = ("STS_002", "STS_003", "STS_019", "STS_025")


def read_case(name: str, data: Path) -> tuple[dict[str, Image], np.ndarray]:
    """The images by input name, and the outlined tumour (k, j, i; bool) on the CT's grid."""
    if name == "STS_025":
        folder = data / "dicom" / name
        images = {key: read_image(folder / key / "image", modality=key) for key in ("CT", "PET")}
        outlines = read_rtstruct(folder / "CT" / "mask" / "RS.dcm", images["CT"].grid)
        return images, np.any([outline.mask for outline in outlines], axis=0)
    folder = data / "petct" / name
    images = {
        "CT": read_image(folder / "CT_image.nii.gz", modality="CT", unit="HU"),
        "PET": read_image(folder / "PET_image.nii.gz", modality="PT", unit="SUV"),
    }
    return images, read_image(folder / "CT_mask.nii.gz").array > 0


def measure(
    name: str, data: Path, model: str, options: SegmentOptions, pictures: Path | None
) -> dict[str, Any]:
    """One row: Dice, sensitivity, precision, volumes in ml, what was found apart from the tumour, SUVmax."""
    images, tumour = read_case(name, data)
    started = time.perf_counter()
    result = segment(images, model, options)
    seconds = time.perf_counter() - started
    found = result.labels.array > 0
    components = cc3d.connected_components(found, connectivity=26)
    false = np.setdiff1d(components[found], components[tumour])
    suv = resample(images["PET"], images["CT"].grid).array
    if pictures:
        _draw(name, images["CT"], suv, tumour, found, pictures)
    ml = images["CT"].grid.voxel_ml
    both = (found & tumour).sum()
    return {
        "case": name,
        "dice": _round(2 * both / (found.sum() + tumour.sum())),
        "sensitivity": _round(both / tumour.sum()),
        "precision": _round(both / max(found.sum(), 1)),
        "detected": bool(both),
        "tumour_ml": _round(tumour.sum() * ml),
        "found_ml": _round(found.sum() * ml),
        "false_positive_ml": _round(np.isin(components, false).sum() * ml if len(false) else 0),
        "false_positive_lesions": len(false),
        "suv_max_of_tumour": _round(suv[tumour].max()),
        "suv_max_of_found": _round(suv[found].max() if found.any() else 0),
        "seconds": round(seconds, 1),
    }


def _round(value: float) -> float:
    return round(float(value), 3)


def _draw(name: str, ct: Image, suv: np.ndarray, tumour: np.ndarray, found: np.ndarray, folder: Path) -> None:
    """Six slices of CT and PET with both outlines, for looking at (needs matplotlib)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    levels = np.flatnonzero((tumour | found).any(axis=(1, 2)))
    chosen = levels[np.linspace(0, len(levels) - 1, 8)[1:-1].astype(int)]
    figure, axes = plt.subplots(2, 6, figsize=(24, 8.5))
    for (upper, lower), k in zip(axes.T, chosen, strict=True):
        upper.imshow(ct.array[k], cmap="gray", vmin=-160, vmax=240)
        lower.imshow(suv[k], cmap="gray_r", vmin=0, vmax=8)
        for axis in (upper, lower):
            for mask, colour in ((tumour, "lime"), (found, "red")):
                if mask[k].any():
                    axis.contour(mask[k], [0.5], colors=colour, linewidths=0.9)
            axis.axis("off")
        upper.set_title(f"{name}, slice {k}")
    figure.tight_layout()
    figure.savefig(folder / f"{name}.png", dpi=45)


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("model", nargs="?", default="petct-tumor-se-resunet3d-demo")
    parser.add_argument("--precision", default="auto", help="as in segdl segment")
    arguments = parser.parse_args()
    data = data_folder()
    options = SegmentOptions(samples=0, precision=arguments.precision)
    rows = [measure(name, data, arguments.model, options, arguments.pictures) for name in CASES]
    print_rows(rows)
    if arguments.json:
        write_json(rows, arguments.json)
    if arguments.into_card:
        write_results(arguments.model, rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
