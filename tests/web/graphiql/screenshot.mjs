// node screenshot.mjs http://127.0.0.1:8000/graphql page.png [light|dark]
// Runs the first tab's query and takes a picture of the page. Fails on a console error, on an error in the answer and
// on a request to another host. CHROMIUM names the browser, /usr/bin/chromium by default.

import { chromium } from 'playwright-core';

const [url, picture, colorScheme = 'light'] = process.argv.slice(2);
const ours = new URL(url).host;
const faults = [];

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu'],
});
try {
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 }, colorScheme });
  const check = address => {
    const { protocol, host } = new URL(address);
    if (host !== ours && !['data:', 'blob:'].includes(protocol)) faults.push(`request to ${address}`);
  };
  page.on('request', request => check(request.url()));
  page.on('websocket', socket => check(socket.url()));
  page.on('console', message => message.type() === 'error' && faults.push(message.text()));
  page.on('pageerror', error => faults.push(error.message));

  await page.goto(url);
  await page.locator('.graphiql-query-editor .view-line').first().waitFor();
  await page.getByRole('button', { name: /Execute query/ }).click();
  const answer = page.locator('.result-window');
  await answer.getByText(/"(data|errors)"/).first().waitFor();
  if (await answer.getByText('"errors"').count()) faults.push(await answer.innerText());
  await page.waitForTimeout(1000); // the editor colours its text a little later
  await page.screenshot({ path: picture });
} finally {
  await browser.close();
}
if (faults.length) {
  console.error(faults.join('\n'));
  process.exit(1);
}
