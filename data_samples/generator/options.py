"""What can be asked of a sample beside its process; checked before anything heavy is imported."""

import importlib.util
from dataclasses import dataclass

from .errors import GeneratorError

COMPRESSION_NAMES = ("lzma", "zstd", "zlib", "lz4")
LARGEST_SEED = 900_000_000
"""Pythia's; it takes 0 for the clock and negative numbers for its default, neither of which could be repeated."""

GENERATOR_PACKAGES = ("pythia8mc", "fastjet", "uproot", "awkward", "vector")


@dataclass(frozen=True)
class GenerationOptions:
    """How a sample is simulated and written.

    Attributes:
        mpi: simulate multiparton interactions, at 2 to 2.8 times the time.
        shower_weights: also store the weights of shower-scale variations (PSWeight).
        compression: one of `COMPRESSION_NAMES`.
        mantissa_bits: kept of each float, 1 to 22.
        slim: leave out electrons, truth, pile-up and the generator's record.
        keep_binvar: keep Generator_binvar, which stitching needs, in a slim file.
        batch: events simulated at a time; smearing is drawn per batch, so other sizes give other events.
        max_cpu_s: stop with fewer events after this time; None for no limit.
        negative_weight_fraction: in [0, 0.5); None for the process's own.

    Raises:
        GeneratorError: a value outside its domain.
    """

    mpi: bool = True
    shower_weights: bool = False
    compression: str = "zstd"
    mantissa_bits: int = 10
    slim: bool = False
    keep_binvar: bool = False
    batch: int = 250
    max_cpu_s: float | None = None
    negative_weight_fraction: float | None = None

    def __post_init__(self) -> None:
        """Refuse values outside their domains."""
        if self.compression not in COMPRESSION_NAMES:
            _refuse("compression", self.compression, f"one of {', '.join(COMPRESSION_NAMES)}")
        if not 1 <= self.mantissa_bits <= 22:
            _refuse("number of mantissa bits", self.mantissa_bits, "1 to 22")
        if self.batch < 1:
            _refuse("batch size", self.batch, "1 or more")
        if self.max_cpu_s is not None and not self.max_cpu_s > 0:
            _refuse("limit on CPU seconds", self.max_cpu_s, "more than 0")
        if self.negative_weight_fraction is not None and not 0 <= self.negative_weight_fraction < 0.5:
            _refuse("fraction of negative weights", self.negative_weight_fraction, "at least 0 and below 0.5")


def check_numbers(stored_events: int, seed: int) -> None:
    """Refuse impossible numbers of events and seeds that cannot be repeated.

    Raises:
        GeneratorError: either is outside its domain.
    """
    if stored_events < 1:
        _refuse("number of stored events", stored_events, "1 or more")
    if not 1 <= seed <= LARGEST_SEED:
        _refuse("seed", seed, f"1 to {LARGEST_SEED}")


def require_generator_packages() -> None:
    """Say how to install what is missing before anything is imported.

    Raises:
        GeneratorError: pythia8mc, fastjet or a package that writes ROOT files is not installed.
    """
    if missing := [name for name in GENERATOR_PACKAGES if importlib.util.find_spec(name) is None]:
        message = (
            f"not installed: {', '.join(missing)}. Install what the generator needs with\n"
            "    pip install --only-binary :all: pythia8mc fastjet\n"
            "into the project's environment, or as its extra: pip install '.[samples]'"
        )
        raise GeneratorError(message)


def _refuse(what: str, found: object, valid: str) -> None:
    message = f"the {what} cannot be {found}; valid: {valid}"
    raise GeneratorError(message)
