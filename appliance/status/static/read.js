// Zoom, window and box of the radiograph that a reader reads, by mouse, pen and keys. The form works without it.
'use strict';
(() => {
  const form = document.getElementById('read');
  const next = form.querySelector('.next');
  const legend = document.getElementById('question');
  const complaint = document.getElementById('complaint');

  function complain(words) {
    complaint.textContent = words;
    complaint.hidden = !words;
    if (words) legend.focus();
  }

  // what a browser restores belongs to the radiograph that was here before: it answers about no other one
  window.addEventListener('pageshow', (event) => {
    if (event.persisted) location.reload();
    else if (performance.getEntriesByType('navigation')[0].type !== 'navigate') form.reset();
  });
  form.addEventListener('invalid', (event) => {
    if (event.target.name !== 'answer') return;
    event.preventDefault();
    complain('Choose an answer first: fracture, no fracture, unsure or unusable.');
  }, true);
  form.addEventListener('change', () => complain(''));
  // a read is kept at once, and a second press of the key sends nothing twice
  form.addEventListener('submit', (event) => {
    const edge = form.elements.x0;
    if (form.elements.answer.value === 'none' && edge && edge.value) {
      event.preventDefault();
      complain('No fracture, but a box around one: remove the box (Delete), or answer fracture.');
    } else {
      next.disabled = true;
    }
  });

  const frame = document.getElementById('frame');
  if (!frame) return;
  const [stage, image, boxMark] = ['stage', 'radiograph', 'box'].map((id) => document.getElementById(id));
  const levels = document.getElementById('levels');
  const shortcuts = document.getElementById('shortcuts');
  const transfers = document.querySelectorAll('#window feComponentTransfer > *');
  const edges = ['x0', 'y0', 'x1', 'y1'].map((id) => document.getElementById(id));
  const STEP = 0.05; // of the range of grey levels, and of the frame
  const clamp = (value, least, most) => Math.min(Math.max(value, least), most);
  let tool = 'move';
  let scale = 1, left = 0, top = 0; // of the picture in the frame, px
  let level = 0.5, width = 1, inverted = false; // of the window, in shares of the displayed range
  let box = null; // [x0, y0, x1, y1] in pixels of the picture

  const fitted = () => Math.min(frame.clientWidth / image.naturalWidth, frame.clientHeight / image.naturalHeight);

  function paint() {
    stage.style.transform = `translate(${left}px, ${top}px) scale(${scale})`;
    image.style.imageRendering = scale > 2 ? 'pixelated' : 'auto';
    const slope = (inverted ? -1 : 1) / width;
    const intercept = inverted ? 0.5 + level / width : 0.5 - level / width;
    for (const one of transfers) {
      one.setAttribute('slope', slope);
      one.setAttribute('intercept', intercept);
    }
    levels.textContent = `${Math.round(scale * 100)} %, level ${Math.round(level * 100)}, width ${Math.round(width * 100)}`;
    boxMark.hidden = !box;
    if (box) {
      const [x0, y0, x1, y1] = box;
      Object.assign(boxMark.style, {
        left: `${x0}px`, top: `${y0}px`, width: `${x1 - x0}px`, height: `${y1 - y0}px`,
        borderWidth: `${2 / scale}px`, outlineWidth: `${1 / scale}px`,
      });
    }
  }

  function zoom(factor, x = frame.clientWidth / 2, y = frame.clientHeight / 2) {
    const next = clamp(scale * factor, fitted() / 4, 16);
    left = x - (x - left) * next / scale;
    top = y - (y - top) * next / scale;
    scale = next;
  }

  function move(dx, dy) {
    left = clamp(left + dx, 40 - image.naturalWidth * scale, frame.clientWidth - 40);
    top = clamp(top + dy, 40 - image.naturalHeight * scale, frame.clientHeight - 40);
  }

  function reset() {
    scale = fitted();
    left = (frame.clientWidth - image.naturalWidth * scale) / 2;
    top = (frame.clientHeight - image.naturalHeight * scale) / 2;
    [level, width, inverted] = [0.5, 1, false];
  }

  function setWindow(brighter, contrast) {
    level = clamp(level - brighter, -0.5, 1.5);
    width = clamp(width * Math.exp(-contrast), 0.02, 4);
  }

  function choose(name) {
    tool = name;
    frame.dataset.tool = name;
    for (const button of document.querySelectorAll('[data-tool]')) {
      if (button !== frame) button.setAttribute('aria-pressed', String(button.dataset.tool === name));
    }
  }

  function setBox(x0, y0, x1, y1) {
    const [right, bottom] = [image.naturalWidth, image.naturalHeight];
    const [a, b] = [x0, x1].map((x) => Math.round(clamp(x, 0, right))).sort((one, other) => one - other);
    const [c, d] = [y0, y1].map((y) => Math.round(clamp(y, 0, bottom))).sort((one, other) => one - other);
    box = b > a && d > c ? [a, c, b, d] : null;
    edges.forEach((field, index) => { field.value = box ? box[index] : ''; });
    complain('');
  }

  function moveBox(dx, dy, resizes) {
    const step = Math.max(1, Math.round(STEP * frame.clientWidth / scale / 2));
    const [x0, y0, x1, y1] = box;
    if (resizes) return setBox(x0, y0, Math.max(x0 + 1, x1 + dx * step), Math.max(y0 + 1, y1 + dy * step));
    const [x, y] = [clamp(dx * step, -x0, image.naturalWidth - x1), clamp(dy * step, -y0, image.naturalHeight - y1)];
    return setBox(x0 + x, y0 + y, x1 + x, y1 + y);
  }

  function beginBox() {
    choose(tool === 'box' && box ? 'move' : 'box');
    if (tool !== 'box' || box) return;
    const [x, y] = [(frame.clientWidth / 2 - left) / scale, (frame.clientHeight / 2 - top) / scale];
    const half = Math.min(frame.clientWidth, frame.clientHeight) / scale / 8;
    setBox(x - half, y - half, x + half, y + half);
  }

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const KEYS = {
    '+': () => zoom(1.25), '=': () => zoom(1.25), '-': () => zoom(0.8),
    '[': () => setWindow(-STEP, 0), ']': () => setWindow(STEP, 0), ',': () => setWindow(0, -0.1), '.': () => setWindow(0, 0.1),
    i: () => { inverted = !inverted; }, r: reset, b: beginBox,
  };

  document.addEventListener('keydown', (event) => {
    const at = event.target;
    const writes = at.matches('input:not([type=radio]):not([type=checkbox])');
    if (event.ctrlKey || event.metaKey || event.altKey || writes) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const field = form.querySelector(`[data-key="${CSS.escape(key)}"]`);
    if (ARROWS[key]) {
      if (at !== frame && at !== document.body) return; // arrows move within a group of answers
      const [dx, dy] = ARROWS[key];
      if (tool === 'box' && box) moveBox(dx, dy, event.shiftKey);
      else move(-dx * STEP * frame.clientWidth, -dy * STEP * frame.clientWidth);
    } else if (key === 'Enter') {
      if (at.matches('button, summary, a, input')) return; // the browser acts
      form.requestSubmit();
    } else if (key === 'Delete' || key === 'Backspace') {
      setBox(0, 0, 0, 0);
    } else if (!shortcuts.checked) {
      return;
    } else if (field) {
      if (field.type === 'radio') field.checked = true;
      else field.checked = !field.checked;
      complain('');
    } else if (KEYS[key]) {
      KEYS[key]();
    } else {
      return;
    }
    event.preventDefault();
    paint();
  });

  // from the event to the picture, in its pixels
  const at = (event) => {
    const around = frame.getBoundingClientRect();
    return [(event.clientX - around.left - left) / scale, (event.clientY - around.top - top) / scale];
  };

  frame.addEventListener('pointerdown', (event) => {
    if (event.button !== 0 && event.button !== 2) return;
    const acts = event.button === 2 ? 'window' : tool;
    const from = at(event);
    let [x, y] = [event.clientX, event.clientY];
    frame.setPointerCapture(event.pointerId);
    const drag = (moved) => {
      const [dx, dy] = [moved.clientX - x, moved.clientY - y];
      [x, y] = [moved.clientX, moved.clientY];
      if (acts === 'move') move(dx, dy);
      else if (acts === 'window') setWindow(-dy / 400, -dx / 200);
      else setBox(...from, ...at(moved));
      paint();
    };
    const end = () => {
      frame.removeEventListener('pointermove', drag);
      frame.removeEventListener('pointerup', end);
      frame.removeEventListener('pointercancel', end);
    };
    frame.addEventListener('pointermove', drag);
    frame.addEventListener('pointerup', end);
    frame.addEventListener('pointercancel', end);
  });
  frame.addEventListener('contextmenu', (event) => event.preventDefault());
  frame.addEventListener('wheel', (event) => {
    const around = frame.getBoundingClientRect();
    zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, event.clientX - around.left, event.clientY - around.top);
    event.preventDefault();
    paint();
  }, { passive: false });

  for (const button of document.querySelectorAll('#tools button')) {
    button.addEventListener('click', () => {
      if (button.dataset.tool) choose(button.dataset.tool);
      else KEYS[button.dataset.act === 'invert' ? 'i' : 'r']();
      paint();
    });
  }
  for (const field of edges) {
    field.addEventListener('change', () => {
      if (edges.every((one) => /^\d{1,5}$/.test(one.value))) setBox(...edges.map((one) => Number(one.value)));
      else box = null;
      paint();
    });
  }

  function begin() {
    frame.classList.add('live');
    for (const id of ['tools', 'help']) document.getElementById(id).hidden = false;
    choose('move');
    reset();
    paint();
    frame.focus({ preventScroll: true });
    window.addEventListener('resize', () => { move(0, 0); paint(); }); // what was set stays
    frame.dataset.ready = 'true';
  }
  if (image.complete && image.naturalWidth) begin();
  else image.addEventListener('load', begin);
})();
