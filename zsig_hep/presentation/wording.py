"""Results in words: the first paragraph of the report, names of figures of merit, and labels without LaTeX markup."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from zsig_hep.presentation.rounding import percent, significant, with_uncertainty
from zsig_hep.selection.smooth_figure import Parameter
from zsig_hep.statistics.objective import Objective
from zsig_hep.statistics.significance import FigureOfMerit

_SYMBOLS = {
    "to": "→", "rightarrow": "→", "gamma": "γ", "mu": "μ", "nu": "ν", "tau": "τ", "ell": "ℓ", "pi": "π", "eta": "η",
    "phi": "φ", "Delta": "Δ", "Lambda": "Λ", "Sigma": "Σ", "sigma": "σ", "alpha": "α", "beta": "β", "chi": "χ",
    "psi": "ψ", "Upsilon": "Υ", "pm": "±", "mp": "∓", "times": "×", "ast": "*", "star": "*", "prime": "′", "sqrt": "√",
    "geq": "≥", "leq": "≤", "mathrm": "", "text": "", "mathit": "", "mathbf": "", "rm": "", "quad": " ",
}  # fmt: skip
_SUPERSCRIPTS = str.maketrans("0123456789+-*", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻*")
_SUBSCRIPTS = str.maketrans("0123456789+-", "₀₁₂₃₄₅₆₇₈₉₊₋")

FIGURE_OF_MERIT_NAMES = {
    FigureOfMerit.S_OVER_SQRT_B: "s/sqrt(b)",
    FigureOfMerit.S_OVER_SQRT_B_WITH_UNCERTAINTY: "s/sqrt(b) with background uncertainty",
    FigureOfMerit.ASIMOV: "Asimov significance",
    FigureOfMerit.ASIMOV_WITH_UNCERTAINTY: "Asimov significance with background uncertainty",
    FigureOfMerit.AMS: "approximate median significance (AMS)",
    FigureOfMerit.PUNZI: "Punzi's s/(a/2 + sqrt(b))",
    FigureOfMerit.POISSON: "exact Poisson significance",
    FigureOfMerit.POISSON_WITH_UNCERTAINTY: "exact Poisson significance with background uncertainty (Z_Bi)",
}

FIGURE_OF_MERIT_LABELS = {
    FigureOfMerit.S_OVER_SQRT_B: "Significance $s$/√$b$",
    FigureOfMerit.S_OVER_SQRT_B_WITH_UNCERTAINTY: r"Significance $s$/√($b+\sigma_b^2$)",
    FigureOfMerit.ASIMOV: r"Asimov significance $Z_\mathrm{A}$",
    FigureOfMerit.ASIMOV_WITH_UNCERTAINTY: r"$Z_\mathrm{A}$ with background uncertainty",
    FigureOfMerit.AMS: "Approximate median significance (AMS)",
    FigureOfMerit.PUNZI: "Punzi’s $s$/($a$/2 + √$b$)",
    FigureOfMerit.POISSON: "Significance of the Poisson tail",
    FigureOfMerit.POISSON_WITH_UNCERTAINTY: r"$Z_\mathrm{Bi}$ (Poisson tail with background uncertainty)",
}
"""Axis titles, with LaTeX markup."""


def figure_of_merit_name(objective: Objective) -> str:
    """Name a figure of merit, with the parameters in its definition.

    Example:
        >>> from zsig_hep.statistics import FigureParameters
        >>> figure_of_merit_name(Objective(FigureOfMerit.PUNZI, FigureParameters(punzi_sigmas=5)))
        "Punzi's s/(a/2 + sqrt(b)), a = 5"
    """
    parameters = objective.parameters
    numbers = {
        FigureOfMerit.AMS: f", b_r = {parameters.ams_regularisation:g}",
        FigureOfMerit.PUNZI: f", a = {parameters.punzi_sigmas:g}",
    }
    return FIGURE_OF_MERIT_NAMES[objective.figure] + numbers.get(objective.figure, "")


def plain_label(label: str) -> str:
    r"""Replace LaTeX markup in a label by Unicode characters, for HTML pages.

    Example:
        >>> plain_label(r"$Z/\gamma^{*} \to \mu^+\mu^-$"), plain_label(r"$t\bar{t}$ + jets")
        ('Z/γ* → μ⁺μ⁻', 'tt̄ + jets')
    """
    return re.sub(r"\$([^$]*)\$", lambda found: _plain_math(found.group(1)), label)


def _plain_math(text: str) -> str:
    text = re.sub(r"\\(?:bar|overline)\s*\{?(\w)\}?", "\\1\u0304", text)
    text = re.sub(r"\\([A-Za-z]+)\s?", lambda m: _spaced(_SYMBOLS.get(m.group(1), m.group(1))), text)
    text = re.sub(r"\\[,;:! ]", " ", text)
    text = re.sub(
        r"\^(?:\{([^}]*)\}|(\S))", lambda m: (m.group(1) or m.group(2) or "").strip().translate(_SUPERSCRIPTS), text
    )
    text = re.sub(r"_(?:\{([^}]*)\}|(\S))", lambda m: (m.group(1) or m.group(2) or "").translate(_SUBSCRIPTS), text)
    return re.sub(r"\s+", " ", text.replace("{", "").replace("}", "")).strip()


def _spaced(symbol: str) -> str:
    return f" {symbol} " if symbol in {"→", "±", "×", "≥", "≤"} else symbol


def parameter_label(parameter: Parameter, labels: Mapping[str, str]) -> str:
    """Name a parameter of the impact table.

    Example:
        >>> parameter_label(Parameter("cross_section", "dy"), {"dy": "Drell-Yan"})
        'σ(Drell-Yan)'
        >>> parameter_label(Parameter("uncertainty", None, 0.1), {})
        'uncertainty of all backgrounds'
    """
    name = "all backgrounds" if parameter.process is None else labels.get(parameter.process, parameter.process)
    return {"cross_section": f"σ({name})", "luminosity": "luminosity", "uncertainty": f"uncertainty of {name}"}[
        parameter.kind
    ]


def statement(summary: Mapping[str, Any]) -> list[str]:
    """Describe the results of a run.

    Args:
        summary: content of `summary.json`.

    Returns:
        Sentences of the first paragraph of the report.
    """
    sentences = [_setting(summary)]
    sentences += [_found(classifier) for classifier in summary["classifiers"]]
    if (difference := _difference(summary)) is not None:
        sentences.append(difference)
    if any(classifier["working_point"]["status"] == "ok" for classifier in summary["classifiers"]):
        sentences.append(
            "The cut of each fold was chosen on the other folds, and every event was scored by networks that were not "
            "trained on it. Uncertainties are those of the finite simulation."
        )
    return sentences


def _setting(summary: Mapping[str, Any]) -> str:
    energy = "" if summary["sqrt_s_tev"] is None else f" at √s = {summary['sqrt_s_tev']:g} TeV"
    signal, background = (_listed(summary["processes"], role) for role in ("signal", "background"))
    return (
        f"For {summary['luminosity_ifb']:g} fb⁻¹{energy}, a search for {signal} over {background} was optimised for "
        f"the figure of merit “{summary['figure_of_merit']}”{_uncertainties(summary)}{_combination(summary)}."
    )


def _uncertainties(summary: Mapping[str, Any]) -> str:
    """The uncertainties in the figure of merit, as “Drell-Yan 3 %, top pairs 20 %”."""
    given = [
        f"{plain_label(each['label'])} {_short_percent(each['relative'])}"
        for each in summary["background_uncertainties"]
        if each["relative"]
    ]
    if common := summary["relative_background_uncertainty"]:
        given.append(f"all backgrounds together {_short_percent(common)}")
    if summary["simulation_uncertainty_in_figure"]:
        given.append("the statistical uncertainty of the simulation")
    if summary["variations_in_figure"]:
        given.append("the systematic variations at the cut")
    return f" with these uncertainties: {', '.join(given)}" if given else ""


def _short_percent(fraction: float) -> str:
    return f"{100 * fraction:g}\u00a0%"


def _combination(summary: Mapping[str, Any]) -> str:
    if summary["signals"] == "sum":
        return ""
    which = "mean" if summary["signals"] == "mean" else "smallest"
    return f"; each signal is a separate hypothesis, and the {which} of their significances is maximised"


def _listed(rows: Sequence[Mapping[str, Any]], role: str) -> str:
    names = [plain_label(row["label"]) for row in rows if row["role"] == role]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _found(classifier: Mapping[str, Any]) -> str:
    point = classifier["working_point"]
    name = classifier["label"]
    if point["status"] != "ok":
        return f"The classifier “{name}” has no working point: {point['reason'].rstrip('.')}."
    significance = with_uncertainty(point["significance"], point["significance_uncertainty"])
    signal, background = (
        with_uncertainty(point[role]["yield"], point[role]["uncertainty"]) for role in ("signal", "background")
    )
    return (
        f"The classifier “{name}” reaches Z = {significance}: it selects {signal} signal events over {background} "
        f"background events, at a signal efficiency of {percent(point['signal_efficiency'])}."
    )


def _difference(summary: Mapping[str, Any]) -> str | None:
    comparison = summary["comparison"]
    if comparison is None or comparison["value"] is None:
        return None
    first, second = (classifier["label"] for classifier in summary["classifiers"][:2])
    difference, uncertainty = comparison["value"], comparison["uncertainty"]
    text = f"On the same events, Z of “{first}” minus Z of “{second}” is {with_uncertainty(difference, uncertainty)}"
    if not uncertainty:
        return f"{text}."
    sigmas = abs(difference) / uncertainty
    if sigmas < 2:
        return f"{text}: the difference is not significant."
    better = first if difference > 0 else second
    return f"{text}: “{better}” is better by {significant(sigmas, 2)} standard deviations."
