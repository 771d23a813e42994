// Plays scenes in a browser: a page is used as a person does, and what was seen comes out as JSON, a line for each scene.
// A line has `failed` on a console error, on a request to another host, and when something does not appear.
//
// node browse.mjs SCENE http://127.0.0.1:8000 [picture or folder] [light|dark], with the token in CRM_TOKEN
// node browse.mjs, with a line {"scene", "server", "token"} on standard input for each scene: one browser serves all.
//
// The browser is Debian's chromium; CHROMIUM names another.

import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const [named, address, into, colorScheme = 'light'] = process.argv.slice(2);

// Of the scene that is played.
export let server, token;
export { into, colorScheme };

/** Play the scenes that are asked for. `settings` are a page's, `expected` console errors that are none, by scene. */
export async function play(scenes, { viewport, timeout, settings = {}, expected = {} }) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'],
  });

  // A page of its own, without cookies or anything else of another scene.
  async function one(scene) {
    const page = await browser.newPage({ viewport, colorScheme, ...settings[scene] });
    page.setDefaultTimeout(timeout);
    const faults = watch(page, ['401', ...(expected[scene] ?? [])]); // a browser itself writes that a wrong token is refused
    let seen;
    try {
      seen = await scenes[scene](page);
    } catch (error) {
      faults.push(error.stack);
    } finally {
      await page.close();
    }
    console.log(JSON.stringify(faults.length ? { failed: faults.join('\n') } : seen));
    return faults.length;
  }

  try {
    if (named) {
      [server, token] = [address, process.env.CRM_TOKEN];
      if (await one(named)) process.exitCode = 1;
    } else {
      for await (const line of createInterface({ input: process.stdin })) {
        const asked = JSON.parse(line);
        ({ server, token } = asked);
        await one(asked.scene);
      }
    }
  } finally {
    await browser.close();
  }
}

/** What goes wrong on a page, as it does. */
function watch(page, expected) {
  const ours = new URL(server).host;
  const faults = [];
  const check = url => {
    const { protocol, host } = new URL(url);
    if (host !== ours && !['data:', 'blob:'].includes(protocol)) faults.push(`request to ${url}`);
  };
  page.on('request', request => check(request.url()));
  page.on('websocket', socket => check(socket.url()));
  page.on('console', message => {
    if (message.type() === 'error' && !expected.some(words => message.text().includes(words))) faults.push(message.text());
  });
  page.on('pageerror', error => faults.push(error.message));
  return faults;
}
