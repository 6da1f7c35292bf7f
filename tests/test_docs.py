"""The documentation: what the code cites exists, links and names resolve, examples run."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

import dmft
from dmft.figures import FIGURES

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted((ROOT / "docs").rglob("*.md"))
SOURCES = sorted(f for folder in ("dmft", "solvers", "derivations", "tests") for f in (ROOT / folder).rglob("*.py") if f != Path(__file__))
_NUMBER = r"\d+(?:\.\d+)*[a-z]?(?: \([^)]*\))?"
_CITED = re.compile(rf"docs/(?:theory/)?\w+\.md(?:, (section|equation|lemma)s? ({_NUMBER}(?:(?:, | and | to |-){_NUMBER})*))?")


def name(path):
    return str(path.relative_to(ROOT))


def citations(source):
    """(document, kind, numbers) of all citations in a source text; lines of comments and docstrings are joined."""
    joined = re.sub(r"\s*\n\s*(?:#:? )?", " ", source)
    for match in _CITED.finditer(joined):
        listed = re.sub(r"\([^)]*\)", "", match[2] or "")
        yield match[0].split(",")[0], match[1], re.findall(r"\d+(?:\.\d+)*[a-z]?", listed)


def contents(text):
    """Numbers of the sections, equations and lemmas of a document."""
    return {
        "section": re.findall(r"^#{2,3} (\d+(?:\.\d+)*[a-z]?)\.? ", text, re.MULTILINE),
        "equation": re.findall(r"\\tag\{(\w+)\}", text),
        "lemma": re.findall(r"^\*\*Lemma (\d+)", text, re.MULTILINE),
    }


def test_citations_are_read():
    text = "(docs/theory/a.md, sections 1\n    (window form), 2.3 and 4b).\n#: docs/theory/b.md, equations 5 and 1; docs/theory/c.md"
    assert list(citations(text)) == [
        ("docs/theory/a.md", "section", ["1", "2.3", "4b"]),
        ("docs/theory/b.md", "equation", ["5", "1"]),
        ("docs/theory/c.md", None, []),
    ]


def test_cited_sections_exist():
    found = [(name(f), *citation) for f in SOURCES for citation in citations(f.read_text(encoding="utf-8"))]
    assert len(found) > 60
    known = {name(document): contents(document.read_text(encoding="utf-8")) for document in DOCUMENTS}
    assert [citation for citation in found if citation[1] not in known] == []
    assert [citation for citation in found for number in citation[3] if number not in known[citation[1]][citation[2]]] == []


def test_every_document_is_cited_and_listed():
    cited = {document for f in SOURCES for document, *_ in citations(f.read_text(encoding="utf-8"))}
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for document in (d for d in DOCUMENTS if d.parent.name == "theory"):
        assert name(document) in cited and f"(theory/{document.name})" in index


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "README.md"], ids=name)
def test_links_resolve(document):
    targets = re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8"))
    missing = [t for t in targets if not t.startswith(("http://", "https://", "#")) and not (document.parent / t.split("#")[0]).exists()]
    assert not missing


def resolve(module, attributes):
    """Import `module:attributes`, or a dotted name whose last parts are attributes; AttributeError or ImportError if there is none."""
    package, *parts = module.split(".")
    value = importlib.import_module(package)
    for part in [*parts, *filter(None, attributes.split("."))]:
        path = f"{getattr(value, '__name__', '')}.{part}"
        value = getattr(value, part) if hasattr(value, part) else importlib.import_module(path)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_names_of_modules_functions_and_tests_exist(document):
    text = document.read_text(encoding="utf-8")
    for module, attributes in re.findall(r"`((?:dmft|solvers|derivations)(?:\.\w+)+)(?::([\w.]+))?`", text):
        resolve(module, attributes)
    missing = [f for f in re.findall(r"\b(?:tests|data)/\w+\.(?:py|json)", text) if not (ROOT / f).is_file()]
    assert not missing


def test_index_names_arguments_and_figures_that_exist():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    stated = re.findall(r"`(\w+)\((\w+=(?:, \w+=)*)\)`", index)
    assert len(stated) > 10
    for function, arguments in stated:
        public = getattr(dmft, function)
        documented = re.findall(r"^ *([\w, ]+) : ", public.__doc__, re.MULTILINE)  # those of simulate and solve depend on the network
        assert set(re.findall(r"\w+", arguments)) <= inspect.signature(public).parameters.keys() | set(", ".join(documented).split(", "))
    assert {figure for figure in FIGURES if not re.search(rf"`(?:dmft reproduce )?{figure}`", index)} == set()


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if d.parent.name == "theory"], ids=name)
def test_examples_run(document):
    blocks = re.findall(r"^```python\n(.*?)^```", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, name(document), "exec"), {})


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_layout(document):
    """Narrow text, tables with equal rows, lists that count from one, formulas that are closed and free of escapes that Markdown eats."""
    text = document.read_text(encoding="utf-8")
    assert "prototype" not in text and "shared/" not in text
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for line in prose.splitlines():
        assert line.startswith("|") or len(line) <= 140, line
        assert line.count("$") % 2 == 0, line
        for before, formula, after in re.findall(r"(\w?)\$([^$]*)\$(\w?)", line):
            assert not before + after and not re.search(r"\\[,;:!|{}_*#]", formula), line
    for count, number in enumerate(re.findall(r"^(\d+)\. ", prose, re.MULTILINE), start=1):
        assert int(number) == count, f"a line that begins with {number}. is a list item"
    for table in re.findall(r"(?:^\|.*\n)+", prose, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table.splitlines()[0]
