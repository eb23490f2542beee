"""The one way through: images of a case in, labels, uncertainty and lesions out."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import SegDLEngine
from SegDLEngine.errors import InputError, SegDLError
from SegDLEngine.images.checks import check_image
from SegDLEngine.images.cropping import crop
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.identity import identity
from SegDLEngine.images.image import Image
from SegDLEngine.images.reading import read_image
from SegDLEngine.images.resampling import resample
from SegDLEngine.inference.mirroring import uncertainty_passes
from SegDLEngine.inference.postprocessing import check_postprocessing, foreground, label_map, postprocess
from SegDLEngine.inference.prediction import Prediction
from SegDLEngine.inference.region import inside_region, region_box
from SegDLEngine.inference.restoring import restore_labels, restore_map
from SegDLEngine.measurement.lesions import lesion_table
from SegDLEngine.models.card import ModelCard
from SegDLEngine.models.catalogue import Model, load_model
from SegDLEngine.options import SegmentOptions
from SegDLEngine.preprocessing.registry import PreparedCase, check_steps, known_steps, run_steps
from SegDLEngine.protocol import Reporter
from SegDLEngine.result import Result

if TYPE_CHECKING:
    from SegDLEngine.inference.runtime import Runtime
    from SegDLEngine.networks.network import Network

Source = Image | str | os.PathLike[str]

# Expected share of the time of each stage, for the progress bar.
STAGES = {"reading": 1, "preprocessing": 4, "inference": 8, "postprocessing": 2, "writing": 1}


# The maps of the uncertainty.
SPREADS = ("std", "entropy", "mutual_information")

# The preprocessing step that accepts a CT stored as a display window.
UNIT_STEP = "recognise_window"


def segment(
    case: Mapping[str, Source],
    model: str | Path | Model,
    options: SegmentOptions | None = None,
    reporter: Reporter | None = None,
    maps: Collection[str] | None = None,
) -> Result:
    """Segment a case: images or paths by the input names of the model's card.

    Everything in the result lies on the grid of the card's reference input.  The deterministic pass is what
    is thresholded and measured; Monte Carlo dropout, mirror images or an ensemble add maps of the mean, the
    spread, the entropy and the mutual information.  ``maps`` names those that are wanted, all by default: of
    a large volume each takes as much memory as four label volumes.
    Reports all ``STAGES`` but "writing", and raises Cancelled at the next step once the reporter says so.
    Raises InputError for images or options that cannot be used, ModelError for the model, SegDLError where
    memory does not suffice.
    """
    try:
        return _segment(case, model, options or SegmentOptions(), reporter or Reporter(), maps)
    except (MemoryError, RuntimeError) as error:
        from SegDLEngine.inference.runtime import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        raise SegDLError(
            "There is not enough memory for this image.",
            hint="Close other programs, or give the part of the image that matters.",
            code="memory",
            detail=str(error),
        ) from error


def _segment(
    case: Mapping[str, Source],
    model: str | Path | Model,
    options: SegmentOptions,
    reporter: Reporter,
    maps: Collection[str] | None,
) -> Result:
    started, clock = datetime.now(UTC), time.monotonic()
    earlier_warnings = len(reporter.warnings)
    reporter.stages(STAGES)

    found = load_model(model)
    card = found.card
    plan = Plan.of(card, options)
    images = read_inputs(case, card, reporter)
    reference = images[card.reference]
    case_read = PreparedCase(
        images, card.reference, reporter=reporter, region=options.roi, device=options.device
    )
    case_in_units = plan.with_units_restored(case_read)
    intensity = case_in_units.images[card.reference]
    view = View.of(run_steps(case_in_units, plan.preprocessing), card)
    if options.roi is not None:
        view = view.cropped(options.roi, found.structure(), plan)
    # The lesion table reports the mean deviation of each lesion.
    keep = None if maps is None else {*maps, "std"}
    prediction, runtime = _predict(found, view, plan, options, reporter, keep)
    view = view.without_channels()
    outside = None if options.roi is None else ~inside_region(reference.grid, options.roi)
    labels = _labels(prediction, view, plan, reference.grid, outside, reporter)
    volumes = _maps(prediction, view, plan, reference.grid, outside, reporter, keep)
    names = {label["value"]: label["name"] for label in card.labels}
    suv = _suv(case_in_units, reference.grid)
    lesions = lesion_table(labels, names, intensity, volumes.get("std"), suv)
    reporter.progress("postprocessing", 1.0)

    provenance = {
        "model": {"id": card.id, "version": card.version, "sha256": found.sha256},
        "engine": SegDLEngine.__version__,
        "device": str(runtime.device),
        "precision": runtime.precision,
        "steps": plan.steps(),
        "samples": plan.samples,
        "seed": options.seed,
        "options": options.as_mapping(),
        "time": started.isoformat(timespec="seconds"),
        "inputs": {name: _describe(image) for name, image in images.items()},
        "duration_s": round(time.monotonic() - clock, 3),
    }
    return Result(labels, volumes, lesions, card.data, provenance, reporter.warnings[earlier_warnings:])


def _suv(case: PreparedCase, grid: Grid) -> Image | None:
    """The case's PET in SUV on ``grid``; each voxel has the value of the PET voxel that it lies in.

    Interpolation would lower the maximum of a lesion.
    """
    for image in case.images.values():
        if image.unit == "SUV":
            return image if image.grid.matches(grid) else resample(image, grid, interpolation="nearest")
    return None


@dataclass(frozen=True)
class Plan:
    """What will be done: the card's steps and settings with the user's options applied."""

    preprocessing: list[dict[str, Any]]
    inference: dict[str, Any]
    postprocessing: list[dict[str, Any]]
    values: tuple[int, ...]

    @classmethod
    def of(cls, card: ModelCard, options: SegmentOptions) -> Plan:
        """Checks all steps before any work is done; raises ModelError."""
        inference = dict(card.inference)
        inference["samples"] = uncertainty_passes(inference, options.samples)
        if options.threshold is not None:
            inference["threshold"] = options.threshold
        postprocessing = [dict(entry) for entry in card.postprocessing]
        if options.minimum_ml is not None:
            filters = [entry for entry in postprocessing if entry["step"] == "components"]
            for entry in filters:
                entry["minimum_ml"] = options.minimum_ml
            if not filters:
                postprocessing.append({"step": "components", "minimum_ml": options.minimum_ml})
        check_steps(card.preprocessing, card.input_names)
        check_postprocessing(postprocessing)
        values = tuple(label["value"] for label in card.labels)
        return cls(list(card.preprocessing), inference, postprocessing, values)

    def with_units_restored(self, case: PreparedCase) -> PreparedCase:
        """The case after its UNIT_STEP alone, so that lesions are measured in HU.

        When the step's turn comes it finds HU and changes nothing.
        """
        for entry in self.preprocessing:
            if entry["step"] == UNIT_STEP:
                constants = {key: value for key, value in entry.items() if key != "step"}
                case = known_steps()[UNIT_STEP](case, **constants)
        return case

    @property
    def samples(self) -> int:
        return self.inference["samples"]

    @property
    def activation(self) -> str:
        return self.inference["activation"]

    @property
    def threshold(self) -> float:
        return self.inference["threshold"]

    @property
    def window(self) -> tuple[int, ...]:
        """Voxels (i, j, k) that a window of fixed size has, for norms that depend on all of them; else 1."""
        fixed = self.inference["mode"] == "windows" and not self.inference.get("adapt_patch")
        return tuple(self.inference["patch"]) if fixed else (1, 1, 1)

    @property
    def masks(self) -> list[str]:
        """Masks outside which postprocessing removes everything."""
        return [entry["mask"] for entry in self.postprocessing if entry["step"] == "inside_mask"]

    def steps(self) -> dict[str, Any]:
        """The plan as provenance keeps it."""
        return {
            "preprocessing": self.preprocessing,
            "inference": self.inference,
            "postprocessing": self.postprocessing,
        }


def read_inputs(case: Mapping[str, Source], card: ModelCard, reporter: Reporter) -> dict[str, Image]:
    """The images of the case in the card's order, read and checked; raises InputError.

    An image that does not know its modality or unit is taken to have the card's.
    """
    known = card.input_names
    for name in case:
        if name not in known:
            raise InputError(
                f"The model '{card.id}' has no input '{name}'.", hint=f"Its inputs: {', '.join(known)}."
            )
    windowed = any(entry["step"] == UNIT_STEP for entry in card.preprocessing)
    images = {}
    for number, entry in enumerate(card.inputs):
        reporter.progress("reading", number / len(card.inputs))
        name, modality, unit = entry["name"], entry["modality"], entry["unit"]
        source = case.get(name)
        if source is None:
            if entry["required"]:
                raise InputError(
                    f"The input '{name}' ({modality}) is missing.",
                    hint=f"The model '{card.id}' needs: {', '.join(known)}.",
                )
            continue
        if isinstance(source, Image):
            image = replace(source, modality=source.modality or modality, unit=source.unit or unit)
        else:
            image = read_image(source, modality=modality, unit=unit, warn=reporter.warning)
        check_image(image, name, modality=modality, unit=unit, windowed=windowed)
        images[name] = image
    reporter.progress("reading", 1.0)
    return images


@dataclass(frozen=True)
class View:
    """What the network sees: float32 ``channels`` (C, k, j, i) and ``masks`` on ``grid``.

    ``wanted`` (k, j, i; bool) is where a result is wanted; None means everywhere.
    """

    channels: np.ndarray
    grid: Grid
    masks: Mapping[str, Image]
    wanted: np.ndarray | None = None

    @classmethod
    def of(cls, case: PreparedCase, card: ModelCard) -> View:
        """An optional input that the case lacks is a channel of zeros."""
        present = [name for name in card.input_names if name in case.images]
        channels = case.channels(present)
        if len(present) < len(card.inputs):
            found, channels = channels, np.zeros((len(card.inputs), *case.grid.shape), np.float32)
            channels[[card.input_names.index(name) for name in present]] = found
        return cls(channels, case.grid, case.masks)

    def without_channels(self) -> View:
        """What is needed after the prediction; the voxels are let go."""
        return replace(self, channels=np.empty((0, 0, 0, 0), np.float32))

    def cropped(self, region: tuple[float, ...], network: Network, plan: Plan) -> View:
        """Only what the network needs for the region; raises InputError if there is nothing of it here."""
        # A network that sees each slice in the box of its body needs all of the slice.
        whole = "body_box" in plan.inference
        reach = max(self.grid.size) if whole else network.receptive_field // 2 + 1
        context = max(abs(int(offset)) for offset in plan.inference.get("context", (0,)))
        flat = network.dimensions == 2
        margin = (reach, reach, context if flat else reach)
        multiple = (network.divisible_by, network.divisible_by, 1 if flat else network.divisible_by)
        box = region_box(self.grid, region, margin, multiple, plan.window)
        if box is None:
            raise InputError(
                "The region of interest lies outside of what the model examines.",
                hint="Move the region onto the organ that the model is made for.",
                code="region",
            )
        (i, j, k), (columns, rows, slices) = box
        grid = self.grid.crop(*box)
        masks = {name: crop(mask, *box) for name, mask in self.masks.items()}
        channels = self.channels[:, k : k + slices, j : j + rows, i : i + columns]
        return View(channels, grid, masks, inside_region(grid, region))


def _predict(
    model: Model,
    view: View,
    plan: Plan,
    options: SegmentOptions,
    reporter: Reporter,
    keep: Collection[str] | None,
) -> tuple[Prediction, Runtime]:
    from SegDLEngine.inference.ensemble import predict_members
    from SegDLEngine.inference.runtime import choose_runtime

    runtime = choose_runtime(options.device, options.precision, reporter=reporter)
    wanted = view.wanted
    for name in plan.masks:
        if name in view.masks:
            inside = view.masks[name].array != 0
            wanted = inside if wanted is None else wanted & inside
    prediction = predict_members(
        model.networks(),
        len(model.card.weight_files),
        view.channels,
        plan.inference,
        runtime,
        reporter,
        plan.samples,
        options.seed,
        wanted,
        keep,
    )
    return prediction, runtime


def _labels(
    prediction: Prediction,
    view: View,
    plan: Plan,
    target: Grid,
    outside: np.ndarray | None,
    reporter: Reporter,
) -> Image:
    """Labels on ``target``.

    The card's rules were made for the prepared grid and are applied there, so that they judge every copy of
    a scan alike.  What they remove or relabel has its probabilities set to 0 and 1 before the rest is
    interpolated; components touch each other nowhere, so removal changes no other voxel.  Interpolation may
    leave crumbs: volumes and the number of components are therefore judged once more on ``target``.
    """
    reporter.progress("postprocessing", 0.0)
    probability = prediction.probability
    candidates = np.empty(view.grid.shape, np.uint8)
    for k in range(len(candidates)):
        candidates[k] = label_map(probability[:, k], plan.values, plan.threshold, plan.activation)
    if view.wanted is not None:
        candidates[~view.wanted] = 0
    kept = postprocess(Image(candidates, view.grid), view.masks, plan.postprocessing).array
    reporter.progress("postprocessing", 0.3)
    revised = (candidates, kept)
    labels = restore_labels(
        probability, view.grid, target, plan.values, plan.threshold, plan.activation, reporter, revised
    )
    if outside is not None:
        labels.array[outside] = 0
    again = [{**entry, "minimum_slices": 1} for entry in plan.postprocessing if entry["step"] == "components"]
    return postprocess(labels, {}, again)


def _maps(
    prediction: Prediction,
    view: View,
    plan: Plan,
    target: Grid,
    outside: np.ndarray | None,
    reporter: Reporter,
    keep: Collection[str] | None,
) -> dict[str, Image]:
    """The float volumes of the result, see ``Result``; of several labels the largest spread counts."""
    names = ["mean", *SPREADS, "probability"] if plan.samples else ["mean"]
    names = [name for name in names if keep is None or name in keep]
    maps = {}
    for number, name in enumerate(names):
        reporter.progress("postprocessing", 0.5 + 0.4 * number / len(names))
        layers = getattr(prediction, name)
        volume = layers.max(axis=0) if name in SPREADS else foreground(layers, plan.activation)
        maps[name] = restore_map(volume, view.grid, target, reporter)
        if outside is not None:
            maps[name].array[outside] = 0
    return maps


def _describe(image: Image) -> dict[str, Any]:
    conversion = {"suv": image.metadata["suv"]} if "suv" in image.metadata else {}
    return {
        "path": str(image.metadata.get("path", "")),
        "size": list(image.grid.size),
        "spacing": list(image.grid.spacing),
        "identity": identity(image),
        **conversion,
    }
