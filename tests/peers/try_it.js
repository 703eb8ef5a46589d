// An operator of Osteon in headless Chromium: signs in, tries a file, sees picture and report, and removes it.
//
//   node try_it.js '{"chromium": PATH, "base": URL, "name": NAME, "password": PASSWORD, "file": PATH, "out": FOLDER}'
//
// One JSON line per page: its text, what the console says, and what axe-core finds.
'use strict';
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
    await page.setViewport({ width: 1440, height: 900 });
    let complaints = [];
    page.on('console', (message) => complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(String(error)));
    const press = (selector) => Promise.all([page.waitForNavigation(), page.click(selector)]);
    const look = async (name) => {
      await page.evaluate(axe.source);
      const found = await page.evaluate((rules) => window.axe.run({ runOnly: rules }), RULES);
      const text = await page.evaluate(() => document.body.innerText);
      const pictures = await page.evaluate(() => [...document.images].map((image) => image.naturalWidth));
      await page.screenshot({ path: path.join(asked.out, `try-${name}.png`) });
      console.log(JSON.stringify({ name, text, pictures, complaints, violations: found.violations.map((one) => one.id) }));
      complaints = [];
    };
    await page.goto(`${asked.base}/sign-in`);
    await page.type('input[name=name]', asked.name);
    await page.type('input[name=password]', asked.password);
    await press('main button');
    await page.goto(`${asked.base}/trials`);
    await look('form');
    const field = await page.$('input[type=file]');
    await field.uploadFile(asked.file);
    await press('main button');
    await page.waitForSelector('.trial img'); // the page reads itself again until then
    await look('answer');
    await press('main button');
    await look('removed');
  } finally {
    await browser.close();
  }
})().catch((error) => { console.error(error); process.exit(1); });
