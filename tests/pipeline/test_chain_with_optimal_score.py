"""The chain with the optimal score: what it trains once, what it says, and what it refuses."""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.conftest import DATA
from zsig_hep.errors import AnalysisFileError, InputError, ModelFileError
from zsig_hep.learning import RatioModel
from zsig_hep.ntuples import EventTable
from zsig_hep.pipeline import Pipeline, Results, apply_to_files
from zsig_hep.selection import held_out_selection

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]

CENTRES = {"higgs": (3.0, 3.0), "dy": (1.5, 3.0), "top": (3.0, 1.5)}
YIELDS = {"higgs": 3000.0, "dy": 150_000.0, "top": 150_000.0}
TRAINING = {
    "hidden": [16], "embedding": "none", "seeds": 1, "device": "cpu", "loss": {"name": "bce"},
    "warm_start": {"epochs": 8, "batch_size": 256, "learning_rate": 0.01}, "main": {"epochs": 0},
}  # fmt: skip
SELECTION = {
    "score": "optimal",
    "figure_of_merit": "asimov_with_uncertainty",
    "background_uncertainties": {"dy": 0.02, "top": 0.3},
    # The simulation of these many events would else be the largest uncertainty.
    "simulation_uncertainty_in_figure": False,
    "minimum_signal_efficiency": 0.02,
    "partitions": 2,
}
VARIATIONS = {"top_cross_section": {"kind": "normalisation", "relative": 0.3, "processes": ["top"]}}


MODEL_LINE = (
    "model.onnx computes the score of the weighted BCE with its own cut, not the optimal score: histograms and fit inputs "
    "have the optimal one"
)


def make_table(events=4000, seed=3, few=None):
    rng = np.random.default_rng(seed)
    counts = dict.fromkeys(CENTRES, events) | (few or {})
    process = np.repeat(list(counts), list(counts.values()))
    x = np.concatenate([rng.normal(CENTRES[name], 1.0, (count, 2)) for name, count in counts.items()])
    weight = np.concatenate([np.full(count, YIELDS[name] / count) for name, count in counts.items()])
    return EventTable.from_arrays(
        {"x": x[:, 0], "y": x[:, 1]}, weight=weight, process=process,
        roles={name: "signal" if name == "higgs" else "background" for name in counts},
        luminosity_ifb=100.0, folds=3,
    )  # fmt: skip


def make(output, table=None, *, training=None, selection=None, **settings):
    lines = []
    chain = Pipeline.of_table(
        make_table() if table is None else table, output, title="Overlap",
        training=TRAINING | (training or {}), selection=SELECTION | (selection or {}), **settings,
    )  # fmt: skip
    chain.announce = lines.append
    chain.lines = lines
    return chain


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    output = tmp_path_factory.mktemp("optimal") / "out"
    chain = make(output, variations=VARIATIONS)
    return chain.run(), chain, output


def test_the_ratios_are_trained_once_and_stored(finished):
    _, chain, output = finished
    assert chain.lines == [
        "taking events from a table",
        "training with the weighted BCE",
        "training likelihood ratios",
        "choosing working points",
        "writing histograms, fit inputs and model",
        MODEL_LINE,
        "drawing figures",
    ]
    model = RatioModel.load(output / "training" / "ratios")
    assert model.ratios.names == ("top_cross_section",)
    again = make(output, variations=VARIATIONS)
    again.run()
    assert again.lines == []


@pytest.fixture
def output(finished, tmp_path):
    return shutil.copytree(finished[2], tmp_path / "copy")


def test_a_changed_selection_trains_nothing(output, no_figures):
    chain = make(output, variations=VARIATIONS, selection={"background_uncertainties": {"dy": 0.3, "top": 0.02}})
    summary = chain.run()
    assert [line for line in chain.lines if line.startswith("training")] == []
    values = summary["optimal"]["coefficients"]["backgrounds"]
    assert values["dy"]["mean"] > 1 > values["top"]["mean"]
    plain = make(output, variations=VARIATIONS, selection={"score": "classifier"})
    summary = plain.run()
    assert [line for line in plain.lines if line.startswith("training")] == []
    assert summary["optimal"] is None
    assert [each["name"] for each in summary["classifiers"]] == ["bce"]


def test_the_optimal_score_stands_first_and_gains(finished):
    summary, chain, _ = finished
    optimal, bce = summary["classifiers"]
    assert (optimal["name"], optimal["label"], bce["name"]) == ("optimal", "optimal score", "bce")
    assert optimal["training"]["loss"] == "likelihood ratios"
    found = summary["optimal"]
    values = found["coefficients"]["backgrounds"]
    assert values["top"]["mean"] > 1 > values["dy"]["mean"]
    assert values["top"]["mean"] == pytest.approx(np.mean(values["top"]["by_fold"]))
    assert len(values["top"]["by_fold"]) == 3
    (gain,) = [each for each in found["comparison"]["quantities"] if each["quantity"] == "significance"]
    assert gain["first"] == pytest.approx(optimal["working_point"]["significance"])
    assert gain["second"] == pytest.approx(found["unweighted"]["significance"])
    assert gain["value"] > gain["uncertainty"] > 0
    assert gain["missing"] == ["training"]
    assert found["smooth_gain"] > 0.2
    assert chain.results.optimal.held_out.point.significance == optimal["working_point"]["significance"]


def test_closure_is_in_the_summary_and_the_report(finished):
    summary, _, output = finished
    rows = {row["name"]: row for row in summary["optimal"]["closure"]}
    assert list(rows) == ["higgs", "dy", "top", "top_cross_sectionUp", "top_cross_sectionDown"]
    assert rows["dy"]["counted"] == pytest.approx(150_000.0)
    page = (output / "report" / "report.html").read_text()
    for expected in ("<h2>Optimal score</h2>", "c of top", "Closure", "optimal score: significance Z"):
        assert expected in page


def test_fits_and_files_have_the_optimal_score(finished):
    _, chain, output = finished
    stored = pq.read_table(output / "selection" / "scores.parquet")
    np.testing.assert_array_equal(stored["score_optimal"].to_numpy(), chain.results.optimal.held_out.events.score)
    point = chain.results.evaluations[0].working_point
    (channel,) = chain.results.templates.channels
    for name, expected in point.yields.items():
        assert channel.nominal[name].values.sum() == pytest.approx(expected.value)
    # The cuts of the model that is exported are those of the classifier.
    assert chain.results.model_metadata.thresholds == chain.results.evaluations[1].working_point.thresholds


def test_variations_enter_the_score_on_request(output, no_figures):
    settings = {"background_uncertainties": {}, "variations_in_figure": True}
    summary = make(output, variations=VARIATIONS, selection=settings).run()
    found = summary["optimal"]
    assert list(found["coefficients"]["variations"]) == ["top_cross_section"]
    assert found["left_out"] == []
    (gain,) = [each for each in found["comparison"]["quantities"] if each["quantity"] == "significance"]
    assert gain["value"] > 0


def test_boosted_trees_alone(tmp_path, no_figures):
    pytest.importorskip("xgboost")
    training = {"classifier": "boosted_trees", "trees": {"rounds": 30, "depth": 3, "learning_rate": 0.3}}
    summary = make(tmp_path / "out", training=training).run()
    assert [each["name"] for each in summary["classifiers"]] == ["optimal", "trees_bce"]
    values = summary["optimal"]["coefficients"]["backgrounds"]
    assert values["top"]["mean"] > 1 > values["dy"]["mean"]


def test_a_background_with_fewer_events_than_folds():
    with pytest.raises(InputError, match="process 'top' has 2 events after the selection, fewer than the 3 folds"):
        make_table(100, few={"top": 2})


def refused(match, table=None, **settings):
    with pytest.raises(AnalysisFileError, match=match):
        make("out", table, **settings)


def test_without_the_cross_entropy():
    refused("remove `baseline: false`", training={"loss": {"name": "z"}, "baseline": False})
    # The cross entropy itself needs no baseline.
    assert make("out", training={"baseline": False}).analysis.ratio_baseline.name == "bce"
    # Cross entropy with other weights has another logit.
    weighted = {"loss": {"name": "bce", "weighting": "events"}}
    refused("remove `baseline: false`", training=weighted | {"baseline": False})
    assert make("out", training=weighted).analysis.ratio_baseline.name == "weighted_bce"


def test_a_warm_start_without_epochs():
    refused(r"training\.warm_start; give it epochs", training={"warm_start": {"epochs": 0}, "main": {"epochs": 5}})


def test_a_single_background_without_variations():
    table = make_table(200)
    table = table.select(table.process < 2)
    alone = EventTable.from_arrays(
        {"x": table.features[:, 0], "y": table.features[:, 1]}, weight=table.weight,
        process=np.array(table.process_names)[table.process], roles={"higgs": "signal", "dy": "background"},
        luminosity_ifb=100.0, folds=3,
    )  # fmt: skip
    refused("single background 'dy' and no variations", alone, selection={"background_uncertainties": {"dy": 0.1}})
    variations = {"dy_shape": {"kind": "normalisation", "relative": 0.1, "processes": ["dy"]}}
    chain = make(
        "out", alone, selection={"background_uncertainties": {}, "variations_in_figure": True}, variations=variations
    )
    assert chain.analysis.ratio_baseline is not None


def test_signals_as_separate_hypotheses():
    table = make_table(200)
    roles = {"higgs": "signal", "dy": "signal", "top": "background"}
    two = EventTable.from_arrays(
        {"x": table.features[:, 0], "y": table.features[:, 1]}, weight=table.weight,
        process=np.array(table.process_names)[table.process], roles=roles, luminosity_ifb=100.0, folds=3,
    )  # fmt: skip
    refused(r"selection\.signals is 'mean'", two, selection={"signals": "mean", "background_uncertainties": {}})


@pytest.fixture(scope="module")
def of_ntuples(small_search, tmp_path_factory):
    """A run of ntuples with data, which stay hidden above the cut."""
    changes = {
        "processes": {"data": DATA},
        "selection": {"score": "optimal", "partitions": 1, "minimum_signal_efficiency": 0.8},
        "variations": {"luminosity": {"kind": "luminosity", "relative": 0.02}},
    }
    chain = Pipeline(small_search.analysis(**changes), tmp_path_factory.mktemp("of_ntuples") / "out")
    return chain, chain.scan()


def test_data_above_the_cut_on_the_optimal_score_are_hidden(of_ntuples):
    chain, summary = of_ntuples
    assert [each["name"] for each in summary["classifiers"]] == ["optimal", "z", "bce"]
    evaluation, events = chain.results.evaluations[0], chain.results.events["optimal"]
    above = events.is_data & held_out_selection(events, evaluation.working_point.thresholds)
    assert 0 < above.sum() < events.is_data.sum()
    shown = chain.results.shown
    assert not set(shown.identity[shown.is_data]) & set(chain.table.identity[above])
    assert evaluation.score_histogram["data", sum].value <= (events.is_data & ~above).sum()


def test_friend_trees_say_that_they_have_the_score_of_the_classifier(of_ntuples, small_search, tmp_path, caplog):
    chain, _ = of_ntuples
    (written,) = apply_to_files(chain.results, [str(small_search.folder / "signal.root")], tmp_path / "friends")
    assert "friend trees have the score and the cut of the Z loss, not the optimal score" in caplog.text
    assert written


def test_ratios_of_other_events_are_refused(of_ntuples):
    chain, _ = of_ntuples
    kept = chain.table.select(chain.table.fold > 0)
    other = Results(chain.analysis, chain.output_folder, kept)
    with pytest.raises(ModelFileError, match=r"training/ratios/model\.safetensors was trained on other events"):
        _ = other.ratio_model
