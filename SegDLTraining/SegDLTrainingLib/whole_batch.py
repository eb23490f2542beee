"""What layers compute of a whole batch, or draw for it, while several processes share it.

PyTorch's SyncBatchNorm (2.13) refuses tensors of the CPU, so what a GPU would compute with it could not be
tested on two processes without one; it has to be put into the network in place of the ordinary layers, and
taken out again of every copy that is averaged, judged or written; and it leaves dropout as it is.  Here the
functions which the layers call are replaced while the network runs: one implementation for all devices, and
the network stays what it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import distributed
from torch.nn import functional

from SegDLTrainingLib.batch_norm_mode import BatchNormMode, NormCall
from SegDLTrainingLib.processes import Processes

# Each draws one number for a whole channel, so a mask needs no more than that.
_CHANNEL_DROPOUTS = (functional.dropout1d, functional.dropout2d, functional.dropout3d)


class WholeBatch(BatchNormMode):
    """Within the block batch norm and dropout treat the rows of all ``processes`` as one batch.

    Batch norm in training takes mean and variance of all rows, also into its running statistics; dropout
    draws the masks of all rows, alike in each process if their random numbers are, and uses its own.  The
    batches of all processes must have the same shape.  ``rows``: how many of a batch each process has; a
    network may see several groups of so many.
    """

    def __init__(self, processes: Processes, rows: int):
        super().__init__()
        self._processes, self._rows = processes, rows

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function is functional.dropout or function in _CHANNEL_DROPOUTS:
            return self._dropout(function, *args, **(kwargs or {}))
        return super().__torch_function__(function, types, args, kwargs)

    def normalised(self, call: NormCall) -> torch.Tensor:
        count = self._processes.count
        output, mean, variance = _Normalised.apply(call.input, call.weight, call.bias, call.eps, count)
        values = count * call.input.numel() // call.input.shape[1]
        with torch.no_grad():
            if call.running_mean is not None:
                call.running_mean.lerp_(mean.to(call.running_mean), call.momentum)
            if call.running_var is not None:
                unbiased = variance * (values / (values - 1))
                call.running_var.lerp_(unbiased.to(call.running_var), call.momentum)
        return output

    def _dropout(
        self,
        function: Callable[..., torch.Tensor],
        input: torch.Tensor,
        p: float = 0.5,
        training: bool = True,
        inplace: bool = False,
    ) -> torch.Tensor:
        if not training or p == 0:
            return function(input, p, training, inplace)
        sides = [1] * (input.dim() - 2) if function in _CHANNEL_DROPOUTS else list(input.shape[2:])
        whole = input.new_ones(input.shape[0] * self._processes.count, input.shape[1], *sides)
        masks = function(whole, p, True).unflatten(0, (-1, self._processes.count, self._rows))
        mask = masks[:, self._processes.rank].flatten(0, 1)
        return input.mul_(mask) if inplace else input * mask


class _Normalised(torch.autograd.Function):
    """Batch norm (N, C, ...) by the statistics of ``count`` processes; also their mean and biased variance.

    The gradients of weight and bias are those of this process's rows, which DistributedDataParallel averages
    as it does all others.
    """

    @staticmethod
    def forward(
        context: Any,
        input: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        eps: float,
        count: int,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # type: ignore[override]
        values = _precise(input)
        variance, mean = torch.var_mean(values, _all_but_channels(input), correction=0)
        mean, variance = _combined(mean, variance, count)
        inverse = (variance + eps).rsqrt()
        output = (values - _spread(mean, input)) * _spread(inverse, input)
        if weight is not None:
            output = output * _spread(weight, input)
        if bias is not None:
            output = output + _spread(bias, input)
        context.save_for_backward(input, weight, mean, inverse)
        context.count = count
        context.mark_non_differentiable(mean, variance)
        return output.to(input.dtype), mean, variance

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor, *_: Any) -> Any:  # type: ignore[override]
        input, weight, mean, inverse = context.saved_tensors
        gradient = _precise(gradient)
        normalised = (_precise(input) - _spread(mean, input)) * _spread(inverse, input)
        dimensions = _all_but_channels(input)
        sums = torch.stack([gradient.sum(dimensions), (gradient * normalised).sum(dimensions)])
        to_input = None
        if context.needs_input_grad[0]:
            whole = sums.clone()
            distributed.all_reduce(whole)
            whole /= context.count * input.numel() // input.shape[1]
            centred = gradient - _spread(whole[0], input) - normalised * _spread(whole[1], input)
            scale = inverse if weight is None else inverse * weight
            to_input = (centred * _spread(scale, input)).to(input.dtype)
        to_weight = sums[1].to(weight) if context.needs_input_grad[1] else None
        to_bias = sums[0].to(inverse) if context.needs_input_grad[2] else None
        return to_input, to_weight, to_bias, None, None


def _combined(mean: torch.Tensor, variance: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance over ``count`` processes of equally many values each."""
    each = [torch.empty_like(torch.stack([mean, variance])) for _ in range(count)]
    distributed.all_gather(each, torch.stack([mean, variance]))
    means, variances = torch.stack(each, dim=1)
    between, whole = torch.var_mean(means, 0, correction=0)
    return whole, variances.mean(0) + between


def _precise(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _all_but_channels(tensor: torch.Tensor) -> list[int]:
    return [0, *range(2, tensor.dim())]


def _spread(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """One value a channel, to be combined with ``like``."""
    return values.reshape(1, -1, *[1] * (like.dim() - 2))
