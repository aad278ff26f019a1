"""A fileset that PocketCoffea wrote, read into processes: the yields of `analyses/hmumu` from another framework's file.

    python analyses/integration/pocket_coffea.py

`pocket_coffea.json` has the form that `pocket-coffea build-datasets` and PocketCoffea's skims write. Cross sections and sums
of weights come from it, the role of each sample from this script, and the columns from `analyses/hmumu`.
"""

import tempfile
from pathlib import Path

from zsig_hep.ntuples import NtupleSettings, read_fileset, run_columns

HERE = Path(__file__).parent

processes = read_fileset(
    HERE / "pocket_coffea.json",
    roles={"VBFHto2Mu": "signal", "GluGluHto2Mu": "signal", "DYto2Mu": "background", "TTto2L2Nu": "background"},
    year="2018",
)

with tempfile.TemporaryDirectory() as output:
    result = run_columns(
        NtupleSettings(columns="../hmumu/columns.py:columns"),
        processes,
        base_folder=HERE,
        luminosity_ifb=140.0,
        output_folder=Path(output),
    )

for name, total in result.table.yields().items():
    print(f"{name:13} {total.value:8.2f} +- {total.uncertainty:.2f}")
