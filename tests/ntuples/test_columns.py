import awkward as ak
import numpy as np
import pytest
from coffea.analysis_tools import PackedSelection

from tests.ntuples.conftest import event_arrays, two_processes, with_changed, write_ntuple
from tests.ntuples.varied_search import read
from zsig_hep.errors import InputError
from zsig_hep.ntuples.columns import branch, is_reading_error, select_columns
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
