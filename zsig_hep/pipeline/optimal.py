"""The optimal score of an analysis: from trained ratios to what is quoted of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zsig_hep.learning import RatioModel, TrainedEnsemble
from zsig_hep.ntuples import EventTable
from zsig_hep.ntuples.variations import Variation
from zsig_hep.pipeline.plain import plain
from zsig_hep.representation import ShortRepr
from zsig_hep.selection import (
    Closure,
    Comparison,
    HeldOutFamily,
    LikelihoodRatios,
    ScoredClassifier,
    ScoredEvents,
    WorkingPointSettings,
    closure_of,
    compare_classifiers,
    hold_out_family,
    varied_events,
    without_variations,
)

OPTIMAL = "optimal"
"""Name of the optimal score among the classifiers."""
OPTIMAL_LABEL = "optimal score"
UNWEIGHTED = "unweighted"
"""Name of the score with all coefficients one, the logit of the cross entropy."""

JsonDict = dict[str, Any]


@dataclass(frozen=True, eq=False, repr=False)
class OptimalSelection(ShortRepr):
    """The optimal score of an analysis.

    Attributes:
        held_out: coefficients and cuts, chosen on other folds than they are quoted on.
        closure: of all ratios.
        left_out: variations whose ratios do not close; they are in the figure of merit but not in the score.
        comparison: optimal score minus that with all coefficients one.
    """

    held_out: HeldOutFamily
    closure: Closure
    left_out: tuple[str, ...]
    comparison: Comparison

    @property
    def notes(self) -> list[str]:
        """Sentences on ratios that do not close and on coefficients that could not be chosen well."""
        notes = []
        if self.left_out:
            notes.append(
                f"Optimal score: the ratios of {', '.join(self.left_out)} do not close and are left out of the score; in "
                "the figure of merit these variations remain."
            )
        directions = {f"{name}{side}" for name in self.left_out for side in ("Up", "Down")}
        processes = [name for name in self.closure.failing if name not in directions]
        if processes:
            notes.append(
                f"Optimal score: the density ratios of {', '.join(processes)} do not close, so that its coefficients need "
                "not be the best ones. What is quoted is counted and does not depend on this. More epochs in "
                "`training.warm_start` or more simulated events can help."
            )
        reasons = dict.fromkeys(each.reason for each in self.held_out.choices if each.reason)
        notes += [f"Optimal score: {reason}." for reason in reasons]
        return notes


def scored_with_ratios(
    table: EventTable,
    variations: Mapping[str, Variation],
    shapes: Mapping[str, EventTable],
    classifier: TrainedEnsemble,
    model: RatioModel,
) -> ScoredEvents:
    """The events with their out-of-fold ratios, nominal and under all variations, and the calibrated logit as score.

    Args:
        table: the selected events.
        variations: expanded variations, by name.
        shapes: events under each direction of a shape variation, by varied name.
        classifier: the one that the calibrations of the model belong to.
        model: trained ratios.
    """
    logits = model.logits(classifier)

    def ratios_of(events: EventTable) -> LikelihoodRatios:
        features = events.features[:, classifier.columns_of(events.feature_names)]
        composition, ratios = model.ratios.of(features, events.fold)
        return LikelihoodRatios.from_arrays(
            logits.out_of_fold(features, events.fold),
            composition,
            ratios,
            backgrounds=model.ratios.processes.backgrounds,
        )

    nominal, of_shapes = ratios_of(table), {name: ratios_of(each) for name, each in shapes.items()}
    scores = {name: each.logit for name, each in of_shapes.items()}
    varied = varied_events(table, variations, nominal.logit, shapes, scores, ratios=nominal, shape_ratios=of_shapes)
    return ScoredEvents.of_table(table, nominal.logit, varied, ratios=nominal)


def select_optimally(
    events: ScoredEvents, settings: WorkingPointSettings, generator: np.random.Generator
) -> OptimalSelection:
    """Choose the optimal score and its cuts with the ratios that close, and compare it with weighted cross entropy.

    Closure is tested with all events; it says nothing about their significance.

    Args:
        events: with out-of-fold ratios, nominal and varied.
        settings: figure of merit and requirements.
        generator: random generator of the bootstrap of the comparison.

    Raises:
        InputError: the events have no ratios, or cannot be scanned.
    """
    closure = closure_of(events)
    left_out: tuple[str, ...] = ()
    if events.ratios is not None:
        kept = without_variations(events.ratios, closure.failing)
        left_out = tuple(name for name in events.ratios.variation_names if name not in kept.variation_names)
        events = replace(events, ratios=kept)
    held_out = hold_out_family(events, settings)
    compared = [
        ScoredClassifier(OPTIMAL, held_out.events, held_out.point),
        ScoredClassifier(UNWEIGHTED, held_out.unweighted_events, held_out.unweighted),
    ]
    (comparison,) = compare_classifiers(compared, settings, generator)
    return OptimalSelection(held_out, closure, left_out, comparison)


def optimal_summary(found: OptimalSelection) -> JsonDict:
    """What is quoted of the optimal score besides its row among the classifiers, as JSON."""
    held_out = found.held_out
    coefficients = [choice.coefficients for choice in held_out.choices]
    first = coefficients[0]
    return {
        "coefficients": {
            "backgrounds": {
                name: _over_folds([c.backgrounds[name] for c in coefficients]) for name in first.backgrounds
            },
            "variations": {
                name: {
                    shift: _over_folds([c.variations[name][index] for c in coefficients])
                    for index, shift in enumerate(("odd", "even"))
                }
                for name in first.variations
            },
        },
        "statuses": [choice.status for choice in held_out.choices],
        "unweighted": plain(held_out.unweighted),
        "smooth_gain": held_out.smooth_gain,
        "comparison": plain(found.comparison),
        "closure": [
            {
                "name": row.name,
                "counted": float(row.counted.sum()),
                "reweighted": float(row.reweighted.sum()),
                "probability": row.probability,
                "largest_deviation": row.largest_deviation,
                "status": row.status,
            }
            for row in found.closure.rows
        ],
        "left_out": list(found.left_out),
        "notes": found.notes,
    }


def ratio_training_summary(model: RatioModel) -> JsonDict:
    """Size of the training of the ratios, in the form of that of a classifier."""
    ratios = model.ratios
    trained = [each for each in (ratios.composition, ratios.weights, ratios.shapes) if each is not None]
    return {
        "loss": "likelihood ratios",
        "members": sum(len(each.member_fold) for each in trained),
        "epochs": max((len(each.validation_loss) for each in trained), default=0),
        "collapsed_members": 0,
        "advice": "",
        "input_hash": model.input_hash,
        "rounds": [],
    }


def _over_folds(values: Sequence[float]) -> JsonDict:
    """The coefficient of each fold, their mean and their standard deviation."""
    return {"by_fold": list(values), "mean": float(np.mean(values)), "spread": float(np.std(values, ddof=1))}
