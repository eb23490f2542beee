"""Segments a table of cases in Slicer without a window.  Research software, not for clinical use.

    Slicer --no-splash --no-main-window --python-script segdl_batch.py -- \
        --model lung-tumor-unet2d --cases cases.csv --output results

``-- --help`` lists the arguments.  The exit code is 0 when all cases are done, 1 when some failed, 2 for
wrong usage or input, 3 when interrupted.  The same script runs on a bare MRML host.
"""

import sys
import traceback
from pathlib import Path

import slicer.util


def run() -> int:
    arguments = sys.argv[1:]
    if "--" in arguments:
        arguments = arguments[arguments.index("--") + 1 :]
    script = Path(globals().get("__file__") or sys.argv[0]).resolve()
    # Slicer knows the folder of an installed module; a source tree may not be among its module paths.
    sys.path.insert(0, str(script.parents[2]))
    from SegDLLib.batch import main

    return main(arguments, say=lambda text: print(text, flush=True))


try:
    code = run()
except Exception:
    traceback.print_exc()
    code = 1

# Without an exit the application would stay open, also after an error.
slicer.util.exit(code)
