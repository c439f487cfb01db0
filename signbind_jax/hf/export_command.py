"""`signbind llm export`: a run's language model as other tools load it."""

import argparse
import math
from pathlib import Path

import jax
from flax import nnx

from signbind_jax.checkpoint import artefact
from signbind_jax.errors import SignBindError
from signbind_jax.hf.export import DTYPES, SHARD_BYTES, export_adapters, export_merged
from signbind_jax.models.llm.config import DecoderConfig
from signbind_jax.models.llm.language_model import LanguageModel
from signbind_jax.models.llm.lora import is_lora
from signbind_jax.models.signbind import SignBindConfig


def decoder_of(run: artefact.Artefact) -> LanguageModel:
    """Loads the decoder of a run, with its trained weights and adapters.

    Raises:
      SignBindError: the run's stage has none.
    """
    if not isinstance(run.model_config, DecoderConfig | SignBindConfig):
        raise SignBindError(
            f"{run.workdir}: stage: found {run.stage}, wanted one with a language "
            "model: language_model, alignment or translation"
        )
    model = run.load_model()
    return model if isinstance(run.model_config, DecoderConfig) else model.decoder


def source_of(run: artefact.Artefact) -> Path | None:
    """Finds the Hugging Face directory a run's decoder was imported from; None where it was not.

    Raises:
      SignBindError: the run names one that is not there.
    """
    parent = run.parents.get("language_model")
    if parent is None:
        return None
    if (parent / "config.json").exists():
        return parent
    if (parent / artefact.FILE).exists():
        return source_of(artefact.open_artefact(parent))
    raise SignBindError(
        f"{run.workdir}: parents.language_model: found no config.json and no {artefact.FILE} in "
        f"{parent}, wanted the model it was trained from; name its directory with --source"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `signbind llm export`."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        type=Path,
        metavar="DIR",
        help="run directory of a language_model, alignment or translation stage",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="directory to make")
    parser.add_argument(
        "--adapters",
        action="store_true",
        help="the LoRA adapters alone, in PEFT's layout; default: the whole "
        "model with its adapters merged",
    )
    parser.add_argument(
        "--source",
        type=Path,
        metavar="DIR",
        help="Hugging Face directory the model was imported from (default: the one the run names)",
    )
    parser.add_argument(
        "--base_model",
        metavar="NAME",
        help="with --adapters: what PEFT is to load them on, a directory or a "
        "hub name (default: the source)",
    )
    parser.add_argument(
        "--dtype", choices=DTYPES, help="of the merged weights; default: as they are kept"
    )
    parser.add_argument(
        "--shard_gb",
        type=gigabytes,
        default=SHARD_BYTES / 1e9,
        metavar="GB",
        help="largest weight file of the merged model; default: 5",
    )


def gigabytes(text: str) -> float:
    """Reads a size on the command line; what is none is bad usage."""
    value = float(text)
    if not 1e-9 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"found {text!r}, wanted a size above 0")
    return value


def run(arguments: argparse.Namespace) -> int:
    """`signbind llm export`: writes a run's language model as a Hugging Face directory."""
    trained = artefact.open_artefact(arguments.checkpoint)
    source = arguments.source or source_of(trained)
    if arguments.adapters:
        base_model = arguments.base_model or (source and source.absolute())
        if base_model is None:
            raise SignBindError(
                f"{trained.workdir}: base_model: found nothing, wanted --base_model: this decoder "
                "was not imported; export the language_model stage first and name it"
            )
        decoder = decoder_of(trained)
        export_adapters(decoder, arguments.out, base_model=str(base_model))
        print(
            f"{arguments.out}: adapters, {_count(nnx.state(decoder, is_lora)):,} parameters, "
            f"on {base_model}"
        )
        return 0
    decoder = decoder_of(trained)
    files = export_merged(
        decoder,
        arguments.out,
        source=source,
        dtype=arguments.dtype,
        tokenizer=None if source else trained.tokenizer,
        shard_bytes=round(arguments.shard_gb * 1e9),
    )
    size = sum(file.stat().st_size for file in files) / 1e6
    print(
        f"{arguments.out}: {_count(nnx.state(decoder, nnx.Not(is_lora))):,} parameters in "
        f"{len(files)} file{'s' * (len(files) > 1)}, {size:,.1f} MB"
    )
    return 0


def _count(state: nnx.State) -> int:
    return sum(math.prod(x.shape) for x in jax.tree.leaves(state))
