"""The examples of analyses/integration, each run as its docstring says, with warnings as errors."""

import os
import re
import subprocess
import sys
from pathlib import Path

import awkward as ak
import pandas as pd
import pytest
import uproot
from coffea.processor import IterativeExecutor, Runner

from tests.analyses.conftest import ROOT, ReadColumns
from zsig_hep.analysis import Analysis
from zsig_hep.ntuples import FeatureProcessor, read_fileset
from zsig_hep.ntuples.filesets.content import Roles
from zsig_hep.ntuples.reading import QuietNanoAODSchema

FOLDER = ROOT / "analyses" / "integration"

# The package as it is here, whatever is installed, and one thread as on a worker.
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

# What Lightning 2.6 says on its own account.
OF_LIGHTNING = [
    "ignore:`isinstance(treespec, LeafSpec)` is deprecated:FutureWarning",
    "ignore:The 'train_dataloader' does not",
]


def run(name: str, ignored: list[str] | None = None) -> str:
    """What an example prints."""
    options = [f"-W{option}" for option in ["error", *(ignored or [])]]
    command = [sys.executable, *options, str(FOLDER / name)]
    finished = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def significance(text: str) -> float:
    """The one significance in a text."""
    (value,) = re.findall(r"Z = (\d\.\d\d) \+- 0\.\d\d", text)
    return float(value)


def yields(text: str) -> dict[str, tuple[float, float]]:
    """Yields and their uncertainties by process, as the examples print them."""
    rows = re.findall(r"^(\w+) +([\d.]+) \+- ([\d.]+)$", text, flags=re.MULTILINE)
    return {name: (float(value), float(uncertainty)) for name, value, uncertainty in rows}


@pytest.fixture(scope="module")
def hmumu_yields(read_columns: ReadColumns) -> dict[str, tuple[float, float]]:
    """Yields and their uncertainties of analyses/hmumu."""
    return {name: (total.value, total.uncertainty) for name, total in read_columns("hmumu").table.yields().items()}


@pytest.mark.slow
def test_coffea_runner(hmumu_yields):
    printed = run("coffea_runner.py")
    found = yields(printed)
    assert found.keys() == {"vbf", "dy", "ttbar"}
    for name, (value, uncertainty) in found.items():
        # The cuts of analyses/hmumu on muons and jets repeat the skim, up to the rounding of stored numbers.
        assert value == pytest.approx(hmumu_yields[name][0], rel=2e-3)
        assert uncertainty == pytest.approx(hmumu_yields[name][1], rel=2e-3, abs=0.005)
    assert "histogram of vbf, dy, ttbar; 14 chunk files" in printed
    assert 0.5 < significance(printed) < 1.2


@pytest.mark.slow
def test_scale_factors(hmumu_yields):
    rows = re.findall(r"^(\w+) +([\d.]+) -> +([\d.]+) +muon (.*), b_tag (.*)$", run("scale_factors.py"), re.MULTILINE)
    assert {name for name, *_ in rows} == {"vbf", "ggf", "dy", "ttbar"}
    for name, plain, scaled, *shifts in rows:
        assert float(plain) == pytest.approx(hmumu_yields[name][0], abs=0.006)
        # Two muons of 0.96 to 0.98, and a veto of 0.98 to 0.995.
        assert 0.96**2 * 0.98 < float(scaled) / float(plain) < 0.98**2 * 0.995
        for shift in shifts:
            up, down = (float(each) for each in re.findall(r"([+-][\d.]+)%", shift))
            assert 0.4 < up < 1.6
            assert down == pytest.approx(-up, abs=0.1)


@pytest.mark.filterwarnings("ignore:Branch Photon_:RuntimeWarning")
@pytest.mark.skipif("COFFEA_SAMPLES" not in os.environ, reason="names tests/samples of coffea's source distribution")
@pytest.mark.parametrize("name", ["nano_dy.root", "nano_dy_rntuple.root", "nano_tt_v12.root", "nano_tt_v15.root"])
def test_runner_on_nanoaod_of_cms(name, tmp_path):
    path = Path(os.environ["COFFEA_SAMPLES"]) / name

    def columns(events):
        selected = ak.num(events.Jet) > 0
        return {"jet_pt": events.Jet[selected].pt[:, 0], "muons": ak.num(events.Muon[selected])}, selected

    runner = Runner(
        IterativeExecutor(status=False, retries=0), schema=QuietNanoAODSchema, chunksize=30, metadata_cache={}
    )
    fileset = {"sample": {"files": {str(path): "Events"}}}
    records = runner(fileset, FeatureProcessor(columns, folder=tmp_path, weights={"sample": "genWeight"}))
    with uproot.open(path) as file:
        jets, weight = (file["Events"][branch].array() for branch in ("Jet_pt", "genWeight"))
    assert sum(record.generator.entries for record in records.values()) == len(weight)
    selected = pd.concat([pd.read_parquet(record.path) for _, record in sorted(records.items())])
    assert selected["jet_pt"].tolist() == jets[ak.num(jets) > 0][:, 0].tolist()
    assert selected["zsig:weight"].tolist() == weight[ak.num(jets) > 0].tolist()


@pytest.mark.slow
def test_torch_loop():
    assert 1.2 < significance(run("torch_loop.py")) < 2.2


@pytest.mark.slow
def test_lightning_module():
    pytest.importorskip("lightning")
    assert 1.2 < significance(run("lightning_module.py", OF_LIGHTNING)) < 2.2


@pytest.mark.slow
def test_boosted_trees():
    pytest.importorskip("sklearn")
    pytest.importorskip("xgboost")
    lines = run("boosted_trees.py").splitlines()
    assert [line.split()[0] for line in lines] == ["xgboost", "scikit-learn"]
    assert all(1.3 < significance(line) < 2.3 for line in lines)


@pytest.mark.slow
def test_pocket_coffea(hmumu_yields):
    found = yields(run("pocket_coffea.py"))
    samples = {"VBFHto2Mu": "vbf", "GluGluHto2Mu": "ggf", "DYto2Mu": "dy", "TTto2L2Nu": "ttbar"}
    assert found == {sample: pytest.approx(hmumu_yields[name], abs=0.005) for sample, name in samples.items()}


@pytest.mark.slow
def test_columnflow(hmumu_yields):
    found = yields(run("columnflow.py"))
    (vbf, vbf_error), (ggf, ggf_error) = hmumu_yields["vbf"], hmumu_yields["ggf"]
    assert found == {
        "h": pytest.approx((vbf + ggf, (vbf_error**2 + ggf_error**2) ** 0.5), abs=0.005),
        "dy": pytest.approx(hmumu_yields["dy"], abs=0.005),
        "tt": pytest.approx(hmumu_yields["ttbar"], abs=0.005),
    }


FILESETS: dict[str, Roles] = {
    "pocket_coffea.json": {
        "VBFHto2Mu": "signal",
        "GluGluHto2Mu": "signal",
        "DYto2Mu": "background",
        "TTto2L2Nu": "background",
    },
    "columnflow.yaml": {"h_vbf": "signal", "h_ggf": "signal", "dy": "background", "tt": "background"},
}


@pytest.mark.parametrize("name", FILESETS)
def test_filesets_have_the_cross_sections_of_the_analysis(name):
    analysis = Analysis.from_file(ROOT / "analyses" / "hmumu")
    for found, own in zip(
        read_fileset(FOLDER / name, FILESETS[name]).values(), analysis.processes.values(), strict=True
    ):
        (dataset,), (of_analysis,) = found.datasets.values(), own.datasets.values()
        assert found.role == own.role
        assert dataset.effective_cross_section_pb == pytest.approx(of_analysis.effective_cross_section_pb, rel=1e-12)


@pytest.mark.slow
def test_notebook(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("nbclient")
    kernelspec = pytest.importorskip("ipykernel.kernelspec")
    name = "ntuple_to_figure.ipynb"
    stored = nbformat.read(FOLDER / name, as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in stored.cells)

    # A kernel of this environment, found before any of the same name that is installed elsewhere.
    kernelspec.write_kernel_spec(tmp_path / "kernels" / "python3")
    execute = [sys.executable, "-c", "from nbclient.cli import main; main()", "--timeout=300"]
    command = [*execute, f"--output={tmp_path / name}", str(FOLDER / name)]
    environment = ENVIRONMENT | {"JUPYTER_PATH": str(tmp_path)}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert finished.returncode == 0, finished.stderr

    executed = nbformat.read(tmp_path / name, as_version=4)
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert 1.2 < significance("".join(output.text for output in outputs if output.output_type == "stream")) < 2.4


def test_every_example_is_in_the_table_and_has_a_test():
    examples = {path.name for path in FOLDER.iterdir() if path.suffix in {".py", ".ipynb"}}
    table = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert examples == set(re.findall(r"\]\((\w+\.(?:py|ipynb))\)", table))
    here = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{name}"' in here for name in examples)
    assert all(len((FOLDER / name).read_text().splitlines()) < 120 for name in examples if name.endswith(".py"))
