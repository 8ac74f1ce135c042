"""What differs between the code lists of two versions; above all whether a code still says what it said."""

from collections.abc import Iterator

from protocol.changes.compare import Pair, changed, compare_fields, fields, letters, listed, ordered, passed_over
from protocol.changes.model import Change
from protocol.model import CodeList

CODE = {
    "code": passed_over,
    "label": passed_over,  # compared for the list as a whole, so that an exchange of labels is seen
    "valid_from": ordered("code.begins_later", "code.begins_earlier", missing_is_highest=False),
    "valid_to": ordered("code.ends_later", "code.ends"),
}


def _compare_codes(pair: Pair) -> Iterator[Change]:
    yield from listed(
        lambda code: code.code,
        fields(CODE),
        lambda code: [code.change("code.added", becomes=code.later.label)],
        lambda code: [code.change("code.removed", was=code.earlier.label)],
        "codes.reordered",
        lambda earlier, later: letters(earlier.label) == letters(later.label),
        lifted=True,
    )(pair)
    yield from _compare_labels(pair)


def _compare_labels(pair: Pair) -> Iterator[Change]:
    before, after = ({code.code: code.label for code in codes} for codes in (pair.earlier, pair.later))
    at = pair.place.rpartition(".")[0]
    differing = [code for code in before if code in after and before[code] != after[code]]
    altered = [code for code in differing if letters(before[code]) != letters(after[code])]
    exchanged = _find_exchanges(altered, before, after)
    for cycle in exchanged:
        yield _relabelled(pair, "code.exchanged", f"{at}.{'+'.join(cycle)}", cycle, before, after)
    told = {code for cycle in exchanged for code in cycle}
    for code in differing:
        if code not in told:
            kind = "code.meaning" if code in altered else "code.reworded"
            yield _relabelled(pair, kind, f"{at}.{code}", [code], before, after)


def _relabelled(
    pair: Pair, kind: str, place: str, codes: list[str], before: dict[str, str], after: dict[str, str]
) -> Change:
    was, becomes = (
        ", ".join(f"{code} = {labels[code]}" if len(codes) > 1 else labels[code] for code in codes)
        for labels in (before, after)
    )
    return pair.change(kind, was=was, becomes=becomes).model_copy(update={"place": place})


def _find_exchanges(altered: list[str], before: dict[str, str], after: dict[str, str]) -> list[list[str]]:
    """Rings of codes each of which took the label of the next: two that swapped, three that moved round."""
    owner = {letters(before[code]): code for code in altered}
    took_from = {code: owner[letters(after[code])] for code in altered if letters(after[code]) in owner}
    rings: list[list[str]] = []
    seen: set[str] = set()
    for start in altered:
        ring: list[str] = []
        code: str | None = start
        while code is not None and code not in ring and code not in seen:
            ring.append(code)
            code = took_from.get(code)
        if code is not None and code in ring:
            ring = ring[ring.index(code) :]
            rings.append(sorted(ring))
        seen.update(ring)
    return rings


CODELIST = {
    "name": passed_over,
    "title": changed("codelist.reworded"),
    "codes": _compare_codes,
    "source": changed("codelist.reworded"),
}


def _same_codes(earlier: CodeList, later: CodeList) -> bool:
    return earlier.codes == later.codes


compare_codelists = listed(
    lambda codelist: codelist.name,
    lambda pair: compare_fields(CODELIST, pair),
    "codelist.added",
    "codelist.removed",
    "codelists.reordered",
    _same_codes,
)
