"""The processes that can be simulated, as Pythia settings.

Leading order throughout, without k-factors. Leptonic decays are forced so that few events are generated in vain: the
branching ratios of W, Z and H are part of Pythia's cross section, that of the tau is applied as a weight
(`weights.tau_branching_factor`).
"""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from .errors import GeneratorError

SkimName = Literal["leptoquark", "hmumu"]

LEPTOQUARK_MASSES_GEV = (800, 1000, 1200, 1400, 1600)
HIGGS_MASS_GEV = 125
STITCH_PT_HAT_GEV = 250
"""The inclusive samples count below this pTHat (`Generator_binvar`) and the `_pt250` samples above it."""

LEPTONIC_Z = ("23:onMode=off", "23:onIfAny=13 15")
LEPTONIC_W = ("24:onMode=off", "24:onIfAny=13 15")
MUONIC_Z = ("23:onMode=off", "23:onIfAny=13")
MUONIC_HIGGS = (f"25:m0={HIGGS_MASS_GEV}", "25:onMode=off", "25:onIfAny=13")
TOP_PAIR = ("Top:gg2ttbar=on", "Top:qqbar2ttbar=on", *LEPTONIC_W)
Z_AND_PARTON = ("WeakBosonAndParton:qqbar2gmZg=on", "WeakBosonAndParton:qg2gmZq=on")
STITCHED_TAIL = (f"PhaseSpace:pTHatMin={STITCH_PT_HAT_GEV}",)

DRELL_YAN_NEGATIVE_FRACTION = 0.16
"""A value inside the 13-22 % of negative weights that next-to-leading-order Drell-Yan samples carry."""


@dataclass(frozen=True)
class Process:
    """One hard process and how its events are kept.

    Attributes:
        settings: Pythia commands, in the order in which they are given to it.
        skim: the name of the preselection in `skims.SKIMS`.
        signal_mass_gev: the mass of the sought particle; None for backgrounds.
        negative_weight_fraction: probability of an emulated negative weight, in [0, 0.5).
    """

    settings: tuple[str, ...]
    skim: SkimName = "leptoquark"
    signal_mass_gev: int | None = None
    negative_weight_fraction: float = 0.0


def biased(power: float, reference_gev: float = 100.0) -> tuple[str, ...]:
    """Oversample large pTHat as (pTHat / reference)**power, because selections live in the tails.

    The events carry the compensating weight, so that cross sections and spectra are unchanged.
    """
    return (
        "PhaseSpace:bias2Selection=on",
        f"PhaseSpace:bias2SelectionPow={power}",
        f"PhaseSpace:bias2SelectionRef={reference_gev}",
    )


def _drell_yan(*phase_space: str) -> Process:
    return Process(
        settings=(*Z_AND_PARTON, *phase_space),
        negative_weight_fraction=DRELL_YAN_NEGATIVE_FRACTION,
    )


def _leptoquark_pair(mass_gev: int) -> Process:
    """Second-generation scalar leptoquarks with branching fraction one to a muon and a charm quark."""
    return Process(
        settings=(
            "LeptoQuark:gg2LQLQbar=on",
            "LeptoQuark:qqbar2LQLQbar=on",
            f"42:m0={mass_gev}",
            "42:oneChannel = 1 1.0 0 4 13",
        ),
        signal_mass_gev=mass_gev,
    )


def _higgs_to_muons(*production: str) -> Process:
    return Process(settings=(*production, *MUONIC_HIGGS), skim="hmumu", signal_mass_gev=HIGGS_MASS_GEV)


LEPTOQUARK_PROCESSES: dict[str, Process] = {
    "ttbar": Process((*TOP_PAIR, *biased(1.0))),
    "ttbar_pt250": Process((*TOP_PAIR, *STITCHED_TAIL, *biased(2.0, 250.0))),
    "dy_m50to150": _drell_yan("PhaseSpace:pTHatMin=50", "23:mMin=50", "23:mMax=150", *LEPTONIC_Z, *biased(1.5)),
    "dy_m150": _drell_yan("PhaseSpace:pTHatMin=50", "23:mMin=150", *LEPTONIC_Z, *biased(1.5)),
    "dy_m150_pt250": _drell_yan("23:mMin=150", *LEPTONIC_Z, *STITCHED_TAIL, *biased(2.0, 250.0)),
    "ww": Process(("WeakDoubleBoson:ffbar2WW=on", *LEPTONIC_W, *biased(1.0))),
    "wz": Process(("WeakDoubleBoson:ffbar2ZW=on", "23:mMin=30", *LEPTONIC_Z, *biased(1.0))),
    "zz": Process(("WeakDoubleBoson:ffbar2gmZgmZ=on", "23:mMin=30", *biased(1.0))),
    **{f"lq_m{mass}": _leptoquark_pair(mass) for mass in LEPTOQUARK_MASSES_GEV},
}

HMUMU_PROCESSES: dict[str, Process] = {
    "hmumu_vbf": _higgs_to_muons("HiggsSM:ff2Hff(t:ZZ)=on", "HiggsSM:ff2Hff(t:WW)=on"),
    "hmumu_ggf": _higgs_to_muons("HiggsSM:gg2H=on"),
    "hmumu_dy": Process(
        (*Z_AND_PARTON, "PhaseSpace:pTHatMin=30", "23:mMin=105", "23:mMax=160", *MUONIC_Z, *biased(1.0)),
        skim="hmumu",
    ),
    "hmumu_ttbar": Process(TOP_PAIR, skim="hmumu"),
}

PROCESSES: dict[str, Process] = {**HMUMU_PROCESSES, **LEPTOQUARK_PROCESSES}


def process_named(name: str) -> Process:
    """Look a process up.

    Raises:
        GeneratorError: no process has this name; the message offers the nearest ones.
    """
    if name in PROCESSES:
        return PROCESSES[name]
    close = get_close_matches(name, PROCESSES, n=3)
    remedy = f"Did you mean {' or '.join(close)}?" if close else f"There are: {', '.join(sorted(PROCESSES))}."
    message = f"unknown process {name!r}. {remedy}"
    raise GeneratorError(message)
