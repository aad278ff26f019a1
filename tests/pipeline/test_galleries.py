from types import SimpleNamespace

import numpy as np
import pytest

from tests.conftest import DATA
from zsig_hep.ntuples import EventTable
from zsig_hep.pipeline.galleries import cut_gallery, report_gallery
from zsig_hep.pipeline.stages import Pipeline


@pytest.fixture(scope="module")
def results(small_search, finished_output):
    return Pipeline(small_search.analysis(), finished_output).results


def results_with_data(analysis):
    """As many events of every process, of which no data above 20 are shown."""
    names = ("higgs", "dy", "top", "data")
    roles = dict(zip(names, ("signal", "background", "background", "data"), strict=True))
    process, x = np.repeat(names, 30), np.tile(np.arange(30.0), 4)
    table = EventTable.from_arrays(
        {"x": x}, weight=np.ones(120), process=process, roles=roles, luminosity_ifb=100.0, folds=3
    )
    shown = table.select(~table.is_data | (x <= 20))
    nothing = {"evaluations": (), "classifiers": {}, "impacts": None, "categories": None}
    return SimpleNamespace(analysis=analysis, table=table, shown=shown, **nothing)


def test_the_report_is_drawn_from_the_evaluations_and_their_trainings(results):
    gallery = report_gallery(results)
    assert [each.label for each in gallery.evaluations] == ["Z loss", "weighted BCE"]
    assert gallery.histories == {each.label: results.classifiers[each.name].history for each in results.evaluations}
    assert gallery.impacts is results.impacts
    assert gallery.categories is None
    assert not gallery.blinded


def test_every_feature_has_the_yields_of_the_table(results):
    features = report_gallery(results).features
    assert list(features) == ["x", "y"]
    for histogram in features.values():
        for name, total in results.table.yields().items():
            assert histogram[name, :].values(flow=True).sum() == pytest.approx(total.value, rel=1e-12)


@pytest.mark.parametrize("unblind", [False, True])
def test_data_that_are_hidden_are_in_no_histogram(small_search, unblind):
    analysis = small_search.analysis(processes={"data": DATA}, unblind=unblind)
    gallery = report_gallery(results_with_data(analysis))
    assert gallery.features["x"]["data", :].values(flow=True).sum() == 21
    assert gallery.features["x"]["dy", :].values(flow=True).sum() == 30
    assert gallery.blinded is not unblind


def test_both_galleries_look_as_the_analysis_says(small_search):
    changes = {
        "processes": {"dy": {"label": "Drell-Yan", "color": "#123456"}},
        "presentation": {"axis_labels": {"x": "Mass [GeV]"}, "label": "Work in progress"},
    }
    results, cuts = results_with_data(small_search.analysis(**changes)), object()
    report, of_cuts = report_gallery(results), cut_gallery(results, cuts)
    assert of_cuts.cuts is cuts
    assert of_cuts.look == report.look
    assert of_cuts.style == report.style == results.analysis.style
    assert report.look.roles == {"higgs": "signal", "dy": "background", "top": "background"}
    assert (report.look.label("dy"), report.look.colors["dy"]) == ("Drell-Yan", "#123456")
    assert report.look.axis_label("x") == "Mass [GeV]"
