"""What a server says of the translator it has loaded."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from signbind_jax import streams
from signbind_jax.checkpoint.artefact import Artefact
from signbind_jax.data.dataset import open_dataset
from signbind_jax.errors import SignBindError, printable

ERRS = (
    "Translations can be wrong, also where they read well. Do not rely on them where a mistake "
    "would harm anybody."
)


@dataclass(frozen=True)
class Stream:
    """A stream of the translator: its name, what people call it, and how many tokens it knows."""

    name: str
    title: str
    tokens: int


@dataclass(frozen=True)
class About:
    """What a server says of its translator.

    Attributes:
      name: of the run.
      digest: which weights these are.
      streams: those it reads.
      trained_on: the datasets of the whole, by name.
      text_languages: BCP-47 tags of the sentences it was trained to write; empty where its
        datasets are not at hand.
      signed_languages: ISO 639-3 codes of what was signed there.
      note: what whoever runs the server says of it.
      errs: that it errs.
    """

    name: str
    digest: str
    streams: list[Stream]
    trained_on: list[str]
    text_languages: list[str] = field(default_factory=list)
    signed_languages: list[str] = field(default_factory=list)
    note: str = ""
    errs: str = ERRS


def about(run: Artefact, readers: Iterable[Any], note: str = "") -> About:
    """What is known of a run and of what reads its streams."""
    directories = [Path(part) for part in run.config.data.directory.split(",") if part]
    texts, signed = _languages(directories, run.config.data.train)
    return About(
        name=printable(run.workdir.resolve().name),
        digest=run.digest[:12],
        streams=[
            Stream(reader.name, streams.get(reader.name).title, len(reader.vocabulary) - 1)
            for reader in readers
        ],
        trained_on=[printable(directory.name) for directory in directories],
        text_languages=texts,
        signed_languages=signed,
        note=printable(note),
    )


def _languages(directories: Iterable[Path], split: str) -> tuple[list[str], list[str]]:
    """Text and signed languages of a split of datasets; of those that are not here, none."""
    texts: set[str] = set()
    signed: set[str] = set()
    for directory in directories:
        try:
            labels = open_dataset(directory).split(split).labels
        except (SignBindError, OSError):
            continue
        texts |= {clip.text_language for clip in labels}
        signed |= {clip.signed_language for clip in labels}
    return sorted(texts - {""}), sorted(signed - {""})
