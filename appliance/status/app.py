"""The web application of the status role: pages for hospital IT, `/health` and `/metrics`."""

from __future__ import annotations

from flask import Flask, Response, request
from sqlalchemy import Engine

from appliance.config import Configuration
from appliance.domain.finding import percent
from appliance.storage.trials import TrialStore
from engines.pack import Pack

from .actions import Withdraw, make_actions
from .decide import make_decide
from .facts import read_sites
from .guard import Guard
from .health import duration
from .kept import Kept
from .pages import make_pages
from .probes import make_probes
from .radiographs import make_radiograph_pages
from .reading import Look, make_reading
from .rollout import make_rollout_page
from .score_figures import FILTERS
from .sign_in import make_sign_in
from .texts import local_time, short_time, with_commands
from .trials import make_trials
from .view import View

POLICY = "Content-Security-Policy"

HEADERS = {
    POLICY: "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer the browser would hide the Origin of our own forms
    "Cache-Control": "no-store",
}


def create_app(
    engine: Engine,
    config: Configuration,
    pack: Pack | str,
    version: str,
    *,
    writer: Engine | None = None,
    withdraw: Withdraw | None = None,
    look: Look | None = None,
    keep_s: float = 0.0,
    keep_sites_s: float = 0.0,
) -> Flask:
    """Return the WSGI application.

    Parameters
    ----------
    engine
        For reading only (`appliance.storage.database.readers`).
    pack
        The pack in use, or the sentence that says why there is none.
    writer, withdraw
        For sign-ins and the actions of operators; without them the page only reads.
    look
        For the page of readers; without it there is none.
    keep_s
        Time for which readiness and metrics are kept: strangers may ask for them as often as they like.
    keep_sites_s
        Time for which the figures about sites are kept.
    """
    app = Flask(__name__)
    app.jinja_env.filters |= {
        "duration": duration,
        "percent": percent,
        "local_time": local_time,
        "short_time": short_time,
        "with_commands": with_commands,
        **FILTERS,
    }
    sites = Kept(read_sites, keep_sites_s)
    view = View(engine, config, pack, version, sites)
    app.register_blueprint(make_pages(view))
    app.register_blueprint(make_radiograph_pages(view))
    app.register_blueprint(make_rollout_page(view, writer, keep_sites_s))
    app.register_blueprint(make_probes(engine, config, pack, version, keep_s, sites))
    guard = Guard(config.status, writer)
    guard.protect(app)
    app.extensions["guard"] = guard
    if writer is not None and withdraw is not None:
        app.register_blueprint(make_sign_in(writer, guard))
        app.register_blueprint(make_decide(writer))
        app.register_blueprint(make_actions(view, writer, withdraw))
        app.register_blueprint(make_trials(view, TrialStore(writer, config.trials_dir)))
        if look is not None:
            app.register_blueprint(make_reading(view, writer, look))

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers.update(HEADERS)
        if request.blueprint == "reading":  # the only pages with a script, a file of ours
            response.headers[POLICY] += "; script-src 'self'"
        return response

    return app
