"""The small search with a columns function that knows variations, varied weights and certified data."""

import awkward as ak
import numpy as np
import pytest
import uproot

from zsig_hep.ntuples import run_columns

COLUMNS = """
def columns(events, variation=None):
    shift = {None: 0.0, "scaleUp": 0.3, "scaleDown": -0.2}[variation]
    x = events["x"] + shift
    selected = abs(x) < 2.0
    return {"x": x[selected], "y": events["y"][selected]}, selected
"""


WEIGHTS = """
import numpy as np


def tilt(events):
    slope = 0.1 * np.asarray(events["x"])
    return 1.0 + slope, 1.0 - slope


def only_up(events):
    return 1.0 + 0.1 * np.asarray(events["x"]) ** 2


def broken(events):
    return np.asarray(events["x"])[:3]
"""


@pytest.fixture(scope="session")
def varied_search(small_search, tmp_path_factory):
    """The small search with a columns function that knows variations, and ntuples with varied weights."""
    search = small_search.copy(tmp_path_factory.mktemp("varied"))
    (search.folder / "columns.py").write_text(COLUMNS)
    (search.folder / "weights.py").write_text(WEIGHTS)
    for name in ("signal", "dy", "top"):
        add_weights(search.folder / f"{name}.root")
    return search


@pytest.fixture
def search(varied_search, tmp_path):
    """A copy whose files may be changed."""
    return varied_search.copy(tmp_path / "search")


def write_data(path, numbers, triggers=None, shift=0.0):
    """Write events of data by their numbers; even ones are in luminosity block 1, odd ones in 2."""
    arrays = {
        "run": np.ones(len(numbers), "u4"),
        "luminosityBlock": (1 + numbers % 2).astype("u4"),
        "event": numbers.astype("u8"),
        "genWeight": np.ones(len(numbers), "f4"),
        "x": (np.sin(numbers) + 0.5 * shift).astype("f4"),
        "y": np.cos(numbers).astype("f4"),
    } | (triggers or {})
    with uproot.recreate(path) as file:
        file.mktree("Events", {name: values.dtype for name, values in arrays.items()}).extend(arrays)


def add_weights(path):
    """Write a file again with an array of factors and three flat weights."""
    with uproot.open(path) as file:
        events, runs = file["Events"].arrays(), file["Runs"].arrays(library="np")
    x = np.asarray(events["x"], dtype=np.float64)
    flat = {name: np.asarray(events[name]) for name in events.fields}
    flat |= {"sf": np.full(len(x), 0.9), "sf_up": np.full(len(x), 0.99), "sf_down": np.full(len(x), 0.8)}
    shower = ak.Array(np.stack([1 + 0.05 * x, np.ones_like(x), 1 - 0.04 * x], axis=1))
    with uproot.recreate(path) as file:
        types = {name: values.dtype for name, values in flat.items()}
        file.mktree("Events", types | {"PSWeight": "var * float64"})
        file["Events"].extend(flat | {"PSWeight": ak.from_regular(shower)})
        file.mktree("Runs", {name: values.dtype for name, values in runs.items()})
        file["Runs"].extend(runs)


def read(search, output, variations, **changes):
    analysis = search.analysis(**changes)
    return run_columns(
        analysis.ntuples,
        analysis.processes,
        base_folder=search.folder,
        luminosity_ifb=analysis.luminosity_ifb,
        output_folder=output,
        variations=variations,
    )


def arrays(search, name):
    with uproot.open(search.folder / f"{name}.root") as file:
        return file["Events"].arrays(library="np")


def with_data(mask=None, **dataset):
    data = {"role": "data", "datasets": {"data": {"files": ["data.root"]} | dataset}}
    return {"processes": {"data": data}, "ntuples": {"luminosity_mask": mask}}
