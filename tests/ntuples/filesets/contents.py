"""Filesets of PocketCoffea and columnflow, as their own tools write them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

Write = Callable[..., Path]


ROLES = {"higgs": "signal", "dy": "background", "muons": "data"}


POCKET: dict[str, Any] = {
    "dy_low_2018": {
        "metadata": {
            "das_names": "['/DY-low/NANOAODSIM']",
            "sample": "dy",
            "part": "low",
            "year": "2018",
            "isMC": "True",
            "xsec": "3.5",
            "nevents": "700",
            "size": "12",
        },
        "files": ["dy_low.root"],
    },
    "dy_high_2018": {
        "metadata": {
            "sample": "dy",
            "year": "2018",
            "isMC": True,
            "xsec": 0.5,
            "isSkim": "True",
            "sum_genweights": 2500.5,
            "sum_signOf_genweights": 2400.0,
        },
        "files": ["root://eos.cern.ch:1094//store/dy_high.root", "dy_high.root"],
    },
    "higgs_2018": {
        "metadata": {"sample": "higgs", "year": "2018", "isMC": "true", "xsec": "1e-3"},
        "files": ["h.root"],
    },
    "muons_2018_EraA": {
        "metadata": {"sample": "muons", "year": "2018", "isMC": "False", "era": "A", "primaryDataset": "SingleMuon"},
        "files": ["/data/a.root"],
    },
}


COLUMNFLOW: dict[str, Any] = {
    "campaign": {"name": "run2_2018", "id": 1, "ecm": 13, "aux": {"year": 2018}},
    "processes": [
        {"name": "higgs", "id": 1, "label": "$H$", "color": [255, 0, 16], "xsecs": {8: 1.0, 13: 2.0}},
        {"name": "dy", "id": 2, "xsecs": {13: 9.0}, "processes": ["dy_low", "dy_high"]},
        {
            "name": "dy_low",
            "id": 3,
            "color": "#00ff00",
            "xsecs": {13: {"nominal": 3.5, "uncertainties": {"scale": 0.1}}},
        },
        {"name": "dy_high", "id": 4, "xsecs": {13.0: "0.5"}},
        {"name": "muons", "id": 5, "is_data": True},
    ],
    "datasets": {
        "higgs_powheg": {"processes": ["higgs"], "keys": ["h.root"], "aux": {"sum_mc_weight": 321.0}},
        "dy_low_amc": {
            "processes": ["dy_low"],
            "info": {
                "nominal": {"keys": ["dy_low_*.root"], "n_files": 2, "n_events": 10, "gen_eff": 1.0},
                "tune_up": {"keys": ["/DY-low-up/NANOAODSIM"], "n_files": 99},
            },
        },
        "dy_high_amc": {"processes": ["dy_high"], "keys": "dy_high", "n_files": -1},
        "muons_a": {
            "processes": ["muons"],
            "is_data": True,
            "keys": ["root://eos.cern.ch//store/a.root"],
            "n_files": 7,
        },
    },
}
