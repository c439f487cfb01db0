"""The hard preset of the synthetic corpus: docs/use/corpora/synthetic_hard.md."""
