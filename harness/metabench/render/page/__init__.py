"""The page of a folder of results: everything that records can tell, on one page.

``values`` says what is on it, ``build`` makes it from records and plugins, and
:mod:`metabench.render.page.html` writes it down.
"""

from metabench.render.page.build import build_page, read_page
from metabench.render.page.values import Page

__all__ = ["Page", "build_page", "read_page"]
