"""The two networks: a localiser over the whole radiograph and a fracture network over one anatomical region.

Both stand on a trunk and use only operations that every inference engine has. The layers after the tap are piecewise
linear in the activations, which keeps the gradient that Grad-CAM needs simple.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.training.backbone import AT_EIGHTH, AT_SIXTEENTH, BLOCKS, EARLY, ConvBlock, blank_blocks

IMAGE_PX = 512
"""Side of the preprocessed radiograph (DESIGN.md, stage 1)."""

REGION_PX = 256
"""Side of the preprocessed region (DESIGN.md, stage 2)."""

TAP_CELLS = 16
"""Side of the map that Grad-CAM reads: 256 px at stride 16, before the last stage."""

GREY_CENTRE = 127.5
"""Middle of 0..255."""

GREY_SPREAD = 73.6
"""Standard deviation of a uniform distribution over 0..255, the aim of equalisation."""

NEIGHBOURHOOD_CELLS = 7
"""Side of a neighbourhood in cells of 4 px, a ninth of the region: wider than a cortex, narrower than a shaft."""

LAST = 128
"""Channels after the last convolution of a fracture network on EfficientNet-Lite0."""

LOCALISER_NECK = 64
"""Channels in which the three resolutions are joined."""

DETAIL_FLOOR = 4.0
"""Grey levels below which detail is noise of an 8-bit picture and is not amplified."""


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside an identity (He et al., CVPR 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvBlock(channels, channels, activation=nn.ReLU())
        self.second = ConvBlock(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(self.first(x)))


class Contrast(nn.Module):
    """Normalisation of a region: (N,1,256,256) grey levels -> (N,2,256,256) normalised grey and local detail.

    Most of a radiograph is dark background, so that equalisation leaves bone a few bright levels; a fracture is a small
    difference among those. So grey is measured against the region's own mean and deviation, and detail against those
    of its neighbourhood (local contrast normalisation, Jarrett et al., ICCV 2009).
    """

    enlarge: Tensor

    def __init__(self) -> None:
        super().__init__()
        # bilinear interpolation as the matrix that it is: an inference engine's own may differ at the edges
        one = torch.eye(REGION_PX // 4)[None]
        enlarged = functional.interpolate(one, scale_factor=4.0, mode="linear", align_corners=False)[0]
        self.register_buffer("enlarge", enlarged, persistent=False)

    def forward(self, region: Tensor) -> Tensor:
        shown = (region > 0).float()
        area = shown.sum((2, 3), keepdim=True) + 1
        mean = region.sum((2, 3), keepdim=True) / area
        centred = (region - mean) * shown
        spread = ((centred * centred).sum((2, 3), keepdim=True) / area + 1).sqrt()
        detail = (centred - self._around(centred)) * shown
        variance = self._around(detail * detail)
        return torch.cat([centred / spread, detail / (variance + DETAIL_FLOOR**2).sqrt()], 1)

    def _around(self, x: Tensor) -> Tensor:
        """Return the mean of each pixel's neighbourhood, computed at a quarter of the resolution for speed."""
        coarse = functional.avg_pool2d(functional.avg_pool2d(x, 4), NEIGHBOURHOOD_CELLS, 1, NEIGHBOURHOOD_CELLS // 2)
        return self.enlarge.T @ coarse @ self.enlarge


def _stage(inputs: int, outputs: int, *, blocks: int = 1) -> nn.Sequential:
    """Return a stage that halves the resolution, followed by residual blocks."""
    down = ConvBlock(inputs, outputs, stride=2, activation=nn.ReLU())
    return nn.Sequential(down, *(ResidualBlock(outputs) for _ in range(blocks)))


def plain_trunk(widths: tuple[int, int, int, int]) -> nn.Sequential:
    """Return a small residual trunk without pretrained weights, for phantoms; `widths` at 128, 64, 32 and 16 cells."""
    a, b, c, k = widths
    first = ConvBlock(2, a, stride=2, activation=nn.ReLU())
    return nn.Sequential(first, _stage(a, b), _stage(b, c), _stage(c, k, blocks=2))


def lite_trunk() -> nn.Sequential:
    """Return EfficientNet-Lite0 down to 16 cells and 112 channels in two parts: one to freeze, one that learns."""
    layers = blank_blocks(2, AT_SIXTEENTH)
    return nn.Sequential(nn.Sequential(*layers[: EARLY + 1]), nn.Sequential(*layers[EARLY + 1 :]))


class FractureNetwork(nn.Module):
    """One trunk for all sites, a score map per site, and the log-sum-exp of that map as the logit.

    A fracture is small and lies in one place. The logit is a soft maximum over the 16x16 places, so that its gradient
    comes from the place of the evidence. A site's score weights are shared weights plus its own small deviation,
    because most sites have too few fractures to learn weights from.

    Parameters
    ----------
    sites : int
        Number of score maps.
    trunk : nn.Module
        (N,2,256,256) -> (N,k,16,16).
    k, last : int
        Activations at the tap, and after the last convolution.
    """

    def __init__(self, sites: int, trunk: nn.Module, k: int, last: int) -> None:
        super().__init__()
        self.contrast = Contrast()
        self.trunk = trunk
        self.last = ConvBlock(k, last, activation=nn.ReLU())
        self.shared = nn.Conv2d(last, 1, 1)
        self.deviation = nn.Conv2d(last, sites, 1)
        self.tap_score = nn.Conv2d(k, 1, 1)  # for training only: makes fractures linearly visible at the tap
        self.site_score = nn.Linear(k, sites)  # for training only: names the site
        for zero in (self.deviation.weight, self.deviation.bias):
            nn.init.zeros_(cast("Tensor", zero))
        for rare in (self.shared.bias, self.tap_score.bias):
            nn.init.constant_(cast("Tensor", rare), -4.0)  # a place shows a fracture about once in sixty

    def activations(self, region: Tensor) -> Tensor:
        """Compute (N,K,16,16), the maps before the last stage, from (N,1,256,256) grey levels."""
        return cast("Tensor", self.trunk(self.contrast(region)))

    def scores(self, activations: Tensor) -> Tensor:
        """Compute (N,S,16,16), each site's score of a fracture at each place, from (N,K,16,16)."""
        last = self.last(activations)
        return cast("Tensor", self.shared(last) + self.deviation(last))


def plain_fractures(sites: int, widths: tuple[int, int, int, int]) -> FractureNetwork:
    """Return a fracture network on `plain_trunk`."""
    return FractureNetwork(sites, plain_trunk(widths), widths[-1], widths[-1])


def lite_fractures(sites: int) -> FractureNetwork:
    """Return a fracture network on `lite_trunk`."""
    return FractureNetwork(sites, lite_trunk(), BLOCKS[AT_SIXTEENTH - 1][1], LAST)


def soft_maximum(scores: Tensor) -> Tensor:
    """Return the log-sum-exp over the places: (N,...,h,w) -> (N,...)."""
    flat = scores.flatten(-2)
    peak = flat.detach().amax(-1, keepdim=True)
    return (flat - peak).exp().sum(-1).log() + peak.squeeze(-1)


def grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return Grad-CAM (N,h,w), not normalised, from (N,K,h,w) each (Selvaraju et al., ICCV 2017, equations 1 and 2)."""
    return (gradients.mean((2, 3), keepdim=True) * activations).sum(1).clamp(min=0)


class SiteHead(nn.Module):
    """The layers after the tap for one site: (N,K,16,16) -> logit (N,)."""

    def __init__(self, network: FractureNetwork, site: int) -> None:
        super().__init__()
        self.last = network.last
        own, common = network.deviation, network.shared
        self.score = nn.Conv2d(own.in_channels, 1, 1)
        with torch.no_grad():
            self.score.weight.copy_(common.weight + own.weight[site : site + 1])
            cast("Tensor", self.score.bias).copy_(
                cast("Tensor", common.bias) + cast("Tensor", own.bias)[site : site + 1]
            )

    def forward(self, activations: Tensor) -> Tensor:
        return soft_maximum(self.score(self.last(activations))).squeeze(1)


class LocaliserNetwork(nn.Module):
    """Centres and boxes of anatomical regions on a 32x32 grid (Zhou et al., "Objects as Points", 2019).

    The radiograph is averaged to 256 px first: a knee can be located at any resolution. Two stages deeper than the grid
    see the whole radiograph; their maps are added back on the way up (Lin et al., CVPR 2017).

    Parameters
    ----------
    sites : int
        Number of maps of centres.
    stages : tuple of nn.Module
        (N,1,256,256) -> 32 cells -> 16 -> 8.
    widths : tuple of int
        Channels of each of the stages.
    neck : int
        Channels in which they are joined.
    flags : int
        Number of flags of the whole radiograph (hardware, cast); may be 0.
    """

    def __init__(
        self,
        sites: int,
        stages: tuple[nn.Module, nn.Module, nn.Module],
        widths: tuple[int, int, int],
        neck: int,
        flags: int = 0,
    ) -> None:
        super().__init__()
        self.fine, self.middle, self.coarse = stages
        c, d, e = widths
        self.from_fine = ConvBlock(c, neck, size=1)
        self.from_middle = ConvBlock(d, neck, size=1)
        self.from_coarse = ConvBlock(e, neck, size=1)
        self.heat = nn.Sequential(ConvBlock(neck, neck, activation=nn.ReLU()), nn.Conv2d(neck, sites, 1))
        self.box = nn.Sequential(ConvBlock(neck, neck, activation=nn.ReLU()), nn.Conv2d(neck, 4, 1))
        self.flag = nn.Conv2d(d, flags, 1) if flags else None
        # prior 0.01 of a centre per place (Lin et al., focal loss, ICCV 2017, section 4.1)
        nn.init.constant_(cast("Tensor", cast("nn.Conv2d", self.heat[1]).bias), -4.6)

    def keep_flags(self, flags: list[int]) -> None:
        """Keep only the flags with these indices, in place: the others were not learned."""
        known = cast("nn.Conv2d", self.flag)
        self.flag = nn.Conv2d(known.in_channels, len(flags), 1)
        self.flag.load_state_dict({name: value[flags] for name, value in known.state_dict().items()})

    @staticmethod
    def normalise(half: Tensor) -> Tensor:
        """Return equalised grey levels with mean 0 and deviation 1."""
        return (half - GREY_CENTRE) / GREY_SPREAD

    def forward(self, half: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Compute centres, sides and flags from (N,1,256,256) grey levels.

        Returns
        -------
        (N,S,32,32) logits; (N,4,32,32) left, top, right, bottom in pixels of the 512 image; (N,flags) logits
        or None.
        """
        fine = self.fine(self.normalise(half))
        middle = self.middle(fine)
        coarse = self.from_coarse(self.coarse(middle))
        up = functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
        up = torch.relu(self.from_middle(middle) + up)
        up = functional.interpolate(up, scale_factor=2.0, mode="nearest")
        joined = torch.relu(self.from_fine(fine) + up)
        flags = None if self.flag is None else soft_maximum(self.flag(middle))
        # one unit is an eighth of the image, about a small region's half side
        return self.heat(joined), functional.softplus(self.box(joined)) * (IMAGE_PX / 8), flags


def plain_localiser(sites: int, widths: tuple[int, int, int, int, int], flags: int) -> LocaliserNetwork:
    """Return a small residual localiser without pretrained weights, for phantoms."""
    a, b, c, d, e = widths
    first = ConvBlock(1, a, stride=2, activation=nn.ReLU())
    stages = nn.Sequential(first, _stage(a, b), _stage(b, c)), _stage(c, d), _stage(d, e)
    return LocaliserNetwork(sites, stages, (c, d, e), c, flags)


def lite_localiser(sites: int, flags: int) -> LocaliserNetwork:
    """Return a localiser on EfficientNet-Lite0; `fine` is to be frozen while the rest learns."""
    layers = blank_blocks(1, len(BLOCKS))
    stages = (
        nn.Sequential(*layers[: AT_EIGHTH + 1]),
        nn.Sequential(*layers[AT_EIGHTH + 1 : AT_SIXTEENTH + 1]),
        nn.Sequential(*layers[AT_SIXTEENTH + 1 :]),
    )
    widths = BLOCKS[AT_EIGHTH - 1][1], BLOCKS[AT_SIXTEENTH - 1][1], BLOCKS[-1][1]
    return LocaliserNetwork(sites, stages, widths, LOCALISER_NECK, flags)


def half_size(image: Tensor) -> Tensor:
    """Return (N,1,256,256) from (N,1,512,512) by averaging: the localiser's first step."""
    return functional.avg_pool2d(image, 2)
