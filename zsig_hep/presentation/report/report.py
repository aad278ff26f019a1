"""Write the report of a run as one self-contained HTML file."""

import base64
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from zsig_hep.errors import OutputError
from zsig_hep.files import atomic_path
from zsig_hep.presentation.rounding import MISSING, percent, signed, significant, with_uncertainty
from zsig_hep.presentation.wording import QUANTITY_NAMES, parameter_label, plain_label, statement, verdict
from zsig_hep.selection.smooth_figure import Parameter

_TEMPLATE = "report.html.j2"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Ratio of width to height above which a figure takes the whole width of the page.
_BROAD = 1.15


def write_report(path: Path, summary: Mapping[str, Any], figures: Sequence[tuple[str, Path]]) -> None:
    """Write the summary and the figures as one HTML file, which appears only when it is complete.

    Text from the analysis is escaped, figures are embedded, and nothing is loaded from other files.

    Args:
        path: the HTML file.
        summary: content of `summary.json`.
        figures: captions and PNG files, in order.

    Raises:
        OutputError: a figure cannot be read or the report cannot be written.
    """
    page = render_report(summary, [_embedded(caption, image) for caption, image in figures])
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


@dataclass(frozen=True)
class ReportFigure:
    """A figure of the report; a broad one takes the whole width of the page."""

    caption: str
    address: str
    broad: bool


def render_report(summary: Mapping[str, Any], figures: Sequence[ReportFigure]) -> str:
    """Render the report.

    Args:
        summary: content of `summary.json`.
        figures: the figures, in order.

    Returns:
        The HTML page.
    """
    environment = Environment(
        loader=PackageLoader("zsig_hep.presentation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": significant,
        "percent": percent,
        "label": plain_label,
        "with_uncertainty": with_uncertainty,
        "nth": _nth,
        "shifts": _shifts,
        "changes": _changes,
        "count": lambda value: MISSING if value is None else significant(value, max(1, len(str(int(value))))),
    }
    return environment.get_template(_TEMPLATE).render(
        summary=summary,
        figures=figures,
        statement=statement(summary),
        totals={role: _total(summary["processes"], role) for role in ("signal", "background")},
        labels={row["name"]: row["label"] for row in summary["processes"]},
        thresholds=_thresholds,
        names={each["name"]: each["label"] for each in summary["classifiers"]},
        quantities=QUANTITY_NAMES,
        verdict=verdict,
        has_data=any(row["role"] == "data" for row in summary["processes"]),
        parameter=_parameter,
    )


def _parameter(row: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    return plain_label(parameter_label(Parameter(row["kind"], row["process"]), labels))


def _nth(values: Sequence[float] | None, index: int) -> float | None:
    """One of several numbers; None if there are none."""
    return None if values is None else values[index]


def _shifts(varied: Mapping[str, Mapping[str, float]]) -> str:
    """Relative shifts of a yield up and down, in per cent."""
    nominal = varied["nominal"]["yield"]
    if not nominal:
        return MISSING
    up, down = (100 * (varied[name]["yield"] / nominal - 1) for name in ("up", "down"))
    return f"{signed(up)}, {signed(down)}\u00a0%"


def _changes(values: tuple[float | None, float | None, float | None]) -> str:
    """Z under a variation up and down, minus the nominal Z."""
    up, down, nominal = values
    return ", ".join(MISSING if each is None or nominal is None else signed(each - nominal, 3) for each in (up, down))


def _embedded(caption: str, image: Path) -> ReportFigure:
    try:
        content = image.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        message = f"cannot read figure {image} for the report: {reason}. Draw it again with `zsig plot --force`."
        raise OutputError(message) from error
    if not content.startswith(_PNG_SIGNATURE):
        message = f"figure {image} is not a PNG file; draw it again with `zsig plot --force`."
        raise OutputError(message)
    width, height = struct.unpack(">II", content[16:24])
    address = f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"
    return ReportFigure(caption, address, broad=width > _BROAD * height)


def _total(rows: Sequence[Mapping[str, Any]], role: str) -> dict[str, Any]:
    """Sum of the processes of one role, which are statistically independent, as a row of the yields table."""
    chosen = [row for row in rows if row["role"] == role]
    value = math.fsum(row["yield"] for row in chosen)
    variance = math.fsum(row["uncertainty"] ** 2 for row in chosen)
    return {
        "processes": len(chosen),
        "entries": sum(row["entries"] for row in chosen),
        "yield": value,
        "uncertainty": math.sqrt(variance),
        "effective_entries": value * value / variance if variance > 0 else 0.0,
    }


def _thresholds(values: Sequence[float | None]) -> str:
    if all(value is None for value in values):
        return MISSING
    return ", ".join(significant(value, 3) for value in values)
