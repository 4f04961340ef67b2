"""Owns the ``tiercel`` command: which commands there are, and the one form that errors have.

A command's module is imported when it is used: ``tiercel --help`` loads no database and no broker.
"""

import importlib
from typing import Any

import click

from app.errors import TiercelError, Unavailable

COMMANDS: dict[str, tuple[str, str]] = {
    "audit": ("app.cli.audit:command", "Who did what to the system, and when."),
    "completion": ("app.cli.completion:command", "Print what makes the shell complete this command's words."),
    "db": ("app.cli.db:group", "The schema of the database."),
    "dispatcher": ("app.cli.dispatcher:command", "Publish what is due, until stopped."),
    "doctor": ("app.cli.doctor:command", "Check everything that Tiercel needs, and say what to do."),
    "events": ("app.cli.events:group", "What came in, and what became of it."),
    "health": ("app.cli.health:group", "Tell whether what lives here works: exit code 0 or 1, for probes."),
    "keys": ("app.cli.keys:group", "Keys for the HTTP API under /v1."),
    "kpis": ("app.cli.kpis:command", "What the business asks, over a window and by campaign."),
    "lanes": ("app.cli.lanes:command", "Show each lane as it is now."),
    "metrics": ("app.cli.metrics:command", "Show the numbers that Prometheus reads."),
    "priority": ("app.cli.priority:group", "The priority policy: which event goes to which lane, and why."),
    "reprioritise": ("app.cli.reprioritise:command", "Give events that already wait another lane."),
    "requests": ("app.cli.requests:group", "What senders ask: to leave, to erase, to list."),
    "secrets": ("app.cli.secrets:group", "The keys that seal the sources' secrets."),
    "send": ("app.cli.send:command", "Sign and send events as a source's real sender would."),
    "sources": ("app.cli.sources:group", "Who may send: one endpoint each."),
}
"""Name to where it is and its line in the help, the latter kept equal to the command's own by a test."""


class Failed(click.ClickException):
    """A command that could not be done: one line on standard error, exit code 1."""

    def show(self, file: Any = None) -> None:
        """Print the line."""
        click.echo(f"tiercel: {' '.join(self.message.split())}", err=True, file=file)


class Commands(click.Group):
    """The group of everything, each loaded at its first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Return the names."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # the same
        """Return a command, imported now; None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # the same
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in sorted(COMMANDS.items())])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command, its errors in one form."""
        try:
            return super().invoke(ctx)
        except Unavailable as error:
            raise Failed(
                f"{error} (is it running? `make up` starts everything, `tiercel doctor` looks closer)"
            ) from error
        except TiercelError as error:
            raise Failed(str(error)) from error
        except UnicodeEncodeError as error:
            # A command line that isn't UTF-8 arrives with lone surrogates (PEP 383).
            raise Failed("what was given isn't UTF-8") from error


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Begin with: tiercel doctor",
)
def tiercel() -> None:
    """Campaign events in, the urgent ones first, every one applied as its sender last meant it."""


def main() -> None:
    """Run the command line."""
    tiercel.main(prog_name="tiercel")
