"""Analyses of the repository, and small event files made by hand."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from coffea.nanoevents import BaseSchema, NanoEventsFactory

from zsig_hep.analysis import Analysis
from zsig_hep.ntuples import ColumnsResult, load_columns, run_columns

ROOT = Path(__file__).parents[2]

MUON_MASS = 0.1056584

Event = Mapping[str, Any]
MakeEvents = Callable[[Sequence[Event], str], ak.Array]
ReadColumns = Callable[[str], ColumnsResult]


@pytest.fixture(scope="session")
def read_columns(tmp_path_factory: pytest.TempPathFactory) -> ReadColumns:
    """What the columns of an analysis are, read once."""

    @functools.cache
    def read(name: str) -> ColumnsResult:
        analysis = Analysis.from_file(ROOT / "analyses" / name)
        return run_columns(
            analysis.ntuples,
            analysis.processes,
            base_folder=analysis.folder,
            luminosity_ifb=analysis.luminosity_ifb,
            output_folder=tmp_path_factory.mktemp(name),
            variations=analysis.variations,
        )

    return read


def invariant_mass(*objects: tuple[float, float, float, float]) -> float:
    """Invariant mass of objects given as (pt, eta, phi, mass)."""
    x = sum(pt * math.cos(phi) for pt, _, phi, _ in objects)
    y = sum(pt * math.sin(phi) for pt, _, phi, _ in objects)
    z = sum(pt * math.sinh(eta) for pt, eta, _, _ in objects)
    energy = sum(math.sqrt((pt * math.cosh(eta)) ** 2 + m**2) for pt, eta, _, m in objects)
    return math.sqrt(max(energy**2 - x**2 - y**2 - z**2, 0.0))


def columns_module(name: str) -> ModuleType:
    """The columns.py of an analysis."""
    loaded = load_columns("columns.py:columns", ROOT / "analyses" / name)
    assert not isinstance(loaded, tuple)
    return loaded.module()


@pytest.fixture(scope="session")
def hmumu() -> ModuleType:
    return columns_module("hmumu")


@pytest.fixture(scope="session")
def leptoquark() -> ModuleType:
    return columns_module("leptoquark")


@pytest.fixture
def make_events(tmp_path: Path) -> MakeEvents:
    """Write events to a TTree and read them as coffea does.

    An event holds `muons` as (pt, eta, phi, charge), `jets` as (pt, eta, phi, mass, b-tag score) and flat branches.
    """

    def make(events: Sequence[Event], dataset: str) -> ak.Array:
        path = tmp_path / "events.root"
        branches = {
            "MET_pt": np.array([event.get("MET_pt", 0.0) for event in events], np.float32),
            "MET_phi": np.array([event.get("MET_phi", 0.0) for event in events], np.float32),
        }
        if any("Generator_binvar" in event for event in events):
            branches["Generator_binvar"] = np.array([event["Generator_binvar"] for event in events], np.float32)
        branches |= _jagged("Muon", ("pt", "eta", "phi", "charge"), [event["muons"] for event in events])
        branches["Muon_mass"] = ak.full_like(branches["Muon_pt"], MUON_MASS)
        branches |= _jagged("Jet", ("pt", "eta", "phi", "mass", "btagDeepFlavB"), [event["jets"] for event in events])
        with uproot.recreate(path) as file:
            types = {name: _branch_type(name, values) for name, values in branches.items()}
            file.mktree("Events", types).extend(branches)
        access = NanoEventsFactory.from_root(
            {str(path): "Events"}, schemaclass=BaseSchema, metadata={"dataset": dataset}, mode="virtual"
        )
        return access.events()

    return make


def _jagged(collection: str, names: Sequence[str], objects: Sequence[Sequence[Sequence[float]]]) -> dict[str, ak.Array]:
    counts = [len(of_event) for of_event in objects]
    table = np.array([values for of_event in objects for values in of_event], np.float32).reshape(-1, len(names))
    return {
        f"{collection}_{name}": ak.unflatten(
            column.astype(np.int32) if name == "charge" else np.ascontiguousarray(column), counts
        )
        for name, column in zip(names, table.T, strict=True)
    }


def _branch_type(name: str, values: Any) -> Any:
    if isinstance(values, np.ndarray):
        return values.dtype
    return "var * int32" if name.endswith("charge") else "var * float32"
