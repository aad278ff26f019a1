"""Stacked distributions: backgrounds with their Monte-Carlo uncertainty, signals, and data with their ratio."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import hist
import numpy as np
from hist.intervals import poisson_interval
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from zsig_hep.presentation.figures.layout import GUIDE, Floats
from zsig_hep.presentation.figures.style import DASHES, Look
from zsig_hep.statistics.process_table import Role


@dataclass(frozen=True)
class Stack:
    """Bin contents of one distribution by role; the smallest background is first, at the bottom of the stack."""

    names: tuple[str, ...]
    edges: Floats
    backgrounds: dict[str, Floats]
    signals: dict[str, Floats]
    background: Floats
    background_uncertainty: Floats
    data: Floats | None
    data_variance: Floats | None


@dataclass(frozen=True)
class Frame:
    """Limits of the y axis and scale factors of the signals, common to panels side by side."""

    lowest: float
    highest: float
    logarithmic: bool
    factors: Mapping[str, float]


def stack_of(histogram: hist.Hist[Any], roles: Mapping[str, Role]) -> Stack:
    """Sort the contents of a histogram by process, with `Weight` storage, into backgrounds, signals and data."""
    names = list(histogram.axes["process"])
    contents = {name: _contents(histogram, name) for name in names}
    values = {name: np.asarray(content.values(), dtype=np.float64) for name, content in contents.items()}
    variances = {name: np.asarray(content.variances(), dtype=np.float64) for name, content in contents.items()}
    by_role = {role: [name for name in names if roles[name] == role] for role in ("signal", "background", "data")}
    zero = np.zeros(len(histogram.axes[1]))
    data = by_role["data"]
    return Stack(
        names=tuple(names),
        edges=np.asarray(histogram.axes[1].edges, dtype=np.float64),
        backgrounds={name: values[name] for name in sorted(by_role["background"], key=_total_in(histogram))},
        signals={name: values[name] for name in by_role["signal"]},
        background=sum((values[name] for name in by_role["background"]), zero),
        background_uncertainty=np.sqrt(sum((variances[name] for name in by_role["background"]), zero)),
        data=sum((values[name] for name in data), zero) if data else None,
        data_variance=sum((variances[name] for name in data), zero) if data else None,
    )


def _total_in(histogram: hist.Hist[Any]) -> Callable[[str], float]:
    """Sort key that is the same for all features of a table: the yield including the flow bins."""
    return lambda name: float(_contents(histogram, name).sum(flow=True).value)


def _contents(histogram: hist.Hist[Any], process: str) -> Any:
    # A text as index is a pattern of names: "ZZ*" would be every process that begins with ZZ.
    return histogram[{"process": hist.loc(process)}]


def frame_of(stacks: Sequence[Stack], *, logarithmic: bool) -> Frame:
    """Common limits and scale factors of several distributions."""
    tops = [stack.background + stack.background_uncertainty for stack in stacks]
    tops += [stack.data + np.sqrt(stack.data) + 1.0 for stack in stacks if stack.data is not None]
    highest = max((float(top.max(initial=0.0)) for top in tops), default=0.0) or 1.0
    lowest = 0.0
    if logarithmic:
        smallest = min(float(stack.background[stack.background > 0].min(initial=np.inf)) for stack in stacks)
        lowest = 0.5 * min(max(smallest, 1e-5 * highest), 0.1 * highest)
    peaks = {name: max(float(s.signals[name].max(initial=0.0)) for s in stacks) for name in stacks[0].signals}
    factors = {
        name: scale_factor(peak, lowest if logarithmic else highest, logarithmic=logarithmic)
        for name, peak in peaks.items()
    }
    tallest = max((factors[name] * peak for name, peak in peaks.items()), default=0.0)
    return Frame(lowest, max(highest, tallest) * (1.5 if logarithmic else 1.05), logarithmic, factors)


def draw_stack(axes: Sequence[Axes], stack: Stack, frame: Frame, look: Look) -> None:
    """Draw backgrounds, signals and data, and the ratio of data to background in a second panel if there are data."""
    main = axes[0]
    if frame.logarithmic:
        main.set_yscale("log")
    main.set_ylim(frame.lowest, frame.highest)
    main.set_xlim(stack.edges[0], stack.edges[-1])
    _draw_backgrounds(main, stack, look, frame.lowest)
    _draw_signals(main, stack, frame, look)
    if stack.data is not None and stack.data_variance is not None:
        _draw_data(axes, stack, stack.data, stack.data_variance)


def _draw_backgrounds(axes: Axes, stack: Stack, look: Look, lowest: float) -> None:
    color = look.fill_colors([name for name in stack.names if name in stack.backgrounds])
    base = np.zeros_like(stack.background)
    for name, values in stack.backgrounds.items():
        axes.stairs(
            np.maximum(base + values, lowest), stack.edges, baseline=np.maximum(base, lowest), fill=True,
            color=color[name], label=look.label(name), lw=0,
        )  # fmt: skip
        base = base + values
    axes.stairs(np.maximum(base, lowest), stack.edges, baseline=lowest, color="0.25", lw=0.8)
    _draw_band(axes, stack.edges, stack.background, stack.background_uncertainty, lowest, label="MC stat. unc.")


def _draw_band(axes: Axes, edges: Floats, middle: Floats, spread: Floats, lowest: float, *, label: str = "") -> None:
    axes.stairs(
        np.maximum(middle + spread, lowest), edges, baseline=np.maximum(middle - spread, lowest), fill=True,
        facecolor="none", edgecolor="0.3", hatch="//////", lw=0, label=label, zorder=3,
    )  # fmt: skip


def _draw_signals(axes: Axes, stack: Stack, frame: Frame, look: Look) -> None:
    color = look.signal_colors(list(stack.signals))
    for i, (name, values) in enumerate(stack.signals.items()):
        factor = frame.factors[name]
        shown = look.label(name) + _factor_text(factor)
        axes.stairs(
            np.maximum(factor * values, frame.lowest), stack.edges, baseline=None, color=color[name], lw=2.4,
            ls=DASHES[i % len(DASHES)], label=shown, zorder=4,
        )  # fmt: skip


def _factor_text(factor: float) -> str:
    """The factor in a legend entry; empty for 1."""
    if factor == 1:
        return ""
    if factor < 1e5:
        return f" (×{factor:g})"
    mantissa, exponent = f"{factor:.0e}".split("e")
    leading = "" if mantissa == "1" else rf"{mantissa}\times"
    return rf" (×${leading}10^{{{int(exponent)}}}$)"


def scale_factor(peak: float, reference: float, *, logarithmic: bool) -> float:
    """Factor 1, 2 or 5 times a power of ten that makes a signal visible.

    On a linear axis a signal below a fifth of the highest background bin is scaled to at most half of it. On a
    logarithmic axis a signal below ten times the lower end of the axis is scaled to at most thirty times that.

    Args:
        peak: highest bin of the signal.
        reference: highest bin of the background, or the lower end of a logarithmic axis.
        logarithmic: whether the axis is logarithmic.
    """
    if peak <= 0 or peak >= (10 if logarithmic else 0.2) * reference:
        return 1.0
    wanted = (30 if logarithmic else 0.5) * reference / peak
    decade = 10.0 ** np.floor(np.log10(wanted))
    return float(max(step * decade for step in (1, 2, 5) if step * decade <= wanted * (1 + 1e-9)))


def _draw_data(axes: Sequence[Axes], stack: Stack, data: Floats, variance: Floats) -> None:
    filled = data > 0
    center = 0.5 * (stack.edges[1:] + stack.edges[:-1])[filled]
    low, high = poisson_interval(data[filled], variance[filled])
    error = np.stack([data[filled] - low, high - data[filled]])
    axes[0].errorbar(center, data[filled], yerr=error, fmt="ko", ms=4.5, lw=1.2, label="Data", zorder=6)
    ratio, known = axes[1], filled & (stack.background > 0)
    expected = np.where(stack.background > 0, stack.background, np.nan)
    relative = np.nan_to_num(stack.background_uncertainty / expected)
    _draw_band(ratio, stack.edges, np.ones_like(relative), relative, 0.0)
    ratio.axhline(1, color="0.25", lw=1, gid=GUIDE)
    chosen = known[filled]
    ratio.errorbar(
        center[chosen], data[known] / expected[known], yerr=error[:, chosen] / expected[known],
        fmt="ko", ms=4.5, lw=1.2, zorder=6,
    )  # fmt: skip
    ratio.set_ylim(*_ratio_limits((data - expected)[known] / expected[known], error[:, chosen] / expected[known]))
    ratio.set_ylabel("Data / MC", loc="center")


def _ratio_limits(deviation: Floats, error: Floats) -> tuple[float, float]:
    """The narrowest of a few symmetric ranges that shows all points with an error below 0.5."""
    measured = np.abs(deviation)[error.max(axis=0) < 0.5]
    spread = next((s for s in (0.25, 0.6, 0.95) if measured.max(initial=0.0) < 0.9 * s), 0.95)
    return 1 - spread, 1 + spread


def events_per_bin(edges: Floats, label: str) -> str:
    """Title of the y axis, with the width of equal bins and the unit in the label of the x axis."""
    widths = np.diff(edges)
    if not np.allclose(widths, widths[0], rtol=1e-3):
        return "Events / bin"
    unit = label[label.rfind("[") + 1 : label.rfind("]")] if label.endswith("]") else ""
    return f"Events / {widths[0]:.3g} {unit}".rstrip()


def scale_ticks(axes: Axes) -> str:
    """Divide long tick labels by a power of a thousand, and return that power as the start of the axis label."""
    highest = axes.get_ylim()[1]
    if 1e-2 <= highest < 1e5:
        return ""
    power = 3 * int(np.floor(np.log10(highest) / 3))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 10.0**power:g}"))
    return rf"$10^{{{power}}}$ "
