"""What argparse says of wrong words, said so that one knows what to type."""

from __future__ import annotations

import argparse
import difflib
import re

_CHOICE = re.compile(r"argument (.+?): invalid choice: (.+?) \(choose from (.*)\)$", re.S)
_NUMBER = re.compile(r"argument (.+?): invalid (int|float) value: (.*)$", re.S)
_UNKNOWN = re.compile(r"unrecognized arguments: (.*)$", re.S)


def told(parser: argparse.ArgumentParser, message: str) -> tuple[str, str] | None:
    """A sentence and the next command for one of argparse's messages; None where its own words will do."""
    if found := _NUMBER.match(message):
        what = "a whole number" if found[2] == "int" else "a number"
        return f"{found[1]} takes {what}, not {found[3]}.", f"{parser.prog} --help"
    if found := _CHOICE.match(message):
        known = re.findall(r"[^\s',]+", found[3])
        given = found[2].strip("'\"")
        near = difflib.get_close_matches(given, known, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"It can be {', '.join(known)}."
        if found[1].startswith("-"):
            option = found[1].split("/")[0]
            what, way = f"{option} cannot be '{given}'.", f" {option} {near[0]}" if near else " --help"
        else:
            what, way = f"`{parser.prog}` has no '{given}'.", f" {near[0]}" if near else " --help"
        return f"{what} {hint}", parser.prog + way
    if found := _UNKNOWN.match(message):
        words = found[1].split(" ")
        first = words[0].split("=")[0]
        near = difflib.get_close_matches(first, parser._option_string_actions, n=1) if first.startswith("-") else []
        if first.startswith("-"):
            said = f"`{parser.prog}` has no option '{first}'." + (f" Did you mean {near[0]}?" if near else "")
        else:
            said = f"`{parser.prog}` does not know what to do with '{found[1]}'."
        return said, f"{parser.prog} --help"
    return None
