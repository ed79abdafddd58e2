"""Archives that only the holder of a key can read, in the age format (https://age-encryption.org/v1).

The key lies in the system's keyring, or in a file that the person names. Without it nobody can read the archive, so it
is shown once, when it is made, to be written down: the recovery key is the key itself, and any age program takes it.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from gardener.errors import BackupDamaged, ConfigError
from gardener.paths import open_private, translate_os_error, write_private

_MAGIC = b"age-encryption.org/v1"
_SERVICE, _USER = "gardener", "backup"


class Key(NamedTuple):
    """`secret` is AGE-SECRET-KEY-1…; `new` that it was made just now and has to be shown."""

    secret: str
    new: bool


def is_encrypted(path: str) -> bool:
    """Whether a file begins as age files do. False when it cannot be read: who opens it says why."""
    try:
        with open(path, "rb") as handle:
            return handle.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def key_for_writing(key_file: str = "") -> Key:
    """The key in `key_file`, else in the keyring; made there if there is none. Raises ConfigError."""
    import pyrage

    found = _from_file(key_file) if key_file else _from_keyring()
    if found:
        return Key(found, new=False)
    secret = str(pyrage.x25519.Identity.generate())
    if key_file:
        write_private(key_file, f"{secret}\n".encode())
    else:
        _to_keyring(secret)
    return Key(secret, new=True)


def encrypt(source: str, target: str, key: Key) -> None:
    """Writes the new file `target`, mode 0600. Raises OSError."""
    import pyrage

    with open(source, "rb") as reading, open(target, "xb", opener=open_private) as writing:
        pyrage.encrypt_io(reading, writing, [pyrage.x25519.Identity.from_str(key.secret).to_public()])


def decrypt(source: str, target: str, key_file: str = "") -> None:
    """Writes the new file `target`, mode 0600. Every byte that is written has been authenticated.

    Raises ConfigError without a key, BackupDamaged when the key does not fit or the file is damaged, DiskFull.
    """
    import pyrage

    secret = _from_file(key_file) if key_file else _from_keyring()
    if not secret:
        raise ConfigError(
            f"{source} is encrypted, and there is no key for it here. Put the recovery key into a file.",
            next_step=f"gardener backup import {source!r} --key-file FILE",
        )
    try:
        with open(source, "rb") as reading, open(target, "xb", opener=open_private) as writing:
            pyrage.decrypt_io(reading, writing, [pyrage.x25519.Identity.from_str(secret)])
    except pyrage.DecryptError as error:
        raise BackupDamaged(
            f"{source} cannot be decrypted: it was made with another key, or it is damaged ({error}).",
            next_step=f"gardener backup import {source!r} --key-file FILE",
        ) from error
    except OSError as error:
        if error.errno is None:  # what the library says of damage in the middle of a file
            raise BackupDamaged(f"{source} is damaged: {error}.", next_step="gardener backup list") from error
        raise translate_os_error(error, target) from error


def _from_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as handle:
            words = handle.read(10_000).split()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The key file {path} cannot be read: {error}.", next_step=f"ls -l {path!r}") from error
    keys = [word for word in words if word.upper().startswith("AGE-SECRET-KEY-1")]
    if len(keys) != 1:
        raise ConfigError(
            f"{path} holds {len(keys)} keys; one AGE-SECRET-KEY-1… is needed.", next_step="gardener backup --help"
        )
    return _checked(keys[0], path)


def _from_keyring() -> str:
    import keyring
    from keyring.errors import KeyringError

    try:
        found = keyring.get_password(_SERVICE, _USER)
    except KeyringError as error:
        raise _no_keyring(error) from error
    return _checked(found.strip(), f"The keyring's entry {_SERVICE}/{_USER}") if found else ""


def _to_keyring(secret: str) -> None:
    import keyring
    from keyring.errors import KeyringError

    try:
        keyring.set_password(_SERVICE, _USER, secret)
    except KeyringError as error:
        raise _no_keyring(error) from error


def _no_keyring(error: Exception) -> ConfigError:
    return ConfigError(
        f"The system's keyring cannot be used: {error} A key file does as well; keep it apart from the archive.",
        next_step=f"gardener backup --help  # --key-file {os.path.join('~', 'gardener-backup.key')}",
    )


def _checked(secret: str, where: str) -> str:
    import pyrage

    try:
        pyrage.x25519.Identity.from_str(secret.upper())
    except pyrage.IdentityError as error:
        raise ConfigError(f"{where} holds no valid key: {error}.", next_step="gardener backup --help") from error
    return secret.upper()
