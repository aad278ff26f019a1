"""`FeatureProcessor` inside your own coffea processor, in a plain Runner on NanoAOD files; then table and scan.

    python analyses/integration/coffea_runner.py

One pass over the events fills your histogram and writes the chunk files. The `Runner`, its executor, its schema and the
normalisation are yours; here the sums of weights come from the `Runs` tree of NanoAOD.
"""

import tempfile
from pathlib import Path

import awkward as ak
import hist
import pandas as pd
import uproot
from coffea.nanoevents import NanoAODSchema
from coffea.processor import IterativeExecutor, ProcessorABC, Runner

from zsig_hep import EventTable, ScoredEvents, WorkingPointSettings, hold_out_working_point
from zsig_hep.ntuples import FeatureProcessor

SAMPLES = Path(__file__).parents[2] / "data_samples" / "hmumu"
LUMINOSITY_IPB = 140_000.0
ROLES = {"vbf": "signal", "dy": "background", "ttbar": "background"}
CROSS_SECTION_PB = {"vbf": 6.191e-4, "dy": 3.7425, "ttbar": 9.623}
FILESET = {
    process: {"files": {str(path): "Events" for path in sorted(SAMPLES.glob(f"hmumu_{process}*.root"))}}
    for process in ROLES
}


def columns(events: ak.Array) -> tuple[dict[str, ak.Array], ak.Array]:
    """Features of the selected events, and the selection, with the objects of NanoAODSchema."""
    selected = ak.all(events.Jet.btagDeepFlavB < 0.3, axis=1) & (events.MET.pt < 60.0)
    muons, jets = events.Muon[selected], events.Jet[selected]
    dimuon, dijet = muons[:, 0] + muons[:, 1], jets[:, 0] + jets[:, 1]
    return {"dimuon_mass": dimuon.mass, "dimuon_pt": dimuon.pt, "dijet_mass": dijet.mass}, selected


class MuonProcessor(ProcessorABC):
    """The processor that you have already; two lines are new."""

    def __init__(self, folder: Path) -> None:
        self.features = FeatureProcessor(columns, folder=folder, weights=dict.fromkeys(ROLES, "genWeight"))  # new

    def process(self, events: ak.Array) -> dict[str, object]:
        """Fill a histogram of the leading muon, by process."""
        muon_pt = (
            hist.Hist.new.StrCat([], growth=True, name="process")
            .Reg(20, 0, 200, name="pt", label="$p_T$ [GeV]")
            .Weight()
        )
        muon_pt.fill(process=events.metadata["dataset"], pt=events.Muon.pt[:, 0], weight=events.genWeight)
        return {"muon_pt": muon_pt, "chunks": self.features.process(events)}  # new: the chunks

    def postprocess(self, accumulator: dict[str, object]) -> dict[str, object]:
        """Leave what was accumulated as it is."""
        return accumulator


def yield_per_weight(process: str) -> float:
    """Cross section times luminosity over the sum of generator weights before the skim."""
    runs = uproot.concatenate([f"{path}:Runs" for path in FILESET[process]["files"]], ["genEventSumw"], library="np")
    return CROSS_SECTION_PB[process] * LUMINOSITY_IPB / runs["genEventSumw"].sum()


# The samples lack collections that some cross-references of full NanoAOD point to.
NanoAODSchema.warn_missing_crossrefs = False
runner = Runner(IterativeExecutor(status=False), schema=NanoAODSchema, chunksize=5_000, metadata_cache={})

with tempfile.TemporaryDirectory() as folder:
    output = runner(FILESET, MuonProcessor(Path(folder)))
    # A chunk is named by (dataset, file, tree, first entry, last entry); executors return chunks in any order.
    chunks = {key: record.path for key, record in sorted(output["chunks"].items()) if record.path}
    events = pd.concat([pd.read_parquet(path).assign(process=key[0]) for key, path in chunks.items()])

table = EventTable.from_arrays(
    events[["dimuon_mass", "dimuon_pt", "dijet_mass"]],
    weight=events["zsig:weight"] * events["process"].map({process: yield_per_weight(process) for process in ROLES}),
    process=events["process"],
    roles=ROLES,
    luminosity_ifb=LUMINOSITY_IPB / 1000.0,
    identity=events["zsig:identity"],
)
peak = table.select(abs(table.feature("dimuon_mass") - 125.0) < 2.0)
point = hold_out_working_point(ScoredEvents.of_table(peak, peak.feature("dijet_mass")), WorkingPointSettings())

print(f"histogram of {', '.join(output['muon_pt'].axes['process'])}; {len(chunks)} chunk files")
for name, total in table.yields().items():
    print(f"{name:6} {total.value:8.2f} +- {total.uncertainty:.2f}")
print(f"cut on the dijet mass: Z = {point.significance:.2f} +- {point.significance_uncertainty:.2f}")
