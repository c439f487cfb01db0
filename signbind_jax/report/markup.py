"""HTML and SVG elements as a tree: the serialiser escapes every text and attribute."""

import re
from collections.abc import Iterable
from xml.etree.ElementTree import Element, SubElement, tostring


def tag(name: str, /, *children, **attributes) -> Element:
    """An element with its children.

    Args:
      name: element name, such as "p" or "rect".
      *children: elements, strings (escaped when written), None (skipped) or iterables of them.
      **attributes: a trailing underscore is dropped and inner ones become hyphens, so
        `class_`, `stroke_width`; None leaves the attribute out; floats keep one decimal.
    """
    element = Element(name)
    for key, value in attributes.items():
        if value is not None:
            element.set(key.rstrip("_").replace("_", "-"), _attribute(value))
    _append(element, children)
    return element


def svg(
    key: str, width: float, height: float, title: str, description: str, *children, **attributes
) -> Element:
    """A picture that scales with the page and is read out as `title` and `description`.

    Args:
      key: unique in the page; the ids of title and description are made from it.
      width, height: size of the drawing in its own units (CSS pixels at full width).
    """
    # White space in an id would break the list of ids in aria-labelledby.
    key = re.sub(r"\W", "-", key)
    return tag(
        "svg",
        tag("title", title, id=f"{key}-title"),
        tag("desc", description, id=f"{key}-desc"),
        children,
        viewBox=f"0 0 {_attribute(width)} {_attribute(height)}",
        role="img",
        aria_labelledby=f"{key}-title {key}-desc",
        **attributes,
    )


def table(head: Iterable, rows: Iterable[Iterable], caption: str | None = None) -> Element:
    """A table; the first cell of each row is its heading. Cells are children as in `tag`."""
    body = tag("tbody")
    for row in rows:
        first, *rest = row
        line = SubElement(body, "tr")
        line.append(tag("th", first, scope="row"))
        line.extend(tag("td", cell) for cell in rest)
    header = tag("thead", tag("tr", [tag("th", cell, scope="col") for cell in head]))
    caption_row = tag("caption", caption) if caption else None
    return tag("div", tag("table", caption_row, header, body), class_="scroll")


def page_text(root: Element) -> str:
    """The whole document as text."""
    return "<!DOCTYPE html>\n" + tostring(root, encoding="unicode", method="html") + "\n"


def _attribute(value) -> str:
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return str(value)


def _append(element: Element, children: Iterable) -> None:
    for child in children:
        if child is None:
            continue
        if isinstance(child, Element):
            element.append(child)
        elif not isinstance(child, str):
            _append(element, child)
        elif len(element):
            element[-1].tail = (element[-1].tail or "") + child
        else:
            element.text = (element.text or "") + child
