"""The part of the tab for clips where a visitor tells of the colors: strokes on frames, a variant, a reference."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from demo import films, frames, guides, limits, models, parts, photos, touch_tab, touches, touching
from demo.guides import Guide, Moments, Painted
from demo.photos import Settings
from demo.refusals import in_short, refusal
from demo.touch_tab import TouchTab
from demo.touches import Touches
from demo.touching import Sitting
from zoo.reference import MODES

NO_CLIP = "Upload a clip or click one of the examples first."
OTHER_CLIP = "The tab Videos has another clip now. Press Touch up this frame there again."
_OWN = "The model's own"
_MODES = list(zip(("Like places take like colors", "Its colors as a whole"), MODES, strict=True))
# The player knows the moment best.
_MOMENT = """(clip, at, ...rest) => {
  const film = document.querySelector('#clip video');
  film?.pause();
  return [clip, film ? film.currentTime : at, ...rest];
}"""
_SEEK = """at => {
  const film = document.querySelector('#clip video');
  film?.pause();
  if (film) film.currentTime = at;
}"""
_LIST = """
const make = (tag, textContent, more = {}) => Object.assign(document.createElement(tag), {textContent, ...more});
const draw = () => {
  const rows = (props.value || []).map(({at, words}) => {
    const row = make('li', '');
    const button = (text, event) => make('button', text,
      {type: 'button', ariaLabel: `${text}: ${words}`, onclick: () => trigger(event, {at})});
    row.append(make('span', words), button('Change', 'edit'), button('Remove', 'delete'));
    return row;
  });
  const list = make('ul', '');
  list.append(...rows);
  element.replaceChildren(...(rows.length ? [list] : []));
};
watch('value', draw);
draw();
"""
CSS = """
#painted ul {list-style: none; margin: 0; padding: 0; display: grid; gap: 6px}
#painted li {display: flex; flex-wrap: wrap; gap: 8px; align-items: center; margin: 0}
#painted li span {flex: 1; font-variant-numeric: tabular-nums}
#painted button {font: inherit; font-size: var(--text-sm); padding: 4px 10px; min-height: 34px; cursor: pointer;
  color: var(--body-text-color); background: var(--button-secondary-background-fill);
  border: 1px solid var(--border-color-primary); border-radius: 6px}
#editor .touch .film button {background: var(--primary-600); border-color: var(--primary-600); color: #fff}
#painted button:hover {border-color: var(--color-accent)}
"""


class Choice(NamedTuple):
    """What is chosen for a clip: a variant of a seed, a reference and how it is used; see `guides.Guide`."""

    variant: gr.Dropdown
    seed: gr.Number
    reference: gr.Image
    mode: gr.Dropdown

    def read(self, variant: int, seed: float | None, reference: str | None, mode: str) -> Touches:
        """What these parts of the page say, of whatever frame.

        Raises:
            gr.Error: They do not say it; in words for the visitor.
        """
        with in_short(""):
            chosen = {"number": variant - 1, "seed": photos.whole(seed) or 0} if variant else None
            return touches.read({"variant": chosen, "reference": reference or None, "mode": mode})

    def guide(self, moments: Moments, clip: str | None, *told: Any) -> Guide:
        """All that is told of a clip."""
        read = self.read(*told)
        painted = moments if moments.clip == clip else Moments()
        return Guide.of(painted, read.variant, read.reference, read.mode)


class Picker(NamedTuple):
    """Where a frame is picked, and what was painted on others.

    Attributes:
        box: All of it; seen when there is a clip.
        at: The moment.
        open: The button.
        listed: What was painted.
        moments: The same, as `guides.Moments`.
    """

    box: gr.Column
    at: gr.Slider
    open: gr.Button
    listed: gr.HTML
    moments: gr.State


def add_picker() -> Picker:
    """Its parts, below the clip."""
    with gr.Column(visible=False, elem_id="picker") as box:
        at = gr.Slider(
            0,
            limits.CLIP_SECONDS,
            value=0,
            step=0.01,
            label="Moment, in seconds",
            info="Paint a frame: its colors follow what moves, up to the next cut",
            elem_id="moment",
        )
        button = gr.Button("Touch up this frame", elem_id="touch-frame")
        listed = gr.HTML([], html_template="", js_on_load=_LIST, padding=False, elem_id="painted")
    return Picker(box, at, button, listed, gr.State(Moments()))


def add_choice() -> Choice:
    """Its parts, below the models."""
    with gr.Accordion("Choose the colors", open=False, elem_id="guide"):
        with gr.Row():
            offered = [(_OWN, 0), *((f"Variant {n}", n) for n in range(1, guides.VARIANTS + 1))]
            variant = gr.Dropdown(offered, value=0, label="Coloring", info="Other plausible colors", min_width=150)
            seed = gr.Number(
                0, precision=0, minimum=0, label="Seed", info="Another gives other variants", min_width=150
            )
        reference = parts.as_uploaded(
            gr.Image(
                label="Take colors from a picture",
                type="filepath",
                format="png",
                sources=["upload"],
                height=150,
                buttons=[],
                elem_id="film-reference",
            )
        )
        mode = gr.Dropdown(_MODES, value=MODES[0], label="How its colors are taken, in every scene")
    return Choice(variant, seed, reference, mode)


def wire(picker: Picker, choice: Choice, clip: gr.Video, job: parts.Job, tabs: gr.Tabs, touch: TouchTab) -> None:
    """Let them do what they say.

    Args:
        picker: Where a frame is picked.
        choice: What else is told.
        clip: Of the visitor.
        job: The models, of which the first that is ticked colors a frame, and the saturation.
        tabs: Of which ``touch`` and ``videos`` are two.
        touch: Where frames are painted.
    """

    def reset(path: str | None, moments: Moments) -> dict[Any, Any]:
        """Another clip: what was painted on the one before goes."""
        with in_short(path or ""):
            seconds = frames.length(Path(path)) if path else limits.CLIP_SECONDS
        kept = moments if moments.clip == (path or "") else Moments(path or "")
        return {
            picker.box: gr.update(visible=path is not None),
            picker.at: gr.skip() if kept is moments else gr.update(value=0, maximum=round(seconds, 2)),
            picker.moments: kept,
            picker.listed: _listed(kept),
        }

    def open_frame(
        path: str | None,
        at: float,
        chosen: list[str],
        factor: float,
        moments: Moments,
        before: Sitting | None,
        variant: int,
        seed: float | None,
        reference: str | None,
        mode: str,
        request: gr.Request,
    ) -> dict[Any, Any]:
        if not path:
            raise refusal(NO_CLIP)
        name = next((name for name in models.choices() if name in chosen), models.default_choices()[0])
        with tempfile.TemporaryDirectory() as folder:
            with films.clip_in_short(path, folder):
                frame = frames.shown(Path(path), at)
            picture = Path(folder) / guides.frame_name(path, frame.seconds)
            frame.picture.save(picture)
            kept = str(touch.page.editor.move_resource_to_block_cache(str(picture)))
        told = choice.read(variant, seed, reference, mode)
        told = told._replace(strokes=moments.strokes(frame.seconds) if moments.clip == path else ())
        changes = touch.open(kept, name, Settings(factor), before, request, told, (path, frame.seconds))
        settings = dict(zip(touch.settings, (name, factor, 0, 1), strict=True))
        return {**changes, **settings, tabs: gr.Tabs(selected="touch")}

    def change(
        path: str | None,
        _at: float,
        chosen: list[str],
        factor: float,
        moments: Moments,
        before: Sitting | None,
        variant: int,
        seed: float | None,
        reference: str | None,
        mode: str,
        event: gr.EventData,
        request: gr.Request,
    ) -> dict[Any, Any]:
        """As the button, at the moment of one of those that are listed."""
        at = float(parts.told(event, "at"))
        return open_frame(path, at, chosen, factor, moments, before, variant, seed, reference, mode, request)

    def remove(moments: Moments, event: gr.EventData) -> tuple[Moments, Any]:
        left = moments.painted_on(float(parts.told(event, "at")), Painted((0, 0), ()))
        return left, _listed(left)

    def take(sitting: Sitting | None, path: str | None, moments: Moments, event: gr.EventData) -> dict[Any, Any]:
        """What was told of a frame in the tab Touch up."""
        opened, told = touch_tab.told_of(sitting, event)
        if opened.frame is None or opened.frame[0] != path or moments.clip != path:
            raise refusal(OTHER_CLIP)
        painted = moments.painted_on(opened.frame[1], Painted(opened.size, told.strokes))
        number, seed = told.variant or (-1, 0)
        reference = opened.references.get(told.reference or "")
        return {
            picker.moments: painted,
            picker.listed: _listed(painted),
            choice.variant: number + 1,
            choice.seed: seed,
            choice.reference: reference,
            choice.mode: told.mode,
            tabs: gr.Tabs(selected="videos"),
        }

    def check(path: str | None) -> Iterator[str | None]:
        """A reference as the page shows it; none where it cannot be used."""
        for shown in photos.prepare([path] if path else []):
            try:
                for each in shown:
                    with in_short(each):
                        touching.read_reference(each)
            except gr.Error as error:
                gr.Warning(error.message)
                shown = []
            yield shown[0] if shown else None

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    heavy: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model", "api_visibility": "private"}
    light: dict[str, Any] = {"concurrency_limit": 2, "concurrency_id": "touch"}  # in the queue, whose refusals are seen
    told = [clip, picker.at, job.models, job.saturation, picker.moments, touch.page.table, *choice]
    changed = [*touch.page, *touch.settings, tabs]
    clip.change(
        reset, [clip, picker.moments], [picker.box, picker.at, picker.moments, picker.listed], queue=False, **quiet
    )
    clip.pause(None, None, picker.at, js="() => document.querySelector('#clip video')?.currentTime ?? 0")
    picker.at.input(None, picker.at, None, js=_SEEK)
    picker.open.click(open_frame, told, changed, js=_MOMENT, show_progress_on=picker.open, **heavy)
    picker.listed.edit(change, told, changed, show_progress_on=picker.listed, **heavy)
    picker.listed.delete(
        remove, picker.moments, [picker.moments, picker.listed], queue=False, trigger_mode="multiple", **quiet
    )
    touch.page.editor.apply(
        take,
        [touch.page.table, clip, picker.moments],
        [picker.moments, picker.listed, *choice, tabs],
        **light,
        **quiet,
    )
    choice.reference.upload(
        check, choice.reference, choice.reference, show_progress_on=choice.reference, api_visibility="private", **light
    )


def _listed(moments: Moments) -> list[dict[str, Any]]:
    """The strokes as the page lists them."""
    rows = []
    for at, painted in moments.painted:
        count = len(painted.strokes)
        rows.append({"at": at, "words": f"{at:g} s: {count} stroke{'' if count == 1 else 's'}"})
    return rows
