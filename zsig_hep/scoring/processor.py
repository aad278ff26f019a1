"""A coffea processor that scores events with a trained model and fills histograms by process and variation."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import hist
import numpy as np
from coffea.processor import ProcessorABC
from numpy.typing import NDArray

from zsig_hep.errors import InputError, nearest_name
from zsig_hep.ntuples.chunk import ChunkReader, SelectedChunk, VariedChunk, chunk_key
from zsig_hep.ntuples.processors import count_weights
from zsig_hep.ntuples.variations import DIRECTIONS, NOMINAL, varied_name
from zsig_hep.ntuples.weight_sets import VariedWeights, WeightSetVariation
from zsig_hep.scoring.scorer import Scorer, is_trained_on, require_same_folds, score_chunk

Floats = NDArray[np.float64]

# Names that the axis of a feature cannot have: those of the other axes, and keywords of `hist.Hist.fill`.
_TAKEN = ("process", "variation", "score", "weight", "sample", "threads")


class ScoreProcessor(ProcessorABC):  # type: ignore[misc]
    """Scores events and fills histograms: a processor for any coffea Runner, executor and schema.

    Events of a dataset of the training are scored by the networks that were not trained on their fold, all others by
    the whole ensemble.  The process is `metadata["process"]` of the fileset, or else the name of the dataset.  The
    output has

    - `histogram`: axes "process", "variation" ("nominal", "<name>Up", "<name>Down"), "score" and one for each feature
      in `axes`, with storage Weight. A variation is filled for the datasets of its processes: weight variations with
      the nominal scores, shape variations with events that are selected and scored again, one-sided ones as "<name>Up"
      only. Variations of whole yields are not filled.
    - `sums`: by dataset, the number and the exact sum of the generator weights of all events before any selection, for
      the normalisation: `float(sums[dataset].sum_of_weights)`.

    Args:
        reader: columns, weights and variations of the events, as in the training.
        scorer: the model, such as `OnnxScorer`.
        score_axis: axis of the score, named "score". Scores on its upper edge are filled into the last bin.
        axes: axes of features, named like these; an underscore at the end avoids the name of another axis.
        factors: yield per unit of weight, by dataset: cross section x luminosity / sum of generator weights. None fills
            the weights without normalisation.

    Raises:
        InputError: an axis has no name or the name of another axis, or a weight variation is not normalised to the nominal
            sum of weights.
        ModelFileError: events of the training could not be assigned to their folds.
    """

    def __init__(
        self,
        reader: ChunkReader,
        scorer: Scorer,
        *,
        score_axis: Any = None,
        axes: Sequence[Any] = (),
        factors: Mapping[str, float] | None = None,
    ) -> None:
        """Check reader, model and axes; nothing is read before `process`."""
        self.reader, self.scorer = reader, scorer
        self.score_axis = score_axis if score_axis is not None else hist.axis.Regular(50, 0.0, 1.0, name="score")
        self.axes = tuple(axes)
        self.factors = None if factors is None else dict(factors)
        _check_axes(self.score_axis, self.axes)
        require_same_folds(scorer, reader)
        _require_nominal_sums(reader)

    def process(self, events: Any) -> dict[str, Any]:
        """Score the events of a chunk and fill the histogram.

        Args:
            events: the chunk, with coffea's metadata.

        Returns:
            The histogram and the sums of generator weights.

        Raises:
            InputError: the chunk cannot be read, its dataset has no factor, an axis is no feature, or a feature is
                missing for which the model has no rule.
            ModelFileError: the columns lack a feature of the model.
        """
        dataset = chunk_key(events)[0]
        factor = self._factor(dataset)
        process = str(events.metadata.get("process", dataset))
        chunk = self.reader.read(events)
        trained_on = is_trained_on(self.scorer, dataset)
        histogram = self.empty_histogram()
        for selected, weights in _selections(chunk):
            scored = score_chunk(self.scorer, selected, trained_on=trained_on)
            score = _in_last_bin(scored.score, self.score_axis)
            values = [self._feature(selected, axis.name) for axis in self.axes]
            for variation, weight in weights:
                histogram.fill(process, variation, score, *values, weight=factor * weight)
        return {"histogram": histogram, "sums": {dataset: count_weights(chunk.generator_weight)}}

    def postprocess(self, accumulator: Any) -> Any:
        """Return the output unchanged."""
        return accumulator

    def empty_histogram(self) -> Any:
        """A histogram with all axes and no events."""
        return hist.Hist(
            hist.axis.StrCategory([], growth=True, name="process"),
            hist.axis.StrCategory([], growth=True, name="variation"),
            self.score_axis,
            *self.axes,
            storage=hist.storage.Weight(),
        )

    def _factor(self, dataset: str) -> float:
        if self.factors is None:
            return 1.0
        if dataset not in self.factors:
            msg = f"there is no factor for dataset {dataset!r}.{nearest_name(dataset, self.factors)}"
            raise InputError(msg)
        return self.factors[dataset]

    @staticmethod
    def _feature(selected: SelectedChunk, axis_name: str) -> NDArray[np.float32]:
        for name in (axis_name, axis_name.removesuffix("_")):
            if name in selected.features:
                return selected.features[name]
        msg = f"the axis {axis_name!r} is no feature of the columns.{nearest_name(axis_name, selected.features)}"
        raise InputError(msg)


def _selections(chunk: VariedChunk) -> Iterator[tuple[SelectedChunk, list[tuple[str, Floats]]]]:
    """Each selection of a chunk, with the names and weights of its variations."""
    weights = [(NOMINAL, chunk.nominal.weight)]
    for name, pair in chunk.weights.items():
        weights += [(varied_name(name, direction), weight) for direction, weight in zip(DIRECTIONS, pair, strict=True)]
    yield chunk.nominal, weights
    for name, selections in chunk.shapes.items():
        for direction, selected in zip(DIRECTIONS, selections, strict=True):
            if selected is not None:
                yield selected, [(varied_name(name, direction), selected.weight)]


def _in_last_bin(score: Floats, axis: Any) -> Floats:
    """Move scores on the upper edge into the last bin: bins are half-open, and the largest scores are 1."""
    return np.where(score == axis.edges[-1], axis.centers[-1], score)


def _require_nominal_sums(reader: ChunkReader) -> None:
    for variations in (reader.variations or {}).values():
        for name, variation in variations.items():
            if isinstance(variation, WeightSetVariation):
                msg = (
                    f"variation {name!r} is a set of weights, whose yields are combined when all chunks are filled: leave it "
                    "out of the variations of `chunk_reader`, or name its members as variations of `kind: weight`"
                )
                raise InputError(msg)
            if isinstance(variation, VariedWeights) and variation.normalise != "nominal":
                msg = (
                    f"variation {name!r} is normalised by the sums or yields of all chunks (normalise: {variation.normalise}), "
                    "which are not known when a chunk is filled: leave it out of the variations of `chunk_reader`"
                )
                raise InputError(msg)


def _check_axes(score_axis: Any, axes: Sequence[Any]) -> None:
    if score_axis.name != "score":
        msg = f"the axis of the score is called {score_axis.name!r}; its name must be 'score'"
        raise InputError(msg)
    names = [axis.name for axis in axes]
    for name in names:
        if not name:
            msg = "an axis has no name: hist.axis.Regular(..., name=FEATURE)"
            raise InputError(msg)
        if name in _TAKEN:
            msg = f"the name {name!r} is taken; call the axis {name + '_'!r}"
            raise InputError(msg)
        if names.count(name) > 1:
            msg = f"there is more than one axis {name!r}"
            raise InputError(msg)
