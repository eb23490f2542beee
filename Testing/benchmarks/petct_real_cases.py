"""Measure a PET/CT tumour model on the real cases of the test data; a table, and rows for the card's results.

``python Testing/benchmarks/petct_real_cases.py [MODEL] [--json FILE] [--into-card] [--pictures FOLDER]``
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "SegDL")]

import cc3d  # noqa: E402
import numpy as np  # noqa: E402
from SegDLEngine import Image, load_model, read_image, segment  # noqa: E402
from SegDLEngine.images.resampling import resample  # noqa: E402
from SegDLEngine.images.rtstruct import read_rtstruct  # noqa: E402
from SegDLEngine.models.card import CARD_FILE, check_card  # noqa: E402
from SegDLEngine.options import SegmentOptions  # noqa: E402

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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="petct-tumor-se-resunet3d-demo")
    parser.add_argument("--json", type=Path, help="file for the rows")
    parser.add_argument("--into-card", action="store_true", help="write the rows into the model's card")
    parser.add_argument("--pictures", type=Path, help="folder for one picture a case")
    parser.add_argument("--precision", default="auto", help="as in segdl segment")
    arguments = parser.parse_args()
    data = Path(os.environ.get("SEGDL_TEST_DATA") or ROOT.parent / "shared" / "data")
    if not data.is_dir():
        print("The real test images are absent; set SEGDL_TEST_DATA to their folder.", file=sys.stderr)
        return 2
    options = SegmentOptions(samples=0, precision=arguments.precision)
    rows = [measure(name, data, arguments.model, options, arguments.pictures) for name in CASES]
    print(" ".join(f"{name:>12.12}" for name in rows[0]))
    for row in rows:
        print(" ".join(f"{row[name]!s:>12.12}" for name in row))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    if arguments.into_card:
        path = load_model(arguments.model).folder / CARD_FILE
        card = json.loads(path.read_text(encoding="utf-8"))
        card["results"] = rows
        check_card(card, str(path))
        path.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
