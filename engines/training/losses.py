"""What the networks are punished for."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from engines.training.networks import grad_cam

LEAST_HEAT = 1e-4  # of the whole map: so that one which misses the fracture has a logarithm


def centre_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Focal loss with Gaussian-reduced penalty around each centre (Zhou et al. 2019, equation 1; alpha 2, beta 4).

    Parameters
    ----------
    logits : (N,S,g,g) float32
    target : (N,S,g,g) float32
        1 at a region's centre, falling off around it, 0 elsewhere.
    """
    probability = logits.sigmoid()
    centre = target >= 1.0
    found = functional.logsigmoid(logits) * (1 - probability) ** 2
    empty = functional.logsigmoid(-logits) * probability**2 * (1 - target) ** 4
    return -torch.where(centre, found, empty).sum() / centre.sum().clamp(min=1)


def box_loss(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Generalised IoU loss of distances from a common point (Rezatofighi et al., CVPR 2019).

    Parameters
    ----------
    predicted, target : (N,4,g,g) float32
        Left, top, right, bottom, >= 0.
    weight : (N,g,g) float32
        How much each place counts; 0 where there is no region.
    """
    pl, pt, pr, pb = predicted.unbind(1)
    tl, tt, tr, tb = target.unbind(1)
    common = (torch.minimum(pl, tl) + torch.minimum(pr, tr)) * (torch.minimum(pt, tt) + torch.minimum(pb, tb))
    hull = (torch.maximum(pl, tl) + torch.maximum(pr, tr)) * (torch.maximum(pt, tt) + torch.maximum(pb, tb))
    union = (pl + pr) * (pt + pb) + (tl + tr) * (tt + tb) - common
    giou = common / union.clamp(min=1e-3) - (hull - union) / hull.clamp(min=1e-3)
    return ((1 - giou) * weight).sum() / weight.sum().clamp(min=1)


def place_loss(scores: Tensor, fracture: Tensor, known: Tensor, *, positive_weight: float = 4.0) -> Tensor:
    """Binary cross-entropy of every place against the fracture boxes.

    Parameters
    ----------
    scores : (N,h,w) float32
    fracture, known : (N,h,w) float32
        1 inside a fracture box; 1 where that is known.
    positive_weight : float
        Fracture places are few: four makes them about a fifth of the sum on a fractured region.
    """
    each = functional.binary_cross_entropy_with_logits(
        scores, fracture, reduction="none", pos_weight=scores.new_tensor(positive_weight)
    )
    return (each * known).sum() / known.sum().clamp(min=1)


def heat_loss(logit: Tensor, activations: Tensor, fracture: Tensor, asked: Tensor) -> Tensor:
    """Minus the logarithm of the share of Grad-CAM that lies on the fracture, in the mean.

    Right for the right reasons (Ross et al., IJCAI 2017), with the map that is shown. What stands between tap and logit
    is small, so that to differentiate its gradient costs little.

    Parameters
    ----------
    logit : (N,) float32
        Made of `activations`.
    activations : (N,K,h,w)
        At the tap.
    fracture : (N,h,w) float32
        1 inside a fracture box.
    asked : (N,) bool
        The regions with a fracture; nothing is asked of the others' maps.
    """
    (gradients,) = torch.autograd.grad(logit[asked].sum(), activations, create_graph=True)
    cam = grad_cam(activations.float()[asked], gradients.float()[asked])
    whole, inside = cam.sum((1, 2)), (cam * fracture[asked]).sum((1, 2))
    least = LEAST_HEAT * whole + torch.finfo(whole.dtype).tiny
    return -((inside + least) / (whole + least)).log().sum() / asked.sum().clamp(min=1)
