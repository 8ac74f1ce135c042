"""The agreements that documents are made from."""

from pathlib import Path

import pytest

from protocol.generated.documents import make_documents
from protocol.generated.versions import AgreedVersion, agreed_versions
from protocol.loading import load_agreement
from protocol.model import Agreement
from tests.two_versions import load_two_versions

HMIS = Path(__file__).resolve().parents[3] / "examples" / "hmis"


@pytest.fixture(scope="session")
def hmis() -> Agreement:
    """The second example, all of whose partners send exports of their own."""
    return load_agreement(HMIS)


@pytest.fixture(scope="session")
def two_versions(tmp_path_factory: pytest.TempPathFactory) -> Agreement:
    """The example with a version 2.0 from 2026-Q3 on; version 1.0 is taken until 2026-11-30."""
    return load_two_versions(tmp_path_factory.mktemp("agreement") / "two")


@pytest.fixture(scope="session", params=["example", "hmis", "two_versions"])
def any_agreement(request: pytest.FixtureRequest, agreement: Agreement) -> Agreement:
    """Each of the agreements in turn."""
    return agreement if request.param == "example" else request.getfixturevalue(request.param)


@pytest.fixture
def version(agreement: Agreement) -> AgreedVersion:
    """The only version of the example."""
    return agreed_versions(agreement)[0]


@pytest.fixture(scope="session")
def documents(any_agreement: Agreement) -> dict[str, bytes]:
    """All documents of an agreement."""
    return make_documents(any_agreement)
