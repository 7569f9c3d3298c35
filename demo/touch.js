// The editor of the tab Touch up: what is told of a picture is kept here, and sent whole after every change.
// Gradio runs this once, together with elements.js and touch_sheet.js, with element, props, watch and trigger; props.value is what
// touch_tab.py sends.

const COLORS = [
  ['#e8b89a', 'light skin'], ['#b97f5c', 'tan skin'], ['#7a4a33', 'dark skin'], ['#c66b6b', 'lips'],
  ['#d8c07a', 'blond hair'], ['#6b4a2f', 'brown hair or wood'], ['#c8b088', 'sand or stone'], ['#a5553f', 'brick'],
  ['#7ba7d9', 'sky'], ['#3f6f94', 'water'], ['#7d9a45', 'grass'], ['#4f6b3a', 'leaves'],
  ['#b3262e', 'red cloth'], ['#d98a2b', 'orange'], ['#d9b23a', 'gold'], ['#3f5f9e', 'denim'],
  ['#6f4a8e', 'purple'], ['#808080', 'no color: grey'],
];
const NOTHING = {strokes: [], variant: null, reference: null, mode: 'match'};
const PATIENCE = 20000; // milliseconds after which an answer is no longer waited for
const STEP = 0.01; // of the picture, by which the arrow keys move
const see = {run: null, stamp: -1, added: null, tool: 'brush', color: COLORS[0][0], width: 0.025, view: 'picture',
  scale: 1, marks: true, at: null};
let past = [NOTHING], now = 0; // what was told, and where undo has gone back to
let sent = 0, answered = 0, waiting = 0, behind = false;
let line = null, erased = null;

const group = (label, ...children) => make('span', {class: 'group', role: 'group', 'aria-label': label}, ...children);
const board = () => (props.value && props.value.run ? props.value : null);
const told = () => past[now];
const ask = (event, what = {}) => trigger(event, {run: board().run, ...what});

// What is always there

const status = make('p', {role: 'status'});
const problem = make('p', {class: 'problem', role: 'alert'});
const tools = {
  brush: button('Paint', () => choose('brush'), {title: 'Draw a line or click a dot in the chosen color'}),
  erase: button('Erase', () => choose('erase'), {title: 'Take away the lines that you touch'}),
  likely: button('What is likely?', () => choose('likely'), {title: 'Click a place to see what the model finds likely there'}),
};
const undo = button('Undo', () => go(now - 1), {title: 'Ctrl+Z'});
const redo = button('Redo', () => go(now + 1), {title: 'Ctrl+Shift+Z'});
const fresh = button('Start over', () => commit(NOTHING));
const views = {
  picture: button('In color', () => look('picture')),
  grey: button('Black and white', () => look('grey')),
  sure: button('How sure?', () => look('sure'), {title: 'Where the model is sure of its colors, and where not'}),
};
const percent = make('span', {class: 'percent'});
const zooms = group('Zoom', button('−', () => zoom(see.scale / 1.5), {'aria-label': 'zoom out'}), percent,
  button('+', () => zoom(see.scale * 1.5), {'aria-label': 'zoom in'}));
const marks = make('input', {type: 'checkbox', checked: true, onchange: event => { see.marks = event.target.checked; ink(); }});
const swatches = COLORS.map(([color, name]) =>
  button('', () => dip(color), {class: 'swatch', style: `background: ${color}`, title: name, 'aria-label': name}));
const custom = make('input', {type: 'color', value: see.color, 'aria-label': 'another color', title: 'Another color',
  oninput: event => dip(event.target.value)});
const width = make('input', {type: 'range', min: 0, max: 100, value: 50, 'aria-label': 'Width of the brush',
  oninput: event => { see.width = 0.005 * 20 ** (event.target.value / 100); ink(); }});
const image = make('img', {draggable: 'false'});
const marked = make('canvas', {'aria-hidden': 'true'});
const sheet = make('div', {class: 'sheet'}, image, marked);
const stage = make('div', {class: 'stage', tabindex: '0', role: 'group'}, sheet);
const legend = make('div', {class: 'legend'}, make('span', {}, 'unsure'), make('i', {'aria-hidden': 'true'}), make('span', {}, 'sure'));
const hint = make('p', {class: 'note'});
const likely = make('div', {class: 'row likely'});
const vary = button('Show others', () => ask('retry', {seed: nextSeed()}), {class: 'vary'});
const stop = button('Stop', () => { stop.disabled = true; trigger('stop'); });
const variants = make('div', {class: 'variants', role: 'group', 'aria-label': 'Other colorings'});
const thumbnail = make('img', {alt: 'The picture that colors are taken from'});
const mode = make('select', {'aria-label': 'How its colors are taken',
  onchange: event => commit({...told(), mode: event.target.value})},
  make('option', {value: 'match'}, 'Like places take like colors'),
  make('option', {value: 'palette'}, 'Its colors as a whole'));
const reference = make('div', {class: 'row reference'}, thumbnail, make('b', {}, 'Colors from this picture'), mode,
  button('Remove', () => commit({...told(), reference: null}), {'aria-label': 'Remove the reference'}));
const save = (text, suffix, label) => button(text, event => fetched(event.target, suffix),
  {'aria-label': label, 'data-token': `touched${suffix}`});
const jpeg = save('JPEG', '.jpg', 'Download as JPEG');
const layer = save('Strokes', '.layer.png', 'Download the strokes as a layer');
layer.title = 'A transparent PNG, which colorzoo takes as --hints';
const filmed = make('span');
const film = make('div', {class: 'row film'}, filmed,
  button('Use in the film', () => ask('apply', {touches: told()}), {title: 'Back to the tab Videos, with these colors'}));
const root = make('div', {class: 'touch', hidden: true}, film,
  make('div', {class: 'row'}, group('Tool', ...Object.values(tools)), group('History', undo, redo, fresh), zooms,
    group('View', ...Object.values(views))),
  make('div', {class: 'row palette'}, make('span', {class: 'swatches', role: 'group', 'aria-label': 'Colors'}, ...swatches), custom,
    make('label', {class: 'width'}, 'Brush', width),
    make('label', {}, marks, 'Show lines')),
  problem, stage, legend, make('div', {class: 'row below'}, hint, status), likely, reference,
  make('div', {class: 'row'}, make('b', {}, 'Other colorings'), vary, stop), variants,
  make('div', {class: 'row'}, make('b', {}, 'Download'), save('PNG', '.png', 'Download as PNG'), jpeg, layer));
element.append(root);

// Telling: history, and one request at a time of which the last one counts

function commit(next) {
  past = [...past.slice(0, now + 1), next];
  now += 1;
  send();
}

function go(to) {
  if (to < 0 || to >= past.length) return;
  now = to;
  send();
}

function send() {
  sent += 1;
  behind = Boolean(waiting);
  if (!waiting) post();
  draw();
}

function post() {
  const number = sent;
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    waiting = 0;
    if (behind) { behind = false; post(); }
    draw();
  }, PATIENCE);
  ask('edit', {number, touches: told()});
}

function take() {
  const next = board();
  if (!next) return draw();
  if (next.run !== see.run) {
    past = [next.told || NOTHING];
    now = sent = answered = 0;
    clearTimeout(waiting);
    waiting = 0;
    behind = false;
    Object.assign(see, {run: next.run, stamp: -1, added: null, view: 'picture', scale: 1, at: null});
    requestAnimationFrame(() => {
      const {top} = root.getBoundingClientRect();
      if (top < 0 || top > innerHeight / 2) root.scrollIntoView({block: 'start'});
    });
  }
  if (next.stamp < see.stamp) return;
  see.stamp = next.stamp;
  stop.disabled = false;
  if (next.number > answered) {
    answered = next.number;
    clearTimeout(waiting);
    waiting = 0;
    if (behind) { behind = false; post(); }
  }
  if (next.added && next.added !== see.added) {
    see.added = next.added;
    commit({...told(), reference: next.added});
  }
  draw();
}

// Drawing

function draw() {
  const shown = board();
  root.hidden = !shown;
  if (!shown) return;
  for (const [name, each] of Object.entries(tools)) each.setAttribute('aria-pressed', see.tool === name);
  for (const [name, each] of Object.entries(views)) each.setAttribute('aria-pressed', see.view === name);
  swatches.forEach((each, n) => each.setAttribute('aria-pressed', COLORS[n][0] === see.color));
  custom.value = see.color;
  undo.disabled = !now;
  redo.disabled = now === past.length - 1;
  fresh.disabled = JSON.stringify(told()) === JSON.stringify(NOTHING);
  // What is disabled would lose the focus to nothing.
  if (document.activeElement && document.activeElement.disabled && root.contains(document.activeElement)) {
    stage.focus({preventScroll: true});
  }
  film.hidden = !shown.film;
  filmed.textContent = shown.film || '';
  layer.disabled = !told().strokes.length;
  jpeg.hidden = shown.transparent;
  const url = see.view === 'picture' ? shown.picture : (shown[see.view] || shown.grey).url;
  if (image.getAttribute('src') !== url) image.src = url;
  image.alt = `${shown.name}: ${see.view === 'picture' ? shown.label : views[see.view].textContent}`;
  stage.setAttribute('aria-label', `${shown.name}. Arrow keys move the brush, Enter paints, plus and minus zoom`);
  stage.dataset.tool = see.tool;
  legend.hidden = see.view !== 'sure' || !shown.sure;
  problem.textContent = shown.problem || '';
  problem.hidden = !shown.problem;
  status.textContent = waiting ? 'Coloring…' : see.view === 'sure' && !shown.sure && !shown.problem ? 'Looking…' : '';
  hint.textContent = {
    brush: 'Paint a little of the color where it belongs; similar places follow. How light it is stays as in the photo.',
    erase: 'Touch the lines that you want to take away.',
    likely: 'Click a place to see which colors the model finds likely there.',
  }[see.tool];
  drawLikely(shown.likely);
  drawVariants(shown);
  const from = told().reference && shown.references[told().reference];
  reference.hidden = !from;
  if (from && thumbnail.getAttribute('src') !== from.url) thumbnail.src = from.url;
  mode.value = told().mode;
  lay();
}

function drawLikely(found) {
  likely.hidden = see.tool !== 'likely' || !found;
  const of = JSON.stringify(found);
  if (likely.hidden || likely.dataset.of === of) return;
  likely.dataset.of = of;
  likely.replaceChildren(make('b', {}, 'Likely there'), ...found.colors.map(color => button('', () => {
    see.color = color;
    dot(found.at);
  }, {class: 'swatch', style: `background: ${color}`, title: `Paint ${color} there`, 'aria-label': `Paint ${color} there`})));
}

function drawVariants(shown) {
  const row = shown.variants;
  vary.textContent = row ? 'Show others' : 'Show four';
  vary.disabled = Boolean(row && row.busy);
  stop.hidden = !(row && row.busy);
  variants.hidden = !row && !told().variant;
  const of = row ? `${shown.run} ${row.seed}` : '';
  if (variants.dataset.of !== of) {
    variants.dataset.of = of;
    variants.replaceChildren(offer(null, "The model's own answer", make('span', {}, "Model's own")));
  }
  for (let n = variants.children.length - 1; row && n < row.pictures.length; n++) {
    variants.append(offer({number: n, seed: row.seed}, `Coloring ${n + 1}: go on from it`,
      make('img', {src: row.pictures[n].url, alt: ''}), make('span', {}, String(n + 1))));
  }
  const chosen = JSON.stringify(told().variant);
  for (const each of variants.children) each.setAttribute('aria-pressed', each.dataset.variant === chosen);
}

function offer(variant, label, ...shown) {
  const made = button('', () => commit({...told(), variant}),
    {'data-variant': JSON.stringify(variant), 'aria-label': label, title: label});
  made.replaceChildren(...shown);
  return made;
}

const nextSeed = () => (board().variants ? board().variants.seed + 1 : 0);

function choose(tool) {
  see.tool = tool;
  draw();
}

function dip(color) {
  see.color = color;
  see.tool = 'brush';
  draw();
}

function look(view) {
  see.view = view;
  if (view === 'sure' && !board().sure) ask('expand');
  draw();
}

// The server makes the file, the page fetches it; until then the button waits.
function fetched(asked, suffix) {
  if (asked.getAttribute('aria-busy')) return;
  asked.setAttribute('aria-busy', 'true');
  setTimeout(() => asked.removeAttribute('aria-busy'), 120000);
  ask('download', {suffix, touches: told(), token: asked.dataset.token});
}
