"""`osteon setup`: the first configuration of a box, from a few questions or a file of answers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import click
from rich.markup import escape

from appliance.service.command import DEFAULT_CONFIG

from .options import check_value, out


@click.command()
@click.option(
    "--answers",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML with the keys of the configuration that differ from the defaults. Without it, setup asks.",
)
@click.option(
    "--certificate",
    "how",
    type=click.Choice(["self-signed", "request"]),
    help="Make a key beside the configuration, with a certificate of its own or a request for your authority.",
)
@click.option("--host", "name", help="Name or address of this box, for the certificate.")
@click.option("--replace", is_flag=True, help="Replace a configuration that is there; a copy stays beside it.")
@click.option(
    "--config",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=DEFAULT_CONFIG,
    show_default=True,
    help="Configuration file to write.",
)
def setup(
    answers: Path | None, how: Literal["self-signed", "request"] | None, name: str | None, replace: bool, path: Path
) -> None:
    """Write the configuration of this box: our AE title, senders, PACS, RIS and FHIR server.

    The file is the commented example with your answers in it; other users cannot read it. Nothing is written unless
    the whole can be used.
    """
    from appliance.config import Host, check_values
    from provisioning.operation.check import find_doubts
    from provisioning.operation.setup import (
        configuration_text,
        keep_former,
        read_answers,
        write_certificate,
        write_private,
    )

    if path.exists() and not replace:
        raise click.ClickException(f"{path} exists: edit it, or give --replace")
    if how and not name:
        raise click.UsageError("--certificate needs --host, the name of this box")
    values = dict(read_answers(answers) if answers else _ask())
    key, certificate = (path.parent / f"osteon.{ending}" for ending in ("key", "crt"))
    if how == "self-signed":
        receive = dict(values.get("receive", {}))
        receive["tls"] = {**receive.get("tls", {}), "certificate": str(certificate), "key": str(key)}
        values["receive"] = receive
    config = check_values(values, answers)
    text = configuration_text(values)
    if how and name:
        made = write_certificate(check_value(name, Host, "--host"), path.parent, how)
        out.print(escape(" and ".join(map(str, made)) + " are written"))
    if former := keep_former(path):
        out.print(escape(f"{former} is the former configuration"))
    write_private(text, path)
    out.print(escape(f"{path} is written"))
    for doubt in find_doubts(config):
        out.print(f"[yellow]{escape(doubt)}[/]")
    if how == "request":
        out.print(f"when the request is signed, keep the certificate as {certificate}, add these lines to {path}:")
        click.echo(f'[receive.tls]\ncertificate = "{certificate}"\nkey = "{key}"')
        out.print("and run: systemctl restart osteon-receive")
    out.print("next: osteon doctor, then systemctl enable --now osteon.target")


def _ask() -> dict[str, Any]:
    """Ask at the terminal; an empty answer to an address leaves the peer out."""
    from appliance.config import AeTitle, Host, Network, Port

    if not sys.stdin.isatty():
        raise click.UsageError("there is nobody to ask: give --answers FILE")
    receive: dict[str, Any] = {
        "host": "0.0.0.0",  # noqa: S104 - senders are other machines
        "ae_title": _prompt("Our AE title", AeTitle, "OSTEON"),
        "port": _prompt("Our port for DICOM", Port, 11112),
    }
    senders = []
    while address := _prompt("Address or network of a sender (empty: no more)", Network, ""):
        title = _prompt("  its AE title (empty: any)", AeTitle, "")
        senders.append({"address": str(address), **({"ae_title": title} if title else {})})
    if senders:
        receive["peers"] = senders
    destinations: list[dict[str, Any]] = []
    if host := _prompt("Address of the PACS (empty: none)", Host, ""):
        port, title = _prompt("  its port", Port, 104), _prompt("  its AE title", AeTitle, "PACS")
        destinations.append({"kind": "dicom", "name": "pacs", "host": host, "port": port, "called_ae_title": title})
    if host := _prompt("Address of the RIS for HL7 over MLLP (empty: none)", Host, ""):
        destinations.append({"kind": "hl7", "name": "ris", "host": host, "port": _prompt("  its port", Port, 2575)})
    if url := click.prompt("Base URL of the FHIR server (empty: none)", default="", show_default=False):
        fhir = {"kind": "fhir", "name": "fhir", "base_url": url}
        if token := click.prompt("  its token (empty: none)", default="", show_default=False, hide_input=True):
            fhir["bearer"] = token
        destinations.append(fhir)
    first_phase = click.prompt(
        "Results at first: familiarise (they leave, marked under evaluation) or shadow (nothing leaves)",
        type=click.Choice(["familiarise", "shadow"]),
        default="familiarise",
        show_choices=False,
    )
    days = click.prompt("Days that radiographs are kept after their delivery", default=30.0)
    answers: dict[str, Any] = {
        "receive": receive,
        "rollout": {"first_phase": first_phase},
        "retention": {"days": days},
    }
    return answers | ({"destinations": destinations} if destinations else {})


def _prompt(question: str, kind: Any, default: Any) -> Any:
    """Ask until the answer is one that the configuration takes; an empty one is returned as it is."""
    while True:
        given = click.prompt(question, default=default, show_default=default != "", type=type(default))
        if given == "":
            return given
        try:
            return check_value(given, kind, question)
        except click.BadParameter as error:
            out.print(f"[yellow]{escape(error.message)}[/]")
