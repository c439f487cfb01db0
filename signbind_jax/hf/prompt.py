"""The prompt around the signs: a model's chat template, or an instruction alone."""

import json
from pathlib import Path

from signbind_jax.errors import SignBindError
from signbind_jax.hf.tokenizer import TextTokenizer

_SIGNS = "{{signs stand here}}"


def frame(directory: Path, tokenizer: TextTokenizer, instruction: str) -> tuple[list, list]:
    """Ids in front of the signs and ids between them and the sentence.

    With a chat template the instruction is the system's message (where the template knows
    none, the beginning of the user's) and the signs are the user's; without one the
    instruction stands on a line of its own.

    Raises:
      SignBindError: a template that cannot be filled in.
    """
    directory = Path(directory)
    if not _has_template(directory):
        begin = [tokenizer.bos_id] if tokenizer.has_bos else []
        return [*begin, *tokenizer.encode(instruction + "\n")], tokenizer.encode("\n")
    # Imported late: it takes seconds and only chat models need it.
    from transformers import AutoTokenizer

    try:
        reference = AutoTokenizer.from_pretrained(directory)
    except Exception as error:  # of many kinds
        raise SignBindError(f"{directory}: its tokenizer cannot be read by transformers "
                            f"({error})") from error  # fmt: skip
    text = _fill(reference, directory, instruction)
    before, found, after = text.partition(_SIGNS)
    if not found:
        raise SignBindError(f"{directory}: chat template: found no place for the user's message")
    return tuple(reference(part, add_special_tokens=False)["input_ids"]
                 for part in (before, after))  # fmt: skip


def _has_template(directory: Path) -> bool:
    if (directory / "chat_template.jinja").exists():
        return True
    settings = directory / "tokenizer_config.json"
    return settings.exists() and "chat_template" in json.loads(settings.read_text("utf-8"))


def _fill(reference, directory: Path, instruction: str) -> str:
    rivals = (
        [{"role": "system", "content": instruction}, {"role": "user", "content": _SIGNS}],
        [{"role": "user", "content": f"{instruction}\n{_SIGNS}"}],
    )
    for messages in rivals:
        try:
            return reference.apply_chat_template(messages, tokenize=False,
                                                 add_generation_prompt=True)  # fmt: skip
        except Exception as error:  # whatever a template raises; some refuse a system message
            failure = error
    raise SignBindError(f"{directory}: chat template: {failure}")
