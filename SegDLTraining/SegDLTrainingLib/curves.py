"""The curve of a training as files: JSON and CSV; a picture and TensorBoard where they are installed."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from SegDLEngine.errors import InputError

from SegDLTrainingLib.checkpoint import write_file
from SegDLTrainingLib.places import CURVE_FILE, HISTORY_FILE

PICTURE_FILE, TENSORBOARD_FOLDER = "curves.png", "tensorboard"
PICTURE_SECONDS = 60.0

Row = Mapping[str, Any]


class Curves:
    """Files in ``folder``: a ``picture`` if matplotlib is there, and ``tensorboard``, which must be there."""

    def __init__(self, folder: Path, picture: bool = False, tensorboard: bool = False):
        self._folder = folder
        self._drawn = time.monotonic()
        self._draw = picture and importlib.util.find_spec("matplotlib") is not None
        self._board: Any = None
        self._tensorboard = tensorboard
        if tensorboard and importlib.util.find_spec("tensorboard") is None:
            raise InputError(
                "TensorBoard is not installed.", hint="pip install tensorboard, or leave --tensorboard out."
            )

    def write(self, history: Sequence[Row]) -> None:
        """One row an epoch; a column that an epoch lacks is empty in the CSV."""
        write_file(self._folder / HISTORY_FILE, (json.dumps(list(history), indent=1) + "\n").encode())
        columns = list(dict.fromkeys(key for row in history for key in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        write_file(self._folder / CURVE_FILE, text.getvalue().encode())
        if self._tensorboard:
            if self._board is None:
                self._board = _board(self._folder / TENSORBOARD_FOLDER)
            for key, value in history[-1].items():
                self._board.add_scalar(key, value, history[-1]["epoch"] + 1)
            self._board.flush()
        if self._draw and time.monotonic() - self._drawn > PICTURE_SECONDS:
            self._picture(history)

    def close(self, history: Sequence[Row]) -> None:
        """Draw the whole curve."""
        if self._draw and history:
            self._picture(history)
        if self._board is not None:
            self._board.close()

    def _picture(self, history: Sequence[Row]) -> None:
        write_file(self._folder / PICTURE_FILE, draw_curves(history))
        self._drawn = time.monotonic()


def draw_curves(history: Sequence[Row]) -> bytes:
    """PNG with the losses, the Dice coefficients and the learning rate over the epochs; needs matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(11, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    keys = list(dict.fromkeys(key for row in history for key in row))
    panels = {
        "loss": [key for key in keys if key.endswith("loss")],
        "Dice": [key for key in keys if "dice" in key],
        "learning rate": ["rate"],
    }
    for axes, (title, chosen) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for key in chosen:
            rows = [row for row in history if key in row]
            axes.plot([row["epoch"] + 1 for row in rows], [row[key] for row in rows], label=key, marker=".")
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if title == "learning rate":
            axes.set_yscale("log")
        elif chosen:
            axes.legend(fontsize=7)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    return stream.getvalue()


def _board(folder: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder))
