"""The tokenizer of a Hugging Face directory: ids, roles, chat template."""

from collections.abc import Sequence
from pathlib import Path

from signbind_jax import files
from signbind_jax.errors import SignBindError
from signbind_jax.hf import confined
from signbind_jax.hf.tokenizer import TextTokenizer
from signbind_jax.hf.tokenizer_file import (
    NAME,
    ROLES,
    read_foreign_tokenizer,
    read_settings,
    read_tokenizer,
)

RENDERING = {"memory": 2**29, "seconds": 3}  # real templates take milliseconds
MESSAGE_CHARACTERS = 2**17  # the most a template may make of a message
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
          SignBindError: no tokenizer.json, one that cannot be read, or files beside it that do
            not fit it.
        """
        self.path = Path(directory) / NAME
        self._tokenizer = read_foreign_tokenizer(self.path)
        settings = read_settings(Path(directory))
        self.n_ids = 1 + max(self._tokenizer.get_vocab().values(), default=-1)
        self.template, self._tokens = settings.template, settings.tokens
        self.special = {}
        for role in ROLES:
            if role not in settings.tokens:
                continue
            token = settings.tokens[role]
            token_id = self._tokenizer.token_to_id(token)
            if token_id is None:
                raise SignBindError(
                    f"{self.path.parent}: {role}: found {files.shorten(token)}, "
                    f"wanted a token of {NAME}"
                )
            self.special[role.removesuffix("_token")] = token, token_id

    def check_rows(self, n_rows: int) -> None:
        """Raises SignBindError where an id has no row in an embedding table of `n_rows`."""
        if self.n_ids > n_rows:
            raise SignBindError(
                f"{self.path}: found ids up to {self.n_ids - 1}, wanted at most "
                f"{n_rows - 1}: the embedding table has {n_rows} rows"
            )

    def user_message(self, text: str) -> str:
        """Fills the template with one message of the user, up to where the model goes on.

        Raises:
          SignBindError: the template cannot be filled in.
        """
        return self._fill([{"role": "user", "content": text}])

    def count(self, text: str) -> int:
        """Counts how many ids a text becomes, none added to it."""
        return len(self._ids(text))

    def text_tokenizer(self, instruction: str) -> TextTokenizer:
        """Makes the tokenizer that the stages use, with the prompt that holds the instruction.

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
            raise SignBindError(
                f"{self.path.parent}: eos_token: found nothing, wanted the token "
                "that ends a sentence, in tokenizer_config.json"
            )
        roles = {role: named.get(role, named["eos"]) for role in ("pad", "bos", "eos", "sep")}
        # One of its own, because special tokens in the sentences are text and in the prompt not.
        found = TextTokenizer(read_tokenizer(self.path), roles)
        if found.decode(found.encode("a") + found.encode("b")) != "ab":
            raise SignBindError(
                f"{self.path}: puts a space in front of every piece of text; "
                "wanted a tokenizer that leaves text as it is"
            )
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
            raise SignBindError(
                f"{self.path.parent}: chat template: found no place for the user's message"
            )
        return self._ids(before), self._ids(after)

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def _fill(self, messages: list[dict]) -> str:
        variables = {"messages": messages, "tools": None, "documents": None, **self._tokens}
        variables["add_generation_prompt"] = True
        try:
            return confined.run(
                "render",
                template=self.template,
                variables=variables,
                limit=MESSAGE_CHARACTERS,
                **RENDERING,
            )
        except SignBindError as error:  # what a template raises, or a limit
            raise SignBindError(f"{self.path.parent}: chat template: {error}") from None
