import awkward as ak
import numpy as np
import pytest
import uproot
from coffea.analysis_tools import PackedSelection
from pydantic import TypeAdapter

from tests.ntuples.conftest import LUMINOSITY_IFB, event_arrays, two_processes, with_changed, write_ntuple
from tests.ntuples.varied_search import read
from zsig_hep.errors import InputError
from zsig_hep.ntuples import Dataset, Process, Variation
from zsig_hep.ntuples.columns import branch, flat_branch, is_reading_error, select_columns
from zsig_hep.ntuples.table import as_feature
from zsig_hep.ntuples.variations import ShapeVariation


def test_infinite_feature(refused, tmp_path):
    write_ntuple(tmp_path / "b.root", with_changed(event_arrays(100, 2), "mass", 3, np.inf))
    refused(r"feature 'mass' is inf for selected event 3 on dataset 'b', file .*b\.root.*NaN")
    write_ntuple(tmp_path / "b.root", with_changed(event_arrays(100, 2), "mass", 3, 1e300))
    refused(r"feature 'mass' is inf")


def test_missing_value_of_a_feature_is_kept(run, tmp_path):
    write_ntuple(tmp_path / "signal.root", 50)
    write_ntuple(tmp_path / "b.root", with_changed(event_arrays(100, 2), "mass", 3, np.nan))
    table = run(of=two_processes(["b.root"])).table
    assert np.isnan(table.feature("mass")).sum() == 1


class TestMasked:
    """A value behind a mask is never used."""

    @pytest.mark.parametrize(
        "column",
        [np.ma.array([1, 2, 3], mask=[0, 1, 0]), np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0]), ak.Array([1, None, 3])],
        ids=["integers", "reals", "awkward"],
    )
    def test_a_masked_number_is_missing(self, column):
        np.testing.assert_array_equal(as_feature("x", column), [1, np.nan, 3])

    @pytest.mark.parametrize("column", [np.ones(3, complex), np.array([(1.0,)], dtype=[("a", "f8")])])
    def test_numbers_that_are_not_real_are_refused(self, column):
        with pytest.raises(InputError, match=r"feature 'x' has values of type .*Take a real part or one field"):
            as_feature("x", column)

    @pytest.mark.parametrize(
        "mask",
        [np.ma.array([True, True, False], mask=[0, 1, 0]), ak.Array([True, None, False])],
        ids=["numpy", "awkward"],
    )
    def test_a_masked_truth_value_is_false(self, mask):
        events = ak.Array({"x": [1.0, 2.0, 3.0]})
        found = select_columns(lambda events: ({"x": events["x"][:1]}, mask), events, "here")
        assert found.selected.tolist() == [True, False, False]

    def test_a_branch_without_a_value(self):
        events = ak.Array({"real": [1.0, None], "integer": [1, None], "flag": [True, None]})
        np.testing.assert_array_equal(flat_branch(events, "real", "here"), [1, np.nan])
        for name in ("integer", "flag"):
            with pytest.raises(InputError, match=f"here: branch '{name}' has no value in 1 events"):
                flat_branch(events, name, "here")


@pytest.mark.usefixtures("shared_pool")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize(
    "executor", ["iterative", *(pytest.param(each, marks=pytest.mark.slow) for each in ("futures", "dask"))]
)
def test_columns_that_raise(run, tmp_path, executor):
    write_ntuple(tmp_path / "signal.root", 50)
    write_ntuple(tmp_path / "b.root", 50)
    (tmp_path / "columns.py").write_text("def columns(events):\n    value = 1 / 0\n    return {'x': value}\n")
    match = r"columns\.py, line 2 \(value = 1 / 0\): columns\(events\) raised ZeroDivisionError on dataset '[hb]', file .*\.root"
    with pytest.raises(InputError, match=match):
        run(of=two_processes(["b.root"]), columns="columns.py:columns", run_options={"executor": executor})
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.usefixtures("shared_pool")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize(
    "executor", ["iterative", *(pytest.param(each, marks=pytest.mark.slow) for each in ("futures", "dask"))]
)
def test_columns_that_exit(run, tmp_path, executor):
    write_ntuple(tmp_path / "signal.root", 50)
    write_ntuple(tmp_path / "b.root", 50)
    (tmp_path / "columns.py").write_text("import sys\ndef columns(events):\n    sys.exit(3)\n")
    match = r"columns\.py, line 3 \(sys\.exit\(3\)\): columns\(events\) called sys\.exit\(3\) on dataset '[hb]', file .*\.root$"
    with pytest.raises(InputError, match=match):
        run(of=two_processes(["b.root"]), columns="columns.py:columns", run_options={"executor": executor})


def test_an_interrupt_in_columns_is_no_error_of_theirs(run, tmp_path):
    write_ntuple(tmp_path / "signal.root", 50)
    write_ntuple(tmp_path / "b.root", 50)
    (tmp_path / "columns.py").write_text("def columns(events):\n    raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        run(of=two_processes(["b.root"]), columns="columns.py:columns")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ("    return {'x': events['MET_ptt']}", r"line 2.*raised FieldNotFoundError.*Did you mean 'MET_pt'"),
        ("    return {'x': events.MET_ptt}", r"line 2.*raised AttributeError.*Did you mean 'MET_pt'"),
        ("    return {'x': events.mass[:-1]}", r"feature 'x' on dataset 'h', .* has 49 values for 50 selected events"),
        (
            "    return {'x': events.mass}, events.MET_pt > 10",
            r"has 50 values for \d+ selected.*index it with the mask",
        ),
        ("    return {'x': events.Jet_pt}", r"feature 'x' is not a flat array.*one value per event.*dataset 'h'"),
        ("    return events.mass", r"columns\(events\) returned Array on dataset 'h'.*valid are a dict"),
        ("    return {}", r"returned dict"),
        ("    return {'x': events.mass}, events.mass", r"cut 'selection' .* type float64"),
        ("    return {'x': events.mass}, events.mass[:3] > 1", r"shape \(3,\).*one boolean for each of the 50"),
        ("    return {'x': ['a'] * len(events)}", r"feature 'x' is not a flat array of numbers"),
    ],
)
def test_columns_that_return_something_else(refused, tmp_path, body, match):
    write_ntuple(tmp_path / "signal.root", 50)
    write_ntuple(tmp_path / "b.root", 50)
    (tmp_path / "columns.py").write_text(f"def columns(events):\n{body}\n")
    refused(match, columns="columns.py:columns")


def test_a_variation_that_the_columns_do_not_know_is_named(search, tmp_path):
    with pytest.raises(InputError, match=r"variation 'vUp'.*raised KeyError|raised KeyError.*'vUp'"):
        read(search, tmp_path / "out", {"v": ShapeVariation(kind="shape")})


def test_cuts_are_cumulative_in_the_order_in_which_they_were_added():
    events = ak.Array({"x": [1.0, 2.0, 3.0, 4.0], "y": [0, 1, 0, 1]})

    def columns(events):
        cuts = PackedSelection()
        cuts.add("odd", np.asarray(events.y == 1))
        cuts.add("large", np.asarray(events.x > 2))
        return {"x": events.x[cuts.all()]}, cuts

    found = select_columns(columns, events, "here")
    assert [(name, mask.tolist()) for name, mask in found.cuts] == [
        ("odd", [False, True, False, True]),
        ("large", [False, False, False, True]),
    ]
    assert found.selected.tolist() == found.cuts[-1][1].tolist()
    assert (found.features["x"].tolist(), found.features["x"].dtype) == ([4.0], np.float32)
    assert select_columns(["x"], events, "here").selected is None


def test_a_branch_is_found_by_its_name_in_the_file_whatever_the_schema_made_of_it():
    events = ak.Array({"MET": [{"pt": 1.0}, {"pt": 2.0}], "MET_phi": [3.0, 4.0]})
    assert branch(events, "MET_pt").tolist() == [1.0, 2.0]
    assert branch(events, "MET_phi").tolist() == [3.0, 4.0]
    with pytest.raises(InputError, match=r"there is no branch 'MET_ph'\. Did you mean 'MET_phi'"):
        branch(events, "MET_ph")


def test_a_branch_that_is_shorter_than_its_tree_is_an_error_of_reading():
    """coffea's events read a branch when it is first used, in awkward, where no frame belongs to uproot."""
    form = ak.forms.NumpyForm("float32", form_key="node")
    events = ak.from_buffers(form, 100, {"node-data": lambda: np.zeros(0, "f4")})
    with pytest.raises(TypeError, match="size of array") as caught:
        ak.to_numpy(events)
    assert is_reading_error(caught.value)
    with pytest.raises(ValueError, match="cannot broadcast") as caught:
        ak.Array([1, 2]) + ak.Array([1, 2, 3])
    assert not is_reading_error(caught.value)


WEIGHTED = """
import json
from pathlib import Path
import numpy as np
from coffea.analysis_tools import Weights

NUMBERS = json.loads((Path(__file__).parent / "numbers.json").read_text())

def columns(events):
    x = np.asarray(events["MET_pt"], dtype=np.float64)
    selected = x > 20.0
    weights = Weights(len(events))
    if events.metadata["dataset"] != "d":
        weights.add("trigger", np.full(len(events), NUMBERS["trigger"]))
        weights.add("pileup", 1.0 + 0.001 * x, 1.0 + 0.002 * x)
        weights.add("muon", np.full(len(events), 0.9), np.full(len(events), 0.95), np.full(len(events), 0.8))
    return {"x": x[selected]}, selected, weights
"""


@pytest.fixture
def weighted_columns(tmp_path):
    (tmp_path / "columns.py").write_text(WEIGHTED)
    (tmp_path / "numbers.json").write_text('{"trigger": 0.5}')
    return "columns.py:columns"


def test_weights_of_the_columns_multiply_and_vary(run, processes, weighted_columns, tmp_path):
    def factor(name):
        return {"kind": "weight", "scale_factor": name}

    variations = {"pu": factor("pileup"), "muon": factor("muon") | {"processes": ["dy"]}}
    adapter = TypeAdapter(dict[str, Variation])
    plain = run(of=processes, columns=weighted_columns)
    result = run(
        of=processes, columns=weighted_columns, run_options={"variations": adapter.validate_python(variations)}
    )
    np.testing.assert_array_equal(result.table.weight, plain.table.weight)
    higgs = result.table.is_signal
    with uproot.open(tmp_path / "signal.root") as file:
        arrays = file["Events"].arrays(["MET_pt", "genWeight"], library="np")
    kept = arrays["MET_pt"].astype("f8") > 20.0
    x, weight = arrays["MET_pt"][kept].astype("f8"), arrays["genWeight"][kept].astype("f8")
    expected = weight * 0.1 * LUMINOSITY_IFB * 1e3 / 3000.0 * 0.5 * 0.9 * (1.0 + 0.001 * x)
    np.testing.assert_allclose(result.table.weight[higgs], expected, rtol=1e-12)
    up, down = (each[higgs] for each in result.table.weight_variations["pu"])
    np.testing.assert_allclose(up / expected, (1.0 + 0.002 * x) / (1.0 + 0.001 * x), rtol=1e-12)
    np.testing.assert_allclose(down / expected, (1.0 + 0.001 * x) / (1.0 + 0.002 * x), rtol=1e-12)
    up, down = (each / result.table.weight for each in result.table.weight_variations["muon"])
    np.testing.assert_allclose(up[~higgs], 0.95 / 0.9, rtol=1e-12)
    np.testing.assert_allclose(down[~higgs], 0.8 / 0.9, rtol=1e-12)
    assert (up[higgs] == 1).all()
    # The sum of generator weights has no scale factors; the first row of the cutflow has them.
    assert result.cutflows["higgs"][0].value == pytest.approx(0.1 * LUMINOSITY_IFB * 1e3)
    whole = arrays["genWeight"].astype("f8") * (1.0 + 0.001 * arrays["MET_pt"].astype("f8")) * 0.45
    assert result.cutflows["higgs"][1].value == pytest.approx(whole.sum() * 0.1 * LUMINOSITY_IFB * 1e3 / 3000.0)


def test_a_background_from_data_reads_the_files_of_the_data(run, weighted_columns, tmp_path):
    write_ntuple(tmp_path / "signal.root", 300, 1)
    write_ntuple(tmp_path / "data.root", 400, 2)
    of_data = {"files": ["data.root"]}
    estimate = of_data | {"weight": None, "sum_of_weights": "normalised", "shares_events_with": "d"}
    signal = Process(role="signal", datasets={"h": Dataset(files=["signal.root"], cross_section_pb=0.1)})
    processes = {
        "higgs": signal,
        "fakes": Process(role="background", datasets={"fakes": estimate}),
        "data": Process(role="data", datasets={"d": of_data}),
    }
    table = run(of=processes, columns=weighted_columns).table
    x = table.feature("x")[table.process == 1].astype("f8")
    np.testing.assert_allclose(table.weight[table.process == 1], 0.45 * (1.0 + 0.001 * x), rtol=1e-6)
    assert (table.weight[table.process == 2] == 1).all()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            ("weights\n", "np.ones(3)\n"),
            "returned ndarray as third on dataset 'h'.*valid is coffea.analysis_tools.Weights",
        ),
        (("weights = Weights(len(events))", "weights = Weights(3)"), "raised ValueError"),
        (("0.001 * x, 1.0", "np.where(x > 20.0, np.inf, 1.0), 1.0"), "weights that are not finite on dataset 'h'"),
        (('!= "d"', '!= "?"'), "weights recorded data, whose events count as one each"),
    ],
)
def test_weights_of_the_columns_that_cannot_be_used(run, weighted_columns, tmp_path, change, match):
    (tmp_path / "columns.py").write_text(WEIGHTED.replace(*change))
    write_ntuple(tmp_path / "signal.root", 100, 1)
    write_ntuple(tmp_path / "data.root", 100, 2)
    processes = two_processes(["signal.root"], shares_events_with="h") | {
        "data": Process(role="data", datasets={"d": {"files": ["data.root"]}})
    }
    with pytest.raises(InputError, match=match):
        run(of=processes, columns=weighted_columns)


def test_a_variation_that_the_columns_do_not_return(run, processes, weighted_columns):
    variations = TypeAdapter(dict[str, Variation]).validate_python(
        {"pu": {"kind": "weight", "scale_factor": "pilup", "processes": ["dy"]}}
    )
    with pytest.raises(
        InputError, match=r"variation 'pu': the columns return no Weights with a variation 'pilup'. Did you mean"
    ):
        run(of=processes, columns=weighted_columns, run_options={"variations": variations})
