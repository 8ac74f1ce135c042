"""Tables of the schema ``linkage``: match keys and the person registry."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from protocol.pool import MATCH_KEY_PURPOSE, PUBLISHED_ID_PURPOSE
from warehouse.schema.base import metadata, needed, optional, pseudonym

_SCHEMA = "linkage"
_MOMENT = DateTime(timezone=True)

match_key = Table(
    "match_key",
    metadata,
    needed("submission_id", Text, "The submission that brought it."),
    needed("partner_id", Text, "The partner."),
    needed("person_ref", Text, "Pseudonym of the partner's own client."),
    needed("key_name", Text, "Name of the composite key."),
    needed(
        "token",
        Text,
        "Keyed hash of the key's parts, 64 hex characters.",
        info=pseudonym(MATCH_KEY_PURPOSE, field_column="key_name"),
    ),
    PrimaryKeyConstraint("submission_id", "person_ref", "key_name", "token"),
    schema=_SCHEMA,
    comment="Match keys of each client record. A key with a missing part has no row.",
)

encoding = Table(
    "encoding",
    metadata,
    needed("submission_id", Text, "The submission that brought it."),
    needed("part", Integer, "Number of the part, from 0."),
    needed("partner_id", Text, "The partner."),
    needed("persons", Integer, "How many client records are in it."),
    needed(
        "content",
        LargeBinary,
        "Parquet: person_ref and the keyed tokens that scoring compares.",
        info=pseudonym(packed=True),
    ),
    PrimaryKeyConstraint("submission_id", "part"),
    schema=_SCHEMA,
    comment="Encodings of client records, packed: nobody looks one up, scoring reads them all.",
)

scored_pair = Table(
    "scored_pair",
    metadata,
    needed("partner_id", Text, "The partner."),
    needed("person_ref", Text, "Pseudonym of the partner's own client."),
    needed("other_partner_id", Text, "The other record's partner."),
    needed("other_person_ref", Text, "Pseudonym of the other record's client."),
    needed("levels", Text, "The level of each comparison, one digit each, 0 where it says nothing."),
    needed("probability", Double, "Probability that the two are one person."),
    optional("forbidden", Text, "Why the two cannot be one person; null where nothing forbids it."),
    PrimaryKeyConstraint("partner_id", "person_ref", "other_partner_id", "other_person_ref"),
    Index("ix_scored_pair_other_person_ref", "other_person_ref"),
    schema=_SCHEMA,
    comment="Pairs of records that may be one person, as the latest run scored them.",
)

compared = Table(
    "compared",
    metadata,
    needed("part", Integer, "Number of the part, from 0.", primary_key=True, autoincrement=False),
    needed("method", Text, "Name and version of the method that compared."),
    needed("pairs", Integer, "How many pairs are in it."),
    needed("content", LargeBinary, "Parquet: digests of two records' tokens, and a code for each comparison."),
    schema=_SCHEMA,
    comment="What the latest run compared, so that the next compares only what is new. Names no record.",
)

run = Table(
    "run",
    metadata,
    needed("run_id", Text, "Id of the linkage run.", primary_key=True),
    needed("seq", BigInteger, "Order in which runs changed the registry.", Identity(always=True), unique=True),
    needed("snapshot_id", Text, "The snapshot whose records were linked."),
    needed("method", Text, "Name and version of the method."),
    needed("parameters", JSONB, "Its parameters."),
    needed("counts", JSONB, "Records, persons, merges, splits ..."),
    needed("finished_at", _MOMENT, "When its result was written."),
    Index("ix_run_snapshot_id", "snapshot_id"),
    schema=_SCHEMA,
    comment="Every linkage run that changed the registry.",
)

person = Table(
    "person",
    metadata,
    needed("person_id", Uuid, "Random id of a person.", primary_key=True),
    needed("created_at", _MOMENT, "When it was first given."),
    optional("retired_into", Uuid, "The person that it was merged into; null while it is in use."),
    schema=_SCHEMA,
    comment="The registry's persons.",
)

membership = Table(
    "membership",
    metadata,
    needed("partner_id", Text, "The partner."),
    needed("person_ref", Text, "Pseudonym of the partner's own client."),
    needed("person_id", Uuid, "The person that the record belongs to."),
    needed("since_run", Text, "The run that put it there."),
    PrimaryKeyConstraint("partner_id", "person_ref"),
    Index("ix_membership_person_id", "person_id"),
    schema=_SCHEMA,
    comment="Which client record belongs to which person now. Records that cannot be linked have no row.",
)

person_bound = Table(
    "person_bound",
    metadata,
    needed("run_id", Text, "The run."),
    needed("partner_id", Text, "The partner."),
    needed("person_ref", Text, "Pseudonym of the partner's own client."),
    needed("if_joined", BigInteger, "Number, within the run, of the person if all pairs in doubt are one person."),
    needed("if_parted", BigInteger, "The same if none of them is: the person's number then."),
    PrimaryKeyConstraint("run_id", "partner_id", "person_ref"),
    schema=_SCHEMA,
    comment="Records whose person hangs on pairs in doubt. Of a record that is not listed nothing does.",
)

membership_history = Table(
    "membership_history",
    metadata,
    needed("partner_id", Text, "The partner."),
    needed("person_ref", Text, "Pseudonym of the partner's own client."),
    needed("person_id", Uuid, "The person that it belonged to."),
    needed("since_run", Text, "The run that put it there."),
    needed("until_run", Text, "The run that moved it away."),
    PrimaryKeyConstraint("partner_id", "person_ref", "since_run"),
    schema=_SCHEMA,
    comment="Where records belonged before, so that an earlier release can be computed again.",
)

registry_event = Table(
    "registry_event",
    metadata,
    needed("event_id", BigInteger, "Running number.", Identity(always=True), primary_key=True),
    needed("run_id", Text, "The run that did it."),
    needed("event", Text, "created, joined, merged or split."),
    needed("cause", Text, "Why: the key or decision that did it."),
    needed("person_id", Uuid, "The person that goes on."),
    optional("other_person_id", Uuid, "The person that was merged into it or split from it."),
    CheckConstraint("event in ('created', 'joined', 'merged', 'split')", name="event"),
    Index("ix_registry_event_person_id", "person_id"),
    schema=_SCHEMA,
    comment="Every change of the registry.",
)

published_id = Table(
    "published_id",
    metadata,
    needed("audience", Text, "The grant that the pseudonym is for."),
    needed("person_id", Uuid, "The person."),
    needed(
        "published_id",
        Text,
        "The person's pseudonym for that grant alone.",
        info=pseudonym(PUBLISHED_ID_PURPOSE, field_column="audience"),
    ),
    PrimaryKeyConstraint("audience", "person_id"),
    Index("uq_published_id_audience_published_id", "audience", "published_id", unique=True),
    schema=_SCHEMA,
    comment="Pseudonyms given out, by grant. Two grants' pseudonyms of one person have nothing in common.",
)
