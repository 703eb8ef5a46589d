"""Losses of the two networks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from engines.training.networks import grad_cam

LEAST_HEAT = 1e-4
"""Share of the whole map that is added, so that a map beside the fracture has a logarithm."""


def centre_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the focal loss with a Gaussian-reduced penalty around each centre.

    Parameters
    ----------
    logits : (N,S,g,g) float32
    target : (N,S,g,g) float32
        1 at a region's centre, falling off around it, 0 elsewhere.

    References
    ----------
    Zhou et al., "Objects as Points", 2019, equation 1, with alpha 2 and beta 4.
    """
    probability = logits.sigmoid()
    centre = target >= 1.0
    found = functional.logsigmoid(logits) * (1 - probability) ** 2
    empty = functional.logsigmoid(-logits) * probability**2 * (1 - target) ** 4
    return -torch.where(centre, found, empty).sum() / centre.sum().clamp(min=1)


def box_loss(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the generalised IoU loss of boxes, given as distances from a common point (Rezatofighi et al., CVPR 2019).

    Parameters
    ----------
    predicted, target : (N,4,g,g) float32
        Left, top, right, bottom, >= 0.
    weight : (N,g,g) float32
        Weight of each place; 0 where there is no region.
    """
    pl, pt, pr, pb = predicted.unbind(1)
    tl, tt, tr, tb = target.unbind(1)
    common = (torch.minimum(pl, tl) + torch.minimum(pr, tr)) * (torch.minimum(pt, tt) + torch.minimum(pb, tb))
    hull = (torch.maximum(pl, tl) + torch.maximum(pr, tr)) * (torch.maximum(pt, tt) + torch.maximum(pb, tb))
    union = (pl + pr) * (pt + pb) + (tl + tr) * (tt + tb) - common
    giou = common / union.clamp(min=1e-3) - (hull - union) / hull.clamp(min=1e-3)
    return ((1 - giou) * weight).sum() / weight.sum().clamp(min=1)


def place_loss(scores: Tensor, fracture: Tensor, known: Tensor, *, positive_weight: float = 4.0) -> Tensor:
    """Return the binary cross-entropy of every place against the fracture boxes.

    Parameters
    ----------
    scores : (N,h,w) float32
    fracture, known : (N,h,w) float32
        `fracture` is 1 inside a fracture box, `known` is 1 where the label is certain.
    positive_weight : float
        Weight of fracture places, which are few: 4 makes them about a fifth of the sum on a fractured region.
    """
    each = functional.binary_cross_entropy_with_logits(
        scores, fracture, reduction="none", pos_weight=scores.new_tensor(positive_weight)
    )
    return (each * known).sum() / known.sum().clamp(min=1)


def heat_loss(logit: Tensor, activations: Tensor, fracture: Tensor, fractured: Tensor) -> Tensor:
    """Return the mean of minus the logarithm of the share of Grad-CAM on the fracture.

    This is "right for the right reasons" (Ross et al., IJCAI 2017) with the map that the appliance shows. The layers
    between tap and logit are small, so that the second derivative costs little.

    Parameters
    ----------
    logit : (N,) float32
        Computed from `activations`.
    activations : (N,K,h,w)
        At the tap.
    fracture : (N,h,w) float32
        1 inside a fracture box.
    fractured : (N,) bool
        Regions with a fracture; the maps of the others do not count.
    """
    (gradients,) = torch.autograd.grad(logit[fractured].sum(), activations, create_graph=True)
    cam = grad_cam(activations.float()[fractured], gradients.float()[fractured])
    whole, inside = cam.sum((1, 2)), (cam * fracture[fractured]).sum((1, 2))
    least = LEAST_HEAT * whole + torch.finfo(whole.dtype).tiny
    return -((inside + least) / (whole + least)).log().sum() / fractured.sum().clamp(min=1)
