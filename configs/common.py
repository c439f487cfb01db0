"""What configs share: the argument string and the blank run."""

from ml_collections import ConfigDict

from signbind_jax import streams
from signbind_jax.config import RunConfig, from_mapping
from signbind_jax.configs import real
from signbind_jax.errors import SignBindError
from signbind_jax.files import shorten
from signbind_jax.overrides import literal, unknown_name


def parse_arg(arg: str | None, **defaults) -> ConfigDict:
    """`"size=tiny,frontend=lips"` over defaults; a bare word is True.

    Raises:
      SignBindError: a name that has no default here or is there twice, or a value of another type
        than its default.
    """
    values = {}
    for part in filter(None, (arg or "").split(",")):
        name, equals, text = part.partition("=")
        if name not in defaults:
            # Without a value it may be one whose name was left out.
            hint = "" if equals else f"; wanted NAME=VALUE such as {next(iter(defaults))}=VALUE"
            raise SignBindError(unknown_name("--config argument", name, defaults) + hint)
        if name in values:
            raise SignBindError(f"--config argument {name}: found twice, wanted once")
        old, new = defaults[name], literal(text) if equals else True
        if isinstance(old, float) and type(new) is int:
            new = float(new)
        if old is not None and type(new) is not type(old):
            raise SignBindError(
                f"--config argument {name}: found {shorten(new)}, wanted "
                f"{type(old).__name__} such as {name}={old}"
            )
        values[name] = new
    return ConfigDict(defaults | values)


def run(stage: str, **values) -> ConfigDict:
    """A run of a stage with every field of RunConfig at its default, then `values`."""
    config = ConfigDict(from_mapping(RunConfig, {"stage": stage}).to_json())
    for section in ("model", "augment", "options"):
        config[section] = ConfigDict(config[section])
    for section in ("fusion", "decoder"):
        config.assumed[section] = ConfigDict(config.assumed[section])
    for name, value in values.items():
        if isinstance(value, dict):
            with config[name].unlocked():
                config[name].update(value)
        else:
            config[name] = value
    return config


def apply_size(
    config: ConfigDict, size: str, corpus: str = "how2sign", chips: int = 1
) -> ConfigDict:
    """A run at a size: `small` as the config says, `few`, `tiny`; `natural` behind the experts;
    `base` and `large` for real corpora, see `configs.real`.

    Raises:
      SignBindError: another size, or one that the stage does not have; corpus or chips beside a
        size that does not depend on them.
    """
    sizes = {"small": lambda same: same, "few": overfit, "tiny": tiny}
    if config.stage in NATURAL:
        sizes["natural"] = natural
    if config.stage in real.MODELS:
        sizes |= dict.fromkeys(real.SIZES, lambda run: real.apply_size(run, size, corpus, chips))
    if size not in sizes:
        raise SignBindError(unknown_name(f"--config argument size of {config.stage}", size, sizes))
    for name, found, default in (("corpus", corpus, "how2sign"), ("chips", chips, 1)):
        if size not in real.SIZES and found != default:
            raise SignBindError(
                f"--config argument {name}: found {found!r} with size={size}, "
                f"wanted it only with {' or '.join(real.SIZES)}"
            )
    return sizes[size](config)


def overfit(config: ConfigDict) -> ConfigDict:
    """The same run for a handful of clips, which it learns by heart: small, without dropout,
    hardly augmented, one batch shape, scored on its own training clips."""
    expert = {"d_model": 64, "n_layers": 2, "d_mlp": 128, "d_part": 32, "dropout": 0.0}
    lightly = {
        "speed": 0.05,
        "time_masks": 0,
        "rotation": 3.0,
        "scale": 0.05,
        "shear": 0.05,
        "translation": 0.05,
        "mirror": 0.0,
        "hand_drop": 0.0,
        "lip_shift": 1,
    }
    never = dict.fromkeys(streams.names(), 0.0)
    absent = {"signing": 0.0, "fingerspelling": 0.15, "lipreading": 0.3}
    # Clips learnt by heart are told apart by any one stream: no other may be needed.
    trusting = {
        "drop": never,
        "substitute": never,
        "drop_hidden": 0.0,
        "stretch": 0.0,
        "drop_stream": absent,
    }
    behind = {"d_model": 64, "n_layers": 2, "d_mlp": 128, "dropout": 0.0}
    decoder = {**behind, "n_heads": 4, "n_kv_heads": 4, "head_size": 16}
    # stage -> (steps, model, augment)
    stages = {
        "signing": (100, expert, lightly),
        "fingerspelling": (500, expert, lightly),
        "lipreading": (320, {**expert, "subsample": 1}, lightly),
        "language_model": (80, decoder, {}),
        "fusion": (120, behind, trusting),
        "alignment": (80, {"dropout": 0.0}, trusting),
        "translation": (80, {"dropout": 0.0}, trusting),
        "segmentation": (300, expert, lightly),
    }
    config.steps, model, augment = stages.get(config.stage, (300, expert, lightly))
    config.evaluate_every = 0
    for section, values in ((config.model, model), (config.augment, augment)):
        with section.unlocked():
            section.update(values)
    config.optim.update({"learning_rate": 3e-3, "warmup_steps": 20})
    config.data.update(
        {"validation": "train", "frames_per_batch": 2304, "n_buckets": 1, "keep_empty": 1.0}
    )
    return config


# Stage -> what `natural` sets of it; sentences are written alike by all that write.
_DROPOUT = {"dropout": 0.2}
_WRITING = {"beam_size": 4, "max_new_tokens": 64}
_SENTENCES = {"generation": _WRITING}
# The decoder knows what the text of the annotation means: vectors are added to that alone.
_BEHIND = {**_SENTENCES, "smoothing": 0.1, "soft_prefix": "read"}
NATURAL = {
    "language_model": {
        "steps": 4000,
        "model": {**_DROPOUT, "d_model": 192, "head_size": 48, "d_mlp": 384},
        "data": {"frames_per_batch": 1536, "n_buckets": 6},
        "optim": {"learning_rate": 1.5e-3, "warmup_steps": 200, "average": 0.1},
        # As many tokens as make nearly every word one: 23.8 BLEU-4 on PHOENIX, 23.2 with 2,000.
        "options": {**_SENTENCES, "bpe_vocabulary": 4000, "smoothing": 0.1, "close_up": True},
    },
    "fusion": {
        "steps": 2400,
        "model": {**_DROPOUT, "n_layers": 2},
        "data": {"frames_per_batch": 2048, "n_buckets": 4},
        "optim": {"learning_rate": 3e-3, "warmup_steps": 100},
    },
    "alignment": {
        "steps": 500,
        "model": _DROPOUT,
        "data": {"frames_per_batch": 2048, "n_buckets": 4},
        "optim": {"learning_rate": 1.5e-3, "warmup_steps": 30, "average": 0.1},
        "options": _BEHIND,
    },
    # What a decoder of this size gains here it loses by heart: PHOENIX ends below its alignment.
    "translation": {
        "steps": 400,
        "model": _DROPOUT,
        "data": {"frames_per_batch": 2048, "n_buckets": 4},
        "optim": {"learning_rate": 2e-4, "warmup_steps": 100, "average": 0.1},
        "options": _BEHIND,
    },
}


def natural(config: ConfigDict) -> ConfigDict:
    """The same run for thousands of sentences of natural language, such as PHOENIX-2014T, of which
    a small model learns too much by heart: more dropout, and sentences of beams."""
    values = NATURAL[config.stage]
    config.steps = values["steps"]
    config.evaluate_every = 0
    for section in ("model", "data", "optim", "options"):
        with config[section].unlocked():
            config[section].update(values.get(section, {}))
    return config


def tiny(config: ConfigDict) -> ConfigDict:
    """The same run at a size for tests: two heads of 16, two layers, one batch shape, few steps."""
    small = {
        "d_model": 32,
        "n_layers": 2,
        "n_heads": 2,
        "d_mlp": 64,
        "n_kv_heads": 2,
        "head_size": 16,
        "d_part": 16,
        "channels": (4, 8),
    }
    sizes = {
        "signing": ("d_model", "n_layers", "n_heads", "d_mlp", "d_part"),
        "language_model": ("d_model", "n_layers", "n_heads", "d_mlp", "n_kv_heads", "head_size"),
        "fusion": ("d_model", "n_layers", "n_heads", "d_mlp"),
        "alignment": (),
        "translation": (),
        "segmentation": ("d_model", "n_layers", "n_heads", "d_mlp", "d_part"),
    }
    sizes["fingerspelling"] = sizes["signing"]
    sizes["lipreading"] = (*sizes["signing"], "channels")
    names = sizes.get(config.stage, sizes["signing"])
    with config.model.unlocked():
        config.model.update({name: small[name] for name in names})
    config.steps = 20
    config.evaluate_every = 0
    config.optim.warmup_steps = 5
    config.data.frames_per_batch = 1024
    config.data.n_buckets = 1
    return config
