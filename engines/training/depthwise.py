"""A depthwise convolution with a fast gradient of its weights on a CPU.

oneDNN computes the weight gradient of a 5x5 depthwise convolution some sixty times slower than that of a 3x3 one, which
took two thirds of a training. Here a 5x5 kernel's gradient is put together from those of four 3x3 kernels, each on an
input that is shifted by 0 or 2. They overlap in the middle row and column, where they agree.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

PART = 3
"""Side of a kernel with a fast gradient."""


class DepthwiseConv2d(nn.Conv2d):
    """`torch.nn.Conv2d` of one kernel per channel, an odd side and padding that keeps the size."""

    def __init__(self, channels: int, size: int, stride: int) -> None:
        super().__init__(channels, channels, size, stride, size // 2, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N,C,H,W) -> (N,C,H/stride,W/stride)."""
        if not (self.training and torch.is_grad_enabled() and x.device.type == "cpu"):
            return super().forward(x)
        weight = self.weight.to(torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype)
        result: Tensor = _Depthwise.apply(x.to(weight.dtype), weight, self.stride[0])
        return result


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return functional.conv2d(x, weight, None, stride, weight.shape[-1] // 2, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, None]:
        x, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        of_x = _gradient(gradient, x, weight, ctx.stride, weight.shape[-1] // 2, of_x=True) if x.requires_grad else None
        return of_x, _weight_gradient(gradient, x, weight, ctx.stride), None


def _weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    size = weight.shape[-1]
    if size <= PART:
        return _gradient(gradient, x, weight, stride, size // 2)
    padded = functional.pad(x, (size // 2,) * 4)
    height, width = ((n - 1) * stride + PART for n in gradient.shape[2:])
    whole = torch.empty_like(weight)
    starts = [*range(0, size - PART, PART - 1), size - PART]
    for top in starts:
        for left in starts:
            part = weight[:, :, top : top + PART, left : left + PART].contiguous()
            seen = padded[:, :, top : top + height, left : left + width].contiguous(memory_format=torch.channels_last)
            whole[:, :, top : top + PART, left : left + PART] = _gradient(gradient, seen, part, stride, 0)
    return whole


def _gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, *, of_x: bool = False) -> Tensor:
    both = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], len(weight),
        [of_x, not of_x, False],
    )  # fmt: skip
    return both[0] if of_x else both[1]
