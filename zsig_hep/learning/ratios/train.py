"""Training of all ratios of an analysis."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from zsig_hep.errors import TrainingError
from zsig_hep.learning.ratios.ensemble import RatioEnsemble, RatioSample, train_ensemble
from zsig_hep.learning.ratios.targets import CompositionTarget, Floats, ShapeTarget, WeightTarget
from zsig_hep.learning.training.sample import TrainingSample, training_weights
from zsig_hep.learning.training.settings import TrainingSettings
from zsig_hep.learning.training.train import make_sample
from zsig_hep.ntuples.table import EventTable
from zsig_hep.ntuples.variations import (
    Direction,
    LuminosityVariation,
    NormalisationVariation,
    ShapeVariation,
    Variation,
    WeightVariation,
    varied_name,
)
from zsig_hep.ntuples.weight_sets import WeightSetVariation
from zsig_hep.representation import ShortRepr
from zsig_hep.statistics.process_table import ProcessTable

Features = npt.NDArray[np.float32]
Folds = npt.NDArray[np.integer]


@dataclass(frozen=True, eq=False, repr=False)
class TrainedRatios(ShortRepr):
    """Everything that turns features into the composition of the background and the ratios of variations.

    Attributes:
        processes: of the training, none of them data.
        feature_names: in the order of the networks' inputs.
        composition: networks of the composition; None for a single background.
        weights: networks of the weight variations; None without any.
        shapes: networks of the shape variations; None without any.
        scaled: factors (up, down) on each background of luminosity and normalisation variations, by name, shape [2, B];
            their ratios follow from the composition.
        weight_names: weight variations, in the order of the outputs, up and down each.
        shape_names: shape variations with their directions, in the order of the outputs.
        names: all variations, in their order.
    """

    processes: ProcessTable
    feature_names: tuple[str, ...]
    composition: RatioEnsemble | None
    weights: RatioEnsemble | None
    shapes: RatioEnsemble | None
    scaled: Mapping[str, Floats]
    weight_names: tuple[str, ...]
    shape_names: tuple[tuple[str, Direction], ...]
    names: tuple[str, ...]

    def of(self, features: Features, fold: Folds | None = None) -> tuple[Floats, dict[str, Floats]]:
        """The composition and the ratios of events.

        Args:
            features: shape [N, F], in the order of `feature_names`.
            fold: fold of each event, whose networks were not trained on it, shape [N]; None for events that no network was
                trained on, which all networks describe.

        Returns:
            f_k, shape [N, B]; and r_v up and down of each variation by name, shape [N, 2].
        """

        def outputs(ensemble: RatioEnsemble) -> Floats:
            return ensemble.of_new(features) if fold is None else ensemble.out_of_fold(features, fold)

        composition = np.ones((len(features), 1)) if self.composition is None else outputs(self.composition)
        found = {name: composition @ factors.T for name, factors in self.scaled.items()}
        if self.weights is not None:
            pairs = outputs(self.weights).reshape(len(features), -1, 2)
            found |= {name: pairs[:, index] for index, name in enumerate(self.weight_names)}
        if self.shapes is not None:
            columns = outputs(self.shapes)
            found |= {name: self._of_shape(name, columns) for name in dict(self.shape_names)}
        return composition, {name: found[name] for name in self.names}

    def _of_shape(self, name: str, columns: Floats) -> Floats:
        up = columns[:, self.shape_names.index((name, "up"))]
        two_sided = (name, "down") in self.shape_names
        down = columns[:, self.shape_names.index((name, "down"))] if two_sided else 2 - up
        return np.stack([up, down], axis=1)


def train_ratios(
    table: EventTable,
    settings: TrainingSettings,
    variations: Mapping[str, Variation] | None = None,
    shapes: Mapping[str, EventTable] | None = None,
) -> TrainedRatios:
    """Train the composition of the background and the ratios of all variations.

    Three ensembles of the recipe of the classifier, each with all its outputs in one network: the composition, the weight
    variations, and the shape variations. Variations that do not touch a background get no network, and neither do sets of
    weights, whose largest shift is not a function of the event.

    Args:
        table: events with features, weights and folds; data are left out.
        settings: of the training of the classifier; ratios are trained in its phase `warm_start`.
        variations: expanded variations, by name.
        shapes: events under each direction of a shape variation, by varied name such as "jesUp".

    Raises:
        TrainingError: for events or settings that cannot be trained on, or a missing table of a variation.
    """
    sample = make_sample(table, settings)
    background = RatioSample.of_backgrounds(sample)
    touching = {name: each for name, each in (variations or {}).items() if _touches(each, sample.processes)}
    of_weights = {name: each for name, each in touching.items() if isinstance(each, WeightVariation)}
    of_shapes = {name: each for name, each in touching.items() if isinstance(each, ShapeVariation)}
    shape_names = _shape_names(of_shapes, shapes or {})
    return TrainedRatios(
        sample.processes,
        sample.feature_names,
        _train_composition(background, settings),
        _train_weights(background, table.simulated, of_weights, settings) if of_weights else None,
        _train_shapes(background, shapes or {}, of_shapes, shape_names, settings) if of_shapes else None,
        {
            name: _factors(each, sample.processes)
            for name, each in touching.items()
            if isinstance(each, LuminosityVariation | NormalisationVariation)
        },
        tuple(of_weights),
        shape_names,
        tuple(touching),
    )


def _touches(variation: Variation, processes: ProcessTable) -> bool:
    if isinstance(variation, WeightSetVariation):
        return False
    return variation.processes is None or any(name in processes.backgrounds for name in variation.processes)


def _touched(variation: Variation, processes: ProcessTable) -> npt.NDArray[np.bool_]:
    """Which processes a variation touches, shape [P]."""
    return np.array([variation.processes is None or name in variation.processes for name in processes.names])


def _factors(variation: LuminosityVariation | NormalisationVariation, processes: ProcessTable) -> Floats:
    touched = _touched(variation, processes)[processes.is_background]
    return np.where(touched, np.array(variation.factors)[:, None], 1.0)


def _train_composition(background: RatioSample, settings: TrainingSettings) -> RatioEnsemble | None:
    rows = background.nominal.processes.rows("background")
    if len(rows) == 1:
        return None
    label = np.searchsorted(rows, background.process)
    return train_ensemble(background, CompositionTarget(torch.from_numpy(label), len(rows)), settings)


def _train_weights(
    background: RatioSample, table: EventTable, variations: Mapping[str, WeightVariation], settings: TrainingSettings
) -> RatioEnsemble:
    chosen = ~background.nominal.is_signal
    nominal = table.weight[chosen]
    columns = []
    for name, variation in variations.items():
        touched = _touched(variation, background.nominal.processes)[table.process[chosen]]
        columns += [np.where(touched, each[chosen], nominal) for each in table.weight_variations[name]]
    # The ratio of signed weights is that of the event; it is weighted with the weights of the training.
    varied = np.stack(columns, axis=1)
    ratio = np.divide(varied, nominal[:, None], where=nominal[:, None] != 0, out=np.ones_like(varied))
    target = WeightTarget.of_weights(ratio * background.weights[:, None], background.weights)
    return train_ensemble(background, target, settings)


def _shape_names(
    variations: Mapping[str, ShapeVariation], shapes: Mapping[str, EventTable]
) -> tuple[tuple[str, Direction], ...]:
    names: list[tuple[str, Direction]] = []
    for name, variation in variations.items():
        directions: tuple[Direction, ...] = ("up",) if variation.one_sided else ("up", "down")
        for direction in directions:
            if varied_name(name, direction) not in shapes:
                message = f"There are no events under {varied_name(name, direction)}, which variation '{name}' needs."
                raise TrainingError(message)
            names.append((name, direction))
    return tuple(names)


def _train_shapes(
    background: RatioSample,
    shapes: Mapping[str, EventTable],
    variations: Mapping[str, ShapeVariation],
    names: tuple[tuple[str, Direction], ...],
    settings: TrainingSettings,
) -> RatioEnsemble:
    nominal, sample = background.nominal, background
    for number, (name, direction) in enumerate(names, start=1):
        shifted = _shifted(shapes[varied_name(name, direction)], variations[name], nominal, settings)
        sample = sample.with_shifted(number, shifted.features, shifted.weights, shifted.process, shifted.fold)
    return train_ensemble(sample, ShapeTarget(torch.from_numpy(sample.shift), len(names)), settings)


def _shifted(
    table: EventTable, variation: ShapeVariation, nominal: TrainingSample, settings: TrainingSettings
) -> TrainingSample:
    """Background events under a shape variation: of the processes that it touches, and nominal events of all others."""
    columns = [table.feature_names.index(name) for name in nominal.feature_names]
    touched = _touched(variation, nominal.processes) & nominal.processes.is_background
    rows = np.flatnonzero(touched)
    names = tuple(nominal.processes.names[row] for row in rows)
    of_table = np.array([nominal.processes.names.index(name) if name in names else -1 for name in table.process_names])
    process = of_table[table.process]
    inside, untouched = process >= 0, ~touched[nominal.process]
    weights = training_weights(
        table.weight[inside], np.searchsorted(rows, process[inside]), names, settings.negative_weights
    )
    return TrainingSample(
        np.concatenate([table.features[inside][:, columns], nominal.features[untouched]]),
        nominal.feature_names,
        np.concatenate([weights, nominal.weights[untouched]]),
        np.concatenate([process[inside], nominal.process[untouched]]),
        nominal.yields,
        np.concatenate([table.fold[inside].astype(np.int64), nominal.fold[untouched]]),
        nominal.fold_count,
        nominal.processes,
    )
