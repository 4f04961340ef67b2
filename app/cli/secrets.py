"""Owns ``tiercel secrets``: the keys in TIERCEL_SECRET_KEYS, and sealing with a new one what an old one sealed."""

import click
from cryptography.fernet import Fernet

from app.cli import show
from app.cli.connect import opened, read_settings
from app.cli.groups import Group
from app.cli.policygiven import author
from app.db.engine import transaction
from app.security import audit
from app.security.audit import Action
from app.security.vault import Vault
from app.sources import configured


@click.group("secrets", cls=Group)
def group() -> None:
    """The keys that seal the sources' secrets."""


@group.command("new-key", epilog="Example: tiercel secrets new-key")
def new_key() -> None:
    """Print a new key for TIERCEL_SECRET_KEYS; put it before the old one, separated by a comma."""
    click.echo(Fernet.generate_key().decode())


@group.command("rotate", epilog="Example: tiercel secrets rotate")
@click.option("--dry-run", is_flag=True, help="Only count what another key than the first has sealed.")
@show.as_json
def rotate(dry_run: bool, as_json: bool) -> None:
    """Seal every source's secrets anew, with the first key of TIERCEL_SECRET_KEYS.

    First put the new key before the old one and restart every process, so that each can open what the new one seals.
    Afterwards the old key can go. The secrets themselves stay what they are: no sender notices.
    """
    settings = read_settings()
    vault = Vault(settings)
    with opened(settings) as engine:
        with transaction(engine) as session:
            found = configured.sealed(session)
        old = [source_id for source_id, tokens in found.items() if not all(map(vault.is_newest, tokens))]
        sealed = sum(len(found[source_id]) for source_id in old)
        if not dry_run:
            with show.progress(len(old), "sealing") as advance:
                for source_id in old:
                    with transaction(engine) as session:
                        configured.seal_anew(session, vault, source_id)
                    advance()
            with transaction(engine) as session:
                audit.record(
                    session, Action.SECRETS_SEALED, "secrets", actor=author(), sources=len(old), secrets=sealed
                )
    if as_json:
        show.json({"dry_run": dry_run, "sources": len(old), "secrets": sealed})
    else:
        click.echo(
            f"{sealed} secrets of {len(old)} sources {'would be' if dry_run else 'are'} sealed with the first key"
        )
