"""What a server says of the translator it has loaded."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from signbind_jax import streams
from signbind_jax.errors import printable
from signbind_jax.serve.settings import ServeSettings

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
class Dataset:
    """A dataset that the translator was trained on.

    Attributes:
      corpus, licence: as the dataset states them; may be empty.
      clips: in its training split.
      text_languages, signed_languages: BCP-47 tags and ISO 639-3 codes.
    """

    corpus: str
    licence: str
    clips: int
    text_languages: list[str]
    signed_languages: list[str]


@dataclass(frozen=True)
class Limits:
    """What a server refuses, and for how many seconds it keeps an answer; see `ServeSettings`."""

    most_upload_bytes: int
    most_seconds: float
    most_waiting: int
    most_streams: int
    keep_s: float


@dataclass(frozen=True)
class About:
    """What a server says of its translator.

    Attributes:
      name, digest: of the run or bundle, and which weights these are.
      streams: those it reads.
      trained_on: datasets of all of its stages.
      unknown: stages whose data are not known.
      synthetic: whether it was trained on synthetic data alone.
      limits: of the server.
      landmarks: who finds those of a video, "browser" or "server".
      crops: whether mouth crops are read.
      note: what whoever runs the server says of it.
      errs: that it errs.
    """

    name: str
    digest: str
    streams: list[Stream]
    trained_on: list[Dataset]
    unknown: list[str]
    synthetic: bool
    limits: Limits
    landmarks: str
    crops: bool
    note: str = ""
    errs: str = ERRS


def about(
    facts: Mapping[str, Any],
    readers: Iterable[Any],
    settings: ServeSettings,
    *,
    landmarks: str = "server",
    crops: bool = False,
    note: str = "",
) -> About:
    """That of a translator.

    Args:
      facts: see `use.model_card.facts_of`.
      readers: of its streams, see `StreamReader.readers`.
      settings: of the server.
      landmarks, crops, note: see `About`.
    """
    return About(
        name=printable(facts["name"]),
        digest=facts["digest"],
        streams=[
            Stream(reader.name, streams.get(reader.name).title, len(reader.vocabulary) - 1)
            for reader in readers
        ],
        trained_on=[
            Dataset(**{name: row[name] for name in Dataset.__dataclass_fields__})
            for row in facts["data"]
        ],
        unknown=facts["unknown"],
        synthetic=facts["synthetic"],
        limits=Limits(**{name: getattr(settings, name) for name in Limits.__dataclass_fields__}),
        landmarks=landmarks,
        crops=crops,
        note=printable(note),
    )
