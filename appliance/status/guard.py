"""Who may read the page, and who may change something on it: asked before every request.

A person has signed in with an account, or a reverse proxy at a listed address names the person. Requests that change
something need a token which only our own forms contain, and the browser's word that one of our pages sends them: a page
of another site, also of a sibling that sets cookies for us, cannot send them.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from flask import Flask, Response, g, redirect, render_template, request, url_for
from markupsafe import Markup
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.wrappers import Request
from werkzeug.wrappers import Response as AnyResponse

from appliance.config import Status
from appliance.config.status import Proxy, is_loopback
from appliance.domain.account import ACCOUNT_NAME, AccountRole
from appliance.domain.audit import Door, Intervention
from appliance.network import plain_address
from appliance.storage.database import defect
from appliance.storage.sign_ins import signed_in

P = ParamSpec("P")
R = TypeVar("R")

PUBLIC: Final = ("/health/", "/metrics", "/static/", "/sign-in")
"""Paths that need no sign-in: probes for programs, without identity, and the way in."""

NAMELESS: Final = ("/health/", "/metrics", "/static/")
"""Paths that are the same for everybody: no person is looked for, so that no lock of the database holds them up."""

SIGN_IN_COOKIE, FORM_COOKIE = "osteon_sign_in", "osteon_form"

CSRF_FIELD = "csrf"

LINK: Final = re.compile(r"/decide/[0-9a-f]{20}")
"""Links in reports: each ends with the control id (MSH-10) of its message. Browsers open them without our cookies."""

AGAIN: Final = "again"
"""Argument of a page that reads itself again (`base.html`): that keeps no sign-in alive."""

READING: Final = "reading.page"
"""Page on which a radiograph of a validation is read."""

OF_READERS: Final = ("reading", "sign_in")
"""Blueprints that a reader may use: all others show answers, or lead to them."""

FOR_PERSONS: Final = ("radiographs", "rollout")
"""Pages that are shown after a sign-in, or on a private page; all but `LISTS`."""

LISTS: Final = "radiographs.newest"
"""Page of radiographs that leads from no number to an answer."""

MOST_OPERATORS: Final = 1000
"""Sign-ins of operators that are remembered; the one that was not used for longest is forgotten first."""

OWN_PAGES: Final = ("same-origin", "none")
"""Values of Sec-Fetch-Site for requests of our pages and of the person; *same-site* are sibling sites."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """The person behind a request.

    Attributes
    ----------
    name
        Name of the account, or the one that the proxy gives; empty for a visitor without a sign-in.
    role
        Rights of the person; None without a sign-in.
    address
        Address of the browser; empty behind a listed proxy that names none.
    """

    address: str
    name: str = ""
    role: AccountRole | None = None
    door: Door = Door.ACCOUNT

    @property
    def is_operator(self) -> bool:
        """Whether the person may change something."""
        return self.role is AccountRole.OPERATOR

    @property
    def is_reader(self) -> bool:
        """Whether the person reads radiographs of a validation, and sees no other page."""
        return self.role is AccountRole.READER

    def intervention(self, reason: str) -> Intervention:
        """Return an intervention of this person."""
        return Intervention(person=self.name, door=self.door, reason=reason)


class Guard:
    """Decides about every request of the application.

    Parameters
    ----------
    engine
        For writing: it records the time of a sign-in's newest request. None: nobody signs in.
    """

    def __init__(self, config: Status, engine: Engine | None) -> None:
        self._config = config
        self._engine = engine
        self._secret = secrets.token_bytes(32)
        self._operators: OrderedDict[str, str] = OrderedDict()

    def protect(self, app: Flask) -> None:
        """Ask before every request of `app`, and give its templates the visitor and the field of forms."""
        app.before_request(self._decide)
        app.after_request(self._set_form_cookie)
        app.register_error_handler(SQLAlchemyError, _explain_database)
        # macros that are imported without their context see globals alone
        app.jinja_env.globals |= {
            "visitor": visitor,
            "has_accounts": self._config.accounts,
            "csrf_field": self._field,
            "may_look_up": self._may_look_up,
        }

    def is_secure(self) -> bool:
        """Return whether the browser's connection is encrypted, as a listed proxy says."""
        return self._is_proxied() and request.headers.get("X-Forwarded-Proto", "").strip().lower() == "https"

    def _decide(self) -> AnyResponse | tuple[str, int] | None:
        g.visitor, g.database_defect = Visitor(address=self._address()), ""
        if request.path.startswith(NAMELESS):
            return None
        if self._config.is_private and not is_loopback(re.sub(r":\d*$", "", request.host).strip("[]").lower()):
            return refused("This page is for this machine alone: open it as localhost, or set status.accounts."), 403
        try:
            g.visitor = self._identify(g.visitor.address)
        except SQLAlchemyError as error:
            g.database_defect = defect(error)
        is_public = request.path.startswith(PUBLIC)
        if not (is_public or self._may_read()):
            if self._config.accounts:
                return redirect(url_for("sign_in.form", to=request.path if is_link(request.path) else None), 303)
            return refused("The reverse proxy before this page names nobody: sign in there."), 403
        if g.visitor.is_reader and request.endpoint == "pages.page":
            return redirect(url_for(READING), 303)
        sentence = self._refusal()
        return (refused(sentence), 403) if sentence else None

    def _refusal(self) -> str:
        """Return why a visitor may not do this; empty if nothing stands against it."""
        if g.visitor.is_reader and request.blueprint not in OF_READERS and not request.path.startswith(PUBLIC):
            return "A reader sees no other page than the radiographs to read: the others show answers."
        if request.blueprint in FOR_PERSONS and request.endpoint != LISTS and not self._may_look_up():
            return "Single radiographs and the rollout are shown after a sign-in."
        is_change = request.method not in ("GET", "HEAD", "OPTIONS")
        if is_change and (self._is_foreign() or not self._has_csrf_token()):
            return "The form is older than the sign-in, or comes from another site: load the page again."
        return ""

    def _may_read(self) -> bool:
        config = self._config
        has_rules = config.accounts or (config.proxy is not None and config.proxy.header is not None)
        return g.visitor.role is not None or config.open or not has_rules

    def _may_look_up(self) -> bool:
        """Return whether the person may go from a number to the answer about a radiograph."""
        return self._config.is_private or g.visitor.role is not None

    def _identify(self, address: str) -> Visitor:
        """Return the person of this request: of the proxy's header, else of the cookie."""
        if self._engine is None:
            return Visitor(address=address)
        if (proxy := self._config.proxy) and (name := self._named_by_proxy(request)):
            return Visitor(address=address, name=name, role=_role(name, proxy), door=Door.PROXY)
        token = request.cookies.get(SIGN_IN_COOKIE, "") if self._config.accounts else ""
        is_activity = AGAIN not in request.args and not request.path.startswith(PUBLIC)
        account = signed_in(self._engine, token, is_activity=is_activity) if token else None
        self._operators.pop(token, None)
        if account is None:
            return Visitor(address=address)
        if account.role is AccountRole.OPERATOR:
            self._operators[token] = account.name
            while len(self._operators) > MOST_OPERATORS:
                self._operators.popitem(last=False)
        g.browser_secret = token
        return Visitor(address=address, name=account.name, role=account.role)

    def _named_by_proxy(self, asked: Request) -> str:
        """Return the name that a listed proxy gives; empty without one."""
        proxy = self._config.proxy
        is_believed = proxy is not None and proxy.header is not None and self.is_proxy(asked.remote_addr or "")
        name = asked.headers.get(proxy.header, "") if is_believed and proxy and proxy.header else ""
        return name if re.fullmatch(ACCOUNT_NAME, name) else ""

    def uploader(self, asked: Request) -> str:
        """Return the operator who sends a request, by what is remembered: no look at the database; empty if unknown.

        The form that a file is sent by was loaded before, and so its sign-in is remembered.
        """
        if (proxy := self._config.proxy) and (name := self._named_by_proxy(asked)):
            return name if name in proxy.operators else ""
        return self._operators.get(asked.cookies.get(SIGN_IN_COOKIE, ""), "")

    def _is_proxied(self) -> bool:
        """Return whether a listed proxy sends this request."""
        return self.is_proxy(request.remote_addr or "")

    def is_proxy(self, address: str) -> bool:
        """Return whether a listed proxy has that address."""
        try:
            at = plain_address(address)
        except ValueError:
            return False
        proxy = self._config.proxy
        return proxy is not None and any(at in network for network in proxy.addresses)

    def _address(self) -> str:
        """Return the browser's address: the last of X-Forwarded-For that is no listed proxy; empty without one."""
        hops = [*request.headers.get("X-Forwarded-For", "").split(","), request.remote_addr or ""]
        hop = next((one.strip() for one in reversed(hops) if not self.is_proxy(one.strip())), "")
        try:
            return str(plain_address(hop))
        except ValueError:
            return ""

    def _is_foreign(self) -> bool:
        """Return whether the browser says that a page of another site, sibling sites included, sends this request."""
        if site := request.headers.get("Sec-Fetch-Site"):
            return site not in OWN_PAGES
        origin = request.headers.get("Origin")  # all that browsers send to an address without TLS
        forwarded = request.headers.get("X-Forwarded-Host", "") if self._is_proxied() else ""
        return origin is not None and origin.partition("://")[2] not in {request.host, forwarded} - {
            ""
        }  # "null" has none

    def _field(self) -> Markup:
        """Return the hidden field that every form of ours contains."""
        if not browser_secret():
            g.new_form_secret = secrets.token_urlsafe(32)
        return Markup('<input type="hidden" name="{}" value="{}">').format(CSRF_FIELD, self._csrf_token())

    def _has_csrf_token(self) -> bool:
        given = request.form.get(CSRF_FIELD, "")
        return bool(browser_secret()) and hmac.compare_digest(given.encode(), self._csrf_token().encode())

    def _csrf_token(self) -> str:
        """Return the token of this browser and person: another site can set the cookie, but knows no key of ours."""
        person = visitor()
        return hmac.new(self._secret, repr((browser_secret(), person.door, person.name)).encode(), "sha256").hexdigest()

    def _set_form_cookie(self, response: Response) -> Response:
        if secret := g.get("new_form_secret"):
            set_cookie(response, FORM_COOKIE, secret, is_secure=self.is_secure())
        return response


def is_link(path: str) -> bool:
    """Return whether a path is that of a link in a report, to which a sign-in leads back."""
    return LINK.fullmatch(path) is not None


def set_cookie(response: AnyResponse, name: str, value: str, *, is_secure: bool) -> None:
    """Give the browser a cookie that no script reads and no other site sends; it ends with the browser."""
    response.set_cookie(name, value, secure=is_secure, httponly=True, samesite="Strict")


def visitor() -> Visitor:
    """Return the person behind this request."""
    found: Visitor = g.visitor
    return found


def _role(name: str, proxy: Proxy) -> AccountRole:
    if name in proxy.readers:
        return AccountRole.READER
    return AccountRole.OPERATOR if name in proxy.operators else AccountRole.VIEWER


def for_operators(view: Callable[P, R]) -> Callable[P, R | tuple[str, int]]:
    """Refuse a view to all but operators."""

    @wraps(view)
    def guarded(*arguments: P.args, **named: P.kwargs) -> R | tuple[str, int]:
        if visitor().is_operator:
            return view(*arguments, **named)
        return refused("This needs the role operator."), 403

    return guarded


def for_readers(view: Callable[P, R]) -> Callable[P, R | tuple[str, int]]:
    """Refuse a view to all but readers: whoever may see answers reads no radiograph."""

    @wraps(view)
    def guarded(*arguments: P.args, **named: P.kwargs) -> R | tuple[str, int]:
        if visitor().is_reader:
            return view(*arguments, **named)
        return refused("This needs the role reader, which sees no answers."), 403

    return guarded


def refused(sentence: str) -> str:
    """Return a page with one sentence."""
    return render_template("refused.html", sentence=sentence)


def _explain_database(error: SQLAlchemyError) -> tuple[str, int]:
    return refused(f"The database cannot be used: {defect(error)}."), 503


def browser_secret() -> str:
    """Return the secret of the browser: its sign-in, else the cookie that a form has set; empty if there is none."""
    return str(g.get("browser_secret") or g.get("new_form_secret") or request.cookies.get(FORM_COOKIE, ""))
