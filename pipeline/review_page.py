"""The review queue as one page for a custodian: it opens offline, runs no script, prints, and shows no value."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, select_autoescape

from pipeline.custodian import SHORT
from protocol.model import Agreement
from warehouse.review_store import ReviewPair

_ORDERS = {
    "rows": "Those come first on which most rows hang.",
    "doubt": "Those come first of which linkage is least certain.",
}


def render_review(pairs: Sequence[ReviewPair], agreement: Agreement, by: str, made_at: datetime) -> str:
    """The page of all pairs that wait, in the order given (``by`` is its name: ``rows`` or ``doubt``).

    ``made_at`` is in UTC. A record is named by its partner and the first characters of its pseudonym.
    """
    return open_template("review_page.html").render(
        pairs=pairs,
        agreement=agreement,
        order=_ORDERS[by],
        made_at=write_time(made_at),
        names={partner.id: partner.name for partner in agreement.partners},
        short=SHORT,
    )


def write_time(when: datetime) -> str:
    """A time in UTC as the custodian's pages write it."""
    return f"{when.day} {when:%B %Y}, {when:%H:%M} UTC"


@cache
def open_template(name: str) -> Template:
    """One of the custodian's pages."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
