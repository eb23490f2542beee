"""Pseudo-labels for patches of unlabelled volumes, made once before the training and kept with it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from SegDLEngine.errors import InputError
from SegDLEngine.networks.network import Network
from SegDLEngine.protocol import Reporter

from SegDLTrainingLib.checkpoint import read_tensors, write_file, write_tensors
from SegDLTrainingLib.pictures import pyplot
from SegDLTrainingLib.semi_supervised.patches import Patches, cut_patches
from SegDLTrainingLib.semi_supervised.pseudo_labels import (
    PseudoLabels,
    assign_best,
    assign_best_two,
    cosine_similarity,
    pooled_features,
    similarity_histogram,
)
from SegDLTrainingLib.semi_supervised.settings import SemiSupervisedSettings
from SegDLTrainingLib.volumes import PreparedVolume

LABELS_FILE = "pseudo-labels.safetensors"
TABLE_FILE, HISTOGRAM_FILE, PICTURE_FILE = "similarity.csv", "similarity-histogram.csv", "similarity.png"


@dataclass(frozen=True)
class PseudoLabelled:
    """``queries`` float16 (n, C, side, side) of unlabelled volumes, some of them with ``labels``."""

    queries: np.ndarray
    cases: list[str]
    labels: PseudoLabels

    def write(self, path: Path, key: str) -> None:
        tensors = {
            "queries": torch.from_numpy(self.queries),
            "chosen": torch.from_numpy(self.labels.queries.astype(np.int64)),
            "masks": torch.from_numpy(self.labels.masks),
            "weights": torch.from_numpy(self.labels.weights),
        }
        write_tensors(path, tensors, {"key": key, "cases": json.dumps(self.cases)})

    @classmethod
    def read(cls, path: Path, key: str) -> PseudoLabelled | None:
        """What was written for ``key``; None if there is nothing or it is of something else."""
        if not path.is_file():
            return None
        tensors, header = read_tensors(path)
        if header.get("key") != key:
            return None
        stored = {name: tensor.numpy() for name, tensor in tensors.items()}
        labels = PseudoLabels(stored["chosen"], stored["masks"], stored["weights"])
        return cls(stored["queries"], json.loads(header["cases"]), labels)


def make_pseudo_labels(
    network: Network,
    labelled: Sequence[PreparedVolume],
    unlabelled: Sequence[PreparedVolume],
    settings: SemiSupervisedSettings,
    seed: int,
    device: str,
    folder: Path,
    reporter: Reporter,
) -> PseudoLabelled:
    """Compare queries with the dictionary by the features of ``network``'s encoder and label by the rule.

    The labels of ``unlabelled`` are their coarse segmentation.  Writes tables and a picture of the
    similarities to ``folder``.  Raises InputError when there are no patches, or when the rule labels none.
    """
    encode = encoder_of(network, device)
    dictionary = cut_patches(labelled, settings.dictionary_margin, settings.dictionary, settings.patch, seed)
    queries = cut_patches(unlabelled, settings.query_margin, settings.queries, settings.patch, seed + 1)
    for patches, what in ((dictionary, "labelled"), (queries, "unlabelled")):
        if not len(patches):
            raise InputError(
                f"The {what} cases give no patches: nothing is segmented in them.",
                hint="Look at the coarse model's results on these cases."
                if what == "unlabelled"
                else "Check the labels of the training cases.",
            )
    described = pooled_features(encode, dictionary.images.astype(np.float32))
    reporter.progress("pseudo-labels", len(dictionary) / (len(dictionary) + len(queries)))
    asked = pooled_features(encode, queries.images.astype(np.float32))
    reporter.progress("pseudo-labels", 1.0)
    similarity = cosine_similarity(asked, described)
    labels = _assign(similarity, dictionary.masks, settings)
    _write_similarities(folder, similarity, queries, dictionary, labels, settings, reporter)
    best = similarity.max(axis=1)
    if not len(labels.queries):
        raise InputError(
            f"The rule '{settings.rule}' labels no patch: the best similarities lie between {best.min():.3f} "
            f"and {best.max():.3f}.",
            hint=f"Look at {HISTOGRAM_FILE} in {folder.name} and choose semi_supervised.lowest and highest.",
        )
    reporter.log(f"{len(labels.queries)} of {len(queries)} patches have a pseudo-label.")
    return PseudoLabelled(queries.images, queries.cases, labels)


def encoder_of(network: Network, device: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """The deepest features of a network that has ``encode``; raises InputError for another one."""
    encode = getattr(network, "encode", None)
    if encode is None or network.dimensions != 2:
        raise InputError(
            "The recipe's network has no 2D encoder to compare patches by.", hint="Use genesis_unet2d."
        )
    network.to(device).eval()
    return lambda images: encode(images.to(device))[-1]


def _assign(similarity: np.ndarray, masks: np.ndarray, settings: SemiSupervisedSettings) -> PseudoLabels:
    if settings.rule == "best":
        return assign_best(similarity, masks, settings.lowest, settings.highest)
    return assign_best_two(similarity, masks, settings.lowest)


def _write_similarities(
    folder: Path, similarity: np.ndarray, queries: Patches, dictionary: Patches, labels: PseudoLabels,
    settings: SemiSupervisedSettings, reporter: Reporter,
) -> None:  # fmt: skip
    """One row a query with its best entry; the histogram of the best similarities as table and picture."""
    chosen = dict(zip(labels.queries.tolist(), labels.weights.tolist(), strict=True))
    best = similarity.argmax(axis=1)
    rows = [
        [number, queries.cases[number], dictionary.cases[entry], f"{similarity[number, entry]:.6f}",
         f"{chosen[number]:.6f}" if number in chosen else ""]
        for number, entry in enumerate(best.tolist())
    ]  # fmt: skip
    _write_csv(folder / TABLE_FILE, ["query", "case", "most_similar_case", "similarity", "weight"], rows)
    counts, edges = similarity_histogram(similarity, settings.lowest)
    bins = [[f"{a:.4f}", f"{b:.4f}", n] for a, b, n in zip(edges, edges[1:], counts.tolist(), strict=False)]
    _write_csv(folder / HISTOGRAM_FILE, ["from", "to", "queries"], bins)
    try:
        text = f"{len(labels.queries)} of {len(queries)} patches labelled by rule '{settings.rule}'"
        write_file(folder / PICTURE_FILE, _picture(counts, edges, settings, text))
    except InputError as error:
        reporter.warning("picture", str(error))


def _write_csv(path: Path, head: list[str], rows: list[list[object]]) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(head)
    table.writerows(rows)
    write_file(path, text.getvalue().encode())


def _picture(counts: np.ndarray, edges: np.ndarray, settings: SemiSupervisedSettings, title: str) -> bytes:
    """PNG of the histogram with the bounds of the rule."""
    plt = pyplot()
    figure, axis = plt.subplots(figsize=(6, 3.5), dpi=110)
    axis.bar(edges[:-1], counts, width=np.diff(edges), align="edge", color="steelblue")
    bounds = {"lowest": settings.lowest, "highest": settings.highest}
    for name in ("lowest", "highest") if settings.rule == "best" else ("lowest",):
        label = f"{name} {bounds[name]:g}"
        style = "--" if name == "lowest" else ":"
        axis.axvline(bounds[name], color="darkred", linestyle=style, linewidth=1, label=label)
    axis.set(xlabel="cosine similarity with the best entry", ylabel="unlabelled patches", title=title)
    axis.legend(fontsize=8, loc="upper left")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", bbox_inches="tight")
    plt.close(figure)
    return stream.getvalue()
