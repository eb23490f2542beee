"""Many cases through MRML without a window: files in, segmentations (and scenes) as Slicer writes them out.

``Resources/Scripts/segdl_batch.py`` runs this inside Slicer and on a bare MRML host.  Where neither nodes nor
scenes are wanted, ``segdl batch`` does the same work without Slicer.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import slicer
from SegDLEngine.errors import InputError, SegDLError

from SegDLLib.lesion_table import COLUMNS, lesionsFromTable
from SegDLLib.nodes import volumeFromImage
from SegDLLib.segmenter import DEFAULT_MODEL, Segmenter

DONE, FAILED, USAGE, CANCELLED = 0, 1, 2, 3

Say = Callable[[str], None]


def main(arguments: Sequence[str], say: Say = print) -> int:
    """Run the batch; returns 0 all cases done, 1 some failed, 2 wrong usage or input, 3 interrupted."""
    try:
        options = _parser().parse_args(list(arguments))
    except SystemExit as leave:
        return USAGE if leave.code else DONE
    segmenter = Segmenter()
    try:
        cases = _cases(options, segmenter.card(options.model)["inputs"])
        folder = Path(options.output)
        folder.mkdir(parents=True, exist_ok=True)
        failed = [case.name for case in cases if not _runCase(segmenter, case, options, folder, say)]
    except SegDLError as error:
        say(f"error: {error}")
        return error.exit_code
    except OSError as error:
        say(f"error: {error}")
        return USAGE
    except KeyboardInterrupt:
        say("interrupted; finished cases stay, the same call goes on with the others")
        return CANCELLED
    finally:
        segmenter.shutdown()
    say(f"{len(cases) - len(failed)} of {len(cases)} cases done")
    if failed:
        say(f"failed: {', '.join(failed)}")
    return FAILED if failed else DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="segdl_batch.py",
        description="Segment images in Slicer without a window. Research software, not for clinical use.",
        epilog="Cases whose .seg.nrrd is in the output folder are left as they are.",
    )
    parser.add_argument("--model", default=DEFAULT_MODEL, help="model id or package (default %(default)s)")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--cases", help="CSV table with columns 'case' and one for each input")
    source.add_argument(
        "--input", action="append", metavar="NAME=PATH", help="image of a single case; again for each input"
    )
    parser.add_argument("--case", help="name of the single case (default: the file's name)")
    parser.add_argument("--output", required=True, help="folder for the results")
    parser.add_argument("--samples", type=int, help="Monte Carlo passes for the uncertainty, 0 for none")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:<n> or mps")
    parser.add_argument("--minimum-ml", type=float, help="lesions with a smaller volume are removed")
    parser.add_argument("--scene", action="store_true", help="also save a scene (.mrb) for each case")
    return parser


def _cases(options: argparse.Namespace, inputs: Sequence[dict[str, Any]]) -> list[Any]:
    from SegDLEngine.batch_cases import Case, read_cases

    if options.cases:
        return read_cases(options.cases, inputs)
    paths = {}
    for text in options.input:
        name, equals, path = text.partition("=")
        if not equals or not path:
            raise InputError(f"--input {text} is not NAME=PATH.", hint="For example --input CT=ct.nrrd")
        paths[name] = path
    first = Path(next(iter(paths.values()))).name
    return [Case(options.case or first.split(".")[0], paths)]


def _runCase(segmenter: Segmenter, case: Any, options: argparse.Namespace, folder: Path, say: Say) -> bool:
    """Segment and save one case; False, with the reason said, if that failed."""
    target = folder / f"{case.name}.seg.nrrd"
    if target.exists():
        say(f"{case.name}: done before")
        return True
    started = time.monotonic()
    slicer.mrmlScene.Clear(0)
    try:
        inputs = _load(case, segmenter.card(options.model)["inputs"])
        segmentation = segmenter.segment(
            inputs,
            options.model,
            samples=options.samples,
            device=options.device,
            minimumMl=options.minimum_ml,
            name=case.name,
            closedSurface=options.scene,
            onProgress=_Ticker(case.name, say),
        )
        lesions = lesionsFromTable(segmenter.lesionTable(segmentation))
        _save(segmenter, segmentation, lesions, target, options.scene)
    except (SegDLError, OSError) as error:
        say(f"{case.name}: failed: {error}")
        return False
    finally:
        slicer.mrmlScene.Clear(0)
    say(f"{case.name}: {len(lesions)} lesion(s), {time.monotonic() - started:.1f} s, {target}")
    return True


def _load(case: Any, inputs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    from SegDLEngine.images.reading import read_image

    known = {entry["name"]: entry for entry in inputs}
    nodes = {}
    for name, path in case.inputs.items():
        entry = known.get(name)
        if entry is None:
            raise InputError(f"The model has no input '{name}'.", hint=f"Its inputs: {', '.join(known)}.")
        image = read_image(path, modality=entry["modality"], unit=entry["unit"])
        nodes[name] = volumeFromImage(image, f"{case.name} {name}")
    return nodes


def _save(
    segmenter: Segmenter, segmentation, lesions: list[dict[str, Any]], target: Path, scene: bool
) -> None:
    """Write the files of a case, the segmentation last: with it the case counts as done."""
    stem = target.name.removesuffix(".seg.nrrd")
    uncertainty = segmenter.uncertaintyVolume(segmentation)
    with tempfile.TemporaryDirectory(prefix=".segdl-", dir=target.parent) as folder:
        parts = Path(folder)
        _writeLesions(lesions, parts / f"{stem}-lesions.csv")
        if uncertainty is not None:
            _saveNode(uncertainty, parts / f"{stem}-uncertainty.nrrd")
        if scene and not slicer.mrmlScene.WriteToMRB(str(parts / f"{stem}.mrb")):
            raise OSError(f"the scene {stem}.mrb could not be written")
        _saveNode(segmentation, parts / target.name)
        for part in sorted(parts.iterdir(), key=lambda path: path.name == target.name):
            os.replace(part, target.parent / part.name)


def _saveNode(node, path: Path) -> None:
    if not slicer.util.saveNode(node, str(path)):
        raise OSError(f"{path.name} could not be written")


def _writeLesions(lesions: list[dict[str, Any]], path: Path) -> None:
    keys = [column.key for column in COLUMNS if not column.key.startswith("centroid_")]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*keys, "centroid_r", "centroid_a", "centroid_s"])
        for lesion in lesions:
            writer.writerow([*(lesion[key] for key in keys), *lesion["centroid_ras"]])


class _Ticker:
    """Says the progress of a case when a new stage begins or another tenth is done."""

    def __init__(self, case: str, say: Say):
        self._case, self._say, self._last = case, say, ("", -1)

    def __call__(self, fraction: float, stage: str, secondsLeft: float | None) -> None:
        now = (stage, int(10 * fraction))
        if now != self._last:
            self._last = now
            self._say(f"{self._case}: {round(100 * fraction)} % {stage}")
