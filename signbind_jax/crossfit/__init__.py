"""Cross-fitting: experts that each leave out a fold, so that all clips are read unseen."""
