"""A whole run on events that come as arrays, without ROOT files."""

import json
from dataclasses import replace

import numpy as np
import pytest

from zsig_hep import Analysis, EventTable, Pipeline
from zsig_hep.errors import AnalysisFileError

TRAINING = {
    "seeds": 1,
    "hidden": [8],
    "device": "cpu",
    "warm_start": {"epochs": 2, "batch_size": 256},
    "main": {"epochs": 2, "batch_size": 256},
}


def make_table(events=600, luminosity_ifb=140.0):
    rng = np.random.default_rng(0)
    signal = np.arange(2 * events) < events
    return EventTable.from_arrays(
        {"x": rng.normal(signal * 1.5), "y": rng.normal(size=2 * events)},
        weight=np.where(signal, 0.05, 1.0),
        process=np.where(signal, "higgs", "dy"),
        roles={"higgs": "signal", "dy": "background"},
        labels={"higgs": "H(125)"},
        luminosity_ifb=luminosity_ifb,
        folds=3,
    )


@pytest.mark.slow
def test_a_table_runs_to_the_report(tmp_path):
    table = make_table()
    summary = Pipeline.of_table(
        table,
        tmp_path,
        title="Arrays",
        training=TRAINING,
        selection={"minimum_effective_background": 3.0},
        presentation={"dots_per_inch": 50},
    ).run()
    written = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert written == summary
    assert "H(125)" in (tmp_path / "report" / "report.html").read_text()
    assert EventTable.from_parquet(tmp_path / "columns" / "events.parquet").digest == table.digest


def test_processes_and_luminosity_are_those_of_the_table():
    analysis = Analysis.of_table(make_table(), title="Arrays", training=TRAINING)
    assert [(name, each.role, each.label) for name, each in analysis.processes.items()] == [
        ("higgs", "signal", "H(125)"),
        ("dy", "background", "dy"),
    ]
    assert analysis.luminosity_ifb == 140.0
    assert analysis.training.seeds == 1


def test_settings_of_a_table_are_checked_like_a_file():
    with pytest.raises(AnalysisFileError, match=r"training\.seed_count.*(?s:.)*selection\.figure"):
        Analysis.of_table(make_table(), title="Arrays", training={"seed_count": 1}, selection={"figure": "asimo"})


def test_a_table_at_another_luminosity_is_refused():
    analysis = Analysis.of_table(make_table(), title="Arrays")
    with pytest.raises(AnalysisFileError, match="The table is at 36/fb, but the analysis at 140/fb"):
        analysis.require_processes(make_table(luminosity_ifb=36.0))


def test_a_table_of_other_processes_is_refused():
    table = make_table()
    analysis = Analysis.of_table(table, title="Arrays")
    swapped = replace(table, process_names=("dy", "higgs"), roles=("background", "signal"))
    with pytest.raises(AnalysisFileError, match=r"dy \(background\), higgs \(signal\), but the analysis has higgs"):
        analysis.require_processes(swapped)


def test_another_table_in_the_same_folder_is_not_taken_for_the_first(tmp_path):
    settings = {"title": "Arrays", "training": TRAINING}
    Pipeline.of_table(make_table(), tmp_path, **settings).columns()
    Pipeline.of_table(make_table(events=700), tmp_path, **settings).columns()
    assert len(EventTable.from_parquet(tmp_path / "columns" / "events.parquet")) == 1400
