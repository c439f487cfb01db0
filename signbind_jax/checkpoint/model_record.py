"""What a run directory says of its model: the record on disk, and what has to agree with it."""

import dataclasses
from collections.abc import Mapping

from flax import nnx

from signbind_jax import files, keypoints
from signbind_jax.checkpoint.manifest import Manifest
from signbind_jax.config import from_mapping
from signbind_jax.data.vocabulary import FUSION_TARGETS, Vocabulary
from signbind_jax.errors import SignBindError
from signbind_jax.models import layers
from signbind_jax.models.expert import Expert, ExpertConfig
from signbind_jax.models.fusion import Fusion, FusionConfig
from signbind_jax.models.llm.config import DecoderConfig
from signbind_jax.models.llm.decoder import Decoder
from signbind_jax.models.segmenter import Segmenter, SegmenterConfig
from signbind_jax.models.signbind import SignBind, SignBindConfig

ModelConfig = ExpertConfig | FusionConfig | DecoderConfig | SignBindConfig | SegmenterConfig

_KINDS = {
    "expert": (ExpertConfig, Expert),
    "fusion": (FusionConfig, Fusion),
    "decoder": (DecoderConfig, Decoder),
    "signbind": (SignBindConfig, SignBind),
    "segmenter": (SegmenterConfig, Segmenter),
}
# Fields that runs of before may have, at the value at which the model is the same without them.
_GONE = {"prefix_sees_all": False}


def model_record(config: ModelConfig) -> dict:
    """JSON form of a model's config."""
    kind = next(kind for kind, (config_class, _) in _KINDS.items() if type(config) is config_class)
    values = dataclasses.asdict(config)
    return {"kind": kind} | (values if kind == "signbind" else {"config": values})


def read_model_config(record: Mapping, where: str) -> ModelConfig:
    """The config that `model_record` wrote; `where` names its file in errors.

    Raises:
      SignBindError: it is not what `model_record` writes.
    """
    kind = files.field(record, "kind", str, where)
    if kind not in _KINDS:
        raise SignBindError(
            f"{where}: kind: found {files.shorten(kind)}, wanted one of {', '.join(_KINDS)}"
        )
    if kind == "signbind":
        values = {name: value for name, value in record.items() if name != "kind"}
        return from_mapping(SignBindConfig, _without_gone(values), where)
    values = _without_gone(files.field(record, "config", dict, where))
    return from_mapping(_KINDS[kind][0], values, f"{where}.config")


def _without_gone(values: Mapping) -> dict:
    return {
        name: _without_gone(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
        if name not in _GONE or value != _GONE[name]
    }


def make_model(config: ModelConfig, rngs: nnx.Rngs) -> nnx.Module:
    """A fresh model of a config."""
    return dict(_KINDS.values())[type(config)](config, rngs)


def abstract_model(config: ModelConfig) -> nnx.Module:
    """The model of a config with shapes in place of values."""
    return layers.abstract(lambda rngs: make_model(config, rngs))


def dimensions(config: ModelConfig) -> dict[str, int]:
    """Sizes that a stage built on a model has to agree with, for the manifest."""
    if isinstance(config, ExpertConfig):
        return {"d_model": config.d_model, "n_tokens": config.n_tokens}
    if isinstance(config, FusionConfig):
        return {"d_model": config.d_model, "d_hidden": config.d_hidden}
    if isinstance(config, DecoderConfig):
        return {"d_model": config.d_model, "vocab_size": config.vocab_size}
    if isinstance(config, SegmenterConfig):
        return {"d_model": config.d_model}
    decoder = {"d_decoder": config.decoder.d_model, "vocab_size": config.decoder.vocab_size}
    return dimensions(config.fusion) | decoder


def check_model(
    workdir, config: ModelConfig, manifest: Manifest, vocabularies: Mapping[str, Vocabulary]
) -> None:
    """Compares a model's config with the manifest's dimensions and keypoint layout and, where the
    run lists any, with its vocabularies.

    Raises:
      SignBindError: names the first field that differs.
    """

    def check(field: str, found, wanted, of: str) -> None:
        if found != wanted:
            raise SignBindError(
                f"{workdir}: {field}: found {found}, wanted {wanted}, {of}; put the files of one "
                "run there, or train it again"
            )

    layout = manifest.keypoint_layout
    if layout and not isinstance(config, DecoderConfig):
        only = "the only one this version reads"
        check("keypoint_layout", layout, keypoints.LAYOUT_VERSION, only)
    for name, size in dimensions(config).items():
        found = manifest.dimensions.get(name, size)
        check(f"checkpoint: dimensions.{name}", found, size, "that of the model in artefact.json")
    sizes = {name: len(vocabulary) for name, vocabulary in vocabularies.items()}
    if not sizes:
        return
    if isinstance(config, ExpertConfig):
        n_tokens = [config.n_tokens]
        check("vocabularies: tokens", list(sizes.values()), n_tokens, "those of its model")
    fusion = config.fusion if isinstance(config, SignBindConfig) else config
    if isinstance(fusion, FusionConfig):
        n_targets = sizes.pop(FUSION_TARGETS, None)
        check(
            "model.n_targets",
            fusion.n_targets,
            n_targets,
            f"the size of vocabulary {FUSION_TARGETS}",
        )
        n_ids = tuple(sizes.values())
        check("model.n_ids", fusion.n_ids, n_ids, "the sizes of the streams' vocabularies")


def check_rows(workdir, config: DecoderConfig, n_tokens: int) -> None:
    """Whether a decoder has an embedding for each of its tokenizer's tokens.

    Raises:
      SignBindError: it has fewer.
    """
    if config.vocab_size < n_tokens:
        raise SignBindError(
            f"{workdir}: model.vocab_size: found {config.vocab_size}, wanted at least the "
            f"{n_tokens} of its tokenizer: they are of two runs; put the right files there"
        )
