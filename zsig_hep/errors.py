"""The errors that users see: what is wrong, where, what was found and what would be valid."""

from collections.abc import Iterable
from difflib import get_close_matches


class ZsigError(Exception):
    """Base of every error that the package raises on purpose; its message is meant for the user."""


class AnalysisFileError(ZsigError):
    """The analysis file, or the same settings built in Python, cannot be used; lists all problems at once."""


class InputError(ZsigError):
    """A file, tree, branch, event or array that was given cannot be used."""


class NormalisationError(ZsigError):
    """The yields of a dataset cannot be computed from its cross section and sum of weights."""


class TrainingError(ZsigError):
    """A training cannot start or go on."""


class ModelFileError(ZsigError):
    """A stored model or checkpoint is damaged, was written by another program, or has another configuration."""


class OutputError(ZsigError):
    """A result cannot be written."""


def nearest_name(name: str, candidates: Iterable[str]) -> str:
    """Suggest the candidates closest to a misspelt name, as the end of an error message.

    Args:
        name: what the user wrote.
        candidates: every name that would have been valid.

    Returns:
        `" Did you mean 'x'?"`; a list of the candidates if none is close; an empty string without candidates.

    Example:
        >>> nearest_name("Muon_ptt", ["Muon_pt", "Jet_pt"])
        " Did you mean 'Muon_pt'?"
    """
    known = sorted(set(candidates))
    if close := get_close_matches(name, known, n=3):
        return f" Did you mean {' or '.join(repr(match) for match in close)}?"
    if known:
        shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
        return f" There are: {shown}."
    return ""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type when it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def shortened(text: str, longest: int) -> str:
    """A text whose middle is left out if it has more than `longest` characters.

    Example:
        >>> shortened("abcdefghij", 7)
        'ab...ij'
    """
    half = (longest - 3) // 2
    return text if len(text) <= longest else f"{text[:half]}...{text[-half:]}"
