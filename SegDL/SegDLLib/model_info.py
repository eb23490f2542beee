"""What the panel says about a model: what it finds, what it was trained on, its licence."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from slicer.i18n import tr as _


def describe(card: Mapping[str, Any], installed: bool = True) -> str:
    """A few lines of rich text from a model card, for a model without weights the ways to get them."""
    lines = [
        "" if installed else _waysToWeights(card["id"]),
        escape(card["task"]),
        _("Finds: {labels}").format(labels=escape(", ".join(label["name"] for label in card["labels"]))),
    ]
    trained = _trainedOn(card.get("training") or {})
    if trained:
        lines.append(_("Trained on: {data}").format(data=escape(trained)))
    lines.append(
        _("Version {version}, licence {licence}").format(
            version=escape(card["version"]), licence=escape(card["licence"]["spdx"])
        )
    )
    lines.append("<b>" + _("Research only. Not for clinical use.") + "</b>")
    return "<br>".join(line for line in lines if line)


def _waysToWeights(identifier: str) -> str:
    return _(
        "<b>Its weights are not installed.</b> Train it on your own cases with the module SegDL Training,"
        " or add weights that you have: in a terminal,"
        " <tt>PythonSlicer -m SegDLEngine models show {model}</tt> tells how."
    ).format(model=escape(identifier))


def _trainedOn(training: Mapping[str, Any]) -> str:
    """The part of a card's free-form training record that says which images were used."""
    data = training.get("data")
    if isinstance(data, str):
        return data
    if not isinstance(data, Mapping) or not data.get("source"):
        return ""
    cases = data.get("training")
    count = cases.get("count") if isinstance(cases, Mapping) else None
    if count is None:
        return str(data["source"])
    return _("{source}, {count} cases").format(source=data["source"], count=count)
