"""Which language a file is written in, from its name, its extension and its first line.

The names are lower case and stable: they are stored in the index and typed by users (`--language
typescript`). A file that nothing recognises is "text".
"""

from __future__ import annotations

import re

TEXT = "text"

_BY_NAME: dict[str, str] = {
    "dockerfile": "dockerfile",
    "containerfile": "dockerfile",
    "makefile": "make",
    "gnumakefile": "make",
    "cmakelists.txt": "cmake",
    "rakefile": "ruby",
    "gemfile": "ruby",
    "guardfile": "ruby",
    "podfile": "ruby",
    "fastfile": "ruby",
    "brewfile": "ruby",
    "vagrantfile": "ruby",
    "jenkinsfile": "groovy",
    "pkgbuild": "bash",
    "apkbuild": "bash",
    ".bashrc": "bash",
    ".bash_profile": "bash",
    ".bash_aliases": "bash",
    ".profile": "bash",
    ".zshrc": "bash",
    ".zshenv": "bash",
    ".envrc": "bash",
    "sconstruct": "python",
    "sconscript": "python",
    "wscript": "python",
    "build.bazel": "starlark",
    "workspace": "starlark",
    "tiltfile": "starlark",
    "go.mod": "gomod",
    "pipfile": "toml",
    "cargo.lock": "toml",
    "poetry.lock": "toml",
    "uv.lock": "toml",
    ".babelrc": "json",
    ".eslintrc": "json",
    ".prettierrc": "json",
    "composer.lock": "json",
    "pipfile.lock": "json",
    ".clang-format": "yaml",
    ".clang-tidy": "yaml",
    ".gitconfig": "ini",
    ".gitmodules": "ini",
    ".editorconfig": "ini",
    ".npmrc": "ini",
    ".flake8": "ini",
    ".pylintrc": "ini",
    ".coveragerc": "ini",
    "readme": "markdown",
}

_BY_EXTENSION: dict[str, str] = {
    "py": "python", "pyi": "python", "pyw": "python", "pyx": "python", "pxd": "python",
    "js": "javascript", "mjs": "javascript", "cjs": "javascript", "jsx": "javascript", "es6": "javascript",
    "ts": "typescript", "mts": "typescript", "cts": "typescript", "tsx": "tsx",
    "go": "go",
    "rs": "rust",
    "java": "java",
    "c": "c", "h": "c",
    "cc": "cpp", "cpp": "cpp", "cxx": "cpp", "c++": "cpp", "hh": "cpp", "hpp": "cpp", "hxx": "cpp",
    "h++": "cpp",
    "ipp": "cpp", "tpp": "cpp", "inl": "cpp", "cu": "cpp", "cuh": "cpp", "ino": "cpp",
    "cs": "csharp", "csx": "csharp",
    "rb": "ruby", "rake": "ruby", "gemspec": "ruby", "ru": "ruby", "podspec": "ruby", "rbi": "ruby",
    "php": "php", "php3": "php", "php5": "php", "phtml": "php", "inc": "php",
    "swift": "swift",
    "kt": "kotlin", "kts": "kotlin",
    "scala": "scala", "sc": "scala", "sbt": "scala",
    "sh": "bash", "bash": "bash", "zsh": "bash", "ksh": "bash", "bats": "bash", "ebuild": "bash",
    "fish": "fish",
    "sql": "sql", "psql": "sql", "pgsql": "sql", "mysql": "sql", "ddl": "sql", "plsql": "sql",
    "html": "html", "htm": "html", "xhtml": "html", "djhtml": "html", "jinja": "html", "jinja2": "html",
    "j2": "html",
    "vue": "vue", "svelte": "svelte", "astro": "astro",
    "css": "css", "scss": "scss", "less": "less", "sass": "sass",
    "md": "markdown", "markdown": "markdown", "mdown": "markdown", "mkd": "markdown", "mdx": "markdown",
    "mdc": "markdown", "rmd": "markdown", "qmd": "markdown",
    "rst": "rst", "rest": "rst",
    "adoc": "asciidoc", "asciidoc": "asciidoc",
    "toml": "toml",
    "yaml": "yaml", "yml": "yaml",
    "json": "json", "jsonc": "json", "json5": "json", "webmanifest": "json", "geojson": "json",
    "ini": "ini", "cfg": "ini", "conf": "ini", "properties": "ini", "desktop": "ini", "service": "ini",
    "lua": "lua", "luau": "lua",
    "dart": "dart",
    "ex": "elixir", "exs": "elixir",
    "erl": "erlang", "hrl": "erlang",
    "hs": "haskell",
    "ml": "ocaml", "mli": "ocaml",
    "fs": "fsharp", "fsx": "fsharp",
    "clj": "clojure", "cljs": "clojure", "cljc": "clojure",
    "el": "elisp", "lisp": "commonlisp", "scm": "scheme", "rkt": "racket",
    "pl": "perl", "pm": "perl", "t": "perl",
    "r": "r",
    "jl": "julia",
    "zig": "zig",
    "nim": "nim",
    "m": "objc", "mm": "objc",
    "groovy": "groovy", "gradle": "groovy",
    "ps1": "powershell", "psm1": "powershell",
    "bat": "batch", "cmd": "batch",
    "proto": "proto",
    "graphql": "graphql", "gql": "graphql",
    "tf": "terraform", "tfvars": "terraform", "hcl": "terraform",
    "sol": "solidity",
    "nix": "nix",
    "bzl": "starlark", "star": "starlark", "bazel": "starlark",
    "cmake": "cmake",
    "mk": "make", "mak": "make",
    "dockerfile": "dockerfile",
    "tex": "latex", "sty": "latex",
    "xml": "xml", "xsd": "xml", "xsl": "xml", "svg": "xml", "plist": "xml", "csproj": "xml", "pom": "xml",
    "vim": "vim",
    "asm": "asm", "s": "asm",
    "f90": "fortran", "f95": "fortran", "f": "fortran", "for": "fortran",
    "v": "verilog", "sv": "verilog", "vhd": "vhdl", "vhdl": "vhdl",
    "glsl": "glsl", "vert": "glsl", "frag": "glsl", "wgsl": "wgsl", "hlsl": "hlsl",
    "pas": "pascal",
    "d": "d",
    "po": "po", "pot": "po",
    "diff": "diff", "patch": "diff",
    "csv": "csv", "tsv": "csv",
}  # fmt: skip

_BY_INTERPRETER: dict[str, str] = {
    "python": "python", "pypy": "python", "uv": "python",
    "sh": "bash", "bash": "bash", "dash": "bash", "ash": "bash", "zsh": "bash", "ksh": "bash", "bats": "bash",
    "fish": "fish",
    "node": "javascript", "nodejs": "javascript", "bun": "typescript", "deno": "typescript",
    "tsx": "typescript",
    "ts-node": "typescript",
    "ruby": "ruby", "rake": "ruby", "php": "php", "perl": "perl", "lua": "lua", "luajit": "lua",
    "rscript": "r", "julia": "julia", "elixir": "elixir", "escript": "erlang", "swift": "swift",
    "scala": "scala",
    "kotlin": "kotlin", "groovy": "groovy", "make": "make", "pwsh": "powershell", "runhaskell": "haskell",
}  # fmt: skip

_CPP_IN_HEADER = re.compile(
    r"^[ \t]*(?:(?:inline[ \t]+)?namespace\b[^;\n=]*\{?[ \t]*$|namespace[ \t]+\w|template[ \t]*<|"
    r"class[ \t]+\w|using[ \t]+\w|(?:public|private|protected)[ \t]*:|#[ \t]*include[ \t]*<[a-z_]+>)",
    re.MULTILINE,
)
_RST_UNDERLINE = re.compile(r"^\S[^\n]*\n([=\-~^\"'*+#`])\1{2,}[ \t]*$", re.MULTILINE)
_RST_MARK = re.compile(r"^\.\. [\w:-]+::|^\.\. _|:\w+:`", re.MULTILINE)
_SNIFFED_CHARACTERS = 20_000


def language_of(path: str, first_line: str = "") -> str:
    """Name the language of the file at `path`: by whole name, then extension, then interpreter line.

    `path` may use either slash; only its last part counts. `first_line` is looked at when the name says
    nothing. Returns "text" when nothing is recognised. Never raises.
    """
    name = path.replace("\\", "/").rpartition("/")[2].lower()
    found = _BY_NAME.get(name)
    if found is not None:
        return found
    stem, dot, extension = name.rpartition(".")
    if dot:
        found = _BY_EXTENSION.get(extension)
        if found is not None:
            return found
        if extension in ("in", "tmpl", "template", "example", "sample", "dist", "tpl", "erb", "j2") and "." in stem:
            return language_of(stem)
    if name.startswith(("dockerfile.", "containerfile.")):
        return "dockerfile"
    if name.startswith("makefile."):
        return "make"
    if name.startswith(".env"):
        return "bash"
    return _interpreter_language(first_line) or TEXT


def refine_language(language: str, path: str, text: str) -> str:
    """Correct a language that the name alone gets wrong, by looking at the text.

    A `.h` file with C++ in it is "cpp"; a `.txt` file with reStructuredText headings and marks is "rst"; a
    `.ts` file that is Qt's translation XML is "xml".
    """
    if language == "c" and path.lower().endswith(".h"):
        return "cpp" if _CPP_IN_HEADER.search(text, 0, _SNIFFED_CHARACTERS) else language
    if language == TEXT and path.lower().endswith((".txt", ".text")):
        head = text[:_SNIFFED_CHARACTERS]
        return "rst" if _RST_UNDERLINE.search(head) and _RST_MARK.search(head) else language
    if language == "typescript" and text.startswith("<?xml"):
        return "xml"
    return language


def _interpreter_language(first_line: str) -> str | None:
    if not first_line.startswith("#!"):
        return "php" if first_line.startswith("<?php") else "xml" if first_line.startswith("<?xml") else None
    for word in first_line[2:300].split():
        program = word.rpartition("/")[2].lower()
        if program in ("env", "-s", "-i") or program.startswith("-") or "=" in program:
            continue
        return _BY_INTERPRETER.get(program) or _BY_INTERPRETER.get(program.rstrip("0123456789.")) or None
    return None
