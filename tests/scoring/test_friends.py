"""Friend trees beside ntuples, entry by entry."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot

from tests.scoring.scored import FILES, Described
from zsig_hep.errors import InputError, ModelFileError, OutputError
from zsig_hep.ntuples.resolution import SourceFile
from zsig_hep.scoring import friends
from zsig_hep.scoring.friends import apply_model, datasets_by_path, friend_path

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Missing cross-reference:RuntimeWarning")


FORMATS = ["ttree", "rntuple", "parquet"]


def source(search, name="dy.root"):
    return SourceFile(str(search.folder / name), "Events")


def apply(search, folder, files=None, **options):
    options = {"dataset": "dy", "chunk_size": 250} | options
    return apply_model(files or [source(search)], search.reader, search.onnx, folder, **options)


def read(path):
    if path.suffix == ".parquet":
        return {name: column.to_numpy() for name, column in zip(*columns_of(pq.read_table(path)), strict=True)}
    with uproot.open(path) as file:
        return file["zsig"].arrays(library="np")


def columns_of(table):
    return table.column_names, table.columns


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_friend_aligns_with_its_ntuple(search, tmp_path, file_format):
    """Events of the table are the selected entries in their order; all others are in the friend with no score."""
    (result,) = apply(search, tmp_path, file_format=file_format)
    friend = read(result.path)
    with uproot.open(search.folder / "dy.root") as file:
        arrays = file["Events"].arrays(["x", "y"], library="np")
        if file_format != "parquet":
            kind = {"ttree": "TTree", "rntuple": "ROOT::RNTuple"}[file_format]
            assert uproot.open(result.path).classnames()["zsig;1"] == kind
    selected = np.abs(arrays["x"]) < 3
    assert {name: column.dtype for name, column in friend.items()} == {
        "zsig_score": np.float64,
        "zsig_selected": np.bool_,
        "zsig_passes": np.bool_,
        "zsig_fold": np.int16,
    }
    assert len(friend["zsig_score"]) == len(arrays["x"]) == result.entries
    assert np.array_equal(friend["zsig_selected"], selected)
    assert np.array_equal(np.isnan(friend["zsig_score"]), ~selected)
    rows = search.table.process == search.table.process_names.index("dy")
    assert np.array_equal(search.table.feature("y")[rows], arrays["y"][selected])
    assert friend["zsig_score"][selected] == pytest.approx(search.scores[rows], abs=1e-6)
    assert np.array_equal(friend["zsig_fold"][selected], search.table.fold[rows])
    assert set(friend["zsig_fold"][~selected]) == {-1}
    passes = search.scores[rows] >= np.array([0.3, 0.35, 0.4])[search.table.fold[rows]]
    assert np.array_equal(friend["zsig_passes"][selected], passes)
    assert not friend["zsig_passes"][~selected].any()
    assert (result.selected, result.passed, result.out_of_fold) == (selected.sum(), passes.sum(), True)


@pytest.mark.parametrize("file_format", FORMATS)
def test_new_events_are_scored_by_the_whole_ensemble(search, tmp_path, file_format):
    (result,) = apply(search, tmp_path, dataset=None, file_format=file_format)
    friend = read(result.path)
    assert set(friend) == {"zsig_score", "zsig_selected", "zsig_passes"}
    rows = search.table.process == search.table.process_names.index("dy")
    expected = search.torch.scores(search.table.features[rows])
    score = friend["zsig_score"][friend["zsig_selected"]]
    assert score == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(friend["zsig_passes"][friend["zsig_selected"]], score >= 0.35)
    assert not result.out_of_fold


def test_files_of_the_training_are_recognised(search, tmp_path):
    files = [source(search), source(search, "data.root")]
    known = datasets_by_path({name: [source(search, file)] for name, (_, file) in FILES.items()})
    results = apply(search, tmp_path, files, dataset=known)
    assert [result.out_of_fold for result in results] == [True, False]
    assert [result.path.name for result in results] == ["dy.zsig.root", "data.zsig.root"]


def test_chunks_and_schemas_change_nothing(search, tmp_path):
    (one,) = apply(search, tmp_path / "one", chunk_size=10_000)
    (many,) = apply(search, tmp_path / "many", chunk_size=61, schema="nanoaod")
    first, second = read(one.path), read(many.path)
    for name in first:
        assert first[name] == pytest.approx(second[name], abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("file_format", FORMATS)
def test_an_ntuple_without_events(search, tmp_path, file_format):
    with uproot.recreate(tmp_path / "empty.root") as file:
        types = {"run": "u4", "luminosityBlock": "u4", "event": "u8", "genWeight": "f4", "x": "f4", "y": "f4"}
        file.mktree("Events", types)
    files = [SourceFile(str(tmp_path / "empty.root"), "Events")]
    (result,) = apply(search, tmp_path, files, file_format=file_format)
    assert (result.entries, result.selected, result.passed) == (0, 0, 0)
    assert len(read(result.path)["zsig_score"]) == 0


def test_a_model_without_cut_makes_no_statement(search, tmp_path):
    class WithoutCut(Described):
        def out_of_fold_scores(self, features, fold):
            return search.onnx.out_of_fold_scores(features, fold)

    scorer = WithoutCut(search.onnx, thresholds=(0.3, None, 0.4))
    (result,) = apply_model([source(search)], search.reader, scorer, tmp_path, dataset="dy")
    assert result.passed is None
    assert "zsig_passes" not in read(result.path)


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_friend_says_where_it_comes_from(search, tmp_path, file_format):
    (result,) = apply(search, tmp_path, file_format=file_format)
    if file_format == "parquet":
        text = pq.read_schema(result.path).metadata[b"zsig_model"]
    else:
        with uproot.open(result.path) as file:
            text = str(file["zsig_model"])
    about = json.loads(text)
    assert about["source"] == str(search.folder / "dy.root")
    assert about["dataset"] == "dy"
    assert about["model"]["feature_names"] == ["x", "y"]
    assert about["model"]["input_hash"] == search.onnx.metadata.input_hash


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_friend_is_not_overwritten_unless_told(search, tmp_path, file_format):
    files = [source(search, "top.root"), source(search)]
    path = friend_path(files[1], tmp_path, file_format)
    path.write_text("precious")
    with pytest.raises(OutputError, match=rf"friend .*{path.name} exists already.*--overwrite"):
        apply(search, tmp_path, files, dataset=None, file_format=file_format)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "precious"
    results = apply(search, tmp_path, files, dataset=None, file_format=file_format, overwrite=True)
    assert len(read(path)["zsig_score"]) == results[1].entries == 900


def test_friends_with_one_name_are_refused(search, tmp_path):
    (tmp_path / "other").mkdir()
    os.link(search.folder / "dy.root", tmp_path / "other" / "dy.root")
    files = [source(search), SourceFile(str(tmp_path / "other" / "dy.root"), "Events")]
    with pytest.raises(InputError, match=r"would both have the friend dy\.zsig\.root"):
        apply(search, tmp_path, files)


def test_a_friend_never_replaces_an_ntuple(search, tmp_path):
    os.link(search.folder / "dy.root", tmp_path / "dy.zsig.root")
    files = [source(search), SourceFile(str(tmp_path / "dy.zsig.root"), "Events")]
    with pytest.raises(OutputError, match="would replace an ntuple"):
        apply(search, tmp_path, files, overwrite=True)


def test_a_failure_leaves_no_half_written_friend(search, tmp_path):
    calls = []

    def columns(events):
        calls.append(len(events))
        if len(calls) > 2:
            raise ValueError
        return {"x": events["x"], "y": events["y"]}

    reader = replace(search.reader, columns=columns)
    (tmp_path / "dy.zsig.root").write_text("old")
    with pytest.raises(InputError, match="raised ValueError"):
        apply_model([source(search)], reader, search.onnx, tmp_path, dataset="dy", chunk_size=100, overwrite=True)
    assert (tmp_path / "dy.zsig.root").read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["dy.zsig.root"]


@pytest.mark.parametrize("file_format", FORMATS)
def test_another_number_of_entries_is_refused(search, tmp_path, file_format, monkeypatch):
    every_chunk = friends._chunks
    monkeypatch.setattr(friends, "_chunks", lambda *args: list(every_chunk(*args))[1:])
    with pytest.raises(OutputError, match="has 650 entries, but its ntuple has 900"):
        apply(search, tmp_path, file_format=file_format)
    assert not list(tmp_path.iterdir())


def test_unusable_ntuples_are_named(search, tmp_path):
    content = (search.folder / "dy.root").read_bytes()
    (tmp_path / "cut.root").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.root").write_text("hello")
    for name, message in (("cut", "truncated or damaged"), ("text", "not a ROOT file"), ("gone", "No such file")):
        with pytest.raises(InputError, match=message):
            apply(search, tmp_path / "out", [SourceFile(str(tmp_path / f"{name}.root"), "Events")])
    with pytest.raises(InputError, match=r"has no tree 'events'\. Did you mean 'Events'"):
        apply(search, tmp_path / "out", [SourceFile(str(search.folder / "dy.root"), "events")])
    with pytest.raises(InputError, match=r"columns\(events\) raised .* no field"):
        apply(search, tmp_path / "out", [SourceFile(str(search.folder / "dy.root"), "Runs")])


def test_an_unknown_dataset_is_refused(search, tmp_path):
    with pytest.raises(InputError, match=r"there is no dataset 'ddy'; leave it out for new events\. Did you mean 'dy'"):
        apply(search, tmp_path, dataset="ddy")


def test_folds_that_would_differ_are_refused(search, tmp_path):
    reader = replace(search.reader, event_identity=("event",))
    with pytest.raises(ModelFileError, match="their folds would differ"):
        apply_model([source(search)], reader, search.onnx, tmp_path, dataset="dy")


def test_names_of_any_script(search, tmp_path):
    folder = tmp_path / "إشارة"
    folder.mkdir()
    shutil.copy(search.folder / "dy.root", folder / "σήμα.root")
    reader = replace(search.reader, weights={"σήμα": None})
    files = [SourceFile(str(folder / "σήμα.root"), "Events")]
    (found,) = apply_model(files, reader, search.onnx, folder, dataset="σήμα", chunk_size=250)
    (expected,) = apply(search, tmp_path, dataset=None)
    assert found.path == folder / "σήμα.zsig.root"
    np.testing.assert_array_equal(read(found.path)["zsig_score"], read(expected.path)["zsig_score"])
