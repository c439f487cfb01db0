"""(config, topology) pairs that `signbind preflight --all` compiles: what we ship for real work."""

from signbind_jax.configs import open_llm

SLICES = {"v4": "2x2x4", "v5e": "4x4", "v5p": "2x2x4", "v6e": "4x4"}  # 16 chips each


def _sized(stage: str, size: str, kind: str, corpus: str = "how2sign") -> tuple[str, str]:
    return f"{stage}:size={size},corpus={corpus},chips=16", f"{kind}:{SLICES[kind]}"


def _llm(stage: str, llm: str, kind: str, slice_: str = "", chips: int = 16) -> tuple[str, str]:
    spec = f"{stage}:llm={llm},chip={kind},chips={chips}"
    return spec, f"{kind}:{slice_ or SLICES[kind]}"


_STAGES = ("signing", "lipreading", "language_model", "fusion", "alignment", "translation")
_SIZED = (("base", "v5e"), ("large", "v5p"))
SHIPPED = (
    *(_sized(stage, size, kind) for stage in _STAGES for size, kind in _SIZED),
    *(_sized("fingerspelling", size, kind, "chicago_fswild_plus") for size, kind in _SIZED),
    *(_sized("signing", size, kind) for size, kind in (("base", "v4"), ("large", "v6e"))),
    *(_sized(stage, "large", "v5p", "bobsl") for stage in ("signing", "lipreading")),
    *(_sized(stage, "large", "v5p", "mixture") for stage in ("signing", "fusion")),
    *(_llm("translation", llm, kind) for llm in open_llm.RECIPES for kind in SLICES),
    _llm("alignment", "llama-3.2-3b", "v5p"),
    _llm("alignment", "llama-3.1-8b", "v5e"),
    # The same work for each of more and more chips.
    *(
        _llm("translation", "llama-3.2-3b", "v5p", slice_, chips)
        for slice_, chips in (("4x4x4", 64), ("4x8x8", 256), ("8x8x16", 1024))
    ),
)
