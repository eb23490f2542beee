"""Measure a lung-tumour model on every real case of the test data; a table, and rows for the card's results.

``python Testing/benchmarks/lung_real_cases.py [MODEL] [--json FILE] [--into-card] [--pictures FOLDER]``
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "SegDL")]

import cc3d  # noqa: E402
import numpy as np  # noqa: E402
from SegDLEngine import Image, load_model, read_image, segment  # noqa: E402
from SegDLEngine.models.card import CARD_FILE, check_card  # noqa: E402
from SegDLEngine.options import SegmentOptions  # noqa: E402


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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="lung-tumor-unet2d")
    parser.add_argument("--json", type=Path, help="file for the rows")
    parser.add_argument("--into-card", action="store_true", help="write the rows into the model's card")
    parser.add_argument("--pictures", type=Path, help="folder for one picture a case")
    arguments = parser.parse_args()
    data = Path(os.environ.get("SEGDL_TEST_DATA") or ROOT.parent / "shared" / "data") / "lung"
    if not data.is_dir():
        print("The real test images are absent; set SEGDL_TEST_DATA to their folder.", file=sys.stderr)
        return 2
    rows = [measure(case, data, arguments.model, arguments.pictures) for case in CASES]
    print(" ".join(f"{name:>12}" for name in rows[0]))
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
