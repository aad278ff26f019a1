"""Scale factors of correctionlib in the event weights of an analysis, with their uncertainties as variations.

    python analyses/integration/scale_factors.py

`columns` returns coffea's `Weights` beside the features and cuts of analyses/hmumu: the efficiency of both muons by
transverse momentum and pseudorapidity, and the efficiency of the b-tag veto by the number of jets. The numbers in
`scale_factors.json` are made up, in the format in which CMS and ATLAS publish theirs. A variation names one of them, and
everything that follows (tables, cuts, fits) has it.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import awkward as ak
import correctionlib
import numpy as np
from coffea.analysis_tools import Weights

from zsig_hep import Analysis
from zsig_hep.ntuples import run_columns

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "hmumu"))

import columns as hmumu

CORRECTIONS = correctionlib.CorrectionSet.from_file(str(HERE / "scale_factors.json"))


def columns(events: ak.Array) -> tuple[dict[str, Any], Any, Weights]:
    """The features and cuts of analyses/hmumu, and scale factors for all events."""
    weights = Weights(len(events))
    weights.add("muon", *(muon_efficiency(events, which) for which in ("nominal", "up", "down")))
    weights.add("b_veto", *(veto_efficiency(events, which) for which in ("nominal", "up", "down")))
    return *hmumu.columns(events), weights


def muon_efficiency(events: ak.Array, which: str) -> np.ndarray:
    """Product over the two leading muons of the ratio of efficiencies in data and simulation."""
    muons = {name: ak.pad_none(events[f"Muon_{name}"], 2, clip=True) for name in ("pt", "eta")}
    flat = [ak.to_numpy(ak.flatten(ak.fill_none(muons[name], 0.0))).astype(float) for name in ("pt", "eta")]
    return CORRECTIONS["muon_efficiency"].evaluate(*flat, which).reshape(-1, 2).prod(axis=1)


def veto_efficiency(events: ak.Array, which: str) -> np.ndarray:
    """Ratio of the efficiencies of the b-tag veto in data and simulation."""
    return CORRECTIONS["b_veto"].evaluate(ak.to_numpy(ak.num(events["Jet_pt"])), which)


def main() -> None:
    """Yields with and without the scale factors, and their uncertainties."""
    analysis = Analysis.from_file(HERE.parent / "hmumu")
    variations = {
        name: {"kind": "weight", "scale_factor": factor} for name, factor in (("muon", "muon"), ("b_tag", "b_veto"))
    }
    varied = Analysis.model_validate(
        analysis.model_dump(exclude_unset=True, by_alias=True) | {"variations": variations}
    )
    options = {"base_folder": analysis.folder, "luminosity_ifb": analysis.luminosity_ifb}
    with tempfile.TemporaryDirectory() as output:
        plain = run_columns(analysis.ntuples, analysis.processes, output_folder=Path(output, "plain"), **options)
        settings = varied.ntuples.model_copy(update={"columns": f"{Path(__file__).resolve()}:columns"})
        scaled = run_columns(
            settings, varied.processes, variations=varied.variations, output_folder=Path(output, "scaled"), **options
        )
    table = scaled.table
    for number, name in enumerate(table.process_names):
        rows = table.process == number
        total = table.weight[rows].sum()
        shifts = [
            f"{variation} {pair[0][rows].sum() / total - 1:+.2%} / {pair[1][rows].sum() / total - 1:+.2%}"
            for variation, pair in table.weight_variations.items()
        ]
        print(f"{name:6} {plain.table.yields()[name].value:8.2f} -> {total:8.2f}   {', '.join(shifts)}")


if __name__ == "__main__":
    main()
