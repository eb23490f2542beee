"""How fast the engine is, as ratios within one run: variants alternate, medians are reported.

    python Testing/benchmarks/speed.py [CT] [--rounds 5]

Compared: the network eager in float32 against the executor's prepared copy in float32 and bfloat16; Monte
Carlo passes with and without the shared prefix; and, with a CT, the stages of the lung isolation and the peak
memory of a whole segmentation.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "SegDL")]

import SegDLEngine.inference  # noqa: E402, F401, I001 - sets how OpenMP threads wait, before torch is loaded
import numpy as np  # noqa: E402
import torch  # noqa: E402
from SegDLEngine.images.reading import read_image  # noqa: E402
from SegDLEngine.inference.execution import Executor  # noqa: E402
from SegDLEngine.inference.monte_carlo import sampled_dropout  # noqa: E402
from SegDLEngine.inference.runtime import Runtime, has_fast_bf16  # noqa: E402
from SegDLEngine.models.catalogue import load_model  # noqa: E402
from SegDLEngine.options import SegmentOptions  # noqa: E402
from SegDLEngine.pipeline import segment  # noqa: E402
from SegDLEngine.preprocessing.lungs.isolation import isolate_lungs  # noqa: E402
from SegDLEngine.protocol import Reporter  # noqa: E402

MODEL = "lung-tumor-unet2d"
SLICES, ROWS, COLUMNS, PASSES = 16, 128, 176, 8


def alternate(variants: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each variant; every round runs all of them in turn, after one unmeasured round."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + 1):
        for name, function in variants.items():
            started = time.perf_counter()
            function()
            if number:
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def show(title: str, medians: dict[str, float]) -> None:
    print(f"\n{title}")
    first = next(iter(medians.values()))
    for name, seconds in medians.items():
        print(f"  {name:<44}{1000 * seconds:9.0f} ms{first / seconds:7.2f}x")


@torch.inference_mode()
def forward_and_dropout(rounds: int) -> None:
    network = load_model(MODEL).build()
    shape = (SLICES, network.report_input[0], ROWS, COLUMNS)
    images = np.random.default_rng(0).random(shape, dtype=np.float32)
    tensor = torch.from_numpy(images)

    def prepared(precision: str) -> Callable[[], object]:
        runtime = Runtime(torch.device("cpu"), precision)
        executor = Executor(network, runtime, Reporter(), activation="sigmoid", batch=SLICES)
        return lambda: executor.run(images, range(SLICES))

    variants = {"eager, float32": lambda: network(tensor), "prepared, float32": prepared("fp32")}
    if has_fast_bf16(torch.device("cpu")):
        variants["prepared, bfloat16"] = prepared("bf16")
    show(f"Forward, {SLICES} slices of {ROWS}x{COLUMNS}", alternate(variants, rounds))

    def whole() -> None:
        for sample in range(PASSES):
            with sampled_dropout(network, 0, sample, range(SLICES)):
                network.from_prefix(network.shared_prefix(tensor))

    def shared() -> None:
        prefix = network.shared_prefix(tensor)
        for sample in range(PASSES):
            with sampled_dropout(network, 0, sample, range(SLICES)):
                network.from_prefix(prefix)

    variants = {"whole passes": whole, "shared prefix": shared}
    show(f"Monte Carlo dropout, {PASSES} passes, float32", alternate(variants, rounds))


def isolation(path: str, rounds: int) -> None:
    image = read_image(path, modality="CT", unit="HU")
    runs = [isolate_lungs(image).report["seconds"] for _ in range(rounds)]
    print(f"\nLung isolation, {'x'.join(map(str, image.grid.size))}, medians of {rounds}")
    for stage in runs[0]:
        print(f"  {stage:<44}{1000 * statistics.median(run[stage] for run in runs):9.0f} ms")


def whole_job(path: str) -> None:
    image = read_image(path, modality="CT", unit="HU")
    for samples in (0, 10):
        started = time.perf_counter()
        segment({"CT": image}, MODEL, SegmentOptions(samples=samples))
        print(f"\nSegmentation with {samples} samples: {time.perf_counter() - started:.1f} s")
    # The peak is in KiB on Linux and in bytes on macOS.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    print(f"Peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the engine's speed and memory.")
    parser.add_argument("ct", nargs="?", help="chest CT for the isolation and the whole job")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}")
    forward_and_dropout(arguments.rounds)
    if arguments.ct:
        isolation(arguments.ct, arguments.rounds)
        whole_job(arguments.ct)


if __name__ == "__main__":
    main()
