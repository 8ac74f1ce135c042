"""Published ids: for each audience of a release its own pseudonym of a person, unlinkable to every other audience's."""

import polars as pl

from protocol.errors import DefectFound
from protocol.pool import PUBLISHED_ID_PURPOSE as PURPOSE
from pseudonymise.keys import KeyRing
from pseudonymise.tokens import PSEUDONYM_LENGTH, derive_outer


def publish_ids(person_ids: pl.Series, audience: str, key_ring: KeyRing) -> pl.Series:
    """The published id of each registry person for one audience: 32 hexadecimal digits.

    HMAC-SHA-256 of the person id (a UUID as text, any case) under a subkey of K2 for the audience, and of that under
    each further key of K2's chain. No inner layer: a person id exists at the hub only. Null stays null. Raises
    DefectFound where the audience is empty or a value is no UUID.
    """
    if not audience:
        raise DefectFound("a published id needs an audience")
    canonical = person_ids.cast(pl.String).str.to_lowercase()
    if not canonical.str.contains(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$").all():
        raise DefectFound("person ids are UUIDs as text")
    keys = key_ring.outer_subkeys(purpose=PURPOSE, field=audience)
    return derive_outer(canonical, keys, PSEUDONYM_LENGTH).alias(person_ids.name)
