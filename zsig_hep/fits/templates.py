"""Templates: binned yields of every process, nominal and varied, from which all fit inputs are written."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, field_validator

from zsig_hep.errors import InputError, nearest_name
from zsig_hep.names import identifier, repeated
from zsig_hep.ntuples.variations import VariationKind
from zsig_hep.representation import ShortRepr
from zsig_hep.selection.events import Floats
from zsig_hep.settings import FeatureValue, Name, Settings
from zsig_hep.statistics.process_table import Role

DATA_NAME = "data_obs"
"""Name of the data in fits; no process may have it."""

_FIT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


_Bins = Annotated[int, Field(ge=1, le=10_000)]
_Edges = Annotated[tuple[FeatureValue, ...], Field(max_length=10_001)]


class ExportSettings(Settings):
    """How selected events are binned for a fit, and how the fit inputs are written."""

    observable: Name | None = Field(default=None, examples=["score", "dimuon_mass"])
    """Observable that is histogrammed in each channel: "score" or the name of a feature; by default each channel is one
    bin, a counting experiment.
    """
    binning: _Bins | _Edges = Field(default=10, examples=[20, [110, 120, 130, 150]])
    """Number of bins, which then cover all simulated events of a channel, or ascending bin edges; events outside given
    edges are not in the fit.
    """
    # Weights that cancel can give less than one effective entry, which is no estimate of a background.
    minimum_effective_background: float = Field(default=10.0, ge=1, le=1e9)
    """Smallest number of effective background entries in a bin; bins with fewer are merged with a neighbour."""
    unusable_bins: Literal["merge", "refuse"] = "merge"
    """Bins without positive background, or with too few effective background entries, are merged with a neighbour
    ("merge") or are an error ("refuse").
    """
    negative_bins: Literal["preserve_yield", "floor"] = "preserve_yield"
    """A bin in which a process is negative is set to 0 for that process. "preserve_yield" scales its other bins so that
    its total yield is unchanged, "floor" does not change them.
    """
    signal_strength: str = Field(default="mu", max_length=100, pattern=rf"^{_FIT_NAME.pattern}$")
    """Name of the parameter of interest, which multiplies all signal processes."""
    signal_strength_maximum: float = Field(default=10.0, ge=1e-6, le=1e6)
    """Upper bound of the parameter of interest in fits."""
    simulation_uncertainty: bool = True
    """Whether fits include the statistical uncertainty of the simulation in each bin."""

    @field_validator("binning")
    @classmethod
    def _binning_is_usable(cls, binning: int | tuple[float, ...]) -> int | tuple[float, ...]:
        if not isinstance(binning, int) and (len(binning) < 2 or not (np.diff(binning) > 0).all()):
            message = "bin edges must be two or more ascending numbers"
            raise ValueError(message)
        return binning


@dataclass(frozen=True, eq=False, repr=False)
class Template(ShortRepr):
    """Yields of one process in B bins.

    Attributes:
        values: sum of weights, shape [B], in events at the luminosity.
        variances: sum of squared weights, shape [B].
    """

    values: Floats
    variances: Floats

    @property
    def total(self) -> float:
        """Yield in all bins."""
        return float(self.values.sum())

    @property
    def uncertainty(self) -> float:
        """Standard deviation of the total from the finite simulation."""
        return float(np.sqrt(self.variances.sum()))


@dataclass(frozen=True, eq=False, repr=False)
class ChannelTemplates(ShortRepr):
    """The binned yields of one channel.

    Attributes:
        name: name of the channel.
        observable: the observable; "events" for a single bin that counts events.
        edges: ascending bin edges, shape [B + 1].
        nominal: template of every process in the channel, in the order of the process table.
        varied: templates up and down by variation and process, for the processes that the variation touches.
        data: data events in each bin, shape [B]; None while the channel is blinded.
    """

    name: str
    observable: str
    edges: Floats
    nominal: Mapping[str, Template]
    varied: Mapping[str, Mapping[str, tuple[Template, Template]]]
    data: Floats | None

    @property
    def bins(self) -> int:
        """Number of bins."""
        return self.edges.size - 1

    def summed(self, processes: Sequence[str]) -> Template:
        """Sum of those of the given processes that are in the channel."""
        present = [self.nominal[name] for name in processes if name in self.nominal]
        zero = np.zeros(self.bins)
        return Template(
            sum((each.values for each in present), zero), sum((each.variances for each in present), zero.copy())
        )

    def factors(self, variation: str, process: str) -> tuple[float, float]:
        """Ratios (up, down) of the yield of a process in the channel under a variation to its nominal yield."""
        up, down = self.varied[variation][process]
        nominal = self.nominal[process].total
        return up.total / nominal, down.total / nominal

    def with_processes(self, names: Sequence[str]) -> "ChannelTemplates":
        """The channel with the given processes only, and without variations that touch none of them."""
        varied = {
            variation: {name: pair for name, pair in pairs.items() if name in names}
            for variation, pairs in self.varied.items()
        }
        return replace(
            self,
            nominal={name: template for name, template in self.nominal.items() if name in names},
            varied={variation: pairs for variation, pairs in varied.items() if pairs},
        )


@dataclass(frozen=True, eq=False, repr=False)
class FitTemplates(ShortRepr):
    """Templates of all channels of a fit, in a form that pyhf, cabinetry and Combine can use.

    The constructor checks the requirements of those programs: names of letters, digits and underscores, different names
    for all histograms, a positive background in every bin and no negative bins. `build_templates` makes templates that
    meet them.

    Attributes:
        channels: one or more channels.
        process_names: names of the signal and background processes, in the order of the process table.
        roles: "signal" or "background" for each process.
        labels: name for readers of each process.
        kinds: kind of every variation, by name.
        luminosity_ifb: integrated luminosity of the yields [1/fb].
        notes: changes that were made to meet the requirements, as sentences.
        uncertainties: relative uncertainty k > 0 of each background that a parameter of the fit scales, by the name of
            the parameter and the process; the factors are those of `log_normal_factors`.

    Raises:
        InputError: the templates cannot be used by a fit.

    Example:
        >>> signal, background = (Template(np.array([n]), np.array([n / 10])) for n in (10.0, 25.0))
        >>> channel = ChannelTemplates(
        ...     "signal_region", "events", np.array([0.0, 1.0]), {"higgs": signal, "dy": background}, {}, None)
        >>> templates = FitTemplates((channel,), ("higgs", "dy"), ("signal", "background"), ("H", "Z"), {}, 140.0)
        >>> templates.is_blinded, templates.observed(channel)
        (True, array([25.]))
    """

    channels: tuple[ChannelTemplates, ...]
    process_names: tuple[str, ...]
    roles: tuple[Role, ...]
    labels: tuple[str, ...]
    kinds: Mapping[str, VariationKind]
    luminosity_ifb: float
    notes: tuple[str, ...] = field(default=())
    uncertainties: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what a fit cannot take."""
        if not self.channels:
            message = "There is no channel to fit; select at least one category with background."
            raise InputError(message)
        _check_names(self)
        _check_uncertainties(self)
        for channel in self.channels:
            _check_channel(self, channel)
        if not any(name in channel.nominal for name in self.signals for channel in self.channels):
            message = "No signal process has a positive yield in any channel, so that there is nothing to look for."
            raise InputError(message)

    @property
    def signals(self) -> tuple[str, ...]:
        """Names of the signal processes."""
        return tuple(name for name, role in zip(self.process_names, self.roles, strict=True) if role == "signal")

    @property
    def backgrounds(self) -> tuple[str, ...]:
        """Names of the background processes."""
        return tuple(name for name, role in zip(self.process_names, self.roles, strict=True) if role != "signal")

    @property
    def is_blinded(self) -> bool:
        """Whether any channel has no data, in which case data are used in no channel."""
        return any(channel.data is None for channel in self.channels)

    def observed(self, channel: ChannelTemplates) -> Floats:
        """Observed events of a fit, shape [B]: the data, or while blinded the Asimov data of the background alone."""
        if self.is_blinded or channel.data is None:
            return channel.summed(self.backgrounds).values
        return channel.data

    def with_signals(self, names: Sequence[str]) -> Self:
        """The same templates with the given signal processes only, for signals that are alternative hypotheses.

        Args:
            names: names of signal processes.

        Returns:
            Templates without the other signals.

        Raises:
            InputError: a name is no signal process.
        """
        for name in names:
            if name not in self.signals:
                message = f"'{name}' is no signal process of the templates.{nearest_name(name, self.signals)}"
                raise InputError(message)
        kept = [name for name in self.process_names if name in names or name not in self.signals]
        rows = [self.process_names.index(name) for name in kept]
        channels = tuple(channel.with_processes(kept) for channel in self.channels)
        return replace(
            self,
            channels=channels,
            process_names=tuple(kept),
            roles=tuple(self.roles[row] for row in rows),
            labels=tuple(self.labels[row] for row in rows),
            kinds={name: kind for name, kind in self.kinds.items() if any(name in each.varied for each in channels)},
        )


def histogram_name(process: str, variation: str | None = None, direction: Literal["Up", "Down"] = "Up") -> str:
    """Name of a histogram inside the folder of its channel.

    Example:
        >>> histogram_name("dy"), histogram_name("dy", "jes", "Down")
        ('dy', 'dy_jesDown')
    """
    return process if variation is None else f"{process}_{variation}{direction}"


def log_normal_factors(relative: float) -> tuple[float, float]:
    """Factors (up, down) of a yield with a log-normal uncertainty, positive for any relative uncertainty.

    Example:
        >>> log_normal_factors(0.25)
        (1.25, 0.8)
    """
    return 1 + relative, 1 / (1 + relative)


def _check_names(templates: FitTemplates) -> None:
    groups = {
        "channel": [channel.name for channel in templates.channels],
        "process": list(templates.process_names),
        "variation": list(templates.kinds),
        "parameter": list(templates.uncertainties),
    }
    for kind, names in groups.items():
        for name, count in Counter(names).items():
            if not _FIT_NAME.fullmatch(name):
                message = (
                    f"The {kind} name '{name}' cannot be used in fits, which allow letters, digits and underscores, and no "
                    f"digit first; '{identifier(name)}' would be valid."
                )
                raise InputError(message)
            if count > 1:
                message = f"Two {kind} names are '{name}'; each must be different."
                raise InputError(message)
    if problems := histogram_problems(templates.process_names, list(templates.kinds)):
        raise InputError("\n".join(problems))


def _check_uncertainties(templates: FitTemplates) -> None:
    for parameter, of_processes in templates.uncertainties.items():
        if parameter in templates.kinds:
            message = f"A variation and a background uncertainty are both called '{parameter}'; rename the variation."
            raise InputError(message)
        for name, relative in of_processes.items():
            if name not in templates.backgrounds or not 0 < relative < np.inf:
                message = (
                    f"Parameter '{parameter}' gives '{name}' a relative uncertainty of {relative}; it must be a background "
                    "process of the templates, and the uncertainty positive and finite."
                )
                raise InputError(message)


def histogram_problems(processes: Sequence[str], variations: Sequence[str]) -> list[str]:
    """Histograms of one channel that would have the same name, one sentence each.

    Example:
        >>> histogram_problems(["dy", "data_obs"], [])  # doctest: +ELLIPSIS
        ["Two histograms would be called 'data_obs'. Their names are ... Rename a process or a variation."]
    """
    histograms = [DATA_NAME, *processes] + [
        histogram_name(process, variation, direction)
        for process in processes
        for variation in variations
        for direction in ("Up", "Down")
    ]
    return [
        f"Two histograms would be called '{name}'. Their names are that of the data, of a process, or of a process and a "
        "variation. Rename a process or a variation."
        for name in repeated(histograms)
    ]


def _check_channel(templates: FitTemplates, channel: ChannelTemplates) -> None:
    for name in channel.nominal:
        if name not in templates.process_names:
            message = f"Channel '{channel.name}' has a process '{name}' that the templates do not list."
            raise InputError(message)
    every = dict(channel.nominal)
    for variation, pairs in channel.varied.items():
        if variation not in templates.kinds or not pairs.keys() <= channel.nominal.keys():
            message = (
                f"Channel '{channel.name}' varies {', '.join(pairs)} by '{variation}': the variation must have a kind, "
                "and its processes must have nominal templates."
            )
            raise InputError(message)
        for process, (up, down) in pairs.items():
            every[histogram_name(process, variation, "Up")] = up
            every[histogram_name(process, variation, "Down")] = down
    for name, template in every.items():
        _check_template(f"'{name}' in channel '{channel.name}'", template, channel.bins)
    background = channel.summed(templates.backgrounds).values
    if not (background > 0).all():
        worst = int(background.argmin())
        message = (
            f"Bin {worst} of channel '{channel.name}' has a background of {background[worst]:.3g} events; a Poisson "
            "probability needs a positive one. Merge the bin with a neighbour."
        )
        raise InputError(message)
    if channel.data is not None and not (channel.data.shape == (channel.bins,) and (channel.data >= 0).all()):
        message = f"The data of channel '{channel.name}' must be {channel.bins} numbers that are not negative."
        raise InputError(message)


def _check_template(where: str, template: Template, bins: int) -> None:
    if not template.values.shape == template.variances.shape == (bins,):
        shapes = f"{template.values.shape} and {template.variances.shape}"
        message = f"Template {where} has values and variances of shape {shapes} for {bins} bins."
        raise InputError(message)
    both = np.stack([template.values, template.variances])
    if not (np.isfinite(both).all() and (both >= 0).all() and template.total > 0):
        message = f"Template {where} must be finite, nowhere negative and positive in total; found {template.values}."
        raise InputError(message)
