"""The processes that can be simulated, as Pythia settings.

Leading order throughout, without k-factors. Leptonic decays are forced so that few events are generated in vain: the
branching ratios of W, Z and H are part of Pythia's cross section, that of the tau is applied as a weight
(`weights.tau_branching_factor`).
"""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from .errors import GeneratorError
from .thinning import ThinningName

SkimName = Literal["leptoquark", "hmumu", "hmumu_top_pairs"]

HIGGS_MASS_GEV = 125
B_TAG_VETO = 0.3
SLICE_PT_HAT_GEV = (250, 500)
"""A sample counts up to the pTHat (`Generator_binvar`) where the next slice of its process, `_pt<threshold>`, begins."""

SLICE_OVERLAP = 1.2

LEPTONIC_Z = ("23:onMode=off", "23:onIfAny=13 15")
LEPTONIC_W = ("24:onMode=off", "24:onIfAny=13 15")
MUONIC_Z = ("23:onMode=off", "23:onIfAny=13")
MUONIC_HIGGS = (f"25:m0={HIGGS_MASS_GEV}", "25:onMode=off", "25:onIfAny=13")
TOP_PAIR = ("Top:gg2ttbar=on", "Top:qqbar2ttbar=on", *LEPTONIC_W)
Z_AND_PARTON = ("WeakBosonAndParton:qqbar2gmZg=on", "WeakBosonAndParton:qg2gmZq=on")

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
        thinning: how hard processes are chosen to be showered, a key of `thinning.THINNINGS`; None showers all.
        untagged_below: draw b-tag scores below this value and weigh events accordingly (`detector.Detector`).
    """

    settings: tuple[str, ...]
    skim: SkimName = "leptoquark"
    signal_mass_gev: int | None = None
    negative_weight_fraction: float = 0.0
    thinning: ThinningName | None = None
    untagged_below: float | None = None


def biased(power: float, reference_gev: float = 100.0) -> tuple[str, ...]:
    """Oversample large pTHat as (pTHat / reference)**power, because selections live in the tails.

    The events carry the compensating weight, so that cross sections and spectra are unchanged.
    """
    return (
        "PhaseSpace:bias2Selection=on",
        f"PhaseSpace:bias2SelectionPow={power}",
        f"PhaseSpace:bias2SelectionRef={reference_gev}",
    )


def _slices(
    name: str, *settings: str, thresholds_gev: tuple[int, ...], negative_weight_fraction: float = 0.0
) -> dict[str, Process]:
    """Return one process in slices of pTHat: `<name>` from the bottom, `<name>_pt<threshold>` above each threshold.

    A slice reaches a fifth beyond the threshold of the next one, which replaces it there: where both have events, their
    yields can be compared.
    """
    slices = {}
    for place, threshold in enumerate((0, *thresholds_gev)):
        bounds = (f"PhaseSpace:pTHatMin={threshold}",) if threshold else ()
        if following := thresholds_gev[place : place + 1]:
            bounds += (f"PhaseSpace:pTHatMax={SLICE_OVERLAP * following[0]:g}",)
        slices[f"{name}_pt{threshold}" if threshold else name] = Process(
            (*settings, *bounds, *biased(2.0 + place, max(threshold, 100))),
            negative_weight_fraction=negative_weight_fraction,
            thinning="leptoquark_tail" if threshold else "leptoquark_bulk",
        )
    return slices


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
    "lq_m1400": _leptoquark_pair(1400),
    **_slices("ttbar", *TOP_PAIR, thresholds_gev=SLICE_PT_HAT_GEV),
    **_slices(
        "dy_m150",
        *Z_AND_PARTON,
        "23:mMin=150",
        *LEPTONIC_Z,
        "PhaseSpace:pTHatMin=50",
        thresholds_gev=SLICE_PT_HAT_GEV,
        negative_weight_fraction=DRELL_YAN_NEGATIVE_FRACTION,
    ),
    **_slices("ww", "WeakDoubleBoson:ffbar2WW=on", *LEPTONIC_W, thresholds_gev=SLICE_PT_HAT_GEV[:1]),
    **_slices("wz", "WeakDoubleBoson:ffbar2ZW=on", "23:mMin=30", *LEPTONIC_Z, thresholds_gev=SLICE_PT_HAT_GEV[:1]),
    **_slices("zz", "WeakDoubleBoson:ffbar2gmZgmZ=on", "23:mMin=30", thresholds_gev=SLICE_PT_HAT_GEV[:1]),
}

OTHER_LEPTOQUARKS: dict[str, Process] = {f"lq_m{mass}": _leptoquark_pair(mass) for mass in (800, 1000, 1200, 1600)}
"""Masses that no analysis reads."""

HMUMU_PROCESSES: dict[str, Process] = {
    "hmumu_vbf": _higgs_to_muons("HiggsSM:ff2Hff(t:ZZ)=on", "HiggsSM:ff2Hff(t:WW)=on"),
    "hmumu_ggf": _higgs_to_muons("HiggsSM:gg2H=on"),
    "hmumu_dy": Process(
        (*Z_AND_PARTON, "PhaseSpace:pTHatMin=30", "23:mMin=105", "23:mMax=160", *MUONIC_Z, *biased(1.0)),
        skim="hmumu",
    ),
    "hmumu_ttbar": Process(TOP_PAIR, skim="hmumu_top_pairs", thinning="hmumu_top_pair", untagged_below=B_TAG_VETO),
}

PROCESSES: dict[str, Process] = {**HMUMU_PROCESSES, **LEPTOQUARK_PROCESSES, **OTHER_LEPTOQUARKS}


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
