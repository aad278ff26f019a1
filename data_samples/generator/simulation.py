"""Pythia 8: the hard process, its decays, the parton shower and hadronisation."""

from typing import Any

import pythia8mc

from .errors import GeneratorError
from .processes import Process

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


class DileptonFilter(pythia8mc.UserHooks):
    """Keep hard processes with two muons or taus of pT > 15 GeV and |eta| < 2.5.

    The veto acts before the parton shower, which saves most of the time of events that no skim would keep. Pythia's
    `sigmaGen` already contains its efficiency.
    """

    # the names are Pythia's
    def canVetoProcessLevel(self) -> bool:
        """Announce the veto to Pythia."""
        return True

    def doVetoProcessLevel(self, process: Any) -> bool:
        """Veto a hard process with fewer than two such leptons; entries up to 4 are the beams and incoming partons."""
        leptons = 0
        for i in range(5, process.size()):
            particle = process[i]
            if (
                particle.isFinal()
                and particle.idAbs() in {13, 15}
                and particle.pT() > 15.0
                and abs(particle.eta()) < 2.5
            ):
                leptons += 1
        return leptons < 2


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

    def __init__(self, process: Process, seed: int, *, mpi: bool, shower_variations: bool) -> None:
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
        self._filter = DileptonFilter()  # Pythia keeps no reference of its own
        self._pythia.setUserHooksPtr(self._filter)
        if not self._pythia.init():
            message = "Pythia did not initialise; its own messages stand above"
            raise GeneratorError(message)

    def next_batch(self, size: int) -> Any:
        """Generate events.

        Returns:
            Awkward records with fields `prt` (particles) and `info` (weights, partons, scales).

        Raises:
            GeneratorError: Pythia returns no event at all.
        """
        events = self._pythia.nextBatch(size)
        if len(events) == 0:
            message = "Pythia failed to generate a single event of a batch; its own messages stand above"
            raise GeneratorError(message)
        return events

    def shower_weight_columns(self) -> list[int]:
        """Columns of the event weights that hold the variations of `SHOWER_VARIATION_NAMES`, in their order.

        Pythia stores every varied scale first, in an order of its own, and the variations by name behind them.
        """
        names = [str(name) for name in self._pythia.infoPython().weightNameVector()]
        return [names.index(name) for name in SHOWER_VARIATION_NAMES]

    def cross_section_pb(self) -> tuple[float, float]:
        """Estimate the cross section after forced decays and lepton filter, and its uncertainty, so far."""
        info = self._pythia.infoPython()
        return info.sigmaGen() * PB_PER_MB, info.sigmaErr() * PB_PER_MB

    def description(self) -> str:
        """Name generator, version, order and tune."""
        version = self._pythia.parm("Pythia:versionNumber")  # codespell:ignore parm
        return f"Pythia {version:.3f} LO, Monash 2013, NNPDF2.3 LO"
