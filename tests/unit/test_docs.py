"""What the README and docs/ name is there: links, files, commands, options, config fields."""

import contextlib
import functools
import io
import re
from pathlib import Path

import pytest

from signbind_jax import cli
from signbind_jax.data_pipelines.build import CORPORA

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "signbind_jax"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
FOLDERS = ("benchmarks", "configs", "data_pipelines", "docs", "launch", "signbind_jax", "tests")


def pages(test):
    return pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))(test)


def prose(page: Path) -> str:
    """The text without what stands in fences."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    titles = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pages
def test_links_lead_somewhere(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if path.startswith("http"):
            continue
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


@pages
def test_files_that_a_page_names_are_there(page):
    named = re.findall(rf"(?<![\w/.<>])(?:{'|'.join(FOLDERS)})/[\w/.]*\w", page.read_text())
    # `data/loader.py` is in the library.
    named += re.findall(r"`([a-z_]+/[\w/]+\.(?:py|sh))`", page.read_text())
    named = (n for n in named if "NAME" not in n)
    missing = {n for n in named if not (ROOT / n).exists() and not (LIBRARY / n).exists()}
    assert missing == set()


def test_pages_that_the_code_names_are_there():
    """Comments, docstrings and messages send their reader to a page."""
    missing = set()
    for folder in (folder for folder in FOLDERS if folder != "docs"):
        for file in (ROOT / folder).rglob("*.py"):
            named = re.findall(r"(?<![\w/])docs/[\w/]+\.md", file.read_text())
            missing |= {(file.name, name) for name in named if not (ROOT / name).is_file()}
    assert missing == set()


@functools.cache
def options_of(command: str) -> set[str]:
    """What `--help` of a command shows."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), pytest.raises(SystemExit):
        cli.main([*command.split(), "--help"])
    return set(re.findall(r"--[\w.]+", shown.getvalue())) | {"--debug", "--import"}


def known_options(words: list[str]) -> set[str]:
    name = " ".join(words[:2]) if " ".join(words[:2]) in cli.COMMANDS else words[0]
    assert name in cli.COMMANDS, f"signbind {' '.join(words)}"
    if name not in ("data build", "data clips"):
        return options_of(name)
    corpora = [words[2]] if len(words) > 2 and words[2] in CORPORA else CORPORA
    return set().union(*(options_of(f"{name} {corpus}") for corpus in corpora))


@pages
def test_commands_and_options_are_known(page):
    text = page.read_text().replace("\\\n", " ")
    commands = re.findall(r"^ *(?:\$ )?signbind (.*)$|`signbind ([^`]*)`", text, re.MULTILINE)
    unknown = set()
    for command in (line or inline for line, inline in commands):
        for part in re.split(r" -- +(?:signbind )?", command):
            words = re.findall(r"(?<!\S)[^\s#|>]+", part)
            if not words or not re.fullmatch("[a-z]+", words[0]):
                continue  # `signbind COMMAND`, or what stands behind `--` is another program's
            options = {word for word in words if re.match(r"\[?--\w", word)}
            for option in (re.match(r"\[?(--\w+\.?)", option)[1] for option in options):
                if option != "--config." and option not in known_options(words):
                    unknown.add(f"signbind {words[0]} ... {option}")
    assert unknown == set()


@functools.cache
def config_fields() -> set[str]:
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        for stage in ("signing", "language_model", "fusion:size=few", "alignment", "translation"):
            assert cli.main(["train", f"--config={stage}", "--print_config"]) == 0
    values = set(re.findall(r"^config\.([\w.]+) =", shown.getvalue(), re.MULTILINE))
    # A dot more than a value has names a section, such as `config.options`.
    return values | {path.rpartition(".")[0] for path in values}


@pages
def test_config_fields_are_known(page):
    named = re.findall(r"--(?:no)?config\.([a-z_.]*[a-z_])", page.read_text())
    # Experts of one's own have names of their own.
    named = {re.sub(r"^parents\.\w+", "parents", name) for name in named} - {"path"}
    assert named - config_fields() == set()
