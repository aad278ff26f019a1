import numpy as np
import pytest

from tests.ntuples.conftest import event_arrays, two_processes, with_changed, write_ntuple
from tests.ntuples.varied_search import arrays, read
from zsig_hep.errors import InputError
from zsig_hep.ntuples import EventTable
from zsig_hep.ntuples.variations import ShapeVariation


@pytest.mark.usefixtures("shared_pool")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("executor", ["iterative", pytest.param("futures", marks=pytest.mark.slow)])
def test_damaged_basket(refused, tmp_path, executor, run):
    path = write_ntuple(tmp_path / "b.root", 2000).path
    content = bytearray(path.read_bytes())
    middle = content.find(b"ZL\x08", 3000)
    content[middle + 20 : middle + 400] = b"\xff" * 380
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"dataset 'b', file .*b\.root cannot be read, it may be truncated or damaged"):
        run(
            of=two_processes(["b.root"]),
            columns=["MET_pt", "mass", "pileup"],
            chunk_size=500,
            run_options={"executor": executor},
        )


@pytest.mark.usefixtures("shared_pool")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize(
    ("value", "executor"),
    [
        (np.nan, "iterative"),
        (-np.inf, "iterative"),
        pytest.param(np.nan, "futures", marks=pytest.mark.slow),
    ],
)
def test_weight_that_is_not_finite(refused, run, tmp_path, value, executor):
    write_ntuple(tmp_path / "b.root", with_changed(event_arrays(100, 2), "genWeight", 57, value), runs=(300.0, 300))
    match = r"dataset 'b', file .*b\.root: weight 'genWeight' of entry 57 is (nan|-inf)"
    with pytest.raises(InputError, match=match):
        run(of=two_processes(["b.root"]), chunk_size=20, run_options={"executor": executor})
    assert not list((tmp_path / "out").iterdir())


def test_a_chunk_that_does_not_fit_into_memory(refused, tmp_path):
    write_ntuple(tmp_path / "b.root", 50)
    (tmp_path / "columns.py").write_text("import numpy as np\ndef columns(events):\n    return {'x': np.ones(2**58)}\n")
    match = r"dataset '[hb]', file .*\.root: memory is too short for the chunk \(Unable to allocate 2\.00 EiB.*reduce chunk_size"
    refused(match, columns="columns.py:columns")


def test_shape_variations_select_and_compute_again_with_the_folds_of_the_events(search, tmp_path):
    result = read(search, tmp_path / "out", {"scale": ShapeVariation(kind="shape", processes=["higgs", "top"])})
    assert list(result.shapes) == ["scaleUp", "scaleDown"]
    nominal, up = result.table, result.shapes["scaleUp"]
    events = arrays(search, "top")
    selected = np.abs(events["x"] + np.float32(0.3)) < 2.0
    top = up.process == 2
    np.testing.assert_array_equal(up.feature("x")[top], (events["x"] + np.float32(0.3))[selected])
    factor = 0.02 * 100.0 * 1000 / (2.0 * 500)
    np.testing.assert_allclose(up.weight[top], events["genWeight"][selected].astype(np.float64) * factor, rtol=1e-12)
    assert not (up.process == 1).any()
    folds = dict(zip(nominal.identity.tolist(), nominal.fold.tolist(), strict=True))
    shared = [
        folds[identity] == fold
        for identity, fold in zip(up.identity.tolist(), up.fold.tolist(), strict=True)
        if identity in folds
    ]
    assert len(shared) > 500
    assert all(shared)
    again = EventTable.from_parquet(tmp_path / "out" / "shapes" / "scaleUp.parquet")
    np.testing.assert_array_equal(again.features, up.features)
