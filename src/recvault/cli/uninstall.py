"""`recvault uninstall`: stop and remove the service. The archive stays; so do ledger and configuration by default."""

from __future__ import annotations

import click

from recvault.cli.app import App, question
from recvault.cli.install import home_of, plan_of


@click.command("uninstall")
@click.option("--user", "whom", flag_value="user", help="The service of this user.")
@click.option("--system", "whom", flag_value="system", help="The service of this machine; the default for root.")
@click.option("--purge", is_flag=True, help="Remove configuration, secrets and ledger too; asks first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Print the steps and do nothing.")
@question
def command(app: App, whom: str | None, purge: bool, yes: bool, dry_run: bool) -> int:
    """Stop and remove the systemd service. Each step is printed as a command before it is done.

    Archived recordings are never touched. Configuration, secrets and ledger stay unless you use --purge.
    """
    from recvault.setup.actions import carry_out

    home = home_of(app, whom)
    installing = plan_of(home, dry_run=dry_run, lenient=True)
    actions = installing.uninstall(purge=purge)
    if purge and not (yes or dry_run):
        places = "\n".join(f"  {place}" for place in installing.kept())
        click.echo(f"This removes configuration, secrets and ledger; the archive stays:\n{places}")
        if not click.confirm("Remove them?", default=False):
            raise click.Abort
    if not actions:
        click.echo(f"Nothing is installed in {home.units}.")
    carry_out(actions, click.echo, dry_run=dry_run, prompt=installing.prompt)
    if not purge and (kept := installing.kept()):
        click.echo(f"\nKept: {', '.join(map(str, kept))}")
    return 0
