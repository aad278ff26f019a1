"""One chunk of events, selected and weighted, nominally and under each variation; used by all processors."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from coffea.analysis_tools import Weights
from numpy.typing import NDArray

from zsig_hep.errors import InputError, ZsigError, first_line
from zsig_hep.ntuples.columns import flat_branch, has_branch, is_reading_error, select_columns
from zsig_hep.ntuples.datasets import SignOf, Weight, weight_branches
from zsig_hep.ntuples.identity import hash_content, hash_identity
from zsig_hep.ntuples.luminosity import LuminosityMask
from zsig_hep.ntuples.preselection import preselect
from zsig_hep.ntuples.variations import DIRECTIONS, ShapeVariation, Variation, WeightVariation, varied_name
from zsig_hep.ntuples.varied_sums import VariedSums
from zsig_hep.ntuples.weight_factors import scale_factors, set_factors, set_lengths, weight_factors
from zsig_hep.ntuples.weight_sets import VariedWeights, WeightSetVariation

ChunkKey = tuple[str, str, str, int, int]
"""Dataset, file, tree, first entry and entry after the last."""

Columns = Callable[..., Any] | Sequence[str]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SelectedChunk:
    """The S selected events of a chunk of N events.

    Attributes:
        features: f4 [S] by name.
        cuts: names and cumulative masks, bool [N] each, in order of application.
        weight: f8 [S], before normalisation.
        identity: u8 [S], hash of the branches that identify an event and of the name of the dataset, or of the content.
        selected: bool [N]; None when there is no selection.
        scale_factors: factors of the columns on the weights of the N events, already in `weight`; None without.
    """

    features: dict[str, NDArray[np.float32]]
    cuts: tuple[tuple[str, NDArray[np.bool_]], ...]
    weight: Floats
    identity: NDArray[np.uint64]
    selected: NDArray[np.bool_] | None
    scale_factors: Weights | None = None

    def __len__(self) -> int:
        """Number of selected events."""
        return len(self.weight)


@dataclass(frozen=True)
class VariedChunk:
    """A chunk of N events, nominally and under the variations of its dataset.

    Attributes:
        nominal: the nominal selection.
        weights: weights of the nominal selection under each weight variation, up and down, or under each element of a set,
            f8 [S] each.
        shapes: selections under each shape variation, up and down; down is None for a one-sided variation.
        generator_weight: f8 [N] of all events.
        event_weight: f8 [N] of all events, before normalisation; the same array if there are no other factors.
        varied_sums: sums over all events under the weight variations that are normalised to them, by name.
        set_lengths: numbers of elements of the branch of each set of weights, by name.
    """

    nominal: SelectedChunk
    weights: dict[str, tuple[Floats, ...]]
    shapes: dict[str, tuple[SelectedChunk, SelectedChunk | None]]
    generator_weight: Floats
    event_weight: Floats
    varied_sums: dict[str, VariedSums] = field(default_factory=dict)
    set_lengths: dict[str, list[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class ChunkReader:
    """Selects and weights the events of chunks; can be pickled, so that any executor can use it.

    Attributes:
        columns: `columns(events)`, which returns features by name, (features, cuts) or (features, cuts, weights) with
            coffea's `Weights`, whose product multiplies the event weight; or names of flat branches. With shape variations it is also called as `columns(events, "<name>Up")`.
        weights: event weight by dataset, None for unweighted.
        event_identity: branches that identify an event in a file, or "content".
        variations: by dataset and name; only weight and shape variations are used.
        weight_functions: loaded `function` of weight variations, by name of the variation.
        luminosity_masks: of data, by dataset.
        identity_names: by dataset, the name that is part of the identity of its events; by default its own.
        data_names: names of the datasets that are recorded data.
        triggers: by dataset, branches of which one must be true, and branches of which none may be.
        preselection: which events are read where the columns are branches, as in the analysis file.
    """

    columns: Columns
    weights: Mapping[str, Weight | None]
    event_identity: Sequence[str] | Literal["content"] = ("run", "luminosityBlock", "event")
    variations: Mapping[str, Mapping[str, Variation]] | None = None
    weight_functions: Mapping[str, Callable[[Any], Any]] | None = None
    luminosity_masks: Mapping[str, LuminosityMask] | None = None
    identity_names: Mapping[str, str] | None = None
    data_names: Collection[str] = ()
    triggers: Mapping[str, tuple[Sequence[str], Sequence[str]]] | None = None
    preselection: str | None = None

    def read(self, events: Any) -> VariedChunk:
        """Select and weight the events of a chunk.

        Args:
            events: the chunk, with coffea's metadata.

        Returns:
            The selected events, nominally and under each variation.

        Raises:
            InputError: the chunk cannot be read or does not fit into memory, a weight or factor is not finite, or the
                columns cannot be used.
        """
        key = chunk_key(events)
        where = f"dataset {key[0]!r}, file {key[1]}"
        try:
            return self._read(events, key, where)
        except ZsigError:
            raise
        except MemoryError as error:
            msg = (
                f"{where}: memory is too short for the chunk ({first_line(error)}): reduce chunk_size, or use fewer "
                "workers. If the number is absurd, the file is damaged"
            )
            raise InputError(msg) from error
        except Exception as error:
            if not is_reading_error(error):
                raise
            msg = f"{where} cannot be read, it may be truncated or damaged: {first_line(error)}"
            raise InputError(msg) from error

    def _read(self, events: Any, key: ChunkKey, where: str) -> VariedChunk:
        generator, weight = self._weights(events, key, where)
        nominal = self._select(events, key, weight, where, variation=None, first=self._first_cuts(events, key, where))
        variations = (self.variations or {}).get(key[0], {})
        weights: dict[str, tuple[Floats, ...]] = {}
        shapes: dict[str, tuple[SelectedChunk, SelectedChunk | None]] = {}
        sums: dict[str, VariedSums] = {}
        full = weight if nominal.scale_factors is None else weight * nominal.scale_factors.weight()
        for name, variation in variations.items():
            if isinstance(variation, VariedWeights):
                factors = self._factors(events, name, variation, nominal, where)
                weights[name] = tuple(self._varied(nominal, factor) for factor in factors)
                if variation.own_sums == "events":
                    sums[name] = VariedSums.of(full if _replaces_a_factor(variation) else generator, factors)
            elif isinstance(variation, ShapeVariation):
                up, down = (varied_name(name, direction) for direction in DIRECTIONS)
                shapes[name] = (
                    self._select(events, key, weight, where, up),
                    None if variation.one_sided else self._select(events, key, weight, where, down),
                )
        lengths = {
            name: set_lengths(events, variation)
            for name, variation in variations.items()
            if isinstance(variation, WeightSetVariation)
        }
        return VariedChunk(nominal, weights, shapes, generator, full, sums, lengths)

    def _factors(
        self, events: Any, name: str, variation: VariedWeights, nominal: SelectedChunk, where: str
    ) -> tuple[Floats, ...]:
        if isinstance(variation, WeightSetVariation):
            return set_factors(events, name, variation, where)
        if not isinstance(variation, WeightVariation):
            raise TypeError(variation)
        if variation.scale_factor is not None:
            return scale_factors(nominal.scale_factors, name, variation.scale_factor, where)
        return weight_factors(events, name, variation, (self.weight_functions or {}).get(name), where)

    def _first_cuts(self, events: Any, key: ChunkKey, where: str) -> list[tuple[str, NDArray[np.bool_]]]:
        """Cuts of the analysis file, each with those before it."""
        cuts: list[tuple[str, NDArray[np.bool_]]] = []
        if (mask := (self.luminosity_masks or {}).get(key[0])) is not None:
            cuts.append(("luminosity mask", mask.certified(events, where)))
        if (triggers := (self.triggers or {}).get(key[0])) is not None:
            fired = triggered(events, *triggers, where)
            cuts.append(("triggers", fired & cuts[-1][1] if cuts else fired))
        return cuts

    @staticmethod
    def _varied(nominal: SelectedChunk, factor: Floats) -> Floats:
        kept = factor if nominal.selected is None else factor[nominal.selected]
        return np.asarray(nominal.weight * kept)

    def _select(
        self,
        events: Any,
        key: ChunkKey,
        weight: Floats,
        where: str,
        variation: str | None,
        first: Sequence[tuple[str, NDArray[np.bool_]]] = (),
    ) -> SelectedChunk:
        place = where if variation is None else f"{where}, variation {variation!r}"
        preselected = None
        if self.preselection is not None:
            preselected = preselect(
                self.preselection, lambda branch: flat_branch(events, branch, place), len(events), place
            )
        found = select_columns(self.columns, events if preselected is None else events[preselected], place, variation)
        features = found.features
        cuts = found.cuts if preselected is None else (("preselection", preselected),)
        if first:
            passed = first[-1][1]
            columns_selected = found.selected if preselected is None else preselected
            rows = passed if columns_selected is None else passed[columns_selected]
            features = {name: column[rows] for name, column in features.items()}
            cuts = (*first, *((name, mask & passed) for name, mask in cuts))
        selected = cuts[-1][1] if cuts else None
        chosen = slice(None) if selected is None else selected
        kept = weight[chosen]
        if found.weights is not None:
            factor = np.asarray(found.weights.weight(), np.float64)
            if key[0] in self.data_names and (factor != 1).any():
                msg = (
                    f"{place}: columns(events) weights recorded data, whose events count as one each: return no weights"
                )
                raise InputError(msg)
            kept = kept * factor[chosen]
        if not len(kept):
            identity = np.empty(0, dtype=np.uint64)
        elif self.event_identity == "content":
            identity = hash_content(list(features.values()), kept)
        else:
            branches = [flat_branch(events, name, where)[chosen] for name in self.event_identity]
            identity = hash_identity(branches, salt=(self.identity_names or {}).get(key[0], key[0]))
        return SelectedChunk(features, cuts, kept, identity, selected, found.weights)

    def _weights(self, events: Any, key: ChunkKey, where: str) -> tuple[Floats, Floats]:
        """Generator weights and full event weights of all events, f8 [N] each."""
        dataset = key[0]
        if dataset not in self.weights:
            msg = f"no weight is given for dataset {dataset!r}; there are {', '.join(map(repr, self.weights))}"
            raise InputError(msg)
        weight = self.weights[dataset]
        factors = [flat_branch(events, name, where).astype(np.float64) for name in weight_branches(weight)]
        for name, factor in zip(weight_branches(weight), factors, strict=True):
            _require_finite(factor, name, key, where)
        if not factors:
            factors = [np.ones(len(events))]
        if isinstance(weight, SignOf):
            factors = [np.sign(factors[0])]
        product = factors[0]
        for factor in factors[1:]:
            product = product * factor
        _require_finite(product, "product of weights", key, where)
        return factors[0], product

    def without_variations(self) -> "ChunkReader":
        """This reader for the nominal selection only."""
        return replace(self, variations=None, weight_functions=None)


def triggered(events: Any, triggers: Sequence[str], vetoes: Sequence[str], where: str) -> NDArray[np.bool_]:
    """Whether one of the triggers and none of the vetoes fired, bool [N].

    A veto that the events do not have did not fire: it is a trigger of another primary dataset, and was not in the menu.

    Raises:
        InputError: a trigger is absent, or one of either is not one truth value or number per event.
    """

    def any_of(names: Iterable[str]) -> NDArray[np.bool_]:
        fired = [flat_branch(events, name, where).astype(bool) for name in names]
        return np.logical_or.reduce(fired) if fired else np.zeros(len(events), dtype=np.bool_)

    return np.asarray(any_of(triggers) & ~any_of(name for name in vetoes if has_branch(events, name)))


def _replaces_a_factor(variation: VariedWeights) -> bool:
    """Whether the factors are relative to event weights that contain another factor than the generator weight."""
    return isinstance(variation, WeightVariation) and not (variation.nominal is variation.scale_factor is None)


def chunk_key(events: Any) -> ChunkKey:
    """Key of a chunk of events, from coffea's metadata."""
    metadata = events.metadata
    return (
        str(metadata["dataset"]),
        str(metadata["filename"]),
        str(metadata["treename"]),
        int(metadata["entrystart"]),
        int(metadata["entrystop"]),
    )


def _require_finite(values: Floats, name: str, key: ChunkKey, where: str) -> None:
    finite = np.isfinite(values)
    if finite.all():
        return
    first = int(np.argmin(finite))
    msg = (
        f"{where}: weight {name!r} of entry {key[3] + first} is {values[first]} "
        f"({int((~finite).sum())} such entries in this chunk). Repair or drop the event when the ntuple is made."
    )
    raise InputError(msg)
