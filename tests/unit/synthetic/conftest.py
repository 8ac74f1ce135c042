"""One example agreement and one synthetic partnership for all tests of this folder; nobody changes them."""

from collections.abc import Callable
from datetime import date

import polars as pl
import pytest

from expectations.result import CheckContext, CheckResult
from expectations.row_rules import check_tables
from protocol.loading import default_agreement_folder, load_agreement
from protocol.model import Agreement
from synthetic import Partnership, generate_partnership

Check = Callable[[Partnership, str, str], CheckResult]


@pytest.fixture(scope="session")
def agreement() -> Agreement:
    return load_agreement(default_agreement_folder())


@pytest.fixture(scope="session")
def partnership(agreement: Agreement) -> Partnership:
    return generate_partnership(agreement, seed=20260401, people=1500)


@pytest.fixture(scope="session")
def check(agreement: Agreement) -> Check:
    """Check one extract of a partnership against every rule of the agreement, as a submission is checked."""

    def run(partnership: Partnership, partner: str, period: str) -> CheckResult:
        tables = {
            name: frame.with_columns(pl.int_range(2, len(frame) + 2, dtype=pl.Int64).alias("_row"))
            for name, frame in partnership.extracts[partner, period].items()
        }
        context = CheckContext(
            period=agreement.calendar.period(period),
            extracted_on=date.fromisoformat(partnership.manifests[partner, period]["extracted_on"]),
        )
        return check_tables(tables, agreement.contract, agreement.codelists, context)

    return run
