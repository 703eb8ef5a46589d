"""The pictures that radiologists see: overlay (band, regions, heat map, text) and study summary."""
