"""Generate NanoAOD-like ROOT ntuples of proton collisions at 13 TeV: Pythia 8, anti-kt jets, parametrised detector.

One file, <out>/<process>_s<seed>.root and .json:

    generate.py --process hmumu_vbf --nstore 20000 --seed 1001 --no-mpi --slim --out large_samples/hmumu

All processes of an analysis, five times the committed numbers of events, on two cores (run it again to go on):

    generate.py --set hmumu --scale 5 --jobs 2 --out large_samples/hmumu

Slices in the transverse momentum of the hard process (pTHat, Generator_binvar) are processes of their own: ttbar, dy_m150,
ww, wz and zz from the bottom, ttbar_pt250 above 250 GeV, ttbar_pt500 above 500 GeV. Each reaches a fifth above the
threshold of the next; count Generator_binvar below that threshold only:

    generate.py --process ttbar_pt500 --nstore 20000 --seed 1001 --no-mpi --slim --keep-binvar --out large_samples/leptoquark

A cross section, from as many hard processes without showers:

    generate.py --cross-section hmumu_dy --nstore 500000

What a folder holds, files of one process combined:

    generate.py --summary large_samples/hmumu

Normalisation, the same rule as for CMS NanoAOD:

    yield = xsec_pb * 1000 * luminosity_ifb * sum(Events.genWeight) / sum(Runs.genEventSumw)

The tree Events holds what passed the skim, the tree Runs the sums over all generated events: dividing by
sum(Events.genWeight) is wrong by the skim efficiency.
"""

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from generator.errors import GeneratorError
from generator.files import prepare_folder, read_samples
from generator.options import COMPRESSION_NAMES, GenerationOptions, require_generator_packages
from generator.processes import PROCESSES, process_named
from generator.sets import (
    EVENTS_PER_FILE,
    FIRST_SEED,
    SETS,
    Job,
    check_compatible,
    generator_command,
    plan_jobs,
    run_jobs,
    scaled_events,
    set_named,
)
from generator.summary import markdown_table, summarise

SUMMARY = (
    "process", "xsec_pb", "xsec_err_pb", "genEventCount", "entries", "skim_efficiency", "neff_stored", "yield_140fb",
    "cpu_s", "cpu_generator_s", "wall_s", "file_bytes", "rss_mb",
)  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """Build the command line; what belongs to one mode only has no default, so that a stray option is noticed."""
    command = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"processes: {', '.join(PROCESSES)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    mode = command.add_mutually_exclusive_group(required=True)
    mode.add_argument("--process", metavar="NAME", help="make one file of this process")
    mode.add_argument("--cross-section", metavar="NAME", help="print the cross section of this process in pb")
    mode.add_argument("--set", metavar="NAME", help=f"make all processes of a set: {', '.join(SETS)}")
    mode.add_argument("--summary", type=Path, metavar="FOLDER", help="print cross sections and yields of its samples")
    command.add_argument("--out", type=Path, default=Path("ntuples"), help="output folder (default: ntuples)")
    _add_file_options(command.add_argument_group("with --process", argument_default=argparse.SUPPRESS))
    _add_set_options(command.add_argument_group("with --set", argument_default=argparse.SUPPRESS))
    return command


def _add_file_options(group: Any) -> None:
    group.add_argument(
        "--nstore", type=int, help="events to store, hard processes for --cross-section (default: 20000)"
    )
    group.add_argument("--seed", type=int, help="(default: 1) take seeds three apart")
    group.add_argument("--overwrite", action="store_true", help="replace a file of the same process and seed")
    group.add_argument("--no-mpi", action="store_true", help="no multiparton interactions: 2 to 2.8 times faster")
    group.add_argument("--ps", action="store_true", help="also store ISR/FSR scale-variation weights (PSWeight)")
    group.add_argument("--slim", action="store_true", help="leave out electrons, truth, pile-up, generator record")
    group.add_argument("--keep-binvar", action="store_true", help="keep Generator_binvar (for stitching) with --slim")
    group.add_argument("--bits", type=int, help="mantissa bits of floats (default: 10)")
    group.add_argument("--comp", choices=COMPRESSION_NAMES, help="compression (default: zstd)")
    group.add_argument("--batch", type=int, help="events per batch (default: 250); other sizes give other events")
    group.add_argument("--max-cpu", type=float, metavar="S", help="stop after these CPU seconds with fewer events")
    group.add_argument("--neg", type=float, metavar="P", help="fraction of emulated negative weights")


def _add_set_options(group: Any) -> None:
    group.add_argument("--scale", type=float, help="numbers of events relative to the committed files (default: 1)")
    group.add_argument("--jobs", type=int, help="files made side by side, one core each (default: 1)")
    group.add_argument("--events-per-file", type=int, help=f"largest file (default: {EVENTS_PER_FILE})")
    group.add_argument("--first-seed", type=int, help=f"(default: {FIRST_SEED})")
    group.add_argument("--dry-run", action="store_true", help="list what would be made, and the time that it takes")


FILE_OPTIONS: tuple[str, ...] = (
    "nstore", "seed", "overwrite", "no_mpi", "ps", "slim", "keep_binvar", "bits", "comp", "batch", "max_cpu", "neg",
)  # fmt: skip
SET_OPTIONS: tuple[str, ...] = ("scale", "jobs", "events_per_file", "first_seed", "dry_run")


def make_file(given: dict[str, Any]) -> None:
    """Make one file and print its summary as a line of JSON."""
    options = GenerationOptions(
        mpi=not given.get("no_mpi", False),
        shower_weights=given.get("ps", False),
        compression=given.get("comp", "zstd"),
        mantissa_bits=given.get("bits", 10),
        slim=given.get("slim", False),
        keep_binvar=given.get("keep_binvar", False),
        batch=given.get("batch", 250),
        max_cpu_s=given.get("max_cpu"),
        negative_weight_fraction=given.get("neg"),
    )
    process_named(given["process"])
    require_generator_packages()
    from generator.production import generate

    metadata = generate(
        given["process"],
        given.get("nstore", 20_000),
        given.get("seed", 1),
        given["out"],
        options,
        overwrite=given.get("overwrite", False),
    )
    print(json.dumps({key: metadata[key] for key in SUMMARY}))


def print_cross_section(given: dict[str, Any]) -> None:
    """Print a cross section and its uncertainty."""
    process_named(given["cross_section"])
    require_generator_packages()
    from generator.production import cross_section

    value, uncertainty = cross_section(given["cross_section"], given.get("nstore", 20_000), given.get("seed", 1))
    print(f"{given['cross_section']}: {value:.7g} ± {uncertainty:.1g} pb")


def make_set(given: dict[str, Any]) -> None:
    """Make the files of a set that are not there yet."""
    sample_set, folder, cores = set_named(given["set"]), given["out"], given.get("jobs", 1)
    events_per_file, first_seed = given.get("events_per_file", EVENTS_PER_FILE), given.get("first_seed", FIRST_SEED)
    if min(cores, events_per_file, first_seed) < 1:
        message = "--jobs, --events-per-file and --first-seed must be 1 or more"
        raise GeneratorError(message)
    existing, committed = read_samples(folder), sample_set.committed()
    check_compatible(existing, sample_set)
    wanted = scaled_events(committed, given.get("scale", 1.0))
    jobs = plan_jobs(wanted, existing, committed, events_per_file=events_per_file, first_seed=first_seed)
    print(_overview(jobs, wanted, cores), flush=True)
    if given.get("dry_run"):
        print("\n".join(f"{job.process}_s{job.seed}: {job.stored_events} events" for job in jobs))
        return
    require_generator_packages()
    prepare_folder(folder)
    command = generator_command(Path(__file__).resolve(), folder, sample_set.options)
    run_jobs(jobs, folder, command, cores=cores, report=lambda line: print(line, flush=True))


def _overview(jobs: Sequence[Job], wanted: dict[str, int], cores: int) -> str:
    missing = sum(job.stored_events for job in jobs)
    minutes = sum(job.expected_cpu_s for job in jobs) / 60
    return (
        f"{sum(wanted.values())} events wanted, {missing} to be made in {len(jobs)} files: "
        f"about {minutes:.0f} core minutes, {minutes / cores:.0f} min with {cores} at a time"
    )


def print_summary(folder: Path) -> None:
    """Print a Markdown table of the samples in a folder."""
    samples = read_samples(folder)
    if not samples:
        message = f"there are no samples (*.root with *.json) in {folder}"
        raise GeneratorError(message)
    print(markdown_table(summarise(samples)))


def _refuse_stray_options(command: argparse.ArgumentParser, given: dict[str, Any]) -> None:
    if given["process"] is not None:
        mode, strangers = "--process", SET_OPTIONS
    elif given["set"] is not None:
        mode, strangers = "--set", FILE_OPTIONS
    elif given["cross_section"] is not None:
        mode, strangers = (
            "--cross-section",
            (*(name for name in FILE_OPTIONS if name not in {"nstore", "seed"}), *SET_OPTIONS),
        )
    else:
        mode, strangers = "--summary", FILE_OPTIONS + SET_OPTIONS
    if stray := [f"--{name.replace('_', '-')}" for name in strangers if name in given]:
        command.error(f"{', '.join(stray)} cannot be used with {mode}")


def _end_by_signal(number: int, _frame: object) -> None:
    """Leave in the ordinary way, so that unfinished files are removed."""
    sys.exit(128 + number)


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0; 1 when the samples cannot be made as asked; 130 when interrupted. Wrong usage exits with 2.
    """
    command = parser()
    given = vars(command.parse_args(words))
    _refuse_stray_options(command, given)
    try:
        if given["process"] is not None:
            make_file(given)
        elif given["cross_section"] is not None:
            print_cross_section(given)
        elif given["set"] is not None:
            make_set(given)
        else:
            print_summary(given["summary"])
    except GeneratorError as error:
        print(f"generate.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("generate.py: interrupted; finished files stay, run again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end_by_signal)
    sys.exit(main())
