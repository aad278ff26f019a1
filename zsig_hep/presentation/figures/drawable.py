"""Labels and colours of the analysis that matplotlib cannot draw, found without drawing."""

import re
from functools import cache
from typing import Any

from matplotlib.colors import CSS4_COLORS, TABLEAU_COLORS, is_color_like
from matplotlib.mathtext import MathTextParser

from zsig_hep.errors import first_line, nearest_name


def label_problem(label: str) -> str | None:
    r"""What makes a label undrawable: mathematical text between dollar signs that is none; None if it can be drawn.

    Example:
        >>> label_problem(r"$t\bar{t}$") is None, label_problem("5 $")
        (True, "has an unpaired dollar sign; write \\$ for the sign itself, found '5 $'")
        >>> label_problem(r"$\foo$")
        "is no mathematical text that matplotlib can draw: Unknown symbol: \\foo, found '$\\foo$'"
    """
    dollars = len(re.findall(r"(?<!\\)\$", label))
    if dollars % 2:
        return f"has an unpaired dollar sign; write \\$ for the sign itself, found '{label}'"
    if dollars and (reason := _parse_problem(label)):
        return f"is no mathematical text that matplotlib can draw: {reason}, found '{label}'"
    return None


def color_problem(color: str) -> str | None:
    """What makes a colour undrawable; None if matplotlib knows it.

    Example:
        >>> color_problem("tab:blue"), color_problem("bluee")
        (None, "is no colour of matplotlib, found 'bluee'. Did you mean 'blue' or 'skyblue' or 'blueviolet'?")
    """
    if is_color_like(color):
        return None
    return f"is no colour of matplotlib, found {color!r}.{nearest_name(color, [*CSS4_COLORS, *TABLEAU_COLORS])}"


@cache
def _parser() -> Any:
    """Made on first use, which takes 0.2 s."""
    return MathTextParser("path")


def _parse_problem(label: str) -> str | None:
    try:
        _parser().parse(label)
    except ValueError as error:
        # The last line of the message has the reason, after the label and a mark below its place.
        reason = str(error).strip().splitlines()[-1]
        return re.sub(r"^\w+: |, found .*$|\s*\(at char .*$", "", reason) or first_line(error)
    except RecursionError:
        return "it is nested too deeply"
    return None
