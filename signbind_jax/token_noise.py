"""Noise on token streams: what fusion learns to live with, and absent streams."""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from signbind_jax.models.fusion import StreamTokens, keep_streams
from signbind_jax.ranges import Checked, Rate, Share, Strength

Shares = tuple[Share, Share, Share]  # one a stream


@dataclass(frozen=True)
class TokenNoiseConfig(Checked):
    """Augmentation of decoded streams in training.

    Experts read their own training clips better than unseen ones; without noise fusion
    would learn to trust them blindly.

    Attributes:
      drop: share of tokens removed, for each stream.
      substitute: share of tokens replaced by another clip's token of the same stream, for
        each stream.
      drop_hidden: share of tokens that lose their hidden vector and keep their id: the vectors
        are so rich that fusion can learn training clips by heart from them.
      jitter_s: standard deviation in seconds of each token's time.
      stretch: largest relative change of a clip's tempo.
      shift_s: largest shift in seconds of a whole stream against the others.
      drop_stream: how often each stream (in stream order) is absent from a sample.
    """

    drop: Shares = (0.02, 0.01, 0.04)
    substitute: Shares = (0.03, 0.01, 0.08)
    drop_hidden: Share = 0.3
    jitter_s: Strength = 0.0
    stretch: Rate = 0.1
    shift_s: Strength = 0.0
    drop_stream: Shares = (0.05, 0.25, 0.25)


def add_noise(tokens: StreamTokens, index_b, key, config: TokenNoiseConfig) -> StreamTokens:
    """Noisy copies of the streams; a row's noise is drawn from its own clip `index_b`.

    Substitution takes the token of a neighbouring row at the same place where that token is
    of the same stream, so ids keep the corpus's frequencies.
    """
    n_streams = len(config.drop_stream)
    other = jax.tree.map(lambda x: jnp.roll(x, 1, axis=0), tokens)

    def one_row(own: StreamTokens, other: StreamTokens, index):
        keys = jax.random.split(jax.random.fold_in(key, index), 7)
        m = own.ids_bm.shape[0]
        swap = jax.random.uniform(keys[0], (m,)) < jnp.array(config.substitute)[own.stream_bm]
        swap &= own.mask_bm & other.mask_bm & (own.stream_bm == other.stream_bm)
        ids = jnp.where(swap, other.ids_bm, own.ids_bm)
        hidden = jnp.where(swap[:, None], other.hidden_bmd, own.hidden_bmd)
        lost = jax.random.uniform(keys[1], (m,)) < jnp.array(config.drop)[own.stream_bm]
        kept = own.mask_bm & ~lost
        shift_s = config.shift_s * jax.random.uniform(keys[2], (n_streams,), minval=-1, maxval=1)
        moved = config.jitter_s * jax.random.normal(keys[3], (m,)) + shift_s[own.stream_bm]
        tempo = 1.0 + config.stretch * jax.random.uniform(keys[5], (), minval=-1, maxval=1)
        bare = jax.random.uniform(keys[6], (m,)) < config.drop_hidden
        hidden = jnp.where(bare[:, None], 0, hidden)
        absent = jax.random.uniform(keys[4], (n_streams,)) < jnp.array(config.drop_stream)
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

    noisy, keep_bs = jax.vmap(one_row)(tokens, other, index_b)
    return keep_streams(noisy, keep_bs)
