"""The dimuon search with variations: yields against uproot and NumPy, shifted jets by hand, and the scripts behind its numbers."""

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
import yaml

from analyses.hmumu_systematics import optimal, penalty, seeds
from tests.analyses.conftest import ROOT, MakeEvents
from tests.analyses.conftest import invariant_mass as mass
from zsig_hep.pipeline import Pipeline, Results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    pipeline = Pipeline(seeds.seeded(1), tmp_path_factory.mktemp("hmumu_systematics"))
    pipeline.columns()
    return pipeline.results


def selected(events: Any, scale: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The cuts of the analysis, event by event, with jets scaled by a function of their momentum."""
    passed = []
    for event in ak.to_list(events):
        muons = [
            (event["Muon_pt"][i], event["Muon_eta"][i], event["Muon_phi"][i], event["Muon_mass"][i]) for i in (0, 1)
        ]
        pt = np.array(event["Jet_pt"])
        factor = scale(pt)
        jets = list(zip(pt * factor, event["Jet_eta"], event["Jet_phi"], event["Jet_mass"] * factor, strict=True))
        x = event["MET_pt"] * math.cos(event["MET_phi"]) - np.sum((factor - 1) * pt * np.cos(event["Jet_phi"]))
        y = event["MET_pt"] * math.sin(event["MET_phi"]) - np.sum((factor - 1) * pt * np.sin(event["Jet_phi"]))
        passed.append(
            muons[0][0] >= 26
            and muons[1][0] >= 20
            and event["Muon_charge"][0] * event["Muon_charge"][1] < 0
            and 110 <= mass(*muons) <= 150
            and jets[1][0] >= 30
            and mass(*jets[:2]) >= 300
            and abs(jets[0][1] - jets[1][1]) >= 2
            and math.hypot(x, y) < 60
            and all(b < 0.3 for b in event["Jet_btagDeepFlavB"])
        )
    return np.array(passed)


@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_yields_under_every_kind_of_variation_are_those_of_a_loop(results: Results, direction: float) -> None:
    (file,) = (ROOT / "data_samples" / "hmumu_shower").glob("hmumu_ttbar_*.root")
    with uproot.open(file) as opened:
        events = opened["Events"].arrays()
        total = opened["Runs"]["genEventSumw"].array(library="np").sum()
    settings = yaml.safe_load((ROOT / "analyses" / "hmumu_systematics" / "analysis.yaml").read_text(encoding="utf-8"))
    dataset = settings["processes"]["ttbar"]["datasets"]["hmumu_ttbar"]
    factor = dataset["cross_section_pb"] * dataset["k_factor"] * 140_000 / total
    weight = factor * ak.to_numpy(events.genWeight).astype(np.float64)
    shower = ak.to_numpy(events.PSWeight).astype(np.float64)
    row = 0 if direction > 0 else 1
    ttbar = results.table.process == results.table.process_names.index("ttbar")
    nominal = selected(events, np.ones_like)
    assert results.table.weight[ttbar].sum() == pytest.approx(weight[nominal].sum(), rel=1e-9)
    for name, (up, down) in {"isr": (0, 2), "fsr": (1, 3)}.items():
        expected = (weight * shower[:, (up, down)[row]])[nominal].sum()
        assert results.table.weight_variations[name][row][ttbar].sum() == pytest.approx(expected, rel=1e-9)
    shifted = selected(events, lambda pt: 1 + direction * np.hypot(0.01, 0.9 / pt))
    varied = results.shapes["jesUp" if direction > 0 else "jesDown"]
    found = varied.weight[varied.process == varied.process_names.index("ttbar")]
    assert found.sum() == pytest.approx(weight[shifted].sum(), rel=1e-9)
    assert len(found) == shifted.sum()


def test_a_shifted_jet_moves_the_missing_momentum_with_it(hmumu: ModuleType, make_events: MakeEvents) -> None:
    muons = [(62.5, 0.0, 0.0, 1), (62.5, 0.0, math.pi, -1)]
    jets = [(100.0, 2.5, 0.0, 8.0, 0.01), (80.0, -2.5, 0.0, 8.0, 0.01)]
    events = make_events([{"muons": muons, "jets": jets, "MET_pt": 20.0, "MET_phi": 0.0}], "hmumu_vbf")
    features, _ = hmumu.columns(events, "jesUp")
    gained = [pt * math.hypot(0.01, 0.9 / pt) for pt in (100.0, 80.0)]
    assert features["log_leading_jet_pt"] == pytest.approx([math.log(100.0 + gained[0])], rel=1e-6)
    assert features["log_missing_pt"] == pytest.approx([math.log1p(20.0 - sum(gained))], rel=1e-5)


def test_an_unknown_variation_is_refused(hmumu: ModuleType, make_events: MakeEvents) -> None:
    with pytest.raises(KeyError, match="jerUp"):
        hmumu.columns(make_events([{"muons": [], "jets": [], "MET_pt": 20.0}], "hmumu_vbf"), "jerUp")


def test_a_seed_changes_folds_and_networks_and_nothing_else() -> None:
    first, second = seeds.seeded(1), seeds.seeded(2)
    assert (first.ntuples.fold_seed, second.ntuples.fold_seed) == (1, 2)
    assert first.training.seed != second.training.seed
    same_folds = second.model_copy(update={"ntuples": first.ntuples})
    assert same_folds.with_training(seed=first.training.seed) == first


def test_the_optimal_score_is_measured_with_cross_entropy_and_the_variations() -> None:
    analysis, plain = optimal.with_optimal_score(2), seeds.seeded(2)
    assert list(analysis.trainings) == ["bce"]
    assert analysis.ratio_baseline == plain.trainings["bce"]
    changed = {"figure_of_merit": "asimov_with_uncertainty", "variations_in_figure": True, "score": "optimal"}
    assert analysis.selection.model_dump(mode="json") == plain.selection.model_dump(mode="json") | changed
    assert plain.ratio_baseline is None


@pytest.mark.slow
def test_a_strong_penalty_holds_the_outputs_of_shifted_events_together(results: Results) -> None:
    table, shapes = results.table, results.shapes
    moved = []
    for strength in (0.0, 1000.0):
        nominal, up, _ = penalty.scored(table, shapes, strength, seed=1, steps=15)
        background = np.flatnonzero(table.is_background)
        _, i, j = np.intersect1d(table.identity[background], shapes["jesUp"].identity, return_indices=True)
        moved.append(np.abs(nominal[background][i] - up[j]).mean())
    assert moved[1] < 0.5 * moved[0]
    assert np.isfinite(penalty.significance(results, 1000.0, seed=1, steps=15))
