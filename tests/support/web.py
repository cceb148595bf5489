"""A browser without a screen: opens pages over HTTP, keeps cookies, fills in the forms that stand on the pages.

It sends what a real browser would send and nothing else: hidden fields as they are, the options that are offered, the
button that is pressed. A field or an option that the page does not have is an AssertionError.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import httpx

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
Values = Mapping[str, str | Sequence[str]]


@dataclass
class Element:
    """One element with what is in it."""

    tag: str
    attributes: dict[str, str]
    children: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Its words, with single spaces between them."""
        return " ".join("".join(self._words()).split())

    @property
    def typed(self) -> str:
        """What stands in a textarea, line for line; HTML drops a line end at its beginning."""
        return "".join(child for child in self.children if isinstance(child, str)).removeprefix("\n")

    def _words(self) -> Iterator[str]:
        for child in self.children:
            if isinstance(child, str):
                yield child
            else:
                yield from child._words()
        if self.tag != "wbr":  # where a word may be broken is no end of it
            yield " "

    def __getitem__(self, attribute: str) -> str:
        return self.attributes.get(attribute, "")

    def all(self, *tags: str, **attributes: str) -> list[Element]:
        """The elements in it of these tags (any, where none is named) with these attributes; `class_`: one of them."""
        of_class = attributes.pop("class_", "")
        return [
            found
            for found in self._inside()
            if (not tags or found.tag in tags)
            and (not of_class or of_class in found["class"].split())
            and all(found.attributes.get(name) == value for name, value in attributes.items())
        ]

    def one(self, *tags: str, **attributes: str) -> Element:
        """The only such element."""
        found = self.all(*tags, **attributes)
        assert len(found) == 1, f"{len(found)} elements {tags} {attributes} in: {self.text[:2000]}"
        return found[0]

    def part(self, heading: str) -> Element:
        """The only section whose heading begins so."""
        found = [part for part in self.all("section") if any(h.text.startswith(heading) for h in part.all("h2"))]
        assert len(found) == 1, f"{len(found)} parts {heading!r} in: {self.text[:2000]}"
        return found[0]

    def link(self, pattern: str) -> str:
        """Where the only link leads whose whole address fits the regular expression."""
        found = {link["href"] for link in self.all("a") if re.fullmatch(pattern, link["href"])}
        assert len(found) == 1, f"links to {pattern}: {sorted(found)}"
        return found.pop()

    def _inside(self) -> Iterator[Element]:
        for child in self.children:
            if isinstance(child, Element):
                yield child
                yield from child._inside()


class _Reader(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = Element("", {})
        self._open = [self.root]
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        made = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(made)
        if tag not in VOID:
            self._open.append(made)

    def handle_endtag(self, tag: str) -> None:
        for depth in range(len(self._open) - 1, 0, -1):
            if self._open[depth].tag == tag:
                del self._open[depth:]
                return

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)


class Browser:
    """One person's session with one console. Language: English."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(
            base_url=url, headers={"Accept-Language": "en"}, follow_redirects=True, timeout=60, trust_env=False
        )
        self.page = Element("", {})
        self.address = url

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def get(self, path: str) -> httpx.Response:
        """Fetch anything, the page that is shown stays."""
        return self._client.get(urljoin(self.address, path))

    def open(self, path: str, status: int = 200) -> Element:
        """Show the page at `path`."""
        return self._show(self.get(path), status)

    def submit(self, action: str, values: Values | None = None, status: int = 200) -> Element:
        """Fill in and send the only form of this page that goes to the path `action`."""
        address = urlsplit(self.address)
        forms = [
            form
            for form in self.page.all("form")
            if form["method"] == "post" and (urlsplit(form["action"]).path or address.path) == action
        ]
        assert len(forms) == 1, f"{len(forms)} forms go to {action} on {self.address}: {self.page.text[:2000]}"
        target = urljoin(self.address, forms[0]["action"] or self.address)
        return self._show(self._client.post(target, data=_sent(forms[0], dict(values or {}))), status)

    def log_in(self, login: str, password: str) -> Browser:
        """By the form."""
        self.open("/")
        self.submit("/login", {"login": login, "password": password})
        assert not self.page.all("form", action="/login"), self.page.text
        return self

    def _show(self, answer: httpx.Response, status: int) -> Element:
        self.page, self.address = _Reader(answer.text).root, str(answer.url)
        assert answer.status_code == status, f"{answer.status_code} at {self.address}: {self.page.text[:2000]}"
        assert "text/html" in answer.headers["Content-Type"]
        return self.page


def _sent(form: Element, values: dict[str, str | Sequence[str]]) -> dict[str, list[str]]:
    """The form's fields as they leave. Fields of one name take their values in order; of boxes those named are on."""
    left = {name: [given] if isinstance(given, str) else list(given) for name, given in values.items()}
    sent: dict[str, list[str]] = {}
    for control in form.all("input", "select", "textarea"):
        name, given = control["name"], left.get(control["name"])
        if not name or "disabled" in control.attributes:
            continue
        if control["type"] in ("checkbox", "radio"):
            on = "checked" in control.attributes
            if given is not None and (on := control["value"] in given):
                given.remove(control["value"])
            value = control["value"] if on else None
        elif control.tag == "select":
            value = _chosen(control, given.pop(0) if given else None)
        else:
            value = given.pop(0) if given else control["value"] or control.typed
            assert value or "required" not in control.attributes, f"{name} must be filled in"
        if value is not None:
            sent.setdefault(name, []).append(value)
    assert not any(left.values()), f"the form has no such fields or choices: {left}"
    return sent


def _chosen(select: Element, wanted: str | None) -> str | None:
    """The value of the option with this value or these words in it; of the one that is selected where None."""
    options = select.all("option")
    if wanted is None:
        marked = [option for option in options if "selected" in option.attributes] or options
        return marked[0]["value"] if marked else None
    fitting = [o for o in options if o["value"] == wanted] or [o for o in options if wanted and wanted in o.text]
    assert len(fitting) == 1, f"{wanted!r} of {[option.text for option in options]}"
    return fitting[0]["value"]
