"""Save figures as PDF and PNG."""

from pathlib import Path

from matplotlib.figure import Figure

from zsig_hep.files import atomic_path

_NO_DATE = {"pdf": {"CreationDate": None}, "png": {"Software": None}}


def save_figure(figure: Figure, folder: Path, name: str, *, dots_per_inch: int = 150) -> tuple[Path, Path]:
    """Write a figure as PDF and PNG; each appears only when it is complete, and the same figure gives the same bytes.

    Args:
        figure: the figure.
        folder: folder of the files; created if it does not exist.
        name: file name without suffix.
        dots_per_inch: resolution of the PNG.

    Returns:
        Paths of the PDF and of the PNG.

    Raises:
        OutputError: a file cannot be written.
    """
    paths = folder / f"{name}.pdf", folder / f"{name}.png"
    for path in paths:
        kind = path.suffix[1:]
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=kind, dpi=dots_per_inch, metadata=_NO_DATE[kind])
    return paths
