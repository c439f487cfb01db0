"""Stage 3, alignment: fusion and projector learn to speak to the frozen LLM.

Arguments: `llm=pretrained` for a model of others, `llm=llama-3.2-3b,chip=v5e,chips=16` (see
`configs/open_llm.py`) for one on so many accelerators; `size=base` or `large` with `corpus` and
`chips` for real corpora and the decoder of that size (`configs/real.py`); `size=natural` for
thousands of sentences of natural language; `size=few` for a handful of clips, `size=tiny` for
tests.
"""

from signbind_jax.configs import common, fusion, language_model, open_llm


def get_config(arg=None):
    arg = common.parse_arg(arg, size="small", corpus="how2sign", llm="scratch", chip="v5e", chips=1)
    config = common.run(
        "alignment",
        steps=150,
        model={"dropout": 0.1},
        data={"frames_per_batch": 1024, "n_buckets": 4},
        optim={"learning_rate": 1.5e-3, "warmup_steps": 30},
    )
    if open_llm.is_pretrained(arg.llm):
        config.steps = 60
        config.data.frames_per_batch = 512
        config.optim.warmup_steps = 10
    if arg.llm in open_llm.RECIPES:
        return open_llm.with_llm(config, arg)
    config = common.apply_size(config, arg.size, arg.corpus, arg.chips)
    config.assumed.fusion = fusion.get_config(f"size={arg.size}").model
    config.assumed.decoder = language_model.get_config(f"size={arg.size}").model
    return config
