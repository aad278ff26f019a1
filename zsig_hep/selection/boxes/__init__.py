"""Rectangular cuts: a search for the box of highest significance."""
