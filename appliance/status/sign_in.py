"""Signing in with an account, and out."""

from __future__ import annotations

import logging
import re
from ipaddress import ip_address, ip_network
from typing import Final

from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for
from sqlalchemy import Engine
from werkzeug.wrappers import Response as AnyResponse

from appliance.domain.account import ACCOUNT_NAME
from appliance.storage.accounts import password_hash_of
from appliance.storage.passwords import decoy, is_password
from appliance.storage.sign_ins import begin_sign_in, end_sign_in

from .guard import SIGN_IN_COOKIE, Guard, is_link, set_cookie, visitor
from .throttle import Throttle

WITHIN_S: Final = 300.0
MOST_PER_ADDRESS: Final = 10
MOST_PER_ACCOUNT: Final = 10
"""Attempts in five minutes; a right password forgets those of its account, and its own of the address."""

WRONG: Final = "Name or password is wrong."

log = logging.getLogger(__name__)


def make_sign_in(engine: Engine, guard: Guard) -> Blueprint:
    """Return the pages to sign in and out.

    Parameters
    ----------
    engine
        For writing: it records sign-ins.
    """
    pages = Blueprint("sign_in", __name__)
    by_address, by_account = Throttle(MOST_PER_ADDRESS, WITHIN_S), Throttle(MOST_PER_ACCOUNT, WITHIN_S)
    decoy()  # else the first unknown name would take twice as long

    @pages.get("/sign-in")
    def form() -> Response:
        return _form(g.database_defect and f"The database cannot be read: {g.database_defect}.")

    @pages.post("/sign-in")
    def sign_in() -> AnyResponse:
        name, password = request.form.get("name", "").strip(), request.form.get("password", "")
        address, account = _network_of(visitor().address), name[:64]
        if not address:
            log.warning("the proxy names no address in X-Forwarded-For: attempts are limited by account alone")
        if wait_s := (by_address.admit(address) if address else 0) or by_account.admit(account):
            log.warning("too many attempts to sign in from %s: refused for %d s", visitor().address, wait_s)
            too_many = _form(f"Too many attempts: wait {wait_s} s.", 429)
            too_many.headers["Retry-After"] = str(wait_s)
            return too_many
        password_hash = password_hash_of(engine, name) if re.fullmatch(ACCOUNT_NAME, name) else None
        is_right = is_password(password, password_hash)
        token = begin_sign_in(engine, name, password_hash) if is_right and password_hash else None
        if token is None:  # the name may be a password in the wrong field: it is not logged
            log.warning("a wrong name or password from %s", visitor().address)
            return _form(WRONG, 403)
        by_account.forget(account)
        by_address.give_back(address)
        log.info("%s signed in from %s", name, visitor().address)
        link = request.form.get("to", "")
        response = redirect(link if is_link(link) else url_for("pages.page"), 303)
        set_cookie(response, SIGN_IN_COOKIE, token, is_secure=guard.is_secure())
        return response

    @pages.post("/sign-out")
    def sign_out() -> AnyResponse:
        if token := request.cookies.get(SIGN_IN_COOKIE):
            end_sign_in(engine, token)
            log.info("%s signed out", visitor().name or "a visitor")
        response = redirect(url_for("sign_in.form"), 303)
        response.delete_cookie(SIGN_IN_COOKIE, httponly=True, samesite="Strict")
        return response

    return pages


def _form(sentence: str = "", status: int = 200) -> Response:
    link = request.values.get("to", "")
    return make_response(render_template("sign_in.html", sentence=sentence, to=link if is_link(link) else ""), status)


def _network_of(address: str) -> str:
    """Return the address, or of IPv6 the network that one customer has: 64 bits are free to choose there."""
    try:
        return str(ip_network((address, 64), strict=False)) if ip_address(address).version == 6 else address
    except ValueError:
        return address
