"""Running networks: device and precision, slices and windows, Monte Carlo dropout, postprocessing.

Importing this package asks OpenMP, unless the user decided otherwise, to let waiting threads sleep; OpenMP
reads the wish once, when torch is loaded.  By default they spin, and as soon as any other program wants a
core, the working threads are held up by the waiting ones: on two busy cores the same prediction took 2 to 4
times as long and 3 times the processor time.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
