"""Options of tests that work out scans and cuts by hand: exact yields, and one partition of the events."""

from zsig_hep.selection import WorkingPointSettings

EXACT_YIELDS = {
    "simulation_uncertainty_in_figure": False,
    "minimum_effective_background": 10,
    "dominant_background_fraction": 0.1,
    "partitions": 1,
}


def exact_yields(**given):
    """Settings without the variance of the simulation in the figure of merit and with one partition, but for what is given."""
    return WorkingPointSettings.model_validate(EXACT_YIELDS | given)
