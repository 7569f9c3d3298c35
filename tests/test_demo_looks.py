"""The app's looks in a real browser: what is written can be read, and who has no mouse sees where they are."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from visiting import launched, offered, running, visited

# Contrasts of colors as WCAG 2 defines them, of one element with what is painted below it.
CONTRAST = """
const brush = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const rgba = color => {
  brush.clearRect(0, 0, 1, 1);
  brush.fillStyle = color;
  brush.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = brush.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
};
const over = (top, below) => below.map((value, i) => top[i] * top[3] + value * (1 - top[3]));
const above = element => element ? [...above(element.parentElement), element] : [];
const ground = element => above(element).reduce(
  (below, each) => over(rgba(getComputedStyle(each).backgroundColor), below), [255, 255, 255]);
const luminance = color => {
  const [r, g, b] = color.map(v => v / 255 <= .03928 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4);
  return .2126 * r + .7152 * g + .0722 * b;
};
const contrast = (color, below) => {
  const [dark, light] = [luminance(over(color, below)), luminance(below)].sort((a, b) => a - b);
  return (light + .05) / (dark + .05);
};
const ink = element => {
  const color = rgba(getComputedStyle(element).color);
  for (const each of above(element)) {
    const dimmed = getComputedStyle(each).filter.match(/^brightness\\(([\\d.]+)\\)$/);
    if (dimmed) [0, 1, 2].forEach(i => color[i] *= dimmed[1]);
    color[3] *= getComputedStyle(each).opacity;
  }
  return color;
};
"""
FAINT = f"""() => {{
  {CONTRAST}
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  let seen = 0;
  while (texts.nextNode()) {{
    const words = texts.currentNode.data.trim(), element = texts.currentNode.parentElement;
    if (!words || !element.checkVisibility({{visibilityProperty: true, opacityProperty: true}})) continue;
    if (element.closest('script, style, noscript, :disabled')) continue;
    seen++;
    const reached = contrast(ink(element), ground(element));
    if (reached < 4.5) found.push(`${{reached.toFixed(2)}}: ${{words.slice(0, 40)}}`);
  }}
  return [seen, [...new Set(found)]];
}}"""
FOCUSED = f"""() => {{
  {CONTRAST}
  const element = document.activeElement, box = element.getBoundingClientRect();
  if (element === document.body) return null;
  const ring = rgba(getComputedStyle(element).outlineColor);
  return {{
    name: element.ariaLabel || element.innerText || element.labels?.[0]?.innerText,
    box: [box.x, box.y, box.width, box.height],
    contrast: contrast(ring, ground(element.parentElement)),
  }};
}}"""
AT_ONCE = "* {transition: none !important; animation: none !important; caret-color: transparent !important}"


@pytest.fixture(scope="module", autouse=True)
def _models() -> Iterator[None]:
    with offered():
        yield


@pytest.fixture(scope="module")
def url(tmp_path_factory: Any) -> Iterator[str]:
    with launched(tmp_path_factory) as address:
        yield address


def _all_readable(page: Any, at_least: int) -> None:
    seen, faint = page.evaluate(FAINT)
    assert seen >= at_least
    assert faint == []


@running
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_is_written_can_be_read(url: str, theme: str) -> None:
    with visited(url, 1280, theme) as (page, expect):
        page.add_style_tag(content=AT_ONCE)
        expect(page.locator("#models input:checked")).to_have_count(1)
        _all_readable(page, 20)
        page.locator("#models label").nth(1).hover()
        _all_readable(page, 20)
        page.locator("#colorize").hover()
        _all_readable(page, 20)
        page.locator("#colorize").click()
        page.get_by_text("Upload a photo or click").wait_for()
        expect(page.locator(".toast-body")).to_have_css("opacity", "1")  # it is faded in
        _all_readable(page, 20)
        page.get_by_role("tab", name="Touch up").click()
        page.locator("#touch-drop").wait_for()
        _all_readable(page, 20)
        page.locator("#touch-model input").click()
        page.get_by_role("option", name="tint · cool").click()
        page.locator("#touch-examples .gallery-item").first.click()
        page.locator("#editor .touch").wait_for()
        page.locator("#editor .likely").wait_for(state="hidden")
        _all_readable(page, 40)
        page.get_by_role("tab", name="Videos").click()
        page.locator("#colorize-film").wait_for()
        _all_readable(page, 20)
        page.get_by_role("tab", name="Reports").click()
        page.locator("#pages input").first.check()
        page.locator("#published .card h1").wait_for()
        _all_readable(page, 50)
        page.get_by_role("tab", name="Code").click()
        expect(page.locator(".cm-content")).to_have_count(3)
        page.get_by_text("/colorize").first.wait_for()
        page.locator(".snippet .cm-line > span").nth(20).wait_for()
        _all_readable(page, 60)


@running
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_who_has_no_mouse_sees_where_they_are(url: str, theme: str) -> None:
    with visited(url, 1280, theme) as (page, _):
        page.set_viewport_size({"width": 1280, "height": 1400})  # that nothing scrolls
        page.add_style_tag(content=AT_ONCE)
        page.wait_for_function(
            "() => [...document.querySelectorAll('#examples img')].filter(image => image.naturalWidth).length == 10"
        )
        before = _pixels(page)
        reached = []
        while True:
            page.keyboard.press("Tab")
            focused = page.evaluate(FOCUSED)
            if focused is None:
                break
            x, y, width, height = map(round, focused["box"])
            around = np.s_[max(0, y - 5) : y + height + 5, max(0, x - 5) : x + width + 5]
            changed = (np.abs(_pixels(page)[around] - before[around]).max(-1) > 40).sum()
            assert changed > 2 * (width + height), focused["name"]
            assert focused["contrast"] >= 3, focused["name"]
            reached.append(focused["name"])
        assert len(reached) > 20
        assert any("slider for Saturation" in name for name in reached)


@running
def test_the_parts_of_the_page_have_headings(url: str) -> None:
    with visited(url, 1280) as (page, expect):
        expect(page.get_by_role("heading", level=1)).to_have_text(["colorzoo"])
        expect(page.get_by_role("heading", level=2, name="Results")).to_be_visible()
        page.get_by_role("tab", name="Reports").click()
        expect(page.get_by_role("heading", level=2, name="How good are the models?")).to_be_visible()
        page.get_by_role("tab", name="Code").click()
        expect(page.get_by_role("heading", level=2, name="Endpoints")).to_be_visible()


def _pixels(page: Any) -> Any:
    return np.asarray(Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB"), int)
