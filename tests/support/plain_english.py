"""Phrasings that this project's texts avoid, each with what to write instead, and a search for them.

`python -m tests.support.plain_english PATH...` lists the findings in files and directories, and exits with 1 if any.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# A pattern, regardless of case; a space in it matches any white space. Then the words to use.
BANNED = {
    # Programs are not persons.
    r"\blearns? (of|what|which|whether)\b": "receives, records, reads",
    r"\b(tells?|telling|told)\b": "reports, shows, states; distinguishes",
    r"\b(say|says|said|saying)\b": "states, specifies, reports, sets",
    r"\b(gives?|gave|giving)\b(?! up)": "returns, yields, produces; pass, set, specify",
    r"\b(comes?|came|coming)\b(?! from)": "arrives, is returned, is included",
    r"\b(knows|knew)\b": "has, holds, stores, supports",
    r"\b(wants|wanted)\b": "requires, needs; requested",
    r"\b(asks|asked|asking)\b|\bask for\b": "requests, prompts for, queries",
    r"\b(gets|got|gotten)\b": "receives, returns, obtains",
    r"\b(sees|hears)\b": "receives, observes",
    r"\b(speaks?|spoken)\b": "uses (a protocol)",
    r"\b(brings?|brought)\b": "adds, contains, resizes, starts, restores",
    r"\bgo(es)? by\b": "uses, follows",
    # Old-fashioned words.
    r"\b(anew|afresh|once more)\b": "again",
    r"\b(likewise|therein|thereof|thereto|whereby|wherein|forthwith|henceforth|shall|perhaps)\b": "a plain word",
    r"\b(nobody|somebody|whoever)\b": "no one, someone; the user, the client, the operator",
    r"\b(mend|mends|mended|mending)\b": "fix, repair",
    r"\bbegun\b": "started",
    r"\bbeside\b": "next to; in addition to; compared with",
    r"\brivals?\b": "baseline, alternative",
    r"\b(lies?|lain)\b": "is, is stored",
    r"\bstands? (in|at|on|beside|below|there|by|alone)\b|\bstood\b": "is",
    r"\bfor want of\b": "because there is no",
    r"\b(in its|in their) place\b": "instead",
    r"\bfor (good|ever)\b": "permanently",
    r"\bat hand\b|\bin vain\b|\bas is meant\b|\b(be|is) had\b": "a plain phrase",
    r"\band the like\b": "and similar",
    r"\bbelongs? into\b": "belongs in",
    r"\b(go|goes|went|going|gone) on\b": "continue, resume",
    r"\b(do|does|did) without\b": "runs without, needs no",
    r"\bhand(s|ed)? (over|on|out|back)\b": "passes, returns",
    r"\bsum(s|med)? up\b": "sum; summarise",
    r"\bhe?ld to\b": "checked against, compared with",
    r"\bby (itself|themselves)\b": "automatically; alone; separately",
    # Roundabout grammar.
    r"\bof (its|their|your|our|his) own\b|\bof (yours|ours|theirs|others)\b": "its own, your, separate",
    r"(?<!there\s)\b(is|are) (no|(?-i:none))\b(?! (longer|more|less|fewer|better|worse|such|sooner))": "is not (a)",
    r"\bwhat (is there|there is)\b": "existing",
    r"\bwhere there (is|are|was|were) (one|none|no|some)\b": "if any; if there is no",
    r"\b(is|are|was|were) away\b": "unavailable",
    r"\b(is|are) gone\b": "was deleted, no longer exists",
    r"\bnothing of\b": "none of",
    r"\bwith commas between\b": "comma-separated",
    r"\btak(e|es|en) (\w+ ){0,5}over to\b": "migrate",
    r"\bpages? of (another|other) (site|origin)s?\b": "cross-origin",
    # Terms.
    r"(?<!connection\s)(?<!connections\s)(?<!connections\sare\s)\brefus(e|es|ed|al|als|ing)\b"
    r"(?! (or resets? )?connections?)": "reject",
    r"\b(an?|the|each|no|every|graphics|NVIDIA|two|several) cards?\b": "GPU",
    r"\bthe house\b": "the packages, the architecture",
}  # fmt: skip

# At the start of a docstring, or of the description of an argument: methods are imperative, arguments are nouns.
BANNED_STARTS = {
    r"(Say|Says|Tell|Tells|Give|Gives|Learns|Bring|Brings|Have|Let)\b": "Return, Check, Report, Add ...",
    r"(What|Whose|Who|That|Of)\b": "a noun: 'ID of the image', 'Metrics of searches'",
}

_ANYWHERE = {pattern: re.compile(pattern.replace(" ", r"\s+"), re.IGNORECASE) for pattern in BANNED}
_STARTS = {pattern: re.compile(rf"(?:\A|^ +\w+: +){pattern}", re.MULTILINE) for pattern in BANNED_STARTS}
_QUOTED = re.compile(r"`[^`\n]*`|https?://\S+")


class Finding(NamedTuple):
    """One banned phrasing in a file: its line (from 1), the phrasing, the words to use, and the line's text."""

    path: Path
    line: int
    phrase: str
    instead: str
    text: str


def findings_in(path: Path) -> Iterator[Finding]:
    """Yield the findings in a file."""
    source = path.read_text(encoding="utf-8")
    for first, text, docstring in texts_of(path.suffix, source):
        plain = _QUOTED.sub(lambda match: "`" * len(match[0]), text)  # identifiers and addresses are no prose
        for name, pattern in [*_ANYWHERE.items(), *(_STARTS.items() if docstring else ())]:
            for match in pattern.finditer(plain):
                offset = plain[: match.end()].count("\n")
                words = BANNED.get(name) or BANNED_STARTS[name]
                yield Finding(
                    path, first + offset, " ".join(match[0].split()), words, text.splitlines()[offset].strip()
                )


def texts_of(suffix: str, source: str) -> Iterator[tuple[int, str, bool]]:
    """Yield the first line of each text, the text, and whether it is a docstring.

    Texts of Python are comments, docstrings, and strings of three words or more, with `…` for values in f-strings. Of
    files that are neither Python nor Markdown, only comments are texts.
    """
    if suffix != ".py":
        marker = r"//|/?\*+" if suffix in {".js", ".mjs"} else "#+"
        comments = re.sub(rf"^(?:.*?(?<!\S)(?:{marker})|.*$)", "", source, flags=re.MULTILINE)
        yield 1, source if suffix == ".md" else comments, False
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# "), False
    nodes = list(ast.walk(ast.parse(source)))
    docstrings = {id(node.body[0].value) for node in nodes if _has_docstring(node)}
    inside = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes:
        text = "" if id(node) in inside else _text_of(node)
        if id(node) in docstrings or text.count(" ") > 1:
            yield node.lineno, text, id(node) in docstrings


def _has_docstring(node: ast.AST) -> bool:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None


def _text_of(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def files_below(path: Path) -> list[Path]:
    """Return the Python and Markdown files at or below a path."""
    return [path] if path.is_file() else sorted({*path.rglob("*.py"), *path.rglob("*.md")})


def main() -> int:
    """List the findings in the paths of the command line; return 1 if there are any."""
    found = [finding for name in sys.argv[1:] for path in files_below(Path(name)) for finding in findings_in(path)]
    for one in found:
        sys.stdout.write(f"{one.path}:{one.line}: '{one.phrase}' -> {one.instead}\n    {one.text[:140]}\n")
    sys.stdout.write(f"{len(found)} findings in {len({one.path for one in found})} files\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
