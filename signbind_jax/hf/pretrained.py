"""Pretrained: a language model in a Hugging Face directory, as a stage's decoder."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from flax import nnx

from signbind_jax import files
from signbind_jax.distributed import sharding
from signbind_jax.hf import families, weights
from signbind_jax.hf.chat import ChatTokenizer
from signbind_jax.hf.tokenizer import TextTokenizer
from signbind_jax.models import layers
from signbind_jax.models.llm.config import DecoderConfig
from signbind_jax.models.llm.decoder import Decoder


@dataclass(frozen=True)
class Pretrained:
    """What a directory with `config.json` and safetensors holds; weights are read on demand.

    Offers what the stages ask of an `Artefact` of the `language_model` stage.

    Attributes:
      workdir: the directory.
      config: the decoder's shape.
      instruction: what the prompt asks for.
    """

    workdir: Path
    config: DecoderConfig
    instruction: str = ""

    @property
    def model_config(self) -> DecoderConfig:
        """The decoder's shape."""
        return self.config

    @cached_property
    def digest(self) -> str:
        """SHA-256 of config, tokenizer and weights."""
        names = ["config.json", "tokenizer.json", *weights.open_checkpoint(self.workdir).files]
        digest = hashlib.sha256()
        for name in names:
            files.check_regular(self.workdir / name)
            with (self.workdir / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    @cached_property
    def tokenizer(self) -> TextTokenizer:
        """The model's tokenizer, with the prompt that holds the instruction.

        Raises:
          SignBindError: see `ChatTokenizer`; or ids that the model has no embedding for.
        """
        chat = ChatTokenizer(self.workdir)
        chat.check_rows(self.config.vocab_size)
        return chat.text_tokenizer(self.instruction)

    def load_params(self, mesh=None, dtype: str = "float32") -> tuple[nnx.GraphDef, nnx.State]:
        """Loads graph definition and weights, sharded over `mesh` (default: as of an artefact)."""
        graphdef = nnx.graphdef(layers.abstract(lambda rngs: Decoder(self.config, rngs)))
        checkpoint = weights.open_checkpoint(self.workdir)
        return graphdef, weights.read_params(
            self.config, checkpoint, mesh or sharding.own_mesh(), dtype
        )


def open_pretrained(directory: Path | str, instruction: str = "") -> Pretrained:
    """Opens the model of a directory, asked for `instruction`.

    Raises:
      SignBindError: see `families.read_config`.
    """
    directory = Path(directory)
    return Pretrained(directory, families.read_config(directory), instruction)
