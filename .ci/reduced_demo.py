"""Run the demo on every second event and check its summary.

Each ntuple is thinned together with its sum of generator weights, so that the yields keep their normalisation.
"""

import json
import subprocess
import sys
from pathlib import Path

import awkward as ak
import uproot

ROOT = Path(__file__).parents[1]
KEEP_ONE_IN = 2
YIELDS = {"vbf": 24.28, "ggf": 24.59, "dy": 5242.0, "ttbar": 597.0}


def thin(source: Path, target: Path) -> None:
    """Copy every second event, and the sums scaled by the share of the weights that was kept."""
    with uproot.open(source) as file, uproot.recreate(target) as thinned:
        events = file["Events"].arrays()
        kept = events[::KEEP_ONE_IN]
        share = ak.sum(kept.genWeight) / ak.sum(events.genWeight)
        columns = {name: kept[name] for name in kept.fields if not name.startswith(("Muon_", "Jet_", "nMuon", "nJet"))}
        for collection in ("Muon", "Jet"):
            names = [name for name in kept.fields if name.startswith(f"{collection}_")]
            columns[collection] = ak.zip({name.removeprefix(f"{collection}_"): kept[name] for name in names})
        types = {name: values.type.content for name, values in columns.items()}
        thinned.mktree("Events", types)
        thinned["Events"].extend(columns)
        runs = file["Runs"].arrays(library="np")
        scaled = {name: runs[name] * share if "Sumw" in name else runs[name] for name in runs}
        thinned.mktree("Runs", {name: values.dtype for name, values in scaled.items()})
        thinned["Runs"].extend(scaled)


def demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the pipeline as a user would."""
    zsig = Path(sys.executable).with_name("zsig")
    command = [zsig, "run", ROOT / "analyses" / "hmumu", "--ntuples", folder / "ntuples", "--output", folder / "output"]
    return subprocess.run([*command, *arguments], check=True, text=True, capture_output=True)


def check(summary: dict) -> None:
    """Compare the summary with what the full samples give, within the errors of half of the events."""
    for row in summary["processes"]:
        expected, error = YIELDS[row["name"]], row["uncertainty"]
        if abs(row["yield"] - expected) > 4 * error:
            sys.exit(f"{row['name']}: {row['yield']:.5g} +- {error:.2g} events, expected {expected:.5g}")
    if [classifier["name"] for classifier in summary["classifiers"]] != ["z", "bce"]:
        sys.exit("the report does not compare the Z loss with its baseline")
    for classifier in summary["classifiers"]:
        point = classifier["working_point"]
        if point["status"] != "ok" or not 1.0 < point["significance"] < 3.0 or not classifier["auc"] > 0.9:
            sys.exit(f"{classifier['name']}: {point}, AUC {classifier['auc']}")
        print(f"{classifier['label']}: Z = {point['significance']:.2f} +- {point['significance_uncertainty']:.2f}")


def written_files(output: Path) -> dict[Path, int]:
    """When each file of the stages was written, in ns since the epoch."""
    stages = [path for path in output.iterdir() if path.is_dir()]
    return {path: path.stat().st_mtime_ns for stage in stages for path in stage.rglob("*") if path.is_file()}


def main() -> None:
    """Thin, run, check, and run again, which must redo nothing."""
    folder = Path(sys.argv[1])
    (folder / "ntuples").mkdir(parents=True)
    for source in sorted((ROOT / "data_samples" / "hmumu").glob("*.root")):
        thin(source, folder / "ntuples" / source.name)
    check(json.loads(demo(folder, "--json").stdout))
    report = folder / "output" / "report" / "report.html"
    written = written_files(folder / "output")
    demo(folder)
    redone = [str(path) for path, time in written_files(folder / "output").items() if written.get(path) != time]
    if redone:
        sys.exit("the second run redid something:\n" + "\n".join(redone))
    figures = len(list(report.with_name("figures").glob("*.pdf")))
    print(f"reduced demo: report of {report.stat().st_size >> 10} KiB with {figures} figures, second run idle")


if __name__ == "__main__":
    main()
