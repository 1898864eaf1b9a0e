"""Lays the documents out for mdBook, and follows every link of the book that comes out. Called by scripts/book.

Links out of docs/ lead to the repository, and pages that are named in code (`docs/trust.md`) become links. A page that
SUMMARY.md does not have stands under "Further pages"."""

import html.parser
import os
import pathlib
import re
import shutil
import sys
import urllib.parse

root = pathlib.Path(__file__).resolve().parent.parent
pages, book = root / "target/book-pages", root / "target/book"
REPOSITORY = "https://github.com/truepeer/truepeer/blob/main/"
PROJECT = ["ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
LIBRARY = "crates/truepeer/docs/library.md"
# Where a file of the repository stands in the book.
placed = {root / "docs" / f.relative_to(root / "docs"): f.relative_to(root / "docs") for f in (root / "docs").rglob("*.md")}
placed |= {root / name: pathlib.Path("project") / name for name in PROJECT}
placed[root / LIBRARY] = pathlib.Path("library.md")
# As mdBook names what it makes of them; it would leave the links to them as they are.
placed = {source: page.with_name("index.md") if page.name == "README.md" else page for source, page in placed.items()}
pictures = {file for file in (root / "docs").rglob("*") if file.suffix in (".webp", ".png", ".svg")}
problems = []


def relative(target, page):
    return os.path.relpath(target, page.parent).replace(os.sep, "/")


def lay():
    shutil.rmtree(pages, ignore_errors=True)
    # mdBook takes along what is no page.
    for picture in pictures:
        target = pages / picture.relative_to(root / "docs")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, target)
    for source, page in placed.items():
        # The page of the library is the library's own.
        if source == root / "docs/library.md":
            continue
        text = source.read_text()

        def link(found):
            target, anchor = (found[2].split("#", 1) + [""])[:2]
            if re.match(r"[a-z]+:", target) or not target or target.startswith("project/"):
                return found[0]
            file = (source.parent / target).resolve()
            if not file.exists():
                problems.append(f"{source.relative_to(root)}: {found[2]} is not there")
                return found[0]
            if file in pictures:
                return found[0]
            anchor = f"#{anchor}" if anchor else ""
            if file in placed:
                return f"{found[1]}({relative(placed[file], page)}{anchor})"
            return f"{found[1]}({REPOSITORY}{file.relative_to(root)}{anchor})"

        def named(found):
            # The summary is no page of the book.
            at = placed.get(root / found[1], pathlib.Path("SUMMARY.md"))
            return found[0] if at in (page, pathlib.Path("SUMMARY.md")) else f"[{found[0]}]({relative(at, page)})"

        # Not inside of blocks, and not where it is a link's text already.
        parts = re.split(r"(^```.*?^```$)", text, flags=re.M | re.S)
        for at in range(0, len(parts), 2):
            part = re.sub(r"(\[[^\]\n]*\])\(([^)\s]+)\)", link, parts[at])
            parts[at] = re.sub(r"(?<![\[\w])`((?:docs/|crates/)?[\w/.-]+\.md)`(?!\])", named, part)
        text = "".join(parts)
        if page.name == "SUMMARY.md":
            text = text.rstrip() + further(text)
        (pages / page).parent.mkdir(parents=True, exist_ok=True)
        (pages / page).write_text(text)


def further(summary):
    named = set(re.findall(r"\(([^)]+\.md)\)", summary))
    rest = sorted(str(page) for page in placed.values() if str(page) not in named | {"SUMMARY.md"})
    lines = []
    for page in rest:
        source = next(source for source, at in placed.items() if str(at) == page)
        print(f"docs/SUMMARY.md has no {page}: it stands under \"Further pages\"", file=sys.stderr)
        lines.append(f"- [{source.read_text().splitlines()[0].lstrip('# ')}]({page})")
    return "\n\n# Further pages\n" + "\n".join(lines) + "\n" if lines else "\n"


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.ids, self.links = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id":
                self.ids.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


def follow():
    found = {file: Page(file.read_text()) for file in book.rglob("*.html")}
    count = 0
    for file, page in found.items():
        # Every page once more in one, for printing; and what is shown for a page that is not there.
        if file.name in ("print.html", "404.html", "toc.html"):
            continue
        for link in page.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme in ("http", "https") and link.startswith(REPOSITORY):
                path = urllib.parse.unquote(link[len(REPOSITORY):].split("#")[0])
                if not (root / path).exists():
                    problems.append(f"{file.relative_to(book)}: {path} is not in the repository")
            if parts.scheme or parts.netloc:
                continue
            count += 1
            target = (file.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else file
            if not target.exists():
                problems.append(f"{file.relative_to(book)}: {link} leads nowhere")
            elif parts.fragment and target in found and urllib.parse.unquote(parts.fragment) not in found[target].ids:
                problems.append(f"{file.relative_to(book)}: {link}: no such place on that page")
    questions = found[book / "questions.html"].links
    for place in re.findall(r"\(([^)]+)\.md\)", (root / "docs/questions.md").read_text()):
        if not any(link.startswith(place.replace("README", "index")) for link in questions):
            problems.append(f"the question of {place} is lost")
    if not any(book.glob("searchindex*.js")):
        problems.append("the book has no search")
    if len(found) < len(placed):
        problems.append(f"{len(found)} pages of {len(placed)}")
    return count, len(found)


done = lay() if sys.argv[1] == "lay" else follow()
for problem in problems:
    print("FAILED:", problem)
if problems:
    sys.exit(1)
if done:
    print(f"the book: {done[1]} pages with search, {done[0]} links followed")
