from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.fits.channels import make_fit, scaled, with_uncertainties
from zsig_hep.fits import (
    ExportSettings,
    FitTemplates,
    build_workspace,
    cabinetry_configuration,
    write_cabinetry,
    write_fit_inputs,
)


@pytest.mark.filterwarnings("ignore:jsonschema:DeprecationWarning")
class TestCabinetry:
    @pytest.mark.parametrize(
        ("fit", "simulation_uncertainty"),
        [(make_fit(), True), (make_fit(data=True), False), (with_uncertainties(make_fit()), True)],
    )
    def test_it_builds_our_workspace_of_the_files(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fit: FitTemplates, simulation_uncertainty: bool
    ) -> None:
        cabinetry = pytest.importorskip("cabinetry")
        settings = ExportSettings(simulation_uncertainty=simulation_uncertainty)
        write_fit_inputs(tmp_path, fit, settings)
        monkeypatch.chdir(tmp_path)
        configuration = cabinetry.configuration.load("cabinetry.yml")
        cabinetry.templates.collect(configuration)
        cabinetry.templates.postprocess(configuration)
        theirs = cabinetry.workspace.build(configuration)
        ours = _as_cabinetry_would(build_workspace(fit, settings), sigma=0.017)
        found, expected = _flat(theirs), _flat(ours)
        assert set(found) == set(expected)
        for key, value in expected.items():
            np.testing.assert_allclose(found[key], value, rtol=1e-9, err_msg=key)

    def test_samples_are_listed_in_the_channels_that_have_them(self) -> None:
        configuration = cabinetry_configuration(make_fit(), ExportSettings(), "histograms.root")
        regions = {sample["Name"]: sample.get("Regions") for sample in configuration["Samples"]}
        assert regions == {"data_obs": None, "higgs": ["low", "high"], "dy": ["low", "high"], "top": ["low"]}
        systematics = {each["Name"]: each for each in configuration["Systematics"]}
        assert systematics["jes_higgs"]["Regions"] == ["low"]
        assert systematics["jes_higgs"]["ModifierName"] == systematics["jes_dy"]["ModifierName"] == "jes"
        assert systematics["dy_rate_dy"]["Up"]["Normalization"] == pytest.approx(0.1)
        assert systematics["dy_rate_dy"]["Down"]["Normalization"] == pytest.approx(-0.08)

    def test_shapes_come_from_histograms_and_what_scales_alike_in_all_channels_from_numbers(self) -> None:
        fit = make_fit()
        configuration = cabinetry_configuration(fit, ExportSettings(signal_strength="mu_h"), "histograms.root")
        systematics = {each["Name"]: each for each in configuration["Systematics"]}
        shapes = {"jes_higgs", "jes_dy", "isr_top"}
        assert {name for name, each in systematics.items() if each["Type"] == "NormPlusShape"} == shapes
        assert systematics["jes_dy"]["Down"] == {"VariationPath": "_jesDown"}
        assert systematics["luminosity_higgs"]["Up"] == {"Normalization": pytest.approx(0.017)}
        # A normalisation that differs between channels cannot be one number.
        low, high = fit.channels
        other = replace(high, varied={**high.varied, "dy_rate": {"dy": scaled(high.nominal["dy"], 1.2, 0.9)}})
        configuration = cabinetry_configuration(replace(fit, channels=(low, other)), ExportSettings(), "h.root")
        (rate,) = (each for each in configuration["Systematics"] if each["Name"] == "dy_rate_dy")
        assert (rate["Type"], rate["Up"]) == ("NormPlusShape", {"VariationPath": "_dy_rateUp"})

    def test_the_signal_strength_and_the_simulation(self) -> None:
        settings = ExportSettings(signal_strength="mu_h", signal_strength_maximum=50.0)
        configuration = cabinetry_configuration(make_fit(), settings, "histograms.root")
        assert configuration["General"]["POI"] == "mu_h"
        (strength,) = configuration["NormFactors"]
        assert (strength["Samples"], strength["Bounds"]) == (["higgs"], [0.0, 50.0])
        exact = [sample["Name"] for sample in configuration["Samples"] if sample.get("DisableStaterror")]
        assert exact == ["higgs"]

    def test_a_background_uncertainty_is_one_parameter_for_its_processes(self) -> None:
        configuration = cabinetry_configuration(with_uncertainties(make_fit(), common=0.25), ExportSettings(), "h.root")
        found = [each for each in configuration["Systematics"] if each["ModifierName"] == "background_uncertainty"]
        assert [(each["Samples"], each["Regions"]) for each in found] == [("dy", ["low", "high"]), ("top", ["low"])]
        assert all(
            (each["Up"], each["Down"]) == ({"Normalization": 0.25}, {"Normalization": pytest.approx(-0.2)})
            for each in found
        )

    def test_written(self, tmp_path: Path) -> None:
        configuration = cabinetry_configuration(make_fit(), ExportSettings(), "histograms.root")
        write_cabinetry(tmp_path / "new" / "cabinetry.yml", configuration)
        assert yaml.safe_load((tmp_path / "new" / "cabinetry.yml").read_text()) == configuration


def _as_cabinetry_would(workspace: dict[str, Any], sigma: float) -> dict[str, Any]:
    """What cabinetry has no words for: the luminosity is a normalisation, and the simulation of signals is exact."""
    for channel in workspace["channels"]:
        for sample in channel["samples"]:
            kept = [each for each in sample["modifiers"] if not each["name"].startswith("signal_staterror")]
            for modifier in kept:
                if modifier["type"] == "lumi":
                    modifier |= {"type": "normsys", "name": "luminosity", "data": {"hi": 1 + sigma, "lo": 1 - sigma}}
            sample["modifiers"] = kept
    config = workspace["measurements"][0]["config"]
    config["parameters"] = [each for each in config["parameters"] if each["name"] != "lumi"]
    return workspace


def _flat(workspace: dict[str, Any]) -> dict[str, Any]:
    """Every number of a workspace by its place, whatever the order of samples and modifiers."""
    flat: dict[str, Any] = {}
    for channel in workspace["channels"]:
        for sample in channel["samples"]:
            flat[f"{channel['name']}/{sample['name']}"] = sample["data"]
            for modifier in sample["modifiers"]:
                place = f"{channel['name']}/{sample['name']}/{modifier['type']}/{modifier['name']}"
                data = modifier["data"]
                for key, value in data.items() if isinstance(data, dict) else [("", data)]:
                    flat[f"{place}/{key}"] = [] if value is None else value
    for observation in workspace["observations"]:
        flat[f"observed/{observation['name']}"] = observation["data"]
    (measurement,) = workspace["measurements"]
    flat[f"poi/{measurement['config']['poi']}"] = []
    for parameter in measurement["config"]["parameters"]:
        flat[f"parameter/{parameter['name']}"] = [*parameter["inits"], *parameter["bounds"][0]]
    return flat
