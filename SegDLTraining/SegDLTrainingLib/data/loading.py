"""From an entry to images and labels in memory."""

from __future__ import annotations

from SegDLEngine.models.card import ModelCard
from SegDLEngine.pipeline import read_inputs
from SegDLEngine.preprocessing.registry import PreparedCase
from SegDLEngine.protocol import Reporter

from SegDLTrainingLib.data.cases import CaseEntry
from SegDLTrainingLib.data.labels import case_labels


def load_case(entry: CaseEntry, card: ModelCard, reporter: Reporter | None = None) -> PreparedCase:
    """The images of a case, each on its own grid, and its labels on the grid of the reference input.

    Read and checked as for a clinical case; ready for the card's preprocessing.  ``labels`` are the card's
    values (uint8), None for a case without.  Raises InputError.
    """
    reporter = reporter or Reporter()
    images = read_inputs(dict(entry.inputs), card, reporter)
    labels = None
    if entry.labels is not None:
        labels = case_labels(entry, card, images[card.reference].grid, reporter.warning)
    return PreparedCase(images, card.reference, labels, reporter=reporter, region=entry.region)
