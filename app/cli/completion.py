"""Owns ``tiercel completion``: the script that makes a shell complete this command's words."""

import click
from click.shell_completion import get_completion_class

_VARIABLE = "_TIERCEL_COMPLETE"


@click.command("completion", epilog="Example: tiercel completion bash")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print what makes the shell complete this command's words.

    In ~/.bashrc: eval "$(tiercel completion bash)"; in ~/.zshrc the same with zsh; with fish:
    tiercel completion fish > ~/.config/fish/completions/tiercel.fish
    """
    kind = get_completion_class(shell)
    if kind is None:  # pragma: no cover  # click knows the three
        raise click.UsageError(f"no completion for {shell}")
    # Not kind.source(): it asks the shell for its version first, and fails where that isn't installed.
    script = kind(ctx.find_root().command, {}, "tiercel", _VARIABLE)
    click.echo(script.source_template % script.source_vars())
