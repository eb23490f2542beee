"""Where and how a network runs: device, precision and threads."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

import torch

from SegDLEngine.errors import InputError
from SegDLEngine.protocol import Reporter

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass
class Runtime:
    """The chosen device and precision; an executor that steps down writes here what it used in the end.

    ``check_precision`` is true while half precision is only a proposal that has yet to prove itself on the
    network's own weights.
    """

    device: torch.device
    precision: str = "fp32"
    check_precision: bool = False


def choose_runtime(
    device: str = "auto",
    precision: str = "auto",
    *,
    threads: int | None = None,
    reporter: Reporter | None = None,
) -> Runtime:
    """The runtime for these wishes.

    "auto" takes the first CUDA device that really computes, else the CPU; half precision where the device is
    fast in it (and only if labels agree, see ``Executor``).  Raises InputError for a device that is absent or
    does not work.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    chosen = _automatic_device(reporter or Reporter()) if device == "auto" else _wanted_device(device)
    if precision == "auto":
        fast = has_fast_bf16(chosen)
        return Runtime(chosen, "bf16" if fast else "fp32", check_precision=fast)
    return Runtime(chosen, precision)


def has_fast_bf16(device: torch.device) -> bool:
    """True if the device multiplies bfloat16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, test, lambda: False)() for test in tests)
    return False


def check_kernels(device: torch.device) -> str:
    """Run a small convolution and compare it with the CPU's; '' or the reason why the device is unusable.

    ``torch.cuda.is_available`` is true also for a card for which this PyTorch build has no kernels.
    """
    weight = torch.linspace(-1, 1, 4 * 4 * 9).reshape(4, 4, 3, 3)
    image = torch.linspace(0, 1, 4 * 16 * 16).reshape(1, 4, 16, 16)
    expected = torch.nn.functional.conv2d(image, weight)
    try:
        found = torch.nn.functional.conv2d(image.to(device), weight.to(device)).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return "" if torch.allclose(found, expected, rtol=1e-2, atol=1e-2) else "it computes wrong numbers"


def _automatic_device(reporter: Reporter) -> torch.device:
    if torch.cuda.is_available():
        device = torch.device("cuda", torch.cuda.current_device())
        reason = check_kernels(device)
        if not reason:
            return device
        reporter.warning("device", f"The GPU cannot be used ({reason}); computing on the CPU.")
    return torch.device("cpu")


def _wanted_device(name: str) -> torch.device:
    hint = "Use device 'auto' or 'cpu', or install a PyTorch build for this device."
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"There is no device '{name}'.", hint=hint) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"Device '{name}' is not available: PyTorch finds no CUDA device.", hint=hint)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"Device '{name}' is not available: there are {torch.cuda.device_count()} CUDA devices.",
            hint=hint,
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError("Device 'mps' is not available on this computer.", hint=hint)
    reason = check_kernels(device) if device.type != "cpu" else ""
    if reason:
        raise InputError(f"Device '{name}' does not work: {reason}.", hint=hint)
    return device


def is_out_of_memory(error: BaseException) -> bool:
    """True if the error says that memory ran out, on the device or in the computer."""
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    signs = ("out of memory", "allocate memory", "not enough memory", "alloc_failed")
    return isinstance(error, RuntimeError) and any(sign in text for sign in signs)


def keep_freed_memory(limit: int = 1 << 30) -> bool:
    """Let the C library keep up to ``limit`` bytes of freed activations for the next layer; True if it does.

    glibc returns large blocks to the system and faults them in again at the next allocation.  For a process
    that does nothing but inference, as the worker; only on Linux with glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    trim_threshold, mmap_threshold = -1, -3
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(mmap_threshold, limit)) and bool(mallopt(trim_threshold, limit))
