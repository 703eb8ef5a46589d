"""Radiograph in, result out."""
