"""Figures of merit by name: those that have a Lovasz loss, and why the others have none."""

from dataclasses import fields
from typing import Any

from zsig_hep.errors import TrainingError, nearest_name
from zsig_hep.learning import merits, uncertain_merits
from zsig_hep.learning.merits import Merit

MERITS: dict[str, type[Merit]] = {
    "s_over_sqrt_b": merits.SOverSqrtB,
    "s_over_b": merits.SOverB,
    "punzi": merits.Punzi,
    "asimov_squared": merits.AsimovSquared,
    "ams_squared": merits.AMSSquared,
    "asimov_squared_with_uncertainty": uncertain_merits.AsimovSquaredWithUncertainty,
    "s_squared_over_b": merits.SSquaredOverB,
    "s_squared_over_s_plus_b": merits.SSquaredOverSPlusB,
    "s_over_sqrt_b_with_uncertainty": uncertain_merits.SOverSqrtBWithUncertainty,
    "s_over_sqrt_b_with_uncertainty_of_b": uncertain_merits.SOverSqrtBWithUncertaintyOfB,
    "s_over_sqrt_b_with_process_uncertainties": uncertain_merits.SOverSqrtBWithProcessUncertainties,
}

_CONCAVE = "it bends downwards in the signal, so that losing the second signal event costs more than losing the first"

NOT_SUBMODULAR: dict[str, tuple[str, str]] = {
    "s_over_sqrt_s_plus_b": (_CONCAVE, "s_squared_over_s_plus_b"),
    "asimov": (_CONCAVE, "asimov_squared"),
    "ams": (_CONCAVE, "ams_squared"),
    "asimov_with_uncertainty": (_CONCAVE, "asimov_squared_with_uncertainty"),
    "log_s_over_sqrt_b": (_CONCAVE, "s_over_sqrt_b"),
    "log_asimov": (_CONCAVE, "asimov_squared"),
    "asimov_squared_with_constant_uncertainty": (
        "with a constant uncertainty it grows with the background where that is small and all but unknown",
        "asimov_squared_with_uncertainty",
    ),
}
"""Why a figure of merit has no Lovasz loss, and its submodular relative."""


def make_merit(figure: str, **options: Any) -> Merit:
    """Make a figure of merit from its name and the options that are not None.

    Args:
        figure: one of `MERITS`.
        options: `sigmas`, `relative_uncertainty`, `process_uncertainties`.

    Returns:
        The figure of merit.

    Raises:
        TrainingError: for a figure that is unknown or not submodular, and for options that it lacks or does not have.

    Example:
        >>> make_merit("punzi", sigmas=5.0)
        Punzi(sigmas=5.0)
    """
    if figure in NOT_SUBMODULAR:
        reason, relative = NOT_SUBMODULAR[figure]
        message = f"{figure} has no Lovasz loss: it is not submodular, because {reason}. Its relative {relative} is."
        raise TrainingError(message)
    if figure not in MERITS:
        message = f"Unknown figure of merit {figure!r} of the Lovasz loss.{nearest_name(figure, MERITS)}"
        raise TrainingError(message)
    merit = MERITS[figure]
    known = [field.name for field in fields(merit)]
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in known:
            message = f"The figure of merit {figure} has no option {name}; it has: {', '.join(known) or 'none'}."
            raise TrainingError(message)
    try:
        return merit(**given)
    except TypeError:
        missing = [name for name in known if name not in given]
        message = f"The figure of merit {figure} needs the option {missing[0]}."
        raise TrainingError(message) from None
