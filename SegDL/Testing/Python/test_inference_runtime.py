"""Choice of device and precision, and honest answers when something is absent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import SegDLEngine
import torch
from SegDLEngine.errors import InputError
from SegDLEngine.inference import runtime
from SegDLEngine.inference.memory import LiveBytes
from SegDLEngine.inference.runtime import check_kernels, choose_runtime, is_out_of_memory
from SegDLEngine.protocol import Reporter

no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_cpu_computes():
    assert check_kernels(torch.device("cpu")) == ""


def test_a_device_that_cannot_compute_gives_its_reason():
    assert check_kernels(torch.device("meta"))


@no_cuda
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7"])
def test_an_absent_gpu_is_named(name):
    with pytest.raises(InputError, match=name) as caught:
        choose_runtime(name)
    assert "cpu" in caught.value.hint


@needs_cuda
def test_a_gpu_beyond_the_last_is_named():
    with pytest.raises(InputError, match="cuda:99"):
        choose_runtime("cuda:99")


@needs_cuda
def test_automatic_takes_the_gpu():
    assert choose_runtime().device.type == "cuda"


@no_cuda
def test_automatic_takes_the_cpu_without_a_gpu():
    assert choose_runtime().device.type == "cpu"


def test_a_gpu_without_kernels_is_passed_over_with_a_warning(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(runtime, "check_kernels", lambda device: "no kernel image is available")
    reporter = Reporter()
    assert choose_runtime(reporter=reporter).device.type == "cpu"
    assert reporter.warnings[0]["code"] == "device"
    assert "no kernel image" in reporter.warnings[0]["text"]


@pytest.mark.parametrize(("fast", "precision"), [(True, "bf16"), (False, "fp32")])
def test_half_precision_is_proposed_only_where_it_is_fast(monkeypatch, fast, precision):
    monkeypatch.setattr(runtime, "has_fast_bf16", lambda device: fast)
    chosen = choose_runtime("cpu")
    assert chosen.precision == precision and chosen.check_precision == fast
    wanted = choose_runtime("cpu", "bf16")
    assert wanted.precision == "bf16" and not wanted.check_precision


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.cuda.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_lack_of_memory_is_told_apart(error, expected):
    assert is_out_of_memory(error) is expected


def test_waiting_threads_sleep_unless_the_user_decides():
    """The wish must be there before torch is loaded, which importing the pipeline does not do."""
    code = (
        "import os, sys, SegDLEngine.pipeline; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(SegDLEngine.__file__).parents[1])}
    environment.pop("OMP_WAIT_POLICY", None)

    def printed(**more: str) -> str:
        command = [sys.executable, "-c", code]
        return subprocess.check_output(command, env={**environment, **more}, text=True).strip()

    assert printed() == "PASSIVE False"
    assert printed(OMP_WAIT_POLICY="ACTIVE") == "ACTIVE False"


def test_live_bytes_follow_creation_and_release():
    image = torch.ones(1, 4, 64, 64)
    layers = torch.nn.Sequential(*(torch.nn.Conv2d(4, 4, 3, padding=1) for _ in range(10)))
    with torch.inference_mode(), LiveBytes() as memory:
        layers(image)
    assert memory.peak == 2 * image.nbytes, "a layer's input and its output"
    with torch.inference_mode(), LiveBytes() as memory:
        kept = [torch.relu(image) for _ in range(3)]
    assert memory.peak == len(kept) * image.nbytes
