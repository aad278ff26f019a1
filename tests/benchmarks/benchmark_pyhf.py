"""Discovery significance of the exported workspaces by pyhf against the figures of merit of the package.

Run by name: `python tests/benchmarks/benchmark_pyhf.py`. Data are the Asimov data of the signal hypothesis, mu = 1; pyhf
profiles the likelihood and `zsig_hep.statistics` evaluates its closed form, the on/off problem. With the Poisson constraint
of that problem (shapesys) the two are the same function; the normal constraints of normsys and staterror are others.
"""

import argparse
import copy
from typing import Any

import numpy as np
import pyhf
from scipy.stats import norm

from zsig_hep.fits import Channels, ExportSettings, build_templates
from zsig_hep.fits.pyhf_workspace import build_workspace
from zsig_hep.fits.templates import ChannelTemplates, FitTemplates, Template
from zsig_hep.ntuples import EventTable
from zsig_hep.selection import ScoredEvents
from zsig_hep.statistics import asimov, asimov_with_uncertainty

POINTS = (
    (10.0, 25.0, 0.0),
    (5.0, 2.0, 0.0),
    (200.0, 10_000.0, 0.0),
    (10.0, 25.0, 0.05),
    (10.0, 25.0, 0.1),
    (10.0, 25.0, 0.2),
    (10.0, 25.0, 0.4),
    (5.0, 2.0, 0.3),
    (50.0, 1000.0, 0.05),
    (200.0, 10_000.0, 0.01),
)


def single_bin(signal: float, background: float, relative: float) -> FitTemplates:
    """One channel of one bin with a normalisation uncertainty of the background."""

    def template(value: float, variance: float = 0.0) -> Template:
        return Template(np.array([value]), np.array([variance]))

    nominal = {"higgs": template(signal), "dy": template(background, (relative * background) ** 2)}
    pair = template(background * (1 + relative)), template(background * (1 - relative))
    varied = {"dy_rate": {"dy": pair}} if relative else {}
    channel = ChannelTemplates("sr", "events", np.array([0.0, 1.0]), nominal, varied, None)
    kinds = dict.fromkeys(varied, "normalisation")
    return FitTemplates((channel,), ("higgs", "dy"), ("signal", "background"), ("H", "Z"), kinds, 140.0)


def discovery_significance(workspace: dict[str, Any]) -> float:
    """Z of the background hypothesis on Asimov data with mu = 1."""
    model = pyhf.Workspace(workspace).model()
    parameters = model.config.suggested_init()
    parameters[model.config.poi_index] = 1.0
    data = model.expected_data(parameters)
    return float(norm.isf(float(pyhf.infer.hypotest(0.0, data, model, test_stat="q0"))))


def with_only(workspace: dict[str, Any], constraint: str) -> dict[str, Any]:
    """The workspace with one kind of background uncertainty; shapesys is staterror with its Poisson constraint."""
    kept = {"shapesys": "staterror"}.get(constraint, constraint)
    changed = copy.deepcopy(workspace)
    for channel in changed["channels"]:
        for sample in channel["samples"]:
            is_signal = any(modifier["type"] == "normfactor" for modifier in sample["modifiers"])
            types = {"normfactor"} if is_signal else {kept}
            sample["modifiers"] = [modifier for modifier in sample["modifiers"] if modifier["type"] in types]
            for modifier in sample["modifiers"]:
                modifier["type"] = constraint if modifier["type"] == kept else modifier["type"]
    return changed


def category_templates(count: int, *, settings: ExportSettings) -> FitTemplates:
    """Three score categories of a toy of one signal and two backgrounds."""
    rng = np.random.default_rng(3)
    process = np.repeat(["higgs", "dy", "top"], count)
    score = 1 / (1 + np.exp(-rng.normal(np.select([process == "higgs", process == "top"], [1.5, 0.0], -1.0))))
    weight = np.select([process == "higgs", process == "top"], [60.0, 400.0], 4000.0) / count
    table = EventTable.from_arrays(
        {"mass": rng.normal(125, 10, process.size)},
        weight=weight,
        process=process,
        roles={"higgs": "signal", "dy": "background", "top": "background"},
        luminosity_ifb=140.0,
    )
    channels = Channels.of_categories(((0.5, 0.75, 0.9),) * table.fold_count)
    return build_templates(ScoredEvents.of_table(table, score), channels, settings, luminosity_ifb=140.0)


def category_rows(count: int) -> list[tuple[str, float, float]]:
    """What is compared, our Z and that of pyhf: with exact and with simulated backgrounds."""
    rows = []
    for observable in (None, "mass"):
        templates = category_templates(count, settings=ExportSettings(observable=observable, binning=6))
        workspace = build_workspace(templates, ExportSettings())
        totals = [
            (channel.summed(templates.signals), channel.summed(templates.backgrounds)) for channel in templates.channels
        ]
        s, b, v = (
            np.concatenate([getattr(each[side], kind) for each in totals])
            for side, kind in ((0, "values"), (1, "values"), (1, "variances"))
        )
        what = f"3 categories, {s.size} bins of {observable or 'counts'}"
        rows.append((f"{what}, exact", quadrature(asimov(s, b)), discovery_significance(with_only(workspace, "none"))))
        ours = quadrature(asimov_with_uncertainty(s, b, np.sqrt(v)))
        rows.append((f"{what}, staterror", ours, discovery_significance(with_only(workspace, "staterror"))))
    return rows


def quadrature(values: Any) -> float:
    """Combined significance of independent bins at fixed signal strength."""
    return float(np.sqrt(np.square(values).sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000, help="simulated events per process of the toy")
    arguments = parser.parse_args()
    print(f"{'s':>6} {'b':>7} {'sigma_b':>8} {'constraint':<10} {'Z_A':>8} {'pyhf':>8} {'pyhf/Z_A':>9}")
    for s, b, k in POINTS:
        workspace = build_workspace(single_bin(s, b, k), ExportSettings())
        ours = float(asimov_with_uncertainty(s, b, k * b))
        for constraint in ("shapesys", "normsys", "staterror") if k else ("none",):
            found = discovery_significance(with_only(workspace, constraint))
            print(f"{s:>6g} {b:>7g} {k * b:>8g} {constraint:<10} {ours:>8.4f} {found:>8.4f} {found / ours:>9.5f}")
    for what, ours, found in category_rows(arguments.events):
        print(f"{what:<40} {ours:>10.4f} {found:>8.4f} {found / ours:>9.5f}")


if __name__ == "__main__":
    main()
