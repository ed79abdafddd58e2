from __future__ import annotations

from collections.abc import Iterator

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringError

from gardener.errors import ConfigError
from gardener.models.server_key import server_key


class MemoryKeyring(KeyringBackend):
    """A real backend of the keyring library, in memory."""

    priority = 1.0

    def __init__(self, broken: bool = False) -> None:
        super().__init__()
        self.entries: dict[tuple[str, str], str] = {}
        self.broken = broken

    def get_password(self, service: str, username: str) -> str | None:
        if self.broken:
            raise KeyringError("locked")
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.entries[service, username]


@pytest.fixture
def ring() -> Iterator[MemoryKeyring]:
    before = keyring.get_keyring()
    ring = MemoryKeyring()
    keyring.set_keyring(ring)
    yield ring
    keyring.set_keyring(before)


def test_no_key_is_configured() -> None:
    assert server_key("", "", "openai") == ""


def test_out_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", " sk-1 \n")
    assert server_key("MY_KEY", "", "openai") == "sk-1"
    monkeypatch.setenv("MY_KEY", "sk-1\r\nX-Evil: 1")
    with pytest.raises(ConfigError) as caught:
        server_key("MY_KEY", "", "openai")
    assert "sk-1" not in caught.value.message
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(ConfigError, match=r"MY_KEY.*openai\.key_variable"):
        server_key("MY_KEY", "", "openai")


def test_out_of_the_keyring(ring: MemoryKeyring) -> None:
    keyring.set_password("gardener", "openai", "sk-2")
    assert server_key("", "gardener/openai", "openai") == "sk-2"
    with pytest.raises(ConfigError, match="no entry gardener/other"):
        server_key("", "gardener/other", "openai")
    with pytest.raises(ConfigError, match="SERVICE/USER"):
        server_key("", "gardener", "openai")
    ring.broken = True
    with pytest.raises(ConfigError, match="locked"):
        server_key("", "gardener/openai", "openai")
