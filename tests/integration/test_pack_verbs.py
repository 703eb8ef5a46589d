"""Commands of `osteon pack`: packs are installed whole or not at all, and used only if they are unaltered."""

import hashlib
import json
import pickle
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest

from appliance.config import Analyse, Configuration
from appliance.dicom.part10 import part10_bytes
from appliance.errors import Fault, Rejected
from appliance.preprocessing.recipe import DIGEST
from appliance.service.instance_reader import Reader
from appliance.service.pipeline_assembly import SHIPPED, pack_of, pipeline_of
from engines.pack import FORMAT
from engines.signature import sign
from engines.training.toml_writer import toml
from provisioning.operation.packs import find_pack, install, list_packs, model_card, verify
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.people import anna


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The phantom pack under another version, in a folder outside the appliance."""
    folder = tmp_path / "handed over"
    shutil.copytree(SHIPPED / "phantom", folder)
    edit(folder, lambda text: text.replace('version = "', 'version = "9.', 1))
    return folder


@pytest.fixture
def config(tmp_path: Path) -> Configuration:
    return Configuration(state_dir=tmp_path / "state")


def edit(folder: Path, change: Callable[[str], str]) -> None:
    manifest = folder / "pack.toml"
    manifest.write_text(change(manifest.read_text()))


def repack(folder: Path, name: str) -> None:
    """Make the manifest agree with a changed file, as a forger would."""
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    lines = (folder / "pack.toml").read_text().splitlines()
    edit(folder, lambda _: "\n".join(f'"{name}" = "{digest}"' if x.startswith(f'"{name}" =') else x for x in lines))


def key_pair(folder: Path, name: str) -> tuple[Path, Path]:
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    return private, public


@pytest.mark.parametrize("archived", [False, True])
def test_installed_pack_can_be_used(copy: Path, config: Configuration, archived: bool, tmp_path: Path) -> None:
    source = copy
    if archived:
        source = tmp_path / "pack.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for file in copy.iterdir():
                archive.write(file, f"some/folder/{file.name}")
    target = install(source, config, anna())
    assert target.parent == config.packs_dir
    assert install(source, config, anna()) == target  # again: nothing new
    using = config.model_copy(update={"analyse": Analyse(pack=target.name)})
    assert pack_of(using).version.startswith("9.")
    assert pipeline_of(using).provenance.pack_digest == pack_of(using).digest
    assert target.name in dict(list_packs(config))
    assert [p.name for p in config.packs_dir.iterdir()] == [target.name]


def altered(folder: Path) -> None:
    (folder / "knee.onnx").write_bytes((folder / "wrist.onnx").read_bytes())


def swapped(folder: Path) -> None:
    altered(folder)
    repack(folder, "knee.onnx")


def wrong_goldens(folder: Path) -> None:
    with np.load(folder / "goldens.npz") as stored:
        goldens = dict(stored)
    key = next(k for k in goldens if k.startswith("knee/") and "logit" in k)
    np.savez(folder / "goldens.npz", **(goldens | {key: goldens[key] + 1}))
    repack(folder, "goldens.npz")


def incomplete(folder: Path) -> None:
    (folder / "ankle.onnx").unlink()


def newer(folder: Path) -> None:
    edit(folder, lambda text: text.replace(f"format = {FORMAT}", f"format = {FORMAT + 1}"))


def without_format(folder: Path) -> None:
    edit(folder, lambda text: text.replace(f"format = {FORMAT}\n", ""))


def foreign(folder: Path) -> None:
    edit(folder, lambda text: text.replace(DIGEST, "another"))


def escaping(folder: Path) -> None:
    edit(folder, lambda text: text.replace('file = "knee.onnx"', 'file = "../knee.onnx"'))


def escaping_by_name(folder: Path) -> None:
    edit(folder, lambda text: text.replace('name = "phantom"', 'name = "../../escaped"', 1))


def of_unknown_site(folder: Path) -> None:
    edit(folder, lambda text: text.replace("classifiers.knee", "classifiers.rib").replace('"knee"', '"rib"'))


def nested_too_deep(folder: Path) -> None:
    edit(folder, lambda text: f"deep = {'[' * 2000}{']' * 2000}\n{text}")


def with_external_weights(folder: Path) -> None:
    """Leave the weights in the working directory, where ONNX Runtime would look for them."""
    model = onnx.load(folder / "knee.onnx")
    onnx.save(model, folder / "knee.onnx", save_as_external_data=True, location="knee.bin", size_threshold=0)
    (folder / "knee.bin").rename(Path.cwd() / "knee.bin")
    repack(folder, "knee.onnx")


def set_value(name: str, value: str) -> Callable[[Path], None]:
    """Return a damage that sets the first value of that name."""
    return lambda folder: edit(folder, lambda text: re.sub(rf"\b{name} = .*", f"{name} = {value}", text, count=1))


def set_performance(name: str, value: str) -> Callable[[Path], None]:
    """Return a damage that sets a value of the measured performance of the first classifier."""
    table = r"(\[classifiers\.\w+\.performance\]\n(?:\w+ = .*\n)*?)"
    return lambda folder: edit(
        folder, lambda text: re.sub(rf"{table}{name} = .*", rf"\1{name} = {value}", text, count=1)
    )


def goldens_of(content: Callable[[Path], object]) -> Callable[[Path], None]:
    """Return a damage that replaces the goldens by the file that `content` writes."""

    def replace(folder: Path) -> None:
        content(folder / "goldens.npz")
        repack(folder, "goldens.npz")

    return replace


def no_pack(folder: Path) -> None:
    edit(folder, lambda _: "hello")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (altered, "not the file that was packed"),
        (swapped, "off its golden outputs"),
        (wrong_goldens, "off its golden outputs"),
        (incomplete, "cannot be read"),
        (newer, "upgrade Osteon"),
        (without_format, "build the pack again"),
        (foreign, "trained on preprocessing"),
        (escaping, "outside the pack"),
        (escaping_by_name, "small letters"),
        (of_unknown_site, "unknown sites .rib"),
        (no_pack, "cannot be read"),
        (nested_too_deep, "nested too deep"),
        (with_external_weights, "knee.onnx has weights in another file"),
        (lambda folder: (folder / "pack.toml").write_bytes(b"\xff\xfe"), "cannot be read"),
        (set_value("offset", "nan"), "nan is not a finite number"),
        (set_value("scale", "inf"), "inf is not a finite number"),
        (set_value("scale", "-0.5"), "-0.5 is not between 0 and inf"),
        (set_value("positive", "nan"), "nan is not a finite number"),
        (set_value("doubt", "2.0"), "2.0 is not between 0 and 1"),
        (set_value("doubt", "1.0"), "is above positive"),
        (set_value("score_threshold", "nan"), "nan is not a finite number"),
        (set_value("bone_outside", '"0.5"'), "'0.5' is not a finite number"),
        (set_value("clears", '"false"'), "'false' is not true or false"),
        (set_value("polarity_is_measured", "1"), "1 is not true or false"),
        (set_value("sites", '"knee"'), "'knee' is not a list of texts"),
        (set_performance("n", "nan"), "nan is not a finite number"),
        (set_performance("positives", '"many"'), "'many' is not a finite number"),
        (goldens_of(lambda file: np.savez(file, a=np.array([{"a": 1}], object))), "does not hold arrays of numbers"),
        (goldens_of(lambda file: np.savez(file, a=np.array(["text"]))), "does not hold arrays of numbers"),
        (goldens_of(lambda file: file.write_bytes(pickle.dumps([1]))), "does not hold arrays of numbers"),
        (goldens_of(lambda file: file.write_bytes(file.read_bytes()[:999])), "does not hold arrays of numbers"),
        (goldens_of(lambda file: np.savez(file, a=np.zeros(1))), "lacks the golden"),
    ],
)
def test_bad_pack_is_refused_and_leaves_no_file(
    damage: Callable[[Path], object],
    says: str,
    copy: Path,
    config: Configuration,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    damage(copy)
    with pytest.raises(Rejected, match=says):
        install(copy, config, anna())
    assert list(config.packs_dir.iterdir()) == []


def test_pack_with_an_installed_name_and_version_but_other_content_is_refused(
    copy: Path, config: Configuration
) -> None:
    install(copy, config, anna())
    edit(copy, lambda text: text + "\n# other bytes\n")
    with pytest.raises(Rejected, match="another version"):
        install(copy, config, anna())


def test_damaged_pack_is_replaced_by_installing_it_again(copy: Path, config: Configuration) -> None:
    target = install(copy, config, anna())
    altered(target)
    assert install(copy, config, anna()) == target
    assert verify(target, config)[0].version.startswith("9.")


def test_unreadable_archive_is_refused(config: Configuration, tmp_path: Path) -> None:
    archive = tmp_path / "pack.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("pack.toml", "x" * 1000)
    content = bytearray(archive.read_bytes())
    content[45:50] = b"\xff" * 5
    archive.write_bytes(content)
    with pytest.raises(Rejected, match="zip archive"):
        install(archive, config, anna())
    with pytest.raises(Rejected, match="zip archive"):
        install(Path(__file__), config, anna())


def test_pack_without_a_model_card_is_said_to_have_none(copy: Path, config: Configuration) -> None:
    assert model_card(str(copy), config).startswith("# ")
    (copy / "README.md").unlink()
    with pytest.raises(Rejected, match="has no model card"):
        model_card(str(copy), config)


def test_pack_altered_after_installation_is_not_used(copy: Path, config: Configuration) -> None:
    target = install(copy, config, anna())
    altered(target)
    with pytest.raises(Fault, match="not the file that was packed"):
        pack_of(config.model_copy(update={"analyse": Analyse(pack=target.name)}))
    assert "not the file" in str(dict(list_packs(config))[target.name])


def test_pack_without_a_trusted_signature_is_refused_where_keys_are_configured(copy: Path, tmp_path: Path) -> None:
    mine, my_public = key_pair(tmp_path, "mine")
    theirs, their_public = key_pair(tmp_path, "theirs")
    trusting = Configuration(
        state_dir=tmp_path / "state", analyse=Analyse(trusted_keys=(their_public, my_public), pack="phantom")
    )
    with pytest.raises(Rejected, match="not signed, and"):
        install(copy, trusting, anna())
    with pytest.raises(Fault, match="not signed, and"):
        pack_of(trusting)  # the packs that ship, too
    sign(copy, mine)
    assert verify(copy, trusting)[2] == my_public
    install(copy, trusting, anna())
    edit(copy, lambda text: text.replace('version = "9.', 'version = "10.'))
    with pytest.raises(Rejected, match="not signed by a key"):
        install(copy, trusting, anna())
    only_theirs = trusting.model_copy(update={"analyse": Analyse(trusted_keys=(their_public,))})
    sign(copy, mine)
    with pytest.raises(Rejected, match="not signed by a key"):
        install(copy, only_theirs, anna())
    sign(copy, theirs)
    install(copy, only_theirs, anna())


def test_pack_is_found_by_name_and_by_path(config: Configuration, copy: Path) -> None:
    assert find_pack("phantom", config) == SHIPPED / "phantom"
    assert find_pack(str(copy), config) == copy
    with pytest.raises(Rejected, match="pack list"):
        find_pack("nothing", config)


def test_pack_commands_print_their_results(copy: Path, tmp_path: Path) -> None:
    config = tmp_path / "osteon.toml"
    config.write_text(f"state_dir = {json.dumps(str(tmp_path / 'state'))}\nanalyse.pack = 'phantom'\n")

    def osteon(*arguments: str) -> str:
        command = [sys.executable, "-m", "provisioning.cli", "pack", *arguments, "--config", str(config)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={"COLUMNS": "200"})
        return done.stdout

    assert "osteon-analyse" in osteon("install", str(copy))
    listed = osteon("list")
    assert "phantom *" in listed
    assert "phantom-9." in listed
    assert "SYNTHETIC" in osteon("show", "phantom")
    assert "off its goldens by" in osteon("verify", "phantom")


def test_two_packs_are_read_as_one(copy: Path, config: Configuration) -> None:
    """The first pack has no classifier of the spine: the second one's is used, and its other classifiers are not."""
    manifest = tomllib.loads((copy / "pack.toml").read_text())
    del manifest["classifiers"]["spine"]
    edit(copy, lambda _: toml(manifest))
    name = install(copy, config, anna()).name
    alone = config.model_copy(update={"analyse": Analyse(pack=name)})
    assert "spine" not in pack_of(alone).classifiers
    both = config.model_copy(update={"analyse": Analyse(pack=name, more_packs=("phantom",))})
    pack = pack_of(both)
    assert pack.classifiers["spine"].file.parent == SHIPPED / "phantom"
    assert pack.classifiers["wrist"].file.parent == config.packs_dir / name
    assert pack.is_synthetic
    assert pack.version == f"{pack_of(alone).version}+{pack_of(alone).version.removeprefix('9.')}"
    made_by = pipeline_of(both).provenance
    assert made_by.pack_digest == pack.digest != pack_of(alone).digest
    reader = Reader(pipeline_of(both))
    try:
        drawn = part10_bytes(instance_from_phantom(phantom("spine", 3, True)))
        result = reader.read(reader.examine(partial(bytes, drawn))).analysis.result
    finally:
        reader.close()
    assert [f.site for f in result.findings] == ["spine"]
    assert result.provenance.model.startswith("phantom+phantom (SYNTHETIC) 9.")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("engines", "build", "--pack", "nowhere"), "pack list"),
        (("pack", "sign", "EMPTY", "--key", "EMPTY/none.pem"), "holds no pack.toml"),
        (("pack", "evaluate", "EMPTY/none.pem", "--pack", "phantom"), "cannot be used as a manifest"),
        (("pack", "show", "nowhere"), "pack list"),
    ],
)
def test_failed_command_prints_one_sentence(arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("hello")
    given = [a.replace("EMPTY", str(tmp_path)) for a in arguments]
    command = [sys.executable, "-m", "provisioning.cli", *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr
