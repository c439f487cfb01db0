"""The registry of token streams: what each expert reads, how it is judged, what noise it gets.

The only place that lists streams; configs, caches, fusion, evaluation and report iterate over it.
A file of your own adds one (docs/develop/architecture.md, "A fourth expert"):

```python
streams.register(streams.StreamSpec("hands", target="hands", metric="hand_error_rate", label=f))
```
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from signbind_jax.data.vocabulary import FUSION_TARGETS, LETTERS
from signbind_jax.errors import SignBindError
from signbind_jax.ranges import LARGEST, Checked, Matching, OneOf, Range, Share, Text

STAGES_BEHIND = ("language_model", "fusion", "alignment", "translation")  # the experts
WRITING = ("language_model", "alignment", "translation")  # the stages that write sentences
# Finds where sentences end (`signbind translate --segmenter`); no stage is built on it.
SEGMENTATION = "segmentation"
NOT_EXPERTS = (*STAGES_BEHIND, SEGMENTATION)

Name = Annotated[
    str,
    Matching(
        lambda name: re.fullmatch("[a-z][a-z0-9_]{0,59}", name) and name not in NOT_EXPERTS,
        "lower-case letters, digits and _, and not the name of a stage",
    ),
]


@dataclass(frozen=True)
class Presentation(Checked):
    """How the report names a stream and says what it is worth; empty where it has no words.

    Attributes:
      title: of the stream, such as "Lips".
      reader: what its expert is called.
      does: what the expert does, one sentence.
      question, metric, answer: what the report asks about the stream, the translation score that
        answers, and the answer with its value with the stream off ({off}) and on ({on}).
    """

    title: Text = ""
    reader: Text = ""
    does: Text = ""
    question: Text = ""
    metric: Text = ""
    answer: Text = ""


@dataclass(frozen=True)
class StreamSpec(Checked):
    """One stream: what its expert learns to read, and what everything behind has to know of it.

    Attributes:
      name: of the stream and of the stage that trains its expert.
      target: which target sequence of a clip the expert reads, see `labels.targets`.
      metric: name of the score it is judged by, in percent.
      accuracy: whether that is 100 minus the error rate.
      frontend: what the expert reads a clip with, where its config names none.
      label: (clip) -> the tokens of `target`, from the clip's text and labels; None: `target` is
        one that `labels.targets` knows: gloss, letters, phonemes.
      alphabet: a fixed vocabulary; empty: the tokens of the training split.
      vocabulary: its name, empty: that of `target`; no two streams share one.
      drop, substitute: shares of the tokens that training behind the expert loses or replaces by
        others of the stream.
      drop_stream: how often the whole stream is absent in training behind the expert.
      assumed_vocabulary: its size where `signbind preflight` has no data.
      short: its name in variants of a translation such as "signing+lips"; empty: `name`.
      true_field: the field of a clip that says what was really there; empty: none.
      shown: its words in the report.
    """

    name: Name
    target: Name
    metric: Name
    accuracy: bool = False
    frontend: Text = "pose"
    label: object = None
    alphabet: tuple[Text, ...] = ()
    vocabulary: Text = ""
    drop: Share = 0.02
    substitute: Share = 0.03
    drop_stream: Share = 0.25
    assumed_vocabulary: Annotated[int, Range(2, LARGEST)] = 1024
    short: Text = ""
    true_field: Text = ""
    shown: Presentation = Presentation()

    def __post_init__(self):
        for field, default in (("vocabulary", self.target), ("short", self.name)):
            object.__setattr__(self, field, getattr(self, field) or default)
        super().__post_init__()

    def conflicts(self):
        if self.label is not None and not callable(self.label):
            yield "label", "a function of a clip that gives tokens"
        if self.vocabulary == FUSION_TARGETS:
            yield "vocabulary", "another name: it is that of what fusion reads out"

    @property
    def spells(self) -> bool:
        """Whether its tokens are the letters of spelled words."""
        return self.target == "letters"

    @property
    def title(self) -> str:
        """Its name for readers of the report."""
        return self.shown.title or self.name.replace("_", " ").capitalize()


_registry: dict[str, StreamSpec] = {}
_given: dict[str, StreamSpec] = {}  # streams without an expert, whose tokens come with the clips


def register(spec: StreamSpec) -> StreamSpec:
    """Adds a stream; one that a file of a user registered before is replaced.

    Raises:
      SignBindError: its name is that of a shipped stream, its vocabulary that of another, or its
        target nobody's.
    """
    if spec.name in SHIPPED:
        raise SignBindError(
            f"stream: name: found {spec.name!r}, wanted another than the shipped "
            f"{', '.join(SHIPPED)}"
        )
    others = {other.target for other in _registry.values() if other.name != spec.name}
    if spec.label is not None and spec.target in (*others, "fusion_targets"):
        raise SignBindError(
            f"stream {spec.name}: target: found {spec.target!r}, which is there "
            "already, wanted another name beside a label function"
        )
    if spec.label is None and spec.target not in others:
        raise SignBindError(
            f"stream {spec.name}: label: found none, wanted a function that gives "
            f"{spec.target}, or one of the targets {', '.join(sorted(others))}"
        )
    for other in _registry.values():
        if other.name != spec.name and other.vocabulary == spec.vocabulary:
            raise SignBindError(
                f"stream {spec.name}: vocabulary: found {spec.vocabulary!r}, "
                f"which {other.name} has, wanted one of its own"
            )
    _registry[spec.name] = spec
    return spec


def give(name: str) -> None:
    """Makes known a stream whose tokens come with the clips, where none of that name is registered.

    Whoever makes a config with `data.streams` does so.
    """
    if name not in _registry:
        vocabulary = given_vocabulary(name)
        _given[name] = StreamSpec(name, name, metric="token_error_rate", vocabulary=vocabulary)


def given_vocabulary(name: str) -> str:
    """The vocabulary of tokens that come with the clips: no expert's is called so."""
    return f"stream {name}"


def get(name: str) -> StreamSpec:
    """The stream of a name.

    Raises:
      SignBindError: there is none.
    """
    found = _registry.get(name) or _given.get(name)
    if found is None:
        raise SignBindError(f"stream: found {name!r}, wanted one of {', '.join(names())}")
    return found


def names() -> tuple[str, ...]:
    """The streams in order: those shipped, then others by name, in whatever order they came."""
    return (*SHIPPED, *sorted(_registry.keys() - set(SHIPPED)))


def known() -> tuple[str, ...]:
    """The streams of `names`, then those without an expert that configs have named."""
    return (*names(), *sorted(_given.keys() - _registry.keys()))


def stages() -> tuple[str, ...]:
    """All stages, the experts' first."""
    return (*names(), *NOT_EXPERTS)


def parents() -> tuple[str, ...]:
    """The stages that others are built on."""
    return (*names(), *STAGES_BEHIND)


StreamName = Annotated[str, OneOf(more=known)]
ParentName = Annotated[str, OneOf(more=parents)]


def specs() -> tuple[StreamSpec, ...]:
    """All streams in the order of `names`."""
    return tuple(_registry[name] for name in names())


def variants(streams: Iterable[str]) -> dict[str, frozenset[str]]:
    """What translations are compared: the first stream alone, with each other one, and all.

    Returns:
      Name of the variant -> the streams it may see.
    """
    first, *others = streams
    pairs = {f"{first}+{get(other).short}": frozenset((first, other)) for other in others}
    return {first: frozenset((first,)), **pairs, "all": frozenset((first, *others))}


SIGNING = StreamSpec(
    "signing",
    target="gloss",
    metric="gloss_wer",
    drop=0.02,
    substitute=0.03,
    drop_stream=0.05,
    true_field="gloss",
    shown=Presentation(
        "Signing",
        "Signing reader",
        "Watches hands, body and face and writes down each sign as a gloss, one written label a "
        "sign.",
    ),
)
FINGERSPELLING = StreamSpec(
    "fingerspelling",
    target="letters",
    metric="letter_accuracy",
    accuracy=True,
    alphabet=LETTERS,
    drop=0.01,
    substitute=0.01,
    drop_stream=0.25,
    assumed_vocabulary=1 + len(LETTERS),
    true_field="spelled",
    shown=Presentation(
        "Fingerspelling",
        "Fingerspelling reader",
        "Watches the hand that spells names and rare words, and writes down each letter.",
        "Names are spelled letter by letter. Do they arrive?",
        "name_recall",
        "With fingerspelling switched off the system writes {off} of the names; switched on, {on}.",
    ),
)
LIPREADING = StreamSpec(
    "lipreading",
    target="phonemes",
    metric="phoneme_error_rate",
    frontend="lips",
    drop=0.04,
    substitute=0.08,
    drop_stream=0.25,
    assumed_vocabulary=48,
    short="lips",
    true_field="phonemes",
    shown=Presentation(
        "Lips",
        "Lip reader",
        "Watches the mouth and writes down the speech sounds (phonemes) it forms.",
        "Some signs look alike on the hands; the mouth tells them apart.",
        "homonym_accuracy",
        "With lipreading switched off it finds the right meaning of {off} of the look-alike "
        "signs; switched on, {on}.",
    ),
)
_registry |= {spec.name: spec for spec in (SIGNING, FINGERSPELLING, LIPREADING)}
SHIPPED = tuple(_registry)
