"""What a name given to `--checkpoint` or `load_translator` stands for: a run directory, a bundle's
directory, or a bundle of a hub."""

import argparse
import os
from pathlib import Path

from signbind_jax import streams
from signbind_jax.checkpoint import artefact
from signbind_jax.checkpoint.artefact import NEWEST, Artefact, open_artefact
from signbind_jax.errors import SignBindError
from signbind_jax.hf import hub
from signbind_jax.models.fusion import FusionConfig
from signbind_jax.models.signbind import SignBindConfig
from signbind_jax.stages.open_experts import check_expert, open_experts_of
from signbind_jax.use.bundle import (
    CARD,
    EXPERTS,
    MANIFEST,
    SEGMENTER,
    TRANSLATOR,
    Bundle,
    is_bundle,
)
from signbind_jax.use.bundle import open_bundle as open_directory
from signbind_jax.use.bundle_examples import DIRECTORY as EXAMPLES

_HUB_FILES = (MANIFEST, CARD, *(f"{part}/*" for part in (TRANSLATOR, EXPERTS, SEGMENTER, EXAMPLES)))


def add_translator_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--checkpoint` and `--step`, which name a translator."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        type=Path,
        metavar="DIR",
        help="run directory of a translation (or alignment) stage, a bundle's, or its hub id "
        "such as owner/name",
    )
    artefact.add_step_argument(parser)


def open_translator(
    name: str | os.PathLike[str], step: int | str = NEWEST
) -> tuple[Artefact, dict[str, Artefact]]:
    """A trained alignment or translation stage, and its experts by stream.

    step: of a run, see `open_artefact`; a bundle has one.

    Raises:
      SignBindError: nothing of that kind there; a part that is missing, damaged, or was trained
        again since.
    """
    bundle = find_bundle(name, step)
    run = bundle.translator() if bundle else open_artefact(name, step)
    if not isinstance(run.model_config, SignBindConfig):
        raise SignBindError(f"{name}: stage: found {run.stage}, wanted alignment or translation")
    return run, _experts_in(bundle, run) if bundle else open_experts_of(run)


def _experts_in(bundle: Bundle, run: Artefact) -> dict[str, Artefact]:
    """Those of a bundle, which have to be those that its translator was trained with."""
    experts: dict[str, Artefact] = {}
    for name in (name for name in run.config.streams if name in run.manifest.parents):
        expert = experts[name] = bundle.expert(name)
        check_expert(name, expert, str(expert.workdir))
        if expert.digest != run.manifest.parents[name]:
            raise SignBindError(
                f"{expert.workdir}: artefact digest: found {expert.digest[:12]}, wanted "
                f"{run.manifest.parents[name][:12]}: not the expert that the translator was "
                "trained with"
            )
    return experts


def open_expert(
    name: str | os.PathLike[str], stream: str = "", step: int | str = NEWEST
) -> Artefact:
    """A trained expert: of its own run, or of a stream in a bundle or behind a later stage's run.

    stream: which one; empty: the only one.

    Raises:
      SignBindError: no expert there, or none of that stream; several and none is named.
    """
    bundle = find_bundle(name, step)
    run = None if bundle else open_artefact(name, step)
    if bundle:
        known = bundle.experts
    elif run.stage in streams.names():
        known = (run.stage,)
    else:
        known = tuple(x for x in run.config.streams if x in run.parents)
    if stream not in known and (stream or len(known) != 1):
        raise SignBindError(
            f"{name}: expert: found {', '.join(known) or 'none'}, wanted "
            f"{stream or 'one, or its name where there are several'}"
        )
    chosen = stream or known[0]
    if bundle:
        expert = bundle.expert(chosen)
        check_expert(chosen, expert, str(expert.workdir))
        return expert
    return run if run.stage == chosen else open_experts_of(run)[chosen]


def open_fusion(name: str | os.PathLike[str], step: int | str = NEWEST) -> Artefact:
    """A trained stage that has a fusion: fusion itself, alignment or translation.

    Raises:
      SignBindError: nothing of that kind there.
    """
    run = open_stage(name, step)
    if not isinstance(run.model_config, FusionConfig | SignBindConfig):
        raise SignBindError(
            f"{name}: stage: found {run.stage}, wanted fusion, alignment or translation"
        )
    return run


def open_stage(name: str | os.PathLike[str], step: int | str = NEWEST) -> Artefact:
    """A trained stage: of a run directory, or the translator of a bundle.

    Raises:
      SignBindError: nothing of that kind there.
    """
    bundle = find_bundle(name, step)
    return bundle.translator() if bundle else open_artefact(name, step)


def find_bundle(name: str | os.PathLike[str], step: int | str = NEWEST) -> Bundle | None:
    """The bundle of a directory or of a hub id; None for the directory of a run.

    Raises:
      SignBindError: neither is there; a step of a bundle; see `bundle.open_bundle`.
    """
    directory, text = Path(os.path.expanduser(name)), os.fspath(name)
    # A misspelt path in a directory that is here is not asked for elsewhere.
    if not directory.exists() and hub.is_hub_id(text) and not directory.parent.is_dir():
        directory = hub.from_hub(text, _HUB_FILES)
        if not is_bundle(directory):
            raise SignBindError(f"{name}: found no {MANIFEST} in it, wanted a bundle")
    if not is_bundle(directory):
        if not (directory / artefact.FILE).exists():
            found = f"no {MANIFEST} and no {artefact.FILE}" if directory.exists() else "nothing"
            raise SignBindError(
                f"{name}: found {found} there, wanted a bundle, the --workdir of a trained stage, "
                "or a hub id such as owner/name"
            )
        return None
    if step != NEWEST:
        raise SignBindError(f"{name}: --step: found {step} of a bundle, wanted nothing")
    return open_directory(directory)
