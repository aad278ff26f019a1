"""The documentation: Markdown pages, and references that are made from the package when the pages are built."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "_ext"), str(DOCS.parent)]

import zsig_hep

project = "zsig_hep"
author = "The zsig_hep developers"
copyright = author  # noqa: A001
version = release = zsig_hep.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "analysis_figures",
    "analysis_keys",
    "generated_pages",
    "plain_docstrings",
]
exclude_patterns = ["_build", "_figures"]
default_role = "code"
nitpicky = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "zsig_hep"
html_show_copyright = False
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True, "exclude-members": "model_config, set"}
autodoc_preserve_defaults = True
# Attributes of dataclasses are described in the docstring of the class, and stand in the source too.
napoleon_use_ivar = True
napoleon_numpy_docstring = False
