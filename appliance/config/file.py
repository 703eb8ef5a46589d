"""Reading of the file: TOML to `Configuration`, or every error at once in plain words."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from appliance.errors import ConfigurationError

from .alarms import ADDRESS
from .configuration import Configuration
from .destinations import DicomDestination, DicomWebDestination, FhirDestination
from .hl7 import CODED, CODED_OR_EMPTY, PRIORITY, Hl7Destination
from .section import AE_TITLE, NAME, URI, USER_NAME, VISIBLE

_DESTINATIONS: dict[object, type[BaseModel]] = {
    "dicom": DicomDestination,
    "dicomweb": DicomWebDestination,
    "hl7": Hl7Destination,
    "fhir": FhirDestination,
}
"""Tables of ``[[destinations]]`` by their ``kind``."""

_MESSAGES = {
    "missing": "is missing: add it",
    "string_type": "must be text in quotes",
    "string_too_short": "is empty: write at least one character",
    "string_too_long": "is too long: write at most {max_length} characters",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "int_parsing_size": "is too large",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "greater_than": "is too small: write more than {gt}",
    "greater_than_equal": "is too small: write at least {ge}",
    "less_than": "is too large: write less than {lt}",
    "less_than_equal": "is too large: write at most {le}",
    "tuple_type": "must be a list in square brackets",
    "too_short": "is empty: name at least one",
    "model_type": "must be a table",
    "path_type": "must be the path of a file, in quotes",
    "union_tag_not_found": 'needs kind: write kind = "dicom", "dicomweb", "hl7" or "fhir"',
}
"""Pydantic's error types in the words of this file; pydantic's own sentence stands for any other type."""

_FORMS = {
    AE_TITLE: "has characters that an AE title cannot have: write ASCII characters without backslash",
    CODED: "is no code: write code^text^coding system, such as FX1^Fracture suspected^L",
    CODED_OR_EMPTY: "is no code: write code^text^coding system, or leave it empty",
    PRIORITY: "is no priority: write one or two capital letters, such as S",
    NAME: "is no name: write letters, digits, spaces inside, and . + - _",
    USER_NAME: "is no name of a user: write ASCII characters without colon",
    ADDRESS: "is no mail address: write one such as osteon@hospital.example",
    VISIBLE: "is no token: write it without spaces, accents and line breaks",
    URI: "is no URI: write one such as urn:oid:1.2.3 or https://hospital.example/patients",
}
"""Sentences for values that do not match the pattern."""


def read_configuration(path: Path | None) -> Configuration:
    """Read and check the file at `path`; without a path, return the defaults.

    Raises
    ------
    ConfigurationError
        With every problem at once, each with the path of its key.
    """
    if path is None:
        return Configuration()
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(path, [f"cannot be read: {error.strerror}"]) from error
    except RecursionError as error:
        raise ConfigurationError(
            path, ["is nested too deep: write tables and lists as the example file does"]
        ) from error
    except ValueError as error:  # tomllib's, or that of a text or a number that Python cannot hold
        raise ConfigurationError(path, [f"is not TOML: {error}"]) from error
    return check_values(values, path)


def check_values(values: Any, path: Path | None) -> Configuration:
    """Return the configuration with these values of a file, which `path` names in the error.

    Raises
    ------
    ConfigurationError
        With every problem at once, each with the path of its key.
    """
    try:
        return Configuration.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(path, [_problem(e) for e in error.errors()]) from error


def _problem(error: Any) -> str:
    """Return one problem: path of the key, defect, and a suggestion."""
    steps = list(error["loc"])
    if steps[:1] == ["destinations"] and len(steps) > 2 and steps[2] in _DESTINATIONS:
        del steps[2]  # pydantic's name of the kind, which the file does not have
    path = ".".join(map(str, steps)) or "file"
    if error["type"] == "extra_forbidden":
        return f"{path}: unknown key" + _suggestion(str(steps[-1]), _keys(error["loc"][:-1]))
    return f"{path}: {sentence_of(error)}"


def sentence_of(error: Any) -> str:
    """Return the defect of a value in plain words, from one of pydantic's errors."""
    context = error.get("ctx", {})
    match error["type"]:
        case "literal_error" | "union_tag_invalid":
            choices = context.get("expected") or context["expected_tags"]
            given = context.get("tag", error["input"])
            return f"{given!r} is not possible: write {choices}"
        case "value_error":
            return str(context["error"])
        case "string_pattern_mismatch" if context["pattern"] in _FORMS:
            return _FORMS[context["pattern"]]
        case kind if kind in _MESSAGES:
            return _MESSAGES[kind].format_map(context)
        case _:
            return str(error["msg"])


def _suggestion(given: str, known: list[str]) -> str:
    near = difflib.get_close_matches(given, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _keys(location: tuple[Any, ...]) -> list[str]:
    """Return the keys that exist at a place in the file."""
    section: type[BaseModel] = Configuration
    for step in location:
        if step in _DESTINATIONS and location[0] == "destinations":
            section = _DESTINATIONS[step]
        elif isinstance(step, str) and step in section.model_fields:
            annotation = section.model_fields[step].annotation
            for inner in (annotation, *get_args(annotation)):
                if isinstance(inner, type) and issubclass(inner, BaseModel):
                    section = inner
    return list(section.model_fields)
