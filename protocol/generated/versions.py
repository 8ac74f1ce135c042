"""The versions of the tables that partners may submit under, each with its code lists and periods."""

from dataclasses import dataclass
from datetime import date

from protocol.generated.names import version_folder
from protocol.model import Agreement, CodeList, Contract, Period
from protocol.versions import accepted_versions, terms_of, windows


@dataclass(frozen=True)
class AgreedVersion:
    """One version of the tables, as what is made from it needs it."""

    contract: Contract
    codelists: tuple[CodeList, ...]
    periods: tuple[Period, ...]
    """The periods that may be submitted under it at some time, in order."""
    sunset: date | None = None
    """The last day on which it is taken for periods of the version after it."""

    @property
    def folder(self) -> str:
        """The folder of what belongs to it: ``v1``."""
        return version_folder(self.contract)


def agreed_versions(agreement: Agreement) -> tuple[AgreedVersion, ...]:
    """The versions that are taken, the newest first."""
    calendar = agreement.calendar
    found = []
    for window in windows(agreement):
        terms = terms_of(agreement, window.version)
        periods = tuple(
            period
            for period in calendar.periods
            if window.version in accepted_versions(agreement, period.id, calendar.opens_on(period))
        )
        found.append(AgreedVersion(terms.contract, terms.codelists, periods, window.sunset))
    return tuple(found)
