"""Does the machine read plain pickles as Python does, and nothing else?"""

import contextlib
import io
import pickle
import pickletools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.io.torch_pickle import Machine

OPCODES = [opcode.code.encode("latin1") for opcode in pickletools.opcodes]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**2100), 2**2100),
    st.floats(allow_nan=False),
    st.text(),
)
KEYS = st.one_of(SCALARS, st.tuples(SCALARS, SCALARS))
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(KEYS, inner),
    ),
    max_leaves=12,
)


def run(data, **settings):
    return Machine({}, **settings).run(io.BytesIO(data))


def assert_alike(ours, theirs):
    assert ours == theirs
    assert repr(ours) == repr(theirs)  # also types and order


@given(value=PLAIN, protocol=st.integers(2, 5))
def test_plain_data_comes_back(value, protocol):
    assert_alike(run(pickle.dumps(value, protocol)), value)


@given(items=st.sets(SCALARS), protocol=st.integers(4, 5))
def test_sets_of_newer_protocols_come_back(items, protocol):
    assert run(pickle.dumps(items, protocol)) == items


@pytest.mark.parametrize("length", [0, 3, 300])
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_bytes_and_long_texts_come_back(length, protocol):
    value = [b"\x00" * length, "é" * length]
    assert_alike(run(pickle.dumps(value, protocol)), value)


def test_what_is_shared_stays_shared():
    inner = [1]
    read = run(pickle.dumps([inner, inner], 2))
    assert read[0] is read[1]


def test_a_list_in_itself_is_read():
    value = []
    value.append(value)
    read = run(pickle.dumps(value, 2))
    assert read[0] is read


def test_several_pickles_follow_one_another():
    file = io.BytesIO(pickle.dumps(1, 2) + pickle.dumps("b", 2))
    assert [Machine({}).run(file), Machine({}).run(file)] == [1, "b"]


def test_a_name_gives_what_the_table_says():
    names = {"there f": lambda a, b: a + b, "there x": 5}
    assert Machine(names).run(io.BytesIO(b"\x80\x02cthere\nf\n(K\x01K\x02tR.")) == 3
    assert Machine(names).run(io.BytesIO(b"\x80\x02](cthere\nx\ne.")) == [5]


def test_a_name_is_read_as_it_is():
    file = io.BytesIO(b"\x80\x02cthere\nx\\X\\n\n.")
    assert Machine({"there x\\X\\n": 5}).run(file) == 5


def test_a_name_is_not_looked_up_anywhere_else():
    with pytest.raises(ValueError, match=r"it needs 'os\.system'"):
        run(b"\x80\x02cos\nsystem\n.")


@pytest.mark.parametrize("opcode", OPCODES)
def test_every_other_opcode_is_refused_before_its_argument_is_read(opcode):
    if opcode[0] in Machine.dispatch:
        return
    file = io.BytesIO(opcode + b"1\n")
    with pytest.raises(ValueError, match="not one of those for data"):
        Machine({}).run(file)
    assert file.tell() == 1


def test_the_state_of_a_dictionary_is_left_out():
    assert run(b"\x80\x02}}X\x01\x00\x00\x00aK\x01sb.") == {}


def test_what_a_state_is_for_can_be_said():
    class WithStates(Machine):
        def build(self, state):
            self.top(list).append(state)

    assert WithStates({}).run(io.BytesIO(b"\x80\x02]K\x05b.")) == [5]


BROKEN = {
    "nothing": (b"", "only 0 are left"),
    "no end": (b"\x80\x02K\x01", "only 0 are left"),
    "an unknown byte": (b"\xff", "is not one of those"),
    "a later protocol": (b"\x80\x09K\x01.", "protocol: 9"),
    "an empty stack": (b".", "is damaged"),
    "no mark": (b"t.", "is damaged"),
    "no memory": (b"h\x05.", "not found at index 5"),
    "nothing to remember": (b"q\x05.", "is damaged"),
    "append to a tuple": (b")K\x01a.", "'tuple' object has no"),
    "append to nothing": (b"K\x01a.", "is damaged"),
    "append many to a tuple": (b")(K\x01e.", "'tuple' object has no"),
    "an item of a list": (b"]K\x01K\x02s.", "no dict"),
    "items of a list": (b"](K\x01K\x02u.", "no dict"),
    "a key without value": (b"}(K\x01u.", "key without a value"),
    "an item of a dictionary": (b"}(K\x01\x90.", "no set"),
    "a list in a set": (b"\x8f(]\x90.", "a list is the key"),
    "data of its own": (b"K\x01Q.", "where there is none"),
    "a state of a list": (b"]K\x01b.", "no dict"),
    "a number as name": (b"K\x01K\x01\x93.", "requires str"),
    "a call without arguments": (b"K\x01K\x01R.", "what is no function"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_refused(case):
    data, reason = BROKEN[case]
    with pytest.raises(ValueError, match=reason):
        run(data)


def test_a_memo_far_away_takes_no_memory():
    assert run(b"\x80\x02K\x05r" + struct.pack("<I", 2**32 - 1) + b".") == 5


@given(st.binary(max_size=60))
def test_noise_is_refused_or_read(data):
    with contextlib.suppress(ValueError):
        run(b"\x80\x02" + data + b".")
