// node browse.mjs SCENE http://127.0.0.1:8000 [folder] [light|dark]
// node browse.mjs, with a line {"scene", "server", "token"} on standard input for each scene: one browser serves all.
// Uses the page as a person does, with Debian's chromium (CHROMIUM names another browser). Prints what it saw as JSON, a
// line for each scene; that has `failed` on a console error, on a request to another host, and when something does not
// appear. CRM_TOKEN is the token of a scene that is named on the command line; `pictures` fills the folder.

import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const [named, address, folder = '.', colorScheme = 'light'] = process.argv.slice(2);
const WIDE = { width: 1280, height: 800 };
const NARROW = { width: 390, height: 844 };
let server, token;

async function call(query, variables) {
  const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) };
  const answer = await fetch(`${server}/graphql`, { method: 'POST', headers, body: JSON.stringify({ query, variables }) });
  const { data, errors } = await answer.json();
  if (errors) throw new Error(JSON.stringify(errors));
  return data;
}

// Each makes one message of "Live".
const createLeads = (...names) =>
  call('mutation ($inputs: [CreateLeadInput!]!) { createLeads(inputs: $inputs) { status } }', {
    inputs: names.map(lastName => ({ firstName: 'Åsa', lastName })),
  });

async function visit(page, size) {
  await page.setViewportSize(size);
  await page.goto(`${server}/graphql`);
  await page.locator('.graphiql-query-editor .view-line').nth(3).waitFor();
}

async function signIn(page) {
  if (!token) return;
  await page.getByLabel('Token').fill(token);
  await page.keyboard.press('Enter');
  await page.getByText('Signed in as').waitFor();
}

const tab = (page, name) => page.locator('.graphiql-tab').getByText(name, { exact: true });
const run = page => page.locator('.graphiql-execute-button').click(); // or stop
// Monaco draws only the lines in sight, and blanks as U+00A0.
const read = async (page, place) => (await page.locator(place).innerText()).replaceAll('\u00a0', ' ');
const answer = page => page.locator('.result-window');

const scenes = {
  // A stranger at the door of `crm serve`: what the page says, a wrong token, the right one, and out again.
  async token(page) {
    await visit(page, WIDE);
    const hint = await read(page, '#token-hint');
    const focused = await page.evaluate(() => document.activeElement.id);
    await run(page);
    await answer(page).getByText('UNAUTHENTICATED').waitFor();
    const signedOut = await read(page, '.result-window');
    await page.getByLabel('Token').fill('two words');
    await page.keyboard.press('Enter');
    const malformed = await read(page, '#token-problem:not(:empty)');
    await page.getByLabel('Token').fill('nonsense');
    await page.keyboard.press('Enter');
    await page.locator('#token-problem').getByText('wrong').waitFor();
    await signIn(page);
    const who = await read(page, 'header.sign-in');
    await run(page);
    await answer(page).getByText('"data"').waitFor();
    const stored = await page.evaluate(() => JSON.stringify([localStorage, sessionStorage, document.cookie, location.href]));
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('Token').waitFor();
    return { hint, focused, signedOut, malformed, who, stored };
  },

  // The tab "Live": every message is there, the newest first; the oldest go when there are more than a hundred.
  async live(page) {
    await visit(page, WIDE);
    await signIn(page);
    await tab(page, 'Live').click();
    await run(page);
    await answer(page).getByText('"received"').waitFor();
    await page.waitForTimeout(500); // the socket opens
    await createLeads('Ett');
    await createLeads('Två');
    await page.setViewportSize({ width: 1280, height: 3000 }); // all lines of both
    for (const name of ['Ett', 'Två']) await answer(page).getByText(`"Åsa ${name}"`).first().waitFor();
    const both = await read(page, '.result-window');
    await page.setViewportSize(WIDE);
    await createLeads(...Array(110).fill('Tre'));
    await answer(page).getByText('"shown"').waitFor();
    await page.waitForTimeout(500);
    const bounded = await read(page, '.result-window');
    await run(page); // stops it
    await createLeads('Fyra');
    await page.waitForTimeout(500);
    return { both, bounded, stopped: await read(page, '.result-window') };
  },

  // A telephone: the panes are on top of each other, and nothing is out of sight.
  async narrow(page) {
    await visit(page, NARROW);
    await signIn(page);
    await run(page);
    await answer(page).getByText('"data"').waitFor();
    await page.getByRole('button', { name: /Documentation Explorer/ }).click();
    await page.getByText('Root Types').waitFor();
    const boxOf = place => page.locator(place).boundingBox();
    const places = [];
    for (const place of ['.graphiql-plugin', '.graphiql-query-editor', '.graphiql-response', '.graphiql-sidebar']) {
      places.push(await boxOf(place));
    }
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    return { places, wide };
  },

  // Each example's comments fit a window of 1,280 pixels: none goes on in a second line.
  async comments(page) {
    await visit(page, WIDE);
    const wrapped = [];
    for (const name of await page.locator('.graphiql-tab').allInnerTexts()) {
      await tab(page, name.trim()).click();
      await page.waitForTimeout(150);
      const [lines, numbers] = await page.locator('.graphiql-query-editor').evaluate(editor =>
        ['.view-line', '.line-numbers:not(.textAreaCover)'].map(part => editor.querySelectorAll(part).length));
      if (lines !== numbers) wrapped.push(name);
    }
    return { wrapped };
  },

  async pictures(page) {
    for (const [size, name] of [[WIDE, 'wide'], [NARROW, 'narrow']]) {
      const picture = part => page.screenshot({ path: `${folder}/${name}-${colorScheme}-${part}.png` });
      await visit(page, size);
      await page.waitForTimeout(1000); // the editor colours its text a little later
      await picture('door');
      await signIn(page);
      await tab(page, 'Leads').click(); // a window that was here before comes back to where it was
      await run(page);
      await answer(page).getByText('"data"').waitFor();
      await page.waitForTimeout(1000);
      await picture('leads');
      await tab(page, 'Live').click();
      await run(page);
      await page.waitForTimeout(1000);
      await createLeads('Ett', 'Två', 'Tre');
      await page.waitForTimeout(1500);
      await picture('live');
    }
    return {};
  },
};

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'],
});

// A page of its own, without cookies or anything else of another scene.
async function play(scene) {
  const ours = new URL(server).host;
  const faults = [];
  const page = await browser.newPage({ viewport: WIDE, colorScheme });
  page.setDefaultTimeout(30_000);
  const check = url => {
    const { protocol, host } = new URL(url);
    if (host !== ours && !['data:', 'blob:'].includes(protocol)) faults.push(`request to ${url}`);
  };
  page.on('request', request => check(request.url()));
  page.on('websocket', socket => check(socket.url()));
  page.on('console', message => {
    // What a browser writes by itself when a wrong token is refused.
    if (message.type() === 'error' && !message.text().includes('401')) faults.push(message.text());
  });
  page.on('pageerror', error => faults.push(error.message));
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
    if (await play(named)) process.exitCode = 1;
  } else {
    for await (const line of createInterface({ input: process.stdin })) {
      const asked = JSON.parse(line);
      ({ server, token } = asked);
      await play(asked.scene);
    }
  }
} finally {
  await browser.close();
}
