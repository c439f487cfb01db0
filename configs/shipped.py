"""(config, topology) pairs that `signbind preflight --all` compiles: what we ship for real work."""

from configs import open_llm

SLICES = {"v4": "2x2x4", "v5e": "4x4", "v5p": "2x2x4", "v6e": "4x4"}  # 16 chips each
# size -> kinds of chips that the experts, fusion and the decoder from scratch are compiled for.
_KINDS = {"base": ("v5e", "v4"), "large": ("v5p", "v6e")}


def _sized(stage: str, size: str, kind: str, corpus: str = "how2sign") -> tuple[str, str]:
    return f"{stage}:size={size},corpus={corpus},chips=16", f"{kind}:{SLICES[kind]}"


def _llm(stage: str, llm: str, kind: str, slice_: str = "", chips: int = 16) -> tuple[str, str]:
    spec = f"{stage}:llm={llm},chip={kind},chips={chips}"
    return spec, f"{kind}:{slice_ or SLICES[kind]}"


SHIPPED = (
    *(_sized(stage, size, kind) for stage in ("signing", "lipreading", "language_model", "fusion")
      for size, kinds in _KINDS.items() for kind in kinds),
    *(_sized("fingerspelling", size, kind, "chicago_fswild_plus")
      for size, kinds in _KINDS.items() for kind in kinds),
    *(_sized(stage, size, _KINDS[size][0], corpus) for stage in ("signing", "lipreading", "fusion")
      for size in _KINDS for corpus in ("bobsl", "mixture")),
    *(_llm("translation", llm, kind) for llm in open_llm.RECIPES for kind in SLICES),
    *(_llm("alignment", llm, "v5p") for llm in open_llm.RECIPES),
    # The same work for each of more and more chips.
    *(_llm("translation", "llama-3.2-3b", "v5p", slice_, chips)
      for slice_, chips in (("4x4x4", 64), ("4x8x8", 256), ("8x8x16", 1024))),
)  # fmt: skip
