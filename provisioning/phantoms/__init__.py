"""Phantom radiographs: drawn anatomy in realistic DX instances, with labels that are exact to the pixel."""

from .instance import instance_from_phantom
from .phantom import VIEWS, Phantom, phantom

__all__ = ["VIEWS", "Phantom", "instance_from_phantom", "phantom"]
