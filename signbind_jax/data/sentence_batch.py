"""SentenceBatch: stream tokens, prompt and text of a batch for the stages behind the experts."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np

from signbind_jax.models.fusion import StreamTokens


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SentenceBatch:
    """One row a clip.

    Attributes:
      tokens: the streams; None where a stage reads text alone.
      target_bn, target_length_b: ids fusion's CTC is trained on, 0-padded.
      prompt_ids_bp, prompt_mask_bp: prompt tokens behind the soft prefix, padded on the left.
      text_ids_bl, text_mask_bl: the sentence with its end token, padded on the right.
      index_b: int32 clip index, -1 in empty rows.
      valid_b: bool, False in empty rows.
    """

    tokens: StreamTokens | None
    target_bn: np.ndarray
    target_length_b: np.ndarray
    prompt_ids_bp: np.ndarray
    prompt_mask_bp: np.ndarray
    text_ids_bl: np.ndarray
    text_mask_bl: np.ndarray
    index_b: np.ndarray
    valid_b: np.ndarray


def pad_right(sequences: Sequence[Sequence[int]], capacity: int) -> tuple[np.ndarray, np.ndarray]:
    """int32 ids (b, capacity) and their mask, real places first."""
    ids = np.zeros((len(sequences), capacity), np.int32)
    mask = np.zeros((len(sequences), capacity), bool)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = True
    return ids, mask


def pad_left(sequences: Sequence[Sequence[int]], capacity: int) -> tuple[np.ndarray, np.ndarray]:
    """int32 ids (b, capacity) and their mask, real places last."""
    ids = np.zeros((len(sequences), capacity), np.int32)
    mask = np.zeros((len(sequences), capacity), bool)
    for row, sequence in enumerate(sequences):
        if len(sequence):
            ids[row, -len(sequence) :] = sequence
            mask[row, -len(sequence) :] = True
    return ids, mask
