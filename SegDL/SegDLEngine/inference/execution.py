"""Runs a network on batches: prepared for the device, within its memory, with or without dropout."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from SegDLEngine.errors import ModelError, SegDLError
from SegDLEngine.inference.memory import LiveBytes
from SegDLEngine.inference.mirroring import Mirroring
from SegDLEngine.inference.monte_carlo import RunningSpread, sampled_dropout
from SegDLEngine.inference.runtime import DTYPES, Runtime, has_fast_bf16, is_out_of_memory
from SegDLEngine.networks.network import Network
from SegDLEngine.protocol import Reporter

ACTIVATIONS = ("sigmoid", "softmax")

# Half precision is kept if not more than this share of the foreground changes its label.  Where there is
# hardly any foreground, the share refers to this part of all voxels.
_TOLERATED_CHANGE = 0.02
_LEAST_FOREGROUND = 0.005

# On a CPU larger batches gain nothing, but delay a cancel and need memory.
_CPU_BATCH_VOXELS = 2**18

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class BatchOutput:
    """Of one batch, on the CPU, float32 (N, L, ...): see ``Prediction`` for the meaning."""

    probability: np.ndarray
    mean: np.ndarray
    std: np.ndarray | None
    entropy: np.ndarray | None
    mutual_information: np.ndarray | None


@dataclass(frozen=True)
class Probe:
    """What a few items showed: foreground labels, seconds for one item, bytes for one batch."""

    labels: int
    seconds_per_item: float
    memory_bytes: int


class Executor:
    """A network prepared for a runtime: batch norm folded, channels last, weights in the chosen precision.

    The given network stays untouched.  ``batch`` is the number of items a batch may have; ``step_down``
    lowers it, then the precision, then leaves the GPU, and says so by a warning.  ``shrink``, if given, is
    called when only smaller items are left on the device; it raises if there are some, to begin anew.
    """

    def __init__(
        self,
        network: Network,
        runtime: Runtime,
        reporter: Reporter,
        *,
        activation: str,
        batch: int,
        mirroring: Mirroring | None = None,
        shrink: Callable[[], None] | None = None,
    ):
        if activation not in ACTIVATIONS:
            raise ModelError(
                f"The model card's inference has activation '{activation}'.",
                hint=f"Known: {', '.join(ACTIVATIONS)}.",
            )
        self.runtime = runtime
        self.batch = batch
        self._activation = activation
        self._mirroring = mirroring or Mirroring()
        self._shrink = shrink
        self._reporter = reporter
        self._source = network
        self._format = torch.channels_last_3d if network.dimensions == 3 else torch.channels_last
        self._copy: Network | None = None

    def run(
        self,
        images: np.ndarray,
        items: Sequence[int],
        samples: int = 0,
        seed: int = 0,
        tick: Callable[[float], None] = lambda fraction: None,
    ) -> BatchOutput:
        """Probabilities of a batch (N, C, ...) whose entries are numbered ``items``.

        ``tick`` is called with the finished fraction of the batch after every pass and may raise Cancelled.
        """
        mirroring = self._mirroring
        dropouts = 0 if mirroring.spreads else samples
        passes = 1 + len(mirroring.flips) + dropouts
        with torch.inference_mode():
            prefix = self._prefix(images)
            plain = certain = self._finish(prefix)
            tick(1 / passes)
            if mirroring.flips:
                spread = RunningSpread(plain, self._activation)
                spread.add(plain)
                for number, flip in enumerate(mirroring.flips, start=2):
                    spread.add(self._finish(self._prefix(images, flip)).flip(flip))
                    tick(number / passes)
                certain = spread.mean() if mirroring.predicts else plain
            if not samples:
                probability = self._foreground(certain)
                return BatchOutput(probability, probability, None, None, None)
            if dropouts:
                spread = RunningSpread(plain, self._activation)
                for sample in range(dropouts):
                    with sampled_dropout(self._network, seed, sample, items):
                        spread.add(self._finish(prefix))
                    tick((len(mirroring.flips) + sample + 2) / passes)
            return BatchOutput(
                self._foreground(certain),
                self._foreground(spread.mean()),
                self._foreground(spread.std()),
                spread.entropy().cpu().numpy(),
                spread.mutual_information().cpu().numpy(),
            )

    def within_memory(self, function: Callable[[], _Value]) -> _Value:
        """What ``function`` returns; as long as memory runs out in it, step down and call it again."""
        while True:
            try:
                return function()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self.step_down(error)

    def batches(
        self, chosen: Sequence[int], images: Callable[[Sequence[int]], np.ndarray], samples: int, seed: int
    ) -> Iterator[tuple[Sequence[int], BatchOutput]]:
        """Item numbers and output of batch after batch of ``chosen``; ``images`` gives a batch (N, C, ...).

        When memory runs out, the batch is repeated one step down.  Reports the progress of "inference".
        """
        done, total = 0, len(chosen)

        def next_batch() -> tuple[Sequence[int], BatchOutput]:
            batch = chosen[done : done + self.batch]

            def tick(fraction: float) -> None:
                self._reporter.progress("inference", (done + fraction * len(batch)) / total)

            return batch, self.run(images(batch), batch, samples, seed, tick)

        while done < total:
            batch, output = self.within_memory(next_batch)
            yield batch, output
            done += len(batch)

    def probe(self, images: np.ndarray, threshold: float, samples: int, scale: float = 1.0) -> Probe:
        """Settle the precision on real input (N, C, ...), then measure what an item costs.

        ``scale``: how many times the voxels of one of these images an item of the run will have.
        """
        output = self._settle_precision(images, threshold)
        with torch.inference_mode():
            with LiveBytes() as memory:
                self._finish(self._prefix(images))
            seconds = _seconds(lambda: self._finish(self._prefix(images)))
            seconds *= 1 + len(self._mirroring.flips)
            if samples and not self._mirroring.spreads:
                prefix = self._prefix(images)
                with sampled_dropout(self._network, 0, 0, range(len(images))):
                    seconds += samples * _seconds(lambda: self._finish(prefix))
        weights = sum(value.nbytes for value in self._network.state_dict().values())
        return Probe(
            labels=output.probability.shape[1],
            seconds_per_item=seconds * scale / len(images),
            memory_bytes=weights + int(memory.peak * self.batch * scale) // len(images),
        )

    def _settle_precision(self, images: np.ndarray, threshold: float) -> BatchOutput:
        """Fall back to float32 if half precision, where only proposed so far, changes these labels."""
        items = range(len(images))
        output = self.run(images, items)
        if not self.runtime.check_precision or self.runtime.precision == "fp32":
            return output
        self._set(self.runtime.device, "fp32")
        half, full = output.probability >= threshold, self.run(images, items).probability >= threshold
        reference = max(int((half | full).sum()), _LEAST_FOREGROUND * full.size)
        changed = int((half != full).sum()) / reference
        self.runtime.check_precision = False
        if changed <= _TOLERATED_CHANGE:
            self._set(self.runtime.device, "bf16")
        else:
            self._reporter.log(
                f"Half precision changes {100 * changed:.1f} % of the foreground; computing in float32."
            )
        return output

    def step_down(self, error: BaseException) -> None:
        """Make the next attempt smaller, or raise SegDLError if it cannot be."""
        device, precision = self.runtime.device, self.runtime.precision
        cpu = torch.device("cpu")
        if self.batch > 1:
            self.batch //= 2
            text = f"batch of {self.batch}"
        elif precision == "fp32" and (device != cpu or has_fast_bf16(cpu)):
            self._set(device, "bf16")
            text = "half precision"
        else:
            if self._shrink is not None:
                self._shrink()
            if device == cpu:
                raise SegDLError(
                    "There is not enough memory for this image, even one slice or window at a time.",
                    hint="Close other programs, choose a region, or use a smaller model.",
                    code="memory",
                    detail=str(error),
                ) from error
            self._set(cpu, "bf16" if has_fast_bf16(cpu) else "fp32")
            text = "the CPU"
        self._reporter.warning("memory", f"Out of memory on {device}; continuing with {text}.")

    def _set(self, device: torch.device, precision: str) -> None:
        self.runtime.device, self.runtime.precision = device, precision
        self._copy = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @property
    def _network(self) -> Network:
        """The prepared copy, made when first needed: even this can run out of memory and be repeated."""
        if self._copy is None:
            network = copy.deepcopy(self._source).eval()
            fold_batch_norm(network)
            network = network.to(self.runtime.device, DTYPES[self.runtime.precision])
            # PyTorch documents this keyword, its type stubs do not know it.
            self._copy = network.to(memory_format=self._format)  # type: ignore[call-overload]
        return self._copy

    def _prefix(self, images: np.ndarray, flip: tuple[int, ...] = ()) -> Any:
        """What all passes over this batch, mirrored along the axes ``flip``, share."""
        batch = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32)).to(
            device=self.runtime.device, dtype=DTYPES[self.runtime.precision]
        )
        if flip:
            batch = batch.flip(flip)
        batch = batch.contiguous(memory_format=self._format)
        return self._network.shared_prefix(batch)

    def _finish(self, prefix: Any) -> torch.Tensor:
        """Probabilities of all classes in float32, so that sums over passes do not lose digits."""
        logits = self._network.from_prefix(prefix).float()
        return torch.sigmoid(logits) if self._activation == "sigmoid" else torch.softmax(logits, dim=1)

    def _foreground(self, probability: torch.Tensor) -> np.ndarray:
        if self._activation == "softmax":
            probability = probability[:, 1:]
        return probability.contiguous().cpu().numpy()


def check_channels(network: Network, found: int) -> None:
    """Raise ModelError if the network takes another number of channels."""
    expected = network.report_input[0]
    if found != expected:
        raise ModelError(
            f"The network takes {expected} channels, the inputs give {found}.",
            hint="Correct the model card: inputs, inference.context or network.options.in_channels.",
        )


def suitable_batch(wanted: int, voxels: int, device: torch.device) -> int:
    """The number of items of a first batch: as wanted, on a CPU less if items have many ``voxels``."""
    return wanted if device.type != "cpu" else max(1, min(wanted, _CPU_BATCH_VOXELS // voxels))


def _seconds(function: Callable[[], torch.Tensor]) -> float:
    """Time until the result is there; a GPU works on after the call has returned, so one value is fetched.

    The shorter of two runs: the first one may still choose kernels or wait for memory.
    """
    times = []
    for _ in range(2):
        started = time.perf_counter()
        function().flatten()[0].item()
        times.append(time.perf_counter() - started)
    return min(times)


def fold_batch_norm(network: nn.Module) -> None:
    """Fold each batch norm, in evaluation mode, into the convolution before it; changes ``network``.

    Applies to modules with a ``conv`` followed by a ``norm``, as ``ConvUnit``.
    """
    for module in network.modules():
        conv, norm = getattr(module, "conv", None), getattr(module, "norm", None)
        if isinstance(norm, _BatchNorm) and isinstance(conv, (nn.Conv2d, nn.Conv3d)):
            module.conv = fuse_conv_bn_eval(conv, norm)
            module.norm = nn.Identity()
