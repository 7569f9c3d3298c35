"""The comparative report: what it says, that it says it honestly, and that a browser shows it well."""

import base64
import io
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zoo.errors import ZooError
from zoo.evaluation import plots, report
from zoo.evaluation.metrics import KD, METRICS
from zoo.evaluation.protocol import Protocol
from zoo.evaluation.results import Result

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

NAMES = [f"{source}__{i:02}.jpg" for source in ("fields", "streets") for i in range(6)]
CREDITS = {
    name: {
        "title": f"Photo {i}",
        "author": "A. Photographer",
        "licence": "CC0-1.0",
        "source": f"https://example.org/photos/{i}",
    }
    for i, name in enumerate(NAMES)
}
MACHINE = {"processor": "Test CPU", "threads": 2, "bf16": False, "system": "Linux"}
OF_SET = [name for name, metric in METRICS.items() if metric.of_set and name != "fid"]


def make_result(
    label: str,
    gain: float = 0.0,
    share: float = 0.0,
    *,
    seed: int = 0,
    noise: float = 0.3,
    names: list[str] = NAMES,
    credits: dict[str, dict[str, str]] = CREDITS,
    **changes: Any,
) -> Result:
    """A result whose photos gain ``gain`` dB each, give or take ``noise``; the photos are equally hard for all."""
    count = len(names)
    rng, hard = np.random.default_rng(seed), np.random.default_rng(1).uniform(0.5, 1.5, count)
    quality = gain + rng.normal(0, noise, count)
    error = np.maximum(0, (9 - quality) * hard)
    grey_psnr = 25 - 3 * hard
    true_cf = 30 + 10 * hard
    columns = {
        "gain": quality,
        "psnr": grey_psnr + quality,
        "ssim": 0.9 + quality / 100,
        "ciede2000": error,
        "chroma_error": 1.5 * error,
        "auc": 95 - error / 2,
        "cf_abs": true_cf * share / 100,
        "cf_hs03": true_cf * share / 90,
        "out_of_gamut": 0.1 * hard,
        "agreement_top1": 100.0 * (hard < 1 + quality / 10),
        "agreement_top5": 100.0 * (hard < 1.2 + quality / 10),
    }
    if label == "truth":
        columns |= {"gain": 100 - grey_psnr, "psnr": 0 * hard + 100, "ciede2000": 0 * hard, "chroma_error": 0 * hard}
    if label == "grayscale":
        columns |= {"gain": 0 * hard}
    replicates = {}
    for name in OF_SET:
        centre = {"cf_share": share, "auc_rebalanced": 70 + 4 * gain, KD: 5 - gain}.get(name, 8 - gain)
        replicates[name] = centre + rng.normal(0, 0.2, 1000)
    measured = {name: {"value": float(np.mean(v))} for name, v in columns.items()}
    for name, values in columns.items():
        spread = 2 * float(np.std(values)) / count**0.5
        measured[name]["interval"] = [measured[name]["value"] - spread, measured[name]["value"] + spread]  # type: ignore[assignment]
    for name, drawn in replicates.items():
        low, high = np.quantile(drawn, [0.025, 0.975])
        measured[name] = {"value": float(np.mean(drawn)), "interval": [float(low), float(high)]}  # type: ignore[dict-item]
    cells = np.exp(-np.abs(np.arange(-110, 110, 5) + 2.5) / (2 + 0.1 * share)) * 1e6
    model, _, style = label.partition(":")
    baseline = label in ("grayscale", "mean_ab", "truth")
    values: dict[str, Any] = {
        "label": label,
        "kind": "baseline" if baseline else "model",
        "model": model,
        "tag": None if baseline else "base",
        "options": {"style": style} if style else {},
        "benchmark": "meadow",
        "protocol": Protocol().stated(),
        "data": {"sha256": "5" * 64, "names": list(names), "left_out": {}, "credits": dict(credits)},
        "measured": {name: measured[name] for name in METRICS if name in measured},
        "not_measured": dict.fromkeys(("fid", "lpips"), "not measured (weights absent)"),
        "per_picture": {name: [float(f"{v:.6g}") for v in column] for name, column in columns.items()},
        "replicates": {name: [float(f"{v:.6g}") for v in drawn] for name, drawn in replicates.items()},
        "histogram": {"a": [int(v) for v in cells], "b": [int(v) for v in np.roll(cells, 1)]},
        "cost": {}
        if baseline
        else {
            "ms": 20.0 + 10 * seed,
            "parameters": 5_000_000 * (1 + seed),
            "gflops": 3.2,
            "file_mb": 9.9,
            "threads": 2,
            "dtype": "float32",
            "pictures_timed": 10,
            "peak_memory_mb": 450.0,
        },
        "versions": {"python": "3.11.2", "colorzoo": "0.1.0", "torch": "2.6.0"},
        "machine": MACHINE,
        "run": {"seconds": 12.5, "pictures": count, "labels": 6, "date": "2025-01-31"},
    }
    return Result(**(values | changes))


def make_results(**changes: Any) -> list[Result]:
    """Three models and the baselines: ``bold`` is a clear loser in gain, ``careful`` ties with ``best``."""
    sweep = [
        {
            "temperature": t,
            "gain": 2.1 - 3.4 * (1 - t) ** 2,
            "gain_interval": [0.0, 1.0],
            "cf_share": 60 + 45 * (1 - t),
            "cf_share_interval": [50.0, 60.0],
        }
        for t in (1.0, 0.8, 0.6, 0.38, 0.2, 0.1)
    ]
    return [
        make_result("best", 2.5, 66, seed=1, **changes),
        make_result("careful", 2.45, 58, seed=2, **changes),
        make_result("bold:vivid", 0.8, 92, seed=3, sweep=sweep, **changes),
        make_result("grayscale", 0, 0, noise=0, **changes),
        make_result("mean_ab", 0.6, 25, **changes),
        make_result("truth", 0, 100, noise=0, **changes),
    ]


def pictures(names: Sequence[str]) -> dict[str, dict[str, Image.Image]]:
    columns = ("grey", "best", "careful", "bold:vivid", "truth")
    return {n: {c: Image.new("RGB", (64, 64), (40 * i, 90, 120)) for i, c in enumerate(columns)} for n in names}


def text_of(files: Mapping[str, str | bytes], name: str) -> str:
    text = files[name]
    assert isinstance(text, str)
    return text


@pytest.fixture(scope="module")
def files() -> dict[str, str | bytes]:
    return report.render(make_results(), title="colorzoo on meadow", pictures=pictures)


@pytest.fixture(scope="module")
def page(files: dict[str, str | bytes]) -> str:
    return text_of(files, "index.html")


@pytest.fixture(scope="module")
def readme(files: dict[str, str | bytes]) -> str:
    return text_of(files, "README.md")


def row_of(markdown: str, label: str) -> list[str]:
    """The cells of the first row of a Markdown table that begins with ``label``."""
    line = next(line for line in markdown.splitlines() if line.startswith(f"| {label} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


# --- What is chosen, and what is refused ------------------------------------------------------------------------------


def with_errors(errors: Sequence[float], label: str = "best") -> Result:
    names = [f"{i:02}.jpg" for i in range(len(errors))]
    result = make_result(label, 1, 50, names=names)
    return replace(result, per_picture=result.per_picture | {"ciede2000": list(errors)})


def test_the_rule_takes_percentiles_and_ends_and_no_photo_twice() -> None:
    # Of 20 photos, 0.1 * 19 = 1.9 is nearest to the third, which is among the best; 5.7, 9.5, 13.3 are not; 17.1 is.
    chosen = report.choose([with_errors(range(20))])
    assert chosen == {
        "representative": ["06.jpg", "10.jpg", "13.jpg"],
        "best": ["00.jpg", "01.jpg", "02.jpg"],
        "worst": ["19.jpg", "18.jpg", "17.jpg"],
    }
    assert report.choose([with_errors(range(101))])["representative"] == [f"{i}.jpg" for i in (10, 30, 50, 70, 90)]


def test_the_rule_looks_at_the_mean_over_models_alone() -> None:
    results = [
        with_errors([1, 2, 9, 4], "a"),
        with_errors([9, 2, 2, 4], "b"),  # means 5, 2, 5.5, 4
        with_errors([0, 99, 0, 0], "grayscale"),
    ]
    assert report.choose(results) == {"representative": ["03.jpg", "00.jpg"], "best": ["01.jpg"], "worst": ["02.jpg"]}


@pytest.mark.parametrize("count", range(1, 13))
def test_the_rule_makes_do_with_few_photos(count: int) -> None:
    chosen = report.choose([with_errors(range(count))])
    names = [name for group in chosen.values() for name in group]
    assert names
    assert len(names) == len(set(names))


def test_the_worst_photos_of_one_result() -> None:
    assert report.worst_by(with_errors([3, 9, 1, 7]), 2) == ["01.jpg", "03.jpg"]
    assert len(report.worst_by(with_errors([1, 2]))) == 2


def test_the_source_of_a_photo_is_in_its_name() -> None:
    assert report.source_of("fields__01.jpg") == "fields"
    assert report.source_of("sub/fields__01.jpg") == "fields"
    assert report.source_of("sub/deep/01.jpg") == "sub/deep"
    assert report.source_of("01.jpg") == "all"


def test_aged_photos_are_said_to_be_aged(page: str, readme: str) -> None:
    files = report.render(make_results(protocol=Protocol(ageing="seeded").stated()), title="Old")
    for name, clean in (("index.html", page), ("README.md", readme)):
        assert "256 × 256 pixels, aged like an old print" in text_of(files, name)
        assert "aged like" not in clean


def test_different_protocols_are_refused() -> None:
    other = make_result("other", 1, 50, protocol=Protocol(size=128).stated())
    with pytest.raises(ZooError, match="must not stand in one table: the protocols differ in 'size'"):
        report.render([*make_results(), other], title="mixed")
    with pytest.raises(ZooError, match="different photos"):
        report.render([*make_results(), make_result("other", names=NAMES[:5])], title="mixed")


def test_baselines_alone_are_no_report() -> None:
    with pytest.raises(ZooError, match="needs the result of a model"):
        report.render(make_results()[3:], title="none")


def test_what_is_missing_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ZooError, match=re.escape("pip install 'colorzoo[metrics]'")):
        report.render(make_results(), title="x")
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ZooError, match=re.escape("pip install 'colorzoo[metrics]'")):
        report.render(make_results(), title="x")


def test_importing_it_does_not_import_matplotlib() -> None:
    code = "import sys, zoo.evaluation.report; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0


# --- The same text with and without pictures; pictures only where they may be shown -----------------------------------


def test_the_text_is_the_same_without_pictures(files: dict[str, str | bytes], page: str, readme: str) -> None:
    bare = report.render(make_results(), title="colorzoo on meadow")
    assert text_of(bare, "README.md") == readme
    assert text_of(bare, "index.html") != page
    assert report.stripped(text_of(bare, "index.html")) == report.stripped(page)
    assert {name for name in files if name not in bare} == {"representative.jpg", "best.jpg", "worst.jpg"}
    assert len(report.stripped(page)) < 100_000


def test_it_is_the_same_every_time(files: dict[str, str | bytes]) -> None:
    assert report.render(make_results()[::-1], title="colorzoo on meadow", pictures=pictures) == files


def test_what_markdown_shows_is_there(files: dict[str, str | bytes], readme: str) -> None:
    shown = set(re.findall(r"\]\((\S+?\.(?:svg|jpg))\)", readme))
    assert shown == {name for name in files if name.endswith((".svg", ".jpg"))}


def test_pictures_are_asked_for_by_the_rule_and_embedded(page: str) -> None:
    asked: list[str] = []

    def spy(names: Sequence[str]) -> dict[str, dict[str, Image.Image]]:
        asked.extend(names)
        return pictures(names)

    files = report.render(make_results(), title="x", pictures=spy)
    chosen = report.choose(make_results())
    assert asked == [name for group in chosen.values() for name in group]
    sheet = files["best.jpg"]
    assert isinstance(sheet, bytes)
    assert base64.b64encode(sheet).decode() in text_of(files, "index.html")
    with Image.open(io.BytesIO(sheet)) as image:
        assert image.format == "JPEG"
        assert image.width > 5 * 160


def test_without_credits_no_picture_is_even_made() -> None:
    lacking = dict(list(CREDITS.items())[1:])
    results = make_results(credits=lacking)
    assert not report.shown(results)
    assert report.shown(make_results())

    def never(names: Sequence[str]) -> dict[str, dict[str, Image.Image]]:
        pytest.fail("a photo that may not be shown was asked for")

    files = report.render(results, title="x", pictures=never)
    assert not [name for name in files if name.endswith(".jpg")]
    assert "image/jpeg" not in text_of(files, "index.html")
    for name in ("README.md", "index.html"):
        assert "Not all of these photos come with a credit" in text_of(files, name)
    own = report.render(results, title="x", pictures=pictures, show=True)  # a person's own folder
    assert "best.jpg" in own
    assert "Not all of these photos come with a credit" not in text_of(own, "README.md")
    assert "best.jpg" not in report.render(make_results(), title="x", pictures=never, show=False)


def test_credits_stand_under_the_pictures(page: str, readme: str) -> None:
    for name in report.choose(make_results())["worst"]:
        credit = CREDITS[name]
        for text in (page, readme):
            place = text.index(credit["title"] + " – ")
            assert "A. Photographer, CC0-1.0, " in text[place : place + 80]
            assert credit["source"] in text[place : place + 200]


def test_sheets_stay_small_together() -> None:
    rng = np.random.default_rng(0)
    noise = {c: Image.fromarray(rng.integers(0, 255, (192, 192, 3), np.uint8)) for c in ("grey", *"abcdefgh", "truth")}
    groups = {key: {f"{key}{i}": "caption" for i in range(3)} for key in ("best", "worst")}
    sheets = plots.sheets(groups, list("abcdefgh"), {name: noise for group in groups.values() for name in group})
    smooth = plots.sheets(
        groups, list("a"), {n: {"grey": Image.new("RGB", (9, 9))} for g in groups.values() for n in g}
    )
    assert sum(map(len, smooth.values())) < plots.MOST_SHEET_BYTES
    assert sum(map(len, sheets.values())) < 3 * plots.MOST_SHEET_BYTES  # the worst case there is: noise


# --- What the leaderboard says ----------------------------------------------------------------------------------------


def test_every_metric_and_cost_has_a_heading(page: str, readme: str) -> None:
    for metric in METRICS.values():
        assert f'<span class="title">{metric.title}</span>' in page
        assert metric.variant.split(",")[0].split("|")[0].strip() in readme.replace("\\", "")
        assert f"{metric.title} " in readme
    for title in ("time", "memory", "parameters", "GFLOPs", "file"):
        assert f'<span class="title">{title}</span>' in page


def test_the_best_is_bold_a_tie_is_marked_and_a_loser_is_not(readme: str) -> None:
    best, careful, bold = (row_of(readme, label) for label in ("best", "careful", "bold:vivid"))
    assert best[1].startswith("**2.57**<br><sub>")
    assert careful[1].startswith("2.46 ≈<br>")
    assert bold[1].startswith("0.77<br>")  # neither
    assert not any(
        "**" in cells[5] or "≈" in cells[5] for cells in (best, careful, bold)
    )  # colorfulness has no better end
    assert "**" not in row_of(readme, "*truth*")[2]  # baselines are not in the race


def test_the_page_says_the_same(page: str) -> None:
    def cell(label: str) -> str:
        start = page.index(f"</i><span>{label}</span></span></th>")
        return page[start : page.index("</td>", start)]

    assert "<strong>2.57</strong>" in cell("best")
    assert "≈" in cell("careful")
    assert "≈" not in cell("bold:<wbr>vivid")
    assert "<strong>" not in cell("bold:<wbr>vivid")


def test_differences_are_marked_where_they_are_real(page: str, readme: str) -> None:
    table = readme[readme.index("## Which differences are real") :]
    assert row_of(table, "best")[1] == "–"
    assert row_of(table, "best")[2].startswith("≈ +0.11<br>")
    assert row_of(table, "best")[3].startswith("**+1.80**<br>")
    assert row_of(table, "bold:vivid")[1].startswith("**−1.80**<br>")
    start = page.index('aria-label="Differences in CIEDE2000"')
    matrix = page[start : page.index("</table>", start)]
    row = matrix[matrix.index("</i><span>best</span>") :]
    assert row.index('class="better"') < row.index("−1.93")  # lower is better: minus favours the row


def test_a_baseline_that_is_not_beaten_is_named() -> None:
    results = make_results()
    grey = make_result("grayscale", 0, 0, noise=0)
    better = [min(v, 100) for v in np.array(grey.per_picture["agreement_top1"]) + 100]
    measured = grey.measured | {"agreement_top1": {"value": 100.0, "interval": [100.0, 100.0]}}
    results[3] = replace(grey, measured=measured, per_picture=grey.per_picture | {"agreement_top1": better})
    readme = text_of(report.render(results, title="x"), "README.md")
    line = next(line for line in readme.splitlines() if line.startswith("- Most often taken for"))
    assert "grayscale" in line


def test_what_is_not_measured_says_why(page: str, readme: str) -> None:
    assert "FID, LPIPS: not measured (weights absent)." in readme
    assert "FID, LPIPS: not measured (weights absent)." in page
    assert "not measured<sup>1</sup>" in page


def test_times_of_another_machine_are_never_silently_compared() -> None:
    results = make_results()
    results[1] = replace(results[1], machine=MACHINE | {"processor": "Faster CPU"})
    files = report.render(results, title="x")
    for name in ("README.md", "index.html"):
        text = text_of(files, name)
        assert "time, memory: on another machine, not to be compared: Faster CPU" in text
    assert row_of(text_of(files, "README.md"), "careful")[8] == "40<sup>2</sup>"
    assert row_of(text_of(files, "README.md"), "best")[8] == "30"


def test_few_photos_are_warned_of(readme: str) -> None:
    assert "**These are few photos.**" in readme
    many = [f"{i}.jpg" for i in range(40)]
    text = text_of(report.render([make_result("one", 1, 50, names=many, credits={})], title="x"), "README.md")
    assert "few photos" not in text
    assert "## Which differences" not in text  # one model has none
    assert "## By source" not in text  # nor has one source


def test_sources_are_compared_by_their_own_photos(readme: str) -> None:
    table = readme[readme.index("## By source of the photos") :]
    gains = np.array(make_results()[0].per_picture["gain"])
    assert row_of(table, "fields")[1] == "6"
    assert row_of(table, "fields")[2].startswith(f"{gains[:6].mean():.2f}<br>")
    assert row_of(table, "streets")[2].startswith(f"{gains[6:].mean():.2f}<br>")
    share = table[table.index("Colorfulness, %") :]
    assert row_of(share, "streets")[4] == "92"


def test_protocol_and_inputs_are_all_there(page: str, readme: str) -> None:
    results = make_results()
    for text in (page, readme):
        assert "5" * 64 in text
        assert "torch 2.6.0" in text
        assert "1000 replicates over pictures, seed 0" in text
        for result in results:
            assert result.digest[:12] in text
        assert "bold.base+vivid.json" in text


@pytest.mark.parametrize(
    ("value", "decimals", "sign", "text"),
    [
        (1.234, 2, "", "1.23"),
        (-0.5, 1, "", "−0.5"),
        (-0.001, 2, "+", "0.00"),
        (0.2, 1, "+", "+0.2"),
        (63.4, 0, "", "63"),
    ],
)
def test_numbers(value: float, decimals: int, sign: str, text: str) -> None:
    assert report.number(value, decimals, sign) == text


# --- Published figures ------------------------------------------------------------------------------------------------


def test_published_figures_are_marked_and_stand_apart(page: str, readme: str) -> None:
    for text, heading in ((readme, "## As published, other protocol"), (page, ">As published, other protocol</h2>")):
        before, after = text.split(heading)
        assert "DDColor-large" not in before
        assert "DDColor-large" in after
        assert "Not to be compared" in after
        assert "https://arxiv.org/abs/2212.11613" in after
    leaderboard = page[page.index('id="figures"') : page.index("</table>")]
    assert "DDColor-large" not in leaderboard


@pytest.mark.parametrize(
    ("dataset", "truth"),
    [("ImageNet val5k", 38.21), ("ImageNet val50k", 39.09), ("COCO-Stuff", 38.24), ("ADE20K", 35.04)],
)
def test_published_figures_agree_on_the_colorfulness_of_the_truth(dataset: str, truth: float) -> None:
    path = Path(report.__file__).with_name("published.toml")
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    (rows,) = [d["rows"] for d in table["dataset"] if d["name"] == dataset]
    assert len(rows) >= 7
    for method, parameters, fid, cf, delta, psnr in rows:
        assert min(abs(cf + delta - truth), abs(cf - delta - truth)) < 0.011, method
        assert 30 < parameters < 500
        assert 0.5 < fid < 30
        assert 20 < psnr < 25


# --- Self-contained, and unmoved by hostile names ---------------------------------------------------------------------


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    text = report.stripped(page)
    assert set(re.findall(r"\bsrc=\"([^\"]*)\"", text)) == {"data:image/svg+xml;base64,", "data:image/jpeg;base64,"}
    links = set(re.findall(r"\bhref=\"([^\"]*)\"", text))
    known = {"https://arxiv.org/abs/2212.11613", "https://github.com/piddnad/DDColor/issues/9"}
    assert {link for link in links if not link.startswith("#")} <= known | {c["source"] for c in CREDITS.values()}
    assert not re.search(r"<link|@import|url\(|<iframe|<object|<embed|srcset|fetch\(|XMLHttp", text)
    assert "default-src 'none'" in text
    for match in re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", page):
        svg = base64.b64decode(match).decode()
        assert not re.search(r"(?:href|src)=\"(?!#|data:)", svg)
        assert "<script" not in svg


HOSTILE = "a|b`<script>alert(1)</script>[x](https://evil.example)*_\n# \"'& \u202e $x$ <b>__1.jpg"


def test_hostile_names_are_shown_and_do_nothing() -> None:
    names = [HOSTILE, *NAMES[1:]]
    credits = {name: dict(CREDITS.get(name, CREDITS[NAMES[0]])) for name in names}
    credits[HOSTILE] = dict.fromkeys(("title", "author", "licence"), HOSTILE) | {"source": 'javascript:alert("1")'}
    results = make_results(names=names, credits=credits)
    for i, result in enumerate(results):
        data = result.data | {"left_out": {HOSTILE + "2": HOSTILE}}
        hard = [99.0, *result.per_picture["ciede2000"][1:]]
        results[i] = replace(result, data=data, per_picture=result.per_picture | {"ciede2000": hard})
    assert report.choose(results)["worst"][0] == HOSTILE
    files = report.render(results, title=f"photos of {HOSTILE}", pictures=pictures)
    page, readme = text_of(files, "index.html"), text_of(files, "README.md")
    page.encode(), readme.encode()
    assert page.count("<script>") == 1  # the page's own
    assert "<script>alert" not in page
    assert "\u202e" not in page + readme
    assert not re.search(r"href=\"(?:javascript|https://evil)", page)

    markdown_it = pytest.importorskip("markdown_it")
    html = markdown_it.MarkdownIt("commonmark", {"html": True}).enable("table").render(readme)
    assert "<script" not in html
    assert "evil.example" in html
    assert not re.search(r"href=\"(?:javascript|https://evil)", html)
    assert html.count("<h1>") == 1
    plain = re.sub(r"<[^>]+>", "", html)
    assert "a|b`&lt;script&gt;alert(1)&lt;/script&gt;[x](https://evil.example)*_ # " in plain
    rows = [line for line in readme.splitlines() if line.startswith("| a\\|b")]
    assert rows
    for row in rows:  # a pipe in a name makes no cell
        assert len(re.findall(r"(?<!\\)\|", row)) in (3, 6, 7)


def test_labels_are_no_formulas_and_may_lack_glyphs() -> None:
    results = [make_result("$\\frac{$", 1, 50), make_result("色", 2, 60), *make_results()[3:]]
    assert {"trade-off.svg", "distributions.svg", "histograms.svg"} == set(plots.plots(results))


def test_colors_are_the_same_everywhere_and_come_round() -> None:
    many = [make_result(f"m{i}", i / 10, 50) for i in range(9)]
    palette = plots.colors(many)
    assert list(palette) == [r.label for r in many]
    assert len(set(palette.values())) == len(plots.PALETTE)
    page = text_of(report.render(many, title="x"), "index.html")
    assert all(f"background:{color}" in page for color in palette.values())


def test_temperatures_are_drawn_where_there_are_some(files: dict[str, str | bytes]) -> None:
    assert "temperatures.svg" in files
    assert "temperatures.svg" not in plots.plots([make_result("one", 1, 50)])


def test_names_are_cleaned_of_what_cannot_be_printed() -> None:
    assert report.plain("a\nb\x00c\u202ed\ud800é") == "a b c d?é"


# --- In a browser -----------------------------------------------------------------------------------------------------


def test_a_browser_sorts_it_and_a_phone_shows_it(page: str, tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api")
    path = tmp_path / "index.html"
    path.write_text(page, encoding="utf-8")
    off = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--no-first-run", *off]
        )
        view = browser.new_page(viewport={"width": 390, "height": 844})
        requests: list[str] = []
        errors: list[str] = []
        view.on("request", lambda request: requests.append(request.url))
        view.on("pageerror", lambda error: errors.append(str(error)))
        view.on("console", lambda message: errors.append(message.text))
        view.goto(path.as_uri())

        def order() -> list[str]:
            labels: list[str] = view.locator("#figures tbody").first.locator("th").all_inner_texts()
            return labels

        def sort_by(title: str) -> str:
            head = view.locator("#figures thead th").filter(has=view.get_by_text(title, exact=True))
            head.get_by_role("button").press("Enter")
            direction: str = head.get_attribute("aria-sort")
            return direction

        baselines = view.locator("#figures tbody.baselines th").all_inner_texts()
        assert order() == ["best", "careful", "bold:vivid"]
        assert sort_by("gain over grey") == "ascending"
        assert order() == ["bold:vivid", "careful", "best"]
        assert sort_by("CIEDE2000") == "ascending"  # its best first
        assert order() == ["best", "careful", "bold:vivid"]
        assert sort_by("colorfulness / truth") == "descending"
        assert order() == ["bold:vivid", "best", "careful"]
        assert sort_by("model") == "ascending"
        assert order() == ["best", "bold:vivid", "careful"]
        assert view.locator("#figures th[aria-sort]").count() == 1
        assert view.locator("#figures tbody.baselines th").all_inner_texts() == baselines

        hidden = view.locator("#figures thead th").filter(has=view.get_by_text("SSIM", exact=True))
        assert not hidden.is_visible()
        view.get_by_text("Show all").click()
        assert hidden.is_visible()
        sort_by("FID")  # of which none was measured: the order stays
        assert order() == ["best", "bold:vivid", "careful"]

        assert view.evaluate("document.documentElement.scrollWidth") <= 390
        sizes = view.locator("main img").evaluate_all("images => images.map(i => [i.alt.length, i.naturalWidth])")
        assert len(sizes) == 7
        assert all(alt and width for alt, width in sizes)
        view.locator(".enlarge").last.click()
        assert view.locator("dialog img").is_visible()
        view.keyboard.press("Escape")
        assert not view.locator("dialog img").is_visible()
        assert [r for r in requests if not r.startswith(("file:", "data:"))] == []
        assert errors == []
        browser.close()
