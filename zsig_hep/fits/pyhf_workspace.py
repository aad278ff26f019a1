"""pyhf workspaces: the whole fit in one JSON document, in the HistFactory schema."""

import importlib
import importlib.util
import json
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zsig_hep.errors import OutputError
from zsig_hep.files import atomic_path
from zsig_hep.fits.templates import ChannelTemplates, ExportSettings, FitTemplates, log_normal_factors

JsonDict = dict[str, Any]

LUMINOSITY_PARAMETER = "lumi"
"""Name of the luminosity parameter, which the schema fixes."""

SCHEMA_VERSION = "1.0.0"
_MEASUREMENT = "search"


@dataclass(frozen=True)
class LuminosityUncertainty:
    """The luminosity variation of a workspace, which scales all processes it touches by 1 +- `relative`.

    Attributes:
        name: name of the variation.
        relative: relative standard deviation of the luminosity.
    """

    name: str
    relative: float


def luminosity_uncertainty(templates: FitTemplates) -> LuminosityUncertainty | None:
    """The variation that becomes the luminosity parameter of a workspace.

    The schema has one luminosity with a symmetric uncertainty. The variation must therefore be the only one of kind
    "luminosity" and have the same size up and down in all channels and processes. Otherwise luminosity variations
    become normalisations.

    Args:
        templates: templates of the fit.

    Returns:
        Name and size of the variation, or None.
    """
    names = [name for name, kind in templates.kinds.items() if kind == "luminosity"]
    if len(names) != 1:
        return None
    factors = np.array(
        [
            channel.factors(names[0], process)
            for channel in templates.channels
            for process in channel.varied.get(names[0], {})
        ]
    )
    if factors.size == 0:
        return None
    size = float(factors[0, 0] - 1)
    if size > 0 and np.allclose(factors, [1 + size, 1 - size], rtol=0, atol=1e-6 * size + 1e-12):
        return LuminosityUncertainty(names[0], size)
    return None


def build_workspace(templates: FitTemplates, settings: ExportSettings, *, measurement: str = _MEASUREMENT) -> JsonDict:
    """Make a HistFactory model from templates.

    The expected number of events in bin i of a channel is

        nu_i = sum_p gamma_pi mu_p lambda_p prod_v kappa_pv(alpha_v) [n_pi + sum_v delta_pvi(alpha_v)]      (1)

    with mu_p = mu for signals and 1 otherwise, lambda_p the luminosity where it is uncertain, and for each variation v
    a parameter alpha_v with a normal constraint. A variation changes the yield by its factors kappa ("normsys": N_up /
    N and N_down / N), and in channels of several bins the shape by delta ("histosys": templates up and down scaled to
    the nominal yield); luminosities and normalisations have no shape. The parameters of `FitTemplates.uncertainties`
    are further alpha_v, with the factors kappa 1 + k and 1 / (1 + k). Without data the observation is the Asimov data
    of the background.

    gamma_pi ("staterror") has the statistical uncertainty of the simulation, sqrt(sum w^2). All backgrounds share one
    parameter per bin, and all signals another. One parameter for all processes, as is usual in HistFactory, would have
    the uncertainty of the background relative to s + b, which is too small by the factor b / (s + b) in the hypothesis
    without signal.

    Args:
        templates: templates of the fit.
        settings: parameter of interest, and whether the model has gamma_pi.
        measurement: name of the measurement.

    Returns:
        The workspace, of JSON types only; pyhf is not needed.

    Raises:
        OutputError: a variation or an uncertainty has the name of another parameter.

    Example:
        >>> from zsig_hep.fits.templates import Template
        >>> signal, background = (Template(np.array([n]), np.array([n])) for n in (10.0, 25.0))
        >>> channel = ChannelTemplates("sr", "events", np.array([0.0, 1.0]), {"higgs": signal, "dy": background}, {}, None)
        >>> templates = FitTemplates((channel,), ("higgs", "dy"), ("signal", "background"), ("H", "Z"), {}, 140.0)
        >>> workspace = build_workspace(templates, ExportSettings())
        >>> workspace["observations"], [sample["name"] for sample in workspace["channels"][0]["samples"]]
        ([{'name': 'sr', 'data': [25.0]}], ['higgs', 'dy'])
    """
    _check_parameters(templates, settings)
    luminosity = luminosity_uncertainty(templates)
    parameters: list[JsonDict] = [
        {"name": settings.signal_strength, "inits": [1.0], "bounds": [[0.0, settings.signal_strength_maximum]]}
    ]
    if luminosity is not None:
        parameters.append(_luminosity_parameter(luminosity))
    return {
        "channels": [
            {"name": channel.name, "samples": _samples(templates, channel, settings, luminosity)}
            for channel in templates.channels
        ],
        "measurements": [
            {"name": measurement, "config": {"poi": settings.signal_strength, "parameters": parameters}},
        ],
        "observations": [
            {"name": channel.name, "data": templates.observed(channel).tolist()} for channel in templates.channels
        ],
        "version": SCHEMA_VERSION,
    }


def write_workspace(path: Path, workspace: JsonDict) -> bool:
    """Write a workspace as JSON, after a check by pyhf if it is installed.

    Args:
        path: the file.
        workspace: result of `build_workspace`.

    Returns:
        Whether pyhf checked it.

    Raises:
        OutputError: pyhf refuses the workspace, or the file cannot be written.
    """
    checked = validate_workspace(workspace)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(workspace, indent=1, allow_nan=False) + "\n")
    return checked


def validate_workspace(workspace: JsonDict) -> bool:
    """Check a workspace against the schema of pyhf and build its model, if pyhf is installed.

    Args:
        workspace: result of `build_workspace`.

    Returns:
        Whether pyhf is installed and checked it.

    Raises:
        OutputError: pyhf refuses the workspace.
    """
    if importlib.util.find_spec("pyhf") is None:
        return False
    pyhf: Any = importlib.import_module("pyhf")
    try:
        with warnings.catch_warnings():
            # pyhf 0.7 uses a class that jsonschema deprecates; users can do nothing about it.
            warnings.filterwarnings("ignore", message="jsonschema", category=DeprecationWarning)
            model = pyhf.Workspace(workspace).model()
        expected = model.expected_actualdata(model.config.suggested_init())
    except (
        pyhf.exceptions.InvalidSpecification,
        pyhf.exceptions.InvalidModel,
        pyhf.exceptions.InvalidModifier,
    ) as error:
        message = f"pyhf refuses the workspace: {error}"
        raise OutputError(message) from error
    if not all(math.isfinite(number) and number > 0 for number in expected):
        message = "The workspace expects bins without events, for which no Poisson probability exists."
        raise OutputError(message)
    return True


def _check_parameters(templates: FitTemplates, settings: ExportSettings) -> None:
    """Refuse variations with the name of another parameter."""
    taken = {settings.signal_strength: "the signal strength"}
    taken |= {
        _staterror(channel, signal=signal): "the simulation's uncertainty"
        for channel in templates.channels
        for signal in (False, True)
    }
    for name, kind in templates.kinds.items():
        others = taken if kind == "luminosity" else taken | {LUMINOSITY_PARAMETER: "the luminosity"}
        if name in others:
            message = f"Variation '{name}' has the name of the parameter of {others[name]}; rename the variation."
            raise OutputError(message)
    if (name := settings.signal_strength) in templates.uncertainties:
        message = f"The signal strength has the name of a background uncertainty, '{name}'; choose another name for it."
        raise OutputError(message)


def _luminosity_parameter(luminosity: LuminosityUncertainty) -> JsonDict:
    # The templates are yields at the luminosity, so the parameter is relative to it.
    reach = min(5 * luminosity.relative, 1.0)
    return {
        "name": LUMINOSITY_PARAMETER,
        "inits": [1.0],
        "bounds": [[1 - reach, 1 + reach]],
        "auxdata": [1.0],
        "sigmas": [luminosity.relative],
    }


def _samples(
    templates: FitTemplates,
    channel: ChannelTemplates,
    settings: ExportSettings,
    luminosity: LuminosityUncertainty | None,
) -> list[JsonDict]:
    samples = []
    for name, template in channel.nominal.items():
        modifiers: list[JsonDict] = []
        is_signal = name in templates.signals
        if settings.simulation_uncertainty:
            stdev = np.sqrt(template.variances).tolist()
            modifiers.append({"name": _staterror(channel, signal=is_signal), "type": "staterror", "data": stdev})
        if is_signal:
            modifiers.append({"name": settings.signal_strength, "type": "normfactor", "data": None})
        for variation, pairs in channel.varied.items():
            if name not in pairs:
                continue
            if luminosity is not None and variation == luminosity.name:
                modifiers.append({"name": LUMINOSITY_PARAMETER, "type": "lumi", "data": None})
            else:
                modifiers += _variation_modifiers(templates, channel, variation, name)
        modifiers += [
            _normsys(parameter, *log_normal_factors(of_processes[name]))
            for parameter, of_processes in templates.uncertainties.items()
            if name in of_processes
        ]
        samples.append({"name": name, "data": template.values.tolist(), "modifiers": modifiers})
    return samples


def _variation_modifiers(
    templates: FitTemplates, channel: ChannelTemplates, variation: str, process: str
) -> list[JsonDict]:
    high, low = channel.factors(variation, process)
    modifiers = [_normsys(variation, high, low)]
    if channel.bins > 1 and templates.kinds[variation] in {"weight", "weight_set", "shape"}:
        up, down = channel.varied[variation][process]
        shapes = {"hi_data": (up.values / high).tolist(), "lo_data": (down.values / low).tolist()}
        modifiers.append({"name": variation, "type": "histosys", "data": shapes})
    return modifiers


def _normsys(name: str, high: float, low: float) -> JsonDict:
    return {"name": name, "type": "normsys", "data": {"hi": high, "lo": low}}


def _staterror(channel: ChannelTemplates, *, signal: bool) -> str:
    return f"{'signal_' if signal else ''}staterror_{channel.name}"
