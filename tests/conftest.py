"""A small search with ntuples of its own, and one finished run of it."""

import copy
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
import uproot
import yaml

from zsig_hep.analysis import Analysis

# One thread, as on a busy machine: several that wait for each other make small tests slow and sums differ in their order.
torch.set_num_threads(1)

# On a busy machine any example can take long. The same examples every time, so that a change is what makes a test fail;
# `--hypothesis-profile=random` looks for others.
hypothesis.settings.register_profile("random", deadline=None)
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("repeatable")

COLUMNS = """
from helpers import MAXIMUM


def columns(events):
    selected = abs(events["x"]) < MAXIMUM
    return {"x": events["x"][selected], "y": events["y"][selected]}, selected
"""

SETTINGS: dict[str, Any] = {
    "title": "Small search",
    "name": "small",
    "luminosity_ifb": 100.0,
    "ntuples": {"columns": "columns.py:columns", "folds": 3},
    "processes": {
        "higgs": {"role": "signal", "datasets": {"h": {"files": ["signal.root"], "cross_section_pb": 1e-3}}},
        "dy": {"role": "background", "datasets": {"dy": {"files": ["dy.root"], "cross_section_pb": 0.1}}},
        "top": {"role": "background", "datasets": {"tt": {"files": ["top.root"], "cross_section_pb": 0.02}}},
    },
    "training": {
        "hidden": [8],
        "seeds": 1,
        "device": "cpu",
        "warm_start": {"epochs": 2, "batch_size": 128, "learning_rate": 0.01},
        "main": {"epochs": 2, "batch_size": 512, "learning_rate": 0.01},
    },
    "selection": {"minimum_effective_background": 3.0},
    "presentation": {"dots_per_inch": 50},
}

DATA = {"role": "data", "datasets": {"data": {"files": ["data.root"]}}}


@dataclass(frozen=True)
class SmallSearch:
    """A folder with ntuples and columns.py; settings are changed by naming what differs."""

    folder: Path

    def settings(self, **changes: Any) -> dict[str, Any]:
        return merged(SETTINGS, changes)

    def analysis(self, **changes: Any) -> Analysis:
        return Analysis.model_validate(self.settings(**changes) | {"folder": self.folder})

    def write(self, file_name: str = "analysis.yaml", **changes: Any) -> Path:
        """Write an analysis file beside the ntuples."""
        file = self.folder / file_name
        file.write_text(yaml.safe_dump(self.settings(**changes), sort_keys=False))
        return file

    def copy(self, folder: Path) -> "SmallSearch":
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return SmallSearch(folder)


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(dict(settings))
    for key, value in changes.items():
        inner = result.get(key)
        result[key] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return result


def write_events(path: Path, events: int, centre: float, seed: int) -> None:
    """Two Gaussian features, positive weights, and a Runs tree that counts twice as many events as the skim kept."""
    generator = np.random.default_rng(seed)
    arrays = {
        "run": np.ones(events, "u4"),
        "luminosityBlock": np.ones(events, "u4"),
        "event": np.arange(events, dtype="u8"),
        "genWeight": generator.uniform(0.5, 1.5, events).astype("f4"),
        "x": generator.normal(centre, 1.0, events).astype("f4"),
        "y": generator.normal(-centre, 1.0, events).astype("f4"),
    }
    sums = {"genEventCount": [2 * events], "genEventSumw": [2.0 * events], "genEventSumw2": [2.2 * events]}
    with uproot.recreate(path) as file:
        for name, content in (("Events", arrays), ("Runs", {key: np.array(value) for key, value in sums.items()})):
            file.mktree(name, {key: value.dtype for key, value in content.items()}).extend(content)


@pytest.fixture(scope="session")
def small_search(tmp_path_factory: pytest.TempPathFactory) -> SmallSearch:
    """Shared by all tests: copy it before changing a file."""
    folder = tmp_path_factory.mktemp("small")
    for seed, (name, events, centre) in enumerate(
        [("signal", 700, 1.0), ("dy", 900, -0.3), ("top", 500, -0.8), ("data", 60, -0.4)]
    ):
        write_events(folder / f"{name}.root", events, centre, seed)
    (folder / "columns.py").write_text(COLUMNS)
    (folder / "helpers.py").write_text("MAXIMUM = 3.0\n")
    search = SmallSearch(folder)
    search.write()
    return search


@pytest.fixture(scope="session")
def finished_output(small_search: SmallSearch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output of one complete run, shared by all tests: copy it before changing it."""
    from zsig_hep.pipeline.stages import Pipeline

    output = tmp_path_factory.mktemp("finished") / "out"
    Pipeline(small_search.analysis(), output).run()
    return output


@pytest.fixture
def output(finished_output: Path, tmp_path: Path) -> Path:
    """A copy of the output of a complete run, times included."""
    return Path(shutil.copytree(finished_output, tmp_path / "out"))
