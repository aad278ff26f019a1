"""The command `zsig`.

Slow imports are inside the functions that need them, so that `zsig --help` is fast.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zsig_hep.console import (
    announce,
    errors_as_status,
    open_console,
    print_cuts,
    print_friend,
    print_working_points,
    print_yields,
    results_may_not_fit,
    training_progress,
)

if TYPE_CHECKING:
    from rich.console import Console

    from zsig_hep.analysis import Analysis
    from zsig_hep.pipeline.stages import Pipeline


class _Folder(click.Path):
    """A folder that is given by its name; an empty text, which stands for the working directory, is not."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, file_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail('the path is empty; "." is the working directory.', param, ctx)
        return super().convert(value, param, ctx)


class _Program(click.Group):
    def main(self, *args: Any, **kwargs: Any) -> Any:
        with results_may_not_fit():
            return super().main(*args, **kwargs)


ANALYSIS = click.argument("analysis", type=click.Path(path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on the standard output.")
QUIET = click.option("--quiet", "-q", is_flag=True, help="Print errors only.")
NTUPLES = click.option("--ntuples", type=_Folder(), help="Read the ntuples from this folder instead.")
NO_WAIT = click.option(
    "--no-wait", is_flag=True, help="Refuse, instead of waiting, when another run writes to the output folder."
)
EXECUTOR = (
    click.option(
        "--executor",
        type=click.Choice(["iterative", "futures", "dask"]),
        default="iterative",
        show_default=True,
        help="How coffea reads the ntuples.",
    ),
    click.option("--scheduler", metavar="tcp://...", help="Address of a Dask scheduler; default: a local cluster."),
    click.option("--workers", type=click.IntRange(min=1), default=2, show_default=True, help="Reading processes."),
)


def _stage_options(command: Callable[..., None]) -> Callable[..., None]:
    options = (
        ANALYSIS,
        click.option(
            "--output",
            "-o",
            type=_Folder(),
            help="Output folder; default: output/NAME in the working directory.",
        ),
        NTUPLES,
        *EXECUTOR,
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), help="Where to train."),
        click.option("--force", is_flag=True, help="Repeat stages that are current."),
        click.option("--unblind", is_flag=True, help="Use the data above the cut."),
        NO_WAIT,
        QUIET,
        JSON,
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="zsig_hep", prog_name="zsig")
def main() -> None:
    """Significance-optimised event selection: from ROOT ntuples to a trained selection with its held-out significance.

    ANALYSIS is an analysis file or a folder that holds analysis.yaml. Exit status: 0 for success, 1 if the analysis
    cannot be done, 2 for wrong usage; 130, 143 or 129 if it is ended by Ctrl-C, SIGTERM or SIGHUP.

    The folder of an analysis holds code (columns.py): trust it as you would a script.
    """
    # Set before torch is imported: OpenMP threads that wait actively slow each other down on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@main.command()
@_stage_options
def run(**options: Any) -> None:
    """Run all stages that are not current."""
    _run_stage("run", options)


@main.command()
@_stage_options
def columns(**options: Any) -> None:
    """Read the ntuples: selected events, features, normalised weights."""
    _run_stage("columns", options)


@main.command()
@_stage_options
def train(**options: Any) -> None:
    """Train the classifier and its baseline."""
    _run_stage("train", options)


@main.command()
@_stage_options
def scan(**options: Any) -> None:
    """Choose the working points on held-out folds."""
    _run_stage("scan", options)


@main.command()
@_stage_options
def cuts(**options: Any) -> None:
    """Optimise rectangular cuts, without a classifier, and print them."""
    _run_stage("cuts", options)


@main.command()
@_stage_options
def plot(**options: Any) -> None:
    """Draw the figures and write the report."""
    _run_stage("plot", options)


@main.command()
@_stage_options
def export(**options: Any) -> None:
    """Write histograms, fit inputs and the model for other programs."""
    _run_stage("export", options)


@main.command()
@ANALYSIS
@NTUPLES
@QUIET
@JSON
def check(analysis: Path, ntuples: Path | None, *, quiet: bool, as_json: bool) -> None:
    """Read and validate all input, print the yields, write nothing."""
    console = open_console(quiet=quiet)
    with errors_as_status(console):
        from tempfile import TemporaryDirectory

        from zsig_hep.learning import make_sample
        from zsig_hep.learning.training.boosting import BoostedTreesTraining
        from zsig_hep.learning.training.ensemble import EnsembleTraining
        from zsig_hep.ntuples import check_inputs, run_columns
        from zsig_hep.pipeline.plain import plain
        from zsig_hep.pipeline.summary import columns_summary

        loaded = _load(analysis, ntuples, device=None)
        arguments: dict[str, Any] = {
            "base_folder": loaded.folder,
            "luminosity_ifb": loaded.luminosity_ifb,
            "variations": loaded.variations,
        }
        check_inputs(loaded.ntuples, loaded.processes, **arguments)
        with TemporaryDirectory(prefix="zsig-check-") as folder:
            result = run_columns(loaded.ntuples, loaded.processes, output_folder=Path(folder), **arguments)
        # The constructor of a training refuses unknown features, negative weights and infinite values.
        training = loaded.with_training(device="cpu").training
        chosen = training.main_loss(loaded.goal)
        sample = make_sample(result.table, training)
        for kind in training.classifiers:
            checked = EnsembleTraining if kind == "network" else BoostedTreesTraining
            checked(sample, training, chosen, goal=loaded.goal)
        summary = columns_summary(loaded, result)
        summary["notes"] += loaded.name_notes
        if as_json:
            click.echo(json.dumps(plain(summary), indent=1))
        else:
            print_yields(console, loaded, summary)


@main.command()
def schema() -> None:
    """Print the JSON schema of the analysis file, for editors."""
    from zsig_hep.schema import analysis_schema

    click.echo(json.dumps(analysis_schema(), indent=1, ensure_ascii=False))


@main.command()
@ANALYSIS
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--output",
    "-o",
    type=_Folder(),
    help="Output folder of the run that trained; default: output/NAME in the working directory.",
)
@click.option("--friends", type=_Folder(), help="Where to write; default: OUTPUT/friends.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["ttree", "rntuple", "parquet"]),
    default="ttree",
    show_default=True,
    help="Format of the friend trees.",
)
@click.option("--dataset", help="Dataset to which all files belong; default: recognised by the path of each file.")
@click.option("--model", type=click.Path(path_type=Path, exists=True), help="Use this exported model.onnx instead.")
@click.option("--overwrite", is_flag=True, help="Replace friend trees that exist.")
@NO_WAIT
@NTUPLES
@QUIET
@JSON
def apply(analysis: Path, files: tuple[str, ...], **options: Any) -> None:
    """Write the score of every entry of FILES into friend trees.

    An entry that fails the selection has no score. Events that were used in the training are scored by the networks
    that were not trained on them, all others by the whole ensemble.
    """
    console = open_console(quiet=options["quiet"])
    with errors_as_status(console):
        from zsig_hep.pipeline.apply import apply_to_files
        from zsig_hep.pipeline.output_folder import OutputFolder
        from zsig_hep.pipeline.results import Results

        loaded = _load(analysis, options["ntuples"], device=None)
        output = options["output"] or Path("output") / loaded.name
        written = apply_to_files(
            Results(loaded, OutputFolder(output, wait=not options["no_wait"], announce=announce(console))),
            files,
            options["friends"] or output / "friends",
            model=options["model"],
            file_format=options["file_format"],
            dataset=options["dataset"],
            overwrite=options["overwrite"],
        )
        for each in written:
            print_friend(console, each)
        if options["as_json"]:
            click.echo(json.dumps([asdict(each) for each in written], indent=1, default=str))


def _run_stage(stage: str, options: dict[str, Any]) -> None:
    if options["scheduler"] and options["executor"] != "dask":
        message = "--scheduler is the address of a Dask scheduler; it needs --executor dask."
        raise click.UsageError(message)
    console = open_console(quiet=options["quiet"])
    with errors_as_status(console):
        from zsig_hep.pipeline.stages import Pipeline, RunOptions

        loaded = _load(options["analysis"], options["ntuples"], device=options["device"])
        if options["unblind"]:
            loaded = loaded.unblinded()
        output = options["output"] or Path("output") / loaded.name
        run_options = RunOptions(
            executor=options["executor"],
            workers=options["workers"],
            scheduler=options["scheduler"],
            force=options["force"],
            wait=not options["no_wait"],
        )
        with training_progress(console) as progress:
            pipeline = Pipeline(loaded, output, run_options, announce=announce(console), training_progress=progress)
            result = getattr(pipeline, stage)()
        _show_result(console, pipeline, stage, result, as_json=options["as_json"])


def _load(path: Path, ntuples: Path | None, device: str | None) -> "Analysis":
    from zsig_hep.analysis import Analysis

    loaded = Analysis.from_file(path)
    if ntuples is not None:
        loaded = loaded.with_ntuples(ntuples)
    return loaded if device is None else loaded.with_training(device=device)


def _show_result(console: "Console", pipeline: "Pipeline", stage: str, result: Any, *, as_json: bool) -> None:
    folder, has_report = pipeline.output_folder.root, stage in {"run", "plot"}
    if as_json:
        click.echo(json.dumps({"folder": str(folder)} if result is None else result, indent=1))
        return
    if has_report or stage == "columns":
        print_yields(console, pipeline.analysis, result)
    if has_report or stage == "scan":
        print_working_points(console, result)
    if has_report and result["cuts"]:
        print_cuts(console, result["cuts"])
    if stage == "cuts":
        print_cuts(console, result)
    shown = f"report: {folder / 'report' / 'report.html'}" if has_report else f"output: {folder}"
    announce(console)(shown)
