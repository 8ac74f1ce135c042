"""The little that a DAG file needs of the agreement, as JSON: DAG files are parsed often and import nothing."""

import json
from pathlib import Path
from typing import Any

from protocol.files import write_text
from protocol.gate import is_signed
from protocol.model import Agreement

FORMAT = 1
"""Raised when a reader of the compiled file would misread it."""


def compile_for_dags(agreement: Agreement, inbox_check_minutes: int | None = None) -> dict[str, Any]:
    """What schedules and forms are made of, all of it plain JSON.

    ``format``, ``id``, ``title``, ``version``, ``digest``; ``partners``: ``id``, ``name``, ``kind``, ``tier``,
    ``signed`` (the text that holds now), ``member_from``, ``member_to``; ``periods``: ``id``, ``starts``, ``ends``,
    ``opens``, ``closes`` (first and last day on which it may be submitted); ``term``, ``dpia`` and ``retention`` with
    their dates and figures; ``inbox_check_minutes`` as given (how often an inbox is looked at; null where only on
    demand). Dates are ISO text. No contact, no mapping, no key.
    """
    calendar = agreement.calendar
    return {
        "format": FORMAT,
        "id": agreement.id,
        "title": agreement.title,
        "version": agreement.version,
        "digest": agreement.digest,
        "inbox_check_minutes": inbox_check_minutes,
        "term": agreement.term.model_dump(mode="json"),
        "dpia": agreement.dpia.model_dump(mode="json"),
        "retention": agreement.retention.model_dump(mode="json"),
        "partners": [
            {
                "id": partner.id,
                "name": partner.name,
                "kind": partner.kind,
                "tier": partner.tier,
                "signed": is_signed(agreement, partner),
                "member_from": partner.member_from.isoformat(),
                "member_to": partner.member_to.isoformat() if partner.member_to else None,
            }
            for partner in agreement.partners
        ],
        "periods": [
            {
                "id": period.id,
                "starts": period.starts.isoformat(),
                "ends": period.ends.isoformat(),
                "opens": calendar.opens_on(period).isoformat(),
                "closes": calendar.closes_on(period).isoformat(),
            }
            for period in calendar.periods
        ],
    }


def write_compiled(agreement: Agreement, path: Path, inbox_check_minutes: int | None = None) -> None:
    """Write :func:`compile_for_dags` to ``path``, whole or not at all; the same agreement gives the same bytes."""
    text = json.dumps(compile_for_dags(agreement, inbox_check_minutes), indent=1, ensure_ascii=False) + "\n"
    write_text(path, text)
