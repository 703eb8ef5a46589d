// A reader of Osteon in headless Chromium: signs in, looks at radiographs of a sample with mouse and keys, and answers.
//
//   node read.js '{"chromium": PATH, "base": URL, "name": NAME, "password": PASSWORD, "out": FOLDER, "scheme": "light"}'
//
// One JSON line per page: its text, what the console says, and what axe-core finds; then what each act has changed.
'use strict';
const crypto = require('crypto');
const path = require('path');
const axe = require('axe-core');
const puppeteer = require('puppeteer-core');

const PATIENCE_MS = 120000;
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

(async () => {
  const asked = JSON.parse(process.argv[2]);
  const browser = await puppeteer.launch({
    executablePath: asked.chromium,
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking'],
  });
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    await page.setViewport(asked.viewport || { width: 1440, height: 900 });
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: asked.scheme || 'light' }]);
    let complaints = [];
    page.on('console', (message) => complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(String(error)));
    const say = (line) => console.log(JSON.stringify(line));
    const look = async (name) => {
      await page.evaluate(axe.source);
      const found = await page.evaluate((rules) => window.axe.run({ runOnly: rules }), RULES);
      const seen = await page.evaluate(() => ({
        text: document.body.innerText,
        fits: document.documentElement.scrollWidth <= window.innerWidth,
      }));
      await page.screenshot({ path: path.join(asked.out, `read-${name}.png`) });
      const violations = found.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html).slice(0, 3).join(' ')}`);
      say({ name, ...seen, complaints, violations });
      complaints = [];
    };
    // what a person would see: the pixels of the frame, and the transformation and window behind them
    const state = async () => {
      const frame = await page.$('#frame');
      const pixels = crypto.createHash('sha256').update(await frame.screenshot()).digest('hex');
      const values = await page.evaluate(() => ({
        transform: document.getElementById('stage').style.transform,
        slope: Number(document.querySelector('#window feFuncR').getAttribute('slope')),
        intercept: Number(document.querySelector('#window feFuncR').getAttribute('intercept')),
        box: ['x0', 'y0', 'x1', 'y1'].map((id) => document.getElementById(id).value),
        answer: (document.querySelector('[name=answer]:checked') || {}).value || '',
        marks: [...document.querySelectorAll('[name=mark]:checked')].map((one) => one.value),
        tool: document.getElementById('frame').dataset.tool,
        complaint: document.getElementById('complaint').innerText,
        focus: document.activeElement.id,
      }));
      return { pixels, ...values };
    };
    const act = async (name, does) => { await does(); say({ act: name, ...(await state()) }); };
    const press = async (...keys) => { for (const key of keys) await page.keyboard.press(key); };
    const ready = () => page.waitForSelector('#frame[data-ready=true]');

    await page.goto(`${asked.base}/sign-in`);
    await page.type('input[name=name]', asked.name);
    await page.type('input[name=password]', asked.password);
    await Promise.all([page.waitForNavigation(), page.click('main button')]);
    await ready();
    await look('first');
    await act('begin', async () => {});

    await act('no answer', () => press('Enter'));
    await look('no-answer');
    await act('answered after all', () => press('u'));
    await page.focus('#frame');

    // by keys alone
    await act('zoom', () => press('+', '+'));
    await act('pan', () => press('ArrowRight'));
    await act('brighter', () => press(']', ']'));
    await act('contrast', () => press('.', '.'));
    await act('invert', () => press('i'));
    await act('reset', () => press('r'));
    await act('box', () => press('b'));
    await act('box moved', () => press('ArrowDown'));
    await act('box resized', async () => {
      await page.keyboard.down('Shift');
      await press('ArrowRight');
      await page.keyboard.up('Shift');
    });
    await act('answer', () => press('u', 'f', '1', '5', '3', '3'));
    await look('answered');
    await act('box removed', () => press('Delete', 'b', 'b', 'Delete'));
    await page.click('#help summary');
    await page.click('#shortcuts');
    await act('no shortcuts', () => press('n'));
    await page.click('#shortcuts');

    // by mouse
    await page.evaluate(() => new Promise((done) => { // the mouse meets what is drawn
      document.getElementById('frame').scrollIntoView();
      requestAnimationFrame(() => requestAnimationFrame(done));
    }));
    const area = await (await page.$('#frame')).boundingBox();
    const [x, y] = [area.x + area.width / 2, area.y + area.height / 2];
    await page.mouse.move(x, y);
    await act('wheel', () => page.mouse.wheel({ deltaY: -100 }));
    const drag = async (button, dx, dy) => {
      await page.mouse.move(x, y);
      await page.mouse.down({ button });
      await page.mouse.move(x + dx, y + dy, { steps: 4 });
      await page.mouse.up({ button });
    };
    await act('drag', () => drag('left', 60, 30));
    await act('drag of the window', () => drag('right', 80, 0));
    await page.click('[data-tool=box]');
    await act('drag of a box', () => drag('left', 120, 80));
    await look('box');
    await page.focus('#frame');
    await act('no fracture with a box', () => press('n', 'Enter'));
    await act('fracture with a box', () => press('f'));
    const next = async () => {
      await Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')]);
    };
    await page.focus('#frame');
    await next();
    await ready();
    await act('second', async () => {});
    await press('f', '1', 'b');
    await page.goto('about:blank');
    await page.goBack();
    await ready();
    await page.waitForFunction(() => !document.querySelector('[name=answer]:checked'), { timeout: 5000 }).catch(() => {});
    await act('back', async () => {});
    await press('n');
    await next();
    await look('done');
  } finally {
    await browser.close();
  }
})().catch((error) => { console.error(error); process.exit(1); });
