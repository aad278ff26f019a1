import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import uproot
import yaml

from tests.fits.channels import PROCESSES, make_fit, with_uncertainties
from zsig_hep.errors import OutputError
from zsig_hep.fits import Channels, ExportSettings, build_templates, build_workspace, fit_metadata, write_fit_inputs
from zsig_hep.selection import ScoredEvents, WorkingPointSettings, hold_out_working_point


def test_all_files_of_a_fit(tmp_path: Path) -> None:
    written = write_fit_inputs(tmp_path / "export", make_fit(), ExportSettings())
    assert sorted(path.name for path in (tmp_path / "export").iterdir()) == [
        "cabinetry.yml",
        "datacard_counting.txt",
        "datacard_shapes.txt",
        "fit.json",
        "histograms.root",
        "workspace.json",
    ]
    metadata = json.loads((tmp_path / "export" / "fit.json").read_text())
    assert metadata == written
    assert metadata["observation"] == "Asimov data of the background"
    assert metadata["blinded"] is True
    assert metadata["notes"] == ["a note"]
    assert metadata["luminosity_parameter"] == {"variation": "luminosity", "relative": pytest.approx(0.017)}
    assert metadata["channels"]["low"]["yields"] == {"higgs": 10.0, "dy": 650.0, "top": 60.0}
    assert list(metadata["processes"]) == list(PROCESSES)
    configuration = yaml.safe_load((tmp_path / "export" / "cabinetry.yml").read_text())
    assert configuration["General"]["InputPath"] == "histograms.root:{RegionPath}/{SamplePath}{VariationPath}"


def test_data_are_named_as_such(tmp_path: Path) -> None:
    metadata = write_fit_inputs(tmp_path, make_fit(data=True), ExportSettings())
    assert (metadata["observation"], metadata["blinded"]) == ("data", False)
    assert metadata["channels"]["high"]["observed"] == 21.0


def test_what_is_written_is_what_is_said(tmp_path: Path) -> None:
    fit, settings = make_fit(), ExportSettings(signal_strength="mu_h")
    written = write_fit_inputs(tmp_path, fit, settings)
    assert json.loads((tmp_path / "workspace.json").read_text()) == build_workspace(fit, settings)
    metadata = fit_metadata(fit, settings)
    assert {key: written[key] for key in metadata} == metadata
    assert metadata["processes"]["top"] == {"role": "background", "label": "t"}
    assert metadata["variations"] == {
        "luminosity": "luminosity", "dy_rate": "normalisation", "jes": "shape", "isr": "weight",
    }  # fmt: skip
    assert (metadata["signal_strength"], metadata["luminosity_ifb"]) == ("mu_h", 140.0)
    assert metadata["channels"]["low"]["edges"] == [0.0, 0.2, 0.5, 0.8]
    assert metadata["channels"]["high"]["observed"] == 12.0


def test_an_asymmetric_luminosity_is_no_parameter_of_its_own() -> None:
    assert fit_metadata(make_fit(luminosity=(1.02, 0.985)), ExportSettings())["luminosity_parameter"] is None


def test_without_pyhf_the_workspace_is_unchecked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert write_fit_inputs(tmp_path, make_fit(), ExportSettings())["workspace_checked_by_pyhf"] is False


def test_a_name_that_is_taken_leaves_nothing_behind(tmp_path: Path) -> None:
    fit = make_fit()
    low, high = fit.channels
    low = replace(low, varied={"r": low.varied["jes"]})
    fit = replace(fit, channels=(low, high), kinds={**fit.kinds, "r": "shape"})
    with pytest.raises(OutputError, match="Combine has a parameter 'r' of its own"):
        write_fit_inputs(tmp_path, fit, ExportSettings())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("observable", [None, "score"])
def test_signed_events_of_a_working_point(tmp_path: Path, observable: str | None) -> None:
    rng = np.random.default_rng(5)
    process = np.repeat([0, 1, 2], [400, 1500, 500])
    weight = np.repeat([0.06, 1.3, 0.6], [400, 1500, 500]) * rng.choice([1.0, -1.0], 2400, p=[0.95, 0.05])
    score = 1 / (1 + np.exp(-rng.normal(np.repeat([2.2, -1.2, -0.8], [400, 1500, 500]))))
    events = ScoredEvents.from_arrays(
        score, weight, process, names=("vbf", "dy", "ttbar"), roles=("signal", "background", "background")
    )
    point, settings = (
        hold_out_working_point(events, WorkingPointSettings()),
        ExportSettings(observable=observable, binning=6),
    )
    fit = build_templates(events, Channels.of_cut(point.thresholds), settings, luminosity_ifb=140.0)
    metadata = write_fit_inputs(tmp_path, fit, settings)
    assert metadata["channels"]["signal_region"]["yields"] == {
        name: pytest.approx(passed.value, rel=1e-9) for name, passed in point.yields.items()
    }
    with uproot.open(tmp_path / "histograms.root") as file:
        for name, passed in point.yields.items():
            assert file[f"signal_region/{name}"].values().sum() == pytest.approx(passed.value, rel=1e-9)


def test_background_uncertainties_are_described(tmp_path: Path) -> None:
    written = write_fit_inputs(tmp_path, with_uncertainties(make_fit()), ExportSettings())
    assert written["background_uncertainties"] == {
        "background_uncertainty_top": {"top": 0.3},
        "background_uncertainty": {"dy": 0.1, "top": 0.1},
    }
