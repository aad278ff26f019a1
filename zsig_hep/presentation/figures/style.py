"""Style of figures: label of the experiment, colours, and figures that keep their style."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import matplotlib as mpl
import mplhep
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from pydantic import Field

from zsig_hep.settings import Line, Name, Settings
from zsig_hep.statistics.process_table import Role

Experiment = Literal["plain", "CMS", "ATLAS"]

LINE_COLORS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""Colours of lines of classifiers and folds: the colour-blind safe palette of Okabe and Ito."""

FILL_COLORS = ("#92dadd", "#ffa90e", "#94a4a2", "#3f90da", "#b9ac70", "#a96b59", "#e76300", "#717581")
"""Colours of stacked backgrounds: the palette of M. Petroff, arXiv:2107.02270, without the colours of signals."""

SIGNAL_COLORS = ("#bd1f01", "#832db6", "#000000", "#0072b2", "#009e73", "#cc79a7")
"""Colours of signal lines."""

DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)))
"""Line styles, which distinguish lines without colours."""

_COMMON: Mapping[str, Any] = {
    "font.family": ["TeX Gyre Heros", "DejaVu Sans"],
    "font.size": 17,
    "axes.labelsize": 18,
    "axes.linewidth": 1.2,
    "axes.labelpad": 6,
    "axes.xmargin": 0.0,
    "axes.autolimit_mode": "data",
    "axes.unicode_minus": True,
    "mathtext.default": "regular",
    "axes.formatter.limits": (-4, 6),
    "axes.formatter.useoffset": False,
    "xtick.labelsize": 15,
    "ytick.labelsize": 15,
    "xtick.major.size": 8,
    "ytick.major.size": 8,
    "xtick.minor.size": 4,
    "ytick.minor.size": 4,
    "legend.fontsize": 13.5,
    "legend.title_fontsize": 14.5,
    "legend.labelspacing": 0.35,
    "legend.borderpad": 0.2,
    "legend.borderaxespad": 0.7,
    "legend.handlelength": 1.8,
    "legend.columnspacing": 1.2,
    "legend.frameon": True,
    "legend.framealpha": 0.9,
    "legend.edgecolor": "none",
    "legend.fancybox": False,
    "hatch.linewidth": 0.7,
    "pdf.fonttype": 42,
    "figure.dpi": 100,
}


class PresentationSettings(Settings):
    """Style and labels of figures."""

    experiment: Experiment = "plain"
    """Style and label of CMS or ATLAS; "plain" is the style of CMS without the name of an experiment."""
    label: Line = Field(default="Simulation", examples=["Simulation Preliminary"])
    """Text next to the name of the experiment; a leading "Simulation" is left out in figures with data."""
    dots_per_inch: int = Field(default=150, ge=50, le=600)
    """Resolution of PNG files."""
    axis_labels: Mapping[Name, Line] = Field(default_factory=dict, examples=[{"dijet_mass": "$m_{jj}$ [GeV]"}])
    """Axis titles by name of the feature, with the unit in square brackets; default: the name of the feature."""


@dataclass(frozen=True)
class Style:
    """Style of the experiment, and its label with luminosity and energy.

    Attributes:
        experiment: "plain", "CMS" or "ATLAS".
        label: text next to the name of the experiment; a leading "Simulation" is left out in figures with data.
        luminosity_ifb: integrated luminosity [1/fb]; None leaves it out.
        sqrt_s_tev: centre-of-mass energy [TeV]; None leaves it out.

    Example:
        >>> Style("CMS", "Simulation Preliminary", 138.0, 13.0).label_for(data=True)
        'Preliminary'
    """

    experiment: Experiment = "plain"
    label: str = "Simulation"
    luminosity_ifb: float | None = None
    sqrt_s_tev: float | None = None

    @property
    def parameters(self) -> Any:
        """Dictionary of the matplotlib settings of this style."""
        base = mplhep.style.ATLAS if self.experiment == "ATLAS" else mplhep.style.CMS
        return {**base, **_COMMON}

    @contextmanager
    def context(self) -> Iterator[None]:
        """Apply the style inside a `with` block only."""
        with mpl.rc_context(self.parameters):
            yield

    def label_for(self, *, data: bool) -> str:
        """Text next to the name of the experiment, in a figure with or without data."""
        return self.label.removeprefix("Simulation").strip() if data else self.label


@dataclass(frozen=True)
class Look:
    """Labels and colours of processes, and axis titles of features.

    Attributes:
        roles: role by process.
        labels: label by process; default: its name.
        colors: colour by process; default: the next one of a colour-blind safe palette.
        axis_labels: axis title by feature, with its unit in square brackets as in "Dimuon mass [GeV]"; default: its
            name.
    """

    roles: Mapping[str, Role]
    labels: Mapping[str, str] = field(default_factory=dict)
    colors: Mapping[str, str | None] = field(default_factory=dict)
    axis_labels: Mapping[Name, Line] = field(default_factory=dict)

    def label(self, process: str) -> str:
        """Label of a process."""
        return self.labels.get(process, process)

    def axis_label(self, feature: str) -> str:
        """Axis title of a feature; a dollar sign in its name is drawn as such."""
        return self.axis_labels.get(feature) or feature.replace("$", r"\$")

    def fill_colors(self, names: Sequence[str]) -> dict[str, str]:
        """Colours of filled areas: those of the settings, and for the others the palette in order.

        Example:
            >>> Look({}, colors={"ttbar": "#92dadd"}).fill_colors(["dy", "ttbar"])
            {'dy': '#ffa90e', 'ttbar': '#92dadd'}
        """
        return _colors(names, self.colors, FILL_COLORS)

    def signal_colors(self, names: Sequence[str]) -> dict[str, str]:
        """Colours of signal lines, with a palette of their own."""
        return _colors(names, self.colors, SIGNAL_COLORS)


class StyledFigure(Figure):
    """A figure outside of pyplot's global state that is always drawn in its own style.

    Matplotlib reads some settings (fonts, mathematical text, ticks) only when it draws, so that a figure saved after
    the end of its style context would lose them. This one restores them whenever it is drawn.
    """

    def __init__(self, parameters: Any, **options: Any) -> None:
        self._parameters: Any = dict(parameters)
        with mpl.rc_context(self._parameters):
            super().__init__(**options)

    def draw(self, renderer: RendererBase) -> None:
        """Draw in the style of the figure."""
        with mpl.rc_context(self._parameters):
            super().draw(renderer)

    def get_tightbbox(self, *args: Any, **options: Any) -> Any:
        """Measure in the style of the figure."""
        with mpl.rc_context(self._parameters):
            return super().get_tightbbox(*args, **options)

    def _repr_png_(self) -> bytes:
        """Show in a notebook."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=80)
        return buffer.getvalue()


def new_figure(style: Style, width: float, height: float) -> StyledFigure:
    """Make an empty figure with width and height in inches; to be called inside `style.context()`."""
    return StyledFigure(style.parameters, figsize=(width, height))


def add_label(style: Style, left: Axes, right: Axes | None = None, *, data: bool = False) -> list[Any]:
    """Write the label of the experiment, the luminosity and the energy in the format of the experiment.

    Args:
        style: label, luminosity and energy.
        left: axes with the name of the experiment.
        right: axes with the luminosity, by default `left`; in the format of ATLAS all text is in `left`.
        data: whether the figure shows data.

    Returns:
        The text artists inside `left`, which a legend must not cover.
    """
    text = style.label_for(data=data)
    energy = None if style.sqrt_s_tev is None else f"{style.sqrt_s_tev:g}"
    luminosity = None if style.luminosity_ifb is None else f"{style.luminosity_ifb:g}"
    common: dict[str, Any] = {"com": energy, "lumi": luminosity, "scilocator_adjust": False}
    if style.experiment == "ATLAS":
        both = (f"√s = {energy} TeV" if energy else "", rf"{luminosity} $\mathrm{{fb^{{-1}}}}$" if luminosity else "")
        common["rlabel"] = ", ".join(part for part in both if part)
        texts = mplhep.label.exp_label(
            exp="ATLAS", llabel=text, loc=4, ax=left, fontsize=16, fontstyle=_ATLAS, **common
        )
        return [artist for artist in texts if artist is not None and artist.get_text()]
    name, weight, slant = ("CMS", "bold", "normal") if style.experiment == "CMS" else (text, "normal", "italic")
    suffix = text if style.experiment == "CMS" else ""
    options = {"fontweight": (weight, *["normal"] * 3), "fontstyle": (slant, "italic", "normal", "normal")}
    sizes = {"fontsize": (22 if style.experiment == "CMS" else 17, 17, 16, 13)}
    if right is None or right is left:
        mplhep.label.exp_label(exp=name, llabel=suffix, ax=left, **common, **options, **sizes)
    else:
        mplhep.label.exp_label(exp=name, llabel=suffix, rlabel="", ax=left, scilocator_adjust=False, **options, **sizes)
        mplhep.label.exp_label(exp="", llabel="", ax=right, **common, **options, **sizes)
    return []


_ATLAS = ("italic", "normal", "normal", "normal")


def _colors(names: Sequence[str], chosen: Mapping[str, str | None], palette: Sequence[str]) -> dict[str, str]:
    taken = {chosen.get(name) for name in names}
    free = [color for color in palette if color not in taken] or list(palette)
    unchosen = [name for name in names if not chosen.get(name)]
    given = {name: free[i % len(free)] for i, name in enumerate(unchosen)}
    return {name: chosen.get(name) or given[name] for name in names}
