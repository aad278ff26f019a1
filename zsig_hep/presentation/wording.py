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

_OF_SIMULATION = "with the variance of the simulation"

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


QUANTITY_NAMES = {
    "binned_significance": "binned significance",
    "area": "area under the ROC curve",
    "log_loss": "log loss",
    "significance": "Z at the chosen cuts",
}
"""Quantities that compare classifiers; those without a cut first."""
_PARTS = {"training": "the training", "choice": "the choice of cuts"}


def _with_uncertainty_of_what(text: str, objective: Objective, *, variations: bool) -> str:
    """Say so where a figure with uncertainty has no other uncertainty than that of the simulation."""
    given = (
        variations
        or objective.relative_background_uncertainty > 0
        or any(k > 0 for k in objective.background_uncertainties.values())
    )
    if given or not objective.simulation_uncertainty_in_figure:
        return text
    return text.replace("with background uncertainty", _OF_SIMULATION)


def figure_of_merit_label(objective: Objective, *, variations: bool = False) -> str:
    r"""Axis title of a figure of merit, with LaTeX markup, and whether systematic variations are in it.

    Example:
        >>> figure_of_merit_label(Objective(FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, simulation_uncertainty_in_figure=True))
        '$Z_\\mathrm{A}$ with the variance of the simulation'
    """
    return _with_uncertainty_of_what(FIGURE_OF_MERIT_LABELS[objective.figure], objective, variations=variations)


def figure_of_merit_name(objective: Objective, *, variations: bool = False) -> str:
    """Name a figure of merit, with the parameters in its definition, and whether systematic variations are in it.

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
    name = _with_uncertainty_of_what(FIGURE_OF_MERIT_NAMES[objective.figure], objective, variations=variations)
    return name + numbers.get(objective.figure, "")


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
    sentences += [sentence for comparison in summary["comparison"] for sentence in _compared(comparison, summary)]
    if any(classifier["working_point"]["status"] == "ok" for classifier in summary["classifiers"]):
        sentences.append(
            "The cut of each fold was chosen on the other folds, and every event was scored by networks that were not "
            f"trained on it. Uncertainties are those of the finite simulation{_of_choice(summary)}."
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
        f"The classifier “{name}” reaches Z = {significance}: its exported cuts select {signal} signal events over "
        f"{background} background events, at a signal efficiency of {percent(point['signal_efficiency'])}."
    )


def _of_choice(summary: Mapping[str, Any]) -> str:
    partitions = max(len(classifier["working_point"]["partitions"]) for classifier in summary["classifiers"])
    return f" and of the choice of the cuts, which was repeated over {partitions} partitions" if partitions > 1 else ""


def _compared(comparison: Mapping[str, Any], summary: Mapping[str, Any]) -> list[str]:
    """Say what separates two classifiers, first by a quantity without a cut."""
    labels = {classifier["name"]: classifier["label"] for classifier in summary["classifiers"]}
    first, second = (labels[comparison[place]] for place in ("first", "second"))
    sentences = []
    for each in comparison["quantities"]:
        number = with_uncertainty(each["value"], each["uncertainty"])
        name = QUANTITY_NAMES[each["quantity"]]
        if each["quantity"] == "binned_significance":
            sentences.append(
                f"On the same events and without a cut, the {name} of “{first}” minus that of “{second}” is {number}: "
                f"{verdict(each, labels)}."
            )
        if each["quantity"] == "significance":
            sentences.append(f"Their {name} differs by {number}: {verdict(each, labels)}.")
    return sentences


def verdict(difference: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """Say which of two classifiers is better, only where the error is complete and small enough.

    Args:
        difference: a `QuantityDifference` as in `summary.json`.
        labels: labels of the classifiers by name.

    Example:
        >>> lacking = {"missing": ["training"], "better": None, "standard_deviations": None}
        >>> verdict(lacking, {})
        'the error lacks the training; no winner is named'
        >>> verdict({"missing": [], "better": "z", "standard_deviations": 2.345}, {"z": "Z loss"})
        '“Z loss” is better by 2.3 standard deviations'
    """
    if difference["missing"]:
        return f"the error lacks {' and '.join(_PARTS[part] for part in difference['missing'])}; no winner is named"
    if difference["better"] is None:
        return "the difference is not significant"
    sigmas = significant(difference["standard_deviations"], 2)
    return f"“{labels[difference['better']]}” is better by {sigmas} standard deviations"
