"""A report's page: one HTML file that needs nothing but a browser, printable, no scripts."""

from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from xml.etree.ElementTree import Element

from signbind_jax import files, streams
from signbind_jax.report.markup import page_text, tag

PALETTE = 3  # colours of streams in style.css

# Nothing may be loaded from elsewhere and nothing may run, whatever a clip's text holds.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def document(title: str, headline: Sequence, sections: Iterable[tuple[str, str, list]]) -> Element:
    """The page.

    Args:
      title: of the window.
      headline: the elements at the top.
      sections: (key unique in the page, heading, content) in order; the page's menu lists them.
    """
    sections = list(sections)
    style = resources.files("signbind_jax.report").joinpath("style.css").read_text("utf-8")
    style += stream_colours()
    body = tag(
        "body",
        tag("header", headline),
        tag(
            "nav",
            [tag("a", heading, href=f"#{key}") for key, heading, _ in sections],
            aria_label="Sections",
        ),
        tag(
            "main",
            [
                tag("section", tag("h2", heading), content, id=key)
                for key, heading, content in sections
            ],
        ),
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", style),
    )
    return tag("html", head, body, lang="en")


def stream_colours() -> str:
    """The colours of each stream, as a class of its name; those beyond the palette share one."""
    rules = []
    for i, name in enumerate(streams.names(), start=1):
        colour = f"stream{i}" if i <= PALETTE else "other"
        rules.append(f".{name} {{ --fill: var(--{colour}); --edge: var(--{colour}-edge); }}")
    return "\n".join(rules) + "\n"


def write_page(path: Path, page: Element) -> None:
    """Writes a page under its name when it is whole."""
    files.write(path, page_text(page).encode(errors="replace"))
