"""What a folder of samples amounts to: files of one process combined into one line."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .files import Metadata

QUOTED_LUMINOSITY_IFB = 140
IPB_PER_IFB = 1000


@dataclass(frozen=True)
class ProcessSummary:
    """The samples of one process together.

    Attributes:
        process: its name.
        files: how many.
        entries: stored events.
        generated: events before the skim.
        sum_of_weights: over the generated events; the sum over files by which yields are divided.
        cross_section_pb: mean of the files' estimates, each counting with its generated events.
        cross_section_error_pb: statistical.
        skim_efficiency: weighted fraction of the generated events that is stored.
        effective_entries: (sum w)^2 / sum w^2 of the stored events.
    """

    process: str
    files: int
    entries: int
    generated: int
    sum_of_weights: float
    cross_section_pb: float
    cross_section_error_pb: float
    skim_efficiency: float
    effective_entries: float

    @property
    def event_yield(self) -> float:
        """Events expected in 140/fb after the skim, at leading order."""
        return self.cross_section_pb * IPB_PER_IFB * QUOTED_LUMINOSITY_IFB * self.skim_efficiency

    @property
    def event_yield_error(self) -> float:
        """Its statistical uncertainty, from the weights of the stored events and the cross section."""
        relative = math.hypot(
            1 / math.sqrt(self.effective_entries), self.cross_section_error_pb / self.cross_section_pb
        )
        return self.event_yield * relative


def combine(samples: Sequence[Metadata]) -> ProcessSummary:
    """Add the files of one process; sums add, estimates of the cross section average."""
    generated = sum(sample["genEventCount"] for sample in samples)
    sum_of_weights = sum(sample["genEventSumw"] for sample in samples)
    selected = [sample["skim_efficiency"] * sample["genEventSumw"] for sample in samples]
    selected_squared = sum(stored**2 / sample["neff_stored"] for stored, sample in zip(selected, samples, strict=True))
    return ProcessSummary(
        process=samples[0]["process"],
        files=len(samples),
        entries=sum(sample["entries"] for sample in samples),
        generated=generated,
        sum_of_weights=sum_of_weights,
        cross_section_pb=sum(sample["xsec_pb"] * sample["genEventCount"] for sample in samples) / generated,
        cross_section_error_pb=math.hypot(*(sample["xsec_err_pb"] * sample["genEventCount"] for sample in samples))
        / generated,
        skim_efficiency=sum(selected) / sum_of_weights,
        effective_entries=sum(selected) ** 2 / selected_squared,
    )


def summarise(samples: Iterable[Metadata]) -> list[ProcessSummary]:
    """Combine the samples of a folder by process, in the order in which processes first appear."""
    by_process: dict[str, list[Metadata]] = {}
    for sample in samples:
        by_process.setdefault(sample["process"], []).append(sample)
    return [combine(group) for group in by_process.values()]


HEADINGS = (
    "process", "files", "events", "generated", "cross section (pb)", "skim efficiency", "effective entries",
    "yield at 140/fb",
)  # fmt: skip


def _plain(value: float, digits: int) -> str:
    """Round to significant digits without an exponent, as tables of yields are read."""
    return f"{float(f'{value:.{digits}g}'):,.10g}"


def markdown_table(summaries: Iterable[ProcessSummary]) -> str:
    """Lay summaries out as a Markdown table."""
    rows = [
        (
            summary.process,
            str(summary.files),
            str(summary.entries),
            str(summary.generated),
            f"{summary.cross_section_pb:.4g} ± {summary.cross_section_error_pb:.1g}",
            f"{summary.skim_efficiency:.4f}",
            f"{summary.effective_entries:.0f}",
            f"{_plain(summary.event_yield, 4)} ± {_plain(summary.event_yield_error, 2)}",
        )
        for summary in summaries
    ]
    alignment = ("---", *("---:" for _ in HEADINGS[1:]))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (HEADINGS, alignment, *rows))
