"""`linkarms agreement`: the signed agreement."""

import click

from pipeline.commands.common import read_settings, read_today


@click.group()
def agreement() -> None:
    """The signed agreement."""


@agreement.command(name="show")
def show_agreement() -> None:
    """Say what the agreement is, who has signed it, and whether its files hold together."""
    from pipeline.resources import read_agreement
    from protocol.gate import is_signed

    signed = read_agreement(read_settings())
    click.echo(f"{signed.title}, version {signed.version}, {signed.term.starts} to {signed.term.ends}")
    click.echo(f"digest {signed.digest}")
    for partner in signed.partners:
        click.echo(f"  {partner.name:<40} {partner.tier:<6} {'signed' if is_signed(signed, partner) else 'NOT SIGNED'}")


@agreement.command(name="compile")
def compile_agreement() -> None:
    """Write the small file that Airflow's DAGs are made from."""
    from pipeline.resources import read_agreement
    from protocol.compiled import write_compiled

    settings = read_settings()
    write_compiled(read_agreement(settings), settings.compiled_agreement, settings.inbox_check_minutes)
    click.echo(settings.compiled_agreement)


@agreement.command(name="sign")
@click.argument("partner_id")
@click.option("--by", required=True, help="The office that signs, such as 'Director of Adult Services'.")
def sign_agreement(partner_id: str, by: str) -> None:
    """Record a partner's signature under the agreement's text as it stands."""
    from protocol.digest import sign

    signature = sign(read_settings().agreement_folder, partner_id, by, read_today())
    click.echo(f"{partner_id} signed version {signature.version} (digest {signature.digest[:12]}...)")
