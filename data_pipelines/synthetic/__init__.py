"""The embedded synthetic corpus: sentences of an invented signed language, from a seed."""
