"""A model pack: a folder of networks, described by its manifest `pack.toml`.

The manifest names networks, preprocessing, thresholds, training data, performance, and the digest of every file. A pack
is used only if every file has its digest. The digest of `pack.toml` itself is the digest of the pack and stands on
every output.
"""

from __future__ import annotations

import hashlib
import math
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engines.familiarity import Familiarity
from engines.network_file import read_network

MANIFEST = "pack.toml"
"""File name of the manifest."""

FORMAT = 2
"""Format of the manifest; a newer one may use the same words with another meaning."""

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
"""Allowed names and versions of packs: they become the name of a folder."""


class PackError(Exception):
    """The pack is damaged, not trusted, or made for another version; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocaliserSpec:
    """The localiser of a pack.

    Attributes
    ----------
    sites
        Sites of its channels, in order.
    score_threshold
        Score from which a region counts.
    flags
        Flags of the whole radiograph (hardware, cast) in the order of its output ``flags``.
    bone_outside
        Share of exposed bone outside the regions above which a radiograph is incomplete, measured on radiographs like
        those of the training; 1 if none is too much.
    polarity_is_measured
        Whether the check for exchanged black and white was measured on such radiographs.
    """

    file: Path
    sites: tuple[str, ...]
    score_threshold: float
    bone_outside: float = 1.0
    polarity_is_measured: bool = False
    flags: tuple[str, ...] = ()
    performance: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierSpec:
    """The classifier of one site, with its calibration and its two operating points.

    The calibrated probability is sigmoid(scale * logit + offset) (Platt 1999; offset 0 is temperature scaling).

    Attributes
    ----------
    familiarity
        Tells regions unlike those that it was measured on; None if the pack says that this was not measured.
    """

    site: str
    file: Path
    scale: float
    offset: float
    doubt: float
    positive: float
    finds: bool
    clears: bool
    familiarity: Familiarity | None = None
    performance: dict[str, Any] = field(default_factory=dict, repr=False)

    def probability(self, logit: float) -> float:
        """Return the calibrated probability of a fracture, 0 to 1."""
        return float(1.0 / (1.0 + np.exp(-np.clip(self.scale * logit + self.offset, -60.0, 60.0))))

    @property
    def fracture_share(self) -> float | None:
        """Share of the measured radiographs that show a fracture; None if the pack does not count them."""
        counted, fractured = self.performance.get("n"), self.performance.get("positives")
        return fractured / counted if counted and fractured is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """A checked pack.

    Attributes
    ----------
    preprocessing
        Digest of the preprocessing that its networks were trained on.
    digest
        SHA-256 of the manifest.
    """

    folder: Path
    name: str
    version: str
    kind: Literal["synthetic", "radiographs"]
    description: str
    preprocessing: str
    digest: str
    localiser: LocaliserSpec
    classifiers: dict[str, ClassifierSpec]
    data: dict[str, Any] = field(repr=False)

    @property
    def is_synthetic(self) -> bool:
        """True for a pack trained on phantoms; every output that names it says so."""
        return self.kind == "synthetic"

    def goldens(self) -> dict[str, NDArray[np.float32]]:
        """Read the golden inputs and outputs: ``{network}/{tensor}`` -> array; raises as `read_pack`."""
        return _arrays(self.folder / "goldens.npz")


def join_packs(packs: Sequence[Pack]) -> Pack:
    """Join several packs: the localiser of the first, and each site's classifier from the first pack that has one.

    Name and version list all of them, the digest depends on all digests, and one synthetic pack makes the joined pack
    synthetic.
    """
    first, *others = packs
    if not others:
        return first
    return replace(
        first,
        name="+".join(p.name for p in packs),
        version="+".join(p.version for p in packs),
        kind="synthetic" if any(p.is_synthetic for p in packs) else "radiographs",
        description=" ".join(p.description for p in packs),
        digest=hashlib.sha256("".join(p.digest for p in packs).encode()).hexdigest(),
        classifiers={site: spec for p in reversed(packs) for site, spec in p.classifiers.items()},
        data={p.name: p.data for p in packs},
    )


def read_pack(folder: Path, preprocessing: str) -> Pack:
    """Read and check the pack in `folder`.

    Parameters
    ----------
    preprocessing
        Digest of the appliance's preprocessing; a pack trained on another one is refused.

    Raises
    ------
    PackError
        If a file is missing, altered or of another kind, a value is out of range, or format or preprocessing differ.
    """
    manifest = folder / MANIFEST
    try:
        content = manifest.read_bytes()
        d = tomllib.loads(content.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        if isinstance(error, FileNotFoundError):
            raise PackError(
                f"there is no pack {str(folder)!r}: `osteon pack list` shows the packs that there are"
            ) from error
        why = "its tables are nested too deep" if isinstance(error, RecursionError) else error
        raise PackError(f"{manifest} cannot be read ({why}): name a folder that holds a model pack") from error
    if (found := d.get("format")) != FORMAT:
        advice = "upgrade Osteon" if isinstance(found, int) and found > FORMAT else "build the pack again"
        raise PackError(f"{manifest} has format {found}, this appliance reads {FORMAT}: {advice}")
    try:
        for name, expected in d["digests"].items():
            _check_digest(_member(folder, name), expected)
        pack = _pack_from_manifest(folder, d, hashlib.sha256(content).hexdigest())
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise PackError(f"{manifest} is not a pack's manifest: {type(error).__name__} {error}") from error
    named = {pack.localiser.file.name, "goldens.npz"} | {c.file.name for c in pack.classifiers.values()}
    if unchecked := named - d["digests"].keys():
        raise PackError(f"{manifest} gives no digest for {', '.join(sorted(unchecked))}: build the pack again")
    for file in (pack.localiser.file, *(c.file for c in pack.classifiers.values())):
        try:
            read_network(file)
        except ValueError as error:
            raise PackError(f"the pack in {folder} cannot be used: {error}") from error
    if pack.preprocessing != preprocessing:
        raise PackError(
            f"pack {pack.name} was trained on preprocessing {pack.preprocessing}, this appliance has {preprocessing}: "
            "install the pack that belongs to this version"
        )
    return pack


def _check_digest(file: Path, expected: str) -> None:
    try:
        actual = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise PackError(f"{file} cannot be read ({error.strerror}): install the pack again") from error
    if actual != expected:
        raise PackError(f"{file} is not the file that was packed (SHA-256 {actual[:12]}...): install the pack again")


def _member(folder: Path, name: str) -> Path:
    """Return the path of a file of the pack; refuse a name that leads out of its folder."""
    if Path(name).name != name:
        raise ValueError(f"{name!r} is outside the pack")
    return folder / name


def _arrays(file: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of an npz file; pickled objects are refused."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        if texts := [name for name, array in arrays.items() if array.dtype.kind not in "fiu"]:
            raise ValueError(texts)
        return arrays
    except Exception as error:  # NumPy and zipfile raise a dozen types for bytes that are no arrays
        raise PackError(
            f"{file} does not hold arrays of numbers ({type(error).__name__}): install the pack again"
        ) from error


def _number(value: object, least: float = -math.inf, most: float = math.inf) -> float:
    """Return a number of the manifest; refuse other types, NaN and infinity, and numbers out of range."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    if not least <= value <= most:
        raise ValueError(f"{value!r} is not between {least:g} and {most:g}")
    return float(value)


def _flag(value: object) -> bool:
    """Return a truth value of the manifest; a text such as "false" is refused, since Python takes it for true."""
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is not true or false")  # noqa: TRY004  the manifest is wrong, not the code
    return value


def _names(value: object) -> tuple[str, ...]:
    """Return a list of texts of the manifest; one text is refused, since Python takes it for a list of letters."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{value!r} is not a list of texts")
    return tuple(value)


def _performance(value: dict[str, Any]) -> dict[str, Any]:
    """Return the measured performance; the counts of radiographs that outputs show are checked."""
    if (counted := value.get("n")) is not None:
        _number(value.get("positives", 0), 0, _number(counted, 0))
    return value


def _familiarity(folder: Path, d: dict[str, Any]) -> dict[str, Familiarity]:
    """Read how to tell unfamiliar regions of each site; empty if the manifest says that it was not measured."""
    table = d["familiarity"]
    if not _flag(table["is_measured"]):
        return {}
    if table["file"] not in d["digests"]:
        raise ValueError(f"no digest for {table['file']}")
    stored, limit = _arrays(_member(folder, table["file"])), _number(table["limit"])
    return {
        site: Familiarity(centre=stored[site], whitening=stored["whitening"], limit=limit) for site in d["classifiers"]
    }


def _pack_from_manifest(folder: Path, d: dict[str, Any], digest: str) -> Pack:
    if d["kind"] not in ("synthetic", "radiographs"):
        raise ValueError(f"kind {d['kind']!r}")
    if not (NAME.fullmatch(d["name"]) and NAME.fullmatch(d["version"])):
        raise ValueError(f"name {d['name']!r}, version {d['version']!r}: small letters, digits, dots and dashes")
    localiser = d["localiser"]
    familiarity = _familiarity(folder, d)
    classifiers = {
        site: ClassifierSpec(
            site=site,
            file=_member(folder, c["file"]),
            scale=_number(c["scale"], 0),
            offset=_number(c["offset"]),
            doubt=_number(c["doubt"], 0, 1),
            positive=_number(c["positive"], 0, 1),
            finds=_flag(c["claims"]["finds"]),
            clears=_flag(c["claims"]["clears"]),
            familiarity=familiarity[site] if familiarity else None,
            performance=_performance(c.get("performance", {})),
        )
        for site, c in d["classifiers"].items()
    }
    for c in classifiers.values():
        if c.doubt > c.positive:
            raise ValueError(f"{c.site}: doubt {c.doubt} is above positive {c.positive}")
    return Pack(
        folder=folder,
        name=d["name"],
        version=d["version"],
        kind=d["kind"],
        description=d["description"],
        preprocessing=d["preprocessing"],
        digest=digest,
        localiser=LocaliserSpec(
            file=_member(folder, localiser["file"]),
            sites=_names(localiser["sites"]),
            score_threshold=_number(localiser["score_threshold"], 0, 1),
            bone_outside=_number(localiser["bone_outside"], 0, 1),
            polarity_is_measured=_flag(localiser["polarity_is_measured"]),
            flags=_names(localiser.get("flags", [])),
            performance=localiser.get("performance", {}),
        ),
        classifiers=classifiers,
        data=d["data"],
    )
