// The editor of the tab Touch up: what is told of a picture is kept here, and sent whole after every change.
// Gradio runs this once, with element, props, watch and trigger; props.value is what touch_tab.py sends.

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

const make = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children);
  return made;
};
const button = (text, does, attributes = {}) => make('button', {type: 'button', onclick: does, ...attributes}, text);
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
const root = make('div', {class: 'touch', hidden: true},
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
    past = [NOTHING];
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

// The sheet and the lines on it

function lay() {
  const [wide, high] = board().size;
  const room = stage.clientWidth;
  if (!room) return;
  const fit = Math.min(room, innerHeight * 0.66 * wide / high);
  sheet.style.width = `${fit * see.scale}px`;
  sheet.style.aspectRatio = `${wide} / ${high}`;
  percent.textContent = `${Math.round(100 * see.scale)} %`;
  const box = sheet.getBoundingClientRect();
  const sharp = Math.min(devicePixelRatio, 4096 / Math.max(box.width, box.height, 1));
  const size = [Math.round(box.width * sharp), Math.round(box.height * sharp)];
  if (marked.width !== size[0] || marked.height !== size[1]) [marked.width, marked.height] = size;
  ink();
}

function ink() {
  const shown = board(), pen = marked.getContext('2d');
  if (!shown) return;
  const by = marked.width / shown.size[0];
  pen.clearRect(0, 0, marked.width, marked.height);
  pen.lineCap = pen.lineJoin = 'round';
  const trace = (stroke, color, wide) => {
    pen.strokeStyle = color;
    pen.lineWidth = wide;
    pen.beginPath();
    stroke.points.forEach(([x, y], n) => (n ? pen.lineTo(x * by, y * by) : pen.moveTo(x * by, y * by)));
    if (stroke.points.length === 1) pen.lineTo(stroke.points[0][0] * by + 0.1, stroke.points[0][1] * by);
    pen.stroke();
  };
  const fine = 3 * marked.width / (sheet.clientWidth || 1);
  const strokes = erased || told().strokes;
  if (see.marks || see.tool === 'erase') {
    for (const stroke of strokes) {
      trace(stroke, '#0009', fine + 3);
      trace(stroke, '#fffd', fine + 1.5);
      trace(stroke, stroke.color, fine);
    }
  }
  // What has no effect yet is seen as it is painted.
  const fresh = waiting && now && !line ? strokes.slice((past[now - 1] || NOTHING).strokes.length) : [];
  for (const stroke of line ? [line] : fresh) trace(stroke, stroke.color, stroke.size * by);
  if (see.at) {
    const [x, y] = see.at, radius = Math.max(4, brush() * by / 2);
    pen.lineWidth = fine;
    for (const [color, grow] of [['#000', 1], ['#fff', 0]]) {
      pen.strokeStyle = color;
      pen.beginPath();
      pen.arc(x * by, y * by, radius + grow * fine / 2, 0, 7);
      pen.stroke();
    }
  }
}

const brush = () => Math.max(1, see.width * Math.max(...board().size));
const round = value => Math.round(value * 10) / 10;

function place(event) {
  const box = sheet.getBoundingClientRect(), [wide, high] = board().size;
  const within = (value, most) => round(Math.min(Math.max(value, 0), most));
  return [within((event.clientX - box.left) / box.width * wide, wide - 1), within((event.clientY - box.top) / box.height * high, high - 1)];
}

function dot(at) {
  commit({...told(), strokes: [...told().strokes, {color: see.color, size: round(brush()), points: [at]}]});
}

function apart([x, y], stroke) {
  const points = stroke.points;
  return Math.min(...points.map(([ax, ay], n) => {
    const [bx, by] = points[n + 1] || [ax, ay];
    const dx = bx - ax, dy = by - ay;
    const along = Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1)));
    return Math.hypot(x - ax - along * dx, y - ay - along * dy);
  }));
}

function wipe(at) {
  const reach = 8 * board().size[0] / (sheet.clientWidth || 1);
  erased = erased.filter(stroke => apart(at, stroke) > stroke.size / 2 + reach);
  ink();
}

function wiped() {
  const rest = erased;
  erased = null;
  if (rest.length < told().strokes.length) commit({...told(), strokes: rest});
}

function zoom(scale) {
  const to = Math.min(Math.max(scale, 1), 8), box = stage;
  const middle = [(box.scrollLeft + box.clientWidth / 2) / see.scale, (box.scrollTop + box.clientHeight / 2) / see.scale];
  see.scale = to;
  lay();
  box.scrollTo(middle[0] * to - box.clientWidth / 2, middle[1] * to - box.clientHeight / 2);
}

// Mouse, pen and finger; a second finger is the browser's, to move and zoom the page

sheet.addEventListener('pointerdown', event => {
  if (event.button || !event.isPrimary || !board()) return;
  event.preventDefault();
  stage.focus({preventScroll: true});
  sheet.setPointerCapture(event.pointerId);
  const at = place(event);
  see.at = null;
  if (see.tool === 'likely') ask('select', {at});
  else if (see.tool === 'erase') {
    erased = told().strokes;
    wipe(at);
  } else line = {color: see.color, size: round(brush()), points: [at]};
  ink();
});
sheet.addEventListener('pointermove', event => {
  if (!event.isPrimary || !(line || erased)) return;
  const at = place(event);
  if (erased) return wipe(at);
  const [x, y] = line.points[line.points.length - 1];
  if (Math.hypot(at[0] - x, at[1] - y) < Math.max(1, line.size / 6)) return;
  line.points.push(at);
  ink();
});
sheet.addEventListener('pointerup', () => {
  const drawn = line;
  line = null;
  if (drawn) commit({...told(), strokes: [...told().strokes, drawn]});
  else if (erased) wiped();
});
sheet.addEventListener('pointercancel', () => {
  line = erased = null;
  ink();
});

stage.addEventListener('keydown', event => {
  if (event.target !== stage || event.ctrlKey || event.metaKey || event.altKey) return;
  const [wide, high] = board().size, at = see.at || [wide / 2, high / 2];
  const step = (event.shiftKey ? 5 : 1) * STEP * Math.max(wide, high);
  const to = (dx, dy) => () => {
    see.at = [Math.min(Math.max(at[0] + dx * step, 0), wide - 1), Math.min(Math.max(at[1] + dy * step, 0), high - 1)].map(round);
    ink();
  };
  const act = () => {
    see.at = at.map(round);
    if (see.tool === 'brush') return dot(see.at);
    if (see.tool === 'likely') return ask('select', {at: see.at});
    erased = told().strokes;
    wipe(see.at);
    wiped();
  };
  const does = {
    ArrowLeft: to(-1, 0), ArrowRight: to(1, 0), ArrowUp: to(0, -1), ArrowDown: to(0, 1), Enter: act, ' ': act,
    '+': () => zoom(see.scale * 1.5), '=': () => zoom(see.scale * 1.5), '-': () => zoom(see.scale / 1.5), 0: () => zoom(1),
  }[event.key];
  if (!does) return;
  event.preventDefault();
  does();
});
stage.addEventListener('blur', () => { see.at = null; ink(); });
document.addEventListener('keydown', event => {
  if (!(event.ctrlKey || event.metaKey) || event.altKey || !root.checkVisibility()) return;
  if (!root.contains(event.target) && event.target !== document.body) return;
  const key = event.key.toLowerCase();
  if (key === 'z') go(now + (event.shiftKey ? 1 : -1));
  else if (key === 'y') go(now + 1);
  else return;
  event.preventDefault();
});
new ResizeObserver(() => root.hidden || lay()).observe(stage);

watch('value', take);
take();
