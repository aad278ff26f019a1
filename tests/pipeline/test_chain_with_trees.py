"""Runs with boosted trees, alone and beside networks."""

import json
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot
import xgboost
from click.testing import CliRunner

from tests.learning.forests import SMALL
from zsig_hep.cli import main
from zsig_hep.errors import InputError
from zsig_hep.learning import BoostedTrees, Classifier, load_classifier
from zsig_hep.pipeline.fingerprints import Fingerprints
from zsig_hep.pipeline.stages import Pipeline
from zsig_hep.scoring import OnnxScorer

BOTH = {"classifier": ["network", "boosted_trees"], "trees": SMALL}
TREES = {"classifier": "boosted_trees", "trees": SMALL}


@pytest.fixture(scope="module")
def with_trees(small_search, tmp_path_factory):
    """A finished run of boosted trees only, without its report, and the folder of the analysis."""
    search = small_search.copy(tmp_path_factory.mktemp("trees_search"))
    search.write(training=TREES)
    output = tmp_path_factory.mktemp("trees") / "out"
    pipeline = Pipeline(search.analysis(training=TREES), output)
    pipeline.export()
    return search, output


@pytest.mark.slow
def test_both_are_trained_and_reported_beside_each_other(small_search, tmp_path):
    summary = Pipeline(small_search.analysis(training=BOTH), tmp_path / "out").run()
    names = ["z", "bce", "trees_z", "trees_bce"]
    assert [each["name"] for each in summary["classifiers"]] == names
    labels = ["Z loss", "weighted BCE", "trees, Z loss", "trees, weighted BCE"]
    assert [each["label"] for each in summary["classifiers"]] == labels
    kinds = [type(load_classifier(tmp_path / "out" / "training" / name)) for name in names]
    assert kinds == [Classifier, Classifier, BoostedTrees, BoostedTrees]
    scores = pq.read_table(tmp_path / "out" / "selection" / "scores.parquet")
    assert {f"score_{name}" for name in names} <= set(scores.column_names)
    html = (tmp_path / "out" / "report" / "report.html").read_text()
    assert all(label in html for label in labels)
    assert list(summary["provenance"]["stages"]) == ["columns", *(f"training/{name}" for name in names), "selection"]


def test_trees_alone_have_names_that_say_so(with_trees):
    _, output = with_trees
    assert sorted(path.name for path in (output / "training").iterdir() if path.name.startswith("trees")) == [
        "trees_bce",
        "trees_z",
    ]
    content = json.loads((output / "selection" / "selection.json").read_text())
    assert [each["name"] for each in content["classifiers"]] == ["trees_z", "trees_bce"]
    assert content["classifiers"][0]["training"]["members"] == 3
    assert content["comparison"] is not None


def test_exports_are_onnx_and_json_of_xgboost(with_trees):
    _, output = with_trees
    trees = load_classifier(output / "training" / "trees_z")
    table = pq.read_table(output / "columns" / "events.parquet")
    features = np.stack([table[name].to_numpy() for name in trees.feature_names], axis=1).astype(np.float32)
    scorer = OnnxScorer(output / "export" / "model.onnx")
    assert scorer.scores(features) == pytest.approx(trees.scores(features), abs=1e-12)
    for name in ("trees_z", "trees_bce"):
        written = sorted((output / "export" / name).iterdir())
        assert [path.name.split("_seed_")[0] for path in written] == ["fold_0", "fold_1", "fold_2"]
    first = xgboost.Booster(model_file=str(min((output / "export" / "trees_z").iterdir())))
    matrix = xgboost.DMatrix(features, feature_names=list(trees.feature_names))
    assert first.predict(matrix, output_margin=True) == pytest.approx(trees.logits(features)[0], abs=1e-5)
    with uproot.open(output / "export" / "scores.root") as file:
        assert {"trees_z/dy", "trees_bce/dy"} <= {key.split(";")[0] for key in file}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_friends_have_the_scores_of_the_trees(with_trees, tmp_path):
    search, output = with_trees
    arguments = [search.folder, search.folder / "top.root", "--output", output, "--json"]
    for number, model in enumerate(([], ["--model", output / "export" / "model.onnx"])):
        friends = tmp_path / str(number)
        result = CliRunner().invoke(main, ["apply", *map(str, [*arguments, "--friends", friends, *model])])
        assert result.exit_code == 0, result.output
        (written,) = json.loads(result.stdout)
        assert written["out_of_fold"]
        with uproot.open(friends / "top.zsig.root") as file:
            friend = file["zsig"].arrays(["zsig_score", "zsig_selected"], library="np")
        scores = pq.read_table(output / "selection" / "scores.parquet")
        top = scores["process"].to_numpy() == 2
        found = friend["zsig_score"][friend["zsig_selected"]]
        np.testing.assert_allclose(found, scores["score_trees_z"].to_numpy()[top], rtol=0, atol=1e-12)


def test_a_second_run_grows_nothing(with_trees):
    search, output = with_trees
    lines = []
    Pipeline(search.analysis(training=TREES), output, announce=lines.append).export()
    assert lines == []


def test_each_kind_depends_on_its_own_settings(small_search):
    def fingerprints(**changes):
        analysis = small_search.analysis(training={**BOTH, **changes})
        made = Fingerprints(analysis)
        return {name: made.training(planned) for name, planned in analysis.trainings.items()}

    before = fingerprints()
    assert len(set(before.values())) == 4
    deeper, wider = fingerprints(trees={**SMALL, "depth": 2}), fingerprints(hidden=[9])
    assert [name for name in before if before[name] != deeper[name]] == ["trees_z", "trees_bce"]
    assert [name for name in before if before[name] != wider[name]] == ["z", "bce"]
    alone = fingerprints(classifier="boosted_trees")
    assert alone == {name: before[name] for name in ("trees_z", "trees_bce")}


def test_trees_with_a_loss_depend_on_the_figure_of_merit(small_search):
    def fingerprints(figure):
        analysis = small_search.analysis(training=BOTH, selection={"figure_of_merit": figure})
        made = Fingerprints(analysis)
        return {name: made.training(planned) for name, planned in analysis.trainings.items()}

    one, other = fingerprints("asimov"), fingerprints("s_over_sqrt_b")
    assert [name for name in one if one[name] != other[name]] == ["trees_z"]


def test_an_absent_xgboost_is_an_error_before_anything_is_read(small_search, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "xgboost", None)
    lines = []
    pipeline = Pipeline(small_search.analysis(training=TREES), tmp_path / "out", announce=lines.append)
    with pytest.raises(InputError, match=r"pip install 'zsig_hep\[trees\]'"):
        pipeline.run()
    assert lines == []
    assert not (tmp_path / "out").exists()


def test_an_absent_xgboost_ends_a_command_with_one_message(small_search, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "xgboost", None)
    search = small_search.copy(tmp_path / "search")
    search.write(training=TREES)
    for command in ("check", "train"):
        where = [] if command == "check" else ["--output", str(tmp_path / "out")]
        result = CliRunner().invoke(main, [command, str(search.folder), *where])
        assert result.exit_code == 1
        assert "pip install 'zsig_hep[trees]'" in " ".join(result.stderr.split())
        assert "Traceback" not in result.output


def test_a_check_of_trees_refuses_what_their_training_would(small_search, tmp_path):
    search = small_search.copy(tmp_path / "search")
    search.write(training={**TREES, "missing": {"z": 1.0}})
    result = CliRunner().invoke(main, ["check", str(search.folder)])
    assert result.exit_code == 1
    assert "names the unknown feature 'z'" in " ".join(result.stderr.split())


def test_networks_import_no_xgboost(small_search, tmp_path):
    import subprocess

    script = (
        "import sys; from zsig_hep.cli import main\n"
        f"try: main(['train', {str(small_search.folder)!r}, '-o', {str(tmp_path / 'out')!r}])\n"
        "except SystemExit as ended: print(ended.code, 'xgboost' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "False"]
