"""The DNP3 object library: sizes and names as IEEE 1815 gives them, and tables that agree with each other."""

from __future__ import annotations

import pytest

from sensor.protocols import dnp3_objects as library
from sensor.protocols.dnp3_walk import object_bits

# Octets of one object, from Annex A, independent of how the library writes its fields.
KNOWN_OCTETS = {
    (2, 2): 7, (2, 3): 3, (4, 3): 3, (11, 2): 7, (12, 1): 11, (12, 2): 11, (13, 2): 7, (20, 1): 5, (20, 6): 2,
    (21, 5): 11, (21, 6): 9, (21, 9): 4, (22, 5): 11, (22, 6): 9, (23, 5): 11, (30, 1): 5, (30, 2): 3, (30, 4): 2,
    (30, 6): 9, (31, 3): 11, (31, 6): 2, (32, 3): 11, (32, 4): 9, (32, 7): 11, (32, 8): 15, (33, 8): 15, (34, 1): 2,
    (40, 4): 9, (41, 1): 5, (41, 2): 3, (41, 3): 5, (41, 4): 9, (42, 3): 11, (42, 8): 15, (43, 7): 11, (50, 1): 6,
    (50, 2): 10, (50, 4): 11, (51, 1): 6, (52, 2): 2, (60, 1): 0, (81, 1): 3, (101, 3): 8, (102, 1): 1, (120, 3): 6,
    (120, 4): 2, (121, 1): 7, (122, 2): 13,
}  # fmt: skip


@pytest.mark.parametrize("key", KNOWN_OCTETS)
def test_objects_have_the_size_that_the_standard_gives(key):
    assert object_bits(*key) == 8 * KNOWN_OCTETS[key]


@pytest.mark.parametrize(("key", "bits"), [((1, 1), 1), ((10, 1), 1), ((3, 1), 2), ((12, 3), 1), ((80, 1), 1)])
def test_packed_objects_take_bits(key, bits):
    assert object_bits(*key) == bits


@pytest.mark.parametrize("group", library.VARIATION_IS_LENGTH)
def test_the_variation_of_a_string_is_its_length(group):
    assert [object_bits(group, variation) for variation in (0, 1, 255)] == [0, 8, 255 * 8]


@pytest.mark.parametrize("key", [(1, 3), (1, 0), (30, 15), (30, 16), (60, 5), (99, 1), (200, 200), (70, 9)])
def test_what_the_library_does_not_have_is_of_unknown_size(key):
    assert object_bits(*key) == library.UNKNOWN


@pytest.mark.parametrize("key", [(70, 3), (85, 1), (90, 1), (120, 1), (120, 9)])
def test_objects_of_varying_length_need_a_size_prefix(key):
    assert object_bits(*key) == library.SIZE_PREFIXED


@pytest.mark.parametrize(("key", "described"), library.OBJECTS.items())
def test_every_entry_is_whole(key, described):
    group, variation = key
    assert group in library.GROUPS
    assert 1 <= variation <= library.MAX_VARIATION
    names = [field.name for field in described.fields]
    assert len(set(names)) == len(names), "two fields of one name would hide each other"
    for position, field in enumerate(described.fields):
        assert field.kind in library.KIND_BITS or field.kind in ("text", "data")
        assert not field.counted_by or field.counted_by in names[:position]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ((12, 1), "binary output command, control relay output block"),
        ((30, 0), "analog input, any variation"),
        ((30, 9), "analog input, unknown variation"),
        ((110, 17), "octet string"),
        ((0, 250), "device manufacturer's product name and model"),
        ((0, 17), "device attribute 17"),
        ((99, 1), "unknown object"),
    ],
)
def test_objects_have_names_for_people(key, name):
    assert library.name_of(*key) == name
