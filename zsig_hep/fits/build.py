"""Build the templates of a fit from scored events and their variations."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zsig_hep.errors import InputError
from zsig_hep.fits.rules import usable_channel
from zsig_hep.fits.samples import Channels, Sample, SampledVariation, SampleReader
from zsig_hep.fits.templates import ChannelTemplates, ExportSettings, FitTemplates, Template
from zsig_hep.names import identifiers, mapped_notes
from zsig_hep.ntuples.variations import VariationKind
from zsig_hep.ntuples.weight_sets import Combination, combined_shifts
from zsig_hep.selection.events import Floats, ScoredEvents
from zsig_hep.statistics.objective import Objective
from zsig_hep.statistics.process_table import ProcessTable

COUNTING = "events"
"""Observable of a channel with one bin, which counts the events."""

BACKGROUND_UNCERTAINTY = "background_uncertainty"
"""Parameter of the uncertainty common to all backgrounds; of one process, with the name of the process after it."""

IN_FITS = "ROOT histograms and fit inputs, whose names have letters, digits and underscores only"
"""Where the identifiers of names are used, for notes."""

# Bins of equal width cover the central 99 % of the events; the outermost bins are extended to the last event.
_TAIL = 0.005


def build_templates(
    events: ScoredEvents,
    channels: Channels,
    settings: ExportSettings,
    *,
    luminosity_ifb: float,
    labels: Mapping[str, str] | None = None,
    unblinded: bool = False,
    objective: Objective | None = None,
) -> FitTemplates:
    """Bin events by channel, process and variation, and make the templates usable in a fit.

    Templates are changed by the rules of `zsig_hep.fits.rules`, and names that fits cannot use are replaced
    (`zsig_hep.names.identifiers`). All changes are listed in the notes of the result.

    Args:
        events: events with out-of-fold scores and variations; data are used only if unblinded. A process that only one
            direction of a variation touches is nominal in the other direction.
        channels: channels of the fit.
        settings: observable, binning and rules.
        luminosity_ifb: integrated luminosity of the weights [1/fb].
        labels: labels of the processes, where they differ from their names.
        unblinded: whether the data are observed in the fit; otherwise it has the Asimov data of the background alone.
        objective: what the selection maximises. Its background uncertainties become parameters of the fit: one for each
            process with its own, and one for all backgrounds together.

    Returns:
        The templates, from which all exports are written.

    Raises:
        InputError: array shapes differ, the observable is unknown, the settings refuse to merge bins, no channel has
            background, or an uncertainty is given for a name that is no background process.

    Example:
        >>> events = ScoredEvents.from_arrays(
        ...     np.where(np.arange(60) % 2 == 0, 0.8, 0.3), np.ones(60), np.repeat([0, 1], [20, 40]),
        ...     names=["higgs", "dy"], roles=["signal", "background"])
        >>> templates = build_templates(events, Channels.of_cut([0.5] * 5), ExportSettings(), luminosity_ifb=140.0)
        >>> [(name, template.total) for name, template in templates.channels[0].nominal.items()]
        [('higgs', 10.0), ('dy', 20.0)]
    """
    names, channel_notes = _fit_names("channel", channels.names)
    reader = SampleReader(events, settings.observable, channels)
    simulated, data = reader.nominal()
    varied = reader.variations()
    rows = np.flatnonzero(~events.processes.is_data).tolist()
    processes, process_notes = _fit_names("process", events.processes.simulated.names)
    variations, variation_notes = _fit_names("variation", [each.name for each in varied])
    binning = _Binning(dict(zip(processes, rows, strict=True)), tuple(variations), events.processes, settings)
    backgrounds = [name for name, row in binning.processes.items() if events.processes.roles[row] == "background"]
    notes = [*channel_notes, *process_notes, *variation_notes]
    usable = []
    for index, name in enumerate(names):
        inside = [each.in_channel(index) for each in varied]
        observed = data.in_channel(index) if unblinded else None
        raw, outside = binning.channel(name, simulated.in_channel(index), inside, observed)
        channel, changes = usable_channel(raw, backgrounds, settings)
        notes += [*outside, *changes]
        usable += [] if channel is None else [channel]
    if not usable:
        message = f"There is nothing to fit. {'; '.join(notes)}."
        raise InputError(message)
    kept = {name: row for name, row in binning.processes.items() if any(name in each.nominal for each in usable)}
    of_fit = events.processes.select(list(kept.values()))
    kinds = {
        name: each.kind
        for name, each in zip(binning.variations, varied, strict=True)
        if any(name in channel.varied for channel in usable)
    }
    taken = [*variations, settings.signal_strength]
    uncertainties = {} if objective is None else _uncertainties(objective, events.processes, kept, taken)
    notes += _counted_twice(uncertainties, kinds, usable)
    return FitTemplates(
        channels=tuple(usable),
        process_names=tuple(kept),
        roles=of_fit.roles,
        labels=tuple((labels or {}).get(name, name) for name in of_fit.names),
        kinds=kinds,
        luminosity_ifb=luminosity_ifb,
        notes=tuple(notes),
        uncertainties=uncertainties,
    )


def _uncertainties(
    objective: Objective, processes: ProcessTable, rows: Mapping[str, int], taken: Collection[str]
) -> dict[str, dict[str, float]]:
    """Relative uncertainties of the backgrounds of a fit by parameter and process; no parameter has a name of `taken`."""
    objective.require_known_backgrounds(processes)
    backgrounds = {name: processes.names[row] for name, row in rows.items() if processes.roles[row] == "background"}
    own = {name: objective.background_uncertainties.get(of_table, 0.0) for name, of_table in backgrounds.items()}
    wanted = {f"{BACKGROUND_UNCERTAINTY}_{name}": {name: k} for name, k in own.items() if k > 0}
    if objective.relative_background_uncertainty > 0:
        wanted[BACKGROUND_UNCERTAINTY] = dict.fromkeys(backgrounds, objective.relative_background_uncertainty)
    named: dict[str, dict[str, float]] = {}
    for parameter, of_processes in wanted.items():
        free = parameter
        while free in taken or free in named or (free != parameter and free in wanted):
            free += "_"
        named[free] = of_processes
    return named


def _counted_twice(
    uncertainties: Mapping[str, Mapping[str, float]],
    kinds: Mapping[str, VariationKind],
    channels: Sequence[ChannelTemplates],
) -> list[str]:
    """Notes on normalisation variations of processes that have a background uncertainty too."""
    return [
        f"process '{process}' has the background uncertainty '{parameter}' and the normalisation variation '{variation}'; "
        "the fit has both, so that an uncertainty given in both places is counted twice"
        for parameter, of_processes in uncertainties.items()
        for process in of_processes
        for variation, kind in kinds.items()
        if kind == "normalisation" and any(process in channel.varied.get(variation, {}) for channel in channels)
    ]


@dataclass(frozen=True, eq=False)
class _Binning:
    """Binning of the events of a channel.

    Attributes:
        processes: row of each simulated process in `table`, by its name in the fit.
        variations: names of the variations in the fit.
        table: all processes.
        settings: observable and bins.
    """

    processes: Mapping[str, int]
    variations: tuple[str, ...]
    table: ProcessTable
    settings: ExportSettings

    def channel(
        self, name: str, simulated: Sample, varied: Sequence[SampledVariation], data: Sample | None
    ) -> tuple[ChannelTemplates, list[str]]:
        """Templates of a channel from the events that are in it, and notes."""
        # The members of a set have the values of the nominal events.
        edges = self._edges([simulated, *(side for each in varied if each.combine is None for side in each.sides)])
        nominal = self._templates(simulated, edges, self.processes.values())
        templates = {}
        for variation, each in zip(self.variations, varied, strict=True):
            sides = [
                self._templates(side, edges, touched) for side, touched in zip(each.sides, each.processes, strict=True)
            ]
            up, down = sides if each.combine is None else _combined(nominal, sides, each.combine)
            templates[variation] = {
                process: (up.get(process, nominal[process]), down.get(process, nominal[process]))
                for process in nominal
                if process in up or process in down
            }
        observable = COUNTING if self.settings.observable is None else self.settings.observable
        counts = None if data is None else _filled(data, edges).values
        notes = self._notes(name, "simulated", simulated, edges)
        if data is not None:
            notes += self._notes(name, "recorded", data, edges)
        return ChannelTemplates(name, observable, edges, nominal, templates, counts), notes

    def _templates(self, sample: Sample, edges: Floats, rows: Collection[int]) -> dict[str, Template]:
        return {
            name: _filled(sample.select(sample.process == row), edges)
            for name, row in self.processes.items()
            if row in rows
        }

    def _edges(self, inside: Sequence[Sample]) -> Floats:
        """The edges of the settings, or bins of equal width over the bulk of signal and background."""
        if self.settings.observable is None:
            return np.array([-0.5, 0.5])
        binning = self.settings.binning
        if not isinstance(binning, int):
            return np.array(binning, dtype=np.float64)
        values = np.concatenate([sample.value for sample in inside])
        signal = self.table.is_signal[np.concatenate([sample.process for sample in inside])]
        finite = np.isfinite(values)
        groups = [values[mask] for mask in (finite & signal, finite & ~signal) if mask.any()]
        if not groups:
            return np.array([0.0, 1.0])
        bulks = np.array([np.quantile(group, (_TAIL, 1 - _TAIL)) for group in groups])
        edges = np.linspace(bulks[:, 0].min(), bulks[:, 1].max(), binning + 1)
        edges[0], edges[-1] = min(map(np.min, groups)), max(map(np.max, groups))
        return edges if (np.diff(edges) > 0).all() else np.array([edges[0] - 0.5, edges[-1] + 0.5])

    def _notes(self, channel: str, what: str, sample: Sample, edges: Floats) -> list[str]:
        outside = ~((sample.value >= edges[0]) & (sample.value <= edges[-1]))
        if not outside.any():
            return []
        note = (
            f"channel '{channel}': {int(outside.sum())} {what} events ({sample.weight[outside].sum():.3g} in yield) whose "
            f"{self.settings.observable} is outside {edges[0]:g} to {edges[-1]:g}, or missing, are left out"
        )
        return [note]


def _filled(sample: Sample, edges: Floats) -> Template:
    """The weighted histogram; its last bin includes its upper edge."""
    inside = (sample.value >= edges[0]) & (sample.value <= edges[-1])
    bins = edges.size - 1
    indices = np.minimum(np.searchsorted(edges, sample.value[inside], side="right") - 1, bins - 1)

    # np.histogram would subtract cumulative sums, with rounding errors from the events in all other bins.
    def summed(weight: Floats) -> Floats:
        return np.bincount(indices, weights=weight[inside], minlength=bins).astype(np.float64)

    return Template(summed(sample.weight), summed(sample.weight**2))


def _combined(
    nominal: Mapping[str, Template], members: Sequence[Mapping[str, Template]], combine: Combination
) -> tuple[dict[str, Template], dict[str, Template]]:
    """Templates up and down of a set: the shifts of its members are combined in each bin of each process."""
    sides: tuple[dict[str, Template], dict[str, Template]] = ({}, {})
    for process in members[0]:
        before = nominal[process]
        shifts = np.stack([each[process].values for each in members]) - before.values
        variances = np.stack([before.variances, *(each[process].variances for each in members)])
        both = combined_shifts(shifts, combine)
        for side, shift in zip(sides, both, strict=True):
            # Row 0 is nominal: also the variance of shifts in quadrature, which are those of no one member.
            row = np.zeros(shift.shape, np.int64)
            if combine == "envelope":
                extreme = np.abs(np.concatenate([np.zeros_like(shifts[:1]), shifts]) - shift)
                row = extreme.argmin(axis=0)
            side[process] = Template(before.values + shift, np.take_along_axis(variances, row[None], axis=0)[0])
    return sides


def _fit_names(kind: str, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names that can be used in fits, and notes of those that were changed."""
    usable = identifiers(names)
    return [usable[name] for name in names], mapped_notes(kind, usable, IN_FITS)
