"""Links that open a file at a line in the reader's editor, by the address scheme that the editor registers.

VS Code (https://code.visualstudio.com/docs/editor/command-line, "Opening VS Code with URLs") and, in the same form,
Cursor and Zed take /path:line. Xcode's xcode://open?file=…&line=… is in use but not documented by Apple.
"""

from __future__ import annotations

from urllib.parse import quote

NAMES = {"vscode": "VS Code", "cursor": "Cursor", "zed": "Zed", "xcode": "Xcode", "file": "the file's link"}


def editor_link(editor: str, path: str, line: int) -> str:
    """The address for an absolute POSIX path and a line from 1; "" when the setting ui.editor is "none".

    Everything but letters, digits and "/-._~" is percent-encoded, so that a file's name can add no line, parameter or
    fragment of its own.
    """
    place = quote(path, safe="/-._~")
    match editor:
        case "vscode" | "cursor" | "zed":
            return f"{editor}://file{place}:{int(line)}"
        case "xcode":
            return f"xcode://open?file={place}&line={int(line)}"
        case "file":
            return f"file://{place}"
        case _:
            return ""
