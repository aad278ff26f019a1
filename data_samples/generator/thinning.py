"""Fewer hard processes to shower: those that a skim would hardly keep are simulated with a small probability.

A hard process with the probability p is showered, and an event that comes of it carries the weight 1 / p; else it only
counts in the sums. Yields keep their expectation for any 0 < p <= 1: a bad guess costs statistical power and no bias.
What a simulated event adds to the precision of a yield is largest with p in proportion to w * sqrt(q), where w is the
weight of the hard process and q the fraction of its events that pass.

Every function takes the final particles of a hard process, decays of its resonances included, and returns p.
"""

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Literal, NamedTuple

ThinningName = Literal["hmumu_top_pair", "leptoquark_bulk", "leptoquark_tail"]

MUON_ID, TAU_ID, BOTTOM_ID = 13, 15, 5
NEUTRINO_IDS = (12, 14, 16)


class HardParticle(NamedTuple):
    """A final particle of a hard process; momenta in GeV."""

    abs_id: int
    pt: float
    eta: float
    phi: float


def pair_mass(first: HardParticle, second: HardParticle) -> float:
    """Return the invariant mass of two massless particles."""
    angles = math.cosh(first.eta - second.eta) - math.cos(first.phi - second.phi)
    return math.sqrt(max(2.0 * first.pt * second.pt * angles, 0.0))


def delta_r(first: HardParticle, second: HardParticle) -> float:
    """Return the distance of two particles in pseudorapidity and azimuth."""
    phi = (first.phi - second.phi + math.pi) % (2.0 * math.pi) - math.pi
    return math.hypot(first.eta - second.eta, phi)


def charged_leptons(particles: Sequence[HardParticle]) -> list[HardParticle]:
    """Return the muons and taus, of falling transverse momentum."""
    leptons = [particle for particle in particles if particle.abs_id in {MUON_ID, TAU_ID}]
    return sorted(leptons, key=lambda lepton: -lepton.pt)


def missing_pt(particles: Sequence[HardParticle]) -> float:
    """Return the transverse momentum of the neutrinos together."""
    neutrinos = [particle for particle in particles if particle.abs_id in NEUTRINO_IDS]
    x = sum(particle.pt * math.cos(particle.phi) for particle in neutrinos)
    return math.hypot(x, sum(particle.pt * math.sin(particle.phi) for particle in neutrinos))


def hmumu_top_pair(particles: Sequence[HardParticle]) -> float:
    """Guess whether a top pair passes the hmumu skim with its veto on b-tagged jets.

    A tau brings its branching ratio of 0.17 and a soft muon, a central bottom quark is tagged with a probability of
    0.86, and the invariant mass of two muons changes little in the shower; with a tau it falls.
    """
    first, second = charged_leptons(particles)[:2]
    mass, taus = pair_mass(first, second), (first.abs_id == TAU_ID) + (second.abs_id == TAU_ID)
    if taus:
        probability = (0.25 if 120.0 < mass < 450.0 else 0.05) * (0.15 if taus == 2 else 1.0)
    else:
        probability = 1.0 if 100.0 < mass < 165.0 else 0.3 if 85.0 < mass < 200.0 else 0.06
    for particle in particles:
        if particle.abs_id == BOTTOM_ID and particle.pt > 25.0 and abs(particle.eta) < 2.4:
            probability *= 0.5 if particle.pt > 50.0 else 0.7
    if (missing := missing_pt(particles)) > 80.0:
        probability *= 0.6 if missing < 110.0 else 0.2
    return max(probability, 0.004)


def leptoquark_tail(particles: Sequence[HardParticle]) -> float:
    """Prefer hard processes that resemble a pair of heavy leptoquarks: large S_T and a large mass of the two leptons."""
    return leptoquark_like(particles, scalar_sum_gev=1600.0, mass_gev=400.0)


def leptoquark_bulk(particles: Sequence[HardParticle]) -> float:
    """The same for slices of small momenta, where few events pass the skim and none resembles the signal."""
    return leptoquark_like(particles, scalar_sum_gev=500.0, mass_gev=250.0)


def leptoquark_like(particles: Sequence[HardParticle], *, scalar_sum_gev: float, mass_gev: float) -> float:
    """Return a probability that reaches one where S_T and the mass of the two leptons are this large.

    S_T is the scalar sum of the momenta of two leptons and up to two jets. A muon from a tau has about a third of its
    momentum, and a muon next to a quark is not isolated. Of three leptons or more any two may be those that are seen.
    """
    mass = max(pair_mass(*pair) for pair in combinations(charged_leptons(particles), 2))
    leptons = charged_leptons(particles)[:2]
    jets = sorted((p for p in particles if p.abs_id in JET_IDS), key=lambda p: -p.pt)[:2]
    momenta = [lepton.pt * (TAU_MOMENTUM if lepton.abs_id == TAU_ID else 1.0) for lepton in leptons]
    scalar_sum = sum(momenta) + sum(jet.pt for jet in jets)
    probability = min(scalar_sum / scalar_sum_gev, 1.0) ** 3
    probability *= min(mass / mass_gev, 1.0) ** 1.5 * (1.0 if mass > 170.0 else 0.1)
    for lepton in leptons:
        if lepton.abs_id == TAU_ID:
            probability *= 0.25
        if any(delta_r(lepton, jet) < 0.3 for jet in jets):
            probability *= 0.1
    return max(probability, 0.005)


JET_IDS = (1, 2, 3, 4, 5, 21)
TAU_MOMENTUM = 0.35

THINNINGS: dict[ThinningName, Callable[[Sequence[HardParticle]], float]] = {
    "hmumu_top_pair": hmumu_top_pair,
    "leptoquark_bulk": leptoquark_bulk,
    "leptoquark_tail": leptoquark_tail,
}
