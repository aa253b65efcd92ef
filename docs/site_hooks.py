"""Hooks of mkdocs: what the pages need beside docs/ to become a site.

The pages link to files as a reader of the repository sees them. Some of these files are no page of
the site; their links lead to the repository instead. Three files at the top of the
repository become pages.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
FROM_THE_TOP = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
"""Files at the top of the repository that become pages."""
_LINK = re.compile(r"\]\((?![a-z]+:|#)(?P<path>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that stand at the top of the repository."""
    for name in FROM_THE_TOP:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead each link to the page of the site, or else to the file in the repository."""
    name = page.file.src_uri
    source = name if name in FROM_THE_TOP else f"docs/{name}"
    pages = {_in_repository(file.src_uri): file.src_uri for file in files.documentation_pages()}

    def resolve(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link["path"]))
        anchor = link["anchor"] or ""
        if target in pages:
            path = posixpath.relpath(pages[target], posixpath.dirname(name) or ".")
        elif (ROOT / target).exists():
            path = f"{config.repo_url}/blob/main/{target}"
        else:
            return link[0]  # mkdocs complains about it
        return f"]({path}{anchor})"

    return _LINK.sub(resolve, markdown)


def _in_repository(src_uri: str) -> str:
    return src_uri if src_uri in FROM_THE_TOP else f"docs/{src_uri}"
