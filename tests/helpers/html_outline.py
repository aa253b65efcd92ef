"""A page of HTML, taken apart for tests."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "link", "br", "input", "hr", "img", "circle", "line", "path", "use", "rect"}


class Outline(HTMLParser):
    """What a test asks of a page: its elements, their nesting, and the text of some."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.raw: dict[str, str] = {"style": "", "script": ""}
        self.rows: list[tuple[list[str], int]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append(([*self.open], 0))
        elif tag in ("td", "th") and self.open[-1] == "tr":
            where, n = self.rows[-1]
            self.rows[-1] = (where, n + 1)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in self.raw:
            self.raw[self.open[-1]] += data
        else:
            self.text += data

    def values(self, name: str) -> list[str]:
        """Every value of an attribute."""
        return [found[name] or "" for _, found in self.elements if name in found]

    def tags(self, *names: str) -> list[dict[str, str | None]]:
        return [found for tag, found in self.elements if tag in names]
