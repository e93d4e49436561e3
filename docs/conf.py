"""Settings of the documentation site; `make docs` builds it into build/site."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "_ext"))

project = "Dorian"
author = "Dorian developers"
copyright = "Dorian developers"

extensions = [
    "command_help",
    "contract",
    "repository_pages",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_ext"]

myst_heading_anchors = 3
myst_links_external_new_tab = False
suppress_warnings = ["myst.header"]  # included pages begin at their own level

default_role = "py:obj"  # single backticks in docstrings
smartquotes = False  # would turn the dashes of --flags into one

autodoc_member_order = "groupwise"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_class_signature = "separated"
autodoc_default_options = {"exclude-members": "__init__, __new__"}
napoleon_numpy_docstring = False

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = "Dorian"
html_copy_source = False
html_show_sphinx = False
