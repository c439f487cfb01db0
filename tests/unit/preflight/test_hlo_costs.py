"""What compiled programs cost, against hand counts."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from signbind_jax.distributed import libtpu_env
from signbind_jax.errors import SignBindError
from signbind_jax.preflight import hlo
from signbind_jax.preflight.costs import Cost, cost_of
from signbind_jax.preflight.model_flops import jaxpr_flops
from tests.conftest import facts_of
from tests.unit.preflight import hlo_dumps
from tests.unit.preflight.hlo_dumps import LAYERS, ROWS, WIDTH

X = jax.ShapeDtypeStruct((ROWS, WIDTH), jnp.float32)
W = jax.ShapeDtypeStruct((LAYERS, WIDTH, WIDTH), jnp.float32)
UP_DOWN = (
    jax.ShapeDtypeStruct((LAYERS, WIDTH, 4 * WIDTH), jnp.float32),
    jax.ShapeDtypeStruct((LAYERS, 4 * WIDTH, WIDTH), jnp.float32),
)
FORWARD = LAYERS * 2 * 2 * ROWS * WIDTH * 4 * WIDTH  # FLOPs of both products of all layers


def cost_of_text(text: str, unit: int = 128) -> Cost:
    return cost_of(hlo.parse(text), matrix_unit=unit)


def compiled(function, *args) -> Cost:
    return cost_of_text(hlo_dumps.optimised(function, *args))


def entry(*lines: str, before: str = "", header: str = "") -> Cost:
    """The cost of a program whose entry has these instructions, the last of them its root."""
    body = "\n".join(f"  {line}" for line in (*lines[:-1], f"ROOT {lines[-1]}"))
    main = f"ENTRY %main () -> f32[] {{\n{body}\n}}\n"
    return cost_of_text(f"HloModule m{header}\n\n{before}\n{main}")


def test_a_scanned_program_costs_the_flops_of_its_unrolled_twin():
    scanned, unrolled = compiled(hlo_dumps.scanned, X, W), compiled(hlo_dumps.unrolled, X, W)
    assert scanned.flops == unrolled.flops == LAYERS * 2 * ROWS * WIDTH * WIDTH


def test_gradients_without_remat_cost_three_forward_passes():
    assert compiled(jax.grad(hlo_dumps.loss(remat=False)), UP_DOWN, X).flops == 3 * FORWARD


def test_full_remat_costs_one_more_forward_pass_which_the_model_as_written_does_not():
    kept, again = hlo_dumps.loss(remat=False), hlo_dumps.loss(remat=True)
    costs = [compiled(jax.grad(loss), UP_DOWN, X).flops for loss in (kept, again)]
    assert costs[1] - costs[0] == FORWARD
    for loss in (kept, again):
        assert jaxpr_flops(jax.make_jaxpr(jax.grad(loss))(UP_DOWN, X).jaxpr) == costs[0]


@pytest.fixture(scope="module")
def facts():
    return facts_of("-m", "tests.unit.preflight.eight_device_costs")


def test_weights_gathered_in_a_loop_are_counted_at_every_turn(facts):
    (gather,) = facts["gathered"]
    assert gather["kind"] == "all-gather"
    assert gather["group_size"] == 8
    assert gather["count"] == LAYERS
    assert gather["n_bytes"] == WIDTH * WIDTH * 4  # one layer, whole


def test_a_training_step_multiplies_what_its_model_says_and_each_device_an_eighth(facts):
    step = facts["step"]
    assert step["model_flops"] == 8 * step["flops"]
    assert facts["larger_step"]["model_flops"] == 2 * step["model_flops"]


def test_remat_changes_no_flops_of_the_model(facts):
    assert facts["step"]["model_flops_with_remat"] == facts["step"]["model_flops"]


def test_weights_move_between_devices_and_rows_do_not(facts):
    # Twice the rows move hardly more: activations stay where their rows are.
    assert facts["larger_step"]["moved"] < 1.1 * facts["step"]["moved"]


def test_a_loop_that_depends_on_data_is_an_error_that_names_it():
    def run(x):
        return jax.lax.while_loop(lambda x: jnp.sum(x) < 100.0, lambda x: x @ x, x)

    text = hlo_dumps.optimised(run, jax.ShapeDtypeStruct((4, 4), jnp.float32))
    loop = next(line.split("%")[1].split(" ")[0] for line in text.splitlines() if " while(" in line)
    with pytest.raises(SignBindError, match=f"loop {loop} in .*depends on data"):
        cost_of_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "HloModule m\n\nENTRY %main () -> f32[] {\n  what is this\n}\n",
        "HloModule m\n\nENTRY %main () -> f32[] {\n  ROOT %a = f32[] negate(%missing)\n}\n",
        "HloModule m\n\nENTRY %main () -> f9[] {\n  ROOT %a = f9[2]{0} constant(1)\n}\n",
        "HloModule m\n\nENTRY %main () -> f32[] {\n  ROOT %a = f32[] fusion(), calls=%gone\n}\n",
    ],
)
def test_a_malformed_dump_is_an_error_of_one_line(text):
    with pytest.raises(SignBindError, match="^HLO: .*found") as error:
        cost_of_text(text)
    assert "\n" not in str(error.value)


LOOP = """
%condition (c: (s32[], f32[4,4])) -> pred[] {{
  %c = (s32[], f32[4,4]) parameter(0)
  %n = s32[] get-tuple-element(%c), index=0
  %limit = s32[] constant({limit})
  ROOT %go = pred[] compare({compared}), direction={direction}
}}

%body (b: (s32[], f32[4,4])) -> (s32[], f32[4,4]) {{
  %b = (s32[], f32[4,4]) parameter(0)
  %n.1 = s32[] get-tuple-element(%b), index=0
  %x = f32[4,4] get-tuple-element(%b), index=1
  %step = s32[] constant({step})
  %next = s32[] add(%n.1, %step)
  %y = f32[4,4] dot(%x, %x), lhs_contracting_dims={{1}}, rhs_contracting_dims={{0}}
  ROOT %both = (s32[], f32[4,4]) tuple(%next, %y)
}}
"""


@pytest.mark.parametrize(
    "start,limit,step,direction,compared,turns",
    [
        (0, 7, 1, "LT", "%n, %limit", 7),
        (0, 7, 2, "LT", "%n, %limit", 4),
        (1, 7, 2, "LE", "%n, %limit", 4),
        (7, 0, -1, "GT", "%n, %limit", 7),
        (6, 0, -2, "GE", "%n, %limit", 4),
        (0, 6, 2, "NE", "%n, %limit", 3),
        (0, 7, 1, "GT", "%limit, %n", 7),
        (9, 7, 1, "LT", "%n, %limit", 0),
    ],
)
def test_turns_follow_from_start_limit_and_step(start, limit, step, direction, compared, turns):
    found = entry(
        f"%start = s32[] constant({start})",
        "%x = f32[4,4] parameter(0)",
        "%state = (s32[], f32[4,4]) tuple(%start, %x)",
        "%loop = (s32[], f32[4,4]) while(%state), condition=%condition, body=%body",
        before=LOOP.format(limit=limit, step=step, direction=direction, compared=compared),
    )
    assert found.flops == turns * 2 * 4 * 4 * 4


def test_a_product_is_padded_to_the_matrix_unit():
    lines = (
        "%x = bf16[3072,192] parameter(0)",
        "%w = bf16[192,16] parameter(1)",
        "%y = bf16[3072,16] dot(%x, %w), lhs_contracting_dims={1}, rhs_contracting_dims={0}",
    )
    found = entry(*lines)
    assert found.flops == 2 * 3072 * 192 * 16
    assert found.padded_flops == 2 * 3072 * 256 * 128  # 192 -> 256, 16 -> 128
    odd = entry(
        "%x = bf16[1001,128] parameter(0)",
        "%w = bf16[128,128] parameter(1)",
        "%y = bf16[1001,128] dot(%x, %w), lhs_contracting_dims={1}, rhs_contracting_dims={0}",
    )
    assert odd.padded_flops == 2 * 1008 * 128 * 128  # rows in eights


def test_a_product_written_as_a_convolution_is_no_more_than_the_product():
    heads = entry(  # 8 heads as a spatial dimension of both factors, as a TPU's compiler does
        "%q = bf16[8,4,20,64] parameter(0)",
        "%k = bf16[8,4,20,64] parameter(1)",
        "%s = bf16[8,4,20,20] convolution(%q, %k), window={size=8x4 stride=7x3 lhs_dilate=8x4}, "
        "dim_labels=01bf_01oi->01bf",
    )
    assert heads.flops == 2 * 8 * 4 * 20 * 20 * 64
    columns = entry(  # 3 x 512 columns, of which the 3 are a window that slides over padding
        "%x = bf16[8,160,32,1] parameter(0)",
        "%w = bf16[32,3,512,1] parameter(1)",
        "%y = bf16[8,160,3,512] convolution(%x, %w), window={size=1x3 pad=0_0x2_2 "
        "rhs_reversal=0x1}, dim_labels=0bf1_i1o0->0b1f",
    )
    assert columns.flops == 2 * 8 * 160 * 32 * 3 * 512
    assert columns.padded_flops == columns.flops * 128 / 32  # only the inner dimension is short


def test_edges_of_a_convolution_are_not_multiplied():
    found = entry(
        "%x = f32[1,5,2] parameter(0)",
        "%w = f32[3,2,4] parameter(1)",
        "%y = f32[1,5,4] convolution(%x, %w), window={size=3 pad=1_1}, dim_labels=b0f_0io->b0f",
    )
    assert found.flops == 2 * 2 * 4 * (5 * 3 - 2)  # the first and last place miss one neighbour


SLICED = """
%taken (stack: bf16[28,64,64], i: s32[]) -> bf16[64,64] {
  %stack = bf16[28,64,64]{2,1,0} parameter(0)
  %i = s32[]{:S(6)} parameter(1)
  %zero = s32[] constant(0)
  %one = bf16[1,64,64]{2,1,0} dynamic-slice(%stack, %i, %zero, %zero), dynamic_slice_sizes={1,64,64}
  ROOT %same = bf16[64,64]{1,0} bitcast(%one)
}

%laid (stack.1: bf16[28,64,64], new: bf16[1,64,64], i.1: s32[]) -> bf16[28,64,64] {
  %stack.1 = bf16[28,64,64]{2,1,0} parameter(0)
  %new = bf16[1,64,64]{2,1,0} parameter(1)
  %i.1 = s32[]{:S(6)} parameter(2)
  %zero.1 = s32[] constant(0)
  ROOT %put = bf16[28,64,64]{2,1,0} dynamic-update-slice(%stack.1, %new, %i.1, %zero.1, %zero.1)
}
"""
PLACE, LAYER_BYTES = "%i.2 = s32[]{:S(6)} parameter(1)", 64 * 64 * 2


def test_of_a_stack_only_the_layer_that_is_taken_or_laid_moves():
    stack = "%s = bf16[28,64,64]{2,1,0} parameter(0)"
    taken = entry(
        stack,
        PLACE,
        "%t = bf16[64,64]{1,0} fusion(%s, %i.2), kind=kLoop, calls=%taken",
        before=SLICED,
    )
    assert taken.hbm_bytes == 2 * LAYER_BYTES  # read and written
    laid = entry(
        stack,
        PLACE,
        "%n = bf16[1,64,64]{2,1,0:S(1)} parameter(2)",
        "%t = bf16[28,64,64]{2,1,0} fusion(%s, %n, %i.2), kind=kLoop, calls=%laid",
        before=SLICED,
    )
    assert laid.hbm_bytes == LAYER_BYTES  # what is laid was on the chip


def test_only_what_lies_in_hbm_moves():
    bytes_of = [
        entry(
            f"%x = f32[256,256]{{1,0{space}}} parameter(0)", "%y = f32[256,256]{1,0} negate(%x)"
        ).hbm_bytes
        for space in (":S(1)", "")
    ]
    assert bytes_of == [256 * 256 * 4, 2 * 256 * 256 * 4]


GATHERS = """
%starts (p: bf16[8,64]) -> (bf16[8,64], bf16[64,64], u32[]) {
  %p = bf16[8,64]{1,0:S(1)} parameter(0)
  %g = bf16[64,64]{1,0} all-gather(%p), channel_id=3, replica_groups=[2,8]<=[16], \
dimensions={0}, backend_config={"async_collective_fusion_config":{"flag_start":"-1"}}
  ROOT %c = (bf16[8,64]{1,0:S(1)}, bf16[64,64]{1,0}, u32[]{:S(2)}) custom-call(%g), \
custom_call_target="AsyncCollectiveStart"
}

%goes_on (p.1: bf16[8,64], q: bf16[64,64], x: f32[4]) -> (f32[4], bf16[8,64], bf16[64,64]) {
  %p.1 = bf16[8,64]{1,0:S(1)} parameter(0)
  %q = bf16[64,64]{1,0} parameter(1)
  %x = f32[4]{0:S(1)} parameter(2)
  %y = f32[4]{0:S(1)} negate(%x)
  %g.1 = bf16[64,64]{1,0} all-gather(%p.1), channel_id=3, replica_groups=[2,8]<=[16], \
dimensions={0}, backend_config={"async_collective_fusion_config":{"flag_start":"2"}}
  ROOT %t = (f32[4]{0:S(1)}, bf16[8,64]{1,0:S(1)}, bf16[64,64]{1,0}) tuple(%y, %p.1, %g.1)
}
"""


def test_a_gather_that_goes_on_beside_other_work_is_counted_once():
    found = entry(
        "%a = bf16[8,64]{1,0:S(1)} parameter(0)",
        "%x.1 = f32[4]{0:S(1)} parameter(1)",
        "%s = (bf16[8,64]{1,0:S(1)}, bf16[64,64]{1,0}, u32[]{:S(2)}) fusion(%a), kind=kCustom, "
        "calls=%starts",
        "%p.2 = bf16[8,64]{1,0:S(1)} get-tuple-element(%s), index=0",
        "%q.2 = bf16[64,64]{1,0} get-tuple-element(%s), index=1",
        "%w = (f32[4]{0:S(1)}, bf16[8,64]{1,0:S(1)}, bf16[64,64]{1,0}) "
        "fusion(%p.2, %q.2, %x.1), kind=kOutput, calls=%goes_on",
        before=GATHERS,
        header=", num_partitions=16",
    )
    (gather,) = found.collectives
    assert (gather.group_size, gather.n_bytes, gather.count) == (8, 64 * 64 * 2, 1)
    assert gather.is_async
    assert found.hbm_bytes == 64 * 64 * 2  # written once, by the gather


@pytest.mark.parametrize(
    "groups,size",
    [
        ("{{0,1,2,3},{4,5,6,7}}", 4),
        ("{}", 8),
        ("[4,2]<=[2,4]T(1,0)", 2),
        ("mesh['a'=2,'b'=4] {'b'}", 4),
        ("mesh['a'=2,'b'=4] {'a','b'}", 8),
        ("mesh['a'=2,'b'=4] {'b':(1)2}", 2),
    ],
)
def test_group_sizes_in_every_notation(groups, size):
    found = entry(
        "%x = f32[4] parameter(0)",
        f"%y = f32[4] all-reduce(%x), channel_id=1, replica_groups={groups}, "
        "use_global_device_ids=true, to_apply=%sum",
        header=", num_partitions=8",
    )
    assert [c.group_size for c in found.collectives] == [size]


@pytest.mark.parametrize(
    "fill,stands", [("0", True), ("1", False)], ids=["into zeros", "into ones"]
)
def test_an_all_reduce_of_parts_laid_into_zeros_stands_for_a_gather(fill, stands):
    found = entry(
        f"%fill = f32[] constant({fill})",
        "%all = f32[32] broadcast(%fill), dimensions={}",
        "%part = f32[4] parameter(0)",
        "%at = s32[] parameter(1)",
        "%whole = f32[32] dynamic-update-slice(%all, %part, %at)",
        "%sum = f32[32] all-reduce(%whole), channel_id=1, replica_groups={}, to_apply=%add",
        header=", num_partitions=8",
    )
    (reduce,) = found.collectives
    assert reduce.stands_for_gather is stands


def test_of_a_conditional_the_dearest_branch_counts():
    def run(choice, x, w):
        return jax.lax.switch(choice, [lambda x, w: x, lambda x, w: x @ w @ w], x, w)

    w = jax.ShapeDtypeStruct((WIDTH, WIDTH), jnp.float32)
    found = compiled(run, jax.ShapeDtypeStruct((), jnp.int32), X, w)
    assert found.flops == 2 * 2 * ROWS * WIDTH * WIDTH


def test_foreign_code_says_what_it_costs_or_is_listed():
    call = '%y = f32[64] custom-call(%x), custom_call_target="{}", backend_config={}'
    estimate = '{"custom_call_config":{"cost_estimate":{"flops":"5000","bytes_accessed":"700"}}}'
    known = entry("%x = f32[64] parameter(0)", call.format("tpu_custom_call", estimate))
    assert (known.flops, known.hbm_bytes, known.unknown_calls) == (5000, 700, ())
    unknown = entry("%x = f32[64] parameter(0)", call.format("Mystery", "{}"))
    assert unknown.unknown_calls == (("Mystery", 1),)
    assert unknown.hbm_bytes == 2 * 64 * 4


TPU_PROGRAM = """
import jax, jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec
devices = topologies.get_topology_desc(topology_name="v5e:2x2", platform="tpu").devices
place = NamedSharding(Mesh(devices, ("x",)), PartitionSpec())
args = [jax.ShapeDtypeStruct(s, jnp.bfloat16, sharding=place)
        for s in ((1000, 256), (7, 256, 256))]
body = lambda x, w: (jnp.tanh(x @ w), None)
jax.jit(lambda x, w: jax.lax.scan(body, x, w)[0]).lower(*args).compile()
"""


def test_a_program_of_the_tpu_compiler(tmp_path):
    pytest.importorskip("libtpu", reason="libtpu, the TPU compiler, is not installed")
    flags = f"--xla_dump_to={tmp_path} --xla_dump_hlo_as_text=true"
    env = {
        **libtpu_env.ENVIRONMENT,
        "XLA_FLAGS": flags,
        "JAX_PLATFORMS": "cpu",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    }
    result = subprocess.run(
        [sys.executable, "-c", TPU_PROGRAM],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | env,
    )
    assert result.returncode == 0, result.stderr
    (dump,) = tmp_path.glob("*jit__lambda*after_optimizations.txt")
    found = cost_of_text(dump.read_text())
    assert found.flops == found.padded_flops == 7 * 2 * 1000 * 256 * 256
    weights, rows = 7 * 256 * 256 * 2, 1000 * 256 * 2
    assert weights <= found.hbm_bytes <= 2 * (weights + 2 * 7 * rows)
