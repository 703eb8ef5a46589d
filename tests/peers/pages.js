// The pages of Osteon in headless Chromium: what the console says, whether a page fits its window, its colours, what
// axe-core finds, and a look-up by keyboard alone.
//
//   node pages.js '{"chromium": PATH, "base": URL, "out": FOLDER, "axe": false, "lookUp": NUMBER,
//                   "signIn": {"name": NAME, "password": PASSWORD},
//                   "acts": [{"path": PATH, "button": TEXT, "fields": {NAME: VALUE}}],
//                   "views": [{"name": NAME, "scheme": "dark", "width": 1440, "height": 900}], "paths": [PATH]}'
//
// One JSON line for the sign-in, one per page and view, one per act, and one for the look-up.
'use strict';
const path = require('path');
const axe = require('axe-core');
const puppeteer = require('puppeteer-core');

const PATIENCE_MS = 60000;
const LONGEST_WAY = 200;
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

async function openTab(browser, asked, view) {
  const page = await browser.newPage();
  await page.setExtraHTTPHeaders(asked.headers || {});
  await page.setViewport({ width: view.width, height: view.height, deviceScaleFactor: view.scale || 1 });
  // each of the two undoes the other
  if (view.media) await page.emulateMediaType(view.media);
  else await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: view.scheme }]);
  return page;
}

async function look(page, asked, view, address) {
  const complaints = [];
  for (const event of ['console', 'pageerror']) page.removeAllListeners(event);
  page.on('console', (message) => complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(String(error)));
  const answer = await page.goto(asked.base + address, { waitUntil: 'load', timeout: PATIENCE_MS });
  const seen = await page.evaluate(() => ({
    width: document.documentElement.scrollWidth,
    height: document.documentElement.scrollHeight,
    paper: getComputedStyle(document.body).backgroundColor,
    scripts: document.scripts.length,
  }));
  if (asked.out) {
    const name = address.replace(/[^a-z0-9]+/gi, '-').replace(/^-|-$/g, '') || 'overview';
    await page.screenshot({ path: path.join(asked.out, `${name}-${view.name}.png`), fullPage: view.whole || false });
  }
  let violations = [];
  if (asked.axe) {
    await page.evaluate(axe.source);
    const found = await page.evaluate((rules) => window.axe.run({ runOnly: rules }), RULES);
    violations = found.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html).slice(0, 3).join(' ')}`);
  }
  return { path: address, view: view.name, status: answer.status(), ...seen, complaints, violations };
}

async function submit(page, button) {
  await Promise.all([page.waitForNavigation({ timeout: PATIENCE_MS }), button.click()]);
  return { url: page.url(), text: await page.evaluate(() => document.body.innerText) };
}

// the cookie of the sign-in serves every later page of the browser
async function signIn(browser, asked) {
  const page = await browser.newPage();
  await page.goto(asked.base, { timeout: PATIENCE_MS });
  const cameTo = page.url();
  await page.type('input[name=name]', asked.signIn.name);
  await page.type('input[name=password]', asked.signIn.password);
  const seen = await submit(page, await page.$('main form button'));
  const cookies = await page.evaluate(() => document.cookie);
  await page.close();
  return { cameTo, cookies, ...seen };
}

async function act(browser, asked, one) {
  const page = await browser.newPage();
  const complaints = [];
  page.on('console', (message) => complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('dialog', (dialog) => dialog.dismiss());
  await page.goto(asked.base + one.path, { timeout: PATIENCE_MS });
  await page.evaluate(() => document.querySelectorAll('details').forEach((details) => { details.open = true; }));
  const button = await page.evaluateHandle(
    (text) => [...document.querySelectorAll('button')].find((found) => found.textContent.trim() === text), one.button);
  if (!button.asElement()) throw new Error(`${one.path} has no button "${one.button}"`);
  for (const [name, value] of Object.entries(one.fields || {})) {
    const field = await page.evaluateHandle((found, key) => found.form.elements[key], button, name);
    await field.asElement().type(value);
  }
  const seen = await submit(page, button);
  await page.close();
  return { act: one.button, ...seen, complaints };
}

async function lookUp(browser, asked) {
  const page = await openTab(browser, asked, asked.views[0]);
  await page.goto(`${asked.base}/?still`, { timeout: PATIENCE_MS });
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.className);
  await page.keyboard.press('Tab');
  const first = await focused();
  for (let way = 0; (await focused()) !== 'number' && way < LONGEST_WAY; way += 1) await page.keyboard.press('Tab');
  await page.keyboard.type(asked.lookUp);
  await Promise.all([page.waitForNavigation({ timeout: PATIENCE_MS }), page.keyboard.press('Enter')]);
  const seen = { first, url: page.url(), text: await page.evaluate(() => document.body.innerText) };
  await page.close();
  return seen;
}

(async () => {
  const asked = JSON.parse(process.argv[2]);
  const browser = await puppeteer.launch({
    executablePath: asked.chromium,
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking'],
  });
  try {
    if (asked.signIn) console.log(JSON.stringify(await signIn(browser, asked)));
    for (const view of asked.views) {
      const page = await openTab(browser, asked, view);
      for (const address of view.paths || asked.paths) console.log(JSON.stringify(await look(page, asked, view, address)));
      await page.close();
    }
    for (const one of asked.acts || []) console.log(JSON.stringify(await act(browser, asked, one)));
    if (asked.lookUp) console.log(JSON.stringify(await lookUp(browser, asked)));
  } finally {
    await browser.close();
  }
})().catch((error) => { console.error(error); process.exit(1); });
