"""The golden families compute on a mesh of 4 x 2 what they compute on one device."""

from tests.conftest import facts_of
from tests.golden.families_of_reference import NAMES

CASES = 8  # of the 32 that one device is held to


def test_every_family_equals_its_reference_on_a_mesh_of_4x2():
    facts = facts_of("-m", "tests.mesh.family_parity", 1, 4, 2, CASES)
    assert sorted(facts) == NAMES
    for name, found in facts.items():
        assert found["logits"] and found["greedy"] and found["beam"], (name, found)
        # Rows and the model dimension over four devices, heads and inner dimension over two;
        # the families have one key head, which stays whole.
        assert found["rows"] == CASES // 4
        layers, d, heads, _ = found["shards"]["q"]
        assert (d, heads) == (16 // 4, 2 // 2)
        assert found["shards"]["k"][:3] == [layers, 16 // 4, 1]
        assert found["shards"]["gate"] == [layers, 16 // 4, 24 // 2]
