"""Significance-optimised event selection for collider physics, from ROOT ntuples to publication plots."""

from importlib.metadata import version

__version__ = version("zsig_hep")
