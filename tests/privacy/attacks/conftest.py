"""A small partnership, what is stored of it, and what attackers know."""

import pytest

from benchmarks.attacks.people import People, Stored, half_of, make_keys, make_people, store
from pseudonymise.keys import KeyRing

RECORDS = 4_000
KEYS_SEED = 4


@pytest.fixture(scope="package")
def held() -> People:
    return make_people(RECORDS, 1)


@pytest.fixture(scope="package")
def others() -> People:
    return make_people(RECORDS, 2)


@pytest.fixture(scope="package")
def half(held: People) -> People:
    return half_of(held, 3)


@pytest.fixture(scope="package")
def key_ring() -> KeyRing:
    return make_keys(KEYS_SEED)


@pytest.fixture(scope="package")
def stored(held: People, key_ring: KeyRing) -> Stored:
    return store(held, key_ring)
