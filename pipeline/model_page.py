"""What linkage weighs, as one page for a custodian: a chart and a table for each comparison, and no value of anybody.

It opens offline, runs no script and prints.
"""

from datetime import datetime
from decimal import Decimal
from itertools import groupby

from evidence.charts import draw_weights
from linkage.weights import LevelWeight
from pipeline.custodian import FittedModel
from pipeline.review_page import open_template, write_time
from protocol.model import Agreement

_HEADINGS = {
    "forename": "Forename",
    "surname": "Surname",
    "date_of_birth": "Date of birth",
    "postcode": "Postcode",
    "phone": "Telephone",
    "email": "E-mail",
    "nhs_number": "NHS number",
    "ni_number": "NI number",
    "shared_person_number": "Shared number",
    "one_file": "Whose files the two are in",
}


def render_model(fitted: FittedModel, agreement: Agreement, made_at: datetime) -> str:
    """The page of one run's model; ``made_at`` is in UTC."""
    groups = []
    for name, levels in groupby(fitted.levels, key=lambda level: level.comparison):
        rows = tuple(levels)
        heading = _HEADINGS.get(name, name)
        groups.append(
            {
                "heading": heading,
                "chart": draw_weights(
                    [{"label": row.words, "value": row.bits, "text": write_bits(row)} for row in rows],
                    name=f"weights-{name.replace('_', '-')}",
                    title=f"{heading}: match weight of each level, in bits",
                ),
                "levels": [
                    {
                        "words": row.words,
                        "m": write_share(row.m),
                        "u": write_share(row.u),
                        "bits": write_bits(row),
                        "pairs": row.pairs,
                    }
                    for row in rows
                ],
                "unknown": fitted.pairs - sum(row.pairs for row in rows),
            }
        )
    return open_template("model_page.html").render(
        run=fitted.run,
        finished_at=write_time(fitted.run.finished_at),
        made_at=write_time(made_at),
        threshold=fitted.threshold,
        fitted_on=fitted.fitted_on,
        share=fitted.share,
        pairs=fitted.pairs,
        groups=groups,
        agreement=agreement,
    )


def write_bits(level: LevelWeight) -> str:
    """A weight with its sign, ``+9.4`` or ``−2.1``; without one where it is nought."""
    rounded = round(level.bits, 1)
    return f"{rounded:+.1f}".replace("-", "−") if rounded else "0.0"


def write_share(share: float) -> str:
    """A probability with four decimals, or two digits of a small one, so that a rare agreement does not look like none:
    ``0.8817``, ``0.0000080``."""
    return f"{share:.4f}" if share >= 0.001 or share == 0 else f"{Decimal(f'{share:.1e}'):f}"
