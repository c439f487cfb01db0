"""`signbind export translator`: a trained translator as a bundle that loads anywhere."""

import argparse
import shutil
from pathlib import Path
from typing import Any

from signbind_jax import versions
from signbind_jax.checkpoint import artefact
from signbind_jax.checkpoint.artefact import Artefact
from signbind_jax.errors import SignBindError, one_line
from signbind_jax.hf import hub
from signbind_jax.hf.export import TERMS, new_directory
from signbind_jax.metrics.names import KNOWN_WORDS
from signbind_jax.models.signbind import SignBindConfig
from signbind_jax.stages.open_experts import open_experts_of
from signbind_jax.use import bundle, bundle_weights, model_card
from signbind_jax.use.boundaries import open_segmenter
from signbind_jax.use.bundle_examples import copy_examples


def export_translator(
    checkpoint: Path,
    out: Path,
    *,
    dtype: str = "float32",
    step: int | str = artefact.NEWEST,
    evaluated: Path | None = None,
    examples: Path | None = None,
    segmenter: Path | None = None,
) -> bundle.Bundle:
    """Writes a bundle of an alignment or translation run and its experts.

    Args:
      out: must not exist, or be empty; appears when all is written.
      dtype: of the weights in the files, one of `bundle_weights.DTYPES`. In memory they are again
        what they are in the run.
      evaluated: what `signbind evaluate --json` wrote of this run, for the model card.
      examples: a folder corpus whose recordings go with the bundle; see `copy_examples`.
      segmenter: a run of stage `segmentation`, by which long recordings are cut too.

    Raises:
      SignBindError: another stage's run; an expert that is missing or was trained again since;
        `out` is taken or cannot be written.
    """
    run = artefact.open_artefact(checkpoint, step)
    if not isinstance(run.model_config, SignBindConfig):
        raise SignBindError(
            f"{checkpoint}: stage: found {run.stage}, wanted alignment or translation"
        )
    experts = open_experts_of(run)
    found = None if segmenter is None else open_segmenter(segmenter)
    facts = model_card.facts_of(run, experts, evaluated, found)
    facts["name"] = Path(out).absolute().name
    parts = {name: f"{bundle.EXPERTS}/{name}" for name in experts}
    with new_directory(out) as directory:
        own = directory / bundle.TRANSLATOR
        bundle.write_part(run, own, dtype, parts)
        run.tokenizer.save(own / artefact.TOKENIZER)
        _copy_terms(run, own)
        if (known := run.workdir / KNOWN_WORDS).exists():  # `evaluate` tells new names by it
            shutil.copyfile(known, own / KNOWN_WORDS)
        for name, expert in experts.items():
            bundle.write_part(expert, directory / parts[name], dtype, {})
        if found:
            bundle.write_part(found, directory / bundle.SEGMENTER, dtype, {})
        card = model_card.render(facts, dtype)
        (directory / bundle.CARD).write_text(card, encoding="utf-8")
        made: dict[str, Any] = {"dtype": dtype, "versions": versions.installed()}
        if examples is not None:
            made["examples"] = copy_examples(examples, directory)
        bundle.write_manifest(directory, {"kind": "translator", **made, "facts": facts})
    return bundle.open_bundle(Path(out))


def _copy_terms(run: Artefact, directory: Path) -> None:
    """The terms of a language model of others, whose weights go with the bundle."""
    source = run.parents.get("language_model")
    for pattern in TERMS if source else ():
        for path in sorted(source.glob(pattern)):
            if path.is_file():
                (directory / "terms").mkdir(exist_ok=True)
                shutil.copyfile(path, directory / "terms" / path.name)


def push(directory: Path, name: str) -> str:
    """Uploads a bundle to a hub; returns its address.

    Raises:
      SignBindError: the hub refuses it or is not there.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        api.create_repo(name, exist_ok=True)
        return str(api.upload_folder(repo_id=name, folder_path=str(directory)))
    except Exception as error:  # the HTTP library's own errors come through too
        raise SignBindError(
            f"--push: {name}: the hub says: {type(error).__name__}: {one_line(error, 300)}; the "
            f"bundle is in {directory}"
        ) from error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `signbind export translator`."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        type=Path,
        metavar="RUN",
        help="run directory of a translation (or alignment) stage",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="directory to make")
    parser.add_argument(
        "--dtype",
        default="float32",
        choices=bundle_weights.DTYPES,
        help="of the weights in the files: bfloat16 halves them, int8 makes a quarter of them, and "
        "both change what is computed, at the same speed; default: float32, the same sentences as "
        "the run's to the bit",
    )
    parser.add_argument(
        "--scores",
        type=Path,
        metavar="FILE",
        help="what `signbind evaluate --json=FILE` wrote of this run, for the model card",
    )
    parser.add_argument(
        "--examples",
        type=Path,
        metavar="DIR",
        help="a folder corpus whose recordings go with the bundle: the page of signbind serve "
        "offers them",
    )
    parser.add_argument(
        "--segmenter",
        type=Path,
        metavar="RUN",
        help="run directory of a segmentation stage, by which `signbind translate --segment` also "
        "cuts recordings where no pause is",
    )
    parser.add_argument(
        "--push",
        type=_hub_id,
        metavar="ORG/NAME",
        help="also upload it to the Hugging Face hub, as who you are logged in there",
    )
    artefact.add_step_argument(parser)


def _hub_id(text: str) -> str:
    if not hub.is_hub_id(text) or "@" in text:
        raise argparse.ArgumentTypeError(f"found {text!r}, wanted owner/name")
    return text


def run(arguments: argparse.Namespace) -> int:
    """`signbind export translator`: writes a bundle of a trained translator and its experts.

    It loads with `signbind translate --checkpoint=DIR` and `signbind_jax.load_translator(DIR)`,
    without the dataset, the run directories or a network.
    """
    made = export_translator(
        arguments.checkpoint,
        arguments.out,
        dtype=arguments.dtype,
        step=arguments.step,
        evaluated=arguments.scores,
        examples=arguments.examples,
        segmenter=arguments.segmenter,
    )
    listed = made.record["files"].values()
    size = sum(file["bytes"] for file in listed) / 1e6
    experts = ", ".join(made.experts) or "none"
    print(f"{arguments.out}: {len(listed)} files, {size:,.1f} MB; experts: {experts}")
    if arguments.push:
        print(push(arguments.out, arguments.push))
    return 0
