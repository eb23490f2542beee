"""Run as a script: two worker processes that take a minute to write two cases into the folder given."""

import sys
import time
from pathlib import Path

import numpy as np
from SegDLEngine.errors import SegDLError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.preprocessing.registry import PreparedCase
from SegDLEngine.protocol import Reporter
from SegDLTrainingLib.preparing import Job, prepare_all
from SegDLTrainingLib.progress import StopRequests

CARD = {
    "inputs": [{"name": "CT", "modality": "CT", "unit": "HU", "required": True}],
    "labels": [{"value": 1, "name": "Tumour"}],
    "preprocessing": [],
    "postprocessing": [],
}
CASES = 2
_save = np.save


def slow_save(*arguments, **options):
    """The worker processes import this file too."""
    _save(*arguments, **options)
    time.sleep(60)


# Not in a test that only imports this file.
if __name__ in ("__main__", "__mp_main__"):
    np.save = slow_save


def make(number: int) -> PreparedCase:
    grid = Grid((8, 8, 8), (1.0, 1.0, 1.0))
    image = Image(np.full(grid.shape, number, np.int16), grid, "CT", "HU")
    return PreparedCase({"CT": image}, "CT", Image(np.ones(grid.shape, np.uint8), grid))


def main(cache: Path) -> int:
    stop = StopRequests()
    jobs = [Job(str(number), str(number), make, number) for number in range(CASES)]
    with stop.watching_signals():
        try:
            prepare_all(jobs, CARD, cache, CASES, Reporter(cancelled=stop.asked), "cases")
        except SegDLError as error:
            print(error, file=sys.stderr)
            return error.exit_code
    return 0


if __name__ in ("__main__", "__mp_main__"):
    # The worker processes run this file too.
    np.save = slow_save

if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
