"""The tokenizer of a Hugging Face directory as `transformers` sees it: ids, roles, template."""

from pathlib import Path

from signbind_jax.errors import SignBindError

ROLES = ("bos", "eos", "pad", "unk")


class ChatTokenizer:
    """A tokenizer with its special tokens and chat template.

    Attributes:
      n_ids: one more than the largest id.
      special: role ("bos", "eos", "pad", "unk") -> (token, id), of the roles that are filled.
      template: the chat template, or None.
    """

    def __init__(self, directory: Path):
        """Reads tokenizer.json and what stands beside it.

        Raises:
          SignBindError: no tokenizer.json, or one that cannot be read.
        """
        self.path = Path(directory) / "tokenizer.json"
        if not self.path.exists():
            raise SignBindError(f"{self.path}: no such file; wanted a model with its tokenizer "
                                "in the format of the tokenizers library")  # fmt: skip
        # Imported late: it takes a second.
        from transformers import PreTrainedTokenizerFast

        try:
            self._tokenizer = PreTrainedTokenizerFast.from_pretrained(directory)
        except Exception as error:  # tokenizers raises bare Exception for a broken file
            line = " ".join(str(error).split())[:200]
            raise SignBindError(f"{self.path}: found {type(error).__name__}: {line}; wanted a "
                                "tokenizer of the tokenizers library") from error  # fmt: skip
        self.n_ids = 1 + max(self._tokenizer.get_vocab().values(), default=-1)
        named = {role: getattr(self._tokenizer, f"{role}_token") for role in ROLES}
        self.special = {role: (token, self._tokenizer.convert_tokens_to_ids(token))
                        for role, token in named.items() if token}  # fmt: skip
        self.template = self._tokenizer.chat_template

    def check_rows(self, n_rows: int) -> None:
        """Raises SignBindError where an id has no row in an embedding table of `n_rows`."""
        if self.n_ids > n_rows:
            raise SignBindError(f"{self.path}: found ids up to {self.n_ids - 1}, wanted at most "
                                f"{n_rows - 1}: the embedding table has {n_rows} rows")  # fmt: skip

    def user_message(self, text: str) -> str:
        """What the template makes of one message of the user, up to where the model goes on.

        Raises:
          SignBindError: the template cannot be filled in.
        """
        try:
            return self._tokenizer.apply_chat_template(
                [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
            )
        except Exception as error:  # whatever a template raises
            line = " ".join(str(error).split())[:200]
            raise SignBindError(f"{self.path.parent}: chat template: found {type(error).__name__}: "
                                f"{line}") from error  # fmt: skip

    def count(self, text: str) -> int:
        """How many ids a text becomes, none added to it."""
        return len(self._tokenizer.encode(text, add_special_tokens=False))
