"""One file of one process: simulate, reconstruct, skim and write until enough events are stored."""

import hashlib
import os
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path

import awkward as ak
import numpy as np

from .detector import Detector
from .errors import GeneratorError
from .files import Metadata, SampleFiles, whole_or_nothing
from .ntuple import Batch, Content, NtupleWriter, branches
from .options import GenerationOptions, check_numbers
from .processes import Process, process_named
from .simulation import SQRT_S_GEV, Simulation
from .skims import SKIMS, end_of_sample
from .summary import IPB_PER_IFB, QUOTED_LUMINOSITY_IFB
from .weights import WeightSums, tau_branching_factor, with_emulated_signs

THINNING_STREAM = 1
"""Beside the seed it begins a stream of random numbers that no other seed's detector or signs begin."""


def generate(
    name: str,
    stored_events: int,
    seed: int,
    folder: str | os.PathLike[str],
    options: GenerationOptions | None = None,
    *,
    overwrite: bool = False,
) -> Metadata:
    """Make `<folder>/<name>_s<seed>.root` and its `.json`, atomically.

    The sample ends exactly with the last event to be stored; what Pythia made after it counts as not generated.

    Args:
        name: a key of `processes.PROCESSES`.
        stored_events: how many events shall pass the skim.
        seed: of Pythia, 1 to 900 000 000. Detector and weight signs draw from the two following numbers, so that
            independent samples of a process need seeds at least three apart to share no stream at all.
        folder: made if it does not exist.
        options: see `GenerationOptions`.
        overwrite: replace a sample of the same process and seed.

    Returns:
        The metadata, as written to the JSON file.

    Raises:
        GeneratorError: bad arguments, an existing sample, a folder that cannot be written to, a refusal by Pythia.
    """
    process = process_named(name)
    check_numbers(stored_events, seed)
    files = SampleFiles.of(Path(folder), name, seed)
    with whole_or_nothing(files, overwrite=overwrite):
        production = Production(process, seed, options or GenerationOptions())
        entries = production.write(files.partial, stored_events)
        metadata: Metadata = {
            "process": name,
            "is_signal": process.signal_mass_gev is not None,
            "mass": process.signal_mass_gev,
            "file": files.root.name,
            "tree": "Events",
            "entries": entries,
            "seed": seed,
            **production.metadata(),
            **fingerprint(files.partial),
        }
        files.publish(metadata)
    return metadata


def cross_section(name: str, hard_processes: int, seed: int) -> tuple[float, float]:
    """Estimate a process's cross section from hard processes alone, a hundred times faster than with their showers.

    Returns:
        It and its statistical uncertainty, in pb: after forced decays, lepton filter and tau decays, as in `generate`.

    Raises:
        GeneratorError: bad arguments, or a refusal by Pythia.
    """
    process = process_named(name)
    check_numbers(hard_processes, seed)
    unshowered = replace(process, settings=(*process.settings, "PartonLevel:all=off"), thinning=None)
    rng = np.random.default_rng((seed, THINNING_STREAM))
    simulation, sums = Simulation(unshowered, seed, rng, mpi=False, shower_variations=False), WeightSums()
    while sums.events < hard_processes:
        _, hard = simulation.next_batch(min(1000, hard_processes - sums.events))
        tau = tau_branching_factor(hard.taus)
        sums.add(hard.weight, tau, hard.weight * tau)
    value, uncertainty = simulation.cross_section_pb()
    return value * sums.mean_tau_factor, uncertainty * sums.mean_tau_factor


class Production:
    """The machinery of one sample, from Pythia to the sums of weights."""

    def __init__(self, process: Process, seed: int, options: GenerationOptions) -> None:
        """Initialise generator, detector and signs with their own streams of random numbers."""
        self._wall_started, self._cpu_started = time.time(), time.process_time()
        self._pythia_cpu_s = 0.0
        self._options = options
        self._simulation = Simulation(
            process,
            seed,
            np.random.default_rng((seed, THINNING_STREAM)),
            mpi=options.mpi,
            shower_variations=options.shower_weights,
        )
        self._detector = Detector(np.random.default_rng(seed + 1), process.untagged_below)
        self._sign_rng = np.random.default_rng(seed + 2)
        self._skim, self._thinning, self._untagged_below = SKIMS[process.skim], process.thinning, process.untagged_below
        self._sums = WeightSums()
        own, wanted = process.negative_weight_fraction, options.negative_weight_fraction
        self._negative_fraction = own if wanted is None else wanted

    def write(self, path: Path, stored_events: int) -> int:
        """Write a ROOT file with so many events, or fewer when the time is over.

        Returns:
            The number of events stored.

        Raises:
            GeneratorError: the time was over before any event passed the skim.
        """
        writer = NtupleWriter(path, self._options.compression)
        try:
            while writer.entries < stored_events and not self._out_of_time():
                self._store_batch(writer, stored_events - writer.entries)
            if not writer.entries:
                message = f"no event passed the skim in {self._options.max_cpu_s} CPU seconds; allow more time"
                raise GeneratorError(message)
            writer.finish(self._sums)
        finally:
            writer.close()
        return writer.entries

    def metadata(self) -> Metadata:
        """Describe what was simulated: cross section, sums, settings and cost."""
        return {
            "generator": self._simulation.description(),
            "sqrts_gev": SQRT_S_GEV,
            **self._normalisation(),
            "negative_weight_fraction": self._negative_fraction,
            "negative_weights_emulated": bool(self._negative_fraction),
            "mpi": self._options.mpi,
            "psweights": self._options.shower_weights,
            "skim": self._skim.text,
            "thinning": self._thinning,
            "untagged_below": self._untagged_below,
            "settings": self._simulation.settings,
            "cpu_s": round(self._cpu_s(), 1),
            "wall_s": round(time.time() - self._wall_started, 1),
            "cpu_generator_s": round(self._pythia_cpu_s, 1),
            "rss_mb": peak_memory_mb(),
        }

    def _store_batch(self, writer: NtupleWriter, room: int) -> None:
        before = time.process_time()
        events, hard = self._simulation.next_batch(self._options.batch)
        self._pythia_cpu_s += time.process_time() - before
        tau = tau_branching_factor(hard.taus)
        generated = with_emulated_signs(hard.weight * tau, self._negative_fraction, self._sign_rng)
        seen = self._detector.reconstruct(events.prt)
        weight = generated[hard.simulated] / hard.probability * seen.untagged_probability
        keep = self._skim.select(seen)
        end = end_of_sample(keep, room)
        keep[end:] = False
        if keep.any():
            shower = None
            if self._options.shower_weights:
                all_weights = ak.to_numpy(ak.to_regular(events.info.weights))
                shower = all_weights[:, self._simulation.shower_weight_columns()] / all_weights[:, :1]
            content = Content(self._options.mantissa_bits, self._options.slim, self._options.keep_binvar)
            number = self._sums.events + hard.simulated
            writer.add(branches(Batch(number, keep, weight, seen, events.info, shower), content))
        # what Pythia made after the last event of the sample counts as not generated
        last = len(generated) if end == len(keep) else int(hard.simulated[end - 1]) + 1
        self._sums.add(hard.weight[:last], tau[:last], generated[:last])
        self._sums.add_stored(weight[keep])

    def _normalisation(self) -> Metadata:
        sums = self._sums
        generator_pb, generator_error_pb = self._simulation.cross_section_pb()
        cross_section_pb = generator_pb * sums.mean_tau_factor
        return {
            "xsec_pb": cross_section_pb,
            "xsec_err_pb": generator_error_pb * sums.mean_tau_factor,
            "xsec_generator_pb": generator_pb,
            "mean_tau_br_factor": sums.mean_tau_factor,
            "genEventCount": sums.events,
            "genEventSumw": sums.generated,
            "genEventSumw2": sums.generated_squared,
            "skim_efficiency": sums.skim_efficiency,
            "neff_stored": sums.effective_entries,
            "yield_140fb": cross_section_pb * IPB_PER_IFB * QUOTED_LUMINOSITY_IFB * sums.selected / sums.generated,
        }

    def _cpu_s(self) -> float:
        return time.process_time() - self._cpu_started

    def _out_of_time(self) -> bool:
        return self._options.max_cpu_s is not None and self._cpu_s() >= self._options.max_cpu_s


def fingerprint(path: Path) -> Metadata:
    """Size and hash of a file, by which a damaged or foreign copy is recognised."""
    content = path.read_bytes()
    return {"file_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def peak_memory_mb() -> int:
    """Largest resident memory of this process so far; the system call counts bytes on macOS and KiB elsewhere."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024 * 1024 if sys.platform == "darwin" else 1024)
