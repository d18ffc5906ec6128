"""What a run prints at its end: predicted and observed, arm by arm, efficacy and safety; and where the reports are."""

import os

from rich.console import Console
from rich.table import Table

from cohort.report.figures.style import arm_label
from cohort.report.tables import number, percent
from cohort.results import Results


def print_summary(all_results: list[Results]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 110  # a log file has no width of its own
    table = Table(
        title="Mean change at the last visit, predicted and observed", title_justify="left", box=None, pad_edge=False
    )
    table.add_column("study")
    table.add_column("arm")
    for heading in ("predicted", "95 % predictive", "observed"):
        table.add_column(heading, justify="right")
    table.add_column("")
    safety = Table(title="Patients with an adverse event", title_justify="left", box=None, pad_edge=False)
    for heading in ("study", "event", "group"):
        safety.add_column(heading)
    for heading in ("predicted", "observed"):
        safety.add_column(heading, justify="right")
    for results in all_results:
        summary, study = results.summary, results.study
        role = summary["standing"]["status"] if summary["validation"] else "fitted"
        means = [row for row in summary.get("arms", []) if row["kind"] == "mean"]
        for i, row in enumerate(means):
            table.add_row(
                f"{study.name} ({role})" if i == 0 else "",
                arm_label(row["arm"]),
                number(row["predicted"]),
                f"{number(row['low_0.95'])} to {number(row['high_0.95'])}",
                number(row["observed"]),
                "" if row["inside_0.95"] else f"missed by {number(abs(row['difference']))}",
            )
        for i, event in enumerate(summary["events"]):
            drug = study.arms[event["arms"][0]].active
            seen = event["observed"]
            safety.add_row(
                study.name if i == 0 else "",
                event["event"].replace("_", " "),
                f"{'drug' if drug else 'placebo'}, n = {event['n']}",
                f"{event['count_low']} to {event['count_high']} ({percent(event['risk'])})"
                if event["modelled"]
                else "not predicted",
                "no count found" if seen is None else str(seen),
            )
    console.print(table)
    console.print("Percentage points; means of virtual trials of the real size.", style="dim")
    console.print()
    console.print(safety)
    console.print("95 % predictive interval of the count, and the mean risk.", style="dim")
    console.print()
    for results in all_results:
        console.print(os.path.relpath(results.report_file), soft_wrap=True)
