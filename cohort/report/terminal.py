"""What a run prints at its end: predicted and observed, arm by arm, efficacy and safety, what was decided where a
comparison was planned; what the chapters found; and where the reports are."""

import os

from rich.console import Console
from rich.table import Table

from cohort.comparison.agreement import unit_of
from cohort.display.style import arm_label
from cohort.display.table import number, percent, probability
from cohort.report.tables.characteristics import worst
from cohort.report.tables.primary import decision_word, side_by_side
from cohort.results import Results


def print_summary(all_results: list[Results]) -> None:
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 110  # a log file has no width of its own
    table = Table(
        title="Means of the endpoints, predicted and observed", title_justify="left", box=None, pad_edge=False
    )
    table.add_column("study")
    table.add_column("endpoint")
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
        last = ""
        for i, row in enumerate(means):
            new, last = row["endpoint"] != last, row["endpoint"]
            table.add_row(
                f"{study.name} ({role})" if i == 0 else "",
                f"{row['endpoint'].replace('_', ' ')}, {unit_of(study, row['endpoint'])}" if new else "",
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
        for share in [row for row in summary["shares"] if "observed" in row]:
            safety.add_row(
                study.name,
                share["endpoint"].replace("_", " "),
                f"{arm_label(share['arm'])}, n = {share['n']}",
                f"{share['count_low']} to {share['count_high']} ({percent(share['mean'])})",
                f"{share['observed']}{', fitted' if share['use'] == 'calibration' else ''}",
            )
    if table.row_count:
        console.print(table)
        console.print("Predicted: means of virtual trials of the real size.", style="dim")
        console.print()
    if safety.row_count:
        console.print(safety)
        console.print("95 % predictive interval of the count, and the mean risk.", style="dim")
        console.print()
    for results in all_results:
        _print_decision(console, results)
    for results in all_results:
        for chapter in results.chapters.values():
            console.print(f"{results.study.name}, {chapter['title']}")
            console.print(f"  efficacy: {chapter['efficacy']}\n  safety: {chapter['safety']}")
            for finding in chapter["findings"]:
                console.print(f"  - {finding}")
            console.print()
    for results in all_results:
        console.print(os.path.relpath(results.report_file), soft_wrap=True)


def _print_decision(console: Console, results: Results) -> None:
    """The planned comparison without, with robust and with full borrowing; or why there is no conclusion."""
    comparison = results.summary.get("comparison")
    if not comparison:
        return
    rows = side_by_side(comparison)
    if not rows:
        console.print(f"{results.study.name}, primary comparison: {comparison.get('says', 'no conclusion')}\n")
        return
    table = Table(title=f"Primary decision of {results.study.name}", title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for heading in ("control", "difference", f"{100 * comparison['level']:g} % credible"):
        table.add_column(heading, justify="right")
    for i, _ in enumerate(rows[0]["criteria"], 1):
        table.add_column(f"P({i})", justify="right")
    table.add_column("")
    for row in rows:
        table.add_row(
            row["design"],
            number(row["mean"]),
            number(row["difference"]),
            f"{number(row['difference_low'])} to {number(row['difference_high'])}",
            *(probability(c["p"]) for c in row["criteria"]),
            decision_word(row["decision"]),
        )
    console.print(table)
    for i, criterion in enumerate(rows[0]["criteria"], 1):
        console.print(f"({i}) {criterion['criterion']}", style="dim", soft_wrap=True)
    used = worst(comparison)
    if used and used["missed"]:
        console.print(
            f"The planned borrowing has a type I error of up to {number(used['type_one'], 3)}, "
            f"with {used['allowed']:g} allowed.",
            style="yellow",
        )
    console.print()
