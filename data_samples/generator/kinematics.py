"""Momenta and angles of jagged (per-event) collections; GeV and radians."""

from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray


def cylindrical(px: Any, py: Any, pz: Any) -> tuple[Any, Any, Any]:
    """Convert to transverse momentum, pseudorapidity and azimuth; the floor keeps eta finite along the beam."""
    pt = np.hypot(px, py)
    return pt, np.arcsinh(pz / np.maximum(pt, 1e-9)), np.arctan2(py, px)


def delta_phi(a: Any, b: Any) -> Any:
    """Azimuthal difference in [-pi, pi)."""
    return (a - b + np.pi) % (2 * np.pi) - np.pi


def nearest_delta_r(objects: ak.Array, others: ak.Array) -> ak.Array:
    """For each object the smallest Delta R to any of the others of its event, infinite where there is none."""
    a, b = ak.unzip(ak.cartesian([objects, others], nested=True))
    squared = (a.eta - b.eta) ** 2 + delta_phi(a.phi, b.phi) ** 2
    return np.sqrt(ak.fill_none(ak.min(squared, axis=-1), np.inf))


def relative_isolation(leptons: ak.Array, particles: ak.Array, cone: float = 0.4) -> ak.Array:
    """Scalar pT sum around each lepton over its own pT; the lepton itself, at distance zero, is left out."""
    lepton, particle = ak.unzip(ak.cartesian([leptons, particles], nested=True))
    squared = (lepton.eta - particle.eta) ** 2 + delta_phi(lepton.phi, particle.phi) ** 2
    return ak.sum(ak.where((squared < cone**2) & (squared > 1e-8), particle.pt, 0.0), axis=-1) / leptons.pt


def by_descending_pt(objects: ak.Array) -> ak.Array:
    """Order each event's objects as NanoAOD does."""
    return objects[ak.argsort(objects.pt, axis=1, ascending=False)]


def leading_pair(objects: ak.Array) -> tuple[ak.Array, ak.Array, NDArray[np.float64]]:
    """Take the first two objects of each event as massless.

    Returns:
        First and second object (None where missing) and their squared invariant mass in GeV^2 (0 where missing).
    """
    padded = ak.pad_none(objects, 2)
    a, b = padded[:, 0], padded[:, 1]
    mass_squared = 2 * a.pt * b.pt * (np.cosh(a.eta - b.eta) - np.cos(delta_phi(a.phi, b.phi)))
    return a, b, ak.to_numpy(ak.fill_none(mass_squared, 0.0))
