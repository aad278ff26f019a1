"""Small ntuples that the tests write themselves."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import loky
import numpy as np
import pytest
import uproot

from tests.ntuples.varied_search import search, varied_search
from zsig_hep.errors import InputError, ZsigError
from zsig_hep.ntuples import ColumnsResult, Dataset, NtupleSettings, Process, check_inputs, reading, run_columns

__all__ = ["search", "varied_search"]

LUMINOSITY_IFB = 140.0

FLAT_COLUMNS = ["MET_pt", "mass"]

SELECTING = """
import awkward as ak
import numpy as np
from coffea.analysis_tools import PackedSelection

from helpers import CUT


def columns(events):
    cuts = PackedSelection()
    cuts.add("met", events["MET_pt"] > CUT)
    cuts.add("jets", ak.num(events["Jet_pt"]) > 0)
    selected = cuts.all()
    kept = events[selected]
    return {"met": kept["MET_pt"], "leading": kept["Jet_pt"][:, 0], "jets": ak.num(kept["Jet_pt"])}, cuts
"""


@dataclass(frozen=True)
class Written:
    """What a test ntuple holds."""

    path: Path
    arrays: dict[str, Any]
    sum_of_weights: float


def event_arrays(events: int, seed: int, *, first_event: int = 0, signed: bool = True) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    weight = rng.normal(1.0, 0.3, events)
    weight *= rng.choice([1.0, -1.0], events, p=[0.85, 0.15]) if signed else 1.0
    counts = rng.integers(0, 4, events)
    jets = rng.exponential(50.0, int(counts.sum())).astype("f4")
    return {
        "run": np.ones(events, "u4"),
        "luminosityBlock": np.ones(events, "u4"),
        "event": np.arange(first_event, first_event + events, dtype="u8"),
        "genWeight": weight.astype("f4"),
        "pileup": rng.uniform(0.9, 1.1, events).astype("f4"),
        "MET_pt": rng.exponential(30.0, events).astype("f4"),
        "MET_phi": rng.uniform(-np.pi, np.pi, events).astype("f4"),
        "mass": rng.normal(91.0, 5.0, events),
        "Jet_pt": ak.unflatten(jets, counts),
    }


def write_ntuple(
    path: Path,
    events: int | dict[str, Any],
    seed: int = 0,
    *,
    kind: str = "ttree",
    runs: tuple[float, int] | str | None = "own",
    tree: str = "Events",
    **options: Any,
) -> Written:
    """Write events to `tree` and their sums to `Runs`; `runs` gives (sum, count), "own" the events' own sums."""
    arrays = event_arrays(events, seed, **options) if isinstance(events, int) else events
    weight = np.asarray(arrays["genWeight"], dtype="f8")
    total, count = (float(weight.sum()), len(weight)) if isinstance(runs, str) or runs is None else runs
    with uproot.recreate(path) as file:
        if kind == "rntuple":
            file.mkrntuple(tree, arrays)
        else:
            types = {name: "var * float32" if name == "Jet_pt" else np.asarray(a).dtype for name, a in arrays.items()}
            written = file.mktree(tree, types)
            for start in range(0, len(weight), 400):
                written.extend({name: array[start : start + 400] for name, array in arrays.items()})
        if runs is not None:
            sums = {"genEventCount": np.array([count]), "genEventSumw": np.array([total])}
            # Of the events themselves, and of removed events with at least the squares that their sum requires.
            own, kept = weight[np.isfinite(weight)], len(weight)
            removed = 1.1 * (total - own.sum()) ** 2 / max(count - kept, 1)
            sums["genEventSumw2"] = np.array([np.square(own).sum() + removed])
            file.mktree("Runs", {name: value.dtype for name, value in sums.items()}).extend(sums)
    return Written(path, arrays, total)


def with_changed(arrays: dict, name: str, entry: int, value: float) -> dict:
    changed = np.array(arrays[name])
    changed[entry] = value
    return arrays | {name: changed}


def two_processes(background: list[str], **options) -> dict[str, Process]:
    return {
        "higgs": Process(role="signal", datasets={"h": Dataset(files=["signal.root"], cross_section_pb=0.1)}),
        "dy": Process(role="background", datasets={"b": Dataset(files=background, cross_section_pb=1.0, **options)}),
    }


def expected_yield(folder, files, cross_section_pb, total, mask, factors=("genWeight",)):
    values, variances = 0.0, 0.0
    for name in files:
        with uproot.open(folder / name) as file:
            arrays = file["Events"].arrays(["MET_pt", "Jet_pt", *factors])
        weight = np.prod([np.asarray(arrays[factor], dtype="f8") for factor in factors], axis=0)
        kept = weight[mask(arrays)] * (cross_section_pb * LUMINOSITY_IFB * 1000.0 / total)
        values, variances = values + kept.sum(), variances + np.square(kept).sum()
    return values, variances


def passes_both(arrays):
    return np.asarray(arrays["MET_pt"] > 10.0) & np.array([len(jets) > 0 for jets in arrays["Jet_pt"]], dtype=bool)


@pytest.fixture(scope="session")
def pool() -> Iterator[Executor]:
    """Two worker processes for many tests; they start when first used, which takes seconds for coffea's import."""
    with loky.ProcessPoolExecutor(max_workers=2) as workers:
        yield workers


@pytest.fixture
def shared_pool(pool: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `executor="futures"` use the pool instead of starting its own."""
    monkeypatch.setattr(reading, "WorkerPool", pool)


@pytest.fixture
def processes(tmp_path: Path) -> dict[str, Process]:
    """A signal and a background of two datasets, one of two files of which one is empty, skimmed and signed."""
    write_ntuple(tmp_path / "signal.root", 900, 1, runs=(3000.0, 2900))
    write_ntuple(tmp_path / "dy_1a.root", 1500, 2, runs=(5000.0, 7000))
    write_ntuple(tmp_path / "dy_1b.root", 0, 3, runs=(10.0, 14))
    write_ntuple(tmp_path / "dy_2.root", 700, 4, runs=(2500.0, 3600), kind="rntuple")
    background = {
        "dy_1": Dataset(files=["dy_1*.root"], cross_section_pb=3.0, k_factor=1.2),
        "dy_2": Dataset(files=["dy_2.root"], cross_section_pb=0.5, weight=["genWeight", "pileup"]),
    }
    return {
        "higgs": Process(role="signal", datasets={"h": Dataset(files=["signal.root"], cross_section_pb=0.1)}),
        "dy": Process(role="background", datasets=background, label="Drell-Yan"),
    }


@pytest.fixture
def run(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., ColumnsResult]:
    """Run the columns of the fixture's processes, or of others, in the temporary folder."""

    def run_there(*, of: dict[str, Process] | None = None, run_options: dict[str, Any] | None = None, **settings: Any):
        return run_columns(
            NtupleSettings(**({"columns": FLAT_COLUMNS} | settings)),
            request.getfixturevalue("processes") if of is None else of,
            base_folder=tmp_path,
            luminosity_ifb=LUMINOSITY_IFB,
            output_folder=tmp_path / "out",
            **(run_options or {}),
        )

    return run_there


@pytest.fixture
def selecting_columns(tmp_path: Path) -> str:
    """A columns file that imports a module beside it."""
    (tmp_path / "columns.py").write_text(SELECTING)
    (tmp_path / "helpers.py").write_text("CUT = 10.0\n")
    return "columns.py:columns"


@pytest.fixture
def refused(run, tmp_path):
    """Run and expect an error, and nothing left in the output folder."""
    if not (tmp_path / "signal.root").exists():
        write_ntuple(tmp_path / "signal.root", 100, 1)

    def refuse(
        match: str, kind: type[ZsigError] = InputError, *, background=("b.root",), options=None, **settings
    ) -> str:
        with pytest.raises(kind, match=match) as caught:
            run(of=two_processes(list(background), **(options or {})), **settings)
        assert type(caught.value) is kind
        out = tmp_path / "out"
        assert not out.exists() or not list(out.iterdir())
        return str(caught.value)

    return refuse


@pytest.fixture
def checked(tmp_path):
    def check(background=("b.root",), **options):
        return check_inputs(
            NtupleSettings(columns=["MET_pt"]),
            two_processes(list(background), **options),
            base_folder=tmp_path,
            luminosity_ifb=LUMINOSITY_IFB,
        )

    return check
