"""What each stage learns from, by stage; one small file each."""

from signbind_jax.config import RunConfig
from signbind_jax.sources.source import BatchSource


def open_source(config: RunConfig) -> BatchSource:
    """The source of the stage that `config.stage` names, its data and parents opened and checked.
    Its `config` is the one given with its epochs, if it has any, counted in steps.

    Raises:
      SignBindError: whatever is wrong with the config, data and parents.
    """
    # Imported late: a source pulls in what only it needs. All others are experts'.
    if config.stage == "language_model":
        from signbind_jax.sources.language_model import LanguageModelSource as kind
    elif config.stage == "fusion":
        from signbind_jax.sources.fusion import FusionSource as kind
    elif config.stage == "alignment":
        from signbind_jax.sources.translation import AlignmentSource as kind
    elif config.stage == "translation":
        from signbind_jax.sources.translation import TranslationSource as kind
    elif config.stage == "segmentation":
        from signbind_jax.sources.segmentation import SegmentationSource as kind
    elif config.parents["translation"]:
        from signbind_jax.sources.end_to_end_expert import EndToEndExpertSource as kind
    else:
        from signbind_jax.sources.expert import ExpertSource as kind
    source = kind(config)
    if config.epochs:
        source.config = config.in_steps(source.plan.steps_per_epoch)
        source.notes.append(f"{config.epochs:g} epochs are {source.config.steps:,} steps")
    return source
