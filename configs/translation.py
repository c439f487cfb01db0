"""Stage 4, translation: the LLM is tuned together with fusion and projector.

Arguments: `llm=pretrained` for a model of others, which keeps its weights and gets adapters;
`size=few` for a handful of clips, `size=tiny` for tests.
"""

from configs import common


def get_config(arg=None):
    arg = common.parse_arg(arg, size="small", llm="scratch")
    config = common.run(
        "translation",
        steps=500,
        model={"dropout": 0.1},
        data={"frames_per_batch": 1024, "n_buckets": 4},
        optim={"learning_rate": 7e-4, "warmup_steps": 50},
    )
    if common.is_pretrained(arg.llm):
        config.steps = 300
        config.data.frames_per_batch = 512
        config.optim.warmup_steps = 30
        config.options.update({"lora_rank": 16, "lora_alpha": 32.0, "frozen_dtype": "float32"})
    return common.sized(config, arg.size)
