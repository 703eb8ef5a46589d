"""The page of readers, over real HTTP: who may read, what is shown and hidden, and that each read counts once."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from argon2 import PasswordHasher
from PIL import Image
from pydicom.dataset import Dataset
from sqlalchemy import Engine, select, update

from appliance.clock import now
from appliance.config import Configuration
from appliance.dicom.reading.reader import header_from_dataset, radiograph_from_dataset
from appliance.domain.audit import Door
from appliance.domain.finding import Box
from appliance.domain.job import State
from appliance.domain.reason import ReasonCode
from appliance.domain.validation import Read, ReadAnswer, ReadSource, SampleKind
from appliance.errors import Rejected
from appliance.preprocessing.reference import displayed
from appliance.service.reading_room import ReadingRoom
from appliance.status.app import create_app
from appliance.storage import passwords
from appliance.storage.audit import newest_entries
from appliance.storage.database import readers
from appliance.storage.passwords import decoy
from appliance.storage.reads import offered, record_read, waiting_count
from appliance.storage.spool import FileSpool
from appliance.storage.tables import deliveries, draws, instances, reads, results, studies
from appliance.storage.validations import end_validation, newest_validation, progress
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.outbox import radiograph
from tests.support.people import anna
from tests.support.reading import ReadingPage, field, look_here, reading_page
from tests.support.validations import Hospital, begin

NONE = Read(reader="rita", source=ReadSource.PAGE, answer=ReadAnswer.NONE)


@pytest.fixture
def hospital(engine: Engine, spool: FileSpool) -> Hospital:
    begin(engine)
    return Hospital(engine, spool)


@pytest.fixture
def page(tmp_path: Path, engine: Engine, spool: FileSpool, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReadingPage]:
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    decoy.cache_clear()
    with reading_page(tmp_path, engine, look_here(spool)) as served:
        yield served


def wrist() -> Dataset:
    ds = instance_from_phantom(phantom("wrist", 0, fracture=True))
    ds.PatientName, ds.PatientID, ds.PatientAge = "LEAKYNAME^ERIKA", "LEAKYNUMBER", "067Y"
    ds.ViewPosition, ds.ImageLaterality, ds.StudyDescription = "PA", "R", "LEAKYTEXT"
    return ds


def rows(engine: Engine) -> list[Any]:
    with engine.connect() as c:
        return list(c.execute(select(reads).order_by(reads.c.id)))


def test_reader_reads_a_radiograph_and_the_next_one_is_offered(
    engine: Engine, hospital: Hospital, page: ReadingPage
) -> None:
    for number in (1, 2):
        hospital.analyse(number)
    hospital.report()
    browser = page.browser("rita")
    assert browser.get("/").headers["location"] == "/read"
    first = browser.get("/read").text
    assert "2 to read" in first
    edges = {"x0": "10", "y0": "20", "x1": "30", "y1": "45"}
    done = page.answer(browser, "fracture", mark=["mobile", "hardware"], **edges)
    assert (done.status_code, done.headers["location"]) == (303, "/read")
    assert field(browser, "draw") not in first.partition('name="draw"')[2][:20]
    page.answer(browser, "unusable")
    assert "Nothing to read" in browser.get("/read").text
    one, other = rows(engine)
    assert (one.reader, one.source, one.answer, one.is_blinded) == ("rita", "page", "fracture", True)
    assert (one.box, one.marks) == ("[10.0, 20.0, 30.0, 45.0]", "hardware,mobile")
    assert (other.answer, other.box, other.marks) == ("unusable", "", "")
    with engine.connect() as c:
        entry = newest_entries(c, 2)[1]
    assert (entry.person, entry.door, entry.action) == ("rita", Door.ACCOUNT, "read")
    assert entry.subject == f"draw:{one.draw_id}"
    assert entry.detail == "fracture, hardware, mobile, box 10 20 30 45"


def test_reader_sees_the_displayed_pixels_and_neither_answer_nor_identity(
    hospital: Hospital, page: ReadingPage
) -> None:
    ds = wrist()
    made = hospital.analyse(1, ds=ds, patient="LEAKYNUMBER")
    hospital.report()
    browser = page.browser("rita")
    shown = browser.get("/read")
    assert "right wrist, PA, 65-79 years" in shown.text
    assert '<form id="read" method="post" action="/read" autocomplete="off">' in shown.text, "see tests/release"
    hidden = ("LEAKY", "ERIKA", made.sop_instance_uid, made.study_instance_uid, "suspected", "0.87", "87%", "067Y")
    assert [word for word in hidden if word in shown.text] == []
    address = shown.text.partition('<img id="radiograph" src="')[2].partition('"')[0]
    picture = browser.get(address)
    assert picture.headers["content-type"] == "image/png"
    header = header_from_dataset(ds)
    expected = displayed(radiograph_from_dataset(ds, header).stored)
    with Image.open(io.BytesIO(picture.content)) as png:
        assert png.info == {}
        assert np.array_equal(np.asarray(png), expected)
    assert expected.dtype == np.uint8


def test_lateral_view_is_named_without_a_side(hospital: Hospital, page: ReadingPage) -> None:
    ds = wrist()
    ds.ViewPosition = "LL"
    hospital.analyse(1, ds=ds)
    hospital.report()
    assert "right wrist, lateral" in page.browser("rita").get("/read").text


def test_reader_is_warned_of_burned_in_text(hospital: Hospital, page: ReadingPage) -> None:
    browser = page.browser("rita")
    for number, (value, is_warned) in enumerate({"YES": True, "NO": False}.items(), 1):
        ds = wrist()
        ds.SOPInstanceUID, ds.StudyInstanceUID, ds.BurnedInAnnotation = f"1.2.{number}", f"1.3.{number}", value
        hospital.analyse(number, ds=ds)
        hospital.report()
        assert ("burned into" in browser.get("/read").text) == is_warned
        page.answer(browser, "none")


def test_script_is_allowed_on_the_page_of_readers_alone(hospital: Hospital, page: ReadingPage) -> None:
    hospital.analyse(1)
    hospital.report()
    of_readers = page.browser("rita").get("/read").headers["content-security-policy"]
    elsewhere = [page.browser().get("/sign-in"), page.browser("victor").get("/")]
    assert "default-src 'none'" in of_readers
    assert of_readers.endswith("; script-src 'self'")
    assert ["script" in each.headers["content-security-policy"] for each in elsewhere] == [False, False]


@pytest.mark.parametrize("name", ["", "victor", "olga"])
def test_person_who_may_see_answers_reads_nothing(
    engine: Engine, hospital: Hospital, page: ReadingPage, name: str
) -> None:
    hospital.analyse(1)
    hospital.report()
    browser = page.browser(name)
    token = field(browser, "csrf", "/sign-in")
    sent = browser.post("/read", data={"csrf": token, "draw": "1", "result": "1", "answer": "none"})
    answers = [browser.get("/read"), browser.get("/read/1/picture"), sent]
    assert {answer.status_code for answer in answers} == {403 if name else 303}
    assert rows(engine) == []


@pytest.mark.parametrize(
    "path",
    ["/radiographs", "/radiographs/1", "/studies/1", "/conditions", "/pack", "/turned-away", "/audit", "/trials"],
)
def test_reader_sees_no_page_that_leads_to_an_answer(hospital: Hospital, page: ReadingPage, path: str) -> None:
    hospital.analyse(1)
    hospital.report()
    answer = page.browser("rita").get(path)
    assert (answer.status_code, "sees no other page" in answer.text) == (403, True)
    assert 'href="/read"' in answer.text
    assert "Overview" not in answer.text
    assert page.browser("victor").get("/radiographs").status_code == 200


def test_form_without_the_token_or_with_nonsense_is_refused(
    engine: Engine, hospital: Hospital, page: ReadingPage
) -> None:
    hospital.analyse(1)
    hospital.report()
    browser = page.browser("rita")
    assert browser.post("/read", data={"draw": "1", "result": "1", "answer": "none"}).status_code == 403
    bad: list[dict[str, str]] = [
        {"answer": ""},
        {"answer": "perhaps"},
        {"answer": "none", "x0": "10", "y0": "1", "x1": "30", "y1": "2"},
        {"answer": "fracture", "x0": "10"},
        {"answer": "fracture", "x0": "30", "y0": "1", "x1": "10", "y1": "2"},
        {"answer": "fracture", "x0": "nan", "y0": "1", "x1": "10", "y1": "2"},
        {"answer": "fracture", "x0": "1e3", "y0": "1", "x1": "10", "y1": "2"},
        {"answer": "fracture", "x0": "-1", "y0": "1", "x1": "10", "y1": "2"},
    ]
    assert [page.answer(browser, **fields).status_code for fields in bad] == [409] * len(bad)
    stale = {"csrf": field(browser, "csrf"), "answer": "none"}
    for number in ("x", "-1", str(2**31), "9" * 20):
        answer = browser.post("/read", data=stale | {"draw": number, "result": number})
        assert answer.headers["location"] == "/read?notice=not_offered", number
    assert rows(engine) == []
    assert page.answer(browser, "none", mark=["nonsense"]).status_code == 303
    assert [row.marks for row in rows(engine)] == [""]


def test_radiograph_that_another_reader_read_meanwhile_is_refused_in_words(
    engine: Engine, hospital: Hospital, page: ReadingPage
) -> None:
    hospital.analyse(1)
    hospital.report()
    rita, raul = page.browser("rita"), page.browser("raul")
    late = {name: field(raul, name) for name in ("csrf", "draw", "result")} | {"answer": "fracture"}
    page.answer(rita, "none")
    refused = raul.post("/read", data=late)
    assert refused.headers["location"] == "/read?notice=read_already"
    assert "was read already" in raul.get(refused.headers["location"]).text
    assert [(row.reader, row.answer) for row in rows(engine)] == [("rita", "none")]


def test_page_of_the_study_says_that_its_answer_is_kept_back(hospital: Hospital, page: ReadingPage) -> None:
    hospital.analyse(1)
    hospital.report()
    assert "Kept back: in the sample of validation 1" in page.browser("victor").get("/studies/1").text
    _release(hospital.engine)
    assert "Kept back" not in page.browser("victor").get("/studies/1").text


def test_readers_are_offered_radiographs_in_orders_of_their_own(engine: Engine, hospital: Hospital) -> None:
    for number in range(1, 11):
        hospital.analyse(number)
    hospital.report()
    names = [f"reader {number}" for number in range(20)]
    firsts = {name: offered(engine, name) for name in names}
    assert len({one.draw_id for one in firsts.values() if one}) > 4
    assert firsts["reader 3"] == offered(engine, "reader 3")


def _leave(engine: Engine, state: State) -> None:
    with engine.begin() as c:
        made = {"study_instance_uid": c.execute(select(studies.c.study_instance_uid)).scalar_one(), "state": state}
        texts = {"destination": "pacs", "kind": "sc", "identifier": "1", "digest": "d"}
        c.execute(deliveries.insert().values(not_before=now(), created_at=now(), **texts, **made))


def _release(engine: Engine) -> None:
    with engine.begin() as c:
        c.execute(update(draws).values(is_blinded=False))


def _prune(engine: Engine) -> None:
    with engine.begin() as c:
        c.execute(update(instances).values(pruned_at=now()))


def _take_back(engine: Engine) -> None:
    with engine.begin() as c:
        c.execute(update(results).values(taken_back_at=now()))


@pytest.mark.parametrize(
    ("change", "unblinded"),
    [
        (lambda engine: _leave(engine, State.DONE), 1),
        (lambda engine: _leave(engine, State.QUEUED), 1),
        (_prune, 0),
        (_take_back, 0),
        (lambda engine: end_validation(engine, SampleKind.RANDOM, anna()), 0),
    ],
    ids=["has left", "is about to leave", "is not in the spool", "was taken back", "validation has ended"],
)
def test_radiograph_that_may_not_be_read_any_more_is_neither_offered_nor_recorded(
    engine: Engine, hospital: Hospital, page: ReadingPage, change: Any, unblinded: int
) -> None:
    hospital.analyse(1)
    hospital.report()
    browser = page.browser("rita")
    fields = {name: field(browser, name) for name in ("csrf", "draw", "result")} | {"answer": "none"}
    change(engine)
    assert (offered(engine, "rita"), waiting_count(engine)) == (None, 0)
    with engine.connect() as c:
        found = newest_validation(c, SampleKind.RANDOM)
        assert found
        assert progress(c, found).unblinded == unblinded
    assert browser.get("/read/1/picture").status_code == 404
    assert browser.post("/read", data=fields).headers["location"] == "/read?notice=not_offered"
    assert rows(engine) == []


def test_radiograph_is_offered_once_its_study_has_settled(engine: Engine, hospital: Hospital) -> None:
    hospital.analyse(1)
    assert offered(engine, "rita") is None
    with pytest.raises(Rejected) as early:
        record_read(engine, 1, 1, NONE, anna())
    assert early.value.code is ReasonCode.NOT_OFFERED
    hospital.report()
    assert offered(engine, "rita") is not None
    with pytest.raises(Rejected):
        record_read(engine, 1, 2, NONE, anna())  # the reader saw another result's radiograph
    record_read(engine, 1, 1, NONE, anna())
    with pytest.raises(Rejected) as again:
        record_read(engine, 1, 1, NONE, anna())
    assert again.value.code is ReasonCode.READ_ALREADY
    with engine.connect() as c:
        assert newest_entries(c, 1)[0].detail == "none"


def test_read_counts_for_the_progress_of_the_sample(engine: Engine, spool: FileSpool) -> None:
    validation, hospital = begin(engine), Hospital(engine, spool)
    for number in (1, 2):
        hospital.analyse(number)
    hospital.report()
    box = Box(x0=1, y0=2, x1=3, y1=4)
    record_read(engine, 1, 1, Read(reader="r", source=ReadSource.PAGE, answer=ReadAnswer.UNSURE, box=box), anna())
    with engine.connect() as c:
        done = progress(c, validation)
    assert (done.drawn, done.read, done.blinded, done.unblinded) == (2, 1, 1, 0)


def test_radiograph_that_cannot_be_displayed_is_named_and_can_be_answered(
    engine: Engine, hospital: Hospital, page: ReadingPage
) -> None:
    ds = radiograph(1)
    ds.Rows = 60_000
    hospital.analyse(1, ds=ds)
    hospital.report()
    browser = page.browser("rita")
    shown = browser.get("/read").text
    assert "It cannot be displayed" in shown
    assert "<img" not in shown
    assert browser.get("/read/1/picture").status_code == 404
    assert page.answer(browser, "unusable").status_code == 303
    assert [row.answer for row in rows(engine)] == ["unusable"]


def test_reading_room_decodes_in_a_process_of_its_own(
    tmp_path: Path, engine: Engine, hospital: Hospital, spool: FileSpool
) -> None:
    hospital.analyse(1, ds=wrist())
    hospital.report()
    drawn = offered(engine, "rita")
    assert drawn
    room = ReadingRoom(tmp_path / "spool", ())
    try:
        picture = room.look(drawn)
        assert picture == look_here(spool)(drawn)
        assert room._process is not None
        room._process._process.kill()
        room._process._process.join()
        assert room.look(drawn) is picture  # kept in memory
        spool.remove(drawn.digest)
        room._kept.clear()
        assert "not in the spool" in room.look(drawn).reason  # by a new process
    finally:
        room.close()


def test_reader_whom_a_proxy_names_sees_the_page_of_readers_alone(
    tmp_path: Path, engine: Engine, hospital: Hospital, spool: FileSpool
) -> None:
    hospital.analyse(1)
    hospital.report()
    proxy = {"addresses": ["127.0.0.1"], "header": "X-User", "operators": ["olga"], "readers": ["rita"]}
    config = Configuration.model_validate({"state_dir": tmp_path, "status": {"proxy": proxy}})
    app = create_app(
        readers(engine), config, "no pack", "1", writer=engine, withdraw=lambda *_: None, look=look_here(spool)
    )
    seen = {
        name: [app.test_client().get(path, headers={"X-User": name}).status_code for path in ("/read", "/radiographs")]
        for name in ("rita", "olga", "victor")
    }
    assert seen == {"rita": [200, 403], "olga": [403, 200], "victor": [403, 200]}


def test_proxy_names_readers_who_are_no_operators() -> None:
    proxy = {"addresses": ["127.0.0.1"], "header": "X-User", "operators": ["olga"], "readers": ["rita"]}
    given = Configuration.model_validate({"status": {"proxy": proxy}}).status.proxy
    assert given and given.readers == ("rita",)
    with pytest.raises(ValueError, match="olga cannot be operator and reader"):
        Configuration.model_validate({"status": {"proxy": proxy | {"readers": ["olga"]}}})
    with pytest.raises(ValueError, match="named by a header"):
        Configuration.model_validate({"status": {"proxy": {"addresses": ["127.0.0.1"], "readers": ["rita"]}}})
