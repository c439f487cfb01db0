"""The ids that end a sentence."""


def is_eos(ids, eos):
    """bool in the shape of `ids`: whether each is one of the ending ids."""
    return (ids[..., None] == eos).any(-1)
