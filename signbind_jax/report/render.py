"""Pages from templates: one HTML file that needs nothing but a browser, printable, no scripts."""

import functools
from pathlib import Path

import jinja2

from signbind_jax import files, streams
from signbind_jax.report import run_files, wording

_HERE = Path(__file__).parent
PALETTE = 3  # colours of streams in style.css


def write_page(path: Path, template: Path, **values) -> None:
    """Writes a page under its name when it is whole.

    Args:
      template: a Jinja template that extends base.html. What it prints is escaped.
      **values: what it names; a name without a value is an error.
    """
    page = _environment(template.parent).get_template(template.name).render(values)
    files.write(path, page.encode(errors="replace"))


def stream_colours() -> str:
    """The colours of each stream, as a class of its name; those beyond the palette share one."""
    rules = []
    for i, name in enumerate(streams.names(), start=1):
        colour = f"stream{i}" if i <= PALETTE else "other"
        rules.append(f".{name} {{ --fill: var(--{colour}); --edge: var(--{colour}-edge); }}")
    return "\n".join(rules) + "\n"


@functools.cache
def _environment(directory: Path) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader((directory, _HERE)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        metric_of=wording.metric_of,
        stage_words=wording.stage_words,
        metric_title=wording.title,
        stream_title=wording.stream_title,
        variant_name=wording.variant_name,
        style=(_HERE / "style.css").read_text("utf-8"),
        stream_colours=stream_colours,
    )
    environment.filters.update(
        figure=wording.figure,
        duration=wording.duration,
        counted=wording.count,
        number=run_files.number,
        text=run_files.text,
        px=lambda value: f"{value:.1f}".removesuffix(".0"),
    )
    return environment
