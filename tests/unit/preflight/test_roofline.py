"""The range of times that a stated roofline gives."""

import dataclasses

import pytest

from signbind_jax.errors import SignBindError
from signbind_jax.preflight import roofline, topologies
from signbind_jax.preflight.collectives import Collective
from signbind_jax.preflight.costs import Cost

V5E = topologies.find("v5e:4x4")
MESH = {"data": 1, "fsdp": 16, "tensor": 1}


def cost(flops=1e13, padded=1.1e13, hbm=2e10, gathered=1e9, is_async=True) -> Cost:
    gather = Collective("g", "all-gather", 16, gathered, 28, is_async)
    return Cost(flops, padded, hbm, (gather,), ())


def estimate(*costs: Cost, topology=V5E, mesh=MESH, model_flops=16e13) -> roofline.Estimate:
    return roofline.estimate(costs, topology, model_flops, mesh)


@pytest.mark.parametrize(
    "costs",
    [cost(), cost(hbm=1e12), cost(gathered=1e12), cost(padded=1e15), cost(hbm=0, gathered=0)],
)
def test_the_floor_is_below_likely_and_likely_below_worst(costs):
    found = estimate(costs)
    assert 0 < found.floor <= found.likely <= found.worst
    assert 1 >= found.floor_mfu >= found.likely_mfu >= found.worst_mfu > 0


@pytest.mark.parametrize("field", ["padded", "hbm", "gathered"])
def test_more_of_anything_never_takes_less_time(field):
    times = [estimate(cost(**{field: n})) for n in (1e9, 1e11, 1e13, 1e15)]
    for end in ("floor", "likely", "worst"):
        seconds = [getattr(t, end) for t in times]
        assert seconds == sorted(seconds)
        assert seconds[-1] > seconds[0]


def test_what_bounds_is_named():
    assert estimate(cost(padded=1e16)).bound == roofline.MATRIX
    assert estimate(cost(hbm=1e14)).bound == roofline.HBM
    assert estimate(cost(gathered=1e13)).bound == roofline.INTERCONNECT


def test_mfu_is_never_above_one_even_where_a_compiler_leaves_products_out():
    found = estimate(cost(flops=1e10, padded=1e10, hbm=0, gathered=0), model_flops=16e13)
    assert found.floor_mfu == 1.0


def test_the_floor_is_what_the_chip_needs_at_its_peak():
    found = estimate(cost(padded=197e12, hbm=8.19e11 / 2, gathered=0))
    assert found.floor == pytest.approx(1.0)
    assert found.seconds[roofline.HBM] == pytest.approx(0.5)


def test_programs_run_one_after_the_other():
    one, two = estimate(cost(), model_flops=0), estimate(cost(), cost(), model_flops=0)
    assert two.floor == pytest.approx(2 * one.floor)
    assert two.worst == pytest.approx(2 * one.worst)


def test_collectives_that_block_take_longer_than_those_beside_other_work():
    assert estimate(cost(is_async=False)).likely > estimate(cost()).likely


@pytest.mark.parametrize(
    "name,group,links",
    [
        ("v5e:4x4", 16, 2),  # both axes, neither of them a ring
        ("v5e:4x4", 4, 1),
        ("v5e:16x16", 16, 2),
        ("v5e:16x16", 256, 4),
        ("v5p:2x2x4", 16, 4),
        ("v5p:2x2x4", 4, 2),
        ("v5p:4x4x4", 64, 6),
        ("v5p:4x4x4", 2, 1),
    ],
)
def test_a_group_has_the_links_of_the_axes_it_spans(name, group, links):
    found = roofline.spanned(topologies.find(name), group)
    assert sum(ways for _, ways in found) == links


def test_an_all_gather_over_four_chips_of_v5e_takes_what_the_scaling_book_says():
    # jax-ml.github.io/scaling-book/sharding, pop quiz 2: 34 MB over an axis of 4: 560 us.
    gather = Collective("g", "all-gather", 4, 2048 * 8192 * 2, 1)
    found = estimate(Cost(0, 0, 0, (gather,), ()), model_flops=0)
    assert found.seconds[roofline.INTERCONNECT] == pytest.approx(560e-6, rel=0.01)


def test_every_constant_is_printed_with_its_source():
    printed = roofline.constants()
    assert set(printed) == {f.name for f in dataclasses.fields(roofline.Constants)}
    assert all(len(text) > 20 for text in printed.values())


def test_a_mesh_of_another_size_and_cpu_devices_are_errors():
    with pytest.raises(SignBindError, match="mesh: found .* wanted 16 devices"):
        estimate(cost(), mesh={"data": 8})
    with pytest.raises(SignBindError, match="found 'cpu:8', wanted a TPU slice"):
        estimate(cost(), topology=topologies.find("cpu:8"), mesh={"data": 8})
