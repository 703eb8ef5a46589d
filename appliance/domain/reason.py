"""Reason codes: stable names for a refusal, a delay, a parked or dropped job, or a change of form."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class ReasonCode(StrEnum):
    """The register of reason codes, which the database, metrics, filters and documents use.

    The comments are headings: `provisioning.documents.reasons` writes one table of the documents from each group.

    Attributes
    ----------
    sentence
        What happened, in general; the `reason` beside a code says what happened this time.
    remedy
        The next step of an administrator.
    """

    sentence: str
    remedy: str

    def __new__(cls, code: str, sentence: str = "", remedy: str = "") -> Self:
        """Make the member `code`, a snake_case name, with its texts."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.sentence = sentence
        member.remedy = remedy
        return member

    NONE = ""
    """Nothing to explain: the job is new, or done as intended."""

    # Association
    ADDRESS_NOT_LISTED = (
        "address_not_listed",
        "The sender's address is not listed. It sees the association rejected without a reason.",
        "Add the address to `receive.peers`.",
    )
    CALLING_AE_TITLE = (
        "calling_ae_title",
        "The AE title is malformed, or not listed for the address. The sender sees: calling AE title not recognized.",
        "Add the title to `receive.peers`, or correct a title that has other characters than ASCII.",
    )
    CALLED_AE_TITLE = (
        "called_ae_title",
        "The sender called an AE title that is not ours. It sees: called AE title not recognized.",
        "Correct the title at the sender, or add it to `receive.also_called`.",
    )
    TOO_MANY_ASSOCIATIONS = (
        "too_many_associations",
        "More associations at a time than allowed. The sender sees: local limit exceeded, and usually tries again.",
        "Raise `receive.associations` or `receive.associations_per_peer`.",
    )
    TOO_MANY_CONNECTIONS = (
        "too_many_connections",
        "More connections without an association request at a time than allowed; this one was closed.",
        "Look for a scanner or a monitor on the network.",
    )
    SILENT = (
        "silent",
        "The peer connected and sent no complete association request within `receive.request_s`.",
        "Look for a scanner or a monitor; if it is a sender, check the network.",
    )
    CUT = (
        "cut",
        "The connection ended within the association request.",
        "Look for a scanner or a monitor; if it is a sender, check the network.",
    )
    TLS_FAILED = (
        "tls_failed",
        "The TLS handshake failed; the reason is OpenSSL's: no, unknown or expired certificate, TLS 1.1, plain DICOM.",
        "Check certificate, TLS version and port at the sender.",
    )
    TLS_ON_PLAIN_PORT = (
        "tls_on_plain_port",
        "The sender speaks TLS to the port without TLS. The connection was aborted.",
        "Point the sender to `receive.tls.port`.",
    )
    NO_ASSOCIATION_REQUEST = (
        "no_association_request",
        "The peer did not begin with an association request. The connection was aborted.",
        "Correct port or program: the peer does not speak DICOM.",
    )
    MALFORMED_REQUEST = (
        "malformed_request",
        "The association request breaks DICOM PS3.8. The connection was aborted.",
        "Report it to the sender's vendor, or block the address if it is hostile.",
    )
    APPLICATION_CONTEXT = (
        "application_context",
        "The association request names another application context than DICOM's. It was rejected.",
        "Report it to the sender's vendor.",
    )
    TRANSFER_SYNTAXES = (
        "transfer_syntaxes",
        "A presentation context for radiographs was refused: none of its transfer syntaxes is supported.",
        "Switch on one of the listed transfer syntaxes at the sender.",
    )
    PARTLY_TAKEN = (
        "partly_taken",
        "Some presentation contexts were refused, others accepted.",
        "Nothing to do for queries. For companions set `receive.companions = true`, or narrow the sender's rule.",
    )
    NOTHING_TAKEN = (
        "nothing_taken",
        "Every presentation context was refused: the sender proposed no radiographs.",
        "Narrow the sender's rule, or set `receive.companions = true`.",
    )
    ASSOCIATION_SILENT = (
        "association_silent",
        "The sender was silent for longer than `receive.idle_s` on its association, which was aborted.",
        "Look at the sender: it hangs, or keeps idle associations open.",
    )
    ASSOCIATION_GAVE_WAY = (
        "association_gave_way",
        "The sender was silent for 10 s on its association, and another association needed the place. It was aborted.",
        "Raise `receive.associations` or `receive.associations_per_peer`, or let the sender close idle associations.",
    )
    TOO_SLOW = (
        "too_slow",
        "The sender sent less than 4 KiB/s for a minute, or needed 30 s for one PDU. The association was aborted.",
        "Check the network to the sender.",
    )
    INSTANCE_CUT = (
        "instance_cut",
        "The sender ended the association within an instance. Nothing of that instance is kept.",
        "Check sender and network; the sender must send the instance again.",
    )
    MALFORMED_PDU = (
        "malformed_pdu",
        "The sender sent a PDU that breaks DICOM PS3.8. The association was aborted.",
        "Report it to the sender's vendor, or block the address if it is hostile.",
    )
    MALFORMED_MESSAGE = (
        "malformed_message",
        "The sender sent a message that breaks DICOM PS3.7. The association was aborted.",
        "Report it to the sender's vendor, or block the address if it is hostile.",
    )
    PDU_TOO_LONG = (
        "pdu_too_long",
        "The sender sent a longer PDU than was negotiated. The association was aborted.",
        "Report it to the sender's vendor, or block the address if it is hostile.",
    )

    # Instance received
    INSTANCE_TOO_LARGE = (
        "instance_too_large",
        "The instance is larger than `receive.instance_mb` and was refused (C000).",
        "Raise `receive.instance_mb` if such instances are radiographs.",
    )
    TOO_MANY_TRIALS = (
        "too_many_trials",
        "As many trials are kept as may be: each is removed ten minutes after it came.",
        "Wait, or remove one on the page.",
    )
    NO_FILE = ("no_file", "A trial was sent without a file.", "Choose a DICOM, JPEG or PNG file on the page.")
    INSTANCE_REFUSED = (
        "instance_refused",
        "The SOP Instance UID is no UID (C000), or the SOP class is not that of the context (0122). It was refused.",
        "Report it to the sender's vendor; until it is mended, take the instance out of the sender's queue.",
    )
    OWN_ANSWER = (
        "own_answer",
        "An artefact of Osteon, of this box or another, was routed back. It was accepted and not kept.",
        "Nothing to do.",
    )
    DISK_LOW = (
        "disk_low",
        "Less than `receive.reserve_mb` is free on the disk of the spool. The sender sees A700, a RIS AE.",
        "Make room, or enlarge the disk; the sender tries again.",
    )
    DISK_FULL = (
        "disk_full",
        "The disk of the spool is full. The sender sees A700, a RIS AE.",
        "Make room, or enlarge the disk; the sender tries again.",
    )
    SPOOL_FAILED = (
        "spool_failed",
        "The spool cannot keep a file. The sender sees A700, a RIS AE.",
        "Check the disk; the sender tries again.",
    )
    SPOOL_UNREADABLE = (
        "spool_unreadable",
        "A file of the spool cannot be read. The job is tried again.",
        "Check the disk, and that the spool belongs to the user osteon.",
    )
    SPOOL_MISSING = (
        "spool_missing",
        "A file is missing in the spool.",
        "Check the disk, then send the radiograph again.",
    )
    SPOOL_DAMAGED = (
        "spool_damaged",
        "A file in the spool differs from the bytes that were written.",
        "Check the disk, then send the radiograph again.",
    )
    NOT_KEPT = (
        "not_kept",
        "Disk or database cannot keep an instance or a message, or retention has removed the radiographs of a study.",
        "Check disk and database; correct a study that is gone where its answers went.",
    )

    # HL7 received
    HL7_ADDRESS_NOT_LISTED = (
        "hl7_address_not_listed",
        "The sender's address is not listed. The connection was closed.",
        "Add the address to `receive.hl7.peers`.",
    )
    HL7_TOO_MANY_CONNECTIONS = (
        "hl7_too_many_connections",
        "More connections at a time than allowed, of all or of one address. This one was closed.",
        "Let the RIS keep one connection, or raise `receive.hl7.connections` or `connections_per_peer`.",
    )
    HL7_TLS_FAILED = (
        "hl7_tls_failed",
        "The TLS handshake failed; the reason is OpenSSL's: no, unknown or expired certificate, plain MLLP.",
        "Check certificate and port at the RIS.",
    )
    HL7_NO_MLLP = (
        "hl7_no_mllp",
        "The bytes are not framed as MLLP. The sender sees AE, then the connection was closed.",
        "Correct port or program at the sender.",
    )
    HL7_TOO_LARGE = (
        "hl7_too_large",
        "The message is larger than `receive.hl7.message_mb`. The sender sees AE, then the connection was closed.",
        "Raise `receive.hl7.message_mb`.",
    )
    HL7_TOO_SLOW = (
        "hl7_too_slow",
        "A message or handshake did not end in time, or the RIS did not read the acknowledgement.",
        "Check the RIS and the network.",
    )
    HL7_CUT = (
        "hl7_cut",
        "The connection ended within a message, which is not kept.",
        "Check the RIS and the network; the RIS must send the message again.",
    )
    HL7_GARBLED = (
        "hl7_garbled",
        "The message has no MSH with the usual delimiters, or no OBR. The sender sees AE.",
        "Correct the message at the RIS.",
    )
    HL7_INCOMPLETE = (
        "hl7_incomplete",
        "The message has no control id (MSH-10). The sender sees AE.",
        "Correct the message at the RIS.",
    )
    HL7_FIELD = (
        "hl7_field",
        "MSH-3, MSH-4 or MSH-10 is too long or not printable. The sender sees AE.",
        "Correct the message at the RIS.",
    )
    HL7_CHARACTER_SET = (
        "hl7_character_set",
        "MSH-18 names a character set that is not supported. The sender sees AE.",
        "Send UNICODE UTF-8, one of ISO 8859, or a Windows code page.",
    )
    HL7_MESSAGE_TYPE = ("hl7_message_type", "The message is no ORU. The sender sees AR.", "Send ORU^R01 only.")
    HL7_EVENT = ("hl7_event", "The message is an ORU, but no ORU^R01. The sender sees AR.", "Send ORU^R01 only.")
    HL7_PROCESSING_ID = (
        "hl7_processing_id",
        "MSH-11 says training or debugging. The sender sees AR.",
        "Send messages with MSH-11 P.",
    )
    HL7_VERSION = (
        "hl7_version",
        "MSH-12 names an HL7 version that is not supported. The sender sees AR.",
        "Send a version from the HL7 interface document.",
    )

    # Eligibility
    NOT_A_RADIOGRAPH = (
        "not_a_radiograph",
        "The storage class is not CR or DX, or `analyse.modalities` does not list the modality.",
        "Narrow the routing rule of the sender; nothing else to do.",
    )
    FOR_PROCESSING = (
        "for_processing",
        "The image is FOR PROCESSING; the same exposure usually comes FOR PRESENTATION.",
        "Set `analyse.for_processing = true` if it does not.",
    )
    IGNORED = (
        "ignored",
        "The origin is listed in `analyse.ignore`: other software's results, test devices.",
        "Correct `analyse.ignore` if this is a patient's radiograph.",
    )
    REJECTION_NOTE = (
        "rejection_note",
        "Key objects by which an archive takes radiographs back.",
        "Nothing to do; `osteon withdraw` takes back the artefacts that were already delivered.",
    )
    SOURCE_REJECTED = (
        "source_rejected",
        "An archive has rejected this radiograph, so its pending work was dropped.",
        "Nothing to do; send a corrected radiograph.",
    )
    IN_SAMPLE = (
        "in_sample",
        "The study was drawn into the sample of a validation: no answer about it leaves the box.",
        "Nothing to do; `osteon validate end` ends the validation.",
    )
    SUPERSEDED = ("superseded", "A later instance or revision took its place.", "Nothing to do.")
    UNCHANGED = (
        "unchanged",
        "Pixels, patient, study, accession number and side were answered already, in any transfer syntax.",
        "Nothing to do; `osteon queue retry` analyses it once more.",
    )
    UID_DIFFERS = (
        "uid_differs",
        "The SOP Instance UID in the data set is not the one of its C-STORE.",
        "Report it to the sender's vendor.",
    )
    NOT_HUMAN = (
        "not_human",
        "The header names a species: the patient is an animal.",
        "Narrow the routing rule of the sender.",
    )
    AGE_NOT_ANALYSED = (
        "age_not_analysed",
        "The age of the patient lies outside `analyse.ages`.",
        "Nothing to do; change `analyse.ages` if such radiographs are to be analysed.",
    )
    NO_PIXELS = ("no_pixels", "The data set has no pixel data.", "Send the radiograph again.")
    NOT_A_PROJECTION = (
        "not_a_projection",
        "Several frames, fluoroscopy, tomography or a stitched image.",
        "Send the single projections.",
    )
    COLOUR = (
        "colour",
        "The three colour channels differ: the image was made from a radiograph.",
        "Route the radiograph itself, or list its origin in `analyse.ignore`.",
    )
    TOO_SMALL = ("too_small", "A side has fewer than 128 pixels.", "Send the radiograph at full resolution.")
    OUT_OF_SCOPE = (
        "out_of_scope",
        "The header names chest, abdomen, skull, ...; or the image shows two shoulders and the spine, as a chest does.",
        "Correct the body part if it is wrong; else nothing to do.",
    )
    SITE_UNCERTAIN = (
        "site_uncertain",
        "The header names one part of the body and the image shows another; nothing suspicious was found.",
        "Correct the body part at the modality and send the radiograph again.",
    )
    NO_REGION = (
        "no_region",
        "No anatomical region was recognised in the image.",
        "Nothing to do; the radiologist reads it as usual.",
    )
    NO_ENGINE = (
        "no_engine",
        "The pack has no engine for the regions that were recognised.",
        "Add a pack with engines for these sites to `analyse.more_packs`.",
    )
    HEADER_ALONE = ("header_alone", "The header was read and the pixels were not asked for.", "Nothing to do.")
    NOT_IN_USE = (
        "not_in_use",
        "Its sites went back to the phase shadow after an answer had left; this revision takes the answer back.",
        "Nothing to do; `osteon phase list` shows the phases.",
    )

    # Reading
    NOT_DICOM = (
        "not_dicom",
        "The bytes are no DICOM data set.",
        "Send the radiograph again; report it to the sender's vendor if it happens again.",
    )
    UNREADABLE = (
        "unreadable",
        "The data set cannot be parsed from some attribute on, or its UIDs are missing or malformed.",
        "Export the radiograph again; report it to the sender's vendor if it happens again.",
    )
    BROKEN_PIXELS = (
        "broken_pixels",
        "The pixels cannot be decoded. Truncated streams count as broken, even where a codec would show grey.",
        "Send the radiograph again, uncompressed if possible.",
    )
    BLANK = (
        "blank",
        "Every exposed pixel has the same value: there is no picture.",
        "Send the radiograph again; check the detector if it happens again.",
    )
    TOO_LARGE = (
        "too_large",
        "Reading it takes more memory than a radiograph may need.",
        "Send the radiograph again; report it to the sender's vendor if it happens again.",
    )
    DECODER_DIED = (
        "decoder_died",
        "Reading it ended the reading process, or took more than 30 s of processor time.",
        "Export the radiograph again, then `osteon queue retry`.",
    )
    DECODER_KILLED = (
        "decoder_killed",
        "The reading process was ended from outside, or waited 100 s for a processor; the radiograph is tried again.",
        "Check that the box has enough memory and processors.",
    )

    # Delivery
    DELIVERED = ("delivered", "The peer has accepted it.", "Nothing to do.")
    IN_PACS = (
        "in_pacs",
        "The archive confirmed by a query or storage commitment that it has the object.",
        "Nothing to do.",
    )
    DELIVERED_OTHERWISE = (
        "delivered_otherwise",
        "It was delivered in another form than the best one; the reason names both.",
        "Nothing to do, or allow the better form at the archive.",
    )
    ALREADY_THERE = (
        "already_there",
        'The archive says that it had the object: probably delivered. With `existing = "hold"` it is parked.',
        "Compare, then `osteon queue retry` or `osteon queue drop`.",
    )
    NOT_TAKEN = (
        "not_taken",
        "The archive accepts no such object. It is refused, unless `objects` has the `summary`, which says the same.",
        "Allow it at the archive, or remove it from `objects`.",
    )
    UNREACHABLE = (
        "unreachable",
        "The archive cannot be reached; the delivery is tried again.",
        "Check that its program runs, the network, and the certificates on both sides.",
    )
    ASSOCIATION_REJECTED = (
        "association_rejected",
        "The archive rejects the association; the delivery is tried again.",
        "Check the AE titles on both sides.",
    )
    STORE_TRANSIENT = (
        "store_transient",
        "The archive returned a status that may pass; the delivery is tried again.",
        "See the archive's log if it lasts.",
    )
    STORE_REJECTED = (
        "store_rejected",
        (
            "The archive refused the object. "
            "It is parked if others are taken and it is refused again, or after ten refusals over a day."
        ),
        "See the archive's log, then `osteon queue retry` or `osteon queue drop`.",
    )
    NO_FIND = (
        "no_find",
        "The archive does not accept C-FIND or QIDO-RS.",
        "Allow it for Osteon, or set another `proof`.",
    )
    FIND_FAILED = ("find_failed", "C-FIND or QIDO-RS failed; the delivery is tried again.", "See the archive's log.")
    NOT_FOUND = (
        "not_found",
        "The object was stored, but a query does not show it; the delivery is tried again.",
        "See the archive's log.",
    )
    NO_COMMITMENT = (
        "no_commitment",
        "The archive does not accept storage commitment.",
        "Allow storage commitment for Osteon's AE title, or set another `proof`.",
    )
    NO_COMMITMENT_RESULT = (
        "no_commitment_result",
        "The archive stored the object and was asked to commit to it, but has sent no commitment result.",
        "Check that the archive reaches our port with its N-EVENT-REPORT, on an association of its own.",
    )
    COMMITMENT_FAILED = (
        "commitment_failed",
        "The archive refused a request for storage commitment; the request is sent again.",
        "See the archive's log.",
    )
    NOT_COMMITTED = (
        "not_committed",
        "The archive did not commit to the object. It is sent again, ever later, and parked the fifth time.",
        "See the archive's log.",
    )
    DICOMWEB_UNREACHABLE = (
        "dicomweb_unreachable",
        "The archive cannot be reached by DICOMweb, or ended the connection; the objects are sent again.",
        "Check that its server runs, the network, and the certificates on both sides.",
    )
    DICOMWEB_CREDENTIALS = (
        "dicomweb_credentials",
        "The file with the token or password cannot be used; nothing was sent, and everything waits.",
        "Correct the file that the message names; the user osteon must be able to read it.",
    )
    DICOMWEB_TOO_SLOW = (
        "dicomweb_too_slow",
        "The archive sent no whole response within `timeout_s`; the objects are sent again.",
        "See the archive's log; raise `timeout_s` if it is busy.",
    )
    DICOMWEB_ASKED_TO_WAIT = (
        "dicomweb_asked_to_wait",
        "The archive asked for a later attempt (Retry-After); its wish counts for at most five minutes.",
        "Nothing to do; `osteon queue retry` ends the wait.",
    )
    DICOMWEB_ANSWER = (
        "dicomweb_answer",
        "The archive's response to STOW-RS names no object, or is too long; the objects are sent again.",
        'Check `base_url`; if the archive answers in XML alone, set `proof = "find"`.',
    )
    DICOMWEB_FAILED = (
        "dicomweb_failed",
        "The archive returned an HTTP status that may pass; the objects are sent again.",
        "See the archive's log if it lasts.",
    )
    DICOMWEB_REFUSED = (
        "dicomweb_refused",
        (
            "The archive refused the request. "
            "The object is parked if others are taken and it is refused again, or after ten refusals over a day."
        ),
        "Check `base_url` and the archive's log, then `osteon queue retry` or `osteon queue drop`.",
    )
    STUDY_NOT_THERE = (
        "study_not_there",
        "The archive does not have the study (`recheck_identity`); the delivery waits for it.",
        "Send the study to the archive, or check whether it was merged away.",
    )
    IDENTITY_CHANGED = (
        "identity_changed",
        "The study has another patient or accession number in the archive by now; nothing was sent.",
        "Send the corrected radiograph again.",
    )
    NEVER_MADE = (
        "never_made",
        "This artefact could not be made: a bug.",
        "Report it; after an upgrade retry the analysis or the study.",
    )
    WITHDRAWN = ("withdrawn", "The artefact was taken back.", "Nothing to do.")
    REJECTED_AS_OLD = (
        "rejected_as_old",
        "A later revision took its place in the archive, and a rejection note names it (`superseded`).",
        "Nothing to do.",
    )
    REROUTED = (
        "rerouted",
        "The delivery was moved to another destination; the former one may have the artefact.",
        "Nothing to do; a withdrawal goes to both.",
    )
    MLLP_UNREACHABLE = (
        "mllp_unreachable",
        "The RIS cannot be reached; the message is sent again.",
        "Check that its listener runs, and the network.",
    )
    MLLP_TLS = (
        "mllp_tls",
        "No secure connection to the RIS; the message is sent again.",
        "Check the certificates on both sides.",
    )
    MLLP_TIMEOUT = (
        "mllp_timeout",
        "The RIS sent no acknowledgement within `timeout_s`; the message is sent again.",
        "See the log of the RIS.",
    )
    MLLP_CLOSED = (
        "mllp_closed",
        "The RIS closed the connection before its acknowledgement ended; the message is sent again.",
        "See the log of the RIS.",
    )
    MLLP_GARBAGE = (
        "mllp_garbage",
        "The RIS sent something that is no acknowledgement; the message is sent again.",
        "Check port and interface of the RIS.",
    )
    MLLP_NO_FRAME = (
        "mllp_no_frame",
        "The RIS sent its acknowledgement without MLLP's start or end bytes; the message is sent again.",
        "Set the RIS, or its interface engine, to MLLP framing of acknowledgements.",
    )
    MLLP_MISMATCH = (
        "mllp_mismatch",
        "The RIS acknowledged another message (MSA-2); the message is sent again.",
        "See the log of the RIS.",
    )
    MLLP_ERROR = (
        "mllp_error",
        "The RIS acknowledged with an error that may pass; the message is sent again.",
        "See the log of the RIS.",
    )
    MLLP_REFUSED = (
        "mllp_refused",
        (
            "The RIS refused the message. "
            "It is parked if others are taken and it is refused again, or after ten refusals over a day."
        ),
        "See the log of the RIS, then `osteon queue retry` or `osteon queue drop`.",
    )
    ORU_CHARACTERS = (
        "oru_characters",
        "A number in the header has letters that the destination's character set does not have.",
        "Set another `character_set` for this destination.",
    )
    ORU_INVALID = (
        "oru_invalid",
        "The HL7 message would break the standard.",
        "Look for an over-long identifier in the header, or at the destination's `map`.",
    )
    NO_ORDER = (
        "no_order",
        "No order update is possible: the study has no filler or accession number, or `flag` is not set for it.",
        'Send radiographs with an accession number, or set `flag = "oru"`.',
    )
    NO_PATIENT = (
        "no_patient",
        "The radiograph has no patient number by which the FHIR server could find the patient.",
        'Send the radiograph with a patient number, or set `patient = "create"`.',
    )
    FHIR_INVALID = ("fhir_invalid", "The FHIR Bundle would be invalid.", "Look at the header of the radiograph.")
    FHIR_UNREACHABLE = (
        "fhir_unreachable",
        "The FHIR server cannot be reached; the Bundle is sent again.",
        "Check the server, the network and the certificates.",
    )
    FHIR_TOO_SLOW = (
        "fhir_too_slow",
        "The FHIR server sent no whole response within `timeout_s`; the Bundle is sent again.",
        "See the log of the FHIR server; raise `timeout_s` if it is busy.",
    )
    FHIR_ASKED_TO_WAIT = (
        "fhir_asked_to_wait",
        "The FHIR server asked for a later attempt (Retry-After); its wish counts for at most five minutes.",
        "Nothing to do; `osteon queue retry` ends the wait.",
    )
    FHIR_ANSWER = (
        "fhir_answer",
        "The FHIR server returned success without a transaction-response.",
        "Check `base_url`.",
    )
    FHIR_FAILED = (
        "fhir_failed",
        "The FHIR server returned a status that may pass; the Bundle is sent again.",
        "See the log of the FHIR server.",
    )
    FHIR_REFUSED = (
        "fhir_refused",
        (
            "The FHIR server refused the Bundle. "
            "It is parked if others are taken and it is refused again, or after ten refusals over a day."
        ),
        "See the log of the FHIR server, then `osteon queue retry` or `osteon queue drop`.",
    )

    # Job
    ANALYSED_ALONE = (
        "analysed_alone",
        "Several radiographs analysed together failed; each is tried by itself.",
        "Nothing to do.",
    )
    RENDERING_DIED = (
        "rendering_died",
        "The process that draws the pictures of a radiograph ended, or did not end in time.",
        "Nothing to do: the radiograph is analysed again. If it recurs, look for short memory, then report it.",
    )
    LEASE_EXPIRED = (
        "lease_expired",
        "A role ended or hung during the job. After the last attempt the job is parked.",
        "See the log of the role; then `osteon queue retry`.",
    )
    PHASE_CHANGED = (
        "phase_changed",
        "The phase of a site changed while the answer was rendered, or before it left; it is rendered again.",
        "Nothing to do.",
    )
    IN_SHADOW = (
        "in_shadow",
        "The artefact tells of a site that is in the phase shadow, of which nothing leaves the box.",
        "Nothing to do; `osteon phase list` shows the phases.",
    )
    LEASE_LOST = (
        "lease_lost",
        "Another role, or a person, took over the job; this attempt ended without effect.",
        "Nothing to do.",
    )
    DROPPED = ("dropped", "A person dropped the job.", "Nothing to do.")
    NO_RADIOGRAPHS = (
        "no_radiographs",
        "There is no radiograph to work on: none in the study has a current answer, or none in the given files.",
        "Nothing to do for a study; name files that are DICOM, JPEG or PNG.",
    )
    BUG = ("bug", "An unexpected error in Osteon.", "Report it with the software version.")

    # Start and faults
    CONFIGURATION = (
        "configuration",
        "The configuration file has errors, each named in the message.",
        "Correct them; `osteon check` names all at once.",
    )
    TLS = ("tls", "A certificate or key cannot be used.", "Correct the file that the message names.")
    ROLE_RUNS_ALREADY = (
        "role_runs_already",
        "Another process runs the same role on the same `state_dir`.",
        "Stop that one first (`systemctl stop osteon.target`), or set another `state_dir`.",
    )
    CANNOT_LISTEN = ("cannot_listen", "A port cannot be opened.", "Free the port, or set another one.")
    DATABASE_UNUSABLE = (
        "database_unusable",
        "The database cannot be opened.",
        "Check `state_dir` or `database_url`, and that the database runs.",
    )
    PACK = (
        "pack",
        "A pack cannot be used, each defect named in the message.",
        "Install the pack again: `osteon pack install`.",
    )
    NO_GPU = (
        "no_gpu",
        '`analyse.compute` is `"gpu"`, but the GPU cannot be used.',
        'Follow the message, or set `analyse.compute = "auto"`.',
    )
    GPU_FAILED = (
        "gpu_failed",
        "The GPU failed while engines were loaded and checked.",
        'See the log and `nvidia-smi`, or set `analyse.compute = "cpu"`.',
    )
    GPU_USABLE = (
        "gpu_usable",
        "The GPU can be used now, and could not when the role started. The role starts again with it.",
        "Nothing to do.",
    )
    DALI_FAILED = ("dali_failed", "DALI failed on the chosen hardware.", "See the log; on a GPU also `nvidia-smi`.")
    ENGINE_FAILED = (
        "engine_failed",
        "A network or kernel failed. The role stops and starts again.",
        "See the log; on a GPU also `nvidia-smi`.",
    )
    PREPROCESSING_DIFFERS = (
        "preprocessing_differs",
        "Preprocessing on this hardware differs from its definition.",
        'Report it, with driver and card; set `analyse.compute = "cpu"`.',
    )
    COURIER_DIED = (
        "courier_died",
        "The thread that delivers to one destination ended. The role stops and starts again.",
        "See the log of `osteon-deliver`.",
    )
    COURIER_HANGS = (
        "courier_hangs",
        "The thread that delivers to one destination hangs. Another takes over; other destinations go on.",
        "See the log of `osteon-deliver`.",
    )

    # Alarms
    ALARM_NOT_SENT = (
        "alarm_not_sent",
        "A mail server or webhook did not take an alarm; it is tried again.",
        "See the reason; `osteon alarm test` sends a message.",
    )

    # Command line
    NO_SUCH_JOB = (
        "no_such_job",
        "There is no job of that name, or none that fits the options.",
        "Name a job as `analysis:12` or `delivery:40`; `osteon queue list --all` shows them.",
    )
    NO_SUCH_DESTINATION = (
        "no_such_destination",
        "The configuration has no destination of that name.",
        "Name a destination of the configuration.",
    )
    NO_DESTINATION = (
        "no_destination",
        "The configuration has no HL7 destination of that name.",
        "Name an HL7 destination of the configuration.",
    )
    NO_SUCH_PACK = ("no_such_pack", "There is no pack of that name.", "See `osteon pack list`, or name a folder.")
    IMPOSSIBLE = (
        "impossible",
        "The job is in a state in which the command cannot be done.",
        "See `osteon queue show`.",
    )
    OTHER_KIND = (
        "other_kind",
        "The destination accepts no artefact of this kind.",
        "Name a destination of the same kind.",
    )
    NOT_CONFIGURED = (
        "not_configured",
        "The destination does not get such artefacts, and so no correction of them.",
        "Configure the destination for them first.",
    )
    OUTDATED = ("outdated", "A later artefact for the same radiograph or study was delivered.", "Drop the job.")
    NOT_HELD = ("not_held", "There is no hold of that name.", "Use the command in the reason, if any.")
    HELD_ALREADY = (
        "held_already",
        "There is a hold of that name, whose reason stands.",
        "If its reason is gone, release it first.",
    )
    HOLD_CHANGED = (
        "hold_changed",
        "The hold is another one than the page showed.",
        "Load the page again, and read the reason of the hold.",
    )
    TAKES_BACK = (
        "takes_back",
        "A delivery takes an answer back, which would stay at its destination if the delivery were dropped.",
        "Leave it; or name the job, with `--withdrawals` or the box of the form. A retry sends it after all.",
    )
    ON_THE_MOVE = ("on_the_move", "A delivery was sent during the withdrawal.", "Repeat the command.")
    NOTHING_ANSWERED = ("nothing_answered", "There is no answer under that UID.", "See `osteon queue find UID`.")
    NO_SUCH_SITE = (
        "no_such_site",
        "No engine of the pack has served that site.",
        "Name a site of `osteon phase list`; a site is listed once the analyse role has started with its pack.",
    )
    ENGINE_CHANGED = (
        "engine_changed",
        "Another engine serves the site than the one that the person has looked at.",
        "Look at the phases again: `osteon phase list`.",
    )
    NOT_VALIDATED = (
        "not_validated",
        "The site cannot go live: no validation of its present engine has passed the gate.",
        "See `osteon validate status`.",
    )
    NO_SUCH_ACCOUNT = ("no_such_account", "There is no account of that name.", "See `osteon account list`.")
    ACCOUNT_EXISTS = (
        "account_exists",
        "There is an account of that name already.",
        "Choose another name, or change its password: `osteon account password`.",
    )
    WEAK_PASSWORD = (
        "weak_password",
        "The password is too short, too long, or repeats the name or a few characters.",
        "Choose another one: three words or more.",
    )
    NO_REASON = ("no_reason", "An action of the page was asked for without a reason.", "Write the reason.")
    VALIDATION_OPEN = (
        "validation_open",
        "A validation is open: another one cannot start beside it, and its figures are shown when it is full and read.",
        "See `osteon validate status`; let the sample be read, or end the validation.",
    )
    NO_VALIDATION = (
        "no_validation",
        "There is no such validation, or none that is open.",
        "See `osteon validate status`; start one: `osteon validate start`.",
    )
    NOT_IN_VALIDATION = (
        "not_in_validation",
        "A site is in a phase in which its radiographs are not sampled.",
        "Set its phase: `osteon phase set SITE validate`.",
    )
    READ_ALREADY = ("read_already", "The radiograph of the sample was read already.", "Read the next one.")
    READS_FILE = ("reads_file", "The table of reads cannot be used.", "Correct the file as the message says.")
    BAD_READ = (
        "bad_read",
        "The read of a radiograph has no answer, or a box that is none.",
        "Choose an answer on the page, and draw the box again.",
    )
    NOT_OFFERED = (
        "not_offered",
        "The radiograph is not in the sample any more, or an answer about its study has left the box.",
        "Read the next one.",
    )
    AUDIT_BROKEN = (
        "audit_broken",
        "The audit log is not whole: an entry was altered or removed.",
        "Keep a copy of the database for whoever is responsible for security; compare it with a backup.",
    )
    FILE_NOT_WRITTEN = (
        "file_not_written",
        "A file cannot be written.",
        "Name a folder that you may write to, on a disk with room.",
    )
    REPORT_ALTERED = (
        "report_altered",
        "The file is not a report as it was written: a byte of it was altered, or it was saved anew by a program.",
        "Compare it with another copy, or write the report again: `osteon validate report`.",
    )
    REPORT_UNKNOWN = (
        "report_unknown",
        "The audit log has no entry of this report: this appliance did not write it, or the log was replaced.",
        "Ask for the appliance that wrote it; `osteon audit list` shows the reports that this one wrote.",
    )
    BACKUP = (
        "backup",
        "A backup cannot be written, or cannot be used.",
        "Follow the message; take another backup if one is damaged.",
    )
    MANIFEST = ("manifest", "The manifest cannot be used.", "Correct the file that the message names.")
    NOT_A_PICTURE = ("not_a_picture", "A picture cannot be read.", "Export the file again as DICOM, JPEG or PNG.")
    DEMO_FOLDER = (
        "demo_folder",
        "The folder for the demonstration holds other files.",
        "Choose another folder with `--out`.",
    )
    DEMO_START = (
        "demo_start",
        "Not every role of the demonstration started in time.",
        "See the logs in the folder that the message names.",
    )
    DEMO_ROLLOUT = (
        "demo_rollout",
        "The demonstration of a rollout found something that must not be.",
        "Report it, with the logs in the folder of the demonstration.",
    )
    REPORT_NOT_OPEN = (
        "report_not_open",
        "No final report of that number waits for the conclusion of a person.",
        "See `osteon validate conclude`.",
    )
