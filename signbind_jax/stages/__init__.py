"""The stages by name; one small file each."""

from typing import Any

from signbind_jax.config import RunConfig
from signbind_jax.stages.stage import Stage


def make_stage(config: RunConfig, shapes: Any) -> Stage:
    """The stage that `config.stage` names, of the shapes that its `BatchSource` found.

    Raises:
      SignBindError: a value in `config` that does not go with the shapes.
    """
    return _stage_class(config)(config, shapes)


def assumed_stage(config: RunConfig) -> Stage:
    """The same without data and parents, of the shapes that `config.assumed` states."""
    kind = _stage_class(config)
    return kind(config, kind.Shapes.assumed(config))


def _stage_class(config: RunConfig) -> type[Stage]:
    # Imported late: a stage pulls in what only it needs. All others are experts.
    if config.stage == "language_model":
        from signbind_jax.stages.language_model import LanguageModelStage as kind
    elif config.stage == "fusion":
        from signbind_jax.stages.fusion import FusionStage as kind
    elif config.stage == "alignment":
        from signbind_jax.stages.translation import AlignmentStage as kind
    elif config.stage == "translation":
        from signbind_jax.stages.translation import TranslationStage as kind
    elif config.stage == "segmentation":
        from signbind_jax.stages.segmentation import SegmentationStage as kind
    elif config.parents["translation"]:
        from signbind_jax.stages.end_to_end_expert import EndToEndExpertStage as kind
    else:
        from signbind_jax.stages.expert import ExpertStage as kind
    return kind
