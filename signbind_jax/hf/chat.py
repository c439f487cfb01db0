"""The tokenizer of a Hugging Face directory as `transformers` sees it: ids, roles, template."""

from collections.abc import Sequence
from pathlib import Path

import tokenizers

from signbind_jax.errors import SignBindError
from signbind_jax.hf.tokenizer import TextTokenizer

ROLES = ("bos", "eos", "pad", "unk")
_SIGNS = "{{signs stand here}}"


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
        return self._fill([{"role": "user", "content": text}])

    def count(self, text: str) -> int:
        """How many ids a text becomes, none added to it."""
        return len(self._ids(text))

    def text_tokenizer(self, instruction: str) -> TextTokenizer:
        """The same tokenizer as the stages use it, with the prompt that holds the instruction.

        With a chat template the instruction is the system's message (where the template knows
        none, the beginning of the user's) and the signs are the user's; without one the
        instruction stands on a line of its own. Where no token is named for padding, or for the
        beginning of a text, the one that ends a sentence stands in.

        Raises:
          SignBindError: no token ends a sentence, the template cannot be filled in, or the
            tokenizer puts a space in front of every piece of text.
        """
        named = {role: token for role, (token, _) in self.special.items()}
        if "eos" not in named:
            raise SignBindError(f"{self.path.parent}: eos_token: found nothing, wanted the token "
                                "that ends a sentence, in tokenizer_config.json")  # fmt: skip
        roles = {role: named.get(role, named["eos"]) for role in ("pad", "bos", "eos", "sep")}
        found = TextTokenizer(tokenizers.Tokenizer.from_file(str(self.path)), roles)
        if found.decode(found.encode("a") + found.encode("b")) != "ab":
            raise SignBindError(f"{self.path}: puts a space in front of every piece of text; "
                                "wanted a tokenizer that leaves text as it is")  # fmt: skip
        return found.with_frame(*self._frame(instruction))

    def _frame(self, instruction: str) -> tuple[Sequence[int], Sequence[int]]:
        """Ids in front of the signs, and between them and the sentence."""
        if not self.template:
            begin = [self.special["bos"][1]] if "bos" in self.special else []
            return [*begin, *self._ids(instruction + "\n")], self._ids("\n")
        system = {"role": "system", "content": instruction}
        try:
            text = self._fill([system, {"role": "user", "content": _SIGNS}])
        except SignBindError:  # some templates refuse a system's message
            text = self.user_message(f"{instruction}\n{_SIGNS}")
        before, found, after = text.partition(_SIGNS)
        if not found:
            raise SignBindError(f"{self.path.parent}: chat template: found no place for the "
                                "user's message")  # fmt: skip
        return self._ids(before), self._ids(after)

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False)

    def _fill(self, messages: list[dict]) -> str:
        try:
            return self._tokenizer.apply_chat_template(messages, tokenize=False,
                                                       add_generation_prompt=True)  # fmt: skip
        except Exception as error:  # whatever a template raises
            line = " ".join(str(error).split())[:200]
            raise SignBindError(f"{self.path.parent}: chat template: found {type(error).__name__}: "
                                f"{line}") from error  # fmt: skip
