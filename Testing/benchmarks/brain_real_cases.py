"""Measure brain-tumour models on every real case of the test data; a table, and rows for the cards' results.

``python Testing/benchmarks/brain_real_cases.py MODEL... [--json FILE] [--into-card] [--pictures FOLDER]``
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from real_cases import data_folder, parser_of, write_json, write_results
from SegDLEngine import Image, load_model, read_image, segment
from SegDLEngine.options import SegmentOptions

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
    parser = parser_of(__doc__)
    parser.add_argument("models", nargs="+", help="ids or folders")
    arguments = parser.parse_args()
    data = data_folder("brain")
    everything = {}
    for model in arguments.models:
        rows = [measure(case, data, model, arguments.pictures) for case in CASES]
        everything[model] = rows
        print(model)
        for row in rows:
            print("  " + ", ".join(f"{key} {value}" for key, value in row.items()))
        if arguments.into_card:
            write_results(model, rows)
    if arguments.json:
        write_json(everything, arguments.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
