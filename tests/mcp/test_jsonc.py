"""Edits of JSON with comments: what is not meant stays, character for character."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gardener.mcp.jsonc import NotJson, parse, remove, set_value

ZED = """// Zed settings
{
  "theme": "One Dark", // dark
  /* servers */
  "context_servers": {
    "other": {
      "command": "x", // mine
    },
    // the end
  },
  "vim_mode": true,
}
"""


def data(text: str) -> Any:
    node = parse(text)
    assert node is not None
    return node.data


def test_a_member_joins_the_others_and_every_line_stays() -> None:
    edited = set_value(ZED, ["context_servers", "gardener"], {"command": "g"})
    assert data(edited)["context_servers"] == {"other": {"command": "x"}, "gardener": {"command": "g"}}
    assert [line for line in ZED.splitlines() if line not in edited.splitlines()] == []
    assert '    "gardener": {\n      "command": "g"\n    },\n' in edited
    assert remove(edited, ["context_servers", "gardener"]) == ZED


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", '{\n  "a": {\n    "b": 1\n  }\n}\n'),
        ("// only words\n", '// only words\n{\n  "a": {\n    "b": 1\n  }\n}\n'),
        ("{}", '{\n  "a": {\n    "b": 1\n  }\n}'),
        ('{"z": 2}', '{"z": 2,\n  "a": {\n    "b": 1\n  }\n}'),
        ('{\n\t"a": {\n\t\t"c": 3 // three\n\t}\n}', '{\n\t"a": {\n\t\t"c": 3, // three\n\t\t"b": 1\n\t}\n}'),
        ('{\r\n  "a": {}\r\n}\r\n', '{\r\n  "a": {\r\n    "b": 1\r\n  }\r\n}\r\n'),
        ("{ // none yet\n}\n", '{ // none yet\n  "a": {\n    "b": 1\n  }\n}\n'),
        ('\ufeff{"a": {"b": 0}}', '\ufeff{"a": {"b": 1}}'),
        ('{"a": {"b": true}}', '{"a": {"b": 1}}'),
        ('{"a": {"b": 5}, "a": {"b": 6}}', '{"a": {"b": 5}, "a": {"b": 1}}'),
        ('{"a": {"b": "// no comment"} /* c */}', '{"a": {"b": 1} /* c */}'),
    ],
)
def test_where_a_value_goes(text: str, expected: str) -> None:
    assert set_value(text, ["a", "b"], 1) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1, "b": 2}', '{"b": 2}'),
        ('{"b": 2, "a": 1}', '{"b": 2}'),
        ('{\n  "b": 2, // two\n  "a": 1\n}', '{\n  "b": 2 // two\n}'),
        ('{\n  "a": 1 /* one */, // uno\n  "b": 2\n}', '{\n   /* one */ // uno\n  "b": 2\n}'),
        ('{"a": 1, "b": 2, "a": 3}', '{"b": 2}'),
        ('{"a": 1,}', "{}"),
        ("{}", "{}"),
        ("[1]", "[1]"),
        ("", ""),
    ],
)
def test_what_is_removed(text: str, expected: str) -> None:
    removed = remove(text, ["a"])
    assert re.sub(r"\s+", " ", removed).replace("{ ", "{").replace(" }", "}") == re.sub(r"\s+", " ", expected).replace(
        "{ ", "{"
    ).replace(" }", "}")
    if expected:
        assert "a" not in data(removed)


@pytest.mark.parametrize(
    "text",
    ['{"a": }', "{'a': 1}", '{"a" 1}', '{"a": 1 "b": 2}', "{", "[1 2]", '{"a": 1} x', '{"a": "\n"}', "/* open", "{,}",
     "nul", '{"a": ' + "[" * 300 + "]" * 300 + "}", '{"a": 01}', '{"a": NaN}'],
)  # fmt: skip
def test_what_does_not_parse_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(NotJson, match=r"line \d+, column \d+"):
        set_value(text, ["a"], 1)


def test_an_object_is_not_put_into_something_else() -> None:
    with pytest.raises(ValueError, match="a is not an object"):
        set_value('{"a": []}', ["a", "b"], 1)
    with pytest.raises(ValueError, match="the whole is not an object"):
        set_value("[]", ["a"], 1)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text('ab/*\\"{}, é\n', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[str, Any], int]:
    """A laid-out object with comments between its tokens, its data, and the number of comments."""
    wanted = draw(st.dictionaries(st.text("abcg", max_size=2), values, max_size=4))
    text = json.dumps(wanted, indent=draw(st.sampled_from([None, 2, "\t"])))
    comments = draw(st.sampled_from(["", " // note\n", " /* note */ "]))
    pieces = re.split(r'("(?:[^"\\]|\\.)*")', text)
    dressed = "".join(piece if piece.startswith('"') else piece.replace(",", f",{comments}") for piece in pieces)
    trailing = draw(st.booleans()) and bool(wanted)
    if trailing:
        dressed = dressed[:-1].rstrip() + "," + comments + "}"
    return dressed, wanted, dressed.count("note")


@settings(max_examples=150, deadline=None)
@given(documents(), values)
def test_setting_and_removing_change_only_what_they_are_about(
    document: tuple[str, dict[str, Any], int], value: Any
) -> None:
    text, before, comments = document
    was_there = isinstance(before.get("g"), dict)
    before.pop("g", None)
    text = text if was_there else remove(text, ["g"])
    count = text.count("note")
    edited = set_value(text, ["g", "x"], value)
    assert data(edited)["g"]["x"] == value
    assert {key: other for key, other in data(edited).items() if key != "g"} == before
    assert set_value(edited, ["g", "x"], value) == edited
    assert edited.count("note") >= count - (comments if was_there else 0)
    gone = remove(edited, ["g"])
    assert data(gone) == before
