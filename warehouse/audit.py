"""The audit trail: what was done by whom, in a table that can only be added to."""

import json
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, text

from protocol.errors import DefectFound

_MAXIMUM_TEXT = 200

AuditValue = str | int | float | bool | None | Sequence[str]


def record_event(
    conn: Connection, actor: str, action: str, subject: str, detail: Mapping[str, AuditValue] | None = None
) -> int:
    """Add one event in the caller's transaction and return its number; the database's clock gives the time.

    ``action`` is ``noun.verb`` such as ``submission.loaded``; ``subject`` the id of a submission, snapshot, release,
    grant or request. Nothing about a person may be in any of them: ``detail`` takes counts, ids and names from the
    agreement, and neither nested structures nor long text, so that a row or a receipt cannot be passed by mistake.
    Raises :class:`DefectFound` for those.
    """
    for name, value in (detail or {}).items():
        parts = list(value) if isinstance(value, list | tuple) else [value]
        for part in parts:
            if not isinstance(part, str | int | float | bool | None) or len(str(part)) > _MAXIMUM_TEXT:
                raise DefectFound(f"The audit detail {name} of {action} is neither a count nor an id.")
    number = conn.scalar(
        text(
            "insert into governance.audit_event (actor, action, subject, detail)"
            " values (:actor, :action, :subject, cast(:detail as jsonb)) returning event_id"
        ),
        {"actor": actor, "action": action, "subject": subject, "detail": json.dumps(dict(detail or {}))},
    )
    return int(number or 0)
