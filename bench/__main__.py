"""Owns ``make bench``: a private system, the parts in turn, one table, the JSON.

The exit status is 1 where a bound doesn't hold or something went wrong.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields, replace
from pathlib import Path

from rich.console import Console

from app.errors import TiercelError
from bench.harness.events import Stream
from bench.harness.figures import Results, show
from bench.harness.machine import describe
from bench.harness.private import private_system
from bench.harness.progress import tell
from bench.harness.system import System
from bench.harness.target import NotRunning, find_target, senders
from bench.measure.parts import ceilings, drain, growth, idle, ingest, memory, sustained
from bench.measure.parts.sizes import QUICK, Sizes
from config.settings import tiercel_home
from deploy.local.errors import CannotStart

Part = Callable[[System, Sizes, Results], None]
PARTS: dict[str, Part] = {
    "ceilings": ceilings.measure,
    "ingest": ingest.measure,
    "latency": idle.measure,
    "sustained": sustained.measure,
    "drain": drain.measure,
    "memory": memory.measure,
    # The last: its rows stay.
    "growth": growth.measure,
}
_STOPPED = 130
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    def number(word: str) -> float:
        value = kind(word)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"{word} isn't a number above 0")
        return value

    number.__name__ = kind.__name__  # for argparse: "invalid int value"
    return number


def _file(word: str) -> Path:
    """Return where a file can be written; it is looked at before hours go into what it shall hold."""
    path = Path(word)
    if path.is_dir() or not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{word} can't be written")
    return path


def _words(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure Tiercel in a private system, beside peers and ceilings (docs/performance.md).",
    )
    parser.add_argument("--part", action="append", choices=PARTS, help="only this one; may be said several times")
    parser.add_argument("--quick", action="store_true", help="small sizes, to try whether everything runs")
    parser.add_argument("--running", action="store_true", help="measure the running make up of TIERCEL_HOME instead")
    parser.add_argument("--json", type=_file, metavar="FILE", help="write everything that was found there")
    for field in fields(Sizes):
        if field.name == "peers":
            parser.add_argument("--no-peers", dest="peers", action="store_false", default=None, help="ours alone")
        else:
            kind = _positive(int if isinstance(field.default, int) else float)
            name = f"--{field.name.replace('_', '-')}"
            quick = getattr(QUICK, field.name)
            meaning = f"{field.metadata['meaning']} ({field.default:,}; with --quick {quick:,})"
            parser.add_argument(name, type=kind, metavar="N", help=meaning)
    return parser.parse_args(arguments)


def _sizes(words: argparse.Namespace) -> Sizes:
    given = {field.name: value for field in fields(Sizes) if (value := getattr(words, field.name)) is not None}
    return replace(QUICK if words.quick else Sizes(), **given)


@contextmanager
def _home(*, running: bool) -> Iterator[Path]:
    if running:
        yield tiercel_home()
    else:
        with private_system() as home:
            yield home


def _measure(console: Console, words: argparse.Namespace, sizes: Sizes, load_before: float) -> Results:
    target = find_target()
    results = Results(describe(target, load_before), asdict(sizes))
    chosen = words.part or [name for name in PARTS if name != "growth" or not words.running]
    with senders(target, {"bench": ("standard", {})}) as (made, _):
        system = System(target, Stream(made["bench"]), tiercel_home())
        for name, part in PARTS.items():
            if name not in chosen:
                continue
            began = time.monotonic()
            try:
                part(system, sizes, results)
            except (NotRunning, TiercelError, OSError) as error:
                results.notes.append(f"{name}: {error}")
            if words.json:
                # After each part: hours may have gone into it.
                words.json.write_text(results.to_json())
            console.print(f"{name}: {time.monotonic() - began:.0f} s", style="dim", highlight=False)
    return results


def main(arguments: Sequence[str]) -> int:
    """Measure, show, and return the exit status."""
    words = _words(arguments)
    console = Console(width=None if sys.stdout.isatty() else 140)
    if words.running and "growth" in (words.part or ()):
        console.print("bench: growth fills tables for good; it only runs on a private system")
        return 1
    # Before anything of ours starts: what others do to the machine.
    load_before = os.getloadavg()[0]
    try:
        with _home(running=words.running):
            results = _measure(console, words, _sizes(words), load_before)
    except (NotRunning, CannotStart) as error:
        Console(stderr=True, soft_wrap=True).print(f"bench: {error}", highlight=False, markup=False)
        return 1
    except KeyboardInterrupt:
        return _STOPPED
    if words.quick:
        # Whether everything runs was the question.
        results.figures = [replace(figure, bound=None) for figure in results.figures]
    show(console, results)
    return 1 if results.missed() or results.notes else 0


def _stop(*_: object) -> None:
    for number in _STOPS:
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):  # the terminal may be gone
        tell("stopping; what was started is ended and removed (once is enough, it may take 20 s)")
    raise KeyboardInterrupt


if __name__ == "__main__":
    for number in _STOPS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a shell's background
            signal.signal(number, _stop)
    sys.exit(main(sys.argv[1:]))
