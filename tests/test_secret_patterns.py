"""No credential stands here in one piece: they are put together while the tests run."""

from __future__ import annotations

import subprocess
import sys
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gardener.secret_patterns import redact_bytes, redact_text

ALNUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
HEX = "0123456789abcdef"
UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def random_part(alphabet: str, length: int) -> st.SearchStrategy[str]:
    """As a machine makes them: varied. (Repetitions are placeholders, and left alone on purpose.)"""
    # From a seed, so that shrinking does not end at "AAAA".
    return st.integers(0, 2**32).map(lambda seed: "".join(Random(seed).choices(alphabet, k=length)))


def prefixed(prefix: str, alphabet: str, length: int) -> st.SearchStrategy[str]:
    return random_part(alphabet, length).map(lambda part: prefix + part)


TOKENS = {
    "anthropic-key": prefixed("sk-" + "ant-api03-", ALNUM + "_-", 95),
    "openai-key": prefixed("sk-" + "proj-", ALNUM + "_-", 60),
    "github-token": prefixed("gh" + "p_", ALNUM, 36),
    "github-token ": prefixed("github" + "_pat_", ALNUM + "_", 82),
    "gitlab-token": prefixed("gl" + "pat-", ALNUM, 20),
    "slack-token": prefixed("xo" + "xb-123456789012-123456789012-", ALNUM, 24),
    "google-key": prefixed("AI" + "za", ALNUM + "_-", 35),
    "huggingface-token": prefixed("h" + "f_", ALNUM, 34),
    "npm-token": prefixed("np" + "m_", ALNUM, 36),
    "pypi-token": prefixed("pypi" + "-AgEIcHlwaS5vcmc", ALNUM + "_-", 100),
    "age-key": prefixed("AGE-SECRET" + "-KEY-1", UPPER, 58),
    "aws-key-id": prefixed("AK" + "IA", UPPER, 16),
    "stripe-key": prefixed("sk_" + "live_", ALNUM, 24),
    "sendgrid-key": prefixed("S" + "G.", ALNUM + "_-", 22).flatmap(
        lambda head: random_part(ALNUM + "_-", 43).map(lambda tail: f"{head}.{tail}")
    ),
    "twilio-key": prefixed("S" + "K", HEX, 32),
    "digitalocean-token": prefixed("dop" + "_v1_", HEX, 64),
    "shopify-token": prefixed("shp" + "at_", HEX, 32),
    "jwt": st.tuples(random_part(ALNUM, 40), random_part(ALNUM + "_-", 43)).map(
        lambda parts: f"{'ey' + 'J'}hbGciOiJIUzI1NiJ9.{'ey' + 'J'}{parts[0]}.{parts[1]}"
    ),
    "webhook": st.tuples(random_part(UPPER, 9), random_part(ALNUM, 24)).map(
        lambda parts: f"https://hooks.slack.com/services/T{parts[0]}/B{parts[0]}/{parts[1]}"
    ),
}
PLACES = [
    "{}",
    'key = "{}"',
    "  token: {}  # comment",
    '{{"a": "{}", "b": [1, 2]}}',
    '{{\\"text\\": \\"first\\n{}\\nlast\\"}}',
    "see {}, and so on",
    "https://host/path?a=1&auth={}&b=2",
    "print('{}')",
    "export X={};",
]


def test_a_slack_hook_needs_no_digit_and_a_placeholder_is_none() -> None:
    hook = "https://hooks.slack.com/services/TQIXZUAHK7/BQIXZUAHK7/"
    assert redact_bytes(f"{hook}BewMHngRmoPilYuQvVhqfLZl".encode(), loose=False)[1]
    for harmless in ("XXXXXXXXXXXXXXXXXXXXXXXX", "YourExampleTokenGoesHere"):
        assert not redact_bytes(f"{hook}{harmless}".encode(), loose=False)[1]


@pytest.mark.parametrize("kind", TOKENS)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_tokens_never_survive_wherever_they_stand(kind: str, data: st.DataObject) -> None:
    token = data.draw(TOKENS[kind])
    place = data.draw(st.sampled_from(PLACES))
    newline = data.draw(st.sampled_from(["\n", "\r\n"]))
    text = newline.join(["first line", place.format(token), "läst line"])
    for loose in (False, True):
        redacted, findings = redact_bytes(text.encode(), loose=loose)
        assert token[-12:] not in redacted.decode()
        assert [line for line, _ in findings] == [2]
        before, after = place.format("\0").split("\0")
        assert before.strip() in redacted.decode()
        assert after.strip() in redacted.decode()
        assert redacted.decode().split(newline)[::2] == ["first line", "läst line"]


PASSWORD = "kJ8" + "mPq2xZ"
VALUES = [
    'password = "{}"',
    "PASSWORD='{}'",
    '"db_password": "{}",',
    '\\"password\\": \\"{}\\"',
    "self.password: str = '{}'",
    'os.environ.get("DB_PASSWORD", "{}")',
    "user.setPassword('{}');",
    "password => '{}',",
    "passphrase := `{}`",
    "<password>{}</password>",
    "mysql --password={} -u root",
    '"Server=x;User Id=sa;Password={};"',
    'DB_PASS="{}"',
    'const pwd = "{}"',
    'client_secret="{}"',
    "postgres://admin:{}@db.internal:5432/app",
    "redis://:{}@localhost",
    "curl -u admin:{} https://host",
    'if password == "{}":',
]


@pytest.mark.parametrize("place", VALUES)
def test_values_of_telling_names_are_redacted_in_code_too(place: str) -> None:
    redacted, findings = redact_bytes(place.format(PASSWORD).encode(), loose=False)
    assert PASSWORD.encode() not in redacted
    assert len(findings) == 1
    before, after = place.split("{}")
    assert redacted.decode().startswith(before + "[redacted:")
    assert redacted.decode().endswith("]" + after)


@pytest.mark.parametrize(
    ("text", "core"),
    [
        ('API_KEY = "9f8e7d6c5b4a' + '39281706f5e4d3c2b1a0"', "39281706"),
        ('aws_secret_access_key = "wJalrXUtnFEMI/' + 'K7MDENG/bPxRfiCYEXAMPLEKEY"', "K7MDENG"),
        ("aws_secret_access_key = wJalrXUtnFEMI/" + "K7MDENG/bPxRfiCYEXAMPLEKEY", "K7MDENG"),
        ("Authorization: Basic dXNlcjpw" + "YXNzd29yZDEyMw==", "YXNzd29y"),
        ('{"Authorization": "Bearer a1b2c3d4' + 'e5f6g7h8i9j0"}', "e5f6g7h8"),
        (
            "AccountName=a;AccountKey=Eby8vdM02xNOcq" + "FlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tqK1SZ==;",
            "FlqUw",
        ),
        ("//registry.example.org/:_authToken=f3a9c27e-81bd" + "-4056-a7e2-aaaabbbbcccc", "4056"),
        ("https://x.blob.core.windows.net/c?sv=1&sig=Zm9vYmFyYmF6" + "cXV4MTIzNDU2Nzg5MDEyMzQ1Njc4%3D", "cXV4MTIz"),
    ],
)
def test_other_credentials_are_known_by_what_surrounds_them(text: str, core: str) -> None:
    redacted, findings = redact_bytes(text.encode(), loose=False)
    assert core.encode() not in redacted
    assert findings


@pytest.mark.parametrize(
    "text",
    ["DB_PASSWORD=kJ8" + "mPq2xZ", "password: kJ8" + "mPq2xZ # x", "login failed password=kJ8" + "mPq2xZ user=u"],
)
def test_without_quotes_values_count_in_logs_and_configuration_only(text: str) -> None:
    assert "mPq2xZ" not in redact_text(text)
    assert redact_bytes(text.encode(), loose=False)[1] == []


INNOCENT = [
    "password = get_password()",
    "password: str",
    'password="changeme"',
    'password = "password123"',
    'password = ""',
    'api_key = "your-api-key-here"',
    'token = "xxxxxxxxxxxxxxxxxxxx1"',
    'sha1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709"',
    "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
    'id = "123e4567-e89b-12d3-a456-426614174000"',
    '"integrity": "sha512-Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=="',
    'image = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"',
    'password = os.environ["DB_PASSWORD"]',
    "token = tokens[0]",
    'password = "${DB_PASSWORD}"',
    'password: "{{ vault_password2 }}"',
    '"password_field": "password2"',
    'token_url = "https://example.com/oauth2/token1"',
    'primary_key = "id_12345678901234567"',
    "secretName: my-app-tls-2",
    "http://localhost:8000/foo@bar",
    "https://user:password@example.com/",
    "git@github.com:foo/bar.git",
    "Authorization: Bearer $TOKEN",
    "Authorization: Bearer <token>",
    '"AWS::ApiGateway::ApiKey": "48205d4ffd7feba3"',
    '"password": "pbkdf2_sha256$1000$abc$def1234567890"',
    'x.startswith("-----BEGIN PRIVATE KEY-----")\ny.endswith("-----END PRIVATE KEY-----")',
    "sk-" + "x" * 48,
    "class PasswordResetTokenGenerator2:",
]


@pytest.mark.parametrize("text", INNOCENT)
def test_names_templates_hashes_and_placeholders_stay(text: str) -> None:
    assert redact_text(text) == text
    assert redact_bytes(text.encode(), loose=False) == (text.encode(), [])


def private_key(newline: str, kind: str = "RSA ") -> str:
    body = [f"MIIEow{number}IBAAKCAQEA{ALNUM[number:]}" for number in range(5)]
    return newline.join([f"-----BEGIN {kind}PRIVATE" + " KEY-----", *body, f"-----END {kind}PRIVATE" + " KEY-----"])


@pytest.mark.parametrize(
    "text",
    [
        private_key("\n"),
        private_key("\r\n", ""),
        'KEY = """' + private_key("\n", "OPENSSH ") + '"""\nx = 1\n',
        '{"private_key": "' + private_key("\\n") + '\\n", "a": 1}',
        "key: |\n  " + private_key("\n  ") + "\nother: value\n",
        '("' + private_key('\\n"\n "') + '\\n")',
        private_key("\n")[:200],
        "cut off:\n" + private_key("\n").rsplit("\n", 1)[0] + "\n\nand prose goes on\n",
    ],
)
def test_private_keys_are_redacted_whole_and_keep_their_lines(text: str) -> None:
    redacted = redact_text(text)
    assert "MIIEow" not in redacted
    assert "IBAAKCAQEA" not in redacted
    assert redacted.count("\n") == text.count("\n")
    assert redacted.count("\r") == text.count("\r")
    assert redact_bytes(text.encode(), loose=True)[1][0][1] == "private-key"
    assert len(redact_bytes(text.encode(), loose=True)[1]) == 1
    for kept in ("x = 1", '"a": 1', "other: value", "and prose goes on"):
        assert (kept in text) == (kept in redacted)


fragments = st.sampled_from(
    [
        "password",
        "secret",
        "token",
        "api_key",
        "aws",
        "=",
        ":",
        '"',
        "'",
        " ",
        "\n",
        "\r\n",
        "\u2028",
        "\x85",
        "\x1c",
        "\x0b",
        ">",
        "</",
        "://",
        "@",
        "user",
        "[redacted:",
        "[redacted:password]",
        "]",
        "bearer ",
        "authorization: ",
        "--",
        "?",
        "&",
        "kJ8mPq2xZ",
        "a1b2c3d4e5f6g7h8",
        "-----BEGIN PRIVATE" + " KEY-----",
        "-----END PRIVATE" + " KEY-----",
        "\\n",
        "\\",
        "gh" + "p_0123456789abcdefghijABCDEFGHIJ012345",
        "MIIEowIBAAKCAQEA0123456789abcdef",
        "é",
        "😀",
        "�",
        "(",
        ",",
        "x",
    ]
)


@given(st.lists(fragments, max_size=30).map("".join))
@settings(max_examples=400, deadline=None)
def test_redacting_keeps_the_lines_and_is_idempotent(text: str) -> None:
    once = redact_text(text)
    assert once.count("\n") == text.count("\n")
    assert len(once.splitlines()) == len(text.splitlines())
    assert redact_text(once) == once


@given(st.text(max_size=200))
def test_any_text_can_be_redacted(text: str) -> None:
    assert len(redact_text(text).splitlines()) == len(text.splitlines())


def test_hostile_text_takes_bounded_time() -> None:
    code = """
from gardener.index.redact import redact
from gardener.secret_patterns import redact_text
words = ["eyJ", "eyJa.", "eyJ-.eyJ", "a", "-", "=", 'password="', "password=", "pass", "token", "key", "secret_key:",
         "://", "://a:", "aws", "AKIA", "-----BEGIN PRIVATE KEY-----", "-----BEGIN RSA PRIVATE KEY-----\\n", "sk-",
         "authorization: ", "bearer ", "curl -u a:", "xoxb-", "SG.", "pwd", "token>", "[redacted:", "password: str ",
         "A1b2C3d4E5f6G7h8I9j0_", "A1b2C3d4E5f6G7h8I9j0 ", "123456789:AA", "-----BEGIN ", "8Q~"]
for word in words:
    for end in ("", '"'):
        text = word * (100_000 // len(word)) + end
        redact_text(text)
        redact(text, "a.py")
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=240)
