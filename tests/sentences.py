"""Texts in the program's source, each as the catalogue of the page's languages names it: what is filled in is "{0}"."""

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

_EDGES = " ·\n"  # around a text, when it is joined to others
_SHOWN = ("title", "aria-label", "placeholder", "alt")  # attributes of HTML


def of_python(file: Path) -> set[str]:
    """All strings of a module but docstrings, what is logged and annotations; of f-strings the whole."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    left_out = {id(part) for node in ast.walk(tree) for kept_out in _left_out(node) for part in ast.walk(kept_out)}
    texts = {_template(node) for node in ast.walk(tree) if id(node) not in left_out and _is_text(node)}
    return {part for text in texts for part in (of_html(text) if re.search("<[a-z]", text) else {text.strip(_EDGES)})}


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _left_out(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
        yield node.body[0]
    if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("logger."):
        yield node
    if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
        yield node.annotation
    if isinstance(node, ast.JoinedStr):  # their own parts; what is filled in may have texts, too
        yield from (part for part in node.values if isinstance(part, ast.Constant))
        yield from (
            part.format_spec for part in node.values if isinstance(part, ast.FormattedValue) and part.format_spec
        )


def _template(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    assert isinstance(node, ast.JoinedStr)
    fields = iter(range(len(node.values)))
    return "".join(str(part.value) if isinstance(part, ast.Constant) else f"{{{next(fields)}}}" for part in node.values)


def of_script(file: Path) -> set[str]:
    """All strings of a script; of those in backquotes the whole."""
    source = re.sub(r"^\s*//.*$", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    quoted = {match[1] for match in re.finditer(r'"((?:[^"\\\n]|\\.)*)"', source)}
    for match in re.finditer(r"`((?:[^`\\]|\\.)*)`", source):
        fields = iter(range(len(match[1])))
        quoted.add(re.sub(r"\$\{[^{}]*\}", lambda _, fields=fields: f"{{{next(fields)}}}", match[1]))
    return {text.strip(_EDGES) for text in quoted}


def of_html(text: str) -> set[str]:
    """What is read in a piece of HTML, and heard."""
    found: set[str] = set()

    class Reader(HTMLParser):
        def handle_data(self, data: str) -> None:
            found.add(data.strip(_EDGES))

        def handle_starttag(self, _tag: str, attributes: list[tuple[str, str | None]]) -> None:
            found.update(value.strip(_EDGES) for name, value in attributes if name in _SHOWN and value)

    Reader().feed(text)
    return found - {""}


def is_sentence(text: str) -> bool:
    """Whether it is something to be read: more than a word, and it begins as sentences do."""
    return (
        bool(re.match(r"['“({]*[A-Z{]", text) and re.search(r"[A-Za-z]{2,}[,:;]? .*[a-z]{2}", text))
        and "\n" not in text
    )
