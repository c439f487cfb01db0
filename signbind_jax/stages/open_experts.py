"""The trained experts that a stage behind them is built on, opened and checked."""

from collections.abc import Mapping
from pathlib import Path

from signbind_jax import streams
from signbind_jax.checkpoint.artefact import Artefact, open_artefact
from signbind_jax.checkpoint.manifest import check_parent
from signbind_jax.config import RunConfig
from signbind_jax.data.vocabulary import BLANK, Vocabulary
from signbind_jax.errors import SignBindError
from signbind_jax.stages.read_streams import GivenReader, StreamReader


def open_reader_of(run: Artefact, experts: Mapping[str, Artefact] | None = None) -> StreamReader:
    """What reads the streams that a stage behind the experts was trained on.

    experts: by stream; None: those in the directories that the run names.

    Raises:
      SignBindError: see `open_experts_of`.
    """
    vocabularies = {name: streams.given_vocabulary(name) for name in run.config.data.streams}
    given = [GivenReader(name, run.vocabularies[v]) for name, v in vocabularies.items()]
    return StreamReader(run.config, open_experts_of(run) if experts is None else experts, given)


def open_experts(config: RunConfig) -> dict[str, Artefact]:
    """The experts that a config names as parents, by stream.

    Raises:
      SignBindError: none named, not trained, another stage's artefact, or another vocabulary
        than the stream has.
    """
    experts = {}
    for name in config.streams:
        if directory := config.parents.get(name):
            experts[name] = _open_expert(name, directory, f"config.parents.{name}: {directory}")
    if not experts and not config.data.streams:
        raise SignBindError(
            "config.parents: found no expert, wanted at least one of "
            f"{', '.join(streams.names())}, or streams of the dataset's own as config.data.streams"
        )
    return experts


def open_experts_of(run: Artefact) -> dict[str, Artefact]:
    """The experts that a stage behind them was trained on, by stream.

    Raises:
      SignBindError: one is missing or was trained again since.
    """
    experts = {
        name: _open_expert(name, run.parents[name], str(run.parents[name]))
        for name in run.config.streams
        if name in run.parents
    }
    for name, expert in experts.items():
        trained_on = run.manifest.parents.get(name)
        if expert.digest != trained_on:
            raise SignBindError(
                f"{expert.workdir}: artefact digest: found {expert.digest[:12]}, "
                f"wanted {(trained_on or '')[:12]}: this expert was trained again "
                f"after {run.workdir}"
            )
    return experts


def _open_expert(name: str, directory: Path | str, where: str) -> Artefact:
    expert = open_artefact(directory)
    check_expert(name, expert, where)
    return expert


def check_expert(name: str, expert: Artefact, where: str) -> None:
    """Whether a trained stage is an expert of a stream as that is registered here.

    Raises:
      SignBindError: it is not; begins with `where`.
    """
    stream = streams.get(name)
    wanted: dict = {"stage": name}
    if stream.alphabet:
        fixed = Vocabulary(stream.vocabulary, (BLANK, *stream.alphabet))
        wanted["vocabularies"] = {stream.vocabulary: fixed.digest}
    check_parent(expert.manifest, wanted, where)
    if stream.vocabulary not in expert.vocabularies:
        raise SignBindError(
            f"{where}: vocabularies: found {', '.join(expert.vocabularies)}, wanted "
            f"{stream.vocabulary}, as stream {name} is registered"
        )
