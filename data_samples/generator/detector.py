"""A parametrised detector: acceptance, efficiency, isolation, resolution, b-tag score and missing momentum.

Numbers are typical of a general-purpose experiment at the LHC, not those of any one of them. The random draws of a
batch come in a fixed order (muons, electrons, jets, missing momentum), on which the reproducibility of the files rests.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import awkward as ak
import fastjet
import numpy as np
import vector
from numpy.typing import NDArray

from .kinematics import by_descending_pt, cylindrical, nearest_delta_r, relative_isolation
from .reconstruction import Floats, Reconstruction

vector.register_awkward()  # fastjet reads momenta of records named Momentum4D through it

NEUTRINO_IDS = (12, 14, 16)
CALORIMETER_ABS_ETA = 4.9
ISOLATION_PT_GEV = 0.5
MAX_RELATIVE_ISOLATION = 0.25
JET_RADIUS = 0.4
CLUSTERED_JET_PT_GEV = 12.0
MET_JET_PT_GEV = 20
STORED_JET_PT_GEV = 25
JET_ABS_ETA = 4.7
TRACKER_ABS_ETA = 2.5
B_TAG_SPREAD = 2.0
FLAVOUR_MATCHING_DELTA_R = 0.4
HEAVY_HADRON_PT_GEV = 5
MEAN_PILE_UP = 32


@dataclass(frozen=True)
class LeptonResponse:
    """How one kind of lepton is seen.

    Attributes:
        pdg_id: absolute particle identifier.
        mass_gev: stored with each lepton.
        max_abs_eta: acceptance.
        efficiency: probability of reconstruction and identification.
        relative_resolution: (pt in GeV, eta) to sigma(pt) / pt.
        min_pt_gev: applied to true and to reconstructed momenta.
    """

    pdg_id: int
    mass_gev: float
    max_abs_eta: float
    efficiency: float
    relative_resolution: Callable[[Floats, Floats], Floats]
    min_pt_gev: float = 10


def _muon_resolution(pt: Floats, _eta: Floats) -> Floats:
    """A constant term from multiple scattering and one that grows as the track straightens: 10 % at 1 TeV."""
    return np.hypot(0.012, 0.10 * pt / 1000.0)


def _electron_resolution(pt: Floats, eta: Floats) -> Floats:
    """A calorimeter: constant and stochastic term of the energy."""
    return np.hypot(0.015, 0.10 / np.sqrt(np.maximum(pt * np.cosh(eta), 1.0)))


MUON = LeptonResponse(13, 0.1056584, 2.4, 0.95, _muon_resolution)
ELECTRON = LeptonResponse(11, 0.000511, 2.5, 0.85, _electron_resolution)


def _flat(jagged: ak.Array) -> NDArray[Any]:
    flat: NDArray[Any] = ak.to_numpy(ak.flatten(jagged))
    return flat


def visible_particles(particles: Any) -> ak.Array:
    """Final particles other than neutrinos inside the calorimeter's acceptance."""
    kind = abs(particles.id)
    invisible = (kind == NEUTRINO_IDS[0]) | (kind == NEUTRINO_IDS[1]) | (kind == NEUTRINO_IDS[2])
    seen = particles[(particles.status > 0) & ~invisible]
    pt, eta, phi = cylindrical(seen.p.px, seen.p.py, seen.p.pz)
    momenta = {"px": seen.p.px, "py": seen.p.py, "pz": seen.p.pz, "E": seen.p.e}
    visible = ak.zip({"id": seen.id, **momenta, "pt": pt, "eta": eta, "phi": phi})
    return visible[abs(visible.eta) < CALORIMETER_ABS_ETA]


def without(particles: ak.Array, indices: ak.Array) -> ak.Array:
    """Leave out the particles at the given places in their events."""
    place, removed = ak.unzip(ak.cartesian([ak.local_index(particles), indices], nested=True))
    return particles[~ak.any(place == removed, axis=-1)]


def momentum_shift(objects: ak.Array) -> tuple[ak.Array, ak.Array]:
    """Sum of reconstructed minus true transverse momentum per event, which missing momentum balances."""
    shift = objects.pt - objects.true_pt
    return ak.sum(shift * np.cos(objects.phi), axis=1), ak.sum(shift * np.sin(objects.phi), axis=1)


def jet_flavour(jets: ak.Array, particles: Any) -> NDArray[np.uint8]:
    """Hadron flavour of each jet, flattened: 5 near a b hadron, else 4 near a c hadron, else 0."""
    kind = abs(particles.id)
    # the digits of quark content in the PDG numbering of mesons and baryons
    bottom = ((kind // 100) % 10 == 5) | ((kind // 1000) % 10 == 5)
    charm = ((kind // 100) % 10 == 4) | ((kind // 1000) % 10 == 4)
    hadron = (bottom | charm) & (kind > 100) & (kind < 100000)
    decayed = particles.status < 0
    hard = np.hypot(particles.p.px, particles.p.py) > HEAVY_HADRON_PT_GEV
    selected = hadron & decayed & hard
    heavy = particles[selected]
    _, eta, phi = cylindrical(heavy.p.px, heavy.p.py, heavy.p.pz)
    hadrons = ak.zip({"eta": eta, "phi": phi, "bottom": bottom[selected]})
    near_bottom = nearest_delta_r(jets, hadrons[hadrons.bottom]) < FLAVOUR_MATCHING_DELTA_R
    near_charm = nearest_delta_r(jets, hadrons[~hadrons.bottom]) < FLAVOUR_MATCHING_DELTA_R
    return np.where(_flat(near_bottom), 5, np.where(_flat(near_charm), 4, 0)).astype(np.uint8)


def _b_tag_mean(flavour: NDArray[np.uint8], pt: Floats) -> Floats:
    bottom_mean = 1.35 - 0.8 * np.log(np.maximum(pt, 200) / 200)
    return np.select([flavour == 5, flavour == 4], [bottom_mean, -2.07], -4.65)


def _logit(score: float) -> float:
    return math.log(score / (1 - score))


def _normal_distribution(x: Floats) -> Floats:
    return np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in x])


class Detector:
    """The detector with its source of random numbers; one call per batch of events."""

    def __init__(self, rng: np.random.Generator, untagged_below: float | None = None) -> None:
        """Keep the generator that all smearing is drawn from.

        Args:
            rng: of all smearing.
            untagged_below: draw every b-tag score below this value, where the events weigh the probability that all
                their jets have such scores: a veto on tagged jets without the loss of simulated events. None to draw
                scores as they come.
        """
        self._rng, self._untagged_below = rng, untagged_below
        self._jet_definition = fastjet.JetDefinition(fastjet.antikt_algorithm, JET_RADIUS)

    def reconstruct(self, particles: Any) -> Reconstruction:
        """Turn Pythia's particles into what an ntuple holds.

        Args:
            particles: jagged records with `id`, `status` and four-momentum `p`.
        """
        visible = visible_particles(particles)
        muons, muon_places = self._leptons(visible, MUON)
        electrons, electron_places = self._leptons(visible, ELECTRON)
        clustered = without(visible, ak.concatenate([muon_places, electron_places], axis=1))
        jets = self._jets(clustered, particles)
        shifts = [momentum_shift(objects) for objects in (muons, electrons, jets[jets.true_pt > MET_JET_PT_GEV])]
        shift_x = ak.to_numpy(shifts[0][0] + shifts[1][0] + shifts[2][0])
        shift_y = ak.to_numpy(shifts[0][1] + shifts[1][1] + shifts[2][1])
        missing = self._missing_momentum(visible, shift_x, shift_y)
        stored = by_descending_pt(jets[jets.pt > STORED_JET_PT_GEV])
        return Reconstruction(
            muons=by_descending_pt(muons),
            electrons=by_descending_pt(electrons),
            jets=stored,
            untagged_probability=ak.to_numpy(ak.prod(stored.untagged, axis=1)),
            **missing,
        )

    def _smeared(self, pt: Floats, relative_resolution: Floats, low: float) -> Floats:
        """Gaussian response, cut off at a factor 3 and well above zero."""
        return pt * self._response(relative_resolution, low)

    def _response(self, relative_resolution: Floats, low: float) -> Floats:
        return np.clip(1 + relative_resolution * self._rng.standard_normal(len(relative_resolution)), low, 3.0)

    def _leptons(self, visible: ak.Array, kind: LeptonResponse) -> tuple[ak.Array, ak.Array]:
        """Reconstruct isolated leptons.

        Returns:
            The leptons, and the places of their particles in the event, which do not enter jets.
        """
        accepted = (
            (abs(visible.id) == kind.pdg_id) & (visible.pt > kind.min_pt_gev) & (abs(visible.eta) < kind.max_abs_eta)
        )
        true = visible[accepted]
        counts = ak.num(true)
        pt, eta = _flat(true.pt), _flat(true.eta)
        isolation = _flat(relative_isolation(true, visible[visible.pt > ISOLATION_PT_GEV]))
        seen_pt = self._smeared(pt, kind.relative_resolution(pt, eta), low=0.05)
        found = self._rng.random(len(pt)) < kind.efficiency
        keep = ak.unflatten(found & (seen_pt > kind.min_pt_gev) & (isolation < MAX_RELATIVE_ISOLATION), counts)
        columns = {
            "pt": seen_pt,
            "eta": eta,
            "phi": _flat(true.phi),
            "mass": np.full(len(pt), kind.mass_gev),
            "charge": -np.sign(_flat(true.id)).astype(np.int8),
            "iso": isolation,
            "true_pt": pt,
        }
        leptons = ak.zip({name: ak.unflatten(column, counts) for name, column in columns.items()})
        return leptons[keep], ak.local_index(visible)[accepted][keep]

    def _clustered_jets(self, constituents: ak.Array) -> ak.Array:
        momenta = {name: constituents[name] for name in ("px", "py", "pz", "E")}
        sequence = fastjet.ClusterSequence(ak.zip(momenta, with_name="Momentum4D"), self._jet_definition)
        jets = sequence.inclusive_jets(min_pt=CLUSTERED_JET_PT_GEV)
        pt, eta, phi = cylindrical(jets.px, jets.py, jets.pz)
        mass = np.sqrt(np.maximum(jets.E**2 - jets.px**2 - jets.py**2 - jets.pz**2, 0.0))
        jets = ak.zip({"pt": pt, "eta": eta, "phi": phi, "mass": mass})
        return jets[abs(jets.eta) < JET_ABS_ETA]

    def _jets(self, constituents: ak.Array, particles: Any) -> ak.Array:
        """Cluster, smear and tag jets; no threshold on the smeared pt yet, since missing momentum sees all of them."""
        true = self._clustered_jets(constituents)
        counts = ak.num(true)
        pt, eta = _flat(true.pt), _flat(true.eta)
        flavour = jet_flavour(true, particles)
        resolution = np.sqrt((3.0 / pt) ** 2 + 0.8**2 / pt + 0.04**2)  # noise, stochastic and constant term
        response = self._response(resolution, low=0.1)
        columns = {
            "pt": pt * response,
            "eta": eta,
            "phi": _flat(true.phi),
            "mass": _flat(true.mass) * response,
            "btagDeepFlavB": self._b_tag_score(flavour, pt, eta),
            "hadronFlavour": flavour,
            "true_pt": pt,
            "untagged": self._untagged_probability(flavour, pt, eta),
        }
        return ak.zip({name: ak.unflatten(column, counts) for name, column in columns.items()})

    def _b_tag_score(self, flavour: NDArray[np.uint8], pt: Floats, eta: Floats) -> Floats:
        """A logistic of a Gaussian whose mean depends on flavour and, for b jets, falls at high pt; -1 without tracker.

        At a score of 0.3 it keeps about 86 % of b jets, 27 % of c jets and 3 % of light jets below 200 GeV.
        """
        mean = _b_tag_mean(flavour, pt)
        shift = self._rng.standard_normal(len(pt))
        if self._untagged_below is not None:
            limit = (_logit(self._untagged_below) - mean) / B_TAG_SPREAD
            while np.any(above := shift >= limit):
                shift[above] = self._rng.standard_normal(np.count_nonzero(above))
        score = 1 / (1 + np.exp(-(mean + B_TAG_SPREAD * shift)))
        return np.where(np.abs(eta) < TRACKER_ABS_ETA, score, -1.0)

    def _untagged_probability(self, flavour: NDArray[np.uint8], pt: Floats, eta: Floats) -> Floats:
        """Probability of each jet to have a score below the veto, one where scores are not forced below it."""
        if self._untagged_below is None:
            return np.ones(len(pt))
        limit = (_logit(self._untagged_below) - _b_tag_mean(flavour, pt)) / B_TAG_SPREAD
        return np.where(np.abs(eta) < TRACKER_ABS_ETA, _normal_distribution(limit), 1.0)

    def _missing_momentum(self, visible: ak.Array, shift_x: Floats, shift_y: Floats) -> dict[str, Any]:
        """Balance the visible momentum and the objects' smearing, with a soft term that grows with pile-up."""
        vertices = 1 + self._rng.poisson(MEAN_PILE_UP, len(visible))
        sum_et = ak.to_numpy(ak.sum(visible.pt, axis=1))
        soft = np.hypot(0.5 * np.sqrt(np.maximum(sum_et, 0)) * 0.5, 3.0 * np.sqrt(vertices))
        true_x, true_y = -ak.to_numpy(ak.sum(visible.px, axis=1)), -ak.to_numpy(ak.sum(visible.py, axis=1))
        x = true_x - shift_x + soft * self._rng.standard_normal(len(visible)) / np.sqrt(2)
        y = true_y - shift_y + soft * self._rng.standard_normal(len(visible)) / np.sqrt(2)
        return {
            "met_pt": np.hypot(x, y),
            "met_phi": np.arctan2(y, x),
            "sum_et": sum_et,
            "true_met_pt": np.hypot(true_x, true_y),
            "vertices": vertices,
        }
