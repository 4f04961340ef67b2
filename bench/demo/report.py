"""Owns how a run is shown: the tables and the verdict, at 100 columns, or plain where nobody watches."""

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.models import Lane, Outcome
from bench.demo.ledger import Doorbook, Ended
from bench.demo.sending import Sent
from bench.demo.verdict import Check

WIDTH = 100
_SHOWN = 6
_ORDER = (
    Outcome.APPLIED,
    Outcome.UNCHANGED,
    Outcome.STALE,
    Outcome.SUPERSEDED,
    Outcome.TOMBSTONED,
    Outcome.EXPIRED,
    Outcome.QUARANTINED,
    Outcome.UNMAPPED,
    Outcome.DEAD,
)
_MEANING = {
    Outcome.APPLIED: "its state or its fact was written",
    Outcome.UNCHANGED: "a newer version of the same content",
    Outcome.STALE: "something newer had been applied before",
    Outcome.SUPERSEDED: "something newer was applied while it waited",
    Outcome.TOMBSTONED: "its entity had been deleted",
    Outcome.EXPIRED: "its time was over",
    Outcome.QUARANTINED: "its version lies in the future",
    Outcome.UNMAPPED: "it can't be read, and is kept as it came",
    Outcome.DEAD: "every attempt failed",
}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` (0 to 1) of the values lie; they need not be sorted."""
    ranked = sorted(values)
    return ranked[min(round(share * (len(ranked) - 1)), len(ranked) - 1)]


def door_table(sent: Sequence[Sent], book: Doorbook) -> Table:
    """Return what the door answered."""
    table = _table("At the door", "", "answer", "requests")
    table.add_row("sent", "", f"{len(sent):,}", style="bold")
    table.add_row("accepted", "202", f"{len(book.accepted):,}", style="green")
    table.add_row("duplicate: known already", "200", f"{sum(book.duplicates.values()):,}")
    table.add_row("conflict: another content under a known key", "200", f"{book.conflicts:,}")
    for (status, title, flaw), count in sorted(book.refused.items()):
        table.add_row(f"refused: {escape(title)} [dim]({escape(flaw)})[/dim]", str(status), f"{count:,}")
    if book.unanswered:
        table.add_row("no answer", "-", f"{len(book.unanswered):,}", style="red")
    if book.tried_again:
        table.add_row("sent again after 503, 429 or no answer", "", f"{book.tried_again:,}", style="dim")
    return table


def outcome_table(events: Mapping[str, Ended]) -> Table:
    """Return what became of the accepted events, by lane."""
    table = _table("What became of the accepted events", "", "high", "medium", "low", "all")
    lanes = list(Lane)
    for outcome in (*_ORDER, None):
        counts = [sum((e.outcome, e.lane) == (outcome, lane) for e in events.values()) for lane in lanes]
        if outcome in {Outcome.EXPIRED, None} and not sum(counts):
            continue
        name = "not yet ended" if outcome is None else outcome.name.lower()
        meaning = "" if outcome is None else f" [dim]({_MEANING[outcome]})[/dim]"
        bad = outcome in {Outcome.DEAD, None} and sum(counts) > 0
        table.add_row(name + meaning, *_counts([*counts, sum(counts)]), style="red" if bad else "")
    return table


def latency_table(sent: Sequence[Sent], events: Mapping[str, Ended]) -> Table:
    """Return how long acceptance took, and each lane from acceptance to applied."""
    table = _table("How long it took, in ms", "", "events", "p50", "p95", "p99", "longest")
    answers = [one.answer.took_s * 1000 for one in sent if one.answer and one.answer.status == 202]  # noqa: PLR2004
    _latency_row(table, "the door's answer, as its sender saw it", answers)
    for lane in Lane:
        took = [
            event.latency_ms
            for event in events.values()
            if event.lane is lane and event.outcome is Outcome.APPLIED and event.latency_ms is not None
        ]
        _latency_row(table, f"accepted → applied, {lane.name.lower()}", took)
    return table


def _latency_row(table: Table, name: str, took_ms: Sequence[float]) -> None:
    if not took_ms:
        table.add_row(name, "0", *"----")
        return
    shares = [percentile(took_ms, share) for share in (0.5, 0.95, 0.99, 1)]
    table.add_row(name, f"{len(took_ms):,}", *(f"{value:,.1f}" for value in shares))


def show_verdict(console: Console, checks: Iterable[Check]) -> bool:
    """Show each check as it ends; return whether all hold."""
    good = True
    console.print("[bold]Verdict[/bold]")
    for check in checks:
        wrong = check.differences
        good &= not wrong
        mark = "[red]✗[/red]" if wrong else "[green]✓[/green]"
        console.print(f" {mark} {check.claim} [dim]({escape(check.seen)})[/dim]", highlight=False)
        for line in wrong[:_SHOWN]:
            console.print(f"     {escape(line)}", style="red", highlight=False, soft_wrap=True)
        if len(wrong) > _SHOWN:
            console.print(f"     … and {len(wrong) - _SHOWN} more", style="red")
    return good


def _counts(numbers: Iterable[int]) -> list[str]:
    return [f"{number:,}" if number else "·" for number in numbers]


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", width=WIDTH, box=None, pad_edge=False)
    table.add_column(columns[0], ratio=1, no_wrap=True)
    for name in columns[1:]:
        table.add_column(name, justify="right")
    return table
