"""Draws the overlay: band, regions, heat map, text and the study summary."""
