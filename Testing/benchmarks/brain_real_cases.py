"""Measure brain-tumour models on every real case of the test data; a table, and rows for the cards' results.

``python Testing/benchmarks/brain_real_cases.py MODEL... [--json FILE] [--into-card] [--pictures FOLDER]``
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "SegDL")]

import numpy as np  # noqa: E402
from SegDLEngine import Image, load_model, read_image, segment  # noqa: E402
from SegDLEngine.models.card import CARD_FILE, check_card  # noqa: E402
from SegDLEngine.options import SegmentOptions  # noqa: E402

# Regions by the label values that make them up; BraTS since 2017 has 1 for both 1 and 3.
REGIONS = {
    "whole": (1, 2, 3, 4),
    "core": (1, 3, 4),
    "necrosis and non-enhancing": (1, 3),
    "oedema": (2,),
    "enhancing": (4,),
}


@dataclass(frozen=True)
class RealCase:
    """``inputs``: files by input name; ``reference``: how the labels were made."""

    name: str
    inputs: dict[str, str]
    labels: str
    reference: str

    def paths(self, folder: Path) -> dict[str, Path]:
        return {key: folder / self.name / file for key, file in self.inputs.items()}


BRATS_2013 = {"FLAIR": "Flair_subtrMeanDivStd.nii.gz", "T1c": "T1c_subtrMeanDivStd.nii.gz"}
CASES = (
    RealCase(
        "TCGA-FG-6692",
        {"FLAIR": "fla.nii.gz", "T1": "t1.nii.gz", "T1c": "t1c.nii.gz", "T2": "t2.nii.gz"},
        "seg_fusion_mav.nii.gz",
        "automatic consensus",
    ),
    RealCase("brats_2013_pat0001_1", BRATS_2013, "OTMultiClass.nii.gz", "manual"),
    RealCase("brats_2013_pat0005_1", BRATS_2013, "OTMultiClass.nii.gz", "manual"),
)


def measure(case: RealCase, folder: Path, model: str, pictures: Path | None) -> dict[str, Any]:
    """One row: Dice of each region, volumes in ml."""
    images = {key: read_image(path, modality="MR") for key, path in case.paths(folder).items()}
    truth = np.rint(read_image(folder / case.name / case.labels).array).astype(np.uint8)
    result = segment(images, model, SegmentOptions(samples=0))
    found = result.labels.array
    ml = result.labels.grid.voxel_ml
    multiclass = len(load_model(model).card.labels) > 1
    row: dict[str, Any] = {"case": case.name, "inputs": " ".join(images), "reference": case.reference}
    for region, values in REGIONS.items():
        if region == "whole" or multiclass:
            theirs = np.isin(truth, values)
            mine = found > 0 if region == "whole" else np.isin(found, values)
            row[f"dice {region}"] = dice(theirs, mine)
    row["tumour_ml"] = round(float((truth > 0).sum() * ml), 1)
    row["found_ml"] = round(float((found > 0).sum() * ml), 1)
    row["outside_ml"] = round(float(((found > 0) & (truth == 0)).sum() * ml), 1)
    if pictures:
        draw(case, images, truth, found, pictures, model)
    return row


def dice(reference: np.ndarray, found: np.ndarray) -> float | None:
    """None where the reference has nothing of the region."""
    if not reference.any():
        return None
    return round(float(2 * (reference & found).sum() / (reference.sum() + found.sum())), 3)


def draw(
    case: RealCase,
    images: dict[str, Image],
    truth: np.ndarray,
    found: np.ndarray,
    folder: Path,
    model: str,
) -> None:
    """Five slices: FLAIR, T1c, the reference and what was found (needs matplotlib)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    levels = np.flatnonzero((truth > 0).any(axis=(1, 2)))
    chosen = levels[np.linspace(0, len(levels) - 1, 7)[1:-1].astype(int)]
    figure, axes = plt.subplots(4, len(chosen), figsize=(4 * len(chosen), 16))
    for column, k in enumerate(chosen):
        flair, t1c = images["FLAIR"].array[k], images["T1c"].array[k]
        for row, (background, mask) in enumerate(
            ((flair, None), (t1c, None), (flair, truth), (flair, found))
        ):
            axis = axes[row, column]
            low, high = np.percentile(background, [1, 99.8])
            axis.imshow(background, cmap="gray", vmin=low, vmax=high)
            if mask is not None:
                shown = np.ma.masked_equal(mask[k], 0)
                axis.imshow(shown, cmap="jet", vmin=0, vmax=4, alpha=0.5, interpolation="nearest")
            axis.axis("off")
    figure.suptitle(f"{case.name}: FLAIR, T1c, reference, {Path(model).name}")
    figure.tight_layout()
    figure.savefig(folder / f"{Path(model).name}-{case.name}.png", dpi=45)
    plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", help="ids or folders")
    parser.add_argument("--json", type=Path, help="file for the rows")
    parser.add_argument("--into-card", action="store_true", help="write the rows into the models' cards")
    parser.add_argument("--pictures", type=Path, help="folder for one picture a case")
    arguments = parser.parse_args()
    data = Path(os.environ.get("SEGDL_TEST_DATA") or ROOT.parent / "shared" / "data") / "brain"
    if not data.is_dir():
        print("The real test images are absent; set SEGDL_TEST_DATA to their folder.", file=sys.stderr)
        return 2
    everything = {}
    for model in arguments.models:
        rows = [measure(case, data, model, arguments.pictures) for case in CASES]
        everything[model] = rows
        print(model)
        for row in rows:
            print("  " + ", ".join(f"{key} {value}" for key, value in row.items()))
        if arguments.into_card:
            path = load_model(model).folder / CARD_FILE
            card = json.loads(path.read_text(encoding="utf-8"))
            card["results"] = rows
            check_card(card, str(path))
            path.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if arguments.json:
        arguments.json.write_text(json.dumps(everything, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
