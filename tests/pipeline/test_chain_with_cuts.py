"""`zsig cuts`: rectangular cuts without a training, printed, stored and in the report."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from zsig_hep.cli import main
from zsig_hep.ntuples import EventTable
from zsig_hep.pipeline.stages import Pipeline

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

CUTS = {"variables": {"x": "above", "y": "below"}, "kicks": 1, "starts": 2, "sensitivities": False}


def cuts(*arguments: object, status: int = 0):
    result = CliRunner().invoke(main, ["cuts", *map(str, arguments)])
    assert result.exit_code == status, result.output
    return result


@pytest.fixture
def search(small_search, tmp_path):
    return small_search.copy(tmp_path / "search")


@pytest.mark.slow
def test_the_printed_line_selects_the_yields_that_are_told_and_nothing_is_trained(search, tmp_path):
    file = search.write(cuts=CUTS)
    result = cuts(file, "--output", tmp_path / "out", "--json")
    found = json.loads(result.stdout)
    table = EventTable.from_parquet(tmp_path / "out" / "columns" / "events.parquet")
    events = {name: table.feature(name) for name in table.feature_names}
    line = found["chosen"]["box"]["python"]
    assert f"cuts, Python:      {line}" in cuts(file, "--output", tmp_path / "out").stderr
    selected = eval(line, {"events": events, "np": np})
    assert table.weight[selected & table.is_signal].sum() == pytest.approx(found["chosen"]["signal"]["yield"])
    assert table.weight[selected & table.is_background].sum() == pytest.approx(found["chosen"]["background"]["yield"])
    assert found["held_out"]["status"] == "ok"
    assert not (tmp_path / "out" / "training").exists()
    assert (tmp_path / "out" / "cuts" / "figures" / "cut_x.png").exists()
    assert "optimising" not in cuts(file, "--output", tmp_path / "out").stderr


@pytest.mark.slow
def test_the_report_shows_the_cuts_of_their_stage(search, tmp_path):
    chain = Pipeline(search.analysis(cuts=CUTS | {"sensitivities": True}), tmp_path / "out")
    summary = chain.run()
    stored = json.loads((tmp_path / "out" / "cuts" / "cuts.json").read_text())
    assert summary["cuts"] == stored
    page = (tmp_path / "out" / "report" / "report.html").read_text()
    assert "Rectangular cuts" in page
    moves = stored["sensitivities"]
    assert ("∂edge/∂ln θ" in page) == (moves["status"] == "ok")
    assert moves["status"] == "ok" or moves["reason"] in page
    assert f"Z = {stored['held_out']['significance']:.2f}" in page.replace("\u202f", "")
    assert all(f"<figcaption><b>Figure {n}." in page for n in range(1, len(stored["figures"]) + 8))
