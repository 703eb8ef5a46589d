"""Try it: a file that an operator sends is read as a trial; picture and report are shown, and kept nowhere else.

The address of a trial is opaque, and opens nothing without the sign-in that sent the file.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from flask import Blueprint, Response, redirect, request, url_for
from werkzeug.datastructures import FileStorage
from werkzeug.wrappers import Response as AnyResponse

from appliance.config import MEGABYTE
from appliance.domain.finding import Answer
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Result
from appliance.domain.study import StudyResult
from appliance.domain.trial import TRIAL_BYTES, TRIAL_S
from appliance.errors import OsteonError, Rejected, Transient
from appliance.reporting.wording import headline, limits, radiograph_sentences
from appliance.storage.trials import Trial, TrialStore

from .guard import browser_secret, for_operators, refused, visitor
from .upload import UPLOAD_PATH
from .view import View

REFRESH_S: Final = 1
"""Interval at which the page of a trial without an answer reads itself again."""

PIECE_BYTES: Final = 1 << 20

GONE: Final = "There is no such trial: it was removed, its time is over, or it belongs to another sign-in."


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The text about a trial: the first sentence of the report of a study, and all that follows it."""

    answer: Answer
    headline: str
    sentences: tuple[str, ...]


def make_trials(view: View, store: TrialStore) -> Blueprint:
    """Return the pages on which a file is tried."""
    pages = Blueprint("trials", __name__)

    @pages.get(UPLOAD_PATH)
    @for_operators
    def form() -> str:
        return view.render("trials.html", largest_mb=TRIAL_BYTES // MEGABYTE, minutes=TRIAL_S // 60)

    @pages.post(UPLOAD_PATH)
    @for_operators
    def add() -> AnyResponse:
        name = secrets.token_urlsafe(32)
        if store.files.free_bytes() < view.config.receive.reserve_mb * MEGABYTE:
            raise Transient(ReasonCode.DISK_LOW, "less than receive.reserve_mb is free: radiographs need it")
        store.add(name, _keep(store, request.files.get("file")), _owner())
        return redirect(url_for("trials.trial", name=name), 303)

    @pages.get(f"{UPLOAD_PATH}/<name>")
    @for_operators
    def trial(name: str) -> str | tuple[str, int]:
        found = store.find(name, _owner())
        if found is None:
            return refused(GONE), 404
        return view.render(
            "trial.html",
            trial=found,
            name=name,
            report=_report(store, found),
            before=0 if found.is_over else store.radiographs_before(),
            minutes=TRIAL_S // 60,
            removed_at=found.created_at + timedelta(seconds=TRIAL_S),
            refresh_s=0 if found.is_over else REFRESH_S,
        )

    @pages.get(f"{UPLOAD_PATH}/<name>/picture")
    @for_operators
    def picture(name: str) -> Response | tuple[str, int]:
        found = store.find(name, _owner())
        if found is None or not found.picture_digest:
            return refused(GONE), 404
        return Response(store.files.get(found.picture_digest), content_type="image/png")

    @pages.post(f"{UPLOAD_PATH}/<name>/remove")
    @for_operators
    def remove(name: str) -> AnyResponse:
        store.remove(name, _owner())
        return redirect(url_for("trials.form"), 303)

    @pages.before_app_request
    def remove_with_the_sign_in() -> None:
        if request.endpoint == "sign_in.sign_out" and visitor().is_operator:
            store.remove_of(_owner())

    @pages.errorhandler(OsteonError)
    def explain(error: OsteonError) -> tuple[str, int]:
        return refused(error.reason), 409

    return pages


def _owner() -> str:
    """Return a digest of person and browser; another sign-in of the same person, here or at a proxy, has another."""
    person = visitor()
    return hashlib.sha256(f"{person.door}/{person.name}/{browser_secret()}".encode()).hexdigest()


def _keep(store: TrialStore, file: FileStorage | None) -> str:
    """Keep a file that was sent, without a look at its content; return its digest.

    Raises
    ------
    Rejected
        ``no_file``.
    Transient
        ``disk_full`` or ``spool_failed``.
    """
    incoming = store.incoming()
    try:
        size_bytes = 0
        while file is not None and (piece := file.stream.read(PIECE_BYTES)):
            incoming.write(piece)
            size_bytes += len(piece)
        if not size_bytes:
            raise Rejected(ReasonCode.NO_FILE, "choose a file: DICOM, JPEG or PNG")
        return incoming.keep()
    finally:
        incoming.discard()


def _report(store: TrialStore, trial: Trial) -> Report | None:
    """Return the text about a trial as reports have it; None without a result."""
    if not trial.result_digest:
        return None
    result = Result.from_json(store.files.get(trial.result_digest).decode())
    study = StudyResult(study_instance_uid=result.study_instance_uid, created_at=result.created_at, results=(result,))
    sentences = [*radiograph_sentences(result, alone=True), *limits(study)]
    return Report(answer=result.answer, headline=headline(study), sentences=tuple(dict.fromkeys(map(str, sentences))))
