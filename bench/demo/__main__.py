"""Owns ``make demo``: sends the flash-sale day beside a running ``make up`` and shows what became of it.

Exit status: 0 when every check holds, 1 when one doesn't, something is lost or late, or nothing runs to send to.
"""

import argparse
import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.demo import report
from bench.demo.day import plan
from bench.demo.ledger import doorbook, ended, ended_count, source_ids
from bench.demo.sending import Sending
from bench.demo.shop import WANTED
from bench.demo.verdict import Run, checks
from bench.harness.target import NotRunning, Target, find_target, senders

_POLL_S = 0.2
_LINE_EVERY_S = 2.0


def main() -> int:
    """Run the demo and return its exit status."""
    words = _arguments()
    # A pipe has no width of its own: 80 columns would fold the tables.
    console = Console(width=None if sys.stdout.isatty() else report.WIDTH)
    try:
        target = find_target()
        return _demo(console, target, words)
    except NotRunning as error:
        Console(stderr=True, soft_wrap=True).print(f"demo: {error}", highlight=False, markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("stopped")
        return 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make demo ARGS=…", description="Send a flash-sale day to a running Tiercel."
    )
    parser.add_argument("--seed", type=int, default=2026, help="the same seed plans the same day (%(default)s)")
    parser.add_argument("--count", type=_positive, default=2_000, help="events of the day (%(default)s)")
    parser.add_argument("--rate", type=_positive, default=100, help="requests a second (%(default)s)")
    parser.add_argument("--limit", type=_positive, default=120, help="seconds to wait after the sending (%(default)s)")
    return parser.parse_args()


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _demo(console: Console, target: Target, words: argparse.Namespace) -> int:
    messages = plan(words.seed, words.count, time.time(), target.settings.max_body_bytes)
    console.print(
        f"[bold]A flash-sale day[/bold] in {len(messages) / words.rate:.0f} s: {words.count:,} events of a shop, its "
        f"catalogue and its CRM,\nsome twice, late, deleted, forged or broken, to {target.url} (seed {words.seed}).\n",
        highlight=False,
    )
    with senders(target, WANTED) as (made, key):
        sources = source_ids(target.engine, [sender.name for sender in made.values()])
        sending = Sending(target, made, messages, words.rate)
        in_time = _follow(console, target, sending, len(messages), sources, words.limit)
        sent = list(sending.sent)
        book, events = doorbook(sent), ended(target.engine, sources)
        run = Run(target, made, key, sent, book, events, sources)
        for table in (
            report.door_table(sent, book),
            report.outcome_table(events),
            report.latency_table(sent, events),
        ):
            console.print(table, "")
        if not in_time:
            waiting = sum(event.outcome is None for event in events.values())
            unsent = len(messages) - len(sent)
            late = f"Not done {words.limit} s after the sending: {waiting:,} events wait, {unsent:,} requests unsent."
            console.print(late, "", style="red", highlight=False, sep="\n")
        good = report.show_verdict(console, checks(run, words.seed))
    if good and in_time:
        console.print("\n[green]Nothing lost, nothing twice, everything as its sender last meant it.[/green]")
    names = ", ".join(sender.name for sender in made.values())
    console.print(f"[dim]Its events stay, under {names}.[/dim]", highlight=False)
    return 0 if good and in_time else 1


def _follow(
    console: Console, target: Target, sending: Sending, total: int, sources: Sequence[int], limit_s: float
) -> bool:
    """Show how the sending and the applying go on; return whether all ended in time."""
    sending.start()
    shown_at = 0.0
    columns = (TextColumn("{task.description:8}"), BarColumn(bar_width=50), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            door = progress.add_task("sent", total=total)
            done = progress.add_task("ended", total=None)
            while True:
                is_done = sending.is_done()
                accepted = sum(one.answer is not None and one.answer.status == 202 for one in sending.sent)  # noqa: PLR2004
                count = ended_count(target.engine, sources)
                progress.update(door, completed=len(sending.sent))
                progress.update(done, completed=count, total=accepted)
                if not console.is_terminal and sending.took_s() - shown_at >= _LINE_EVERY_S:
                    shown_at = sending.took_s()
                    console.print(f"sent {len(sending.sent):,} of {total:,}, ended {count:,} of {accepted:,} accepted")
                if is_done and count >= accepted:
                    return True
                if sending.took_s() > limit_s + total / sending.rate:
                    return False
                time.sleep(_POLL_S)
    finally:
        sending.stop()
        console.print()


if __name__ == "__main__":
    sys.exit(main())
