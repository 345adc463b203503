"""`make bench`: figures of this machine, each beside its peer in the same run. Read the ratios, not the times."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace

from tests.benchmarks.machine import describe
from tests.benchmarks.measure import line
from tests.benchmarks.parts import PARTS
from tests.benchmarks.place import FULL, TINY, Size, build

# Parts of a size that can be chosen, and what they are.
_NUMBERS = {
    "rounds": "rounds of every part",
    "identifiers": "how far the identity graph grows",
    "customers": "customers of the parts online, update and build",
    "events_each": "events of each of them",
    "training_points": "points of the part training",
    "training_events": "events of the part training",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the chosen parts and print them. Nothing fails for being slow."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"which parts: {', '.join(PARTS)} (default: all)")
    for name, words in _NUMBERS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, metavar="N", help=words)
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--full", action="store_true", help="the sizes that figures are published of: an hour and more")
    sizes.add_argument("--tiny", action="store_true", help="next to nothing, to see that it runs")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    given = {name: number for name in _NUMBERS if (number := getattr(options, name)) is not None}
    for name, number in given.items():
        if number < 1:
            parser.error(f"--{name.replace('_', '-')}: expected at least 1")
    size = replace(TINY if options.tiny else FULL if options.full else Size(), **given)
    machine = describe()
    if not options.json:
        packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
        print(f"{machine.cores} cores, {machine.processor}, load {', '.join(f'{x:.1f}' for x in machine.load)}")
        print(f"python {machine.python}, {packages}")
        print(f"{size.customers:,} customers with {size.events_each} events each; a ratio is median (least to most)")
    figures = []
    with build(size) as place:
        for part in options.parts or PARTS:
            found = PARTS[part](place, size)
            figures += found
            if not options.json:
                print(
                    f"{part}: {(PARTS[part].__doc__ or '').strip().splitlines()[0]}",
                    *map(line, found),
                    sep="\n",
                    flush=True,
                )
    if options.json:
        print(json.dumps({"machine": asdict(machine), "figures": [asdict(figure) for figure in figures]}, indent=2))
    return 0


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    sys.exit(main())
