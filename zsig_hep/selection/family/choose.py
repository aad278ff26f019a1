"""The optimal score of a figure of merit: coefficients of the family, chosen on smooth yields."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from zsig_hep.errors import InputError
from zsig_hep.representation import ShortRepr
from zsig_hep.selection.events import ScoredEvents
from zsig_hep.selection.family.coefficients import FamilyCoefficients
from zsig_hep.selection.family.problem import FamilyProblem, Requirements
from zsig_hep.selection.family.search import Convergence, FoundCoefficients, search_coefficients
from zsig_hep.selection.family.smooth_yields import SmoothYields
from zsig_hep.selection.ratios import Floats, LikelihoodRatios
from zsig_hep.selection.settings import WorkingPointSettings
from zsig_hep.statistics.objective import Objective
from zsig_hep.statistics.process_table import ProcessTable, Role

RATIO_UNCERTAINTY = 0.05
"""Relative uncertainty of the ratios of trained networks, about their spread between the networks of different folds."""


@dataclass(frozen=True)
class FamilyChoice:
    """Coefficients that maximise a figure of merit, with the cut at which they do.

    The numbers are those of smooth yields on the events that chose them: they are not to be quoted. See
    `zsig_hep.selection.family.held_out`.

    Attributes:
        coefficients: of the score.
        status: "converged"; "flat": no coefficients are better than those of weighted cross entropy, which are returned;
            "at_edge": a coefficient is at the end of its range; "not_converged": the search was still gaining when it
            ended; "no_threshold_qualifies": no cut meets the requirements.
        reason: empty when converged; otherwise what was found and what to do.
        threshold: the cut on `coefficients.score`; None without one.
        smooth_significance: figure of merit there; None without a cut.
        smooth_significance_unweighted: figure of merit at the best cut on the logit; None without one.
        smooth_yields: yield of each process above the threshold, by name.
        smooth_shifts: standard deviation of the background above the threshold under each variation, in events, by name.
        signal_efficiency: smooth signal efficiency of the cut; None without one.
        evaluations: number of scores that were tried on all events.
    """

    coefficients: FamilyCoefficients
    status: Convergence
    reason: str = ""
    threshold: float | None = None
    smooth_significance: float | None = None
    smooth_significance_unweighted: float | None = None
    smooth_yields: Mapping[str, float] = field(default_factory=dict)
    smooth_shifts: Mapping[str, float] = field(default_factory=dict)
    signal_efficiency: float | None = None
    evaluations: int = 0


def choose_coefficients(
    smooth: SmoothYields,
    objective: Objective,
    requirements: Requirements | None = None,
    *,
    ratio_uncertainty: float = 0.0,
) -> FamilyChoice:
    """Choose the coefficients and the threshold that maximise a figure of merit of smooth yields.

    Args:
        smooth: smooth yields, of events or of the points of a quadrature.
        objective: figure of merit; the variations of the ratios add to its variance.
        requirements: on the cut.
        ratio_uncertainty: relative uncertainty of r_v - 1 over which the figure of merit is averaged; see
            `zsig_hep.selection.family.search`.

    Raises:
        InputError: the figure of merit and the ratios do not fit; see `FamilyProblem`.
    """
    problem = FamilyProblem(smooth, objective, requirements or Requirements())
    found = search_coefficients(problem, ratio_uncertainty)
    coefficients = _named(found.coefficients, smooth)
    unweighted = None if found.unweighted.last is None else found.unweighted.significance
    reason = _reason(found, smooth)
    if found.point.last is None:
        return FamilyChoice(coefficients, found.status, reason, evaluations=found.evaluations)
    processes, rows, yields = smooth.processes, len(smooth.processes), found.point.yields
    last_accepted = smooth.ratios.select(np.array([found.point.last]))
    signals = processes.rows("signal")
    return FamilyChoice(
        coefficients,
        found.status,
        reason,
        threshold=float(coefficients.score(last_accepted)[0]),
        smooth_significance=found.point.significance,
        smooth_significance_unweighted=unweighted,
        smooth_yields=dict(zip(processes.names, yields[:rows].tolist(), strict=True)),
        smooth_shifts=dict(
            zip(smooth.ratios.variation_names, np.hypot(*yields[rows:].reshape(2, -1)).tolist(), strict=True)
        ),
        signal_efficiency=float(yields[signals].sum() / smooth.totals[signals].sum()),
        evaluations=found.evaluations,
    )


def choose_for_events(events: ScoredEvents, settings: WorkingPointSettings) -> FamilyChoice:
    """`choose_coefficients` of scored events with ratios, and the figure of merit and requirements of settings.

    Args:
        events: with `ratios`; data are left out.
        settings: variations count only with `variations_in_figure`.

    Raises:
        InputError: the events have no ratios, or as `choose_coefficients`.
    """
    events = events.simulated
    ratios = ratios_of(events, settings)
    smooth = SmoothYields.of_events(ratios, events.weight, events.process, events.processes)
    needed = Requirements(
        settings.minimum_signal_efficiency, effective_background=settings.minimum_effective_background
    )
    return choose_coefficients(smooth, settings.objective, needed, ratio_uncertainty=RATIO_UNCERTAINTY)


def ratios_of(events: ScoredEvents, settings: WorkingPointSettings) -> LikelihoodRatios:
    """The ratios of scored events that a figure of merit depends on.

    Raises:
        InputError: the events have none.
    """
    if events.ratios is None:
        message = "The events have no likelihood ratios: pass `ratios` to ScoredEvents.from_arrays or of_table."
        raise InputError(message)
    return events.ratios if settings.variations_in_figure else events.ratios.only([])


@dataclass(frozen=True, eq=False, repr=False)
class OptimalScore(ShortRepr):
    """A score of the family for every event, and how it was chosen.

    Attributes:
        score: larger for signal, shape [N].
        choice: coefficients, threshold and smooth significance.
    """

    score: Floats
    choice: FamilyChoice


def optimal_score(
    logit: npt.ArrayLike,
    composition: npt.ArrayLike | None,
    ratios: Mapping[str, npt.ArrayLike] | None = None,
    *,
    weight: npt.ArrayLike,
    process: npt.ArrayLike,
    names: Sequence[str],
    roles: Sequence[Role],
    settings: WorkingPointSettings,
    signal_composition: npt.ArrayLike | None = None,
) -> OptimalScore:
    """The score whose cut maximises a figure of merit, from the outputs of any classifiers on held-out events.

    Args:
        logit: ln(p / (1 - p)) of a classifier of signal against background, trained with cross entropy and classes of
            the same total weight, shape [N].
        composition: share of each background, from a classifier of the backgrounds against one another with yields as
            weights, shape [N, B] in the order of `names`; None for a single background.
        ratios: varied over nominal background of each variation, by name, shape [N, 2] up and down or [N] for one
            direction; they count with `variations_in_figure`.
        weight: signed weights [events], shape [N].
        process: index into `names`, shape [N].
        names: names of the processes.
        roles: "signal" or "background" of each.
        settings: figure of merit, uncertainties and requirements on the cut.
        signal_composition: share of each signal, shape [N, S], for `signals` "mean" or "minimum".

    Returns:
        The score of each event, and the choice. Cut on it where held-out events say; the threshold of the choice is that
        of smooth yields.

    Raises:
        InputError: arrays do not fit each other, or the figure of merit does not fit the processes.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> process = np.repeat([0, 1, 2], 5000)
        >>> x = rng.normal(size=(15000, 2)) + np.array([[3, 3], [1.5, 3], [3, 1.5]])[process]
        >>> density = np.exp(-((x[:, None] - [[3, 3], [1.5, 3], [3, 1.5]]) ** 2).sum(-1) / 2)
        >>> found = optimal_score(
        ...     np.log(density[:, 0] / density[:, 1:].mean(1)), density[:, 1:] / density[:, 1:].sum(1, keepdims=True),
        ...     weight=np.array([0.02, 0.2, 0.2])[process], process=process, names=["signal", "easy", "uncertain"],
        ...     roles=["signal", "background", "background"], settings=WorkingPointSettings(
        ...         figure_of_merit="s_over_sqrt_b_with_uncertainty", simulation_uncertainty_in_figure=False,
        ...         background_uncertainties={"easy": 0.02, "uncertain": 0.3}))
        >>> c = found.choice.coefficients.backgrounds
        >>> found.choice.status, round(c["uncertain"] / c["easy"])
        ('converged', 3)
        >>> round(found.choice.smooth_significance / found.choice.smooth_significance_unweighted, 2)
        1.05
    """
    table = ProcessTable.of(names, roles)
    events = ScoredEvents.from_arrays(
        logit, weight, process, names=names, roles=roles,
        ratios=LikelihoodRatios.from_arrays(
            logit, composition, ratios, backgrounds=table.backgrounds, signal_composition=signal_composition,
            signals=table.signals,
        ),
    )  # fmt: skip
    choice = choose_for_events(events, settings)
    return OptimalScore(choice.coefficients.score(ratios_of(events, settings)), choice)


def _named(coefficients: Floats, smooth: SmoothYields) -> FamilyCoefficients:
    processes, variations = smooth.processes, smooth.ratios.variation_names
    of_process = dict(zip(processes.names, coefficients.tolist(), strict=False))
    odd, even = coefficients[len(processes) :].reshape(2, -1).tolist()
    return FamilyCoefficients(
        {name: of_process[name] for name in processes.backgrounds},
        {name: of_process[name] for name in processes.signals},
        {name: (a, b) for name, a, b in zip(variations, odd, even, strict=True)},
    )


def _reason(found: FoundCoefficients, smooth: SmoothYields) -> str:
    variations = smooth.ratios.variation_names
    columns = [*smooth.processes.names, *variations, *variations]
    edges = ", ".join(f"'{columns[row]}' ({found.coefficients[row]:.3g})" for row in found.at_edge)
    return {
        "converged": "",
        "flat": "no coefficients are better than weighted cross entropy for this figure of merit",
        "at_edge": f"the figure of merit rises to the end of the range of the coefficient of {edges}",
        "not_converged": "the search was still gaining when it ended",
        "no_threshold_qualifies": (
            "no cut has the required signal efficiency and background; lower the requirements or simulate more"
        ),
    }[found.status]
