"""Filesets of coffea, PocketCoffea and columnflow as processes of an analysis."""
