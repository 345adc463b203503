"""Great Expectations' Data Docs, rendered to open without a network, with an index of our own.

The pages are drawn by Great Expectations, but take styles and scripts from seven hosts, its index is
drawn by those scripts, and its site builder deletes the pages of earlier runs that are not in its
store. So pages are rendered one at a time, everything fetched from elsewhere is taken out, a few
style rules stand in, and the index is plain HTML. Beside each page stands its report as JSON.
"""

from __future__ import annotations

import html
import json
import os
import re
from pathlib import Path
from typing import Any

from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult
from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
from great_expectations.render.view.view import DefaultJinjaPageView

from pipelines.validate.report import Scope, ValidationReport

KEEP_RUNS = 20

_FOREIGN = re.compile(
    r"<script\b.*?</script>|<footer\b.*?</footer>|<link\b[^>]*>|<img\b[^>]*>"
    r"|url\('https?://[^']*'\)|href=\"[^#\"][^\"]*\"",
    re.DOTALL,
)
_BAR = re.compile(r"<nav\b.*</nav>", re.DOTALL)
_STYLE = """<style>
body { font-family: sans-serif; font-size: 15px; margin: 0 0 4em }
.container-fluid { padding: 0.5em 1em } .d-flex, .row { display: flex; flex-wrap: wrap }
.row > div { flex: 1 1 100% } .row > .col-lg-2 { flex: 0 0 18% } .row > .col-lg-10 { flex: 0 0 80% }
table { border-collapse: collapse; width: 100%; margin: 0.5em 0 1.5em }
th, td { border-bottom: 1px solid #ccc; padding: 0.35em 0.6em; text-align: left; vertical-align: top }
.text-success { color: #28703b } .text-danger { color: #b3261e } .text-warning { color: #946200 }
.fa-check-circle::before { content: "\\2713" } .fa-times::before { content: "\\2717" }
.fa-exclamation-triangle::before { content: "\\26a0" }
button, .card, .modal, .cooltip .top { display: none } ul { list-style: none; padding-left: 0.5em }
</style></head>"""


def page_path(folder: Path, scope: Scope, name: str, stamp: str) -> Path:
    """Where the page of one run goes; `name` may hold any character."""
    return folder / scope / f"{stamp}-{re.sub(r'[^A-Za-z0-9_-]+', '_', name)}.html"


def write_docs(folder: Path, outcome: ExpectationSuiteValidationResult, report: ValidationReport) -> None:
    """Write the page `report.docs` and its JSON, drop all but the newest runs, and write the index."""
    page = report.docs
    page.parent.mkdir(parents=True, exist_ok=True)
    drawn: str = DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(outcome))
    write_whole(page, without_network(drawn))
    record = json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n"
    write_whole(page.with_suffix(".json"), record)
    for old in sorted(page.parent.glob("*.html"))[:-KEEP_RUNS]:
        old.with_suffix(".json").unlink(missing_ok=True)
        old.unlink()
    write_whole(folder / "index.html", _index(folder))


def write_whole(path: Path, text: str) -> None:
    """All or nothing: a process that dies, or a full disk, leaves no half of a file that later runs read."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def without_network(page: str) -> str:
    """A page without scripts and without anything fetched from elsewhere; its one link leads to the index."""
    bar = '<nav class="container-fluid"><a href="../index.html">Data Docs</a></nav>'
    return _BAR.sub(bar, _FOREIGN.sub("", page), count=1).replace("</head>", _STYLE, 1)


def _index(folder: Path) -> str:
    records = sorted(folder.glob("*/*.json"), key=lambda path: path.name, reverse=True)
    rows = "\n".join(_row(path, json.loads(path.read_text(encoding="utf-8"))) for path in records)
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Data Docs</title>{_STYLE}'
        f'<body><div class="container-fluid"><h1>Data Docs</h1><table>'
        f"<tr><th>when (UTC)</th><th>suite</th><th>what</th><th>events</th><th>result</th></tr>\n{rows}\n"
        f"</table></div></body></html>\n"
    )


def _row(path: Path, report: dict[str, Any]) -> str:
    failed = [result["name"] for result in report["results"] if not result["success"]]
    state, colour = ("passed", "text-success") if report["passed"] else ("stopped", "text-danger")
    when = path.name[:15]
    time = f"{when[:4]}-{when[4:6]}-{when[6:8]} {when[9:11]}:{when[11:13]}:{when[13:15]}"
    cells = (time, report["scope"], report["name"], f"{report['rows']:,}")
    text = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
    link = html.escape(f"{path.parent.name}/{path.stem}.html")
    names = html.escape(f": {', '.join(failed)}" if failed else "")
    return f'<tr>{text}<td><a class="{colour}" href="{link}">{state}{names}</a></td></tr>'
