"""The directive `analysis-figure`: a figure of a committed analysis where it was drawn, else the command that draws it."""

from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FOLDER = "_figures"


class AnalysisFigure(SphinxDirective):
    """Show `_figures/<analysis>/<figure>.png`; the content is the caption."""

    required_arguments = 1
    has_content = True
    option_spec = {"width": directives.length_or_percentage_or_unitless}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """The figure with its caption, or a paragraph that says how to draw it."""
        name = f"{FOLDER}/{self.arguments[0]}.png"
        caption = nodes.caption("", "", *self.parse_inline(" ".join(self.content))[0])
        file = Path(self.env.srcdir) / name
        self.env.note_dependency(str(file))
        if not file.is_file():
            command = nodes.literal("", "make docs-figures")
            return [
                nodes.paragraph(
                    "",
                    "",
                    nodes.emphasis("", "", *caption.children),
                    nodes.Text(" ("),
                    command,
                    nodes.Text(" draws this figure.)"),
                )
            ]
        uri = f"/{name}"
        image = nodes.image(uri=uri, alt=caption.astext(), width=self.options.get("width", "75%"))
        return [nodes.figure("", image, caption, align="center")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("analysis-figure", AnalysisFigure)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
