"""Sums of generator weights under weight variations, and the factors that make yields of them."""

import functools
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from zsig_hep.errors import NormalisationError, nearest_name
from zsig_hep.ntuples.datasets import SignOf, SumInTree
from zsig_hep.ntuples.generator_sums import (
    RATIO_TOLERANCE,
    exact_sum,
    read_histogram_sum,
    read_runs_sum,
    read_tree_sum,
    runs_tree,
    stored_name,
)
from zsig_hep.ntuples.normalisation import Normalisation
from zsig_hep.ntuples.own_sums import RUNS_SUMS, SumPlace
from zsig_hep.ntuples.resolution import ResolvedDataset
from zsig_hep.ntuples.variations import Variation, variations_of
from zsig_hep.ntuples.weight_sets import VariedWeights, WeightSetVariation

Floats = NDArray[np.float64]

_LARGEST_FRACTION = 100.0
"""Largest sum under a variation of scales, parton densities or showers that is credible, relative to the nominal sum."""


@dataclass(frozen=True)
class VariedSums:
    """Sums of weights of the same events under a weight variation.

    Attributes:
        nominal: of the nominal weights; None where the varied sums stand alone in a file.
        varied: of each varied weight: up and down, or up alone where down mirrors it; of the elements of a set.
    """

    nominal: Fraction | None
    varied: tuple[Fraction, ...]

    def __add__(self, other: "VariedSums") -> "VariedSums":
        """Add the sums of other events."""
        nominal = None if self.nominal is None or other.nominal is None else self.nominal + other.nominal
        return VariedSums(nominal, tuple(one + two for one, two in zip(self.varied, other.varied, strict=True)))

    @classmethod
    def of(cls, weight: Floats, factors: Sequence[Floats]) -> "VariedSums":
        """The sums over events with weights f8 [N] and factors on them, f8 [N] each.

        Example:
            >>> VariedSums.of(np.array([1.0, 2.0]), [np.array([0.5, 1.0])]).varied
            (Fraction(5, 2),)
        """
        return cls(exact_sum(weight), tuple(exact_sum(weight * factor) for factor in factors))


def read_varied_sums(
    file: Any, path: str, dataset: ResolvedDataset, variations: Mapping[str, Variation]
) -> dict[str, VariedSums]:
    """Read the own sums of weight variations that a file stores.

    Args:
        file: the open `uproot` file.
        path: of the file, for messages.
        dataset: a simulated dataset.
        variations: of `expand_variations`.

    Returns:
        The sums by name of the variation; without those that come from the events.

    Raises:
        NormalisationError: the file does not have them, they cannot be used, or belong to other weights.
    """
    found = {}
    for name, variation in variations_of(variations, dataset.process).items():
        if isinstance(variation, VariedWeights) and variation.own_sums not in (None, "events"):
            try:
                found[name] = _stored(file, path, dataset, variation)
            except NormalisationError as error:
                msg = f"variation {name!r}: {error}"
                raise NormalisationError(msg) from error
    return found


def _stored(file: Any, path: str, dataset: ResolvedDataset, variation: VariedWeights) -> VariedSums:
    source = variation.own_sums
    if source is None or isinstance(source, str):
        return _runs_sums(file, path, dataset, variation.branches[0], variation.elements)
    if isinstance(source, SumInTree):
        places = [SumInTree(tree=source.tree, branch=f"{source.branch}[{number}]") for number in variation.elements]
        return VariedSums(None, tuple(_sum_at(file, path, dataset.name, place) for place in places))
    sides = [source.up] if source.down is None else [source.up, source.down]
    return VariedSums(None, tuple(_sum_at(file, path, dataset.name, place) for place in sides))


def _sum_at(file: Any, path: str, dataset: str, place: SumPlace) -> Fraction:
    read = read_tree_sum if isinstance(place, SumInTree) else read_histogram_sum
    return read(file, path, dataset, place).sum_of_weights  # type: ignore[arg-type]


def _runs_sums(file: Any, path: str, dataset: ResolvedDataset, branch: str, elements: Sequence[int]) -> VariedSums:
    """The sums of the elements of a branch over the rows of the `Runs` tree.

    NanoAOD stores sum_i w_i f_ij / sum_i w_i with the generator weights w and the elements f, for the events of each row
    ("Sum of genEventWeight * LHEScaleWeight[i], divided by genEventSumw", GenWeightsTableProducer of CMSSW). Rows without
    weights have no elements.
    """
    where = f"dataset {dataset.name!r}: {path}"
    if dataset.weight is None or isinstance(dataset.weight, SignOf):
        msg = (
            f"{where}: the Runs tree has sums of generator weights, but the weight is "
            f"{'one' if dataset.weight is None else 'their sign'}: set sum_of_weights of the variation to `events`, or to the "
            "places of the matching sums"
        )
        raise NormalisationError(msg)
    runs, name = runs_tree(file), RUNS_SUMS[branch]
    if runs is None or (stored := stored_name(runs, name)) is None:
        known = [] if runs is None else list(runs.keys())
        what = "no Runs tree with genEventSumw" if runs is None else f"no branch {name!r} in its Runs tree"
        msg = (
            f"{where} has {what}.{nearest_name(name, known) if known else ''} Give the sums under the variation another "
            "sum_of_weights, or leave out `normalise: own`. If only some processes have them, name them: processes: [...]"
        )
        raise NormalisationError(msg)
    nominal = read_runs_sum(file, path, dataset.name).sum_of_weights
    of_rows = np.asarray(runs[stored_name(runs, "genEventSumw")].array(library="np"), dtype=np.float64)
    fractions = runs[stored].array()
    if fractions.ndim != 2:
        msg = f"{where}: {stored} in the Runs tree is not one list of numbers for each row"
        raise NormalisationError(msg)
    fractions, of_rows = fractions[of_rows != 0], of_rows[of_rows != 0]
    lengths = np.asarray(ak.num(fractions))
    for number in elements:
        if (short := lengths <= number).any():
            msg = f"{where}: {stored} in the Runs tree has {lengths[short].min()} elements, so there is no element {number}"
            raise NormalisationError(msg)
    columns = {number: np.asarray(fractions[:, number], dtype=np.float64) for number in elements}
    for number, column in columns.items():
        if not np.isfinite(column).all():
            msg = f"{where}: element {number} of {stored} in the Runs tree is not finite ({column[~np.isfinite(column)][0]})"
            raise NormalisationError(msg)
        if branch != "LHEReweightingWeight" and (large := np.abs(column) > _LARGEST_FRACTION).any():
            msg = (
                f"{where}: element {number} of {stored} in the Runs tree is {column[large][0]:g}, which is no fraction of "
                f"genEventSumw, as NanoAOD stores. If it is the sum itself, name its place: {{tree: Runs, branch: "
                f"'{stored}[{number}]'}}"
            )
            raise NormalisationError(msg)
    # Each product is rounded, as the stored fractions are.
    return VariedSums(nominal, tuple(exact_sum(columns[number] * of_rows) for number in elements))


def own_factors(
    name: str, variation: VariedWeights, dataset: ResolvedDataset, normalisation: Normalisation, sums: VariedSums
) -> tuple[float, ...]:
    """Factors on the yields under a variation that replace the nominal sum of weights by the own ones.

        factor_v = sum_i w_i / sum_i w_i f_vi

    with the generator weights w and the factors f of the variation, over all generated events. A direction down that
    mirrors up, f_down = 2 - f_up, has the sum 2 sum_i w_i - sum_i w_i f_up,i.

    Args:
        name: of the variation.
        variation: with own sums; those over the events in the files must be over all generated events.
        dataset: a simulated dataset.
        normalisation: of the dataset.
        sums: of the dataset and its extensions.

    Returns:
        Factors up and down, or of each element of a set.

    Raises:
        NormalisationError: the events are a skim, there is no nominal sum, or a sum is not positive and finite.
    """
    where = f"dataset {dataset.name!r}: variation {name!r}"
    if variation.own_sums == "events" and (problem := _not_all_events(normalisation)):
        msg = (
            f"{where} cannot be normalised to its sum over the events in the files: {problem}. Give the place where its sum "
            "over all generated events is stored, as sum_of_weights, or set normalise to `nominal` or `shape_only`"
        )
        raise NormalisationError(msg)
    nominal = normalisation.sum_of_weights if sums.nominal is None else float(sums.nominal)
    if nominal is None:
        msg = (
            f"{where} has a sum of weights of its own, but the weights of the dataset are yields, which have no sum to "
            "compare it with: set normalise to `nominal` or `shape_only`"
        )
        raise NormalisationError(msg)
    varied = [float(each) for each in sums.varied]
    labels = ["up", "down"]
    if isinstance(variation, WeightSetVariation):
        labels = [f"of element {number}" for number in variation.elements]
    elif len(varied) == 1:
        varied.append(2 * nominal - varied[0])
    for label, total in zip(labels, varied, strict=True):
        if not (total * nominal > 0 and math.isfinite(total)):
            kind = "zero" if total == 0 else "not finite" if not math.isfinite(total) else "negative"
            msg = (
                f"{where}: the sum of weights {label} is {kind} ({total:g}), while the nominal one is {nominal:g}, so that its "
                "yields are undefined. Check the elements or branches, or set normalise to `nominal`"
            )
            raise NormalisationError(msg)
    return tuple(nominal / total for total in varied)


def _not_all_events(normalisation: Normalisation) -> str | None:
    """Why the events in the files may not be all generated events; None if they are."""
    if normalisation.skim_ratio is None:
        return "the weights of the dataset are yields, so that nothing says whether events were skimmed"
    if not math.isclose(normalisation.skim_ratio, 1.0, rel_tol=RATIO_TOLERANCE):
        return f"they are a skim with a share of {normalisation.skim_ratio:.4g} of the sum of weights"
    generated = normalisation.generated_entries
    if generated is not None and generated != normalisation.entries_in_files:
        return f"they are {normalisation.entries_in_files} of {generated} generated events"
    return None


def all_own_factors(
    datasets: Sequence[ResolvedDataset],
    normalisations: Mapping[str, Normalisation],
    variations: Mapping[str, Variation],
    *,
    stored: Mapping[str, Mapping[str, VariedSums]],
    of_events: Mapping[str, Mapping[str, VariedSums]] | None,
) -> dict[str, dict[str, tuple[float, ...]]]:
    """Factors of all variations with own sums, by dataset and variation; a dataset and its extensions share the sums.

    Args:
        datasets: simulated datasets.
        normalisations: of each, by name.
        variations: of `expand_variations`.
        stored: sums that files store, by dataset and variation.
        of_events: sums over events, likewise; None before events are processed, which leaves out their variations.

    Raises:
        NormalisationError: all problems at once, one per line.
    """
    groups: dict[str, list[str]] = {}
    for dataset in datasets:
        groups.setdefault(dataset.normalised_with, []).append(dataset.name)
    factors: dict[str, dict[str, tuple[float, ...]]] = {}
    problems: list[NormalisationError] = []
    for dataset in datasets:
        of_dataset = factors.setdefault(dataset.name, {})
        for name, variation in variations_of(variations, dataset.process).items():
            if not isinstance(variation, VariedWeights) or variation.own_sums is None:
                continue
            from_events = variation.own_sums == "events"
            if (sums := of_events if from_events else stored) is None:
                continue
            known = [sums[each][name] for each in groups[dataset.normalised_with] if name in sums.get(each, {})]
            # Files without events have no sums over these.
            if known:
                total = functools.reduce(operator.add, known)
                try:
                    of_dataset[name] = own_factors(name, variation, dataset, normalisations[dataset.name], total)
                except NormalisationError as error:
                    problems.append(error)
    if problems:
        raise NormalisationError("\n".join(map(str, problems)))
    return factors
