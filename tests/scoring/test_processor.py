"""ScoreProcessor as an ordinary processor in a user's own coffea Runner."""

import subprocess
import sys
from dataclasses import replace

import hist
import numpy as np
import pytest
from coffea.nanoevents import BaseSchema, NanoAODSchema
from coffea.processor import DaskExecutor, FuturesExecutor, IterativeExecutor, Runner

from tests.scoring.scored import EDGES, FILES
from zsig_hep.errors import InputError
from zsig_hep.ntuples.variations import ShapeVariation, WeightVariation
from zsig_hep.ntuples.weight_sets import WeightSetVariation
from zsig_hep.scoring.processor import ScoreProcessor

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore:Missing cross-reference:RuntimeWarning"
)


def fill(search, scorer=None, *, executor=None, schema=BaseSchema, reader=None, fileset=None, **options):
    options = {"score_axis": hist.axis.Variable(EDGES, name="score")} | options
    processor = ScoreProcessor(reader or search.reader, scorer or search.onnx, **options)
    executor = executor or IterativeExecutor(status=False, retries=0)
    runner = Runner(executor=executor, schema=schema, chunksize=300, metadata_cache={})
    return runner(fileset or search.fileset, processor)


def factors(search):
    """Yield per unit weight; the skim holds half of the sum of weights, see `write_events`."""
    sizes = {"h": 700, "dy": 900, "tt": 500}
    cross_sections = {"h": 1e-3, "dy": 0.1, "tt": 0.02}
    return {name: cross_sections[name] * 100e3 / (2.0 * size) for name, size in sizes.items()}


def compare(search, output):
    histogram = output["histogram"]
    assert [axis.name for axis in histogram.axes] == ["process", "variation", "score"]
    assert set(histogram.axes["process"]) == {"higgs", "dy", "top"}
    for process in ("higgs", "dy", "top"):
        values, variances = search.histogram_of(process)
        assert histogram[process, "nominal", :].values() == pytest.approx(values, rel=1e-9)
        assert histogram[process, "nominal", :].variances() == pytest.approx(variances, rel=1e-9)


@pytest.mark.parametrize("backend", ["onnx", "torch"])
@pytest.mark.parametrize("schema", [BaseSchema, NanoAODSchema])
def test_histograms_are_those_of_the_training(search, backend, schema):
    output = fill(search, getattr(search, backend), schema=schema, factors=factors(search))
    compare(search, output)


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_histograms_of_trees_are_those_of_the_training(search_of_trees, backend):
    search = search_of_trees
    compare(search, fill(search, getattr(search, backend), factors=factors(search)))


# Loky takes the import of torch in a worker for a leak.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:A worker was restarted")
@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_workers_load_the_model(search, backend, pool):
    executor = FuturesExecutor(status=False, retries=0, pool=pool)
    compare(search, fill(search, getattr(search, backend), executor=executor, factors=factors(search)))


@pytest.mark.slow
def test_workers_need_no_torch():
    code = "import sys; from zsig_hep.scoring import OnnxScorer, ScoreProcessor; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_dask_workers_load_the_model(search):
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "threads_per_worker": 2, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        executor = DaskExecutor(client=client, status=False, retries=0)
        compare(search, fill(search, executor=executor, factors=factors(search)))


def test_sums_of_generator_weights_count_all_events(search):
    import uproot

    sums = fill(search)["sums"]
    assert set(sums) == set(FILES)
    for name, (_, file) in FILES.items():
        weight = uproot.open(search.folder / file)["Events"]["genWeight"].array(library="np").astype("f8")
        assert sums[name].entries == len(weight)
        assert float(sums[name].sum_of_weights) == pytest.approx(weight.sum(), rel=1e-12)


def test_weights_are_left_alone_without_factors(search):
    plain, normalised = fill(search)["histogram"], fill(search, factors=factors(search))["histogram"]
    for name, (process, _) in FILES.items():
        expected = factors(search)[name] * plain[process, "nominal", :].values()
        assert normalised[process, "nominal", :].values() == pytest.approx(expected)


def test_new_events_are_scored_by_the_whole_ensemble(search):
    file = str(search.folder / "data.root")
    reader = replace(search.reader, weights=search.reader.weights | {"data": None})
    output = fill(search, reader=reader, fileset={"data": {"files": {file: "Events"}}})
    assert list(output["histogram"].axes["process"]) == ["data"]
    import uproot

    arrays = uproot.open(file)["Events"].arrays(["x", "y"], library="np")
    features = np.stack([arrays["x"], arrays["y"]], axis=1)[np.abs(arrays["x"]) < 3]
    expected, _ = np.histogram(search.torch.scores(features), np.append(EDGES[:-1], 1.0000001))
    assert output["histogram"]["data", "nominal", :].values().tolist() == expected.tolist()


def test_axes_of_features(search):
    axes = [hist.axis.Regular(4, -1, 1, name="y")]
    histogram = fill(search, axes=axes)["histogram"]
    assert [axis.name for axis in histogram.axes] == ["process", "variation", "score", "y"]
    chosen = search.table.process == 1
    expected, *_ = np.histogram2d(
        search.scores[chosen],
        search.table.feature("y")[chosen],
        [np.append(EDGES[:-1], 1.0000001), np.linspace(-1, 1, 5)],
    )
    unweighted = fill(search, axes=axes, reader=replace(search.reader, weights=dict.fromkeys(FILES)))["histogram"]
    assert np.array_equal(unweighted["dy", "nominal", :, :].values(), expected)
    total = histogram["dy", "nominal", :, sum].values()
    assert total == pytest.approx(fill(search)["histogram"]["dy", "nominal", :].values())


@pytest.fixture
def varied_columns():
    """Columns with a shift of x, as a local function."""

    def columns(events, variation="nominal"):
        x = events["x"] + {"nominal": 0.0, "scaleUp": 0.2, "scaleDown": -0.2}[variation]
        selected = abs(x) < 3.0
        return {"x": x[selected], "y": events["y"][selected]}, selected

    return columns


def test_variations_have_their_own_selections_scores_and_weights(search, varied_columns):
    def factor(events):
        return 1.0 + 0.1 * np.asarray(events["y"] > 0)

    variations = {
        "dy": {"scale": ShapeVariation(kind="shape"), "w": WeightVariation(kind="weight", function="w.py:w")},
        "tt": {"scale": ShapeVariation(kind="shape", one_sided=True)},
    }
    reader = replace(search.reader, columns=varied_columns, variations=variations, weight_functions={"w": factor})
    histogram = fill(search, reader=reader, factors=factors(search))["histogram"]
    assert set(histogram.axes["variation"]) == {"nominal", "scaleUp", "scaleDown", "wUp", "wDown"}
    values, _ = search.histogram_of("dy")
    assert histogram["dy", "nominal", :].values() == pytest.approx(values, rel=1e-6)
    raised = 1 + 0.1 * (search.table.feature("y") > 0)
    for name, weights in (("wUp", raised), ("wDown", 2 - raised)):
        expected, _ = search.histogram_of("dy", search.table.weight * weights)
        assert histogram["dy", name, :].values() == pytest.approx(expected, rel=1e-6)
    for direction in ("Up", "Down"):
        shifted = fill(search, reader=replace(search.reader, columns=shift(varied_columns, f"scale{direction}")))
        expected = factors(search)["dy"] * shifted["histogram"]["dy", "nominal", :].values()
        assert histogram["dy", f"scale{direction}", :].values() == pytest.approx(expected)
        assert not np.allclose(expected, values)
    assert histogram["top", "scaleUp", :].values().sum() > 0
    for process, variation in (("top", "scaleDown"), ("top", "wUp"), ("higgs", "scaleUp")):
        assert not histogram[process, variation, :].values().any()


def shift(columns, variation):
    return lambda events: columns(events, variation)


def test_a_score_of_one_is_in_the_last_bin(search):
    class Ones:
        feature_names, fold_count, metadata = search.onnx.feature_names, 3, search.onnx.metadata

        def out_of_fold_scores(self, features, fold):
            return np.ones(len(features))

    axis = hist.axis.Regular(7, 0, 1, name="score")
    histogram = fill(search, Ones(), score_axis=axis)["histogram"]
    assert histogram["dy", "nominal", :].values(flow=True)[-1] == 0
    assert histogram["dy", "nominal", -1].value == histogram["dy", "nominal", sum].value > 0


def test_features_are_matched_by_name(search):
    def reversed_columns(events):
        selected = abs(events["x"]) < 3.0
        return {"other": events["x"][selected], "y": events["y"][selected], "x": events["x"][selected]}, selected

    reader = replace(search.reader, columns=reversed_columns)
    compare(search, fill(search, reader=reader, factors=factors(search)))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["y", "xx"], r"takes 2 features, the columns have 2 and lack the feature 'x'\. Did you mean 'xx'"),
        (["y"], r"takes 2 features, the columns have 1 and lack the feature 'x'\. There are: y"),
        (["z"], r"the columns have 1 and lack the features 'x', 'y'\."),
    ],
)
def test_other_features_are_refused(search, names, message):
    reader = replace(search.reader, columns=lambda events: dict.fromkeys(names, events["x"]))
    with pytest.raises(Exception, match=f"ModelFileError.*{message}"):
        fill(search, reader=reader)


def test_missing_values_without_a_rule_are_refused(search):
    reader = replace(search.reader, columns=lambda events: {"x": events["x"] * np.nan, "y": events["y"]})
    with pytest.raises(Exception, match=r"InputError.*Missing values \(NaN\) in 'x'"):
        fill(search, reader=reader)


def test_a_dataset_without_a_factor_is_refused(search):
    with pytest.raises(Exception, match=r"InputError.*no factor for dataset 'h'"):
        fill(search, factors={"dy": 1.0, "tt": 1.0})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_axis": hist.axis.Regular(2, 0, 1, name="x")}, "its name must be 'score'"),
        ({"axes": [hist.axis.Regular(2, 0, 1)]}, "an axis has no name"),
        ({"axes": [hist.axis.Regular(2, 0, 1, name="weight")]}, "'weight' is taken; call the axis 'weight_'"),
        ({"axes": [hist.axis.Regular(2, 0, 1, name="x")] * 2}, "more than one axis 'x'"),
    ],
)
def test_axes_that_cannot_be_used_are_refused(search, options, message):
    with pytest.raises(InputError, match=message):
        ScoreProcessor(search.reader, search.onnx, **options)


def test_an_axis_that_is_no_feature_is_refused(search):
    with pytest.raises(Exception, match=r"InputError.*axis 'yy' is no feature of the columns\. Did you mean 'y'"):
        fill(search, axes=[hist.axis.Regular(2, 0, 1, name="yy")])


def test_weights_that_the_sums_of_all_chunks_normalise_are_refused(search):
    own = WeightVariation(kind="weight", branch="PSWeight", up=0, down=2, normalise="own")
    reader = replace(search.reader, variations={"dy": {"isr": own}})
    with pytest.raises(
        InputError, match=r"variation 'isr' is normalised by the sums.* \(normalise: own\).*leave it out"
    ):
        ScoreProcessor(reader, search.onnx)


def test_sets_of_weights_are_refused(search):
    scales = WeightSetVariation(kind="weight_set", branch="LHEScaleWeight", combine="envelope")
    reader = replace(search.reader, variations={"dy": {"scales": scales}})
    with pytest.raises(InputError, match=r"variation 'scales' is a set of weights.*leave it out.*`kind: weight`"):
        ScoreProcessor(reader, search.onnx)
