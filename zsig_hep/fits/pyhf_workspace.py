"""A pyhf workspace: the whole fit in one JSON document, in the HistFactory schema that ATLAS publishes likelihoods in."""

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
from zsig_hep.fits.templates import ChannelTemplates, ExportSettings, FitTemplates

JsonDict = dict[str, Any]

LUMINOSITY_PARAMETER = "lumi"
"""The only name that the schema has for the parameter of the luminosity."""

SCHEMA_VERSION = "1.0.0"
_MEASUREMENT = "search"


@dataclass(frozen=True)
class LuminosityUncertainty:
    """A variation that scales every process that it touches by one factor, up and down alike.

    Attributes:
        name: of the variation.
        relative: its relative standard deviation.
    """

    name: str
    relative: float


def luminosity_uncertainty(templates: FitTemplates) -> LuminosityUncertainty | None:
    """The variation that a workspace holds as the uncertainty of the luminosity.

    It must be the only one of kind "luminosity", and have the same size everywhere, up and down: the schema knows one
    luminosity with a symmetric uncertainty. Otherwise luminosities are normalisations like others.

    Args:
        templates: the templates of the fit.

    Returns:
        Name and size, or None.
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
    """Write templates as a HistFactory model.

    The expected number of events in bin i of a channel is

        nu_i = sum_p gamma_pi mu_p lambda_p prod_v kappa_pv(alpha_v) [n_pi + sum_v delta_pvi(alpha_v)]      (1)

    with mu_p = mu for signals and 1 otherwise, lambda_p the luminosity where it is uncertain, and for each variation v
    a parameter alpha_v with a normal constraint. A variation changes the yield by its factors kappa ("normsys": N_up / N
    and N_down / N), and in channels of several bins the shape by delta ("histosys": templates up and down scaled to the
    nominal yield); luminosities and normalisations have no shape. Without data the observation is the Asimov data of
    the background.

    gamma_pi ("staterror") varies within the uncertainty of the simulation, sqrt(sum w^2). All backgrounds share one per
    bin, and all signals another. HistFactory's custom of one for everything would take the uncertainty of the background
    relative to s + b, and so understate it by b / (s + b) in the hypothesis without signal, which a discovery tests.

    Args:
        templates: what is fitted.
        settings: parameter of interest, and whether there are gamma_i.
        measurement: name of the measurement.

    Returns:
        The workspace, of JSON types only; pyhf is not needed to make it.

    Raises:
        OutputError: a variation has the name of another parameter.

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
    """Write a workspace as JSON, after pyhf, where it is installed, accepted it.

    Args:
        path: the file.
        workspace: of `build_workspace`.

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
    """Let pyhf check a workspace against its schema and build the model, if pyhf is installed.

    Args:
        workspace: of `build_workspace`.

    Returns:
        Whether pyhf is installed and has checked it.

    Raises:
        OutputError: pyhf refuses the workspace.
    """
    if importlib.util.find_spec("pyhf") is None:
        return False
    pyhf: Any = importlib.import_module("pyhf")
    try:
        with warnings.catch_warnings():
            # pyhf 0.7 reads its schema by a class that jsonschema means to remove; nothing for users to do about it.
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
        message = "The workspace expects bins without events, of which no Poisson probability exists."
        raise OutputError(message)
    return True


def _check_parameters(templates: FitTemplates, settings: ExportSettings) -> None:
    """Refuse variations that would share the parameter of something else."""
    for name, kind in templates.kinds.items():
        taken = {settings.signal_strength: "the signal strength"}
        taken |= {
            _staterror(channel, signal=signal): "the simulation's uncertainty"
            for channel in templates.channels
            for signal in (False, True)
        }
        if kind != "luminosity":
            taken[LUMINOSITY_PARAMETER] = "the luminosity"
        if name in taken:
            message = f"Variation '{name}' has the name of the parameter of {taken[name]}; rename the variation."
            raise OutputError(message)


def _luminosity_parameter(luminosity: LuminosityUncertainty) -> JsonDict:
    # The templates are yields at the luminosity, so that the parameter is relative to it.
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
        samples.append({"name": name, "data": template.values.tolist(), "modifiers": modifiers})
    return samples


def _variation_modifiers(
    templates: FitTemplates, channel: ChannelTemplates, variation: str, process: str
) -> list[JsonDict]:
    high, low = channel.factors(variation, process)
    modifiers: list[JsonDict] = [{"name": variation, "type": "normsys", "data": {"hi": high, "lo": low}}]
    if channel.bins > 1 and templates.kinds[variation] in {"weight", "shape"}:
        up, down = channel.varied[variation][process]
        shapes = {"hi_data": (up.values / high).tolist(), "lo_data": (down.values / low).tolist()}
        modifiers.append({"name": variation, "type": "histosys", "data": shapes})
    return modifiers


def _staterror(channel: ChannelTemplates, *, signal: bool) -> str:
    return f"{'signal_' if signal else ''}staterror_{channel.name}"
