"""The data package of a release: what an analyst takes away.

Files of the folder::

    datapackage.json        Data Package v2: every table's columns, types and meaning
    figures.csv             every figure of the release, one a row
    figures.parquet         the same with types
    measures.csv            what each measure asks, counts and leaves out
    measures/<measure>.csv  the figures of one measure, a column for each dimension
    report.html             the evidence report, which opens without a network
    README.txt              what this is and how to read it
    SHA256SUMS              digests of all files, for ``sha256sum --check``

The columns are those named in this module and no others: there is no row about a person to begin with, and nothing
that is added to a release's tables later gets here by itself. The same release gives the same bytes. Text that a
spreadsheet would take for a formula is written with an apostrophe before it.
"""

import csv
import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from evidence.labels import Labels
from evidence.model import Figure, Measure, Release, digest_figures, sort_figures, write_number
from evidence.report import render_report
from protocol.errors import ReleaseRefused
from protocol.model import Agreement
from protocol.spreadsheet import neutralise

_TEXT = "string"
_NUMBER = "number"

_VALUE_FIELDS = (
    ("statistic", _TEXT, "Which figure of the measure it is."),
    ("statistic_label", _TEXT, "What the figure is called."),
    ("value", _NUMBER, "The figure after disclosure control; empty where it is withheld or not available, never 0."),
    ("numerator", _NUMBER, "Published count above the line of a share."),
    ("denominator", _NUMBER, "Published count below the line of a share, or of the cases behind a median or a sum."),
    ("unit", _TEXT, "What the value counts or measures."),
    ("status", _TEXT, "published, withheld (it could give someone away) or not_available."),
    ("reason", _TEXT, "Why it is withheld or not available; for a published figure, what to look at."),
)
_FIGURE_FIELDS = (
    ("measure", _TEXT, "Id of the measure, see measures.csv."),
    ("breakdown", _TEXT, "How the figures are split; all is the whole."),
    ("dims", _TEXT, "The categories of the cell as JSON: dimension to value."),
    *_VALUE_FIELDS,
)
_MEASURE_FIELDS = (
    ("measure", _TEXT, "Id of the measure."),
    ("title", _TEXT, "What it is called."),
    ("question", _TEXT, "What it answers."),
    ("unit", _TEXT, "What it counts."),
    ("numerator", _TEXT, "What is above the line."),
    ("denominator", _TEXT, "What is below the line."),
    ("caveats", _TEXT, "What to know before using it."),
)
_RELEASE_FIELDS = (
    "release_id",
    "number",
    "state",
    "snapshot_id",
    "snapshot_digest",
    "figures_digest",
    "agreement_version",
    "agreement_digest",
    "code_version",
    "prepared_at",
    "approver",
    "reason",
    "approved_at",
    "published_at",
)
_PARAMETERS = ("periods", "partners", "left_out_reason", "linkage_method", "minimum_people", "rounding_base")

Fields = Sequence[tuple[str, str, str]]
Rows = list[list[str | None]]


def write_package(
    release: Release, figures: Iterable[Figure], measures: Sequence[Measure], agreement: Agreement, folder: Path
) -> Path:
    """Write the package of a release to ``folder`` and return it.

    It is written beside the folder and moved there when it is whole. A folder that already holds the same package is
    left as it is. Raises ReleaseRefused where the figures are not those of the release, or the folder holds something
    else: a release's package is never overwritten.
    """
    figures = sort_figures(figures)
    if digest_figures(figures) != release.figures_digest:
        raise ReleaseRefused(f"release {release.release_id}: these figures are not the ones of the release")
    files = _make_files(release, figures, measures, agreement)
    files["SHA256SUMS"] = _digest_files(files)
    if folder.exists():
        if _read_folder(folder) == files:
            return folder
        raise ReleaseRefused(f"the folder for the package of release {release.release_id} holds something else")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
    try:
        for name, content in files.items():
            path = partial / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        partial.chmod(0o755)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _digest_files(files: dict[str, bytes]) -> bytes:
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items())]
    return "".join(lines).encode()


def _read_folder(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _make_files(
    release: Release, figures: Sequence[Figure], measures: Sequence[Measure], agreement: Agreement
) -> dict[str, bytes]:
    measures = [measure for measure in measures if measure.id in {figure.measure for figure in figures}]
    by_id = {measure.id: measure for measure in measures}
    labels = Labels(agreement)
    tables: dict[str, tuple[str, Fields, Rows]] = {
        "figures.csv": ("All figures of the release", _FIGURE_FIELDS, [_figure_row(by_id, f) for f in figures]),
        "measures.csv": ("The measures", _MEASURE_FIELDS, [_measure_row(measure) for measure in measures]),
    }
    for measure in measures:
        mine = [figure for figure in figures if figure.measure == measure.id]
        fields, rows = _make_measure_table(measure, mine, labels)
        tables[f"measures/{measure.id}.csv"] = (measure.title, fields, rows)
    files = {name: _write_csv(fields, rows) for name, (_, fields, rows) in tables.items()}
    files["figures.parquet"] = _write_parquet(figures, by_id)
    files["report.html"] = render_report(release, figures, measures, agreement).encode()
    files["README.txt"] = _write_readme(release, agreement).encode()
    files["datapackage.json"] = _write_descriptor(release, agreement, tables, files)
    return files


def _figure_row(measures: dict[str, Measure], figure: Figure) -> list[str | None]:
    return [figure.measure, figure.breakdown, figure.dims_text, *_value_row(measures[figure.measure], figure)]


def _value_row(measure: Measure, figure: Figure) -> list[str | None]:
    return [
        figure.statistic,
        measure.statistic(figure.statistic).label,
        write_number(figure.value),
        write_number(figure.numerator),
        write_number(figure.denominator),
        figure.unit,
        figure.status.value,
        figure.reason,
    ]


def _measure_row(measure: Measure) -> list[str | None]:
    return [
        measure.id,
        measure.title,
        measure.question,
        measure.unit,
        measure.numerator,
        measure.denominator,
        " ".join(measure.caveats),
    ]


def _make_measure_table(measure: Measure, figures: Sequence[Figure], labels: Labels) -> tuple[Fields, Rows]:
    """One measure's figures with two columns a dimension: the code and what it is called."""
    fields: list[tuple[str, str, str]] = [("breakdown", _TEXT, "How the figures are split; all is the whole.")]
    for name in measure.dim_names:
        where = ", ".join(b.label.lower() for b in measure.breakdowns if name in b.dims)
        fields += [
            (name, _TEXT, f"Filled for: {where}."),
            (f"{name}_label", _TEXT, f"What the {name.replace('_', ' ')} is called."),
        ]
    rows: Rows = []
    for figure in figures:
        sources = measure.breakdown(figure.breakdown).dims
        row: list[str | None] = [figure.breakdown]
        for name in measure.dim_names:
            value = figure.dims.get(name)
            row += [value, None if value is None else labels.dim(sources[name], value)]
        rows.append(row + _value_row(measure, figure))
    return (*fields, *_VALUE_FIELDS), rows


def _write_csv(fields: Fields, rows: Rows) -> bytes:
    numbers = {place for place, (_, kind, _) in enumerate(fields) if kind == _NUMBER}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([name for name, _, _ in fields])
    for row in rows:
        writer.writerow(
            ["" if cell is None else cell if place in numbers else neutralise(cell) for place, cell in enumerate(row)]
        )
    return out.getvalue().encode()


def _write_parquet(figures: Sequence[Figure], measures: dict[str, Measure]) -> bytes:
    names = [name for name, _, _ in _FIGURE_FIELDS]
    numbers = {name for name, kind, _ in _FIGURE_FIELDS if kind == _NUMBER}
    rows = [dict(zip(names, _figure_row(measures, figure), strict=True)) for figure in figures]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String())).with_columns(
        pl.col(name).cast(pl.Float64) for name in sorted(numbers)
    )
    out = io.BytesIO()
    frame.write_parquet(out, compression="zstd", statistics=False)
    return out.getvalue()


def _write_readme(release: Release, agreement: Agreement) -> str:
    published = f"published {release.published_at:%Y-%m-%d}" if release.published_at else "not published"
    return (
        f"{agreement.title}\nEvidence release {release.number} ({release.release_id}), {published}\n\n"
        "report.html             the evidence report; opens in any browser, without a network\n"
        "figures.csv, .parquet   every figure of the release, one a row\n"
        "measures.csv            what each measure asks, counts and leaves out\n"
        "measures/               the figures of one measure a file, a column for each dimension\n"
        "datapackage.json        all columns with their meaning (Data Package v2)\n"
        "SHA256SUMS              check the files with: sha256sum --check SHA256SUMS\n\n"
        "How to read the figures\n"
        f"Counts are rounded to the nearest {agreement.disclosure.rounding_base}, and shares are worked out from the"
        " rounded counts.\n"
        f"A figure with fewer than {agreement.disclosure.minimum_people} people behind it is withheld: its value is"
        " empty, its status is\nwithheld and its reason says why. An empty value is not nought.\n"
        "Totals are rounded on their own, so parts need not add up to them.\n"
        "There are no rows about persons in this package.\n\n"
        f"Agreement version   {release.agreement_version} (SHA-256 {release.agreement_digest})\n"
        f"Snapshot            {release.snapshot_id} (SHA-256 {release.snapshot_digest})\n"
        f"Figures             SHA-256 {release.figures_digest}\n"
        f"Linkarms            {release.code_version}\n"
    )


def _write_descriptor(
    release: Release,
    agreement: Agreement,
    tables: dict[str, tuple[str, Fields, Rows]],
    files: dict[str, bytes],
) -> bytes:
    moment = release.published_at or release.prepared_at
    resources: list[dict[str, Any]] = [
        {
            "name": _resource_name(name),
            "type": "table",
            "title": title,
            "path": name,
            "format": "csv",
            "mediatype": "text/csv",
            "encoding": "utf-8",
            "bytes": len(files[name]),
            "hash": f"sha256:{hashlib.sha256(files[name]).hexdigest()}",
            "schema": {
                "fields": [
                    {"name": field, "type": kind, "description": description} for field, kind, description in fields
                ],
                "missingValues": [""],
            },
        }
        for name, (title, fields, _) in tables.items()
    ]
    descriptor = {
        "$schema": "https://datapackage.org/profiles/2.0/datapackage.json",
        "name": f"{agreement.id.replace('_', '-')}-evidence-{release.number}",
        "id": release.release_id,
        "title": f"{agreement.title}: evidence release {release.number}",
        "description": "Figures after disclosure control. There are no rows about persons.",
        "version": str(release.number),
        "created": moment.isoformat(timespec="seconds"),
        "contributors": [{"title": agreement.title, "roles": ["publisher"]}],
        "resources": resources,
        "linkarms": _describe_release(release),
    }
    return (json.dumps(descriptor, indent=2, ensure_ascii=False) + "\n").encode()


def _describe_release(release: Release) -> dict[str, Any]:
    """What an analyst may know of how the release was made: the fields and parameters named in this module."""
    described = release.model_dump(mode="json", include=set(_RELEASE_FIELDS))
    return {**described, "parameters": {name: release.parameters.get(name) for name in _PARAMETERS}}


def _resource_name(path: str) -> str:
    return path.removesuffix(".csv").replace("/", "-").replace("_", "-")
