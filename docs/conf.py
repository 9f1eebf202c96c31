"""How `make docs` builds the pages of this folder."""

import re
import warnings
from importlib.metadata import version as installed

from sphinx.application import Sphinx

warnings.filterwarnings("ignore", message=".*torch.jit.*", category=FutureWarning)  # of torch_geometric's own import

project = "graphmod"
author = copyright = "The graphmod authors"  # noqa: A001 - the name that Sphinx reads
release = installed("graphmod")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["gallery"]
default_role = "code"  # a word between single backticks is code, as the docstrings write it
nitpicky = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
suppress_warnings = [
    "myst.xref_missing",
    "config.cache",
]  # README and benchmarks are linked, and are not among the pages

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings tell kinds and shapes
autodoc_default_options = {"members": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "examples",
    "filename_pattern": r"/\d\d_",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "min_reported_time": 1e9,
    "remove_config_comments": True,
}

html_theme = "furo"
html_title = "graphmod"
html_show_copyright = False
html_show_sphinx = False


def formulas(_app: object, _what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """Marks the indented formulas above a docstring's sections as text that stays as it is."""
    end = next((i for i, line in enumerate(lines) if re.fullmatch(r"[A-Z]\w+:", line)), len(lines))
    for i in reversed(range(1, end)):
        if lines[i].startswith("    ") and not lines[i - 1].strip() and not lines[i].lstrip().startswith("- "):
            lines[i:i] = ["::", ""]


def setup(app: Sphinx) -> None:
    """Connects the function above, before napoleon reads the sections."""
    app.connect("autodoc-process-docstring", formulas, priority=100)
