"""Pythia 8: the hard process, its decays, the parton shower and hadronisation."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
import pythia8mc
from numpy.typing import NDArray

from .errors import GeneratorError
from .processes import Process
from .thinning import MUON_ID, TAU_ID, THINNINGS, HardParticle

SQRT_S_GEV = 13000.0
PB_PER_MB = 1e9

SHOWER_VARIATION_NAMES = ("isrup", "fsrup", "isrdn", "fsrdn")
"""Renormalisation-scale variations of initial- and final-state radiation, in the order of CMS's PSWeight."""

SHOWER_VARIATIONS = (
    "UncertaintyBands:doVariations=on",
    (
        "UncertaintyBands:List={isrup isr:muRfac=0.707,fsrup fsr:muRfac=0.707,"
        "isrdn isr:muRfac=1.414,fsrdn fsr:muRfac=1.414}"
    ),
)


LEPTON_IDS = frozenset({MUON_ID, TAU_ID})
SAME_EVENT = 1e-6
"""Relative difference of momentum fractions below which two records are of one hard process."""


@dataclass(frozen=True)
class HardProcesses:
    """The hard processes of a batch that passed the lepton filter, in the order in which Pythia made them.

    Attributes:
        weight: Pythia's weight of each, shape [M].
        taus: number of prompt taus of each, shape [M].
        simulated: places of those that were showered, shape [N].
        probability: with which each of those was chosen to be, shape [N].
    """

    weight: NDArray[np.float64]
    taus: NDArray[np.int64]
    simulated: NDArray[np.int64]
    probability: NDArray[np.float64]


class _Record(NamedTuple):
    """A hard process that passed the filter; `probability` is None where it was not showered."""

    weight: float
    taus: int
    x1: float
    probability: float | None


class HardProcessHook(pythia8mc.UserHooks):
    """Keep hard processes with two muons or taus of pT > 15 GeV and |eta| < 2.5, and thin them out.

    Both act before the parton shower, which saves most of the time of events that no skim would keep. What fails the
    filter is outside the cross section, what is thinned out inside: it is recorded and counts in the sums of weights.
    """

    def __init__(
        self,
        weight_of_current: Callable[[], float],
        thinning: Callable[[Sequence[HardParticle]], float] | None,
        rng: np.random.Generator,
    ) -> None:
        """Take Pythia's current weight, the probability of a hard process to be showered, and the dice."""
        super().__init__()
        self._weight_of_current, self._thinning, self._rng = weight_of_current, thinning, rng
        self._records: list[_Record] = []
        self.tried = self.tried_squared = self.passed = self.passed_squared = 0.0

    # the names are Pythia's
    def canVetoProcessLevel(self) -> bool:
        """Announce the veto to Pythia."""
        return True

    def doVetoProcessLevel(self, process: Any) -> bool:
        """Veto what fails the filter or is thinned out; entries up to 4 are the beams and incoming partons."""
        weight = self._weight_of_current()
        self.tried += weight
        self.tried_squared += weight**2
        final = []
        for i in range(5, process.size()):
            particle = process[i]
            if particle.isFinal():
                final.append(HardParticle(particle.idAbs(), particle.pT(), particle.eta(), particle.phi()))
        if sum(p.abs_id in LEPTON_IDS and p.pt > 15.0 and abs(p.eta) < 2.5 for p in final) < 2:
            return True
        self.passed += weight
        self.passed_squared += weight**2
        probability: float | None = 1.0
        if self._thinning is not None:
            chance = self._thinning(final)
            probability = chance if self._rng.random() < chance else None
        taus = sum(p.abs_id == TAU_ID for p in final)
        self._records.append(_Record(weight, taus, 2.0 * process[3].e() / SQRT_S_GEV, probability))
        return probability is None

    def filter_efficiency(self) -> tuple[float, float]:
        """Weighted fraction of the hard processes that pass the filter, and its relative statistical error."""
        efficiency = self.passed / self.tried
        variance = (1 - 2 * efficiency) * self.passed_squared + efficiency**2 * self.tried_squared
        return efficiency, math.sqrt(max(variance, 0.0)) / self.passed

    def take(self, x1: NDArray[np.float64]) -> HardProcesses:
        """Match the simulated events to the records since the last call, and forget these.

        A hard process that Pythia gave up in the shower or hadronisation is not counted, as if it had not been tried.

        Args:
            x1: momentum fractions of the first incoming parton of the events that Pythia returned, shape [N].
        """
        kept, simulated, probability = list[_Record](), list[int](), list[float]()
        waiting = iter(x1)
        awaited = next(waiting, None)
        for record in self._records:
            if record.probability is not None:
                if awaited is None or abs(record.x1 / awaited - 1) > SAME_EVENT:
                    continue
                simulated.append(len(kept))
                probability.append(record.probability)
                awaited = next(waiting, None)
            kept.append(record)
        self._records = []
        if len(simulated) != len(x1):
            message = f"only {len(simulated)} of {len(x1)} events are those of a recorded hard process"
            raise GeneratorError(message)
        return HardProcesses(
            np.array([record.weight for record in kept]),
            np.array([record.taus for record in kept], dtype=np.int64),
            np.array(simulated, dtype=np.int64),
            np.array(probability),
        )


def pythia_settings(process: Process, seed: int, *, mpi: bool, shower_variations: bool) -> list[str]:
    """List the commands for Pythia in order; they are recorded in the file's metadata."""
    return [
        "Print:quiet=on",
        f"Beams:eCM={SQRT_S_GEV}",
        "Random:setSeed=on",
        f"Random:seed={seed}",
        "15:onMode=off",
        "15:onIfAny=13",
        f"PartonLevel:MPI={'on' if mpi else 'off'}",
        *process.settings,
        *(SHOWER_VARIATIONS if shower_variations else ()),
    ]


class Simulation:
    """An initialised Pythia for one process and seed.

    Attributes:
        settings: the commands that it was given.
    """

    def __init__(
        self, process: Process, seed: int, thinning_rng: np.random.Generator, *, mpi: bool, shower_variations: bool
    ) -> None:
        """Initialise Pythia.

        Raises:
            GeneratorError: Pythia refuses a setting or does not initialise.
        """
        self.settings = pythia_settings(process, seed, mpi=mpi, shower_variations=shower_variations)
        self._pythia = pythia8mc.Pythia("", False)
        for command in self.settings:
            if not self._pythia.readString(command):
                message = f"Pythia refused the setting {command!r}; another version of pythia8mc may know it"
                raise GeneratorError(message)
        info = self._pythia.infoPython()
        thinning = THINNINGS[process.thinning] if process.thinning else None
        # Pythia keeps no reference of its own
        self._hook = HardProcessHook(info.weight, thinning, thinning_rng)
        self._pythia.setUserHooksPtr(self._hook)
        if not self._pythia.init():
            message = "Pythia did not initialise; its own messages stand above"
            raise GeneratorError(message)

    def next_batch(self, size: int) -> tuple[Any, HardProcesses]:
        """Generate events.

        Returns:
            Awkward records with fields `prt` (particles) and `info` (weights, partons, scales), and the hard processes
            that they are of and those between them that were not showered.

        Raises:
            GeneratorError: Pythia returns no event at all.
        """
        events = self._pythia.nextBatch(size)
        if len(events) == 0:
            message = "Pythia failed to generate a single event of a batch; its own messages stand above"
            raise GeneratorError(message)
        return events, self._hook.take(ak.to_numpy(events.info.x1))

    def shower_weight_columns(self) -> list[int]:
        """Columns of the event weights that hold the variations of `SHOWER_VARIATION_NAMES`, in their order.

        Pythia stores every varied scale first, in an order of its own, and the variations by name behind them.
        """
        names = [str(name) for name in self._pythia.infoPython().weightNameVector()]
        return [names.index(name) for name in SHOWER_VARIATION_NAMES]

    def cross_section_pb(self) -> tuple[float, float]:
        """Estimate the cross section after forced decays and lepton filter, and its uncertainty, so far.

        Pythia's own estimate contains the fraction of hard processes that the hook let pass, as a ratio of unweighted
        numbers. That fraction is taken out of each subprocess, and the filter's efficiency put in by weights: where
        large transverse momenta are oversampled the two differ.
        """
        info = self._pythia.infoPython()
        total = variance = 0.0
        for code in info.codesHard():
            if not info.nAccepted(code):
                continue
            passed = info.nAccepted(code) / info.nSelected(code)
            sigma = info.sigmaGen(code) * PB_PER_MB / passed
            relative = (info.sigmaErr(code) / info.sigmaGen(code)) ** 2 - (1 - passed) / info.nAccepted(code)
            total += sigma
            variance += sigma**2 * max(relative, 0.0)
        efficiency, relative_error = self._hook.filter_efficiency()
        return total * efficiency, total * efficiency * math.hypot(math.sqrt(variance) / total, relative_error)

    def description(self) -> str:
        """Name generator, version, order and tune."""
        version = self._pythia.parm("Pythia:versionNumber")  # codespell:ignore parm
        return f"Pythia {version:.3f} LO, Monash 2013, NNPDF2.3 LO"
