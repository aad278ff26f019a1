"""`zsig apply`: friends with the scores of the run, and what cannot be applied."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot
from click.testing import CliRunner

from zsig_hep.cli import main
from zsig_hep.pipeline.output_folder import OutputFolder

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def apply(*arguments: object, status: int = 0):
    result = CliRunner().invoke(main, ["apply", *map(str, arguments)])
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    return result


@pytest.mark.parametrize(
    ("file_format", "name"),
    [("ttree", "top.zsig.root"), ("rntuple", "top.zsig.root"), ("parquet", "top.zsig.parquet")],
)
def test_friends_have_the_scores_of_the_run_entry_by_entry(small_search, output, tmp_path, file_format, name):
    files = [small_search.folder, small_search.folder / "top.root", "--output", output, "--friends", tmp_path / "f"]
    (written,) = json.loads(apply(*files, "--format", file_format, "--json").stdout)
    assert written["out_of_fold"]
    assert (written["path"], written["entries"]) == (str(tmp_path / "f" / name), 500)
    if file_format == "parquet":
        friend = {key: pq.read_table(written["path"])[key].to_numpy() for key in ("zsig_score", "zsig_selected")}
    else:
        with uproot.open(written["path"]) as file:
            friend = file["zsig"].arrays(["zsig_score", "zsig_selected"], library="np")
    scores = pq.read_table(output / "selection" / "scores.parquet")
    top = scores["process"].to_numpy() == 2
    selected = friend["zsig_selected"]
    np.testing.assert_allclose(friend["zsig_score"][selected], scores["score_z"].to_numpy()[top], rtol=0, atol=1e-6)
    assert np.isnan(friend["zsig_score"][~selected]).all()
    assert "exists already" in apply(*files, "--format", file_format, status=1).stderr
    apply(*files, "--format", file_format, "--overwrite")


def test_a_finished_output_is_only_read_when_friends_are_elsewhere(small_search, output, tmp_path):
    def state():
        return {str(path): path.stat().st_mtime_ns for path in (output, *output.rglob("*"))}

    before = state()
    apply(small_search.folder, small_search.folder / "top.root", "--output", output, "--friends", tmp_path / "f")
    assert state() == before


def test_friends_in_the_output_folder_wait_for_other_runs(small_search, output):
    files = [small_search.folder, small_search.folder / "top.root", "--output", output]
    with OutputFolder(output).writing():
        result = apply(*files, "--no-wait", status=1)
    assert "another run writes to" in result.stderr
    apply(*files, "--no-wait")


def test_an_exported_model_scores_new_events_by_the_whole_ensemble(small_search, output, tmp_path):
    new = Path(shutil.copy(small_search.folder / "dy.root", tmp_path / "new.root"))
    model = output / "export" / "model.onnx"
    result = apply(small_search.folder, new, "--model", model, "--output", tmp_path / "o", "--json")
    assert [each["out_of_fold"] for each in json.loads(result.stdout)] == [False]
    assert "scored by the whole ensemble" in result.stderr
    assert (tmp_path / "o" / "friends" / "new.zsig.root").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["top.root"], "holds no model and cut for the present settings of this analysis"),
        (["top.root", "--dataset", "ttt", "--model", "MODEL"], "there is no dataset 'ttt'; leave it out for new events. Did"),
        (["tpo.root", "--model", "MODEL"], "tpo.root does not exist. Did you mean 'top.root'"),
        (["top.root", "--model", "FOREIGN"], "FOREIGN"),
    ],
)  # fmt: skip
def test_what_cannot_be_applied_is_said_in_one_line(small_search, output, tmp_path, arguments, message):
    foreign = tmp_path / "FOREIGN"
    foreign.write_text("no model")
    places = {"MODEL": output / "export" / "model.onnx", "FOREIGN": foreign}
    given = [places.get(each, small_search.folder / each if each.endswith(".root") else each) for each in arguments]
    options = ["--output", tmp_path / "empty", "--friends", tmp_path / "f"]
    assert message in apply(small_search.folder, *given, *options, status=1).stderr
    assert not (tmp_path / "f").exists()


def test_a_file_of_two_datasets_needs_the_name_of_one(small_search, output, tmp_path):
    """Its selection, and the networks that did not see its events, are those of a dataset."""
    search = small_search.copy(tmp_path / "shared")
    shared = {"tt": {"files": ["dy.root"], "cross_section_pb": 0.02, "shares_events_with": "dy"}}
    search.write(processes={"top": {"datasets": shared}})
    arguments = [search.folder, search.folder / "dy.root", "--model", output / "export" / "model.onnx"]
    arguments += ["--output", tmp_path / "o", "--friends", tmp_path / "f", "--json"]
    assert (
        "belongs to the datasets 'dy' and 'tt': name one of them with --dataset" in apply(*arguments, status=1).stderr
    )
    scores = []
    for name in ("dy", "tt"):
        (written,) = json.loads(apply(*arguments, "--dataset", name, "--overwrite").stdout)
        assert written["out_of_fold"]
        with uproot.open(written["path"]) as file:
            scores.append(file["zsig"].arrays(["zsig_score", "zsig_fold"], library="np"))
    # An event has one fold in both, and so one score.
    for column in ("zsig_fold", "zsig_score"):
        np.testing.assert_array_equal(scores[0][column], scores[1][column])
