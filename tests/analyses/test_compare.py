import dataclasses

import numpy as np
import pytest

from analyses import compare
from tests.analyses.conftest import ROOT
from tests.learning.toy import make_table
from zsig_hep.analysis import Analysis
from zsig_hep.learning import TrainingSettings
from zsig_hep.ntuples import EventTable


def test_boosted_trees_separate_and_never_see_the_events_they_score():
    table = make_table(400)
    scores = compare.boosted_trees(table, TrainingSettings(), 1)
    assert scores[table.is_signal].mean() > scores[table.is_background].mean() + 0.2
    changed = table.features.copy()
    changed[table.fold == 0] = changed[table.fold == 0][::-1]
    again = compare.boosted_trees(dataclasses.replace(table, features=changed), TrainingSettings(), 1)
    assert np.array_equal(again[table.fold == 0], scores[table.fold == 0][::-1])
    assert not np.array_equal(again[table.fold == 1], scores[table.fold == 1])


@pytest.mark.parametrize(
    ("analysis", "names", "passing", "failing"),
    [
        (
            "hmumu",
            ("dimuon_mass", "dijet_delta_eta", "zeppenfeld", "log_missing_pt", "log_dijet_mass"),
            (125.0, 4.0, 0.1, 2.0, 6.5),
            (140.0, 4.0, 0.1, 2.0, 9.0),
        ),
        (
            "leptoquark",
            ("log_dimuon_mass", "log_min_muon_jet_mass", "log_scalar_sum"),
            (6.5, 7.0, 7.5),
            (5.0, 7.0, 9.0),
        ),
    ],
)
def test_events_that_fail_the_fixed_cuts_score_lowest(analysis, names, passing, failing):
    table = EventTable.from_arrays(
        {name: np.repeat(values, 5) for name, *values in zip(names, passing, failing, strict=True)},
        weight=np.ones(10),
        process=np.repeat(["signal", "background"], 5),
        roles={"signal": "signal", "background": "background"},
        luminosity_ifb=1.0,
    )
    scores = compare.plain_cuts(ROOT / "analyses" / analysis)(table, TrainingSettings(), 1)
    assert (scores[:5] == passing[-1]).all()
    assert (scores[5:] < passing[-1]).all()


def test_cuts_without_a_classifier_reach_what_the_readme_says(read_columns, capsys):
    analysis = Analysis.from_file(ROOT / "analyses" / "hmumu")
    found = compare.compare(analysis, read_columns("hmumu").table, 2, {"cuts, no classifier"})
    first, second = found["cuts, no classifier"]
    assert [first["significance"], second["significance"]] == pytest.approx([1.59, 1.59], abs=0.06)
    assert first["significance"] != second["significance"]
    assert "seed 2: cuts, no classifier" in capsys.readouterr().err


def test_the_table_pairs_seeds_with_the_baseline():
    keys = ("simulation_error", "signal", "background", "effective_background", "signal_efficiency")
    rest = dict.fromkeys((*keys, *(f"at_{efficiency}" for efficiency in compare.EFFICIENCIES)), 1.0)
    baseline = [{"significance": z, **rest} for z in (1.0, 2.0, 3.0)]
    better = [{"significance": z + shift, **rest} for z, shift in ((1.0, 0.1), (2.0, 0.2), (3.0, 0.3))]
    *_, line = compare.markdown({"weighted BCE": baseline, "other": better}).splitlines()
    assert line.startswith("| other | 2.200 ± 1.100 | 1.000 | +0.200 ± 0.058 |")
