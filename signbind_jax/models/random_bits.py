"""Random numbers from an integer hash of index and key: cheap to compile, to run and to shard.

`jax.random`'s Threefry costs XLA's CPU compiler about 0.4 s a shape, which for a model's
initialisation and dropout adds up to more than small models take to train an epoch. Initial
weights, dropout masks and noise need no cryptographic generator. Every number depends on its index
in the array and on the key alone, so it is the same on any mesh.
"""

import math

import jax
import jax.numpy as jnp


def bits(key, shape):
    """Gives uint32 of a shape: the hash of each index, seeded before and between rounds."""
    seed = jax.random.key_data(key).astype(jnp.uint32)
    index = jnp.zeros(shape, jnp.uint32)
    for axis, size in enumerate(shape):
        index = index * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
    x = index * jnp.uint32(0x9E3779B9) + seed[0]
    x = mix(x) ^ seed[1]
    return mix(x + jnp.uint32(0x85EBCA6B))


def mix(x):
    """Wellons' lowbias32 (2018) of each uint32."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def bernoulli(key, probability: float, shape):
    """Gives a bool array, True with the given probability."""
    return bits(key, shape) < jnp.uint32(min(int(probability * 2**32), 2**32 - 1))


def truncated_normal(key, shape):
    """Gives float32 standard normal, cut at two standard deviations, scaled to variance 1."""
    edge = math.erf(2.0 / math.sqrt(2.0))
    u = (bits(key, shape) >> 8).astype(jnp.float32) / 2.0**23 - 1.0 + 2.0**-24
    # Variance of a standard normal cut at +-2 is 0.774.
    return jax.lax.erf_inv(u * edge) * math.sqrt(2.0 / 0.7737)
