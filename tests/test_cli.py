"""The command line as a user meets it: exit status, what stands on which stream, and what mistakes are told."""

import json
import logging
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from tests.conftest import write_events
from zsig_hep import __version__
from zsig_hep.cli import main
from zsig_hep.pipeline.output_folder import OutputFolder
from zsig_hep.pipeline.stages import Pipeline

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

STAGES = ("columns", "train", "scan", "plot", "export")
"""Those that need no setting of their own; `cuts` and `apply` have tests of their own."""
COMMANDS = ("run", "check", *STAGES)
HEAVY = ("torch", "coffea", "pydantic", "numpy", "awkward", "uproot", "matplotlib", "pyarrow", "scipy", "yaml")


@pytest.fixture(autouse=True)
def root_logger():
    """The command replaces the handlers of the root logger, as a program may and a test must not."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def zsig(tmp_path, monkeypatch):
    """Run a command in an empty working directory and expect an exit status; no error may reach Python."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")

    def call(*arguments: object, status: int = 0):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert result.exit_code == status, result.output
        assert "Traceback" not in result.output
        return result

    return call


@pytest.fixture
def search(small_search, tmp_path):
    """A copy whose files may be changed."""
    return small_search.copy(tmp_path / "search")


def in_a_process(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command as installed."""
    command = [str(Path(sysconfig.get_path("scripts")) / "zsig"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def words(text: str) -> str:
    """A text without the line breaks that the width of a terminal makes."""
    return " ".join(text.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(zsig, command):
    result = zsig(command, "--help")
    assert f"{command} [OPTIONS] ANALYSIS" in result.stdout
    assert zsig(command, "-h").stdout == result.stdout
    for option in ("--json", "--quiet", "--ntuples"):
        assert option in result.stdout
    for option in ("--output", "--executor", "--scheduler", "--workers", "--device", "--force"):
        assert (option in result.stdout) == (command != "check")


def test_help_names_every_command_in_whole_sentences(zsig):
    lines = zsig("--help").stdout.split("Commands:")[1].strip().splitlines()
    assert [line.split()[0] for line in lines] == sorted((*COMMANDS, "apply", "cuts", "schema"))
    assert not [line for line in lines if line.endswith("...")]
    assert "trust it as you would a script" in words(zsig("--help").stdout)
    assert zsig("--version").stdout == f"zsig, version {__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments, tmp_path):
    code = (
        "import sys, json\n"
        "from zsig_hep.cli import main\n"
        f"try: main({arguments!r})\n"
        "finally: print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = json.loads(result.stderr)
    assert "zsig_hep.cli" in loaded
    assert not set(HEAVY) & set(loaded)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "Missing argument 'ANALYSIS'"),
        (["rnu", "."], "No such command 'rnu'"),
        (["run", ".", "--outptu", "x"], "No such option"),
        (["run", ".", "--executor", "slurm"], "'slurm' is not one of 'iterative', 'futures', 'dask'"),
        (["run", ".", "--device", "gpu"], "'gpu' is not one of 'auto', 'cpu', 'cuda', 'mps'"),
        (["run", ".", "--workers", "0"], "0 is not in the range x>=1"),
        (["run", ".", "--workers", "two"], "'two' is not a valid integer"),
        (["run", ".", "-o", __file__], "is a file"),
        (["check", ".", "--ntuples", __file__], "is a file"),
        (["check", ".", "--force"], "No such option"),
        (["run", ".", "extra"], "unexpected extra argument"),
        (
            ["run", ".", "--scheduler", "tcp://x:1"],
            "--scheduler is the address of a Dask scheduler; it needs --executor",
        ),
    ],
)
def test_wrong_usage_is_status_2(zsig, arguments, message):
    result = zsig(*arguments, status=2)
    assert message in result.stderr
    assert result.stdout == ""
    assert not list(Path.cwd().iterdir())


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_analysis_is_status_1(zsig, command):
    result = zsig(command, "nowhere", status=1)
    assert result.stderr.startswith("zsig: There is no analysis file nowhere. Name a folder that holds analysis.yaml")
    assert result.stdout == ""
    assert not list(Path.cwd().iterdir())


@pytest.mark.parametrize("options", [[], ["--quiet"], ["--json"], ["--quiet", "--json"]])
def test_errors_are_told_on_the_standard_error_whatever_is_asked(zsig, search, options):
    (search.folder / "analysis.yaml").write_text("titl: x\n")
    result = zsig("run", search.folder, *options, status=1)
    assert "titl (line 1): unknown key. Did you mean 'title'?" in result.stderr
    assert result.stdout == ""


def test_check_prints_the_yields_and_writes_nothing(zsig, search):
    before = {path: path.stat().st_mtime_ns for path in search.folder.rglob("*")}
    result = zsig("check", search.folder)
    assert {path: path.stat().st_mtime_ns for path in search.folder.rglob("*")} == before
    assert not list(Path.cwd().iterdir())
    assert result.stdout == ""
    assert "Small search: yields at 100/fb" in result.stderr
    for name in ("higgs", "dy", "top"):
        assert name in result.stderr
    assert "note: dataset 'h': its files hold a share of" in result.stderr


def test_check_prints_what_names_are_called_in_fits(zsig, search):
    file = search.write()
    file.write_text(file.read_text().replace("dy:", "ZZ*:", 1))
    assert "note: process 'ZZ*' is called 'ZZ_' in ROOT histograms" in words(zsig("check", search.folder).stderr)


@pytest.mark.parametrize("path", ["~nobody-here/x", "x" * 5000, "a/" * 2000 + "b"])
def test_a_path_that_the_system_refuses_is_status_1(zsig, path):
    result = zsig("check", path, status=1)
    assert result.stderr.startswith("zsig: ")
    assert len(result.stderr) < 2000


def test_check_prints_json(zsig, search, finished_output):
    result = zsig("check", search.folder, "--json", "--quiet")
    assert result.stderr == ""
    assert json.loads(result.stdout) == json.loads((finished_output / "columns" / "columns.json").read_text())


def test_check_is_silent_when_quiet(zsig, search):
    assert zsig("check", search.folder, "--quiet").output == ""


def test_check_refuses_what_a_training_refuses(zsig, search):
    search.write(training={"features": ["x", "z"]})
    assert "'z'" in zsig("check", search.folder, status=1).stderr
    search.write(ntuples={"weight": ["genWeight", "y"]})
    assert "`training: {negative_weights: absolute}`" in words(zsig("check", search.folder, status=1).stderr)
    (search.folder / "columns.py").write_text(
        "import numpy as np\ndef columns(events):\n    x = np.asarray(events['x'])\n"
        "    return {'x': np.where(x > 2, np.nan, x), 'y': np.full(len(x), np.nan)}\n"
    )
    search.write()
    error = words(zsig("check", search.folder, status=1).stderr)
    assert "'y' is missing in every training event, so it has no median; give a number" in error
    search.write(training={"features": ["x"]})
    zsig("check", search.folder)


def test_a_finished_run_prints_its_result_again(zsig, search_and_output):
    analysis, output = search_and_output
    result = zsig("run", analysis, "-o", output)
    assert result.stdout == ""
    assert "reading ntuples" not in result.stderr
    assert "Z loss: held-out Z = " in result.stderr
    assert "Z loss - weighted BCE:\n  binned significance: " in result.stderr
    assert f"report: {output / 'report' / 'report.html'}" in result.stderr


@pytest.fixture
def search_and_output(small_search, output):
    return small_search.folder, output


@pytest.mark.parametrize("command", ["run", *STAGES])
def test_quiet_is_silent_and_json_is_all_that_stands_on_the_standard_output(zsig, search_and_output, command):
    analysis, output = search_and_output
    assert zsig(command, analysis, "-o", output, "--quiet").output == ""
    result = zsig(command, analysis, "-o", output, "--json")
    content = json.loads(result.stdout)
    written = {
        "run": "report/summary.json",
        "plot": "report/summary.json",
        "columns": "columns/columns.json",
        "scan": "selection/selection.json",
    }
    if command in written:
        assert content == json.loads((output / written[command]).read_text())
    else:
        assert content == {"folder": str(output)}


def test_the_output_folder_is_named_after_the_analysis(zsig, search):
    result = zsig("columns", search.folder)
    assert sorted(path.name for path in Path("output/small").iterdir()) == [".zsig-lock", "columns", "zsig-output.json"]
    assert "output: output/small" in result.stderr
    assert result.stderr.startswith("reading ntuples\n")


def test_training_prints_its_first_and_last_epochs(zsig, search, finished_output):
    result = zsig("train", search.folder, "-o", "out", "--device", "cpu")
    lines = [line.strip() for line in result.stderr.splitlines() if ", step " in line]
    assert [line.rsplit(":", 1)[0] for line in lines] == [
        f"{phase}, step {epoch} of 2"
        for phase in ("Z loss, warm start", "Z loss", "weighted BCE, warm start", "weighted BCE")
        for epoch in (1, 2)
    ]


def test_no_working_point_is_told_with_its_reason(zsig, search, output):
    search.write(selection={"minimum_effective_background": 1e6})
    result = zsig("scan", search.folder, "-o", output)
    assert "Z loss: no working point: no cut could be chosen for fold 0, 1, 2 of 3" in words(result.stderr)


def test_an_output_folder_in_whose_way_a_file_stands(zsig, search):
    Path("file").write_text("kept")
    result = zsig("run", search.folder, "-o", "file/out", status=1)
    assert result.stderr.startswith("zsig: cannot write file/out: Not a directory. Choose another output folder")
    Path("output").mkdir()
    Path("output/small").write_text("kept")
    result = zsig("run", search.folder, status=1)
    assert result.stderr.startswith("zsig: cannot write output/small: File exists. Choose another output folder")
    assert Path("output/small").read_text() == Path("file").read_text() == "kept"


@pytest.mark.parametrize("command", ["check", "run"])
def test_missing_ntuples(zsig, search, command):
    result = zsig(command, search.folder, "--ntuples", "elsewhere", status=1)
    for name in ("signal", "dy", "top"):
        assert f"{name}.root does not exist. There is no folder" in result.stderr
    (search.folder / "dy.root").rename(search.folder / "dyy.root")
    assert "dy.root does not exist. Did you mean 'dyy.root'" in zsig(command, search.folder, status=1).stderr


def test_ntuples_from_another_folder(zsig, search, tmp_path):
    for seed, (name, centre) in enumerate([("signal", 1.0), ("dy", -0.3), ("top", -0.8)]):
        (tmp_path / "other").mkdir(exist_ok=True)
        write_events(tmp_path / "other" / f"{name}.root", 50, centre, seed)
    content = json.loads(zsig("check", search.folder, "--ntuples", tmp_path / "other", "--json").stdout)
    assert [rows[0]["entries"] for rows in content["cutflow"].values()] == [100, 100, 100]


@pytest.mark.parametrize("command", ["check", "run"])
def test_an_error_in_columns_names_file_and_line(zsig, search, command):
    (search.folder / "columns.py").write_text("def columns(events):\n    return {'x': 1 / 0}\n")
    message = words(zsig(command, search.folder, status=1).stderr)
    assert f"{search.folder / 'columns.py'}, line 2" in message
    assert "ZeroDivisionError" in message


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_an_absent_device(zsig, search):
    result = zsig("run", search.folder, "--device", "cuda", status=1)
    assert result.stderr.startswith("zsig: The device 'cuda' is not available here; there is: cpu.")


@pytest.mark.parametrize("option", ["--output", "--ntuples"])
def test_an_empty_path_is_wrong_usage(zsig, search, option):
    Path("columns").mkdir()
    Path("columns/mine").write_text("mine")
    result = zsig("columns", search.folder, option, "", status=2)
    assert "the path is empty" in result.stderr
    assert Path("columns/mine").read_text() == "mine"


def test_a_working_directory_with_files_is_no_output_folder(zsig, search):
    Path("mine").write_text("mine")
    result = zsig("columns", search.folder, "--output", ".", status=1)
    assert "is not empty (it holds 'mine') and was not made by this version of zsig" in words(result.stderr)
    assert [path.name for path in Path.cwd().iterdir()] == ["mine"]


def test_a_second_run_refuses_when_it_may_not_wait(zsig, search):
    with OutputFolder(Path("out")).writing():
        result = zsig("columns", search.folder, "-o", "out", "--no-wait", status=1)
    assert "another run writes to out" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "status"), [(["--help"], 1), (["schema"], 1)])
def test_a_full_disk_behind_the_standard_output(arguments, status, tmp_path):
    command = [str(Path(sysconfig.get_path("scripts")) / "zsig"), *arguments]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path)
    assert result.returncode == status
    assert result.stderr == "zsig: cannot write to the standard output: No space left on device\n"


@pytest.mark.slow
def test_a_full_disk_behind_the_standard_error_stops_nothing(search, tmp_path):
    command = [str(Path(sysconfig.get_path("scripts")) / "zsig"), "columns", search.folder, "-o", "out", "--json"]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 0
    assert json.loads(result.stdout)["processes"]


@pytest.mark.slow
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_closed_pipe_ends_without_a_traceback(search, tmp_path, stream):
    command = [str(Path(sysconfig.get_path("scripts")) / "zsig"), "columns", search.folder, "-o", "out", "--json"]
    reading, writing = os.pipe()
    os.close(reading)
    other = "stderr" if stream == "stdout" else "stdout"
    streams = {stream: writing, other: subprocess.PIPE}
    result = subprocess.run(command, **streams, text=True, check=False, cwd=tmp_path)
    os.close(writing)
    assert result.returncode == 1
    assert "Traceback" not in getattr(result, other)


def test_an_interruption_says_how_to_go_on(zsig, search, monkeypatch):
    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Pipeline, "run", interrupt)
    result = zsig("run", search.folder, "--quiet", status=130)
    assert result.stderr == "zsig: interrupted; run again to go on from here\n"


def test_a_bug_keeps_its_traceback(search, tmp_path, monkeypatch):
    def fail(self):
        raise ZeroDivisionError

    monkeypatch.setattr(Pipeline, "run", fail)
    result = CliRunner().invoke(main, ["run", str(search.folder), "-o", str(tmp_path / "out")])
    assert isinstance(result.exception, ZeroDivisionError)


@pytest.mark.slow
def test_the_installed_command_reads_and_tells_its_mistakes(search, tmp_path):
    search.write(ntuples={"columns": ["x", "yy"]})
    result = in_a_process("columns", search.folder, "-o", tmp_path / "out", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert "tree 'Events' has no branch 'yy'. Did you mean 'y'?" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out" / "columns").exists()
    search.write()
    result = in_a_process("columns", search.folder, "-o", tmp_path / "out", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert [row["name"] for row in json.loads(result.stdout)["processes"]] == ["higgs", "dy", "top"]
    assert result.stderr == "reading ntuples\n"


@pytest.mark.slow
def test_workers_of_coffea_give_the_same(zsig, search, finished_output):
    zsig("columns", search.folder, "-o", "out", "--executor", "futures", "--workers", "1", "--quiet")
    table = Path("out/columns/events.parquet").read_bytes()
    assert table == (finished_output / "columns" / "events.parquet").read_bytes()
    assert not [path for path in Path("out/columns").iterdir() if path.name.startswith(".")]
    assert sorted(path.name for path in Path("out").iterdir()) == [".zsig-lock", "columns", "zsig-output.json"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "has no cuts to optimise: give the features to cut on"),
        ({"cuts": {"variables": {"z": "above"}}}, "'z'"),
        ({"cuts": {"variables": {"x": "over"}}}, "cuts.variables.x"),
        ({"cuts": {"variables": {}}}, "cuts.variables"),
    ],
)
def test_cuts_that_cannot_be_optimised(zsig, search, tmp_path, changes, message):
    file = search.write(**changes)
    assert message in zsig("cuts", file, "--output", tmp_path / "out", status=1).stderr
