"""The key of a model server: out of an environment variable or the system's keyring, never out of a file of ours."""

from __future__ import annotations

import os

from gardener.errors import ConfigError


def server_key(variable: str, keyring_entry: str, section: str) -> str:
    """The key, "" when none is configured. `section` is the settings' ("openai"), for messages.

    `keyring_entry` is SERVICE/USER in the macOS keychain, the Secret Service or whatever keyring the system has.
    Raises ConfigError when what is configured holds no key.
    """
    if variable:
        key = os.environ.get(variable, "").strip()
        if not key:
            raise ConfigError(
                f"The environment variable {variable}, which should hold the key ({section}.key_variable), is not set. "
                "A service does not see what your shell sets.",
                next_step=f"export {variable}=…",
            )
        return _one_line(key, f"The environment variable {variable}")
    if not keyring_entry:
        return ""
    service, _, user = keyring_entry.partition("/")
    if not service or not user:
        raise ConfigError(
            f"{section}.key_keyring must be SERVICE/USER, not {keyring_entry!r}.",
            next_step=f"gardener config set {section}.key_keyring gardener/{section}",
        )
    import keyring
    from keyring.errors import KeyringError

    try:
        found = keyring.get_password(service, user)
    except KeyringError as error:
        raise ConfigError(
            f"The system's keyring cannot be read: {error}",
            next_step=f"gardener config set {section}.key_variable NAME",
        ) from error
    if not found:
        raise ConfigError(
            f"The keyring has no entry {keyring_entry} ({section}.key_keyring).",
            next_step=f'keyring set "{service}" "{user}"',
        )
    return _one_line(found.strip(), f"The keyring's entry {keyring_entry}")


def _one_line(key: str, where: str) -> str:
    """A key goes into an HTTP header: nothing but visible ASCII. It is never part of a message."""
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(
            f"{where} holds no usable key: it has spaces, line breaks or letters beyond ASCII.",
            next_step="gardener config show --origin",
        )
    return key
