"""Stage 4, translation: the LLM is tuned together with fusion and projector.

Arguments: `llm=pretrained` for a model of others, `llm=llama-3.2-3b,chip=v5e,chips=16` (see
`configs/open_llm.py`) for one on so many accelerators, which keeps its weights and gets adapters;
`size=base` or `large` with `corpus` and `chips` for real corpora and the decoder of that size
(`configs/real.py`); `size=natural` for thousands of sentences of natural language; `size=few` for a
handful of clips, `size=tiny` for tests.
"""

from signbind_jax.configs import common, fusion, language_model, open_llm


def get_config(arg=None):
    arg = common.parse_arg(arg, size="small", corpus="how2sign", llm="scratch", chip="v5e", chips=1)
    config = common.run(
        "translation",
        steps=500,
        model={"dropout": 0.1},
        data={"frames_per_batch": 1024, "n_buckets": 4},
        optim={"learning_rate": 7e-4, "warmup_steps": 50},
    )
    if open_llm.is_pretrained(arg.llm):
        config.steps = 300
        config.data.frames_per_batch = 512
        config.optim.warmup_steps = 30
        config.options.update({"lora_rank": 16, "lora_alpha": 32.0, "frozen_dtype": "float32"})
    if arg.llm in open_llm.RECIPES:
        return open_llm.with_llm(config, arg)
    config = common.apply_size(config, arg.size, arg.corpus, arg.chips)
    config.assumed.fusion = fusion.get_config(f"size={arg.size}").model
    config.assumed.decoder = language_model.get_config(f"size={arg.size}").model
    return config
