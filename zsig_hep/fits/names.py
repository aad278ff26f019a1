"""What processes and variations are called in fits, which the settings tell before any event is read."""

from collections.abc import Mapping, Sequence

from zsig_hep.fits.build import IN_FITS
from zsig_hep.fits.combine_datacard import SIGNAL_STRENGTH
from zsig_hep.fits.pyhf_workspace import LUMINOSITY_PARAMETER
from zsig_hep.fits.templates import histogram_problems
from zsig_hep.names import identifiers, mapped_notes
from zsig_hep.ntuples.variations import VariationKind


def fit_name_notes(processes: Sequence[str], variations: Sequence[str]) -> list[str]:
    """One sentence for each name that is another in ROOT histograms and fit inputs.

    Args:
        processes: names of the simulated processes.
        variations: names of the variations, uncorrelated ones with that of their process.

    Example:
        >>> fit_name_notes(["ZZ*", "dy"], ["jes"])[0][:34]
        "process 'ZZ*' is called 'ZZ_' in R"
    """
    kinds = {"process": processes, "variation": variations}
    return [note for kind, names in kinds.items() for note in mapped_notes(kind, identifiers(names), IN_FITS)]


def fit_name_problems(
    processes: Sequence[str], variations: Mapping[str, VariationKind], signal_strength: str
) -> list[str]:
    """Names that fits cannot tell from others, one sentence each.

    Args:
        processes: names of the simulated processes.
        variations: kind of each variation by name, uncorrelated ones with the name of their process.
        signal_strength: name of the parameter of interest.

    Example:
        >>> fit_name_problems(["dy"], {"mu": "shape"}, "mu")
        ["variation 'mu' has the name of the signal strength in fits; rename the variation"]
    """
    used = identifiers(variations)
    taken = {signal_strength: "signal strength", SIGNAL_STRENGTH: "signal strength of Combine"}
    problems = []
    for name, kind in variations.items():
        others = taken if kind == "luminosity" else taken | {LUMINOSITY_PARAMETER: "luminosity"}
        if (other := others.get(used[name])) is not None:
            problems.append(f"variation {name!r} has the name of the {other} in fits; rename the variation")
    return problems + histogram_problems(list(identifiers(processes).values()), list(used.values()))
