"""The configuration: one TOML file, checked whole, every error at once, each default written once.

One module for each table of the file; `read_configuration` reads it.
"""

from .alarms import Alarms, EmailAlarm, WebhookAlarm
from .analyse import Ages, Analyse, Origins, PresetWindow, Study
from .configuration import Configuration
from .destinations import (
    Archive,
    Colours,
    Compression,
    DestinationConfig,
    DicomDestination,
    DicomWebDestination,
    Encoding,
    FhirDestination,
    Picture,
)
from .file import check_values, read_configuration, sentence_of
from .hl7 import Codes, Hl7Destination, Observations
from .receive import Hl7Listener, Peer, Receive, Tls
from .rollout import Rollout
from .section import MEGABYTE, AeTitle, Host, Network, Port, Section
from .status import Retention, Status
from .tls import ClientTls

__all__ = [
    "MEGABYTE",
    "AeTitle",
    "Ages",
    "Alarms",
    "Analyse",
    "Archive",
    "ClientTls",
    "Codes",
    "Colours",
    "Compression",
    "Configuration",
    "DestinationConfig",
    "DicomDestination",
    "DicomWebDestination",
    "EmailAlarm",
    "Encoding",
    "FhirDestination",
    "Hl7Destination",
    "Hl7Listener",
    "Host",
    "Network",
    "Observations",
    "Origins",
    "Peer",
    "Picture",
    "Port",
    "PresetWindow",
    "Receive",
    "Retention",
    "Rollout",
    "Section",
    "Status",
    "Study",
    "Tls",
    "WebhookAlarm",
    "check_values",
    "read_configuration",
    "sentence_of",
]
