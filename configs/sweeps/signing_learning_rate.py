"""Learning rate, dropout and seed of the signing expert: twelve short runs.

Without an argument the expert is tiny and each run takes seconds to a minute; it learns little,
and shows how a sweep works (docs/use/sweep_settings.md). Argument: as for `signing`, such
as `size=small`.
"""

from signbind_jax.configs import signing


def get_config(arg=None):
    config = signing.get_config(arg or "size=tiny")
    if not arg:
        config.steps = 600
    return config


def get_hyper(h):
    return h.product(
        [
            h.sweep("optim.learning_rate", [1e-3, 3e-3, 1e-2]),
            h.sweep("model.dropout", [0.0, 0.2]),
            h.seeds(2),
        ]
    )
