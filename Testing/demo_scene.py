"""The second half of the main job, inside the environment that ``demo.py`` made.

Segments with the engine, brings the result into a real MRML scene through the extension's own Slicer side,
and draws the views with Slicer's displayable managers.  Research software, not for clinical use.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from SegDLEngine.command_line.terminal import TerminalProgress
from SegDLEngine.errors import InputError, SegDLError
from SegDLEngine.images.image import Image
from SegDLEngine.images.reading import read_image
from SegDLEngine.images.writing import write_image
from SegDLEngine.measurement.lesions import write_lesions
from SegDLEngine.options import SegmentOptions
from SegDLEngine.outputs import OutputFiles
from SegDLEngine.pipeline import segment
from SegDLEngine.protocol import Reporter
from SegDLEngine.result import Result
from SegDLEngine.writing_results import write_result

MODEL = "lung-tumor-unet2d"
PHANTOM_SEED = 7
ENGINE_FILES = {
    "segmentation": "tumor.seg.nrrd",
    "uncertainty": "uncertainty.nrrd",
    "lesions": "lesions.csv",
    "report": "report.json",
}
SCENE_FILES = {"lesions": "lesions.json", "scene": "scene.mrb"}
PICTURE = {"views": "views.png"}
LUNG_WINDOW = (1500.0, -500.0)
VIEW_SIZE = (560, 520)


def main(words: list[str] | None = None) -> int:
    arguments = parse(words)
    terminal = TerminalProgress(sys.stderr)
    try:
        output = output_folder(arguments.output)
        image = arguments.ct and read_image(arguments.ct, modality="CT", unit="HU")
        result = run(image or phantom(output), output, arguments.samples, Reporter(terminal))
    except SegDLError as error:
        terminal.close()
        print(f"demo: error: {error}", file=sys.stderr)
        return error.exit_code
    terminal.close()
    print_findings(result, output)
    return 0


def parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo.py", description="Find the tumour in a chest CT. Research software, not for clinical use."
    )
    parser.add_argument("ct", nargs="?", help="image file or DICOM folder; without it a phantom is generated")
    parser.add_argument("--output", default="segdl-output", help="folder of the results (segdl-output)")
    parser.add_argument("--samples", type=int, help="Monte Carlo passes; default from the model")
    return parser.parse_args(words)


def output_folder(path: str) -> Path:
    folder = Path(path).expanduser().resolve()
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"The output folder '{path}' cannot be made: {error.strerror}.") from error
    return folder


def phantom(output: Path) -> Image:
    """A generated thorax with one tumour; CT and true labels are kept beside the results."""
    from SegDLTrainingLib.synthesis.thorax import thorax_phantom

    print("No CT was given: generating a thorax phantom ...", flush=True)
    ct, labels = thorax_phantom(PHANTOM_SEED, tumours=(60.0,))
    write_image(ct, output / "phantom.nii.gz")
    write_image(labels, output / "phantom_labels.nii.gz")
    return ct


def run(image: Image, output: Path, samples: int | None, reporter: Reporter) -> Result:
    """Segment and write the engine's files, then the scene, then the picture."""
    result = segment({"CT": image}, MODEL, SegmentOptions(samples=samples), reporter)
    with outputs_in(output, ENGINE_FILES) as files:
        write_result(result, files, reporter, result.provenance["duration_s"])
    app, volume, nodes = build_scene(image, result)
    with outputs_in(output, SCENE_FILES) as files:
        write_lesions(result.lesions, files.path("lesions"))
        save_scene(files.path("scene"))
    with outputs_in(output, PICTURE) as files:
        draw_views(app, volume, nodes, result, files.path("views"))
    return result


def outputs_in(folder: Path, names: dict[str, str]) -> OutputFiles:
    return OutputFiles({name: folder / file for name, file in names.items()})


def build_scene(image: Image, result: Result) -> tuple[Any, Any, Any]:
    """The host's application, the CT as a volume node, and the nodes of the result beside it."""
    import host

    app = host.start_plain()
    from SegDLLib.nodes import volumeFromImage
    from SegDLLib.results import importResult

    volume = volumeFromImage(image, "CT")
    volume.GetDisplayNode().AutoWindowLevelOff()
    volume.GetDisplayNode().SetWindowLevel(*LUNG_WINDOW)
    return app, volume, importResult(result, volume, closedSurface=True)


def save_scene(path: Path) -> None:
    import slicer

    if not slicer.util.saveScene(str(path)):
        raise SegDLError(f"The scene could not be saved as {path.name}.", hint="Is the disk full?")


def draw_views(app: Any, volume: Any, nodes: Any, result: Result, path: Path) -> None:
    """Three slices through the largest lesion (or the middle) with the uncertainty over them, and 3D."""
    from host.requirements import graphics_problem

    problem = graphics_problem()
    if problem:
        raise SegDLError(
            f"Everything but the picture was written: {problem}.",
            hint="Install these packages and run the command again.",
        )
    from host.views import ViewLayout

    layout = ViewLayout(app, VIEW_SIZE)
    display = nodes.segmentation.GetDisplayNode()
    display.SetOpacity2DFill(0.25)
    display.SetSliceIntersectionThickness(2)
    layout.show(volume, foreground=nodes.uncertainty, opacity=0.5)
    if result.lesions:
        layout.jump_to(result.lesions[0]["centroid_ras"])
    layout.slices["Red"].node.SetSliceVisible(True)
    layout.threed.node.SetBoxVisible(False)
    layout.threed.node.SetAxisLabelsVisible(False)
    layout.save_montage(path)


def print_findings(result: Result, output: Path) -> None:
    print(f"{len(result.lesions)} lesion(s) found.")
    for row in result.lesions:
        print(
            f"  {row['name']} {row['component']}: {row['volume_ml']:.1f} ml, "
            f"{row['long_axis_mm']:.0f} x {row['perpendicular_mm']:.0f} mm, centre (RAS) "
            + ", ".join(f"{value:.0f}" for value in row["centroid_ras"])
        )
    for name in sorted(path.name for path in output.iterdir() if path.is_file()):
        print(f"  {output / name}")
    print("Research software, not for clinical use.")


if __name__ == "__main__":
    sys.exit(main())
