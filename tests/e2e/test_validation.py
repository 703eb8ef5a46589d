"""A validation on a whole box: what is drawn stays in it, the rest leaves, and a reader reads it on the page."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import select

from appliance.domain.account import AccountRole
from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase
from appliance.domain.validation import SampleKind
from appliance.storage.accounts import add_account
from appliance.storage.passwords import hash_password
from appliance.storage.spool import FileSpool
from appliance.storage.tables import deliveries, reads, results
from appliance.storage.validations import progress, start_validation
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.kept import keep
from tests.support.people import anna
from tests.support.reading import PASSWORD, ReadingPage
from tests.support.site import Site as Box

pytestmark = pytest.mark.release

PACS = {"kind": "dicom", "name": "pacs", "host": "127.0.0.1", "port": 9, "called_ae_title": "PACS", "timeout_s": 1}


def test_drawn_study_stays_in_the_box_and_is_read_on_the_page(tmp_path: Path) -> None:
    with Box(tmp_path, [PACS], phase=Phase.VALIDATE) as box:
        box.config.write_text("status.accounts = true\n" + box.config.read_text())
        add_account(box.engine, "rita", AccountRole.READER, hash_password(PASSWORD, "rita"), anna())
        box.start("analyse", "status")
        validation = start_validation(
            box.engine, kind=SampleKind.RANDOM, sites=[Site.WRIST], size=10, share=1.0, by=anna("quarter 1")
        )
        spool = FileSpool(tmp_path / "state" / "spool")
        shown = {name: instance_from_phantom(phantom(name, 1, fracture=True)) for name in ("wrist", "ankle")}
        for ds in shown.values():
            keep(box.engine, spool, ds)
        box.wait_for("studies", done=2)
        with box.engine.connect() as c:
            assert set(c.execute(select(deliveries.c.study_instance_uid)).scalars()) == {
                str(shown["ankle"].StudyInstanceUID)
            }
            assert set(c.execute(select(results.c.study_instance_uid)).scalars()) == {
                str(ds.StudyInstanceUID) for ds in shown.values()
            }
        page = ReadingPage(f"http://127.0.0.1:{box.page_port}")
        browser = page.browser("rita")
        assert "wrist" in browser.get("/read").text
        picture = browser.get("/read/1/picture")
        with Image.open(io.BytesIO(picture.content)) as png:
            assert (png.height, png.width) == (shown["wrist"].Rows, shown["wrist"].Columns)
        assert page.answer(browser, "fracture").status_code == 303
        assert "Nothing to read" in browser.get("/read").text
        browser.close()
        with box.engine.connect() as c:
            (read,) = c.execute(select(reads)).all()
            done = progress(c, validation)
        assert (read.answer, read.reader, read.is_blinded) == ("fracture", "rita", True)
        assert (done.drawn, done.read, done.changed_sites) == (1, 1, ())
