"""Ntuples with vectors of weights and the sums of these over all generated events, and an analysis of them."""

import awkward as ak
import hist
import numpy as np
import uproot

from zsig_hep.ntuples import Dataset, NtupleSettings, Process, run_columns

LUMINOSITY_IFB = 2.0
CROSS_SECTION_PB = {"higgs": 0.5, "dy": 3.0}

COLUMNS = """
def columns(events):
    selected = events["x"] > 0.3
    return {"x": events["x"][selected]}, selected
"""


def generated(events, seed, scales=9):
    """All generated events of a file: x, signed weights, and scale and shower weights that depend on x."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 1, events)
    scale = 1 + np.linspace(-0.4, 0.5, scales)[None, :] * (0.5 + x[:, None]) + 0.05 * seed
    scale[:, scales // 2] = 1.0
    shower = np.stack([1.3 - 0.2 * x, 1 + 0 * x, 0.7 + 0.1 * x], axis=1)
    weight = rng.choice([1.0, -1.0], events, p=[0.9, 0.1]) * rng.uniform(0.5, 2.0, events)
    return {"x": x, "genWeight": weight, "LHEScaleWeight": scale, "PSWeight": shower}


def fractions(events, name):
    """What NanoAOD stores in the Runs tree for a vector of weights."""
    return (events["genWeight"][:, None] * events[name]).sum(axis=0) / events["genWeight"].sum()


def write(path, events, keep=None, *, runs=True, change=None, extra=None):
    """Write the events that `keep` chooses, and the sums of all; `change` replaces branches of Runs, None removes one."""
    kept = {name: array if keep is None else array[keep] for name, array in events.items()}
    number = len(kept["x"])
    identity = {"run": np.ones(number, "u4"), "luminosityBlock": np.ones(number, "u4")}
    flat = identity | {"event": np.arange(number, dtype="u8"), "x": kept["x"], "genWeight": kept["genWeight"]}
    vectors = {name: ak.from_regular(kept[name]) for name in kept if np.ndim(kept[name]) == 2}
    vectors |= extra or {}
    flat |= {name: kept[name] for name in kept.keys() - flat.keys() - vectors.keys()}
    with uproot.recreate(path) as file:
        types = {name: array.dtype for name, array in flat.items()}
        file.mktree("Events", types | dict.fromkeys(vectors, "var * float64"))
        file["Events"].extend(flat | vectors)
        weight = events["genWeight"]
        sums = {
            "genEventSumw": np.array([weight.sum()]),
            "genEventSumw2": np.array([(weight**2).sum()]),
            "genEventCount": np.array([len(weight)]),
        }
        lists = {"LHEScaleSumw": [fractions(events, "LHEScaleWeight")], "PSSumw": [fractions(events, "PSWeight")]}
        stored = {name: each for name, each in (sums | lists | (change or {})).items() if each is not None}
        if runs:
            jagged = {name for name in stored if name.endswith("Sumw") and name != "genEventSumw"}
            kinds = {n: "var * float64" if n in jagged else np.asarray(each).dtype for n, each in stored.items()}
            file.mktree("Runs", kinds)
            file["Runs"].extend({n: ak.Array(list(each)) if n in jagged else each for n, each in stored.items()})
        totals = (weight[:, None] * events["PSWeight"]).sum(axis=0)
        histogram = hist.Hist(hist.axis.StrCategory(["nominal", "isrUp", "isrDown", "none"]), storage="double")
        histogram.view()[:] = [weight.sum(), totals[0], totals[2], 0.0]
        file["sums/weights"] = histogram
        file.mktree("sums/tree", {"vector": "var * float64", "isr_up": np.float64, "isr_down": np.float64})
        file["sums/tree"].extend({"vector": ak.Array([totals.tolist()]), "isr_up": totals[:1], "isr_down": totals[2:]})


def processes(**dataset):
    """Signal of one file and background of two."""
    files = {"higgs": ["higgs.root"], "dy": ["dy_*.root"]}
    roles = {"higgs": "signal", "dy": "background"}
    return {
        name: Process(
            role=roles[name],
            datasets={name: Dataset(files=files[name], cross_section_pb=CROSS_SECTION_PB[name], **dataset)},
        )
        for name in files
    }


def run(folder, variations, of=None, **settings):
    """The columns result of the ntuples in a folder."""
    (folder / "columns.py").write_text(COLUMNS)
    return run_columns(
        NtupleSettings(**settings),
        processes() if of is None else of,
        base_folder=folder,
        luminosity_ifb=LUMINOSITY_IFB,
        output_folder=folder / "out",
        variations=variations,
    )


def sums(result, name, process):
    """Nominal and varied yields of a process in the table."""
    rows = result.table.process == result.table.process_names.index(process)
    return result.table.weight[rows].sum(), result.table.weight_variations[name][:, rows].sum(axis=1)
