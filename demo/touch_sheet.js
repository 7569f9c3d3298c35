// The picture and the lines on it, of which touch.js, before this, has the parts.

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
  const fine = 2.5 * marked.width / (sheet.clientWidth || 1);
  const strokes = erased || told().strokes;
  if (see.marks || see.tool === 'erase') {
    for (const stroke of strokes) {
      trace(stroke, '#0009', 2.2 * fine);
      trace(stroke, '#fffd', 1.7 * fine);
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
