"""The summary repeats the numbers of the evaluation objects and holds nothing that JSON cannot."""

import json
import math

import numpy as np
import pytest

from zsig_hep import __version__
from zsig_hep.learning import RoundRecord, TrainingHistory
from zsig_hep.ntuples import ColumnsResult, EventTable
from zsig_hep.pipeline.plain import plain
from zsig_hep.pipeline.stages import Pipeline
from zsig_hep.pipeline.summary import columns_summary, figure_of_merit_summary, process_rows, round_rows, theory_notes
from zsig_hep.selection import WorkingPointSettings

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def finished(finished_output, small_search):
    return Pipeline(small_search.analysis(), finished_output)


@pytest.fixture(scope="module")
def summary(finished):
    return finished.summary


def test_every_file_is_strict_json(finished_output):
    def refuse(constant):
        pytest.fail(f"{constant} is no JSON")

    files = {str(file.relative_to(finished_output)): file for file in finished_output.rglob("*.json")}
    assert {"columns/columns.json", "selection/selection.json", "report/summary.json", "export/fit/fit.json"} <= set(
        files
    )
    for file in files.values():
        json.loads(file.read_text(), parse_constant=refuse)


def test_the_head_is_that_of_the_analysis(summary):
    head = {key: summary[key] for key in ("title", "name", "luminosity_ifb", "sqrt_s_tev", "figure_of_merit")}
    assert head == {
        "title": "Small search",
        "name": "small",
        "luminosity_ifb": 100.0,
        "sqrt_s_tev": 13.0,
        "figure_of_merit": "Asimov significance with the variance of the simulation",
    }
    assert summary["zsig_hep_version"] == summary["provenance"]["versions"]["zsig_hep"] == __version__
    assert summary["requirements"]["minimum_effective_background"] == 3.0
    assert "figure_of_merit" not in summary["requirements"]


def test_the_processes_are_those_of_the_table(finished_output, finished, summary):
    table = EventTable.from_parquet(finished_output / "columns" / "events.parquet")
    assert summary["processes"] == process_rows(finished.analysis, table)
    for row, (name, value) in zip(summary["processes"], table.yields().items(), strict=True):
        assert row["name"] == name
        assert (row["entries"], row["yield"]) == (value.entries, value.value)
        assert row["uncertainty"] == math.sqrt(value.variance)
        assert row["effective_entries"] == pytest.approx(value.value**2 / value.variance, rel=1e-12)
        last = summary["cutflow"][name][-1]
        assert last["entries"] == value.entries
        assert last["yield"] == pytest.approx(value.value, rel=1e-12)
        assert last["uncertainty"] == pytest.approx(row["uncertainty"], rel=1e-12)


def test_the_cutflow_starts_with_all_generated_events(summary):
    for name, events in {"higgs": 700, "dy": 900, "top": 500}.items():
        generated, skimmed, *_ = summary["cutflow"][name]
        assert (generated["entries"], skimmed["entries"]) == (2 * events, events)


def test_the_normalisation_is_cross_section_times_luminosity_over_the_sum_of_weights(summary):
    for normalisation, (cross_section, events) in zip(
        summary["normalisation"], [(1e-3, 700), (0.1, 900), (0.02, 500)], strict=True
    ):
        assert normalisation["sum_of_weights"] == 2.0 * events
        assert normalisation["factor"] == pytest.approx(cross_section * 1e3 * 100.0 / (2.0 * events), rel=1e-12)


def test_the_classifiers_are_those_that_were_evaluated(finished, summary):
    assert [each["name"] for each in summary["classifiers"]] == ["z", "bce"]
    for content, evaluation in zip(summary["classifiers"], finished.results.evaluations, strict=True):
        point, written = evaluation.working_point, content["working_point"]
        assert content["label"] == evaluation.label
        assert content["auc"] == evaluation.roc.area
        assert content["auc_entries"] == evaluation.roc.entry_area
        assert written["status"] == point.status == "ok"
        assert written["thresholds"] == list(point.thresholds)
        assert written["signal"]["yield"] == point.signal.value
        assert written["background"]["uncertainty"] == math.sqrt(point.background.variance)
        assert written["background"]["effective_entries"] == point.background.effective_entries
        for name in (
            "signal_efficiency",
            "background_efficiency",
            "purity",
            "significance",
            "significance_uncertainty",
        ):
            assert written[name] == getattr(point, name)
        assert written["optimism"] == point.choosing_significance - point.significance
        assert {name: each["yield"] for name, each in written["yields"].items()} == {
            name: each.value for name, each in point.yields.items()
        }
        history = finished.results.classifiers[evaluation.name].history
        assert content["training"]["members"] == 3
        assert content["training"]["epochs"] == len(history.phase) == 4
        assert content["training"]["collapsed_members"] == history.collapsed.sum()
        assert content["training"]["advice"] == history.advice()


def test_the_comparison_is_that_of_the_evaluations(finished, summary):
    (comparison,) = finished.results.comparisons
    (written,) = summary["comparison"]
    assert (written["first"], written["second"]) == ("z", "bce")
    assert [each["quantity"] for each in written["quantities"]] == [
        "binned_significance", "area", "log_loss", "significance"
    ]  # fmt: skip
    for content, quantity in zip(written["quantities"], comparison.quantities, strict=True):
        assert content == {**vars(quantity), "missing": list(quantity.missing)}
        # One seed says nothing about the training.
        assert quantity.missing == ("training",)
        assert quantity.training is quantity.better is quantity.standard_deviations is None
    assert written["quantities"][1]["first"] == pytest.approx(summary["classifiers"][0]["auc"], rel=1e-9)


def test_uncertainties_of_the_figure_of_merit_are_told_with_the_labels_of_their_processes(small_search):
    selection = {"figure_of_merit": "asimov_with_uncertainty", "background_uncertainties": {"top": 0.2}}
    analysis = small_search.analysis(selection=selection | {"relative_background_uncertainty": 0.05})
    assert figure_of_merit_summary(analysis) == {
        "figure_of_merit": "Asimov significance with background uncertainty",
        "signals": "sum",
        "background_uncertainties": [{"name": "top", "label": analysis.labels["top"], "relative": 0.2}],
        "relative_background_uncertainty": 0.05,
        "simulation_uncertainty_in_figure": True,
        "variations_in_figure": False,
    }


def test_the_impact_table_is_that_of_the_results(finished, summary):
    impact, table = summary["impact"], finished.results.impacts
    assert impact["classifier"] == finished.results.evaluations[0].label
    assert impact["figure_of_merit"] == "Asimov significance with the variance of the simulation"
    assert (impact["cut"], impact["bandwidth"]) == (table.cut, table.bandwidth)
    assert len(impact["rows"]) == len(table.rows) == 4
    assert impact["rows"] == plain(table.rows)


def history_of_rounds():
    factors = [np.ones((2, 3)), np.array([[1.0, 0.8, 2.0], [1.0, 0.6, 3.0]])]
    figures = [np.array([1.0, np.nan]), np.array([1.5, 2.5])]
    records = [
        RoundRecord(number, None, factors[number], figures[number], np.array([0.2, 0.4]) + number / 10)
        for number in range(2)
    ]
    nothing = np.zeros((1, 2))
    members = np.arange(2)
    return TrainingHistory(
        "effective weights", ("a",), nothing, nothing, members, members, members, members > 5,
        rounds=tuple(records), kept_round=(1, 1), process_names=("higgs", "dy", "top"),
    )  # fmt: skip


def test_rounds_are_averaged_over_the_folds_that_have_a_working_point():
    start, first = round_rows(history_of_rounds())
    assert (start["figure"], start["change"], start["folds_that_kept_it"]) == (1.0, None, 0)
    assert (first["figure"], first["figure_spread"], first["folds_that_kept_it"]) == (2.0, 0.5, 2)
    assert first["effective_weights"] == {"higgs": 1.0, "dy": pytest.approx(0.7), "top": 2.5}
    assert first["signal_efficiency"] == pytest.approx(0.4)
    assert first["change"] == pytest.approx(np.log(3))


def test_values_that_stand_for_missing_ones_are_noted_with_the_columns(small_search):
    x = np.random.default_rng(0).normal(size=60)
    x[:20] = -999
    process = np.repeat(["higgs", "dy", "top"], 20)
    roles = {"higgs": "signal", "dy": "background", "top": "background"}
    table = EventTable.from_arrays({"x": x}, weight=np.ones(60), process=process, roles=roles, luminosity_ifb=1.0)
    first, second = columns_summary(small_search.analysis(), ColumnsResult(table, (), {}, ("repeated",), {}))["notes"]
    assert first == "repeated"
    assert second.startswith("feature 'x': 33.3 % of the events have the value -999, far outside all others.")


def test_theory_is_quoted_where_it_expects_no_gain(small_search):
    analysis = small_search.analysis()
    (note,) = theory_notes(analysis)
    assert "Theory expects no gain" in note
    uncertain = WorkingPointSettings(
        figure_of_merit="asimov_with_uncertainty",
        background_uncertainties={next(name for name, p in analysis.processes.items() if p.role == "background"): 0.1},
    )
    assert theory_notes(analysis.model_copy(update={"selection": uncertain})) == []
    assert theory_notes(analysis.with_training(loss={"name": "bce"})) == []
    varied = WorkingPointSettings(figure_of_merit="asimov_with_uncertainty", variations_in_figure=True)
    assert theory_notes(analysis.model_copy(update={"selection": varied})) == []
