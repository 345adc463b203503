"""Every model on the real files, and on the made-up retailer against its truth: `make studies`.

Prints Markdown tables; the reports stay in the workspaces `study-*`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from pipelines.settings import CHECKOUT
from tests.e2e.cli import quick_configs
from tests.studies.catalogue import STUDIES
from tests.studies.run import findings
from tests.studies.tables import headline, section


def main() -> int:
    names = [study.name for study in STUDIES]
    parser = argparse.ArgumentParser(prog="python -m tests.studies", description=__doc__)
    parser.add_argument("studies", nargs="*", metavar="STUDY", help=f"of {', '.join(names)}; all if none is named")
    parser.add_argument("--quick", action="store_true", help="four trials of tuning and a retailer of 600 customers")
    chosen = parser.parse_args()
    if unknown := sorted(set(chosen.studies) - set(names)):
        parser.error(f"no study {', '.join(unknown)}; there are {', '.join(names)}")
    with tempfile.TemporaryDirectory() as folder:
        config_dir = quick_configs(Path(folder), customers=600) if chosen.quick else CHECKOUT / "configs"
        found = []
        for study in STUDIES:
            if chosen.studies and study.name not in chosen.studies:
                continue
            if study.missing:
                print(f"{study.name}: no data: {', '.join(study.missing)}", file=sys.stderr)
                continue
            for finding in findings(study, config_dir):
                found.append(finding)
                print(section(finding), end="\n\n", flush=True)
    print(headline(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
