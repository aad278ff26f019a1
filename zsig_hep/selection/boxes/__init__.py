"""Rectangular cuts: the box of highest significance, found exactly edge by edge."""
