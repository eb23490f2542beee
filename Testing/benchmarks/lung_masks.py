"""Compare the three lung masks on every real thorax of the test data, and on the single slices.

``python Testing/benchmarks/lung_masks.py [--model MODEL] [--json FILE]``; without an installed lung model the
U-Net has no figures.  Reference: the labelled lungs of LUNG1-001, with and without its tumour; elsewhere the
tumour alone, of which only the coverage tells something.
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

from SegDLEngine import read_image  # noqa: E402
from SegDLEngine.command_line.tables import print_table  # noqa: E402
from SegDLEngine.images.reading import read_labels  # noqa: E402
from SegDLEngine.preprocessing.lungs.comparison import compare_lungs  # noqa: E402
from SegDLEngine.preprocessing.lungs.unet import LUNG_MODEL  # noqa: E402

FIGURES = {
    "lungs_ml": "ml",
    "seconds": "s",
    "dice_classical": "Dice classical",
    "dice_reference": "Dice reference",
    "coverage_reference": "coverage",
}


@dataclass(frozen=True)
class Case:
    """A CT below the data folder and, if there are any, its labels and the values that are the reference."""

    name: str
    ct: str
    labels: str | None = None
    values: tuple[int, ...] | None = None


CASES = (
    Case("LUNG1-001, lungs", "lung/LUNG1-001/ct.nii.gz", "lung/LUNG1-001/labels.nii.gz", (1, 2)),
    Case(
        "LUNG1-001, lungs and tumour", "lung/LUNG1-001/ct.nii.gz", "lung/LUNG1-001/labels.nii.gz", (1, 2, 3)
    ),
    Case("lung1, tumour", "lung/lung1/lung1_image.nrrd", "lung/lung1/lung1_label.nrrd"),
    Case("phantom_pat2, tumour", "lung/phantom_pat2/ct.nii.gz", "lung/phantom_pat2/gtv.nii.gz"),
    Case("phantom_pat3, tumour", "lung/phantom_pat3/ct.nii.gz", "lung/phantom_pat3/gtv.nii.gz"),
    Case("normal_thorax", "lung/normal_thorax/ct.nii.gz"),
    Case("covid A002304 (slice)", "covid/A002304_19010112-135.dcm"),
    Case("covid A046441-045 (slice)", "covid/A046441_19001111-045.dcm"),
    Case("covid A046441-23 (slice)", "covid/A046441_19010101-23.dcm"),
    Case("covid A056642 (slice)", "covid/A056642_19001229-053.dcm"),
    Case("covid A098752 (slice)", "covid/A098752_19010127-128.dcm"),
)


def measure(case: Case, folder: Path, model: str) -> list[dict[str, Any]]:
    """Rows of ``compare_lungs`` with the name of the case."""
    image = read_image(folder / case.ct, modality="CT", unit="HU")
    labels = read_labels(folder / case.labels) if case.labels else None
    rows = compare_lungs(image, labels=labels, values=case.values, model=model)
    return [{"case": case.name, **row} for row in rows]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=LUNG_MODEL)
    parser.add_argument("--json", type=Path, help="file for all rows")
    arguments = parser.parse_args()
    data = Path(os.environ.get("SEGDL_TEST_DATA") or ROOT.parent / "shared" / "data")
    if not data.is_dir():
        print("The real test images are absent; set SEGDL_TEST_DATA to their folder.", file=sys.stderr)
        return 2
    rows = [row for case in CASES for row in measure(case, data, arguments.model)]
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print_table(
        ["case", "mask", *FIGURES.values()],
        [[row["case"], row["mask"], *(_cell(row, name) for name in FIGURES)] for row in rows],
    )
    return 0


def _cell(row: dict[str, Any], name: str) -> str:
    if row[name] is None:
        return "-"
    return f"{row[name]:.{ {'lungs_ml': 0, 'seconds': 1}.get(name, 3) }f}"


if __name__ == "__main__":
    sys.exit(main())
