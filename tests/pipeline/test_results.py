import json
import math

import numpy as np
import pyarrow.parquet as pq
import pytest

from zsig_hep.errors import InputError, ModelFileError
from zsig_hep.fits import ExportSettings, build_workspace
from zsig_hep.learning import Classifier
from zsig_hep.ntuples import EventTable
from zsig_hep.pipeline.output_folder import OutputFolder
from zsig_hep.pipeline.results import Results


@pytest.fixture(scope="module")
def results(small_search, finished_output):
    analysis = small_search.analysis(presentation={"axis_labels": {"x": "Mass [GeV]", "other": "No feature"}})
    return Results(analysis, OutputFolder(finished_output))


def test_scores_are_those_of_the_models_and_thresholds_select_them(finished_output):
    table = EventTable.from_parquet(finished_output / "columns" / "events.parquet")
    stored = pq.read_table(finished_output / "selection" / "scores.parquet")
    assert stored.column_names == ["identity", "process", "fold", "weight", "score_z", "score_bce"]
    assert np.array_equal(stored["identity"].to_numpy(), table.identity)
    classifiers = json.loads((finished_output / "selection" / "selection.json").read_text())["classifiers"]
    for content in classifiers:
        score = stored[f"score_{content['name']}"].to_numpy()
        model = Classifier.load(finished_output / "training" / content["name"])
        assert np.array_equal(score, model.out_of_fold_scores(table.features, table.fold))
        point = content["working_point"]
        assert point["status"] == "ok"
        selected = score >= np.array(point["thresholds"])[table.fold]
        for role, chosen in (("background", table.is_background), ("signal", table.is_signal)):
            assert table.weight[selected & chosen].sum() == pytest.approx(point[role]["yield"], rel=1e-12)


def test_the_difference_is_that_of_the_two_working_points(finished_output):
    summary = json.loads((finished_output / "report" / "summary.json").read_text())
    first, second = (each["working_point"]["significance"] for each in summary["classifiers"])
    difference = summary["comparison"][0]["quantities"][-1]
    assert difference["quantity"] == "significance"
    assert difference["value"] == pytest.approx(first - second, rel=1e-9)
    assert difference["uncertainty"] == pytest.approx(math.hypot(difference["simulation"], difference["choice"]))


def test_a_model_is_described_with_the_cuts_and_the_datasets_of_the_analysis(results):
    metadata = results.model_metadata
    assert results.model_folder.name == "z"
    assert metadata.thresholds == results.evaluations[0].working_point.thresholds
    assert metadata.datasets == ("h", "dy", "tt")
    assert (metadata.fold_seed, metadata.event_identity) == (0, ("run", "luminosityBlock", "event"))
    assert (metadata.feature_names, metadata.units) == (("x", "y"), {"x": "Mass [GeV]"})


def test_fits_get_what_the_working_point_selects(results):
    (channel,) = results.templates.channels
    point = results.evaluations[0].working_point
    assert {name: each.total for name, each in channel.nominal.items()} == pytest.approx(
        {name: each.value for name, each in point.yields.items()}
    )
    assert channel.data is None


def test_fits_have_the_background_uncertainties_of_the_selection(small_search, finished_output):
    uncertain = {
        "figure_of_merit": "asimov_with_uncertainty",
        "background_uncertainties": {"top": 0.3},
        "relative_background_uncertainty": 0.1,
    }
    analysis = small_search.analysis(selection=uncertain, training={"loss": {"name": "z", "error": "sigmoid"}})
    templates = Results(analysis, OutputFolder(finished_output)).templates
    (channel,) = build_workspace(templates, ExportSettings())["channels"]
    found = {
        sample["name"]: {each["name"]: each["data"]["hi"] for each in sample["modifiers"] if each["type"] == "normsys"}
        for sample in channel["samples"]
    }
    assert found == {
        "higgs": {},
        "dy": {"background_uncertainty": 1.1},
        "top": {"background_uncertainty": 1.1, "background_uncertainty_top": 1.3},
    }


def test_without_data_variations_or_categories_there_is_nothing_of_them(results):
    assert results.shown is results.table
    assert results.shapes == {}
    assert results.categories is None
    assert dict(results.systematics) == {"z": None, "bce": None}


def test_a_summed_signal_has_one_exclusion_and_separate_ones_have_their_own(results, small_search, finished_output):
    assert {name: list(each) for name, each in results.exclusions.items()} == {"z": [""], "bce": [""]}
    separate = small_search.analysis(selection={"signals": "mean"})
    found = Results(separate, OutputFolder(finished_output)).exclusions
    assert {name: list(each) for name, each in found.items()} == {"z": ["higgs"], "bce": ["higgs"]}
    one, other = (each["z"][signal].expected for each, signal in ((results.exclusions, ""), (found, "higgs")))
    assert one.median_limit == pytest.approx(other.median_limit)


def test_a_model_of_other_events_is_refused(small_search, finished_output, results):
    other = Results(
        small_search.analysis(), OutputFolder(finished_output), results.table.select(results.table.fold > 0)
    )
    with pytest.raises(ModelFileError, match=r"training/z/model\.safetensors was trained on other events"):
        _ = other.classifiers


def test_results_of_other_settings_are_not_read(small_search, finished_output):
    other = Results(small_search.analysis(training={"seed": 77}), OutputFolder(finished_output))
    assert len(other.table) > 0
    with pytest.raises(InputError, match=r"training/z does not hold a result for the present settings"):
        _ = other.classifiers


def test_a_table_at_hand_is_not_read_again(small_search, tmp_path, results):
    at_hand = Results(small_search.analysis(), OutputFolder(tmp_path), results.table)
    assert at_hand.table is results.table
