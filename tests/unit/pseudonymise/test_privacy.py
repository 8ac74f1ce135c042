"""No identifier and no key in any output, text, plan or error."""

import traceback
from collections.abc import Iterator
from datetime import date

import polars as pl
import polars_hash
import pytest

from protocol.errors import DefectFound
from protocol.model import Contract
from pseudonymise.keys import KeyRing
from pseudonymise.output import pseudonymise_tables

AS_OF = date(2026, 9, 30)
Tables = dict[str, pl.DataFrame]


def all_text(frame: pl.DataFrame) -> Iterator[str]:
    for row in frame.iter_rows():
        for cell in row:
            yield str(cell)


def test_no_identifier_of_the_input_is_in_any_output(
    accepted: Tables, contract: Contract, key_ring: KeyRing, canaries: tuple[str, ...]
) -> None:
    # The canaries are in the input, or this test could not fail.
    given = "\n".join(text for frame in accepted.values() for text in all_text(frame))
    assert all(canary in given for canary in canaries)
    made = pseudonymise_tables(accepted, contract, "harbour_trust", key_ring, as_of=AS_OF)
    written = "\n".join(text for frame in [*made.tables.values(), made.match_keys] for text in all_text(frame))
    shown = "\n".join([written, repr(made), str(made.counts), repr(made.tables), repr(made.match_keys)]).lower()
    for canary in canaries:
        assert canary.lower() not in shown
        assert canary.lower().replace(" ", "") not in shown


def test_errors_show_no_cell(accepted: Tables, contract: Contract, key_ring: KeyRing) -> None:
    broken = accepted["assessment"].with_columns(assessed_on=pl.lit("canary cell"))
    with pytest.raises(DefectFound) as failure:
        pseudonymise_tables({"assessment": broken}, contract, "harbour_trust", key_ring, as_of=AS_OF)
    assert "canary" not in "".join(traceback.format_exception(failure.value))


def test_a_key_is_in_no_plan_expression_or_error(key_ring: KeyRing) -> None:
    key = key_ring.subkey("K1", purpose="match key", field="names_dob")
    expression = polars_hash.col("x").chash.hmac_sha256(key=key)
    texts = [repr(expression), str(expression), expression.meta.tree_format(return_as_string=True) or ""]
    good = pl.DataFrame({"x": ["a"]}).lazy().select(expression)
    texts += [good.explain(), good.explain(optimized=False), repr(good)]
    for frame in (pl.DataFrame({"x": [1]}), pl.DataFrame({"y": ["a"]})):
        with pytest.raises(pl.exceptions.PolarsError) as failure:
            frame.select(expression)
        texts.append("".join(traceback.format_exception(failure.value)))
    assert not any(key in text or key[:16] in text for text in texts)


def test_a_subkey_tells_nothing_of_its_key(key_ring: KeyRing) -> None:
    key = key_ring.subkey("K1", purpose="match key", field="names_dob")
    assert bytes(range(32)).hex() not in key
    assert key_ring.k1_id not in key
