"""Runs the attacks and keeps their figures: see :mod:`benchmarks.attacks`."""

import argparse

from benchmarks.attacks import report, suite


def main() -> None:
    """Run, keep, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--whole", action="store_true", help="the dictionary over all NHS numbers (about an hour)")
    parser.add_argument("--write", action="store_true", help="only write the table into SECURITY.md anew")
    options = parser.parse_args()
    if not options.write:
        results = suite.run(whole=options.whole)
        report.keep(results)
    report.write_table()
    print(report.table(report.read()))


if __name__ == "__main__":
    main()
