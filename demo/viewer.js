// The results of the tab Photos: panels side by side or as before and after, zoomed and moved together.
// Gradio runs this once, behind elements.js, with element, props, watch and trigger; props.value is what photo_tab.py sends.

const LARGEST = 8; // screen pixels for one of the picture's, at most
const NOTHING = {photos: []};
const calm = matchMedia('(prefers-reduced-motion: reduce)');
const fingers = new Map();
const see = {run: null, photo: 0, mode: 'grid', left: '', right: '', at: 50, scale: 1, x: 0, y: 0};

const value = () => (props.value && props.value.photos ? props.value : NOTHING);
const photo = () => value().photos[see.photo];
const panel = key => photo().panels.find(each => each.key === key);
const drawn = each => each && each.file;

// What is always there

const status = make('p', {role: 'status'});
const bar = make('progress', {'aria-label': 'progress'});
const stop = button('Stop', () => { stop.disabled = true; trigger('stop'); }, {class: 'stop'});
const modes = {
  grid: button('Side by side', () => show('grid')),
  pair: button('Before and after', () => show('pair')),
};
const percent = make('span', {class: 'percent'});
const zip = button('Download all (ZIP)', () => ask(zip, 'submit', {}), {class: 'zip', 'data-token': 'zip'});
const tools = make('div', {class: 'tools'},
  make('span', {role: 'group', 'aria-label': 'View'}, modes.grid, modes.pair),
  make('span', {role: 'group', 'aria-label': 'Zoom of all pictures', title: 'Or double-click, pinch, Ctrl and the wheel'},
    button('−', () => zoom(see.scale / 1.5), {'aria-label': 'zoom out'}), percent,
    button('+', () => zoom(see.scale * 1.5), {'aria-label': 'zoom in'}),
    button('1 : 1', () => zoom(actual()), {title: 'One pixel of the photo for one of the screen'}),
    button('Fit', () => zoom(1))),
  button('Full screen', () => document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen(),
    {class: 'full'}),
  zip);
const strip = make('div', {class: 'strip', role: 'group', 'aria-label': 'Photos'});
const grid = make('div', {class: 'grid'});
const problem = make('p', {class: 'problem'});
const pick = side => make('select', {
  'aria-label': side === 'left' ? 'Left' : 'Right',
  onchange: event => { see[side] = event.target.value; draw(); },
});
const picks = {left: pick('left'), right: pick('right')};
const under = make('img', {draggable: 'false'}), over = make('img', {draggable: 'false'});
const handle = make('i', {class: 'handle', 'aria-hidden': 'true'});
const stage = make('div', {class: 'pane', tabindex: '0', role: 'group'}, under, make('div', {class: 'over'}, over), handle);
const divider = make('input', {
  type: 'range', min: 0, max: 100, value: 50, 'aria-label': 'Where before ends and after begins',
  oninput: event => divide(+event.target.value),
});
const pair = make('div', {class: 'pair'}, make('div', {class: 'picks'}, picks.left, picks.right), stage, divider);
const figures = make('div', {class: 'figures'});
const root = make('div', {class: 'viewer', hidden: true},
  make('div', {class: 'head'}, status, bar, stop), tools, strip, problem, grid, pair, figures);
element.append(root);

// Drawing

function draw() {
  const now = value();
  if (now.run !== see.run) {
    Object.assign(see, {run: now.run, photo: 0, mode: 'grid', left: '', right: '', at: 50, scale: 1, x: 0, y: 0});
    grid.replaceChildren();
    figures.replaceChildren();
    stop.disabled = false;
    fingers.clear();
  }
  const appears = root.hidden;
  root.hidden = !now.photos.length;
  if (root.hidden) return;
  if (appears) root.scrollIntoView({block: 'start', behavior: calm.matches ? 'auto' : 'smooth'});
  root.classList.toggle('busy', Boolean(now.busy));
  status.textContent = now.status;
  bar.hidden = stop.hidden = !now.busy;
  if (now.done == null) bar.removeAttribute('value');
  else [bar.max, bar.value] = [now.of, now.done];
  drawStrip(now.photos);
  problem.textContent = photo().problem || '';
  problem.hidden = !photo().problem;
  const done = photo().panels.filter(drawn);
  for (const [name, each] of Object.entries(modes)) each.setAttribute('aria-pressed', see.mode === name);
  modes.pair.disabled = done.length < 2;
  zip.disabled = now.busy || !now.photos.some(each => each.panels.some(one => one.model && one.file));
  const paired = see.mode === 'pair' && done.length > 1;
  grid.hidden = paired;
  pair.hidden = !paired;
  if (paired) drawPair(done);
  else drawGrid();
  drawFigures(photo().figures);
  move();
}

function drawStrip(photos) {
  strip.hidden = photos.length < 2;
  photos.forEach((each, n) => {
    let thumb = strip.children[n];
    if (!thumb) {
      thumb = button('', () => {
        Object.assign(see, {photo: n, scale: 1, x: 0, y: 0});
        draw();
        trigger('expand', {photo: n});
      });
      thumb.append(make('img', {alt: ''}), make('span'));
      strip.append(thumb);
    }
    thumb.setAttribute('aria-label', `Photo ${n + 1}: ${each.name}`);
    thumb.setAttribute('aria-pressed', n === see.photo);
    const first = each.panels.find(one => one.model && one.file) || each.panels.find(drawn);
    source(thumb.querySelector('img'), first && first.file);
    thumb.querySelector('span').textContent = each.problem ? '!' : '';
  });
  while (strip.children.length > photos.length) strip.lastChild.remove();
}

function drawGrid() {
  const grey = panel('before');
  const known = new Map([...grid.children].map(each => [each.dataset.key, each]));
  photo().panels.forEach((each, n) => {
    const figure = known.get(each.key) || newFigure(each);
    known.delete(each.key);
    const pane = figure.firstChild, image = pane.firstChild;
    figure.className = each.state;
    shape(pane);
    source(image, each.file || (grey && grey.file));
    image.alt = each.file ? `${photo().name}: ${each.label}` : '';
    pane.setAttribute('aria-label', `${each.label}. Plus and minus zoom, arrow keys move`);
    pane.setAttribute('aria-busy', each.state === 'working');
    figure.querySelector('.note').textContent = each.note || '';
    figure.querySelector('.saves').hidden = !(each.file && each.model);
    figure.querySelector('.jpeg').hidden = Boolean(photo().transparent);
    // What stays where it is keeps the focus, and the finger that moves it.
    if (grid.children[n] !== figure) grid.insertBefore(figure, grid.children[n] || null);
  });
  for (const figure of known.values()) figure.remove();
}

function newFigure(each) {
  const save = suffix => event => ask(event.target, 'download', {photo: see.photo, key: each.key, suffix});
  const saves = make('span', {class: 'saves', role: 'group', 'aria-label': `${each.label}: more`},
    button('Compare', () => { see.right = each.key; show('pair'); }, {'aria-label': `Compare ${each.label} with before`}),
    button('Touch up', () => trigger('select', {photo: see.photo, key: each.key}), {
      'aria-label': `Touch up ${each.label}`, title: 'Go on with this one: paint colors, choose variants',
    }),
    button('PNG', save('.png'), {'aria-label': `Download ${each.label} as PNG`, 'data-token': `${each.key}.png`}),
    button('JPEG', save('.jpg'), {
      class: 'jpeg', 'aria-label': `Download ${each.label} as JPEG`, 'data-token': `${each.key}.jpg`,
    }));
  return make('figure', {'data-key': each.key},
    make('div', {class: 'pane', tabindex: '0', role: 'group'}, make('img', {draggable: 'false'})),
    make('figcaption', {}, make('b', {}, each.label), make('span', {class: 'note'}), saves));
}

function drawPair(done) {
  const keys = done.map(each => each.key);
  if (!keys.includes(see.left)) see.left = keys.includes('before') ? 'before' : keys[0];
  if (!keys.includes(see.right)) see.right = (done.find(each => each.model) || done[done.length - 1]).key;
  for (const side of ['left', 'right']) {
    picks[side].replaceChildren(...done.map(each => make('option', {value: each.key}, each.label)));
    picks[side].value = see[side];
  }
  for (const each of [stage, divider, picks.left.parentNode]) shape(each);
  for (const [image, side] of [[under, 'left'], [over, 'right']]) {
    source(image, panel(see[side]).file);
    image.alt = `${photo().name}: ${panel(see[side]).label}`;
  }
  stage.setAttribute('aria-label', 'Before and after. Plus and minus zoom, arrow keys move');
}

function drawFigures(table) {
  if (figures.dataset.of === JSON.stringify(table)) return;
  figures.dataset.of = JSON.stringify(table);
  figures.hidden = !table || !table.rows.length;
  if (figures.hidden) return;
  const cell = (tag, scope) => text => make(tag, {scope}, text);
  figures.replaceChildren(make('table', {},
    make('caption', {}, table.caption),
    make('thead', {}, make('tr', {}, ...table.head.map(cell('th', 'col')))),
    make('tbody', {}, ...table.rows.map(row =>
      make('tr', {}, cell('th', 'row')(row[0]), ...row.slice(1).map(cell('td')))))));
}

function source(image, file) {
  const url = file ? file.url : '';
  if ((image.getAttribute('src') || '') === url) return;
  if (url) image.src = url;
  else image.removeAttribute('src');
}

// Very wide and very tall photos lie in a pane of a usable shape.
function shape(pane) {
  const {width, height} = photo();
  const ratio = width ? Math.min(Math.max(width / height, 0.5), 2.5) : 4 / 3;
  if (pane.classList.contains('pane')) pane.style.aspectRatio = ratio;
  pane.style.maxWidth = `calc(var(--tallest) * ${ratio})`;
}

function show(mode) {
  see.mode = mode;
  draw();
  if (mode === 'pair') root.scrollIntoView({block: 'nearest'});
}

// The server makes the file, the page fetches it; until then the button waits.
function ask(asked, event, what) {
  if (asked.getAttribute('aria-busy')) return;
  asked.setAttribute('aria-busy', 'true');
  setTimeout(() => asked.removeAttribute('aria-busy'), 120000);
  trigger(event, {...what, token: asked.dataset.token});
}

// Zooming and moving, of all panes at once: x and y are where the picture begins, in per cent of the pane

const paneShown = () => (see.mode === 'pair' && !pair.hidden ? stage : grid.querySelector('.pane'));

// Pixels of the screen for one of the picture's, where all of the picture is in view.
function fit() {
  const pane = paneShown(), {width, height} = photo();
  return width && pane.clientWidth ? Math.min(pane.clientWidth / width, pane.clientHeight / height) * devicePixelRatio : 1;
}
const actual = () => Math.max(1, 1 / fit());

function zoom(scale, px = 50, py = 50) {
  const to = Math.min(Math.max(scale, 1), Math.max(actual() * LARGEST, LARGEST));
  see.x = px - (px - see.x) * to / see.scale;
  see.y = py - (py - see.y) * to / see.scale;
  see.scale = to;
  move();
}

function move(dx = 0, dy = 0) {
  const least = 100 - 100 * see.scale;
  see.x = Math.min(0, Math.max(least, see.x + dx));
  see.y = Math.min(0, Math.max(least, see.y + dy));
  for (const name of ['scale', 'x', 'y']) root.style.setProperty(`--${name}`, see[name]);
  root.classList.toggle('zoomed', see.scale > 1);
  percent.textContent = paneShown() ? `${Math.round(100 * see.scale * fit())} %` : '';
}

function divide(at) {
  see.at = Math.min(100, Math.max(0, at));
  divider.value = see.at;
  root.style.setProperty('--at', see.at);
}

const paneOf = event => event.target.closest && event.target.closest('.pane');
function inPane(event, pane) {
  const box = pane.getBoundingClientRect();
  return [100 * (event.clientX - box.left) / box.width, 100 * (event.clientY - box.top) / box.height];
}

root.addEventListener('wheel', event => {
  const pane = paneOf(event);
  if (!pane || !event.ctrlKey) return;
  event.preventDefault();
  zoom(see.scale * Math.exp(-event.deltaY / (event.deltaMode ? 5 : 150)), ...inPane(event, pane));
}, {passive: false});

root.addEventListener('dblclick', event => {
  const pane = paneOf(event);
  if (pane) zoom(see.scale > 1 ? 1 : Math.max(2, actual()), ...inPane(event, pane));
});

root.addEventListener('keydown', event => {
  const pane = paneOf(event);
  if (!pane || event.ctrlKey || event.metaKey || event.altKey) return;
  const does = {
    '+': () => zoom(see.scale * 1.5), '=': () => zoom(see.scale * 1.5), '-': () => zoom(see.scale / 1.5), 0: () => zoom(1),
    ArrowLeft: () => move(10), ArrowRight: () => move(-10), ArrowUp: () => move(0, 10), ArrowDown: () => move(0, -10),
  }[event.key];
  if (!does || (event.key.startsWith('Arrow') && see.scale === 1)) return;
  event.preventDefault();
  does();
});

let dividing = false;
root.addEventListener('pointerdown', event => {
  const pane = paneOf(event);
  if (!pane || event.button) return;
  fingers.set(event.pointerId, [event.clientX, event.clientY]);
  dividing = pane === stage && (see.scale === 1 || event.target === handle);
  if (dividing) divide(inPane(event, stage)[0]);
  pane.setPointerCapture(event.pointerId);
});
root.addEventListener('pointermove', event => {
  const last = fingers.get(event.pointerId), pane = paneOf(event);
  if (!last || !pane) return;
  const box = pane.getBoundingClientRect();
  if (fingers.size === 2) {
    const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    const apart = ([x, y]) => Math.hypot(x - other[0], y - other[1]) || 1;
    const center = {clientX: (event.clientX + other[0]) / 2, clientY: (event.clientY + other[1]) / 2};
    zoom(see.scale * apart([event.clientX, event.clientY]) / apart(last), ...inPane(center, pane));
    move(50 * (event.clientX - last[0]) / box.width, 50 * (event.clientY - last[1]) / box.height);
  } else if (dividing) divide(inPane(event, stage)[0]);
  else if (see.scale > 1) move(100 * (event.clientX - last[0]) / box.width, 100 * (event.clientY - last[1]) / box.height);
  fingers.set(event.pointerId, [event.clientX, event.clientY]);
});
for (const name of ['pointerup', 'pointercancel', 'lostpointercapture']) {
  root.addEventListener(name, event => { fingers.delete(event.pointerId); dividing = false; });
}
new ResizeObserver(() => root.hidden || !photo() || move()).observe(root);

divide(50);
watch('value', draw);
draw();
