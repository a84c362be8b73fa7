"""The names the user registered, kept in ``tasks.json`` of the configuration folder."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from vptft.data import fgvc, vtab
from vptft.data.recognise import Kind, Registration
from vptft.errors import DataError, StorageError, UnknownNameError
from vptft.storage import config_folder, lock, read_json, write_json

SCHEMA = 1


def registrations() -> tuple[Registration, ...]:
    """Return everything that is registered, by name."""
    file = _file()
    if not file.exists():
        return ()
    content = read_json(file)
    try:
        if content["schema"] != SCHEMA:
            raise ValueError(f"its schema is {content['schema']!r}, this version reads {SCHEMA}")
        entries = [_from_json(name, fields) for name, fields in content["tasks"].items()]
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise StorageError(
            f"{file} does not hold registered tasks: {error}",
            "Repair it, or move it away and run `vptft-analyze tasks add NAME PATH` again.",
        ) from error
    return tuple(sorted(entries, key=lambda entry: entry.name))


def add(new: Registration) -> None:
    """Keep a registration; the same name for the same place is refreshed, for another refused."""
    with lock(_file()):
        entries = {entry.name: entry for entry in registrations()}
        old = entries.get(new.name)
        if old is not None and old.path != new.path:
            raise DataError(
                f"{new.name} is registered already, for {old.path}.",
                f"Run `vptft-analyze tasks forget {new.name}` first, or choose another name.",
            )
        _write({**entries, new.name: new}.values())


def forget(name: str) -> Registration:
    """Drop a registration and return it; the images are not touched."""
    with lock(_file()):
        entries = {entry.name: entry for entry in registrations()}
        gone = entries.pop(name, None) or entries.pop(table_name(name), None)
        if gone is None:
            raise UnknownNameError("registered task", name, entries)
        _write(entries.values())
    return gone


def table_name(name: str) -> str:
    """Return the name a VTAB-1k or FGVC task has in the tables; any other name as it is."""
    row = vtab.known(name) or fgvc.known(name)
    return row.name if row else name


def _file() -> Path:
    return config_folder() / "tasks.json"


def _write(entries: Iterable[Registration]) -> None:
    tasks = {entry.name: asdict(entry) for entry in sorted(entries, key=lambda entry: entry.name)}
    for fields in tasks.values():
        del fields["name"]
    write_json(_file(), {"schema": SCHEMA, "tasks": tasks})


def _from_json(name: str, fields: Mapping[str, Any]) -> Registration:
    if fields["kind"] not in get_args(Kind) or not isinstance(fields["path"], str):
        raise ValueError(f"{name} has kind {fields['kind']!r} and path {fields['path']!r}")
    return Registration(**{**fields, "name": name, "tasks": tuple(fields["tasks"])})
