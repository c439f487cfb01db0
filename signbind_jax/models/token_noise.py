"""Noise on token streams: what fusion learns to live with, and absent streams."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from signbind_jax import streams
from signbind_jax.models.fusion import StreamTokens, keep_streams
from signbind_jax.ranges import Checked, Rate, Share, Strength
from signbind_jax.streams import StreamName

_POOL = 128  # tokens of a stream that stand in for others in a batch
Shares = dict[StreamName, Share]


@dataclass(frozen=True)
class TokenNoiseConfig(Checked):
    """Augmentation of decoded streams in training.

    Experts read their own training clips better than unseen ones; without noise fusion
    would learn to trust them blindly. Shares are given by stream; one that is not named has that
    of its `StreamSpec`.

    Attributes:
      drop: share of tokens removed.
      substitute: share of tokens replaced by another one of the same stream, as often as it
        occurs in the batch.
      drop_hidden: share of tokens that lose their hidden vector and keep their id: the vectors
        are so rich that fusion can learn training clips by heart from them.
      jitter_s: standard deviation in seconds of each token's time.
      stretch: largest relative change of a clip's tempo.
      shift_s: largest shift in seconds of a whole stream against the others.
      drop_stream: how often a stream is absent from a sample.
    """

    drop: Shares = field(default_factory=dict)
    substitute: Shares = field(default_factory=dict)
    drop_hidden: Share = 0.3
    jitter_s: Strength = 0.0
    stretch: Rate = 0.1
    shift_s: Strength = 0.0
    drop_stream: Shares = field(default_factory=dict)

    def shares(self, kind: str, names: Sequence[str]):
        """Gives `drop`, `substitute` or `drop_stream` of streams in order, (y,)."""
        given = getattr(self, kind)
        return jnp.array([given.get(name, getattr(streams.get(name), kind)) for name in names])


def add_noise(
    tokens: StreamTokens, index_b, key, config: TokenNoiseConfig, names: Sequence[str]
) -> StreamTokens:
    """Adds noise to the streams `names`; a row's noise is drawn from its own clip `index_b`.

    Substitutes come from the tokens of the whole batch, so that ids keep the corpus's frequencies
    and rare streams are substituted as often as is asked for.
    """
    n_streams = len(names)
    substitute_y, drop_y, drop_stream_y = (
        config.shares(kind, names) for kind in ("substitute", "drop", "drop_stream")
    )
    pool_key, key = jax.random.split(key)
    pool_ids_yn, pool_hidden_ynd, pool_mask_yn = _pool(tokens, pool_key, n_streams)

    def one_row(own: StreamTokens, index):
        keys = jax.random.split(jax.random.fold_in(key, index), 8)
        m = own.ids_bm.shape[0]
        swap = jax.random.uniform(keys[0], (m,)) < substitute_y[own.stream_bm]
        # From a random place of the pool on, the first token that is another one.
        first = jax.random.randint(keys[7], (m, 1), 0, _POOL)
        other = pool_mask_yn[own.stream_bm] & (pool_ids_yn[own.stream_bm] != own.ids_bm[:, None])
        wait = jnp.where(other, (jnp.arange(_POOL) - first) % _POOL, _POOL)
        chosen = jnp.argmin(wait, axis=1)
        swap &= own.mask_bm & other.any(axis=1)
        ids = jnp.where(swap, pool_ids_yn[own.stream_bm, chosen], own.ids_bm)
        hidden = jnp.where(swap[:, None], pool_hidden_ynd[own.stream_bm, chosen], own.hidden_bmd)
        lost = jax.random.uniform(keys[1], (m,)) < drop_y[own.stream_bm]
        kept = own.mask_bm & ~lost
        shift_s = config.shift_s * jax.random.uniform(keys[2], (n_streams,), minval=-1, maxval=1)
        moved = config.jitter_s * jax.random.normal(keys[3], (m,)) + shift_s[own.stream_bm]
        tempo = 1.0 + config.stretch * jax.random.uniform(keys[5], (), minval=-1, maxval=1)
        bare = jax.random.uniform(keys[6], (m,)) < config.drop_hidden
        hidden = jnp.where(bare[:, None], 0, hidden)
        absent = jax.random.uniform(keys[4], (n_streams,)) < drop_stream_y
        absent &= ~jnp.all(absent)
        noisy = dataclasses.replace(
            own,
            ids_bm=ids,
            hidden_bmd=hidden,
            mask_bm=kept,
            start_bm=tempo * own.start_bm + moved,
            end_bm=tempo * own.end_bm + moved,
        )
        return noisy, ~absent

    noisy, keep_by = jax.vmap(one_row)(tokens, index_b)
    return keep_streams(noisy, keep_by)


def _pool(tokens: StreamTokens, key, n_streams: int):
    """Draws _POOL tokens of each stream from a batch: ids_yn, hidden_ynd, and mask_yn, which is
    False where a stream has fewer."""
    rank_bm = jax.random.uniform(key, tokens.ids_bm.shape)
    of_stream_ybm = tokens.stream_bm == jnp.arange(n_streams)[:, None, None]
    rank_ybm = jnp.where(of_stream_ybm & tokens.mask_bm, rank_bm, -1.0)
    rank_yn = rank_ybm.reshape(n_streams, -1)
    missing = max(_POOL - rank_yn.shape[1], 0)
    rank_yn = jnp.pad(rank_yn, ((0, 0), (0, missing)), constant_values=-1.0)
    rank_yn, place_yn = jax.lax.top_k(rank_yn, _POOL)
    row_yn, column_yn = jnp.divmod(place_yn, tokens.ids_bm.shape[1])
    return tokens.ids_bm[row_yn, column_yn], tokens.hidden_bmd[row_yn, column_yn], rank_yn >= 0
