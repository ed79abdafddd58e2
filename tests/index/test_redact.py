"""No credential stands here in one piece: they are put together while the tests run."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gardener.index.redact import Finding, is_loose, redact

PASSWORD = "kJ8" + "mPq2xZ"


def test_names_the_line_and_the_kind_and_never_the_credential() -> None:
    text = f'import x\n\npassword = "{PASSWORD}"\ntoken = "gh' + 'p_0123456789abcdefghijABCDEFGHIJ012345"\n'
    result = redact(text, "app/settings.py")
    assert result.text == 'import x\n\npassword = "[redacted:password]"\ntoken = "[redacted:github-token]"\n'
    assert result.findings == (Finding(3, "password"), Finding(4, "github-token"))
    assert PASSWORD not in repr(result)


def test_text_without_credentials_comes_back_as_it_is() -> None:
    text = "def f():\r\n\treturn 'ünï'\r\n"
    assert redact(text, "a.py").text is text


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.py", False),
        ("src/a.ts", False),
        ("x.json", False),
        ("c.yaml", True),
        ("app.ini", True),
        ("Dockerfile", True),
        ("README.md", True),
        (".bashrc", True),
        ("run.sh", True),
        ("Makefile", True),
        ("a/.npmrc", True),
    ],
)
def test_configuration_holds_values_without_quotes_and_code_holds_variables(path: str, expected: bool) -> None:
    assert is_loose(path) is expected
    result = redact(f"password = {PASSWORD}\n", path)
    assert (PASSWORD not in result.text) is expected


@pytest.mark.parametrize(
    "token",
    [
        "M" + "TIzNDU2Nzg5MDEyMzQ1Njc4" + ".G1a2B3." + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6",
        "1234567890" + ":AA" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q",
    ],
)
def test_detect_secrets_is_asked_about_lines_that_look_odd(token: str) -> None:
    text = f"first\nbot = run('{token}', 1)\nlast\n"
    result = redact(text, "bot.py")
    assert token not in result.text
    assert result.text.startswith("first\nbot = run('[redacted:")
    assert result.text.endswith("]', 1)\nlast\n")
    assert [finding.line for finding in result.findings] == [2]


def test_hashes_and_test_data_are_left_alone() -> None:
    text = "\n".join(
        [
            'sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"',
            'fixture = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhf"',
            "commit = '9fceb02d0ae598e95dc970b74767f19372d61af8'",
            "resolved https://registry.example.org/x/-/x-1.0.0.tgz#da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "uuid = '123e4567-e89b-12d3-a456-426614174000'",
        ]
    )
    assert redact(text, "tests/test_x.py").findings == ()


pieces = st.sampled_from(
    [
        "a1B2c3D4e5F6g7H8i9J0k1L2",
        ".",
        "M",
        "TIzNDU2Nzg5MDEyMzQ1Njc4",
        ":AA",
        "1234567890",
        " ",
        "\n",
        "\r\n",
        "password = ",
        '"',
        PASSWORD,
        "é",
        "\u2028",
        "AKC",
        "-us12",
        "0123456789abcdef0123456789abcdef",
        "[redacted:",
        "]",
        "\x85",
    ]
)


SIDE_BY_SIDE = "AKC" + "a1B2c3D4e5F6g7H8i9J0k1L2" * 5 + "0123456789abcdef" * 2 + "-us12"


@given(st.lists(pieces, max_size=25).map("".join), st.sampled_from(["a.py", "a.yaml", ""]))
@example(SIDE_BY_SIDE, "a.py")
@settings(max_examples=200, deadline=None)
def test_redacting_keeps_the_lines_and_is_idempotent(text: str, path: str) -> None:
    once = redact(text, path).text
    assert once.count("\n") == text.count("\n")
    assert len(once.splitlines()) == len(text.splitlines())
    assert redact(once, path).text == once


def test_plain_source_code_does_not_load_detect_secrets() -> None:
    code = (
        "import sys; from gardener.index.redact import redact; import pathlib, gardener.paths;"
        "redact(pathlib.Path(gardener.paths.__file__).read_text(), 'paths.py');"
        "print('detect_secrets' in sys.modules, 'requests' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
