"""A campaign as columnflow describes it, read into processes: the yields of `analyses/hmumu`, its two signals as one.

    python analyses/integration/columnflow.py

`columnflow.yaml` has the arguments of `order` objects under their own names. A role given to `h` is that of the
processes that it contains. The file has no sums of weights: they come from the `Runs` trees.
"""

import tempfile
from pathlib import Path

from zsig_hep import Analysis, Pipeline
from zsig_hep.ntuples import NtupleSettings, read_fileset

HERE = Path(__file__).parent

analysis = Analysis(
    title="Higgs boson decaying to two muons",
    luminosity_ifb=140.0,
    ntuples=NtupleSettings(columns="../hmumu/columns.py:columns", sum_of_weights="runs"),
    processes=read_fileset(HERE / "columnflow.yaml", roles={"h": "signal", "dy": "background", "tt": "background"}),
    folder=HERE,
)

with tempfile.TemporaryDirectory() as output:
    pipeline = Pipeline(analysis, output)
    pipeline.columns()

for name, total in pipeline.table.yields().items():
    print(f"{name:3} {total.value:8.2f} +- {total.uncertainty:.2f}")
