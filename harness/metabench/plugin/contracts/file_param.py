"""A parameter whose value is a file: a user gives its path, a run is known by its content."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import core_schema

from metabench.data.plain_files import MAX_PARAM, expanded, read_plain, sha256_of
from metabench.errors import DataError

if TYPE_CHECKING:
    from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

FILES = "metabench files"
"""Key of the paths of files, by SHA-256, in the context of a validation."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class FileParam:
    """The type of a parameter whose value is a file, usable in any model of parameters.

    The user gives the path of a file. The identity of the run holds the name and the checksum of
    the file, ``{"name": ..., "sha256": ...}``, and never its path: the same file elsewhere is the
    same run. The record holds the path beside the identity.

    A plugin reads the file by ``read_bytes()`` or ``read_text()``, or asks for ``path``. All three
    raise ``DataError`` if the file is gone or has changed since the run was planned.

    Attributes:
        name: base name of the file.
        sha256: SHA-256 of its content, 64 hex digits.
        given: its path as the user gave it, relative to the working folder; empty if only the
            checksum is known. It does not count when two values are compared.
    """

    name: str
    sha256: str
    given: str = field(default="", compare=False)

    def read_bytes(self) -> bytes:
        """The content of the file.

        Raises:
            DataError: when the file is gone or has changed since the run was planned.
        """
        try:
            content = read_plain(self._place(), MAX_PARAM)
        except OSError as error:
            raise self._gone(error) from error
        self._check(hashlib.sha256(content).hexdigest())
        return content

    def read_text(self) -> str:
        """The content of a text file in UTF-8.

        Raises:
            DataError: as :meth:`read_bytes`, and when the file is not in UTF-8.
        """
        try:
            return self.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self.given} is not a text file in UTF-8.", hint="Save it in UTF-8."
            ) from error

    @property
    def path(self) -> Path:
        """The path, for libraries that open files themselves; the content is checked first.

        Raises:
            DataError: when the file is gone or has changed since the run was planned.
        """
        path = self._place()
        try:
            self._check(sha256_of(path))
        except OSError as error:
            raise self._gone(error) from error
        return path

    def _place(self) -> Path:
        if not self.given:
            raise DataError(
                f"The file {self.name} is known by its checksum alone ({self.sha256[:8]}...).",
                hint="Give its path with --set.",
            )
        return expanded(self.given)

    def _gone(self, error: OSError) -> DataError:
        return DataError(
            f"The file {self.given} cannot be read any more ({error.strerror}).",
            hint="Put it back, or run the command with another path.",
        )

    def _check(self, sha256: str) -> None:
        if sha256 != self.sha256:
            raise DataError(
                f"The file {self.given} has changed since this run was planned.",
                hint="Put the former file back, or run the command again: it is then another run.",
            )

    def to_json(self) -> dict[str, str]:
        """What a run is known by: name and checksum."""
        return {"name": self.name, "sha256": self.sha256}

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(
            _validated, serialization=core_schema.plain_serializer_function_ser_schema(cls.to_json)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "format": "file-path"}


def is_file_value(value: Any) -> bool:
    """Whether a value is what :meth:`FileParam.to_json` returns.

    >>> is_file_value({"name": "a.json", "sha256": "0" * 64}), is_file_value("a.json")
    (True, False)
    """
    return (
        isinstance(value, Mapping)
        and value.keys() == {"name", "sha256"}
        and all(isinstance(part, str) for part in value.values())
        and _SHA256.fullmatch(value["sha256"]) is not None
    )


def file_in_words(value: Mapping[str, str]) -> str:
    """A file by its name and the first digits of its checksum.

    >>> file_in_words({"name": "a.json", "sha256": "0123456789abcdef" * 4})
    'a.json (sha256 01234567)'
    """
    return f"{value['name']} (sha256 {value['sha256'][:8]})"


def files_of(params: BaseModel) -> dict[str, str]:
    """The given paths of all files in validated parameters, by SHA-256."""
    return {file.sha256: file.given for file in _files_in(params) if file.given}


def _files_in(value: Any) -> Iterator[FileParam]:
    if isinstance(value, FileParam):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _files_in(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _files_in(item)
    elif isinstance(getattr(type(value), "model_fields", None), dict):
        for name in type(value).model_fields:
            yield from _files_in(getattr(value, name))


def _validated(value: Any, info: core_schema.ValidationInfo) -> FileParam:
    if isinstance(value, FileParam):
        return value
    if isinstance(value, str | os.PathLike):
        return opened(os.fspath(value))
    if not is_file_value(value):
        raise ValueError("it is not the path of a file")
    known: Mapping[str, str] = (info.context or {}).get(FILES, {})
    return FileParam(value["name"], value["sha256"], known.get(value["sha256"], ""))


def opened(given: str) -> FileParam:
    """The file at a path that a user gives.

    Raises:
        ValueError: when it cannot be read; it says why.
    """
    path = expanded(given)
    try:
        if path.is_dir():
            raise ValueError("it is a folder, not a file")
        if not path.is_file():
            raise ValueError("there is no such file")
        return FileParam(path.name, sha256_of(path), given)
    except OSError as error:
        raise ValueError(f"the file cannot be read ({error.strerror})") from error
