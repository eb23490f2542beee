"""A result into files: segmentation or labelmap, maps, lesion table and report.

The one definition that command line, worker and batch share.  Outputs are named ``segmentation``, ``labels``,
``mean``, ``uncertainty``, ``entropy``, ``mutual_information``, ``lesions`` and ``report``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from SegDLEngine.errors import InputError
from SegDLEngine.images.image import Image
from SegDLEngine.outputs import OutputFiles
from SegDLEngine.protocol import Reporter, encode
from SegDLEngine.result import Result

SEGMENTATION = ".seg.nrrd"
VOLUMES = (".nrrd", ".nii.gz", ".nii", ".mha")
EXTENSIONS = {
    "segmentation": (SEGMENTATION, *VOLUMES),
    "labels": VOLUMES,
    "mean": VOLUMES,
    "uncertainty": VOLUMES,
    "entropy": VOLUMES,
    "mutual_information": VOLUMES,
    "lesions": (".csv", ".json"),
    "report": (".json",),
}
MAPS = {
    "mean": "mean",
    "uncertainty": "std",
    "entropy": "entropy",
    "mutual_information": "mutual_information",
}
NEED_SAMPLES = ("uncertainty", "entropy", "mutual_information")
REPORT_SCHEMA = "segdl-report-1"
NOTICE = "Research software. Not for clinical use."


def check_output_names(targets: Mapping[str, Any]) -> None:
    """Raise InputError for an output that is not known or whose extension cannot be written."""
    for name, path in targets.items():
        if name not in EXTENSIONS:
            raise InputError(f"There is no output '{name}'.", hint=f"Known outputs: {', '.join(EXTENSIONS)}.")
        if path and not str(path).lower().endswith(EXTENSIONS[name]):
            raise InputError(
                f"The {name} output '{path}' has no extension that can be written.",
                hint=f"Use one of {', '.join(EXTENSIONS[name])}.",
            )


def write_result(result: Result, outputs: OutputFiles, reporter: Reporter, seconds: float) -> dict[str, Any]:
    """Stage every file of ``outputs`` and return the report; ``seconds`` is the job's duration so far."""
    report = make_report(result, outputs.files, seconds)
    for done, name in enumerate(outputs.files):
        reporter.progress("writing", done / len(outputs.files))
        _WRITERS[name](result, outputs.path(name), report)
    reporter.progress("writing", 1.0)
    return report


def make_report(result: Result, files: Mapping[str, Path], seconds: float) -> dict[str, Any]:
    """The report of a result as JSON data; its schema is published in ``report.schema.json``."""
    return {
        "schema": REPORT_SCHEMA,
        "notice": NOTICE,
        "labels": _label_rows(result),
        "lesions": result.lesions,
        "warnings": result.warnings,
        "provenance": result.provenance,
        "card": result.card,
        "files": {name: str(path) for name, path in files.items()},
        "seconds": round(seconds, 3),
    }


def header_metadata(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Provenance as flat text for image headers; where the inputs lay on this computer stays out."""
    flat = {"SegDL.notice": NOTICE}
    for key, value in provenance.items():
        if key == "inputs":
            value = {
                name: {field: item for field, item in entry.items() if field != "path"}
                for name, entry in value.items()
            }
        if key == "model":
            flat.update({f"SegDL.model.{field}": str(item) for field, item in value.items()})
        else:
            flat[f"SegDL.{key}"] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return flat


def _label_rows(result: Result) -> list[dict[str, Any]]:
    from SegDLEngine.inference.postprocessing import label_counts

    counts = label_counts(result.labels.array)
    return [
        {
            "value": label["value"],
            "name": label["name"],
            "voxels": int(counts[label["value"]]),
            "volume_ml": round(float(counts[label["value"]]) * result.labels.grid.voxel_ml, 4),
        }
        for label in result.card["labels"]
    ]


def _json(data: Any) -> str:
    """Indented JSON in which numbers that JSON does not know are null."""
    return json.dumps(json.loads(encode({"data": data}))["data"], indent=1, ensure_ascii=False) + "\n"


def _write_segmentation(result: Result, path: Path, report: dict[str, Any]) -> None:
    if not path.name.lower().endswith(SEGMENTATION):
        _write_labels(result, path, report)
        return
    from SegDLEngine.images.segmentation_file import write_segmentation

    metadata = header_metadata(result.provenance)
    write_segmentation(result.labels, result.card["labels"], path, metadata=metadata)


def _write_labels(result: Result, path: Path, report: dict[str, Any]) -> None:
    _write_volume(result.labels, path, result)


def _map_writer(name: str) -> Callable[[Result, Path, dict[str, Any]], None]:
    def write(result: Result, path: Path, report: dict[str, Any]) -> None:
        _write_volume(result.maps[MAPS[name]], path, result)

    return write


def _write_volume(image: Image, path: Path, result: Result) -> None:
    from SegDLEngine.images.writing import write_image

    write_image(image, path, metadata=header_metadata(result.provenance))


def _write_lesions(result: Result, path: Path, report: dict[str, Any]) -> None:
    from SegDLEngine.measurement.lesions import write_lesions

    write_lesions(result.lesions, path)


def _write_report(result: Result, path: Path, report: dict[str, Any]) -> None:
    path.write_text(_json(report), encoding="utf-8")


_WRITERS: dict[str, Callable[[Result, Path, dict[str, Any]], None]] = {
    "segmentation": _write_segmentation,
    "labels": _write_labels,
    **{name: _map_writer(name) for name in MAPS},
    "lesions": _write_lesions,
    "report": _write_report,
}
