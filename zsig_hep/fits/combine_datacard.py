"""Combine datacards, with shapes from the ROOT file or with yields alone."""

from pathlib import Path
from typing import Literal

from zsig_hep.errors import OutputError
from zsig_hep.files import atomic_path
from zsig_hep.fits.templates import ChannelTemplates, ExportSettings, FitTemplates, log_normal_factors

Variant = Literal["counting", "shapes"]

SIGNAL_STRENGTH = "r"
"""Name of the parameter of interest in Combine."""

# In bins with fewer effective entries, Combine gives each process a statistical parameter of its own.
_STATISTICS_THRESHOLD = 10

_RULE = "-" * 80

_Columns = list[tuple[ChannelTemplates, str]]


def build_datacard(templates: FitTemplates, settings: ExportSettings, variant: Variant, *, histograms: str = "") -> str:
    """Make a datacard of the CMS statistics tool Combine from templates.

    "shapes" refers to the histograms of `write_templates`: weight and shape variations are `shape` lines, luminosities
    and normalisations are `lnN` lines with the factors down/up, and `autoMCStats` adds the uncertainty of the
    simulation. Background uncertainties are `lnN` lines with 1 + k in both. "counting" has the yields of whole channels: all variations are `lnN` lines, and the uncertainty of the
    simulation is one `lnN` line for each process and channel. Combine's signal strength r multiplies all signal
    processes.

    Args:
        templates: templates of the fit.
        settings: whether the fit includes the statistical uncertainty of the simulation.
        variant: "counting" or "shapes".
        histograms: for "shapes", the path of the ROOT file relative to the datacard.

    Returns:
        The text of the datacard.

    Raises:
        OutputError: a variation has the name of Combine's signal strength or of another nuisance parameter.

    Example:
        >>> import numpy as np
        >>> from zsig_hep.fits.templates import Template
        >>> signal, background = (Template(np.array([n]), np.array([n])) for n in (10.0, 25.0))
        >>> channel = ChannelTemplates("sr", "events", np.array([0.0, 1.0]), {"higgs": signal, "dy": background}, {}, None)
        >>> templates = FitTemplates((channel,), ("higgs", "dy"), ("signal", "background"), ("H", "Z"), {}, 140.0)
        >>> print(build_datacard(templates, ExportSettings(simulation_uncertainty=False), "counting"))  # doctest: +ELLIPSIS
        # zsig_hep, 140 /fb; observed: Asimov data of the background (blinded)
        imax 1 number of channels
        jmax 1 number of processes minus 1
        kmax * number of nuisance parameters
        ---...
        bin          sr
        observation  25
        ---...
        bin      sr     sr
        process  higgs  dy
        process  0      1
        rate     10     25
        ---...
    """
    _check_variations(templates)
    columns = [(channel, process) for channel in templates.channels for process in channel.nominal]
    observed = "Asimov data of the background (blinded)" if templates.is_blinded else "data"
    lines = [
        f"# zsig_hep, {templates.luminosity_ifb:g} /fb; observed: {observed}",
        f"imax {len(templates.channels)} number of channels",
        f"jmax {len(templates.process_names) - 1} number of processes minus 1",
        "kmax * number of nuisance parameters",
        _RULE,
    ]
    if variant == "shapes":
        lines += [f"shapes * * {histograms} $CHANNEL/$PROCESS $CHANNEL/$PROCESS_$SYSTEMATIC", _RULE]
    lines += [*_observation(templates), _RULE, *_rates(templates, columns), _RULE]
    nuisances = _variation_rows(templates, columns, variant) + _uncertainty_rows(templates, columns)
    if settings.simulation_uncertainty and variant == "counting":
        nuisances += _statistics_rows(columns)
    lines += _aligned(nuisances)
    if settings.simulation_uncertainty and variant == "shapes":
        lines.append(f"* autoMCStats {_STATISTICS_THRESHOLD}")
    return "\n".join(lines) + "\n"


def write_datacard(path: Path, card: str) -> None:
    """Write a datacard.

    Args:
        path: the file.
        card: result of `build_datacard`.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(card)


def _observation(templates: FitTemplates) -> list[str]:
    numbers = [_number(templates.observed(channel).sum()) for channel in templates.channels]
    return _aligned([["bin", *(channel.name for channel in templates.channels)], ["observation", *numbers]])


def _rates(templates: FitTemplates, columns: _Columns) -> list[str]:
    # In Combine indices of 0 and below are signals.
    indices = {name: -row for row, name in enumerate(templates.signals)}
    indices |= {name: row + 1 for row, name in enumerate(templates.backgrounds)}
    return _aligned(
        [
            ["bin", *(channel.name for channel, _ in columns)],
            ["process", *(process for _, process in columns)],
            ["process", *(str(indices[process]) for _, process in columns)],
            ["rate", *(_number(channel.nominal[process].total) for channel, process in columns)],
        ]
    )


def _variation_rows(templates: FitTemplates, columns: _Columns, variant: Variant) -> list[list[str]]:
    rows = []
    for variation, kind in templates.kinds.items():
        is_shape = variant == "shapes" and kind in {"weight", "shape"}
        cells = []
        for channel, process in columns:
            if process not in channel.varied.get(variation, {}):
                cells.append("-")
            elif is_shape:
                cells.append("1")
            else:
                up, down = channel.factors(variation, process)
                cells.append(f"{_number(down)}/{_number(up)}")
        rows.append([variation, "shape" if is_shape else "lnN", *cells])
    return rows


def _uncertainty_rows(templates: FitTemplates, columns: _Columns) -> list[list[str]]:
    # A single number is the factor up in Combine, and its inverse the factor down.
    return [
        [
            parameter,
            "lnN",
            *(
                _number(log_normal_factors(of_processes[name])[0]) if name in of_processes else "-"
                for _, name in columns
            ),
        ]
        for parameter, of_processes in templates.uncertainties.items()
    ]


def _statistics_rows(columns: _Columns) -> list[list[str]]:
    rows = []
    for column, (channel, process) in enumerate(columns):
        template = channel.nominal[process]
        if template.uncertainty > 0:
            cells = ["-"] * len(columns)
            cells[column] = _number(1 + template.uncertainty / template.total)
            rows.append([_statistics_name(channel, process), "lnN", *cells])
    return rows


def _statistics_name(channel: ChannelTemplates, process: str) -> str:
    return f"stat_{channel.name}_{process}"


def _check_variations(templates: FitTemplates) -> None:
    own = {_statistics_name(channel, process) for channel in templates.channels for process in channel.nominal}
    for name in templates.kinds:
        if name == SIGNAL_STRENGTH or name in own:
            message = f"Combine has a parameter '{name}' of its own; rename the variation."
            raise OutputError(message)


def _number(value: float) -> str:
    return f"{value:.10g}"


def _aligned(rows: list[list[str]]) -> list[str]:
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
