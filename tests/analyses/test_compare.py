import dataclasses
import runpy

import numpy as np
import pytest

from tests.analyses.conftest import ROOT
from tests.learning.toy import make_table
from zsig_hep.learning import TrainingSettings

COMPARE = runpy.run_path(str(ROOT / "analyses" / "compare.py"))


def test_boosted_trees_separate_and_never_see_the_events_they_score():
    table = make_table(400)
    scores = COMPARE["boosted_trees"](table, TrainingSettings(), 1)
    assert scores[table.is_signal].mean() > scores[table.is_background].mean() + 0.2
    changed = table.features.copy()
    changed[table.fold == 0] = changed[table.fold == 0][::-1]
    again = COMPARE["boosted_trees"](dataclasses.replace(table, features=changed), TrainingSettings(), 1)
    assert np.array_equal(again[table.fold == 0], scores[table.fold == 0][::-1])
    assert not np.array_equal(again[table.fold == 1], scores[table.fold == 1])


@pytest.mark.parametrize("analysis", ["hmumu", "leptoquark"])
def test_fixed_cuts_fail_to_the_lowest_score(analysis):
    module = runpy.run_path(str(ROOT / "analyses" / analysis / "cut.py"))
    names = {
        "hmumu": ("dimuon_mass", "dijet_delta_eta", "zeppenfeld", "log_missing_pt", "log_dijet_mass"),
        "leptoquark": ("log_dimuon_mass", "log_min_muon_jet_mass", "log_scalar_sum"),
    }[analysis]
    passing = {"hmumu": (125.0, 4.0, 0.1, 2.0, 6.5), "leptoquark": (6.5, 7.0, 7.5)}[analysis]
    failing = {"hmumu": (140.0, 4.0, 0.1, 2.0, 6.5), "leptoquark": (5.0, 7.0, 7.5)}[analysis]
    features = {name: np.array(values) for name, *values in zip(names, passing, failing, strict=True)}
    variable, passes = module["cut_variable"](features)
    assert passes.tolist() == [True, False]
    assert np.array_equal(variable, features[names[-1]])


def test_the_table_pairs_seeds_with_the_baseline():
    keys = ("simulation_error", "signal", "background", "effective_background", "signal_efficiency")
    rest = dict.fromkeys((*keys, *(f"at_{efficiency}" for efficiency in COMPARE["EFFICIENCIES"])), 1.0)
    baseline = [{"significance": z, **rest} for z in (1.0, 2.0, 3.0)]
    better = [{"significance": z + shift, **rest} for z, shift in ((1.0, 0.1), (2.0, 0.2), (3.0, 0.3))]
    *_, line = COMPARE["markdown"]({"weighted BCE": baseline, "other": better}).splitlines()
    assert line.startswith("| other | 2.200 ± 1.100 | 1.000 | +0.200 ± 0.058 |")
    better[0]["significance"] = np.nan
    *_, line = COMPARE["markdown"]({"weighted BCE": baseline, "other": better}).splitlines()
    assert line.startswith("| other | – | 1.000 | – |")
