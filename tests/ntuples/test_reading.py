"""The whole way from ntuples to the event table."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import uproot

from tests.ntuples.conftest import (
    LUMINOSITY_IFB,
    event_arrays,
    expected_yield,
    passes_both,
    two_processes,
    write_ntuple,
)
from zsig_hep.errors import InputError, NormalisationError, OutputError
from zsig_hep.ntuples import (
    Dataset,
    EventTable,
    NtupleSettings,
    Process,
    SignOf,
    SumValue,
    check_inputs,
    reading,
    run_columns,
)
from zsig_hep.ntuples import storage as storage_module
from zsig_hep.ntuples.reading import _dask_client, shape_table_name

SAMPLES = Path(__file__).parents[2] / "data_samples"


def assert_same_table(first: EventTable, second: EventTable) -> None:
    for name in ("features", "weight", "process", "fold", "identity"):
        one, other = getattr(first, name), getattr(second, name)
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes(), name
    for name in ("feature_names", "process_names", "roles", "labels", "fold_count", "luminosity_ifb"):
        assert getattr(first, name) == getattr(second, name)


def test_yields_equal_an_independent_computation(run, selecting_columns, tmp_path):
    yields = run(columns=selecting_columns).table.yields()
    signal = expected_yield(tmp_path, ["signal.root"], 0.1, 3000.0, passes_both)
    dy_1 = expected_yield(tmp_path, ["dy_1a.root"], 3.0 * 1.2, 5010.0, passes_both)
    dy_2 = expected_yield(tmp_path, ["dy_2.root"], 0.5, 2500.0, passes_both, ("genWeight", "pileup"))
    assert yields["higgs"].value == pytest.approx(signal[0], rel=1e-9)
    assert yields["higgs"].variance == pytest.approx(signal[1], rel=1e-9)
    assert yields["dy"].value == pytest.approx(dy_1[0] + dy_2[0], rel=1e-9)
    assert yields["dy"].variance == pytest.approx(dy_1[1] + dy_2[1], rel=1e-9)


@pytest.mark.parametrize("chunk_size", [7, 77])
def test_chunk_size_changes_no_bit(run, selecting_columns, tmp_path, chunk_size):
    small = {
        "higgs": Process(role="signal", datasets={"s": Dataset(files=["small.root"], cross_section_pb=0.1)}),
        "dy": Process(role="background", datasets={"b": Dataset(files=["more.root"], cross_section_pb=1.0)}),
    }
    write_ntuple(tmp_path / "small.root", 60, 5)
    write_ntuple(tmp_path / "more.root", 120, 6)
    reference = run(of=small, columns=selecting_columns)
    stored = (tmp_path / "out" / "events.parquet").read_bytes()
    result = run(of=small, columns=selecting_columns, chunk_size=chunk_size)
    assert_same_table(reference.table, result.table)
    assert reference.cutflows == result.cutflows
    assert reference.normalisations == result.normalisations
    assert (tmp_path / "out" / "events.parquet").read_bytes() == stored


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.slow
@pytest.mark.parametrize("executor", ["futures", "dask"])
def test_executor_changes_no_bit(run, selecting_columns, executor):
    reference = run(columns=selecting_columns)
    result = run(columns=selecting_columns, chunk_size=333, run_options={"executor": executor, "workers": 2})
    assert_same_table(reference.table, result.table)
    assert reference.cutflows == result.cutflows
    assert reference.normalisations == result.normalisations


def test_skim_is_reported_and_the_wrong_sum_refused(run, tmp_path):
    result = run()
    assert result.normalisations[0].skim_ratio == pytest.approx(result.normalisations[0].sum_over_events / 3000.0)
    assert any("'h'" in note and "skim" in note for note in result.notes)
    assert any("dy_1b.root has no events" in note for note in result.notes)


def test_a_skim_is_normalised_by_generated_events(tmp_path):
    """Dividing by the skimmed events (15 000 of 48 063) makes vector-boson fusion three times too large."""
    folder = SAMPLES / "hmumu"
    with uproot.open(folder / "hmumu_vbf.root") as file:
        weight = file["Events"]["genWeight"].array(library="np").astype("f8")
        generated = file["Runs"]["genEventSumw"].array(library="np").sum()
    assert generated / weight.sum() == pytest.approx(3.2, rel=0.02)

    def normalisation(source):
        vbf = Dataset(files=["hmumu_vbf.root"], cross_section_pb=5.868e-4, sum_of_weights=source)
        processes = {"vbf": Process(role="signal", datasets={"vbf": vbf})}
        settings = NtupleSettings(folder=str(folder), columns=["MET_pt"])
        return check_inputs(settings, processes, base_folder=tmp_path, luminosity_ifb=140.0).normalisations[0]

    expected = 5.868e-4 * 140_000.0 * weight.sum() / generated
    assert normalisation("runs").factor * weight.sum() == pytest.approx(expected, rel=1e-9)
    with pytest.raises(NormalisationError, match=r"skim.*3\.2 times too large.*`runs`"):
        normalisation("events")


def test_weight_may_be_a_sign_and_the_sum_a_value(run, tmp_path):
    write_ntuple(tmp_path / "signal.root", 200, 1)
    write_ntuple(tmp_path / "plain.root", 300, 2, signed=True)
    signal = Dataset(files=["signal.root"], cross_section_pb=0.1)
    sign = Dataset(
        files=["plain.root"],
        cross_section_pb=2.0,
        weight=SignOf(sign_of="genWeight"),
        sum_of_weights=SumValue(value=400.0),
    )
    processes = {
        "s": Process(role="signal", datasets={"s": signal}),
        "b": Process(role="background", datasets={"b": sign}),
    }
    result = run(of=processes)
    with uproot.open(tmp_path / "plain.root") as file:
        signs = np.sign(file["Events"]["genWeight"].array(library="np"))
    expected = signs.sum() * 2.0 * LUMINOSITY_IFB * 1000.0 / 400.0
    assert result.table.yields()["b"].value == pytest.approx(expected, rel=1e-12)


def test_data_are_unweighted(run, processes, tmp_path):
    write_ntuple(tmp_path / "data.root", event_arrays(50, 3), runs=None)
    with_data = processes | {"data": Process(role="data", datasets={"d": Dataset(files=["data.root"])})}
    table = run(of=with_data).table
    assert table.yields()["data"].value == 50.0
    assert table.is_data.sum() == 50


def test_nanoaod_schema_gives_the_same_table(run, processes):
    processes = {name: process for name, process in processes.items() if name == "higgs"} | {
        "dy": processes["dy"].model_copy(update={"datasets": {"dy_1": processes["dy"].datasets["dy_1"]}})
    }
    base = run(of=processes)
    nano = run(of=processes, schema_name="nanoaod")
    assert_same_table(base.table, nano.table)


def test_chunk_folder_is_removed_and_path_untouched(run, selecting_columns, tmp_path):
    before, modules = list(sys.path), set(sys.modules)
    run(columns=selecting_columns)
    assert sys.path == before
    assert "helpers" not in set(sys.modules) - modules
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["events.parquet"]
    assert not (tmp_path / "__pycache__").exists()


def test_folder_that_cannot_be_written(run, tmp_path):
    (tmp_path / "out").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match=r"cannot write .*out.*another output folder"):
        run()


def test_full_disk_keeps_the_older_table(run, tmp_path, monkeypatch):
    run()
    stored = (tmp_path / "out" / "events.parquet").read_bytes()

    class Full(storage_module.pq.ParquetWriter):
        def write_table(self, *args, **kwargs):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage_module.pq, "ParquetWriter", Full)
    with pytest.raises(OutputError, match="No space left on device"):
        run()
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["events.parquet"]
    assert (tmp_path / "out" / "events.parquet").read_bytes() == stored


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("executor", ["iterative", pytest.param("futures", marks=pytest.mark.slow)])
def test_full_disk_in_a_worker(run, tmp_path, executor):
    """The chunk folder vanishes while the chunks are written; a second worker could make it anew in between."""
    (tmp_path / "columns.py").write_text(
        "import pathlib, shutil\n"
        "def columns(events):\n"
        f"    for folder in pathlib.Path({str(tmp_path / 'out')!r}).glob('.chunks-*'):\n"
        "        shutil.rmtree(folder, ignore_errors=True)\n"
        "        folder.write_text('')\n"
        "    return {'mass': events['mass']}\n"
    )
    with pytest.raises(OutputError, match="cannot write"):
        run(columns="columns.py:columns", run_options={"executor": executor, "workers": 1})


def test_samples_agree_with_their_metadata(tmp_path):
    folder = SAMPLES / "hmumu"
    metadata = {name: json.loads((folder / f"{name}.json").read_text()) for name in ("hmumu_vbf", "hmumu_ttbar_1")}
    processes = {
        name: Process(
            role=role, datasets={name: Dataset(files=[f"{name}.root"], cross_section_pb=metadata[name]["xsec_pb"])}
        )
        for name, role in (("hmumu_vbf", "signal"), ("hmumu_ttbar_1", "background"))
    }
    settings = NtupleSettings(folder=str(folder), columns=["MET_pt"])
    result = run_columns(settings, processes, base_folder=tmp_path, luminosity_ifb=140.0, output_folder=tmp_path)
    for name, stored in metadata.items():
        assert result.table.yields()[name].value == pytest.approx(stored["yield_140fb"], rel=1e-6)


def test_events_that_do_not_fit_into_memory(run, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "assemble_table", lambda *_: np.ones(2**58))
    with pytest.raises(InputError, match=r"memory is too short for all selected events \(Unable to allocate 2\.00 EiB"):
        run()
    assert not list((tmp_path / "out").iterdir())


def test_file_that_vanishes(run, tmp_path):
    write_ntuple(tmp_path / "signal.root", 50)
    write_ntuple(tmp_path / "b.root", 50)
    (tmp_path / "columns.py").write_text(
        "from pathlib import Path\n"
        "def columns(events):\n"
        f"    Path({str(tmp_path / 'b.root')!r}).unlink(missing_ok=True)\n"
        "    return {'mass': events['mass']}\n"
    )
    with pytest.raises(InputError, match=r"became unreadable while it was processed: .*b\.root"):
        run(of=two_processes(["b.root"]), columns="columns.py:columns")


def test_older_table_survives_a_failed_run(run, tmp_path):
    write_ntuple(tmp_path / "signal.root", 50)
    write_ntuple(tmp_path / "b.root", 50)
    run(of=two_processes(["b.root"]))
    stored = (tmp_path / "out" / "events.parquet").read_bytes()
    shutil.copy(tmp_path / "b.root", tmp_path / "c.root")
    with pytest.raises(InputError, match="occur more than once"):
        run(of=two_processes(["b.root", "c.root"]))
    assert [Path(entry).name for entry in (tmp_path / "out").iterdir()] == ["events.parquet"]
    assert (tmp_path / "out" / "events.parquet").read_bytes() == stored


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scheduler_that_does_not_answer_is_named():
    # Imported first: leaving the context would drop the defaults that distributed brings.
    pytest.importorskip("distributed")
    dask = pytest.importorskip("dask")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "200ms"}),
        pytest.raises(InputError, match=r"no dask scheduler answers at tcp://127\.0\.0\.1:9 .*leave --scheduler out"),
        _dask_client(1, "tcp://127.0.0.1:9"),
    ):
        pass


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_two_local_clusters_share_a_machine():
    pytest.importorskip("distributed")
    with _dask_client(1, None) as first, _dask_client(1, None) as second:
        assert first.submit(sum, [1, 2]).result() == second.submit(sum, [2, 1]).result() == 3


def test_the_file_of_a_shape_variation_is_inside_its_folder():
    assert shape_table_name("jesUp") == "shapes/jesUp.parquet"
    assert shape_table_name("jes_../../xUp").count("/") == 1


@pytest.mark.usefixtures("shared_pool")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("executor", ["iterative", pytest.param("futures", marks=pytest.mark.slow)])
def test_names_of_any_script(tmp_path, executor):
    """Greek and right-to-left names of datasets, processes, branches, trees and folders, in results and messages."""
    folder = tmp_path / "إشارة"
    folder.mkdir()
    for seed, name in enumerate(("σήμα.root", "رقم.root")):
        arrays = event_arrays(60, seed)
        write_ntuple(folder / name, arrays | {"μάζα": arrays["mass"]}, tree="δέντρο")
    (folder / "στήλες.py").write_text(
        "def columns(events):\n"
        "    assert events.metadata['dataset'] in {'σήμα', 'إشارة'}\n"
        "    return {'μάζα': events['μάζα']}\n",
        encoding="utf-8",
    )
    processes = {
        "σήμα": Process(role="signal", datasets={"σήμα": Dataset(files=["σ*.root"], cross_section_pb=1.0)}),
        "خلفية": Process(role="background", datasets={"إشارة": Dataset(files=["رقم.root"], cross_section_pb=1.0)}),
    }

    def read(columns):
        settings = NtupleSettings(folder="إشارة", tree="δέντρο", columns=columns, chunk_size=25)
        options = {"executor": executor, "output_folder": tmp_path / "έξοδος"}
        return run_columns(settings, processes, base_folder=tmp_path, luminosity_ifb=1.0, **options)

    result = read("إشارة/στήλες.py:columns")
    assert result.table.process_names == tuple(result.cutflows) == ("σήμα", "خلفية")
    assert [normalisation.dataset for normalisation in result.normalisations] == ["σήμα", "إشارة"]
    assert result.table.feature_names == ("μάζα",)
    assert EventTable.from_parquet(tmp_path / "έξοδος" / "events.parquet").digest == result.table.digest
    with pytest.raises(
        InputError, match=r"feature 'Jet_pt' is not a flat array.*on dataset 'σήμα', file .*إشارة/σήμα\.root"
    ):
        read(["Jet_pt"])
