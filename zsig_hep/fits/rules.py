r"""The rules that make binned weighted events usable in a Poisson fit, the same for every export.

With signed weights a bin can have no background or a negative yield of a process, and a variation can have no effect in
one direction. The rules are applied in this order, and each change is noted:

1. A process whose yield in a channel is not positive is left out of the channel.
2. A variation without effect on a process in a channel is dropped. If only one direction has an effect, or both are the
   same, the other direction is mirrored bin by bin, 2 nominal - varied, as in cabinetry. A direction whose yield is not
   positive, so that it has no logarithm, is replaced by the mirror too. If the yield of the mirror is not positive
   either, it is replaced by the nominal shape times nominal / varied yield. Two different shifts of the same sign are
   kept.
3. A bin is merged with the one below it (the lowest with the one above) if its background is not positive, nominally
   or in either direction of a variation, or has fewer effective entries than the settings require. The bins of a score
   thus remain fine where the signal is.
4. A negative bin of a process is set to 0, and the other bins of the process are scaled such that its yield in the
   channel is unchanged, because that yield has a smaller relative uncertainty and is the one that the cut selects. The
   variance of a bin that was set to 0 is kept, since its content is as uncertain as before.

A channel without any background is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from zsig_hep.errors import InputError
from zsig_hep.fits.templates import ChannelTemplates, ExportSettings, Template
from zsig_hep.selection.events import Booleans, Floats
from zsig_hep.statistics.yields import effective_entries

Pair = tuple[Template, Template]

# Smaller relative differences are the rounding of sums of weights in another order.
_SAME = 1e-9


def usable_channel(
    channel: ChannelTemplates, backgrounds: Sequence[str], settings: ExportSettings
) -> tuple[ChannelTemplates | None, tuple[str, ...]]:
    """Apply the rules of this module to one channel.

    Args:
        channel: sums of weights.
        backgrounds: names of the background processes.
        settings: choices between alternatives of the rules.

    Returns:
        The channel for a fit, or None if it has no background, and notes of the changes.

    Raises:
        InputError: a bin is unusable and the settings refuse to merge bins.

    Example:
        >>> import numpy as np
        >>> background = Template(np.array([40.0, -1.0, 3.0]), np.array([2.0, 1.0, 0.2]))
        >>> raw = ChannelTemplates("sr", "score", np.array([0.0, 0.5, 0.9, 1.0]), {"dy": background}, {}, None)
        >>> channel, notes = usable_channel(raw, ["dy"], ExportSettings())
        >>> channel.edges, channel.nominal["dy"].values
        (array([0. , 0.9, 1. ]), array([39.,  3.]))
        >>> notes
        ("channel 'sr': 3 bins of score merged into 2, since the background of each must be positive with 10 effective entries",)
    """
    if not any(channel.nominal[name].total > 0 for name in backgrounds if name in channel.nominal):
        return None, (
            f"channel '{channel.name}' is left out of the fit: no background process has a positive yield in it",
        )
    channel, notes = _without_empty_processes(channel)
    channel, one_sided = _with_two_sides(channel)
    channel, merged = _with_usable_bins(channel, backgrounds, settings)
    channel, floored = _without_negative_bins(channel, settings)
    return channel, (*notes, *one_sided, *merged, *floored)


def _without_empty_processes(channel: ChannelTemplates) -> tuple[ChannelTemplates, list[str]]:
    empty = {name: template for name, template in channel.nominal.items() if not template.total > 0}
    notes = [
        f"channel '{channel.name}': process '{name}' is left out, since its yield is {_yield(template)}"
        for name, template in empty.items()
    ]
    return channel.with_processes([name for name in channel.nominal if name not in empty]), notes


def _with_two_sides(channel: ChannelTemplates) -> tuple[ChannelTemplates, list[str]]:
    varied: dict[str, dict[str, Pair]] = {}
    notes = []
    for variation, pairs in channel.varied.items():
        for process, pair in pairs.items():
            kept, note = _two_sided(channel.nominal[process], *pair)
            if note:
                notes.append(f"channel '{channel.name}': variation '{variation}' of '{process}' {note}")
            if kept is not None:
                varied.setdefault(variation, {})[process] = kept
    return replace(channel, varied=varied), notes


def _two_sided(nominal: Template, up: Template, down: Template) -> tuple[Pair | None, str]:
    """The two directions to use, or None to drop the variation, and a note of the change."""
    changes = {"up": not _same(up, nominal), "down": not _same(down, nominal)}
    if not any(changes.values()):
        return None, "has no effect and is dropped"
    empty = {"up": up.total <= 0, "down": down.total <= 0}
    usable = [side for side in ("up", "down") if changes[side] and not empty[side]]
    if not usable:
        return None, f"leaves a yield of {_yield(up)} up and {_yield(down)} down, which no fit can use, and is dropped"
    if usable == ["up"]:
        reason = f"leaves a yield of {_yield(down)} down" if empty["down"] else "changes nothing down"
        return (up, _mirrored(nominal, up)), f"{reason}; down is taken as the mirror of up"
    if usable == ["down"]:
        reason = f"leaves a yield of {_yield(up)} up" if empty["up"] else "changes nothing up"
        return (_mirrored(nominal, down), down), f"{reason}; up is taken as the mirror of down"
    if _same(up, down):
        return (up, _mirrored(nominal, up)), "is the same up and down; down is taken as the mirror of up"
    shifts = up.total - nominal.total, down.total - nominal.total
    if shifts[0] * shifts[1] > 0 and min(map(abs, shifts)) > _SAME * nominal.total:
        percent = [100 * shift / nominal.total for shift in shifts]
        return (up, down), f"has shifts of the same sign ({percent[0]:+.3g} % up, {percent[1]:+.3g} % down); kept as is"
    return (up, down), ""


def _same(first: Template, second: Template) -> bool:
    scale = max(np.abs(first.values).sum(), np.abs(second.values).sum())
    return bool((np.abs(first.values - second.values) <= _SAME * scale).all())


def _mirrored(nominal: Template, varied: Template) -> Template:
    values = 2 * nominal.values - varied.values
    if values.sum() > 0:
        return Template(values, varied.variances)
    factor = nominal.total / varied.total
    return Template(nominal.values * factor, nominal.variances * factor**2)


def _with_usable_bins(
    channel: ChannelTemplates, backgrounds: Sequence[str], settings: ExportSettings
) -> tuple[ChannelTemplates, list[str]]:
    minimum = settings.minimum_effective_background
    starts = _group_starts(channel, backgrounds, minimum)
    wanted = f"the background of each must be positive with {minimum:g} effective entries"
    notes = []
    if len(starts) < channel.bins:
        if settings.unusable_bins == "refuse":
            usable = _usable(_alternatives(channel, backgrounds), minimum)
            numbers = ", ".join(str(index) for index in np.flatnonzero(~usable))
            message = (
                f"Bins {numbers} of {channel.observable} in channel '{channel.name}' cannot be fitted: {wanted}. Take "
                "wider bins, or set unusable_bins to 'merge'."
            )
            raise InputError(message)
        notes.append(
            f"channel '{channel.name}': {channel.bins} bins of {channel.observable} merged into {len(starts)}, since {wanted}"
        )
    merged = _merged(channel, starts)
    effective = _effective(merged.summed(backgrounds))
    if not (effective >= minimum).all():
        notes.append(
            f"channel '{channel.name}': only {effective.min():.3g} effective entries of background in the one remaining bin, "
            f"and {minimum:g} are required; simulate more background"
        )
    return merged, notes


def _group_starts(channel: ChannelTemplates, backgrounds: Sequence[str], minimum: float) -> list[int]:
    """First bin of each group of bins to merge; the highest bins are grouped first."""
    alternatives = _alternatives(channel, backgrounds)

    def usable(start: int, stop: int) -> bool:
        return bool(_usable([_sum_of_bins(each, start, stop) for each in alternatives], minimum).all())

    starts: list[int] = []
    stop = channel.bins
    for start in range(channel.bins - 1, -1, -1):
        if usable(start, stop):
            starts.append(start)
            stop = start
    starts.reverse()
    if stop == 0:
        return starts
    # The remaining lowest bins are merged with the groups above them until the sum is usable.
    while len(starts) > 1 and not usable(0, starts[1]):
        del starts[1]
    return [0, *starts[1:]]


def _alternatives(channel: ChannelTemplates, backgrounds: Sequence[str]) -> list[Template]:
    """The total background: nominal first, then under each direction of each variation."""
    nominal = channel.summed(backgrounds)
    every = [nominal]
    for pairs in channel.varied.values():
        for side in range(2):
            values = nominal.values.copy()
            for process, pair in pairs.items():
                if process in backgrounds:
                    values += pair[side].values - channel.nominal[process].values
            every.append(Template(values, nominal.variances))
    return every


def _usable(alternatives: Sequence[Template], minimum: float) -> Booleans:
    positive = np.all([each.values > 0 for each in alternatives], axis=0)
    # The small tolerance allows for rounding: for n equal weights (sum w)^2 / sum w^2 is n only up to rounding.
    return np.asarray(positive & (_effective(alternatives[0]) >= minimum * (1 - 5e-7)))


def _sum_of_bins(template: Template, start: int, stop: int) -> Template:
    return Template(*(each[start:stop].sum(keepdims=True) for each in (template.values, template.variances)))


def _effective(template: Template) -> Floats:
    return np.asarray(effective_entries(template.values, template.variances))


def _merged(channel: ChannelTemplates, starts: Sequence[int]) -> ChannelTemplates:
    def merged(template: Template) -> Template:
        return Template(np.add.reduceat(template.values, starts), np.add.reduceat(template.variances, starts))

    return replace(
        channel,
        edges=np.append(channel.edges[starts], channel.edges[-1]),
        nominal={name: merged(template) for name, template in channel.nominal.items()},
        varied={
            variation: {name: (merged(up), merged(down)) for name, (up, down) in pairs.items()}
            for variation, pairs in channel.varied.items()
        },
        data=None if channel.data is None else np.add.reduceat(channel.data, starts),
    )


def _without_negative_bins(channel: ChannelTemplates, settings: ExportSettings) -> tuple[ChannelTemplates, list[str]]:
    preserve = settings.negative_bins == "preserve_yield"
    nominal = {name: _floored(template, preserve=preserve) for name, template in channel.nominal.items()}
    varied: Mapping[str, Mapping[str, Pair]] = {
        variation: {
            name: (_floored(up, preserve=preserve), _floored(down, preserve=preserve))
            for name, (up, down) in pairs.items()
        }
        for variation, pairs in channel.varied.items()
    }
    how = "its yield in the channel is unchanged" if preserve else "its yield in the channel increases"
    notes = [
        f"channel '{channel.name}': negative bins of '{name}' ({(template.values < 0).sum()} of {channel.bins}, down to "
        f"{template.values.min():.3g}) set to 0; {how}"
        for name, template in channel.nominal.items()
        if (template.values < 0).any()
    ]
    for variation, pairs in channel.varied.items():
        touched = [name for name, pair in pairs.items() if any((side.values < 0).any() for side in pair)]
        if touched:
            notes.append(
                f"channel '{channel.name}': negative bins of {', '.join(touched)} under variation '{variation}' set to 0"
            )
    return replace(channel, nominal=nominal, varied=varied), notes


def _floored(template: Template, *, preserve: bool) -> Template:
    values = np.maximum(template.values, 0.0)
    negative = template.values < 0
    if not preserve or not negative.any():
        return Template(values, template.variances)
    factor = template.total / values.sum()
    return Template(values * factor, np.where(negative, template.variances, template.variances * factor**2))


def _yield(template: Template) -> str:
    return f"{template.total:.3g} +- {template.uncertainty:.3g}"
