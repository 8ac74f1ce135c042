"""How the custodian's page of the model writes its figures."""

import pytest

from linkage.weights import LevelWeight
from pipeline.model_page import write_bits, write_share


@pytest.mark.parametrize(
    ("share", "written"),
    [(0.88169, "0.8817"), (1.0, "1.0000"), (0.0, "0.0000"), (0.00042, "0.00042"), (0.000008, "0.0000080")],
)
def test_a_rare_agreement_is_not_written_as_none(share: float, written: str) -> None:
    assert write_share(share) == written


@pytest.mark.parametrize(
    ("m", "u", "written"),
    [(0.5, 0.5, "0.0"), (0.49, 0.5, "0.0"), (0.8, 0.1, "+3.0"), (0.1, 0.8, "−3.0"), (0.1, 0.0, "+26.6")],
)
def test_a_weight_has_its_sign_and_one_decimal(m: float, u: float, written: str) -> None:
    assert write_bits(LevelWeight("phone", 2, "telephone", m, u, 0)) == written
