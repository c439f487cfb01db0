"""What tests ask of batch plans."""

from signbind_jax.sources.source import BatchSource


def drawn(source: BatchSource) -> set[int]:
    """The clips that an epoch of a source draws."""
    steps = (source.plan.step(i) for i in range(source.plan.steps_per_epoch))
    return {int(i) for step in steps for i in step.ids.ravel() if i >= 0}
