"""What the attacks got, kept as figures and told in SECURITY.md."""

import json
import re
from pathlib import Path

from benchmarks.attacks.suite import Results
from pseudonymise.encoding import TOKEN_SETS
from pseudonymise.match_keys import MATCH_KEYS

RESULTS = Path(__file__).parent / "results.json"
SECURITY = Path(__file__).parents[2] / "SECURITY.md"
BEGIN, END = "<!-- attacks: made by python -m benchmarks.attacks -->", "<!-- end of attacks -->"
_MARKED = re.compile(f"(?<={re.escape(BEGIN)}\n\n).*?(?=\n{re.escape(END)})", re.DOTALL)


def keep(results: Results) -> None:
    """Write the figures, to four places. Those of the whole space of NHS numbers stay unless they were taken again."""
    if RESULTS.exists() and "whole" not in results["dictionary"] and "whole" in (before := read()["dictionary"]):
        results["dictionary"]["whole"] = before["whole"]
    RESULTS.write_text(json.dumps(_rounded(results), indent=1) + "\n", encoding="utf-8")


def read() -> Results:
    """The figures that are kept."""
    found: Results = json.loads(RESULTS.read_text(encoding="utf-8"))
    return found


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 6 if value < 0.001 else 4)
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list) else value


def table(results: Results) -> str:
    """The figures as tables in Markdown."""
    salted = {tokens.name: _salts(tokens.salts) for tokens in TOKEN_SETS}
    parts = {key.name: " + ".join(key.fields) for key in MATCH_KEYS}
    lines = [
        "| token | hashed together with | commonest: share of persons | missing | attacker knows | learns most of"
        " | gets right | guessing gets right |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for leak in results["ranks"]:
        kind = parts[leak["name"]] if leak["kind"] == "match key" else salted[leak["name"]]
        name = f"`{leak['name']}`" + (", match key" if leak["kind"] == "match key" else "")
        lines.append(
            f"| {name} | {kind} | {_percent(leak['commonest'])} | {leak['missing']:.0%} |"
            f" {leak['known']} | {leak['part'].replace('_', ' ')} |"
            f" {_percent(leak['recovered'])} | {_percent(leak['guessed'])} |"
        )
    for leak in results["rank controls"]:
        lines.append(
            f"| *control:* {leak['name']}, hashed alone | - | {_percent(leak['commonest'])} | {leak['missing']:.0%} |"
            f" all | itself | {_percent(leak['recovered'])} | {_percent(leak['guessed'])} |"
        )
    lines += [
        "",
        "| other attacks | it gets right | by chance or guessing | the same on the control |",
        "|---|---|---|---|",
    ]
    filters, control = results["patterns"]["filters"], results["patterns"]["control"]
    worst = max(filters.values(), key=lambda made: made["recovered"] - made["guessed"])
    lines.append(
        f"| pattern mining: names from filters (worst of four) | {_percent(worst['recovered'])} |"
        f" {_percent(worst['guessed'])} | {_percent(control['recovered'])} |"
    )
    for name, told in (
        ("filters", "graph matching by filters"),
        ("sizes", "numbers of tokens alone"),
        ("tokens", "graph matching by shared tokens"),
    ):
        for known in ("half", "all"):
            made, plain = results["graphs"][known][name], results["graphs"][known]["control"]
            lines.append(
                f"| {told}, who knows {known} | {_percent(made['right'])} | {_percent(made['by_chance'])} |"
                f" {_percent(plain['right'])} |"
            )
    tried, k1 = results["dictionary"], results["with K1"]
    lines.append(
        f"| dictionary, {tried['constructions']} constructions of {tried['numbers']:,} NHS numbers |"
        f" {tried['found']} found | - | {_percent(tried['control found'])} |"
    )
    if whole := tried.get("whole"):
        lines.append(
            f"| dictionary, {whole['constructions']} constructions of all {whole['numbers']:,} NHS numbers |"
            f" {whole['found']} found | - | {_percent(whole['control found'])} |"
        )
    lines += [
        f"| K1 and a list of NHS numbers, against what is stored | {_percent(k1['in_stored'])} | - |"
        f" {_percent(k1['in_inner'])} of inner tokens |",
        f"| no key, and the list submitted to the hub, against what is stored |"
        f" {_percent(k1['by_submitting'])} | - | - |",
    ]
    return "\n".join(lines) + "\n"


def _salts(salts: tuple[tuple[str, ...], ...]) -> str:
    return "; ".join(" + ".join(salt) or "nothing" for salt in salts).replace("_", " ")


def _percent(share: float) -> str:
    return f"{share:.2%}".replace("%", " %")


def write_table() -> None:
    """Put the table into SECURITY.md."""
    text = SECURITY.read_text(encoding="utf-8")
    SECURITY.write_text(_MARKED.sub(lambda _: table(read()), text), encoding="utf-8")


def written_table() -> str:
    """The table as SECURITY.md has it; empty where the markers are not there."""
    found = _MARKED.search(SECURITY.read_text(encoding="utf-8"))
    return "" if found is None else found[0]
