// OHIF over a DICOMweb archive, looked at: serves the packed viewer with the archive behind the same origin, opens a
// study in headless Chromium, shows the series that are asked for one after the other, and writes what is seen.
//
//   node ohif.js --archive http://127.0.0.1:8042 --study UID --chromium PATH --out FOLDER NAME=SERIES_UID...
//
// One JSON line per series: its name, what is drawn over the image (SVG), and what failed.
'use strict';
const fs = require('fs');
const http = require('http');
const path = require('path');
const puppeteer = require('puppeteer-core');

const PATIENCE_MS = 60000;
const DIST = path.join(__dirname, 'ohif', 'dist');
const TYPES = {
  '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.css': 'text/css',
  '.json': 'application/json', '.wasm': 'application/wasm', '.svg': 'image/svg+xml', '.png': 'image/png',
};
const CONFIG = `window.config = {
  routerBasename: '/', extensions: [], modes: [], showStudyList: true, maxNumberOfWebWorkers: 2,
  investigationalUseDialog: { option: 'never' }, disableConfirmationPrompts: true, defaultDataSourceName: 'dicomweb',
  dataSources: [{
    namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'dicomweb',
    configuration: {
      friendlyName: 'Archive', name: 'archive', wadoUriRoot: '/wado', qidoRoot: '/dicom-web', wadoRoot: '/dicom-web',
      qidoSupportsIncludeField: false, imageRendering: 'wadors', thumbnailRendering: 'wadors',
      enableStudyLazyLoad: true, supportsFuzzyMatching: false, supportsWildcard: true,
      omitQuotationForMultipartRequest: true, bulkDataURI: { enabled: false },
    },
  }],
};`;

const argument = (name) => process.argv[process.argv.indexOf(`--${name}`) + 1];

function serve(archive) {
  const server = http.createServer((request, response) => {
    const url = new URL(request.url, 'http://viewer');
    if (url.pathname.startsWith('/dicom-web') || url.pathname.startsWith('/wado')) {
      const onward = http.request(
        { hostname: archive.hostname, port: archive.port, path: request.url, method: request.method, headers: request.headers },
        (answer) => { response.writeHead(answer.statusCode, answer.headers); answer.pipe(response); },
      );
      onward.on('error', (error) => { response.writeHead(502); response.end(String(error)); });
      request.pipe(onward);
      return;
    }
    const headers = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };
    if (url.pathname === '/app-config.js') {
      response.writeHead(200, { ...headers, 'Content-Type': TYPES['.js'] });
      response.end(CONFIG);
      return;
    }
    let file = path.join(DIST, decodeURIComponent(url.pathname));
    if (!fs.existsSync(file) || fs.statSync(file).isDirectory()) file = path.join(DIST, 'index.html');
    response.writeHead(200, { ...headers, 'Content-Type': TYPES[path.extname(file)] || 'application/octet-stream' });
    fs.createReadStream(file).pipe(response);
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

async function look(browser, url, png) {
  const page = await browser.newPage();
  await page.setViewport({ width: 1500, height: 950 });
  await page.evaluateOnNewDocument(() => localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour'])));
  const failed = [];
  page.on('pageerror', (error) => failed.push(String(error).slice(0, 200)));
  page.on('response', (answer) => { if (answer.status() >= 400) failed.push(`${answer.status()} ${new URL(answer.url()).pathname}`); });
  await page.goto(url, { waitUntil: 'load', timeout: PATIENCE_MS });
  // drawn: an image is in the viewport, and nothing was fetched for a while
  await page.waitForSelector('.cornerstone-viewport-element canvas, [data-viewport-uid] canvas', { timeout: PATIENCE_MS });
  await page.waitForNetworkIdle({ idleTime: 4000, timeout: PATIENCE_MS });
  await page.screenshot({ path: png });
  const seen = await page.evaluate(() => ({
    text: document.body.innerText,
    drawn: [...document.querySelectorAll('.svg-layer *')].map((e) => e.tagName.toLowerCase()),
  }));
  await page.close();
  return { ...seen, failed };
}

(async () => {
  const server = await serve(new URL(argument('archive')));
  const browser = await puppeteer.launch({
    executablePath: argument('chromium'),
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--use-gl=angle', '--use-angle=swiftshader',
      '--enable-unsafe-swiftshader', '--ignore-gpu-blocklist', '--disable-background-networking'],
  });
  try {
    for (const each of process.argv.slice(process.argv.indexOf('--out') + 2)) {
      const [name, series] = each.split('=');
      const query = `StudyInstanceUIDs=${argument('study')}&initialSeriesInstanceUID=${series}`;
      const url = `http://127.0.0.1:${server.address().port}/viewer?${query}`;
      const seen = await look(browser, url, path.join(argument('out'), `${name}.png`));
      console.log(JSON.stringify({ name, ...seen }));
    }
  } finally {
    await browser.close();
    server.close();
  }
})().catch((error) => { console.error(error); process.exit(1); });
