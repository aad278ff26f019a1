"""Pages that are made before the others are read: the programming reference, one page for each room and package.

The pages of the committed analyses are their READMEs.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "zsig_hep"
ANALYSES = ("hmumu", "hmumu_systematics", "leptoquark", "paper_toy", "comparison", "integration")

_LINK = re.compile(r"(?P<image>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s#]+)\)")


def write_pages(app: Sphinx) -> None:
    """Write every generated page that is not there as it should be, and remove those that should not be."""
    pages = dict(api_pages()) | dict(analysis_pages())
    for folder in ("api", "analyses"):
        for stale in set((Path(app.srcdir) / folder).glob("*.*")) - {Path(app.srcdir) / name for name in pages}:
            stale.unlink()
    for name, text in pages.items():
        page = Path(app.srcdir) / name
        page.parent.mkdir(exist_ok=True)
        # An unchanged page keeps its time, so that it is not read again.
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def api_pages() -> Iterator[tuple[str, str]]:
    """One page for each room and each package below it, one for the files of the package itself, and a list of them."""
    listed = []
    for folder in sorted({PACKAGE, *(file.parent for file in PACKAGE.rglob("__init__.py"))}, key=_place):
        name = ".".join(folder.relative_to(ROOT).parts)
        title = name.removeprefix("zsig_hep.")
        modules = sorted(file.stem for file in folder.glob("*.py") if not file.stem.startswith("_"))
        lines = [*_title(title, "="), f".. automodule:: {name}", "   :no-members:"]
        for module in modules:
            lines += ["", *_title(module, "-"), f".. automodule:: {name}.{module}"]
        yield f"api/{name}.rst", "\n".join(lines) + "\n"
        listed.append(f":doc:`{title} <{name}>`\n   {_first_sentence(folder / '__init__.py')}\n")
    entries = [f"   {line.split('<')[1].split('>')[0]}" for line in listed]
    head = "A room imports only rooms that stand above it in this list."
    toctree = [".. toctree::", "   :hidden:", "", *entries]
    yield "api/index.rst", "\n".join([*_title("Programming reference", "="), head, "", *listed, *toctree]) + "\n"


def _place(folder: Path) -> tuple[int, str]:
    """Order of the rooms as the contract of import-linter has it, from the bottom; packages stand behind their room."""
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"][
        0
    ]
    rooms = layers["layers"][::-1]
    parts = folder.relative_to(PACKAGE).parts
    return (rooms.index(parts[0]) if parts and parts[0] in rooms else -1, str(folder))


def _title(text: str, line: str) -> list[str]:
    return [text, line * len(text), ""]


def _first_sentence(file: Path) -> str:
    return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").split("\n", maxsplit=1)[0]


def analysis_pages() -> Iterator[tuple[str, str]]:
    """The READMEs of the committed analyses and of the samples, with links that lead to pages."""
    folders = [ROOT / "analyses" / name for name in ANALYSES] + [ROOT / "data_samples"]
    for folder in folders:
        text = (folder / "README.md").read_text(encoding="utf-8")
        yield f"analyses/{folder.name}.md", _LINK.sub(lambda link, folder=folder: _linked(link, folder), text)


def _linked(link: re.Match[str], folder: Path) -> str:
    target = link["target"]
    if "://" in target:
        return link[0]
    file = (folder / target).resolve()
    if link["image"]:
        return f"![{link['text']}](../../{file.relative_to(ROOT).as_posix()})"
    if file.name == "README.md" and file.parent.name in {*ANALYSES, "data_samples"}:
        return f"[{link['text']}]({file.parent.name}.md)"
    return f"`{file.relative_to(ROOT).as_posix()}`"


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the pages before any is read."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
