"""Peak memory of one job on a large volume, over windows and over slices.

    python Testing/benchmarks/memory.py [--side 512] [--slices 1000] [--mode slices] [--map uncertainty]

The volume is written as a file once; each job runs in its own process, from that file to the files of its
result, and prints one line of JSON: peak resident memory in MiB, of that what the process has before the job,
and seconds.  The networks are one convolution of one weight: measured is what the engine holds of the volume,
not what a network's features take.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "SegDL"), str(ROOT / "Testing")]

import torch  # noqa: E402
from SegDLEngine.networks.network import Network, dropout_layers  # noqa: E402
from torch import nn  # noqa: E402

STEPS = [{"step": "window", "low": -1000, "high": 200}]
MODES = ("windows", "slices")


def main() -> None:
    arguments = _arguments()
    if arguments.folder:
        _job(Path(arguments.folder), arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        _run(["--write", folder], arguments)
        for mode in [arguments.mode] if arguments.mode else MODES:
            _run(["--folder", folder, "--mode", mode], arguments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--slices", type=int, default=1000)
    parser.add_argument("--mode", choices=MODES)
    parser.add_argument("--map", action="append", default=[], help="also write this map, such as mean")
    parser.add_argument("--samples", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--write", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        _write_volume(Path(arguments.write), arguments.side, arguments.slices)
        sys.exit()
    return arguments


def _run(extra: list[str], arguments: argparse.Namespace) -> None:
    sizes = ["--side", str(arguments.side), "--slices", str(arguments.slices)]
    more = [word for name in arguments.map for word in ("--map", name)]
    more += ["--samples", str(arguments.samples), "--threads", str(arguments.threads)]
    subprocess.run([sys.executable, __file__, *sizes, *more, *extra], check=True)


def _write_volume(folder: Path, side: int, slices: int) -> None:
    """Air with balls of tissue, int16, 0.7 x 0.7 x 1 mm; and the two model packages."""
    import numpy as np
    from SegDLEngine.images.grid import Grid
    from SegDLEngine.images.image import Image
    from SegDLEngine.images.writing import write_image
    from SegDLEngine.models.writing import write_package
    from threshold_model import threshold_card

    array = np.full((slices, side, side), -900, np.int16)
    j, i = np.ogrid[:side, :side]
    for k in range(slices):
        radius = 25 - abs(k % 60 - 30)
        if radius > 0:
            array[k][(j - side // 2) ** 2 + (i - side // 3) ** 2 < radius**2] = 40
    array += np.random.default_rng(0).integers(-20, 20, (1, side, side), dtype=np.int16)
    image = Image(array, Grid((side, side, slices), (0.7, 0.7, 1.0)), "CT", "HU")
    write_image(image, folder / "ct.nrrd", compress=False)
    patches = {"slices": {}, "windows": {"patch": [128, 128, 64], "overlap": 0.25}}
    for mode, settings in patches.items():
        card = threshold_card(preprocessing=STEPS)
        card["network"] = {"name": f"point_{mode}", "options": {}}
        card["inference"] |= {"mode": mode, **settings}
        card["inference"]["batch"] = 1
        network = _register(mode)
        network.output.weight.data.fill_(40.0)
        network.output.bias.data.fill_(-20.0)
        write_package([network.state_dict()], card, folder / mode, licence_text="Apache-2.0\n")


def _register(mode: str) -> Network:
    """Add the network of a mode to the registry of this process; returns one."""
    from SegDLEngine.networks import registry

    module = sys.modules[__name__]
    kind = registry.NetworkEntry(f"{module.__name__}:{'Flat' if mode == 'slices' else 'Solid'}", "000")
    registry.NETWORKS[f"point_{mode}"] = kind
    return registry.build_network(f"point_{mode}")


class _Point(Network):
    """The logit of a voxel is a linear function of its value."""

    divisible_by = 1
    receptive_field = 1

    def __init__(self, convolution: type[nn.Module], dimensions: int):
        super().__init__()
        self.output = convolution(1, 1, 1)
        self.dropout = nn.Dropout(0.1)
        self.report_input = (1, *[64] * dimensions)
        self.dropout_layers = dropout_layers(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.output(self.dropout(images))


class Flat(_Point):
    dimensions = 2

    def __init__(self) -> None:
        super().__init__(nn.Conv2d, 2)


class Solid(_Point):
    dimensions = 3

    def __init__(self) -> None:
        super().__init__(nn.Conv3d, 3)


def _job(folder: Path, arguments: argparse.Namespace) -> None:
    from SegDLEngine.options import SegmentOptions
    from SegDLEngine.protocol import Reporter
    from SegDLEngine.segment_job import run_segment_job

    torch.set_num_threads(arguments.threads)
    _register(arguments.mode)
    started, before = time.perf_counter(), _peak()
    outputs = {"labels": folder / "labels.nrrd", **{name: folder / f"{name}.nrrd" for name in arguments.map}}
    options = SegmentOptions(device="cpu", precision="fp32", samples=arguments.samples)
    found = run_segment_job(folder / arguments.mode, {"CT": folder / "ct.nrrd"}, options, outputs, Reporter())
    row = {
        "mode": arguments.mode,
        "voxels": [arguments.side, arguments.side, arguments.slices],
        "maps": arguments.map,
        "samples": arguments.samples,
        "peak_mb": _peak(),
        "before_mb": before,
        "seconds": round(time.perf_counter() - started, 1),
        "lesions": len(found["lesions"]),
    }
    print(json.dumps(row), flush=True)


def _peak() -> int:
    """Largest resident memory of this process so far, in MiB (kibibytes on Linux, bytes on macOS)."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(size / (2**20 if sys.platform == "darwin" else 2**10))


if __name__ == "__main__":
    main()
