"""How far a network sees: the receptive field of one output voxel."""

from __future__ import annotations

from collections.abc import Iterable


def receptive_field(path: Iterable[str], period: int) -> int:
    """Largest side (voxels) of the input region that one output voxel depends on.

    ``path`` lists the steps from input to output:

    - "conv<k>": convolution, or pooling with stride 1, of that kernel;
    - "pool": pooling of 2 with stride 2; "subsample": every second voxel from the first on;
    - "up": nearest, or a transposed convolution of kernel 2; "linear<f>": linear upsampling by f;
    - "transposed3": transposed convolution of kernel 3 and stride 2 with padding 1 on both ends;
    - "transposed3same": the same as Keras aligns it.

    Where an output voxel lies relative to the pooling matters, so all ``period`` phases are tried.  Global
    means and instance statistics, which reach everywhere, are not counted.
    """
    backwards = list(path)[::-1]
    return max(_interval(backwards, phase) for phase in range(period))


def nominal_receptive_fields(path: Iterable[str]) -> list[int]:
    """Receptive field after each step "conv<k>" with k > 1, by the usual sum of (k - 1) x spacing.

    "subsample" and "pool" double the spacing, "up" halves it; neither adds anything.  This is how papers
    count; the exact ``receptive_field`` also follows the alignment of the upsampling.
    """
    side, spacing, sides = 1, 1, []
    for step in path:
        if step in ("pool", "subsample"):
            spacing *= 2
        elif step == "up":
            spacing //= 2
        elif step != "conv1":
            side += (int(step.removeprefix("conv")) - 1) * spacing
            sides.append(side)
    return sides


def _interval(backwards: list[str], phase: int) -> int:
    low = high = phase
    for step in backwards:
        low, high = _sources(step, low, high)
    return high - low + 1


def _sources(step: str, low: int, high: int) -> tuple[int, int]:
    """First and last input position that the outputs low..high of the step depend on."""
    if step == "up":
        return low // 2, high // 2
    if step == "pool":
        return 2 * low, 2 * high + 1
    if step == "subsample":
        return 2 * low, 2 * high
    if step == "transposed3":
        return low // 2, (high + 1) // 2
    if step == "transposed3same":
        return (low - 1) // 2, high // 2
    if step.startswith("linear"):
        factor = int(step.removeprefix("linear"))
        return (2 * low + 1 - factor) // (2 * factor), -((factor - 2 * high - 1) // (2 * factor))
    kernel = int(step.removeprefix("conv"))
    return low - (kernel - 1) // 2, high + kernel // 2
