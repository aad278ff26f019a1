"""A whole run on events that come as arrays, without ROOT files."""

import json

import pytest

from tests.array_search import TRAINING, make_table
from zsig_hep import EventTable, Pipeline


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


def test_another_table_in_the_same_folder_is_not_taken_for_the_first(tmp_path):
    settings = {"title": "Arrays", "training": TRAINING}
    Pipeline.of_table(make_table(), tmp_path, **settings).columns()
    Pipeline.of_table(make_table(events=700), tmp_path, **settings).columns()
    assert len(EventTable.from_parquet(tmp_path / "columns" / "events.parquet")) == 1400
