"""The chain on a small search: what it writes, what it redoes, and what interruptions leave."""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import uproot
from safetensors.torch import load_file

from tests.conftest import DATA, SmallSearch, write_events
from zsig_hep.errors import InputError, ModelFileError, OutputError, TrainingError
from zsig_hep.ntuples import EventTable
from zsig_hep.pipeline.galleries import report_gallery
from zsig_hep.pipeline.stages import Pipeline, RunOptions

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

FIGURES = ("efficiency_purity", "feature_x", "feature_y", "impact", "roc", "score", "significance", "training")

FIT_FILES = (
    *("cabinetry.yml", "datacard_counting.txt", "datacard_shapes.txt"),
    *("fit.json", "histograms.root", "workspace.json"),
)

TRAINING_LINES = ["training with the Z loss", "training with the weighted BCE"]


class Killed(Exception):
    pass


def kill_after(epochs: int):
    """Progress that raises after some epochs."""
    seen = []

    def progress(*arguments):
        seen.append(arguments)
        if len(seen) == epochs:
            raise Killed

    return progress


@pytest.fixture
def chain(small_search, tmp_path):
    """Make a chain of the small search with changed settings; its lines are in `lines`."""

    def make(
        output: Path, search: SmallSearch = small_search, *, progress=None, force: bool = False, **changes
    ) -> Pipeline:
        lines: list[str] = []
        options = RunOptions(force=force)
        made = Pipeline(search.analysis(**changes), output, options, announce=lines.append, training_progress=progress)
        made.lines = lines
        return made

    return make


@pytest.fixture
def with_columns(finished_output, tmp_path):
    """An output folder whose columns are done."""
    shutil.copytree(finished_output / "columns", tmp_path / "started" / "columns")
    return tmp_path / "started"


@pytest.fixture
def one_thread():
    """Sums of several threads may differ in the last bit from those of the process that is compared with."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def times(output: Path) -> dict[str, int]:
    return {str(path.relative_to(output)): path.stat().st_mtime_ns for path in output.rglob("*")}


def files(output: Path) -> list[str]:
    """Files of stages."""
    return sorted(str(path.relative_to(output)) for path in output.glob("*/**/*") if path.is_file())


def tensors(output: Path, name: str = "z") -> dict[str, torch.Tensor]:
    return load_file(output / "training" / name / "model.safetensors")


def same_tensors(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Whether all are equal to the bit; NaN stands where a feature may not be missing."""
    return {name: value.numpy().tobytes() for name, value in first.items()} == {
        name: value.numpy().tobytes() for name, value in second.items()
    }


def read_json(path: Path):
    return json.loads(path.read_text())


def test_a_run_writes_what_its_stages_promise(finished_output):
    expected = ["columns/columns.json", "columns/events.parquet", "export/scores.root", "export/model.onnx"]
    expected += [f"export/fit/{name}" for name in FIT_FILES]
    expected += [f"training/{name}/model.{suffix}" for name in ("z", "bce") for suffix in ("json", "safetensors")]
    expected += ["selection/scores.parquet", "selection/selection.json", "report/report.html", "report/summary.json"]
    expected += [f"report/figures/{name}.{suffix}" for name in FIGURES for suffix in ("pdf", "png")]
    stages = ("columns", "training/z", "training/bce", "selection", "export", "report")
    assert files(finished_output) == sorted(expected + [f"{stage}/stage.json" for stage in stages])


def test_columns_are_the_selected_events_at_the_luminosity(finished_output, small_search):
    table = EventTable.from_parquet(finished_output / "columns" / "events.parquet")
    with uproot.open(small_search.folder / "dy.root") as file:
        events = file["Events"].arrays(["x", "genWeight"], library="np")
    selected = np.abs(events["x"]) < 3.0
    expected = events["genWeight"][selected].astype("f8").sum() * 0.1 * 1e3 * 100.0 / (2.0 * len(selected))
    assert 0 < selected.sum() < len(selected)
    assert table.yields()["dy"].value == pytest.approx(expected, rel=1e-12)
    assert table.yields()["dy"].entries == selected.sum()


def test_histograms_hold_the_yields(finished_output):
    table = EventTable.from_parquet(finished_output / "columns" / "events.parquet")
    with uproot.open(finished_output / "export" / "scores.root") as file:
        for classifier in ("z", "bce"):
            for process, value in table.yields().items():
                histogram = file[f"{classifier}/{process}"]
                assert histogram.values(flow=True).sum() == pytest.approx(value.value, rel=1e-9)
                assert histogram.variances(flow=True).sum() == pytest.approx(value.variance, rel=1e-9)


def test_a_second_run_redoes_nothing(output, chain):
    before = times(output)
    again = chain(output)
    summary = again.run()
    assert again.lines == []
    assert times(output) == before
    assert summary == read_json(output / "report" / "summary.json")


@pytest.mark.slow
def test_a_forced_run_redoes_everything_and_finds_the_same(output, chain, no_figures):
    before, old = times(output), read_json(output / "report" / "summary.json")
    model = tensors(output)
    forced = chain(output, force=True)
    summary = forced.run()
    lines = [
        "reading ntuples",
        *TRAINING_LINES,
        "choosing working points",
        "writing histograms, fit inputs and model",
        "drawing figures",
    ]
    assert forced.lines == lines
    after = times(output)
    assert all(after[name] != before[name] for name in files(output))
    assert same_tensors(tensors(output), model)
    del summary["provenance"], old["provenance"]
    assert summary == old


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "lines"),
    [
        ("columns", ["reading ntuples"]),
        ("train", TRAINING_LINES),
        ("scan", ["choosing working points"]),
        ("export", ["writing histograms, fit inputs and model"]),
    ],
)
def test_force_redoes_only_the_stage_that_is_asked_for(output, chain, stage, lines):
    forced = chain(output, force=True)
    getattr(forced, stage)()
    assert forced.lines == lines
    again = chain(output)
    again.run()
    assert again.lines == []


@pytest.mark.slow
def test_changed_requirements_redo_selection_export_and_report_only(output, chain, no_figures):
    before, old = times(output), read_json(output / "selection" / "selection.json")
    changed = chain(output, selection={"minimum_signal_efficiency": 0.9})
    summary = changed.run()
    assert changed.lines == ["choosing working points", "writing histograms, fit inputs and model", "drawing figures"]
    after = times(output)
    for name in files(output):
        assert (after[name] == before[name]) == name.startswith(("columns/", "training/"))
    points = [each["working_point"] for each in summary["classifiers"]]
    assert all(point["signal_efficiency"] > 0.8 for point in points)
    assert summary["classifiers"] != old["classifiers"]
    assert summary["requirements"]["minimum_signal_efficiency"] == 0.9


@pytest.mark.slow
def test_a_changed_colour_redraws_only(output, chain, no_figures):
    changed = chain(output, processes={"dy": {"color": "#123456"}})
    changed.run()
    assert changed.lines == ["drawing figures"]


@pytest.mark.slow
def test_a_changed_label_trains_nothing(output, chain, no_figures):
    before = times(output / "training")
    changed = chain(output, processes={"dy": {"label": "Drell-Yan"}})
    summary = changed.run()
    assert changed.lines == ["reading ntuples", "writing histograms, fit inputs and model", "drawing figures"]
    assert times(output / "training") == before
    assert {row["label"] for row in summary["processes"]} == {"higgs", "Drell-Yan", "top"}


@pytest.mark.slow
def test_no_threshold_qualifies(output, chain, caplog):
    changed = chain(output, selection={"minimum_effective_background": 1e6})
    summary = changed.run()
    assert [each["working_point"]["status"] for each in summary["classifiers"]] == ["no_threshold_qualifies"] * 2
    point = summary["classifiers"][0]["working_point"]
    assert "1e+06 are required (minimum_effective_background)" in point["reason"]
    assert point["significance"] is None
    assert point["thresholds"] == [None] * 3
    assert [each["quantity"] for each in summary["comparison"][0]["quantities"]] == [
        "binned_significance", "area", "log_loss"
    ]  # fmt: skip
    assert "Z loss: no cut could be chosen" in caplog.text
    page = (output / "report" / "report.html").read_text()
    assert "minimum_effective_background" in page
    assert (output / "export" / "scores.root").exists()


def test_a_changed_training_keeps_the_columns(output, chain):
    before, model = times(output), tensors(output)
    changed = chain(output, training={"seed": 5})
    changed.train()
    assert changed.lines == TRAINING_LINES
    after = times(output)
    assert all(after[name] == before[name] for name in before if name.startswith(("columns", "selection", "report")))
    assert not same_tensors(tensors(output), model)


@pytest.mark.parametrize("change", ["columns.py", "helpers.py", "touched", "plots.py", "changed"])
def test_inputs_with_another_content_redo_the_columns(small_search, chain, tmp_path, monkeypatch, change):
    search = small_search.copy(tmp_path / "search")
    chain(tmp_path / "out", search).columns()
    before = EventTable.from_parquet(tmp_path / "out" / "columns" / "events.parquet")
    ntuple = search.folder / "dy.root"
    if change == "columns.py":
        text = (search.folder / change).read_text()
        (search.folder / change).write_text(text.replace('"y": events["y"]', '"y": 2 * events["y"]'))
    elif change == "helpers.py":
        (search.folder / change).write_text("MAXIMUM = 1.0\n")
        # As in another process: this one keeps the module that it has executed.
        for name in [name for name in sys.modules if name.startswith("zsig_columns_")]:
            monkeypatch.delitem(sys.modules, name)
    elif change == "touched":
        os.utime(ntuple, ns=(1, 1))
    elif change == "plots.py":
        (search.folder / change).write_text("import matplotlib\n")
    else:
        shutil.copy(search.folder / "top.root", ntuple)
    again = chain(tmp_path / "out", search)
    again.columns()
    unchanged = change in {"touched", "plots.py"}
    assert again.lines == ([] if unchanged else ["reading ntuples"])
    after = EventTable.from_parquet(tmp_path / "out" / "columns" / "events.parquet")
    same = len(after) == len(before) and np.array_equal(after.features, before.features)
    assert same == unchanged


@pytest.mark.parametrize(
    ("lost", "lines"),
    [
        ("columns/events.parquet", ["reading ntuples"]),
        ("training/bce/model.safetensors", ["training with the weighted BCE"]),
        ("training/z/model.json", ["training with the Z loss"]),
    ],
)
def test_what_was_deleted_is_made_again(output, chain, lost, lines):
    (output / lost).unlink()
    again = chain(output)
    again.train()
    assert again.lines == lines
    assert (output / lost).exists()


@pytest.mark.parametrize(
    ("damaged", "lines"),
    [
        ("columns/events.parquet", ["reading ntuples"]),
        ("training/bce/model.safetensors", ["training with the weighted BCE"]),
    ],
)
def test_what_was_altered_is_made_again_before_it_is_used(output, chain, damaged, lines):
    flip_a_bit(output / damaged)
    again = chain(output, selection={"figure_of_merit": "s_over_sqrt_b"})
    again.scan()
    assert again.lines == [*lines, "choosing working points"]


def test_an_altered_summary_is_not_shown(output, chain):
    flip_a_bit(output / "report" / "summary.json")
    match = r"report/summary\.json is not what was written, by its digest: .*Repeat its stage with --force"
    with pytest.raises(InputError, match=match):
        chain(output).run()


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_stage_without_its_record_is_not_replaced(output, chain):
    (output / "training" / "z" / "stage.json").unlink()
    before = times(output / "training")
    with pytest.raises(OutputError, match="training/z is not a result of this program: it is not replaced"):
        chain(output).train()
    assert times(output / "training") == before


def test_a_finished_run_is_read_without_writing_anything(output, chain):
    before = times(output) | {".": output.stat().st_mtime_ns}
    chain(output).run()
    assert times(output) | {".": output.stat().st_mtime_ns} == before


def test_the_same_pipeline_notices_what_has_changed_since_its_last_call(small_search, chain, tmp_path):
    search = small_search.copy(tmp_path / "search")
    made = chain(tmp_path / "out", search)
    before = made.columns()
    columns = search.folder / "columns.py"
    columns.write_text(columns.read_text().replace('"x": events["x"]', '"x": -events["x"]'))
    assert made.columns() != before or made.lines == ["reading ntuples"] * 2
    stored = EventTable.from_parquet(tmp_path / "out" / "columns" / "events.parquet")
    assert np.array_equal(made.table.features, stored.features)


def test_input_that_changes_while_it_is_read_is_noticed(small_search, chain, tmp_path, monkeypatch):
    search = small_search.copy(tmp_path / "search")
    made = chain(tmp_path / "out", search)
    read = Pipeline._read

    def read_and_replace(self, folder):
        result = read(self, folder)
        shutil.copy(search.folder / "top.root", search.folder / "dy.root")
        return result

    monkeypatch.setattr(Pipeline, "_read", read_and_replace)
    with pytest.raises(
        InputError, match=r"an ntuple, .* was changed while the stage columns was made from it: run again"
    ):
        made.columns()
    assert not (tmp_path / "out" / "columns").exists()
    monkeypatch.undo()
    made.columns()
    assert (tmp_path / "out" / "columns").exists()


@pytest.mark.slow
def test_runs_with_other_settings_at_the_same_time_report_their_own_numbers(small_search, tmp_path):
    searches = [small_search.copy(tmp_path / name) for name in ("first", "second")]
    searches[0].write(luminosity_ifb=100.0, title="First")
    searches[1].write(luminosity_ifb=300.0, title="Second")
    command = [Path(sysconfig.get_path("scripts")) / "zsig", "run", "--json", "-o", tmp_path / "out"]
    processes = [
        subprocess.Popen([*command, search.folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for search in searches
    ]
    printed = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], printed
    summaries = [json.loads(out) for out, _ in printed]
    assert [each["title"] for each in summaries] == ["First", "Second"]
    yields = [{row["name"]: row["yield"] for row in each["processes"]} for each in summaries]
    assert yields[1] == pytest.approx({name: 3 * value for name, value in yields[0].items()})
    for each in summaries:
        points = [classifier["working_point"] for classifier in each["classifiers"]]
        total = sum(row["yield"] for row in each["processes"] if row["role"] == "background")
        assert all(0 < point["background"]["yield"] < total for point in points if point["status"] == "ok")
    assert sum("waiting for another run" in err for _, err in printed) == 1
    assert read_json(tmp_path / "out" / "report" / "summary.json") in summaries


@pytest.mark.parametrize("epochs", [1, 2, 3, 4])
def test_a_killed_training_goes_on_to_the_same_parameters(finished_output, with_columns, chain, epochs):
    killed = chain(with_columns, training={"baseline": False}, progress=kill_after(epochs))
    with pytest.raises(Killed):
        killed.train()
    (checkpoint,) = (with_columns / "training" / "checkpoints").iterdir()
    assert [path.name for path in (with_columns / "training").iterdir()] == ["checkpoints"]
    seen = []
    resumed = chain(with_columns, training={"baseline": False}, progress=lambda *arguments: seen.append(arguments))
    resumed.train()
    assert resumed.lines == [TRAINING_LINES[0], f"going on with the interrupted training in {checkpoint.name}"]
    assert len(seen) == 4 - epochs
    assert not checkpoint.exists()
    assert same_tensors(tensors(with_columns), tensors(finished_output))
    history = [
        read_json(folder / "training" / "z" / "model.json")["history"] for folder in (with_columns, finished_output)
    ]
    assert history[0] == history[1]


@pytest.mark.slow
def test_a_training_that_the_system_kills_goes_on_to_the_same_parameters(
    small_search, with_columns, chain, tmp_path, one_thread
):
    training = {"baseline": False, "patience": 1000, "main": {"epochs": 60, "batch_size": 256}}
    file = small_search.write("killed.yaml", training=training)
    whole = shutil.copytree(with_columns, tmp_path / "whole")
    chain(whole, training=training).train()

    program = [sys.executable, "-c", "from zsig_hep.cli import main; main()"]
    command = [*program, "train", str(file), "-o", str(with_columns)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    checkpoints = with_columns / "training" / "checkpoints"
    try:
        deadline = time.monotonic() + 120
        while not list(checkpoints.glob("z-*")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        errors = process.communicate()[1].decode()
    assert process.returncode == -signal.SIGKILL, errors
    assert not (with_columns / "training" / "z").exists()

    resumed = chain(with_columns, training=training)
    resumed.train()
    assert resumed.lines[0] == TRAINING_LINES[0]
    assert resumed.lines[1].startswith("going on with the interrupted training in z-")
    assert same_tensors(tensors(with_columns), tensors(whole))


def test_an_interrupted_training_with_other_settings_is_announced_and_kept(finished_output, with_columns, chain):
    with pytest.raises(Killed):
        chain(with_columns, training={"seed": 9}, progress=kill_after(1)).train()
    (checkpoint,) = (with_columns / "training" / "checkpoints").iterdir()
    content = checkpoint.read_bytes()
    other = chain(with_columns)
    other.train()
    kept = (
        "an interrupted training with other settings or events, or on another device, is kept as "
        f"training/checkpoints/{checkpoint.name}: restore those to go on with it, or delete it"
    )
    assert other.lines == [TRAINING_LINES[0], kept, TRAINING_LINES[1]]
    assert checkpoint.read_bytes() == content
    assert same_tensors(tensors(with_columns), tensors(finished_output))


def test_a_damaged_checkpoint_is_named(with_columns, chain):
    with pytest.raises(Killed):
        chain(with_columns, progress=kill_after(1)).train()
    (checkpoint,) = (with_columns / "training" / "checkpoints").iterdir()
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    with pytest.raises(ModelFileError, match=r"checkpoints/z-.* is damaged .* Delete it and train again"):
        chain(with_columns).train()


def test_a_failed_reading_keeps_the_older_columns(small_search, chain, tmp_path):
    search = small_search.copy(tmp_path / "search")
    chain(tmp_path / "out", search).columns()
    before = times(tmp_path / "out" / "columns")
    (search.folder / "columns.py").write_text("def columns(events):\n    return {'x': events['z']}\n")
    with pytest.raises(InputError, match=r"columns\.py, line 2"):
        chain(tmp_path / "out", search).columns()
    assert times(tmp_path / "out" / "columns") == before
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".zsig-lock", "columns", "zsig-output.json"]


@pytest.mark.slow
def test_recorded_events_are_drawn_and_listed_but_neither_trained_nor_scanned_on(
    finished_output, small_search, chain, tmp_path, no_figures
):
    # Enough signal-like data that some are above the cut.
    search = small_search.copy(tmp_path / "search")
    write_events(search.folder / "data.root", 400, 0.8, seed=9)
    made = chain(tmp_path / "out", search, processes={"data": DATA})
    summary = made.run()
    old = read_json(finished_output / "report" / "summary.json")
    data = next(row for row in summary["processes"] if row["name"] == "data")
    assert (data["role"], data["yield"]) == ("data", data["entries"])
    assert 0 < data["entries"] <= 400
    assert [row for row in summary["processes"] if row["name"] != "data"] == old["processes"]
    assert summary["classifiers"] == old["classifiers"]
    assert summary["comparison"] == old["comparison"]
    assert same_tensors(tensors(tmp_path / "out"), tensors(finished_output))
    with uproot.open(tmp_path / "out" / "export" / "scores.root") as file:
        evaluation = made.results.evaluations[0]
        lowest = min(evaluation.working_point.thresholds)
        edge = evaluation.score_edges[evaluation.score_edges <= lowest].max()
        below = made.table.is_data & (made.results.events["z"].score < edge)
        assert 0 < file["z/data"].values(flow=True).sum() == below.sum() < data["entries"]
    assert report_gallery(made.results).look.roles["data"] == "data"
    figures = {
        name: figure for name, _, figure in report_gallery(made.results).figures() if name in {"score", "feature_x"}
    }
    assert len(figures) == 2
    for figure in figures.values():
        assert "Data" in {container.get_label() for axes in figure.axes for container in axes.containers}


def test_without_a_baseline_there_is_one_classifier_and_no_difference(output, chain):
    alone = chain(output, training={"baseline": False})
    alone.scan()
    assert alone.lines == ["choosing working points"]
    assert list(alone.results.losses) == ["z"]
    content = read_json(output / "selection" / "selection.json")
    assert [each["name"] for each in content["classifiers"]] == ["z"]
    assert content["comparison"] == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_an_absent_device_is_refused_before_anything_is_read(chain, tmp_path):
    made = chain(tmp_path / "out", training={"device": "cuda"})
    with pytest.raises(TrainingError, match="'cuda' is not available here"):
        made.run()
    assert made.lines == []
    assert not (tmp_path / "out").exists()


def test_an_output_folder_in_the_way_of_a_file(chain, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        chain(tmp_path / "file").columns()
