"""The chain with systematic variations and data: what is redone, what the report says, and what stays hidden."""

import json

import numpy as np
import pytest

from tests.conftest import DATA
from zsig_hep.pipeline.stages import Pipeline

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]

COLUMNS = """
def columns(events, variation=None):
    x = events["x"] + {None: 0.0, "scaleUp": 0.1, "scaleDown": -0.1}[variation]
    selected = abs(x) < 3.0
    return {"x": x[selected], "y": events["y"][selected]}, selected


def tilt(events):
    return 1.0 + 0.1 * events["x"].to_numpy(), 1.0 - 0.1 * events["x"].to_numpy()
"""

VARIATIONS = {
    "luminosity": {"kind": "luminosity", "relative": 0.02},
    "tilt": {"kind": "weight", "function": "columns.py:tilt", "processes": ["dy", "top"]},
    "scale": {"kind": "shape"},
}


@pytest.fixture(scope="module")
def search(small_search, tmp_path_factory):
    search = small_search.copy(tmp_path_factory.mktemp("systematics"))
    (search.folder / "columns.py").write_text(COLUMNS)
    return search


def run(search, output, **changes):
    lines = []
    # A loose cut, above which there are data, and events of every process that a shift of x moves across it.
    changes = {"processes": {"data": DATA}, "selection": {"minimum_signal_efficiency": 0.8}} | changes
    chain = Pipeline(search.analysis(**changes), output, announce=lines.append)
    return chain.run(), lines, chain


@pytest.fixture(scope="module")
def finished(search, tmp_path_factory):
    output = tmp_path_factory.mktemp("out")
    summary, _, chain = run(search, output, variations=VARIATIONS)
    return summary, chain, output


def test_the_summary_has_every_variation_at_the_cut(finished):
    summary, chain, _ = finished
    for classifier in summary["classifiers"]:
        found = classifier["systematics"]
        assert [row["name"] for row in found["rows"]] == list(VARIATIONS)
        yields = classifier["working_point"]["yields"]
        luminosity, tilt, scale = found["rows"]
        for name in ("higgs", "dy", "top"):
            assert luminosity["yields"][name]["up"]["yield"] == pytest.approx(1.02 * yields[name]["yield"])
            up, nominal = (scale["yields"][name][each]["yield"] for each in ("up", "nominal"))
            assert up != nominal == yields[name]["yield"]
        assert list(tilt["yields"]) == ["dy", "top"]
        assert found["background_uncertainty"] > 0.02 / 1.02 * classifier["working_point"]["background"]["yield"]
        assert found["significance"] < found["significance_without"]
    assert summary["blinded"]
    assert chain.results.shapes["scaleUp"].yields()["data"].entries == 0


def test_the_report_shows_them_and_says_that_data_are_hidden(finished):
    _, _, output = finished
    page = (output / "report" / "report.html").read_text()
    assert "Systematic variations with Z loss" in page
    assert "Data above the cuts are hidden" in page
    assert "<th>tilt</th><td>weight</td>" in page


def test_data_above_the_cut_are_in_no_histogram_until_unblinded(finished, search, tmp_path):
    _, chain, output = finished
    evaluation = chain.results.evaluations[0]
    score, table = chain.results.events[evaluation.name].score, chain.table
    cuts = np.array(evaluation.working_point.thresholds)
    above = table.is_data & (score >= cuts[table.fold])
    assert 0 < above.sum() < table.is_data.sum()
    shown = chain.results.shown
    assert shown.is_data.sum() <= (table.is_data & ~above).sum()
    assert not set(shown.identity[shown.is_data]) & set(table.identity[above])
    unblinded, lines, _ = run(search, output, variations=VARIATIONS, unblind=True)
    assert lines == ["writing histograms, fit inputs and model", "drawing figures"]
    assert not unblinded["blinded"]
    assert unblinded["classifiers"][0]["observed"] == above.sum()
    assert unblinded["classifiers"][0]["working_point"] == finished[0]["classifiers"][0]["working_point"]


def test_a_variation_that_is_added_trains_nothing_again(search, tmp_path, no_figures):
    first, _, _ = run(search, tmp_path / "out")
    second, lines, _ = run(search, tmp_path / "out", variations={"luminosity": VARIATIONS["luminosity"]})
    assert lines == ["choosing working points", "writing histograms, fit inputs and model", "drawing figures"]
    third, lines, _ = run(search, tmp_path / "out", variations=VARIATIONS)
    assert lines == [
        "reading ntuples",
        "choosing working points",
        "writing histograms, fit inputs and model",
        "drawing figures",
    ]
    points = [[each["working_point"] for each in summary["classifiers"]] for summary in (first, second, third)]
    assert points[0] == points[1] == points[2]
    again, lines, _ = run(search, tmp_path / "out", variations=VARIATIONS)
    assert (again, lines) == (third, [])


def test_the_cut_is_chosen_with_the_uncertainty_of_the_variations_on_request(search, tmp_path, no_figures):
    selection = {"figure_of_merit": "asimov_with_uncertainty", "variations_in_figure": True}
    summary, _, _ = run(search, tmp_path / "out", variations=VARIATIONS, selection=selection)
    for classifier in summary["classifiers"]:
        point, found = classifier["working_point"], classifier["systematics"]
        assert point["exported_significance"] == pytest.approx(found["significance"])
        assert point["exported_significance"] < found["significance_without"]
    first, second = (each["working_point"]["significance"] for each in summary["classifiers"])
    assert summary["comparison"][0]["quantities"][-1]["value"] == pytest.approx(first - second, rel=1e-9)
    text = (tmp_path / "out" / "report" / "report.html").read_text()
    assert "the systematic variations at the cut" in text
    json.loads((tmp_path / "out" / "selection" / "selection.json").read_text())


def test_categories_are_reported_and_become_the_channels_of_fits(search, tmp_path):
    changes = {"variations": VARIATIONS, "categories": {"count": 2, "minimum_effective_background": 60}}
    summary, _, chain = run(search, tmp_path / "out", **changes)
    found = summary["categories"]
    chosen = found["optima"][-1]
    assert (chosen["status"], len(chosen["categories"]), len(found["optima"])) == ("ok", 2, 2)
    workspace = json.loads((tmp_path / "out" / "export" / "fit" / "workspace.json").read_text())
    assert [channel["name"] for channel in workspace["channels"]] == ["category_0", "category_1"]
    for channel, category in zip(workspace["channels"], chosen["categories"], strict=True):
        for sample in channel["samples"]:
            assert sum(sample["data"]) == pytest.approx(category["yields"][sample["name"]]["yield"])
            names = {modifier["name"] for modifier in sample["modifiers"]}
            assert ("tilt" in names) == (sample["name"] != "higgs")
            assert "scale" in names
    hidden = chain.results.categories.category >= 0
    shown = chain.results.shown
    assert not set(shown.identity[shown.is_data]) & set(chain.table.identity[hidden & chain.table.is_data])
    assert (tmp_path / "out" / "report" / "figures" / "categories.png").exists()
    assert "Score categories" in (tmp_path / "out" / "report" / "report.html").read_text()
