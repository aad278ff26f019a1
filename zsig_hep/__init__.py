"""Significance-optimised event selection for collider physics, from ROOT ntuples to publication plots.

What a notebook needs at first sight is here and is loaded when it is first used; `zsig_hep.<room>` has the rest.
"""

from importlib.metadata import version

import lazy_loader

__version__ = version("zsig_hep")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
