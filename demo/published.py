"""The committed reports and model cards, as pages of the app: what there is, and the HTML of one of them."""

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from urllib.parse import quote, unquote

from gradio.route_utils import API_PREFIX
from markdown_it import MarkdownIt
from markdown_it.token import Token

CARDS = Path(__file__).parents[1] / "model_cards"  # an installation without it has nothing to browse
SERVED = ("reports", "results")  # folders in it whose files may be asked for by their path

_HEAD = 20_000  # characters of a report, in which its heading stands
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_TITLE, _LEAD = re.compile(r"<h1>(.*?)</h1>", re.DOTALL), re.compile(r'<p class="lead">(.*?)</p>', re.DOTALL)
_AGED = re.compile(r", aged [^(,.]*\b")
_MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")  # the cards' own HTML: line breaks, small figures


@dataclass(frozen=True)
class Page:
    """Something to read.

    Attributes:
        title: Its heading.
        about: In a sentence, what is in it.
        path: Its file.
    """

    title: str
    about: str
    path: Path


def pages() -> dict[str, Page]:
    """What there is to read, by its path in the folder of cards: the leaderboard, the reports, the model cards."""
    return _pages(CARDS)


def served() -> list[str]:
    """The folders whose files the app may send as they are: the reports, and the figures that they were made of."""
    return [str(CARDS / name) for name in SERVED if (CARDS / name).is_dir()]


def view(key: str) -> str:
    """A page as HTML, nothing if there is none; what follows a number sign in ``key`` is where in it to begin."""
    name, _, at = key.partition("#")
    page = pages().get(name)
    if page is None:
        return ""
    if page.path.suffix == ".md":
        return f'<article class="card" data-at="{html.escape(_anchor(at)) if at else ""}">{_body(page.path)}</article>'
    return framed(page.path, page.title, new_tab=True)


def framed(path: Path | str, title: str, *, new_tab: bool = False) -> str:
    """A report of the evaluator in a frame, which can do nothing to the page around it; `OPEN_FRAME` fills it.

    Args:
        path: Its file, which the app serves.
        title: What a screen reader calls it.
        new_tab: Whether there is a link that opens it by itself.
    """
    address = html.escape(_address(Path(path)))
    link = f'<p class="by-itself"><a href="{address}" target="_blank">Open in a new tab</a></p>' if new_tab else ""
    return (
        f'{link}<div class="report"><iframe title="{html.escape(title)}" data-report="{address}" '
        'sandbox="allow-scripts allow-popups allow-popups-to-escape-sandbox"></iframe>'
        '<p class="opening" role="status">Opening the report…</p></div>'
    )


# Of a `gr.HTML`: fills a frame once it is there, and tells of links from one page to another. A report is fetched and
# handed over as text, since Gradio sends the files of visitors for download only. It is made as dark as the page, its
# links to elsewhere open a new tab, and those within it, which browsers do not follow in such a frame, are followed.
OPEN_FRAME = r"""
const inside = `<script>
addEventListener('click', event => {
  const link = event.target.closest('a[href^="#"]');
  if (!link) return;
  event.preventDefault();
  document.getElementById(link.hash.slice(1))?.scrollIntoView();
});
<\/script>`;
const go = target => {
  target.tabIndex = -1;
  target.focus({preventScroll: true});
  target.scrollIntoView();
};
const open = async () => {
  const frame = element.querySelector('iframe[data-report]'), note = element.querySelector('.opening');
  if (element.followed) go(document.getElementById(element.querySelector('.card')?.dataset.at) ?? element);
  element.followed = false;
  if (!frame || frame.srcdoc) return;
  const dark = document.body.classList.contains('dark');
  try {
    const answer = await fetch(frame.dataset.report);
    if (!answer.ok) throw new Error(answer.status);
    const text = (await answer.text())
      .replaceAll('<a href="http', '<a target="_blank" href="http')
      .replaceAll('@media (prefers-color-scheme: dark)', dark ? '@media all' : '@media not all')
      .replace('content="light dark"', dark ? 'content="dark"' : 'content="light"');
    frame.onload = () => note.remove();
    frame.srcdoc = text + inside;
  } catch {
    note.textContent = 'The report could not be opened. It may have been deleted meanwhile: make it again.';
    frame.remove();
  }
};
watch('value', open);
open();
element.addEventListener('click', event => {
  const link = event.target.closest('a[href^="#"]');
  if (!link) return;
  event.preventDefault();
  const target = document.getElementById(decodeURIComponent(link.hash.slice(1)));
  element.followed = 'open' in link.dataset;
  if (element.followed) trigger('click', {key: link.dataset.open});
  else if (target) go(target);
});
"""


@cache
def _pages(folder: Path) -> dict[str, Page]:
    reports = {path: _report(path) for path in sorted(folder.glob("reports/*/index.html"))}
    texts = {path: _text(path) for path in sorted(folder.glob("reports/*/README.md")) if not _has_report(path.parent)}
    cards = {path: _text(path) for path in sorted(folder.glob("*.md"))}
    leaderboard = cards.pop(folder / "README.md", None)
    if leaderboard is not None:
        names = ", ".join(path.parent.name for path in reports)
        leaderboard = replace(leaderboard, about=f"All figures in tables: {names}" if names else "")
    found = [*filter(None, [leaderboard]), *reports.values(), *texts.values(), *cards.values()]
    return {page.path.relative_to(folder).as_posix(): page for page in found}


def _address(path: Path) -> str:
    """Where the app serves a file, from its own page."""
    return f"{API_PREFIX.lstrip('/')}/file={quote(path.as_posix())}"


def _report(path: Path) -> Page:
    with path.open(encoding="utf-8") as file:
        head = file.read(_HEAD)
    title, lead = (_plain(found[1]) if (found := pattern.search(head)) else "" for pattern in (_TITLE, _LEAD))
    aged = _AGED.search(lead)
    about = lead.partition(":")[0].partition(". ")[0] + (aged[0] if aged else "")
    return Page(title or path.parent.name, about, path)


def _has_report(folder: Path) -> bool:
    return (folder / "index.html").is_file()


def _text(path: Path) -> Page:
    """The title is the first heading, what it is about the first sentence outside a quotation."""
    tokens = _tokens(path)
    texts = [(tokens[i - 1], token.children or []) for i, token in enumerate(tokens) if token.type == "inline"]
    title = next((_words(text) for above, text in texts if above.tag == "h1"), path.stem)
    summary = next((_words(text) for above, text in texts if above.tag == "p" and above.level == 0), "")
    kind = "Model card. " if "." in path.stem else ""  # of weights: their model and tag
    return Page(title, f"{kind}{summary.partition('. ')[0].removesuffix('.')}", path)


def _plain(text: str) -> str:
    return html.unescape(_TAG.sub("", text)).strip()


def _words(tokens: Sequence[Token]) -> str:
    return "".join(" " if token.type == "softbreak" else token.content for token in tokens)


def _tokens(path: Path) -> list[Token]:
    text = _FRONT_MATTER.sub("", path.read_text(encoding="utf-8").replace("\r\n", "\n"))
    return [token for token in _MARKDOWN.parse(text) if not token.content.startswith("<!--")]


def _body(path: Path) -> str:
    """A card as HTML: wide tables scroll by themselves, and no link leads to where nothing is."""
    tokens = _tokens(path)
    for i, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrs["id"] = _anchor(_slug(_words(tokens[i + 1].children or [])))
        elif token.children:
            token.children = list(_linked(token.children, path.parent))
    rendered: str = _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})
    scroll = '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>'
    return rendered.replace("<table>", scroll).replace("</table>", "</table></div>")


def _linked(tokens: Sequence[Token], folder: Path) -> Iterator[Token]:
    """The tokens with their links as they work in the app; those that would not work lose the link, not the text."""
    kept: list[bool] = []  # of the links around a token
    for token in tokens:
        if token.type == "link_open":
            attributes = _link(str(token.attrs["href"]), folder)
            kept.append(bool(attributes))
            token.attrs = {**attributes}
        if token.type == "image":
            path = folder / unquote(str(token.attrs["src"]))
            if not _is_served(path):
                continue
            token.attrs |= {"src": _address(path), "loading": "lazy"}
        if token.type not in ("link_open", "link_close") or kept[-1]:
            yield token
        if token.type == "link_close":
            kept.pop()


def _link(href: str, folder: Path) -> dict[str, str]:
    """Attributes of a link: to elsewhere in the card, another page of the app, a file that it serves, or the web."""
    if re.match(r"https?://", href):
        return {"href": href, "target": "_blank", "rel": "noreferrer"}
    name, _, at = unquote(href).partition("#")
    if not name:
        return {"href": f"#{_anchor(at)}"}
    report = re.fullmatch(r"(reports/[^/]+/)README\.md", name)
    key = f"{report[1]}index.html" if report and _has_report(CARDS / report[1]) else name
    if key in pages():
        return {"href": "#published", "data-open": f"{key}#{at}" if at else key}
    path = folder / name
    return {"href": _address(path), "target": "_blank"} if _is_served(path) else {}


def _is_served(path: Path) -> bool:
    real = path.resolve()
    return real.is_file() and any(real.is_relative_to(Path(folder).resolve()) for folder in served())


def _slug(heading: str) -> str:
    """The heading's address, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def _anchor(slug: str) -> str:
    return f"card-{slug}"
