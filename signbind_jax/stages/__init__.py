"""The stages by name; one small file each."""

from signbind_jax.config import RunConfig
from signbind_jax.stages.stage import Stage


def make_stage(config: RunConfig) -> Stage:
    """The stage that `config.stage` names, with its data and parents opened and checked.

    Raises:
      SignBindError: whatever is wrong with the config, data and parents.
    """
    return stage_class(config)(config)


def stage_class(config: RunConfig) -> type[Stage]:
    """The class of the stage that `config.stage` names."""
    # Imported late: a stage pulls in what only it needs. All others are experts.
    if config.stage == "language_model":
        from signbind_jax.stages.language_model import LanguageModelStage as kind
    elif config.stage == "fusion":
        from signbind_jax.stages.fusion import FusionStage as kind
    elif config.stage == "alignment":
        from signbind_jax.stages.translation import AlignmentStage as kind
    elif config.stage == "translation":
        from signbind_jax.stages.translation import TranslationStage as kind
    else:
        from signbind_jax.stages.expert import ExpertStage as kind
    return kind
