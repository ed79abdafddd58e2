"""Where a project's LanceDB tables lie: a folder on this machine, or a prefix of an object store.

The rest of the index does not know which. The manifest, the locks and the hashes stay on this machine in both cases:
one machine writes an index, whatever its tables lie on.
"""

from __future__ import annotations

import os
import shutil
from typing import Any

from gardener.errors import ConfigError, StorageUnreachable
from gardener.paths import ensure_directory

SCHEMES = ("s3://", "gs://", "az://")
"""What LanceDB opens. Only the first is tested (against an S3-compatible server)."""

_OPTIONS = {"connect_timeout": "3s", "timeout": "20s", "client_max_retries": "2", "client_retry_timeout": "10"}
"""Deadlines of one request to an object store; without them a wrong address holds a search for minutes."""

_UNREACHABLE = ("error sending request", "timed out", "timeout", "connect", "dns", "credential", "imds", "forbidden",
                "403", "401", "no such bucket", "nosuchbucket", "access denied", "after retries")  # fmt: skip


class Storage:
    """A local folder of tables."""

    remote = False

    def __init__(self, location: str) -> None:
        self.location = location

    def options(self) -> dict[str, str]:
        """What lancedb.connect needs besides the location."""
        ensure_directory(self.location)
        return {}

    def names(self, database: Any) -> list[str]:
        """The tables there are, sorted. `database` gives a LanceDB connection, should one be needed."""
        if not os.path.isdir(self.location):
            return []
        with os.scandir(self.location) as entries:
            return sorted(entry.name.removesuffix(".lance") for entry in entries if entry.name.endswith(".lance"))

    def exists(self, name: str, database: Any) -> bool:
        return os.path.isdir(self.folder(name))

    def made(self, name: str) -> str:
        """Changes when the table is made anew under the same name."""
        return str(os.stat(self.folder(name)).st_ino)

    def versions(self, name: str, table: Any) -> int:
        """How many versions of a table are kept. `table` is its handle."""
        return len(os.listdir(os.path.join(self.folder(name), "_versions")))

    def remove(self, name: str, database: Any) -> None:
        """Deletes a table, readable or not."""
        shutil.rmtree(self.folder(name), ignore_errors=True)

    def folder(self, name: str) -> str:
        return os.path.join(self.location, f"{name}.lance")

    def unreachable(self, error: Exception) -> StorageUnreachable | None:
        """The error to show when the place itself, not what lies there, is the trouble."""
        return None


class ObjectStorage(Storage):
    """A prefix of an object store. Credentials come from where the store's own tools look: AWS_* and the like."""

    remote = True

    def __init__(self, uri: str, project_id: str) -> None:
        super().__init__(f"{uri.rstrip('/')}/{project_id}")

    def options(self) -> dict[str, str]:
        return dict(_OPTIONS)

    def names(self, database: Any) -> list[str]:
        return sorted(database().list_tables(limit=1000).tables)

    def exists(self, name: str, database: Any) -> bool:
        return name in self.names(database)

    def made(self, name: str) -> str:
        return self.location  # a table is never made anew under its old name here: see IndexTable.free_name

    def versions(self, name: str, table: Any) -> int:
        return len(table.list_versions())

    def remove(self, name: str, database: Any) -> None:
        if self.exists(name, database):
            database().drop_table(name)

    def unreachable(self, error: Exception) -> StorageUnreachable | None:
        text = str(error).lower()
        if not any(sign in text for sign in _UNREACHABLE):
            return None
        return StorageUnreachable(
            f"The index in {self.location} cannot be reached: {str(error).splitlines()[0][:200]}",
            next_step="gardener config get index.storage",
        )


def storage_for(uri: str, directory: str, project_id: str) -> Storage:
    """The place for a project's tables; `uri` is the setting index.storage, "" for `directory` on this machine.

    Raises ConfigError.
    """
    if not uri:
        return Storage(directory)
    scheme, _, rest = uri.partition("://")
    if f"{scheme}://" not in SCHEMES or not rest.strip("/"):
        raise ConfigError(
            f"index.storage is {uri!r}; it must be empty, or begin with one of {', '.join(SCHEMES)} and name a bucket.",
            next_step="gardener config set index.storage ''",
        )
    return ObjectStorage(uri, project_id)
