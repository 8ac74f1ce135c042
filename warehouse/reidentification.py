"""Re-identification by two people: who asked, who approved, and that it was carried out, once.

The database itself keeps the rules (triggers of migration ``0005``): each step is written under the login of the
session, by a custodian; the one who approves is another than the one who asked; a request ends after 14 days; one of
the two carries it out, and no step happens twice. Kept by ``tests/integration/warehouse/test_reidentification.py``.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from protocol.errors import LinkarmsError
from warehouse.review_store import find_published, refusals, refuse_short_reason


@dataclass(frozen=True)
class Request:
    """A request to learn a partner's own client number of a published pseudonym."""

    request_id: int
    audience: str
    published_id: str
    partner_id: str
    reason: str
    requested_by: str
    requested_at: datetime
    ends_at: datetime
    approved_by: str | None
    carried_out_by: str | None
    has_ended: bool

    def __repr__(self) -> str:
        return f"Request({self.request_id}, {self.audience}, {self.partner_id})"

    @property
    def state(self) -> str:
        """Where it stands, in words."""
        if self.carried_out_by is not None:
            return f"carried out by {self.carried_out_by}"
        if self.has_ended:
            return "ended"
        return "waits for another custodian" if self.approved_by is None else f"approved by {self.approved_by}"


def request(conn: Connection, audience: str, published_id: str, partner_id: str, reason: str) -> int:
    """Ask for a partner's client number; returns the request's number.

    Raises :class:`LinkarmsError` where the grant has given out no such pseudonym, the partner has no record of the
    person, the reason is too short, or the session is not a custodian's.
    """
    refuse_short_reason(reason)
    if not records_of_published(conn, audience, published_id, partner_id):
        raise LinkarmsError(
            "Under this grant there is no such published id of a person whom the partner has a record of. "
            "Check the grant, the id and the partner."
        )
    with refusals():
        number = conn.scalar(
            text(
                "insert into linkage.reidentification_request (audience, published_id, partner_id, reason)"
                " values (:audience, :id, :partner, :reason) returning request_id"
            ),
            {"audience": audience, "id": published_id, "partner": partner_id, "reason": reason.strip()},
        )
    return int(number or 0)


def approve(conn: Connection, request_id: int) -> None:
    """Approve a request, as another custodian than the one who asked. Raises :class:`LinkarmsError` otherwise."""
    _step(conn, request_id, "approved")


def record_carried_out(conn: Connection, request_id: int) -> None:
    """Record that the answer is given out. Raises :class:`LinkarmsError` where the request is not approved, has ended
    or was carried out before, and where the session belongs to neither of the two."""
    _step(conn, request_id, "carried_out")


def _step(conn: Connection, request_id: int, step: str) -> None:
    with refusals():
        conn.execute(
            text("insert into linkage.reidentification_step (request_id, step) values (:id, :step)"),
            {"id": request_id, "step": step},
        )


_REQUESTS = (
    "select r.request_id, r.audience, r.published_id, r.partner_id, r.reason, r.requested_by, r.requested_at,"
    " r.ends_at, a.done_by, c.done_by, clock_timestamp() >= r.ends_at from linkage.reidentification_request r"
    " left join linkage.reidentification_step a on a.request_id = r.request_id and a.step = 'approved'"
    " left join linkage.reidentification_step c on c.request_id = r.request_id and c.step = 'carried_out'"
)


def read_request(conn: Connection, request_id: int) -> Request:
    """The request of that number. Raises :class:`LinkarmsError` where there is none."""
    row = conn.execute(text(f"{_REQUESTS} where r.request_id = :id"), {"id": request_id}).one_or_none()
    if row is None:
        raise LinkarmsError(f"There is no request {request_id}.")
    return _request(row)


def read_requests(conn: Connection, limit: int) -> tuple[Request, ...]:
    """The latest requests, latest first."""
    rows = conn.execute(text(f"{_REQUESTS} order by r.request_id desc limit :limit"), {"limit": limit})
    return tuple(_request(row) for row in rows)


def _request(row: Any) -> Request:
    return Request(*row)


def records_of_published(conn: Connection, audience: str, published_id: str, partner_id: str) -> frozenset[str]:
    """References of the partner's records of the person that a grant's pseudonym stands for now."""
    person = find_published(conn, audience, published_id)
    if person is None:
        return frozenset()
    return frozenset(
        conn.scalars(
            text(
                "select person_ref from linkage.membership where partner_id = :partner"
                " and person_id = cast(:person as uuid)"
            ),
            {"partner": partner_id, "person": person},
        )
    )


def known_references(conn: Connection, partner_id: str) -> frozenset[str]:
    """References of all records of a partner that the registry has."""
    return frozenset(
        conn.scalars(
            text("select person_ref from linkage.membership where partner_id = :partner"), {"partner": partner_id}
        )
    )
